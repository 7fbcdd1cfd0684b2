//! What became of batches: counted, and said once.

use std::time::Duration;

/// Batches, with their items and the bytes of their pixels.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Count {
    /// Batches.
    pub batches: u64,
    /// Images, shapes and points in them.
    pub items: u64,
    /// Bytes of their pixels.
    pub bytes: u64,
}

impl std::ops::AddAssign for Count {
    fn add_assign(&mut self, other: Self) {
        self.batches += other.batches;
        self.items += other.items;
        self.bytes += other.bytes;
    }
}

impl std::ops::SubAssign for Count {
    fn sub_assign(&mut self, other: Self) {
        self.batches -= other.batches;
        self.items -= other.items;
        self.bytes -= other.bytes;
    }
}

/// What was saved and not shown, by cause.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Losses {
    /// Not taken: too much was on its way already.
    pub not_taken: Count,
    /// No viewer was there until the deadline, or it went away with the batch in its hands.
    pub viewer_gone: Count,
    /// The viewer is there and did not answer until the deadline.
    pub no_reply: Count,
    /// The viewer refused it, or answered what no viewer answers.
    pub refused: Count,
    /// The stream was closed before it was sent or answered.
    pub closed: Count,
    /// How often the viewer went away, hung or fell behind. Each was logged once.
    pub outages: u64,
    /// The viewer's own sentence about what it refused last.
    pub last_refusal: Option<String>,
}

impl Losses {
    /// All of them.
    pub fn total(&self) -> Count {
        let mut total = self.not_taken;
        for count in [self.viewer_gone, self.no_reply, self.refused, self.closed] {
            total += count;
        }
        total
    }

    /// Whether everything was shown.
    pub fn is_empty(&self) -> bool {
        self.total() == Count::default()
    }

    pub(crate) fn add(&mut self, count: Count, reason: &LossReason) {
        match reason {
            LossReason::NobodyListens { .. } | LossReason::WentAway { .. } => self.viewer_gone += count,
            LossReason::NoReply { .. } => self.no_reply += count,
            LossReason::Refused { message } => {
                self.refused += count;
                self.last_refusal = Some(message.clone());
            }
            LossReason::TakesNoFrames { .. } | LossReason::BadReply { .. } | LossReason::NotWritten { .. } => {
                self.refused += count;
                self.last_refusal = Some(reason.to_string());
            }
            LossReason::Closed => self.closed += count,
        }
    }
}

impl std::fmt::Display for Losses {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Count { batches, items, bytes } = self.total();
        if batches == 0 {
            return f.write_str("everything was shown");
        }
        write!(f, "{batches} batches ({items} items, {bytes} bytes) were not shown")?;
        let parts = [
            ("not taken, too much was on its way", self.not_taken),
            ("viewer gone", self.viewer_gone),
            ("no reply", self.no_reply),
            ("refused", self.refused),
            ("closed before", self.closed),
        ];
        let mut separator = ": ";
        for (what, count) in parts.into_iter().filter(|(_, count)| count.batches > 0) {
            write!(f, "{separator}{} {what}", count.batches)?;
            separator = ", ";
        }
        match &self.last_refusal {
            Some(sentence) => write!(f, ". Last refusal: {sentence}"),
            None => Ok(()),
        }
    }
}

/// Why a batch that was taken is not shown.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum LossReason {
    /// Nobody was there until its deadline; nothing was sent.
    #[error("nobody listens at {url} (waited {waited:?}); start the viewer, or check its port and transport")]
    NobodyListens {
        /// ZeroMQ address of the viewer.
        url: String,
        /// How long.
        waited: Duration,
    },
    /// The connection ended while the viewer had it in its hands. Whether it was shown before is unknown.
    #[error("the viewer at {url} went away before it answered")]
    WentAway {
        /// ZeroMQ address of the viewer.
        url: String,
    },
    /// No answer until its deadline, from a viewer that is there.
    #[error("no reply from {url} within {waited:?}; the viewer hangs or falls behind")]
    NoReply {
        /// ZeroMQ address of the viewer.
        url: String,
        /// How long.
        waited: Duration,
    },
    /// The viewer refused the whole batch.
    #[error("the viewer refused the batch: {message}")]
    Refused {
        /// The viewer's own sentence.
        message: String,
    },
    /// The pixels could travel as binary frames only: it is on another machine, or shared memory is full.
    #[error(
        "the viewer at {url} takes no binary frames; use a wellscope there, or a viewer of this machine with enough shared memory"
    )]
    TakesNoFrames {
        /// ZeroMQ address of the viewer.
        url: String,
    },
    /// The answer is none of a viewer's.
    #[error("cannot read the reply to a batch: {reason}. Address: {url}")]
    BadReply {
        /// What is wrong with it.
        reason: String,
        /// ZeroMQ address of the viewer.
        url: String,
    },
    /// The message could not be made or sent.
    #[error("cannot send the batch: {reason}")]
    NotWritten {
        /// What was in the way.
        reason: String,
    },
    /// The stream was closed first.
    #[error("the stream was closed before the batch was answered")]
    Closed,
}

impl LossReason {
    /// Whether it tells of the viewer rather than of the batch.
    pub(crate) fn is_outage(&self) -> bool {
        matches!(self, Self::NobodyListens { .. } | Self::WentAway { .. } | Self::NoReply { .. })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn losses_are_told_by_cause() {
        let mut losses = Losses::default();
        assert!(losses.is_empty());
        assert_eq!(losses.to_string(), "everything was shown");
        let count = Count { batches: 1, items: 2, bytes: 30 };
        let url = || "ipc:///s".to_owned();
        losses.add(count, &LossReason::WentAway { url: url() });
        losses.add(count, &LossReason::NoReply { url: url(), waited: Duration::from_secs(1) });
        losses.add(count, &LossReason::Refused { message: "no such component".to_owned() });
        assert_eq!(losses.total(), Count { batches: 3, items: 6, bytes: 90 });
        assert_eq!((losses.viewer_gone, losses.no_reply, losses.refused), (count, count, count));
        let text = losses.to_string();
        assert!(text.starts_with("3 batches (6 items, 90 bytes) were not shown: 1 viewer gone, 1 no reply"), "{text}");
        assert!(text.ends_with("Last refusal: no such component"), "{text}");
    }
}
