//! How many bytes of pixels are on their way between the data socket and the app, and the wait when that is too much.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::counters::Counters;

/// The budget.
pub(crate) struct InFlight {
    used: Mutex<u64>,
    freed: Condvar,
    max_bytes: u64,
    counters: Arc<Counters>,
    stopping: Arc<AtomicBool>,
}

/// Bytes that count as in flight until this is dropped.
pub(crate) struct Permit {
    budget: Arc<InFlight>,
    bytes: u64,
}

impl InFlight {
    pub(crate) fn new(max_bytes: u64, counters: Arc<Counters>, stopping: Arc<AtomicBool>) -> Arc<Self> {
        Arc::new(Self { used: Mutex::default(), freed: Condvar::new(), max_bytes, counters, stopping })
    }

    /// Takes `bytes` from the budget, waiting for room until `deadline`; `None`: still none then. When nothing else is in
    /// flight any amount is let in, so that one batch larger than the budget can pass.
    pub(crate) fn reserve(self: &Arc<Self>, bytes: u64, deadline: Instant) -> Option<Permit> {
        let mut used = self.used.lock().unwrap_or_else(PoisonError::into_inner);
        while *used > 0 && used.saturating_add(bytes) > self.max_bytes && bytes > 0 {
            let now = Instant::now();
            if now >= deadline || self.stopping.load(Ordering::Acquire) {
                return None;
            }
            // Short waits, because stopping notifies nobody.
            let wait = (deadline - now).min(Duration::from_millis(100));
            used = self.freed.wait_timeout(used, wait).unwrap_or_else(PoisonError::into_inner).0;
        }
        *used += bytes;
        self.counters.in_flight_bytes.store(*used, Ordering::Release);
        Some(Permit { budget: self.clone(), bytes })
    }
}

impl Permit {
    /// Moves `bytes` of this permit into one of its own.
    pub(crate) fn split(&mut self, bytes: u64) -> Permit {
        let bytes = bytes.min(self.bytes);
        self.bytes -= bytes;
        Permit { budget: self.budget.clone(), bytes }
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        if self.bytes == 0 {
            return;
        }
        let mut used = self.budget.used.lock().unwrap_or_else(PoisonError::into_inner);
        *used -= self.bytes;
        self.budget.counters.in_flight_bytes.store(*used, Ordering::Release);
        self.budget.freed.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn budget(max_bytes: u64) -> Arc<InFlight> {
        InFlight::new(max_bytes, Arc::default(), Arc::default())
    }

    #[test]
    fn split_permits_free_their_own_share() {
        let budget = budget(100);
        let mut whole = budget.reserve(100, Instant::now()).unwrap();
        let part = whole.split(60);
        assert!(budget.reserve(10, Instant::now()).is_none());
        drop(part);
        assert!(budget.reserve(60, Instant::now()).is_some());
        drop(whole);
        assert_eq!(budget.counters.snapshot().in_flight_bytes, 0);
    }

    #[test]
    fn one_batch_beyond_the_budget_passes_alone() {
        let budget = budget(100);
        let large = budget.reserve(500, Instant::now()).unwrap();
        assert!(budget.reserve(1, Instant::now()).is_none());
        drop(large);
        assert!(budget.reserve(1, Instant::now()).is_some());
    }

    #[test]
    fn a_waiter_goes_on_when_room_is_made() {
        let budget = budget(10);
        let first = budget.reserve(10, Instant::now()).unwrap();
        let waiter = std::thread::spawn({
            let budget = budget.clone();
            move || budget.reserve(10, Instant::now() + Duration::from_secs(60)).is_some()
        });
        drop(first);
        assert!(waiter.join().unwrap());
    }
}
