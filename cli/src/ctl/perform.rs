//! Carrying a call out.

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::json;
use wellscope_client::{
    AxisIndices, CaptureScope, ControlClient, FrameCondition, ImageIntensityOptions, IntensityWindowOptions,
    IsolateLayersOptions, NativeIntensity, NavigateOptions, PayloadOptions, ScreenshotRequest, StateOptions, Viewer,
    ViewerError, Viewport,
};
use wellscope_protocol::pickle::PickleValue;

use super::answer::{Answer, json_of};
use super::calls::{
    Call, IntensityArguments, IsolateArguments, NavigateArguments, PayloadsArguments, ScreenshotArguments,
    ShutdownArguments, StateArguments, ViewportArguments,
};
use super::places::{has_places, indices, meant, named, overview};
use super::{CtlArguments, CtlError, show};

/// How long a viewer has to take the connection: nobody waits half a minute to hear that nobody is there.
const PRESENCE_TIMEOUT: Duration = Duration::from_secs(2);

/// Makes the call.
pub(super) fn perform(arguments: &CtlArguments, client: &ControlClient) -> Result<Answer, CtlError> {
    let pong = client.ping(arguments.timeout.min(PRESENCE_TIMEOUT));
    match &arguments.call {
        Call::Ping => {
            let pong = pong?;
            let url = arguments.address.endpoint().control_url().unwrap_or_default();
            Ok(Answer::new(show::pong(&pong, &url), json_of(&pong.reply)))
        }
        Call::Shutdown(options) => shut_down(arguments, options),
        // Busy is not absent: the call itself has longer.
        call => match pong {
            Err(error) if error.is_absent() => Err(error.into()),
            _ => ask(call, client, arguments.timeout),
        },
    }
}

fn ask(call: &Call, client: &ControlClient, timeout: Duration) -> Result<Answer, CtlError> {
    match call {
        Call::Ping | Call::Shutdown(_) => Err(CtlError::Refused("this call is made elsewhere".to_owned())),
        Call::State(options) => state(client, options),
        Call::Settle => {
            let settled = client.settle(timeout)?;
            let json = json!({"status": "success", "updates": settled.updates, "polls": settled.polls});
            Ok(Answer::new("everything that was sent is drawn", json))
        }
        Call::ClearState => {
            client.clear_state()?;
            Ok(Answer::new("forgotten", json!({"status": "success"})))
        }
        Call::Navigate(options) => navigate(client, options),
        Call::Isolate(options) => isolate(client, options),
        Call::Intensity(options) => intensity(client, options),
        Call::Viewport(options) => viewport(client, options),
        Call::Screenshot(options) => screenshot(client, options),
        Call::Payloads(options) => payloads(client, options),
    }
}

fn state(client: &ControlClient, options: &StateArguments) -> Result<Answer, CtlError> {
    let route_key = match &options.layer {
        Some(name) => Some(named(&overview(client)?, name)?.route_key.clone()),
        None => None,
    };
    let state = client.viewer_state(&StateOptions {
        route_key,
        include_component_values: options.items,
        include_payload_summaries: options.items,
        ..StateOptions::default()
    })?;
    Ok(Answer::new(show::state(&state), json_of(&state.reply)))
}

fn navigate(client: &ControlClient, options: &NavigateArguments) -> Result<Answer, CtlError> {
    let state = overview(client)?;
    let layer = meant(&state, options.layer.as_deref(), |layer| has_places(layer, &options.at))?;
    let mut axis_indices = indices(layer, &options.at)?;
    axis_indices.extend(options.index.iter().cloned());
    let flag = |yes: bool, no: bool| (yes || no).then_some(yes);
    let reply = client.navigate(&NavigateOptions {
        route_key: layer.route_key.clone(),
        axis_indices,
        visible: flag(options.show, options.hide),
        selected: flag(options.select, options.deselect),
        data_index: options.element,
    })?;
    Ok(Answer::new(now_shows(client, &layer.title)?, json_of(&reply)))
}

/// What the canvas says after a move, where the viewer tells.
fn now_shows(client: &ControlClient, title: &str) -> Result<String, CtlError> {
    let overlay = overview(client)?.overlay.filter(|overlay| !overlay.is_empty());
    Ok(overlay.map_or_else(|| title.to_owned(), |overlay| format!("{title}: {overlay}")))
}

fn isolate(client: &ControlClient, options: &IsolateArguments) -> Result<Answer, CtlError> {
    let state = overview(client)?;
    let layers = options.layers.iter().map(|name| named(&state, name)).collect::<Result<Vec<_>, _>>()?;
    let selected = options.select.as_deref().map(|name| named(&state, name)).transpose()?;
    let target = selected.or(layers.first().copied());
    let reply = client.isolate(&IsolateLayersOptions {
        visible_route_keys: layers.iter().map(|layer| layer.route_key.clone()).collect(),
        selected_route_key: selected.map(|layer| layer.route_key.clone()),
        axis_indices: target.map(|layer| indices(layer, &options.at)).transpose()?.unwrap_or_default(),
    })?;
    let titles: Vec<&str> = layers.iter().map(|layer| layer.title.as_str()).collect();
    Ok(Answer::new(format!("shown alone: {}", titles.join(", ")), json_of(&reply)))
}

