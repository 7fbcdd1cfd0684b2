//! Single planes and shapes described: what "payloads" answers, and the summaries in "state".

use super::request::ShapeDetail;
use super::state::{Viewport, viewer};
use super::{NamedValues, dict_of, dicts_of, numbers, texts};
use crate::batch::Shape;
use crate::pickle::PickleValue;

/// Smallest box around all coordinates of an item.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct ShapeBounds {
    /// `[y, x]` in pixels.
    pub min_yx: [f64; 2],
    /// `[y, x]` in pixels.
    pub max_yx: [f64; 2],
}

/// What an item holds.
#[derive(Clone, PartialEq, Debug)]
pub enum PayloadContent {
    /// Pixels.
    Array {
        /// Extents, slowest first.
        shape: Vec<u64>,
        /// `str(np.dtype)`.
        dtype: String,
        /// Pixels that are not 0.
        nonzero_count: u64,
        /// Smallest and largest value, integers as integers; none for an empty array.
        min_max: Option<(PickleValue, PickleValue)>,
    },
    /// Shapes or points.
    Shapes {
        /// How many.
        count: u64,
        /// Vertices of all of them.
        coordinate_count: u64,
        /// Those that do not say how large their source image was.
        missing_source_spatial_shape_count: u64,
        /// Those that reach beyond it.
        out_of_source_bounds_count: u64,
        /// Box around them; none without coordinates.
        bounds: Option<ShapeBounds>,
    },
}

/// Where an image lies in a bigger frame that it was cut from, as its producer said it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct SourceFrame {
    /// `spatial_origin_yx`: place of the first pixel, in pixels.
    pub origin_yx: Option<[i64; 2]>,
    /// `source_spatial_shape_yx`: extent of the frame, in pixels.
    pub shape_yx: Option<[u64; 2]>,
}

/// One item of a layer.
#[derive(Clone, PartialEq, Debug)]
pub struct PayloadSummary {
    /// "image", "shapes" or "points".
    pub data_type: String,
    /// Path as sent.
    pub path: String,
    /// Its component values.
    pub components: NamedValues,
    /// Where it lies, for images. openhcs 0.8.6 leaves out what was not sent.
    pub source_frame: SourceFrame,
    /// Components that the planes of an item run over, each with a tuple of values; empty for an item of one plane, and for a plane
    /// described by itself.
    pub aggregate_component_values: NamedValues,
    /// What it holds.
    pub content: PayloadContent,
}

impl PayloadSummary {
    pub(super) fn to_value(&self) -> PickleValue {
        let mut items: Vec<(&str, PickleValue)> = vec![
            ("data_type", self.data_type.as_str().into()),
            ("path", self.path.as_str().into()),
            ("components", dict_of(&self.components)),
        ];
        let kind = match &self.content {
            PayloadContent::Array { .. } => "ndarray",
            PayloadContent::Shapes { .. } => "list",
        };
        items.push(("payload_type", kind.into()));
        let SourceFrame { origin_yx, shape_yx } = self.source_frame;
        items.extend(origin_yx.map(|origin| ("spatial_origin_yx", PickleValue::tuple(origin))));
        items.extend(shape_yx.map(|shape| ("source_spatial_shape_yx", PickleValue::tuple(shape))));
        if !self.aggregate_component_values.is_empty() {
            items.push(("aggregate_component_values", dict_of(&self.aggregate_component_values)));
        }
        match &self.content {
            PayloadContent::Array { shape, dtype, nonzero_count, min_max } => {
                items.extend([
                    ("shape", PickleValue::tuple(shape.iter().copied())),
                    ("dtype", dtype.as_str().into()),
                    ("size", shape.iter().product::<u64>().into()),
                    ("nonzero_count", (*nonzero_count).into()),
                ]);
                push_min_max(&mut items, min_max.as_ref());
            }
            PayloadContent::Shapes {
                count,
                coordinate_count,
                missing_source_spatial_shape_count,
                out_of_source_bounds_count,
                bounds,
            } => {
                items.extend([
                    ("item_count", (*count).into()),
                    ("nonzero_count", (*count).into()),
                    ("shape_payload_count", (*count).into()),
                    ("missing_source_spatial_shape_count", (*missing_source_spatial_shape_count).into()),
                    ("shape_coordinate_count", (*coordinate_count).into()),
                    ("shape_out_of_source_bounds_count", (*out_of_source_bounds_count).into()),
                ]);
                items.extend(bounds.map(|bounds| {
                    let corners = [
                        ("min_yx", numbers(&bounds.min_yx)),
                        ("max_yx", numbers(&bounds.max_yx)),
                        ("coordinate_count", (*coordinate_count).into()),
                    ];
                    ("shape_coordinate_bounds_yx", PickleValue::dict(corners))
                }));
            }
        }
        PickleValue::dict(items)
    }
}

