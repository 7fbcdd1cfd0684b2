//! A message of a direct viewer call: a pickle of what JSON would say, with numpy arrays as pixels.
//!
//! No released wheel that we read sends one; scripts beside a pipeline do. The pickle is read as data (see [`crate::pickle`]), its
//! arrays are taken out, and the rest is read as the JSON message that it stands for, so that both spellings obey one set of
//! rules. A list as `data` works as in JSON.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use super::{BatchError, BatchLimits};
use crate::dtype::{ByteOrder, DType};
use crate::pickle::{self, NumpyArray, PickleLimits, PickleValue};

/// Index in `images` → little-endian bytes of the item's array.
pub(super) type InlinePixels = BTreeMap<usize, Vec<u8>>;

/// The JSON message that a pickle stands for, and the pixels that its items had as arrays.
pub(super) struct PickledMessage {
    pub(super) text: String,
    pub(super) pixels: InlinePixels,
}

/// Elements of arrays that are no pixels (coordinates of ROIs) in one message. They become JSON numbers, of many bytes each.
const MAX_LISTED_ELEMENTS: usize = 1 << 20;

/// Whether a frame claims to be a pickle: by the first byte of protocols 2 to 5, or as a dict or a call of protocol 0 or 1, which
/// begins as no JSON does and ends with STOP.
pub(super) fn is_pickle(frame: &[u8]) -> bool {
    matches!(frame, [0x80, ..] | [b'(' | b'}' | b'c', .., b'.'])
}

pub(super) fn message_from_pickle(frame: &[u8], limits: &BatchLimits) -> Result<PickledMessage, BatchError> {
    let bytes = usize::try_from(limits.max_frame_bytes).unwrap_or(usize::MAX);
    let value = pickle::decode(frame, &PickleLimits::data_message(bytes))?;
    if !value.is_mapping() {
        return Err(BatchError::NotAnObject { found: "a pickle that is no dict" });
    }
    let mut entries = entries_of(value);
    let position = entries.iter().rposition(|(key, _)| key.as_str() == Some("images"));
    let images = position.map(|position| entries.remove(position).1);
    let mut reader = Reader { pixels: InlinePixels::new(), listed_elements: 0 };
    let mut message = match images {
        // A single image message: the item's fields are at the top.
        None => reader.item(0, entries)?,
        Some(images) => {
            let mut message = reader.object(entries)?;
            message.insert("images".to_owned(), reader.items(images)?);
            message
        }
    };
    // A direct call gives no more than it must.
    message.entry("display_config").or_insert_with(|| Value::Object(Map::new()));
    Ok(PickledMessage { text: Value::Object(message).to_string(), pixels: reader.pixels })
}

/// Makes JSON of everything but pixels. As deep as the pickle, which [`PickleLimits::depth`] bounds.
struct Reader {
    pixels: InlinePixels,
    listed_elements: usize,
}

impl Reader {
    fn items(&mut self, images: PickleValue) -> Result<Value, BatchError> {
        let items = match images {
            PickleValue::List(items) | PickleValue::Tuple(items) => items,
            other => return self.json(other),
        };
        let read = |(index, item): (usize, PickleValue)| match item.is_mapping() {
            true => self.item(index, entries_of(item)).map(Value::Object),
            false => self.json(item),
        };
        Ok(Value::Array(items.into_iter().enumerate().map(read).collect::<Result<_, _>>()?))
    }

    /// An entry of `images`; its array is put aside and says the item's shape and dtype.
    fn item(
        &mut self,
        index: usize,
        entries: Vec<(PickleValue, PickleValue)>,
    ) -> Result<Map<String, Value>, BatchError> {
        let mut array = None;
        let mut others = Vec::with_capacity(entries.len());
        for (key, value) in entries {
            match value {
                PickleValue::Array(found) if key.as_str() == Some("data") => array = Some(found),
                value => others.push((key, value)),
            }
        }
        let mut item = self.object(others)?;
        // As in JSON, a segment wins.
        let has_segment = item.get("shm_name").and_then(Value::as_str).is_some_and(|name| !name.is_empty());
        if let Some(array) = array.filter(|_| !has_segment) {
            item.insert("shape".to_owned(), array.shape().to_vec().into());
            item.insert("dtype".to_owned(), array.dtype().into());
            self.pixels.insert(index, little_endian(*array));
        }
        Ok(item)
    }

    fn object(&mut self, entries: Vec<(PickleValue, PickleValue)>) -> Result<Map<String, Value>, BatchError> {
        entries.into_iter().map(|(key, value)| Ok((key_text(&key)?, self.json(value)?))).collect()
    }

