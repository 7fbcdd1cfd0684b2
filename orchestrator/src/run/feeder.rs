//! The thread of one viewer: starts it, streams to it, and closes it at the end unless it is persistent.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

use wellscope_client::{
    AtBound, BatchRequest, ImageItem, Losses, RoiItem, SaveError, StartedOrReused, StreamingBackend, StreamingConfig,
    Viewer, ViewerConfig,
};
use wellscope_plates::{AnyArray, with_array};
use wellscope_protocol::batch::{ComponentNames, ProducerIdentity, VoxelSpacing};

use super::shown::{Shown, State, ViewerOptions, items_of};
use super::well::Plane;
use super::{Event, RunOptions};
use crate::compile::RequiredViewer;

/// Bytes of images of one batch.
const BATCH_BYTES: usize = 64 << 20;
/// How long the end of a run waits for a viewer that takes nothing more.
const LAST_PATIENCE: Duration = Duration::from_secs(30);
/// How soon a viewer that goes away between two steps is noticed.
const LOOK_EVERY: Duration = Duration::from_millis(500);

pub(super) struct Feeder {
    pub viewer: RequiredViewer,
    pub options: ViewerOptions,
    pub names: ComponentNames,
    pub spacing: Option<VoxelSpacing>,
    pub state: Arc<State>,
    pub run: RunOptions,
}

impl Feeder {
    pub fn run(self, queue: &Receiver<Shown>) {
        let ready = self.ensure().and_then(|viewer| Ok((viewer, self.stream()?)));
        let (viewer, stream) = match ready {
            Ok(ready) => ready,
            Err(reason) => {
                self.tell_lost(0, &reason);
                queue.iter().for_each(|shown| self.drop_unsent(&shown, &reason));
                return;
            }
        };
        loop {
            match queue.recv_timeout(LOOK_EVERY) {
                Ok(shown) if self.is_abandoned() => self.drop_unsent(&shown, "the run was cancelled"),
                Ok(shown) => {
                    self.send(&stream, &shown);
                    self.state.queued_bytes.fetch_sub(shown.bytes, Ordering::AcqRel);
                }
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => break,
            }
            self.tell_losses(&stream.losses());
        }
        self.end(viewer, stream);
    }

    fn is_abandoned(&self) -> bool {
        self.state.abandoned.load(Ordering::Acquire)
    }

    fn drop_unsent(&self, shown: &Shown, reason: &str) {
        self.state.lose(items_of(shown.planes.iter().map(|(_, plane)| plane)), reason);
        self.state.queued_bytes.fetch_sub(shown.bytes, Ordering::AcqRel);
    }

    fn ensure(&self) -> Result<Viewer, String> {
        let config = ViewerConfig {
            persistent: self.viewer.persistent,
            program: self.options.program.clone(),
            headless: self.options.headless,
            arguments: self.options.arguments.clone(),
            ..ViewerConfig::new(self.viewer.endpoint())
        };
        let viewer = Viewer::ensure(&config).map_err(|error| error.to_string())?;
        let reused = *viewer.outcome() == StartedOrReused::Reused;
        if reused {
            // As OpenHCS at the start of a run; what is shown stays until it is sent anew.
            if let Err(error) = viewer.control().clear_state() {
                tracing::warn!(port = self.viewer.port, %error, "the viewer was not told that a new run begins");
            }
        }
        (self.run.on_event)(&Event::ViewerReady { port: self.viewer.port, reused, headless: viewer.is_headless() });
        Ok(viewer)
    }

    fn stream(&self) -> Result<StreamingBackend, String> {
        // This thread may wait: wells do not wait for it, and what piles up before it is bounded.
        let at_bound = AtBound::Wait { patience: LAST_PATIENCE };
        let config = StreamingConfig { at_bound, ..StreamingConfig::new(self.viewer.endpoint()) };
        StreamingBackend::connect(config).map_err(|error| error.to_string())
    }

