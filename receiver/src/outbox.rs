//! The way to the app: one bounded channel that two socket threads fill in a stated order.
//!
//! The data thread may wait for room (that is the back pressure on producers). The control thread may never wait, so what
//! finds the channel full is kept here and goes out before anything later.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use crossbeam_channel::{Sender, TrySendError};

use crate::counters::{self, Counters};
use crate::delivery::{Delivery, Problem, Severity, Wake};
use crate::settling::Settling;

/// Both ends of the order: see the module.
pub(crate) struct Outbox {
    waiting: Mutex<VecDeque<Delivery>>,
    /// Batches sent so far. Written with `waiting` locked, so that batches carry their numbers in the order in which they go.
    batches: AtomicU64,
    channel: Sender<Delivery>,
    settling: Arc<Settling>,
    wake: Wake,
    counters: Arc<Counters>,
    stopping: Arc<AtomicBool>,
}

/// Why a delivery did not go out. The delivery comes back, so that its buffers and repliers end where the caller wants.
#[derive(Debug)]
pub(crate) enum DeliverError {
    /// The app took nothing for as long as we may wait.
    Busy(Box<Delivery>),
    /// The app has dropped its end, or the receiver is stopping.
    Gone(Box<Delivery>),
}

/// While the channel is full the data thread looks again this often. Only back pressure polls; an idle receiver sleeps.
const FULL_RETRY: Duration = Duration::from_millis(2);

impl Outbox {
    pub(crate) fn new(
        channel: Sender<Delivery>,
        settling: Arc<Settling>,
        wake: Wake,
        counters: Arc<Counters>,
        stopping: Arc<AtomicBool>,
    ) -> Arc<Self> {
        let (waiting, batches) = (Mutex::default(), AtomicU64::new(0));
        Arc::new(Self { waiting, batches, channel, settling, wake, counters, stopping })
    }

    #[expect(clippy::result_large_err, reason = "the delivery comes back, as from the channel itself")]
    fn try_send(&self, delivery: Delivery) -> Result<(), TrySendError<Delivery>> {
        self.channel.try_send(delivery).inspect(|()| self.settling.count_delivery())
    }

    /// Sends after everything that waits, waiting for room until `deadline`.
    pub(crate) fn deliver(&self, delivery: Delivery, deadline: Instant) -> Result<(), DeliverError> {
        let mut delivery = delivery;
        loop {
            if self.stopping.load(Ordering::Acquire) {
                return Err(DeliverError::Gone(Box::new(delivery)));
            }
            let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
            let sent = if self.flush_locked(&mut waiting) {
                let next = self.batches.load(Ordering::Acquire) + 1;
                let is_batch = matches!(delivery, Delivery::Batch(_));
                if let Delivery::Batch(batch) = &mut delivery {
                    batch.sequence = next;
                }
                let sent = self.try_send(delivery);
                if is_batch && sent.is_ok() {
                    self.batches.store(next, Ordering::Release);
                }
                sent
            } else {
                Err(TrySendError::Full(delivery))
            };
            drop(waiting);
            match sent {
                Ok(()) => {
                    (self.wake)();
                    return Ok(());
                }
                Err(TrySendError::Disconnected(returned)) => return Err(DeliverError::Gone(Box::new(returned))),
                Err(TrySendError::Full(returned)) => delivery = returned,
            }
            (self.wake)();
            let now = Instant::now();
            if now >= deadline {
                return Err(DeliverError::Busy(Box::new(delivery)));
            }
            std::thread::sleep(FULL_RETRY.min(deadline - now));
        }
    }

    /// Sends now, or keeps it to go out before anything later. Never waits. Repeated `Clear` and `ShutdownRequested` that wait
    /// side by side become one, so a client that repeats them fills nothing.
    pub(crate) fn deliver_or_keep(&self, delivery: Delivery) {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        let repeats = matches!(
            (waiting.back(), &delivery),
            (Some(Delivery::Clear), Delivery::Clear) | (Some(Delivery::ShutdownRequested), Delivery::ShutdownRequested)
        );
        if !repeats {
            waiting.push_back(delivery);
        }
        self.flush_locked(&mut waiting);
        drop(waiting);
        (self.wake)();
    }

