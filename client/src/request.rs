//! What to send: a batch of images, shapes and points, put together by the caller.
//!
//! ```
//! use ndarray::Array2;
//! use wellscope_client::{BatchRequest, ImageItem};
//! let pixels = Array2::<u16>::zeros((16, 24));
//! let rgb = ndarray::Array3::<u8>::zeros((16, 24, 3));
//! let request = BatchRequest::new()
//!     .item(ImageItem::new("/plate/A01_w1.tif", pixels.view()).at("well", "A01").at("channel", 1))
//!     .item(ImageItem::new("/plate/A01_he.tif", rgb.view()).at("well", "A01").at("channel", 2).color())
//!     .name("channel", 1, "DAPI");
//! assert_eq!(request.len(), 2);
//! ```

use std::collections::BTreeMap;

use ndarray::{ArrayView, Dimension};
use wellscope_protocol::batch::{
    Address, ComponentDomain, ComponentNames, DisplayConfig, PlaneAxis, ProducerIdentity, Shape, VariableSize,
    VoxelSpacing,
};
use wellscope_protocol::component::{ComponentMode, ComponentValue};
use wellscope_protocol::dtype::DType;

use crate::element::{Element, Pixels, RawPixels};

/// Components of OpenHCS in the order of its sliders (openhcs 0.8.6).
pub const OPENHCS_COMPONENTS: [&str; 5] = ["site", "channel", "z_index", "timepoint", "well"];

/// All five components of OpenHCS as sliders, colormap "gray", each image at its own size.
pub fn openhcs_display_config() -> DisplayConfig {
    DisplayConfig {
        component_modes: OPENHCS_COMPONENTS.iter().map(|name| ((*name).to_owned(), ComponentMode::Stack)).collect(),
        component_order: OPENHCS_COMPONENTS.iter().map(|name| (*name).to_owned()).collect(),
        colormap: "gray".to_owned(),
        variable_size: VariableSize::PadToMax,
    }
}

/// The identity of images that no pipeline made, as OpenHCS 0.8.6 sends it for hand-picked ones.
pub fn manual_identity() -> ProducerIdentity {
    ProducerIdentity {
        origin: "manual".to_owned(),
        output_kind: "manual".to_owned(),
        output_key: "selected_images".to_owned(),
        projection_key: "selected_images".to_owned(),
        step_name: None,
        pipeline_position: None,
        step_scope_id: None,
        invocation_key: None,
        artifact_kind: None,
    }
}

/// The identity of a step's main output.
pub fn step_identity(step_name: impl Into<String>, pipeline_position: i64) -> ProducerIdentity {
    ProducerIdentity {
        origin: "pipeline".to_owned(),
        output_kind: "main".to_owned(),
        output_key: "main".to_owned(),
        projection_key: "main".to_owned(),
        step_name: Some(step_name.into()),
        pipeline_position: Some(pipeline_position),
        ..manual_identity()
    }
}

/// One batch to send. Pixels are borrowed until [`Producer::send_batch`](crate::Producer::send_batch) returns.
pub struct BatchRequest<'a> {
    pub(crate) items: Vec<RequestItem<'a>>,
    pub(crate) display_config: DisplayConfig,
    pub(crate) identity: ProducerIdentity,
    pub(crate) names: ComponentNames,
    pub(crate) domain: ComponentDomain,
}

impl Default for BatchRequest<'_> {
    fn default() -> Self {
        Self::new()
    }
}

impl<'a> BatchRequest<'a> {
    /// An empty batch with [`openhcs_display_config`] and [`manual_identity`].
    pub fn new() -> Self {
        Self {
            items: Vec::new(),
            display_config: openhcs_display_config(),
            identity: manual_identity(),
            names: BTreeMap::new(),
            domain: BTreeMap::new(),
        }
    }

    /// Adds a plain image; [`BatchRequest::item`] takes one with more to say.
    #[must_use]
    pub fn image<T: Element, D: Dimension>(
        self,
        path: impl Into<String>,
        address: Address,
        pixels: ArrayView<'a, T, D>,
    ) -> Self {
        self.item(ImageItem::new(path, pixels).address(address))
    }

    /// Adds shapes: outlines, paths, ellipses, points, mixed.
    #[must_use]
    pub fn shapes(self, path: impl Into<String>, address: Address, shapes: Vec<Shape>) -> Self {
        self.item(RoiItem::shapes(path, shapes).address(address))
    }

    /// Adds points; every entry must be a [`ShapeGeometry::Points`](wellscope_protocol::batch::ShapeGeometry::Points).
    #[must_use]
    pub fn points(self, path: impl Into<String>, address: Address, points: Vec<Shape>) -> Self {
        self.item(RoiItem::points(path, points).address(address))
    }

