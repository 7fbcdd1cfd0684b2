//! Where a viewer listens, and where its acks find us.

use std::path::PathBuf;

use wellscope_protocol::endpoint::{DEFAULT_DATA_PORT, EndpointError, EndpointNaming, Transport, ipc_url};

/// Address of a viewer: everything that its data, control and ack sockets are found by.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ViewerEndpoint {
    /// IPC on this machine, or TCP.
    pub transport: Transport,
    /// Host name or address, for TCP. Pixels in shared memory reach this machine only.
    pub host: String,
    /// Data port; 5555 in OpenHCS.
    pub port: u16,
    /// How socket files are named and how far the control port is away.
    pub naming: EndpointNaming,
    /// Folder under which IPC sockets lie: the user's home.
    pub home: PathBuf,
}

/// [`ViewerEndpoint::openhcs`] with the data port 5555.
impl Default for ViewerEndpoint {
    fn default() -> Self {
        Self::openhcs(DEFAULT_DATA_PORT)
    }
}

impl ViewerEndpoint {
    /// The viewer that OpenHCS would stream to from here: IPC, or TCP on Windows, with its names under the user's home.
    pub fn openhcs(port: u16) -> Self {
        Self {
            transport: Transport::default(),
            host: "localhost".to_owned(),
            port,
            naming: EndpointNaming::openhcs(),
            home: std::env::home_dir().unwrap_or_else(|| PathBuf::from(".")),
        }
    }

    /// The same with another data port.
    #[must_use]
    pub fn with_port(mut self, port: u16) -> Self {
        self.port = port;
        self
    }

    /// Whether the viewer is on this machine: by IPC always, by TCP when the host is a loopback address or "localhost".
    pub fn is_on_this_machine(&self) -> bool {
        let is_loopback = |host: &str| host.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback());
        self.transport == Transport::Ipc || self.host == "localhost" || is_loopback(self.host.trim_matches(['[', ']']))
    }

    /// ZeroMQ address of the data socket.
    pub fn data_url(&self) -> Result<String, EndpointError> {
        self.url(self.port)
    }

    /// ZeroMQ address of the control socket.
    pub fn control_url(&self) -> Result<String, EndpointError> {
        self.url(self.naming.control_port(self.port)?)
    }

    /// The address that viewers send G3 acks to.
    pub fn ack_url(&self, ack_port: u16) -> Result<String, EndpointError> {
        self.url(ack_port)
    }

    /// The same address for binding. Acks come from viewers of this machine only.
    pub(crate) fn ack_bind_url(&self, ack_port: u16) -> Result<String, EndpointError> {
        self.naming.url(self.transport, &self.home, "127.0.0.1", ack_port)
    }

    /// An address that nobody else has: `<prefix>-<incarnation>-0.sock` beside the others, or a free port.
    pub(crate) fn private_ack_bind_url(&self, incarnation: &str) -> Result<String, EndpointError> {
        let EndpointNaming { prefix, ext, .. } = &self.naming;
        match self.transport {
            Transport::Ipc => {
                let name = format!("{prefix}-{incarnation}-0{ext}");
                ipc_url(&self.naming.ipc_path(&self.home, self.port).with_file_name(name))
            }
            Transport::Tcp => Ok("tcp://127.0.0.1:*".to_owned()),
        }
    }

    fn url(&self, port: u16) -> Result<String, EndpointError> {
        self.naming.url(self.transport, &self.home, &self.host, port)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_shared_over_ipc_and_the_loopback() {
        let on = |transport, host: &str| ViewerEndpoint { transport, host: host.to_owned(), ..Default::default() };
        assert!(on(Transport::Ipc, "elsewhere").is_on_this_machine());
        for host in ["localhost", "127.0.0.1", "127.0.1.1", "::1", "[::1]"] {
            assert!(on(Transport::Tcp, host).is_on_this_machine(), "{host}");
        }
        for host in ["192.168.0.7", "microscope", "localhost.example", "10.0.0.1"] {
            assert!(!on(Transport::Tcp, host).is_on_this_machine(), "{host}");
        }
    }

    #[test]
    fn sockets_lie_where_openhcs_looks_for_them() {
        let endpoint =
            ViewerEndpoint { transport: Transport::Ipc, home: "/home/u".into(), ..ViewerEndpoint::openhcs(5555) };
        assert_eq!(endpoint.data_url().unwrap(), "ipc:///home/u/.openhcs/ipc/openhcs-zmq-5555.sock");
        assert_eq!(endpoint.control_url().unwrap(), "ipc:///home/u/.openhcs/ipc/openhcs-zmq-6555.sock");
        assert_eq!(endpoint.ack_url(7555).unwrap(), "ipc:///home/u/.openhcs/ipc/openhcs-zmq-7555.sock");
        assert_eq!(endpoint.private_ack_bind_url("i").unwrap(), "ipc:///home/u/.openhcs/ipc/openhcs-zmq-i-0.sock");
        let tcp = ViewerEndpoint { transport: Transport::Tcp, ..endpoint };
        assert_eq!(tcp.control_url().unwrap(), "tcp://localhost:6555");
        assert_eq!(tcp.ack_bind_url(7555).unwrap(), "tcp://127.0.0.1:7555");
        assert!(tcp.clone().with_port(65000).control_url().is_err());
        for (host, is_here) in [("127.0.0.1", true), ("::1", true), ("[::1]", true), ("microscope-2", false)] {
            let endpoint = ViewerEndpoint { host: host.to_owned(), ..tcp.clone() };
            assert_eq!(endpoint.is_on_this_machine(), is_here, "{host}");
        }
    }
}
