//! Streams batches to a viewer: pixels into shared memory, one JSON message, one reply, segments gone again.
//!
//! As polystore 0.2.19 (G3) and 0.6.3 (G4) do it, except that the connection is kept open between batches.

use std::time::{Duration, Instant};

use wellscope_protocol::endpoint::EndpointError;
use wellscope_protocol::reply::{BatchReply, ImageAck};

use crate::ack::{AckError, AckListener, AckMode, Generation};
use crate::endpoint::ViewerEndpoint;
use crate::prepare::{ItemError, OwnSegments, PrepareError, prepare};
use crate::request::BatchRequest;
use crate::segment::SegmentError;
use crate::socket::{RequestError, RequestSocket};

/// How a [`Producer`] talks to its viewer.
#[derive(Clone, Debug)]
pub struct ProducerConfig {
    /// Where the viewer listens.
    pub endpoint: ViewerEndpoint,
    /// How long a reply is waited for; 30 s by default, as released producers wait.
    pub reply_timeout: Duration,
    /// How long a connection is waited for before anything is copied; 5 s by default.
    pub connect_timeout: Duration,
    /// Whether acks are listened for, and where; off by default.
    pub acks: AckMode,
    /// Whose wire is spoken; [`Generation::G3`] by default.
    pub generation: Generation,
}

impl ProducerConfig {
    /// The defaults, for a viewer at `endpoint`.
    pub fn new(endpoint: ViewerEndpoint) -> Self {
        Self {
            endpoint,
            reply_timeout: Duration::from_secs(30),
            connect_timeout: Duration::from_secs(5),
            acks: AckMode::Off,
            generation: Generation::G3,
        }
    }
}

/// Why a [`Producer`] could not be made. That no viewer listens shows only when a batch is sent.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// There is no such address: a port out of range, a socket path too long.
    #[error(transparent)]
    Endpoint(#[from] EndpointError),
    /// Acks cannot be listened for as asked.
    #[error(transparent)]
    Acks(#[from] AckError),
    /// The system gives no more sockets or threads.
    #[error("cannot begin to stream: {reason}. Address: {url}")]
    System {
        /// What it said.
        reason: String,
        /// ZeroMQ address of the viewer.
        url: String,
    },
}

/// Why a batch was not taken. Its segments are gone in any case; the next batch may be sent at once.
#[derive(Debug, thiserror::Error)]
pub enum SendError {
    /// An item is wrong; nothing was sent.
    #[error(transparent)]
    Item(#[from] ItemError),
    /// Shared memory could not be had; nothing was sent.
    #[error(transparent)]
    Segment(#[from] SegmentError),
    /// The message could not be written; nothing was sent.
    #[error("cannot write the batch as JSON: {cause}")]
    Encode {
        /// What was in the way.
        cause: serde_json::Error,
    },
    /// Nobody listens, or no reply came in time.
    #[error(transparent)]
    Request(#[from] RequestError),
    /// The viewer refused the whole batch.
    #[error("the viewer rejected the batch: {message}")]
    Rejected {
        /// The viewer's own sentence.
        message: String,
    },
    /// The reply is not one of a viewer; whether it has the pixels is unknown.
    #[error("cannot read the reply to a batch: {reason}. Address: {url}")]
    BadReply {
        /// What is wrong with it.
        reason: String,
        /// ZeroMQ address of the viewer.
        url: String,
    },
}

/// A stream of batches to one viewer.
pub struct Producer {
    config: ProducerConfig,
    socket: RequestSocket,
    acks: Option<AckListener>,
}

impl Producer {
    /// Binds the ack socket, if any. The viewer may start later: connecting happens when the first batch is sent.
    pub fn connect(config: ProducerConfig) -> Result<Self, ConnectError> {
        let context = zmq::Context::new();
        let acks = AckListener::bind(&context, &config.endpoint, config.acks, config.generation)?;
        let socket = RequestSocket::new(context, config.endpoint.data_url()?);
        Ok(Self { config, socket, acks })
    }

    /// Sends a batch and waits until the viewer has copied its pixels. Blocks for at most the connect and the reply
    /// timeout; pixels are copied only once a connection stands.
    pub fn send_batch(&mut self, request: BatchRequest<'_>) -> Result<(), SendError> {
        let started = Instant::now();
        self.socket.wait_until_connected(self.config.connect_timeout)?;
        let route = self.acks.as_ref().and_then(AckListener::route);
        let mut segments = OwnSegments::default();
        let batch = prepare(request, route, &mut segments).map_err(|error| match error {
            PrepareError::Item(error) => SendError::Item(error),
            PrepareError::Segment(error) => SendError::Segment(error),
        })?;
        if let Some(acks) = &mut self.acks {
            // Before sending: an ack may overtake the reply.
            acks.expect(batch.items.iter().filter_map(|item| item.image_id.as_deref()));
        }
        let message = batch.encode().map_err(|cause| SendError::Encode { cause })?;
        let reply = self.socket.request(
            message,
            self.config.connect_timeout.saturating_sub(started.elapsed()),
            self.config.reply_timeout,
        );
        // Since polystore 0.1.12 the sender unlinks, whatever came of it.
        drop(segments);
        let outcome = reply.map_err(SendError::Request).and_then(|reply| read_reply(&reply, self.socket.url()));
        if outcome.is_err()
            && let Some(acks) = &mut self.acks
        {
            acks.forget(batch.items.iter().filter_map(|item| item.image_id.as_deref()));
        }
        outcome
    }

    /// Acks that came in, at most a few thousand at once. Waits up to `timeout` for the first; empty when none came or
    /// when acks are off.
    pub fn acks(&mut self, timeout: Duration) -> Vec<ImageAck> {
        self.acks.as_mut().map(|acks| acks.receive(timeout)).unwrap_or_default()
    }

    /// Images that were sent and not acknowledged yet. Nothing waits for them: an ack is for progress displays.
    pub fn unacknowledged(&self) -> usize {
        self.acks.as_ref().map_or(0, AckListener::pending)
    }

    /// How this producer was set up.
    pub fn config(&self) -> &ProducerConfig {
        &self.config
    }
}

fn read_reply(reply: &[u8], url: &str) -> Result<(), SendError> {
    match BatchReply::decode(reply) {
        Ok(BatchReply::Success) => Ok(()),
        Ok(BatchReply::Refused { message }) => Err(SendError::Rejected { message }),
        Err(error) => Err(SendError::BadReply { reason: error.to_string(), url: url.to_owned() }),
    }
}
