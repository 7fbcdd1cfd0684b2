//! Batches as the receiver delivers them, without a socket.
#![allow(dead_code, reason = "each test binary uses a part of it")]

use std::time::Instant;

use wellscope::statistics::plane_statistics;
use wellscope::viewer::Viewer;
use wellscope_protocol::batch::{
    Address, ComponentDomain, ComponentNames, DisplayConfig, ImageLayout, ImagePayload, Item, Payload, PixelSource,
    PlaneAxis, ProducerIdentity, Shape, ShapeGeometry, VariableSize,
};
use wellscope_protocol::component::{ComponentMode, ComponentValue};
use wellscope_protocol::dtype::{DType, ElementType};
use wellscope_protocol::route::route_of;
use wellscope_receiver::{
    AckTicket, ImagePixels, ItemHead, ReceivedBatch, ReceivedImage, ReceivedItem, ReceivedPayload,
};

/// One image or shape set to send.
pub struct Sent {
    pub address: Vec<(&'static str, ComponentValue)>,
    pub step: &'static str,
    pub payload: SentPayload,
}

/// What it carries.
pub enum SentPayload {
    /// uint16 pixels, all of this value, height and width.
    Flat(u16, [u64; 2]),
    /// uint16 pixels as given.
    Pixels(Vec<u16>, [u64; 2]),
    /// uint16 planes along z_index, each of one value.
    ZStack(Vec<u16>, [u64; 2]),
    /// A polygon each with its index along z_index, whose values follow.
    PolygonsOfPlanes(Vec<(Vec<[f64; 2]>, i64)>, Vec<i64>),
    /// A polygon each.
    Polygons(Vec<Vec<[f64; 2]>>),
}

/// A display config in OpenHCS's order, all components stacked but those named.
pub fn config(layer_components: &[&str]) -> DisplayConfig {
    let order = ["site", "channel", "z_index", "timepoint", "well"];
    DisplayConfig {
        component_modes: order
            .iter()
            .map(|name| {
                let mode = if layer_components.contains(name) { ComponentMode::Layer } else { ComponentMode::Stack };
                ((*name).to_owned(), mode)
            })
            .collect(),
        component_order: order.map(str::to_owned).to_vec(),
        colormap: "gray".to_owned(),
        variable_size: VariableSize::PadToMax,
    }
}

/// An address with all five components of OpenHCS.
pub fn at(well: &'static str, channel: i64) -> Vec<(&'static str, ComponentValue)> {
    vec![
        ("well", well.into()),
        ("channel", channel.into()),
        ("site", 1.into()),
        ("z_index", 1.into()),
        ("timepoint", 1.into()),
    ]
}

/// A flat image of a step.
pub fn flat(well: &'static str, channel: i64, value: u16) -> Sent {
    Sent { address: at(well, channel), step: "Blur", payload: SentPayload::Flat(value, [4, 6]) }
}

fn identity(step: &str) -> ProducerIdentity {
    ProducerIdentity {
        origin: "pipeline".into(),
        output_kind: "main".into(),
        output_key: "main".into(),
        projection_key: "main".into(),
        step_name: Some(step.into()),
        pipeline_position: Some(0),
        step_scope_id: None,
        invocation_key: None,
        artifact_kind: None,
    }
}

fn image(values: Vec<u16>, planes: Option<usize>, [height, width]: [u64; 2]) -> (ImagePayload, ImagePixels) {
    let bytes: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
    let plane_axes = planes.map(|count| PlaneAxis {
        component: "z_index".into(),
        values: (1..=count as i64).map(ComponentValue::from).collect(),
    });
    let mut shape = vec![height, width];
    shape.splice(0..0, planes.map(|count| count as u64));
    let payload = ImagePayload {
        shape,
        dtype: DType::little(ElementType::U16),
        size_bytes: bytes.len() as u64,
        source: PixelSource::SharedMemory { name: "napari_test".into(), kept: false },
        labels: false,
        layout: ImageLayout { plane_axes: plane_axes.into_iter().collect(), height, width, samples: 1 },
        spatial_origin_yx: None,
        source_spatial_shape_yx: None,
        voxel_spacing: None,
    };
    (payload, ImagePixels::from_bytes(bytes, (height * width) as usize * 2))
}

/// A batch with names and declared values.
pub fn batch_with(
    config: DisplayConfig,
    names: ComponentNames,
    domain: ComponentDomain,
    sent: Vec<Sent>,
) -> ReceivedBatch {
    let items = sent.into_iter().map(|sent| received(sent, &config)).collect();
    ReceivedBatch {
        sequence: 1,
        received_at: Instant::now(),
        items,
        display_config: config,
        component_names: names,
        component_domain: domain,
    }
}

/// A batch in the default config.
pub fn batch(sent: Vec<Sent>) -> ReceivedBatch {
    batch_with(config(&[]), ComponentNames::new(), ComponentDomain::new(), sent)
}

/// A batch in the default config whose items have another identity and these paths.
pub fn batch_as(
    sent: Vec<Sent>,
    identity_of: impl Fn(ProducerIdentity) -> ProducerIdentity,
    paths: &[String],
) -> ReceivedBatch {
    let mut all = batch(Vec::new());
    let config = config(&[]);
    all.items = sent
        .into_iter()
        .zip(paths)
        .map(|(sent, path)| {
            let identity = identity_of(identity(sent.step));
            received_as(sent, &config, identity, path)
        })
        .collect();
    all
}

fn received(sent: Sent, config: &DisplayConfig) -> ReceivedItem {
    let identity = identity(sent.step);
    received_as(sent, config, identity, "/plate/x.tif")
}

fn received_as(sent: Sent, config: &DisplayConfig, identity: ProducerIdentity, path: &str) -> ReceivedItem {
    let address: Address = sent.address.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
    let mut shape_planes = Vec::new();
    let (payload, pixels) = match sent.payload {
        SentPayload::Flat(value, shape) => {
            let (image, pixels) = image(vec![value; (shape[0] * shape[1]) as usize], None, shape);
            (Payload::Image(image), Some(pixels))
        }
        SentPayload::Pixels(values, shape) => {
            let (image, pixels) = image(values, None, shape);
            (Payload::Image(image), Some(pixels))
        }
        SentPayload::ZStack(values, shape) => {
            let per_plane = (shape[0] * shape[1]) as usize;
            let pixels = values.iter().flat_map(|value| std::iter::repeat_n(*value, per_plane)).collect();
            let (image, pixels) = image(pixels, Some(values.len()), shape);
            (Payload::Image(image), Some(pixels))
        }
        SentPayload::PolygonsOfPlanes(polygons, values) => {
            let values = values.into_iter().map(ComponentValue::from).collect();
            shape_planes.push(PlaneAxis { component: "z_index".into(), values });
            let shape = |(points, plane): (Vec<[f64; 2]>, i64)| Shape {
                geometry: ShapeGeometry::Polygon(points),
                label: None,
                plane_indices: vec![plane],
                metadata: Default::default(),
            };
            (Payload::Shapes(polygons.into_iter().map(shape).collect()), None)
        }
        SentPayload::Polygons(polygons) => {
            let shape = |points| Shape {
                geometry: ShapeGeometry::Polygon(points),
                label: None,
                plane_indices: Vec::new(),
                metadata: Default::default(),
            };
            (Payload::Shapes(polygons.into_iter().map(shape).collect()), None)
        }
    };
    let item = Item {
        path: path.into(),
        address,
        image_id: None,
        producer_identity: Some(identity),
        ack_route: None,
        shape_planes,
        payload,
    };
    let route = route_of(&item, config).unwrap();
    let payload = match (item.payload, pixels) {
        (Payload::Image(image), Some(pixels)) => ReceivedPayload::Image(ReceivedImage {
            element: image.dtype.element,
            shape: image.shape,
            layout: image.layout,
            spatial_origin_yx: None,
            source_spatial_shape_yx: None,
            voxel_spacing: None,
            labels: image.labels,
            pixels,
        }),
        (Payload::Shapes(shapes), _) => ReceivedPayload::Shapes(shapes),
        (Payload::Points(points), _) => ReceivedPayload::Points(points),
        (Payload::Image(_), None) => unreachable!("an image has pixels"),
    };
    let head = ItemHead {
        path: item.path,
        address: item.address,
        producer_identity: item.producer_identity,
        shape_planes: item.shape_planes,
        route,
    };
    ReceivedItem { item: head, payload, ack: AckTicket::untracked() }
}

/// Takes a batch and measures its planes at once, as the workers would soon after.
pub fn take(viewer: &mut Viewer, batch: ReceivedBatch) {
    let ingested = viewer.take_batch(batch);
    assert_eq!(ingested.problems, Vec::<String>::new());
    for job in ingested.jobs {
        let plane = &job.plane;
        let statistics = plane_statistics(plane.element, plane.samples, &plane.pixels.read().unwrap());
        viewer.take_statistics(&job, statistics);
    }
}

/// Moves a slider.
pub fn go(viewer: &mut Viewer, component: &str, value: impl Into<ComponentValue>) {
    let (axis, _) = viewer.axes.find(component).unwrap();
    viewer.apply(wellscope::viewer::command::ViewCommand::GoTo(axis, value.into()));
}

/// First pixel of what each layer draws, bottom to top.
pub fn drawn(viewer: &Viewer) -> Vec<u16> {
    let resolved = viewer.resolve(&mut Default::default());
    let first = |bytes: &[u8]| u16::from_le_bytes([bytes[0], bytes[1]]);
    resolved.draws.iter().map(|draw| first(&draw.plane.pixels.read().unwrap())).collect()
}
