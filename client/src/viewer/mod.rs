//! A viewer in a process of its own: started when none runs, used when one does, stopped when it is to stop.
//!
//! ```no_run
//! use wellscope_client::{Viewer, ViewerConfig, ViewerEndpoint};
//! let viewer = Viewer::ensure(&ViewerConfig::new(ViewerEndpoint::openhcs(5555)))?;
//! viewer.control().clear_state()?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! A persistent viewer (the default) runs in a session of its own with a log file, and stays when this process ends, however it
//! ends. One that is not persistent has our pipe as its standard input: the system closes the pipe when this process is gone,
//! also after `kill -9`, and the viewer ends with it. Linux's parent-death signal would not do: it is bound to the
//! *thread* that started the viewer, and there is none elsewhere.
//!
//! Whoever starts a viewer holds a lock file until it serves, so that of several who want one at once, one starts it and the
//! others use it. A program that does not answer a viewer's ping is never stopped, whatever port it sits on.

mod display;
mod error;
mod exit;
mod launch;
mod log;
mod occupant;
mod process;
mod program;
mod start_lock;
mod stop;

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use wellscope_protocol::control::{Application, ProcessIdentity};

use crate::control::{ControlClient, ControlError, Pong};
use crate::endpoint::ViewerEndpoint;
use launch::Launched;
use occupant::{Occupant, look};
use start_lock::StartLock;

pub use display::has_display;
pub use error::{StopError, ViewerError};
pub use log::default_log_file;

/// How long OpenHCS 0.8.6 waits for a viewer that it has started.
pub const START_TIMEOUT: Duration = Duration::from_secs(30);

/// How long someone who holds the address may take to answer a ping before we say that it is no viewer. Longer than the 500 ms
/// of OpenHCS: a wrong "no" costs a pipeline its pictures.
const PATIENCE: Duration = Duration::from_secs(3);

/// Which viewer is wanted, and how it is started when it is not there.
#[derive(Clone, PartialEq, Debug)]
pub struct ViewerConfig {
    /// Where it listens.
    pub endpoint: ViewerEndpoint,
    /// The viewer's program. Without: `WELLSCOPE_VIEWER`, else this program when it is `wellscope`, else `wellscope` on PATH.
    pub program: Option<PathBuf>,
    /// Whether it stays when this process ends.
    pub persistent: bool,
    /// Whether one that runs already is stopped first, so that a run begins with an empty window.
    pub replace: bool,
    /// Draw without a window. Without a word: when there is no display, which a run on a server need not care about.
    pub headless: Option<bool>,
    /// Whose viewer it is. One that reports another id or version is replaced; without, any viewer will do.
    pub application: Option<Application>,
    /// Title of the window.
    pub title: Option<String>,
    /// Further options of the viewer, as on its command line.
    pub arguments: Vec<OsString>,
    /// Its log; without, [`default_log_file`]. Emptied at each start.
    pub log_file: Option<PathBuf>,
    /// How long it may take until it serves.
    pub start_timeout: Duration,
}

impl ViewerConfig {
    /// A persistent viewer at `endpoint`, with a window when there is a display.
    pub fn new(endpoint: ViewerEndpoint) -> Self {
        Self {
            endpoint,
            program: None,
            persistent: true,
            replace: false,
            headless: None,
            application: None,
            title: None,
            arguments: Vec::new(),
            log_file: None,
            start_timeout: START_TIMEOUT,
        }
    }
}

/// Where a viewer came from.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum StartedOrReused {
    /// Nobody served the address.
    Started,
    /// Someone did, and was stopped first.
    Replaced {
        /// Why it could not be used.
        because: String,
    },
    /// It ran already.
    Reused,
}

/// A viewer that serves. Dropping it stops the viewer if it was started here and is not persistent.
#[derive(Debug)]
pub struct Viewer {
    endpoint: ViewerEndpoint,
    control: ControlClient,
    process: Option<ProcessIdentity>,
    launched: Option<Mutex<Launched>>,
    persistent: bool,
    outcome: StartedOrReused,
    log_file: Option<PathBuf>,
}

