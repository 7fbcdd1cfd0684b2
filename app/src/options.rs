//! The command line: each option with its default, its help and its checks.

use std::net::IpAddr;
use std::path::PathBuf;

use clap::{Parser, ValueEnum};
use wellscope_protocol::control::PongSpelling;
use wellscope_protocol::endpoint::{EndpointNaming, Transport};
use wellscope_receiver::DataSocket;

use crate::amount::{self, Amount};

/// Exit codes, as `--help` lists them.
pub mod exit_code {
    /// Closed by the user, a `shutdown` message or a signal.
    pub const DONE: u8 = 0;
    /// Anything not listed here.
    pub const FAILED: u8 = 1;
    // 2 is clap's: the command line could not be understood.
    /// No GPU and no software renderer.
    pub const NO_GPU: u8 = 3;
    /// No display to open a window on.
    pub const NO_DISPLAY: u8 = 4;
    /// Another program serves the port.
    pub const PORT_IN_USE: u8 = 5;
    /// The endpoints could not be opened for another reason.
    pub const NO_ENDPOINT: u8 = 6;
}

/// Live viewer for the images of an image-analysis pipeline.
///
/// Without a command it opens the viewer, which shows what is streamed to its port. The commands stream to a viewer, which
/// they start when none is running, and drive one.
#[derive(Parser, Clone, Debug)]
#[command(
    name = "wellscope",
    version,
    args_conflicts_with_subcommands = true,
    disable_help_subcommand = true,
    subcommand_help_heading = "Commands, each with a --help of its own",
    override_usage = "wellscope [OPTIONS]\n       wellscope <COMMAND> [OPTIONS]",
    after_help = "Examples:\n  wellscope                      open a viewer where OpenHCS streams to, port 5555\n  wellscope --port 5600          another one beside it\n  wellscope ctl ping             is a viewer there?\n  wellscope ctl --help           what scripts can ask of it\n\nExit codes of the viewer:\n  0  closed by the user, a shutdown message or a signal\n  1  failed for a reason that is printed\n  2  the command line could not be understood\n  3  no GPU and no software renderer was found\n  4  no display to open a window on\n  5  another program serves the port\n  6  the endpoints could not be opened\n\nEnvironment: RUST_LOG sets what is logged (default: info), WGPU_BACKEND and WGPU_ADAPTER_NAME choose the GPU."
)]
pub struct CommandLine {
    /// Options of the viewer.
    #[command(flatten, next_help_heading = "Options of the viewer")]
    pub viewer: Options,

    /// What to do instead of opening a viewer.
    #[command(subcommand)]
    pub command: Option<wellscope_cli::Command>,
}

/// Options of the viewer.
#[derive(Parser, Clone, Debug)]
pub struct Options {
    /// Data port; producers stream to it. The control port is this plus 1000
    #[arg(long, default_value_t = 5555, value_parser = parse_port)]
    pub port: u16,

    /// Control port, when it is not the data port plus 1000
    #[arg(long, value_parser = parse_port)]
    pub control_port: Option<u16>,

    /// Port that producers up to polystore 0.2 listen on for acknowledgements
    #[arg(long, default_value_t = 7555, value_parser = parse_port)]
    pub ack_port: u16,

    /// Kind of the data port: rep for producers that request, sub for those that publish (openhcs up to 0.5.13, polystore up to 0.1.8)
    #[arg(long, value_enum, default_value_t = DataSocketOption::Rep)]
    pub data_socket: DataSocketOption,

    /// How producers on this machine connect
    #[arg(long, value_enum, default_value_t = TransportOption::default())]
    pub transport: TransportOption,

    /// Whose names the Unix sockets have; polystore's follow its POLYSTORE_ZMQ_* variables
    #[arg(long, value_enum, default_value_t = SocketNames::Openhcs)]
    pub socket_names: SocketNames,

    /// Address to listen on with --transport tcp; anything but loopback lets other machines connect, without a password
    #[arg(long, default_value = "127.0.0.1")]
    pub bind: IpAddr,

    /// Window title; clients see it too
    #[arg(long, default_value = "wellscope")]
    pub title: String,

    /// Application that the viewer reports to its clients, e.g. openhcs=0.8.6; OpenHCS reuses only viewers of its own version
    #[arg(long, value_name = "ID=VERSION", value_parser = parse_application)]
    pub application: Option<(String, String)>,

    /// Spelling of the answer to pings: g3 for zmqruntime 0.2 (OpenHCS 0.8), g4 for zmqruntime 0.6
    #[arg(long, value_enum, default_value_t = PongOption::G3)]
    pub pong: PongOption,

    /// Empty a layer before each item that it receives
    #[arg(long)]
    pub replace_layers: bool,

    /// Draw a border in this colour around the canvas, to tell viewers apart
    #[arg(long, value_name = "#RRGGBB", value_parser = parse_colour)]
    pub accent_color: Option<[u8; 3]>,

