//! The items of layers described one by one: what `payloads` answers, with pixel values and shapes where asked for.

use std::borrow::Cow;
use std::collections::HashMap;
use std::ops::Range;

use wellscope_protocol::control::{
    ArrayOmission, ArrayValues, AxisIndices, ControlReply, LayerPayloads, NamedValues, PayloadContent, PayloadOptions,
    PayloadRecord, PayloadSummary, PayloadsReply, shape_payload,
};
use wellscope_protocol::dtype::ElementType;
use wellscope_protocol::pickle::PickleValue;

use crate::render::scene::PlaneBytes;
use crate::viewer::Viewer;
use crate::viewer::axes::{Axes, AxisId, ValueId};
use crate::viewer::layer::{Coordinate, Entry, Layer, Plane, ShapeSet};
use crate::viewer::state::{address_values, data_type, identity_values, measured_range, shapes_content};

/// Pixel values and coordinates in one reply. More would hold up the window, and no client reads them.
const MAX_REPLY_VALUES: u64 = 1 << 20;

/// Values that may be looked at for one reply, besides those that were measured already: about a tenth of a second.
const MAX_READ_VALUES: u64 = 1 << 26;

/// How coordinates of one layer are counted: the index of a value among those that the layer has something at.
pub(super) struct LocalIndices<'v> {
    axes: &'v Axes,
    sliders: Vec<AxisId>,
    by_axis: Vec<(AxisId, HashMap<ValueId, u64>)>,
}

impl LocalIndices<'_> {
    /// The index along each slider of the layer; 0 for an item that has no value there.
    pub fn of(&self, coordinate: &Coordinate) -> Vec<u64> {
        self.sliders.iter().map(|axis| self.index(*axis, coordinate).unwrap_or(0)).collect()
    }

    /// Whether a coordinate lies at all of these indices. An axis that the layer lacks selects nothing.
    pub fn are_at(&self, coordinate: &Coordinate, named: &[(String, u64)]) -> bool {
        named.iter().all(|(component, wanted)| {
            self.axes.find(component).and_then(|(axis, _)| self.index(axis, coordinate)) == Some(*wanted)
        })
    }

    /// The index of a value along an axis of the layer; 0 where it has nothing.
    pub fn place(&self, axis: AxisId, value: ValueId) -> u64 {
        let axis = self.by_axis.iter().find(|(other, _)| *other == axis);
        axis.and_then(|(_, indices)| indices.get(&value).copied()).unwrap_or(0)
    }

    fn index(&self, axis: AxisId, coordinate: &Coordinate) -> Option<u64> {
        let (_, indices) = self.by_axis.iter().find(|(other, _)| *other == axis)?;
        indices.get(&coordinate.get(axis)?).copied()
    }
}

/// What may still go into the reply.
struct Budget {
    values: u64,
    unread: Option<u64>,
    shapes: u64,
}

impl Budget {
    /// Whether `count` more values may be looked at. Once refused, the whole reply is.
    fn read(&mut self, count: u64) -> bool {
        self.unread = self.unread.and_then(|left| left.checked_sub(count));
        self.unread.is_some()
    }
}

impl Viewer {
    /// Describes the items of all layers, or of the one that `options` name. Planes of an array that holds several are
    /// items of their own here.
    pub(super) fn payloads(&self, options: &PayloadOptions) -> ControlReply {
        let mut budget = Budget {
            values: MAX_REPLY_VALUES,
            unread: Some(MAX_READ_VALUES),
            shapes: options.max_total_shape_payloads.unwrap_or(u64::MAX),
        };
        let wanted = |layer: &&Layer| options.route_key.as_ref().is_none_or(|key| *key == layer.route_key);
        let layers =
            self.layers.values().filter(wanted).map(|layer| self.layer_payloads(layer, options, &mut budget)).collect();
        if budget.unread.is_none() {
            let sentence = format!(
                "More than {MAX_READ_VALUES} pixels would have to be read for this reply; select fewer planes with \
                 axis_indices, or less of them with array_slices."
            );
            return ControlReply::error("payloads_ack", sentence);
        }
        ControlReply::Payloads(PayloadsReply {
            viewer_title: self.title.clone(),
            layers,
            native_viewport: Some(self.viewport()),
        })
    }

    /// How this layer's coordinates are counted in requests and replies.
    pub(super) fn local_indices<'v>(&'v self, layer: &'v Layer) -> LocalIndices<'v> {
        let indexed = |axis: &AxisId| {
            let values = self.layer_values(layer, *axis).into_iter();
            (*axis, values.zip(0_u64..).collect())
        };
        LocalIndices {
            axes: &self.axes,
            sliders: self.slider_axes(layer).collect(),
            by_axis: layer.axes.iter().map(indexed).collect(),
        }
    }

