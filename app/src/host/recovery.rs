//! When the GPU fails: a lost device is opened again and everything comes back from host memory; a full one is used less.

use bevy::app::AppExit;
use bevy::prelude::*;
use bevy::render::error_handler::{ErrorType, RenderError, RenderErrorHandler, RenderErrorPolicy};
use bevy::render::render_resource::SpecializedRenderPipelines;
use bevy::render::{GpuResourceAppExt, RenderApp, RenderStartup};
use bevy_egui::render::EguiPipeline;
use bevy_egui::render::systems::{EguiRenderData, EguiTransforms};

use crate::host::ChosenAdapter;
use crate::host::adapters;
use crate::host::wake::Wake;
use crate::render::{RenderReport, lower_texture_budget};

/// Updates that bevy needs from a new device to the first picture, with one to spare.
const FRAMES_TO_RECOVER: u32 = 5;

/// How long to wait before a GPU that does not open is tried again. Drivers come back within seconds after a reset.
const RETRY_INTERVAL: std::time::Duration = std::time::Duration::from_secs(1);

/// Keeps the viewer alive when the GPU is not.
pub struct RecoveryPlugin;

impl Plugin for RecoveryPlugin {
    fn build(&self, app: &mut App) {
        app.init_resource::<FramesWanted>()
            .insert_resource(RenderErrorHandler(handle))
            .add_systems(Last, ask_for_frames);
    }

    fn finish(&self, app: &mut App) {
        // bevy makes its own resources anew for a new device; bevy_egui 0.42 leaves its buffers and pipelines to the lost one.
        if let Some(render_app) = app.get_sub_app_mut(RenderApp) {
            render_app
                .init_gpu_resource::<EguiPipeline>()
                .init_gpu_resource::<SpecializedRenderPipelines<EguiPipeline>>()
                .add_systems(RenderStartup, forget_buffers_of_panels);
        }
    }
}

fn forget_buffers_of_panels(mut commands: Commands) {
    commands.insert_resource(EguiTransforms::default());
    commands.insert_resource(EguiRenderData::default());
}

/// Frames that are still needed for a picture; a sleeping loop draws none by itself.
#[derive(Resource, Default)]
struct FramesWanted(u32);

fn ask_for_frames(mut frames: ResMut<FramesWanted>, wake: Res<Wake>) {
    if frames.0 > 0 {
        frames.0 -= 1;
        wake.wake();
    }
}

/// What is done about an error.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Answer {
    /// Open a GPU again.
    Reopen,
    /// Go on with fewer textures.
    UseLess,
    /// End: the viewer itself is wrong, and a wrong picture is worse than none.
    End,
}

fn answer_to(error: ErrorType) -> Answer {
    match error {
        ErrorType::DeviceLost => Answer::Reopen,
        ErrorType::OutOfMemory => Answer::UseLess,
        _ => Answer::End,
    }
}

/// Called by bevy between updates, again and again until the error is dealt with.
fn handle(error: &RenderError, main_world: &mut World, render_world: &mut World) -> RenderErrorPolicy {
    let report = main_world.resource::<RenderReport>().clone();
    let wake = main_world.resource::<Wake>().clone();
    match answer_to(error.ty) {
        Answer::Reopen => match adapters::open() {
            Ok(open) => {
                report.add_problem(format!(
                    "The GPU was lost ({}) and has been opened again: {}. Nothing of the data is lost.",
                    error.description.trim(),
                    open.chosen.0
                ));
                main_world.insert_resource(ChosenAdapter(open.chosen.0));
                main_world.insert_resource(FramesWanted(FRAMES_TO_RECOVER));
                wake.wake();
                RenderErrorPolicy::Recover(open.creation)
            }
            Err(reason) => {
                tracing::error!("the GPU was lost and does not open again yet: {reason}");
                wake.wake_after(RETRY_INTERVAL);
                RenderErrorPolicy::StopRendering
            }
        },
        Answer::UseLess => {
            let budget_bytes = lower_texture_budget(render_world);
            report.add_problem(format!(
                "The GPU has no memory left; at most {} MiB of it are used for images from now on. Start with --vram-limit to \
                 choose another amount.",
                budget_bytes >> 20
            ));
            main_world.insert_resource(FramesWanted(FRAMES_TO_RECOVER));
            wake.wake();
            RenderErrorPolicy::Ignore
        }
        Answer::End => {
            tracing::error!("the viewer ends because of an error in drawing: {}", error.description);
            main_world.write_message(AppExit::error());
            RenderErrorPolicy::StopRendering
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_errors_of_our_own_end_the_viewer() {
        assert_eq!(answer_to(ErrorType::DeviceLost), Answer::Reopen);
        assert_eq!(answer_to(ErrorType::OutOfMemory), Answer::UseLess);
        assert_eq!(answer_to(ErrorType::Validation), Answer::End);
        assert_eq!(answer_to(ErrorType::Internal), Answer::End);
    }
}
