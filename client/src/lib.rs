//! The producer side of the wire: sends batches of images, shapes and points to a viewer, listens for its acks, and
//! makes control calls. Speaks to wellscope and to the napari viewer of OpenHCS alike.
//!
//! Pixels travel by shared memory on this machine, and as binary frames to others. [`StreamingBackend`] copies them and sends
//! them while the caller works on; [`Producer::send_batch`] blocks until the viewer has copied them, at most until its
//! deadline. No call panics or waits for ever when the viewer is gone.
//!
//! ```no_run
//! use wellscope_client::{BatchRequest, ImageItem, Producer, ProducerConfig, ViewerEndpoint};
//! let mut producer = Producer::connect(ProducerConfig::new(ViewerEndpoint::openhcs(5555)))?;
//! let pixels = ndarray::Array2::<u16>::zeros((512, 512));
//! let image = ImageItem::new("/plate/A01_w1.tif", pixels.view()).at("well", "A01").at("channel", 1);
//! producer.send_batch(BatchRequest::new().item(image))?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod ack;
mod control;
mod element;
mod endpoint;
mod lock;
mod prepare;
mod process;
mod producer;
mod request;
mod segment;
mod segment_name;
mod segment_pool;
mod socket;
mod streaming;
mod viewer;

pub use ack::{AckError, AckMode, Generation};
pub use control::{
    CLEAR_STATE_TIMEOUT, ComponentValues, ControlClient, ControlError, LayerSummary, PING_TIMEOUT, Pong,
    SHUTDOWN_TIMEOUT, STATE_TIMEOUT, Saved, Settled, ViewerState,
};
pub use element::Element;
pub use endpoint::ViewerEndpoint;
pub use prepare::ItemError;
pub use process::this_process;
pub use producer::{ConnectError, Producer, ProducerConfig, SendError};
pub use request::{
    BatchRequest, ImageItem, OPENHCS_COMPONENTS, RequestItem, RoiItem, manual_identity, openhcs_display_config,
    step_identity,
};
pub use segment::SegmentError;
pub use socket::RequestError;
pub use streaming::{
    AtBound, Count, LossReason, Losses, PixelTransport, SaveError, SaveRequest, StreamStatus, StreamingBackend,
    StreamingConfig, Ticket, WaitError,
};
pub use viewer::{
    START_TIMEOUT, StartedOrReused, StopError, Viewer, ViewerConfig, ViewerError, default_log_file, has_display,
};
pub use wellscope_protocol::control::{
    Application, AxisIndices, CaptureScope, FrameCondition, ImageIntensityOptions, IntensityWindowOptions,
    IsolateLayersOptions, NativeIntensity, NavigateOptions, PayloadOptions, ProcessIdentity, ScreenshotRequest,
    ShapeDetail, StateOptions, Viewport,
};
pub use wellscope_protocol::endpoint::{EndpointError, EndpointNaming, Transport};
