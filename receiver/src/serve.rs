//! One frame of the data socket in, one reply and perhaps one delivery out. Knows no sockets, so tests call it directly.

use std::collections::HashSet;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use wellscope_protocol::batch::{
    Batch, BatchError, DecodedItems, DisplayConfig, ImageLayout, ImagePayload, Item, Payload, PixelSource, RefusedItem,
};
use wellscope_protocol::dtype::ByteOrder;
use wellscope_protocol::route::{Route, RouteError, route_of};
use wellscope_store::{Admission, Store, StoreError};

use crate::acks::{AckOutlet, AckTicket, LeftSegment};
use crate::config::{DataSocket, Limits};
use crate::copy::{Copier, CopyError, CopySource, CopyTask, Helpers};
use crate::counters::{self, Counters};
use crate::delivery::{ItemHead, ReceivedBatch, ReceivedImage, ReceivedItem, ReceivedPayload};
use crate::in_flight::{InFlight, Permit};
use crate::message::Message;
use crate::patience::{Patience, Together};
use crate::pixels::{BlockLayout, ImagePixels};
use crate::platform::{Segment, SegmentError, SharedMemory};
use crate::record::Recorder;
use crate::text::printable;

/// Turns frames into received batches.
pub(crate) struct BatchServer {
    pub limits: Limits,
    /// When producers publish, a bad item costs itself alone; else its whole batch, and the reply says so.
    pub data_socket: DataSocket,
    pub recorder: Option<Mutex<Recorder>>,
    pub shared_memory: Box<dyn SharedMemory>,
    pub store: Store,
    pub helpers: Helpers,
    pub in_flight: Arc<InFlight>,
    pub outlet: Arc<AckOutlet>,
    pub counters: Arc<Counters>,
    pub stopping: Arc<AtomicBool>,
}

/// What became of one frame.
pub(crate) struct Served {
    /// The batch, or why the whole of it is refused.
    pub outcome: Result<ReceivedBatch, Refusal>,
    /// Segments that were opened and must not stay behind, whatever the outcome.
    pub opened: Vec<LeftSegment>,
    /// Why items were left out of a published batch; their producers have been told.
    pub left_out: Vec<String>,
}

/// Why a message is refused: what its sender and the log are told.
#[derive(Debug)]
pub(crate) struct Refusal {
    /// `type` of the error reply: "batch" once the message is known to be one.
    pub reply_type: Option<String>,
    /// One sentence: what was found, what was needed.
    pub text: String,
}

