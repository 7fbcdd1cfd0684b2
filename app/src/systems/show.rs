//! Showing: the user's commands are carried out and become the scene that the renderer draws.

use bevy::prelude::*;

use crate::colormap::ColormapRows;
use crate::host::wake::Wake;
use crate::render::RenderReport;
use crate::render::scene::{CanvasRect, Scene};
use crate::systems::ViewerSystems;
use crate::ui::canvas::CanvasArea;
use crate::ui::problems::{Problems, Severity};
use crate::viewer::Viewer;
use crate::viewer::command::ViewCommand;
use crate::viewer::resolve::Resolved;

/// Carries out commands and resolves the scene.
pub struct ShowPlugin;

impl Plugin for ShowPlugin {
    fn build(&self, app: &mut App) {
        app.add_message::<ViewCommand>()
            .init_resource::<Shown>()
            .add_systems(PostUpdate, (apply_commands, resolve_scene).chain().in_set(ViewerSystems::Resolve));
    }
}

/// Which state of the viewer the scene shows.
#[derive(Resource, Default)]
pub struct Shown {
    /// [`Viewer::revision`] of the last resolved scene.
    pub revision: Option<u64>,
}

fn apply_commands(mut commands: MessageReader<ViewCommand>, mut viewer: ResMut<Viewer>, wake: Res<Wake>) {
    if commands.is_empty() {
        return;
    }
    for command in commands.read() {
        viewer.apply(command.clone());
    }
    // Panels were laid out before the commands; one more frame shows them their effect.
    wake.wake();
}

fn resolve_scene(
    mut viewer: ResMut<Viewer>,
    mut rows: ResMut<ColormapRows>,
    mut scene: ResMut<Scene>,
    mut shown: ResMut<Shown>,
    mut problems: ResMut<Problems>,
    area: Res<CanvasArea>,
    report: Res<RenderReport>,
) {
    if area.rect != scene.canvas {
        let size = [f64::from(area.rect.width), f64::from(area.rect.height)];
        viewer.camera.resize(size);
        viewer.touch();
    }
    if shown.revision == Some(viewer.revision) {
        return;
    }
    shown.revision = Some(viewer.revision);
    if viewer.give_up_unseen() {
        // Its times are told once it is drawn; one more frame shows them.
        report.wake_when_drawn();
    }
    let resolved = viewer.resolve(&mut rows);
    if !is_same_picture(&scene, area.rect, &resolved) {
        scene.generation += 1;
    }
    scene.canvas = area.rect;
    scene.camera = resolved.camera;
    scene.draws = resolved.draws;
    scene.prefetch = resolved.prefetch;
    for warning in resolved.warnings {
        tracing::warn!("{warning}");
        problems.report(Severity::Warning, warning);
    }
}

/// Most of what arrives lies elsewhere on the sliders; the canvas need not be drawn anew for it. Neighbours count: they are
/// brought to the GPU by a scene of theirs.
fn is_same_picture(scene: &Scene, canvas: CanvasRect, resolved: &Resolved) -> bool {
    let are_same_draws = scene.draws.len() == resolved.draws.len()
        && scene.draws.iter().zip(&resolved.draws).all(|(drawn, next)| drawn.shows_the_same(next));
    let are_same_neighbours = scene.prefetch.len() == resolved.prefetch.len()
        && scene.prefetch.iter().zip(&resolved.prefetch).all(|(held, next)| held.plane.id == next.plane.id);
    scene.generation > 0
        && are_same_draws
        && are_same_neighbours
        && scene.canvas == canvas
        && scene.camera == resolved.camera
}
