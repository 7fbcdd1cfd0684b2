//! Control calls: what clients ask of the view. They are carried out in the order of arrival among the batches, and
//! answered at once, except screenshots, which wait for their frame.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bevy::prelude::*;
use sha2::{Digest, Sha256};
use wellscope_protocol::control::{
    CaptureScope, ControlReply, ControlRequest, ScreenshotAck, ScreenshotRequest, StateOptions, StateReply,
};
use wellscope_protocol::pickle::PickleValue;
use wellscope_receiver::{ControlCall, Counters, Replier};

use crate::host::wake::Wake;
use crate::render::RenderReport;
use crate::render::scene::Scene;
use crate::render::screenshot::{PendingScreenshot, Picture, ScreenshotScope, Screenshots};
use crate::signals::ExitRequested;
use crate::systems::ViewerSystems;
use crate::systems::intake::{PendingCalls, StatisticsWorkers};
use crate::systems::intensity::IntensityWindows;
use crate::systems::memory::PixelStore;
use crate::systems::show::Shown;
use crate::ui::problems::Problems;
use crate::viewer::Viewer;

/// A picture is taken of whatever is drawn after this time, when images arrive faster than they can be drawn.
const LONGEST_WAIT_FOR_A_QUIET_VIEW: Duration = Duration::from_secs(2);

/// Planes that come faster than they can be measured are summed up as far as they are. Agents give up after 5 s.
const LONGEST_WAIT_FOR_STATISTICS: Duration = Duration::from_secs(2);

/// A window that never shows a frame (minimised on some systems) gives no picture; the client is told after this time.
const LONGEST_WAIT_FOR_A_PICTURE: Duration = Duration::from_secs(20);

/// Answers control calls.
pub struct ControlPlugin;

impl Plugin for ControlPlugin {
    fn build(&self, app: &mut App) {
        app.init_resource::<WaitingScreenshots>()
            .init_resource::<WaitingStates>()
            .add_systems(Update, (answer_states, answer_calls).chain().after(ViewerSystems::Ingest))
            .add_systems(PostUpdate, (take_screenshots, leave).in_set(ViewerSystems::Answer));
    }
}

/// What control replies tell of the receiver.
#[derive(Resource)]
pub struct Clients {
    /// Counts of batches, copies, bytes.
    pub counters: Arc<Counters>,
    /// Data port, for names of files.
    pub port: u16,
}

/// Parts of the program whose counts a `state` reply carries.
#[derive(bevy::ecs::system::SystemParam)]
struct Facts<'w> {
    clients: Res<'w, Clients>,
    report: Res<'w, RenderReport>,
    store: Res<'w, PixelStore>,
    problems: Res<'w, Problems>,
}

#[derive(Resource, Default)]
struct WaitingStates(Vec<WaitingState>);

struct WaitingState {
    options: StateOptions,
    replier: Replier,
    asked_at: Instant,
}

#[derive(Resource, Default)]
struct WaitingScreenshots(Vec<WaitingScreenshot>);

struct WaitingScreenshot {
    request: ScreenshotRequest,
    replier: Replier,
    asked_at: Instant,
    pending: Option<PendingScreenshot>,
}

/// Whether all that was taken in is drawn.
#[derive(bevy::ecs::system::SystemParam)]
pub struct Drawn<'w> {
    viewer: Res<'w, Viewer>,
    shown: Res<'w, Shown>,
    scene: Res<'w, Scene>,
    report: Res<'w, RenderReport>,
    workers: Res<'w, StatisticsWorkers>,
}

impl Drawn<'_> {
    /// [`Viewer::revision`]: grows with every change that can be seen, in the panels too.
    pub fn revision(&self) -> u64 {
        self.viewer.revision
    }

    /// Everything up to the present state of the viewer is measured, resolved and on screen.
    pub fn is_complete(&self) -> bool {
        !self.workers.is_busy()
            && self.shown.revision == Some(self.viewer.revision)
            && self.report.drawn_generation() >= self.scene.generation
    }
}

