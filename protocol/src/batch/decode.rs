//! Reading a frame of the data socket.
//!
//! Lenient where released producers differ (unknown fields, old spellings, bare NaN), strict where pixels are at stake.
//! The envelope is read first and each item alone after it, so that an error names the item and its field, and pixels
//! inside the message (`data`) go straight into bytes.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;

use super::error::{BatchError, ItemError};
use super::frames::FrameBook;
use super::from_pickle::{InlinePixels, PickledMessage, is_pickle, message_from_pickle};
use super::item::{ItemContext, Sender, read_item, read_sender};
use super::json_text::{for_each_entry, kind_of_json, standard_json};
use super::source::BesideText;
use super::{AckRoute, Batch, ComponentDomain, ComponentNames, DisplayConfig, LenientF64, Payload, VariableSize};
use crate::component::{ComponentMode, ComponentValue};

/// How much one message may ask of the viewer. Checked before anything of that size is allocated.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct BatchLimits {
    /// Bytes of the JSON text. Default 256 MiB.
    pub max_frame_bytes: u64,
    /// Entries of `images`. Default 65,536.
    pub max_items: usize,
    /// Bytes of one image, in shared memory. Default 8 GiB.
    pub max_image_bytes: u64,
    /// Bytes of all images of a batch together. Default 16 GiB.
    pub max_batch_bytes: u64,
    /// Bytes of one image sent inline. Default 64 MiB.
    pub max_inline_bytes: u64,
    /// Planes of one image: the product of its leading extents. Default 65,536.
    pub max_planes: u64,
    /// Binary frames behind the JSON. Default 131,072: as many as there may be items, and as many again for arrays in parts.
    pub max_frames: usize,
}

impl Default for BatchLimits {
    fn default() -> Self {
        Self {
            max_frame_bytes: 256 << 20,
            max_items: 1 << 16,
            max_image_bytes: 8 << 30,
            max_batch_bytes: 16 << 30,
            max_inline_bytes: 64 << 20,
            max_planes: 1 << 16,
            max_frames: 1 << 17,
        }
    }
}

/// The message as sent, each field still text: its errors then say its name.
#[derive(Deserialize)]
struct WireBatch<'a> {
    #[serde(borrow, rename = "type")]
    kind: Option<&'a RawValue>,
    #[serde(borrow)]
    images: Option<&'a RawValue>,
    #[serde(borrow)]
    display_config: Option<&'a RawValue>,
    #[serde(borrow)]
    timestamp: Option<&'a RawValue>,
    #[serde(borrow)]
    component_names_metadata: Option<&'a RawValue>,
    #[serde(borrow)]
    component_value_domain: Option<&'a RawValue>,
    // A single image message has the fields of an item at the top.
    #[serde(borrow)]
    path: Option<&'a RawValue>,
    #[serde(borrow)]
    shape: Option<&'a RawValue>,
    #[serde(borrow)]
    dtype: Option<&'a RawValue>,
}

/// A batch of which each item stands for itself: see [`Batch::decode_items`].
#[derive(Debug)]
pub struct DecodedItems {
    /// The batch, with the items that could be read.
    pub batch: Batch,
    /// Position in `images` of each item of `batch`, ascending.
    pub positions: Vec<usize>,
    /// The other items, in the order of `images`.
    pub refused: Vec<RefusedItem>,
}

/// An item that cannot be read, and who is to hear of it.
#[derive(Debug)]
pub struct RefusedItem {
    /// Position in `images`, from 0.
    pub index: usize,
    /// Its `path`, at most 512 characters; empty when it has none.
    pub path: String,
    /// Its `image_id`, for the error ack.
    pub image_id: Option<String>,
    /// Where that ack goes, when the item says so itself.
    pub ack_route: Option<AckRoute>,
    /// The segment that it named: some producers leave its removal to the viewer, whatever becomes of the item. `None` when the
    /// producer says that it keeps it.
    pub shm_name: Option<String>,
    /// What is wrong with it.
    pub error: ItemError,
}

/// What an item that cannot be read costs.
#[derive(Clone, Copy, PartialEq, Eq)]
enum BadItem {
    RefusesBatch,
    IsLeftOut,
}

