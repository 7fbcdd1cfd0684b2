//! A layer: the sparse stack of everything that one route has sent, keyed by where it lies on the sliders.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use indexmap::IndexMap;
use wellscope_protocol::batch::{Address, PlaneAxis, ProducerIdentity, Shape, VoxelSpacing};
use wellscope_protocol::component::ComponentValue;
use wellscope_protocol::control::SourceFrame;
use wellscope_protocol::route::RouteKind;

use crate::colormap::LABELS;
use crate::render::scene::{PlaneId, PlaneSource};
use crate::statistics::{Measurement, PlaneStatistics, Thumbnail};
use crate::viewer::axes::{Axes, AxisId, ValueId};
use crate::viewer::camera::Extent;
use crate::viewer::display::LayerDisplay;
use crate::viewer::latency::LayerLatency;

/// Identity of a layer for as long as the viewer runs.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct LayerId(pub u64);

/// Where on the sliders something lies: one value per axis, by axis number; axes that it has no value on are absent.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Default)]
pub struct Coordinate(Vec<u32>);

impl Coordinate {
    const ABSENT: u32 = u32::MAX;

    /// The coordinate with these values.
    pub fn new(values: impl IntoIterator<Item = (AxisId, ValueId)>) -> Self {
        let mut slots = Vec::new();
        for (AxisId(axis), ValueId(value)) in values {
            let axis = axis as usize;
            if slots.len() <= axis {
                slots.resize(axis + 1, Self::ABSENT);
            }
            slots[axis] = value;
        }
        Self(slots)
    }

    /// The value on an axis.
    pub fn get(&self, axis: AxisId) -> Option<ValueId> {
        self.0.get(axis.0 as usize).copied().filter(|value| *value != Self::ABSENT).map(ValueId)
    }

    /// The same place with another value on one axis.
    pub fn with(&self, axis: AxisId, value: ValueId) -> Self {
        let mut slots = self.0.clone();
        let axis = axis.0 as usize;
        if slots.len() <= axis {
            slots.resize(axis + 1, Self::ABSENT);
        }
        slots[axis] = value.0;
        Self(slots)
    }
}

/// One 2-D image at one coordinate.
#[derive(Clone)]
pub struct Plane {
    /// Pixels, shape and type; a new id whenever the pixels change.
    pub source: PlaneSource,
    /// Data position of the centre of the first pixel, in pixels.
    pub origin_yx: [f64; 2],
    /// Extent of the frame that a crop was cut from, in pixels.
    pub source_shape_yx: Option<[u64; 2]>,
    /// Distance of neighbouring voxels, where the producer says it.
    pub voxel_spacing: Option<VoxelSpacing>,
    /// Min, max, histogram; `None` until measured.
    pub statistics: Option<Arc<PlaneStatistics>>,
    /// A small picture; `None` until measured, and for planes that are small themselves.
    pub thumbnail: Option<Arc<Thumbnail>>,
    /// What the layer's merged statistics hold for this coordinate: of this plane, or until it is measured of the one that
    /// it replaced, so that ranges do not jump while a producer sends again.
    pub merged: Option<MergedPlane>,
    /// The item that brought it.
    pub item: Arc<ItemInfo>,
    /// Index along the item's leading axes: 0 for a plain 2-D item.
    pub index_in_item: usize,
}

/// Statistics of a plane that are in those of a channel.
#[derive(Clone)]
pub struct MergedPlane {
    /// The channel, as a key of the layer's display settings.
    pub channel: Option<ValueId>,
    /// What was added to it.
    pub statistics: Arc<PlaneStatistics>,
}

/// The shapes or points of one item.
#[derive(Clone)]
pub struct ShapeSet {
    /// Regions of interest of this coordinate.
    pub shapes: Vec<Shape>,
    /// The item that brought them.
    pub item: Arc<ItemInfo>,
    /// New whenever the shapes change.
    pub revision: u64,
    /// Index along the item's planes: 0 for shapes of one plane.
    pub index_in_item: usize,
}

/// One shape or point of a layer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SelectedElement {
    /// Its number over all of the layer's items in order of arrival.
    pub index: u64,
    /// [`ShapeSet::revision`] of the set that holds it.
    pub set: u64,
    /// Its place in that set.
    pub shape: usize,
}

