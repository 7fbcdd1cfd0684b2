//! Taking the data and control endpoints of a port: nobody else's is taken, nothing stays behind.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::time::Duration;

use wellscope_protocol::control::{ControlRequest, ProcessIdentity};
use wellscope_protocol::endpoint::{EndpointError, Transport, ipc_url, tcp_url};
use wellscope_protocol::pickle::{self, PickleLimits};

use crate::config::ReceiverConfig;
use crate::lock::{LockError, PortLock};
use crate::platform::{FileIdentity, create_private_folder, file_identity, restrict_to_user};
use crate::text::printable;

/// Where a running receiver listens, and where it sends acks.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Endpoints {
    /// URL of the data socket, as producers connect to it (TCP: with the bound address).
    pub data_url: String,
    /// URL of the control socket.
    pub control_url: String,
    /// URL to which acks of items without a return route go.
    pub ack_url: String,
    /// Data port.
    pub port: u16,
    /// Control port.
    pub control_port: u16,
    /// True when other hosts may connect: TCP on anything but loopback.
    pub serves_other_hosts: bool,
}

/// Why a receiver did not start. Nothing is bound or left behind then.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// Somebody serves this port.
    #[error("port {port} is taken by {holder}; close it, or start this viewer with another --port")]
    PortTaken {
        /// The data or control port.
        port: u16,
        /// Server name, title and process, as far as they are known.
        holder: String,
    },
    /// The ports or the socket's path cannot be used.
    #[error(transparent)]
    Endpoint(#[from] EndpointError),
    /// A file that is no socket lies where the socket must be.
    #[error("something that is no socket lies at the socket's path; move it away. Path: {}", path.display())]
    NotASocket {
        /// The path.
        path: PathBuf,
    },
    /// The folder of the sockets or of the lock cannot be used.
    #[error("cannot {action}: {source}. Path: {}", path.display())]
    Folder {
        /// What was tried.
        action: &'static str,
        /// Where.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Data and control port are the same.
    #[error("port {port} cannot be the data port and the control port; choose another --control-port")]
    SamePorts {
        /// Both.
        port: u16,
    },
    /// ZeroMQ refuses.
    #[error("cannot bind {url}: {source}")]
    Bind {
        /// The endpoint.
        url: String,
        /// What ZeroMQ said.
        source: zmq::Error,
    },
    /// A thread or an internal socket could not be made.
    #[error("cannot start the receiver: {reason}")]
    System {
        /// What was refused.
        reason: String,
    },
}

/// Bound sockets and what must be removed when they close. Dropping it removes socket files, if they are still ours, and locks.
pub(crate) struct BoundEndpoints {
    pub endpoints: Endpoints,
    files: Vec<(PathBuf, Option<FileIdentity>)>,
    _locks: Vec<PortLock>,
}

/// How long a TCP port has to take a connection; on loopback it is taken or refused at once.
const CONNECT_TIMEOUT: Duration = Duration::from_millis(200);

/// How long the holder of a port has to say its name. Clients give a viewer as long for a ping.
const PING_TIMEOUT: Duration = Duration::from_millis(500);

/// Locks, probes and binds. The sockets come with their options set by the caller.
pub(crate) fn bind(
    config: &ReceiverConfig,
    context: &zmq::Context,
    data: &zmq::Socket,
    control: &zmq::Socket,
) -> Result<BoundEndpoints, StartError> {
    let control_port = control_port(config)?;
    let ports = [config.port, control_port];
    let ipc_paths = ports.map(|port| config.naming.ipc_path(&config.home, port));
    let urls = match config.transport {
        Transport::Ipc => [ipc_url(&ipc_paths[0])?, ipc_url(&ipc_paths[1])?],
        Transport::Tcp => ports.map(|port| tcp_url(&config.bind.to_string(), port)),
    };
    let ack_url = config.naming.url(config.transport, &config.home, "127.0.0.1", config.ack_port)?;
    let control_url = connectable(&urls[1], config, control_port);

    let mut locks = Vec::new();
    for (port, path) in ports.iter().zip(&ipc_paths) {
        locks.push(take_lock(config, *port, path, context, &control_url)?);
    }
    // From here on dropping `bound` cleans up whatever has been made.
    let mut bound = BoundEndpoints {
        endpoints: Endpoints {
            data_url: urls[0].clone(),
            control_url: urls[1].clone(),
            ack_url,
            port: config.port,
            control_port,
            serves_other_hosts: config.transport == Transport::Tcp && !config.bind.is_loopback(),
        },
        files: Vec::new(),
        _locks: locks,
    };
    for (index, socket) in [data, control].into_iter().enumerate() {
        let (port, url) = (ports[index], &urls[index]);
        match config.transport {
            Transport::Ipc => clear_stale_socket(&ipc_paths[index], || name_of_holder(context, &control_url), port)?,
            Transport::Tcp if is_served(config.bind, port) => {
                return Err(StartError::PortTaken { port, holder: name_of_holder(context, &control_url) });
            }
            Transport::Tcp => {}
        }
        socket.bind(url).map_err(|source| match source {
            zmq::Error::EADDRINUSE => StartError::PortTaken { port, holder: name_of_holder(context, &control_url) },
            source => StartError::Bind { url: url.clone(), source },
        })?;
        if config.transport == Transport::Ipc {
            let path = &ipc_paths[index];
            bound.files.push((path.clone(), file_identity(path)));
            restrict_to_user(path).map_err(|source| StartError::Folder {
                action: "keep the socket to its user",
                path: path.clone(),
                source,
            })?;
        }
    }
    if bound.endpoints.serves_other_hosts {
        let bind = config.bind;
        tracing::warn!(%bind, "other hosts can send images to this viewer and control it; there is no password");
    }
    Ok(bound)
}

impl BoundEndpoints {
    /// Removes the socket files that are still ours. While the sockets are open, no other file can get their inode numbers.
    pub(crate) fn remove_socket_files(&mut self) {
        for (path, identity) in self.files.drain(..) {
            // Another viewer may have bound the path over ours (napari does not look); its socket is not ours to remove.
            if file_identity(&path) == identity {
                let _ = std::fs::remove_file(path);
            }
        }
    }
}

impl Drop for BoundEndpoints {
    fn drop(&mut self) {
        self.remove_socket_files();
    }
}

fn control_port(config: &ReceiverConfig) -> Result<u16, StartError> {
    let control_port = match config.control_port {
        Some(port) if port > 0 && config.port > 0 => port,
        // Also says which ports there are when one of them is 0.
        Some(_) => config.naming.control_port(0)?,
        None => config.naming.control_port(config.port)?,
    };
    if control_port == config.port {
        return Err(StartError::SamePorts { port: control_port });
    }
    Ok(control_port)
}

/// Beside the socket, under a name that no client takes for a socket. TCP ports have their locks there too: the folder is the
/// user's own.
fn take_lock(
    config: &ReceiverConfig,
    port: u16,
    ipc_path: &Path,
    context: &zmq::Context,
    control_url: &str,
) -> Result<PortLock, StartError> {
    let kind = match config.transport {
        Transport::Ipc => "ipc",
        Transport::Tcp => "tcp",
    };
    let folder = ipc_path.parent().unwrap_or(Path::new("."));
    let failed = |action, source| StartError::Folder { action, path: folder.to_owned(), source };
    create_private_folder(folder).map_err(|source| failed("create the folder of the sockets", source))?;
    PortLock::take(folder.join(format!(".wellscope-{kind}-{port}.lock")), &config.identity.title).map_err(|error| {
        match error {
            LockError::Io(source) => failed("take the lock of the port", source),
            LockError::Held(Some(holder)) => StartError::PortTaken {
                port,
                holder: format!(
                    "{} \"{}\", process {}",
                    printable(&holder.program),
                    printable(&holder.title),
                    holder.pid
                ),
            },
            LockError::Held(None) => StartError::PortTaken { port, holder: name_of_holder(context, control_url) },
        }
    })
}

/// Removes a socket file that nobody serves; an error when somebody does.
#[cfg(unix)]
fn clear_stale_socket(path: &Path, holder: impl FnOnce() -> String, port: u16) -> Result<(), StartError> {
    use std::os::unix::fs::FileTypeExt;
    let Ok(metadata) = std::fs::symlink_metadata(path) else { return Ok(()) };
    if !metadata.file_type().is_socket() {
        return Err(StartError::NotASocket { path: path.to_owned() });
    }
    match std::os::unix::net::UnixStream::connect(path) {
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
            tracing::info!(path = %path.display(), "removed the socket file of a viewer that is gone");
            std::fs::remove_file(path).map_err(|source| StartError::Folder {
                action: "remove a stale socket",
                path: path.to_owned(),
                source,
            })
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        // Connected, or too busy to take the connection: somebody is there.
        _ => Err(StartError::PortTaken { port, holder: holder() }),
    }
}

#[cfg(not(unix))]
fn clear_stale_socket(_path: &Path, _holder: impl FnOnce() -> String, _port: u16) -> Result<(), StartError> {
    Ok(())
}

/// Whether somebody takes TCP connections on a port, found as clients find it. Some systems let two programs bind one port at
/// different addresses, so a successful bind does not say that nobody else is there.
fn is_served(bind: IpAddr, port: u16) -> bool {
    let address = SocketAddr::new(loopback_if_unspecified(bind), port);
    TcpStream::connect_timeout(&address, CONNECT_TIMEOUT).is_ok_and(|stream| {
        // A port of the range for outgoing connections may happen to connect to itself.
        stream.local_addr().ok() != stream.peer_addr().ok()
    })
}

/// Where programs on this machine reach a socket bound to `address`.
fn loopback_if_unspecified(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V4(Ipv4Addr::UNSPECIFIED) => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(Ipv6Addr::UNSPECIFIED) => Ipv6Addr::LOCALHOST.into(),
        other => other,
    }
}

