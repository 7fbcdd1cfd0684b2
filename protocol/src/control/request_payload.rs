//! Payloads of requests: read from the incumbent's classes or from plain dicts, and written as plain dicts.
//!
//! The sentences of the errors are those of openhcs 0.8.6 and zmqruntime 0.2.24, which clients show to their users.

use super::pong::ProcessIdentity;
use super::read::{Fields, named_indices};
use super::request::{
    AxisIndices, CaptureScope, ControlRequestError, FrameCondition, ImageIntensityOptions, IntensityWindowOptions,
    IsolateLayersOptions, NavigateOptions, PayloadOptions, ScreenshotRequest, ShapeDetail, ShutdownRequest,
    StateOptions,
};
use super::state::{NativeIntensity, Viewport};
use crate::pickle::PickleValue;

type Read<T> = Result<T, ControlRequestError>;

pub(super) fn plain(message: &str) -> ControlRequestError {
    ControlRequestError { reply_type: "error", message: message.to_owned() }
}

pub(super) fn indices(values: &[(String, u64)]) -> PickleValue {
    PickleValue::dict(values.iter().map(|(name, index)| (name.as_str(), (*index).into())))
}

pub(super) fn shutdown(message: &PickleValue, force: bool) -> Read<ShutdownRequest> {
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

pub(super) fn shutdown_items(options: &ShutdownRequest) -> Vec<(&'static str, PickleValue)> {
    let mut items = Vec::new();
    items.extend(options.process_identity.map(|identity| ("process_identity", identity.to_value())));
    items.extend(options.observation_budget_seconds.map(|seconds| ("observation_budget_seconds", seconds.into())));
    items.extend(options.observation_operation.clone().map(|words| ("observation_operation", words.into())));
    items
}

pub(super) fn state(payload: Option<&PickleValue>) -> Read<StateOptions> {
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

pub(super) fn payloads(payload: Option<&PickleValue>) -> Read<PayloadOptions> {
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

pub(super) fn payload_items(options: &PayloadOptions) -> PickleValue {
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

pub(super) fn navigate(payload: Option<&PickleValue>) -> Read<NavigateOptions> {
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

pub(super) fn isolate_layers(payload: Option<&PickleValue>) -> Read<IsolateLayersOptions> {
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

pub(super) fn intensity_window(payload: Option<&PickleValue>) -> Read<IntensityWindowOptions> {
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

pub(super) fn image_intensity(payload: Option<&PickleValue>) -> Read<ImageIntensityOptions> {
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

pub(super) fn viewport(payload: Option<&PickleValue>) -> Read<Viewport> {
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

pub(super) fn screenshot(payload: Option<&PickleValue>) -> Read<ScreenshotRequest> {
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
