//! Pipelines over plates: what a step computes, what of it is written and streamed, and wells in parallel.
//!
//! [`Pipeline`] is declared in Rust or read from a TOML file; [`compile`] makes a [`CompiledPlan`] of it for a plate, which
//! [`run`] carries out.

mod compile;
pub mod config;
mod file;
mod filter;
pub mod functions;
mod pipeline;
mod report;
mod run;
pub mod synthetic;

pub use compile::{
    CheckpointPlan, CompileError, CompiledPlan, PlateSummary, ReadBackend, RequiredViewer, StepPlan, StreamPlan,
    compile,
};
pub use config::Backend;
pub use file::PipelineFileError;
pub use filter::{FilterError, WellFilter};
pub use pipeline::{Functions, Pipeline, Step, StepFunction, step_function};
pub use run::{
    CancelToken, Event, RunError, RunOptions, StepTime, Summary, ViewerOptions, ViewerSummary, WellOutcome,
    WellSummary, run,
};
