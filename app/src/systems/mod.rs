//! What happens in a frame, a file per capability.

pub mod control;
pub mod follow;
pub mod intake;
pub mod intensity;
pub mod latency;
pub mod memory;
pub mod pictures;
pub mod recall;
pub mod settle;
pub mod show;
pub mod status;

use bevy::prelude::{App, SystemSet};

use crate::host::wake::Wake;

/// Stages of a frame, in run order.
#[derive(SystemSet, Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum ViewerSystems {
    /// Take in what arrived: batches, control calls, statistics.
    Ingest,
    /// Carry out the user's commands and decide what is shown.
    Resolve,
    /// Answer what waited for the decision.
    Answer,
}

/// Starts the threads that the systems hand work to.
///
/// # Errors
/// When the system refuses a thread.
pub fn start_workers(app: &mut App, wake: &Wake) -> std::io::Result<()> {
    app.insert_resource(intake::StatisticsWorkers::start(wake)?)
        .insert_resource(intensity::IntensityWindows::start(wake)?)
        .insert_resource(recall::Recall::start(wake)?);
    Ok(())
}
