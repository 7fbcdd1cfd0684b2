//! What a client may ask, typed.

use super::pong::ProcessIdentity;
use super::reply::ControlReply;
use super::request_payload::{
    image_intensity, indices, intensity_window, isolate_layers, navigate, payload_items, payloads, plain, screenshot,
    shutdown, shutdown_items, state, viewport,
};
use super::state::{NativeIntensity, Viewport};
use crate::pickle::classes::WINDOW_SNAPSHOT;
use crate::pickle::{self, PickleLimits, PickleValue};

/// One request on the control socket.
#[derive(Clone, PartialEq, Debug)]
pub enum ControlRequest {
    /// "ping": is the viewer there, ready, and of the right application. The same bytes in every generation.
    Ping,
    /// "shutdown" or "force_shutdown".
    Shutdown(ShutdownRequest),
    /// "clear_state": forget accumulated items; what is on screen stays until the next redraw.
    ClearState,
    /// "settle": is everything accepted so far on screen? Clients poll it.
    Settle,
    /// "state": describe the viewer and its layers.
    State(StateOptions),
    /// "payloads": describe single planes and shapes, optionally with values.
    Payloads(PayloadOptions),
    /// "navigate": show, select and step one route.
    Navigate(NavigateOptions),
    /// "isolate_layers": show these routes and hide the others, all or nothing.
    IsolateLayers(IsolateLayersOptions),
    /// "apply_intensity_window": contrast limits of one route from percentiles.
    ApplyIntensityWindow(IntensityWindowOptions),
    /// "image_intensity": contrast limits and gamma of one route.
    ImageIntensity(ImageIntensityOptions),
    /// "viewport": move the camera.
    Viewport(Viewport),
    /// "screenshot": write a PNG.
    Screenshot(ScreenshotRequest),
    /// Anything else; the answer is [`ControlReply::unsupported`].
    Unknown {
        /// The type as Python prints it: `'bogus'`, or `None` when there is none.
        type_name: String,
    },
}

/// Why a request cannot be acted on. [`ControlReply::from`] makes the reply of it.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{message}")]
pub struct ControlRequestError {
    /// `type` of the reply: "error", or the request's own "..._ack".
    pub reply_type: &'static str,
    /// In the incumbent's words where it has some.
    pub message: String,
}

/// Options of "shutdown" and "force_shutdown". zmqruntime up to 0.5 sends none.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct ShutdownRequest {
    /// Whether it was "force_shutdown".
    pub force: bool,
    /// The process that the client means (zmqruntime 0.6); another viewer on the port must refuse.
    pub process_identity: Option<ProcessIdentity>,
    /// How long the client watches for the end, in seconds (zmqruntime 0.6).
    pub observation_budget_seconds: Option<f64>,
    /// Its words for what it watches (zmqruntime 0.6).
    pub observation_operation: Option<String>,
}

/// `ViewerStateControlOptions`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct StateOptions {
    /// Only this route; all without.
    pub route_key: Option<String>,
    /// List the component values of each layer's items.
    pub include_component_values: bool,
    /// At most so many of them per layer.
    pub max_component_values_per_layer: Option<u64>,
    /// List a summary of each layer's items.
    pub include_payload_summaries: bool,
    /// At most so many of them per layer.
    pub max_payload_summaries_per_layer: Option<u64>,
}

impl Default for StateOptions {
    fn default() -> Self {
        Self {
            route_key: None,
            include_component_values: true,
            max_component_values_per_layer: None,
            include_payload_summaries: true,
            max_payload_summaries_per_layer: None,
        }
    }
}

/// Which planes "payloads" selects along the stack axes.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum AxisIndices {
    /// One index per stack axis, in their order.
    Positions(Vec<u64>),
    /// Some axes by name; the others are free.
    Named(Vec<(String, u64)>),
}

/// How much of each shape "payloads" returns.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum ShapeDetail {
    /// "full": every field.
    #[default]
    Full,
    /// "summary": type and metadata only.
    Summary,
}

/// `ViewerPayloadProjectionOptions` with its `ViewerPayloadControlOptions`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PayloadOptions {
    /// Only this route; all without.
    pub route_key: Option<String>,
    /// Only these planes; all without.
    pub axis_indices: Option<AxisIndices>,
    /// Return pixel values.
    pub include_array_values: bool,
    /// Values of a larger plane are left out.
    pub max_array_elements: u64,
    /// `start..stop` of the last axes of each array; all without.
    pub array_slices: Option<Vec<(u64, u64)>>,
    /// Return shapes and points.
    pub include_shape_payloads: bool,
    /// At most so many shapes per item.
    pub max_shape_payloads: u64,
    /// At most so many shapes in the reply.
    pub max_total_shape_payloads: Option<u64>,
    /// How much of each.
    pub shape_detail: ShapeDetail,
}

