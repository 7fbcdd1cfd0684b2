//! What can go wrong with a viewer's life.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use wellscope_protocol::endpoint::EndpointError;

use super::exit::Ended;

/// Why there is no viewer to stream to. Pipelines go on without one.
#[derive(Debug, thiserror::Error)]
pub enum ViewerError {
    /// The address cannot be used.
    #[error(transparent)]
    Endpoint(#[from] EndpointError),
    /// None runs, and none was to be started.
    #[error("no viewer runs at {url}; start one with: wellscope --port PORT")]
    Absent {
        /// Its control address.
        url: String,
    },
    /// None runs on another machine, where we cannot start one.
    #[error(
        "no viewer that would do runs on {host}, and it cannot be started from here; start it there with: wellscope --transport tcp --bind ADDRESS --port {port}"
    )]
    ElsewhereAndAbsent {
        /// The other machine.
        host: String,
        /// Data port.
        port: u16,
    },
    /// Something else has the port. It is left alone.
    #[error("port {port} is held by {what}; end it, or choose another port for the viewer")]
    NotAViewer {
        /// Data port.
        port: u16,
        /// What is known of it.
        what: String,
    },
    /// The one that runs had to go first.
    #[error(transparent)]
    CannotReplace(#[from] StopError),
    /// Others are starting a viewer at this address, and came to no end.
    #[error("the start lock is held by another process for {waited:?}, which starts a viewer there. Lock: {}", path.display())]
    LockHeld {
        /// The lock file.
        path: PathBuf,
        /// How long we waited.
        waited: Duration,
    },
    /// The lock file cannot be made.
    #[error("cannot take the start lock: {source}. Lock: {}", path.display())]
    Lock {
        /// The lock file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// There is no program to start.
    #[error(
        "no viewer program was found: neither WELLSCOPE_VIEWER is set nor is there a wellscope on PATH. Install wellscope, or name its path"
    )]
    NoProgram,
    /// The program does not start.
    #[error("cannot start the viewer: {source}. Program: {}", program.display())]
    Spawn {
        /// The viewer's program.
        program: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// It ended before it served.
    #[error(transparent)]
    Ended(#[from] Ended),
    /// It runs and does not serve.
    #[error("the viewer did not serve within {waited:?} and was stopped{log}")]
    NotReady {
        /// How long it was waited for.
        waited: Duration,
        /// End of its log, ready to be appended to a sentence.
        log: String,
    },
}

impl ViewerError {
    /// Exit code of a viewer that ended before it served.
    pub fn exit_code(&self) -> Option<i32> {
        match self {
            Self::Ended(ended) => ended.status.code(),
            _ => None,
        }
    }
}

/// Why a viewer is still there.
#[derive(Debug, thiserror::Error)]
pub enum StopError {
    /// It was asked, and nothing says which process it is.
    #[error("the viewer on port {port} does not close and does not tell its process; close it by hand{reason}")]
    Unidentified {
        /// Data port.
        port: u16,
        /// What it said, ready to be appended to a sentence.
        reason: String,
    },
    /// Not even the system could end it.
    #[error("the viewer on port {port}, process {pid}, cannot be ended: {reason}")]
    Survived {
        /// Data port.
        port: u16,
        /// Its process.
        pid: u32,
        /// Why.
        reason: String,
    },
}
