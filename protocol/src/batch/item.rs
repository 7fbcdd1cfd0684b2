//! One entry of `images`, in every spelling from openhcs 0.1.0 (G0) to polystore 0.6.3 (G4).

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;

use super::decode::{BatchLimits, item_field};
use super::error::ItemError;
use super::json_text::kind_of_json;
use super::layout::{DeclaredAxes, image_layout};
use super::shapes::read_shapes;
use super::source::{ArrayClaim, BesideText, SentSource, read_source, segment_name};
use super::{
    AckRoute, Address, DisplayConfig, ImagePayload, Item, LenientF64, Payload, PixelSource, PlaneAxis,
    ProducerIdentity, VoxelSpacing,
};
use crate::component::ComponentValue;
use crate::dtype::{ByteOrder, DType, ElementType, checked_size_bytes};

/// What of the envelope decides how an item is read.
pub(super) struct ItemContext<'a> {
    pub(super) display_config: &'a DisplayConfig,
    pub(super) limits: &'a BatchLimits,
}

/// An item as sent, each field still text: its errors then say its name.
#[derive(Deserialize)]
struct WireItem<'a> {
    #[serde(borrow)]
    path: Option<&'a RawValue>,
    #[serde(borrow)]
    data_type: Option<&'a RawValue>,
    #[serde(borrow)]
    metadata: Option<&'a RawValue>,
    #[serde(borrow)]
    component_metadata: Option<&'a RawValue>,
    #[serde(borrow)]
    step_index: Option<&'a RawValue>,
    #[serde(borrow)]
    step_name: Option<&'a RawValue>,
    #[serde(borrow)]
    image_id: Option<&'a RawValue>,
    #[serde(borrow)]
    producer_identity: Option<&'a RawValue>,
    #[serde(borrow)]
    return_route: Option<&'a RawValue>,
    #[serde(borrow)]
    producer: Option<&'a RawValue>,
    #[serde(borrow)]
    shape: Option<&'a RawValue>,
    #[serde(borrow)]
    dtype: Option<&'a RawValue>,
    #[serde(borrow)]
    shm_name: Option<&'a RawValue>,
    #[serde(borrow)]
    shm_kept: Option<&'a RawValue>,
    #[serde(borrow)]
    data: Option<&'a RawValue>,
    #[serde(borrow)]
    frames: Option<&'a RawValue>,
    #[serde(borrow)]
    labels: Option<&'a RawValue>,
    #[serde(borrow)]
    image_metadata: Option<&'a RawValue>,
    #[serde(borrow)]
    source_channel_axis: Option<&'a RawValue>,
    #[serde(borrow)]
    plane_axis: Option<&'a RawValue>,
    #[serde(borrow)]
    plane_component_values: Option<&'a RawValue>,
    #[serde(borrow)]
    spatial_origin_yx: Option<&'a RawValue>,
    #[serde(borrow)]
    source_spatial_shape_yx: Option<&'a RawValue>,
    #[serde(borrow)]
    shapes: Option<&'a RawValue>,
}

pub(super) fn read_item(
    entry: &RawValue,
    beside: &mut BesideText<'_, '_>,
    context: &ItemContext<'_>,
) -> Result<Item, ItemError> {
    if !entry.get().starts_with('{') {
        return Err(ItemError::NotAnObject { found: kind_of_json(entry.get()) });
    }
    let wire: WireItem<'_> = serde_json::from_str(entry.get())
        .map_err(|error| ItemError::WrongField { field: "images", reason: super::reason(&error) })?;
    let path = item_field(wire.path, "path")?.ok_or(ItemError::MissingField { field: "path" })?;
    let data_type: Option<String> = item_field(wire.data_type, "data_type")?;
    let payload = match data_type.as_deref() {
        None | Some("image") => Payload::Image(read_image(&wire, beside, context.limits)?),
        Some(kind @ ("shapes" | "rois" | "points")) => {
            let raw = wire.shapes.ok_or(ItemError::MissingField { field: "shapes" })?;
            let only_points = kind == "points";
            let shapes = read_shapes(raw, only_points)?;
            if only_points { Payload::Points(shapes) } else { Payload::Shapes(shapes) }
        }
        Some(other) => return Err(ItemError::UnknownDataType { found: other.chars().take(64).collect() }),
    };
    let image_id = item_field::<String>(wire.image_id, "image_id")?.filter(|id| !id.is_empty());
    Ok(Item {
        path,
        address: read_address(&wire, context.display_config)?,
        image_id,
        producer_identity: read_identity(wire.producer_identity)?,
        ack_route: read_ack_route(wire.return_route, wire.producer)?,
        shape_planes: read_shape_planes(&wire, &payload, context.limits)?,
        payload,
    })
}