    /// Sends planes as batches of a bounded size. What the stream takes and does not bring over, it counts itself.
    fn send(&self, stream: &StreamingBackend, shown: &Shown) {
        let mut rest = shown.planes.as_slice();
        while !rest.is_empty() {
            let (batch, later) = rest.split_at(batch_length(rest));
            match stream.save(self.request(shown, batch)) {
                Ok(_) | Err(SaveError::Full { .. }) => {}
                Err(error) => self.tell_lost(items_of(batch.iter().map(|(_, plane)| plane)), &error.to_string()),
            }
            rest = later;
        }
    }

    /// Waits for what is on its way while the viewer is there to take it, then closes a viewer that is not persistent.
    fn end(&self, mut viewer: Viewer, stream: StreamingBackend) {
        let deadline = Instant::now() + LAST_PATIENCE;
        while !self.is_abandoned() && stream.flush(LOOK_EVERY).batches > 0 {
            let is_there = stream.status().is_connected || viewer.is_alive();
            if !is_there || Instant::now() > deadline {
                break;
            }
        }
        let saved = stream.status().saved.items;
        let losses = stream.close(Duration::ZERO);
        self.tell_losses(&losses);
        let lost = losses.total().items;
        // What was refused at the bound was never saved.
        let shown = (saved + losses.not_taken.items).saturating_sub(lost);
        self.state.shown.store(shown, Ordering::Release);
        self.state.lost.fetch_add(lost, Ordering::AcqRel);
        let was_started = *viewer.outcome() != StartedOrReused::Reused;
        if self.viewer.persistent || !was_started {
            return;
        }
        if !self.is_abandoned() && viewer.is_alive() {
            // As OpenHCS: whoever looks has seen the last image before the window closes.
            if let Err(error) = viewer.control().settle(LAST_PATIENCE) {
                tracing::warn!(port = self.viewer.port, %error, "the viewer did not settle before it was closed");
            }
        }
        if let Err(error) = viewer.stop() {
            tracing::warn!("{error}");
        }
    }

    fn request<'a>(&self, shown: &Shown, planes: &'a [(String, Plane)]) -> BatchRequest<'a> {
        let mut request = BatchRequest::new()
            .display_config(shown.stream.config.display_config())
            .identity(shown.identity.clone())
            .names(self.names.clone())
            .domain(shown.stream.domain.clone());
        for (path, plane) in planes {
            request = request.item(self.image(path, plane));
            if !plane.rois.is_empty() {
                let identity = ProducerIdentity {
                    output_kind: "artifact".to_owned(),
                    output_key: "outlines".to_owned(),
                    projection_key: "outlines".to_owned(),
                    artifact_kind: Some("roi".to_owned()),
                    ..shown.identity.clone()
                };
                let rois =
                    RoiItem::shapes(path.clone(), plane.rois.clone()).address(plane.image.address()).identity(identity);
                request = request.item(rois);
            }
        }
        request
    }

    fn image<'a>(&self, path: &str, plane: &'a Plane) -> ImageItem<'a> {
        let pixels: &AnyArray = &plane.pixels;
        let mut image = with_array!(pixels, array => ImageItem::new(path, array.view())).address(plane.image.address());
        if pixels.ndim() == 3 {
            image = image.color();
        }
        if plane.labels {
            image = image.labels();
        }
        match &self.spacing {
            Some(spacing) => image.voxel_spacing(spacing.clone()),
            None => image,
        }
    }

    /// Says once that the viewer misses something.
    fn tell_losses(&self, losses: &Losses) {
        if !losses.is_empty() && !self.is_abandoned() {
            self.tell_lost(0, &losses.to_string());
        }
    }

    /// Counts; says so once.
    fn tell_lost(&self, items: u64, reason: &str) {
        if self.state.lose(items, reason) {
            tracing::warn!(port = self.viewer.port, reason, "the run goes on; the viewer misses images");
            (self.run.on_event)(&Event::ViewerLost { port: self.viewer.port, reason: reason.to_owned() });
        }
    }
}

/// How many of the next planes make one batch: at least one.
fn batch_length(planes: &[(String, Plane)]) -> usize {
    let mut bytes = 0;
    let fits = planes.iter().take_while(|(_, plane)| {
        bytes += plane.pixels.size_bytes();
        bytes <= BATCH_BYTES
    });
    fits.count().max(1)
}
