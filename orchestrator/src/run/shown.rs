//! Viewers of a run: started while the first wells are read, fed by a thread each, never waited for by a well.
//!
//! What is shown is shared with the pipeline, not copied, until its thread sends it. A viewer that is slower than the pipeline makes a
//! queue of a bounded size; what does not fit is counted as lost for the viewer. Nothing is lost of the output: only what is written is shown.

use std::ffi::OsString;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use wellscope_client::{
    BatchRequest, ImageItem, Producer, ProducerConfig, RoiItem, SendError, StartedOrReused, Viewer, ViewerConfig,
    step_identity,
};
use wellscope_plates::{AnyArray, Plate, with_array};
use wellscope_protocol::batch::{ComponentNames, ProducerIdentity, VoxelSpacing};

use super::summary::ViewerSummary;
use super::well::Plane;
use super::{Context, Event, RunOptions};
use crate::compile::{CompiledPlan, RequiredViewer, StreamPlan};

/// How viewers are started.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct ViewerOptions {
    /// The viewer's program; without, as [`ViewerConfig::program`].
    pub program: Option<PathBuf>,
    /// Without a window; without a word: when there is no display.
    pub headless: Option<bool>,
    /// Further options of its command line.
    pub arguments: Vec<OsString>,
}

/// Bytes of images that wait for one viewer.
const QUEUE_BYTES: u64 = 2 << 30;
/// Bytes of images of one batch.
const BATCH_BYTES: usize = 64 << 20;
/// How long the end of a run waits for a viewer that takes nothing more.
const LAST_PATIENCE: Duration = Duration::from_secs(30);

/// The viewers of a run, as its plan numbers them.
pub(super) struct Viewers {
    senders: Vec<ViewerThread>,
}

struct ViewerThread {
    port: u16,
    queue: Sender<Shown>,
    state: Arc<State>,
    thread: Option<JoinHandle<()>>,
}

/// What a thread and the wells know of a viewer.
#[derive(Default)]
struct State {
    queued_bytes: AtomicU64,
    shown: AtomicU64,
    lost: AtomicU64,
    reason: Mutex<Option<String>>,
    /// The run is over and was cancelled: what waits is not sent.
    abandoned: std::sync::atomic::AtomicBool,
}

impl State {
    /// Counts items as lost; true the first time.
    fn lose(&self, items: u64, reason: &str) -> bool {
        self.lost.fetch_add(items, Ordering::AcqRel);
        let mut first = self.reason.lock().unwrap_or_else(PoisonError::into_inner);
        let is_news = first.is_none();
        first.get_or_insert_with(|| reason.to_owned());
        is_news
    }
}

/// Planes of one step and well on their way to a viewer.
struct Shown {
    stream: StreamPlan,
    identity: ProducerIdentity,
    planes: Vec<(String, Plane)>,
    bytes: u64,
}

impl Viewers {
    /// Starts a thread per viewer, which starts the viewer.
    pub fn start(plan: &CompiledPlan, plate: &Arc<Plate>, options: &RunOptions) -> Self {
        let Some(viewers) = &options.viewers else { return Self { senders: Vec::new() } };
        let spawn = |viewer: &RequiredViewer| {
            let (queue, queued) = channel();
            let state = Arc::new(State::default());
            let feeder = Feeder {
                viewer: viewer.clone(),
                options: viewers.clone(),
                names: plate.names.clone(),
                spacing: spacing_of(plate),
                state: Arc::clone(&state),
                run: options.clone(),
            };
            let name = format!("wellscope-{}", viewer.port);
            let thread = std::thread::Builder::new().name(name).spawn(move || feeder.run(&queued));
            if let Err(error) = &thread {
                state.lose(0, &format!("no thread to send with: {error}"));
            }
            ViewerThread { port: viewer.port, queue, state, thread: thread.ok() }
        };
        Self { senders: plan.required_viewers.iter().map(spawn).collect() }
    }

    /// Queues what of a step of a well is to be shown. Never waits.
    pub fn show(&self, context: &Context, step: usize, well: &str, planes: &[Plane]) {
        let Some(plan) = context.plan.steps.get(step) else { return };
        let Some(stream) = plan.stream.as_ref().filter(|stream| stream.shows(well)) else { return };
        let Some(viewer) = self.senders.get(stream.viewer) else { return };
        let bytes: u64 = planes.iter().map(|plane| plane.pixels.size_bytes() as u64).sum();
        let items = items_of(planes);
        let waiting = viewer.state.queued_bytes.fetch_add(bytes, Ordering::AcqRel);
        if waiting > 0 && waiting + bytes > QUEUE_BYTES {
            viewer.state.queued_bytes.fetch_sub(bytes, Ordering::AcqRel);
            let reason = format!("{} MiB of images were waiting for it already", waiting >> 20);
            if viewer.state.lose(items, &reason) {
                context.tell(&Event::ViewerLost { port: viewer.port, reason });
            }
            return;
        }
        let path = |plane: &Plane| context.outputs.path_of(step, plane).to_string_lossy().into_owned();
        let shown = Shown {
            stream: stream.clone(),
            identity: step_identity(plan.name.clone(), i64::try_from(step).unwrap_or(i64::MAX)),
            planes: planes.iter().map(|plane| (path(plane), plane.clone())).collect(),
            bytes,
        };
        if viewer.queue.send(shown).is_err() {
            viewer.state.lose(items, "its thread has ended");
        }
    }