/// Why one image cannot be had.
#[derive(Debug, thiserror::Error)]
enum ImageError {
    /// It belongs to no layer.
    #[error(transparent)]
    NoRoute(#[from] RouteError),
    #[error(transparent)]
    Segment(#[from] SegmentError),
    #[error("shape {shape:?} of {dtype} needs {needed_bytes} bytes, shared memory has {found_bytes}")]
    TooSmall { shape: Vec<u64>, dtype: String, needed_bytes: u64, found_bytes: u64 },
    #[error("shape {shape:?} of {dtype} needs {needed_bytes} bytes, the inline data has {found_bytes}")]
    InlineLength { shape: Vec<u64>, dtype: String, needed_bytes: u64, found_bytes: u64 },
    /// Published: one item's frames do not agree. Requested, the whole batch was refused before.
    #[error("the viewer's machine has no memory for its {needed_bytes} bytes")]
    NoMemory { needed_bytes: u64 },
    #[error("{0}{turn}", turn = whose_turn(.0))]
    Store(StoreError),
}

impl From<CopyError> for ImageError {
    fn from(error: CopyError) -> Self {
        match error {
            CopyError::Segment(error) => Self::Segment(error),
            CopyError::Store(StoreError::NoMemory { needed_bytes }) => Self::NoMemory { needed_bytes },
            CopyError::Store(error) => Self::Store(error),
        }
    }
}

/// What helps, for the person who reads the producer's log.
fn whose_turn(error: &StoreError) -> &'static str {
    match error {
        StoreError::Full { .. } => {
            "; close or clear layers in the viewer, or start it with a larger --memory-limit or --disk-limit"
        }
        StoreError::SpillFailed { .. } => "; make room on that disk, or close or clear layers in the viewer",
        StoreError::LargerThanMemory { .. } => "; start the viewer with a larger --memory-limit, or send tiles",
        StoreError::Busy { .. } => "; send it again later",
        _ => "",
    }
}

/// An item that is known to have a layer, and where its pixels are.
struct Prepared {
    route: Route,
    pixels: Option<PreparedPixels>,
}

struct PreparedPixels {
    source: PreparedSource,
    layout: BlockLayout,
    swap_bytes: usize,
}

enum PreparedSource {
    Segment(Box<dyn Segment>),
    Inline(Vec<u8>),
    /// Indices of binary frames; decoding has checked them against those that came.
    Frames(Vec<usize>),
}

impl PreparedPixels {
    /// `frames`: the binary frames of the message.
    fn task<'a>(&'a self, frames: &'a [zmq::Message]) -> CopyTask<'a> {
        let source = match &self.source {
            PreparedSource::Segment(segment) => CopySource::Segment(segment.as_ref()),
            PreparedSource::Inline(bytes) => CopySource::Parts(vec![bytes]),
            PreparedSource::Frames(indices) => {
                CopySource::Parts(indices.iter().filter_map(|index| frames.get(*index)).map(|frame| &**frame).collect())
            }
        };
        CopyTask { source, layout: self.layout, swap_bytes: self.swap_bytes }
    }
}

/// Segments of one batch that are open at once: a batch may have more images than a process may have files.
const OPEN_AT_ONCE: usize = 64;

/// Whether a segment of this name may have been left to the viewer to remove.
///
/// Segments of OpenHCS producers begin with `napari_`; others are not ours. Of them, G1 from openhcs 0.3 on and G2 leave removal to
/// the viewer (`napari_` + 8 hex digits); G3 and G4 remove theirs at once, so nothing is left (12 hex digits). G0 and openhcs 0.2
/// (`napari_<id>_<nanoseconds>`) keep theirs until they end and remove them themselves, later than any time that we could wait.
fn may_be_left_behind(name: &str) -> bool {
    let is_number = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    name.strip_prefix("napari_").is_some_and(|rest| {
        let producer_removes = rest.split_once('_').is_some_and(|(id, time)| is_number(id) && is_number(time));
        !producer_removes
    })
}

/// Longest segment that is recorded although its image was refused.
const MAX_RECORDED_SHORT_BYTES: u64 = 16 << 20;

/// The reply of a viewer whose app does not take what was delivered.
pub(crate) const BUSY_TEXT: &str =
    "The viewer is busy: it has not taken the images sent before. Nothing of this batch was kept; send it again later.";

impl BatchServer {
    /// Decodes a message, makes its pixels ours. Waits as long as `patience` says for the app to take what was delivered before, and
    /// for memory.
    pub(crate) fn serve(&self, message: &Message, patience: Patience) -> Served {
        let (mut opened, mut left_out) = (Vec::new(), Vec::new());
        let received_at = Instant::now();
        let decoded = match self.decode(message) {
            Ok(decoded) => decoded,
            Err(error) => {
                let refusal = Refusal { reply_type: error.reply_type().map(str::to_owned), text: error.to_string() };
                return Served { outcome: Err(refusal), opened, left_out };
            }
        };
        let names: Vec<String> = decoded.batch.items.iter().filter_map(left_name).map(str::to_owned).collect();
        let unread = decoded.refused.iter().filter_map(|item| item.shm_name.clone());
        let unread: Vec<String> = unread.filter(|name| may_be_left_behind(name)).collect();
        let outcome = self.receive(decoded, message, received_at, patience, &mut opened, &mut left_out);
        self.note_unopened(unread, &mut opened);
        if outcome.is_err() {
            self.note_unopened(names, &mut opened);
        }
        Served { outcome, opened, left_out }
    }

    /// A producer that publishes hears of no refusal, so an item that cannot be read costs only itself there.
    fn decode(&self, message: &Message) -> Result<DecodedItems, BatchError> {
        let limits = self.limits.batch_limits();
        let frame_bytes: Vec<u64> = message.frames.iter().map(|frame| frame.len() as u64).collect();
        match self.data_socket {
            DataSocket::Sub => Batch::decode_items(&message.body, &frame_bytes, &limits),
            DataSocket::Rep => Batch::decode_with_frames(&message.body, &frame_bytes, &limits)
                .map(|batch| DecodedItems { positions: (0..batch.items.len()).collect(), batch, refused: Vec::new() }),
        }
    }

