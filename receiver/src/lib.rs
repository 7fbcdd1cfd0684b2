//! Sockets and shared memory in, bounded channels out.
//!
//! [`Receiver::start`] binds the data and control endpoints of a viewer and returns the channel from which the app takes
//! [`Delivery`]s. Each socket has one thread: `wellscope-data` takes requests and sends their replies, `wellscope-ctrl` answers
//! clients, `wellscope-acks` sends acks and removes segments that producers left behind. The `wellscope-work` threads copy pixels,
//! for several producers at once. No thread ever waits for a peer; only workers wait for the app, which is how producers feel
//! that the viewer has enough.

mod acks;
mod config;
mod control_socket;
mod copy;
mod counters;
mod data_socket;
mod delivery;
mod endpoints;
mod in_flight;
mod intake;
mod lock;
mod message;
mod outbox;
mod patience;
mod pixels;
mod platform;
mod receiver;
mod record;
mod serve;
mod settling;
mod text;
mod wake;
mod workers;

pub use acks::AckTicket;
pub use config::{DataSocket, Limits, ReceiverConfig, ViewerIdentity};
pub use counters::{CounterSnapshot, Counters};
pub use delivery::{
    ControlCall, Delivery, ItemHead, Problem, ReceivedBatch, ReceivedImage, ReceivedItem, ReceivedPayload, Replier,
    Severity, Wake,
};
pub use endpoints::{Endpoints, StartError};
pub use pixels::ImagePixels;
pub use receiver::Receiver;
pub use settling::{SettleProgress, Settling};
pub use text::printable;
