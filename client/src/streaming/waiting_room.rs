//! Batches between those who save and the thread that sends: bounded, counted, and never in the way for long.

use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use wellscope_protocol::batch::Batch;
use wellscope_protocol::reply::ImageAck;

use super::config::{AtBound, StreamingConfig};
use super::losses::{Count, LossReason, Losses};
use super::placement::Pixelware;
use super::ticket::Verdict;
use crate::lock::locked;

/// Acks that may wait to be asked for; the oldest are dropped beyond that.
const MAX_ACKS: usize = 10_000;
/// Of the time that a stream exists, the part that its callers may wait besides their patience.
const SHARE_OF_TIME: u32 = 20;
/// A wait is cut into pieces, so that several threads that wait see each other's waits.
const PIECE: Duration = Duration::from_millis(20);

/// One batch with all that it needs until it is answered.
pub(super) struct Job {
    pub batch: Batch,
    /// The message, once it was made.
    pub message: Option<Vec<u8>>,
    pub held: Pixelware,
    pub count: Count,
    pub saved: Instant,
    pub deadline: Instant,
    pub verdict: Verdict,
    /// How often it was handed to a connection. A viewer may still read the segments of one that was sent before, so only
    /// those of a batch that was sent once are used again.
    pub times_sent: u32,
}

/// What is known of the viewer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Presence {
    /// It was never there.
    NotYet,
    /// A connection stands.
    Here,
    /// It was there.
    Gone,
}

/// Why there is no room for a batch.
#[derive(Debug)]
pub(super) enum NoRoom {
    Full { batches: usize, bytes: u64 },
    Closed,
}

/// What is shared between callers and the thread.
pub(super) struct WaitingRoom {
    state: Mutex<State>,
    /// Told whenever a batch is answered or lost, or an ack comes.
    changed: Condvar,
    limits: Limits,
}

struct Limits {
    max_batches: usize,
    max_bytes: u64,
    at_bound: AtBound,
    deadline: Duration,
}

struct State {
    waiting: VecDeque<Job>,
    /// Saved, shown, and between the two: being copied, waiting or sent.
    saved: Count,
    shown: Count,
    pending: Count,
    losses: Losses,
    /// Since when something is wrong with the viewer, and how many batches were lost before.
    outage: Option<u64>,
    is_refusing: bool,
    presence: Presence,
    is_closed: bool,
    /// Time that callers waited at the bound.
    waited: Duration,
    begun: Instant,
    acks: VecDeque<ImageAck>,
}

impl WaitingRoom {
    pub fn new(config: &StreamingConfig) -> Self {
        let state = State {
            waiting: VecDeque::new(),
            saved: Count::default(),
            shown: Count::default(),
            pending: Count::default(),
            losses: Losses::default(),
            outage: None,
            is_refusing: false,
            presence: Presence::NotYet,
            is_closed: false,
            waited: Duration::ZERO,
            begun: Instant::now(),
            acks: VecDeque::new(),
        };
        let limits = Limits {
            max_batches: config.max_batches.max(1),
            max_bytes: config.max_bytes,
            at_bound: config.at_bound,
            deadline: config.deadline,
        };
        Self { state: Mutex::new(state), changed: Condvar::new(), limits }
    }

    /// Takes room for a batch, waiting for it as the policy says. What finds none is counted as lost.
    pub fn reserve(&self, count: Count) -> Result<(), NoRoom> {
        let begun = Instant::now();
        let mut state = locked(&self.state);
        loop {
            if state.is_closed {
                return Err(NoRoom::Closed);
            }
            let pending = state.pending;
            let has_room = pending.batches < self.limits.max_batches as u64
                && pending.bytes.saturating_add(count.bytes) <= self.limits.max_bytes;
            if has_room || pending.batches == 0 {
                state.pending += count;
                return Ok(());
            }
            let left = self.patience_left(&state, begun);
            if left.is_zero() {
                state.losses.not_taken += count;
                state.begin_outage("it falls behind: the bound of what may be on its way is reached");
                let (batches, bytes) = (pending.batches as usize, pending.bytes);
                return Err(NoRoom::Full { batches, bytes });
            }
            let before = Instant::now();
            state = self.wait(state, left.min(PIECE));
            state.waited += before.elapsed();
        }
    }

    fn patience_left(&self, state: &State, begun: Instant) -> Duration {
        match (self.limits.at_bound, state.presence) {
            (AtBound::Refuse, _) | (AtBound::Wait { .. }, Presence::Gone) => Duration::ZERO,
            (AtBound::Wait { patience }, Presence::NotYet) => patience.saturating_sub(state.waited),
            (AtBound::Wait { patience }, Presence::Here) => {
                (patience + state.begun.elapsed() / SHARE_OF_TIME).saturating_sub(state.waited)
            }
            (AtBound::Block, _) => self.limits.deadline.saturating_sub(begun.elapsed()),
        }
    }

    /// Gives room back that was taken for a batch which could not be copied.
    pub fn unreserve(&self, count: Count) {
        locked(&self.state).pending -= count;
        self.changed.notify_all();
    }

