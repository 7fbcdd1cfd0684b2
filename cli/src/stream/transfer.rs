//! Reads images with several threads and sends them in their order, while the viewer still starts.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Mutex, PoisonError};

use serde_json::json;
use wellscope_client::{
    BatchRequest, ImageItem, Producer, ProducerConfig, RequestItem, SendError, Viewer, ViewerEndpoint, manual_identity,
    openhcs_display_config,
};
use wellscope_plates::{AnyArray, Plate, PlateImage, with_array};
use wellscope_protocol::batch::{ComponentDomain, DisplayConfig, ProducerIdentity, VoxelSpacing};
use wellscope_protocol::component::{ComponentMode, ComponentValue};

use crate::interrupt::Interrupt;
use crate::progress::Progress;
use crate::viewer_options::NoViewer;

/// Threads that read; disks and decoders gain little from more.
const READERS: usize = 4;

/// Images of one batch, at most: the viewer takes a batch as a whole, and the overview is to fill evenly.
const BATCH_IMAGES: usize = 16;

/// Pixels of one batch, at most, unless a single image has more.
const BATCH_BYTES: usize = 32 << 20;

/// Images that were read and not sent yet, at most. Bounds memory when the viewer is slower than the disk.
const READ_AHEAD: usize = 32;

/// What is streamed where.
pub(super) struct Transfer<'a> {
    pub plate: &'a Plate,
    pub images: &'a [&'a PlateImage],
    pub layers: &'a [String],
    pub endpoint: &'a ViewerEndpoint,
}

/// How it went.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(super) struct Outcome {
    pub sent: usize,
    pub sent_bytes: u64,
    pub failed: usize,
    pub interrupted: bool,
    pub viewer_lost: Option<String>,
}

/// An image with its pixels, or why it has none.
type Loaded<'a> = (usize, &'a PlateImage, Result<AnyArray, String>);

impl<'a> Transfer<'a> {
    /// Streams all images to the viewer that `find_viewer` gives. Returns when all are sent, the viewer is gone, or
    /// someone interrupts.
    ///
    /// # Errors
    /// When there is no viewer.
    pub fn run(
        &self,
        progress: &Progress,
        interrupt: &Interrupt,
        find_viewer: impl FnOnce() -> Result<Viewer, NoViewer>,
    ) -> Result<(Outcome, Viewer), NoViewer> {
        let next = AtomicUsize::new(0);
        let (sender, receiver) = sync_channel(READ_AHEAD);
        std::thread::scope(|scope| {
            for _ in 0..READERS {
                let sender = sender.clone();
                scope.spawn(|| self.read_images(&next, sender, interrupt));
            }
            drop(sender);
            // Dropping the receiver ends the readers.
            let viewer = find_viewer()?;
            let outcome = Sending::new(self, progress).run(receiver, interrupt);
            Ok((outcome, viewer))
        })
    }

    fn read_images(&self, next: &AtomicUsize, sender: SyncSender<Loaded<'a>>, interrupt: &Interrupt) {
        while !interrupt.is_asked() {
            let index = next.fetch_add(1, Ordering::Relaxed);
            let Some(&image) = self.images.get(index) else { return };
            let pixels = self.plate.read(image).map_err(|error| error.to_string());
            if sender.send((index, image, pixels)).is_err() {
                return;
            }
        }
    }

    fn display_config(&self) -> DisplayConfig {
        let mut config = openhcs_display_config();
        for component in self.layers {
            config.component_modes.insert(component.clone(), ComponentMode::Layer);
        }
        config
    }

    /// Every value that will come, so that sliders have their full length from the first image on.
    fn domain(&self) -> ComponentDomain {
        let mut domain = ComponentDomain::new();
        for &component in &wellscope_plates::COMPONENTS {
            let mut values: Vec<ComponentValue> = Vec::new();
            let mut seen = std::collections::HashSet::new();
            for value in self.images.iter().filter_map(|image| image.value(component)) {
                if seen.insert(value.clone()) {
                    values.push(value);
                }
            }
            domain.insert(component.to_owned(), values);
        }
        domain
    }

    fn voxel_spacing(&self) -> Option<VoxelSpacing> {
        let size = self.plate.voxel_size_um;
        let (y, x) = (size.y?, size.x?);
        // A plate of single planes has no distance between them; the wire wants a number.
        Some(VoxelSpacing { values_zyx: [size.z.unwrap_or(1.0), y, x], unit: "micrometers".to_owned() })
    }
}

/// The sending half: gathers images into batches.
struct Sending<'a> {
    transfer: &'a Transfer<'a>,
    progress: &'a Progress,
    display_config: DisplayConfig,
    domain: ComponentDomain,
    outcome: Mutex<Outcome>,
}

