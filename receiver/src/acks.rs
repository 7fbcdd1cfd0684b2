//! Acks to producers, and the clean-up of segments that nobody else removes: what is owed to producers after the reply.
//!
//! One thread owns the PUSH sockets. Nothing here ever waits for a producer: what cannot be sent at once is counted and dropped.

use std::collections::VecDeque;
use std::fmt;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crossbeam_channel::{Receiver, Sender, after, never, select};
use wellscope_protocol::batch::AckRoute;
use wellscope_protocol::reply::{AckStatus, ImageAck};

use crate::counters::{self, Counters};
use crate::in_flight::Permit;
use crate::platform::{FileIdentity, SharedMemory, file_identity};
use crate::text::printable;

/// What a producer calls this viewer in its acks and pongs.
pub(crate) const VIEWER_TYPE: &str = "napari";

/// One ack on its way.
pub(crate) struct Ack {
    url: String,
    ack: ImageAck,
}

/// A segment to be removed if its producer leaves it behind.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct LeftSegment {
    pub name: String,
    pub identity: FileIdentity,
}

/// Where acks of this receiver go, and how to get them to the ack thread.
pub(crate) struct AckOutlet {
    /// Boxed: a bounded channel holds room for as many as it may, 65,536 of them, from the start.
    pub sender: Sender<Box<Ack>>,
    pub counters: Arc<Counters>,
    /// For items without a return route (G1 to G3).
    pub shared_url: String,
    /// Data port, repeated in every ack.
    pub viewer_port: u16,
    /// Return routes may name other hosts only when this viewer itself serves other hosts.
    pub allow_remote: bool,
}

/// The owed answer to one item: answer it when the item is in its layer, or cannot be. Never blocks; without an `image_id`
/// nothing is sent. Dropping it counts the item as taken and sends nothing.
pub struct AckTicket(Option<Ticket>);

struct Ticket {
    address: Option<(String, Option<AckRoute>)>,
    outlet: Arc<AckOutlet>,
    _permit: Permit,
}

impl AckTicket {
    /// A ticket that nobody waits for; for items made by tests.
    pub fn untracked() -> Self {
        Self(None)
    }

    pub(crate) fn new(
        image_id: Option<String>,
        route: Option<AckRoute>,
        outlet: Arc<AckOutlet>,
        permit: Permit,
    ) -> Self {
        Self(Some(Ticket { address: image_id.map(|id| (id, route)), outlet, _permit: permit }))
    }

    /// The item is in its layer.
    pub fn succeed(self) {
        self.answer(AckStatus::Success, None);
    }

    /// The item could not be placed; `text` says why, for the producer's log.
    pub fn fail(self, text: impl Into<String>) {
        self.answer(AckStatus::Error, Some(text.into()));
    }

    /// Ends a ticket whose item was never delivered.
    pub(crate) fn withdraw(mut self) {
        self.0 = None;
    }

    fn answer(mut self, status: AckStatus, error: Option<String>) {
        let Some(ticket) = &mut self.0 else { return };
        let Some((image_id, route)) = ticket.address.take() else { return };
        ticket.outlet.send(image_id, route, status, error);
    }
}

impl AckOutlet {
    /// Says that an item was refused before it was delivered; for producers that get no reply.
    pub(crate) fn refuse(&self, image_id: String, route: Option<AckRoute>, text: &str) {
        self.send(image_id, route, AckStatus::Error, Some(text.to_owned()));
    }

    /// Hands one ack to the ack thread. Never blocks.
    fn send(&self, image_id: String, route: Option<AckRoute>, status: AckStatus, error: Option<String>) {
        let url = route.as_ref().map_or(&self.shared_url, |route| &route.url).clone();
        let ack = ImageAck {
            image_id,
            viewer_port: self.viewer_port,
            viewer_type: VIEWER_TYPE.into(),
            status,
            error,
            timestamp: SystemTime::now().duration_since(UNIX_EPOCH).map_or(0.0, |since| since.as_secs_f64()),
            route,
        };
        let reachable = self.allow_remote || is_local(&url);
        if !reachable {
            tracing::warn!(url = %printable(&url), "an ack to another host is not sent, because this viewer serves this machine only");
        }
        if !reachable || self.sender.try_send(Box::new(Ack { url, ack })).is_err() {
            counters::add(&self.counters.acks_dropped, 1);
        }
    }
}

impl Drop for AckTicket {
    fn drop(&mut self) {
        if let Some(ticket) = self.0.take() {
            counters::add(&ticket.outlet.counters.items_taken, 1);
        }
    }
}

impl fmt::Debug for AckTicket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Some(Ticket { address: Some((image_id, _)), .. }) => write!(f, "AckTicket({image_id:?})"),
            _ => f.write_str("AckTicket(untracked)"),
        }
    }
}

/// Whether an ack URL stays on this machine.
fn is_local(url: &str) -> bool {
    if let Some(path) = url.strip_prefix("ipc://") {
        return Path::new(path).is_absolute();
    }
    let Some(address) = url.strip_prefix("tcp://") else { return false };
    let Some((host, _port)) = address.rsplit_once(':') else { return false };
    let host = host.trim_start_matches('[').trim_end_matches(']');
    host == "localhost" || host.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
}

