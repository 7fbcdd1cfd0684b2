//! How live the view is: times from the receiver to the screen, as percentiles per layer.
//!
//! Every plane that is put into a stack counts for "stacked". Only planes that the sliders show as they arrive count for
//! "uploaded" and "drawn": how long a plane waits until somebody looks at it says nothing about the viewer.

use std::sync::Arc;
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use wellscope_protocol::pickle::PickleValue;

use crate::render::scene::PlaneId;
use crate::render::timing::{PlaneTiming, TimedEvent, TimedStage};
use crate::viewer::Viewer;
use crate::viewer::layer::{Coordinate, Entry, LayerId};

/// Longest time that is told apart, in microseconds: an hour.
const LONGEST_MICROS: u64 = 3_600_000_000;

/// Most frames that are told apart.
const MOST_FRAMES: u64 = 1_000_000;

/// Percentiles of one stage. Values are kept to two digits, in constant memory.
#[derive(Clone, Debug, Default)]
pub struct Distribution {
    /// Made with the first value: most stages of most layers have none.
    values: Option<Box<Histogram<u64>>>,
}

/// What a distribution is read as.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Percentiles {
    /// Half of the values are at most this.
    pub p50: u64,
    /// 19 of 20 values are at most this.
    pub p95: u64,
    /// The greatest value.
    pub max: u64,
    /// How many there are.
    pub count: u64,
}

impl Distribution {
    /// Adds a value; one above `greatest` counts as `greatest`.
    fn add(&mut self, value: u64, greatest: u64) {
        if self.values.is_none() {
            self.values = Histogram::new_with_bounds(1, greatest, 2).ok().map(Box::new);
        }
        if let Some(values) = &mut self.values {
            values.saturating_record(value);
        }
    }

    /// Percentiles of what was added; all 0 before the first value.
    pub fn percentiles(&self) -> Percentiles {
        self.values.as_ref().map_or_else(Percentiles::default, |values| Percentiles {
            p50: values.value_at_quantile(0.5),
            p95: values.value_at_quantile(0.95),
            max: values.max(),
            count: values.len(),
        })
    }
}

/// Times of the planes of one layer, in microseconds since the receiver got their batch.
#[derive(Clone, Debug, Default)]
pub struct LayerLatency {
    /// Until they were in the stack, all planes.
    pub stacked: Distribution,
    /// Until their pixels were handed to the GPU, planes that were shown on arrival.
    pub uploaded: Distribution,
    /// Until a canvas that shows them was handed to the GPU, the same planes.
    pub drawn: Distribution,
    /// Frames from the reply to the first that shows them, which is counted too.
    pub frames: Distribution,
}

impl LayerLatency {
    /// A plane was put into the layer's stack.
    pub fn note_stacked(&mut self, since_received: Duration) {
        self.stacked.add(micros(since_received), LONGEST_MICROS);
    }

    /// A plane that was shown on arrival has come further.
    pub fn note(&mut self, event: &TimedEvent) {
        let time = micros(event.since_received);
        match event.stage {
            TimedStage::Uploaded => self.uploaded.add(time, LONGEST_MICROS),
            TimedStage::Drawn => {
                self.drawn.add(time, LONGEST_MICROS);
                self.frames.add(event.frames, MOST_FRAMES);
            }
        }
    }
}

fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}

/// A plane that the view shows and that has not been drawn yet.
pub(super) struct Awaited {
    layer: LayerId,
    plane: PlaneId,
    timing: Arc<PlaneTiming>,
}

impl Viewer {
    /// Times a plane that was just put into its stack, if the sliders show it.
    pub(super) fn await_plane(&mut self, layer: LayerId, coordinate: &Coordinate, received_at: Instant) {
        let frames_before = self.frames_drawn;
        let axes = &self.axes;
        let Some(layer) = self.layers.values_mut().find(|other| other.id == layer) else { return };
        layer.latency.note_stacked(received_at.elapsed());
        if !layer.visible || layer.coordinate_at(axes).as_ref() != Some(coordinate) {
            return;
        }
        let id = layer.id;
        let Some(Entry::Plane(plane)) = layer.get_mut(coordinate) else { return };
        let timing = Arc::new(PlaneTiming::new(id.0, plane.source.id, received_at, frames_before));
        plane.source.timing = Some(Arc::clone(&timing));
        self.awaited.push(Awaited { layer: id, plane: plane.source.id, timing });
    }

