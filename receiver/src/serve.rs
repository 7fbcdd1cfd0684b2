//! One frame of the data socket in, one reply and perhaps one delivery out. Knows no sockets, so tests call it directly.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use wellscope_protocol::batch::{Batch, BatchLimits, DisplayConfig, ImagePayload, Item, Payload, PixelSource};
use wellscope_protocol::dtype::ByteOrder;
use wellscope_protocol::route::{RouteError, route_of};

use crate::acks::{AckOutlet, AckTicket, LeftSegment};
use crate::config::{DataSocket, Limits};
use crate::counters::{self, Counters};
use crate::delivery::{ItemHead, ReceivedBatch, ReceivedImage, ReceivedItem, ReceivedPayload};
use crate::in_flight::{InFlight, Permit};
use crate::pixels::{BufferPool, PixelBuffer};
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
    pub pool: Arc<BufferPool>,
    pub in_flight: Arc<InFlight>,
    pub outlet: Arc<AckOutlet>,
    pub counters: Arc<Counters>,
    pub sequence: AtomicU64,
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
    #[error("the viewer's machine has no memory for its {needed_bytes} bytes")]
    NoMemory { needed_bytes: u64 },
}

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
const MAX_RECORDED_SHORT_BYTES: usize = 16 << 20;

/// The reply of a viewer whose app does not take what was delivered.
pub(crate) const BUSY_TEXT: &str =
    "The viewer is busy: it has not taken the images sent before. Nothing of this batch was kept; send it again later.";

impl BatchServer {
    /// Decodes `frame`, makes its pixels ours. Waits until `busy_deadline` for the app to take what was delivered before.
    pub(crate) fn serve(&self, frame: &[u8], busy_deadline: Instant) -> Served {
        let (mut opened, mut left_out) = (Vec::new(), Vec::new());
        let outcome = self.receive(frame, busy_deadline, &mut opened, &mut left_out);
        Served { outcome, opened, left_out }
    }

    fn receive(
        &self,
        frame: &[u8],
        busy_deadline: Instant,
        opened: &mut Vec<LeftSegment>,
        left_out: &mut Vec<String>,
    ) -> Result<ReceivedBatch, Refusal> {
        let received_at = Instant::now();
        let batch_limits = self.batch_limits();
        let batch = Batch::decode(frame, &batch_limits)
            .map_err(|error| Refusal { reply_type: error.reply_type().map(str::to_owned), text: error.to_string() })?;
        let refuse = |text: String| Refusal { reply_type: Some("batch".into()), text };

        let total_items = batch.items.len();
        // The limits of one image and of the batch were checked while decoding, so this cannot overflow.
        let total_bytes = batch.items.iter().map(pixel_bytes).sum();
        let mut permit = self.in_flight.reserve(total_bytes, busy_deadline).ok_or_else(|| refuse(BUSY_TEXT.into()))?;

        let mut items = Vec::with_capacity(total_items);
        for (index, item) in batch.items.into_iter().enumerate() {
            match self.receive_item(item, &batch.display_config, &mut permit, opened) {
                Ok(item) => items.push(item),
                Err(failed) => {
                    let (item, error) = *failed;
                    let text = describe(index, total_items, &item, &error);
                    if self.data_socket == DataSocket::Sub {
                        if let Some(image_id) = item.image_id {
                            self.outlet.refuse(image_id, item.ack_route, &text);
                        }
                        left_out.push(text);
                        continue;
                    }
                    items.into_iter().for_each(|item: ReceivedItem| item.ack.withdraw());
                    return Err(refuse(text));
                }
            }
        }
        Ok(ReceivedBatch {
            sequence: self.sequence.fetch_add(1, Ordering::Relaxed) + 1,
            received_at,
            items,
            display_config: batch.display_config,
            component_names: batch.component_names,
            component_domain: batch.component_domain,
        })
    }

    fn batch_limits(&self) -> BatchLimits {
        BatchLimits {
            max_frame_bytes: self.limits.max_message_bytes,
            max_items: self.limits.max_items,
            max_image_bytes: self.limits.max_image_bytes,
            max_batch_bytes: self.limits.max_batch_bytes,
            ..BatchLimits::default()
        }
    }

