//! What the renderer has done, readable from everywhere: for settlement, the state reply, the status bar and tests.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use bevy::prelude::Resource;

use crate::render::timing::TimedEvent;

/// Events that are kept for the main world, which takes them every frame; beyond that the oldest are dropped.
const MOST_TIMED_EVENTS: usize = 4096;

/// Counts since start. One report is shared by the main and the render world.
#[derive(Resource, Clone, Default)]
pub struct RenderReport {
    counts: Arc<Mutex<RenderCounts>>,
    is_awaited: Arc<AtomicBool>,
    timed: Arc<Mutex<VecDeque<TimedEvent>>>,
    problems: Arc<Mutex<Vec<String>>>,
}

/// See the fields.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct RenderCounts {
    /// Generation of the last scene that was drawn with all of its visible planes resident.
    pub drawn_generation: u64,
    /// Tiles written to the GPU; a plane of a camera's size is one.
    pub uploads: u64,
    /// Bytes of them.
    pub upload_bytes: u64,
    /// Tiles that had to leave the GPU.
    pub evictions: u64,
    /// Bytes of texture pages.
    pub resident_bytes: u64,
    /// Bytes that they may have.
    pub budget_bytes: u64,
    /// Tiles on the GPU.
    pub resident_tiles: u64,
    /// Times that the canvas was drawn anew.
    pub canvas_renders: u64,
    /// Frames, with or without a new canvas.
    pub frames: u64,
    /// Visible tiles that are not on the GPU yet; coarser ones or the last plane stand in.
    pub missing_tiles: u64,
}

impl RenderReport {
    /// A copy of the counts.
    pub fn snapshot(&self) -> RenderCounts {
        *self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Asks for one more frame once the present scene is drawn completely, for a system that has to see that. Without
    /// asking there is none: a frame is drawn after the systems of its update have run.
    pub fn wake_when_drawn(&self) {
        self.is_awaited.store(true, Ordering::Release);
    }

    /// Whether somebody asked, and nobody from now on.
    pub fn take_awaited(&self) -> bool {
        self.is_awaited.swap(false, Ordering::AcqRel)
    }

    /// Generation of the last scene that was drawn completely.
    pub fn drawn_generation(&self) -> u64 {
        self.snapshot().drawn_generation
    }

    /// Something to tell the user, one sentence.
    pub fn add_problem(&self, sentence: String) {
        self.problems.lock().unwrap_or_else(PoisonError::into_inner).push(sentence);
    }

    /// What [`RenderReport::add_problem`] was given since the last call.
    pub fn take_problems(&self) -> Vec<String> {
        std::mem::take(&mut *self.problems.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Tells the main world that a plane has come further.
    pub fn push_timed(&self, event: TimedEvent) {
        let mut timed = self.timed.lock().unwrap_or_else(PoisonError::into_inner);
        if timed.len() == MOST_TIMED_EVENTS {
            timed.pop_front();
        }
        timed.push_back(event);
    }

    /// What was told since the last call.
    pub fn take_timed(&self) -> Vec<TimedEvent> {
        std::mem::take(&mut *self.timed.lock().unwrap_or_else(PoisonError::into_inner)).into()
    }

    /// Changes the counts.
    pub fn update(&self, change: impl FnOnce(&mut RenderCounts)) {
        change(&mut self.counts.lock().unwrap_or_else(PoisonError::into_inner));
    }
}