impl Batch {
    /// Decodes one frame of the data socket: a `batch` message, or a single image message (G0 to G2: an item's fields at
    /// the top, with or without `type`). Either is JSON, or a pickle whose `data` are numpy arrays. One item that cannot be
    /// read refuses the whole batch.
    ///
    /// Total: any bytes give a batch or an error.
    pub fn decode(frame: &[u8], limits: &BatchLimits) -> Result<Self, BatchError> {
        Self::decode_with_frames(frame, &[], limits)
    }

    /// As [`Batch::decode`], for a message with binary frames behind its first: `frame_bytes` has the length of each. Every
    /// [`PixelSource::Frames`](super::PixelSource::Frames) of the result names frames that exist, that no other item names, and that
    /// hold as many bytes as the array needs.
    pub fn decode_with_frames(frame: &[u8], frame_bytes: &[u64], limits: &BatchLimits) -> Result<Self, BatchError> {
        decode_frame(frame, frame_bytes, limits, BadItem::RefusesBatch).map(|decoded| decoded.batch)
    }

    /// As [`Batch::decode_with_frames`], but an item that cannot be read costs only itself: publishers hear of no refusal, so nobody would
    /// send the good items again. Binary frames that no item names are ignored: they may be those of an item that cannot be read.
    ///
    /// # Errors
    /// What is wrong with the message as a whole: [`BatchError`] without [`BatchError::Item`].
    pub fn decode_items(frame: &[u8], frame_bytes: &[u64], limits: &BatchLimits) -> Result<DecodedItems, BatchError> {
        decode_frame(frame, frame_bytes, limits, BadItem::IsLeftOut)
    }
}

fn decode_frame(
    frame: &[u8],
    frame_bytes: &[u64],
    limits: &BatchLimits,
    bad_item: BadItem,
) -> Result<DecodedItems, BatchError> {
    if frame.len() as u64 > limits.max_frame_bytes {
        return Err(BatchError::FrameTooLarge { found_bytes: frame.len() as u64, limit_bytes: limits.max_frame_bytes });
    }
    if frame_bytes.len() > limits.max_frames {
        return Err(BatchError::TooManyFrames { found: frame_bytes.len(), limit: limits.max_frames });
    }
    let decode = |text: &str, pixels| decode_text(text, limits, pixels, FrameBook::new(frame_bytes), bad_item);
    if is_pickle(frame) {
        let PickledMessage { text, pixels } = message_from_pickle(frame, limits)?;
        return decode(&text, pixels);
    }
    let text = std::str::from_utf8(frame).map_err(|error| {
        let position = error.valid_up_to();
        BatchError::NotText { byte: frame.get(position).copied().unwrap_or_default(), position }
    })?;
    let strict = decode(text, InlinePixels::new());
    // An item may fail only because its text is not standard JSON inside.
    let is_whole = matches!(&strict, Ok(decoded) if decoded.refused.is_empty());
    if is_whole {
        return strict;
    }
    match standard_json(text) {
        Some(rewritten) => decode(&rewritten, InlinePixels::new()),
        None => strict,
    }
}

/// The `image_id`s of a message that cannot be decoded as a whole, as far as they can be read; for the error acks of producers
/// that get no reply. At most `max_items`.
pub fn image_ids(frame: &[u8], max_items: usize) -> Vec<String> {
    #[derive(Deserialize)]
    struct Message<'a> {
        image_id: Option<Value>,
        #[serde(borrow)]
        images: Option<&'a RawValue>,
    }
    #[derive(Deserialize)]
    struct OnlyId {
        image_id: Option<Value>,
    }
    let Ok(text) = std::str::from_utf8(frame) else { return Vec::new() };
    let rewritten = standard_json(text);
    let Ok(message) = serde_json::from_str::<Message<'_>>(rewritten.as_deref().unwrap_or(text)) else {
        return Vec::new();
    };
    let mut ids: Vec<Value> = message.image_id.into_iter().collect();
    if let Some(images) = message.images {
        // A list that breaks off has told what it could.
        let _ = for_each_entry(images, |index, entry| {
            if index == max_items {
                return Err(());
            }
            ids.extend(serde_json::from_str::<OnlyId>(entry.get()).ok().and_then(|only| only.image_id));
            Ok(())
        });
    }
    let text = |id: &Value| id.as_str().filter(|id| !id.is_empty()).map(str::to_owned);
    ids.iter().filter_map(text).collect()
}

