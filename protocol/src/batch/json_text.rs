//! JSON as Python writes it: bare `NaN`, `Infinity` and `-Infinity`, and halves of surrogate pairs in strings.
//!
//! Neither is standard JSON. `json.dumps` writes the first for ROI statistics of empty regions, the second for paths whose
//! bytes are not UTF-8. Frames are parsed strictly first; only a frame that fails is rewritten by [`standard_json`].

use std::fmt;

use serde::de::{Deserialize, Deserializer, Error, SeqAccess, Unexpected, Visitor};
use serde_json::value::RawValue;

/// A parser's sentence without its position: it counts from the start of one field, which says nothing to a reader.
pub(super) fn reason(error: &serde_json::Error) -> String {
    let text = error.to_string();
    text.rfind(" at line ").map_or(text.as_str(), |end| &text[..end]).to_owned()
}

/// Hands the entries of a JSON list over one at a time, and stops at the first that is refused: a long list of rubbish
/// never takes memory. The outer error says that `raw` is no list; the inner one is `visit`'s.
pub(super) fn for_each_entry<'a, E>(
    raw: &'a RawValue,
    visit: impl FnMut(usize, &'a RawValue) -> Result<(), E>,
) -> Result<Result<(), E>, serde_json::Error> {
    let mut refusal = None;
    let entries = Entries { visit, refusal: &mut refusal };
    let walked = serde_json::Deserializer::from_str(raw.get()).deserialize_seq(entries);
    match refusal {
        Some(refusal) => Ok(Err(refusal)),
        None => walked.map(Ok),
    }
}

struct Entries<'r, F, E> {
    visit: F,
    refusal: &'r mut Option<E>,
}

impl<'de, F: FnMut(usize, &'de RawValue) -> Result<(), E>, E> Visitor<'de> for Entries<'_, F, E> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list")
    }

    fn visit_seq<A: SeqAccess<'de>>(mut self, mut sequence: A) -> Result<(), A::Error> {
        let mut index = 0;
        while let Some(entry) = sequence.next_element()? {
            if let Err(refusal) = (self.visit)(index, entry) {
                *self.refusal = Some(refusal);
                return Err(A::Error::custom("refused"));
            }
            index += 1;
        }
        Ok(())
    }
}

/// The number that [`standard_json`] quoted.
pub(super) fn non_finite(text: &str) -> Option<f64> {
    match text {
        "NaN" => Some(f64::NAN),
        "Infinity" => Some(f64::INFINITY),
        "-Infinity" => Some(f64::NEG_INFINITY),
        _ => None,
    }
}

/// A number, or NaN or an infinity as [`standard_json`] leaves it.
#[derive(Clone, Copy)]
pub(super) struct LenientF64(pub(super) f64);

impl<'de> Deserialize<'de> for LenientF64 {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(LenientF64Visitor)
    }
}

struct LenientF64Visitor;

impl Visitor<'_> for LenientF64Visitor {
    type Value = LenientF64;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a number")
    }

    fn visit_i64<E>(self, value: i64) -> Result<LenientF64, E> {
        Ok(LenientF64(value as f64))
    }

    fn visit_u64<E>(self, value: u64) -> Result<LenientF64, E> {
        Ok(LenientF64(value as f64))
    }

    fn visit_f64<E>(self, value: f64) -> Result<LenientF64, E> {
        Ok(LenientF64(value))
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<LenientF64, E> {
        non_finite(text).map(LenientF64).ok_or_else(|| E::invalid_type(Unexpected::Str(text), &self))
    }
}

/// What a JSON text is, for an error sentence.
pub(super) fn kind_of_json(text: &str) -> &'static str {
    match text.trim_start().bytes().next() {
        Some(b'{') => "an object",
        Some(b'[') => "a list",
        Some(b'"') => "text",
        Some(b't' | b'f') => "a boolean",
        Some(b'n') => "null",
        Some(_) => "a number",
        None => "nothing",
    }
}

/// Rewrites what Python writes beyond standard JSON: bare NaN and infinities become quoted text, lone surrogates U+FFFD.
/// `None` when there is nothing to rewrite. Text inside strings is not touched otherwise. One pass over the bytes.
pub(super) fn standard_json(text: &str) -> Option<String> {
    let mut rewritten = String::new();
    let mut copied_to = 0;
    let mut position = 0;
    let bytes = text.as_bytes();
    let mut replace = |range: std::ops::Range<usize>, by: &str| {
        rewritten.push_str(&text[copied_to..range.start]);
        rewritten.push_str(by);
        copied_to = range.end;
    };
    while position < bytes.len() {
        match bytes[position] {
            b'"' => position = end_of_string(text, position, &mut replace),
            b'N' | b'I' | b'-' => {
                let rest = &bytes[position..];
                let token =
                    ["NaN", "Infinity", "-Infinity"].into_iter().find(|token| rest.starts_with(token.as_bytes()));
                if let Some(token) = token {
                    replace(position..position + token.len(), &format!("\"{token}\""));
                    position += token.len();
                } else {
                    position += 1;
                }
            }
            _ => position += 1,
        }
    }
    if copied_to == 0 {
        return None;
    }
    rewritten.push_str(&text[copied_to..]);
    Some(rewritten)
}

/// Walks over the string that opens at `start`; returns the position after its closing quote (or the end of the text).
fn end_of_string(text: &str, start: usize, replace: &mut impl FnMut(std::ops::Range<usize>, &str)) -> usize {
    let bytes = text.as_bytes();
    let mut position = start + 1;
    while position < bytes.len() {
        match bytes[position] {
            b'"' => return position + 1,
            b'\\' => match surrogate_at(bytes, position) {
                Some(0xD800..=0xDBFF) if matches!(surrogate_at(bytes, position + 6), Some(0xDC00..=0xDFFF)) => {
                    position += 12
                }
                Some(0xD800..=0xDFFF) => {
                    replace(position..position + 6, "\\ufffd");
                    position += 6;
                }
                _ => position += 2,
            },
            _ => position += 1,
        }
    }
    bytes.len()
}

/// The code unit of a `\uXXXX` escape at `position`.
fn surrogate_at(bytes: &[u8], position: usize) -> Option<u16> {
    let digits = bytes.get(position..position + 6)?.strip_prefix(b"\\u")?;
    if !digits.iter().all(u8::is_ascii_hexdigit) {
        return None;
    }
    u16::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bare_numbers_are_quoted_and_strings_left_alone() {
        let text = r#"{"NaN": [NaN, -Infinity,Infinity, -1], "a\"NaN": "Infinity \\", "b": NaN}"#;
        let expected = r#"{"NaN": ["NaN", "-Infinity","Infinity", -1], "a\"NaN": "Infinity \\", "b": "NaN"}"#;
        assert_eq!(standard_json(text).as_deref(), Some(expected));
        assert_eq!(standard_json(r#"{"NaN": "Infinity", "x": -1}"#), None);
    }

    #[test]
    fn lone_surrogates_are_replaced_and_pairs_kept() {
        let text = r#"["a\udcffb", "\ud83d\ude00", "\ud83d", "\\udcff", "é\ud83d\u0041"]"#;
        let expected = r#"["a\ufffdb", "\ud83d\ude00", "\ufffd", "\\udcff", "é\ufffd\u0041"]"#;
        assert_eq!(standard_json(text).as_deref(), Some(expected));
    }

    #[test]
    fn cut_text_is_walked_to_its_end() {
        let text = r#"{"a": NaN, "b": "\udcff"}"#;
        for length in 0..text.len() {
            let _ = standard_json(&text[..length]);
        }
    }
}
