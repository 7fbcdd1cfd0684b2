//! Contrast limits from percentiles over many planes: what `apply_intensity_window` does.

use std::collections::HashSet;

use wellscope_protocol::control::{ControlReply, IntensityWindowAck, IntensityWindowOptions, MatchedPayload};
use wellscope_protocol::dtype::ElementType;
use wellscope_protocol::route::RouteKind;
use wellscope_store::StoreError;

use crate::render::scene::PlaneSource;
use crate::viewer::Viewer;
use crate::viewer::answer::no_layer;
use crate::viewer::axes::ValueId;
use crate::viewer::layer::Entry;
use crate::viewer::payloads::plane_indices_in_item;

/// Values counted for one answer: about a tenth of a second when they are in memory.
const MAX_COUNTED_VALUES: u64 = 1 << 26;

/// The same where every value is looked at four times.
const MAX_SELECTED_VALUES: u64 = MAX_COUNTED_VALUES / 4;

/// A wish for contrast limits, its planes found and not read yet. Reading may take as long as the disk takes, so it is done
/// wherever waiting harms nobody: [`IntensityWindow::measure`].
pub struct IntensityWindow {
    options: IntensityWindowOptions,
    channels: HashSet<Option<ValueId>>,
    matched_payloads: Vec<MatchedPayload>,
    sample: Sample,
}

impl IntensityWindow {
    /// Counts the values of all planes.
    ///
    /// # Errors
    /// When pixels on disk cannot be read back.
    pub fn measure(&self) -> Result<Measured, StoreError> {
        self.sample.percentiles([self.options.low_percentile, self.options.high_percentile])
    }
}

impl Viewer {
    /// Sets the contrast limits of all channels of a route that hold a plane at `axis_indices` to percentiles of these
    /// planes' finite values, all planes taken together. Axes that are not named are free.
    ///
    /// Percentiles are those of `np.percentile`, exact for every element type. Beyond 64 Mi values of up to 16-bit integers
    /// (16 Mi of other types) only one row of each run of rows is counted, the runs as long as it takes; the reply says how
    /// many values that were.
    pub(super) fn apply_intensity_window(&mut self, options: &IntensityWindowOptions) -> ControlReply {
        match self.plan_intensity_window(options) {
            Ok(window) => {
                let measured = window.measure();
                self.finish_intensity_window(&window, measured)
            }
            Err(reply) => *reply,
        }
    }

    /// Finds the planes whose percentiles are asked for.
    ///
    /// # Errors
    /// The reply to a wish that cannot be fulfilled.
    pub fn plan_intensity_window(
        &self,
        options: &IntensityWindowOptions,
    ) -> Result<IntensityWindow, Box<ControlReply>> {
        self.intensity_window(options).map_err(|message| Box::new(ControlReply::error("intensity_window_ack", message)))
    }

    /// Sets the limits that were measured.
    pub fn finish_intensity_window(
        &mut self,
        window: &IntensityWindow,
        measured: Result<Measured, StoreError>,
    ) -> ControlReply {
        let ack = match measured.map_err(|error| error.to_string()).and_then(|measured| window.ack(&measured)) {
            Ok(ack) => ack,
            Err(message) => return ControlReply::error("intensity_window_ack", message),
        };
        if let Some(layer) = self.layers.get_mut(&window.options.route_key) {
            for channel in &window.channels {
                layer.display.channel_mut(*channel).set_limits(ack.resolved_limits);
            }
        }
        self.touch();
        ControlReply::IntensityWindowAck(ack)
    }