    /// Producers that leave their segments to us do so after an error too, so what a refused batch names is noted although none
    /// of it was copied: a plate streamed to a viewer that is full would fill the machine's shared memory.
    fn note_unopened(&self, names: Vec<String>, opened: &mut Vec<LeftSegment>) {
        let noted: HashSet<String> = opened.iter().map(|segment| segment.name.clone()).collect();
        for name in names.into_iter().filter(|name| !noted.contains(name)) {
            if let Some(identity) = self.shared_memory.open(&name).ok().and_then(|segment| segment.identity()) {
                opened.push(LeftSegment { name, identity });
            }
        }
    }

    fn receive(
        &self,
        decoded: DecodedItems,
        message: &Message,
        received_at: Instant,
        patience: Patience,
        opened: &mut Vec<LeftSegment>,
        left_out: &mut Vec<String>,
    ) -> Result<ReceivedBatch, Refusal> {
        let DecodedItems { batch, positions, refused } = decoded;
        let refuse = |text: String| Refusal { reply_type: Some("batch".into()), text };

        let total_items = batch.items.len() + refused.len();
        // The limits of one image and of the batch were checked while decoding, so this cannot overflow.
        let total_bytes = batch.items.iter().map(pixel_bytes).sum();
        let mut permit = patience
            .attempt(|deadline| self.in_flight.reserve(total_bytes, deadline), Option::is_none)
            .ok_or_else(|| refuse(BUSY_TEXT.into()))?;
        let admission = self.admit(&batch.items).map_err(|error| {
            refuse(format!(
                "The viewer has no room for this batch and kept nothing of it: {error}{}.",
                whose_turn(&error)
            ))
        })?;
        self.leave_out(refused, total_items, left_out);
        let waiting = Together::new(patience.waiting);
        let copier = Copier {
            store: &self.store,
            helpers: &self.helpers,
            admission: Mutex::new(admission),
            patience: Patience { waiting: &waiting, ..patience },
            stopping: &self.stopping,
        };

        let mut items: Vec<ReceivedItem> = Vec::with_capacity(positions.len());
        let mut numbered = positions.into_iter().zip(batch.items);
        loop {
            let mut chunk: Vec<(usize, Item, Result<Prepared, ImageError>)> = Vec::new();
            for (index, mut item) in numbered.by_ref().take(OPEN_AT_ONCE) {
                let prepared = self.prepare(&mut item, &batch.display_config, opened);
                let refuses_all = prepared.is_err() && self.data_socket == DataSocket::Rep;
                chunk.push((index, item, prepared));
                if refuses_all {
                    break;
                }
            }
            if chunk.is_empty() {
                break;
            }
            let refuses_all =
                self.data_socket == DataSocket::Rep && chunk.iter().any(|(.., prepared)| prepared.is_err());
            let tasks = chunk
                .iter()
                .filter_map(|(.., prepared)| Some(prepared.as_ref().ok()?.pixels.as_ref()?.task(&message.frames)));
            let tasks: Vec<CopyTask> = if refuses_all { Vec::new() } else { tasks.collect() };
            let mut copied = copier.copy(&tasks).into_iter();
            drop(tasks);
            for (index, mut item, prepared) in chunk {
                let received = prepared.and_then(|prepared| match &prepared.pixels {
                    // When the batch is refused nothing was copied, and the error comes by itself.
                    Some(_) if refuses_all => Ok(None),
                    Some(pixels) => {
                        let image = copied.next().map_or_else(|| Err(no_memory(&item)), |image| Ok(image?))?;
                        self.count_copy(pixels);
                        Ok(Some((prepared.route, Some(image))))
                    }
                    None => Ok(Some((prepared.route, None))),
                });
                match received {
                    Ok(None) => {}
                    Ok(Some((route, pixels))) => items.push(self.assemble(&mut item, route, pixels, &mut permit)),
                    Err(error) => {
                        let text = describe(index, total_items, &item, &error);
                        if self.data_socket == DataSocket::Rep {
                            items.into_iter().for_each(|item: ReceivedItem| item.ack.withdraw());
                            return Err(refuse(text));
                        }
                        if let Some(image_id) = item.image_id {
                            self.outlet.refuse(image_id, item.ack_route, &text);
                        }
                        left_out.push(text);
                    }
                }
            }
        }
        Ok(ReceivedBatch {
            sequence: 0,
            received_at,
            items,
            display_config: batch.display_config,
            component_names: batch.component_names,
            component_domain: batch.component_domain,
        })
    }

