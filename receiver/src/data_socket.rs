//! The thread that owns the data socket. What producers request is handed to the workers and answered exactly once, after its
//! pixels are ours, the requests of one peer in their order; what is published is served here and gets no answer.
//!
//! A ROUTER socket, because producers of several wells stream at once, and one whose pixels take long must not hold up the others.
//! Peers see what a REP socket would do. Requests that are read and not yet answered are bounded in number and bytes: beyond that
//! the socket is not read, so that the rest waits in the peers' own queues.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crossbeam_channel::{Receiver, Sender};

use crate::counters::Counters;
use crate::delivery::Severity;
use crate::intake::Intake;
use crate::message::{FrameLimits, Message};
use crate::outbox::Outbox;
use crate::wake::WakeSignal;
use crate::workers::{Answered, Job};

/// What both kinds of thread own.
pub(crate) struct DataThread {
    pub socket: zmq::Socket,
    pub wake: WakeSignal,
    pub stopping: Arc<AtomicBool>,
    pub outbox: Arc<Outbox>,
    pub frame_limits: FrameLimits,
}

/// The thread of a socket on which producers request.
pub(crate) struct RequestThread {
    pub data: DataThread,
    /// To the workers. Holds at most what may be queued.
    pub jobs: Sender<Job>,
    /// From the workers.
    pub answered: Receiver<Answered>,
    pub queue: Queue,
}

/// The thread of a socket on which producers publish.
pub(crate) struct PublishedThread {
    pub data: DataThread,
    pub intake: Intake,
}

/// Frames before the empty one that are kept: who asked. One, a few more behind proxies.
const MAX_ENVELOPE_FRAMES: usize = 8;

impl DataThread {
    /// Sleeps until there is something to do. `Err`: the socket is broken; it has been said.
    fn wait(&self, reads: bool) -> Result<(), ()> {
        let wake = self.wake.socket().as_poll_item(zmq::POLLIN);
        let mut sockets = [wake, self.socket.as_poll_item(zmq::POLLIN)];
        let polled = if reads { &mut sockets[..] } else { &mut sockets[..1] };
        match zmq::poll(polled, -1) {
            Ok(_) | Err(zmq::Error::EINTR) => {}
            Err(error) => {
                let text = format!("The data socket failed and takes no more images: {error}");
                self.outbox.report(Severity::Error, text);
                return Err(());
            }
        }
        if sockets[0].is_readable() {
            self.wake.clear();
        }
        Ok(())
    }

    fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::Acquire)
    }

    /// What `receive` gives, until nothing is left to read; errors are said.
    fn received<T>(&self, receive: impl FnOnce(&Self) -> zmq::Result<T>) -> Option<T> {
        match receive(self) {
            Ok(message) => Some(message),
            Err(zmq::Error::EAGAIN | zmq::Error::EINTR) => None,
            Err(error) => {
                tracing::error!(%error, "cannot receive on the data socket");
                None
            }
        }
    }

    /// Drops what is left of the message that is being read.
    fn skip_rest(&self) -> zmq::Result<()> {
        while self.socket.get_rcvmore()? {
            drop(self.socket.recv_msg(0)?);
        }
        Ok(())
    }

    /// One request; `None`: a message that no REQ socket sends, without an empty frame or with nothing behind it. A REP socket
    /// drops those too.
    fn take_request(&self) -> zmq::Result<Option<Job>> {
        let mut envelope = vec![self.socket.recv_bytes(zmq::DONTWAIT)?];
        while self.socket.get_rcvmore()? {
            let frame = self.socket.recv_bytes(0)?;
            if frame.is_empty() {
                if !self.socket.get_rcvmore()? {
                    return Ok(None);
                }
                let body = self.socket.recv_msg(0)?;
                let message = Message::read_rest(body, &self.socket, self.frame_limits)?;
                return Ok(Some(Job { envelope, message }));
            }
            if envelope.len() >= MAX_ENVELOPE_FRAMES {
                self.skip_rest()?;
                return Ok(None);
            }
            envelope.push(frame);
        }
        Ok(None)
    }

    fn send_reply(&self, envelope: Vec<Vec<u8>>, reply: Vec<u8>) {
        let frames = envelope.into_iter().chain([Vec::new(), reply]);
        // A peer that is gone gets nothing, and that is no error.
        if let Err(error) = self.socket.send_multipart(frames, 0) {
            tracing::warn!(%error, "the reply to a producer could not be sent");
        }
    }
}

