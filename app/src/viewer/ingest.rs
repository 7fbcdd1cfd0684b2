//! Taking in what the receiver delivers: one upsert per plane, whatever has been received before.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use wellscope_protocol::batch::{Address, ComponentDomain, ComponentNames, DisplayConfig, PlaneAxis, Shape};
use wellscope_protocol::component::{ComponentMode, ComponentValue};
use wellscope_protocol::control::SourceFrame;
use wellscope_protocol::route::{Route, RouteKey, disambiguate};
use wellscope_receiver::{ItemHead, ReceivedBatch, ReceivedImage, ReceivedItem, ReceivedPayload};

use crate::colormap::LABELS;
use crate::render::scene::{PlaneId, PlanePixels, PlaneSource};
use crate::statistics::Measurement;
use crate::viewer::Viewer;
use crate::viewer::axes::{AxisId, ValueId};
use crate::viewer::display::LayerDisplay;
use crate::viewer::layer::{Coordinate, Entry, ItemInfo, Layer, LayerId, Plane, ShapeSet};

/// More planes than this in one array are refused: no stage has as many, and each costs an entry in the stack.
const MAX_PLANES_PER_IMAGE: u64 = 65_536;

/// A plane whose statistics are wanted; the pixels are shared, not copied.
#[derive(Clone)]
pub struct StatisticsJob {
    /// The layer that holds the plane.
    pub layer: LayerId,
    /// Where in the layer.
    pub coordinate: Coordinate,
    /// What to measure.
    pub plane: PlaneSource,
}

/// What taking in a batch left to do.
#[derive(Default)]
pub struct Ingested {
    /// Planes to measure off the render thread.
    pub jobs: Vec<StatisticsJob>,
    /// Items that could not be shown, one sentence each.
    pub problems: Vec<String>,
}

/// Why an item that was received whole cannot be put into a stack.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum UpsertError {
    /// An array with an unreasonable number of planes.
    #[error(
        "an image of {found} planes was sent, at most {MAX_PLANES_PER_IMAGE} fit one item; the producer should split it. Item: {path:?}"
    )]
    TooManyPlanes {
        /// Planes in the array.
        found: u64,
        /// The item.
        path: String,
    },
    /// An image wider or higher than any display path can address.
    #[error(
        "an image of {height} x {width} pixels was sent, each side can have at most {}; the producer should tile it. Item: {path:?}",
        u32::MAX
    )]
    TooLarge {
        /// Pixels along y.
        height: u64,
        /// Pixels along x.
        width: u64,
        /// The item.
        path: String,
    },
}

impl Viewer {
    /// Puts a batch into the stacks of its layers and acknowledges each item to its producer.
    pub fn take_batch(&mut self, batch: ReceivedBatch) -> Ingested {
        let mut ingested = Ingested::default();
        self.counters.batches += 1;
        self.learn_names(batch.component_names);
        let mut routes: Vec<String> = Vec::new();
        for ReceivedItem { item, payload, ack } in batch.items {
            if routes.last() != Some(&item.route.key.0) && !routes.contains(&item.route.key.0) {
                routes.push(item.route.key.0.clone());
            }
            match self.take_item(item, payload, &batch.display_config, batch.received_at, &mut ingested.jobs) {
                Ok(()) => {
                    self.counters.items += 1;
                    ack.succeed();
                }
                Err(error) => {
                    self.counters.refused += 1;
                    let sentence = error.to_string();
                    ack.fail(&sentence);
                    ingested.problems.push(sentence);
                }
            }
        }
        self.announce(&batch.component_domain, &batch.display_config, &routes);
        self.touch();
        ingested
    }

    /// `clear_state`: what is there stays visible until its route sends again; names and announced values go at once.
    pub fn clear_state(&mut self) {
        for layer in self.layers.values_mut() {
            layer.stale = true;
        }
        self.names.clear();
        self.axes.forget_announced();
        self.unsettled_routes.clear();
        self.touch();
    }

    /// Takes the statistics of a plane, and its thumbnail. Late ones, of planes replaced meanwhile, are dropped.
    pub fn take_statistics(&mut self, job: &StatisticsJob, measured: impl Into<Measurement>) {
        self.counters.statistics += 1;
        let Some(layer) = self.layers.values_mut().find(|layer| layer.id == job.layer) else { return };
        let channel = layer.channel_of(&job.coordinate, &self.axes);
        if layer.take_statistics(&job.coordinate, job.plane.id, channel, measured.into()) {
            self.touch();
        }
    }

    fn learn_names(&mut self, names: ComponentNames) {
        for (component, values) in names {
            self.names.entry(component).or_default().extend(values);
        }
    }

    /// Declared values join the sliders, and the layers of this batch are expected to have something there.
    fn announce(&mut self, domain: &ComponentDomain, config: &DisplayConfig, routes: &[String]) {
        for (component, values) in domain {
            let mode = config.component_modes.get(component).copied().unwrap_or_default();
            let Some((axis, _)) = self.axes.find(component) else { continue };
            if mode != ComponentMode::Stack {
                continue;
            }
            for value in values {
                let id = self.axes.announce(component, &value.clone().normalized_for(component));
                for route in routes {
                    if let Some(layer) = self.layers.get_mut(route) {
                        layer.announce(axis, id);
                    }
                }
            }
        }
    }

