//! Contrast limits from many planes: counted off the render thread, since planes may have to come back from disk.

use bevy::prelude::*;
use crossbeam_channel::{Receiver, Sender, TrySendError, bounded};
use wellscope_protocol::control::{ControlReply, IntensityWindowOptions};
use wellscope_receiver::Replier;
use wellscope_store::StoreError;

use crate::host::wake::Wake;
use crate::systems::ViewerSystems;
use crate::viewer::Viewer;
use crate::viewer::intensity_window::{IntensityWindow, Measured};

/// Sets limits and answers when they have been counted.
pub struct IntensityPlugin;

impl Plugin for IntensityPlugin {
    fn build(&self, app: &mut App) {
        app.add_systems(Update, finish_windows.after(ViewerSystems::Ingest));
    }
}

/// The thread that counts, one wish after the other.
#[derive(Resource)]
pub struct IntensityWindows {
    wishes: Sender<(IntensityWindow, Replier)>,
    done: Receiver<(IntensityWindow, Replier, Result<Measured, StoreError>)>,
}

impl IntensityWindows {
    /// Starts the thread. It ends when this is dropped.
    ///
    /// # Errors
    /// When the system refuses a thread.
    pub fn start(wake: &Wake) -> std::io::Result<Self> {
        let (wishes, work) = bounded::<(IntensityWindow, Replier)>(16);
        let (finished, done) = bounded(16);
        let wake = wake.clone();
        std::thread::Builder::new().name("intensity".into()).spawn(move || {
            while let Ok((window, replier)) = work.recv() {
                let measured = window.measure();
                if finished.send((window, replier, measured)).is_err() {
                    break;
                }
                wake.wake();
            }
        })?;
        Ok(Self { wishes, done })
    }

    /// Has a wish counted and answered later. Never waits.
    pub fn ask(&self, viewer: &Viewer, options: &IntensityWindowOptions, replier: Replier) {
        let window = match viewer.plan_intensity_window(options) {
            Ok(window) => window,
            Err(refusal) => return replier.reply(*refusal),
        };
        if let Err(TrySendError::Full((_, replier)) | TrySendError::Disconnected((_, replier))) =
            self.wishes.try_send((window, replier))
        {
            let sentence = "The viewer still counts the values of earlier requests; ask again later.";
            replier.reply(ControlReply::error("intensity_window_ack", sentence));
        }
    }
}

fn finish_windows(windows: Res<IntensityWindows>, mut viewer: ResMut<Viewer>) {
    while let Ok((window, replier, measured)) = windows.done.try_recv() {
        replier.reply(viewer.finish_intensity_window(&window, measured));
    }
}