/// `pixels`: those of items that came as arrays beside the text.
fn decode_text(
    text: &str,
    limits: &BatchLimits,
    mut pixels: InlinePixels,
    mut frames: FrameBook<'_>,
    bad_item: BadItem,
) -> Result<DecodedItems, BatchError> {
    let whole: &RawValue =
        serde_json::from_str(text).map_err(|error| BatchError::NotJson { reason: error.to_string() })?;
    if !whole.get().starts_with('{') {
        return Err(BatchError::NotAnObject { found: kind_of_json(whole.get()) });
    }
    let wire: WireBatch<'_> =
        serde_json::from_str(whole.get()).map_err(|error| BatchError::NotJson { reason: error.to_string() })?;

    let is_batch =
        wire.kind.is_some_and(|kind| matches!(serde_json::from_str::<String>(kind.get()).as_deref(), Ok("batch")));
    let is_single_image = !is_batch && wire.path.is_some() && wire.shape.is_some() && wire.dtype.is_some();
    if !is_batch && !is_single_image {
        return Err(match wire.kind {
            None => BatchError::MissingType,
            Some(kind) => BatchError::UnknownType { found: python_repr_of_json(kind.get()) },
        });
    }

    let display_config = match wire.display_config {
        Some(raw) => read_display_config(raw)?,
        None if is_batch => return Err(BatchError::MissingField { field: "display_config" }),
        None => read_display_config_fields(WireDisplayConfig::default()),
    };
    let timestamp = field::<LenientF64>(wire.timestamp, "timestamp")?.map(|LenientF64(seconds)| seconds);
    let component_names = read_names(wire.component_names_metadata)?;
    let component_domain = read_domain(wire.component_value_domain)?;

    let entries: Vec<&RawValue> = match wire.images {
        _ if is_single_image => vec![whole],
        Some(raw) => list_of_items(raw, limits)?,
        None => return Err(BatchError::MissingField { field: "images" }),
    };
    let context = ItemContext { display_config: &display_config, limits };
    let mut items = Vec::with_capacity(entries.len());
    let (mut positions, mut refused) = (Vec::with_capacity(entries.len()), Vec::new());
    let mut batch_bytes = 0u64;
    for (index, entry) in entries.into_iter().enumerate() {
        let mut beside = BesideText { index, array: pixels.remove(&index), frames: &mut frames };
        let item = match read_item(entry, &mut beside, &context) {
            Ok(item) => item,
            Err(error) => {
                let Sender { path, image_id, ack_route, shm_name } = read_sender(entry);
                if bad_item == BadItem::RefusesBatch {
                    return Err(BatchError::Item { index, path, source: error });
                }
                refused.push(RefusedItem { index, path, image_id, ack_route, shm_name, error });
                continue;
            }
        };
        if let Payload::Image(image) = &item.payload {
            batch_bytes = batch_bytes.saturating_add(image.size_bytes);
        }
        if batch_bytes > limits.max_batch_bytes {
            return Err(BatchError::BatchTooLarge { needed_bytes: batch_bytes, limit_bytes: limits.max_batch_bytes });
        }
        items.push(item);
        positions.push(index);
    }
    if bad_item == BadItem::RefusesBatch {
        frames.expect_all_used()?;
    }
    let batch = Batch {
        items,
        display_config,
        component_names,
        component_domain,
        // Only informative; NaN would make equal batches unequal.
        timestamp: timestamp.filter(|t| t.is_finite()),
    };
    Ok(DecodedItems { batch, positions, refused })
}

fn list_of_items<'a>(raw: &'a RawValue, limits: &BatchLimits) -> Result<Vec<&'a RawValue>, BatchError> {
    let mut entries = Vec::new();
    for_each_entry(raw, |index, entry| {
        if index == limits.max_items {
            return Err(BatchError::TooManyItems { limit: limits.max_items });
        }
        entries.push(entry);
        Ok(())
    })
    .map_err(|error| BatchError::WrongField { field: "images", reason: super::reason(&error) })??;
    Ok(entries)
}