/// What is kept of an item besides its pixels.
#[derive(Debug)]
pub struct ItemInfo {
    /// The producer's path; identity for tables, never opened.
    pub path: String,
    /// Its component values as sent.
    pub address: Address,
    /// Shape of the array as sent, numpy order; empty for shapes and points.
    pub shape: Vec<u64>,
    /// Components that its planes run over, slowest first, with one value per plane.
    pub planes: Vec<PlaneAxis>,
    /// Where an image lies in a bigger frame, as sent.
    pub source_frame: SourceFrame,
}

/// What lies at one coordinate of a layer.
#[derive(Clone)]
pub enum Entry {
    /// An image plane.
    Plane(Plane),
    /// Shapes or points.
    Shapes(ShapeSet),
}

impl Entry {
    /// The item that brought it.
    pub fn item(&self) -> &Arc<ItemInfo> {
        match self {
            Self::Plane(plane) => &plane.item,
            Self::Shapes(set) => &set.item,
        }
    }

    /// The plane, unless these are shapes or points.
    pub fn as_plane(&self) -> Option<&Plane> {
        match self {
            Self::Plane(plane) => Some(plane),
            Self::Shapes(_) => None,
        }
    }

    /// Whether it is the first plane of its item.
    pub fn opens_item(&self) -> bool {
        match self {
            Self::Plane(plane) => plane.index_in_item == 0,
            Self::Shapes(set) => set.index_in_item == 0,
        }
    }

    fn host_bytes(&self) -> u64 {
        match self {
            Self::Plane(plane) => plane.source.pixels.len() as u64,
            Self::Shapes(_) => 0,
        }
    }

    fn extent(&self) -> Option<Extent> {
        match self {
            Self::Plane(plane) => {
                let shape = [u64::from(plane.source.height), u64::from(plane.source.width)];
                let image = Extent::of_image(plane.origin_yx, shape);
                Some(plane.source_shape_yx.map_or(image, |frame| image.union(Extent::of_image([0.0, 0.0], frame))))
            }
            Self::Shapes(set) => shapes_extent(&set.shapes),
        }
    }
}

/// One route's data and how it is shown.
pub struct Layer {
    /// Identity within this viewer.
    pub id: LayerId,
    /// The wire's name for it: `route_key`.
    pub route_key: String,
    /// What the layer list shows.
    pub title: String,
    /// Images, shapes or points.
    pub kind: RouteKind,
    /// Producers that feed it, each once.
    pub identities: Vec<ProducerIdentity>,
    /// Its stacked components, in the producer's order.
    pub axes: Vec<AxisId>,
    /// Values of its layer-mode components.
    pub layer_values: Vec<(String, ComponentValue)>,
    /// How it is shown.
    pub display: LayerDisplay,
    /// Times of its planes from the receiver to the screen.
    pub latency: LayerLatency,
    /// Shown or hidden.
    pub visible: bool,
    /// Number of items received: a 3-D image is one item of several planes.
    pub item_count: usize,
    /// Bytes of pixels that it holds in host memory.
    pub host_bytes: u64,
    /// Everything that it covers.
    pub extent: Option<Extent>,
    /// The shape or point that a client last pointed at (`navigate` with `data_index`). Forgotten when items are replaced:
    /// the count may then mean another.
    pub selected_element: Option<SelectedElement>,
    /// `clear_state` came: what is there stays visible until the route's next item replaces all of it.
    pub stale: bool,
    entries: IndexMap<Coordinate, Entry>,
    seen: HashMap<AxisId, BTreeSet<ValueId>>,
    /// Values that its producer declared, sent or not.
    announced: HashMap<AxisId, BTreeSet<ValueId>>,
}

impl Layer {
    /// A layer without data.
    pub fn new(id: LayerId, route_key: String, title: String, kind: RouteKind, display: LayerDisplay) -> Self {
        Self {
            id,
            route_key,
            title,
            kind,
            identities: Vec::new(),
            axes: Vec::new(),
            layer_values: Vec::new(),
            display,
            latency: LayerLatency::default(),
            visible: true,
            item_count: 0,
            host_bytes: 0,
            extent: None,
            selected_element: None,
            stale: false,
            entries: IndexMap::new(),
            seen: HashMap::new(),
            announced: HashMap::new(),
        }
    }

