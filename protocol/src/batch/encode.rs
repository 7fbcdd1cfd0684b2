//! Writing a batch as a producer does, in the spelling of polystore 0.2.19 (G3) and, where an item has an ack route, 0.6.3
//! (G4). For the Rust client, tests and benches.

use std::borrow::Cow;
use std::collections::BTreeMap;

use half::f16;
use serde::Serialize;
use serde_json::{Map, Value};

use super::{
    Address, Batch, ComponentDomain, ComponentNames, ImagePayload, Item, Payload, PixelSource, PlaneAxis,
    ProducerIdentity, Shape, VariableSize,
};
use crate::component::ComponentValue;
use crate::dtype::ElementType;

impl Batch {
    /// The frame that [`Batch::decode`] reads back as the same batch.
    ///
    /// Binary frames ([`PixelSource::Frames`]) are only named; their bytes follow this frame in the same ZeroMQ message.
    ///
    /// Inline pixels become a flat list of numbers, so only small arrays should travel so. `source` and `extension` in an
    /// address need a place in the display config, else a viewer does not take them for components.
    ///
    /// # Errors
    /// Only what `serde_json` may report while writing to memory; none is known.
    pub fn encode(&self) -> Result<Vec<u8>, serde_json::Error> {
        let config = &self.display_config;
        let is_named = |name: &str| {
            config.component_modes.contains_key(name)
                || config.component_order.iter().any(|component| component == name)
        };
        serde_json::to_vec(&WireBatch {
            kind: "batch",
            images: self.items.iter().map(|item| wire_item(item, &is_named)).collect(),
            display_config: WireDisplayConfig {
                component_modes: config
                    .component_modes
                    .iter()
                    .map(|(name, mode)| (&**name, mode.wire_name()))
                    .collect(),
                component_order: &config.component_order,
                colormap: &config.colormap,
                variable_size_handling: match config.variable_size {
                    VariableSize::PadToMax => "pad_to_max",
                    VariableSize::SeparateLayers => "separate_layers",
                },
            },
            timestamp: self.timestamp,
            component_names_metadata: &self.component_names,
            component_value_domain: &self.component_domain,
        })
    }
}

#[derive(Serialize)]
struct WireBatch<'a> {
    #[serde(rename = "type")]
    kind: &'static str,
    images: Vec<WireItem<'a>>,
    display_config: WireDisplayConfig<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    timestamp: Option<f64>,
    component_names_metadata: &'a ComponentNames,
    component_value_domain: &'a ComponentDomain,
}

#[derive(Serialize)]
struct WireDisplayConfig<'a> {
    component_modes: BTreeMap<&'a str, &'static str>,
    component_order: &'a [String],
    colormap: &'a str,
    variable_size_handling: &'static str,
}

#[derive(Serialize)]
struct WireItem<'a> {
    path: &'a str,
    #[serde(flatten)]
    payload: WirePayload<'a>,
    data_type: &'static str,
    metadata: BTreeMap<&'a str, &'a ComponentValue>,
    /// G0 only: an address of no other generation has it without the config naming it.
    #[serde(skip_serializing_if = "Option::is_none")]
    step_index: Option<&'a ComponentValue>,
    #[serde(skip_serializing_if = "Option::is_none")]
    step_name: Option<&'a ComponentValue>,
    #[serde(skip_serializing_if = "Option::is_none")]
    producer_identity: Option<WireIdentity<'a>>,
    image_id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    return_route: Option<&'a Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    producer: Option<&'a Value>,
}

#[derive(Serialize)]
#[serde(untagged)]
enum WirePayload<'a> {
    Image(Box<WireImage<'a>>),
    Shapes {
        shapes: Vec<WireShape<'a>>,
        #[serde(skip_serializing_if = "BTreeMap::is_empty")]
        plane_component_values: BTreeMap<&'a str, &'a [ComponentValue]>,
    },
}

