//! Bringing pixels back from disk for a look at their values, while the window goes on.

use bevy::prelude::Resource;
use crossbeam_channel::{Sender, bounded};

use crate::host::wake::Wake;
use crate::render::scene::PlanePixels;

/// Asks for pixels; the loop is woken when they are in memory.
#[derive(Resource)]
pub struct Recall(Sender<PlanePixels>);

impl Recall {
    /// Starts the thread. It ends when this is dropped.
    ///
    /// # Errors
    /// When the system refuses a thread.
    pub fn start(wake: &Wake) -> std::io::Result<Self> {
        // The cursor moves on: what it pointed at long ago need not come back.
        let (sender, wishes) = bounded::<PlanePixels>(4);
        let wake = wake.clone();
        std::thread::Builder::new().name("recall".into()).spawn(move || {
            while let Ok(pixels) = wishes.recv() {
                if pixels.in_memory().is_some() {
                    continue;
                }
                match pixels.read() {
                    Ok(_) => wake.wake(),
                    Err(error) => tracing::error!("pixels under the cursor are lost: {error}"),
                }
            }
        })?;
        Ok(Self(sender))
    }

    /// Never waits; a wish too many is dropped, and asked again when the cursor is still there.
    pub fn ask(&self, pixels: PlanePixels) {
        let _ = self.0.try_send(pixels);
    }
}
