//! What a client may ask, typed.

use super::pong::ProcessIdentity;
use super::read::{Fields, named_indices};
use super::reply::ControlReply;
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

type Read<T> = Result<T, ControlRequestError>;

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

fn plain(message: &str) -> ControlRequestError {
    ControlRequestError { reply_type: "error", message: message.to_owned() }
}

fn indices(values: &[(String, u64)]) -> PickleValue {
    PickleValue::dict(values.iter().map(|(name, index)| (name.as_str(), (*index).into())))
}

fn shutdown(message: &PickleValue, force: bool) -> Read<ShutdownRequest> {
    // Fields of zmqruntime 0.6 stand beside the type, not in a payload. A wrong identity must not pass for none.
    let identity = message.get("process_identity").filter(|value| !value.is_none());
    let process_identity = identity
        .map(|value| {
            ProcessIdentity::from_value(value).ok_or_else(|| ControlRequestError {
                reply_type: "shutdown_ack",
                message: "Viewer shutdown process_identity must hold pid and create_time.".to_owned(),
            })
        })
        .transpose()?;
    Ok(ShutdownRequest {
        force,
        process_identity,
        observation_budget_seconds: message.get("observation_budget_seconds").and_then(PickleValue::as_f64),
        observation_operation: message.get("observation_operation").and_then(PickleValue::as_str).map(str::to_owned),
    })
}

fn shutdown_items(options: &ShutdownRequest) -> Vec<(&'static str, PickleValue)> {
    let mut items = Vec::new();
    items.extend(options.process_identity.map(|identity| ("process_identity", identity.to_value())));
    items.extend(options.observation_budget_seconds.map(|seconds| ("observation_budget_seconds", seconds.into())));
    items.extend(options.observation_operation.clone().map(|words| ("observation_operation", words.into())));
    items
}

fn state(payload: Option<&PickleValue>) -> Read<StateOptions> {
    let fields = Fields::of(payload, &["ViewerStateControlOptions"], "Viewer state", "error")
        .ok_or_else(|| plain("Napari state control payload must be ViewerStateControlOptions."))?;
    let defaults = StateOptions::default();
    Ok(StateOptions {
        route_key: fields.text("route_key")?,
        include_component_values: fields.flag("include_component_values")?.unwrap_or(defaults.include_component_values),
        max_component_values_per_layer: fields.count("max_component_values_per_layer")?,
        include_payload_summaries: fields
            .flag("include_payload_summaries")?
            .unwrap_or(defaults.include_payload_summaries),
        max_payload_summaries_per_layer: fields.count("max_payload_summaries_per_layer")?,
    })
}

fn payloads(payload: Option<&PickleValue>) -> Read<PayloadOptions> {
    let wrong = || plain("Napari payload control payload must be ViewerPayloadProjectionOptions.");
    let outer =
        Fields::of(payload, &["ViewerPayloadProjectionOptions"], "Viewer payload", "error").ok_or_else(wrong)?;
    let empty = PickleValue::Dict(Vec::new());
    let controls = outer.get("controls").unwrap_or(&empty);
    let fields = Fields::of(Some(controls), &["ViewerPayloadControlOptions"], "Viewer payload", "error")
        .ok_or_else(|| outer.error("projection controls must be ViewerPayloadControlOptions."))?;
    let axis_indices = fields
        .get("axis_indices")
        .map(|value| {
            let positions = value.items().and_then(|items| items.iter().map(PickleValue::as_u64).collect());
            positions
                .map(AxisIndices::Positions)
                .or_else(|| named_indices(value).map(AxisIndices::Named))
                .ok_or_else(|| fields.error("axis_indices must be a tuple or mapping of nonnegative integers."))
        })
        .transpose()?;
    let shape_detail = match outer.get("shape_payload_projection").map(PickleValue::as_str) {
        None | Some(Some("full")) => ShapeDetail::Full,
        Some(Some("summary")) => ShapeDetail::Summary,
        Some(_) => return Err(outer.error("shape_payload_projection must be a ViewerShapePayloadProjection.")),
    };
    let defaults = PayloadOptions::default();
    Ok(PayloadOptions {
        route_key: fields.text("route_key")?,
        axis_indices,
        include_array_values: fields.flag("include_array_values")?.unwrap_or(defaults.include_array_values),
        max_array_elements: fields.count("max_array_elements")?.unwrap_or(defaults.max_array_elements),
        array_slices: fields.ranges("array_slices")?,
        include_shape_payloads: fields.flag("include_shape_payloads")?.unwrap_or(defaults.include_shape_payloads),
        max_shape_payloads: fields.count("max_shape_payloads")?.unwrap_or(defaults.max_shape_payloads),
        max_total_shape_payloads: outer.count("max_total_shape_payloads")?,
        shape_detail,
    })
}