fn field<'a, T: Deserialize<'a>>(raw: Option<&'a RawValue>, field: &'static str) -> Result<Option<T>, BatchError> {
    let Some(raw) = raw else { return Ok(None) };
    serde_json::from_str(raw.get()).map_err(|error| BatchError::WrongField { field, reason: super::reason(&error) })
}

/// What Python's `repr` prints of a short JSON value: `'image'`, `5`, `None`.
fn python_repr_of_json(text: &str) -> String {
    match serde_json::from_str::<Value>(text) {
        Ok(Value::String(text)) => format!("'{}'", text.chars().take(64).collect::<String>()),
        Ok(Value::Null) => "None".to_owned(),
        Ok(Value::Bool(true)) => "True".to_owned(),
        Ok(Value::Bool(false)) => "False".to_owned(),
        _ => text.chars().take(64).collect(),
    }
}

#[derive(Deserialize, Default)]
struct WireDisplayConfig {
    component_modes: Option<BTreeMap<String, Value>>,
    component_order: Option<Vec<String>>,
    colormap: Option<String>,
    variable_size_handling: Option<String>,
}

fn read_display_config(raw: &RawValue) -> Result<DisplayConfig, BatchError> {
    if !raw.get().starts_with('{') {
        let reason = format!("needed an object, found {}", kind_of_json(raw.get()));
        return Err(BatchError::WrongField { field: "display_config", reason });
    }
    let wire = field(Some(raw), "display_config")?.unwrap_or_default();
    Ok(read_display_config_fields(wire))
}

/// Unknown modes are stacks: openhcs 0.8.6 refuses them, but a slider always shows every plane. A blank colormap is gray.
fn read_display_config_fields(wire: WireDisplayConfig) -> DisplayConfig {
    let mode_of = |mode: Value| mode.as_str().and_then(ComponentMode::parse).unwrap_or_default();
    let modes = wire.component_modes.unwrap_or_default();
    DisplayConfig {
        component_modes: modes.into_iter().map(|(component, mode)| (component, mode_of(mode))).collect(),
        component_order: wire.component_order.unwrap_or_default(),
        colormap: wire.colormap.filter(|name| !name.trim().is_empty()).unwrap_or_else(|| "gray".to_owned()),
        variable_size: match wire.variable_size_handling.as_deref() {
            Some("separate_layers") => VariableSize::SeparateLayers,
            _ => VariableSize::PadToMax,
        },
    }
}

/// Null and "none" mean no name; "" is a name, a blank one.
fn read_names(raw: Option<&RawValue>) -> Result<ComponentNames, BatchError> {
    type WireNames = BTreeMap<String, Option<BTreeMap<String, Option<ComponentValue>>>>;
    let wire: WireNames = field(raw, "component_names_metadata")?.unwrap_or_default();
    let mut names = ComponentNames::new();
    for (component, names_of_values) in wire {
        let mut kept = BTreeMap::new();
        for (value, name) in names_of_values.unwrap_or_default() {
            if let Some(name) = name.map(|name| name.to_string()).filter(|name| !name.eq_ignore_ascii_case("none")) {
                kept.insert(ComponentValue::from(value).normalized_for(&component).as_key(), name);
            }
        }
        if !kept.is_empty() {
            names.insert(component, kept);
        }
    }
    Ok(names)
}

fn read_domain(raw: Option<&RawValue>) -> Result<ComponentDomain, BatchError> {
    let wire: BTreeMap<String, Option<Vec<ComponentValue>>> = field(raw, "component_value_domain")?.unwrap_or_default();
    let normalized = |component: &str, values: Option<Vec<ComponentValue>>| {
        values.unwrap_or_default().into_iter().map(|value| value.normalized_for(component)).collect()
    };
    Ok(wire
        .into_iter()
        .map(|(component, values)| {
            let values = normalized(&component, values);
            (component, values)
        })
        .collect())
}

/// One field of an item.
pub(super) fn item_field<'a, T: Deserialize<'a>>(
    raw: Option<&'a RawValue>,
    field: &'static str,
) -> Result<Option<T>, ItemError> {
    let Some(raw) = raw else { return Ok(None) };
    serde_json::from_str(raw.get()).map_err(|error| ItemError::WrongField { field, reason: super::reason(&error) })
}
