//! A connection on which several batches may be on their way, and news of whether it stands.
//!
//! A DEALER with the empty delimiter of a REQ: REP sockets (OpenHCS's viewers) take one message after the other from it,
//! our ROUTER several. Both answer each, in order.

use zmq::{DONTWAIT, SNDMORE, SocketType};

use wellscope_protocol::batch::frame_ranges;

/// A reply to a batch is a sentence.
const MAX_REPLY_BYTES: i64 = 16 << 20;
/// How long to wait before trying to connect again, in milliseconds; grows up to the second number.
const RECONNECT_MILLIS: (i32, i32) = (50, 500);
/// To another machine: how often it is asked whether it still lives, and when its silence is the end. libzmq answers by
/// itself, however busy the viewer is.
const HEARTBEAT_MILLIS: (i32, i32) = (5_000, 15_000);

/// What happened to a connection.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum ConnectionEvent {
    Up,
    Down,
}

/// A socket for one viewer, connected or trying to be.
pub(super) struct Connection {
    // Before the monitor: closed first, it still has where to report to.
    pub socket: zmq::Socket,
    pub monitor: zmq::Socket,
    is_up: bool,
}

impl Connection {
    /// Begins to connect. Never waits.
    pub fn open(context: &zmq::Context, url: &str, is_local: bool) -> zmq::Result<Self> {
        let socket = context.socket(SocketType::DEALER)?;
        socket.set_linger(0)?;
        // Queue only to a connection that stands: what waits, waits with us and survives the viewer.
        socket.set_immediate(true)?;
        socket.set_maxmsgsize(MAX_REPLY_BYTES)?;
        socket.set_reconnect_ivl(RECONNECT_MILLIS.0)?;
        socket.set_reconnect_ivl_max(RECONNECT_MILLIS.1)?;
        // Only for a literal address: with it, "localhost" may mean ::1, where no viewer listens.
        socket.set_ipv6(url.contains('['))?;
        if !is_local {
            socket.set_heartbeat_ivl(HEARTBEAT_MILLIS.0)?;
            socket.set_heartbeat_timeout(HEARTBEAT_MILLIS.1)?;
        }
        let address = format!("inproc://monitor-{}", uuid::Uuid::new_v4().simple());
        let events = zmq::SocketEvent::HANDSHAKE_SUCCEEDED as i32 | zmq::SocketEvent::DISCONNECTED as i32;
        socket.monitor(&address, events)?;
        let monitor = context.socket(SocketType::PAIR)?;
        monitor.set_linger(0)?;
        monitor.connect(&address)?;
        socket.connect(url)?;
        Ok(Self { socket, monitor, is_up: false })
    }

    /// Hands a message over, cut into frames; `false` when nobody is there to take it.
    pub fn send(&self, message: &[u8], buffers: &[Vec<u8>]) -> zmq::Result<bool> {
        let parts = || buffers.iter().flat_map(|bytes| frame_ranges(bytes.len()).map(|range| &bytes[range]));
        let more = |is_last: bool| if is_last { DONTWAIT } else { DONTWAIT | SNDMORE };
        match retry(|| self.socket.send(&b""[..], DONTWAIT | SNDMORE)) {
            Ok(()) => {}
            Err(zmq::Error::EAGAIN) => return Ok(false),
            Err(cause) => return Err(cause),
        }
        let mut left = parts().count();
        retry(|| self.socket.send(message, more(left == 0)))?;
        for part in parts() {
            left -= 1;
            retry(|| self.socket.send(part, more(left == 0)))?;
        }
        Ok(true)
    }

    /// The next reply: its only frame, or how many frames there were instead.
    pub fn reply(&self) -> Option<Result<Vec<u8>, usize>> {
        let mut frames = retry(|| self.socket.recv_multipart(DONTWAIT)).ok()?;
        match (frames.pop(), frames.as_slice()) {
            (Some(reply), [delimiter]) if delimiter.is_empty() => Some(Ok(reply)),
            (_, others) => Some(Err(others.len() + 1)),
        }
    }

    /// The next thing that happened to it.
    pub fn event(&mut self) -> Option<ConnectionEvent> {
        loop {
            let frames = retry(|| self.monitor.recv_multipart(DONTWAIT)).ok()?;
            let number = frames.first().and_then(|frame| frame.first_chunk()).map(|bytes| u16::from_ne_bytes(*bytes));
            match number {
                Some(number) if number == zmq::SocketEvent::HANDSHAKE_SUCCEEDED.to_raw() => {
                    self.is_up = true;
                    return Some(ConnectionEvent::Up);
                }
                // Attempts that fail end too; only the end of a connection is news.
                Some(number) if number == zmq::SocketEvent::DISCONNECTED.to_raw() && self.is_up => {
                    self.is_up = false;
                    return Some(ConnectionEvent::Down);
                }
                _ => {}
            }
        }
    }
}

/// A signal does not end a call.
fn retry<T>(mut call: impl FnMut() -> zmq::Result<T>) -> zmq::Result<T> {
    loop {
        match call() {
            Err(zmq::Error::EINTR) => {}
            result => return result,
        }
    }
}

/// Ends the wait of a thread that polls, from any other.
pub(super) struct Waker(std::sync::Mutex<zmq::Socket>);

impl Waker {
    /// It, and the socket to poll.
    pub fn new(context: &zmq::Context) -> zmq::Result<(Self, zmq::Socket)> {
        let address = format!("inproc://wake-{}", uuid::Uuid::new_v4().simple());
        let (bell, rope) = (context.socket(SocketType::PULL)?, context.socket(SocketType::PUSH)?);
        bell.bind(&address)?;
        rope.set_linger(0)?;
        rope.connect(&address)?;
        Ok((Self(rope.into()), bell))
    }

    pub fn wake(&self) {
        // A full queue means that it rings already.
        let _ = crate::lock::locked(&self.0).send(&b""[..], DONTWAIT);
    }
}
