//! Ctrl-C: the first one asks the work to end after what it has begun, the second ends the program at once.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// What a shell expects of a program that Ctrl-C ended (128 + SIGINT).
pub const INTERRUPTED: u8 = 130;

/// Whether someone wants us to stop. Clones share one answer.
#[derive(Clone, Debug, Default)]
pub struct Interrupt(Arc<AtomicBool>);

impl Interrupt {
    /// Listens for Ctrl-C, and SIGTERM where there is such a thing, from now on. Where that cannot be had, signals end the
    /// program as ever.
    pub fn listen() -> Self {
        Self::listen_and(|| {})
    }

    /// As [`Interrupt::listen`], and calls `first` at the first signal.
    pub fn listen_and(first: impl Fn() + Send + 'static) -> Self {
        let interrupt = Self::default();
        let asked = interrupt.clone();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        if let Ok(runtime) = runtime {
            let thread = std::thread::Builder::new().name("wellscope-interrupt".to_owned());
            // The thread ends with the program.
            let _ = thread.spawn(move || runtime.block_on(listen(asked, first)));
        }
        interrupt
    }

    /// True from the first Ctrl-C on.
    pub fn is_asked(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

async fn listen(interrupt: Interrupt, first: impl Fn()) {
    while signalled().await {
        if interrupt.0.swap(true, Ordering::Relaxed) {
            std::process::exit(INTERRUPTED.into());
        }
        first();
        eprintln!("wellscope: ending after what has begun; once more ends at once");
    }
}

#[cfg(unix)]
async fn signalled() -> bool {
    use tokio::signal::unix::{SignalKind, signal};
    let Ok(mut terminate) = signal(SignalKind::terminate()) else { return tokio::signal::ctrl_c().await.is_ok() };
    tokio::select! {
        pressed = tokio::signal::ctrl_c() => pressed.is_ok(),
        asked = terminate.recv() => asked.is_some(),
    }
}

#[cfg(not(unix))]
async fn signalled() -> bool {
    tokio::signal::ctrl_c().await.is_ok()
}
