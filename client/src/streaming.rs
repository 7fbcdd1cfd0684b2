//! Streams batches without holding up the work that makes them: [`StreamingBackend::save_batch`] copies pixels and returns; a
//! thread sends them, several at a time, and takes the memory back when the viewer has replied.
//!
//! No call waits for a viewer. One that starts late finds what waits for it; one that is killed loses the batch it had in its
//! hands; one that hangs misses what does not fit below the bound. All that is counted ([`StreamingBackend::losses`]) and logged
//! once per outage, and streaming goes on by itself when a viewer is there again.
//!
//! Pixels are written into segments that are used again (`shm_kept`), so that in the steady state saving costs one copy. Against
//! a viewer on another machine they travel as binary frames. [`PixelTransport`] says how that is chosen.
//!
//! ```no_run
//! use wellscope_client::{RequestItem, SaveRequest, StreamingBackend, StreamingConfig, ViewerEndpoint};
//! let backend = StreamingBackend::connect(StreamingConfig::new(ViewerEndpoint::openhcs(5555)))?;
//! let pixels = ndarray::Array2::<u16>::zeros((512, 512));
//! let address = [("well".to_owned(), "A01".into()), ("channel".to_owned(), 1.into())].into();
//! backend.save_batch([pixels.view()], &["/plate/A01_w1.tif"], &SaveRequest::new(vec![address]))?;
//! let losses = backend.close(std::time::Duration::from_secs(10));
//! println!("{losses}");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod config;
mod connection;
mod frames_question;
mod losses;
mod placement;
mod save_request;
mod sender;
mod ticket;
mod waiting_room;

use std::collections::VecDeque;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use wellscope_protocol::batch::AckRoute;
use wellscope_protocol::reply::ImageAck;

use crate::ack::AckListener;
use crate::prepare::{CheckedRequest, ItemError};
use crate::producer::ConnectError;
use crate::request::{BatchRequest, RequestItem};
use crate::segment::SegmentError;
use crate::segment_name::sweep_segments_of_dead_owners;
use crate::segment_pool::SegmentPool;
use crate::socket::deadline_after;
pub use config::{AtBound, PixelTransport, StreamingConfig};
use connection::Waker;
use frames_question::FramesQuestion;
pub use losses::{Count, LossReason, Losses};
use placement::{Pixelware, StreamPlacement};
pub use save_request::SaveRequest;
use sender::Sender;
pub use ticket::{Ticket, WaitError};
use waiting_room::{Job, NoRoom, Presence, WaitingRoom};

/// Why a batch was not taken. Nothing of it will be sent.
#[derive(Debug, thiserror::Error)]
pub enum SaveError {
    /// Each array needs a path, and an address or one for all.
    #[error(
        "{arrays} arrays came with {paths} paths and {addresses} addresses; each needs a path, and an address of its own or one for all"
    )]
    CountsDisagree {
        /// Arrays given.
        arrays: usize,
        /// Paths given.
        paths: usize,
        /// Addresses in the request.
        addresses: usize,
    },
    /// An item is wrong.
    #[error(transparent)]
    Item(#[from] ItemError),
    /// Shared memory could not be had, and was asked for.
    #[error(transparent)]
    Segment(#[from] SegmentError),
    /// Too much is on its way. Counted in [`Losses::not_taken`].
    #[error(
        "{batches} batches with {bytes} bytes are on their way to the viewer, which takes them too slowly; this one is not sent"
    )]
    Full {
        /// Batches on their way.
        batches: usize,
        /// Bytes of their pixels.
        bytes: u64,
    },
    /// The stream was closed.
    #[error("the stream is closed")]
    Closed,
}

/// How a stream stands.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct StreamStatus {
    /// Whether a viewer is connected now.
    pub is_connected: bool,
    /// What was taken.
    pub saved: Count,
    /// What the viewer has.
    pub shown: Count,
    /// What is being copied, waits, or is with the viewer.
    pub on_its_way: Count,
    /// Bytes of shared memory that wait for the next batches.
    pub pool_bytes: u64,
}

/// A stream of batches to one viewer, for use from many threads. Batches of one thread arrive in their order.
///
/// Dropping it waits for what is on its way, at most [`StreamingConfig::drop_timeout`], and leaves no shared memory behind.
pub struct StreamingBackend {
    config: StreamingConfig,
    room: Arc<WaitingRoom>,
    pool: Arc<SegmentPool>,
    waker: Arc<Waker>,
    ack_route: Option<AckRoute>,
    thread: Option<JoinHandle<()>>,
}