    /// Waits until all is sent or counted as lost, and viewers that are not persistent are closed. After a cancelled run what waits is
    /// not sent.
    pub fn end(self, cancelled: bool) -> Vec<ViewerSummary> {
        let mut summaries = Vec::new();
        for ViewerThread { port, queue, state, thread } in self.senders {
            state.abandoned.store(cancelled, Ordering::Release);
            drop(queue);
            if thread.is_some_and(|thread| thread.join().is_err()) {
                state.lose(0, "a bug ended its thread");
            }
            let reason = state.reason.lock().unwrap_or_else(PoisonError::into_inner).clone();
            let (shown, lost) = (state.shown.load(Ordering::Acquire), state.lost.load(Ordering::Acquire));
            summaries.push(ViewerSummary { port, shown, lost, reason });
        }
        summaries
    }
}

/// The thread of one viewer.
struct Feeder {
    viewer: RequiredViewer,
    options: ViewerOptions,
    names: ComponentNames,
    spacing: Option<VoxelSpacing>,
    state: Arc<State>,
    run: RunOptions,
}

impl Feeder {
    fn run(self, queue: &Receiver<Shown>) {
        let viewer = match self.ensure() {
            Ok(viewer) => Some(viewer),
            Err(reason) => {
                self.tell_lost(0, reason);
                None
            }
        };
        let producer =
            ProducerConfig { connect_timeout: Duration::from_secs(2), ..ProducerConfig::new(self.viewer.endpoint()) };
        let mut producer = match Producer::connect(producer) {
            Ok(producer) => Some(producer),
            Err(error) => {
                self.tell_lost(0, error.to_string());
                None
            }
        };
        let mut gone_since: Option<Instant> = None;
        while let Ok(shown) = queue.recv() {
            let bytes = shown.bytes;
            // A viewer that did not answer is tried again after a while: it may have been closed and started anew.
            let is_gone = gone_since.is_some_and(|since| since.elapsed() < Duration::from_secs(2));
            match producer
                .as_mut()
                .filter(|_| viewer.is_some() && !is_gone && !self.state.abandoned.load(Ordering::Acquire))
            {
                Some(producer) => gone_since = self.send(producer, &shown).then(Instant::now),
                None => {
                    self.state.lose(items_of(shown.planes.iter().map(|(_, plane)| plane)), "the run was cancelled");
                }
            }
            drop(shown);
            self.state.queued_bytes.fetch_sub(bytes, Ordering::AcqRel);
        }
        let Some(mut viewer) = viewer else { return };
        let was_started = *viewer.outcome() != StartedOrReused::Reused;
        if !self.viewer.persistent && was_started {
            if !self.state.abandoned.load(Ordering::Acquire) && gone_since.is_none() {
                // As OpenHCS: whoever looks has seen the last image before the window closes.
                if let Err(error) = viewer.control().settle(LAST_PATIENCE) {
                    tracing::warn!(port = self.viewer.port, %error, "the viewer did not settle before it was closed");
                }
            }
            if let Err(error) = viewer.stop() {
                tracing::warn!("{error}");
            }
        }
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

    /// Sends planes as batches of a bounded size. True when the viewer is gone.
    fn send(&self, producer: &mut Producer, shown: &Shown) -> bool {
        let mut rest = shown.planes.as_slice();
        while !rest.is_empty() {
            let (batch, later) = rest.split_at(batch_length(rest));
            let items = items_of(batch.iter().map(|(_, plane)| plane));
            match producer.send_batch(self.request(shown, batch)) {
                Ok(()) => {
                    self.state.shown.fetch_add(items, Ordering::AcqRel);
                }
                Err(error @ SendError::Request(_)) => {
                    self.tell_lost(items + items_of(later.iter().map(|(_, plane)| plane)), error.to_string());
                    return true;
                }
                Err(error) => self.tell_lost(items, error.to_string()),
            }
            rest = later;
        }
        false
    }

    fn request<'a>(&self, shown: &Shown, planes: &'a [(String, Plane)]) -> BatchRequest<'a> {
        let mut request = BatchRequest::new()
            .display_config(shown.stream.config.display_config())
            .identity(shown.identity.clone())
            .names(self.names.clone())
            .domain(shown.stream.domain.clone());
        for (path, plane) in planes {
            let pixels: &AnyArray = &plane.pixels;
            let mut image = with_array!(pixels, array => ImageItem::new(path.clone(), array.view()));
            image = image.address(plane.image.address());
            if pixels.ndim() == 3 {
                image = image.color();
            }
            if plane.labels {
                image = image.labels();
            }
            if let Some(spacing) = &self.spacing {
                image = image.voxel_spacing(spacing.clone());
            }
            request = request.item(image);
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

    /// Counts; says so once.
    fn tell_lost(&self, items: u64, reason: String) {
        if self.state.lose(items, &reason) {
            tracing::warn!(port = self.viewer.port, reason, "the run goes on without this viewer");
            (self.run.on_event)(&Event::ViewerLost { port: self.viewer.port, reason });
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

/// Images and lists of outlines.
fn items_of<'a>(planes: impl IntoIterator<Item = &'a Plane>) -> u64 {
    planes.into_iter().map(|plane| 1 + u64::from(!plane.rois.is_empty())).sum()
}

fn spacing_of(plate: &Plate) -> Option<VoxelSpacing> {
    let size = plate.voxel_size_um;
    let (y, x) = size.y.zip(size.x)?;
    // Planes lie at their slider's values; a distance that is not known must not hide the pixel size.
    Some(VoxelSpacing { values_zyx: [size.z.unwrap_or(1.0), y, x], unit: "micrometers".to_owned() })
}
