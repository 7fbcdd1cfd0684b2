//! A request becomes a message: items are checked, pixels are written into their segments, routes for acks added.

use std::time::{SystemTime, UNIX_EPOCH};

use wellscope_protocol::batch::{
    AckRoute, Address, Batch, ComponentDomain, ImageLayout, ImagePayload, Item, Payload, PixelSource, PlaneAxis,
    ProducerIdentity, ShapeGeometry,
};
use wellscope_protocol::component::compare_values;
use wellscope_protocol::dtype::{ByteOrder, DType, ElementType, SizeError, checked_size_bytes};

use crate::element::Pixels;
use crate::request::{BatchRequest, ImageItem, ItemHead, RequestItem, RoiItem};
use crate::segment::{Segment, SegmentError};

/// Why an item cannot be sent. The caller made it; nothing of the batch was sent.
#[derive(Debug, thiserror::Error)]
pub enum ItemError {
    /// Viewers refuse items that lie nowhere.
    #[error("an item needs the value of at least one component, e.g. its well. Item: {path:?}")]
    NoAddress {
        /// Path of the item.
        path: String,
    },
    /// Fewer axes than y and x, and colour if declared.
    #[error("shape {shape:?} lacks axes: y and x are needed, and a colour axis where declared. Item: {path:?}")]
    TooFewAxes {
        /// Path of the item.
        path: String,
        /// Its extents.
        shape: Vec<u64>,
    },
    /// An extent of 0, or more bytes than 64 bits can count.
    #[error("{cause}. Item: {path:?}")]
    Size {
        /// Path of the item.
        path: String,
        /// What is wrong with its extents.
        cause: SizeError,
    },
    /// Raw bytes that are not shape x dtype.
    #[error("shape {shape:?} of {dtype} needs {needed_bytes} bytes, {found_bytes} were given. Item: {path:?}")]
    BytesDisagree {
        /// Path of the item.
        path: String,
        /// Its extents.
        shape: Vec<u64>,
        /// Its element type.
        dtype: DType,
        /// shape x dtype.
        needed_bytes: u64,
        /// What was given.
        found_bytes: u64,
    },
    /// A colour axis is the last one and has 3 or 4 samples.
    #[error("the last axis is declared colour, so its extent must be 3 or 4; shape is {shape:?}. Item: {path:?}")]
    NotColor {
        /// Path of the item.
        path: String,
        /// Its extents.
        shape: Vec<u64>,
    },
    /// The declared plane axis does not fit the first axis.
    #[error(
        "{values} values of {component} are declared for the first axis of shape {shape:?}; one per plane is needed. Item: {path:?}"
    )]
    PlaneAxisDisagrees {
        /// Path of the item.
        path: String,
        /// Component of the planes.
        component: String,
        /// Number of values declared.
        values: usize,
        /// The item's extents.
        shape: Vec<u64>,
    },
    /// Object ids are whole numbers.
    #[error("labels are whole numbers, one id per object; these pixels are {dtype}. Item: {path:?}")]
    NotLabels {
        /// Path of the item.
        path: String,
        /// Its element type.
        dtype: DType,
    },
    /// Viewers skip whatever is no point in an item of points.
    #[error("an item of points may hold nothing else; send it as shapes. Item: {path:?}")]
    NotAPoint {
        /// Path of the item.
        path: String,
    },
}

/// Why a request did not become a message.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PrepareError {
    #[error(transparent)]
    Item(#[from] ItemError),
    #[error(transparent)]
    Segment(#[from] SegmentError),
}

/// Where the pixels of a message are put, and what of them must live until its reply.
pub(crate) trait Placement {
    /// Copies an array of `size_bytes` somewhere and says where a viewer finds it.
    fn place(&mut self, pixels: &dyn Pixels, size_bytes: u64) -> Result<PixelSource, SegmentError>;
}

/// A segment for each array, gone when this is dropped.
#[derive(Default)]
pub(crate) struct OwnSegments(Vec<Segment>);

impl Placement for OwnSegments {
    fn place(&mut self, pixels: &dyn Pixels, size_bytes: u64) -> Result<PixelSource, SegmentError> {
        let segment = Segment::create(size_bytes, pixels.contiguous(), |bytes| pixels.write_to(bytes))?;
        let name = segment.name().to_owned();
        self.0.push(segment);
        Ok(PixelSource::SharedMemory { name, kept: false })
    }
}

/// What of a request is known before anything is copied.
pub(crate) struct CheckedRequest<'a> {
    request: BatchRequest<'a>,
    checked: Vec<Checked>,
}

