//! One `batch` message: what a producer sends on the data socket, as types.
//!
//! Producer → viewer, one JSON frame on REQ/REP or PUB/SUB; pixels stay in shared memory, come inline, or (an extension of our own)
//! in binary frames behind the JSON. A direct viewer call may send the same message as a pickle with numpy arrays.
//! Sources: polystore 0.1.9 (G2), 0.2.19 (G3), 0.6.3 (G4), openhcs 0.8.6.

mod decode;
mod encode;
mod error;
mod frames;
mod from_pickle;
mod geometry;
mod inline;
mod item;
mod json_text;
mod layout;
mod shapes;
mod source;

use std::collections::BTreeMap;

use crate::component::{ComponentMode, ComponentValue};
use crate::dtype::DType;

pub use decode::{BatchLimits, DecodedItems, RefusedItem, image_ids};
pub use error::{BatchError, ItemError};
pub use frames::{SENT_FRAME_BYTES, frame_ranges};
use json_text::{LenientF64, non_finite, reason};

/// Values of components at which an item lies: `{"well": "A01", "channel": 1, ...}`. The wire's `metadata`.
pub type Address = BTreeMap<String, ComponentValue>;

/// Rich names of component values: component → value as text → name. Values without a name are left out.
pub type ComponentNames = BTreeMap<String, BTreeMap<String, String>>;

/// Values that a producer declares for a component before sending them all. Component → values, as sent.
pub type ComponentDomain = BTreeMap<String, Vec<ComponentValue>>;

/// A decoded batch. Its order of items is the producer's.
#[derive(Clone, PartialEq, Debug)]
pub struct Batch {
    /// Images, shapes and points, mixed; may be empty.
    pub items: Vec<Item>,
    /// How the producer wants it shown; applies to every item of the batch.
    pub display_config: DisplayConfig,
    /// `component_names_metadata`; a null, an absent name and "none" (any case) are left out, "" stays.
    pub component_names: ComponentNames,
    /// `component_value_domain`.
    pub component_domain: ComponentDomain,
    /// `timestamp`, seconds since the epoch; informative only.
    pub timestamp: Option<f64>,
}

/// One entry of `images`.
#[derive(Clone, PartialEq, Debug)]
pub struct Item {
    /// `path`: where the producer has or would have it on disk. Identity for tables; never opened by us.
    pub path: String,
    /// `metadata` (G0: `component_metadata`), never empty.
    ///
    /// G1 and G2 also put `source`, `extension`, `step_name` and `step_index` there; these are kept only when the batch's
    /// display config names them as components. G0's item-level `step_index` and `step_name` are kept under those names:
    /// the route of a G0 item is made of them.
    pub address: Address,
    /// `image_id`: what an `image_ack` names. `None`: untracked, no ack.
    pub image_id: Option<String>,
    /// `producer_identity` (G3 and later).
    pub producer_identity: Option<ProducerIdentity>,
    /// Where acks of this item go, and what they must repeat (G4).
    pub ack_route: Option<AckRoute>,
    /// `plane_component_values` of a shapes or points item: the components that the `plane_indices` of its shapes count
    /// along, with one value per index (openhcs 0.8.6). Empty for images, whose axes are in their layout.
    pub shape_planes: Vec<PlaneAxis>,
    /// What it carries.
    pub payload: Payload,
}

impl Item {
    /// Components that run inside of the item: over the planes of an image, or over those that shapes lie on.
    pub fn plane_axes(&self) -> &[PlaneAxis] {
        match &self.payload {
            Payload::Image(image) => &image.layout.plane_axes,
            Payload::Shapes(_) | Payload::Points(_) => &self.shape_planes,
        }
    }
}

/// The three kinds of items.
#[derive(Clone, PartialEq, Debug)]
pub enum Payload {
    /// `data_type` "image", or absent.
    Image(ImagePayload),
    /// `data_type` "shapes".
    Shapes(Vec<Shape>),
    /// `data_type` "points": every entry is a [`ShapeGeometry::Points`].
    Points(Vec<Shape>),
}

/// Shape, type and place of an array of pixels.
#[derive(Clone, PartialEq, Debug)]
pub struct ImagePayload {
    /// Extent per axis, numpy C order, slowest first: `[.., y, x]` or `[.., y, x, rgb(a)]`. No extent is 0.
    pub shape: Vec<u64>,
    /// Element type and byte order. Little-endian for inline data, whatever was declared.
    pub dtype: DType,
    /// `shape` x element size, checked not to overflow.
    pub size_bytes: u64,
    /// Where the bytes are.
    pub source: PixelSource,
    /// `labels` (an extension of wellscope's own): the integers are ids of objects, so neighbours must not be mixed. Only ever set
    /// for bool and integers with one sample per pixel; on others the wire's flag is ignored.
    pub labels: bool,
    /// How the axes are to be read, checked against `shape`.
    pub layout: ImageLayout,
    /// `spatial_origin_yx`: where the first pixel lies in a bigger source frame, in pixels.
    pub spatial_origin_yx: Option<[i64; 2]>,
    /// `source_spatial_shape_yx`: extent of that frame, in pixels.
    pub source_spatial_shape_yx: Option<[u64; 2]>,
    /// `source_voxel_spacing`.
    pub voxel_spacing: Option<VoxelSpacing>,
}