    fn intensity_window(&self, options: &IntensityWindowOptions) -> Result<IntensityWindow, String> {
        let IntensityWindowOptions { route_key, axis_indices, low_percentile, high_percentile } = options;
        let percentiles = [*low_percentile, *high_percentile];
        if !percentiles.iter().all(|percentile| (0.0..=100.0).contains(percentile)) || low_percentile >= high_percentile
        {
            return Err(format!(
                "Viewer intensity-window percentiles must lie within [0, 100] and satisfy low_percentile < \
                 high_percentile; {low_percentile} and {high_percentile} were sent."
            ));
        }
        let layer = self.layers.get(route_key).ok_or_else(|| no_layer(route_key))?;
        if layer.kind != RouteKind::Image {
            return Err(format!(
                "Napari route '{route_key}' is not an image route; layer '{}' holds none.",
                layer.title
            ));
        }
        if layer.stale || layer.is_empty() {
            return Err(format!("Napari route '{route_key}' has no routed image payloads."));
        }
        let known: Vec<&str> = layer.axes.iter().map(|axis| self.axes.get(*axis).component.as_str()).collect();
        let unknown: Vec<&str> =
            axis_indices.iter().map(|(axis, _)| axis.as_str()).filter(|axis| !known.contains(axis)).collect();
        if !unknown.is_empty() {
            return Err(format!(
                "Viewer intensity-window axis_indices contain unknown axes {unknown:?}; available axes are {known:?}."
            ));
        }

        let local = self.local_indices(layer);
        let mut planes: Vec<PlaneSource> = Vec::new();
        let mut channels = HashSet::new();
        let mut matched_payloads = Vec::new();
        for (coordinate, entry) in layer.entries() {
            let Entry::Plane(plane) = entry else { continue };
            if local.are_at(coordinate, axis_indices) {
                planes.push(plane.source.clone());
                channels.insert(layer.channel_of(coordinate, &self.axes));
                matched_payloads.push(MatchedPayload {
                    path: plane.item.path.clone(),
                    components: self.components_of(layer, coordinate, entry),
                    axis_indices: local.of(coordinate),
                    aggregate_axis_indices: plane_indices_in_item(plane),
                });
            }
        }
        if planes.is_empty() {
            let asked: Vec<_> = axis_indices.iter().map(|(axis, index)| format!("'{axis}': {index}")).collect();
            let asked = asked.join(", ");
            return Err(format!(
                "Napari image route '{route_key}' has no payload records matching axis_indices {{{asked}}}."
            ));
        }
        let sample = Sample::of(planes, MAX_COUNTED_VALUES, MAX_SELECTED_VALUES);
        Ok(IntensityWindow { options: options.clone(), channels, matched_payloads, sample })
    }
}

impl IntensityWindow {
    fn ack(&self, measured: &Measured) -> Result<IntensityWindowAck, String> {
        let IntensityWindowOptions { route_key, axis_indices, low_percentile, high_percentile } = &self.options;
        let Some(limits) = measured.limits else {
            return Err(format!("Napari image route '{route_key}' has no finite pixel data."));
        };
        let [low, high] = limits;
        if !(low.is_finite() && high.is_finite() && low < high) {
            return Err(format!(
                "Resolved viewer intensity limits must be finite and strictly increasing, got ({low:?}, {high:?})."
            ));
        }
        Ok(IntensityWindowAck {
            route_key: route_key.clone(),
            requested_percentiles: [*low_percentile, *high_percentile],
            axis_indices: axis_indices.clone(),
            resolved_limits: limits,
            matched_payloads: self.matched_payloads.clone(),
            contributing_payload_count: measured.plane_count,
            contributing_pixel_count: measured.value_count,
        })
    }
}

/// Rows of planes, all or some.
struct Sample {
    planes: Vec<PlaneSource>,
    /// One of so many rows is taken.
    stride: u64,
    /// All are integers of at most 16 bits, so that each value has a counter of its own.
    is_countable: bool,
}

/// What was counted.
pub struct Measured {
    /// `None` without a finite value.
    limits: Option<[f64; 2]>,
    plane_count: u64,
    value_count: u64,
}

/// Counters of all integers of at most 16 bits, signed or not.
const COUNTERS: usize = 3 << 15;

/// Where 0 stands among them.
const ZERO: i32 = 1 << 15;

impl Sample {
    fn of(planes: Vec<PlaneSource>, max_counted: u64, max_selected: u64) -> Self {
        use ElementType::{Bool, I8, I16, U8, U16};
        let is_countable = planes.iter().all(|plane| matches!(plane.element, Bool | I8 | U8 | I16 | U16));
        let values = |plane: &PlaneSource| (plane.pixels.len() / plane.element.size_bytes()) as u64;
        let count: u64 = planes.iter().map(values).sum();
        let limit = if is_countable { max_counted } else { max_selected };
        Self { planes, stride: count.div_ceil(limit).max(1), is_countable }
    }

