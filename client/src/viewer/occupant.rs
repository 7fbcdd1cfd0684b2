//! Who serves an address: nobody, a viewer, or someone else.

use std::net::{TcpStream, ToSocketAddrs};
use std::time::{Duration, Instant};

use wellscope_protocol::endpoint::Transport;

use crate::control::{ControlClient, Pong};
use crate::endpoint::ViewerEndpoint;

/// How long OpenHCS 0.8.6 waits for the ping by which it decides to reuse a viewer.
const REUSE_PING_TIMEOUT: Duration = Duration::from_millis(500);
const POLL_INTERVAL: Duration = Duration::from_millis(20);
/// On this machine a port is taken or refused at once; another one is as far as its network.
const CONNECT_TIMEOUT: Duration = Duration::from_millis(500);

impl ViewerEndpoint {
    /// Whether a program takes connections at the data or control address, be it a viewer or not, and whether it answers or
    /// hangs.
    pub fn is_served(&self) -> bool {
        serves(self) != [false, false]
    }
}

/// Who is there.
#[derive(Debug)]
pub(super) enum Occupant {
    /// Neither address is served. A socket file that a crash has left may lie there.
    Nobody,
    /// A viewer that answers; perhaps not ready.
    Viewer(Box<Pong>),
    /// Something that is no viewer, or does not answer: what is known of it.
    Stranger(String),
}

/// Looks who is there. One who does not answer, or is not ready, gets `patience`: it may just be starting.
pub(super) fn look(endpoint: &ViewerEndpoint, control: &ControlClient, patience: Duration) -> Occupant {
    let started = Instant::now();
    loop {
        let seen = look_once(endpoint, control);
        let is_final = match &seen {
            Occupant::Nobody => true,
            Occupant::Viewer(pong) => pong.ready,
            Occupant::Stranger(_) => false,
        };
        if is_final || started.elapsed() >= patience {
            return seen;
        }
        std::thread::sleep(POLL_INTERVAL);
    }
}

fn look_once(endpoint: &ViewerEndpoint, control: &ControlClient) -> Occupant {
    let [serves_data, serves_control] = serves(endpoint);
    if !serves_data && !serves_control {
        return Occupant::Nobody;
    }
    if !serves_control {
        return Occupant::Stranger("a program that serves the data port and not the control port".to_owned());
    }
    match control.ping(REUSE_PING_TIMEOUT) {
        Ok(pong) => match other_kind(&pong) {
            Some(what) => Occupant::Stranger(what),
            // A viewer that is just opening its sockets opens the data port first; one that closes, last.
            None => Occupant::Viewer(Box::new(Pong { ready: pong.ready && serves_data, ..pong })),
        },
        // It was closing.
        Err(error) if error.is_absent() && serves(endpoint) == [false, false] => Occupant::Nobody,
        Err(error) => Occupant::Stranger(format!("a program that does not answer a viewer's ping ({error})")),
    }
}

/// What someone is who answers pings and is no viewer of our kind. Viewers of the early generations say nothing.
fn other_kind(pong: &Pong) -> Option<String> {
    let name = pong.server.as_deref().unwrap_or("a server without a name");
    match (pong.server_role.as_deref(), pong.server_type.as_deref()) {
        (Some("viewer") | None, Some("napari") | None) => None,
        (Some("viewer") | None, Some(other)) => Some(format!("{name}, a viewer of another kind ({other})")),
        (Some(role), _) => Some(format!("{name}, a server for something else ({role})")),
    }
}

/// Whether somebody takes connections on the data and on the control address.
pub(super) fn serves(endpoint: &ViewerEndpoint) -> [bool; 2] {
    let control_port = endpoint.naming.control_port(endpoint.port).unwrap_or(endpoint.port);
    [endpoint.port, control_port].map(|port| match endpoint.transport {
        Transport::Tcp => serves_tcp(&endpoint.host, port),
        Transport::Ipc => serves_ipc(endpoint, port),
    })
}

fn serves_tcp(host: &str, port: u16) -> bool {
    let Ok(addresses) = (host, port).to_socket_addrs() else { return false };
    // A ZeroMQ socket that is bound to 127.0.0.1 is not behind ::1.
    addresses.into_iter().any(|address| {
        TcpStream::connect_timeout(&address, CONNECT_TIMEOUT).is_ok_and(|stream| {
            // A port of the range for outgoing connections may happen to connect to itself.
            stream.local_addr().ok() != stream.peer_addr().ok()
        })
    })
}

#[cfg(unix)]
fn serves_ipc(endpoint: &ViewerEndpoint, port: u16) -> bool {
    use std::io::ErrorKind::{ConnectionRefused, NotFound};
    match std::os::unix::net::UnixStream::connect(endpoint.naming.ipc_path(&endpoint.home, port)) {
        Ok(_) => true,
        // Refused: a file that a crash has left.
        Err(error) => !matches!(error.kind(), ConnectionRefused | NotFound),
    }
}

#[cfg(not(unix))]
fn serves_ipc(_endpoint: &ViewerEndpoint, _port: u16) -> bool {
    false
}