    fn receive_item(
        &self,
        item: Item,
        config: &DisplayConfig,
        permit: &mut Permit,
        opened: &mut Vec<LeftSegment>,
    ) -> Result<ReceivedItem, Box<(Item, ImageError)>> {
        let mut item = item;
        // Before anything is copied, and while the producer still listens: an item without a layer is its sender's mistake.
        let route = match route_of(&item, config) {
            Ok(route) => route,
            Err(error) => return Err(Box::new((item, error.into()))),
        };
        let (payload, size_bytes) = match &mut item.payload {
            Payload::Image(image) => match self.receive_pixels(image, opened) {
                Ok(pixels) => (
                    ReceivedPayload::Image(ReceivedImage {
                        element: image.dtype.element,
                        shape: std::mem::take(&mut image.shape),
                        layout: image.layout.clone(),
                        spatial_origin_yx: image.spatial_origin_yx,
                        source_spatial_shape_yx: image.source_spatial_shape_yx,
                        voxel_spacing: image.voxel_spacing.take(),
                        pixels,
                    }),
                    image.size_bytes,
                ),
                Err(error) => return Err(Box::new((item, error))),
            },
            Payload::Shapes(shapes) => (ReceivedPayload::Shapes(std::mem::take(shapes)), 0),
            Payload::Points(points) => (ReceivedPayload::Points(std::mem::take(points)), 0),
        };
        let ack = AckTicket::new(item.image_id, item.ack_route, self.outlet.clone(), permit.split(size_bytes));
        let head = ItemHead {
            path: item.path,
            address: item.address,
            producer_identity: item.producer_identity,
            shape_planes: item.shape_planes,
            route,
        };
        Ok(ReceivedItem { item: head, payload, ack })
    }

    fn receive_pixels(
        &self,
        image: &mut ImagePayload,
        opened: &mut Vec<LeftSegment>,
    ) -> Result<PixelBuffer, ImageError> {
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
                Ok(PixelBuffer::pooled(bytes, &self.pool))
            }
            PixelSource::SharedMemory { name } => {
                let name = name.clone();
                let mut segment = self.shared_memory.open(&name)?;
                if let Some(identity) = segment.identity()
                    && may_be_left_behind(&name)
                {
                    opened.push(LeftSegment { name: name.clone(), identity });
                }
                let copied = self.copy_segment(segment.as_mut(), image);
                self.record_segment(&name, segment.as_mut(), copied.as_deref().ok());
                let mut bytes = copied?;
                if image.dtype.order == ByteOrder::Big {
                    swap_to_little_endian(&mut bytes, image.dtype.element.size_bytes());
                }
                Ok(PixelBuffer::pooled(bytes, &self.pool))
            }
        }
    }

    fn record_segment(&self, name: &str, segment: &mut dyn Segment, copied: Option<&[u8]>) {
        let Some(recorder) = &self.recorder else { return };
        let mut recorder = recorder.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(bytes) = copied {
            recorder.segment(name, bytes);
        } else if let Ok(found_bytes @ 0..=MAX_RECORDED_SHORT_BYTES) = usize::try_from(segment.len_bytes()) {
            // Too short for its image; the replay has to find it as short. What cannot be read stays away.
            let mut bytes = Vec::with_capacity(found_bytes);
            if segment.read_into(found_bytes, &mut bytes).is_ok() {
                recorder.segment(name, &bytes);
            }
        }
    }

    /// Writes a message and its reply into the recording, if there is one. Returns why that ends here.
    pub(crate) fn record(&self, frame: &[u8], reply: Option<&[u8]>) -> Option<String> {
        self.recorder.as_ref()?.lock().unwrap_or_else(PoisonError::into_inner).exchange(frame, reply)
    }

    fn copy_segment(&self, segment: &mut dyn Segment, image: &ImagePayload) -> Result<Vec<u8>, ImageError> {
        let needed_bytes = image.size_bytes;
        let found_bytes = segment.len_bytes();
        if found_bytes < needed_bytes {
            let (shape, dtype) = (image.shape.clone(), image.dtype.to_string());
            return Err(ImageError::TooSmall { shape, dtype, needed_bytes, found_bytes });
        }
        let no_memory = ImageError::NoMemory { needed_bytes };
        let Ok(size_bytes) = usize::try_from(needed_bytes) else { return Err(no_memory) };
        let Some(mut bytes) = self.pool.take(size_bytes) else { return Err(no_memory) };
        if let Err(error) = segment.read_into(size_bytes, &mut bytes) {
            self.pool.give_back(bytes);
            return Err(error.into());
        }
        counters::add(&self.counters.copies, 1);
        counters::add(&self.counters.bytes_copied, needed_bytes);
        Ok(bytes)
    }
}

/// Pixels of an item, in bytes; 0 for shapes and points.
fn pixel_bytes(item: &Item) -> u64 {
    match &item.payload {
        Payload::Image(image) => image.size_bytes,
        Payload::Shapes(_) | Payload::Points(_) => 0,
    }
}

/// Which item of how many, which path, which segment, and what is wrong.
fn describe(index: usize, total: usize, item: &Item, error: &ImageError) -> String {
    let number = index + 1;
    let path = printable(&item.path);
    match &item.payload {
        Payload::Image(ImagePayload { source: PixelSource::SharedMemory { name }, .. }) => {
            format!("image {number} of {total}: {error}. Segment: \"{}\", path: \"{path}\"", printable(name))
        }
        _ => format!("image {number} of {total}: {error}. Path: \"{path}\""),
    }
}