    /// Whether a plane's values are ids that have colours of their own: by its producer's word or the user's choice of the colormap.
    /// Integers of 64 bits need the producer's, since they are drawn as floats otherwise.
    pub fn draws_labels(&self, plane: &Plane, channel: Option<ValueId>) -> bool {
        use wellscope_protocol::dtype::ElementType::{Bool, I8, I16, I32, U8, U16, U32};
        let PlaneSource { samples, element, labels, .. } = plane.source;
        let is_integer = labels || matches!(element, Bool | I8 | I16 | I32 | U8 | U16 | U32);
        samples == 1 && is_integer && self.display.colormap_of(channel).eq_ignore_ascii_case(LABELS)
    }

    /// Puts something at a coordinate, in place of what was there. The cost does not depend on how much the layer holds.
    /// Returns the slider values that this layer had nothing at before.
    pub fn upsert(&mut self, coordinate: Coordinate, mut entry: Entry) -> Vec<(AxisId, ValueId)> {
        if let Some(extent) = entry.extent() {
            self.extent = Some(self.extent.map_or(extent, |known| known.union(extent)));
        }
        let mut first_seen = Vec::new();
        for axis in &self.axes {
            if let Some(value) = coordinate.get(*axis)
                && self.seen.entry(*axis).or_default().insert(value)
            {
                first_seen.push((*axis, value));
            }
        }
        self.hand_on_statistics(&coordinate, &mut entry);
        self.item_count += usize::from(entry.opens_item());
        self.host_bytes += entry.host_bytes();
        if let Some(replaced) = self.entries.insert(coordinate, entry) {
            self.item_count -= usize::from(replaced.opens_item());
            self.host_bytes -= replaced.host_bytes();
            self.selected_element = None;
        }
        first_seen
    }

    /// A plane takes over what is merged of the one that it replaces; anything else takes it out.
    fn hand_on_statistics(&mut self, coordinate: &Coordinate, entry: &mut Entry) {
        let Some(Entry::Plane(held)) = self.entries.get_mut(coordinate) else { return };
        let Some(replaced) = held.merged.take() else { return };
        match entry {
            Entry::Plane(plane) => plane.merged = Some(replaced),
            Entry::Shapes(_) => {
                self.display.channel_mut(replaced.channel).statistics.subtract(&replaced.statistics);
            }
        }
    }

    /// Takes what was measured of a plane, in place of what was merged for its coordinate. `false`: the plane is no longer
    /// there, and nothing changed.
    pub fn take_statistics(
        &mut self,
        coordinate: &Coordinate,
        plane: PlaneId,
        channel: Option<ValueId>,
        measured: Measurement,
    ) -> bool {
        let Some(Entry::Plane(held)) = self.entries.get_mut(coordinate) else { return false };
        if held.source.id != plane {
            return false;
        }
        held.thumbnail = measured.thumbnail.map(Arc::new);
        let statistics = Arc::new(measured.statistics);
        held.statistics = Some(Arc::clone(&statistics));
        let merged = MergedPlane { channel, statistics: Arc::clone(&statistics) };
        if let Some(replaced) = held.merged.replace(merged) {
            self.display.channel_mut(replaced.channel).statistics.subtract(&replaced.statistics);
        }
        self.display.channel_mut(channel).measure(&statistics);
        true
    }

    /// The place in a set of this layer that a client pointed at.
    pub fn selected_in(&self, set: &ShapeSet) -> Option<usize> {
        self.selected_element.filter(|element| element.set == set.revision).map(|element| element.shape)
    }

    /// Drops all data and who sent it; settings stay. Returns the slider values that the layer had something at.
    pub fn drop_data(&mut self) -> Vec<(AxisId, ValueId)> {
        self.entries.clear();
        self.identities.clear();
        self.item_count = 0;
        self.host_bytes = 0;
        self.extent = None;
        self.selected_element = None;
        self.stale = false;
        self.announced.clear();
        self.display.forget_statistics();
        let seen = std::mem::take(&mut self.seen);
        seen.into_iter().flat_map(|(axis, values)| values.into_iter().map(move |value| (axis, value))).collect()
    }