fn intensity(client: &ControlClient, options: &IntensityArguments) -> Result<Answer, CtlError> {
    let state = overview(client)?;
    let layer = meant(&state, options.layer.as_deref(), |layer| layer.intensity.is_some())?;
    let route_key = layer.route_key.clone();
    if let Some([low, high]) = options.percentiles.as_deref() {
        let reply = client.apply_intensity_window(&IntensityWindowOptions {
            route_key,
            axis_indices: indices(layer, &options.at)?,
            low_percentile: *low,
            high_percentile: *high,
        })?;
        let limits = reply.get("resolved_limits").and_then(PickleValue::items).unwrap_or_default();
        let limits: Vec<String> = limits.iter().map(ToString::to_string).collect();
        return Ok(Answer::new(format!("{}: contrast {}", layer.title, limits.join(" to ")), json_of(&reply)));
    }
    let before = layer
        .intensity
        .ok_or_else(|| CtlError::Refused(format!("layer {:?} holds no images, so it has no intensity", layer.title)))?;
    let contrast_limits = match options.limits.as_deref() {
        Some([low, high]) => [*low, *high],
        _ => before.contrast_limits,
    };
    let presentation = NativeIntensity { contrast_limits, gamma: options.gamma.unwrap_or(before.gamma) };
    let reply = client.image_intensity(&ImageIntensityOptions { route_key, presentation })?;
    let [low, high] = contrast_limits;
    let text = format!("{}: contrast {low} to {high}, gamma {}", layer.title, presentation.gamma);
    Ok(Answer::new(text, json_of(&reply)))
}

fn viewport(client: &ControlClient, options: &ViewportArguments) -> Result<Answer, CtlError> {
    let now = overview(client)?.viewport;
    let told = |viewport: Viewport, reply: serde_json::Value| {
        let [_, y, x] = viewport.center;
        Answer::new(format!("centre y {y}, x {x}, zoom {}", viewport.zoom), reply)
    };
    let now = now.ok_or_else(|| CtlError::Refused("the viewer has no camera yet".to_owned()))?;
    if options.center.is_none() && options.zoom.is_none() {
        let json = json!({"status": "success", "native_viewport": {"center": now.center, "zoom": now.zoom}});
        return Ok(told(now, json));
    }
    let center = match options.center.as_deref() {
        Some([y, x]) => [now.center[0], *y, *x],
        _ => now.center,
    };
    let wanted = Viewport { center, zoom: options.zoom.unwrap_or(now.zoom) };
    let reply = client.viewport(wanted)?;
    Ok(told(wanted, json_of(&reply)))
}

fn screenshot(client: &ControlClient, options: &ScreenshotArguments) -> Result<Answer, CtlError> {
    let cannot = |what: &str, path: &Path, error: std::io::Error| {
        CtlError::Refused(format!("cannot {what}: {error}. Path: {}", path.display()))
    };
    let output = std::path::absolute(&options.output)
        .map_err(|error| cannot("find the folder of the picture", &options.output, error))?;
    let names_file = output.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("png"));
    let folder = if names_file { output.parent().unwrap_or(&output) } else { &output };
    let text = folder.to_str().ok_or_else(|| CtlError::Refused(format!("the folder is not text: {folder:?}")))?;
    let saved = client.save_screenshot(&ScreenshotRequest {
        output_dir_path: text.to_owned(),
        capture_scope: if options.window { CaptureScope::Window } else { CaptureScope::Widget },
        frame_condition: FrameCondition::Immediate,
        observation_timeout_s: 5.0,
    })?;
    let mut path: PathBuf = saved.path;
    if names_file {
        std::fs::rename(&path, &output).map_err(|error| cannot("give the picture its name", &output, error))?;
        path = output;
    }
    let (width, height) = saved.size;
    let json = json!({"status": "success", "path": path, "size_bytes": saved.size_bytes, "sha256": saved.sha256,
        "width": width, "height": height});
    Ok(Answer::new(format!("{} ({width} x {height})", path.display()), json))
}

fn payloads(client: &ControlClient, options: &PayloadsArguments) -> Result<Answer, CtlError> {
    let mut request = PayloadOptions {
        include_array_values: options.values,
        max_array_elements: options.max_values,
        ..PayloadOptions::default()
    };
    if let Some(name) = &options.layer {
        let state = overview(client)?;
        let layer = named(&state, name)?;
        request.route_key = Some(layer.route_key.clone());
        let places = indices(layer, &options.at)?;
        request.axis_indices = (!places.is_empty()).then_some(AxisIndices::Named(places));
    }
    let json = json_of(&client.payloads(&request)?);
    // There is no shorter way to say it: the answer is data.
    Ok(Answer::new(format!("{json:#}"), json))
}

fn shut_down(arguments: &CtlArguments, options: &ShutdownArguments) -> Result<Answer, CtlError> {
    let endpoint = arguments.address.endpoint();
    let port = endpoint.port;
    let mut viewer = Viewer::connect(&endpoint).map_err(|error| match error {
        ViewerError::Absent { .. } => CtlError::Nobody(error.to_string()),
        other => CtlError::Refused(other.to_string()),
    })?;
    match (viewer.shut_down(arguments.timeout), options.force) {
        (Ok(true), _) => {}
        (_, true) => viewer.stop().map_err(|error| CtlError::Refused(error.to_string()))?,
        (Ok(false), false) => {
            let sentence = format!("the viewer on port {port} has not closed; shutdown --force ends its process");
            return Err(CtlError::TooLate(sentence));
        }
        (Err(error), false) => return Err(error.into()),
    }
    Ok(Answer::new(format!("the viewer on port {port} is closed"), json!({"status": "success"})))
}
