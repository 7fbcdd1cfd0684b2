//! `settle`: after each frame the receiver is told whether everything that it delivered is in its layer and on screen.

use std::sync::Arc;

use bevy::prelude::*;
use bevy::render::{Extract, ExtractSchedule, Render, RenderApp, RenderSystems};
use wellscope_receiver::{SettleProgress, Settling};

use crate::render::RenderReport;
use crate::render::scene::Scene;
use crate::systems::ViewerSystems;
use crate::systems::intake::Taken;
use crate::systems::show::Shown;
use crate::viewer::Viewer;

/// Tells of the end of each frame.
pub struct SettlePlugin;

impl Plugin for SettlePlugin {
    fn build(&self, app: &mut App) {
        app.init_resource::<FrameOutlook>()
            .add_systems(PreUpdate, forget_settled)
            .add_systems(PostUpdate, look_ahead.in_set(ViewerSystems::Answer));
        if let Some(render_app) = app.get_sub_app_mut(RenderApp) {
            render_app
                .init_resource::<FrameOutlook>()
                .add_systems(ExtractSchedule, extract_outlook)
                // The picture has been handed to the GPU by then.
                .add_systems(Render, end_frame.in_set(RenderSystems::PostCleanup));
        }
    }
}

/// The receiver's side of settling.
#[derive(Resource, Clone)]
pub struct Settlement(pub Arc<Settling>);

/// What this frame will have shown when it is drawn.
#[derive(Resource, Clone, Default)]
struct FrameOutlook {
    settling: Option<Arc<Settling>>,
    progress: SettleProgress,
    /// The scene shows everything that was taken in.
    is_whole: bool,
    generation: u64,
}

fn forget_settled(settlement: Res<Settlement>, mut viewer: ResMut<Viewer>) {
    let settled = settlement.0.take_settled();
    if !settled.is_empty() {
        viewer.unsettled_routes.retain(|route| !settled.contains(route));
    }
}

fn look_ahead(
    viewer: Res<Viewer>,
    shown: Res<Shown>,
    scene: Res<Scene>,
    taken: Res<Taken>,
    settlement: Res<Settlement>,
    mut outlook: ResMut<FrameOutlook>,
) {
    *outlook = FrameOutlook {
        settling: Some(Arc::clone(&settlement.0)),
        progress: SettleProgress {
            taken: taken.0,
            routes: viewer.unsettled_routes.clone(),
            work_units: viewer.revision,
        },
        is_whole: shown.revision == Some(viewer.revision) && viewer.is_view_measured(),
        generation: scene.generation,
    };
}

fn extract_outlook(mut here: ResMut<FrameOutlook>, outlook: Extract<Res<FrameOutlook>>) {
    *here = outlook.clone();
}

fn end_frame(mut outlook: ResMut<FrameOutlook>, report: Res<RenderReport>) {
    let is_drawn = outlook.is_whole && report.drawn_generation() >= outlook.generation;
    let progress = std::mem::take(&mut outlook.progress);
    if let Some(settling) = &outlook.settling {
        settling.frame_ended(progress, is_drawn);
    }
}
