//! Binary frames: pixels that travel inside the message, behind its JSON, for viewers that share no memory with the producer.
//!
//! An extension of wellscope's own, which its pong declares (`wellscope.accepts`); released producers send none, and released
//! viewers take none. An image item names the frames of its array in `frames`, in the order of its bytes; frame 0 is the one
//! right behind the JSON. Each frame belongs to exactly one item, and each byte of it to that item's array, so that a message
//! that was put together wrongly is noticed rather than shown.

use std::ops::Range;

use serde_json::value::RawValue;

use super::error::{BatchError, ItemError};
use super::json_text::for_each_entry;

/// Longest frame that a producer should send: 64 MiB. Receivers refuse a single frame above their `--max-message`, whose default is
/// four times that.
pub const SENT_FRAME_BYTES: usize = 64 << 20;

/// Where an array of `size_bytes` is cut into frames. No range is empty; an array of no bytes has none.
pub fn frame_ranges(size_bytes: usize) -> impl ExactSizeIterator<Item = Range<usize>> {
    let count = size_bytes.div_ceil(SENT_FRAME_BYTES);
    (0..count).map(move |index| {
        let start = index * SENT_FRAME_BYTES;
        start..(start + SENT_FRAME_BYTES).min(size_bytes)
    })
}

/// Which frames of a message are whose, while its items are read.
pub(super) struct FrameBook<'a> {
    /// Length of each frame, in bytes.
    sizes: &'a [u64],
    /// Position in `images` of the item that uses it.
    used_by: Vec<Option<usize>>,
}

impl<'a> FrameBook<'a> {
    pub(super) fn new(sizes: &'a [u64]) -> Self {
        Self { sizes, used_by: vec![None; sizes.len()] }
    }

    /// Takes the frames that item `item` names; they must hold `needed_bytes` together. Frames stay taken when that fails, since no
    /// other item can have meant them.
    ///
    /// The list is never longer than the message has frames, whatever it claims.
    pub(super) fn take(&mut self, raw: &RawValue, item: usize, needed_bytes: u64) -> Result<Vec<usize>, ItemError> {
        let wrong = |reason: String| ItemError::WrongField { field: "frames", reason };
        let mut taken = Vec::new();
        let mut found_bytes = 0u64;
        for_each_entry(raw, |entry, index| {
            let index: usize = serde_json::from_str(index.get()).map_err(|error| {
                wrong(format!("frames[{entry}] is no index of a binary frame: {}", super::reason(&error)))
            })?;
            let (Some(size), Some(user)) = (self.sizes.get(index), self.used_by.get_mut(index)) else {
                return Err(ItemError::FrameMissing { index, found_frames: self.sizes.len() });
            };
            if let Some(first) = *user {
                return Err(ItemError::FrameUsedTwice { index, first });
            }
            *user = Some(item);
            found_bytes = found_bytes.saturating_add(*size);
            taken.push(index);
            Ok(())
        })
        .map_err(|error| wrong(super::reason(&error)))??;
        if found_bytes != needed_bytes {
            return Err(ItemError::FrameBytes { frames: taken.len(), found_bytes, needed_bytes });
        }
        Ok(taken)
    }

    /// Every frame must be someone's.
    pub(super) fn expect_all_used(&self) -> Result<(), BatchError> {
        match self.used_by.iter().position(Option::is_none) {
            None => Ok(()),
            Some(first) => {
                let unused = self.used_by.iter().filter(|user| user.is_none()).count();
                Err(BatchError::UnusedFrames { unused, first, found_frames: self.sizes.len() })
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arrays_are_cut_without_gaps_and_without_empty_frames() {
        assert_eq!(frame_ranges(0).len(), 0);
        assert_eq!(frame_ranges(5).map(|range| (range.start, range.end)).collect::<Vec<_>>(), [(0, 5)]);
        assert_eq!(frame_ranges(SENT_FRAME_BYTES).len(), 1);
        let cut: Vec<_> = frame_ranges(2 * SENT_FRAME_BYTES + 1).collect();
        assert_eq!(cut.len(), 3);
        assert_eq!(cut[2], 2 * SENT_FRAME_BYTES..2 * SENT_FRAME_BYTES + 1);
        assert!(cut.windows(2).all(|pair| pair[0].end == pair[1].start));
    }

    fn taken(json: &str, needed_bytes: u64) -> Result<Vec<usize>, String> {
        let raw: Box<RawValue> = serde_json::from_str(json).unwrap();
        FrameBook::new(&[4, 0, 2]).take(&raw, 7, needed_bytes).map_err(|error| error.to_string())
    }

    #[test]
    fn the_order_is_the_items_own() {
        assert_eq!(taken("[2, 0]", 6), Ok(vec![2, 0]));
        assert_eq!(taken("[1]", 0), Ok(vec![1]));
    }

    #[test]
    fn frames_that_are_missing_taken_or_of_wrong_length_are_named() {
        let error = |json: &str| taken(json, 6).unwrap_err();
        assert!(error("[0, 3]").contains("frame 3") && error("[0, 3]").contains("has 3"), "{}", error("[0, 3]"));
        assert!(error("[0, 0]").contains("frame 0") && error("[0, 0]").contains("images[7]"), "{}", error("[0, 0]"));
        assert!(error("[0]").contains("4 bytes") && error("[0]").contains("6"), "{}", error("[0]"));
        assert!(error("[]").contains("0 bytes"), "{}", error("[]"));
        for nonsense in ["[-1]", "[1.5]", "[true]", "[[0]]", r#"["0"]"#, "[1e3]", "[null]"] {
            assert!(error(nonsense).contains("frames[0] is no index"), "{nonsense}: {}", error(nonsense));
        }
        assert!(error("5").contains("a list"), "{}", error("5"));
        assert!(error("{}").contains("a list"), "{}", error("{}"));
    }

    #[test]
    fn a_frame_that_nobody_uses_is_noticed() {
        let sizes = [4, 4, 4];
        let mut book = FrameBook::new(&sizes);
        let raw: Box<RawValue> = serde_json::from_str("[0]").unwrap();
        book.take(&raw, 0, 4).unwrap();
        let error = book.expect_all_used().unwrap_err().to_string();
        assert!(error.contains("2 of its 3") && error.contains("first: 1"), "{error}");
    }
}