/// Reverses the bytes of every element in place.
fn swap_to_little_endian(bytes: &mut [u8], element_bytes: usize) {
    // Constant sizes let the compiler use vector shuffles.
    match element_bytes {
        2 => bytes.as_chunks_mut::<2>().0.iter_mut().for_each(|element| element.reverse()),
        4 => bytes.as_chunks_mut::<4>().0.iter_mut().for_each(|element| element.reverse()),
        8 => bytes.as_chunks_mut::<8>().0.iter_mut().for_each(|element| element.reverse()),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;
    use crate::platform::FileIdentity;

    /// Shared memory that says it has 8 bytes in every segment and gives `found`.
    struct Shrinking {
        found: usize,
    }

    impl SharedMemory for Shrinking {
        fn open(&self, _name: &str) -> Result<Box<dyn Segment>, SegmentError> {
            Ok(Box::new(Shrinking { found: self.found }))
        }

        fn unlink_if_same(&self, _name: &str, _identity: FileIdentity) -> io::Result<bool> {
            Ok(false)
        }
    }

    impl Segment for Shrinking {
        fn len_bytes(&self) -> u64 {
            8
        }

        fn identity(&self) -> Option<FileIdentity> {
            Some(FileIdentity { device: 1, inode: 2 })
        }

        fn read_into(&mut self, size_bytes: usize, into: &mut Vec<u8>) -> Result<(), SegmentError> {
            into.extend(std::iter::repeat_n(7, size_bytes.min(self.found)));
            if self.found < size_bytes {
                let (needed_bytes, found_bytes) = (size_bytes as u64, self.found as u64);
                return Err(SegmentError::Shortened { needed_bytes, found_bytes });
            }
            Ok(())
        }
    }

    fn server(found: usize) -> BatchServer {
        let counters = Arc::new(Counters::default());
        let (sender, _) = crossbeam_channel::bounded(1);
        let outlet = AckOutlet {
            sender,
            counters: counters.clone(),
            shared_url: "ipc:///nowhere".into(),
            viewer_port: 5555,
            allow_remote: false,
        };
        BatchServer {
            limits: Limits::default(),
            data_socket: DataSocket::Rep,
            recorder: None,
            shared_memory: Box::new(Shrinking { found }),
            pool: BufferPool::new(1 << 20, counters.clone()),
            in_flight: InFlight::new(1 << 20, counters.clone(), Arc::default()),
            outlet: Arc::new(outlet),
            counters,
            sequence: AtomicU64::new(0),
        }
    }

    fn frame(shape: &str) -> String {
        format!(
            r#"{{"type": "batch", "display_config": {{}}, "images": [
                {{"path": "p", "metadata": {{"well": "A01"}}, "shape": {shape}, "dtype": "uint8", "shm_name": "napari_x"}}
            ]}}"#
        )
    }

    #[test]
    fn a_segment_that_shrinks_while_it_is_read_refuses_the_batch() {
        let server = server(3);
        let served = server.serve(frame("[2, 4]").as_bytes(), Instant::now());
        let refusal = served.outcome.unwrap_err();
        assert!(refusal.text.contains("3 of 8 bytes") && refusal.text.contains("napari_x"), "{}", refusal.text);
        assert_eq!(served.opened.len(), 1, "it must not stay behind");
        let counters = server.counters.snapshot();
        assert_eq!((counters.copies, counters.in_flight_bytes, counters.items_taken), (0, 0, 0));
    }

    #[test]
    fn only_segments_that_their_producer_may_leave_are_ours_to_remove() {
        for left in ["napari_c140374b", "napari_ea215f3ee02b", "napari_1_"] {
            assert!(may_be_left_behind(left), "{left}");
        }
        for kept in ["napari_140650965493840_1795359489745205747", "psm_1", "fiji_ea215f3ee02b"] {
            assert!(!may_be_left_behind(kept), "{kept}");
        }
    }

    #[test]
    fn pixels_in_flight_are_freed_item_by_item() {
        let server = server(8);
        let batch = server.serve(frame("[2, 4]").as_bytes(), Instant::now()).outcome.unwrap();
        assert_eq!(server.counters.snapshot().in_flight_bytes, 8);
        batch.items.into_iter().for_each(|item| item.ack.succeed());
        let counters = server.counters.snapshot();
        assert_eq!((counters.in_flight_bytes, counters.items_taken), (0, 1));
    }

    #[test]
    fn every_prefix_of_a_batch_is_refused_without_a_panic() {
        let server = server(8);
        let frame = frame("[2, 4]");
        for end in 0..frame.len() {
            assert!(server.serve(&frame.as_bytes()[..end], Instant::now()).outcome.is_err(), "{end}");
        }
    }

    #[test]
    fn bytes_are_swapped_by_element() {
        let mut bytes = [1, 2, 3, 4, 5, 6, 7, 8];
        swap_to_little_endian(&mut bytes, 2);
        assert_eq!(bytes, [2, 1, 4, 3, 6, 5, 8, 7]);
        swap_to_little_endian(&mut bytes, 1);
        assert_eq!(bytes, [2, 1, 4, 3, 6, 5, 8, 7]);
        swap_to_little_endian(&mut bytes, 8);
        assert_eq!(bytes, [7, 8, 5, 6, 3, 4, 1, 2]);
    }
}