impl StreamingBackend {
    /// Starts the stream. Never waits for a viewer; it may come later.
    ///
    /// Removes shared memory of producers that were killed (Linux; only segments of ours whose process is gone).
    ///
    /// # Errors
    /// There is no such address, acks cannot be listened for as asked, or the system gives no sockets or threads.
    pub fn connect(config: StreamingConfig) -> Result<Self, ConnectError> {
        let url = config.endpoint.data_url()?;
        let swept = sweep_segments_of_dead_owners();
        if swept > 0 {
            tracing::info!(segments = swept, "removed shared memory of producers that are gone");
        }
        let failed = |reason: String| ConnectError::System { reason, url: url.clone() };
        let context = zmq::Context::new();
        let acks = AckListener::bind(&context, &config.endpoint, config.acks, config.generation)?;
        let ack_route = acks.as_ref().and_then(|acks| acks.route().cloned());
        let (waker, bell) = Waker::new(&context).map_err(|cause| failed(cause.to_string()))?;
        let waker = Arc::new(waker);
        let room = Arc::new(WaitingRoom::new(&config));
        let pool = Arc::new(SegmentPool::new(config.pool_bytes, config.pool_keep_idle));
        let sender = Sender {
            context,
            url: url.clone(),
            is_local: config.endpoint.is_on_this_machine(),
            room: Arc::clone(&room),
            pool: Arc::clone(&pool),
            bell,
            waker: Arc::clone(&waker),
            acks,
            frames: FramesQuestion::new(config.endpoint.clone()),
            connection: None,
            in_flight: VecDeque::new(),
            retry_at: None,
            is_hanging: false,
        };
        let thread = std::thread::Builder::new()
            .name("wellscope-stream".to_owned())
            .spawn(move || sender.run())
            .map_err(|cause| failed(cause.to_string()))?;
        Ok(Self { config, room, pool, waker, ack_route, thread: Some(thread) })
    }

    /// Copies arrays and returns; they are sent meanwhile. `paths` has one path per array, `request` their addresses and what
    /// else a viewer must know.
    ///
    /// Arrays are ndarray views of any strides, [`ImageItem`](crate::ImageItem)s (raw bytes, label images, planes, colour) or
    /// [`RoiItem`](crate::RoiItem)s (shapes, points); mixed as [`RequestItem`]s.
    ///
    /// # Errors
    /// Wrong items, at once and before anything is copied; [`SaveError::Full`] as [`AtBound`] says. What happens to a batch
    /// after it was taken is told by its ticket and counted in [`StreamingBackend::losses`].
    pub fn save_batch<'a>(
        &self,
        arrays: impl IntoIterator<Item = impl Into<RequestItem<'a>>>,
        paths: &[impl AsRef<str>],
        request: &SaveRequest,
    ) -> Result<Ticket, SaveError> {
        self.save(request.batch(arrays.into_iter().map(Into::into).collect(), paths)?)
    }

    /// As [`StreamingBackend::save_batch`], for a batch that was put together item by item.
    pub fn save(&self, request: BatchRequest<'_>) -> Result<Ticket, SaveError> {
        let request = CheckedRequest::new(request)?;
        let count = Count { batches: 1, items: request.len() as u64, bytes: request.size_bytes() };
        self.room.reserve(count).map_err(|error| match error {
            NoRoom::Full { batches, bytes } => SaveError::Full { batches, bytes },
            NoRoom::Closed => SaveError::Closed,
        })?;
        let mut placement = StreamPlacement {
            pool: &self.pool,
            transport: self.config.pixels,
            is_local: self.config.endpoint.is_on_this_machine(),
            held: Pixelware::default(),
            next_frame: 0,
        };
        let batch = match request.place(self.ack_route.as_ref(), &mut placement) {
            Ok(batch) => batch,
            Err(error) => {
                self.room.unreserve(count);
                return Err(error.into());
            }
        };
        let (ticket, verdict) = Ticket::new();
        let saved = Instant::now();
        let deadline = deadline_after(self.config.deadline);
        let held = placement.held;
        self.room.enter(Job { batch, message: None, held, count, saved, deadline, verdict, times_sent: 0 });
        self.waker.wake();
        Ok(ticket)
    }

    /// Waits until nothing is on its way any more, be it shown or lost; at most `timeout`. Returns what still is.
    pub fn flush(&self, timeout: Duration) -> Count {
        self.room.flush(deadline_after(timeout))
    }

    /// Waits for what is on its way, at most `timeout`; the rest is lost. Returns everything that was not shown.
    pub fn close(mut self, timeout: Duration) -> Losses {
        self.end(timeout);
        self.room.losses()
    }

    /// What was not shown so far.
    pub fn losses(&self) -> Losses {
        self.room.losses()
    }

    /// How it stands.
    pub fn status(&self) -> StreamStatus {
        let (saved, shown, on_its_way) = self.room.counts();
        let is_connected = self.room.presence() == Presence::Here;
        StreamStatus { is_connected, saved, shown, on_its_way, pool_bytes: self.pool.idle_bytes() }
    }

    /// Acks that came in. Waits up to `timeout` for the first; empty when none came or when acks are off.
    pub fn acks(&self, timeout: Duration) -> Vec<ImageAck> {
        if self.config.acks == crate::ack::AckMode::Off {
            return Vec::new();
        }
        self.room.acks(deadline_after(timeout))
    }

    /// How this stream was set up.
    pub fn config(&self) -> &StreamingConfig {
        &self.config
    }

    fn end(&mut self, timeout: Duration) {
        let Some(thread) = self.thread.take() else { return };
        self.flush(timeout);
        for job in self.room.close() {
            self.room.lost(&job, LossReason::Closed);
        }
        self.waker.wake();
        if thread.join().is_err() {
            tracing::error!("the thread that sends batches panicked; what it had is lost");
        }
        self.pool.clear();
        let losses = self.room.losses();
        if !losses.is_empty() {
            tracing::warn!(%losses, "the stream ends");
        }
    }
}

impl Drop for StreamingBackend {
    fn drop(&mut self) {
        self.end(self.config.drop_timeout);
    }
}
