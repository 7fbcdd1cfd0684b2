//! Where a viewer listens: ports, IPC paths and URLs, spelled as OpenHCS and polystore spell them.
//!
//! Both sides compute the same address from a port number, so every character counts: clients test a path for existence,
//! and find the owner of a socket by the exact text of its path (zmqruntime 0.2.24).

use std::ffi::OsString;
use std::path::{Path, PathBuf};

/// Data port of a napari viewer (openhcs 0.8.6).
pub const DEFAULT_DATA_PORT: u16 = 5555;
/// Control port = data port + this.
pub const CONTROL_PORT_OFFSET: u16 = 1000;
/// Port on which a G1 to G3 producer listens for acks. G4 producers name their own address in each item.
pub const DEFAULT_ACK_PORT: u16 = 7555;
/// Data port of bare polystore 0.2.19.
pub const POLYSTORE_DATA_PORT: u16 = 7777;

/// The longest path that a unix socket can be bound to: `sun_path` less its closing NUL.
pub const MAX_IPC_PATH_BYTES: usize = if cfg!(target_os = "linux") { 107 } else { 103 };

/// How frames travel on this machine.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Transport {
    /// A unix socket file. Not on Windows.
    Ipc,
    /// A TCP port.
    Tcp,
}

/// IPC, except on Windows, where zmqruntime uses TCP.
impl Default for Transport {
    fn default() -> Self {
        if cfg!(windows) { Self::Tcp } else { Self::Ipc }
    }
}

/// How an application names its IPC sockets.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct EndpointNaming {
    /// Names the folder `~/.<app_name>`.
    pub app_name: String,
    /// Folder below that; an absolute one stands alone.
    pub ipc_dir: String,
    /// Start of a socket's file name.
    pub prefix: String,
    /// End of a socket's file name.
    pub ext: String,
    /// Control port less data port.
    pub control_offset: u16,
    /// Data port when none is given.
    pub default_port: u16,
    /// Where producers listen for acks.
    pub ack_port: u16,
}

/// Why there is no such endpoint.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum EndpointError {
    /// Not a number.
    #[error("port {found:?} is not a number; choose a data port from 1 to {max}")]
    NotAPort {
        /// As given.
        found: String,
        /// The highest data port.
        max: u16,
    },
    /// The control port would not exist.
    #[error(
        "data port {port} is out of range: its control port is {port} + {offset} and ports end at 65535; choose one from 1 to {max}"
    )]
    PortOutOfRange {
        /// As given.
        port: u32,
        /// Control port less data port.
        offset: u16,
        /// The highest data port.
        max: u16,
    },
    /// The operating system cannot bind such a path.
    #[error(
        "the socket path has {found_bytes} bytes, the system allows {limit_bytes}; use --transport tcp or a shorter home directory. Path: {path}"
    )]
    PathTooLong {
        /// Length of the path.
        found_bytes: usize,
        /// [`MAX_IPC_PATH_BYTES`].
        limit_bytes: usize,
        /// The path.
        path: String,
    },
    /// A URL is text.
    #[error("the socket path is not UTF-8, which no ZeroMQ URL can hold; use --transport tcp. Path: {path}")]
    PathNotText {
        /// The path, with replacement characters.
        path: String,
    },
}

impl EndpointNaming {
    /// OpenHCS: `~/.openhcs/ipc/openhcs-zmq-5555.sock`.
    pub fn openhcs() -> Self {
        Self::new("openhcs", "openhcs-zmq", DEFAULT_DATA_PORT)
    }

    /// Bare zmqruntime: `~/.zmqruntime/ipc/zmq-5555.sock`.
    pub fn zmqruntime() -> Self {
        Self::new("zmqruntime", "zmq", DEFAULT_DATA_PORT)
    }

    /// Bare polystore: `~/.polystore/ipc/polystore-zmq-7777.sock`, changed by the `POLYSTORE_ZMQ_*` variables that
    /// polystore reads at import.
    pub fn polystore_from_env() -> Self {
        Self::polystore_from(|name| std::env::var_os(name))
    }

