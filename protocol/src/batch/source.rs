//! Where the pixels of an image item are: in a segment, in binary frames, or in the text.

use serde_json::value::RawValue;

use super::PixelSource;
use super::decode::{BatchLimits, item_field};
use super::error::ItemError;
use super::frames::FrameBook;
use super::inline::inline_bytes;
use crate::dtype::ElementType;

/// The fields of an item that say so.
pub(super) struct SentSource<'a> {
    pub(super) shm_name: Option<&'a RawValue>,
    pub(super) shm_kept: Option<&'a RawValue>,
    pub(super) data: Option<&'a RawValue>,
    pub(super) frames: Option<&'a RawValue>,
}

/// What of an item came beside the text.
pub(super) struct BesideText<'a, 'f> {
    /// Its position in `images`.
    pub(super) index: usize,
    /// Little-endian bytes of `shape` x `dtype`, from an array in a pickle.
    pub(super) array: Option<Vec<u8>>,
    /// The binary frames of the message.
    pub(super) frames: &'a mut FrameBook<'f>,
}

/// The array that an item declares.
pub(super) struct ArrayClaim<'a> {
    pub(super) shape: &'a [u64],
    pub(super) declared_dtype: &'a str,
    pub(super) element: ElementType,
    pub(super) size_bytes: u64,
}

/// Where the pixels are. Of `shm_name` and `data`, released viewers let the segment win; `frames` stands alone.
pub(super) fn read_source(
    sent: &SentSource<'_>,
    beside: &mut BesideText<'_, '_>,
    array: &ArrayClaim<'_>,
    limits: &BatchLimits,
) -> Result<PixelSource, ItemError> {
    let shm_name = item_field::<String>(sent.shm_name, "shm_name")?.filter(|name| !name.is_empty());
    let pixels = beside.array.take();
    if let Some(frames) = sent.frames {
        let others = [("shm_name", shm_name.is_some()), ("data", pixels.is_some() || sent.data.is_some())];
        if let Some((other, _)) = others.into_iter().find(|(_, given)| *given) {
            return Err(ItemError::TwoSources { other });
        }
        return beside.frames.take(frames, beside.index, array.size_bytes).map(PixelSource::Frames);
    }
    if let Some(name) = shm_name {
        let kept = item_field::<bool>(sent.shm_kept, "shm_kept")?.unwrap_or(false);
        return Ok(PixelSource::SharedMemory { name: segment_name(name)?, kept });
    }
    if pixels.is_none() && sent.data.is_none() {
        return Err(ItemError::NoPixels);
    }
    let (shape, dtype) = (array.shape.to_vec(), array.declared_dtype.to_owned());
    if array.size_bytes > limits.max_inline_bytes {
        let (needed_bytes, limit_bytes) = (array.size_bytes, limits.max_inline_bytes);
        return Err(ItemError::ImageTooLarge { shape, dtype, needed_bytes, limit_bytes });
    }
    match (pixels, sent.data) {
        (Some(bytes), _) => Ok(PixelSource::Inline(bytes)),
        (None, Some(raw)) => {
            let count = array.size_bytes / array.element.size_bytes() as u64;
            inline_bytes(raw, array.element, count).map(PixelSource::Inline).map_err(|reason| ItemError::InlineData {
                shape,
                dtype,
                reason,
            })
        }
        (None, None) => Err(ItemError::NoPixels),
    }
}

/// Python drops the leading slash of POSIX names, older producers may not. Anything that could leave the folder of
/// segments is refused.
pub(super) fn segment_name(sent: String) -> Result<String, ItemError> {
    let name = sent.strip_prefix('/').unwrap_or(&sent);
    if name.is_empty() || name.len() > 255 || name == "." || name == ".." || name.contains(['/', '\\', '\0']) {
        return Err(ItemError::SegmentName { found: sent.chars().take(64).collect() });
    }
    Ok(name.to_owned())
}