    /// Calls `each` with the rows that are taken, and the place of their plane. Of each run of `stride` rows it is one at a scattered place:
    /// the same place in each would be the same row of each plane where the run is as long as a plane is high.
    fn each_row(&self, mut each: impl FnMut(usize, ElementType, &[u8])) -> Result<(), StoreError> {
        let stride = self.stride;
        let mut before = 0_u64;
        for (place, source) in self.planes.iter().enumerate() {
            let bytes = source.pixels.read()?;
            let row_bytes = source.width as usize * usize::from(source.samples) * source.element.size_bytes();
            for row in 0..source.height as usize {
                let number = before + row as u64;
                if stride == 1 || number % stride == scattered(number / stride) % stride {
                    each(place, source.element, &bytes[row * row_bytes..(row + 1) * row_bytes]);
                }
            }
            before += u64::from(source.height);
        }
        Ok(())
    }

    /// Percentiles, 0 to 100, as `np.percentile` interpolates them: linearly between neighbouring ranks.
    fn percentiles(&self, percentiles: [f64; 2]) -> Result<Measured, StoreError> {
        let mut contributes = vec![false; self.planes.len()];
        let mut counters = Vec::new();
        let mut finite_count = 0_u64;
        if self.is_countable {
            counters.resize(COUNTERS, 0_u64);
            self.each_row(|place, element, row| {
                contributes[place] |= !row.is_empty();
                count_integers(element, row, &mut counters);
            })?;
            finite_count = counters.iter().sum();
        } else {
            self.each_row(|place, element, row| {
                let mut finite = 0_u64;
                each_finite(element, row, |_| finite += 1);
                contributes[place] |= finite > 0;
                finite_count += finite;
            })?;
        }
        let plane_count = contributes.iter().filter(|contributes| **contributes).count() as u64;
        let Some(last) = finite_count.checked_sub(1) else {
            return Ok(Measured { limits: None, plane_count, value_count: 0 });
        };
        let wanted = percentiles.map(|percentile| {
            let position = percentile / 100.0 * last as f64;
            let rank = (position.floor() as u64).min(last);
            (rank, (rank + 1).min(last), (position - rank as f64).clamp(0.0, 1.0))
        });
        let ranks = wanted.map(|(low, high, _)| [low, high]);
        let values = if self.is_countable { counted_values(&counters, ranks) } else { self.selected_values(ranks)? };
        let limits = [0, 1].map(|end| interpolated(values[end], wanted[end].2));
        Ok(Measured { limits: Some(limits), plane_count, value_count: finite_count })
    }

    /// Values of these ranks, by narrowing their ordered bits down by 16 in each of four passes.
    fn selected_values(&self, ranks: [[u64; 2]; 2]) -> Result<[[f64; 2]; 2], StoreError> {
        // Each is the bits known so far, and the rank among the values that share them.
        let mut searches = ranks.as_flattened().iter().map(|rank| (0_u64, *rank)).collect::<Vec<_>>();
        for pass in 0..4 {
            let shift = 48 - 16 * pass;
            let mut prefixes: Vec<u64> = searches.iter().map(|(prefix, _)| *prefix).collect();
            prefixes.dedup();
            let mut tables = vec![vec![0_u64; 1 << 16]; prefixes.len()];
            self.each_row(|_, element, row| {
                each_finite(element, row, |value| {
                    let key = ordered_bits(value);
                    let prefix = if pass == 0 { 0 } else { key >> (shift + 16) };
                    if let Some(table) = prefixes.iter().position(|other| *other == prefix) {
                        tables[table][(key >> shift) as usize & 0xffff] += 1;
                    }
                });
            })?;
            for (prefix, rank) in &mut searches {
                let table = prefixes.iter().position(|other| other == prefix).unwrap_or(0);
                let mut bin = 0;
                while bin < 0xffff && tables[table][bin] <= *rank {
                    *rank -= tables[table][bin];
                    bin += 1;
                }
                *prefix = (*prefix << 16) | bin as u64;
            }
        }
        let value = |search: usize| value_of(searches[search].0);
        Ok([[value(0), value(1)], [value(2), value(3)]])
    }
}

