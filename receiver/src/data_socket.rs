//! The thread that owns the data socket: every request gets exactly one reply, after its pixels are ours; what is published gets
//! none.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crossbeam_channel::Sender;
use wellscope_protocol::batch::image_ids;
use wellscope_protocol::reply::{batch_error, batch_success};

use crate::acks::LeftSegment;
use crate::config::DataSocket;
use crate::counters::{self, Counters};
use crate::delivery::{Delivery, ReceivedBatch, Severity};
use crate::outbox::{DeliverError, Outbox};
use crate::patience::{Alone, Patience};
use crate::serve::{BUSY_TEXT, BatchServer, Refusal, Served};
use crate::text::printable;
use crate::wake::WakeSignal;

/// What the thread owns.
pub(crate) struct DataThread {
    pub socket: zmq::Socket,
    pub kind: DataSocket,
    pub wake: WakeSignal,
    pub stopping: Arc<AtomicBool>,
    pub server: BatchServer,
    pub outbox: Arc<Outbox>,
    pub left_segments: Sender<LeftSegment>,
    pub counters: Arc<Counters>,
    pub busy_timeout: Duration,
}

/// While the app takes nothing at all, later producers are told sooner: those queued behind the first would otherwise run into
/// their own timeout of 30 s without a word.
const BUSY_TIMEOUT_WHEN_STUCK: Duration = Duration::from_secs(1);

/// Publishers wait for nothing, so a batch of theirs waits for the app as long as it takes: a year stands for ever.
const PUBLISHED_TIMEOUT: Duration = Duration::from_secs(365 * 24 * 3600);

/// What became of one message.
struct Taken {
    outcome: Result<(), Refusal>,
    opened: Vec<LeftSegment>,
}

impl Taken {
    fn refused(reply_type: Option<&str>, text: String) -> Self {
        let refusal = Refusal { reply_type: reply_type.map(str::to_owned), text };
        Self { outcome: Err(refusal), opened: Vec::new() }
    }
}

impl DataThread {
    pub(crate) fn run(self) {
        let mut stuck = false;
        while !self.stopping.load(Ordering::Acquire) {
            let mut sockets = [self.socket.as_poll_item(zmq::POLLIN), self.wake.socket().as_poll_item(zmq::POLLIN)];
            match zmq::poll(&mut sockets, -1) {
                Ok(_) | Err(zmq::Error::EINTR) => {}
                Err(error) => {
                    self.outbox
                        .report(Severity::Error, format!("The data socket failed and takes no more images: {error}"));
                    return;
                }
            }
            if sockets[1].is_readable() {
                self.wake.clear();
            }
            while !self.stopping.load(Ordering::Acquire) {
                match self.take_request() {
                    Ok(parts) => match self.kind {
                        DataSocket::Rep => stuck = self.answer(parts, stuck),
                        DataSocket::Sub => self.take_published(parts),
                    },
                    Err(zmq::Error::EAGAIN) => break,
                    Err(zmq::Error::EINTR) => {}
                    Err(zmq::Error::EFSM) => {
                        // A reply is still owed (its sending failed); the socket takes no request before it is sent.
                        let text = "The viewer could not send its reply.";
                        let _ = self.socket.send(batch_error(None, text), 0);
                        break;
                    }
                    Err(error) => {
                        tracing::error!(%error, "cannot receive on the data socket");
                        break;
                    }
                }
            }
        }
    }

    /// The first frame of one request and the number of its frames. Further ones are dropped as they come.
    fn take_request(&self) -> zmq::Result<(zmq::Message, usize)> {
        let first = self.socket.recv_msg(zmq::DONTWAIT)?;
        let mut frames = 1;
        while self.socket.get_rcvmore()? {
            drop(self.socket.recv_msg(0)?);
            frames += 1;
        }
        Ok((first, frames))
    }