/// What can be read of an item that cannot be read as a whole: whom its error names and reaches.
#[derive(Default)]
pub(super) struct Sender {
    /// At most 512 characters.
    pub(super) path: String,
    pub(super) image_id: Option<String>,
    pub(super) ack_route: Option<AckRoute>,
    /// As sent, unless no segment has such a name or its producer keeps it.
    pub(super) shm_name: Option<String>,
}

/// Fields that are missing or bad stay empty.
pub(super) fn read_sender(entry: &RawValue) -> Sender {
    #[derive(Deserialize)]
    struct WireSender<'a> {
        path: Option<Value>,
        image_id: Option<Value>,
        shm_name: Option<Value>,
        shm_kept: Option<Value>,
        #[serde(borrow)]
        return_route: Option<&'a RawValue>,
        #[serde(borrow)]
        producer: Option<&'a RawValue>,
    }
    if !entry.get().starts_with('{') {
        return Sender::default();
    }
    let Ok(wire) = serde_json::from_str::<WireSender<'_>>(entry.get()) else { return Sender::default() };
    let text = |value: &Option<Value>| {
        value.as_ref().and_then(Value::as_str).filter(|text| !text.is_empty()).map(str::to_owned)
    };
    let is_kept = wire.shm_kept.as_ref().and_then(Value::as_bool) == Some(true);
    Sender {
        path: text(&wire.path).unwrap_or_default().chars().take(512).collect(),
        image_id: text(&wire.image_id),
        shm_name: text(&wire.shm_name).filter(|_| !is_kept).and_then(|name| segment_name(name).ok()),
        ack_route: read_ack_route(wire.return_route, wire.producer).unwrap_or_default(),
    }
}

/// The planes that shapes lie on. Declared without shapes that use them, they are an image's business and not kept here.
fn read_shape_planes(
    wire: &WireItem<'_>,
    payload: &Payload,
    limits: &BatchLimits,
) -> Result<Vec<PlaneAxis>, ItemError> {
    if matches!(payload, Payload::Image(_)) {
        return Ok(Vec::new());
    }
    let declared: BTreeMap<String, Vec<ComponentValue>> =
        item_field(wire.plane_component_values, "plane_component_values")?.unwrap_or_default();
    let planes = declared.values().try_fold(1_u64, |planes, values| planes.checked_mul(values.len() as u64));
    if !declared.is_empty() && !planes.is_some_and(|planes| (1..=limits.max_planes).contains(&planes)) {
        let reason = format!("needed 1 to {} planes", limits.max_planes);
        return Err(ItemError::WrongField { field: "plane_component_values", reason });
    }
    let axis = |(component, values): (String, Vec<ComponentValue>)| PlaneAxis {
        values: values.into_iter().map(|value| value.normalized_for(&component)).collect(),
        component,
    };
    Ok(declared.into_iter().map(axis).collect())
}

/// Entries of G1's and G2's `metadata` that are no components unless the display config says so.
const NOT_COMPONENTS: [&str; 4] = ["source", "extension", "step_name", "step_index"];