    fn take_item(
        &mut self,
        item: ItemHead,
        payload: ReceivedPayload,
        config: &DisplayConfig,
        received_at: Instant,
        jobs: &mut Vec<StatisticsJob>,
    ) -> Result<(), UpsertError> {
        let route = item.route.clone();
        if let ReceivedPayload::Image(image) = &payload {
            check_extent(image, &item.path)?;
        }
        let is_labels = matches!(&payload, ReceivedPayload::Image(image) if image.labels);
        let colormap = if is_labels { LABELS } else { &config.colormap };
        let layer_id = self.layer_of(&route, &item, colormap);
        let info = Arc::new(ItemInfo {
            path: item.path.clone(),
            address: item.address.clone(),
            shape: if let ReceivedPayload::Image(image) = &payload { image.shape.clone() } else { Vec::new() },
            planes: match &payload {
                ReceivedPayload::Image(image) => image.layout.plane_axes.clone(),
                ReceivedPayload::Shapes(_) | ReceivedPayload::Points(_) => item.shape_planes.clone(),
            },
            source_frame: match &payload {
                ReceivedPayload::Image(image) => {
                    SourceFrame { origin_yx: image.spatial_origin_yx, shape_yx: image.source_spatial_shape_yx }
                }
                ReceivedPayload::Shapes(_) | ReceivedPayload::Points(_) => SourceFrame::default(),
            },
        });
        match payload {
            ReceivedPayload::Image(image) => self.take_image(layer_id, &route, info, &image, received_at, jobs),
            ReceivedPayload::Shapes(shapes) | ReceivedPayload::Points(shapes) => {
                self.take_shapes(layer_id, &route, &info, &item.shape_planes, shapes);
            }
        }
        if !self.unsettled_routes.contains(&route.key.0) {
            self.unsettled_routes.push(route.key.0);
        }
        if !self.has_fitted
            && let Some(extent) = self.layer(layer_id).and_then(|layer| layer.extent)
        {
            self.camera.fit(extent);
            self.has_fitted = true;
        }
        Ok(())
    }

    fn take_image(
        &mut self,
        layer: LayerId,
        route: &Route,
        item: Arc<ItemInfo>,
        image: &ReceivedImage,
        received_at: Instant,
        jobs: &mut Vec<StatisticsJob>,
    ) {
        let layout = &image.layout;
        let plane_count: usize = layout.plane_axes.iter().map(|axis| axis.values.len()).product();
        let origin = image.spatial_origin_yx.unwrap_or_default();
        for index in 0..plane_count {
            // The receiver cut the array into as many planes as its layout has.
            let Some((block, range)) = image.pixels.plane(index) else { break };
            let along_axes = values_along(&layout.plane_axes, index);
            let coordinate = self.coordinate_of(route, &item.address, &along_axes);
            self.next_plane_id += 1;
            let source = PlaneSource {
                id: PlaneId(self.next_plane_id),
                width: layout.width as u32,
                height: layout.height as u32,
                samples: layout.samples,
                element: image.element,
                pixels: PlanePixels::new(block, range),
                labels: image.labels,
                timing: None,
            };
            jobs.push(StatisticsJob { layer, coordinate: coordinate.clone(), plane: source.clone() });
            let plane = Plane {
                source,
                origin_yx: [origin[0] as f64, origin[1] as f64],
                source_shape_yx: image.source_spatial_shape_yx,
                voxel_spacing: image.voxel_spacing.clone(),
                statistics: None,
                thumbnail: None,
                merged: None,
                item: Arc::clone(&item),
                index_in_item: index,
            };
            self.counters.planes += 1;
            self.put(layer, coordinate.clone(), Entry::Plane(plane));
            self.await_plane(layer, &coordinate, received_at);
        }
    }

    /// A set of shapes per plane of the item. Planes without shapes get an empty one, so that an item always replaces all
    /// of its predecessor. A shape that names no plane of a stack lies on its first.
    fn take_shapes(
        &mut self,
        layer: LayerId,
        route: &Route,
        item: &Arc<ItemInfo>,
        planes: &[PlaneAxis],
        shapes: Vec<Shape>,
    ) {
        let count: usize = planes.iter().map(|axis| axis.values.len()).product();
        let mut sets: Vec<Vec<Shape>> = vec![Vec::new(); count];
        for shape in shapes {
            let place = plane_of(&shape, planes);
            if let Some(set) = sets.get_mut(place) {
                set.push(shape);
            }
        }
        for (index_in_item, shapes) in sets.into_iter().enumerate() {
            let coordinate = self.coordinate_of(route, &item.address, &values_along(planes, index_in_item));
            self.next_plane_id += 1;
            let set = ShapeSet { shapes, item: Arc::clone(item), revision: self.next_plane_id, index_in_item };
            self.put(layer, coordinate, Entry::Shapes(set));
        }
    }