/// The control endpoint as a client on this machine connects to it.
fn connectable(url: &str, config: &ReceiverConfig, control_port: u16) -> String {
    match config.transport {
        Transport::Tcp => tcp_url(&loopback_if_unspecified(config.bind).to_string(), control_port),
        Transport::Ipc => url.to_owned(),
    }
}

/// Asks whoever serves `control_url` for its name, as clients do.
fn name_of_holder(context: &zmq::Context, control_url: &str) -> String {
    let ask = || -> Option<String> {
        let socket = context.socket(zmq::REQ).ok()?;
        socket.set_linger(0).ok()?;
        socket.set_maxmsgsize(1 << 20).ok()?;
        socket.set_ipv6(control_url.contains('[')).ok()?;
        socket.connect(control_url).ok()?;
        socket.send(ControlRequest::Ping.encode(), zmq::DONTWAIT).ok()?;
        if socket.poll(zmq::POLLIN, PING_TIMEOUT.as_millis() as i64).ok()? == 0 {
            return None;
        }
        let pong = pickle::decode(&socket.recv_bytes(zmq::DONTWAIT).ok()?, &PickleLimits::default()).ok()?;
        let process = pong
            .get("process_identity")
            .and_then(ProcessIdentity::from_value)
            .map(|identity| format!(", process {}", identity.pid))
            .unwrap_or_default();
        Some(format!("{}{process}", printable(pong.get("server")?.as_str()?)))
    };
    ask().unwrap_or_else(|| "a program that does not answer a viewer's ping".into())
}