    /// Serves one request and replies. Returns whether the app took nothing in time.
    fn answer(&self, (frame, frames): (zmq::Message, usize), was_stuck: bool) -> bool {
        let patience = if was_stuck { self.busy_timeout.min(BUSY_TIMEOUT_WHEN_STUCK) } else { self.busy_timeout };
        let Taken { outcome, opened } = self.take(&frame, frames, Instant::now() + patience);
        let (reply, stuck) = match outcome {
            Ok(()) => (batch_success(), false),
            Err(refusal) => {
                counters::add(&self.counters.errors_replied, 1);
                self.report_refusal(&refusal);
                (batch_error(refusal.reply_type.as_deref(), &refusal.text), refusal.text == BUSY_TEXT)
            }
        };
        self.record(&frame, Some(&reply));
        drop(frame);
        if let Err(error) = self.socket.send(reply, 0) {
            tracing::warn!(%error, "the reply to a producer could not be sent");
        }
        self.watch(opened);
        stuck
    }

    /// Serves one published message. Its producer hears of errors by acks, where its items have an `image_id`.
    fn take_published(&self, (frame, frames): (zmq::Message, usize)) {
        let Taken { outcome, opened } = self.take(&frame, frames, Instant::now() + PUBLISHED_TIMEOUT);
        if let Err(refusal) = outcome {
            self.report_refusal(&refusal);
            for image_id in image_ids(&frame, self.server.limits.max_items) {
                self.server.outlet.refuse(image_id, None, &refusal.text);
            }
        }
        self.record(&frame, None);
        self.watch(opened);
    }

    fn record(&self, frame: &[u8], reply: Option<&[u8]>) {
        if let Some(end) = self.server.record(frame, reply) {
            self.outbox.report(Severity::Warning, end);
        }
    }

    fn report_refusal(&self, refusal: &Refusal) {
        self.outbox.report(Severity::Error, format!("A batch was refused. {}", printable(&refusal.text)));
    }

    fn watch(&self, opened: Vec<LeftSegment>) {
        for segment in opened {
            // The ack thread ends only with the receiver, and then it no longer matters.
            let _ = self.left_segments.send(segment);
        }
    }

    /// Reads and delivers one message. Whatever goes wrong inside, a producer must not wait 30 s for a reply that never comes.
    fn take(&self, frame: &[u8], frames: usize, deadline: Instant) -> Taken {
        catch_unwind(AssertUnwindSafe(|| self.serve(frame, frames, deadline))).unwrap_or_else(|_| {
            let text = "The viewer failed while it read this batch. That is a bug of the viewer; its log has more.";
            Taken::refused(Some("batch"), text.into())
        })
    }

    fn serve(&self, frame: &[u8], frames: usize, deadline: Instant) -> Taken {
        if frames != 1 {
            return Taken::refused(None, format!("A batch is one frame; this message has {frames}."));
        }
        let Served { outcome, opened, left_out } = self.server.serve(frame, Patience { deadline, waiting: &Alone });
        if let Some(first) = left_out.first() {
            let count = left_out.len();
            self.outbox.report(Severity::Error, format!("Left out of a published batch: {count}. First: {first}"));
        }
        Taken { outcome: outcome.and_then(|batch| self.deliver(batch, deadline)), opened }
    }

    fn deliver(&self, batch: ReceivedBatch, deadline: Instant) -> Result<(), Refusal> {
        let items = batch.items.len() as u64;
        let images = batch.items.iter().filter(|item| item.is_image()).count() as u64;
        // Counted before the app can take them, so that never more are taken than were received.
        counters::add(&self.counters.items_received, items);
        match self.outbox.deliver(Delivery::Batch(batch), deadline) {
            Ok(()) => {
                counters::add(&self.counters.images_received, images);
                counters::add(&self.counters.batches_received, 1);
                tracing::debug!(items, images, "batch delivered");
                Ok(())
            }
            Err(error) => {
                let (returned, text) = match error {
                    DeliverError::Busy(returned) => (returned, BUSY_TEXT),
                    DeliverError::Gone(returned) => {
                        (returned, "The viewer is closing; nothing of this batch was kept.")
                    }
                };
                if let Delivery::Batch(batch) = *returned {
                    batch.items.into_iter().for_each(|item| item.ack.withdraw());
                }
                self.counters.items_received.fetch_sub(items, Ordering::AcqRel);
                Err(Refusal { reply_type: Some("batch".into()), text: text.into() })
            }
        }
    }
}