#[derive(Serialize)]
struct WireImage<'a> {
    shape: &'a [u64],
    dtype: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    shm_name: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    shm_kept: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    frames: Option<&'a [usize]>,
    #[serde(skip_serializing_if = "Option::is_none")]
    data: Option<Vec<Value>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    labels: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    image_metadata: Option<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    source_channel_axis: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    plane_axis: Option<&'static str>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    plane_component_values: BTreeMap<&'a str, &'a [ComponentValue]>,
    #[serde(skip_serializing_if = "Option::is_none")]
    spatial_origin_yx: Option<[i64; 2]>,
    #[serde(skip_serializing_if = "Option::is_none")]
    source_spatial_shape_yx: Option<[u64; 2]>,
}

#[derive(Serialize)]
struct WireIdentity<'a> {
    origin: &'a str,
    output_kind: &'a str,
    output_key: &'a str,
    projection_key: &'a str,
    step_name: Option<&'a str>,
    pipeline_position: Option<i64>,
    step_scope_id: Option<&'a str>,
    invocation_key: Option<&'a str>,
    artifact_kind: Option<&'a str>,
}

#[derive(Serialize)]
struct WireShape<'a> {
    #[serde(rename = "type")]
    kind: &'static str,
    coordinates: Cow<'a, [[f64; 2]]>,
    metadata: &'a Map<String, Value>,
}

fn wire_item<'a>(item: &'a Item, is_named: &impl Fn(&str) -> bool) -> WireItem<'a> {
    let (payload, data_type) = match &item.payload {
        Payload::Image(image) => (WirePayload::Image(Box::new(wire_image(image))), "image"),
        Payload::Shapes(shapes) => (wire_shapes(shapes, &item.shape_planes), "shapes"),
        Payload::Points(shapes) => (wire_shapes(shapes, &item.shape_planes), "points"),
    };
    let (metadata, [step_index, step_name]) = split_address(&item.address, is_named);
    let route = item.ack_route.as_ref();
    WireItem {
        path: &item.path,
        payload,
        data_type,
        metadata,
        step_index,
        step_name,
        producer_identity: item.producer_identity.as_ref().map(wire_identity),
        image_id: item.image_id.as_deref(),
        return_route: route.map(|route| &route.return_route),
        producer: route.map(|route| &route.producer),
    }
}

/// Components, and what G0 sends beside them.
fn split_address<'a>(
    address: &'a Address,
    is_named: &impl Fn(&str) -> bool,
) -> (BTreeMap<&'a str, &'a ComponentValue>, [Option<&'a ComponentValue>; 2]) {
    let mut metadata: BTreeMap<_, _> = address.iter().map(|(name, value)| (&**name, value)).collect();
    let steps = ["step_index", "step_name"].map(|name| if is_named(name) { None } else { metadata.remove(name) });
    (metadata, steps)
}

fn wire_identity(identity: &ProducerIdentity) -> WireIdentity<'_> {
    WireIdentity {
        origin: &identity.origin,
        output_kind: &identity.output_kind,
        output_key: &identity.output_key,
        projection_key: &identity.projection_key,
        step_name: identity.step_name.as_deref(),
        pipeline_position: identity.pipeline_position,
        step_scope_id: identity.step_scope_id.as_deref(),
        invocation_key: identity.invocation_key.as_deref(),
        artifact_kind: identity.artifact_kind.as_deref(),
    }
}

