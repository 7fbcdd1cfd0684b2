//! Memory made ready ahead of need. The system clears a page when it is first touched, which takes several times as long as
//! copying pixels into it; between two batches nobody waits for that.

use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};

use crate::error::StoreError;
use crate::memory::Memory;
use crate::store::{Ledger, Shared, Store};

/// A pause this long means that a batch is over; while one is copied, nothing competes with it.
const PAUSE: Duration = Duration::from_millis(5);
/// Without new buffers for so long, what was made ready is given back: an idle viewer holds none of it.
const KEEP: Duration = Duration::from_secs(3);

/// What is kept ready: buffers like those that were asked for last.
#[derive(Clone, Copy)]
pub(crate) struct Demand {
    buffer_bytes: usize,
    asked_at: Instant,
}

impl Store {
    /// Keeps up to 64 MiB of large buffers ready, of the size that was last asked for, while buffers are asked for; they count as
    /// memory in use and are given back after 3 s without demand, or when memory is short. Starts the thread `wellscope-warm`.
    ///
    /// # Errors
    /// [`NoThread`](StoreError::NoThread) when the system gives none; then buffers are made when they are needed.
    pub fn keep_warm(&self) -> Result<(), StoreError> {
        let shared = self.shared().clone();
        std::thread::Builder::new()
            .name("wellscope-warm".into())
            .spawn(move || run(&shared))
            .map(drop)
            .map_err(|error| StoreError::NoThread { reason: error.to_string() })
    }
}

/// What the thread does next.
enum Step {
    End,
    /// Make one more buffer of so many bytes; they are counted already.
    Make(usize),
    /// Nobody asks any more.
    GiveBack,
    Wait(Option<Duration>),
}

fn run(shared: &Arc<Shared>) {
    loop {
        let mut ledger = shared.ledger();
        match next(shared, &mut ledger, Instant::now()) {
            Step::End => return,
            Step::Wait(None) => drop(shared.warming.wait(ledger).unwrap_or_else(PoisonError::into_inner)),
            Step::Wait(Some(time)) => {
                drop(shared.warming.wait_timeout(ledger, time).unwrap_or_else(PoisonError::into_inner));
            }
            Step::GiveBack => {
                drop(ledger);
                shared.free_idle();
            }
            Step::Make(bytes) => {
                drop(ledger);
                shared.add_ready(Memory::allocate(bytes), bytes);
            }
        }
    }
}

fn next(shared: &Shared, ledger: &mut Ledger, now: Instant) -> Step {
    if ledger.closing {
        return Step::End;
    }
    let Some(Demand { buffer_bytes, asked_at }) = ledger.demand else { return Step::Wait(None) };
    let since = now.saturating_duration_since(asked_at);
    if since >= KEEP {
        ledger.demand = None;
        return Step::GiveBack;
    }
    if since < PAUSE {
        return Step::Wait(Some(PAUSE - since));
    }
    if shared.has_room_to_prepare(ledger, Memory::cost(buffer_bytes)) {
        ledger.count(Memory::cost(buffer_bytes));
        return Step::Make(buffer_bytes);
    }
    Step::Wait(Some(KEEP - since))
}

impl Ledger {
    /// Somebody asked for a buffer of so many bytes.
    pub(crate) fn note_demand(&mut self, buffer_bytes: usize) {
        self.demand = Some(Demand { buffer_bytes, asked_at: Instant::now() });
    }
}