impl Viewer {
    /// The viewer that `config` describes: the one that runs if it fits, else a new one. Returns when it serves.
    ///
    /// A viewer that ran already is never stopped at the end, persistent or not: it is someone else's.
    ///
    /// # Errors
    /// When the address belongs to a program that is no viewer, or the viewer cannot be started; with the end of its log.
    pub fn ensure(config: &ViewerConfig) -> Result<Self, ViewerError> {
        let asked_at = process::now();
        let control = ControlClient::connect(&config.endpoint)?;
        // Nearly always the answer, and without a lock.
        if let Occupant::Viewer(pong) = look(&config.endpoint, &control, Duration::ZERO)
            && !config.replace
            && misfit(config, &pong).is_none()
        {
            return Ok(Self::reused(config, control, &pong));
        }
        if !config.endpoint.is_on_this_machine() {
            return Err(ViewerError::ElsewhereAndAbsent {
                host: config.endpoint.host.clone(),
                port: config.endpoint.port,
            });
        }
        // Whoever has the lock may use up its time and fail; then it is our turn.
        let _lock = StartLock::take(&config.endpoint, Instant::now() + 2 * config.start_timeout)?;
        let outcome = match look(&config.endpoint, &control, PATIENCE) {
            Occupant::Nobody => StartedOrReused::Started,
            Occupant::Stranger(what) => {
                return Err(ViewerError::NotAViewer { port: config.endpoint.port, what });
            }
            Occupant::Viewer(pong) => {
                // Whoever held the lock before us may just have started the fresh viewer that we were asked for.
                let is_fresh = pong.process.is_some_and(|process| process.create_time >= asked_at);
                let because = match misfit(config, &pong) {
                    None if !config.replace || is_fresh => return Ok(Self::reused(config, control, &pong)),
                    None => "a new one was asked for".to_owned(),
                    Some(because) => because,
                };
                tracing::info!(port = config.endpoint.port, because, "replacing the viewer that runs");
                stop::stop(&config.endpoint, &control, pong.process, None)?;
                StartedOrReused::Replaced { because }
            }
        };
        Self::start(config, control, outcome)
    }

    /// The viewer that runs at `endpoint`, on any machine. Starts none.
    ///
    /// # Errors
    /// When there is none, or what is there is no viewer.
    pub fn connect(endpoint: &ViewerEndpoint) -> Result<Self, ViewerError> {
        let control = ControlClient::connect(endpoint)?;
        match look(endpoint, &control, PATIENCE) {
            Occupant::Viewer(pong) => Ok(Self::reused(&ViewerConfig::new(endpoint.clone()), control, &pong)),
            Occupant::Stranger(what) => Err(ViewerError::NotAViewer { port: endpoint.port, what }),
            Occupant::Nobody => Err(ViewerError::Absent { url: endpoint.control_url()? }),
        }
    }

    fn start(config: &ViewerConfig, control: ControlClient, outcome: StartedOrReused) -> Result<Self, ViewerError> {
        let deadline = Instant::now() + config.start_timeout;
        let mut headless = config.headless.unwrap_or_else(|| !has_display());
        loop {
            let mut launched = launch::launch(config, headless)?;
            let failure = match launch::wait_until_ready(config, &control, &mut launched, deadline) {
                Ok(pong) => {
                    if headless && config.headless.is_none() {
                        tracing::warn!("there is no display: the viewer runs without a window; ask it for screenshots");
                    }
                    tracing::info!(port = config.endpoint.port, pid = launched.pid(), headless, "viewer started");
                    return Ok(Self {
                        endpoint: config.endpoint.clone(),
                        control,
                        process: pong.process,
                        log_file: launched.log_file.clone(),
                        launched: Some(Mutex::new(launched)),
                        persistent: config.persistent,
                        outcome,
                    });
                }
                Err(failure) => failure,
            };
            match failure.exit_code() {
                // A DISPLAY that is set and dead, as after a lost ssh -X: the same as none.
                Some(exit::NO_DISPLAY) if config.headless.is_none() && !headless => headless = true,
                // Someone who does not know our lock was faster. If it is a viewer that will do, so be it.
                Some(exit::PORT_IN_USE) => match look(&config.endpoint, &control, PATIENCE) {
                    Occupant::Viewer(pong) if misfit(config, &pong).is_none() => {
                        return Ok(Self::reused(config, control, &pong));
                    }
                    _ => return Err(failure),
                },
                _ => return Err(failure),
            }
        }
    }

