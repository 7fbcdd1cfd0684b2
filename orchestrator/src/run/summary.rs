//! What became of a run, for people and for scripts.

use std::path::PathBuf;
use std::time::Duration;

use serde::Serialize;

use crate::compile::CompiledPlan;

/// What became of a run.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct Summary {
    /// Name of the pipeline.
    pub pipeline: String,
    /// Folder of all output.
    pub output_folder: PathBuf,
    /// In the order of the plan. Wells that a cancelled run did not begin are `cancelled`, too.
    pub wells: Vec<WellSummary>,
    /// Time spent in each step, all wells together.
    pub steps: Vec<StepTime>,
    /// Viewers, as the plan numbers them; none when nothing was to be shown.
    pub viewers: Vec<ViewerSummary>,
    /// What went wrong beside wells and viewers, a sentence each.
    pub problems: Vec<String>,
    /// Whether it was told to stop.
    pub cancelled: bool,
    /// From the first reading to the last viewer.
    pub seconds: f64,
}

/// What became of a well.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct WellSummary {
    /// The well.
    pub well: String,
    /// What became of it.
    #[serde(flatten)]
    pub outcome: WellOutcome,
    /// Planes that steps made.
    pub planes: usize,
    /// Files, fields of OME-Zarr, tables and outlines that were written.
    pub written: usize,
    /// Seconds per step that was done.
    pub seconds: Vec<f64>,
}

/// How a well ended.
#[derive(Clone, PartialEq, Debug, Serialize)]
#[serde(tag = "outcome", rename_all = "lowercase")]
pub enum WellOutcome {
    /// All steps.
    Done,
    /// A step failed; the other wells went on.
    Failed {
        /// Position of the step, from 0; none outside of steps.
        step: Option<usize>,
        /// What was wrong.
        error: String,
    },
    /// The run was told to stop.
    Cancelled,
}

/// Time of one step.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct StepTime {
    /// Name of the step.
    pub name: String,
    /// Seconds, all wells together.
    pub seconds: f64,
}

/// What became of what was shown.
#[derive(Clone, PartialEq, Debug, Default, Serialize)]
pub struct ViewerSummary {
    /// Its data port.
    pub port: u16,
    /// Items (images, outlines) that it took.
    pub shown: u64,
    /// Items that it did not take: it was gone, refused them, or was too slow. They are in the output all the same.
    pub lost: u64,
    /// Why, the first time.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

impl WellSummary {
    /// A well whose thread ended by a bug.
    pub(super) fn panicked(well: String, reason: &str) -> Self {
        let error = format!("a bug ended its thread: {reason}");
        Self { well, outcome: WellOutcome::Failed { step: None, error }, planes: 0, written: 0, seconds: Vec::new() }
    }
}

impl Summary {
    pub(super) fn new(
        plan: &CompiledPlan,
        mut wells: Vec<WellSummary>,
        viewers: Vec<ViewerSummary>,
        problems: Vec<String>,
        cancelled: bool,
        took: Duration,
    ) -> Self {
        let not_begun = plan.wells.iter().skip(wells.len()).map(|well| WellSummary {
            well: well.clone(),
            outcome: WellOutcome::Cancelled,
            planes: 0,
            written: 0,
            seconds: Vec::new(),
        });
        wells.extend(not_begun.collect::<Vec<_>>());
        let seconds_of = |step: usize| wells.iter().filter_map(|well| well.seconds.get(step)).sum();
        let steps =
            plan.steps.iter().map(|step| StepTime { name: step.name.clone(), seconds: seconds_of(step.position) });
        Self {
            pipeline: plan.pipeline.clone(),
            output_folder: plan.output_folder.clone(),
            steps: steps.collect(),
            wells,
            viewers,
            problems,
            cancelled,
            seconds: took.as_secs_f64(),
        }
    }

    /// Wells with all steps done.
    pub fn wells_done(&self) -> usize {
        self.wells.iter().filter(|well| well.outcome == WellOutcome::Done).count()
    }

    /// Wells that failed.
    pub fn wells_failed(&self) -> impl Iterator<Item = &WellSummary> {
        self.wells.iter().filter(|well| matches!(well.outcome, WellOutcome::Failed { .. }))
    }
}
