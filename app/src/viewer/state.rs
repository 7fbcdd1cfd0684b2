//! The viewer described for clients: what `state` and its relatives answer.

use std::ops::RangeInclusive;
use std::sync::Arc;

use indexmap::IndexMap;
use wellscope_protocol::batch::{Address, PlaneAxis, ProducerIdentity, Shape};
use wellscope_protocol::control::{
    LayerState, NamedValues, NativeIntensity, PayloadContent, PayloadSummary, ShapeBounds, StateOptions, StateReply,
    Viewport,
};
use wellscope_protocol::dtype::ElementType;
use wellscope_protocol::pickle::PickleValue;
use wellscope_protocol::route::RouteKind;

use crate::statistics::{PlaneStatistics, Totals, ValueRange};
use crate::viewer::Viewer;
use crate::viewer::axes::{AxisId, ValueId};
use crate::viewer::camera::Extent;
use crate::viewer::layer::{Entry, ItemInfo, Layer, Plane};

impl Viewer {
    /// The state of all layers, or of the one that `options` name. Facts of our own are the caller's to add.
    pub fn state(&self, options: &StateOptions) -> StateReply {
        let wanted = |layer: &&Layer| options.route_key.as_ref().is_none_or(|key| *key == layer.route_key);
        let live = || self.layers.values().filter(|layer| !layer.stale && !layer.is_empty());
        let (axis_labels, current_step) = self.steps();
        StateReply {
            viewer_title: self.title.clone(),
            layers: self.layers.values().filter(wanted).map(|layer| self.layer_state(layer, options)).collect(),
            native_viewport: Some(self.viewport()),
            active_dimension_label_route: self.selected_layer().map(|layer| layer.route_key.clone()),
            viewer_ndim: axis_labels.len() as u64,
            current_step,
            axis_labels,
            component_group_count: live().count() as u64,
            component_item_count: live().map(|layer| layer.item_count as u64).sum(),
            wellscope: NamedValues::new(),
        }
    }

    /// Centre and zoom of the camera, as napari counts them.
    pub fn viewport(&self) -> Viewport {
        let [y, x] = self.camera.center_yx;
        Viewport { center: [0.0, y, x], zoom: self.camera.zoom }
    }

    /// Axis names and slider places, slowest first, ending in y and x.
    pub(super) fn steps(&self) -> (Vec<String>, Vec<i64>) {
        if self.axes.iter().next().is_none() {
            // napari's names of the axes of an empty viewer.
            return (vec!["-2".into(), "-1".into()], vec![0, 0]);
        }
        let mut labels: Vec<String> = self.axes.iter().map(|(_, axis)| axis.component.clone()).collect();
        let mut steps: Vec<i64> =
            self.axes.iter().map(|(_, axis)| axis.current().map_or(0, |id| axis.index_of(id) as i64)).collect();
        let middle = |axis: usize| {
            self.extent().map_or(0, |extent| ((extent.max_yx[axis] - extent.min_yx[axis] - 1.0) / 2.0).floor() as i64)
        };
        labels.extend(["y".to_owned(), "x".to_owned()]);
        steps.extend([middle(0), middle(1)]);
        (labels, steps)
    }