/// What the thread owns.
pub(crate) struct AckThread {
    pub context: zmq::Context,
    pub acks: Receiver<Box<Ack>>,
    pub left_segments: Receiver<LeftSegment>,
    /// Disconnects when the receiver ends.
    pub stop: Receiver<()>,
    pub shared_memory: Box<dyn SharedMemory>,
    pub late_unlink: Duration,
    pub counters: Arc<Counters>,
}

/// Producers' ack sockets held open; producers of G4 have one each, those before share one.
const MAX_OPEN_SOCKETS: usize = 16;
/// Acks held for a listener that is not there yet.
const SEND_QUEUE: i32 = 1000;
/// A socket without a listener tries to connect again and again; after this long without acks it is closed, and the idle viewer sleeps.
const CLOSE_AFTER_IDLE: Duration = Duration::from_secs(30);

struct OpenSocket {
    url: String,
    socket: zmq::Socket,
    used_at: Instant,
    /// The file behind an `ipc://` URL when last seen.
    file: Option<FileIdentity>,
}

impl AckThread {
    pub(crate) fn run(self) {
        // Most recently used last.
        let mut sockets: Vec<OpenSocket> = Vec::new();
        // In order of their deadlines, because every deadline is the same time after arrival.
        let mut left: VecDeque<(Instant, LeftSegment)> = VecDeque::new();
        loop {
            let next_unlink = left.front().map(|(due, _)| *due);
            let next_close = sockets.iter().map(|open| open.used_at + CLOSE_AFTER_IDLE).min();
            let timer = match next_unlink.into_iter().chain(next_close).min() {
                Some(due) => after(due.saturating_duration_since(Instant::now())),
                None => never(),
            };
            select! {
                recv(self.acks) -> ack => match ack {
                    Ok(ack) => self.send(&mut sockets, *ack),
                    Err(_) => break,
                },
                recv(self.left_segments) -> segment => match segment {
                    Ok(segment) => left.push_back((Instant::now() + self.late_unlink, segment)),
                    Err(_) => break,
                },
                recv(self.stop) -> _ => break,
                recv(timer) -> _ => {}
            }
            let now = Instant::now();
            while left.front().is_some_and(|(due, _)| *due <= now) {
                if let Some((_, segment)) = left.pop_front() {
                    self.unlink(&segment);
                }
            }
            sockets.retain(|open| open.used_at + CLOSE_AFTER_IDLE > now);
        }
        while let Ok(ack) = self.acks.try_recv() {
            self.send(&mut sockets, *ack);
        }
        left.into_iter().map(|(_, segment)| segment).chain(self.left_segments.try_iter()).for_each(|segment| {
            self.unlink(&segment);
        });
    }

    fn send(&self, sockets: &mut Vec<OpenSocket>, ack: Ack) {
        let sent = self.socket_for(sockets, &ack.url).and_then(|open| {
            open.used_at = Instant::now();
            open.socket.send(ack.ack.encode(), zmq::DONTWAIT)
        });
        match sent {
            Ok(()) => counters::add(&self.counters.acks_sent, 1),
            Err(error) => {
                counters::add(&self.counters.acks_dropped, 1);
                tracing::debug!(url = %printable(&ack.url), %error, "ack dropped");
            }
        }
    }

    fn socket_for<'a>(&self, sockets: &'a mut Vec<OpenSocket>, url: &str) -> zmq::Result<&'a mut OpenSocket> {
        let file = url.strip_prefix("ipc://").and_then(|path| file_identity(Path::new(path)));
        let mut found = sockets.iter().position(|open| open.url == url).map(|index| sockets.remove(index));
        if let Some(open) = &mut found
            && file.is_some()
        {
            // Producers of G1 to G3 share one path, and the last to bind it takes it over; an old connection would go on
            // feeding the one before.
            if open.file.is_some() && open.file != file {
                found = None;
            } else {
                open.file = file;
            }
        }
        let open = match found {
            Some(open) => open,
            None => {
                let socket = self.context.socket(zmq::PUSH)?;
                socket.set_linger(0)?;
                socket.set_sndhwm(SEND_QUEUE)?;
                socket.set_reconnect_ivl(50)?;
                socket.set_reconnect_ivl_max(1000)?;
                socket.set_ipv6(url.contains('['))?;
                socket.connect(url)?;
                OpenSocket { url: url.to_owned(), socket, used_at: Instant::now(), file }
            }
        };
        if sockets.len() >= MAX_OPEN_SOCKETS {
            sockets.remove(0);
        }
        let index = sockets.len();
        sockets.push(open);
        Ok(&mut sockets[index])
    }

    fn unlink(&self, segment: &LeftSegment) {
        match self.shared_memory.unlink_if_same(&segment.name, segment.identity) {
            Ok(true) => {
                counters::add(&self.counters.segments_unlinked, 1);
                tracing::debug!(segment = %printable(&segment.name), "unlinked a segment that its producer left behind");
            }
            Ok(false) => {}
            Err(error) => tracing::warn!(segment = %printable(&segment.name), %error, "cannot unlink a left segment"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::is_local;

    #[test]
    fn only_urls_of_this_machine_are_local() {
        for local in ["ipc:///home/u/.openhcs/ipc/a.sock", "tcp://127.0.0.1:7555", "tcp://localhost:1", "tcp://[::1]:7"]
        {
            assert!(is_local(local), "{local}");
        }
        for other in
            ["tcp://10.0.0.1:7555", "tcp://localhost.evil:1", "inproc://wake-data", "ipc://@abstract", "pgm://x", ""]
        {
            assert!(!is_local(other), "{other}");
        }
    }
}
