//! The viewer described: what "state" answers, and with it "navigate", "isolate_layers" and "image_intensity".

use super::payloads::PayloadSummary;
use super::{NamedValues, dict_of, dicts_of, numbers, texts};
use crate::pickle::PickleValue;

/// Centre and zoom of the camera.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Viewport {
    /// `[z, y, x]` in data pixels; the centre of n pixels is (n - 1) / 2. z is 0 in a 2-D view.
    pub center: [f64; 3],
    /// Screen pixels per data pixel.
    pub zoom: f64,
}

impl Viewport {
    pub(super) fn to_value(self) -> PickleValue {
        PickleValue::dict([("center", numbers(&self.center)), ("zoom", self.zoom.into())])
    }
}

/// Contrast limits and gamma of an image layer.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct NativeIntensity {
    /// Intensities drawn as black and as full colour, in the image's units.
    pub contrast_limits: [f64; 2],
    /// Exponent applied after the limits; 1 is linear.
    pub gamma: f64,
}

impl NativeIntensity {
    pub(super) fn to_value(self) -> PickleValue {
        PickleValue::dict([("contrast_limits", numbers(&self.contrast_limits)), ("gamma", self.gamma.into())])
    }
}

/// One layer in a [`StateReply`]. All sequences are tuples on the wire, the lists inside dicts are lists.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct LayerState {
    /// Identity of the layer.
    pub route_key: String,
    /// Who produced its items: `origin`, `output_kind`, ...
    pub producer_identities: Vec<NamedValues>,
    /// Name as shown.
    pub title: String,
    /// Whether it is on screen.
    pub mounted: bool,
    /// Items received.
    pub item_count: u64,
    /// Kinds of its items: "image", "shapes", "points".
    pub data_types: Vec<String>,
    /// Component values of its items, if asked for.
    pub component_values: Vec<NamedValues>,
    /// How many there are, listed or not.
    pub component_value_count: u64,
    /// Summaries of its items, if asked for.
    pub payload_summaries: Vec<PayloadSummary>,
    /// How many there are, listed or not.
    pub payload_summary_count: u64,
    /// Names of all axes of the viewer, slowest first, ending in y, x.
    pub axis_labels: Vec<String>,
    /// Those with a slider in this layer.
    pub stack_axes: Vec<String>,
    /// First index of this layer along each of them.
    pub axis_offsets: Vec<i64>,
    /// Labels of the other components ("Site 1").
    pub scalar_labels: Vec<String>,
    /// Label per value of each slider.
    pub labels: Vec<(String, Vec<String>)>,
    /// Values along each slider.
    pub axis_component_values: Vec<(String, Vec<PickleValue>)>,
    /// Those for which items came.
    pub routed_component_values: Vec<(String, Vec<PickleValue>)>,
    /// Extents of the layer's data in axis order; number of elements for shapes, (number, axes) for points.
    pub data_shape: Vec<u64>,
    /// Scale per axis.
    pub scale: Vec<f64>,
    /// Translation per axis, in world units.
    pub translate: Vec<f64>,
    /// Contrast limits and gamma; none for shapes and points.
    pub native_intensity: Option<NativeIntensity>,
    /// Whether it is shown.
    pub visible: bool,
    /// Whether it is the active layer.
    pub selected: bool,
    /// Rows of its feature table: one per shape or point.
    pub feature_row_count: u64,
    /// Selected shapes or points.
    pub selected_data_indices: Vec<u64>,
    /// Whether something received is not drawn yet.
    pub pending_update: bool,
}

