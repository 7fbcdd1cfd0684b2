//! Control calls to a viewer: ping, settle, state, payloads, navigate, isolate, intensity, viewport, screenshot, shutdown.
//!
//! Each is one pickled request and one pickled reply on the control port (data port + 1000), over a connection of its
//! own, as zmqruntime's clients do. Deadlines are those of openhcs 0.8.6.

mod payload;
mod settle;
mod summary;

use std::time::Duration;

use wellscope_protocol::control::{
    Application, ImageIntensityOptions, IntensityWindowOptions, IsolateLayersOptions, NavigateOptions, PayloadOptions,
    ProcessIdentity, ScreenshotRequest, StateOptions, Viewport,
};
use wellscope_protocol::endpoint::EndpointError;
use wellscope_protocol::pickle::{self, PickleError, PickleLimits, PickleValue};

use crate::endpoint::ViewerEndpoint;
use crate::socket::{RequestError, RequestSocket};

pub use settle::Settled;
pub use summary::{ComponentValues, LayerSummary, Saved, ViewerState};

/// Whether a viewer is there (openhcs 0.8.6, quick look).
pub const PING_TIMEOUT: Duration = Duration::from_millis(200);
/// `clear_state`.
pub const CLEAR_STATE_TIMEOUT: Duration = Duration::from_secs(2);
/// `shutdown` and `force_shutdown`.
pub const SHUTDOWN_TIMEOUT: Duration = Duration::from_secs(1);
/// `settle`, `state` and everything that may have to draw first.
pub const STATE_TIMEOUT: Duration = Duration::from_secs(30);

/// How long a connection may take; a viewer that is there takes it at once, on another machine after some round trips.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

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

impl ControlError {
    /// Nobody listens where the viewer should be: nothing was sent.
    pub fn is_absent(&self) -> bool {
        matches!(self, Self::Request(RequestError::NobodyListens { .. }))
    }

    /// The viewer is there and did not answer, or did not get done, in time.
    pub fn is_late(&self) -> bool {
        matches!(self, Self::Request(RequestError::NoReply { .. }) | Self::NotSettled { .. })
    }

    /// The viewer understood the call and did not do it.
    pub fn is_refusal(&self) -> bool {
        matches!(self, Self::Refused { .. })
    }
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
    /// Name of the server, e.g. "NapariViewerServer".
    pub server: Option<String>,
    /// "viewer", or what else the server is for: "execution", "generic" (zmqruntime 0.2.24).
    pub server_role: Option<String>,
    /// Where its log is.
    pub log_file: Option<String>,
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
    timeout: Option<Duration>,
}

impl std::fmt::Debug for ControlClient {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("ControlClient").field("url", &self.url).finish_non_exhaustive()
    }
}

impl ControlClient {
    /// For the viewer at `endpoint`. Nothing is sent yet.
    pub fn connect(endpoint: &ViewerEndpoint) -> Result<Self, EndpointError> {
        Ok(Self { context: zmq::Context::new(), url: endpoint.control_url()?, timeout: None })
    }

    /// The same with one deadline for every call whose deadline is not an argument.
    #[must_use]
    pub fn with_timeout(self, timeout: Duration) -> Self {
        Self { timeout: Some(timeout), ..self }
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
        let text = |key| reply.get(key).and_then(PickleValue::as_str).map(str::to_owned);
        Ok(Pong {
            port: port("port"),
            control_port: port("control_port"),
            ready,
            server_type: text("server_type"),
            server: text("server"),
            server_role: text("server_role"),
            log_file: text("log_file_path"),
            application: reply.get("application").and_then(application),
            process: reply.get("process_identity").and_then(ProcessIdentity::from_value),
            reply,
        })
    }

    /// What the viewer holds and shows; the whole reply. Its layers are under "layers".
    pub fn state(&self, options: &StateOptions) -> Result<PickleValue, ControlError> {
        self.successful("state", Some(payload::state(options)), STATE_TIMEOUT)
    }

    /// As [`ControlClient::state`], read into types: what a script or a test asks for.
    pub fn viewer_state(&self, options: &StateOptions) -> Result<ViewerState, ControlError> {
        ViewerState::read("state", self.state(options)?)
    }

    /// Describes single planes and shapes, with values where asked; the whole reply. Its layers are under "layers".
    pub fn payloads(&self, options: &PayloadOptions) -> Result<PickleValue, ControlError> {
        self.successful("payloads", Some(payload::payloads(options)), STATE_TIMEOUT)
    }

    /// Makes the viewer forget what it has received; layers stay visible until they are sent anew.
    pub fn clear_state(&self) -> Result<(), ControlError> {
        self.successful("clear_state", None, CLEAR_STATE_TIMEOUT).map(drop)
    }

    /// Moves sliders and selects a layer; the state reply of that layer.
    pub fn navigate(&self, options: &NavigateOptions) -> Result<PickleValue, ControlError> {
        self.successful("navigate", Some(payload::navigate(options)), STATE_TIMEOUT)
    }

    /// Shows these layers and hides the others, all or nothing; the whole reply.
    ///
    /// # Errors
    /// Also when one of the routes is not there: nothing is changed then, though the viewer calls it a success
    /// (openhcs 0.8.6).
    pub fn isolate(&self, options: &IsolateLayersOptions) -> Result<PickleValue, ControlError> {
        const REQUEST: &str = "isolate_layers";
        let reply = self.successful(REQUEST, Some(payload::isolate(options)), STATE_TIMEOUT)?;
        let missing = reply.get("missing_route_keys").and_then(PickleValue::items).unwrap_or_default();
        if missing.is_empty() && reply.get("applied").and_then(PickleValue::as_bool) != Some(false) {
            return Ok(reply);
        }
        let missing: Vec<&str> = missing.iter().filter_map(PickleValue::as_str).collect();
        let message = format!("no layer has the route {}; nothing was changed", missing.join(", "));
        Err(ControlError::Refused { request: REQUEST, message })
    }

    /// Contrast limits of a layer from percentiles of its pixels; the whole reply, with "resolved_limits".
    ///
    /// # Errors
    /// Also always from the napari viewer of openhcs 0.8.6, which is broken here (protocol.md 8).
    pub fn apply_intensity_window(&self, options: &IntensityWindowOptions) -> Result<PickleValue, ControlError> {
        self.successful("apply_intensity_window", Some(payload::intensity_window(options)), STATE_TIMEOUT)
    }

    /// Contrast limits and gamma of a layer; the state reply of that layer.
    pub fn image_intensity(&self, options: &ImageIntensityOptions) -> Result<PickleValue, ControlError> {
        self.successful("image_intensity", Some(payload::image_intensity(options)), STATE_TIMEOUT)
    }

    /// Moves the camera.
    pub fn viewport(&self, viewport: Viewport) -> Result<PickleValue, ControlError> {
        self.successful("viewport", Some(payload::viewport(viewport)), STATE_TIMEOUT)
    }

    /// Has the viewer write a PNG; the whole reply, whose "resource" has "path", "size_bytes" and "sha256".
    pub fn screenshot(&self, request: &ScreenshotRequest) -> Result<PickleValue, ControlError> {
        self.successful("screenshot", Some(request.capture_spec()), STATE_TIMEOUT)
    }

    /// As [`ControlClient::screenshot`]: which file it became.
    pub fn save_screenshot(&self, request: &ScreenshotRequest) -> Result<Saved, ControlError> {
        Saved::read(&self.screenshot(request)?)
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
        socket.wait_until_connected(timeout.min(CONNECT_TIMEOUT))?;
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
        let reply = self.call(request, payload, self.timeout.unwrap_or(timeout))?;
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