    fn layer_state(&self, layer: &Layer, options: &StateOptions) -> LayerState {
        let sliders: Vec<AxisId> = self.slider_axes(layer).collect();
        let values_of = |axis: AxisId| self.layer_values(layer, axis);
        let labelled = |axis: AxisId| {
            let label = |id: &ValueId| self.label(axis, self.axes.get(axis).value(*id)).unwrap_or_default();
            (self.axes.get(axis).component.clone(), values_of(axis).iter().map(label).collect())
        };
        let listed = |axis: AxisId| {
            let values = values_of(axis).iter().map(|id| self.axes.get(axis).value(*id).into()).collect();
            (self.axes.get(axis).component.clone(), values)
        };
        // `clear_state` forgot the items of a stale layer; only its picture is left, and whose it is.
        let items = if layer.stale { Vec::new() } else { items_of(layer) };
        let limit = |wanted: bool, max: Option<u64>| {
            if wanted { max.map_or(usize::MAX, |max| usize::try_from(max).unwrap_or(usize::MAX)) } else { 0 }
        };
        let value_limit = limit(options.include_component_values, options.max_component_values_per_layer);
        let summary_limit = limit(options.include_payload_summaries, options.max_payload_summaries_per_layer);
        let (axis_labels, _) = self.steps();
        LayerState {
            route_key: layer.route_key.clone(),
            producer_identities: layer.identities.iter().map(identity_values).collect(),
            title: layer.title.clone(),
            mounted: true,
            item_count: if layer.stale { 0 } else { layer.item_count as u64 },
            data_types: vec![data_type(layer.kind).to_owned()],
            component_values: items
                .iter()
                .take(value_limit)
                .map(|entries| scalar_components(entries[0].item()))
                .collect(),
            component_value_count: items.len() as u64,
            payload_summaries: items.iter().take(summary_limit).map(|entries| summary(layer.kind, entries)).collect(),
            payload_summary_count: items.len() as u64,
            stack_axes: sliders.iter().map(|axis| self.axes.get(*axis).component.clone()).collect(),
            axis_offsets: sliders.iter().map(|axis| *self.reach(layer, *axis).start() as i64).collect(),
            scalar_labels: self.scalar_labels(layer),
            labels: sliders.iter().map(|axis| labelled(*axis)).collect(),
            axis_component_values: sliders.iter().map(|axis| listed(*axis)).collect(),
            routed_component_values: sliders.iter().map(|axis| listed(*axis)).collect(),
            data_shape: self.data_shape(layer),
            scale: vec![1.0; axis_labels.len()],
            translate: vec![0.0; axis_labels.len()],
            axis_labels,
            native_intensity: self.intensity(layer),
            visible: layer.visible,
            selected: self.selected == Some(layer.id),
            feature_row_count: feature_rows(layer),
            selected_data_indices: layer.selected_element.iter().map(|element| element.index).collect(),
            pending_update: false,
        }
    }

    /// Values of a slider that a layer has something at, in slider order. Local indices of `navigate` count these.
    pub fn layer_values(&self, layer: &Layer, axis: AxisId) -> Vec<ValueId> {
        self.axes.get(axis).sorted().iter().copied().filter(|id| layer.has_seen(axis, *id)).collect()
    }

    /// First and last slider place of a layer.
    fn reach(&self, layer: &Layer, axis: AxisId) -> RangeInclusive<usize> {
        let values = self.layer_values(layer, axis);
        let place = |id: Option<&ValueId>| id.map_or(0, |id| self.axes.get(axis).index_of(*id));
        place(values.first())..=place(values.last())
    }

    /// As napari counts them: values per axis, then y, x and samples; number of shapes; points and their axes.
    fn data_shape(&self, layer: &Layer) -> Vec<u64> {
        match layer.kind {
            RouteKind::Image => {
                let mut shape: Vec<u64> =
                    layer.axes.iter().map(|axis| self.layer_values(layer, *axis).len().max(1) as u64).collect();
                let planes = || {
                    layer.entries().filter_map(|(_, entry)| match entry {
                        Entry::Plane(plane) => Some(plane),
                        Entry::Shapes(_) => None,
                    })
                };
                let extent = layer.extent.map_or([0, 0], |extent| {
                    [0, 1].map(|axis| (extent.max_yx[axis] - extent.min_yx[axis]).round() as u64)
                });
                shape.extend(extent);
                shape.extend(
                    planes().next().map(|plane| u64::from(plane.source.samples)).filter(|samples| *samples > 1),
                );
                shape
            }
            RouteKind::Shapes => vec![feature_rows(layer)],
            RouteKind::Points => vec![feature_rows(layer), layer.axes.len() as u64 + 2],
        }
    }

    /// Contrast limits and gamma of what the layer shows; none for shapes and points.
    pub fn intensity(&self, layer: &Layer) -> Option<NativeIntensity> {
        if layer.kind != RouteKind::Image {
            return None;
        }
        let display = layer.display.channel(layer.channel_at(&self.axes));
        let limits = display.and_then(|display| display.contrast_limits).unwrap_or([0.0, 255.0]);
        Some(NativeIntensity { contrast_limits: limits, gamma: display.map_or(1.0, |display| display.gamma) })
    }
}

