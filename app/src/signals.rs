//! Leaving in order when the system asks: the window closes and the sockets are removed, also when the GPU hangs.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

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

/// Handles SIGTERM, SIGINT and SIGHUP on a thread of its own: asks the program to end, and when it has not within two
/// seconds (a hung driver), calls `remove_endpoints` and exits with 128 + the signal's number.
///
/// # Errors
/// When the system refuses the handlers.
#[cfg(unix)]
pub fn handle(
    exit: ExitRequested,
    wake: impl Fn() + Send + 'static,
    remove_endpoints: impl Fn() + Send + 'static,
) -> std::io::Result<()> {
    use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
    let mut signals = signal_hook::iterator::Signals::new([SIGTERM, SIGINT, SIGHUP])?;
    std::thread::Builder::new().name("signals".into()).spawn(move || {
        if let Some(signal) = signals.forever().next() {
            tracing::info!(signal, "asked to end by a signal");
            exit.request();
            wake();
            std::thread::sleep(std::time::Duration::from_secs(2));
            tracing::warn!("the window did not close within 2 s; ending at once");
            remove_endpoints();
            std::process::exit(128 + signal);
        }
    })?;
    Ok(())
}

/// Windows has no such signals; closing the window, a `shutdown` message and the end of the session all close in order.
///
/// # Errors
/// None.
#[cfg(not(unix))]
pub fn handle(
    _exit: ExitRequested,
    _wake: impl Fn() + Send + 'static,
    _remove_endpoints: impl Fn() + Send + 'static,
) -> std::io::Result<()> {
    Ok(())
}
