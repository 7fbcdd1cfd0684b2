//! The thread that sends batches, reads their replies and gives their memory back.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use wellscope_protocol::reply::BatchReply;

use super::connection::{Connection, ConnectionEvent, Waker};
use super::frames_question::FramesQuestion;
use super::losses::LossReason;
use super::placement::Pixelware;
use super::waiting_room::{Job, Presence, WaitingRoom};
use crate::ack::AckListener;
use crate::segment_pool::SegmentPool;

/// Batches that the viewer has at once: one that it copies, and others so that it never waits for us. The rest waits here,
/// where a viewer that dies does not take it along.
const PIPELINE_DEPTH: usize = 4;
/// Longest sleep; everything that matters wakes the thread earlier.
const LONGEST_SLEEP: Duration = Duration::from_secs(60);
/// When a connection cannot even be begun: how long until the next attempt.
const RETRY_OPENING: Duration = Duration::from_millis(500);

/// State of the thread.
pub(super) struct Sender {
    pub context: zmq::Context,
    pub url: String,
    pub is_local: bool,
    pub room: Arc<WaitingRoom>,
    pub pool: Arc<SegmentPool>,
    pub bell: zmq::Socket,
    pub waker: Arc<Waker>,
    pub acks: Option<AckListener>,
    pub frames: FramesQuestion,
    pub connection: Option<Connection>,
    /// Sent on this connection and not answered, in order.
    pub in_flight: VecDeque<Job>,
    pub retry_at: Option<Instant>,
    /// Whether the last connection ended because of its silence.
    pub is_hanging: bool,
}

impl Sender {
    /// Works until the room is closed. What is still in flight then is lost.
    pub fn run(mut self) {
        while !self.room.is_closed() {
            let now = Instant::now();
            // First: it may end the connection.
            let next_deadline = self.give_up_expired(now);
            self.ensure_connection(now);
            let can_send = self.send_waiting();
            let next_shrink = self.pool.shrink(now);
            let until = [next_deadline, next_shrink, self.retry_at].into_iter().flatten().min();
            self.sleep(until, !can_send);
            self.read_replies();
            self.read_acks();
            self.read_events();
        }
        self.connection = None;
        for job in self.in_flight.drain(..).chain(self.room.close()) {
            self.room.lost(&job, LossReason::Closed);
        }
        self.pool.clear();
    }

    fn ensure_connection(&mut self, now: Instant) {
        if self.connection.is_some() || self.retry_at.is_some_and(|at| now < at) {
            return;
        }
        match Connection::open(&self.context, &self.url, self.is_local) {
            Ok(connection) => (self.connection, self.retry_at) = (Some(connection), None),
            // Out of sockets or files: others may give some back.
            Err(cause) => {
                tracing::debug!(%cause, url = self.url, "no connection can be begun");
                self.retry_at = Some(now + RETRY_OPENING);
            }
        }
    }

    /// Loses what has waited too long; says when that will be so next.
    fn give_up_expired(&mut self, now: Instant) -> Option<Instant> {
        if self.in_flight.front().is_some_and(|job| job.deadline <= now) {
            // Its reply may still come and would be taken for another's: replies carry no name. So the connection ends,
            // and what else was sent on it is sent again.
            self.reconnect(|url, waited| LossReason::NoReply { url, waited });
            self.is_hanging = true;
        }
        let (expired, next_waiting) = self.room.expired(now);
        let presence = self.room.presence();
        for job in expired {
            let (url, waited) = (self.url.clone(), job.saved.elapsed());
            let reason = match presence {
                Presence::Here => LossReason::NoReply { url, waited },
                // A process that is stopped lets us connect and says no word.
                Presence::Gone if self.is_hanging => LossReason::NoReply { url, waited },
                Presence::NotYet | Presence::Gone => LossReason::NobodyListens { url, waited },
            };
            self.lose(job, reason);
        }
        let next_in_flight = self.in_flight.front().map(|job| job.deadline);
        [next_waiting, next_in_flight].into_iter().flatten().min()
    }

    /// Sends what it can; `false` when a batch waits for the connection to take it.
    fn send_waiting(&mut self) -> bool {
        while self.in_flight.len() < PIPELINE_DEPTH {
            let Some(mut job) = self.room.next() else { return true };
            if !job.held.buffers.is_empty() {
                match self.frames.answer(&self.waker) {
                    None => {
                        self.room.put_back([job].into_iter());
                        return true;
                    }
                    Some(false) => {
                        let url = self.url.clone();
                        self.lose(job, LossReason::TakesNoFrames { url });
                        continue;
                    }
                    Some(true) => {}
                }
            }
            match self.send(&mut job) {
                Ok(true) => self.in_flight.push_back(job),
                Ok(false) => {
                    self.room.put_back([job].into_iter());
                    return false;
                }
                Err(reason) => self.lose(job, LossReason::NotWritten { reason }),
            }
        }
        true
    }