impl Default for PayloadOptions {
    fn default() -> Self {
        Self {
            route_key: None,
            axis_indices: None,
            include_array_values: false,
            max_array_elements: 4096,
            array_slices: None,
            include_shape_payloads: true,
            max_shape_payloads: 256,
            max_total_shape_payloads: None,
            shape_detail: ShapeDetail::Full,
        }
    }
}

/// `ViewerNavigationControlOptions`.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct NavigateOptions {
    /// The layer.
    pub route_key: String,
    /// Axis name to index within the route, counted from 0.
    pub axis_indices: Vec<(String, u64)>,
    /// Show or hide it.
    pub visible: Option<bool>,
    /// Select or deselect it.
    pub selected: Option<bool>,
    /// Select this element of a shapes or points layer and go to its slice.
    pub data_index: Option<u64>,
}

/// `ViewerLayerIsolationControlOptions`.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct IsolateLayersOptions {
    /// Routes to show; at least one. The others are hidden.
    pub visible_route_keys: Vec<String>,
    /// Route to select.
    pub selected_route_key: Option<String>,
    /// Axis name to index within the routes, counted from 0.
    pub axis_indices: Vec<(String, u64)>,
}

/// `ViewerIntensityWindowControlOptions`.
#[derive(Clone, PartialEq, Debug)]
pub struct IntensityWindowOptions {
    /// The layer.
    pub route_key: String,
    /// Only the planes at these indices count; all of the route when empty.
    pub axis_indices: Vec<(String, u64)>,
    /// Percentile drawn as black, 0 to 100.
    pub low_percentile: f64,
    /// Percentile drawn as full colour, above the low one.
    pub high_percentile: f64,
}

/// `ViewerImageIntensityControlOptions`.
#[derive(Clone, PartialEq, Debug)]
pub struct ImageIntensityOptions {
    /// The layer.
    pub route_key: String,
    /// What to set.
    pub presentation: NativeIntensity,
}

/// Which part of the window a screenshot shows.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum CaptureScope {
    /// "widget": the canvas.
    #[default]
    Widget,
    /// "window": the whole window.
    Window,
}

/// Which frame a screenshot takes.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum FrameCondition {
    /// "immediate": the next one.
    #[default]
    Immediate,
    /// "flash_maximum_alpha": of OpenHCS's own windows.
    FlashMaximumAlpha,
    /// "no_flash": of OpenHCS's own windows.
    NoFlash,
}

/// `WindowSnapshotCaptureSpec` (pyqt-reactive), or the agent's `ViewerWindowSnapshotRequest`, which extends it.
#[derive(Clone, PartialEq, Debug)]
pub struct ScreenshotRequest {
    /// Folder in which the viewer writes the PNG.
    pub output_dir_path: String,
    /// Which part of the window.
    pub capture_scope: CaptureScope,
    /// Which frame.
    pub frame_condition: FrameCondition,
    /// How long to wait for that frame, in seconds.
    pub observation_timeout_s: f64,
}

impl ScreenshotRequest {
    /// The `snapshot` of the reply: a real `WindowSnapshotCaptureSpec` with real enum members once it is unpickled.
    pub fn capture_spec(&self) -> PickleValue {
        let scope = match self.capture_scope {
            CaptureScope::Widget => "widget",
            CaptureScope::Window => "window",
        };
        let condition = match self.frame_condition {
            FrameCondition::Immediate => "immediate",
            FrameCondition::FlashMaximumAlpha => "flash_maximum_alpha",
            FrameCondition::NoFlash => "no_flash",
        };
        PickleValue::object(
            WINDOW_SNAPSHOT,
            "WindowSnapshotCaptureSpec",
            [
                ("output_dir_path", self.output_dir_path.as_str().into()),
                ("capture_scope", PickleValue::enum_member(WINDOW_SNAPSHOT, "WindowSnapshotCaptureScope", scope)),
                (
                    "frame_condition",
                    PickleValue::enum_member(WINDOW_SNAPSHOT, "WindowSnapshotFrameCondition", condition),
                ),
                ("observation_timeout_s", self.observation_timeout_s.into()),
            ],
        )
    }
}

impl ControlRequest {
    /// Reads one frame of the control socket.
    ///
    /// # Errors
    /// When it is no pickle we read, no mapping, or its payload is not what its type needs.
    pub fn decode(frame: &[u8]) -> Result<Self, ControlRequestError> {
        let message = pickle::decode(frame, &PickleLimits::CONTROL_REQUEST)
            .map_err(|error| ControlRequestError { reply_type: "error", message: error.to_string() })?;
        Self::from_value(&message)
    }