    /// Adds an [`ImageItem`] or a [`RoiItem`].
    #[must_use]
    pub fn item(mut self, item: impl Into<RequestItem<'a>>) -> Self {
        self.items.push(item.into());
        self
    }

    /// How the viewer is to show it.
    #[must_use]
    pub fn display_config(mut self, config: DisplayConfig) -> Self {
        self.display_config = config;
        self
    }

    /// The identity of every item that has none of its own.
    #[must_use]
    pub fn identity(mut self, identity: ProducerIdentity) -> Self {
        self.identity = identity;
        self
    }

    /// Gives one value of a component a name that people read, e.g. channel 1 "DAPI".
    #[must_use]
    pub fn name(mut self, component: &str, value: impl Into<ComponentValue>, name: impl Into<String>) -> Self {
        self.names.entry(component.to_owned()).or_default().insert(value.into().as_key(), name.into());
        self
    }

    /// All names at once.
    #[must_use]
    pub fn names(mut self, names: ComponentNames) -> Self {
        self.names = names;
        self
    }

    /// Declares values that will come, so that sliders have their full length from the start. Values of the batch's own
    /// items are added to it when sent: openhcs 0.8.6 refuses items outside it.
    #[must_use]
    pub fn domain(mut self, domain: ComponentDomain) -> Self {
        self.domain = domain;
        self
    }

    /// Number of items.
    pub fn len(&self) -> usize {
        self.items.len()
    }

    /// Whether there is nothing in it. A viewer answers success to an empty batch.
    pub fn is_empty(&self) -> bool {
        self.items.is_empty()
    }
}

/// One item of a [`BatchRequest`].
pub enum RequestItem<'a> {
    /// An array of pixels.
    Image(ImageItem<'a>),
    /// Shapes or points.
    Roi(RoiItem),
}

impl<'a> From<ImageItem<'a>> for RequestItem<'a> {
    fn from(item: ImageItem<'a>) -> Self {
        Self::Image(item)
    }
}

/// A plain image without a path yet: [`StreamingBackend::save_batch`](crate::StreamingBackend::save_batch) gives it one.
impl<'a, T: Element, D: Dimension> From<ArrayView<'a, T, D>> for RequestItem<'a> {
    fn from(pixels: ArrayView<'a, T, D>) -> Self {
        Self::Image(ImageItem::new("", pixels))
    }
}

impl RequestItem<'_> {
    pub(crate) fn head_mut(&mut self) -> &mut ItemHead {
        match self {
            Self::Image(image) => &mut image.head,
            Self::Roi(roi) => &mut roi.head,
        }
    }
}

impl From<RoiItem> for RequestItem<'_> {
    fn from(item: RoiItem) -> Self {
        Self::Roi(item)
    }
}

/// What images and regions of interest have in common.
pub(crate) struct ItemHead {
    pub path: String,
    pub address: Address,
    pub image_id: Option<String>,
    pub identity: Option<ProducerIdentity>,
}

impl ItemHead {
    fn new(path: impl Into<String>) -> Self {
        let image_id = Some(uuid::Uuid::new_v4().to_string());
        Self { path: path.into(), address: Address::new(), image_id, identity: None }
    }
}

/// An image and what a viewer must know of it.
pub struct ImageItem<'a> {
    pub(crate) head: ItemHead,
    pub(crate) pixels: Box<dyn Pixels + 'a>,
    pub(crate) plane_axis: Option<PlaneAxis>,
    pub(crate) color: bool,
    pub(crate) inline: bool,
    pub(crate) labels: bool,
    pub(crate) spatial_origin_yx: Option<[i64; 2]>,
    pub(crate) source_spatial_shape_yx: Option<[u64; 2]>,
    pub(crate) voxel_spacing: Option<VoxelSpacing>,
}

impl<'a> ImageItem<'a> {
    /// An image `[.., y, x]` or, after [`ImageItem::color`], `[.., y, x, rgb(a)]`. Any strides; it travels in C order.
    ///
    /// It gets a random `image_id`, so the viewer acknowledges it.
    pub fn new<T: Element, D: Dimension>(path: impl Into<String>, pixels: ArrayView<'a, T, D>) -> Self {
        Self::from_pixels(path, Box::new(pixels.into_dyn()))
    }

    /// An image whose bytes already lie in C order, e.g. read from a big-endian file.
    pub fn from_bytes(path: impl Into<String>, shape: &[u64], dtype: DType, bytes: &'a [u8]) -> Self {
        Self::from_pixels(path, Box::new(RawPixels { shape: shape.to_vec(), dtype, bytes }))
    }

