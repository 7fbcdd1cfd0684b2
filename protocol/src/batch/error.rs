//! Why a batch is refused, in sentences that travel back to the producer.

use crate::dtype::{DTypeError, SizeError};
use crate::pickle::PickleError;

/// Why a frame on the data socket is not a batch that can be shown. The whole batch is refused, its text is the reply's
/// `message` (polystore raises it as "Napari rejected stream batch: ...").
///
/// Where the incumbent has a sentence of its own (openhcs 0.8.6), clients and their logs know it, so it is kept.
#[derive(Debug, thiserror::Error)]
pub enum BatchError {
    /// More than [`super::BatchLimits::max_frame_bytes`].
    #[error(
        "the message has {found_bytes} bytes, the viewer takes at most {limit_bytes}; the producer should split the batch"
    )]
    FrameTooLarge {
        /// Length of the frame.
        found_bytes: u64,
        /// The limit.
        limit_bytes: u64,
    },
    /// A pickle that cannot be read, or names something that is no data.
    #[error("the message is a pickle that is not taken: {0}. Nothing in it was executed")]
    Pickle(#[from] PickleError),
    /// A pickle with a value that no message has, e.g. bytes.
    #[error(
        "the message is a pickle that is not taken: {reason}; the sender should send what JSON can say, and numpy arrays as 'data'"
    )]
    PickledValue {
        /// What was found.
        reason: String,
    },
    /// Neither text nor a pickle. Starts as Python's `UnicodeDecodeError` does.
    #[error(
        "'utf-8' codec can't decode byte {byte:#04x} in position {position}: a batch is one JSON text; pixels go to \
         shared memory"
    )]
    NotText {
        /// The byte that is not UTF-8.
        byte: u8,
        /// Its offset.
        position: usize,
    },
    /// Text, but not JSON; also a JSON text that was cut off.
    #[error("the message is not valid JSON: {reason}; the producer should send one JSON object")]
    NotJson {
        /// What the parser met, with line and column.
        reason: String,
    },
    /// JSON, but no object.
    #[error("Napari batch message must be a JSON object; found {found}")]
    NotAnObject {
        /// e.g. "a list".
        found: &'static str,
    },
    /// No `type`, and not a single image message either.
    #[error("Napari message missing required payload field 'type'")]
    MissingType,
    /// Another `type`.
    #[error("{found} is not a valid ViewerBatchMessageType")]
    UnknownType {
        /// As Python's `repr` prints it.
        found: String,
    },
    /// `images` or `display_config` is absent.
    #[error("Napari batch message missing required field: '{field}'")]
    MissingField {
        /// Its name.
        field: &'static str,
    },
    /// A field of the envelope has a wrong type.
    #[error("batch field '{field}' cannot be read: {reason}; the producer should mend it")]
    WrongField {
        /// Its name.
        field: &'static str,
        /// What was found and what was needed.
        reason: String,
    },
    /// More than [`super::BatchLimits::max_items`].
    #[error("the batch has more than {limit} items; the producer should split it")]
    TooManyItems {
        /// The limit.
        limit: usize,
    },
    /// All images together exceed [`super::BatchLimits::max_batch_bytes`].
    #[error(
        "the images of the batch need {needed_bytes} bytes, the viewer takes at most {limit_bytes} at once; the producer should split the batch"
    )]
    BatchTooLarge {
        /// Sum over the images so far.
        needed_bytes: u64,
        /// The limit.
        limit_bytes: u64,
    },
    /// More than [`super::BatchLimits::max_frames`].
    #[error(
        "the message has {found} binary frames, the viewer takes at most {limit}; the producer should send longer frames, or split the batch"
    )]
    TooManyFrames {
        /// Frames behind the JSON.
        found: usize,
        /// The limit.
        limit: usize,
    },
    /// Binary frames that no item names.
    #[error(
        "{unused} of its {found_frames} binary frames belong to no item (first: {first}); the producer must name each frame in 'frames' of one image"
    )]
    UnusedFrames {
        /// How many.
        unused: usize,
        /// The first of them; 0 is the frame behind the JSON.
        first: usize,
        /// Frames behind the JSON.
        found_frames: usize,
    },
    /// One item cannot be shown.
    #[error("images[{index}]: {source}. Path: {path:?}")]
    Item {
        /// Position in `images`, from 0.
        index: usize,
        /// The item's `path`, empty when it has none.
        path: String,
        /// What is wrong with it.
        source: ItemError,
    },
}

impl BatchError {
    /// The `type` of the error reply: "batch" once the message is known to be one, else null (openhcs 0.8.6).
    pub const fn reply_type(&self) -> Option<&'static str> {
        match self {
            Self::FrameTooLarge { .. }
            | Self::Pickle(_)
            | Self::PickledValue { .. }
            | Self::NotText { .. }
            | Self::NotJson { .. }
            | Self::NotAnObject { .. }
            | Self::MissingType
            | Self::UnknownType { .. } => None,
            Self::MissingField { .. }
            | Self::WrongField { .. }
            | Self::TooManyItems { .. }
            | Self::BatchTooLarge { .. }
            | Self::TooManyFrames { .. }
            | Self::UnusedFrames { .. }
            | Self::Item { .. } => Some("batch"),
        }
    }
}

