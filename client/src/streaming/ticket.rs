//! Word of what became of one batch, for callers who want to know.

use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

use super::losses::LossReason;
use crate::lock::locked;
use crate::socket::deadline_after;

/// What became of a batch, now or later. Dropping it changes nothing: the batch is sent all the same.
#[derive(Clone, Debug)]
pub struct Ticket(Arc<Outcome>);

#[derive(Debug, Default)]
struct Outcome {
    found: Mutex<Option<Result<(), LossReason>>>,
    known: Condvar,
}

/// Why [`Ticket::wait`] did not return success.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum WaitError {
    /// Nothing is known yet.
    #[error("the batch is still on its way after {waited:?}")]
    OnItsWay {
        /// How long was waited now.
        waited: Duration,
    },
    /// It is not shown.
    #[error(transparent)]
    Lost(#[from] LossReason),
}

impl Ticket {
    /// Waits until the viewer has the pixels of the batch, or it is lost. After the stream's deadline it is one or the other.
    pub fn wait(&self, timeout: Duration) -> Result<(), WaitError> {
        let deadline = deadline_after(timeout);
        let mut found = locked(&self.0.found);
        loop {
            if let Some(outcome) = &*found {
                return outcome.clone().map_err(WaitError::Lost);
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(WaitError::OnItsWay { waited: timeout });
            }
            found = match self.0.known.wait_timeout(found, left) {
                Ok((found, _)) => found,
                Err(poisoned) => poisoned.into_inner().0,
            };
        }
    }

    /// What is known now; `None` while it is on its way.
    pub fn outcome(&self) -> Option<Result<(), LossReason>> {
        locked(&self.0.found).clone()
    }

    /// One that nothing is known of, and the right to say it.
    pub(crate) fn new() -> (Self, Verdict) {
        let outcome = Arc::new(Outcome::default());
        (Self(Arc::clone(&outcome)), Verdict(outcome))
    }
}

/// Says what became of a batch. Dropped in silence, it says that the stream was closed: nobody waits for ever.
pub(crate) struct Verdict(Arc<Outcome>);

impl Verdict {
    pub fn say(&self, outcome: Result<(), LossReason>) {
        locked(&self.0.found).get_or_insert(outcome);
        self.0.known.notify_all();
    }
}

impl Drop for Verdict {
    fn drop(&mut self) {
        self.say(Err(LossReason::Closed));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_word_stands_and_everybody_hears_it() {
        let (ticket, verdict) = Ticket::new();
        let moment = Duration::from_millis(1);
        assert_eq!(ticket.wait(moment), Err(WaitError::OnItsWay { waited: moment }));
        let waiting = [ticket.clone(), ticket.clone()]
            .map(|ticket| std::thread::spawn(move || ticket.wait(Duration::from_secs(60))));
        verdict.say(Ok(()));
        drop(verdict);
        waiting.into_iter().for_each(|thread| assert_eq!(thread.join().unwrap(), Ok(())));
        assert_eq!(ticket.outcome(), Some(Ok(())));
    }

    #[test]
    fn silence_is_a_loss() {
        let (ticket, verdict) = Ticket::new();
        assert_eq!(ticket.outcome(), None);
        drop(verdict);
        assert_eq!(ticket.wait(Duration::ZERO), Err(WaitError::Lost(LossReason::Closed)));
    }
}