    fn from_pixels(path: impl Into<String>, pixels: Box<dyn Pixels + 'a>) -> Self {
        Self {
            head: ItemHead::new(path),
            pixels,
            plane_axis: None,
            color: false,
            inline: false,
            labels: false,
            spatial_origin_yx: None,
            source_spatial_shape_yx: None,
            voxel_spacing: None,
        }
    }

    /// Places it at a value of a component. At least one is needed.
    #[must_use]
    pub fn at(mut self, component: impl Into<String>, value: impl Into<ComponentValue>) -> Self {
        self.head.address.insert(component.into(), value.into());
        self
    }

    /// Places it at several values at once; replaces what was there.
    #[must_use]
    pub fn address(mut self, address: Address) -> Self {
        self.head.address = address;
        self
    }

    /// Says which component the first axis runs over, with one value per index. The wire can name one; further axes
    /// before y and x become `plane_2`, ...; when nothing is declared they are `plane`, or `plane_1`, `plane_2`, ...
    #[must_use]
    pub fn plane_axis<V: Into<ComponentValue>>(
        mut self,
        component: impl Into<String>,
        values: impl IntoIterator<Item = V>,
    ) -> Self {
        let values = values.into_iter().map(Into::into).collect();
        self.plane_axis = Some(PlaneAxis { component: component.into(), values });
        self
    }

    /// The last axis is colour: extent 3 (RGB) or 4 (RGBA).
    #[must_use]
    pub fn color(mut self) -> Self {
        self.color = true;
        self
    }

    /// The pixels are ids of objects, not intensities: whole numbers, 0 where there is none. A viewer mixes no ids when it
    /// zooms, and may give each a colour; released viewers take no notice.
    #[must_use]
    pub fn labels(mut self) -> Self {
        self.labels = true;
        self
    }

    /// Sends the pixels inside the JSON instead of in shared memory. For thumbnails: text is many times bigger.
    #[must_use]
    pub fn inline(mut self) -> Self {
        self.inline = true;
        self
    }

    /// The id that its ack will name; `None`: no ack is wanted.
    #[must_use]
    pub fn image_id(mut self, image_id: Option<String>) -> Self {
        self.head.image_id = image_id;
        self
    }

    /// An identity other than the batch's.
    #[must_use]
    pub fn identity(mut self, identity: ProducerIdentity) -> Self {
        self.head.identity = Some(identity);
        self
    }

    /// This is a crop: where its first pixel lies in a bigger frame, and that frame's extent. `[y, x]` in pixels.
    #[must_use]
    pub fn crop_of(mut self, origin_yx: [i64; 2], source_shape_yx: [u64; 2]) -> Self {
        self.spatial_origin_yx = Some(origin_yx);
        self.source_spatial_shape_yx = Some(source_shape_yx);
        self
    }

    /// Distance of neighbouring voxels.
    #[must_use]
    pub fn voxel_spacing(mut self, spacing: VoxelSpacing) -> Self {
        self.voxel_spacing = Some(spacing);
        self
    }
}

/// Shapes or points and where they lie.
pub struct RoiItem {
    pub(crate) head: ItemHead,
    pub(crate) shapes: Vec<Shape>,
    pub(crate) only_points: bool,
}

impl RoiItem {
    /// Outlines, paths, ellipses, points, mixed.
    pub fn shapes(path: impl Into<String>, shapes: Vec<Shape>) -> Self {
        Self { head: ItemHead::new(path), shapes, only_points: false }
    }

    /// Points only.
    pub fn points(path: impl Into<String>, points: Vec<Shape>) -> Self {
        Self { head: ItemHead::new(path), shapes: points, only_points: true }
    }

    /// Places it at a value of a component. At least one is needed.
    #[must_use]
    pub fn at(mut self, component: impl Into<String>, value: impl Into<ComponentValue>) -> Self {
        self.head.address.insert(component.into(), value.into());
        self
    }

    /// Places it at several values at once; replaces what was there.
    #[must_use]
    pub fn address(mut self, address: Address) -> Self {
        self.head.address = address;
        self
    }

    /// The id that its ack will name; `None`: no ack is wanted.
    #[must_use]
    pub fn image_id(mut self, image_id: Option<String>) -> Self {
        self.head.image_id = image_id;
        self
    }

    /// An identity other than the batch's.
    #[must_use]
    pub fn identity(mut self, identity: ProducerIdentity) -> Self {
        self.head.identity = Some(identity);
        self
    }
}