    /// Lets a batch in for which room was taken.
    pub fn enter(&self, job: Job) {
        let mut state = locked(&self.state);
        state.saved += job.count;
        if state.is_closed {
            self.settle(state, &job, Err(LossReason::Closed));
        } else {
            state.waiting.push_back(job);
        }
    }

    /// The first batch that waits. It stays counted until it is [settled](Self::shown).
    pub fn next(&self) -> Option<Job> {
        locked(&self.state).waiting.pop_front()
    }

    /// Puts batches back before all others, in their order.
    pub fn put_back(&self, jobs: impl DoubleEndedIterator<Item = Job>) {
        let mut state = locked(&self.state);
        for job in jobs.rev() {
            state.waiting.push_front(job);
        }
    }

    /// Takes out those whose time is over; says when the next one's will be.
    pub fn expired(&self, now: Instant) -> (Vec<Job>, Option<Instant>) {
        let mut state = locked(&self.state);
        let (mut expired, mut kept) = (Vec::new(), VecDeque::with_capacity(state.waiting.len()));
        if state.waiting.iter().any(|job| job.deadline <= now) {
            for job in state.waiting.drain(..) {
                if job.deadline <= now { expired.push(job) } else { kept.push_back(job) }
            }
            state.waiting = kept;
        }
        (expired, state.waiting.iter().map(|job| job.deadline).min())
    }

    /// The viewer has this batch.
    pub fn shown(&self, job: &Job) {
        self.settle(locked(&self.state), job, Ok(()));
    }

    /// This batch will not be shown.
    pub fn lost(&self, job: &Job, reason: LossReason) {
        self.settle(locked(&self.state), job, Err(reason));
    }

    fn settle(&self, mut state: MutexGuard<'_, State>, job: &Job, outcome: Result<(), LossReason>) {
        state.pending -= job.count;
        match &outcome {
            Ok(()) => {
                state.shown += job.count;
                state.is_refusing = false;
                state.end_outage();
            }
            Err(reason) => {
                state.losses.add(job.count, reason);
                if reason.is_outage() {
                    state.begin_outage(&reason.to_string());
                } else if *reason != LossReason::Closed && !std::mem::replace(&mut state.is_refusing, true) {
                    tracing::warn!(%reason, "a batch is not shown; further ones in a row are counted only");
                }
            }
        }
        drop(state);
        // Before the bell: who is told that nothing is pending may ask the ticket.
        job.verdict.say(outcome);
        self.changed.notify_all();
    }

    /// Keeps what is known of the viewer.
    pub fn set_presence(&self, presence: Presence) {
        locked(&self.state).presence = presence;
        self.changed.notify_all();
    }

    pub fn presence(&self) -> Presence {
        locked(&self.state).presence
    }

    /// Takes no more batches, and gives up those that wait.
    pub fn close(&self) -> Vec<Job> {
        let mut state = locked(&self.state);
        state.is_closed = true;
        let left = state.waiting.drain(..).collect();
        drop(state);
        self.changed.notify_all();
        left
    }

    pub fn is_closed(&self) -> bool {
        locked(&self.state).is_closed
    }

    /// Waits until nothing is pending; returns what is.
    pub fn flush(&self, deadline: Instant) -> Count {
        let mut state = locked(&self.state);
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            if state.pending.batches == 0 || left.is_zero() || state.is_closed {
                return state.pending;
            }
            state = self.wait(state, left);
        }
    }

    pub fn add_acks(&self, acks: Vec<ImageAck>) {
        let mut state = locked(&self.state);
        state.acks.extend(acks);
        let excess = state.acks.len().saturating_sub(MAX_ACKS);
        state.acks.drain(..excess);
        drop(state);
        self.changed.notify_all();
    }

    /// Takes the acks that came; waits for the first until `deadline`.
    pub fn acks(&self, deadline: Instant) -> Vec<ImageAck> {
        let mut state = locked(&self.state);
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            if !state.acks.is_empty() || left.is_zero() || state.is_closed {
                return state.acks.drain(..).collect();
            }
            state = self.wait(state, left);
        }
    }

    pub fn losses(&self) -> Losses {
        locked(&self.state).losses.clone()
    }

    /// Saved, shown, pending.
    pub fn counts(&self) -> (Count, Count, Count) {
        let state = locked(&self.state);
        (state.saved, state.shown, state.pending)
    }

    fn wait<'g>(&self, state: MutexGuard<'g, State>, timeout: Duration) -> MutexGuard<'g, State> {
        match self.changed.wait_timeout(state, timeout) {
            Ok((state, _)) => state,
            Err(poisoned) => poisoned.into_inner().0,
        }
    }
}

impl State {
    /// Says once that something is wrong with the viewer.
    fn begin_outage(&mut self, reason: &str) {
        if self.outage.is_none() {
            self.outage = Some(self.losses.total().batches.saturating_sub(1));
            self.losses.outages += 1;
            tracing::warn!(reason, "the viewer misses batches; the work goes on, and what is not shown is counted");
        }
    }

    fn end_outage(&mut self) {
        if let Some(lost_before) = self.outage.take() {
            let batches = self.losses.total().batches.saturating_sub(lost_before);
            tracing::info!(batches, "the viewer takes batches again; some were not shown");
        }
    }
}