impl RequestThread {
    pub(crate) fn run(mut self) {
        while !self.data.is_stopping() {
            if self.data.wait(self.queue.has_room()).is_err() {
                break;
            }
            while let Ok(answered) = self.answered.try_recv() {
                self.finish(answered);
            }
            while self.queue.has_room() && !self.data.is_stopping() {
                let Some(request) = self.data.received(DataThread::take_request) else { break };
                let Some(job) = request else {
                    tracing::debug!("a message without an envelope was dropped");
                    continue;
                };
                if let Some(job) = self.queue.push(job) {
                    self.dispatch(job);
                }
            }
        }
        // The workers end when nothing more can come; what they have in hand is answered, so that segments are accounted for.
        let Self { data, jobs, answered, .. } = self;
        drop(jobs);
        for answered in answered {
            data.send_reply(answered.envelope, answered.reply);
        }
    }

    fn finish(&mut self, answered: Answered) {
        if let Some(next) = self.queue.finish(&answered) {
            self.dispatch(next);
        }
        self.data.send_reply(answered.envelope, answered.reply);
    }

    fn dispatch(&self, job: Job) {
        // The channel holds all that may be queued; workers are only gone when the receiver ends.
        let _ = self.jobs.try_send(job);
    }
}

impl PublishedThread {
    pub(crate) fn run(self) {
        let take = |data: &DataThread| {
            let first = data.socket.recv_msg(zmq::DONTWAIT)?;
            Message::read_rest(first, &data.socket, data.frame_limits)
        };
        while !self.data.is_stopping() {
            if self.data.wait(true).is_err() {
                return;
            }
            while !self.data.is_stopping() {
                let Some(message) = self.data.received(take) else { break };
                self.intake.take_published(&message);
            }
        }
    }
}

/// Requests that are read and not yet answered, in order for each peer.
pub(crate) struct Queue {
    /// Peers of which one request is with the workers, and what they asked since. Peers are told apart by the first frame, which
    /// the socket gives each connection.
    peers: HashMap<Vec<u8>, VecDeque<Job>>,
    requests: usize,
    bytes: u64,
    max_requests: usize,
    max_bytes: u64,
    counters: Arc<Counters>,
}

impl Queue {
    /// At most `max_requests`, and no further one once `max_bytes` are held.
    pub(crate) fn new(max_requests: usize, max_bytes: u64, counters: Arc<Counters>) -> Self {
        Self { peers: HashMap::new(), requests: 0, bytes: 0, max_requests, max_bytes, counters }
    }

    fn has_room(&self) -> bool {
        self.requests < self.max_requests.max(1) && self.bytes < self.max_bytes.max(1)
    }

    /// Takes a request; gives it back when it is its peer's turn.
    fn push(&mut self, job: Job) -> Option<Job> {
        self.count(self.requests + 1, self.bytes + job.message.size_bytes());
        match self.peers.get_mut(peer_of(&job.envelope)) {
            Some(waiting) => {
                waiting.push_back(job);
                None
            }
            None => {
                self.peers.insert(peer_of(&job.envelope).to_vec(), VecDeque::new());
                Some(job)
            }
        }
    }

    /// One is answered; gives the next one of its peer.
    fn finish(&mut self, answered: &Answered) -> Option<Job> {
        self.count(self.requests.saturating_sub(1), self.bytes.saturating_sub(answered.request_bytes));
        let peer = peer_of(&answered.envelope);
        let next = self.peers.get_mut(peer).and_then(VecDeque::pop_front);
        if next.is_none() {
            self.peers.remove(peer);
        }
        next
    }

    fn count(&mut self, requests: usize, bytes: u64) {
        (self.requests, self.bytes) = (requests, bytes);
        self.counters.requests_in_hand.store(requests as u64, Ordering::Release);
    }
}

fn peer_of(envelope: &[Vec<u8>]) -> &[u8] {
    envelope.first().map_or(&[], Vec::as_slice)
}

#[cfg(test)]
mod tests;
