//! Intake: from the receiver's channel into the stacks, and statistics off the render thread.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use bevy::prelude::*;
use crossbeam_channel::{Receiver, Sender, TrySendError, bounded};
use wellscope_receiver::{ControlCall, Delivery};

use crate::host::background::give_way;
use crate::host::wake::Wake;
use crate::render::RenderReport;
use crate::signals::ExitRequested;
use crate::statistics::{Measurement, measure};
use crate::systems::ViewerSystems;
use crate::ui::problems::{Problems, Severity};
use crate::viewer::Viewer;
use crate::viewer::ingest::StatisticsJob;
use crate::viewer::layer::{Coordinate, LayerId};
use crate::viewer::preview::raster_of;

/// Time that intake may take from one frame. What is left over waits in the receiver's channel for the next frame, so a
/// burst shows progress instead of freezing the window.
const FRAME_SHARE: Duration = Duration::from_millis(8);

/// Planes that the view does not show change a number in a panel when they are measured; frames for that are this far apart, so
/// that they do not take the time of those that show something.
const UNSEEN_RESULTS_INTERVAL: Duration = Duration::from_millis(50);

/// Takes deliveries into the viewer.
pub struct IntakePlugin;

impl Plugin for IntakePlugin {
    fn build(&self, app: &mut App) {
        app.init_resource::<PendingCalls>().init_resource::<Taken>().add_systems(
            Update,
            (take_statistics, take_deliveries, feed_statistics).chain().in_set(ViewerSystems::Ingest),
        );
    }
}

/// The receiver's end of the wire.
#[derive(Resource)]
pub struct Inbox(pub Receiver<Delivery>);

/// Deliveries taken from the inbox since start.
#[derive(Resource, Default)]
pub struct Taken(pub u64);

/// Control calls that were taken from the channel, in order, and not answered yet.
#[derive(Resource, Default)]
pub struct PendingCalls(pub Vec<ControlCall>);

/// Where a plane lies.
type Place = (LayerId, Coordinate);

/// Something to do, and whether the user sees the result at once.
struct Urgent<T> {
    is_urgent: bool,
    job: T,
}

/// Threads that measure planes. Both channels are bounded; jobs beyond that wait in a list, which holds references to
/// pixels that the stacks hold anyway.
#[derive(Resource)]
pub struct StatisticsWorkers {
    jobs: Sender<Urgent<StatisticsJob>>,
    /// A frame will come for what is done already.
    is_frame_due: Arc<AtomicBool>,
    done: Receiver<(StatisticsJob, Result<Measurement, String>)>,
    /// By place: a plane that is replaced before its turn is never measured, and its pixels are free at once.
    backlog: HashMap<Place, StatisticsJob>,
    /// Places in order of arrival, since a channel's limits come from its first image; some may have had their turn already.
    order: VecDeque<Place>,
    in_work: usize,
}

impl StatisticsWorkers {
    /// Starts the threads. They end when this is dropped.
    ///
    /// # Errors
    /// When the system refuses a thread.
    pub fn start(wake: &Wake) -> std::io::Result<Self> {
        let (jobs, work) = bounded::<Urgent<StatisticsJob>>(64);
        let is_frame_due = Arc::new(AtomicBool::new(false));
        let (finished, done) = bounded(1024);
        // One core is left to the receiver and the renderer.
        let threads = std::thread::available_parallelism().map_or(1, |cores| (cores.get() / 2).clamp(1, 4));
        for number in 0..threads {
            let (work, finished, wake) = (work.clone(), finished.clone(), wake.clone());
            let is_frame_due = Arc::clone(&is_frame_due);
            std::thread::Builder::new().name(format!("statistics-{number}")).spawn(move || {
                give_way();
                while let Ok(Urgent { is_urgent, job }) = work.recv() {
                    let plane = &job.plane;
                    let measured = plane
                        .pixels
                        .read()
                        .map(|bytes| measure(raster_of(plane, &bytes)))
                        .map_err(|error| format!("An image cannot be measured, its pixels are lost: {error}"));
                    if finished.send((job, measured)).is_err() {
                        break;
                    }
                    if is_urgent {
                        wake.wake();
                    } else if !is_frame_due.swap(true, Ordering::AcqRel) {
                        wake.wake_after(UNSEEN_RESULTS_INTERVAL);
                    }
                }
            })?;
        }
        Ok(Self { jobs, is_frame_due, done, backlog: HashMap::new(), order: VecDeque::new(), in_work: 0 })
    }

    fn add(&mut self, job: StatisticsJob) {
        let place = (job.layer, job.coordinate.clone());
        if self.backlog.insert(place.clone(), job).is_none() {
            self.order.push_back(place);
        }
    }

