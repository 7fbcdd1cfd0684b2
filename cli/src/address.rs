//! The options by which a command finds its viewer.

use clap::{Args, ValueEnum};
use wellscope_client::{EndpointNaming, Transport, ViewerEndpoint};

/// Options of every command that speaks to a viewer.
///
/// Each has an id of its own: clap hands the value of a global option up to the viewer's own option of the same id.
#[derive(Args, Clone, PartialEq, Eq, Debug)]
#[command(next_help_heading = "Which viewer")]
pub struct ViewerAddress {
    /// Data port of the viewer; its control port is this plus 1000
    #[arg(id = "viewer-port", long = "port", value_name = "PORT", default_value_t = 5555, value_parser = parse_port, global = true)]
    pub port: u16,

    /// Machine that the viewer runs on
    #[arg(id = "viewer-host", long = "host", value_name = "HOST", default_value = "localhost", global = true)]
    pub host: String,

    /// How to connect [default: ipc on this machine, tcp to others and on Windows]
    #[arg(id = "viewer-transport", long = "transport", value_name = "TRANSPORT", value_enum, global = true)]
    pub transport: Option<TransportName>,

    /// Whose names the Unix sockets have, as the viewer's option of this name
    #[arg(id = "viewer-socket-names", long = "socket-names", value_name = "NAMES", value_enum, default_value_t = SocketNaming::Openhcs, global = true)]
    pub socket_names: SocketNaming,
}

/// `--transport`.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub enum TransportName {
    /// Unix sockets under ~/.openhcs/ipc
    Ipc,
    /// TCP
    Tcp,
}

/// `--socket-names`.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub enum SocketNaming {
    /// ~/.openhcs/ipc/openhcs-zmq-PORT.sock
    Openhcs,
    /// ~/.polystore/ipc/polystore-zmq-PORT.sock
    Polystore,
    /// ~/.zmqruntime/ipc/zmq-PORT.sock
    Zmqruntime,
}

impl ViewerAddress {
    /// Where to connect to.
    pub fn endpoint(&self) -> ViewerEndpoint {
        let here = ViewerEndpoint::openhcs(self.port);
        let transport = match self.transport {
            Some(TransportName::Ipc) => Transport::Ipc,
            Some(TransportName::Tcp) => Transport::Tcp,
            None if self.host == "localhost" => here.transport,
            None => Transport::Tcp,
        };
        let naming = match self.socket_names {
            SocketNaming::Openhcs => EndpointNaming::openhcs(),
            SocketNaming::Polystore => EndpointNaming::polystore_from_env(),
            SocketNaming::Zmqruntime => EndpointNaming::zmqruntime(),
        };
        ViewerEndpoint { transport, naming, host: self.host.clone(), ..here }
    }
}

/// A data port, whose control port (1000 above) exists too.
fn parse_port(text: &str) -> Result<u16, String> {
    wellscope_protocol::endpoint::parse_data_port(text).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        address: ViewerAddress,
    }

    fn endpoint(arguments: &[&str]) -> ViewerEndpoint {
        let line = ["x"].iter().chain(arguments);
        Line::parse_from(line).address.endpoint()
    }

    #[test]
    fn another_machine_is_reached_by_tcp_and_this_one_as_openhcs_does() {
        assert_eq!(endpoint(&[]), ViewerEndpoint::openhcs(5555));
        let far = endpoint(&["--host", "microscope-2", "--port", "5600"]);
        assert_eq!(far.control_url().unwrap(), "tcp://microscope-2:6600");
        assert_eq!(endpoint(&["--transport", "tcp"]).data_url().unwrap(), "tcp://localhost:5555");
    }

    #[test]
    fn a_port_without_a_control_port_is_refused() {
        for port in ["0", "64536", "x"] {
            assert!(Line::try_parse_from(["x", "--port", port]).is_err(), "{port}");
        }
    }
}
