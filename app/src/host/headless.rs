//! The loop without a window: one update per wake, none in between.

use bevy::app::{AppExit, PluginsState};
use bevy::ecs::message::Messages;
use bevy::prelude::App;
use bevy::window::RequestRedraw;
use crossbeam_channel::Receiver;

/// Runs the app until it asks to exit. Blocks on `woken` while nothing happens.
pub(super) fn run(mut app: App, woken: &Receiver<()>) -> AppExit {
    finish_plugins(&mut app);
    loop {
        if woken.recv().is_err() {
            // Nobody is left who could wake us, not even the app's own resource: it has been taken away.
            return AppExit::Success;
        }
        loop {
            app.update();
            if let Some(exit) = app.should_exit() {
                return exit;
            }
            // egui animates: what a window's loop answers with another frame, we do too.
            if !wants_another_frame(&mut app) {
                break;
            }
        }
    }
}

/// What every runner does first; bevy leaves it to them.
pub(super) fn finish_plugins(app: &mut App) {
    if app.plugins_state() != PluginsState::Cleaned {
        while app.plugins_state() == PluginsState::Adding {
            bevy::tasks::tick_global_task_pools_on_main_thread();
        }
        app.finish();
        app.cleanup();
    }
}

fn wants_another_frame(app: &mut App) -> bool {
    app.world_mut()
        .get_resource_mut::<Messages<RequestRedraw>>()
        .is_some_and(|mut requests| requests.drain().count() > 0)
}