    /// Has the app run one more frame.
    pub(crate) fn wake(&self) {
        (self.wake)();
    }

    /// Deliveries that found the channel full.
    pub(crate) fn waiting(&self) -> usize {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner).len()
    }

    /// Tries again what waits. True when nothing waits any more.
    pub(crate) fn flush(&self) -> bool {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        let before = waiting.len();
        let empty = self.flush_locked(&mut waiting);
        let moved = before != waiting.len();
        drop(waiting);
        if moved {
            (self.wake)();
        }
        empty
    }

    /// Shows a problem in the window when there is room; it is in the log in any case. A flood of bad messages must not push
    /// good ones out, so half of the channel is left to them.
    pub(crate) fn report(&self, severity: Severity, text: String) {
        match severity {
            Severity::Error => tracing::error!("{text}"),
            Severity::Warning => tracing::warn!("{text}"),
        }
        let roomy = self.channel.capacity().is_none_or(|capacity| self.channel.len() < capacity.div_ceil(2));
        if !roomy || self.try_send(Delivery::Problem(Problem { severity, text })).is_err() {
            counters::add(&self.counters.problems_dropped, 1);
        }
        (self.wake)();
    }

    fn flush_locked(&self, waiting: &mut VecDeque<Delivery>) -> bool {
        while let Some(delivery) = waiting.pop_front() {
            if let Err(TrySendError::Full(returned) | TrySendError::Disconnected(returned)) = self.try_send(delivery) {
                waiting.push_front(returned);
                return false;
            }
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::delivery::Problem;

    /// Only a delivery that never comes takes as long.
    const PATIENCE: Duration = Duration::from_secs(20);

    fn outbox(capacity: usize) -> (Arc<Outbox>, crossbeam_channel::Receiver<Delivery>) {
        let (sender, receiver) = crossbeam_channel::bounded(capacity);
        let settling = Settling::new(Arc::default());
        (Outbox::new(sender, settling, Arc::new(|| ()), Arc::default(), Arc::default()), receiver)
    }

    fn note(text: &str) -> Delivery {
        Delivery::Problem(Problem { severity: Severity::Warning, text: text.into() })
    }

    fn name(delivery: Delivery) -> String {
        match delivery {
            Delivery::Problem(problem) => problem.text,
            other => format!("{other:?}"),
        }
    }

    #[test]
    fn what_waited_goes_out_before_what_came_later() {
        let (outbox, receiver) = outbox(1);
        outbox.deliver_or_keep(note("first"));
        outbox.deliver_or_keep(Delivery::Clear);
        outbox.deliver_or_keep(Delivery::Clear);
        let app = std::thread::spawn(move || {
            (0..3).map_while(|_| receiver.recv_timeout(PATIENCE).ok().map(name)).collect::<Vec<_>>()
        });
        outbox.deliver(note("later"), Instant::now() + Duration::from_secs(60)).unwrap();
        assert_eq!(app.join().unwrap(), ["first", "Clear", "later"]);
    }

    #[test]
    fn a_full_channel_is_busy_and_the_delivery_comes_back() {
        let (outbox, _receiver) = outbox(1);
        outbox.deliver(note("first"), Instant::now()).unwrap();
        match outbox.deliver(note("second"), Instant::now()) {
            Err(DeliverError::Busy(returned)) => assert_eq!(name(*returned), "second"),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn problems_leave_room_for_batches() {
        let (outbox, receiver) = outbox(4);
        for _ in 0..10 {
            outbox.report(Severity::Warning, "flood".into());
        }
        assert_eq!(receiver.len(), 2);
    }

    #[test]
    fn an_app_that_is_gone_is_no_busy_app() {
        let (outbox, receiver) = outbox(1);
        drop(receiver);
        assert!(matches!(outbox.deliver(note("x"), Instant::now()), Err(DeliverError::Gone(_))));
    }
}