    /// Hands a job to the threads, or keeps it. `false`: they have enough.
    fn send(&mut self, job: StatisticsJob, is_urgent: bool) -> bool {
        match self.jobs.try_send(Urgent { is_urgent, job }) {
            Ok(()) => {
                self.in_work += 1;
                true
            }
            Err(TrySendError::Full(Urgent { job, .. }) | TrySendError::Disconnected(Urgent { job, .. })) => {
                let place = (job.layer, job.coordinate.clone());
                self.backlog.insert(place.clone(), job);
                self.order.push_front(place);
                false
            }
        }
    }

    /// Whether planes wait for their statistics.
    pub fn is_busy(&self) -> bool {
        self.waiting() > 0
    }

    /// How many planes wait for their statistics.
    pub fn waiting(&self) -> u64 {
        (self.in_work + self.backlog.len()) as u64
    }
}

fn take_statistics(
    mut viewer: ResMut<Viewer>,
    mut workers: ResMut<StatisticsWorkers>,
    mut problems: ResMut<Problems>,
    report: Res<RenderReport>,
) {
    workers.is_frame_due.store(false, Ordering::Release);
    while let Ok((job, measured)) = workers.done.try_recv() {
        workers.in_work -= 1;
        match measured {
            Ok(measured) => viewer.take_statistics(&job, measured),
            Err(sentence) => report.add_problem(sentence),
        }
    }
    for sentence in report.take_problems() {
        tracing::error!("{sentence}");
        problems.report(Severity::Error, sentence);
    }
}

fn take_deliveries(
    inbox: Res<Inbox>,
    mut taken: ResMut<Taken>,
    mut viewer: ResMut<Viewer>,
    mut workers: ResMut<StatisticsWorkers>,
    mut calls: ResMut<PendingCalls>,
    mut problems: ResMut<Problems>,
    exit: Res<ExitRequested>,
    wake: Res<Wake>,
) {
    let started = Instant::now();
    while let Ok(delivery) = inbox.0.try_recv() {
        taken.0 += 1;
        match delivery {
            Delivery::Batch(batch) => {
                let ingested = viewer.take_batch(batch);
                ingested.jobs.into_iter().for_each(|job| workers.add(job));
                for sentence in ingested.problems {
                    tracing::error!("{sentence}");
                    problems.report(Severity::Error, sentence);
                }
            }
            // Answered after this frame's decisions, so that the answer tells what is then shown.
            Delivery::Call(call) => calls.0.push(call),
            Delivery::Clear => viewer.clear_state(),
            Delivery::Problem(problem) => {
                let severity = match problem.severity {
                    wellscope_receiver::Severity::Warning => Severity::Warning,
                    wellscope_receiver::Severity::Error => Severity::Error,
                };
                problems.report(severity, problem.text);
            }
            Delivery::ShutdownRequested => exit.request(),
        }
        if started.elapsed() > FRAME_SHARE {
            wake.wake();
            break;
        }
    }
}

/// Hands out as many jobs as the workers' channel takes; planes that the view shows go first.
fn feed_statistics(viewer: Res<Viewer>, mut workers: ResMut<StatisticsWorkers>) {
    if workers.backlog.is_empty() {
        return;
    }
    let shown: Vec<_> = viewer
        .layers
        .values()
        .filter(|layer| layer.visible)
        .filter_map(|layer| Some((layer.id, layer.coordinate_at(&viewer.axes)?)))
        .collect();
    for place in shown {
        if let Some(job) = workers.backlog.remove(&place)
            && !workers.send(job, true)
        {
            return;
        }
    }
    while let Some(place) = workers.order.pop_front() {
        if let Some(job) = workers.backlog.remove(&place)
            && !workers.send(job, false)
        {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::render::scene::{PlaneId, PlanePixels, PlaneSource};
    use wellscope_protocol::dtype::ElementType;
    use wellscope_store::Pixels;

    #[test]
    fn a_plane_that_is_replaced_before_its_turn_is_not_measured_and_its_pixels_are_free() {
        let (wake, _woken) = Wake::with_channel();
        let mut workers = StatisticsWorkers::start(&wake).unwrap();
        let mut pixels = Vec::new();
        for id in 1..=100 {
            let block = Pixels::from_vec(vec![0; 16]);
            let plane = PlaneSource {
                id: PlaneId(id),
                width: 4,
                height: 4,
                samples: 1,
                element: ElementType::U8,
                pixels: PlanePixels::new(block.clone(), 0..16),
                labels: false,
                timing: None,
            };
            pixels.push(block);
            workers.add(StatisticsJob { layer: LayerId(1), coordinate: Coordinate::default(), plane });
        }
        assert_eq!((workers.waiting(), workers.order.len()), (1, 1));
        assert_eq!(pixels.iter().filter(|block| !block.is_last_reference()).count(), 1, "all but the last are free");
    }
}
