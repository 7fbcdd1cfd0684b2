//! `--screenshot FILE`: a PNG of the window that is written anew whenever all that was received has been drawn.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use bevy::prelude::*;

use crate::host::wake::Wake;
use crate::render::RenderReport;
use crate::render::screenshot::{PendingScreenshot, ScreenshotScope, Screenshots};
use crate::systems::ViewerSystems;
use crate::systems::control::Drawn;
use crate::ui::problems::{Problems, Severity};

/// Pictures are at least this far apart, so that a burst is not spent on writing PNGs.
const SHORTEST_INTERVAL: Duration = Duration::from_millis(300);

/// Keeps a file up to date with the window.
pub struct FollowPlugin;

impl Plugin for FollowPlugin {
    fn build(&self, app: &mut App) {
        app.add_systems(PostUpdate, follow.run_if(resource_exists::<FollowFile>).in_set(ViewerSystems::Answer));
    }
}

/// The file and what it shows.
#[derive(Resource)]
pub struct FollowFile {
    path: PathBuf,
    written_revision: Option<u64>,
    last: Option<Instant>,
    pending: Option<(u64, PendingScreenshot)>,
    has_failed: bool,
}

impl FollowFile {
    /// Nothing written yet.
    pub fn new(path: PathBuf) -> Self {
        Self { path, written_revision: None, last: None, pending: None, has_failed: false }
    }
}

fn follow(
    mut file: ResMut<FollowFile>,
    drawn: Drawn,
    report: Res<RenderReport>,
    mut screenshots: Screenshots,
    mut problems: ResMut<Problems>,
    wake: Res<Wake>,
) {
    if let Some((revision, pending)) = file.pending.take() {
        match pending.try_take() {
            None => {
                file.pending = Some((revision, pending));
                wake.wake();
                return;
            }
            Some(picture) => {
                if let Err(error) = picture.write_png(&file.path)
                    && !file.has_failed
                {
                    // Once: a full disk must not fill the log too.
                    file.has_failed = true;
                    let sentence = format!("the picture that --screenshot asks for cannot be written: {error}");
                    tracing::error!("{sentence}");
                    problems.report(Severity::Error, sentence);
                }
                file.written_revision = Some(revision);
                file.last = Some(Instant::now());
            }
        }
    }
    if !drawn.is_complete() {
        // A frame is drawn after its systems have run; the frame after the last one sees that it is complete.
        report.wake_when_drawn();
        return;
    }
    if file.written_revision == Some(drawn.revision()) {
        return;
    }
    if file.last.is_some_and(|last| last.elapsed() < SHORTEST_INTERVAL) {
        wake.wake_after(SHORTEST_INTERVAL);
        return;
    }
    file.pending = Some((drawn.revision(), screenshots.request(ScreenshotScope::Window)));
    wake.wake();
}