    fn reused(config: &ViewerConfig, control: ControlClient, pong: &Pong) -> Self {
        Self {
            endpoint: config.endpoint.clone(),
            control,
            process: pong.process,
            launched: None,
            persistent: true,
            outcome: StartedOrReused::Reused,
            log_file: pong.log_file.clone().map(PathBuf::from),
        }
    }

    /// Where it listens.
    pub fn endpoint(&self) -> &ViewerEndpoint {
        &self.endpoint
    }

    /// Its control calls.
    pub fn control(&self) -> &ControlClient {
        &self.control
    }

    /// Whether it was started here.
    pub fn outcome(&self) -> &StartedOrReused {
        &self.outcome
    }

    /// Its process, where it says so.
    pub fn process(&self) -> Option<ProcessIdentity> {
        self.process
    }

    /// Its log, where it is known.
    pub fn log_file(&self) -> Option<&Path> {
        self.log_file.as_deref()
    }

    /// Whether it was started here and has no window.
    pub fn is_headless(&self) -> bool {
        self.launched.as_ref().is_some_and(|launched| lock(launched).headless)
    }

    /// Whether it still serves. At most half a second, nearly always at once. A viewer that was closed and started anew at the
    /// same address counts.
    pub fn is_alive(&self) -> bool {
        match look(&self.endpoint, &self.control, Duration::ZERO) {
            Occupant::Viewer(_) => true,
            Occupant::Nobody => false,
            // It holds its address and is too busy, or stopped by a debugger: not gone.
            Occupant::Stranger(_) => self.process.is_some_and(|process| process::is_running(process) == Some(true)),
        }
    }

    /// Asks the viewer to close, whoever started it, and waits until it is gone. True when it is.
    ///
    /// # Errors
    /// When it does not answer, or refuses.
    pub fn shut_down(&mut self, patience: Duration) -> Result<bool, ControlError> {
        self.control.shutdown()?;
        let mut launched = self.launched.as_ref().map(lock);
        let process = self.process.filter(|_| self.endpoint.is_on_this_machine());
        Ok(stop::wait_until_gone(&self.endpoint, process, launched.as_deref_mut(), patience))
    }

    /// Closes the viewer, whoever started it, and waits until it is gone: asks it, then asks the system, then kills it. Only the
    /// process that answered our ping is ever signalled. Nothing to do when it is gone already.
    ///
    /// # Errors
    /// When it is still there.
    pub fn stop(&mut self) -> Result<(), StopError> {
        let launched = self.launched.take();
        stop::stop(&self.endpoint, &self.control, self.process, launched.as_ref().map(lock).as_deref_mut())
    }
}

impl Drop for Viewer {
    fn drop(&mut self) {
        if !self.persistent && self.launched.is_some() {
            if let Err(error) = self.stop() {
                tracing::warn!("{error}");
            }
        } else if let Some(launched) = self.launched.take() {
            launched.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner).forget();
        }
    }
}

/// Why a viewer that runs is not the one that is wanted.
fn misfit(config: &ViewerConfig, pong: &Pong) -> Option<String> {
    if !pong.ready {
        return Some("it is not ready".to_owned());
    }
    let wanted = config.application.as_ref()?;
    match &pong.application {
        Some(found) if found == wanted => None,
        Some(found) => {
            Some(format!("it belongs to {} {}, wanted is {} {}", found.id, found.version, wanted.id, wanted.version))
        }
        None => Some(format!("it does not say whose it is, wanted is {} {}", wanted.id, wanted.version)),
    }
}

fn lock(launched: &Mutex<Launched>) -> std::sync::MutexGuard<'_, Launched> {
    launched.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}
