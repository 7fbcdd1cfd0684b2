//! One request and its one reply over a ZeroMQ REQ socket, before a deadline.

use std::time::{Duration, Instant};

use zmq::{DONTWAIT, PollEvents, SocketType};

/// Longest reply that is accepted. Payload replies may carry arrays; a batch reply is a few bytes.
const MAX_REPLY_BYTES: i64 = 1 << 30;

/// Why a request got no usable reply.
#[derive(Debug, thiserror::Error)]
pub enum RequestError {
    /// No connection came about; nothing was sent.
    #[error("nobody listens at {url} (waited {waited:?}); start the viewer, or check its port and transport")]
    NobodyListens {
        /// ZeroMQ address of the viewer.
        url: String,
        /// How long a connection was waited for.
        waited: Duration,
    },
    /// Sent, but no reply came: the viewer hangs, or died after the message reached it.
    #[error("no reply from {url} within {waited:?}; the viewer hangs or is gone")]
    NoReply {
        /// ZeroMQ address of the viewer.
        url: String,
        /// How long the reply was waited for.
        waited: Duration,
    },
    /// A reply has one frame; this one had several.
    #[error("the reply has {frames} frames, it should have one; {url} is no viewer")]
    NotOneFrame {
        /// ZeroMQ address of the viewer.
        url: String,
        /// Frames found.
        frames: usize,
    },
    /// ZeroMQ refused, e.g. because the address is malformed or longer than a socket path may be.
    #[error("ZeroMQ refused: {cause}. Address: {url}")]
    Socket {
        /// ZeroMQ address of the viewer.
        url: String,
        /// What it said.
        cause: zmq::Error,
    },
}

/// A REQ socket that is replaced whenever its strict send-receive rhythm was broken.
///
/// Kept open between requests: connecting anew costs released producers 0.1 s per batch.
pub(crate) struct RequestSocket {
    context: zmq::Context,
    url: String,
    socket: Option<zmq::Socket>,
}

impl RequestSocket {
    /// Remembers the address; a connection is made with the first request.
    pub fn new(context: zmq::Context, url: String) -> Self {
        Self { context, url, socket: None }
    }

    /// The viewer's ZeroMQ address.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Waits for a connection, so that nothing is prepared for a viewer that is not there.
    pub fn wait_until_connected(&mut self, timeout: Duration) -> Result<(), RequestError> {
        let socket = match self.socket.take() {
            Some(socket) => socket,
            None => self.connect().map_err(|cause| self.refused(cause))?,
        };
        let writable = wait_for(&socket, zmq::POLLOUT, deadline_after(timeout)).map_err(|cause| self.refused(cause))?;
        self.socket = Some(socket);
        if writable { Ok(()) } else { Err(RequestError::NobodyListens { url: self.url.clone(), waited: timeout }) }
    }

    /// Sends one frame and waits for the reply. After any error the next request starts on a fresh socket.
    pub fn request(
        &mut self,
        message: Vec<u8>,
        connect_timeout: Duration,
        reply_timeout: Duration,
    ) -> Result<Vec<u8>, RequestError> {
        self.wait_until_connected(connect_timeout)?;
        // Taken out and put back only after a complete exchange: a REQ socket that misses its reply is stuck for good.
        let Some(socket) = self.socket.take() else {
            return Err(self.refused(zmq::Error::ENOTSOCK));
        };
        loop {
            match socket.send(&message, DONTWAIT) {
                Ok(()) => break,
                Err(zmq::Error::EINTR) => {}
                // The peer left between the wait and the send.
                Err(zmq::Error::EAGAIN) => {
                    return Err(RequestError::NobodyListens { url: self.url.clone(), waited: connect_timeout });
                }
                Err(cause) => return Err(self.refused(cause)),
            }
        }
        let deadline = deadline_after(reply_timeout);
        let mut frames = loop {
            if !wait_for(&socket, zmq::POLLIN, deadline).map_err(|cause| self.refused(cause))? {
                return Err(RequestError::NoReply { url: self.url.clone(), waited: reply_timeout });
            }
            match socket.recv_multipart(DONTWAIT) {
                Ok(frames) => break frames,
                Err(zmq::Error::EINTR | zmq::Error::EAGAIN) => {}
                Err(cause) => return Err(self.refused(cause)),
            }
        };
        self.socket = Some(socket);
        match (frames.pop(), frames.len()) {
            (Some(frame), 0) => Ok(frame),
            (_, others) => Err(RequestError::NotOneFrame { url: self.url.clone(), frames: others + 1 }),
        }
    }

    fn connect(&self) -> zmq::Result<zmq::Socket> {
        let socket = self.context.socket(SocketType::REQ)?;
        socket.set_linger(0)?;
        // Queue only to a connection that stands: otherwise a message to nobody looks like one that is being worked on.
        socket.set_immediate(true)?;
        socket.set_maxmsgsize(MAX_REPLY_BYTES)?;
        // Only for a literal address: with it, "localhost" may mean ::1, where no viewer listens.
        socket.set_ipv6(self.url.contains('['))?;
        socket.connect(&self.url)?;
        Ok(socket)
    }

    fn refused(&self, cause: zmq::Error) -> RequestError {
        RequestError::Socket { url: self.url.clone(), cause }
    }
}

/// The moment `timeout` from now; a timeout that no clock can hold becomes a year.
pub(crate) fn deadline_after(timeout: Duration) -> Instant {
    const A_YEAR: Duration = Duration::from_secs(365 * 24 * 3600);
    let now = Instant::now();
    now.checked_add(timeout).unwrap_or_else(|| now + A_YEAR)
}

/// Waits until `events` can be done, at most until `deadline`. A signal does not end the wait.
pub(crate) fn wait_for(socket: &zmq::Socket, events: PollEvents, deadline: Instant) -> zmq::Result<bool> {
    loop {
        // Rounded up: with 0.4 ms left, 0 would spin. On Windows, ZeroMQ counts in 32 bits.
        let left = deadline.saturating_duration_since(Instant::now());
        let left_millis = i64::try_from(left.as_micros().div_ceil(1000)).unwrap_or(i64::MAX).min(i32::MAX.into());
        match socket.poll(events, left_millis) {
            Ok(ready) if ready > 0 => return Ok(true),
            Ok(_) if Instant::now() >= deadline => return Ok(false),
            Ok(_) | Err(zmq::Error::EINTR) => {}
            Err(cause) => return Err(cause),
        }
    }
}
