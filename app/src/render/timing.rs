//! When a plane came to the GPU and to the screen, told once per plane.

use std::sync::atomic::{AtomicU8, Ordering};
use std::time::{Duration, Instant};

use crate::render::report::RenderReport;
use crate::render::scene::{PlaneId, PlaneSource};

const AWAITED: u8 = 0;
const UPLOADED: u8 = 1;
const SETTLED: u8 = 2;

/// The times of one plane that the view showed when it arrived. Shared by all copies of its source; the renderer calls
/// [`Self::note_uploaded`] and [`Self::note_drawn`] as often as it likes, each counts once.
#[derive(Debug)]
pub struct PlaneTiming {
    layer: u64,
    plane: PlaneId,
    received_at: Instant,
    /// Frames that had been drawn when the plane was put into its stack.
    frames_before: u64,
    progress: AtomicU8,
}

/// How far a plane has come.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum TimedStage {
    /// Its pixels are handed to the GPU.
    Uploaded,
    /// A canvas that shows it is handed to the GPU.
    Drawn,
}

/// A plane has reached a stage.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct TimedEvent {
    /// The layer, by number.
    pub layer: u64,
    /// The plane.
    pub plane: PlaneId,
    /// What it has reached.
    pub stage: TimedStage,
    /// Time since its batch was received.
    pub since_received: Duration,
    /// Frames since then, the one that brought it here included: 1 for a plane of the first frame that knew of it.
    pub frames: u64,
}

impl PlaneTiming {
    /// Times of a plane that was just put into its stack.
    pub fn new(layer: u64, plane: PlaneId, received_at: Instant, frames_before: u64) -> Self {
        Self { layer, plane, received_at, frames_before, progress: AtomicU8::new(AWAITED) }
    }

    /// The plane's pixels are on their way to the GPU.
    pub fn note_uploaded(&self, report: &RenderReport) {
        let first = self.progress.compare_exchange(AWAITED, UPLOADED, Ordering::Relaxed, Ordering::Relaxed);
        if first.is_ok() {
            self.tell(TimedStage::Uploaded, report);
        }
    }

    /// The plane is part of the canvas that is drawn in this frame.
    pub fn note_drawn(&self, report: &RenderReport) {
        if self.progress.swap(SETTLED, Ordering::Relaxed) != SETTLED {
            self.tell(TimedStage::Drawn, report);
        }
    }

    /// Nobody waits for the plane any more: what happens to it from now on says nothing about latency.
    pub fn give_up(&self) {
        self.progress.store(SETTLED, Ordering::Relaxed);
    }

    fn tell(&self, stage: TimedStage, report: &RenderReport) {
        // The frame that is being drawn is not counted yet.
        let frames = (report.snapshot().frames + 1).saturating_sub(self.frames_before).max(1);
        report.push_timed(TimedEvent {
            layer: self.layer,
            plane: self.plane,
            stage,
            since_received: self.received_at.elapsed(),
            frames,
        });
    }
}

impl PlaneSource {
    /// To be called where the plane's pixels are handed to the GPU.
    pub fn note_uploaded(&self, report: &RenderReport) {
        if let Some(timing) = &self.timing {
            timing.note_uploaded(report);
        }
    }

    /// To be called where a canvas that shows the plane is handed to the GPU.
    pub fn note_drawn(&self, report: &RenderReport) {
        if let Some(timing) = &self.timing {
            timing.note_drawn(report);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_stage_is_told_once_however_often_it_is_noted() {
        let report = RenderReport::default();
        report.update(|counts| counts.frames = 12);
        let timing = PlaneTiming::new(3, PlaneId(7), Instant::now(), 12);
        for _ in 0..3 {
            timing.note_uploaded(&report);
        }
        report.update(|counts| counts.frames = 13);
        for _ in 0..3 {
            timing.note_drawn(&report);
        }
        timing.note_uploaded(&report);
        let told = report.take_timed();
        let facts: Vec<_> = told.iter().map(|event| (event.layer, event.plane, event.stage, event.frames)).collect();
        let expected = [(3, PlaneId(7), TimedStage::Uploaded, 1), (3, PlaneId(7), TimedStage::Drawn, 2)];
        assert_eq!(facts, expected);
        assert!(told[0].since_received <= told[1].since_received);
        assert!(report.take_timed().is_empty());
    }

    #[test]
    fn a_plane_that_nobody_waits_for_tells_nothing() {
        let report = RenderReport::default();
        let timing = PlaneTiming::new(1, PlaneId(1), Instant::now(), 0);
        timing.give_up();
        timing.note_uploaded(&report);
        timing.note_drawn(&report);
        assert!(report.take_timed().is_empty());
    }

    #[test]
    fn events_that_nobody_takes_do_not_pile_up() {
        let report = RenderReport::default();
        for plane in 0..10_000 {
            PlaneTiming::new(1, PlaneId(plane), Instant::now(), 0).note_drawn(&report);
        }
        let told = report.take_timed();
        assert_eq!(told.len(), 4096);
        assert_eq!(told[0].plane, PlaneId(10_000 - 4096), "the latest are kept");
    }
}