impl Viewer {
    /// What was measured, per image layer by route key:
    ///
    /// | key | value |
    /// |---|---|
    /// | `planes`, `pixels` | measured planes and their pixels (int) |
    /// | `min`, `max` | least and greatest finite value of the layer (int or float, `None` without one) |
    /// | `nonzero`, `nan` | values that are neither 0 nor NaN; values that are NaN (int) |
    /// | `channels` | list of dicts in slider order: `channel` (the value on the channel slider, `None` without one), and the above for that channel |
    ///
    /// Replaced planes are not in it; integers are exact.
    pub fn statistics(&self) -> PickleValue {
        let images = self.layers.values().filter(|layer| layer.kind == RouteKind::Image);
        PickleValue::dict(images.map(|layer| {
            let mut facts = totals_facts(&layer.display.totals());
            let channel_axis = self.axes.find("channel").map(|(_, axis)| axis);
            let mut channels: Vec<_> = layer
                .display
                .channels()
                .filter(|(_, display)| display.statistics.totals().plane_count > 0)
                .map(|(channel, display)| {
                    let named = channel.zip(channel_axis).map(|(id, axis)| (axis.index_of(id), axis.value(id)));
                    (named, display.statistics.totals())
                })
                .collect();
            channels.sort_by_key(|(named, _)| named.map(|(place, _)| place));
            let listed = channels.into_iter().map(|(named, totals)| {
                let value = named.map_or(PickleValue::None, |(_, value)| value.into());
                PickleValue::dict(std::iter::once(("channel", value)).chain(totals_facts(&totals)))
            });
            facts.push(("channels", PickleValue::list(listed)));
            (layer.route_key.clone(), PickleValue::dict(facts))
        }))
    }
}

fn totals_facts(totals: &Totals) -> Vec<(&'static str, PickleValue)> {
    let (min, max) = match totals.range {
        Some(ValueRange::Integer { min, max }) => (integer(min), integer(max)),
        Some(ValueRange::Float { min, max }) => (min.into(), max.into()),
        None => (PickleValue::None, PickleValue::None),
    };
    vec![
        ("planes", totals.plane_count.into()),
        ("pixels", totals.pixel_count.into()),
        ("min", min),
        ("max", max),
        ("nonzero", totals.nonzero_count.into()),
        ("nan", totals.nan_count.into()),
    ]
}

pub(super) fn data_type(kind: RouteKind) -> &'static str {
    match kind {
        RouteKind::Image => "image",
        RouteKind::Shapes => "shapes",
        RouteKind::Points => "points",
    }
}

/// The entries of each item that still has its first one, in order of arrival; none is empty.
fn items_of(layer: &Layer) -> Vec<Vec<&Entry>> {
    let mut items: IndexMap<*const ItemInfo, Vec<&Entry>> = IndexMap::new();
    for (_, entry) in layer.entries() {
        items.entry(Arc::as_ptr(entry.item())).or_default().push(entry);
    }
    items.into_values().filter(|entries| entries.iter().any(|entry| entry.opens_item())).collect()
}

fn feature_rows(layer: &Layer) -> u64 {
    let rows = layer.entries().map(|(_, entry)| match entry {
        Entry::Plane(_) => 0,
        Entry::Shapes(set) => set.shapes.len() as u64,
    });
    rows.sum()
}

pub(super) fn address_values(address: &Address) -> NamedValues {
    address.iter().map(|(component, value)| (component.clone(), value.into())).collect()
}

/// Component values that all planes of an item share.
fn scalar_components(item: &ItemInfo) -> NamedValues {
    let mut components = address_values(&item.address);
    for axis in item.planes.iter().filter(|axis| !item.address.contains_key(&axis.component)) {
        if let [only] = &axis.values[..] {
            components.push((axis.component.clone(), only.into()));
        }
    }
    components
}

pub(super) fn identity_values(identity: &ProducerIdentity) -> NamedValues {
    let text = |value: &Option<String>| PickleValue::from(value.clone());
    vec![
        ("origin".into(), identity.origin.clone().into()),
        ("output_kind".into(), identity.output_kind.clone().into()),
        ("output_key".into(), identity.output_key.clone().into()),
        ("projection_key".into(), identity.projection_key.clone().into()),
        ("step_name".into(), text(&identity.step_name)),
        ("pipeline_position".into(), identity.pipeline_position.into()),
        ("step_scope_id".into(), text(&identity.step_scope_id)),
        ("invocation_key".into(), text(&identity.invocation_key)),
        ("artifact_kind".into(), text(&identity.artifact_kind)),
    ]
}