    /// Gives up on planes that the view no longer shows: replaced before they were drawn, hidden, or passed by a slider.
    /// Returns whether some are left that will be drawn.
    pub fn give_up_unseen(&mut self) -> bool {
        let mut awaited = std::mem::take(&mut self.awaited);
        awaited.retain(|awaited| {
            let is_shown = self.layer(awaited.layer).is_some_and(|layer| {
                layer.visible && layer.plane_at(&self.axes).is_some_and(|plane| plane.source.id == awaited.plane)
            });
            if !is_shown {
                awaited.timing.give_up();
            }
            is_shown
        });
        self.awaited = awaited;
        !self.awaited.is_empty()
    }

    /// Takes what the renderer told of planes on their way.
    pub fn take_timed(&mut self, events: &[TimedEvent]) {
        for event in events {
            if event.stage == TimedStage::Drawn {
                self.awaited.retain(|awaited| awaited.plane != event.plane);
            }
            if let Some(layer) = self.layer_mut(LayerId(event.layer)) {
                layer.latency.note(event);
            }
        }
    }
}

impl Viewer {
    /// Times of all image layers that received something, by route key. Each value is a dict of
    ///
    /// | key | value |
    /// |---|---|
    /// | `stacked` | seconds from receiving a batch until its planes were in the stack, all planes |
    /// | `uploaded` | seconds from receiving until the pixels were handed to the GPU, planes shown on arrival |
    /// | `drawn` | seconds from receiving until a canvas that shows them was handed to the GPU, the same planes |
    /// | `frames` | frames from the reply to the first that shows them, that one included, the same planes |
    ///
    /// and each of these a dict of `p50`, `p95`, `max` (float seconds, int frames; 0 without a plane) and `count` (int).
    pub fn latency(&self) -> PickleValue {
        let layers = self.layers.values().filter(|layer| layer.latency.stacked.percentiles().count > 0);
        PickleValue::dict(layers.map(|layer| {
            let LayerLatency { stacked, uploaded, drawn, frames } = &layer.latency;
            let seconds = |micros: u64| (micros as f64 / 1e6).into();
            let stages = [
                ("stacked", stacked.percentiles().facts(seconds)),
                ("uploaded", uploaded.percentiles().facts(seconds)),
                ("drawn", drawn.percentiles().facts(seconds)),
                ("frames", frames.percentiles().facts(PickleValue::from)),
            ];
            (layer.route_key.clone(), PickleValue::dict(stages))
        }))
    }
}

impl Percentiles {
    fn facts(self, value: impl Fn(u64) -> PickleValue) -> PickleValue {
        PickleValue::dict([
            ("p50", value(self.p50)),
            ("p95", value(self.p95)),
            ("max", value(self.max)),
            ("count", self.count.into()),
        ])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(stage: TimedStage, millis: u64, frames: u64) -> TimedEvent {
        let since_received = Duration::from_millis(millis);
        TimedEvent { layer: 1, plane: PlaneId(1), stage, since_received, frames }
    }

    #[test]
    fn percentiles_are_those_of_the_values_to_two_digits() {
        let mut latency = LayerLatency::default();
        assert_eq!(latency.drawn.percentiles(), Percentiles::default());
        for millis in 1..=100 {
            latency.note(&event(TimedStage::Drawn, millis, millis.div_ceil(60)));
        }
        let found = latency.drawn.percentiles();
        assert_eq!(found.count, 100);
        let near = |found: u64, exact: u64| found.abs_diff(exact) * 100 <= exact;
        assert!(near(found.p50, 50_000) && near(found.p95, 95_000) && near(found.max, 100_000), "{found:?}");
        assert_eq!(latency.frames.percentiles(), Percentiles { p50: 1, p95: 2, max: 2, count: 100 });
        assert_eq!(latency.uploaded.percentiles().count, 0);
    }

    #[test]
    fn times_beyond_an_hour_count_as_an_hour() {
        let mut latency = LayerLatency::default();
        latency.note_stacked(Duration::from_secs(1_000_000));
        let found = latency.stacked.percentiles();
        assert_eq!(found.count, 1);
        assert!(found.max >= LONGEST_MICROS && found.max < LONGEST_MICROS + LONGEST_MICROS / 50, "{found:?}");
    }
}
