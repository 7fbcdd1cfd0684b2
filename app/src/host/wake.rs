//! Waking the sleeping loop: the viewer draws when something happened and uses no CPU otherwise.

use std::collections::BTreeSet;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use bevy::prelude::Resource;
use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, bounded};

/// Makes the loop run one more frame. Cheap, never blocks, from any thread; several calls before that frame count as one.
#[derive(Resource, Clone)]
pub struct Wake {
    now: Arc<dyn Fn() + Send + Sync>,
    /// Deadlines for the timer thread; started when somebody first needs it.
    timer: Arc<OnceLock<Option<Sender<Instant>>>>,
}

impl Wake {
    /// `now` must return at once and may be called from any thread.
    pub fn new(now: impl Fn() + Send + Sync + 'static) -> Self {
        Self { now: Arc::new(now), timer: Arc::default() }
    }

    /// For a loop that blocks on the returned receiver. The channel holds one wish: any number of wakes before the loop
    /// looks lead to one frame.
    pub fn with_channel() -> (Self, Receiver<()>) {
        let (sender, receiver) = bounded(1);
        let wake = Self::new(move || {
            // A full channel is a wake that is on its way already.
            let _ = sender.try_send(());
        });
        (wake, receiver)
    }

    /// One frame as soon as possible.
    pub fn wake(&self) {
        (self.now)();
    }

    /// One frame after `delay`; frames that come earlier for other reasons do not cancel it. Never blocks.
    pub fn wake_after(&self, delay: Duration) {
        let timer = self.timer.get_or_init(|| start_timer(Arc::clone(&self.now)));
        let deadline = Instant::now().checked_add(delay);
        let is_set = match (timer, deadline) {
            // So far away that it cannot be told from never.
            (_, None) => true,
            (Some(timer), Some(deadline)) => timer.try_send(deadline).is_ok(),
            (None, _) => false,
        };
        if !is_set {
            // Without a timer an early frame is better than none.
            self.wake();
        }
    }
}

/// A thread that sleeps until the next deadline; it ends with the last [`Wake`]. `None` when the system refuses threads.
fn start_timer(now: Arc<dyn Fn() + Send + Sync>) -> Option<Sender<Instant>> {
    let (sender, receiver) = bounded::<Instant>(256);
    let work = move || {
        let mut deadlines = BTreeSet::new();
        loop {
            let next = match deadlines.first() {
                Some(deadline) => receiver.recv_deadline(*deadline),
                None => receiver.recv().map_err(|_| RecvTimeoutError::Disconnected),
            };
            match next {
                Ok(deadline) => drop(deadlines.insert(deadline)),
                Err(RecvTimeoutError::Timeout) => {
                    let present = Instant::now();
                    deadlines.retain(|deadline| *deadline > present);
                    now();
                }
                Err(RecvTimeoutError::Disconnected) => break,
            }
        }
    };
    std::thread::Builder::new().name("wake-timer".into()).spawn(work).ok().map(|_| sender)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_wakes_before_a_look_are_one_frame() {
        let (wake, woken) = Wake::with_channel();
        for _ in 0..100 {
            wake.wake();
        }
        assert_eq!(woken.try_iter().count(), 1);
        wake.clone().wake();
        assert_eq!(woken.try_iter().count(), 1);
    }

    #[test]
    fn every_delayed_wake_comes_and_none_comes_early() {
        let (wake, woken) = Wake::with_channel();
        let started = Instant::now();
        wake.wake_after(Duration::from_millis(60));
        wake.wake_after(Duration::from_millis(20));
        wake.wake_after(Duration::MAX);
        woken.recv().unwrap();
        assert!(started.elapsed() >= Duration::from_millis(20));
        woken.recv().unwrap();
        assert!(started.elapsed() >= Duration::from_millis(60));
        assert!(woken.try_recv().is_err());
    }
}