/// What an item holds, all of its planes taken together.
fn summary(kind: RouteKind, entries: &[&Entry]) -> PayloadSummary {
    let item = entries[0].item();
    let planes: Vec<&Plane> = entries
        .iter()
        .filter_map(|entry| match entry {
            Entry::Plane(plane) => Some(plane),
            Entry::Shapes(_) => None,
        })
        .collect();
    let sets = entries.iter().filter_map(|entry| match entry {
        Entry::Shapes(set) => Some(set),
        Entry::Plane(_) => None,
    });
    let values =
        |axis: &PlaneAxis| (axis.component.clone(), PickleValue::tuple(axis.values.iter().map(PickleValue::from)));
    PayloadSummary {
        data_type: data_type(kind).to_owned(),
        path: item.path.clone(),
        components: scalar_components(item),
        source_frame: item.source_frame,
        aggregate_component_values: item.planes.iter().map(values).collect(),
        content: match planes.first() {
            Some(first) => array_content(first, &planes),
            None => shapes_content(sets.flat_map(|set| &set.shapes)),
        },
    }
}

/// Counts and range are of what has been measured; a moment after the item came that is all of it.
fn array_content(first: &Plane, planes: &[&Plane]) -> PayloadContent {
    let measured = || planes.iter().filter_map(|plane| plane.statistics.as_deref());
    PayloadContent::Array {
        shape: first.item.shape.clone(),
        dtype: first.source.element.name().to_owned(),
        // numpy counts NaN as not zero.
        nonzero_count: measured().map(|statistics| statistics.nonzero_count + statistics.nan_count).sum(),
        min_max: measured()
            .filter_map(|statistics| statistics.range)
            .reduce(ValueRange::union)
            .map(|range| python_range(range, first.source.element == ElementType::Bool)),
    }
}

/// Smallest and largest finite value as Python would hold them.
pub(super) fn measured_range(statistics: &PlaneStatistics) -> Option<(PickleValue, PickleValue)> {
    statistics.range.map(|range| python_range(range, statistics.is_bool()))
}

fn python_range(range: ValueRange, is_bool: bool) -> (PickleValue, PickleValue) {
    match range {
        ValueRange::Integer { min, max } if is_bool => ((min != 0).into(), (max != 0).into()),
        ValueRange::Integer { min, max } => (integer(min), integer(max)),
        ValueRange::Float { min, max } => (min.into(), max.into()),
    }
}

/// No element type exceeds what one of the two holds.
fn integer(value: i128) -> PickleValue {
    i64::try_from(value).map_or_else(|_| (value as u64).into(), PickleValue::from)
}

/// Coordinates are those of the source frame already: `source_spatial_shape_yx` says how large that frame is, and the
/// incumbent (openhcs 0.8.6) counts what lies outside of it rather than moving anything.
pub(super) fn shapes_content<'s>(shapes: impl Iterator<Item = &'s Shape>) -> PayloadContent {
    let mut count = 0;
    let mut coordinates = 0;
    let mut bounds: Option<ShapeBounds> = None;
    let (mut missing, mut outside) = (0, 0);
    for shape in shapes {
        count += 1;
        let points = shape.geometry.bounding_points();
        coordinates += shape.geometry.wire_coordinate_count() as u64;
        match shape.source_spatial_shape_yx() {
            None => missing += 1,
            Some(frame) => {
                // Outlines run along the edges of pixels, half a pixel beyond the centres of the outermost ones (openhcs 0.8.6).
                let Extent { min_yx, max_yx } = Extent::of_image([0.0, 0.0], frame);
                let is_inside =
                    |point: &[f64; 2]| (0..2).all(|axis| (min_yx[axis]..=max_yx[axis]).contains(&point[axis]));
                outside += u64::from(!points.iter().all(is_inside));
            }
        }
        for [y, x] in points {
            let grown = bounds.get_or_insert(ShapeBounds { min_yx: [y, x], max_yx: [y, x] });
            grown.min_yx = [grown.min_yx[0].min(y), grown.min_yx[1].min(x)];
            grown.max_yx = [grown.max_yx[0].max(y), grown.max_yx[1].max(x)];
        }
    }
    PayloadContent::Shapes {
        count,
        coordinate_count: coordinates,
        missing_source_spatial_shape_count: missing,
        out_of_source_bounds_count: outside,
        bounds,
    }
}