fn answer_calls(
    mut calls: ResMut<PendingCalls>,
    mut waiting: ResMut<WaitingScreenshots>,
    mut params: ParamSet<(ResMut<Viewer>, Drawn)>,
    facts: Facts,
    windows: Res<IntensityWindows>,
    mut states: ResMut<WaitingStates>,
) {
    for ControlCall { request, replier } in calls.0.drain(..) {
        match request {
            ControlRequest::State(options) if options.include_payload_summaries && params.p1().workers.is_busy() => {
                states.0.push(WaitingState { options, replier, asked_at: Instant::now() });
            }
            ControlRequest::Screenshot(request) => {
                waiting.0.push(WaitingScreenshot { request, replier, asked_at: Instant::now(), pending: None });
            }
            ControlRequest::ApplyIntensityWindow(options) => windows.ask(&params.p0(), &options, replier),
            request => replier.reply(state_reply(&mut params.p0(), &request, &facts)),
        }
    }
}

/// Counts and ranges of planes are measured off the render thread; a client that asks for them gets them whole.
fn answer_states(
    mut states: ResMut<WaitingStates>,
    mut viewer: ResMut<Viewer>,
    workers: Res<StatisticsWorkers>,
    facts: Facts,
) {
    let is_measured = !workers.is_busy();
    let is_due = |waiting: &WaitingState| is_measured || waiting.asked_at.elapsed() > LONGEST_WAIT_FOR_STATISTICS;
    let (due, waiting) = std::mem::take(&mut states.0).into_iter().partition(is_due);
    states.0 = waiting;
    let due: Vec<WaitingState> = due;
    for WaitingState { options, replier, .. } in due {
        replier.reply(state_reply(&mut viewer, &ControlRequest::State(options), &facts));
    }
}

fn state_reply(viewer: &mut Viewer, request: &ControlRequest, facts: &Facts) -> ControlReply {
    let mut reply = viewer.answer(request);
    if let Some(state) = reply.state_mut() {
        add_own_facts(state, viewer, facts);
    }
    reply
}

/// Keys of our own in a state reply, under `wellscope`; clients of the incumbent ignore them.
fn add_own_facts(state: &mut StateReply, viewer: &Viewer, facts: &Facts) {
    let counts = |pairs: &[(&str, u64)]| PickleValue::dict(pairs.iter().map(|(name, count)| (*name, (*count).into())));
    let received = facts.clients.counters.snapshot();
    let drawn = facts.report.snapshot();
    let held = facts.store.0.usage();
    state.wellscope = vec![
        ("version".into(), env!("CARGO_PKG_VERSION").into()),
        ("overlay".into(), viewer.overlay().into()),
        ("holes".into(), PickleValue::list(viewer.holes())),
        ("problems".into(), PickleValue::list(facts.problems.newest_first().map(|problem| problem.text.clone()))),
        (
            "receiver".into(),
            counts(&[
                ("batches", received.batches_received),
                ("images", received.images_received),
                ("copies", received.copies),
                ("bytes_copied", received.bytes_copied),
                ("errors_replied", received.errors_replied),
                ("acks_sent", received.acks_sent),
                ("acks_dropped", received.acks_dropped),
            ]),
        ),
        (
            "stack".into(),
            counts(&[
                ("batches", viewer.counters.batches),
                ("items", viewer.counters.items),
                ("planes", viewer.counters.planes),
                ("replaced", viewer.counters.replaced),
                ("refused", viewer.counters.refused),
                ("statistics", viewer.counters.statistics),
            ]),
        ),
        ("statistics".into(), viewer.statistics()),
        ("latency".into(), viewer.latency()),
        (
            "memory".into(),
            counts(&[
                ("bytes", held.memory_bytes),
                ("limit_bytes", held.memory_limit_bytes),
                ("disk_bytes", held.disk_bytes),
                ("disk_limit_bytes", held.disk_limit_bytes),
                ("blocks", held.blocks),
                ("spilled_blocks", held.spilled_blocks),
                ("spill_writes", held.spill_writes),
                ("loads", held.loads),
                ("buffers_allocated", held.buffers_allocated),
                ("buffers_reused", held.buffers_reused),
            ]),
        ),
        (
            "gpu".into(),
            counts(&[
                ("uploads", drawn.uploads),
                ("upload_bytes", drawn.upload_bytes),
                ("evictions", drawn.evictions),
                ("resident_bytes", drawn.resident_bytes),
                ("limit_bytes", drawn.budget_bytes),
                ("resident_tiles", drawn.resident_tiles),
                ("missing_tiles", drawn.missing_tiles),
                ("canvas_renders", drawn.canvas_renders),
                ("frames", drawn.frames),
            ]),
        ),
    ];
}

