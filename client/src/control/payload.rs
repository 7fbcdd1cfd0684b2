//! Payloads of control requests as the Python objects that the incumbent insists on.
//!
//! wellscope also reads plain dicts; openhcs 0.8.6 refuses a payload that is no instance of its class.

use wellscope_protocol::control::{NavigateOptions, StateOptions, Viewport};
use wellscope_protocol::pickle::PickleValue;

const CONTROLS: &str = "openhcs.runtime.viewer_controls";

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
    let axis_indices = options.axis_indices.iter().map(|(axis, index)| (axis.as_str(), PickleValue::from(*index)));
    PickleValue::object(
        CONTROLS,
        "ViewerNavigationControlOptions",
        [
            ("route_key", options.route_key.as_str().into()),
            ("axis_indices", PickleValue::dict(axis_indices)),
            ("visible", options.visible.into()),
            ("selected", options.selected.into()),
            ("data_index", options.data_index.into()),
        ],
    )
}

pub(super) fn viewport(viewport: Viewport) -> PickleValue {
    PickleValue::object(
        "zmqruntime.viewer_protocol",
        "ViewerNativeViewportPresentation",
        [("center", PickleValue::tuple(viewport.center)), ("zoom", viewport.zoom.into())],
    )
}