impl LayerState {
    fn to_value(&self) -> PickleValue {
        let listed = |count: usize| count as u64;
        let transform = [("scale", numbers(&self.scale)), ("translate", numbers(&self.translate))];
        PickleValue::dict([
            ("route_key", self.route_key.as_str().into()),
            ("producer_identities", dicts_of(&self.producer_identities)),
            ("title", self.title.as_str().into()),
            ("mounted", self.mounted.into()),
            ("item_count", self.item_count.into()),
            ("data_types", texts(&self.data_types)),
            ("component_values", dicts_of(&self.component_values)),
            ("component_value_count", self.component_value_count.into()),
            ("component_values_truncated", (listed(self.component_values.len()) < self.component_value_count).into()),
            ("payload_summaries", PickleValue::tuple(self.payload_summaries.iter().map(PayloadSummary::to_value))),
            ("payload_summary_count", self.payload_summary_count.into()),
            ("payload_summaries_truncated", (listed(self.payload_summaries.len()) < self.payload_summary_count).into()),
            ("axis_labels", texts(&self.axis_labels)),
            ("stack_axes", texts(&self.stack_axes)),
            ("axis_offsets", PickleValue::tuple(self.axis_offsets.iter().copied())),
            ("scalar_labels", texts(&self.scalar_labels)),
            (
                "labels",
                PickleValue::dict(
                    self.labels.iter().map(|(axis, labels)| (axis.as_str(), PickleValue::list(labels.iter().cloned()))),
                ),
            ),
            ("axis_component_values", lists(&self.axis_component_values)),
            ("routed_component_values", lists(&self.routed_component_values)),
            ("data_shape", PickleValue::tuple(self.data_shape.iter().copied())),
            ("native_transform", PickleValue::dict(transform)),
            ("native_intensity", self.native_intensity.map(NativeIntensity::to_value).into()),
            ("visible", self.visible.into()),
            ("selected", self.selected.into()),
            ("feature_row_count", self.feature_row_count.into()),
            ("selected_data_indices", PickleValue::tuple(self.selected_data_indices.iter().copied())),
            ("pending_update", self.pending_update.into()),
        ])
    }
}

fn lists(values: &[(String, Vec<PickleValue>)]) -> PickleValue {
    PickleValue::dict(values.iter().map(|(axis, values)| (axis.as_str(), PickleValue::List(values.clone()))))
}

/// The viewer and its layers.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct StateReply {
    /// Title of the window.
    pub viewer_title: String,
    /// The layers that were asked for, in drawing order.
    pub layers: Vec<LayerState>,
    /// The camera; none without a window.
    pub native_viewport: Option<Viewport>,
    /// Route whose labels the overlay shows.
    pub active_dimension_label_route: Option<String>,
    /// Number of axes of the viewer.
    pub viewer_ndim: u64,
    /// Slider positions, one per axis.
    pub current_step: Vec<i64>,
    /// Names of the axes.
    pub axis_labels: Vec<String>,
    /// Routes that hold items.
    pub component_group_count: u64,
    /// Items that they hold.
    pub component_item_count: u64,
    /// Facts of our own under the key "wellscope": drawn overlay text, counters. Clients of the incumbent ignore it.
    pub wellscope: NamedValues,
}

impl StateReply {
    pub(super) fn items(&self, reply_type: &'static str) -> Vec<(&'static str, PickleValue)> {
        let mut items = vec![
            ("type", reply_type.into()),
            ("status", "success".into()),
            ("viewer", viewer(&self.viewer_title)),
            ("layer_count", self.layers.len().into()),
            ("layers", PickleValue::tuple(self.layers.iter().map(LayerState::to_value))),
            ("native_viewport", self.native_viewport.map(Viewport::to_value).into()),
            ("active_dimension_label_route", self.active_dimension_label_route.clone().into()),
            ("viewer_ndim", self.viewer_ndim.into()),
            ("current_step", PickleValue::tuple(self.current_step.iter().copied())),
            ("axis_labels", texts(&self.axis_labels)),
            ("component_group_count", self.component_group_count.into()),
            ("component_item_count", self.component_item_count.into()),
        ];
        if !self.wellscope.is_empty() {
            items.push(("wellscope", dict_of(&self.wellscope)));
        }
        items
    }
}

/// `viewer` of a reply. The type is the incumbent's: clients look for it.
pub(super) fn viewer(title: &str) -> PickleValue {
    PickleValue::dict([("type", "napari"), ("title", title)].map(|(key, value)| (key, PickleValue::from(value))))
}
