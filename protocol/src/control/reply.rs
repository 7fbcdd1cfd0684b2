//! What the viewer answers, typed.

use super::payloads::PayloadsReply;
use super::pong::{Pong, PongSpelling};
use super::request::ScreenshotRequest;
use super::state::{StateReply, Viewport, viewer};
use super::{NamedValues, dict_of, numbers, texts};
use crate::pickle::{self, PickleValue};

/// One reply on the control socket.
#[derive(Clone, PartialEq, Debug)]
pub enum ControlReply {
    /// To "ping".
    Pong(Pong),
    /// To "shutdown" and "force_shutdown", sent about 100 ms before the viewer closes.
    ShutdownAck,
    /// To "clear_state".
    ClearStateAck,
    /// To "settle".
    SettleAck(SettleAck),
    /// To "state".
    State(StateReply),
    /// To "payloads".
    Payloads(PayloadsReply),
    /// To "navigate": the state of the route.
    NavigationAck(StateReply),
    /// To "isolate_layers".
    LayerIsolationAck(LayerIsolationAck),
    /// To "apply_intensity_window".
    IntensityWindowAck(IntensityWindowAck),
    /// To "image_intensity": the state of the route.
    ImageIntensityAck(StateReply),
    /// To "viewport": what was set.
    ViewportAck(Viewport),
    /// To "screenshot".
    ScreenshotAck(ScreenshotAck),
    /// To anything that cannot be done.
    Error {
        /// "error", or the request's own "..._ack".
        reply_type: String,
        /// What was found and what was needed.
        message: String,
    },
}

/// How far drawing has come.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum SettlePhase {
    /// Something accepted is not drawn yet; clients ask again after 50 ms.
    Running {
        /// Route that is being drawn.
        active_route: Option<String>,
        /// Units of work done for it. Growth counts as progress for clients.
        work_unit_count: u64,
        /// Whether a unit is being worked on; counts as progress too.
        work_unit_active: bool,
    },
    /// Everything accepted before is drawn; every update is completed.
    Complete,
    /// Drawing failed, and the client's run fails with this sentence.
    Failed(String),
}

/// The answer to "settle". Clients check that counts and phase fit together; this type cannot say otherwise.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SettleAck {
    /// How far.
    pub phase: SettlePhase,
    /// Updates drawn since the last batch after a settled state.
    pub completed_update_count: u64,
    /// Updates known; never fewer than completed, and when complete as many.
    pub total_update_count: u64,
}

impl SettleAck {
    fn items(&self) -> Vec<(&'static str, PickleValue)> {
        let (completed, total) = match self.phase {
            SettlePhase::Complete => (self.total_update_count, self.total_update_count),
            _ => (self.completed_update_count.min(self.total_update_count), self.total_update_count),
        };
        let progress = format!("Viewer settlement progress: {completed}/{total}.");
        let (status, phase, message) = match &self.phase {
            SettlePhase::Running { .. } => ("success", "running", progress),
            SettlePhase::Complete => ("success", "complete", progress),
            SettlePhase::Failed(why) => ("error", "failed", format!("Viewer settlement failed: {why}")),
        };
        // Without a route there may be no work units.
        let (route, count, active) = match &self.phase {
            SettlePhase::Running { active_route: Some(route), work_unit_count, work_unit_active } => {
                (Some(route.as_str()), *work_unit_count, *work_unit_active)
            }
            _ => (None, 0, false),
        };
        vec![
            ("status", status.into()),
            ("type", "settle_ack".into()),
            ("message", message.into()),
            ("settle_phase", phase.into()),
            ("completed_update_count", completed.into()),
            ("total_update_count", total.into()),
            ("active_route", route.into()),
            ("active_route_work_unit_count", count.into()),
            ("active_route_work_unit_active", active.into()),
        ]
    }
}

/// The answer to "isolate_layers".
#[derive(Clone, PartialEq, Debug, Default)]
pub struct LayerIsolationAck {
    /// The state of all layers afterwards.
    pub state: StateReply,
    /// Layers whose visibility, selection or slice changed.
    pub changed_route_count: u64,
    /// Asked for, but not there. With any of them nothing is applied, yet the status stays "success".
    pub missing_route_keys: Vec<String>,
}

/// A plane that counted for an intensity window.
#[derive(Clone, PartialEq, Debug)]
pub struct MatchedPayload {
    /// Path as sent.
    pub path: String,
    /// Its component values.
    pub components: NamedValues,
    /// Its index along each stack axis.
    pub axis_indices: Vec<u64>,
    /// Its index within an item that holds several planes.
    pub aggregate_axis_indices: Vec<u64>,
}

/// The answer to "apply_intensity_window". The incumbent's own (openhcs 0.8.6) always fails; these are the fields it means.
#[derive(Clone, PartialEq, Debug)]
pub struct IntensityWindowAck {
    /// The layer.
    pub route_key: String,
    /// Low and high, as asked.
    pub requested_percentiles: [f64; 2],
    /// Selection, as asked.
    pub axis_indices: Vec<(String, u64)>,
    /// The contrast limits set.
    pub resolved_limits: [f64; 2],
    /// The planes selected.
    pub matched_payloads: Vec<MatchedPayload>,
    /// Those with a finite pixel.
    pub contributing_payload_count: u64,
    /// Finite pixels.
    pub contributing_pixel_count: u64,
}

/// The answer to "screenshot".
#[derive(Clone, PartialEq, Debug)]
pub struct ScreenshotAck {
    /// Title of the window.
    pub viewer_title: String,
    /// Absolute path of the PNG.
    pub path: String,
    /// Its `file://` URI.
    pub uri: String,
    /// Its length in bytes.
    pub size_bytes: u64,
    /// SHA-256 of the file, 64 hexadecimal digits.
    pub sha256: String,
    /// Width in pixels.
    pub width: u32,
    /// Height in pixels.
    pub height: u32,
    /// The request answered; the client compares it with its own.
    pub request: ScreenshotRequest,
}

