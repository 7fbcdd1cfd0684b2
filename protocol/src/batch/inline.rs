//! Inline pixels (`data`): JSON numbers, flat or nested, to little-endian bytes of the declared dtype.

use std::fmt;

use half::f16;
use serde::de::{DeserializeSeed, Deserializer, Error, SeqAccess, Visitor};
use serde_json::value::RawValue;

use crate::dtype::ElementType;

/// Converts `raw` as `np.array(data, dtype).reshape(shape)` does, to `count` elements in little-endian bytes.
/// The caller has checked `count` against its byte budget.
pub(super) fn inline_bytes(raw: &RawValue, element: ElementType, count: u64) -> Result<Vec<u8>, String> {
    // Each element takes at least one character, so a short text cannot make us allocate a long array.
    if (raw.get().len() as u64) < count {
        return Err(format!("too few values; {count} are needed"));
    }
    let mut bytes = Vec::with_capacity(count as usize * element.size_bytes());
    let mut numbers = InlineNumbers { element, needed: count, found: 0, bytes: &mut bytes };
    numbers.deserialize(&mut serde_json::Deserializer::from_str(raw.get())).map_err(|error| super::reason(&error))?;
    let found = numbers.found;
    if found != count {
        return Err(format!("found {found} values, {count} are needed"));
    }
    Ok(bytes)
}

struct InlineNumbers<'a> {
    element: ElementType,
    needed: u64,
    found: u64,
    bytes: &'a mut Vec<u8>,
}

impl InlineNumbers<'_> {
    fn claim<E: Error>(&mut self) -> Result<(), E> {
        if self.found == self.needed {
            return Err(E::custom(format_args!("more than the {} values needed", self.needed)));
        }
        self.found += 1;
        Ok(())
    }

    fn push_integer<E: Error>(&mut self, value: i128) -> Result<(), E> {
        self.claim()?;
        let name = self.element.name();
        let misfit = || E::custom(format_args!("{value} does not fit {name}"));
        match self.element {
            ElementType::Bool => self.bytes.push(u8::from(value != 0)),
            ElementType::I8 => self.bytes.extend(i8::try_from(value).map_err(|_| misfit())?.to_le_bytes()),
            ElementType::U8 => self.bytes.push(u8::try_from(value).map_err(|_| misfit())?),
            ElementType::I16 => self.bytes.extend(i16::try_from(value).map_err(|_| misfit())?.to_le_bytes()),
            ElementType::U16 => self.bytes.extend(u16::try_from(value).map_err(|_| misfit())?.to_le_bytes()),
            ElementType::I32 => self.bytes.extend(i32::try_from(value).map_err(|_| misfit())?.to_le_bytes()),
            ElementType::U32 => self.bytes.extend(u32::try_from(value).map_err(|_| misfit())?.to_le_bytes()),
            ElementType::I64 => self.bytes.extend(i64::try_from(value).map_err(|_| misfit())?.to_le_bytes()),
            ElementType::U64 => self.bytes.extend(u64::try_from(value).map_err(|_| misfit())?.to_le_bytes()),
            ElementType::F16 => self.bytes.extend(f16::from_f64(value as f64).to_le_bytes()),
            ElementType::F32 => self.bytes.extend((value as f32).to_le_bytes()),
            ElementType::F64 => self.bytes.extend((value as f64).to_le_bytes()),
        }
        Ok(())
    }

    fn push_float<E: Error>(&mut self, value: f64) -> Result<(), E> {
        match self.element {
            ElementType::Bool => self.push_integer(i128::from(value != 0.0)),
            ElementType::F16 => {
                self.claim()?;
                self.bytes.extend(f16::from_f64(value).to_le_bytes());
                Ok(())
            }
            ElementType::F32 => {
                self.claim()?;
                self.bytes.extend((value as f32).to_le_bytes());
                Ok(())
            }
            ElementType::F64 => {
                self.claim()?;
                self.bytes.extend(value.to_le_bytes());
                Ok(())
            }
            // As numpy: the fraction is cut off, NaN and infinities are no integers.
            _ if value.is_finite() => self.push_integer(value as i128),
            _ => Err(E::custom(format_args!("{value} does not fit {}", self.element))),
        }
    }
}

impl<'de> DeserializeSeed<'de> for &mut InlineNumbers<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for &mut InlineNumbers<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("numbers, flat or nested")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut sequence: A) -> Result<(), A::Error> {
        while sequence.next_element_seed(&mut *self)?.is_some() {}
        Ok(())
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<(), E> {
        self.push_integer(i128::from(value))
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<(), E> {
        self.push_integer(i128::from(value))
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<(), E> {
        self.push_integer(i128::from(value))
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<(), E> {
        self.push_float(value)
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<(), E> {
        match super::non_finite(text) {
            Some(value) => self.push_float(value),
            None => Err(E::invalid_type(serde::de::Unexpected::Str(text), &self)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes(json: &str, element: ElementType, count: u64) -> Result<Vec<u8>, String> {
        inline_bytes(&serde_json::from_str::<Box<RawValue>>(json).unwrap(), element, count)
    }

    #[test]
    fn flat_and_nested_lists_give_the_same_bytes() {
        let expected = Ok(vec![1, 0, 2, 0, 3, 0, 255, 255]);
        assert_eq!(bytes("[1,2,3,65535]", ElementType::U16, 4), expected);
        assert_eq!(bytes("[[1, 2],[3, 65535]]", ElementType::U16, 4), expected);
    }

    #[test]
    fn every_kind_of_number_is_converted() {
        assert_eq!(bytes("[true, false, 2]", ElementType::Bool, 3), Ok(vec![1, 0, 1]));
        assert_eq!(bytes("[-1, 1.9]", ElementType::I8, 2), Ok(vec![255, 1]));
        assert_eq!(bytes("[18446744073709551615]", ElementType::U64, 1), Ok(vec![255; 8]));
        assert_eq!(bytes("[-9223372036854775808]", ElementType::I64, 1), Ok(i64::MIN.to_le_bytes().to_vec()));
        assert_eq!(bytes("[1, 0.5]", ElementType::F16, 2), Ok(vec![0x00, 0x3c, 0x00, 0x38]));
        assert_eq!(bytes("[0.1]", ElementType::F32, 1), Ok(0.1f32.to_le_bytes().to_vec()));
        assert_eq!(bytes("[\"-Infinity\"]", ElementType::F64, 1), Ok(f64::NEG_INFINITY.to_le_bytes().to_vec()));
    }

    #[test]
    fn wrong_counts_and_misfits_are_named() {
        assert!(bytes("[1,2,3]", ElementType::U8, 2).unwrap_err().contains("more than the 2"));
        assert!(bytes("[1,2,3]", ElementType::U8, 4).unwrap_err().contains("found 3 values, 4"));
        assert!(bytes("[]", ElementType::U8, 1 << 40).unwrap_err().contains("too few"));
        assert!(bytes("[256]", ElementType::U8, 1).unwrap_err().contains("256 does not fit uint8"));
        assert!(bytes("[\"NaN\"]", ElementType::I32, 1).unwrap_err().contains("does not fit int32"));
        assert!(bytes("[\"dog\"]", ElementType::U8, 1).unwrap_err().contains("numbers"));
        assert!(bytes("[{}]", ElementType::U8, 1).unwrap_err().contains("numbers"));
    }
}
