//! `settle`: whether everything that was accepted is in its layer and what is visible has been drawn.
//!
//! The answer is given where it is known first: by the control thread when the last frame showed everything, else at the end of the
//! frame that does. A client that asks after each step therefore costs no frame of its own.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use wellscope_protocol::control::{ControlReply, SettleAck, SettlePhase};

use crate::counters::Counters;
use crate::delivery::Replier;

/// What the app and the control thread share about settling.
pub struct Settling {
    state: Mutex<State>,
    counters: Arc<Counters>,
    /// Deliveries put into the channel to the app.
    delivered: AtomicU64,
}

/// How far the app is, at the end of a frame.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct SettleProgress {
    /// Deliveries that were taken out of the channel before the frame was decided.
    pub taken: u64,
    /// Routes that received something since the last completed settlement, in order of change.
    pub routes: Vec<String>,
    /// Grows with every change of the view.
    pub work_units: u64,
}

#[derive(Default)]
struct State {
    progress: SettleProgress,
    /// The last frame showed everything that had been taken.
    is_drawn: bool,
    waiting: Vec<Waiting>,
    /// Routes of settlements that were reported complete.
    settled: Vec<String>,
}

struct Waiting {
    /// Deliveries that the frame must have taken.
    needs: u64,
    replier: Replier,
}

impl Settling {
    pub(crate) fn new(counters: Arc<Counters>) -> Arc<Self> {
        Arc::new(Self { state: Mutex::default(), counters, delivered: AtomicU64::new(0) })
    }

    fn locked(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// One more delivery is in the channel, or about to be.
    pub(crate) fn count_delivery(&self) {
        self.delivered.fetch_add(1, Ordering::AcqRel);
    }

    /// Answers now when everything is drawn, else at the end of the frame that draws it. `kept` deliveries wait for room in the
    /// channel.
    pub(crate) fn ask(&self, kept: usize, replier: Replier) {
        let needs = self.delivered.load(Ordering::Acquire) + kept as u64;
        let mut state = self.locked();
        if state.is_drawn && state.progress.taken >= needs {
            let reply = state.complete();
            drop(state);
            replier.reply(reply);
        } else {
            state.waiting.push(Waiting { needs, replier });
        }
    }

    /// What a client hears whose question waited long enough: how far it is. Without a word of the app it is the items that the app
    /// has taken.
    pub(crate) fn running(&self) -> SettleAck {
        let state = self.locked();
        let routes = state.progress.routes.len() as u64;
        let taken = self.counters.items_taken.load(Ordering::Acquire);
        let received = self.counters.items_received.load(Ordering::Acquire).max(taken);
        if routes == 0 || taken < received {
            return SettleAck {
                phase: SettlePhase::Running { active_route: None, work_unit_count: 0, work_unit_active: false },
                completed_update_count: taken,
                total_update_count: received,
            };
        }
        SettleAck {
            phase: SettlePhase::Running {
                active_route: state.progress.routes.first().cloned(),
                work_unit_count: state.progress.work_units,
                work_unit_active: true,
            },
            completed_update_count: 0,
            total_update_count: routes,
        }
    }

    /// Called by the app at the end of each frame. `is_drawn`: everything taken is in its layer, and the picture shows it.
    pub fn frame_ended(&self, progress: SettleProgress, is_drawn: bool) {
        let mut state = self.locked();
        state.progress = progress;
        state.is_drawn = is_drawn;
        if !is_drawn || state.waiting.is_empty() {
            return;
        }
        let taken = state.progress.taken;
        let (ready, waiting) = std::mem::take(&mut state.waiting).into_iter().partition(|asked| asked.needs <= taken);
        state.waiting = waiting;
        let ready: Vec<Waiting> = ready;
        let replies: Vec<ControlReply> = ready.iter().map(|_| state.complete()).collect();
        drop(state);
        for (asked, reply) in ready.into_iter().zip(replies) {
            asked.replier.reply(reply);
        }
    }

    /// Routes whose settlement was reported since the last call; the next settlement counts from there.
    pub fn take_settled(&self) -> Vec<String> {
        std::mem::take(&mut self.locked().settled)
    }
}

impl State {
    fn complete(&mut self) -> ControlReply {
        let routes = std::mem::take(&mut self.progress.routes);
        let count = routes.len() as u64;
        self.settled.extend(routes);
        ControlReply::SettleAck(SettleAck {
            phase: SettlePhase::Complete,
            completed_update_count: count,
            total_update_count: count,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(settling: &Settling, kept: usize) -> crossbeam_channel::Receiver<ControlReply> {
        let (sender, receiver) = crossbeam_channel::unbounded();
        let replier = Replier::new(move |reply| {
            if let Some(reply) = reply {
                sender.send(reply).unwrap();
            }
        });
        settling.ask(kept, replier);
        receiver
    }

    fn counts(reply: ControlReply) -> (bool, u64) {
        let ControlReply::SettleAck(ack) = reply else { panic!("{reply:?}") };
        assert_eq!(ack.completed_update_count, ack.total_update_count);
        (ack.phase == SettlePhase::Complete, ack.total_update_count)
    }

    fn progress(taken: u64, routes: &[&str]) -> SettleProgress {
        SettleProgress { taken, routes: routes.iter().map(|route| (*route).to_owned()).collect(), work_units: 1 }
    }

    #[test]
    fn a_question_waits_for_the_frame_that_shows_what_was_accepted_before_it() {
        let settling = Settling::new(Arc::default());
        settling.count_delivery();
        settling.count_delivery();
        let reply = asked(&settling, 1);
        settling.frame_ended(progress(2, &["a", "b"]), true);
        assert!(reply.try_recv().is_err(), "one delivery still waits for room");
        settling.frame_ended(progress(3, &["a", "b"]), false);
        assert!(reply.try_recv().is_err(), "taken, not drawn");
        settling.frame_ended(progress(3, &["a", "b"]), true);
        assert_eq!(counts(reply.try_recv().unwrap()), (true, 2));
        assert_eq!(settling.take_settled(), ["a", "b"]);
    }

    #[test]
    fn when_everything_is_drawn_the_answer_needs_no_frame_and_counts_once() {
        let settling = Settling::new(Arc::default());
        settling.count_delivery();
        settling.frame_ended(progress(1, &["a"]), true);
        assert_eq!(counts(asked(&settling, 0).try_recv().unwrap()), (true, 1));
        assert_eq!(counts(asked(&settling, 0).try_recv().unwrap()), (true, 0), "nothing new since");
        settling.count_delivery();
        assert!(asked(&settling, 0).try_recv().is_err(), "something new is on its way");
    }

    #[test]
    fn a_question_that_waited_long_enough_hears_what_is_being_drawn() {
        let settling = Settling::new(Arc::default());
        settling.frame_ended(progress(1, &["a", "b"]), false);
        let ack = settling.running();
        assert_eq!((ack.completed_update_count, ack.total_update_count), (0, 2));
        assert!(matches!(ack.phase, SettlePhase::Running { active_route: Some(route), .. } if route == "a"));
    }
}