type Items = Vec<(&'static str, PickleValue)>;

impl ControlReply {
    /// The reply to [`ControlRequest::Unknown`](super::ControlRequest::Unknown), given its `type_name`.
    pub fn unsupported(type_name: &str) -> Self {
        Self::error("error", format!("Unsupported Napari control message: {type_name}."))
    }

    /// An error with the `type` that the request's acknowledgement would have.
    pub fn error(reply_type: impl Into<String>, message: impl Into<String>) -> Self {
        Self::Error { reply_type: reply_type.into(), message: message.into() }
    }

    /// The state inside of replies that carry one, so that the app can add facts of its own.
    pub fn state_mut(&mut self) -> Option<&mut StateReply> {
        match self {
            Self::State(state) | Self::NavigationAck(state) | Self::ImageIntensityAck(state) => Some(state),
            Self::LayerIsolationAck(isolation) => Some(&mut isolation.state),
            _ => None,
        }
    }

    /// The reply as a frame. `spelling` matters for the pong only.
    pub fn encode(&self, spelling: PongSpelling) -> Vec<u8> {
        pickle::encode(&self.to_value(spelling))
    }

    /// The reply as a dict of builtins; only a screenshot's holds an object.
    pub fn to_value(&self, spelling: PongSpelling) -> PickleValue {
        PickleValue::dict(match self {
            Self::Pong(pong) => return pong.to_value(spelling),
            Self::ShutdownAck => acknowledged("shutdown_ack", "Napari viewer shutting down"),
            Self::ClearStateAck => acknowledged("clear_state_ack", "Component groups cleared"),
            Self::SettleAck(settle) => settle.items(),
            Self::State(state) => state.items("state_ack"),
            Self::Payloads(payloads) => payloads.items(),
            Self::NavigationAck(state) => with_message(state, "navigation_ack", "Viewer navigation applied."),
            Self::LayerIsolationAck(isolation) => isolation_items(isolation),
            Self::IntensityWindowAck(window) => window_items(window),
            Self::ImageIntensityAck(state) => {
                with_message(state, "image_intensity_ack", "Native image presentation applied.")
            }
            Self::ViewportAck(viewport) => vec![
                ("status", "success".into()),
                ("type", "viewport_ack".into()),
                ("native_viewport", viewport.to_value()),
            ],
            Self::ScreenshotAck(screenshot) => screenshot_items(screenshot),
            Self::Error { reply_type, message } => vec![
                ("status", "error".into()),
                ("type", reply_type.as_str().into()),
                ("message", message.as_str().into()),
            ],
        })
    }
}

fn acknowledged(reply_type: &'static str, message: &'static str) -> Items {
    vec![("status", "success".into()), ("type", reply_type.into()), ("message", message.into())]
}

fn with_message(state: &StateReply, reply_type: &'static str, message: &'static str) -> Items {
    let mut items = state.items(reply_type);
    items.push(("message", message.into()));
    items
}

fn isolation_items(isolation: &LayerIsolationAck) -> Items {
    let applied = isolation.missing_route_keys.is_empty();
    let message = if applied {
        "Viewer layer isolation applied."
    } else {
        "Viewer layer isolation was not applied because routes are missing."
    };
    let mut items = with_message(&isolation.state, "layer_isolation_ack", message);
    items.extend([
        ("applied", applied.into()),
        ("changed_route_count", if applied { isolation.changed_route_count } else { 0 }.into()),
        ("missing_route_keys", texts(&isolation.missing_route_keys)),
    ]);
    items
}

fn window_items(window: &IntensityWindowAck) -> Items {
    let matched = window.matched_payloads.iter().map(|payload| {
        PickleValue::dict([
            ("path", payload.path.as_str().into()),
            ("components", dict_of(&payload.components)),
            ("axis_indices", PickleValue::tuple(payload.axis_indices.iter().copied())),
            ("aggregate_axis_indices", PickleValue::tuple(payload.aggregate_axis_indices.iter().copied())),
        ])
    });
    let indices = window.axis_indices.iter().map(|(axis, index)| (axis.as_str(), PickleValue::from(*index)));
    let mut items = acknowledged("intensity_window_ack", "Viewer intensity window applied.");
    items.extend([
        ("route_key", window.route_key.as_str().into()),
        ("requested_percentiles", numbers(&window.requested_percentiles)),
        ("axis_indices", PickleValue::dict(indices)),
        ("resolved_limits", numbers(&window.resolved_limits)),
        ("matched_payload_count", window.matched_payloads.len().into()),
        ("matched_payload_identities", PickleValue::tuple(matched)),
        ("contributing_payload_count", window.contributing_payload_count.into()),
        ("contributing_pixel_count", window.contributing_pixel_count.into()),
    ]);
    items
}

fn screenshot_items(screenshot: &ScreenshotAck) -> Items {
    let resource = PickleValue::dict([
        ("uri", screenshot.uri.as_str().into()),
        ("title", screenshot.viewer_title.as_str().into()),
        ("mime_type", "image/png".into()),
        ("path", screenshot.path.as_str().into()),
        ("size_bytes", screenshot.size_bytes.into()),
        ("sha256", screenshot.sha256.as_str().into()),
    ]);
    vec![
        ("type", "screenshot_ack".into()),
        ("status", "success".into()),
        ("viewer", viewer(&screenshot.viewer_title)),
        ("resource", resource),
        ("width", screenshot.width.into()),
        ("height", screenshot.height.into()),
        ("snapshot", screenshot.request.capture_spec()),
    ]
}
