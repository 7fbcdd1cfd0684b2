//! Payloads of control requests as the Python objects that the incumbent insists on.
//!
//! wellscope also reads plain dicts; openhcs 0.8.6 refuses a payload that is no instance of its class.

use wellscope_protocol::control::{
    AxisIndices, ImageIntensityOptions, IntensityWindowOptions, IsolateLayersOptions, NavigateOptions, PayloadOptions,
    ShapeDetail, StateOptions, Viewport,
};
use wellscope_protocol::pickle::PickleValue;

const CONTROLS: &str = "openhcs.runtime.viewer_controls";
const VIEWER_PROTOCOL: &str = "zmqruntime.viewer_protocol";

fn indices(axis_indices: &[(String, u64)]) -> PickleValue {
    PickleValue::dict(axis_indices.iter().map(|(axis, index)| (axis.as_str(), PickleValue::from(*index))))
}

pub(super) fn state(options: &StateOptions) -> PickleValue {
    PickleValue::object(
        CONTROLS,
        "ViewerStateControlOptions",
        [
            ("route_key", options.route_key.clone().into()),
            ("include_component_values", options.include_component_values.into()),
            ("max_component_values_per_layer", options.max_component_values_per_layer.into()),
            ("include_payload_summaries", options.include_payload_summaries.into()),
            ("max_payload_summaries_per_layer", options.max_payload_summaries_per_layer.into()),
        ],
    )
}

pub(super) fn navigate(options: &NavigateOptions) -> PickleValue {
    PickleValue::object(
        CONTROLS,
        "ViewerNavigationControlOptions",
        [
            ("route_key", options.route_key.as_str().into()),
            ("axis_indices", indices(&options.axis_indices)),
            ("visible", options.visible.into()),
            ("selected", options.selected.into()),
            ("data_index", options.data_index.into()),
        ],
    )
}

pub(super) fn viewport(viewport: Viewport) -> PickleValue {
    PickleValue::object(
        VIEWER_PROTOCOL,
        "ViewerNativeViewportPresentation",
        [("center", PickleValue::tuple(viewport.center)), ("zoom", viewport.zoom.into())],
    )
}

pub(super) fn isolate(options: &IsolateLayersOptions) -> PickleValue {
    PickleValue::object(
        CONTROLS,
        "ViewerLayerIsolationControlOptions",
        [
            ("visible_route_keys", PickleValue::tuple(options.visible_route_keys.iter().cloned())),
            ("selected_route_key", options.selected_route_key.clone().into()),
            ("axis_indices", indices(&options.axis_indices)),
        ],
    )
}

pub(super) fn intensity_window(options: &IntensityWindowOptions) -> PickleValue {
    PickleValue::object(
        CONTROLS,
        "ViewerIntensityWindowControlOptions",
        [
            ("route_key", options.route_key.as_str().into()),
            ("axis_indices", indices(&options.axis_indices)),
            ("low_percentile", options.low_percentile.into()),
            ("high_percentile", options.high_percentile.into()),
        ],
    )
}

pub(super) fn image_intensity(options: &ImageIntensityOptions) -> PickleValue {
    let presentation = PickleValue::object(
        VIEWER_PROTOCOL,
        "ViewerNativeImageIntensityPresentation",
        [
            ("contrast_limits", PickleValue::tuple(options.presentation.contrast_limits)),
            ("gamma", options.presentation.gamma.into()),
        ],
    );
    PickleValue::object(
        VIEWER_PROTOCOL,
        "ViewerImageIntensityControlOptions",
        [("route_key", options.route_key.as_str().into()), ("presentation", presentation)],
    )
}

pub(super) fn payloads(options: &PayloadOptions) -> PickleValue {
    let axis_indices = options.axis_indices.as_ref().map(|selected| match selected {
        AxisIndices::Positions(positions) => PickleValue::tuple(positions.iter().copied()),
        AxisIndices::Named(named) => indices(named),
    });
    let slices = options
        .array_slices
        .as_ref()
        .map(|ranges| PickleValue::tuple(ranges.iter().map(|(start, stop)| PickleValue::tuple([*start, *stop]))));
    let controls = PickleValue::object(
        CONTROLS,
        "ViewerPayloadControlOptions",
        [
            ("route_key", options.route_key.clone().into()),
            ("axis_indices", axis_indices.into()),
            ("include_array_values", options.include_array_values.into()),
            ("max_array_elements", options.max_array_elements.into()),
            ("array_slices", slices.into()),
            ("include_shape_payloads", options.include_shape_payloads.into()),
            ("max_shape_payloads", options.max_shape_payloads.into()),
        ],
    );
    let detail = match options.shape_detail {
        ShapeDetail::Full => "full",
        ShapeDetail::Summary => "summary",
    };
    PickleValue::object(
        CONTROLS,
        "ViewerPayloadProjectionOptions",
        [
            ("controls", controls),
            ("max_total_shape_payloads", options.max_total_shape_payloads.into()),
            ("shape_payload_projection", PickleValue::enum_member(CONTROLS, "ViewerShapePayloadProjection", detail)),
        ],
    )
}