    fn layer_payloads(&self, layer: &Layer, options: &PayloadOptions, budget: &mut Budget) -> LayerPayloads {
        let local = self.local_indices(layer);
        // `clear_state` forgot the items of a stale layer; only its picture is left.
        let entries = layer.entries().filter(|_| !layer.stale);
        let is_selected = |coordinate: &Coordinate| match &options.axis_indices {
            None => true,
            Some(AxisIndices::Positions(positions)) => local.of(coordinate) == *positions,
            Some(AxisIndices::Named(named)) => local.are_at(coordinate, named),
        };
        let mut payloads = Vec::new();
        for (coordinate, entry) in entries {
            if is_selected(coordinate) && budget.unread.is_some() {
                let (aggregate_axis_indices, content) = match entry {
                    Entry::Plane(plane) => (plane_indices_in_item(plane), plane_content(plane, budget)),
                    Entry::Shapes(set) => (Vec::new(), shapes_content(set.shapes.iter())),
                };
                payloads.push(PayloadRecord {
                    summary: PayloadSummary {
                        data_type: data_type(layer.kind).to_owned(),
                        path: entry.item().path.clone(),
                        components: self.components_of(layer, coordinate, entry),
                        source_frame: entry.item().source_frame,
                        aggregate_component_values: NamedValues::new(),
                        content,
                    },
                    axis_indices: local.of(coordinate),
                    aggregate_axis_indices,
                    array_values: options.include_array_values.then(|| match entry {
                        Entry::Plane(plane) => array_values(plane, options, budget),
                        Entry::Shapes(_) => ArrayValues::not_an_array(),
                    }),
                    shape_payloads: match entry {
                        Entry::Shapes(set) if options.include_shape_payloads => shape_payloads(set, options, budget),
                        _ => Vec::new(),
                    },
                });
            }
        }
        LayerPayloads {
            route_key: layer.route_key.clone(),
            producer_identities: layer.identities.iter().map(identity_values).collect(),
            title: layer.title.clone(),
            mounted: true,
            item_count: if layer.stale { 0 } else { layer.item_count as u64 },
            axis_labels: self.steps().0,
            stack_axes: local.sliders.iter().map(|axis| self.axes.get(*axis).component.clone()).collect(),
            pending_update: false,
            payloads,
        }
    }

    /// Component values of one plane: its item's, and its own along the axes that the item's array runs over.
    pub(super) fn components_of(&self, layer: &Layer, coordinate: &Coordinate, entry: &Entry) -> NamedValues {
        let address = &entry.item().address;
        let mut components = address_values(address);
        for axis in &layer.axes {
            let component = &self.axes.get(*axis).component;
            if let (Some(value), false) = (coordinate.get(*axis), address.contains_key(component)) {
                components.push((component.clone(), self.axes.get(*axis).value(value).into()));
            }
        }
        components
    }
}

/// Index of a plane along each leading axis of its item's array, numpy C order; empty for a plain 2-D image.
pub(super) fn plane_indices_in_item(plane: &Plane) -> Vec<u64> {
    let trailing = if plane.source.samples > 1 { 3 } else { 2 };
    let leading = &plane.item.shape[..plane.item.shape.len().saturating_sub(trailing)];
    let mut rest = plane.index_in_item as u64;
    let mut indices: Vec<u64> = leading
        .iter()
        .rev()
        .map(|length| {
            let length = (*length).max(1);
            let index = rest % length;
            rest /= length;
            index
        })
        .collect();
    indices.reverse();
    indices
}

fn plane_shape(plane: &Plane) -> Vec<u64> {
    let mut shape = vec![u64::from(plane.source.height), u64::from(plane.source.width)];
    shape.extend((plane.source.samples > 1).then(|| u64::from(plane.source.samples)));
    shape
}

fn plane_content(plane: &Plane, budget: &mut Budget) -> PayloadContent {
    let Summary { nonzero_count, min_max } = whole_plane(plane, budget);
    PayloadContent::Array {
        shape: plane_shape(plane),
        dtype: plane.source.element.name().to_owned(),
        nonzero_count,
        min_max,
    }
}

/// What is said of a number of values.
#[derive(Default)]
struct Summary {
    nonzero_count: u64,
    min_max: Option<(PickleValue, PickleValue)>,
}