impl<'a> CheckedRequest<'a> {
    /// Checks every item, so that a wrong one costs no copy.
    pub fn new(request: BatchRequest<'a>) -> Result<Self, ItemError> {
        let checked = request.items.iter().map(check).collect::<Result<Vec<_>, _>>()?;
        Ok(Self { request, checked })
    }

    /// Bytes of all its pixels.
    pub fn size_bytes(&self) -> u64 {
        self.checked.iter().flatten().fold(0, |sum, (size_bytes, _)| sum.saturating_add(*size_bytes))
    }

    /// Number of items.
    pub fn len(&self) -> usize {
        self.checked.len()
    }

    /// Copies the pixels and makes the message.
    pub fn place(self, ack_route: Option<&AckRoute>, placement: &mut dyn Placement) -> Result<Batch, SegmentError> {
        place(self, ack_route, placement)
    }
}

/// Checks and copies a request.
pub(crate) fn prepare(
    request: BatchRequest<'_>,
    ack_route: Option<&AckRoute>,
    placement: &mut dyn Placement,
) -> Result<Batch, PrepareError> {
    Ok(CheckedRequest::new(request)?.place(ack_route, placement)?)
}

fn place(
    request: CheckedRequest<'_>,
    ack_route: Option<&AckRoute>,
    placement: &mut dyn Placement,
) -> Result<Batch, SegmentError> {
    let CheckedRequest { request, checked } = request;
    let BatchRequest { items, display_config, identity, names, mut domain } = request;
    let mut wire_items = Vec::with_capacity(items.len());
    for (item, layout) in items.into_iter().zip(checked) {
        let (head, payload) = match item {
            RequestItem::Image(image) => image_payload(image, layout, placement)?,
            RequestItem::Roi(roi) => roi_payload(roi),
        };
        let plane_axes: &[PlaneAxis] = match &payload {
            Payload::Image(image) => &image.layout.plane_axes,
            Payload::Shapes(_) | Payload::Points(_) => &[],
        };
        widen_domain(&mut domain, &head.address, plane_axes);
        wire_items.push(wire_item(head, payload, &identity, ack_route));
    }
    let timestamp = SystemTime::now().duration_since(UNIX_EPOCH).ok().map(|since| since.as_secs_f64());
    Ok(Batch { items: wire_items, display_config, component_names: names, component_domain: domain, timestamp })
}

fn wire_item(head: ItemHead, payload: Payload, identity: &ProducerIdentity, ack_route: Option<&AckRoute>) -> Item {
    Item {
        path: head.path,
        address: head.address,
        image_id: head.image_id,
        producer_identity: Some(head.identity.unwrap_or_else(|| identity.clone())),
        ack_route: ack_route.cloned(),
        shape_planes: Vec::new(),
        payload,
    }
}

/// Size and layout of an image; `None` for shapes and points.
type Checked = Option<(u64, ImageLayout)>;

fn check(item: &RequestItem<'_>) -> Result<Checked, ItemError> {
    let head = match item {
        RequestItem::Image(image) => &image.head,
        RequestItem::Roi(roi) => &roi.head,
    };
    if head.address.is_empty() {
        return Err(ItemError::NoAddress { path: head.path.clone() });
    }
    match item {
        RequestItem::Image(image) => Ok(Some(check_image(image)?)),
        RequestItem::Roi(roi) => {
            if roi.only_points && !roi.shapes.iter().all(|shape| matches!(shape.geometry, ShapeGeometry::Points(_))) {
                return Err(ItemError::NotAPoint { path: head.path.clone() });
            }
            Ok(None)
        }
    }
}

