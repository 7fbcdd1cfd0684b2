//! Leaving in order when the system or the launcher asks: the window closes and the sockets are removed, also when the GPU hangs.

use std::io::Read;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// How long the window has to close before the process ends without it (a hung driver).
const LONGEST_WAIT_FOR_THE_WINDOW: Duration = Duration::from_secs(2);

/// Set when the program is to end; read once per frame.
#[derive(bevy::prelude::Resource, Clone, Default)]
pub struct ExitRequested(Arc<AtomicBool>);

impl ExitRequested {
    /// Asks the program to end.
    pub fn request(&self) {
        self.0.store(true, Ordering::Release);
    }

    /// Whether it has been asked to.
    pub fn is_requested(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }
}

/// How the program is brought to its end from outside of its loop.
#[derive(Clone)]
pub struct Leave {
    exit: ExitRequested,
    wake: Arc<dyn Fn() + Send + Sync>,
    remove_endpoints: Arc<dyn Fn() + Send + Sync>,
}

impl Leave {
    /// Sets `exit`, wakes the loop, and removes the endpoints itself should the loop hang.
    pub fn new(
        exit: ExitRequested,
        wake: impl Fn() + Send + Sync + 'static,
        remove_endpoints: impl Fn() + Send + Sync + 'static,
    ) -> Self {
        Self { exit, wake: Arc::new(wake), remove_endpoints: Arc::new(remove_endpoints) }
    }

    /// Asks the program to end; when it has not within two seconds, ends it with `code`.
    fn now(&self, code: i32) {
        self.exit.request();
        (self.wake)();
        std::thread::sleep(LONGEST_WAIT_FOR_THE_WINDOW);
        tracing::warn!("the window did not close within 2 s; ending at once");
        (self.remove_endpoints)();
        std::process::exit(code);
    }
}

/// Handles SIGTERM, SIGINT and SIGHUP on a thread of its own; should the loop hang, the exit code is 128 + the signal's number.
///
/// # Errors
/// When the system refuses the handlers.
#[cfg(unix)]
pub fn handle(leave: Leave) -> std::io::Result<()> {
    use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
    let mut signals = signal_hook::iterator::Signals::new([SIGTERM, SIGINT, SIGHUP])?;
    std::thread::Builder::new().name("signals".into()).spawn(move || {
        if let Some(signal) = signals.forever().next() {
            tracing::info!(signal, "asked to end by a signal");
            leave.now(128 + signal);
        }
    })?;
    Ok(())
}

/// Windows has no such signals; closing the window, a `shutdown` message and the end of the session all close in order.
///
/// # Errors
/// None.
#[cfg(not(unix))]
pub fn handle(_leave: Leave) -> std::io::Result<()> {
    Ok(())
}

/// Leaves when standard input ends, `--exit-with-stdin`: a launcher holds the other end of a pipe, which the system closes with
/// the launcher, however it dies. What comes through the pipe is not looked at.
///
/// # Errors
/// When the system refuses the thread.
pub fn leave_with_stdin(leave: Leave) -> std::io::Result<()> {
    std::thread::Builder::new().name("stdin".into()).spawn(move || {
        let mut input = std::io::stdin().lock();
        let mut ignored = [0; 256];
        loop {
            match input.read(&mut ignored) {
                Ok(0) => break,
                Ok(_) => {}
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                Err(_) => break,
            }
        }
        tracing::info!("standard input ended, and with it whoever started this viewer for itself");
        leave.now(0);
    })?;
    Ok(())
}