/// Where the pixels of an image lie.
#[derive(Clone, PartialEq, Debug)]
pub enum PixelSource {
    /// `shm_name`: a shared-memory segment of the producer, C-contiguous, at least `size_bytes` long (the OS may round
    /// up). The name has no leading slash. Who unlinks it differs by generation; copy before replying.
    SharedMemory {
        /// The segment's name as sent.
        name: String,
        /// `shm_kept` (an extension of wellscope's own): the producer goes on using the segment after the reply, so nobody else
        /// may unlink it.
        kept: bool,
    },
    /// `frames` (an extension of wellscope's own): the binary frames behind the JSON that hold the array's bytes in this order, in
    /// the byte order of its dtype. 0 is the frame right behind the JSON; `size_bytes` in all. Cuts may lie inside of an element.
    Frames(Vec<usize>),
    /// `data`: already converted to `size_bytes` bytes of the declared dtype in **little-endian** order.
    Inline(Vec<u8>),
}

/// How the axes of an image array are to be read.
#[derive(Clone, PartialEq, Debug)]
pub struct ImageLayout {
    /// Components that the leading axes run over, slowest first, with one value per index.
    /// Declared by `plane_axis` + `plane_component_values`; an undeclared leading axis (G0 to G2) becomes a component
    /// `plane` (`plane_1`, ... when there are several) with values 0..n.
    pub plane_axes: Vec<PlaneAxis>,
    /// Extent in pixels.
    pub height: u64,
    /// Extent in pixels.
    pub width: u64,
    /// Samples of one pixel: 1, or 3 (RGB), or 4 (RGBA) when the last axis is colour.
    pub samples: u8,
}

/// One leading axis of an image array and the component it runs over.
#[derive(Clone, PartialEq, Debug)]
pub struct PlaneAxis {
    /// Component name, e.g. `z_index`.
    pub component: String,
    /// One value per index along the axis.
    pub values: Vec<ComponentValue>,
}

/// `source_voxel_spacing`: distance of neighbouring voxels.
#[derive(Clone, PartialEq, Debug)]
pub struct VoxelSpacing {
    /// z, y, x in `unit`.
    pub values_zyx: [f64; 3],
    /// e.g. "micrometers".
    pub unit: String,
}

/// `display_config`.
#[derive(Clone, PartialEq, Debug)]
pub struct DisplayConfig {
    /// Mode per component; a component not named here is a stack.
    pub component_modes: BTreeMap<String, ComponentMode>,
    /// `component_order`: outermost slider first. May be a subset of the components, or empty (G0).
    pub component_order: Vec<String>,
    /// `colormap`, a napari name; "gray" when absent.
    pub colormap: String,
    /// `variable_size_handling`.
    pub variable_size: VariableSize,
}

/// `variable_size_handling`: what to do with images of different extents in one route.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum VariableSize {
    /// `pad_to_max` or absent: each image is drawn at its own extent from the common origin.
    #[default]
    PadToMax,
    /// `separate_layers`: the well becomes a layer component of image routes.
    SeparateLayers,
}

/// `producer_identity`: which output of which step an item is. Source: polystore 0.2.19 `streaming/identity.py`.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct ProducerIdentity {
    /// "pipeline", "manual" or "direct".
    pub origin: String,
    /// e.g. "main", "artifact", "manual".
    pub output_kind: String,
    /// e.g. "main", "cell_rois".
    pub output_key: String,
    /// Part of the route key.
    pub projection_key: String,
    /// Name of the pipeline step.
    pub step_name: Option<String>,
    /// Position of the step in its pipeline, from 0.
    pub pipeline_position: Option<i64>,
    /// Identity of the step's configuration scope.
    pub step_scope_id: Option<String>,
    /// Identity of one invocation.
    pub invocation_key: Option<String>,
    /// e.g. "roi".
    pub artifact_kind: Option<String>,
}

/// Where and how a G4 producer wants its acks. Both objects travel back verbatim.
#[derive(Clone, PartialEq, Debug)]
pub struct AckRoute {
    /// `return_route.url`, e.g. `ipc:///.../openhcs-zmq-<uuid>-0.sock`.
    pub url: String,
    /// `return_route` as sent.
    pub return_route: serde_json::Value,
    /// `producer` as sent.
    pub producer: serde_json::Value,
}

/// One entry of `shapes`: a region of interest of one plane.
#[derive(Clone, PartialEq, Debug)]
pub struct Shape {
    /// What is drawn. Coordinates are `[y, x]` in pixels; pixel centres are integers.
    pub geometry: ShapeGeometry,
    /// `metadata.label`: positive object id; `None` when absent (the viewer allocates the smallest free).
    pub label: Option<u32>,
    /// `metadata.plane_indices`: index per leading axis of an aggregate stack that this shape lies on.
    pub plane_indices: Vec<i64>,
    /// Everything in `metadata`, kept for tables and payload replies. Bare NaN and Infinity become text.
    pub metadata: serde_json::Map<String, serde_json::Value>,
}

/// Geometry of a shape, all in `[y, x]` pixels. Every number is finite; vertices that were not are left out, so a list may
/// be shorter than a figure needs, or empty.
#[derive(Clone, PartialEq, Debug)]
pub enum ShapeGeometry {
    /// Closed outline.
    Polygon(Vec<[f64; 2]>),
    /// Open polyline (`path`, `line`).
    Path(Vec<[f64; 2]>),
    /// Axis-aligned ellipse; the wire sends centre and radii (G1, G2) or the four corners of its box (G3 and later).
    Ellipse {
        /// Centre.
        center: [f64; 2],
        /// Radii along y and x.
        radii: [f64; 2],
    },
    /// Four corners.
    Rectangle(Vec<[f64; 2]>),
    /// One or more points (`point`, `points`).
    Points(Vec<[f64; 2]>),
}