    /// As [`ControlRequest::decode`], of an unpickled request.
    ///
    /// # Errors
    /// When it is no mapping, or its payload is not what its type needs.
    pub fn from_value(message: &PickleValue) -> Result<Self, ControlRequestError> {
        if !message.is_mapping() {
            return Err(plain("Napari control request must decode to a mapping."));
        }
        let payload = message.get("payload");
        let request_type = message.get("type");
        Ok(match request_type.and_then(PickleValue::as_str) {
            Some("ping") => Self::Ping,
            Some("shutdown") => Self::Shutdown(shutdown(message, false)?),
            Some("force_shutdown") => Self::Shutdown(shutdown(message, true)?),
            Some("clear_state") => Self::ClearState,
            Some("settle") => Self::Settle,
            Some("state") => Self::State(state(payload)?),
            Some("payloads") => Self::Payloads(payloads(payload)?),
            Some("navigate") => Self::Navigate(navigate(payload)?),
            Some("isolate_layers") => Self::IsolateLayers(isolate_layers(payload)?),
            Some("apply_intensity_window") => Self::ApplyIntensityWindow(intensity_window(payload)?),
            Some("image_intensity") => Self::ImageIntensity(image_intensity(payload)?),
            Some("viewport") => Self::Viewport(viewport(payload)?),
            Some("screenshot") => Self::Screenshot(screenshot(payload)?),
            _ => Self::Unknown { type_name: request_type.unwrap_or(&PickleValue::None).to_string() },
        })
    }

    /// The `type` on the wire. Nothing for [`ControlRequest::Unknown`].
    pub fn type_name(&self) -> Option<&'static str> {
        Some(match self {
            Self::Ping => "ping",
            Self::Shutdown(ShutdownRequest { force: false, .. }) => "shutdown",
            Self::Shutdown(ShutdownRequest { force: true, .. }) => "force_shutdown",
            Self::ClearState => "clear_state",
            Self::Settle => "settle",
            Self::State(_) => "state",
            Self::Payloads(_) => "payloads",
            Self::Navigate(_) => "navigate",
            Self::IsolateLayers(_) => "isolate_layers",
            Self::ApplyIntensityWindow(_) => "apply_intensity_window",
            Self::ImageIntensity(_) => "image_intensity",
            Self::Viewport(_) => "viewport",
            Self::Screenshot(_) => "screenshot",
            Self::Unknown { .. } => return None,
        })
    }

    /// The request as a frame, with a plain dict as payload: our viewer reads it, the incumbent wants its classes.
    pub fn encode(&self) -> Vec<u8> {
        pickle::encode(&self.to_value())
    }

    /// The request as a dict of builtins. [`ControlRequest::Unknown`] sends its `type_name` as it stands.
    pub fn to_value(&self) -> PickleValue {
        let request_type = match self {
            Self::Unknown { type_name } => type_name.as_str(),
            // Only Unknown has none.
            known => known.type_name().unwrap_or_default(),
        };
        let mut items = vec![("type", PickleValue::from(request_type))];
        match self {
            Self::Shutdown(options) => items.extend(shutdown_items(options)),
            other => items.extend(other.payload().map(|payload| ("payload", payload))),
        }
        PickleValue::dict(items)
    }

    fn payload(&self) -> Option<PickleValue> {
        Some(match self {
            Self::State(options) => PickleValue::dict([
                ("route_key", options.route_key.clone().into()),
                ("include_component_values", options.include_component_values.into()),
                ("max_component_values_per_layer", options.max_component_values_per_layer.into()),
                ("include_payload_summaries", options.include_payload_summaries.into()),
                ("max_payload_summaries_per_layer", options.max_payload_summaries_per_layer.into()),
            ]),
            Self::Payloads(options) => payload_items(options),
            Self::Navigate(options) => PickleValue::dict([
                ("route_key", options.route_key.as_str().into()),
                ("axis_indices", indices(&options.axis_indices)),
                ("visible", options.visible.into()),
                ("selected", options.selected.into()),
                ("data_index", options.data_index.into()),
            ]),
            Self::IsolateLayers(options) => PickleValue::dict([
                ("visible_route_keys", super::texts(&options.visible_route_keys)),
                ("selected_route_key", options.selected_route_key.clone().into()),
                ("axis_indices", indices(&options.axis_indices)),
            ]),
            Self::ApplyIntensityWindow(options) => PickleValue::dict([
                ("route_key", options.route_key.as_str().into()),
                ("axis_indices", indices(&options.axis_indices)),
                ("low_percentile", options.low_percentile.into()),
                ("high_percentile", options.high_percentile.into()),
            ]),
            Self::ImageIntensity(options) => PickleValue::dict([
                ("route_key", options.route_key.as_str().into()),
                ("presentation", options.presentation.to_value()),
            ]),
            Self::Viewport(viewport) => viewport.to_value(),
            Self::Screenshot(request) => {
                let spec = request.capture_spec();
                // The same names, with the enums' values.
                let plain = |value: &PickleValue| value.as_str().map_or_else(|| value.clone(), PickleValue::from);
                PickleValue::dict(spec.fields().into_iter().map(|(name, value)| (name, plain(value))))
            }
            Self::Ping | Self::Shutdown(_) | Self::ClearState | Self::Settle | Self::Unknown { .. } => return None,
        })
    }
}

impl From<ControlRequestError> for ControlReply {
    fn from(error: ControlRequestError) -> Self {
        Self::Error { reply_type: error.reply_type.to_owned(), message: error.message }
    }
}