fn take_screenshots(
    mut waiting: ResMut<WaitingScreenshots>,
    drawn: Drawn,
    clients: Res<Clients>,
    mut screenshots: Screenshots,
    wake: Res<Wake>,
) {
    let mut left = Vec::new();
    for mut shot in waiting.0.drain(..) {
        match &shot.pending {
            None => {
                if drawn.is_complete() || shot.asked_at.elapsed() > LONGEST_WAIT_FOR_A_QUIET_VIEW {
                    let scope = match shot.request.capture_scope {
                        CaptureScope::Widget => ScreenshotScope::Canvas,
                        CaptureScope::Window => ScreenshotScope::Window,
                    };
                    shot.pending = Some(screenshots.request(scope));
                }
                left.push(shot);
            }
            Some(pending) => match pending.try_take() {
                None if shot.asked_at.elapsed() > LONGEST_WAIT_FOR_A_PICTURE => {
                    let sentence = "no frame came to take a picture of; is the window minimised?";
                    shot.replier.reply(ControlReply::error("screenshot_ack", sentence));
                }
                None => left.push(shot),
                Some(picture) => {
                    let title = drawn.viewer.title.clone();
                    let reply = save(&picture, &shot.request, &title, clients.port).unwrap_or_else(|error| {
                        let sentence = format!("the screenshot cannot be written: {error}");
                        tracing::warn!("{sentence}");
                        ControlReply::error("screenshot_ack", sentence)
                    });
                    shot.replier.reply(reply);
                }
            },
        }
    }
    if !left.is_empty() {
        wake.wake();
    }
    waiting.0 = left;
}

/// Writes the PNG where the client wants it, under a name that tells time, port and title, as the incumbent's does. The reply says
/// where.
///
/// # Errors
/// A sentence for the client, when the folder is no absolute path or cannot be written.
pub fn save(picture: &Picture, request: &ScreenshotRequest, title: &str, port: u16) -> Result<ControlReply, String> {
    let folder = Path::new(&request.output_dir_path);
    if !folder.is_absolute() {
        return Err(format!("the folder must be an absolute path, {:?} was asked for", request.output_dir_path));
    }
    std::fs::create_dir_all(folder).map_err(|error| format!("{error}. Folder: {folder:?}"))?;
    let readable: String =
        title.chars().map(|letter| if letter.is_ascii_alphanumeric() { letter } else { '_' }).take(80).collect();
    let now = jiff::Timestamp::now().strftime("%Y%m%dT%H%M%S%6fZ");
    let path = folder.join(format!("{now}_napari_{port}_{readable}.png"));
    let bytes = picture.to_png().map_err(|error| error.to_string())?;
    std::fs::write(&path, &bytes).map_err(|error| format!("{error}. File: {path:?}"))?;
    let shown = path.to_str().ok_or_else(|| format!("the path is not text: {path:?}"))?.to_owned();
    Ok(ControlReply::ScreenshotAck(ScreenshotAck {
        viewer_title: title.to_owned(),
        uri: file_uri(&shown),
        path: shown,
        size_bytes: bytes.len() as u64,
        sha256: Sha256::digest(&bytes).iter().map(|byte| format!("{byte:02x}")).collect(),
        width: picture.width,
        height: picture.height,
        request: request.clone(),
    }))
}

/// `file://` and the path, everything but unreserved characters and slashes as `%XX` (RFC 3986).
fn file_uri(path: &str) -> String {
    let mut uri = String::from("file://");
    for byte in path.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~/".contains(&byte) {
            uri.push(char::from(byte));
        } else {
            uri.push_str(&format!("%{byte:02X}"));
        }
    }
    uri
}

/// Closes the window when a client or a signal asked for it.
fn leave(exit: Res<ExitRequested>, mut exits: MessageWriter<AppExit>) {
    if exit.is_requested() {
        exits.write(AppExit::Success);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn uris_escape_what_paths_may_hold() {
        assert_eq!(file_uri("/home/u/my shots/1%.png"), "file:///home/u/my%20shots/1%25.png");
    }
}