    /// Draw without a window, X or Wayland
    #[arg(long)]
    pub headless: bool,

    /// Size of the window in logical pixels
    #[arg(long, value_name = "WxH", default_value = "1280x800", value_parser = parse_size)]
    pub window_size: (u32, u32),

    /// Keep FILE, a PNG, up to date with the window: it is written whenever all that was received has been drawn
    #[arg(long, value_name = "FILE")]
    pub screenshot: Option<PathBuf>,

    /// Write the log to FILE too, and tell clients where it is
    #[arg(long, value_name = "FILE")]
    pub log_file: Option<PathBuf>,

    /// Record what producers send and clients ask, and the replies, into DIR, a new folder: a bug report that can be replayed
    #[arg(long, value_name = "DIR")]
    pub record: Option<PathBuf>,

    /// Memory for images: bytes (8GiB) or percent of the machine's memory (50%). What exceeds it moves to a file in the cache folder and comes back when it is looked at [default: half of the machine's memory]
    #[arg(long, value_name = "AMOUNT", help_heading = "Limits")]
    pub memory_limit: Option<Amount>,

    /// Disk space for images beyond the memory limit: bytes or percent of what is free. When it is used up, producers are told [default: half of what is free, at most 256GiB]
    #[arg(long, value_name = "AMOUNT", help_heading = "Limits")]
    pub disk_limit: Option<Amount>,

    /// GPU memory for images: bytes or percent of the GPU's memory [default: half of it; 512MiB when the processor draws]
    #[arg(long, value_name = "AMOUNT", help_heading = "Limits")]
    pub vram_limit: Option<Amount>,

    /// Folder for the images beyond the memory limit [default: wellscope/spill in the user's cache folder]
    #[arg(long, value_name = "DIR", help_heading = "Limits")]
    pub spill_dir: Option<PathBuf>,

    /// Longest message that is read; a peer that announces more is disconnected
    #[arg(long, value_name = "BYTES", default_value = "256MiB", value_parser = amount::bytes, help_heading = "Limits")]
    pub max_message: u64,

    /// Largest image that is taken
    #[arg(long, value_name = "BYTES", default_value = "8GiB", value_parser = amount::bytes, help_heading = "Limits")]
    pub max_image: u64,

    /// Most images, shapes and points of one batch
    #[arg(long, value_name = "N", default_value_t = 65_536, help_heading = "Limits")]
    pub max_items: usize,

    /// Most memory for images that are received and not yet in their layer; producers wait while it is used up
    #[arg(long, value_name = "BYTES", default_value = "2GiB", value_parser = amount::bytes, help_heading = "Limits")]
    pub max_in_flight: u64,

    /// Close when standard input ends: for a launcher whose viewer must not outlive it
    #[arg(long)]
    pub exit_with_stdin: bool,

    /// Print the GPUs, drivers and limits that were found, and exit
    #[arg(long)]
    pub info: bool,
}

/// `--transport`.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub enum TransportOption {
    /// Unix sockets under ~/.openhcs/ipc
    Ipc,
    /// TCP
    Tcp,
}

impl Default for TransportOption {
    /// Unix sockets where there are any, as OpenHCS does.
    fn default() -> Self {
        if cfg!(windows) { Self::Tcp } else { Self::Ipc }
    }
}

impl From<TransportOption> for Transport {
    fn from(option: TransportOption) -> Self {
        match option {
            TransportOption::Ipc => Self::Ipc,
            TransportOption::Tcp => Self::Tcp,
        }
    }
}

/// `--data-socket`.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub enum DataSocketOption {
    /// Producers request and wait for a reply
    Rep,
    /// Producers publish and get none
    Sub,
}

impl From<DataSocketOption> for DataSocket {
    fn from(option: DataSocketOption) -> Self {
        match option {
            DataSocketOption::Rep => Self::Rep,
            DataSocketOption::Sub => Self::Sub,
        }
    }
}

/// `--socket-names`.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub enum SocketNames {
    /// ~/.openhcs/ipc/openhcs-zmq-PORT.sock
    Openhcs,
    /// ~/.polystore/ipc/polystore-zmq-PORT.sock
    Polystore,
    /// ~/.zmqruntime/ipc/zmq-PORT.sock
    Zmqruntime,
}

impl SocketNames {
    /// The names as paths are built of them.
    pub fn naming(self) -> EndpointNaming {
        match self {
            Self::Openhcs => EndpointNaming::openhcs(),
            Self::Polystore => EndpointNaming::polystore_from_env(),
            Self::Zmqruntime => EndpointNaming::zmqruntime(),
        }
    }
}

/// `--pong`.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub enum PongOption {
    /// zmqruntime 0.2
    G3,
    /// zmqruntime 0.6
    G4,
}