impl<'a> Sending<'a> {
    fn new(transfer: &'a Transfer<'a>, progress: &'a Progress) -> Self {
        Self {
            transfer,
            progress,
            display_config: transfer.display_config(),
            domain: transfer.domain(),
            outcome: Mutex::default(),
        }
    }

    fn run(self, receiver: Receiver<Loaded<'_>>, interrupt: &Interrupt) -> Outcome {
        let mut producer = match Producer::connect(ProducerConfig::new(self.transfer.endpoint.clone())) {
            Ok(producer) => producer,
            Err(error) => {
                return Outcome { viewer_lost: Some(error.to_string()), ..Outcome::default() };
            }
        };
        let mut pending: Vec<Loaded<'_>> = Vec::new();
        let mut bytes = 0;
        loop {
            // What was read meanwhile goes along; nothing is waited for once something can be sent.
            let loaded = if pending.is_empty() { receiver.recv().ok() } else { receiver.try_recv().ok() };
            let full = pending.len() >= BATCH_IMAGES || bytes >= BATCH_BYTES;
            match loaded {
                Some(loaded) => {
                    bytes += loaded.2.as_ref().map_or(0, AnyArray::size_bytes);
                    pending.push(loaded);
                    if !full {
                        continue;
                    }
                }
                None if pending.is_empty() => break,
                None => {}
            }
            pending.sort_by_key(|(index, ..)| *index);
            let alive = self.send(&mut producer, std::mem::take(&mut pending));
            bytes = 0;
            if !alive || interrupt.is_asked() {
                break;
            }
        }
        let mut outcome = self.outcome.into_inner().unwrap_or_else(PoisonError::into_inner);
        outcome.interrupted = interrupt.is_asked() && outcome.sent + outcome.failed < self.transfer.images.len();
        outcome
    }

    /// Sends what could be read; false when the viewer is gone.
    fn send(&self, producer: &mut Producer, loaded: Vec<Loaded<'_>>) -> bool {
        let mut images = Vec::new();
        for (_, image, pixels) in loaded {
            match pixels {
                Ok(pixels) => images.push((image, pixels)),
                Err(reason) => self.fail(image, &reason),
            }
        }
        if images.is_empty() {
            return true;
        }
        match producer.send_batch(self.request(&images)) {
            Ok(()) => {
                let mut outcome = self.outcome();
                outcome.sent += images.len();
                outcome.sent_bytes += images.iter().map(|(_, pixels)| pixels.size_bytes() as u64).sum::<u64>();
                drop(outcome);
                self.progress.advance(images.len() as u64);
                true
            }
            Err(error) if is_gone(&error) => {
                self.outcome().viewer_lost = Some(error.to_string());
                false
            }
            // One image that the viewer cannot take must not cost the others of its batch.
            Err(error) if images.len() == 1 => {
                self.fail(images[0].0, &error.to_string());
                true
            }
            Err(_) => images.into_iter().all(|(image, pixels)| self.send(producer, vec![(0, image, Ok(pixels))])),
        }
    }

    fn request<'b>(&self, images: &'b [(&PlateImage, AnyArray)]) -> BatchRequest<'b> {
        let request = BatchRequest::new()
            .display_config(self.display_config.clone())
            .identity(self.identity())
            .names(self.transfer.plate.names.clone())
            .domain(self.domain.clone());
        images.iter().fold(request, |request, (image, pixels)| request.item(self.item(image, pixels)))
    }

    /// Images of a plate make a layer of their own, called as the plate is: two plates may be side by side in one viewer.
    fn identity(&self) -> ProducerIdentity {
        let name = self.transfer.plate.name.clone();
        ProducerIdentity { output_key: name.clone(), projection_key: name, ..manual_identity() }
    }

    fn item<'b>(&self, image: &PlateImage, pixels: &'b AnyArray) -> RequestItem<'b> {
        // Where the pixels lie, made unique: several planes may lie in one file.
        let path = self.transfer.plate.path_of(image).join(image.file_name()).to_string_lossy().into_owned();
        let mut item = with_array!(pixels, array => ImageItem::new(path, array.view()));
        item = item.address(image.address()).image_id(None);
        if pixels.ndim() == 3 {
            item = item.color();
        }
        if let Some(spacing) = self.transfer.voxel_spacing() {
            item = item.voxel_spacing(spacing);
        }
        item.into()
    }

    fn fail(&self, image: &PlateImage, reason: &str) {
        self.outcome().failed += 1;
        self.progress.tell(
            &format!("{}: {reason}", image.file_name()),
            &json!({"event": "failed", "image": image.file_name(), "reason": reason}),
        );
        self.progress.advance(1);
    }

    fn outcome(&self) -> std::sync::MutexGuard<'_, Outcome> {
        self.outcome.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether the next batch has no better chance.
fn is_gone(error: &SendError) -> bool {
    matches!(error, SendError::Request(_) | SendError::BadReply { .. } | SendError::Segment(_))
}