fn whole_plane(plane: &Plane, budget: &mut Budget) -> Summary {
    if let Some(statistics) = plane.statistics.as_deref() {
        // numpy counts NaN as not zero.
        return Summary {
            nonzero_count: statistics.nonzero_count + statistics.nan_count,
            min_max: measured_range(statistics),
        };
    }
    let count = (plane.source.pixels.len() / plane.source.element.size_bytes()) as u64;
    let bytes = if budget.read(count) { bytes_of(plane) } else { None };
    bytes.map_or_else(Summary::default, |bytes| summarized(plane.source.element, &bytes))
}

/// The bytes of a plane, from disk if that is where they are; a few planes at most, as the budget of one answer is bounded.
/// `None`: the disk does not give them back.
fn bytes_of(plane: &Plane) -> Option<PlaneBytes> {
    plane.source.pixels.read().inspect_err(|error| tracing::error!("a client's question goes unanswered: {error}")).ok()
}

/// The values of a plane inside of `options.array_slices`, which count from its last axis.
fn array_values(plane: &Plane, options: &PayloadOptions, budget: &mut Budget) -> ArrayValues {
    let shape = plane_shape(plane);
    let element = plane.source.element;
    let asked = options.array_slices.clone();
    let slices = asked.as_deref().unwrap_or_default();
    let Some(leading) = shape.len().checked_sub(slices.len()) else {
        return ArrayValues {
            requested_slice_ranges: asked,
            dtype: element.name().to_owned(),
            shape: vec![0; shape.len()],
            omitted: Some(ArrayOmission::TooManySlices),
            ..ArrayValues::not_an_array()
        };
    };
    let mut ranges: Vec<(u64, u64)> = shape.iter().map(|length| (0, *length)).collect();
    for ((start, stop), (wanted_start, wanted_stop)) in ranges[leading..].iter_mut().zip(slices) {
        *start = (*wanted_start).min(*stop);
        *stop = (*wanted_stop).min(*stop);
    }
    let sliced_shape: Vec<u64> = ranges.iter().map(|(start, stop)| stop.saturating_sub(*start)).collect();
    let count: u64 = sliced_shape.iter().product();
    // Rows of nothing are tuples too.
    let cost = count.max(sliced_shape[0]);
    let is_whole = sliced_shape == shape;
    let omitted = if count > options.max_array_elements {
        Some(ArrayOmission::MaxArrayElements(options.max_array_elements))
    } else if cost > budget.values {
        Some(ArrayOmission::MaxReplyElements(MAX_REPLY_VALUES))
    } else {
        budget.values -= cost;
        None
    };
    let whole = if (is_whole && omitted.is_some()) || !budget.read(count) { None } else { bytes_of(plane) };
    let bytes = whole.as_ref().map_or_else(Cow::default, |whole| sliced(plane, whole, &ranges));
    let Summary { nonzero_count, min_max } =
        if is_whole { whole_plane(plane, budget) } else { summarized(element, &bytes) };
    let values = if omitted.is_none() { nested(element, &bytes, &sliced_shape) } else { Vec::new() };
    ArrayValues {
        values,
        slice_ranges: ranges,
        requested_slice_ranges: asked,
        dtype: element.name().to_owned(),
        shape: sliced_shape,
        nonzero_count,
        min_max,
        omitted,
    }
}

/// The bytes of a slice, one after the other. Borrowed for a whole plane.
fn sliced<'p>(plane: &Plane, bytes: &'p [u8], ranges: &[(u64, u64)]) -> Cow<'p, [u8]> {
    let size = plane.source.element.size_bytes();
    let samples = usize::from(plane.source.samples);
    let range = |axis: usize, all: usize| -> Range<usize> {
        ranges.get(axis).map_or(0..all, |(start, stop)| *start as usize..*stop as usize)
    };
    let (width, height) = (plane.source.width as usize, plane.source.height as usize);
    let (rows, columns, channels) = (range(0, height), range(1, width), range(2, samples));
    if rows == (0..height) && columns == (0..width) && channels == (0..samples) {
        return Cow::Borrowed(bytes);
    }
    let mut gathered = Vec::new();
    if columns.is_empty() || channels.is_empty() {
        return Cow::Owned(gathered);
    }
    for row in rows {
        let at = |column: usize, channel: usize| ((row * width + column) * samples + channel) * size;
        if channels == (0..samples) {
            gathered.extend_from_slice(&bytes[at(columns.start, 0)..at(columns.end, 0)]);
        } else {
            for column in columns.clone() {
                gathered.extend_from_slice(&bytes[at(column, channels.start)..at(column, channels.end)]);
            }
        }
    }
    Cow::Owned(gathered)
}