fn read_address(wire: &WireItem<'_>, config: &DisplayConfig) -> Result<Address, ItemError> {
    let sent: Option<BTreeMap<String, ComponentValue>> = match wire.metadata {
        Some(raw) => item_field(Some(raw), "metadata")?,
        None => item_field(wire.component_metadata, "component_metadata")?,
    };
    let sent = sent.ok_or(ItemError::MissingField { field: "metadata" })?;
    if sent.is_empty() {
        return Err(ItemError::EmptyMetadata);
    }
    let is_component = |name: &str| {
        !NOT_COMPONENTS.contains(&name)
            || config.component_modes.contains_key(name)
            || config.component_order.iter().any(|component| component == name)
    };
    // An item that has nothing else still has to lie somewhere.
    let keep_all = !sent.keys().any(|name| is_component(name));
    let mut address: Address = sent
        .into_iter()
        .filter(|(name, _)| keep_all || is_component(name))
        .map(|(name, value)| {
            let value = value.normalized_for(&name);
            (name, value)
        })
        .collect();
    for (name, raw) in [("step_index", wire.step_index), ("step_name", wire.step_name)] {
        if let Some(value) = item_field::<ComponentValue>(raw, name)? {
            address.entry(name.to_owned()).or_insert(value);
        }
    }
    Ok(address)
}

#[derive(Deserialize)]
struct WireIdentity {
    origin: String,
    output_kind: String,
    output_key: String,
    projection_key: String,
    step_name: Option<String>,
    pipeline_position: Option<i64>,
    step_scope_id: Option<String>,
    invocation_key: Option<String>,
    artifact_kind: Option<String>,
}

fn read_identity(raw: Option<&RawValue>) -> Result<Option<ProducerIdentity>, ItemError> {
    const FIELD: &str = "producer_identity";
    expect_object(raw, FIELD)?;
    let Some(wire) = item_field::<WireIdentity>(raw, FIELD)? else { return Ok(None) };
    let required = [
        ("origin", &wire.origin),
        ("output_kind", &wire.output_kind),
        ("output_key", &wire.output_key),
        ("projection_key", &wire.projection_key),
    ];
    if let Some((name, _)) = required.into_iter().find(|(_, text)| text.trim().is_empty()) {
        return Err(ItemError::WrongField { field: FIELD, reason: format!("'{name}' is blank, text is needed") });
    }
    Ok(Some(ProducerIdentity {
        origin: wire.origin,
        output_kind: wire.output_kind,
        output_key: wire.output_key,
        projection_key: wire.projection_key,
        step_name: wire.step_name,
        pipeline_position: wire.pipeline_position,
        step_scope_id: wire.step_scope_id,
        invocation_key: wire.invocation_key,
        artifact_kind: wire.artifact_kind,
    }))
}

/// serde reads a struct from a list, too; the wire never means that.
fn expect_object(raw: Option<&RawValue>, field: &'static str) -> Result<(), ItemError> {
    match raw {
        Some(raw) if !raw.get().starts_with('{') && raw.get() != "null" => {
            let reason = format!("needed an object, found {}", kind_of_json(raw.get()));
            Err(ItemError::WrongField { field, reason })
        }
        _ => Ok(()),
    }
}

fn read_ack_route(return_route: Option<&RawValue>, producer: Option<&RawValue>) -> Result<Option<AckRoute>, ItemError> {
    let Some(return_route) = item_field::<Value>(return_route, "return_route")?.filter(|route| !route.is_null()) else {
        return Ok(None);
    };
    let Some(url) = return_route.get("url").and_then(Value::as_str).map(str::to_owned) else {
        let reason = "its 'url' must be text, e.g. tcp://127.0.0.1:7555".to_owned();
        return Err(ItemError::WrongField { field: "return_route", reason });
    };
    let producer = item_field(producer, "producer")?.unwrap_or(Value::Null);
    Ok(Some(AckRoute { url, return_route, producer }))
}

/// `image_metadata` (openhcs 0.8.6). When present it overrides the flat fields.
#[derive(Deserialize)]
struct WireImageMetadata {
    plane_axis: Option<String>,
    source_channel_axis: Option<i64>,
    source_spatial_domain: Option<WireSpatialDomain>,
    source_voxel_spacing: Option<WireVoxelSpacing>,
}

#[derive(Deserialize)]
struct WireSpatialDomain {
    origin_yx: Option<[Whole; 2]>,
    source_shape_yx: Option<[u64; 2]>,
}

#[derive(Deserialize)]
struct WireVoxelSpacing {
    #[serde(default)]
    values_zyx: Vec<LenientF64>,
    unit: Option<String>,
}

/// A whole number, also when Python made a float of it.
#[derive(Clone, Copy)]
struct Whole(i64);

