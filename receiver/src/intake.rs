//! What happens to one message of the data socket, whichever kind of socket it is: served, delivered, recorded, and what its
//! sender is told. Shared by all threads that serve.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crossbeam_channel::Sender;
use wellscope_protocol::batch::image_ids;
use wellscope_protocol::reply::{batch_error, batch_success};

use crate::acks::LeftSegment;
use crate::counters::{self, Counters};
use crate::delivery::{Delivery, ReceivedBatch, Severity};
use crate::message::Message;
use crate::outbox::{DeliverError, Outbox};
use crate::patience::{Alone, Patience, Waiting};
use crate::serve::{BUSY_TEXT, BatchServer, Refusal, Served};
use crate::text::printable;

/// What serving takes.
pub(crate) struct Intake {
    pub server: BatchServer,
    pub outbox: Arc<Outbox>,
    pub left_segments: Sender<LeftSegment>,
    pub counters: Arc<Counters>,
    pub busy_timeout: Duration,
    /// The app took nothing in time when a producer waited last.
    pub stuck: AtomicBool,
}

/// While the app takes nothing at all, later producers are told sooner: those queued behind others would otherwise run into
/// their own timeout of 30 s without a word.
const BUSY_TIMEOUT_WHEN_STUCK: Duration = Duration::from_secs(1);

/// Publishers wait for nothing, so a batch of theirs waits for the app as long as it takes: a year stands for ever.
const PUBLISHED_TIMEOUT: Duration = Duration::from_secs(365 * 24 * 3600);

/// What a producer hears whose batch made us panic.
const FAILED_TEXT: &str = "The viewer failed while it read this batch. That is a bug of the viewer; its log has more.";

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

impl Intake {
    /// Serves one request and returns its reply. The pixels are ours then, or nothing of it is.
    pub(crate) fn answer(&self, message: &Message, waiting: &dyn Waiting) -> Vec<u8> {
        let was_stuck = self.stuck.load(Ordering::Acquire);
        let timeout = if was_stuck { self.busy_timeout.min(BUSY_TIMEOUT_WHEN_STUCK) } else { self.busy_timeout };
        let Taken { outcome, opened } = self.take(message, Patience { deadline: Instant::now() + timeout, waiting });
        let reply = match outcome {
            Ok(()) => {
                self.stuck.store(false, Ordering::Release);
                batch_success()
            }
            Err(refusal) => {
                counters::add(&self.counters.errors_replied, 1);
                // What was refused for itself says nothing about the app.
                if refusal.text == BUSY_TEXT {
                    self.stuck.store(true, Ordering::Release);
                }
                self.report_refusal(&refusal);
                batch_error(refusal.reply_type.as_deref(), &refusal.text)
            }
        };
        self.record(message, Some(&reply));
        self.watch(opened);
        reply
    }

    /// The reply to a request whose serving panicked outside what [`answer`](Self::answer) guards.
    pub(crate) fn failed_reply() -> Vec<u8> {
        batch_error(Some("batch"), FAILED_TEXT)
    }

    /// Serves one published message. Its producer hears of errors by acks, where its items have an `image_id`.
    pub(crate) fn take_published(&self, message: &Message) {
        let patience = Patience { deadline: Instant::now() + PUBLISHED_TIMEOUT, waiting: &Alone };
        let Taken { outcome, opened } = self.take(message, patience);
        if let Err(refusal) = outcome {
            self.report_refusal(&refusal);
            for image_id in image_ids(&message.body, self.server.limits.max_items) {
                self.server.outlet.refuse(image_id, None, &refusal.text);
            }
        }
        self.record(message, None);
        self.watch(opened);
    }

    fn record(&self, message: &Message, reply: Option<&[u8]>) {
        if let Some(end) = self.server.record(message, reply) {
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
    fn take(&self, message: &Message, patience: Patience) -> Taken {
        catch_unwind(AssertUnwindSafe(|| self.serve(message, patience)))
            .unwrap_or_else(|_| Taken::refused(Some("batch"), FAILED_TEXT.into()))
    }

    fn serve(&self, message: &Message, patience: Patience) -> Taken {
        if let Some(excess) = message.excess {
            return Taken::refused(Some("batch"), excess.to_string());
        }
        let Served { outcome, opened, left_out } = self.server.serve(message, patience);
        if let Some(first) = left_out.first() {
            let count = left_out.len();
            self.outbox.report(Severity::Error, format!("Left out of a published batch: {count}. First: {first}"));
        }
        Taken { outcome: outcome.and_then(|batch| self.deliver(batch, patience)), opened }
    }

    fn deliver(&self, batch: ReceivedBatch, patience: Patience) -> Result<(), Refusal> {
        let items = batch.items.len() as u64;
        let images = batch.items.iter().filter(|item| item.is_image()).count() as u64;
        // Counted before the app can take them, so that never more are taken than were received.
        counters::add(&self.counters.items_received, items);
        let delivered = match self.outbox.deliver(Delivery::Batch(batch), Instant::now()) {
            Err(DeliverError::Busy(returned)) => patience.wait(|deadline| self.outbox.deliver(*returned, deadline)),
            other => other,
        };
        match delivered {
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