    /// [`Self::polystore_from_env`] with the variables given. A number that cannot be read leaves its default.
    pub fn polystore_from(variable: impl Fn(&str) -> Option<OsString>) -> Self {
        let text = |name: &str| variable(&format!("POLYSTORE_ZMQ_{name}")).and_then(|value| value.into_string().ok());
        let number = |name: &str| text(name).and_then(|value| value.trim().parse::<u16>().ok());
        let default = Self::new("polystore", "polystore-zmq", POLYSTORE_DATA_PORT);
        Self {
            app_name: text("APP_NAME").unwrap_or(default.app_name),
            ipc_dir: text("IPC_DIR").unwrap_or(default.ipc_dir),
            prefix: text("IPC_PREFIX").unwrap_or(default.prefix),
            ext: text("IPC_EXT").unwrap_or(default.ext),
            control_offset: number("CONTROL_OFFSET").unwrap_or(default.control_offset),
            default_port: number("DEFAULT_PORT").unwrap_or(default.default_port),
            ack_port: number("ACK_PORT").unwrap_or(default.ack_port),
        }
    }

    fn new(app_name: &str, prefix: &str, default_port: u16) -> Self {
        Self {
            app_name: app_name.to_owned(),
            ipc_dir: "ipc".to_owned(),
            prefix: prefix.to_owned(),
            ext: ".sock".to_owned(),
            control_offset: CONTROL_PORT_OFFSET,
            default_port,
            ack_port: DEFAULT_ACK_PORT,
        }
    }

    /// The socket file of `port`. `home` is Python's `Path.home()`.
    pub fn ipc_path(&self, home: &Path, port: u16) -> PathBuf {
        // As with pathlib, joining an absolute folder drops what stands before it.
        home.join(format!(".{}", self.app_name)).join(&self.ipc_dir).join(format!("{}-{port}{}", self.prefix, self.ext))
    }

    /// The address to bind or connect, `ipc://<path>` or `tcp://<host>:<port>`; `host` is only used for TCP.
    pub fn url(&self, transport: Transport, home: &Path, host: &str, port: u16) -> Result<String, EndpointError> {
        match transport {
            Transport::Tcp => Ok(tcp_url(host, port)),
            Transport::Ipc => ipc_url(&self.ipc_path(home, port)),
        }
    }

    /// The control port of a data port.
    pub fn control_port(&self, data_port: u16) -> Result<u16, EndpointError> {
        control_port_with(data_port, self.control_offset)
    }
}

/// `tcp://<host>:<port>`; an IPv6 address gets its brackets.
pub fn tcp_url(host: &str, port: u16) -> String {
    if host.contains(':') && !host.starts_with('[') {
        format!("tcp://[{host}]:{port}")
    } else {
        format!("tcp://{host}:{port}")
    }
}

/// `ipc://<path>`, when the system can bind it.
pub fn ipc_url(path: &Path) -> Result<String, EndpointError> {
    let Some(text) = path.to_str() else {
        return Err(EndpointError::PathNotText { path: path.to_string_lossy().into_owned() });
    };
    if text.len() > MAX_IPC_PATH_BYTES {
        return Err(EndpointError::PathTooLong {
            found_bytes: text.len(),
            limit_bytes: MAX_IPC_PATH_BYTES,
            path: text.to_owned(),
        });
    }
    Ok(format!("ipc://{text}"))
}

/// Data port + 1000; an error where that is no port.
pub fn control_port(data_port: u16) -> Result<u16, EndpointError> {
    control_port_with(data_port, CONTROL_PORT_OFFSET)
}

fn control_port_with(data_port: u16, offset: u16) -> Result<u16, EndpointError> {
    let out_of_range = EndpointError::PortOutOfRange { port: data_port.into(), offset, max: u16::MAX - offset };
    if data_port == 0 {
        return Err(out_of_range);
    }
    data_port.checked_add(offset).ok_or(out_of_range)
}

