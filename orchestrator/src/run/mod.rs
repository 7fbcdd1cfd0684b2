//! Carries out a plan: wells in parallel, outputs written, kept ones shown.
//!
//! A viewer can cost a run nothing but the copies of what it shows: viewers start while the first wells are read, each has a thread that
//! sends, and what it cannot take is counted, never waited for.

mod feeder;
mod output;
mod shown;
mod summary;
mod well;

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use tokio::sync::Semaphore;
use wellscope_plates::{Plate, WriteError};

use crate::compile::CompiledPlan;
use crate::pipeline::Pipeline;
use output::Outputs;
pub use shown::ViewerOptions;
use shown::Viewers;
pub use summary::{StepTime, Summary, ViewerSummary, WellOutcome, WellSummary};
use well::WellRun;

/// Stops a run when it is told to. Clones stop the same run.
#[derive(Clone, Debug, Default)]
pub struct CancelToken(Arc<AtomicBool>);

impl CancelToken {
    /// One that was not told to stop.
    pub fn new() -> Self {
        Self::default()
    }

    /// Ends the run: planes that are being computed are finished and left out, files that are begun are not kept.
    pub fn cancel(&self) {
        self.0.store(true, Ordering::Release);
    }

    /// Whether it was told to stop.
    pub fn is_cancelled(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }
}

/// What happens while a run goes on, for progress displays.
#[derive(Clone, PartialEq, Debug)]
pub enum Event {
    /// Work on a well began.
    WellStarted {
        /// The well.
        well: String,
    },
    /// A step of a well is computed and written.
    StepDone {
        /// The well.
        well: String,
        /// Position of the step, from 0.
        step: usize,
        /// Planes it made.
        planes: usize,
        /// How long it took.
        seconds: f64,
    },
    /// A well is done, failed or cancelled.
    WellEnded {
        /// What became of it.
        well: WellSummary,
    },
    /// A viewer serves.
    ViewerReady {
        /// Its data port.
        port: u16,
        /// Whether it ran already.
        reused: bool,
        /// Whether it has no window.
        headless: bool,
    },
    /// Something was not shown: the viewer cannot be had, is gone, is too slow, or refused it. Said once; the run goes on.
    ViewerLost {
        /// Its data port.
        port: u16,
        /// Why.
        reason: String,
    },
}

/// How a plan is carried out.
#[derive(Clone)]
pub struct RunOptions {
    /// Wells at once; 0: as many as the machine has cores.
    pub jobs: usize,
    /// How viewers are started; `None`: nothing is shown.
    pub viewers: Option<ViewerOptions>,
    /// Told what happens, from several threads.
    pub on_event: Arc<dyn Fn(&Event) + Send + Sync>,
    /// Stops the run.
    pub cancel: CancelToken,
}

impl Default for RunOptions {
    fn default() -> Self {
        Self {
            jobs: 0,
            viewers: Some(ViewerOptions::default()),
            on_event: Arc::new(|_| {}),
            cancel: CancelToken::new(),
        }
    }
}

/// Why a run could not begin. What fails later fails a well, and is in the [`Summary`].
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The plan is of another pipeline.
    #[error("the plan has {plan} steps, the pipeline {pipeline}; compile the pipeline that is to run")]
    OtherPipeline {
        /// Steps of the plan.
        plan: usize,
        /// Steps of the pipeline.
        pipeline: usize,
    },
    /// A place for output cannot be made.
    #[error("cannot make the folder for output: {cause}. Folder: {path:?}")]
    Folder {
        /// The folder.
        path: PathBuf,
        /// What the system says.
        cause: std::io::Error,
    },
    /// An OME-Zarr plate cannot be begun.
    #[error(transparent)]
    Zarr(#[from] WriteError),
    /// No threads to be had.
    #[error("the system gives no threads to run with: {cause}")]
    Threads {
        /// What the system says.
        cause: std::io::Error,
    },
}

/// Runs a plan. Returns when all wells are done, failed or cancelled, what was shown has reached its viewers or is counted as lost, and
/// viewers that are not persistent are closed.
///
/// # Errors
/// When it cannot begin; nothing was computed then.
pub fn run(
    pipeline: &Pipeline,
    plan: &CompiledPlan,
    plate: &Arc<Plate>,
    options: &RunOptions,
) -> Result<Summary, RunError> {
    if plan.steps.len() != pipeline.steps.len() {
        return Err(RunError::OtherPipeline { plan: plan.steps.len(), pipeline: pipeline.steps.len() });
    }
    let started = Instant::now();
    let outputs = Outputs::begin(plan, plate)?;
    let viewers = Viewers::start(plan, plate, options);
    let context = Arc::new(Context {
        pipeline: pipeline.clone(),
        plan: plan.clone(),
        plate: Arc::clone(plate),
        outputs,
        viewers,
        options: options.clone(),
    });
    let wells = run_wells(&context)?;
    let cancelled = options.cancel.is_cancelled();
    // Every task has ended, so this is the last holder; were it not, what is unfinished is not kept.
    let (finished, viewers) = match Arc::try_unwrap(context) {
        Ok(Context { outputs, viewers, .. }) => {
            let finished = if cancelled { outputs.abandon() } else { outputs.finish() };
            (finished, viewers.end(cancelled))
        }
        Err(_) => (
            vec!["the run ended while a well was still in work; its OME-Zarr outputs are not kept".to_owned()],
            Vec::new(),
        ),
    };
    Ok(Summary::new(plan, wells, viewers, finished, cancelled, started.elapsed()))
}

/// What all wells of a run share.
struct Context {
    pipeline: Pipeline,
    plan: CompiledPlan,
    plate: Arc<Plate>,
    outputs: Outputs,
    viewers: Viewers,
    options: RunOptions,
}

impl Context {
    fn tell(&self, event: &Event) {
        (self.options.on_event)(event);
    }
}

/// All wells, a bounded number at once, in the order of the plan.
fn run_wells(context: &Arc<Context>) -> Result<Vec<WellSummary>, RunError> {
    let cores = std::thread::available_parallelism().map_or(1, |cores| cores.get());
    let jobs = if context.options.jobs == 0 { cores } else { context.options.jobs };
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .max_blocking_threads(jobs + 1)
        .thread_name("wellscope-well")
        .build()
        .map_err(|cause| RunError::Threads { cause })?;
    runtime.block_on(async {
        let places = Arc::new(Semaphore::new(jobs));
        let mut tasks = Vec::new();
        for well in context.plan.wells.clone() {
            // Waits for a place, so that a cancelled run begins no further well.
            let Ok(place) = Arc::clone(&places).acquire_owned().await else { break };
            let context = Arc::clone(context);
            tasks.push((
                well.clone(),
                tokio::task::spawn_blocking(move || {
                    let summary = WellRun::new(&context, &well).run();
                    context.tell(&Event::WellEnded { well: summary.clone() });
                    drop(context);
                    drop(place);
                    summary
                }),
            ));
        }
        let mut wells = Vec::new();
        for (well, task) in tasks {
            wells.push(match task.await {
                Ok(summary) => summary,
                Err(error) => {
                    let summary = WellSummary::panicked(well, &error.to_string());
                    context.tell(&Event::WellEnded { well: summary.clone() });
                    summary
                }
            });
        }
        Ok(wells)
    })
}