/// Spreads numbers evenly over all others.
fn scattered(number: u64) -> u64 {
    number.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 33
}

fn count_integers(element: ElementType, row: &[u8], counters: &mut [u64]) {
    let mut count = |value: i32| counters[(value + ZERO) as usize] += 1;
    match element {
        ElementType::Bool => row.iter().for_each(|byte| count(i32::from(*byte != 0))),
        ElementType::I8 => row.iter().for_each(|byte| count(i32::from(*byte as i8))),
        ElementType::U16 => row.as_chunks().0.iter().for_each(|pair| count(i32::from(u16::from_le_bytes(*pair)))),
        ElementType::I16 => row.as_chunks().0.iter().for_each(|pair| count(i32::from(i16::from_le_bytes(*pair)))),
        _ => row.iter().for_each(|byte| count(i32::from(*byte))),
    }
}

fn counted_values(counters: &[u64], ranks: [[u64; 2]; 2]) -> [[f64; 2]; 2] {
    ranks.map(|ranks| {
        ranks.map(|rank| {
            let mut before = 0;
            let place = counters.iter().position(|count| {
                before += count;
                before > rank
            });
            f64::from(place.map_or(0, |place| place as i32 - ZERO))
        })
    })
}

/// Finite values as float64; 64-bit integers beyond 2^53 are rounded, as contrast limits are.
fn each_finite(element: ElementType, row: &[u8], mut each: impl FnMut(f64)) {
    macro_rules! numbers {
        ($type:ty, $convert:expr) => {
            for bytes in row.as_chunks::<{ size_of::<$type>() }>().0 {
                let value: f64 = $convert(<$type>::from_le_bytes(*bytes));
                if value.is_finite() {
                    each(value);
                }
            }
        };
    }
    match element {
        ElementType::Bool => row.iter().for_each(|byte| each(f64::from(u8::from(*byte != 0)))),
        ElementType::U8 => row.iter().for_each(|byte| each(f64::from(*byte))),
        ElementType::I8 => numbers!(i8, f64::from),
        ElementType::U16 => numbers!(u16, f64::from),
        ElementType::I16 => numbers!(i16, f64::from),
        ElementType::U32 => numbers!(u32, f64::from),
        ElementType::I32 => numbers!(i32, f64::from),
        ElementType::U64 => numbers!(u64, |value| value as f64),
        ElementType::I64 => numbers!(i64, |value| value as f64),
        ElementType::F16 => numbers!(half::f16, half::f16::to_f64),
        ElementType::F32 => numbers!(f32, f64::from),
        ElementType::F64 => numbers!(f64, |value| value),
    }
}

/// Bits whose order as an integer is the value's: negative ones descend, so all are flipped; of others only the sign.
fn ordered_bits(value: f64) -> u64 {
    let bits = value.to_bits();
    if bits >> 63 == 1 { !bits } else { bits | 1 << 63 }
}

fn value_of(ordered_bits: u64) -> f64 {
    f64::from_bits(if ordered_bits >> 63 == 1 { ordered_bits & !(1 << 63) } else { !ordered_bits })
}

