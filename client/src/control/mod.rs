//! Control calls to a viewer: ping, settle, state, navigate, viewport, screenshot, shutdown.
//!
//! Each is one pickled request and one pickled reply on the control port (data port + 1000), over a connection of its
//! own, as zmqruntime's clients do. Deadlines are those of openhcs 0.8.6.

mod payload;
mod settle;

use std::time::Duration;

use wellscope_protocol::control::{
    Application, NavigateOptions, ProcessIdentity, ScreenshotRequest, StateOptions, Viewport,
};
use wellscope_protocol::endpoint::EndpointError;
use wellscope_protocol::pickle::{self, PickleError, PickleLimits, PickleValue};

use crate::endpoint::ViewerEndpoint;
use crate::socket::{RequestError, RequestSocket};

pub use settle::Settled;

/// Whether a viewer is there (openhcs 0.8.6, quick look).
pub const PING_TIMEOUT: Duration = Duration::from_millis(200);
/// `clear_state`.
pub const CLEAR_STATE_TIMEOUT: Duration = Duration::from_secs(2);
/// `shutdown` and `force_shutdown`.
pub const SHUTDOWN_TIMEOUT: Duration = Duration::from_secs(1);
/// `settle`, `state` and everything that may have to draw first.
pub const STATE_TIMEOUT: Duration = Duration::from_secs(30);

/// Why a control call did not do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum ControlError {
    /// Nobody listens, or no reply came in time.
    #[error(transparent)]
    Request(#[from] RequestError),
    /// The reply is no pickle that we would open.
    #[error("cannot read the reply to {request}: {cause}")]
    Unreadable {
        /// Type of the request.
        request: &'static str,
        /// What is wrong with it.
        cause: PickleError,
    },
    /// The viewer understood and refused.
    #[error("the viewer refused {request}: {message}")]
    Refused {
        /// Type of the request.
        request: &'static str,
        /// The viewer's own sentence.
        message: String,
    },
    /// The reply lacks a field, or has another type than it should.
    #[error("the reply to {request} has no usable {field:?}; found {found}")]
    BadReply {
        /// Type of the request.
        request: &'static str,
        /// Field that is missing or wrong.
        field: &'static str,
        /// What was there.
        found: String,
    },
    /// `settle` came to no end.
    #[error("the viewer did not settle within {waited:?}: {completed} of {total} updates done, at {route}")]
    NotSettled {
        /// How long it was waited for.
        waited: Duration,
        /// Updates done.
        completed: u64,
        /// Updates to do.
        total: u64,
        /// Layer being drawn, or "no route".
        route: String,
    },
}

/// What a viewer says of itself.
#[derive(Clone, PartialEq, Debug)]
pub struct Pong {
    /// Data port.
    pub port: Option<u16>,
    /// Control port.
    pub control_port: Option<u16>,
    /// Whether it takes batches.
    pub ready: bool,
    /// e.g. "napari".
    pub server_type: Option<String>,
    /// Which program it belongs to, in either generation's spelling.
    pub application: Option<Application>,
    /// Its process, where it says so.
    pub process: Option<ProcessIdentity>,
    /// All of it.
    pub reply: PickleValue,
}

/// Control calls to one viewer. Cheap to make; connects anew for each call, so that a viewer that was replaced in between
/// gets them too.
pub struct ControlClient {
    context: zmq::Context,
    url: String,
}

impl ControlClient {
    /// For the viewer at `endpoint`. Nothing is sent yet.
    pub fn connect(endpoint: &ViewerEndpoint) -> Result<Self, EndpointError> {
        Ok(Self { context: zmq::Context::new(), url: endpoint.control_url()? })
    }

    /// Asks whether it is there and ready. [`PING_TIMEOUT`] is how long OpenHCS waits.
    pub fn ping(&self, timeout: Duration) -> Result<Pong, ControlError> {
        let reply = self.call("ping", None, timeout)?;
        if reply.get("type").and_then(PickleValue::as_str) != Some("pong") {
            return Err(bad_reply("ping", "type", &reply));
        }
        let Some(ready) = reply.get("ready").and_then(PickleValue::as_bool) else {
            return Err(bad_reply("ping", "ready", &reply));
        };
        let port = |key| reply.get(key).and_then(PickleValue::as_u64).and_then(|port| u16::try_from(port).ok());
        Ok(Pong {
            port: port("port"),
            control_port: port("control_port"),
            ready,
            server_type: reply.get("server_type").and_then(PickleValue::as_str).map(str::to_owned),
            application: reply.get("application").and_then(application),
            process: reply.get("process_identity").and_then(ProcessIdentity::from_value),
            reply,
        })
    }