impl<'de> Deserialize<'de> for Whole {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        use serde::de::Error;
        match ComponentValue::deserialize(deserializer)? {
            ComponentValue::Int(number) => Ok(Self(number)),
            ComponentValue::Float(float) if float.get().fract() == 0.0 && float.get().abs() < 9.0e15 => {
                Ok(Self(float.get() as i64))
            }
            other => Err(D::Error::custom(format_args!("found {other}, a whole number is needed"))),
        }
    }
}

fn read_image(
    wire: &WireItem<'_>,
    beside: &mut BesideText<'_, '_>,
    limits: &BatchLimits,
) -> Result<ImagePayload, ItemError> {
    let shape: Vec<u64> = item_field(wire.shape, "shape")?.ok_or(ItemError::MissingField { field: "shape" })?;
    let declared_dtype: String = item_field(wire.dtype, "dtype")?.ok_or(ItemError::MissingField { field: "dtype" })?;
    let mut dtype = DType::parse(&declared_dtype)?;
    let size_bytes = checked_size_bytes(&shape, dtype)?;
    if size_bytes > limits.max_image_bytes {
        return Err(ItemError::ImageTooLarge {
            shape,
            dtype: declared_dtype,
            needed_bytes: size_bytes,
            limit_bytes: limits.max_image_bytes,
        });
    }

    expect_object(wire.image_metadata, "image_metadata")?;
    let image_metadata: Option<WireImageMetadata> = item_field(wire.image_metadata, "image_metadata")?;
    let plane_component_values = item_field(wire.plane_component_values, "plane_component_values")?.unwrap_or_default();
    let (declared, origin, source_shape, spacing) = match image_metadata {
        Some(metadata) => {
            let axes = DeclaredAxes {
                channel_axis: metadata.source_channel_axis,
                plane_axis: metadata.plane_axis,
                plane_component_values,
            };
            let (origin, source_shape) = match metadata.source_spatial_domain {
                Some(domain) => (domain.origin_yx, domain.source_shape_yx),
                None => (None, None),
            };
            (axes, origin, source_shape, metadata.source_voxel_spacing)
        }
        None => {
            let axes = DeclaredAxes {
                channel_axis: item_field(wire.source_channel_axis, "source_channel_axis")?,
                plane_axis: item_field(wire.plane_axis, "plane_axis")?,
                plane_component_values,
            };
            let origin = item_field(wire.spatial_origin_yx, "spatial_origin_yx")?;
            (axes, origin, item_field(wire.source_spatial_shape_yx, "source_spatial_shape_yx")?, None)
        }
    };
    let layout = image_layout(&shape, declared, limits.max_planes)?;

    let array = ArrayClaim { shape: &shape, declared_dtype: &declared_dtype, element: dtype.element, size_bytes };
    let sent = SentSource { shm_name: wire.shm_name, shm_kept: wire.shm_kept, data: wire.data, frames: wire.frames };
    let source = read_source(&sent, beside, &array, limits)?;
    if let PixelSource::Inline(_) = source {
        dtype.order = ByteOrder::Little;
    }
    let labels = item_field::<bool>(wire.labels, "labels")?.unwrap_or(false);
    let may_be_labels =
        layout.samples == 1 && !matches!(dtype.element, ElementType::F16 | ElementType::F32 | ElementType::F64);
    Ok(ImagePayload {
        shape,
        dtype,
        size_bytes,
        source,
        labels: labels && may_be_labels,
        layout,
        spatial_origin_yx: origin.map(|pair: [Whole; 2]| pair.map(|Whole(number)| number)),
        source_spatial_shape_yx: source_shape,
        voxel_spacing: spacing.and_then(read_spacing),
    })
}

/// Distances that are not three positive numbers count as unknown: a scale bar is no reason to refuse pixels.
fn read_spacing(wire: WireVoxelSpacing) -> Option<VoxelSpacing> {
    let values: Vec<f64> = wire.values_zyx.into_iter().map(|LenientF64(number)| number).collect();
    let values_zyx: [f64; 3] = values.try_into().ok()?;
    let usable = values_zyx.iter().all(|value| value.is_finite() && *value > 0.0);
    usable.then(|| VoxelSpacing { values_zyx, unit: wire.unit.unwrap_or_else(|| "micrometers".to_owned()) })
}