    fn send(&mut self, job: &mut Job) -> Result<bool, String> {
        let Some(connection) = &self.connection else { return Ok(false) };
        let message = match job.message.take() {
            Some(message) => message,
            None => job.batch.encode().map_err(|cause| cause.to_string())?,
        };
        if let Some(acks) = &mut self.acks {
            // Before sending: an ack may overtake the reply.
            acks.expect(job.batch.items.iter().filter_map(|item| item.image_id.as_deref()));
        }
        let sent = connection.send(&message, &job.held.buffers).map_err(|cause| cause.to_string());
        job.message = Some(message);
        job.times_sent += u32::from(sent == Ok(true));
        sent
    }

    fn sleep(&self, until: Option<Instant>, wait_to_send: bool) {
        let left = until.map_or(LONGEST_SLEEP, |until| until.saturating_duration_since(Instant::now()));
        // Rounded up: with 0.4 ms left, 0 would spin.
        let millis = i64::try_from(left.min(LONGEST_SLEEP).as_micros().div_ceil(1000)).unwrap_or(1000);
        let mut items = vec![self.bell.as_poll_item(zmq::POLLIN)];
        if let Some(connection) = &self.connection {
            let events = if wait_to_send { zmq::POLLIN | zmq::POLLOUT } else { zmq::POLLIN };
            items.push(connection.socket.as_poll_item(events));
            items.push(connection.monitor.as_poll_item(zmq::POLLIN));
        }
        if let Some(acks) = &self.acks {
            items.push(acks.socket().as_poll_item(zmq::POLLIN));
        }
        if let Err(cause) = zmq::poll(&mut items, millis)
            && cause != zmq::Error::EINTR
        {
            tracing::warn!(%cause, "the stream cannot wait for its viewer");
            std::thread::sleep(Duration::from_millis(100));
        }
        while self.bell.recv_bytes(zmq::DONTWAIT).is_ok() {}
    }

    fn read_replies(&mut self) {
        while let Some(reply) = self.connection.as_ref().and_then(Connection::reply) {
            let Some(job) = self.in_flight.pop_front() else {
                tracing::debug!(url = self.url, "a reply to nothing");
                continue;
            };
            let bad = |reason| LossReason::BadReply { reason, url: self.url.clone() };
            let outcome = match reply {
                Err(frames) => Err(bad(format!("it has {frames} frames, a reply has one"))),
                Ok(reply) => match BatchReply::decode(&reply) {
                    Ok(BatchReply::Success) => Ok(()),
                    Ok(BatchReply::Refused { message }) => Err(LossReason::Refused { message }),
                    Err(error) => Err(bad(error.to_string())),
                },
            };
            match outcome {
                Ok(()) => self.finish(job),
                Err(reason) => self.lose(job, reason),
            }
        }
    }

    fn read_acks(&mut self) {
        if let Some(acks) = &mut self.acks {
            let came = acks.receive(Duration::ZERO);
            if !came.is_empty() {
                self.room.add_acks(came);
            }
        }
    }

    fn read_events(&mut self) {
        while let Some(event) = self.connection.as_mut().and_then(Connection::event) {
            match event {
                ConnectionEvent::Up => {
                    self.frames.forget();
                    self.is_hanging = false;
                    self.room.set_presence(Presence::Here);
                }
                ConnectionEvent::Down => {
                    // What it said before it left comes first.
                    self.read_replies();
                    self.reconnect(|url, _| LossReason::WentAway { url });
                }
            }
        }
    }

    /// Ends the connection and begins another. The first batch in flight is lost: the viewer had it in its hands, and may
    /// have died of it. Those behind it are sent again.
    fn reconnect(&mut self, reason: impl FnOnce(String, Duration) -> LossReason) {
        self.connection = None;
        self.room.set_presence(Presence::Gone);
        if let Some(job) = self.in_flight.pop_front() {
            let reason = reason(self.url.clone(), job.saved.elapsed());
            self.lose(job, reason);
        }
        self.room.put_back(self.in_flight.drain(..));
    }

    fn finish(&mut self, mut job: Job) {
        let Pixelware { segments, buffers: _ } = std::mem::take(&mut job.held);
        if job.times_sent == 1 {
            segments.into_iter().for_each(|segment| self.pool.give_back(segment));
        }
        self.room.shown(&job);
    }

    /// Its segments are unlinked before anybody hears of it; a viewer that comes to read them later finds nothing, which is
    /// better than the pixels of another image.
    fn lose(&mut self, mut job: Job, reason: LossReason) {
        drop(std::mem::take(&mut job.held));
        if let Some(acks) = &mut self.acks {
            acks.forget(job.batch.items.iter().filter_map(|item| item.image_id.as_deref()));
        }
        self.room.lost(&job, reason);
    }
}
