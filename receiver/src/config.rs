//! What a receiver is told at its start: where to bind, who it says it is, and how much it lets peers ask for.

use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;

use wellscope_protocol::batch::BatchLimits;
use wellscope_protocol::control::PongSpelling;
use wellscope_protocol::endpoint::{DEFAULT_ACK_PORT, DEFAULT_DATA_PORT, EndpointNaming, Transport};
use wellscope_store::Store;

/// The kind of the data socket. libzmq cannot serve both on one port, so it is chosen at the start.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum DataSocket {
    /// Producers request and wait for a reply (REQ/REP): polystore 0.1.9 and later, openhcs 0.5.15 and later (G2 to G4).
    #[default]
    Rep,
    /// Producers publish and hear nothing but acks (PUB/SUB): polystore up to 0.1.8, openhcs up to 0.5.13 (G0, G1).
    ///
    /// What is wrong with one item costs that item alone: nobody would send the others again. Waiting for the app stalls the
    /// socket and nothing else; publishers drop what its queue does not hold.
    Sub,
}

/// Where a receiver binds and how it behaves.
#[derive(Clone, Debug)]
pub struct ReceiverConfig {
    /// Data port: producers send batches here.
    pub port: u16,
    /// Whether producers request or publish.
    pub data_socket: DataSocket,
    /// Folder into which messages, segments, control requests and all replies are written, up to [`Limits::max_recording_bytes`].
    pub record: Option<PathBuf>,
    /// Control port; `None`: the naming's offset (OpenHCS: 1000) above `port`.
    pub control_port: Option<u16>,
    /// Where acks of items without a return route go (G1 to G3).
    pub ack_port: u16,
    /// Sockets in the file system, or TCP.
    pub transport: Transport,
    /// Address to bind with TCP. Anything but loopback lets every host that reaches this machine send and control.
    pub bind: IpAddr,
    /// Names of socket files.
    pub naming: EndpointNaming,
    /// What the producers' `Path.home()` says; the socket files lie below it.
    pub home: PathBuf,
    /// What the pong says about this viewer.
    pub identity: ViewerIdentity,
    /// How much a peer may ask for.
    pub limits: Limits,
    /// Where pixels are kept. Default: in memory without a limit.
    pub store: Store,
    /// Which generation's spelling of the pong is sent; requests of both are byte-identical.
    pub pong_spelling: PongSpelling,
}

impl ReceiverConfig {
    /// A receiver as released OpenHCS expects it: port 5555, OpenHCS's socket files below `home`, loopback only.
    pub fn new(home: PathBuf) -> Self {
        Self {
            port: DEFAULT_DATA_PORT,
            data_socket: DataSocket::default(),
            record: None,
            control_port: None,
            ack_port: DEFAULT_ACK_PORT,
            transport: Transport::default(),
            bind: IpAddr::V4(Ipv4Addr::LOCALHOST),
            naming: EndpointNaming::openhcs(),
            home,
            identity: ViewerIdentity::default(),
            limits: Limits::default(),
            store: Store::unbounded(),
            pong_spelling: PongSpelling::G3,
        }
    }
}

/// What clients read in the pong, and people in the refusal of a second viewer.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ViewerIdentity {
    /// Application id and exact version, e.g. `("openhcs", "0.8.6")`. OpenHCS 0.8.6 reuses a viewer only when both are its own.
    pub application: Option<(String, String)>,
    /// Server name. OpenHCS's own is `NapariViewerServer`.
    pub server: String,
    /// Title of the window.
    pub title: String,
    /// Log file of this viewer.
    pub log_file: Option<PathBuf>,
}

impl Default for ViewerIdentity {
    fn default() -> Self {
        Self { application: None, server: "NapariViewerServer".into(), title: "wellscope".into(), log_file: None }
    }
}

/// What a peer may make this process hold or do. Exceeding one is an error reply, never an allocation.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Limits {
    /// Bytes of one frame on the data socket. libzmq reserves memory when a frame is *announced*, so it must be bounded there;
    /// a peer that announces more is disconnected. Default 256 MiB: on this machine pixels travel by shared memory, and binary frames
    /// are cut at 64 MiB.
    pub max_message_bytes: u64,
    /// Bytes of one frame on the control socket. Default 1 MiB; real requests have less than 1 KiB.
    pub max_control_message_bytes: u64,
    /// Bytes of one image. Default 8 GiB.
    pub max_image_bytes: u64,
    /// Bytes of all images of one batch, and of all binary frames of one message. Default 16 GiB.
    pub max_batch_bytes: u64,
    /// Items of one batch. Default 65,536. A message has at most twice as many binary frames.
    pub max_items: usize,
    /// Bytes of pixels delivered but not yet taken by the app (its ack tickets still open). Default 2 GiB. A batch that alone
    /// exceeds it is let in when nothing else is in flight.
    pub max_in_flight_bytes: u64,
    /// Requests of producers that are read and not yet answered, at most. Default 256; and no further one while they hold
    /// [`max_message_bytes`](Self::max_message_bytes). What comes beyond waits in the sockets, so that producers feel it.
    pub max_requests_in_hand: usize,
    /// Deliveries that wait in the channel to the app. Default 256.
    pub queue_batches: usize,
    /// How long a producer waits for the app to catch up before it is told that the viewer is busy, in milliseconds. Default
    /// 20,000: producers of G3 give up after 30,000.
    pub busy_timeout_millis: u64,
    /// Control calls that wait for the app at once. Default 64.
    pub max_pending_calls: usize,
    /// Acks that wait for the ack thread. Default 65,536; further ones are dropped and counted.
    pub max_pending_acks: usize,
    /// How long after the reply a segment that still exists is unlinked, in milliseconds. Default 5,000: producers of G3 and G4
    /// unlink within milliseconds, those of G1 and G2 never.
    pub late_unlink_millis: u64,
    /// Bytes of a recording ([`ReceiverConfig::record`]). Default 1 GiB; then it ends with a warning.
    pub max_recording_bytes: u64,
}

impl Limits {
    /// What of this is checked while a batch is decoded.
    pub(crate) fn batch_limits(&self) -> BatchLimits {
        BatchLimits {
            max_frame_bytes: self.max_message_bytes,
            max_items: self.max_items,
            max_image_bytes: self.max_image_bytes,
            max_batch_bytes: self.max_batch_bytes,
            // One for each item, and as many again for arrays that are cut.
            max_frames: self.max_items.saturating_mul(2),
            ..BatchLimits::default()
        }
    }
}

impl Default for Limits {
    fn default() -> Self {
        const MIB: u64 = 1 << 20;
        const GIB: u64 = 1 << 30;
        Self {
            max_message_bytes: 256 * MIB,
            max_control_message_bytes: MIB,
            max_image_bytes: 8 * GIB,
            max_batch_bytes: 16 * GIB,
            max_items: 65_536,
            max_in_flight_bytes: 2 * GIB,
            max_requests_in_hand: 256,
            queue_batches: 256,
            busy_timeout_millis: 20_000,
            max_pending_calls: 64,
            max_pending_acks: 65_536,
            late_unlink_millis: 5_000,
            max_recording_bytes: GIB,
        }
    }
}