fn payload_items(options: &PayloadOptions) -> PickleValue {
    let axis_indices = options.axis_indices.as_ref().map(|selected| match selected {
        AxisIndices::Positions(positions) => PickleValue::tuple(positions.iter().copied()),
        AxisIndices::Named(named) => indices(named),
    });
    let slices = options
        .array_slices
        .as_ref()
        .map(|ranges| PickleValue::tuple(ranges.iter().map(|(start, stop)| PickleValue::tuple([*start, *stop]))));
    let controls = PickleValue::dict([
        ("route_key", options.route_key.clone().into()),
        ("axis_indices", axis_indices.into()),
        ("include_array_values", options.include_array_values.into()),
        ("max_array_elements", options.max_array_elements.into()),
        ("array_slices", slices.into()),
        ("include_shape_payloads", options.include_shape_payloads.into()),
        ("max_shape_payloads", options.max_shape_payloads.into()),
    ]);
    let detail = match options.shape_detail {
        ShapeDetail::Full => "full",
        ShapeDetail::Summary => "summary",
    };
    PickleValue::dict([
        ("controls", controls),
        ("max_total_shape_payloads", options.max_total_shape_payloads.into()),
        ("shape_payload_projection", detail.into()),
    ])
}

fn navigate(payload: Option<&PickleValue>) -> Read<NavigateOptions> {
    let fields = Fields::of(payload, &["ViewerNavigationControlOptions"], "Viewer navigation", "navigation_ack")
        .ok_or_else(|| ControlRequestError {
            reply_type: "navigation_ack",
            message: "Napari navigation control payload must be ViewerNavigationControlOptions.".to_owned(),
        })?;
    let options = NavigateOptions {
        route_key: fields.route_key()?,
        axis_indices: fields.axis_indices()?,
        visible: fields.flag("visible")?,
        selected: fields.flag("selected")?,
        data_index: fields.count("data_index")?,
    };
    match options {
        NavigateOptions { data_index: Some(_), visible: Some(false), .. } => {
            Err(fields.error("data_index cannot target a hidden layer."))
        }
        NavigateOptions { data_index: Some(_), selected: Some(false), .. } => {
            Err(fields.error("data_index cannot target a deselected layer."))
        }
        options => Ok(options),
    }
}

fn isolate_layers(payload: Option<&PickleValue>) -> Read<IsolateLayersOptions> {
    let class = "ViewerLayerIsolationControlOptions";
    let fields = Fields::of(payload, &[class], "Viewer layer isolation", "layer_isolation_ack").ok_or_else(|| {
        ControlRequestError {
            reply_type: "layer_isolation_ack",
            message: format!("Napari layer isolation payload must be {class}."),
        }
    })?;
    let visible_route_keys = fields.texts("visible_route_keys")?.unwrap_or_default();
    if visible_route_keys.is_empty() {
        return Err(fields.error("requires at least one visible route key."));
    }
    Ok(IsolateLayersOptions {
        visible_route_keys,
        selected_route_key: fields.text("selected_route_key")?,
        axis_indices: fields.axis_indices()?,
    })
}