impl From<PongOption> for PongSpelling {
    fn from(option: PongOption) -> Self {
        match option {
            PongOption::G3 => Self::G3,
            PongOption::G4 => Self::G4,
        }
    }
}

fn parse_port(text: &str) -> Result<u16, String> {
    match text.parse::<u16>() {
        Ok(port) if port > 0 => Ok(port),
        _ => Err("a port is a number from 1 to 65535".to_owned()),
    }
}

fn parse_application(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((id, version)) if !id.is_empty() && !version.is_empty() => Ok((id.to_owned(), version.to_owned())),
        _ => Err("expected ID=VERSION, e.g. openhcs=0.8.6".to_owned()),
    }
}

fn parse_colour(text: &str) -> Result<[u8; 3], String> {
    let digits = text.strip_prefix('#').unwrap_or(text);
    let number = u32::from_str_radix(digits, 16).ok().filter(|_| digits.len() == 6);
    let [_, red, green, blue] = number.ok_or("expected six hexadecimal digits, e.g. #FF8800")?.to_be_bytes();
    Ok([red, green, blue])
}

fn parse_size(text: &str) -> Result<(u32, u32), String> {
    let sides =
        text.split_once(['x', 'X']).and_then(|(width, height)| Some((width.parse().ok()?, height.parse().ok()?)));
    match sides {
        Some((width, height)) if (16..=16_384).contains(&width) && (16..=16_384).contains(&height) => {
            Ok((width, height))
        }
        _ => Err("expected WIDTHxHEIGHT, each from 16 to 16384, e.g. 1280x800".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_consistent() {
        CommandLine::command().debug_assert();
    }

    #[test]
    fn options_open_the_viewer_and_a_command_does_not() {
        let line = CommandLine::parse_from(["wellscope", "--port", "5600", "--headless"]);
        assert!(line.command.is_none() && line.viewer.headless);
        assert_eq!(line.viewer.port, 5600);
        assert!(CommandLine::parse_from(["wellscope"]).command.is_none());
        let line = CommandLine::parse_from(["wellscope", "ctl", "--port", "5600", "ping"]);
        let Some(wellscope_cli::Command::Ctl(ctl)) = line.command else { panic!("{line:?}") };
        assert_eq!((ctl.address.port, line.viewer.port), (5600, 5555), "options of one name stay apart");
        // Options of the viewer before a command would be lost without a word.
        assert!(CommandLine::try_parse_from(["wellscope", "--port", "5600", "ctl", "ping"]).is_err());
    }

    #[test]
    fn options_are_read_as_documented() {
        let options = Options::parse_from([
            "wellscope",
            "--port",
            "5600",
            "--application",
            "openhcs=0.8.6",
            "--accent-color",
            "#ff8000",
            "--window-size",
            "640x480",
            "--transport",
            "tcp",
            "--data-socket",
            "sub",
            "--record",
            "report",
            "--headless",
            "--exit-with-stdin",
        ]);
        assert!(options.exit_with_stdin);
        assert_eq!(options.port, 5600);
        assert_eq!(options.application, Some(("openhcs".to_owned(), "0.8.6".to_owned())));
        assert_eq!(options.accent_color, Some([255, 128, 0]));
        assert_eq!(options.window_size, (640, 480));
        assert_eq!(options.transport, TransportOption::Tcp);
        assert_eq!(options.data_socket, DataSocketOption::Sub);
        assert_eq!(options.record, Some(PathBuf::from("report")));
        assert!(options.headless);
        assert_eq!((options.max_message, options.max_image), (256 << 20, 8 << 30));
        assert_eq!(Options::parse_from(["wellscope", "--max-image", "512MiB"]).max_image, 512 << 20);
        let limits = Options::parse_from(["wellscope", "--memory-limit", "2GiB", "--vram-limit", "25%"]);
        assert_eq!(limits.memory_limit, Some(Amount::Bytes(2 << 30)));
        assert_eq!((limits.vram_limit, limits.disk_limit), (Some(Amount::Percent(25.0)), None));
    }

    #[test]
    fn nonsense_is_refused_with_what_was_expected() {
        for (arguments, expected) in [
            (["--port", "0"], "1 to 65535"),
            (["--port", "70000"], "1 to 65535"),
            (["--application", "openhcs"], "ID=VERSION"),
            (["--accent-color", "red"], "hexadecimal"),
            (["--window-size", "0x9"], "WIDTHxHEIGHT"),
            (["--max-image", "0"], "bytes"),
            (["--max-image", "8GB"], "bytes"),
            (["--max-image", "99999999999999GiB"], "bytes"),
            (["--memory-limit", "120%"], "percentage"),
        ] {
            let error = Options::try_parse_from(["wellscope", arguments[0], arguments[1]]).unwrap_err().to_string();
            assert!(error.contains(expected), "{error}");
        }
    }
}