fn check_image(image: &ImageItem<'_>) -> Result<(u64, ImageLayout), ItemError> {
    let path = || image.head.path.clone();
    let (shape, dtype) = (image.pixels.shape(), image.pixels.dtype());
    let (samples, spatial) = match (image.color, shape.split_last()) {
        (false, _) => (1, shape.as_slice()),
        (true, Some((3, rest))) => (3, rest),
        (true, Some((4, rest))) => (4, rest),
        (true, _) => return Err(ItemError::NotColor { path: path(), shape }),
    };
    let [leading @ .., height, width] = spatial else {
        return Err(ItemError::TooFewAxes { path: path(), shape });
    };
    let size_bytes = checked_size_bytes(&shape, dtype).map_err(|cause| ItemError::Size { path: path(), cause })?;
    if let Some(found_bytes) = image.pixels.given_bytes().map(|bytes| bytes as u64)
        && found_bytes != size_bytes
    {
        let (path, needed_bytes) = (path(), size_bytes);
        return Err(ItemError::BytesDisagree { path, shape, dtype, needed_bytes, found_bytes });
    }
    if image.labels && (image.color || matches!(dtype.element, ElementType::F16 | ElementType::F32 | ElementType::F64))
    {
        return Err(ItemError::NotLabels { path: path(), dtype });
    }
    let mut plane_axes = undeclared_plane_axes(leading);
    if let Some(declared) = &image.plane_axis {
        match plane_axes.first_mut() {
            Some(axis) if axis.values.len() == declared.values.len() => *axis = declared.clone(),
            _ => {
                return Err(ItemError::PlaneAxisDisagrees {
                    path: path(),
                    component: declared.component.clone(),
                    values: declared.values.len(),
                    shape,
                });
            }
        }
    }
    Ok((size_bytes, ImageLayout { plane_axes, height: *height, width: *width, samples }))
}

/// Leading axes that nobody named, as receivers name them: `plane`, or `plane_1`, `plane_2`, ... numbered from 0.
fn undeclared_plane_axes(leading: &[u64]) -> Vec<PlaneAxis> {
    let name = |index: usize| if leading.len() == 1 { "plane".to_owned() } else { format!("plane_{}", index + 1) };
    let values = |extent: u64| (0..i64::try_from(extent).unwrap_or(i64::MAX)).map(Into::into).collect();
    let axis = |(index, &extent)| PlaneAxis { component: name(index), values: values(extent) };
    leading.iter().enumerate().map(axis).collect()
}

fn image_payload(
    image: ImageItem<'_>,
    checked: Checked,
    placement: &mut dyn Placement,
) -> Result<(ItemHead, Payload), SegmentError> {
    let (shape, dtype) = (image.pixels.shape(), image.pixels.dtype());
    // `check` gives a layout for every image.
    let (size_bytes, layout) =
        checked.unwrap_or((0, ImageLayout { plane_axes: Vec::new(), height: 0, width: 0, samples: 1 }));
    let source = if image.inline {
        PixelSource::Inline(little_endian_bytes(&*image.pixels, size_bytes))
    } else {
        placement.place(&*image.pixels, size_bytes)?
    };
    let payload = ImagePayload {
        shape,
        dtype,
        size_bytes,
        source,
        labels: image.labels,
        layout,
        spatial_origin_yx: image.spatial_origin_yx,
        source_spatial_shape_yx: image.source_spatial_shape_yx,
        voxel_spacing: image.voxel_spacing,
    };
    Ok((image.head, Payload::Image(payload)))
}

/// Inline pixels are kept little-endian whatever their dtype says; the text that travels has no byte order.
pub(crate) fn little_endian_bytes(pixels: &dyn Pixels, size_bytes: u64) -> Vec<u8> {
    let mut bytes = vec![0; usize::try_from(size_bytes).unwrap_or(0)];
    pixels.write_to(&mut bytes);
    let dtype = pixels.dtype();
    if dtype.order == ByteOrder::Big {
        bytes.chunks_exact_mut(dtype.element.size_bytes()).for_each(<[u8]>::reverse);
    }
    bytes
}

fn roi_payload(roi: RoiItem) -> (ItemHead, Payload) {
    let payload = if roi.only_points { Payload::Points(roi.shapes) } else { Payload::Shapes(roi.shapes) };
    (roi.head, payload)
}

/// Adds the values at which an item lies to what was declared, in slider order.
fn widen_domain(domain: &mut ComponentDomain, address: &Address, plane_axes: &[PlaneAxis]) {
    let planes = plane_axes.iter().flat_map(|axis| axis.values.iter().map(|value| (&axis.component, value)));
    for (component, value) in address.iter().chain(planes) {
        let values = domain.entry(component.clone()).or_default();
        if !values.contains(value) {
            values.push(value.clone());
            values.sort_by(compare_values);
        }
    }
}