fn wire_image(image: &ImagePayload) -> WireImage<'_> {
    let (mut shm_name, mut shm_kept, mut frames, mut data) = (None, None, None, None);
    match &image.source {
        PixelSource::SharedMemory { name, kept } => (shm_name, shm_kept) = (Some(&**name), kept.then_some(true)),
        PixelSource::Frames(indices) => frames = Some(&**indices),
        PixelSource::Inline(bytes) => data = Some(inline_numbers(bytes, image.dtype.element)),
    }
    let source_channel_axis = (image.layout.samples > 1).then(|| image.shape.len() - 1);
    // Declared even when it is a nameless `plane`, so that no viewer takes (9, 9, 3) for colour.
    let plane = image.layout.plane_axes.first();
    let plane_axis = plane.map(|_| "runtime_slice");
    // The flat fields say the same; only the voxel spacing has no flat field.
    let image_metadata = image.voxel_spacing.as_ref().map(|spacing| {
        serde_json::json!({
            "source_spatial_domain": {
                "origin_yx": image.spatial_origin_yx,
                "source_shape_yx": image.source_spatial_shape_yx,
                "fill_value": 0,
                "value_name": "Dense array",
            },
            "plane_axis": plane_axis,
            "source_channel_axis": source_channel_axis,
            "source_voxel_spacing": {"values_zyx": spacing.values_zyx, "unit": spacing.unit},
        })
    });
    WireImage {
        shape: &image.shape,
        dtype: image.dtype.to_string(),
        shm_name,
        shm_kept,
        frames,
        data,
        labels: image.labels.then_some(true),
        image_metadata,
        source_channel_axis,
        plane_axis,
        plane_component_values: plane.map(|axis| (&*axis.component, &*axis.values)).into_iter().collect(),
        spatial_origin_yx: image.spatial_origin_yx,
        source_spatial_shape_yx: image.source_spatial_shape_yx,
    }
}

/// Little-endian bytes as numbers. NaN and infinities become text, which numpy reads as well as this crate does: bare
/// ones are not JSON.
fn inline_numbers(bytes: &[u8], element: ElementType) -> Vec<Value> {
    fn of<const N: usize>(bytes: &[u8], number: impl Fn([u8; N]) -> Value) -> Vec<Value> {
        bytes.as_chunks::<N>().0.iter().map(|chunk| number(*chunk)).collect()
    }
    match element {
        ElementType::Bool => of(bytes, |[byte]| (byte != 0).into()),
        ElementType::I8 => of(bytes, |chunk| i8::from_le_bytes(chunk).into()),
        ElementType::U8 => of(bytes, |[byte]| byte.into()),
        ElementType::I16 => of(bytes, |chunk| i16::from_le_bytes(chunk).into()),
        ElementType::U16 => of(bytes, |chunk| u16::from_le_bytes(chunk).into()),
        ElementType::I32 => of(bytes, |chunk| i32::from_le_bytes(chunk).into()),
        ElementType::U32 => of(bytes, |chunk| u32::from_le_bytes(chunk).into()),
        ElementType::I64 => of(bytes, |chunk| i64::from_le_bytes(chunk).into()),
        ElementType::U64 => of(bytes, |chunk| u64::from_le_bytes(chunk).into()),
        ElementType::F16 => of(bytes, |chunk| float_value(f16::from_le_bytes(chunk).to_f64())),
        ElementType::F32 => of(bytes, |chunk| float_value(f32::from_le_bytes(chunk).into())),
        ElementType::F64 => of(bytes, |chunk| float_value(f64::from_le_bytes(chunk))),
    }
}

fn float_value(number: f64) -> Value {
    if number.is_nan() {
        "NaN".into()
    } else if number.is_infinite() {
        if number > 0.0 { "Infinity" } else { "-Infinity" }.into()
    } else {
        number.into()
    }
}

fn wire_shapes<'a>(shapes: &'a [Shape], planes: &'a [PlaneAxis]) -> WirePayload<'a> {
    fn wire_shape(shape: &Shape) -> WireShape<'_> {
        let (kind, coordinates) = shape.geometry.wire_form();
        WireShape { kind, coordinates, metadata: &shape.metadata }
    }
    let planes = planes.iter().map(|axis| (axis.component.as_str(), axis.values.as_slice())).collect();
    WirePayload::Shapes { shapes: shapes.iter().map(wire_shape).collect(), plane_component_values: planes }
}
