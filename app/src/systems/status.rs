//! The facts of the status bar, kept up to date.

use bevy::prelude::*;

use crate::render::RenderReport;
use crate::systems::ViewerSystems;
use crate::systems::intake::StatisticsWorkers;
use crate::systems::memory::PixelStore;
use crate::ui::status::{Use, ViewerStatus};
use crate::viewer::Viewer;

/// Fills the status bar.
pub struct StatusPlugin;

impl Plugin for StatusPlugin {
    fn build(&self, app: &mut App) {
        // After intake, or the last frame of a stream would still tell of planes that wait.
        app.add_systems(Update, report_facts.after(ViewerSystems::Ingest));
    }
}

fn report_facts(
    viewer: Res<Viewer>,
    report: Res<RenderReport>,
    workers: Res<StatisticsWorkers>,
    store: Res<PixelStore>,
    mut status: ResMut<ViewerStatus>,
) {
    let (usage, drawn) = (store.0.usage(), report.snapshot());
    let facts = ViewerStatus {
        memory: Use { bytes: usage.memory_bytes, limit_bytes: usage.memory_limit_bytes },
        disk: Use { bytes: usage.disk_bytes, limit_bytes: usage.disk_limit_bytes },
        gpu: Use { bytes: drawn.resident_bytes, limit_bytes: drawn.budget_bytes },
        planes: viewer.counters.planes,
        in_flight: workers.waiting(),
        ..status.clone()
    };
    status.set_if_neq(facts);
}
