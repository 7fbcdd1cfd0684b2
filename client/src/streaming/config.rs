//! How a stream is set up: where to, by which way pixels travel, and how much it may hold.

use std::time::Duration;

use crate::ack::{AckMode, Generation};
use crate::endpoint::ViewerEndpoint;

/// How the pixels of images get to the viewer.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum PixelTransport {
    /// Shared memory to a viewer on this machine; when it is full, binary frames. To another machine binary frames, but
    /// arrays of up to 4 KiB as text, which every viewer takes.
    #[default]
    Auto,
    /// Shared memory only: when it is full, the batch is an error.
    SharedMemory,
    /// Raw bytes behind the message. A viewer says in its pong whether it takes them (ours do); one that does not, gets
    /// nothing.
    Frames,
    /// Numbers in the message. Every viewer takes them; several times the bytes.
    Inline,
}

/// What happens to a batch that would exceed [`StreamingConfig::max_batches`] or [`StreamingConfig::max_bytes`].
///
/// Whatever is not taken is an error to the caller and counted in [`Losses::not_taken`](crate::Losses::not_taken).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum AtBound {
    /// The caller waits, but all of its waits together stay below `patience` plus a twentieth of the time that the stream
    /// exists: a slow viewer slows a pipeline by 5 % and a hanging one by `patience`, once. While a viewer that was there
    /// is gone, nobody waits.
    Wait {
        /// All waits together, beyond the twentieth.
        patience: Duration,
    },
    /// The batch is not taken, at once.
    Refuse,
    /// The caller waits until there is room; at most [`StreamingConfig::deadline`], since by then earlier batches are
    /// shown or lost. For those who would rather wait than miss an image.
    Block,
}

/// How a [`StreamingBackend`](crate::StreamingBackend) works. Each default stands at its field.
#[derive(Clone, Debug)]
pub struct StreamingConfig {
    /// Where the viewer listens.
    pub endpoint: ViewerEndpoint,
    /// How pixels travel; [`PixelTransport::Auto`].
    pub pixels: PixelTransport,
    /// How long after [`save_batch`](crate::StreamingBackend::save_batch) a batch may be shown; then it is lost. 30 s, as
    /// released producers wait for a reply.
    pub deadline: Duration,
    /// Batches that are copied and not yet answered; 64.
    pub max_batches: usize,
    /// Bytes of pixels that are copied and not yet answered; 512 MiB. A single batch may be larger when nothing else is on
    /// its way.
    pub max_bytes: u64,
    /// What happens at these bounds; [`AtBound::Wait`] with 2 s.
    pub at_bound: AtBound,
    /// Shared memory that is kept for the next batches, beside what is on its way; 256 MiB.
    pub pool_bytes: u64,
    /// How long it is kept without use; 10 s.
    pub pool_keep_idle: Duration,
    /// How long dropping waits for what is on its way; 5 s.
    pub drop_timeout: Duration,
    /// Whether acks are listened for, and where; off.
    pub acks: AckMode,
    /// Whose wire is spoken; [`Generation::G3`].
    pub generation: Generation,
}

impl StreamingConfig {
    /// The defaults, for a viewer at `endpoint`.
    pub fn new(endpoint: ViewerEndpoint) -> Self {
        Self {
            endpoint,
            pixels: PixelTransport::Auto,
            deadline: Duration::from_secs(30),
            max_batches: 64,
            max_bytes: 512 << 20,
            at_bound: AtBound::Wait { patience: Duration::from_secs(2) },
            pool_bytes: 256 << 20,
            pool_keep_idle: Duration::from_secs(10),
            drop_timeout: Duration::from_secs(5),
            acks: AckMode::Off,
            generation: Generation::G3,
        }
    }
}
