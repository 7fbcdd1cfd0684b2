//! Answers to a producer: the reply on the data socket, and the `image_ack` per item.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::batch::AckRoute;

/// The reply once every pixel of a batch is copied: `{"status": "success", "type": "batch"}`, byte for byte as openhcs 0.8.6
/// sends it. Viewer → producer, on REP (G2 to G4).
pub fn batch_success() -> Vec<u8> {
    br#"{"status": "success", "type": "batch"}"#.to_vec()
}

/// The reply that refuses a whole batch. `reply_type` is [`crate::batch::BatchError::reply_type`]; polystore 0.2.19 raises
/// the message as "Napari rejected stream batch: <message>".
pub fn batch_error(reply_type: Option<&str>, message: &str) -> Vec<u8> {
    let reply_type = Value::from(reply_type);
    let message = Value::from(message);
    format!(r#"{{"status": "error", "type": {reply_type}, "message": {message}}}"#).into_bytes()
}

/// What a producer reads of a reply.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum BatchReply {
    /// The pixels are the viewer's.
    Success,
    /// The whole batch was refused.
    Refused {
        /// The viewer's sentence.
        message: String,
    },
}

/// Why a reply on the data socket is none. polystore 0.2.19 fails the pipeline step in each case.
#[derive(Debug, thiserror::Error)]
pub enum ReplyError {
    /// Not a JSON object with a text `status`.
    #[error("the viewer's reply is no JSON object with a 'status': {reason}")]
    Malformed {
        /// What the parser met.
        reason: String,
    },
    /// Neither "success" nor "error".
    #[error("the viewer's reply has the unknown status {status:?}; needed 'success' or 'error'")]
    UnknownStatus {
        /// As sent.
        status: String,
    },
}

#[derive(Deserialize)]
struct WireReply {
    status: String,
    message: Option<String>,
}

impl BatchReply {
    /// Reads a reply as polystore 0.2.19 does: a JSON object whose status is "success" or "error".
    pub fn decode(frame: &[u8]) -> Result<Self, ReplyError> {
        let malformed = |reason: String| ReplyError::Malformed { reason };
        if frame.trim_ascii_start().first() != Some(&b'{') {
            return Err(malformed("needed an object".to_owned()));
        }
        let wire: WireReply = serde_json::from_slice(frame).map_err(|error| malformed(error.to_string()))?;
        match wire.status.as_str() {
            "success" => Ok(Self::Success),
            "error" => Ok(Self::Refused { message: wire.message.unwrap_or_default() }),
            _ => Err(ReplyError::UnknownStatus { status: wire.status }),
        }
    }
}

/// Outcome of one item.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum AckStatus {
    /// It is in its stack.
    Success,
    /// It could not be placed; [`ImageAck::error`] says why.
    Error,
}

/// Viewer → producer over PUSH: an item with an `image_id` was placed. Only for the producer's progress display.
/// Source: zmqruntime 0.2.24 (G3) and 0.6.5 (G4) `ImageAck`.
#[derive(Clone, PartialEq, Debug)]
pub struct ImageAck {
    /// The item's `image_id`.
    pub image_id: String,
    /// Our data port.
    pub viewer_port: u16,
    /// Always "napari": producers know no other word for this kind of viewer.
    pub viewer_type: String,
    /// Outcome.
    pub status: AckStatus,
    /// Why, when the status is an error.
    pub error: Option<String>,
    /// Seconds since the epoch.
    pub timestamp: f64,
    /// `return_route` and `producer` of a G4 item, repeated verbatim; `None` for G1 to G3.
    pub route: Option<AckRoute>,
}

/// Why a frame is no `image_ack`.
#[derive(Debug, thiserror::Error)]
pub enum AckError {
    /// Not JSON, or a field is missing or wrong.
    #[error("the message is no image_ack: {reason}")]
    Malformed {
        /// What the parser met.
        reason: String,
    },
    /// Another `type`.
    #[error("needed a message of type 'image_ack', found {found:?}")]
    OtherType {
        /// As sent.
        found: String,
    },
}

/// Field order as the incumbent writes it. G4's parser refuses any key that is not here; it needs `error` even when null.
#[derive(Serialize, Deserialize)]
struct WireAck {
    #[serde(rename = "type")]
    kind: String,
    image_id: String,
    viewer_port: u16,
    viewer_type: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    return_route: Option<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    producer: Option<Value>,
    #[serde(default = "success")]
    status: AckStatus,
    #[serde(default)]
    timestamp: f64,
    /// Outer `None`: not written (G1 to G3 without an error).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    error: Option<Option<String>>,
}

const fn success() -> AckStatus {
    AckStatus::Success
}

impl ImageAck {
    /// The frame, in G4's spelling when the item came with a route, else in that of G1 to G3.
    pub fn encode(&self) -> Vec<u8> {
        let route = self.route.as_ref();
        let wire = WireAck {
            kind: "image_ack".to_owned(),
            image_id: self.image_id.clone(),
            viewer_port: self.viewer_port,
            viewer_type: self.viewer_type.clone(),
            return_route: route.map(|route| route.return_route.clone()),
            producer: route.map(|route| route.producer.clone()),
            status: self.status,
            timestamp: self.timestamp,
            error: match (&self.error, route) {
                (None, None) => None,
                (error, _) => Some(error.clone()),
            },
        };
        // Text, numbers and JSON values always have a JSON form, and memory takes any of it: an error cannot happen.
        serde_json::to_vec(&wire).unwrap_or_default()
    }