    fn put(&mut self, layer: LayerId, coordinate: Coordinate, entry: Entry) {
        let Some(layer) = self.layers.values_mut().find(|other| other.id == layer) else { return };
        self.counters.replaced += u64::from(layer.get(&coordinate).is_some());
        for (axis, value) in layer.upsert(coordinate, entry) {
            self.axes.hold(axis, value);
        }
    }

    /// Gives the layer that the same step had in the run before to a new route of it: its place and its settings are kept, as those of
    /// any layer that is filled anew after `clear_state`. Else layers pile up in a viewer that outlives its runs, each with the
    /// contrast of a first image.
    fn succeed(&mut self, route: &Route) {
        let lineage = route.key.without_submission();
        let is_predecessor = |layer: &Layer| {
            layer.stale && layer.kind == route.kind && RouteKey(layer.route_key.clone()).without_submission() == lineage
        };
        // The last one: of several that were never filled again, it is the one that was seen last.
        let Some(place) = self.layers.values().rposition(is_predecessor) else { return };
        if self.layers.replace_index(place, route.key.0.clone()).is_ok() {
            self.layers[place].route_key.clone_from(&route.key.0);
        }
    }

    /// The layer of a route, made when new, emptied when `clear_state` or `--replace-layers` ask for it.
    fn layer_of(&mut self, route: &Route, item: &ItemHead, colormap: &str) -> LayerId {
        self.axes.declare(&route.stack_components);
        if !self.layers.contains_key(&route.key.0) {
            self.succeed(route);
        }
        if !self.layers.contains_key(&route.key.0) {
            self.next_layer_id += 1;
            let id = LayerId(self.next_layer_id);
            let is_taken = |title: &str| self.layers.values().any(|layer| layer.title == title);
            let title = disambiguate(&route.title, item.producer_identity.as_ref(), is_taken);
            let display = LayerDisplay::new(colormap);
            let mut layer = Layer::new(id, route.key.0.clone(), title, route.kind, display);
            layer.layer_values.clone_from(&route.layer_values);
            self.layers.insert(route.key.0.clone(), layer);
            self.selected.get_or_insert(id);
        }
        let replace_layers = self.replace_layers;
        let stack: Vec<AxisId> = route.stack_components.iter().map(|component| self.axes.axis_of(component)).collect();
        let Some(layer) = self.layers.get_mut(&route.key.0) else { return LayerId(0) };
        if layer.stale || replace_layers {
            for (axis, value) in layer.drop_data() {
                self.axes.release(axis, value);
            }
        }
        for axis in stack {
            if !layer.axes.contains(&axis) {
                layer.axes.push(axis);
            }
        }
        if let Some(identity) = &item.producer_identity
            && !layer.identities.contains(identity)
        {
            layer.identities.push(identity.clone());
        }
        colormap.clone_into(&mut layer.display.producer_colormap);
        layer.id
    }

    fn coordinate_of(
        &mut self,
        route: &Route,
        address: &Address,
        along_axes: &BTreeMap<&str, &ComponentValue>,
    ) -> Coordinate {
        let values: Vec<(AxisId, ValueId)> = route
            .stack_components
            .iter()
            .filter_map(|component| {
                let value = along_axes.get(component.as_str()).copied().or_else(|| address.get(component))?;
                let axis = self.axes.axis_of(component);
                Some((axis, self.axes.intern(axis, &value.clone().normalized_for(component))))
            })
            .collect();
        Coordinate::new(values)
    }
}

/// Values of the leading axes at the `index`th plane of an array, numpy C order.
fn values_along(planes: &[PlaneAxis], index: usize) -> BTreeMap<&str, &ComponentValue> {
    let mut rest = index;
    let mut values = BTreeMap::new();
    for axis in planes.iter().rev() {
        values.insert(axis.component.as_str(), &axis.values[rest % axis.values.len()]);
        rest /= axis.values.len();
    }
    values
}

/// Place of a shape among the planes of its item, numpy C order; the first when it names none that exists.
fn plane_of(shape: &Shape, planes: &[PlaneAxis]) -> usize {
    if shape.plane_indices.len() != planes.len() {
        return 0;
    }
    let mut place = 0;
    for (axis, index) in planes.iter().zip(&shape.plane_indices) {
        match usize::try_from(*index) {
            Ok(index) if index < axis.values.len() => place = place * axis.values.len() + index,
            _ => return 0,
        }
    }
    place
}

fn check_extent(image: &ReceivedImage, path: &str) -> Result<(), UpsertError> {
    let layout = &image.layout;
    let planes: u64 = layout.plane_axes.iter().map(|axis| axis.values.len() as u64).product();
    if planes > MAX_PLANES_PER_IMAGE {
        return Err(UpsertError::TooManyPlanes { found: planes, path: path.to_owned() });
    }
    if layout.height > u64::from(u32::MAX) || layout.width > u64::from(u32::MAX) {
        return Err(UpsertError::TooLarge { height: layout.height, width: layout.width, path: path.to_owned() });
    }
    Ok(())
}
