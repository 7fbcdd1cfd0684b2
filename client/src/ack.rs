//! Listens for `image_ack`: the viewer's word that an image is in its stack.
//!
//! The viewer connects and pushes, we bind and pull. Producers of G3 share one port; those of G4 tell each viewer a
//! route of their own. Acks serve progress displays; nothing waits for them and everything about them is bounded.

use std::collections::{HashSet, VecDeque};
use std::path::{Path, PathBuf};
use std::time::Duration;

use wellscope_protocol::batch::AckRoute;
use wellscope_protocol::endpoint::EndpointError;
use wellscope_protocol::reply::ImageAck;
use zmq::{DONTWAIT, SocketType};

use crate::endpoint::ViewerEndpoint;
use crate::process::this_process;
use crate::socket::{deadline_after, wait_for};

/// Acks that may wait in the socket; further ones are dropped on the viewer's side.
const MAX_QUEUED_ACKS: i32 = 10_000;
/// Most acks that one call returns.
const MAX_ACKS_AT_ONCE: usize = 4096;
/// Images whose ack is still expected; the oldest are forgotten beyond that.
const MAX_PENDING: usize = 100_000;
/// An ack is a few hundred bytes.
const MAX_ACK_BYTES: i64 = 64 << 10;

/// Where acks are listened for.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum AckMode {
    /// Nowhere.
    #[default]
    Off,
    /// On a port that all producers of this machine share, 7555 in OpenHCS. Only one process can have it.
    Shared {
        /// The port.
        port: u16,
    },
    /// On an address of our own, told with every item. Needs [`Generation::G4`].
    Private,
}

impl AckMode {
    /// The port that viewers of G3 send to.
    pub const SHARED_DEFAULT: Self = Self::Shared { port: 7555 };
}

/// Whose wire is spoken.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Generation {
    /// polystore 0.1.12 to 0.2.19 with zmqruntime up to 0.2.24; what OpenHCS 0.8.6 speaks.
    #[default]
    G3,
    /// polystore and zmqruntime 0.6: items carry a return route.
    G4,
}

/// Why acks cannot be listened for.
#[derive(Debug, thiserror::Error)]
pub enum AckError {
    /// Items of G3 have no field that could tell a viewer of a private address.
    #[error("a private ack address needs generation G4; with G3, use the shared ack port or none")]
    PrivateNeedsG4,
    /// There is no such address.
    #[error(transparent)]
    Endpoint(#[from] EndpointError),
    /// Another producer of this machine has the shared port. Over IPC, binding would take it away silently.
    #[error("another process listens for acks there; turn acks off or use a private address. Address: {url}")]
    Taken {
        /// ZeroMQ address of the ack socket.
        url: String,
    },
    /// ZeroMQ or the file system refused.
    #[error("cannot listen for acks: {reason}. Address: {url}")]
    Bind {
        /// What it said.
        reason: String,
        /// ZeroMQ address of the ack socket.
        url: String,
    },
}

/// A bound ack socket and what it waits for.
pub(crate) struct AckListener {
    socket: zmq::Socket,
    /// Dropped after the socket is closed.
    _socket_file: Option<SocketFile>,
    route: Option<AckRoute>,
    expected: HashSet<String>,
    /// Ids in the order sent, so that the oldest can be forgotten. Acknowledged ones stay until they reach the front.
    in_order: VecDeque<String>,
}

impl AckListener {
    /// Binds as asked; `None` when acks are off.
    pub fn bind(
        context: &zmq::Context,
        endpoint: &ViewerEndpoint,
        mode: AckMode,
        generation: Generation,
    ) -> Result<Option<Self>, AckError> {
        let incarnation = uuid::Uuid::new_v4().to_string();
        let url = match (mode, generation) {
            (AckMode::Off, _) => return Ok(None),
            (AckMode::Private, Generation::G3) => return Err(AckError::PrivateNeedsG4),
            (AckMode::Shared { port }, _) => endpoint.ack_bind_url(port)?,
            (AckMode::Private, Generation::G4) => endpoint.private_ack_bind_url(&incarnation)?,
        };
        let failed = |reason: String| AckError::Bind { reason, url: url.clone() };
        if let Some(path) = url.strip_prefix("ipc://") {
            let path = Path::new(path);
            if someone_listens(path) {
                return Err(AckError::Taken { url });
            }
            if let Some(folder) = path.parent() {
                std::fs::create_dir_all(folder).map_err(|cause| failed(cause.to_string()))?;
            }
        }
        let (socket, bound_url) = bind_pull(context, &url).map_err(|cause| match cause {
            zmq::Error::EADDRINUSE => AckError::Taken { url: url.clone() },
            cause => failed(cause.to_string()),
        })?;
        let route = (generation == Generation::G4).then(|| {
            let process = this_process();
            let owner = serde_json::json!({"pid": process.pid, "create_time": process.create_time});
            let return_route = serde_json::json!({"url": bound_url, "incarnation": incarnation, "owner": owner});
            AckRoute { url: bound_url, return_route, producer: owner }
        });
        let _socket_file = url.strip_prefix("ipc://").and_then(|path| SocketFile::at(path.into()));
        Ok(Some(Self { socket, _socket_file, route, expected: HashSet::new(), in_order: VecDeque::new() }))
    }