/// What is wrong with one entry of `images`.
#[derive(Debug, thiserror::Error)]
pub enum ItemError {
    /// Not a JSON object.
    #[error("needed an object, found {found}; the producer should send one object per item")]
    NotAnObject {
        /// e.g. "a list".
        found: &'static str,
    },
    /// A field that this kind of item needs.
    #[error("field '{field}' is missing; the producer must send it")]
    MissingField {
        /// Its name.
        field: &'static str,
    },
    /// A field of the wrong type or with a value that cannot be meant.
    #[error("field '{field}' cannot be read: {reason}; the producer should mend it")]
    WrongField {
        /// Its name.
        field: &'static str,
        /// What was found and what was needed.
        reason: String,
    },
    /// `metadata` without an entry says nowhere to show the item.
    #[error("field 'metadata' is empty; the producer must send at least one component value, such as the well")]
    EmptyMetadata,
    /// `data_type` is none of image, shapes, points, rois.
    #[error("field 'data_type' is {found:?}; needed 'image', 'shapes' or 'points'")]
    UnknownDataType {
        /// As sent.
        found: String,
    },
    /// `dtype` cannot be shown.
    #[error("field 'dtype': {0}")]
    DType(#[from] DTypeError),
    /// `shape` has no usable size.
    #[error("field 'shape': {0}")]
    Size(#[from] SizeError),
    /// Fewer than two axes.
    #[error("field 'shape' is {shape:?}; needed at least two axes (y, x)")]
    TooFewAxes {
        /// Extent per axis.
        shape: Vec<u64>,
    },
    /// More than [`super::BatchLimits::max_image_bytes`].
    #[error(
        "shape {shape:?} of {dtype} needs {needed_bytes} bytes, the viewer takes at most {limit_bytes} per image; the producer should send it in parts"
    )]
    ImageTooLarge {
        /// Extent per axis.
        shape: Vec<u64>,
        /// The dtype as sent.
        dtype: String,
        /// Bytes of the array.
        needed_bytes: u64,
        /// The limit.
        limit_bytes: u64,
    },
    /// More than [`super::BatchLimits::max_planes`].
    #[error(
        "shape {shape:?} holds {planes} planes, the viewer takes at most {limit} per image; the producer should send it in parts"
    )]
    TooManyPlanes {
        /// Extent per axis.
        shape: Vec<u64>,
        /// Product of the leading extents.
        planes: u64,
        /// The limit.
        limit: u64,
    },
    /// Neither `shm_name` nor `data` nor `frames`.
    #[error("the image has neither 'shm_name' nor 'data' nor 'frames'; the producer must send one of them")]
    NoPixels,
    /// `frames` beside another source.
    #[error("the image has both 'frames' and '{other}'; the producer must send only one of them")]
    TwoSources {
        /// "shm_name" or "data".
        other: &'static str,
    },
    /// `frames` names a frame that the message does not have.
    #[error(
        "field 'frames' names binary frame {index}, the message has {found_frames}, counted from 0; the producer must send it"
    )]
    FrameMissing {
        /// The frame; 0 is the one behind the JSON.
        index: usize,
        /// Frames behind the JSON.
        found_frames: usize,
    },
    /// `frames` names a frame that belongs to an image already.
    #[error(
        "field 'frames' names binary frame {index}, which images[{first}] uses already; the producer must send a frame for each"
    )]
    FrameUsedTwice {
        /// The frame; 0 is the one behind the JSON.
        index: usize,
        /// Position in `images` of its first user; may be the same item.
        first: usize,
    },
    /// The frames do not hold the array that `shape` and `dtype` promise.
    #[error(
        "its {frames} binary frames have {found_bytes} bytes, shape and dtype need {needed_bytes}; the producer should make them agree"
    )]
    FrameBytes {
        /// How many frames it names.
        frames: usize,
        /// Their bytes together.
        found_bytes: u64,
        /// Bytes of the array.
        needed_bytes: u64,
    },
    /// `shm_name` can be no segment's name.
    #[error(
        "field 'shm_name' is {found:?}; needed the name of a shared-memory segment without '/' and NUL, at most 255 bytes"
    )]
    SegmentName {
        /// As sent, at most 64 characters.
        found: String,
    },
    /// The declared axes do not fit the shape.
    #[error("{reason}, but the shape is {shape:?}; the producer should make them agree")]
    Layout {
        /// What was declared.
        reason: String,
        /// Extent per axis.
        shape: Vec<u64>,
    },
    /// `data` does not hold the array that `shape` and `dtype` promise.
    #[error("field 'data' cannot be read as {dtype} of shape {shape:?}: {reason}; the producer should mend it")]
    InlineData {
        /// Extent per axis.
        shape: Vec<u64>,
        /// The dtype as sent.
        dtype: String,
        /// What was found and what was needed.
        reason: String,
    },
    /// One entry of `shapes`.
    #[error("shapes[{index}]: {reason}; the producer should mend it")]
    Shape {
        /// Position in `shapes`, from 0.
        index: usize,
        /// What was found and what was needed.
        reason: String,
    },
}