    /// What the viewer holds and shows; the whole reply. Its layers are under "layers".
    pub fn state(&self, options: &StateOptions) -> Result<PickleValue, ControlError> {
        self.successful("state", Some(payload::state(options)), STATE_TIMEOUT)
    }

    /// Makes the viewer forget what it has received; layers stay visible until they are sent anew.
    pub fn clear_state(&self) -> Result<(), ControlError> {
        self.successful("clear_state", None, CLEAR_STATE_TIMEOUT).map(drop)
    }

    /// Moves sliders and selects a layer; the state reply of that layer.
    pub fn navigate(&self, options: &NavigateOptions) -> Result<PickleValue, ControlError> {
        self.successful("navigate", Some(payload::navigate(options)), STATE_TIMEOUT)
    }

    /// Moves the camera.
    pub fn viewport(&self, viewport: Viewport) -> Result<PickleValue, ControlError> {
        self.successful("viewport", Some(payload::viewport(viewport)), STATE_TIMEOUT)
    }

    /// Has the viewer write a PNG; the whole reply, whose "resource" has "path", "size_bytes" and "sha256".
    pub fn screenshot(&self, request: &ScreenshotRequest) -> Result<PickleValue, ControlError> {
        self.successful("screenshot", Some(request.capture_spec()), STATE_TIMEOUT)
    }

    /// Asks the viewer to close. It answers first and is gone some 100 ms later.
    pub fn shutdown(&self) -> Result<(), ControlError> {
        self.successful("shutdown", None, SHUTDOWN_TIMEOUT).map(drop)
    }

    /// As [`ControlClient::shutdown`], for a viewer that must go.
    pub fn force_shutdown(&self) -> Result<(), ControlError> {
        self.successful("force_shutdown", None, SHUTDOWN_TIMEOUT).map(drop)
    }

    /// Any request by its type; the reply as it came, be it an error of the viewer's.
    pub fn call(
        &self,
        request: &'static str,
        payload: Option<PickleValue>,
        timeout: Duration,
    ) -> Result<PickleValue, ControlError> {
        let mut message = vec![("type", PickleValue::from(request))];
        message.extend(payload.map(|payload| ("payload", payload)));
        let mut socket = RequestSocket::new(self.context.clone(), self.url.clone());
        let started = std::time::Instant::now();
        socket.wait_until_connected(timeout)?;
        let left = timeout.saturating_sub(started.elapsed());
        let reply = socket.request(pickle::encode(&PickleValue::dict(message)), left, left)?;
        pickle::decode(&reply, &PickleLimits::CONTROL_REPLY)
            .map_err(|cause| ControlError::Unreadable { request, cause })
    }

    fn successful(
        &self,
        request: &'static str,
        payload: Option<PickleValue>,
        timeout: Duration,
    ) -> Result<PickleValue, ControlError> {
        let reply = self.call(request, payload, timeout)?;
        require_success(request, &reply)?;
        Ok(reply)
    }
}

fn require_success(request: &'static str, reply: &PickleValue) -> Result<(), ControlError> {
    match reply.get("status").and_then(PickleValue::as_str) {
        Some("success") => Ok(()),
        Some("error") => {
            let message = reply.get("message").and_then(PickleValue::as_str).unwrap_or("it gave no reason");
            Err(ControlError::Refused { request, message: message.to_owned() })
        }
        _ => Err(bad_reply(request, "status", reply)),
    }
}

fn bad_reply(request: &'static str, field: &'static str, reply: &PickleValue) -> ControlError {
    let found = match reply.get(field) {
        Some(value) => format!("a {}: {:.80}", value.type_name(), format!("{value:?}")),
        None => format!("none in a {}", reply.type_name()),
    };
    ControlError::BadReply { request, field, found }
}

/// zmqruntime 0.2.24 says application_id and application_version, 0.6.5 identifier and version.
fn application(value: &PickleValue) -> Option<Application> {
    let text = |a, b| value.get(a).or_else(|| value.get(b)).and_then(PickleValue::as_str).map(str::to_owned);
    Some(Application { id: text("application_id", "identifier")?, version: text("application_version", "version")? })
}