    /// Tells the senders of items that could not be read.
    fn leave_out(&self, refused: Vec<RefusedItem>, total_items: usize, left_out: &mut Vec<String>) {
        for RefusedItem { index, path, image_id, ack_route, error, .. } in refused {
            let number = index + 1;
            let text = format!("item {number} of {total_items}: {error}. Path: \"{}\"", printable(&path));
            if let Some(image_id) = image_id {
                self.outlet.refuse(image_id, ack_route, &text);
            }
            left_out.push(text);
        }
    }

    /// Room in the store for all images of a batch.
    fn admit(&self, items: &[Item]) -> Result<Admission, StoreError> {
        let footprint = |item: &Item| match &item.payload {
            Payload::Image(image) => layout_of(image).map_or(image.size_bytes, |layout| layout.footprint()),
            Payload::Shapes(_) | Payload::Points(_) => 0,
        };
        self.store.admit(items.iter().map(footprint).sum())
    }

    /// Looks at an item before anything is copied: its layer, its segment, whether that is long enough.
    fn prepare(
        &self,
        item: &mut Item,
        config: &DisplayConfig,
        opened: &mut Vec<LeftSegment>,
    ) -> Result<Prepared, ImageError> {
        // While the producer still listens: an item without a layer is its sender's mistake.
        let route = route_of(item, config)?;
        let pixels = match &mut item.payload {
            Payload::Image(image) => Some(self.prepare_pixels(image, opened)?),
            Payload::Shapes(_) | Payload::Points(_) => None,
        };
        Ok(Prepared { route, pixels })
    }

    fn prepare_pixels(
        &self,
        image: &mut ImagePayload,
        opened: &mut Vec<LeftSegment>,
    ) -> Result<PreparedPixels, ImageError> {
        let layout = layout_of(image).ok_or(ImageError::NoMemory { needed_bytes: image.size_bytes })?;
        let swap_bytes = match image.dtype.order {
            ByteOrder::Big => image.dtype.element.size_bytes(),
            ByteOrder::Little => 1,
        };
        match &mut image.source {
            PixelSource::Inline(bytes) => {
                let bytes = std::mem::take(bytes);
                if bytes.len() as u64 != image.size_bytes {
                    return Err(ImageError::InlineLength {
                        shape: image.shape.clone(),
                        dtype: image.dtype.to_string(),
                        needed_bytes: image.size_bytes,
                        found_bytes: bytes.len() as u64,
                    });
                }
                // Already little-endian: see `PixelSource::Inline`.
                Ok(PreparedPixels { source: PreparedSource::Inline(bytes), layout, swap_bytes: 1 })
            }
            PixelSource::SharedMemory { name, kept } => {
                let (name, kept) = (name.clone(), *kept);
                let segment = self.shared_memory.open(&name)?;
                if let Some(identity) = segment.identity()
                    && !kept
                    && may_be_left_behind(&name)
                {
                    opened.push(LeftSegment { name: name.clone(), identity });
                }
                self.record_segment(&name, segment.as_ref(), image.size_bytes);
                let (needed_bytes, found_bytes) = (image.size_bytes, segment.len_bytes());
                if found_bytes < needed_bytes {
                    let (shape, dtype) = (image.shape.clone(), image.dtype.to_string());
                    return Err(ImageError::TooSmall { shape, dtype, needed_bytes, found_bytes });
                }
                Ok(PreparedPixels { source: PreparedSource::Segment(segment), layout, swap_bytes })
            }
            PixelSource::Frames(indices) => {
                let source = PreparedSource::Frames(std::mem::take(indices));
                Ok(PreparedPixels { source, layout, swap_bytes })
            }
        }
    }

    fn assemble(
        &self,
        item: &mut Item,
        route: Route,
        pixels: Option<ImagePixels>,
        permit: &mut Permit,
    ) -> ReceivedItem {
        let size_bytes = pixel_bytes(item);
        let payload = match (&mut item.payload, pixels) {
            (Payload::Image(image), pixels) => ReceivedPayload::Image(ReceivedImage {
                element: image.dtype.element,
                shape: std::mem::take(&mut image.shape),
                layout: image.layout.clone(),
                spatial_origin_yx: image.spatial_origin_yx,
                source_spatial_shape_yx: image.source_spatial_shape_yx,
                voxel_spacing: image.voxel_spacing.take(),
                labels: image.labels,
                // Every image was copied; an empty one would be shown as missing, not as another's pixels.
                pixels: pixels.unwrap_or_else(|| ImagePixels::from_bytes(Vec::new(), 0)),
            }),
            (Payload::Shapes(shapes), _) => ReceivedPayload::Shapes(std::mem::take(shapes)),
            (Payload::Points(points), _) => ReceivedPayload::Points(std::mem::take(points)),
        };
        let ack =
            AckTicket::new(item.image_id.take(), item.ack_route.take(), self.outlet.clone(), permit.split(size_bytes));
        let head = ItemHead {
            path: std::mem::take(&mut item.path),
            address: std::mem::take(&mut item.address),
            producer_identity: item.producer_identity.take(),
            shape_planes: std::mem::take(&mut item.shape_planes),
            route,
        };
        ReceivedItem { item: head, payload, ack }
    }

