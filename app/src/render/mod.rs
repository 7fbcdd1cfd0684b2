//! Drawing: from the scene to pixels.
//!
//! `scene` says what; `tiles`, `pyramid`, `residency` and `texels` decide how (without a GPU); `prepare` makes tiles on threads
//! of its own, `pages` holds them on the GPU, `painter` draws them and `canvas` leads all of that. `present` puts the result
//! under the panels, `screenshot` reads pictures back.

pub mod canvas;
mod pages;
mod painter;
mod prepare;
pub mod present;
pub mod pyramid;
pub mod report;
pub mod residency;
pub mod scene;
pub mod screenshot;
pub mod texels;
pub mod tiles;
pub mod timing;

use bevy::prelude::*;
use bevy::render::renderer::{RenderDevice, RenderQueue};
use bevy::render::{Extract, ExtractSchedule, Render, RenderApp, RenderStartup, RenderSystems};

pub use report::{RenderCounts, RenderReport};

use crate::colormap::{ColormapRows, ColormapTable};
use crate::host::wake::Wake;
use crate::render::canvas::{Canvas, Work};
use crate::render::present::PresentPlugin;
use crate::render::scene::Scene;
use crate::render::screenshot::ScreenshotPlugin;

/// Draws the [`Scene`].
pub struct CanvasPlugin {
    /// Bound for the textures of planes, in bytes.
    pub texture_budget_bytes: u64,
}

impl Plugin for CanvasPlugin {
    fn build(&self, app: &mut App) {
        let report = RenderReport::default();
        app.init_resource::<Scene>().init_resource::<ColormapRows>().insert_resource(report.clone());
        if let Some(render_app) = app.get_sub_app_mut(RenderApp) {
            render_app
                .insert_resource(report)
                .insert_resource(TextureBudget(self.texture_budget_bytes))
                .init_resource::<DrawnScene>()
                // Also runs when a lost device has been replaced; all textures are then made anew from host memory.
                .add_systems(RenderStartup, make_canvas)
                .add_systems(ExtractSchedule, extract_scene)
                .add_systems(Render, update_canvas.in_set(RenderSystems::PrepareResources));
        }
        app.add_plugins((PresentPlugin, ScreenshotPlugin));
    }
}

#[derive(Resource)]
struct TextureBudget(u64);

/// The scene and colormaps as the render world has them.
#[derive(Resource, Default)]
pub(crate) struct DrawnScene {
    pub(crate) scene: Scene,
    colormaps: Vec<ColormapTable>,
    wake: Option<Wake>,
}

/// The canvas on the present device.
#[derive(Resource)]
pub(crate) struct GpuCanvas(pub(crate) Canvas);

fn make_canvas(mut commands: Commands, device: Res<RenderDevice>, queue: Res<RenderQueue>, budget: Res<TextureBudget>) {
    commands.insert_resource(GpuCanvas(Canvas::new(device.wgpu_device(), &queue, budget.0)));
}

/// Fewest bytes that the budget is lowered to: one large frame per channel must be drawable.
const LEAST_TEXTURE_BUDGET_BYTES: u64 = 64 << 20;

/// Halves the texture budget and begins with an empty GPU: what an allocation that failed left behind must not be drawn with.
/// Returns the new budget in bytes.
pub(crate) fn lower_texture_budget(render_world: &mut World) -> u64 {
    let budget = &mut render_world.resource_mut::<TextureBudget>().0;
    *budget = (*budget / 2).max(LEAST_TEXTURE_BUDGET_BYTES);
    let budget_bytes = *budget;
    let device = render_world.resource::<RenderDevice>().clone();
    let canvas = Canvas::new(device.wgpu_device(), render_world.resource::<RenderQueue>(), budget_bytes);
    render_world.insert_resource(GpuCanvas(canvas));
    budget_bytes
}

fn extract_scene(
    mut drawn: ResMut<DrawnScene>,
    scene: Extract<Res<Scene>>,
    rows: Extract<Res<ColormapRows>>,
    wake: Extract<Option<Res<Wake>>>,
) {
    if drawn.scene.generation != scene.generation {
        drawn.scene = scene.clone();
    }
    if drawn.colormaps.len() != rows.rows().len() {
        drawn.colormaps = rows.rows().to_vec();
    }
    if drawn.wake.is_none() {
        drawn.wake = wake.as_ref().map(|wake| (**wake).clone());
    }
}

fn update_canvas(drawn: Res<DrawnScene>, mut canvas: ResMut<GpuCanvas>, report: Res<RenderReport>) {
    if let Some(wake) = &drawn.wake {
        canvas.0.wake_with(wake);
    }
    let work = canvas.0.update(&drawn.scene, &drawn.colormaps, &report);
    let is_awaited = report.drawn_generation() >= drawn.scene.generation && report.take_awaited();
    if (work == Work::NextFrame || is_awaited)
        && let Some(wake) = &drawn.wake
    {
        wake.wake();
    }
}