/// Reads a data port from a command line: a number whose control port exists, too.
pub fn parse_data_port(text: &str) -> Result<u16, EndpointError> {
    let max = u16::MAX - CONTROL_PORT_OFFSET;
    let port: u32 =
        text.trim().parse().map_err(|_| EndpointError::NotAPort { found: text.chars().take(64).collect(), max })?;
    match u16::try_from(port) {
        Ok(data_port) => control_port(data_port).map(|_| data_port),
        Err(_) => Err(EndpointError::PortOutOfRange { port, offset: CONTROL_PORT_OFFSET, max }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_port_is_a_thousand_higher() {
        assert_eq!(control_port(5555), Ok(6555));
        assert_eq!(control_port(64535), Ok(65535));
        assert!(control_port(64536).unwrap_err().to_string().contains("choose one from 1 to 64535"));
        assert!(control_port(0).is_err());
    }

    #[test]
    fn ports_are_read_and_checked() {
        assert_eq!(parse_data_port("5555"), Ok(5555));
        assert!(matches!(parse_data_port("http"), Err(EndpointError::NotAPort { .. })));
        assert!(matches!(parse_data_port("-1"), Err(EndpointError::NotAPort { .. })));
        for text in ["0", "64536", "65536", "4000000000"] {
            assert!(matches!(parse_data_port(text), Err(EndpointError::PortOutOfRange { .. })), "{text}");
        }
    }

    #[test]
    fn tcp_urls_name_host_and_port() {
        let naming = EndpointNaming::openhcs();
        assert_eq!(naming.url(Transport::Tcp, Path::new("x"), "127.0.0.1", 5555).unwrap(), "tcp://127.0.0.1:5555");
        assert_eq!(tcp_url("*", 1), "tcp://*:1");
        assert_eq!(tcp_url("::1", 1), "tcp://[::1]:1");
    }

    #[cfg(unix)]
    #[test]
    fn ipc_paths_are_those_of_each_application() {
        let home = Path::new("/home/u");
        let url = |naming: &EndpointNaming, port| naming.url(Transport::Ipc, home, "localhost", port).unwrap();
        assert_eq!(url(&EndpointNaming::openhcs(), 5555), "ipc:///home/u/.openhcs/ipc/openhcs-zmq-5555.sock");
        assert_eq!(url(&EndpointNaming::openhcs(), 6555), "ipc:///home/u/.openhcs/ipc/openhcs-zmq-6555.sock");
        assert_eq!(url(&EndpointNaming::zmqruntime(), 1), "ipc:///home/u/.zmqruntime/ipc/zmq-1.sock");
        let polystore = EndpointNaming::polystore_from(|_| None);
        assert_eq!(url(&polystore, 7777), "ipc:///home/u/.polystore/ipc/polystore-zmq-7777.sock");
        let absolute = EndpointNaming { ipc_dir: "/run/ipc".into(), ..EndpointNaming::openhcs() };
        assert_eq!(url(&absolute, 5), "ipc:///run/ipc/openhcs-zmq-5.sock");
    }

    #[test]
    fn polystore_reads_its_environment() {
        let naming = EndpointNaming::polystore_from(|name| {
            let value = match name {
                "POLYSTORE_ZMQ_APP_NAME" => "lab",
                "POLYSTORE_ZMQ_IPC_DIR" => "s",
                "POLYSTORE_ZMQ_IPC_PREFIX" => "p",
                "POLYSTORE_ZMQ_IPC_EXT" => ".x",
                "POLYSTORE_ZMQ_CONTROL_OFFSET" => "10",
                "POLYSTORE_ZMQ_DEFAULT_PORT" => "oops",
                "POLYSTORE_ZMQ_ACK_PORT" => "0",
                _ => return None,
            };
            Some(value.into())
        });
        assert_eq!(naming.ipc_path(Path::new("h"), 9), Path::new("h").join(".lab").join("s").join("p-9.x"));
        assert_eq!((naming.control_port(9), naming.default_port, naming.ack_port), (Ok(19), 7777, 0));
    }

    #[cfg(unix)]
    #[test]
    fn a_home_too_deep_for_a_socket_is_an_error_with_a_way_out() {
        let home = PathBuf::from(format!("/{}", "h".repeat(100)));
        let error = EndpointNaming::openhcs().url(Transport::Ipc, &home, "", 5555).unwrap_err().to_string();
        assert!(error.contains("--transport tcp") && error.contains("136 bytes"), "{error}");
        // The longest path that fits is accepted.
        assert!(ipc_url(Path::new(&"p".repeat(MAX_IPC_PATH_BYTES))).is_ok());
        assert!(ipc_url(Path::new(&"p".repeat(MAX_IPC_PATH_BYTES + 1))).is_err());
    }
}