    fn count_copy(&self, pixels: &PreparedPixels) {
        let bytes = pixels.layout.total_bytes() as u64;
        match pixels.source {
            PreparedSource::Segment(_) => {
                counters::add(&self.counters.copies, 1);
                counters::add(&self.counters.bytes_copied, bytes);
            }
            PreparedSource::Frames(_) => counters::add(&self.counters.frame_bytes, bytes),
            PreparedSource::Inline(_) => {}
        }
    }

    /// Reads a segment once more, for the recording. One that is too short for its image is kept as far as it goes, when it is
    /// not too long: the replay has to find it as short. What cannot be read stays away.
    fn record_segment(&self, name: &str, segment: &dyn Segment, needed_bytes: u64) {
        let Some(recorder) = &self.recorder else { return };
        let found_bytes = segment.len_bytes();
        if found_bytes < needed_bytes && found_bytes > MAX_RECORDED_SHORT_BYTES {
            return;
        }
        let Ok(size_bytes) = usize::try_from(found_bytes.min(needed_bytes)) else { return };
        // A buffer of a store without limits: memory that does not exist is no reason to end.
        let Ok(mut bytes) = Store::unbounded().buffer(size_bytes, Instant::now()) else { return };
        if segment.read_at(0, &mut bytes).is_ok() {
            recorder.lock().unwrap_or_else(PoisonError::into_inner).segment(name, &bytes);
        }
    }

    /// Writes a message and its reply into the recording, if there is one. Returns why that ends here.
    pub(crate) fn record(&self, message: &Message, reply: Option<&[u8]>) -> Option<String> {
        let frames: Vec<&[u8]> = message.frames.iter().map(|frame| &**frame).collect();
        let recorder = self.recorder.as_ref()?;
        recorder.lock().unwrap_or_else(PoisonError::into_inner).exchange(&message.body, &frames, reply)
    }
}

/// How the planes of an image lie in blocks; `None`: more than this machine can address.
fn layout_of(image: &ImagePayload) -> Option<BlockLayout> {
    let ImageLayout { height, width, samples, .. } = &image.layout;
    let plane_bytes = height
        .checked_mul(*width)?
        .checked_mul(u64::from(*samples))?
        .checked_mul(image.dtype.element.size_bytes() as u64)?;
    BlockLayout::new(image.size_bytes, plane_bytes)
}

fn no_memory(item: &Item) -> ImageError {
    ImageError::NoMemory { needed_bytes: pixel_bytes(item) }
}

/// Pixels of an item, in bytes; 0 for shapes and points.
fn pixel_bytes(item: &Item) -> u64 {
    match &item.payload {
        Payload::Image(image) => image.size_bytes,
        Payload::Shapes(_) | Payload::Points(_) => 0,
    }
}

/// Name of the segment of an item, when it may be left to us.
fn left_name(item: &Item) -> Option<&str> {
    match &item.payload {
        Payload::Image(ImagePayload { source: PixelSource::SharedMemory { name, kept: false }, .. }) => {
            Some(name.as_str()).filter(|name| may_be_left_behind(name))
        }
        _ => None,
    }
}

/// Which item of how many, which path, which segment, and what is wrong.
fn describe(index: usize, total: usize, item: &Item, error: &ImageError) -> String {
    let number = index + 1;
    let path = printable(&item.path);
    match &item.payload {
        Payload::Image(ImagePayload { source: PixelSource::SharedMemory { name, .. }, .. }) => {
            format!("image {number} of {total}: {error}. Segment: \"{}\", path: \"{path}\"", printable(name))
        }
        _ => format!("image {number} of {total}: {error}. Path: \"{path}\""),
    }
}

#[cfg(test)]
mod tests;
