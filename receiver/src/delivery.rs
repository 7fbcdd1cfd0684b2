//! What the app takes out of the channel: batches, control calls, problems.

use std::fmt;
use std::sync::Arc;
use std::time::Instant;

use wellscope_protocol::batch::{
    Address, ComponentDomain, ComponentNames, DisplayConfig, ImageLayout, PlaneAxis, ProducerIdentity, Shape,
    VoxelSpacing,
};
use wellscope_protocol::control::{ControlReply, ControlRequest};
use wellscope_protocol::dtype::ElementType;
use wellscope_protocol::route::Route;

use crate::acks::AckTicket;
use crate::pixels::ImagePixels;

/// Called after each delivery, from a socket thread. Must be cheap and must not block.
pub type Wake = Arc<dyn Fn() + Send + Sync>;

/// One entry of the channel from the receiver to the app, in the order in which peers were answered.
#[derive(Debug)]
pub enum Delivery {
    /// A batch whose pixels are ours. Its producer gets `success` once this is in the channel.
    Batch(ReceivedBatch),
    /// A control request that only the app can answer.
    Call(ControlCall),
    /// `clear_state`: drop accumulated items, domains and names. Already acknowledged.
    Clear,
    /// Something to show in the window; already logged.
    Problem(Problem),
    /// A client asked the viewer to end. Already acknowledged.
    ShutdownRequested,
}

/// How bad a [`Problem`] is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Severity {
    /// Something degraded, nothing is lost.
    Warning,
    /// Data was refused or lost.
    Error,
}

/// What went wrong, in a sentence for people. Control characters that peers sent are escaped.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Problem {
    /// How bad it is.
    pub severity: Severity,
    /// The sentence.
    pub text: String,
}

/// A batch with its pixels.
#[derive(Debug)]
pub struct ReceivedBatch {
    /// Counts delivered batches from 1.
    pub sequence: u64,
    /// When its frame was taken from the socket.
    pub received_at: Instant,
    /// Images, shapes and points in the producer's order.
    pub items: Vec<ReceivedItem>,
    /// How the producer wants it shown.
    pub display_config: DisplayConfig,
    /// Rich names of component values.
    pub component_names: ComponentNames,
    /// Values that the producer declares.
    pub component_domain: ComponentDomain,
}

/// One item of a batch.
#[derive(Debug)]
pub struct ReceivedItem {
    /// What it is and where it lies.
    pub item: ItemHead,
    /// What it carries.
    pub payload: ReceivedPayload,
    /// To be answered when the item is in its layer (or cannot be). Until then its pixels count as in flight.
    pub ack: AckTicket,
}

/// What every item has. See `wellscope_protocol::batch::Item` for the wire.
#[derive(Clone, PartialEq, Debug)]
pub struct ItemHead {
    /// Path of the source, for tables; never opened.
    pub path: String,
    /// Values of components at which the item lies.
    pub address: Address,
    /// Which output of which step it is (G3 and later).
    pub producer_identity: Option<ProducerIdentity>,
    /// Planes that the shapes of a shapes or points item count along; empty for images.
    pub shape_planes: Vec<PlaneAxis>,
    /// The layer that it belongs to, and its sliders.
    pub route: Route,
}

/// The three kinds of payload.
#[derive(Clone, Debug)]
pub enum ReceivedPayload {
    /// An array of pixels.
    Image(ReceivedImage),
    /// Regions of interest.
    Shapes(Vec<Shape>),
    /// Points.
    Points(Vec<Shape>),
}

/// An array of pixels that is ours, in memory or on disk.
#[derive(Clone, Debug)]
pub struct ReceivedImage {
    /// What one element is.
    pub element: ElementType,
    /// Extent per axis, numpy C order, slowest first. No extent is 0.
    pub shape: Vec<u64>,
    /// How the axes are to be read.
    pub layout: ImageLayout,
    /// Where the first pixel lies in a bigger source frame, in pixels.
    pub spatial_origin_yx: Option<[i64; 2]>,
    /// Extent of that frame, in pixels.
    pub source_spatial_shape_yx: Option<[u64; 2]>,
    /// Distance of voxels.
    pub voxel_spacing: Option<VoxelSpacing>,
    /// Its integers are ids of objects, not intensities; only producers of our own say so.
    pub labels: bool,
    /// C-contiguous, little-endian, exactly `shape` x element size bytes.
    pub pixels: ImagePixels,
}

/// A control request that waits for the app's answer. After the kind's deadline the client is told that the viewer is busy
/// (settle: still running), and a later answer is ignored.
#[derive(Debug)]
pub struct ControlCall {
    /// What is asked.
    pub request: ControlRequest,
    /// Takes the answer.
    pub replier: Replier,
}

type SendReply = Box<dyn FnOnce(Option<ControlReply>) + Send + Sync>;

/// Takes one answer to one control request, from any thread. Dropped unanswered, it sends an error reply.
pub struct Replier(Option<SendReply>);

impl Replier {
    /// A replier that hands the answer (`None`: dropped unanswered) to `send`. The receiver makes them; tests of the app may too.
    pub fn new(send: impl FnOnce(Option<ControlReply>) + Send + Sync + 'static) -> Self {
        Self(Some(Box::new(send)))
    }

    /// Answers the client. Never blocks.
    pub fn reply(mut self, reply: ControlReply) {
        if let Some(send) = self.0.take() {
            send(Some(reply));
        }
    }
}

impl Drop for Replier {
    fn drop(&mut self) {
        if let Some(send) = self.0.take() {
            send(None);
        }
    }
}

impl fmt::Debug for Replier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Replier")
    }
}

impl ReceivedItem {
    /// True for images, false for shapes and points.
    pub fn is_image(&self) -> bool {
        matches!(self.payload, ReceivedPayload::Image(_))
    }
}