fn intensity_window(payload: Option<&PickleValue>) -> Read<IntensityWindowOptions> {
    let class = "ViewerIntensityWindowControlOptions";
    let fields = Fields::of(payload, &[class], "Viewer intensity-window", "intensity_window_ack").ok_or_else(|| {
        ControlRequestError {
            reply_type: "intensity_window_ack",
            message: format!("Napari intensity-window payload must be {class}."),
        }
    })?;
    let options = IntensityWindowOptions {
        route_key: fields.route_key()?,
        axis_indices: fields.axis_indices()?,
        low_percentile: fields.number("low_percentile")?.unwrap_or(1.0),
        high_percentile: fields.number("high_percentile")?.unwrap_or(99.0),
    };
    let (low, high) = (options.low_percentile, options.high_percentile);
    for (name, percentile) in [("low_percentile", low), ("high_percentile", high)] {
        if !(0.0..=100.0).contains(&percentile) {
            return Err(fields.error(format_args!("{name} must be finite and within [0, 100].")));
        }
    }
    if low >= high {
        return Err(fields.error("percentiles must satisfy low_percentile < high_percentile."));
    }
    Ok(options)
}

fn image_intensity(payload: Option<&PickleValue>) -> Read<ImageIntensityOptions> {
    let class = "ViewerImageIntensityControlOptions";
    let fields =
        Fields::of(payload, &[class], "Image intensity", "image_intensity_ack").ok_or_else(|| ControlRequestError {
            reply_type: "image_intensity_ack",
            message: format!("Image intensity payload must be {class}."),
        })?;
    let route_key = fields.route_key()?;
    let presentation = Fields::of(
        fields.get("presentation"),
        &["ViewerNativeImageIntensityPresentation"],
        "Image intensity presentation",
        "image_intensity_ack",
    )
    .ok_or_else(|| fields.error("control requires a typed native presentation."))?;
    let contrast_limits = presentation.numbers("contrast_limits")?;
    let presentation_read = NativeIntensity {
        contrast_limits: presentation.required("contrast_limits", contrast_limits)?,
        gamma: presentation.number("gamma")?.unwrap_or(1.0),
    };
    if presentation_read.contrast_limits[0] >= presentation_read.contrast_limits[1] {
        return Err(fields.error("contrast_limits lower bound must be smaller than upper bound."));
    }
    if presentation_read.gamma <= 0.0 {
        return Err(fields.error("gamma must be positive."));
    }
    Ok(ImageIntensityOptions { route_key, presentation: presentation_read })
}

fn viewport(payload: Option<&PickleValue>) -> Read<Viewport> {
    let fields =
        Fields::of(payload, &["ViewerNativeViewportPresentation"], "Viewport", "viewport_ack").ok_or_else(|| {
            ControlRequestError {
                reply_type: "viewport_ack",
                message: "Viewport payload must be ViewerNativeViewportPresentation.".to_owned(),
            }
        })?;
    let center = fields.numbers("center")?;
    let zoom = fields.number("zoom")?;
    let viewport = Viewport { center: fields.required("center", center)?, zoom: fields.required("zoom", zoom)? };
    if viewport.zoom <= 0.0 {
        return Err(fields.error("zoom must be positive."));
    }
    Ok(viewport)
}

fn screenshot(payload: Option<&PickleValue>) -> Read<ScreenshotRequest> {
    let classes = ["WindowSnapshotCaptureSpec", "ViewerWindowSnapshotRequest"];
    let fields = Fields::of(payload, &classes, "Napari screenshot", "screenshot_ack")
        .ok_or_else(|| plain("Napari screenshot control payload must be WindowSnapshotCaptureSpec."))?;
    let output_dir_path = fields.text("output_dir_path")?;
    let capture_scope = match fields.get("capture_scope").map(PickleValue::as_str) {
        None | Some(Some("widget")) => CaptureScope::Widget,
        Some(Some("window")) => CaptureScope::Window,
        Some(_) => return Err(fields.error("capture_scope must be \"widget\" or \"window\".")),
    };
    let frame_condition = match fields.get("frame_condition").map(PickleValue::as_str) {
        None | Some(Some("immediate")) => FrameCondition::Immediate,
        Some(Some("flash_maximum_alpha")) => FrameCondition::FlashMaximumAlpha,
        Some(Some("no_flash")) => FrameCondition::NoFlash,
        Some(_) => {
            return Err(fields.error("frame_condition must be \"immediate\", \"flash_maximum_alpha\" or \"no_flash\"."));
        }
    };
    Ok(ScreenshotRequest {
        output_dir_path: fields.required("output_dir_path", output_dir_path)?,
        capture_scope,
        frame_condition,
        observation_timeout_s: fields.number("observation_timeout_s")?.unwrap_or(5.0),
    })
}
