//! The facts of the status bar, kept up to date.

use bevy::prelude::*;

use crate::render::RenderReport;
use crate::systems::intake::StatisticsWorkers;
use crate::ui::status::ViewerStatus;
use crate::viewer::Viewer;

/// Fills the status bar.
pub struct StatusPlugin;

impl Plugin for StatusPlugin {
    fn build(&self, app: &mut App) {
        app.add_systems(PreUpdate, report_facts);
    }
}

fn report_facts(
    viewer: Res<Viewer>,
    report: Res<RenderReport>,
    workers: Res<StatisticsWorkers>,
    mut status: ResMut<ViewerStatus>,
) {
    let facts = ViewerStatus {
        host_bytes: viewer.layers.values().map(|layer| layer.host_bytes).sum(),
        gpu_bytes: report.snapshot().resident_bytes,
        planes: viewer.counters.planes,
        in_flight: workers.waiting(),
        ..status.clone()
    };
    status.set_if_neq(facts);
}