    /// What items must carry (G4).
    pub fn route(&self) -> Option<&AckRoute> {
        self.route.as_ref()
    }

    /// For polling.
    pub fn socket(&self) -> &zmq::Socket {
        &self.socket
    }

    /// Images that were sent and not acknowledged.
    pub fn pending(&self) -> usize {
        self.expected.len()
    }

    /// Says which acks are ours: on a shared port, those of other producers arrive as well.
    pub fn expect<'i>(&mut self, image_ids: impl Iterator<Item = &'i str>) {
        for image_id in image_ids {
            if self.expected.insert(image_id.to_owned()) {
                self.in_order.push_back(image_id.to_owned());
            }
        }
        while self.in_order.len() > MAX_PENDING {
            if let Some(oldest) = self.in_order.pop_front() {
                self.expected.remove(&oldest);
            }
        }
    }

    /// No acks will come for these.
    pub fn forget<'i>(&mut self, image_ids: impl Iterator<Item = &'i str>) {
        image_ids.for_each(|image_id| {
            self.expected.remove(image_id);
        });
        self.trim();
    }

    /// Our acks, those of others left out. Waits for the first one up to `timeout`.
    pub fn receive(&mut self, timeout: Duration) -> Vec<ImageAck> {
        let deadline = deadline_after(timeout);
        let mut acks = Vec::new();
        while acks.is_empty() {
            match wait_for(&self.socket, zmq::POLLIN, deadline) {
                Ok(true) => self.drain(&mut acks),
                Ok(false) => break,
                Err(cause) => {
                    tracing::warn!(%cause, "acks can no longer be received");
                    break;
                }
            }
        }
        acks
    }

    fn drain(&mut self, acks: &mut Vec<ImageAck>) {
        // Counted by what was read, not by what was ours: a flood of foreign acks must end too.
        for _ in 0..MAX_ACKS_AT_ONCE {
            match self.socket.recv_bytes(DONTWAIT) {
                Ok(bytes) => match ImageAck::decode(&bytes) {
                    Ok(ack) if self.is_ours(&ack) => {
                        self.expected.remove(&ack.image_id);
                        acks.push(ack);
                    }
                    Ok(ack) => tracing::debug!(image_id = %ack.image_id, "ack of an image that is not ours"),
                    Err(error) => tracing::warn!(%error, "an ack cannot be read"),
                },
                Err(zmq::Error::EINTR) => {}
                Err(_) => break,
            }
        }
        self.trim();
    }

    fn is_ours(&self, ack: &ImageAck) -> bool {
        // A viewer that outlived an earlier listener at this address would name that one's incarnation.
        let same_route = self.route.as_ref().is_none_or(|ours| ack.route.as_ref() == Some(ours));
        same_route && self.expected.contains(&ack.image_id)
    }

    fn trim(&mut self) {
        while self.in_order.front().is_some_and(|oldest| !self.expected.contains(oldest)) {
            self.in_order.pop_front();
        }
    }
}

fn bind_pull(context: &zmq::Context, url: &str) -> zmq::Result<(zmq::Socket, String)> {
    let socket = context.socket(SocketType::PULL)?;
    socket.set_linger(0)?;
    socket.set_rcvhwm(MAX_QUEUED_ACKS)?;
    socket.set_maxmsgsize(MAX_ACK_BYTES)?;
    socket.bind(url)?;
    // Of a wildcard port, the one that was given.
    let bound = socket.get_last_endpoint()?.unwrap_or_else(|_| url.to_owned());
    Ok((socket, bound))
}

/// The file of an IPC socket of ours. libzmq leaves it behind; clients take such a file for a listener.
struct SocketFile {
    path: PathBuf,
    identity: (u64, u64),
}

impl SocketFile {
    fn at(path: PathBuf) -> Option<Self> {
        let identity = file_identity(&path)?;
        Some(Self { path, identity })
    }
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        // Released producers bind the shared path without asking; the file is theirs then.
        if file_identity(&self.path) == Some(self.identity) {
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

/// Device and inode.
#[cfg(unix)]
fn file_identity(path: &Path) -> Option<(u64, u64)> {
    use std::os::unix::fs::MetadataExt;
    let metadata = std::fs::symlink_metadata(path).ok()?;
    Some((metadata.dev(), metadata.ino()))
}

#[cfg(not(unix))]
fn file_identity(_path: &Path) -> Option<(u64, u64)> {
    None
}

/// Whether a live process has this socket file. Connecting and leaving does a ZeroMQ listener no harm.
#[cfg(unix)]
fn someone_listens(path: &Path) -> bool {
    std::os::unix::net::UnixStream::connect(path).is_ok()
}

#[cfg(not(unix))]
fn someone_listens(_path: &Path) -> bool {
    false
}