/// Values as `array.tolist()` nests them, as tuples.
fn nested(element: ElementType, bytes: &[u8], shape: &[u64]) -> Vec<PickleValue> {
    match shape {
        [] | [_] => values(element, bytes),
        // Zero rows, or rows of nothing.
        [length, rest @ ..] if bytes.is_empty() => {
            (0..*length).map(|_| PickleValue::Tuple(nested(element, bytes, rest))).collect()
        }
        [length, rest @ ..] => {
            let part = bytes.len() / *length as usize;
            bytes.chunks_exact(part).map(|bytes| PickleValue::Tuple(nested(element, bytes, rest))).collect()
        }
    }
}

macro_rules! each_value {
    ($bytes:expr, $type:ty) => {
        $bytes.as_chunks::<{ size_of::<$type>() }>().0.iter().map(|bytes| <$type>::from_le_bytes(*bytes))
    };
}

/// Numbers without loss: integers as integers, also the upper half of uint64.
fn values(element: ElementType, bytes: &[u8]) -> Vec<PickleValue> {
    match element {
        ElementType::Bool => bytes.iter().map(|byte| (*byte != 0).into()).collect(),
        ElementType::U8 => bytes.iter().map(|value| (*value).into()).collect(),
        ElementType::I8 => each_value!(bytes, i8).map(Into::into).collect(),
        ElementType::U16 => each_value!(bytes, u16).map(Into::into).collect(),
        ElementType::I16 => each_value!(bytes, i16).map(Into::into).collect(),
        ElementType::U32 => each_value!(bytes, u32).map(Into::into).collect(),
        ElementType::I32 => each_value!(bytes, i32).map(Into::into).collect(),
        ElementType::U64 => each_value!(bytes, u64).map(Into::into).collect(),
        ElementType::I64 => each_value!(bytes, i64).map(Into::into).collect(),
        ElementType::F16 => each_value!(bytes, half::f16).map(|value| value.to_f64().into()).collect(),
        ElementType::F32 => each_value!(bytes, f32).map(|value| f64::from(value).into()).collect(),
        ElementType::F64 => each_value!(bytes, f64).map(Into::into).collect(),
    }
}

fn summarized(element: ElementType, bytes: &[u8]) -> Summary {
    match element {
        ElementType::Bool => integers(bytes.iter().map(|byte| *byte != 0)),
        ElementType::U8 => integers(bytes.iter().copied()),
        ElementType::I8 => integers(each_value!(bytes, i8)),
        ElementType::U16 => integers(each_value!(bytes, u16)),
        ElementType::I16 => integers(each_value!(bytes, i16)),
        ElementType::U32 => integers(each_value!(bytes, u32)),
        ElementType::I32 => integers(each_value!(bytes, i32)),
        ElementType::U64 => integers(each_value!(bytes, u64)),
        ElementType::I64 => integers(each_value!(bytes, i64)),
        ElementType::F16 => floats(each_value!(bytes, half::f16).map(half::f16::to_f64)),
        ElementType::F32 => floats(each_value!(bytes, f32).map(f64::from)),
        ElementType::F64 => floats(each_value!(bytes, f64)),
    }
}

fn integers<T: Ord + Copy + Default + Into<PickleValue>>(values: impl Iterator<Item = T>) -> Summary {
    let mut nonzero_count = 0;
    let mut range: Option<(T, T)> = None;
    for value in values {
        nonzero_count += u64::from(value != T::default());
        range = Some(range.map_or((value, value), |(min, max)| (min.min(value), max.max(value))));
    }
    Summary { nonzero_count, min_max: range.map(|(min, max)| (min.into(), max.into())) }
}

/// The range is that of the finite values, as everywhere in this viewer.
fn floats(values: impl Iterator<Item = f64>) -> Summary {
    let mut nonzero_count = 0;
    let mut range: Option<(f64, f64)> = None;
    for value in values {
        nonzero_count += u64::from(value != 0.0);
        if value.is_finite() {
            range = Some(range.map_or((value, value), |(min, max)| (min.min(value), max.max(value))));
        }
    }
    Summary { nonzero_count, min_max: range.map(|(min, max)| (min.into(), max.into())) }
}

/// The first shapes of a set. Where fewer than the summary counts are listed, a limit of the request ended them, or the
/// number of coordinates in the reply.
fn shape_payloads(set: &ShapeSet, options: &PayloadOptions, budget: &mut Budget) -> Vec<PickleValue> {
    let mut listed = Vec::new();
    for shape in set.shapes.iter().take(usize::try_from(options.max_shape_payloads).unwrap_or(usize::MAX)) {
        let cost = 1 + 2 * shape.geometry.wire_coordinate_count() as u64 + shape.metadata.len() as u64;
        if budget.shapes == 0 || cost > budget.values {
            break;
        }
        budget.shapes -= 1;
        budget.values -= cost;
        listed.push(shape_payload(shape, options.shape_detail));
    }
    listed
}
