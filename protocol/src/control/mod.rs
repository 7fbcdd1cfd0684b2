//! Control messages: what clients ask the viewer on its control socket, and what it answers.
//!
//! One request is one pickle, `{"type": T}` or `{"type": T, "payload": P}`; one reply is one pickled dict.
//! [`ControlRequest::decode`] reads a request, [`ControlReply::encode`] writes a reply. Our own clients write requests
//! with [`ControlRequest::encode`] and read replies with [`pickle::decode`](crate::pickle::decode).
//!
//! Names, orders and texts are those of openhcs 0.8.6 with zmqruntime 0.2.24 (captured), the pong also that of zmqruntime
//! 0.6.5. Clients tell lists from tuples, so each field says which it is.

mod payloads;
mod pong;
mod read;
mod reply;
mod request;
mod request_payload;
mod state;

pub use payloads::{
    ArrayOmission, ArrayValues, LayerPayloads, PayloadContent, PayloadRecord, PayloadSummary, PayloadsReply,
    ShapeBounds, SourceFrame, shape_payload,
};
pub use pong::{Application, Extensions, Pong, PongSpelling, ProcessIdentity, ProcessUsage};
pub use reply::{
    ControlReply, IntensityWindowAck, LayerIsolationAck, MatchedPayload, ScreenshotAck, SettleAck, SettlePhase,
};
pub use request::{
    AxisIndices, CaptureScope, ControlRequest, ControlRequestError, FrameCondition, ImageIntensityOptions,
    IntensityWindowOptions, IsolateLayersOptions, NavigateOptions, PayloadOptions, ScreenshotRequest, ShapeDetail,
    ShutdownRequest, StateOptions,
};
pub use state::{LayerState, NativeIntensity, StateReply, Viewport};

use crate::component::ComponentValue;
use crate::pickle::PickleValue;

/// Names with values, in order: component values of a plane, fields of a producer identity.
pub type NamedValues = Vec<(String, PickleValue)>;

fn dict_of(values: &NamedValues) -> PickleValue {
    PickleValue::dict(values.iter().cloned())
}

fn dicts_of(values: &[NamedValues]) -> PickleValue {
    PickleValue::tuple(values.iter().map(dict_of))
}

fn texts(values: &[String]) -> PickleValue {
    PickleValue::tuple(values.iter().cloned())
}

fn numbers(values: &[f64]) -> PickleValue {
    PickleValue::tuple(values.iter().copied())
}

impl From<&serde_json::Value> for PickleValue {
    /// Lists become tuples, as the incumbent's replies have them.
    fn from(value: &serde_json::Value) -> Self {
        use serde_json::Value;
        match value {
            Value::Null => Self::None,
            Value::Bool(value) => Self::Bool(*value),
            Value::Number(number) => match (number.as_i64(), number.as_u64()) {
                (Some(number), _) => Self::Int(number),
                (None, Some(number)) => Self::UInt(number),
                (None, None) => Self::Float(number.as_f64().unwrap_or(f64::NAN)),
            },
            Value::String(text) => Self::Str(text.clone()),
            Value::Array(items) => Self::Tuple(items.iter().map(Self::from).collect()),
            Value::Object(fields) => Self::dict(fields.iter().map(|(key, value)| (key.as_str(), Self::from(value)))),
        }
    }
}

impl From<&ComponentValue> for PickleValue {
    /// As the incumbent holds them: numbers, text, tuples.
    fn from(value: &ComponentValue) -> Self {
        match value {
            ComponentValue::Int(number) => Self::Int(*number),
            ComponentValue::Float(number) => Self::Float(number.get()),
            ComponentValue::Text(text) => Self::Str(text.clone()),
            ComponentValue::List(values) => Self::Tuple(values.iter().map(Self::from).collect()),
        }
    }
}