    /// The producer's side: reads an ack of any generation.
    pub fn decode(frame: &[u8]) -> Result<Self, AckError> {
        let malformed = |reason: String| AckError::Malformed { reason };
        if frame.trim_ascii_start().first() != Some(&b'{') {
            return Err(malformed("needed an object".to_owned()));
        }
        let wire: WireAck = serde_json::from_slice(frame).map_err(|error| malformed(error.to_string()))?;
        if wire.kind != "image_ack" {
            return Err(AckError::OtherType { found: wire.kind });
        }
        let route = match wire.return_route {
            Some(return_route) => {
                let url = return_route.get("url").and_then(Value::as_str);
                let url = url.ok_or_else(|| malformed("return_route has no 'url'".to_owned()))?.to_owned();
                Some(AckRoute { url, return_route, producer: wire.producer.unwrap_or(Value::Null) })
            }
            None => None,
        };
        Ok(Self {
            image_id: wire.image_id,
            viewer_port: wire.viewer_port,
            viewer_type: wire.viewer_type,
            status: wire.status,
            error: wire.error.flatten(),
            timestamp: wire.timestamp,
            route,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ack(error: Option<&str>, route: Option<AckRoute>) -> ImageAck {
        ImageAck {
            image_id: "f84a35f7".into(),
            viewer_port: 5555,
            viewer_type: "napari".into(),
            status: if error.is_some() { AckStatus::Error } else { AckStatus::Success },
            error: error.map(str::to_owned),
            timestamp: 1.5,
            route,
        }
    }

    fn route() -> AckRoute {
        AckRoute {
            url: "tcp://127.0.0.1:4001".into(),
            return_route: serde_json::json!({"url": "tcp://127.0.0.1:4001", "incarnation": "9b", "owner": {"pid": 1}}),
            producer: serde_json::json!({"pid": 1, "create_time": 1795359802.77}),
        }
    }

    #[test]
    fn replies_have_the_incumbents_bytes() {
        assert_eq!(batch_success(), br#"{"status": "success", "type": "batch"}"#);
        let reply = String::from_utf8(batch_error(None, "say \"why\"\n")).unwrap();
        assert_eq!(reply, r#"{"status": "error", "type": null, "message": "say \"why\"\n"}"#);
        let reply = String::from_utf8(batch_error(Some("batch"), "é")).unwrap();
        assert_eq!(reply, r#"{"status": "error", "type": "batch", "message": "é"}"#);
    }

    #[test]
    fn clients_read_replies_and_refuse_what_polystore_refuses() {
        assert_eq!(BatchReply::decode(&batch_success()).unwrap(), BatchReply::Success);
        let refused = BatchReply::decode(&batch_error(Some("batch"), "no room")).unwrap();
        assert_eq!(refused, BatchReply::Refused { message: "no room".into() });
        assert!(matches!(BatchReply::decode(br#"{"status":"ok"}"#), Err(ReplyError::UnknownStatus { .. })));
        for frame in [&b"{}"[..], b"[]", b"", b"\"success\"", b"{\"status\": 1}", b"\x80\x04"] {
            assert!(matches!(BatchReply::decode(frame), Err(ReplyError::Malformed { .. })));
        }
    }

    #[test]
    fn ack_without_a_route_has_the_keys_of_g3() {
        let text = String::from_utf8(ack(None, None).encode()).unwrap();
        let expected = concat!(
            r#"{"type":"image_ack","image_id":"f84a35f7","viewer_port":5555,"viewer_type":"napari","#,
            r#""status":"success","timestamp":1.5}"#
        );
        assert_eq!(text, expected);
        assert!(String::from_utf8(ack(Some("gone"), None).encode()).unwrap().ends_with(r#","error":"gone"}"#));
    }

    #[test]
    fn ack_with_a_route_has_exactly_the_keys_of_g4() {
        let value: Value = serde_json::from_slice(&ack(None, Some(route())).encode()).unwrap();
        let mut keys: Vec<_> = value.as_object().unwrap().keys().map(String::as_str).collect();
        keys.sort_unstable();
        let needed = [
            "error",
            "image_id",
            "producer",
            "return_route",
            "status",
            "timestamp",
            "type",
            "viewer_port",
            "viewer_type",
        ];
        assert_eq!(keys, needed);
        assert_eq!(value["error"], Value::Null);
        assert_eq!(value["return_route"], route().return_route);
        assert_eq!(value["producer"], route().producer);
    }

    #[test]
    fn decode_of_an_ack_is_identity() {
        for ack in [ack(None, None), ack(Some("x"), None), ack(None, Some(route())), ack(Some("x"), Some(route()))] {
            assert_eq!(ImageAck::decode(&ack.encode()).unwrap(), ack);
        }
        assert!(matches!(ImageAck::decode(b"{}"), Err(AckError::Malformed { .. })));
        let other = br#"{"type":"x","image_id":"1","viewer_port":1,"viewer_type":"napari"}"#;
        assert!(matches!(ImageAck::decode(other), Err(AckError::OtherType { .. })));
    }
}