fn push_min_max(items: &mut Vec<(&str, PickleValue)>, min_max: Option<&(PickleValue, PickleValue)>) {
    if let Some((min, max)) = min_max {
        items.extend([("min", min.clone()), ("max", max.clone())]);
    }
}

/// Why values that were asked for are left out.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ArrayOmission {
    /// The item holds shapes or points.
    NotAnArray,
    /// More slices were asked for than the array has axes.
    TooManySlices,
    /// The slice is larger than the limit that the request names.
    MaxArrayElements(u64),
    /// The reply holds as many values as one reply may. A limit of our own; the incumbent has none.
    MaxReplyElements(u64),
}

/// Pixel values of one plane, or why they are left out.
#[derive(Clone, PartialEq, Debug)]
pub struct ArrayValues {
    /// Nested tuples as in `array.tolist()`, empty when left out.
    pub values: Vec<PickleValue>,
    /// `start..stop` per axis of what was looked at.
    pub slice_ranges: Vec<(u64, u64)>,
    /// The slices that were asked for, if any.
    pub requested_slice_ranges: Option<Vec<(u64, u64)>>,
    /// `str(np.dtype)`.
    pub dtype: String,
    /// Extents of the slice.
    pub shape: Vec<u64>,
    /// Pixels of the slice that are not 0.
    pub nonzero_count: u64,
    /// Smallest and largest value of the slice.
    pub min_max: Option<(PickleValue, PickleValue)>,
    /// Why the values are left out, if they are.
    pub omitted: Option<ArrayOmission>,
}

fn ranges(values: &[(u64, u64)]) -> PickleValue {
    PickleValue::tuple(values.iter().map(|(start, stop)| PickleValue::tuple([*start, *stop])))
}

impl ArrayValues {
    /// For an item that has no array.
    pub fn not_an_array() -> Self {
        Self {
            values: Vec::new(),
            slice_ranges: Vec::new(),
            requested_slice_ranges: None,
            dtype: String::new(),
            shape: Vec::new(),
            nonzero_count: 0,
            min_max: None,
            omitted: Some(ArrayOmission::NotAnArray),
        }
    }

    fn summary(&self) -> PickleValue {
        let omitted = self.omitted;
        if omitted == Some(ArrayOmission::NotAnArray) {
            return PickleValue::dict([
                ("requested", true.into()),
                ("included", false.into()),
                ("omitted_reason", PickleValue::from("payload_not_ndarray")),
            ]);
        }
        let mut items: Vec<(&str, PickleValue)> = vec![
            ("requested", true.into()),
            ("included", omitted.is_none().into()),
            ("slice_ranges", ranges(&self.slice_ranges)),
        ];
        items.extend(self.requested_slice_ranges.as_ref().map(|asked| ("requested_slice_ranges", ranges(asked))));
        items.extend([
            ("dtype", self.dtype.as_str().into()),
            ("shape", PickleValue::tuple(self.shape.iter().copied())),
            ("size", self.shape.iter().product::<u64>().into()),
            ("nonzero_count", self.nonzero_count.into()),
        ]);
        push_min_max(&mut items, self.min_max.as_ref());
        match omitted {
            None | Some(ArrayOmission::NotAnArray) => {}
            Some(ArrayOmission::TooManySlices) => {
                items.push(("omitted_reason", "slice_rank_exceeds_array_rank".into()));
            }
            Some(ArrayOmission::MaxArrayElements(limit)) => items.extend([
                ("omitted_reason", "max_array_elements_exceeded".into()),
                ("max_array_elements", limit.into()),
            ]),
            Some(ArrayOmission::MaxReplyElements(limit)) => items.extend([
                ("omitted_reason", "max_reply_elements_exceeded".into()),
                ("max_reply_elements", limit.into()),
            ]),
        }
        PickleValue::dict(items)
    }
}