    fn json(&mut self, value: PickleValue) -> Result<Value, BatchError> {
        Ok(match value {
            PickleValue::None => Value::Null,
            PickleValue::Bool(value) => value.into(),
            PickleValue::Int(number) => number.into(),
            PickleValue::UInt(number) => number.into(),
            PickleValue::Float(number) => json_number(number),
            PickleValue::Str(text) => text.into(),
            PickleValue::Enum(member) => self.json(member.value)?,
            PickleValue::Array(array) => self.listed(&array)?,
            PickleValue::Dict(_) | PickleValue::Object(_) => Value::Object(self.object(entries_of(value))?),
            PickleValue::List(items)
            | PickleValue::Tuple(items)
            | PickleValue::Set(items)
            | PickleValue::FrozenSet(items) => {
                Value::Array(items.into_iter().map(|item| self.json(item)).collect::<Result<_, _>>()?)
            }
            PickleValue::Bytes(_) | PickleValue::ByteArray(_) => {
                return Err(BatchError::PickledValue { reason: format!("it holds {}", value.type_name()) });
            }
        })
    }

    /// An array that is no pixels, as `array.tolist()`.
    fn listed(&mut self, array: &NumpyArray) -> Result<Value, BatchError> {
        let count = array.shape().iter().fold(1_usize, |product, &extent| product.saturating_mul(extent));
        self.listed_elements = self.listed_elements.saturating_add(count.max(1));
        if self.listed_elements > MAX_LISTED_ELEMENTS {
            let reason = format!("its arrays beside 'data' have more than {MAX_LISTED_ELEMENTS} elements");
            return Err(BatchError::PickledValue { reason });
        }
        let Some((&extent, rest)) = array.shape().split_first() else {
            return match array.scalar() {
                Some(number) => self.json(number),
                None => Err(BatchError::PickledValue { reason: format!("it holds a {}", array.dtype()) }),
            };
        };
        let size_bytes = array.data().len() / extent.max(1);
        let part = |index: usize| {
            let data = array.data()[index * size_bytes..(index + 1) * size_bytes].to_vec();
            NumpyArray::new(&array.dtype(), rest.to_vec(), data)
        };
        Ok(Value::Array((0..extent).map(|index| self.listed(&part(index)?)).collect::<Result<_, BatchError>>()?))
    }
}

/// The entries of a dict, or the fields of an instance of a dict's subclass. Of a key that is there twice, the last counts.
fn entries_of(value: PickleValue) -> Vec<(PickleValue, PickleValue)> {
    match value {
        PickleValue::Dict(entries) => entries,
        PickleValue::Object(object) => {
            object.fields.into_iter().map(|(name, value)| (PickleValue::Str(name.into_owned()), value)).collect()
        }
        _ => Vec::new(),
    }
}

/// A key as `json.dumps` writes it: numbers become text.
fn key_text(key: &PickleValue) -> Result<String, BatchError> {
    match (key.as_str(), key.as_i64()) {
        (Some(text), _) => Ok(text.to_owned()),
        (None, Some(number)) => Ok(number.to_string()),
        (None, None) => Err(BatchError::PickledValue { reason: format!("a key of a dict is a {}", key.type_name()) }),
    }
}

/// A float; NaN and infinities as the quoted words that the JSON decoder reads.
fn json_number(number: f64) -> Value {
    match number {
        _ if number.is_finite() => number.into(),
        _ if number.is_nan() => "NaN".into(),
        _ if number > 0.0 => "Infinity".into(),
        _ => "-Infinity".into(),
    }
}

