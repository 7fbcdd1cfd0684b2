//! The viewer as a list of plugins, and the order of a frame.

use bevy::prelude::*;
use bevy_egui::EguiPostUpdateSet;

use crate::colormap::ColormapRows;
use crate::systems::ViewerSystems;
use crate::systems::control::ControlPlugin;
use crate::systems::follow::FollowPlugin;
use crate::systems::intake::IntakePlugin;
use crate::systems::intensity::IntensityPlugin;
use crate::systems::latency::LatencyPlugin;
use crate::systems::memory::MemoryPlugin;
use crate::systems::pictures::PicturesPlugin;
use crate::systems::settle::SettlePlugin;
use crate::systems::show::ShowPlugin;
use crate::systems::status::StatusPlugin;
use crate::ui::UiPlugin;

/// Everything but the host (window or headless), the renderer and the resources that start-up makes.
///
/// A frame: take in (`Update`), lay the panels out (egui's pass), carry out what the user did there and decide what is
/// shown, answer control calls (`PostUpdate`), then the renderer draws.
pub struct ViewerPlugin;

impl Plugin for ViewerPlugin {
    fn build(&self, app: &mut App) {
        app.init_resource::<ColormapRows>()
            .configure_sets(Update, ViewerSystems::Ingest)
            .configure_sets(
                PostUpdate,
                (ViewerSystems::Resolve, ViewerSystems::Answer).chain().after(EguiPostUpdateSet::EndPass),
            )
            .add_plugins((
                IntakePlugin,
                IntensityPlugin,
                LatencyPlugin,
                MemoryPlugin,
                SettlePlugin,
                StatusPlugin,
                ShowPlugin,
                ControlPlugin,
                FollowPlugin,
                PicturesPlugin,
                UiPlugin,
            ));
    }
}
