//! Viewers of a run: started while the first wells are read, fed by a thread each, never waited for by a well.
//!
//! What is shown is shared with the pipeline, not copied, until its thread ([`Feeder`]) sends it. A viewer that is slower than the pipeline makes a
//! queue of a bounded size; what does not fit is counted as lost for the viewer. Nothing is lost of the output: only what is written is shown.

use std::ffi::OsString;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use wellscope_client::step_identity;
use wellscope_plates::Plate;
use wellscope_protocol::batch::{ProducerIdentity, VoxelSpacing};

use super::feeder::Feeder;
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
pub(super) struct State {
    pub queued_bytes: AtomicU64,
    pub shown: AtomicU64,
    pub lost: AtomicU64,
    pub reason: Mutex<Option<String>>,
    /// The run is over and was cancelled: what waits is not sent.
    pub abandoned: AtomicBool,
}

impl State {
    /// Counts items as lost; true the first time.
    pub fn lose(&self, items: u64, reason: &str) -> bool {
        self.lost.fetch_add(items, Ordering::AcqRel);
        let mut first = self.reason.lock().unwrap_or_else(PoisonError::into_inner);
        let is_news = first.is_none();
        first.get_or_insert_with(|| reason.to_owned());
        is_news
    }
}

/// Planes of one step and well on their way to a viewer.
pub(super) struct Shown {
    pub stream: StreamPlan,
    pub identity: ProducerIdentity,
    pub planes: Vec<(String, Plane)>,
    pub bytes: u64,
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
            // Without the scope, the same well of another plate would take its place in the viewer.
            identity: ProducerIdentity {
                step_scope_id: Some(context.plan.plate_root.to_string_lossy().into_owned()),
                ..step_identity(plan.name.clone(), i64::try_from(step).unwrap_or(i64::MAX))
            },
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

/// Images and lists of outlines.
pub(super) fn items_of<'a>(planes: impl IntoIterator<Item = &'a Plane>) -> u64 {
    planes.into_iter().map(|plane| 1 + u64::from(!plane.rois.is_empty())).sum()
}

fn spacing_of(plate: &Plate) -> Option<VoxelSpacing> {
    let size = plate.voxel_size_um;
    let (y, x) = size.y.zip(size.x)?;
    // Planes lie at their slider's values; a distance that is not known must not hide the pixel size.
    Some(VoxelSpacing { values_zyx: [size.z.unwrap_or(1.0), y, x], unit: "micrometers".to_owned() })
}