/// A shape as the wire has it: a dict with `type`, `coordinates` and `metadata`, or without the coordinates.
pub fn shape_payload(shape: &Shape, detail: ShapeDetail) -> PickleValue {
    let (kind, coordinates) = shape.geometry.wire_form();
    let metadata = shape.metadata.iter().map(|(key, value)| (key.as_str(), PickleValue::from(value)));
    let coordinates = || PickleValue::tuple(coordinates.iter().map(|row| numbers(row)));
    let mut items = vec![("type", PickleValue::from(kind))];
    items.extend((detail == ShapeDetail::Full).then(|| ("coordinates", coordinates())));
    items.push(("metadata", PickleValue::dict(metadata)));
    PickleValue::dict(items)
}

/// One item with its values.
#[derive(Clone, PartialEq, Debug)]
pub struct PayloadRecord {
    /// The item. Its `data_type`, `path` and `components` stand in the record too.
    pub summary: PayloadSummary,
    /// Index of the item along each stack axis of its layer.
    pub axis_indices: Vec<u64>,
    /// Index within an item that holds several planes; empty for single planes.
    pub aggregate_axis_indices: Vec<u64>,
    /// Pixel values, if asked for.
    pub array_values: Option<ArrayValues>,
    /// Shapes as sent, if asked for: dicts with `type`, `coordinates`, `metadata`.
    pub shape_payloads: Vec<PickleValue>,
}

impl PayloadRecord {
    fn to_value(&self, route_key: &str) -> PickleValue {
        let values = self.array_values.as_ref();
        let shown = values.filter(|values| values.omitted.is_none());
        PickleValue::dict([
            ("route_key", route_key.into()),
            ("data_type", self.summary.data_type.as_str().into()),
            ("path", self.summary.path.as_str().into()),
            ("components", dict_of(&self.summary.components)),
            ("axis_indices", PickleValue::tuple(self.axis_indices.iter().copied())),
            ("aggregate_axis_indices", PickleValue::tuple(self.aggregate_axis_indices.iter().copied())),
            ("summary", self.summary.to_value()),
            ("array_values", PickleValue::Tuple(shown.map(|values| values.values.clone()).unwrap_or_default())),
            ("array_value_summary", values.map_or_else(|| PickleValue::Dict(Vec::new()), ArrayValues::summary)),
            ("shape_payloads", PickleValue::Tuple(self.shape_payloads.clone())),
        ])
    }
}

/// One layer in a [`PayloadsReply`].
#[derive(Clone, PartialEq, Debug, Default)]
pub struct LayerPayloads {
    /// Identity of the layer.
    pub route_key: String,
    /// Who produced its items.
    pub producer_identities: Vec<NamedValues>,
    /// Name as shown.
    pub title: String,
    /// Whether it is on screen.
    pub mounted: bool,
    /// Items received, selected or not.
    pub item_count: u64,
    /// Names of all axes of the viewer.
    pub axis_labels: Vec<String>,
    /// Those with a slider in this layer.
    pub stack_axes: Vec<String>,
    /// Whether something received is not drawn yet.
    pub pending_update: bool,
    /// The selected items.
    pub payloads: Vec<PayloadRecord>,
}

/// The answer to "payloads".
#[derive(Clone, PartialEq, Debug, Default)]
pub struct PayloadsReply {
    /// Title of the window.
    pub viewer_title: String,
    /// The layers that were asked for.
    pub layers: Vec<LayerPayloads>,
    /// The camera; none without a window.
    pub native_viewport: Option<Viewport>,
}

impl PayloadsReply {
    pub(super) fn items(&self) -> Vec<(&'static str, PickleValue)> {
        let layers = self.layers.iter().map(|layer| {
            PickleValue::dict([
                ("route_key", layer.route_key.as_str().into()),
                ("producer_identities", dicts_of(&layer.producer_identities)),
                ("title", layer.title.as_str().into()),
                ("mounted", layer.mounted.into()),
                ("item_count", layer.item_count.into()),
                ("axis_labels", texts(&layer.axis_labels)),
                ("stack_axes", texts(&layer.stack_axes)),
                ("pending_update", layer.pending_update.into()),
                ("payloads", PickleValue::tuple(layer.payloads.iter().map(|record| record.to_value(&layer.route_key)))),
            ])
        });
        vec![
            ("type", "payloads_ack".into()),
            ("status", "success".into()),
            ("viewer", viewer(&self.viewer_title)),
            ("layer_count", self.layers.len().into()),
            ("layers", PickleValue::tuple(layers)),
            ("native_viewport", self.native_viewport.map(Viewport::to_value).into()),
        ]
    }
}