/// The bytes of an array, each element in little-endian order.
fn little_endian(array: NumpyArray) -> Vec<u8> {
    // A dtype that is not shown is refused when the item is read; its order does not matter.
    let swapped = DType::parse(&array.dtype()).ok().filter(|dtype| dtype.order == ByteOrder::Big);
    let mut bytes = array.into_data();
    if let Some(dtype) = swapped {
        bytes.chunks_exact_mut(dtype.size_bytes()).for_each(<[u8]>::reverse);
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::super::{Batch, BatchLimits, Payload, PixelSource};
    use super::*;

    fn array(dtype: &str, shape: &[usize], bytes: &[u8]) -> PickleValue {
        PickleValue::Array(Box::new(NumpyArray::new(dtype, shape.to_vec(), bytes.to_vec()).unwrap()))
    }

    fn item(data: PickleValue) -> PickleValue {
        PickleValue::dict([
            ("path", "/p".into()),
            ("metadata", PickleValue::dict([("well", "A01".into())])),
            ("data", data),
        ])
    }

    fn decode(message: &PickleValue) -> Result<Batch, String> {
        Batch::decode(&pickle::encode(message), &BatchLimits::default()).map_err(|error| error.to_string())
    }

    fn batch(images: Vec<PickleValue>) -> PickleValue {
        PickleValue::dict([("type", "batch".into()), ("images", PickleValue::List(images))])
    }

    fn inline(batch: &Batch, index: usize) -> (Vec<u64>, String, Vec<u8>) {
        let Payload::Image(image) = &batch.items[index].payload else { panic!("{batch:?}") };
        let PixelSource::Inline(bytes) = &image.source else { panic!("{batch:?}") };
        assert_eq!(bytes.len() as u64, image.size_bytes);
        (image.shape.clone(), image.dtype.to_string(), bytes.clone())
    }

    #[test]
    fn arrays_say_their_own_shape_and_dtype() {
        let little = item(array("uint16", &[1, 2], &[1, 2, 3, 4]));
        let big = item(array(">u2", &[2, 1], &[1, 2, 3, 4]));
        let decoded = decode(&batch(vec![little, big])).unwrap();
        assert_eq!(inline(&decoded, 0), (vec![1, 2], "uint16".to_owned(), vec![1, 2, 3, 4]));
        assert_eq!(inline(&decoded, 1).2, [2, 1, 4, 3]);
        assert_eq!(decoded.display_config.colormap, "gray");
        assert_eq!(decoded.items[0].address["well"], "A01".into());
    }

    #[test]
    fn a_single_image_is_a_batch_of_one() {
        let decoded = decode(&item(array("uint8", &[2, 2], &[1, 2, 3, 4]))).unwrap();
        assert_eq!(inline(&decoded, 0).2, [1, 2, 3, 4]);
    }

    #[test]
    fn lists_and_segments_work_as_in_json() {
        let with = |mut message: PickleValue, more: Vec<(&str, PickleValue)>| {
            let PickleValue::Dict(entries) = &mut message else { panic!() };
            entries.extend(more.into_iter().map(|(key, value)| (key.into(), value)));
            message
        };
        let declared = || vec![("shape", PickleValue::tuple([1, 2])), ("dtype", "uint8".into())];
        let list = with(item(PickleValue::list([7, 8])), declared());
        assert_eq!(inline(&decode(&list).unwrap(), 0).2, [7, 8]);
        let mut more = declared();
        more.push(("shm_name", "napari_x".into()));
        let decoded = decode(&with(item(array("uint8", &[9, 9], &[0; 81])), more)).unwrap();
        let Payload::Image(image) = &decoded.items[0].payload else { panic!() };
        assert_eq!((&image.shape[..], matches!(image.source, PixelSource::SharedMemory { .. })), (&[1, 2][..], true));
    }

    #[test]
    fn coordinates_may_be_arrays_and_names_may_have_numbers_as_keys() {
        let corners: Vec<u8> = [0.5_f64, 1.0, 2.0, f64::NAN, 3.0, 4.0].iter().flat_map(|c| c.to_le_bytes()).collect();
        let shape =
            PickleValue::dict([("type", "polygon".into()), ("coordinates", array("float64", &[3, 2], &corners))]);
        let item = PickleValue::dict([
            ("path", "/p".into()),
            ("component_metadata", PickleValue::dict([("well", "A01".into())])),
            ("data_type", "shapes".into()),
            ("shapes", PickleValue::List(vec![shape])),
        ]);
        let names = PickleValue::Dict(vec![(1.into(), "DAPI".into())]);
        let message = PickleValue::dict([
            ("type", "batch".into()),
            ("images", PickleValue::List(vec![item])),
            ("component_names_metadata", PickleValue::dict([("channel", names)])),
        ]);
        let decoded = decode(&message).unwrap();
        let Payload::Shapes(shapes) = &decoded.items[0].payload else { panic!() };
        assert_eq!(shapes[0].geometry, super::super::ShapeGeometry::Polygon(vec![[0.5, 1.0], [3.0, 4.0]]));
        assert_eq!(decoded.component_names["channel"]["1"], "DAPI");
    }

    #[test]
    fn what_is_no_message_is_refused_in_a_sentence() {
        let refused = |message: &PickleValue, part: &str| {
            let text = decode(message).unwrap_err();
            assert!(text.contains(part), "{part:?} is missing in: {text}");
        };
        refused(&PickleValue::list([1]), "no dict");
        refused(&PickleValue::dict([("type", "ping".into())]), "'ping' is not a valid");
        refused(&batch(vec![1.into()]), "needed an object");
        refused(&batch(vec![item(PickleValue::None)]), "images[0]");
        refused(&batch(vec![item(array("complex64", &[1, 1], &[0; 8]))]), "complex");
        refused(&batch(vec![item(array("uint8", &[], &[0]))]), "two axes");
        refused(&batch(vec![item(array("uint8", &[0, 2], &[]))]), "shape");
        refused(&item(PickleValue::Bytes(vec![1])), "bytes");
        let many = array("uint8", &[MAX_LISTED_ELEMENTS + 1], &vec![0; MAX_LISTED_ELEMENTS + 1]);
        refused(&PickleValue::dict([("path", many)]), "more than 1048576");
        let keys = PickleValue::Dict(vec![(PickleValue::tuple([1]), 1.into())]);
        refused(&keys, "key");
    }

    #[test]
    fn a_global_that_could_run_code_is_named() {
        for frame in [
            &b"cos\nsystem\n(S'true'\ntR."[..],
            b"(dp0\nVa\ncos\nsystem\ns.",
            b"\x80\x04\x8c\x02os\x8c\x06system\x93)R.",
        ] {
            let text = Batch::decode(frame, &BatchLimits::default()).unwrap_err().to_string();
            assert!(text.contains("os.system") && text.contains("Nothing in it was executed"), "{text}");
        }
    }
}
