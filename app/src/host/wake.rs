//! Waking the sleeping loop: the viewer draws when something happened and uses no CPU otherwise.

use std::sync::Arc;
use std::time::Duration;

use bevy::prelude::Resource;

/// Makes the loop run one more frame. Cheap, never blocks, from any thread; several calls before that frame count as one.
#[derive(Resource, Clone)]
pub struct Wake(Arc<dyn Fn() + Send + Sync>);

impl Wake {
    /// Wakes by calling `wake`.
    pub fn new(wake: impl Fn() + Send + Sync + 'static) -> Self {
        Self(Arc::new(wake))
    }

    /// One more frame, at once.
    pub fn wake(&self) {
        (self.0)();
    }

    /// One more frame, later. Meant for rare waits: each takes a thread for its time.
    pub fn wake_after(&self, delay: Duration) {
        let wake = self.clone();
        let timer = std::thread::Builder::new().name("wake-later".into()).spawn(move || {
            std::thread::sleep(delay);
            wake.wake();
        });
        if timer.is_err() {
            // Without a thread, now is better than never.
            self.wake();
        }
    }
}