    /// Where the sliders stand, as a coordinate of this layer. `None`: a slider of its has no value yet.
    pub fn coordinate_at(&self, axes: &Axes) -> Option<Coordinate> {
        let values: Option<Vec<_>> = self.axes.iter().map(|axis| Some((*axis, axes.get(*axis).current()?))).collect();
        let complete = Coordinate::new(values?);
        if self.entries.contains_key(&complete) {
            return Some(complete);
        }
        // Items that lack one of the layer's components (a later batch declared more of them) have no value on its axis.
        let known = |axis: AxisId| self.seen.get(&axis).is_some_and(|values| !values.is_empty());
        Some(Coordinate::new(
            self.axes.iter().filter(|axis| known(**axis)).filter_map(|axis| Some((*axis, complete.get(*axis)?))),
        ))
    }

    /// What lies at a coordinate; `None` is a hole: not received yet.
    pub fn get(&self, coordinate: &Coordinate) -> Option<&Entry> {
        self.entries.get(coordinate)
    }

    /// Mutable access to what lies at a coordinate.
    pub fn get_mut(&mut self, coordinate: &Coordinate) -> Option<&mut Entry> {
        self.entries.get_mut(coordinate)
    }

    /// The plane that the sliders select.
    pub fn plane_at(&self, axes: &Axes) -> Option<&Plane> {
        match self.get(&self.coordinate_at(axes)?)? {
            Entry::Plane(plane) => Some(plane),
            Entry::Shapes(_) => None,
        }
    }

    /// All entries, in order of arrival.
    pub fn entries(&self) -> impl ExactSizeIterator<Item = (&Coordinate, &Entry)> {
        self.entries.iter()
    }

    /// Number of planes or shape sets.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether nothing has been received.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Values of an axis that this layer has something at.
    pub fn seen(&self, axis: AxisId) -> impl Iterator<Item = ValueId> + '_ {
        self.seen.get(&axis).into_iter().flat_map(|values| values.iter().copied())
    }

    /// Whether this layer has something at a value of an axis.
    pub fn has_seen(&self, axis: AxisId, value: ValueId) -> bool {
        self.seen.get(&axis).is_some_and(|values| values.contains(&value))
    }

    /// Notes a value that the producer means to send.
    pub fn announce(&mut self, axis: AxisId, value: ValueId) {
        self.announced.entry(axis).or_default().insert(value);
    }

    /// Whether something is or will be at a value of an axis, as far as is known.
    pub fn expects(&self, axis: AxisId, value: ValueId) -> bool {
        self.has_seen(axis, value) || self.announced.get(&axis).is_some_and(|values| values.contains(&value))
    }

    /// Whether the sliders stand inside of what this layer covers. With nothing there, that is a hole: not received yet.
    pub fn covers_sliders(&self, axes: &Axes) -> bool {
        self.axes.iter().all(|axis| {
            let has_values = self.seen.get(axis).is_some_and(|values| !values.is_empty());
            !has_values || axes.get(*axis).current().is_some_and(|current| self.expects(*axis, current))
        })
    }

    /// The channel whose display settings apply where the sliders stand: the layer's value on the channel slider.
    pub fn channel_at(&self, axes: &Axes) -> Option<ValueId> {
        let (channel, axis) = axes.find("channel")?;
        if self.axes.contains(&channel) { axis.current() } else { None }
    }

    /// The channel that a coordinate belongs to.
    pub fn channel_of(&self, coordinate: &Coordinate, axes: &Axes) -> Option<ValueId> {
        coordinate.get(axes.find("channel")?.0)
    }
}

/// What shapes cover, with the frames that they lie in, as crops of images do.
fn shapes_extent(shapes: &[Shape]) -> Option<Extent> {
    let points = shapes.iter().flat_map(|shape| shape.geometry.bounding_points());
    let frames = shapes.iter().filter_map(Shape::source_spatial_shape_yx);
    points
        .map(|point| Extent { min_yx: point, max_yx: point })
        .chain(frames.map(|frame| Extent::of_image([0.0, 0.0], frame)))
        .reduce(Extent::union)
}