/// As numpy does it, from the nearer end.
fn interpolated([low, high]: [f64; 2], part: f64) -> f64 {
    let distance = high - low;
    if part >= 0.5 { high - distance * (1.0 - part) } else { low + distance * part }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::render::scene::{PlaneId, PlanePixels};

    fn plane(element: ElementType, height: u32, width: u32, bytes: Vec<u8>) -> PlaneSource {
        PlaneSource {
            id: PlaneId(1),
            width,
            height,
            samples: 1,
            element,
            pixels: PlanePixels::from_vec(bytes),
            labels: false,
            timing: None,
        }
    }

    /// np.percentile by sorting.
    fn reference(values: &[f64], percentile: f64) -> f64 {
        let mut sorted: Vec<f64> = values.iter().copied().filter(|value| value.is_finite()).collect();
        sorted.sort_by(f64::total_cmp);
        let position = percentile / 100.0 * (sorted.len() - 1) as f64;
        let low = position.floor() as usize;
        let part = position - low as f64;
        sorted[low] + (sorted[(low + 1).min(sorted.len() - 1)] - sorted[low]) * part
    }

    fn check(planes: &[PlaneSource], values: &[f64], percentiles: [f64; 2]) -> Result<(), TestCaseError> {
        let measured = Sample::of(planes.to_vec(), u64::MAX, u64::MAX).percentiles(percentiles).unwrap();
        let finite = values.iter().filter(|value| value.is_finite()).count() as u64;
        prop_assert_eq!(measured.value_count, finite);
        if finite == 0 {
            prop_assert_eq!(measured.limits, None);
            return Ok(());
        }
        for (found, percentile) in measured.limits.unwrap_or_default().into_iter().zip(percentiles) {
            let expected = reference(values, percentile);
            let close = (found - expected).abs() <= 1e-9 * expected.abs().max(1.0);
            prop_assert!(found == expected || close, "{} for {} %, needed {}", found, percentile, expected);
        }
        Ok(())
    }

    proptest! {
        #[test]
        fn planes_of_mixed_small_integers_agree_with_sorting(
            unsigned in prop::collection::vec(any::<u16>(), 1..300),
            signed in prop::collection::vec(any::<i8>(), 1..300),
            low in 0.0..50.0, high in 50.0..100.0,
        ) {
            let planes = [
                plane(ElementType::U16, 1, unsigned.len() as u32, unsigned.iter().flat_map(|v| v.to_le_bytes()).collect()),
                plane(ElementType::I8, signed.len() as u32, 1, signed.iter().map(|v| *v as u8).collect()),
            ];
            let values: Vec<f64> =
                unsigned.iter().map(|v| f64::from(*v)).chain(signed.iter().map(|v| f64::from(*v))).collect();
            check(&planes, &values, [low, high])?;
        }

        #[test]
        fn floats_agree_with_sorting_whatever_their_outliers(
            values in prop::collection::vec(prop_oneof![
                8 => -1.0_f32..1.0, 1 => Just(1e30_f32), 1 => Just(-1e-30_f32), 1 => Just(f32::NAN), 1 => Just(f32::INFINITY),
            ], 1..300),
            low in 0.0..50.0, high in 50.0..100.0,
        ) {
            let bytes = values.iter().flat_map(|v| v.to_le_bytes()).collect();
            let planes = [plane(ElementType::F32, 1, values.len() as u32, bytes)];
            check(&planes, &values.iter().map(|v| f64::from(*v)).collect::<Vec<_>>(), [low, high])?;
        }
    }

    #[test]
    fn large_plates_are_sampled_evenly_and_the_count_says_so() {
        // Rows of rising value; 64 planes of 32 rows.
        let planes: Vec<PlaneSource> = (0..64_u16)
            .map(|number| {
                let rows = (0..32_u16).flat_map(|row| std::iter::repeat_n(number * 32 + row, 8));
                plane(ElementType::U16, 32, 8, rows.flat_map(u16::to_le_bytes).collect())
            })
            .collect();
        let all = Sample::of(planes.clone(), u64::MAX, 0).percentiles([10.0, 90.0]).unwrap();
        assert_eq!((all.plane_count, all.value_count), (64, 64 * 32 * 8));
        // 16 values to each row kept: runs of 64 rows, two planes long.
        let some = Sample::of(planes, 64 * 32 * 8 / 64, 0).percentiles([10.0, 90.0]).unwrap();
        assert_eq!(some.value_count, 32 * 8, "one row of each run");
        assert_eq!(some.plane_count, 32);
        let limits = |measured: Measured| measured.limits.unwrap_or_default();
        for (sampled, exact) in limits(some).into_iter().zip(limits(all)) {
            assert!((sampled - exact).abs() < 100.0, "{sampled} instead of {exact} of 0..2047");
        }
    }
}
