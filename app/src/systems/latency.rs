//! Times of planes on their way to the screen, from the renderer to their layers.

use bevy::prelude::*;

use crate::render::RenderReport;
use crate::viewer::Viewer;

/// Collects the renderer's times ahead of everything else in a frame.
pub struct LatencyPlugin;

impl Plugin for LatencyPlugin {
    fn build(&self, app: &mut App) {
        app.add_systems(PreUpdate, collect_times);
    }
}

fn collect_times(mut viewer: ResMut<Viewer>, report: Res<RenderReport>) {
    viewer.frames_drawn = report.snapshot().frames;
    viewer.take_timed(&report.take_timed());
}
