//! The options by which a command starts its viewer.

use std::ffi::OsString;

use clap::Args;
use wellscope_client::{ControlError, StartedOrReused, Viewer, ViewerConfig, ViewerEndpoint, ViewerError};

/// Options of commands that start a viewer when none is running.
#[derive(Args, Clone, Debug, Default)]
#[command(next_help_heading = "How the viewer is started")]
pub struct ViewerStart {
    /// Start the viewer without a window [default: when there is no display]
    #[arg(long)]
    pub headless: bool,

    /// Close a viewer that runs there and start a new one
    #[arg(long, conflicts_with = "no_start")]
    pub replace: bool,

    /// Use a viewer that runs; start none
    #[arg(long)]
    pub no_start: bool,

    /// Empty a viewer that runs before anything is sent
    #[arg(long)]
    pub clear: bool,

    /// One more option for a viewer that is started, as on its own command line; may be repeated
    #[arg(long = "viewer-option", value_name = "OPTION", allow_hyphen_values = true)]
    pub viewer_options: Vec<OsString>,
}

/// Why a command has no viewer.
#[derive(Debug, thiserror::Error)]
pub enum NoViewer {
    /// There is none, and none could be started.
    #[error(transparent)]
    Start(#[from] ViewerError),
    /// It runs and does not do as it was told.
    #[error("the viewer that runs could not be emptied: {0}")]
    Clear(#[from] ControlError),
}

impl ViewerStart {
    /// The viewer at `endpoint`, found or started, with a title for a new one's window.
    ///
    /// # Errors
    /// When there is none and none can be started.
    pub fn viewer(&self, endpoint: &ViewerEndpoint, title: &str, persistent: bool) -> Result<Viewer, NoViewer> {
        let viewer = if self.no_start {
            Viewer::connect(endpoint)?
        } else {
            Viewer::ensure(&ViewerConfig {
                persistent,
                replace: self.replace,
                headless: self.headless.then_some(true),
                title: Some(title.to_owned()),
                arguments: self.viewer_options.clone(),
                ..ViewerConfig::new(endpoint.clone())
            })?
        };
        if self.clear && *viewer.outcome() == StartedOrReused::Reused {
            viewer.control().clear_state()?;
        }
        Ok(viewer)
    }
}

/// "started", "reused" or "replaced".
pub fn outcome_name(outcome: &StartedOrReused) -> &'static str {
    match outcome {
        StartedOrReused::Started => "started",
        StartedOrReused::Replaced { .. } => "replaced",
        StartedOrReused::Reused => "reused",
    }
}
