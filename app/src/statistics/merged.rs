//! Statistics of many planes: what a channel's sliders and its "auto" button are made from.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use super::histogram::Grid;
use super::merged_bins::MergedBins;
use super::{Histogram, PlaneStatistics, ValueRange, bars_of, saturated_at_one_end};

/// Counts of many planes.
#[derive(Clone, Copy, PartialEq, Debug, Default)]
pub struct Totals {
    /// Planes.
    pub plane_count: u64,
    /// Their pixels.
    pub pixel_count: u64,
    /// Exact range of all finite values; `None` when there is none.
    pub range: Option<ValueRange>,
    /// Finite values, which is also the sum of the histogram.
    pub finite_count: u64,
    /// Values that are neither 0 nor NaN.
    pub nonzero_count: u64,
    /// NaN values.
    pub nan_count: u64,
}

impl Totals {
    /// Those of two sets of planes without one in common.
    pub fn union(self, other: Self) -> Self {
        let range = match (self.range, other.range) {
            (Some(range), Some(other)) => Some(range.union(other)),
            (range, other) => range.or(other),
        };
        Self {
            plane_count: self.plane_count + other.plane_count,
            pixel_count: self.pixel_count + other.pixel_count,
            range,
            finite_count: self.finite_count + other.finite_count,
            nonzero_count: self.nonzero_count + other.nonzero_count,
            nan_count: self.nan_count + other.nan_count,
        }
    }
}

/// Planes added up, of which each can be taken out again: equal to measuring the values of the planes that are in, all at
/// once. Adding and taking out cost the same however many planes are in, up to the logarithm of their number.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct MergedStatistics {
    counts: Totals,
    integers: Extremes<i128>,
    floats: Extremes<FiniteBits>,
    bins: MergedBins,
}

impl MergedStatistics {
    /// Adds a plane.
    pub fn add(&mut self, plane: &PlaneStatistics) {
        self.counts = self.counts.union(counts_of(plane));
        match plane.range {
            Some(ValueRange::Integer { min, max }) => self.integers.add(min, max),
            Some(ValueRange::Float { min, max }) => self.floats.add(FiniteBits::of(min), FiniteBits::of(max)),
            None => {}
        }
        if let (Some(histogram), Some(range)) = (&plane.histogram, self.range()) {
            self.bins.add(histogram, Grid::of(range));
        }
    }

    /// Takes out a plane that was added: one that is replaced.
    pub fn subtract(&mut self, plane: &PlaneStatistics) {
        let gone = counts_of(plane);
        debug_assert!(self.counts.plane_count > 0, "a plane is taken out that was never added");
        self.counts = Totals {
            plane_count: self.counts.plane_count.saturating_sub(gone.plane_count),
            pixel_count: self.counts.pixel_count.saturating_sub(gone.pixel_count),
            range: None,
            finite_count: self.counts.finite_count.saturating_sub(gone.finite_count),
            nonzero_count: self.counts.nonzero_count.saturating_sub(gone.nonzero_count),
            nan_count: self.counts.nan_count.saturating_sub(gone.nan_count),
        };
        match plane.range {
            Some(ValueRange::Integer { min, max }) => self.integers.subtract(min, max),
            Some(ValueRange::Float { min, max }) => self.floats.subtract(FiniteBits::of(min), FiniteBits::of(max)),
            None => {}
        }
        if let Some(histogram) = &plane.histogram {
            self.bins.subtract(histogram);
        }
    }

    /// Adds all planes of another, e.g. of another channel of the same layer.
    pub fn add_all(&mut self, other: &Self) {
        self.counts = self.counts.union(other.counts);
        self.integers.add_all(&other.integers);
        self.floats.add_all(&other.floats);
        if let Some(range) = self.range() {
            self.bins.add_all(&other.bins, Grid::of(range));
        }
    }

    /// Counts and range.
    pub fn totals(&self) -> Totals {
        Totals { range: self.range(), ..self.counts }
    }

    /// Exact range of all finite values.
    pub fn range(&self) -> Option<ValueRange> {
        let integers = self.integers.range().map(|[min, max]| ValueRange::Integer { min, max });
        let floats = self.floats.range().map(|[min, max]| ValueRange::Float { min: min.to_f64(), max: max.to_f64() });
        match (integers, floats) {
            (Some(integers), Some(floats)) => Some(integers.union(floats)),
            (integers, floats) => integers.or(floats),
        }
    }

    /// Histogram of all finite values: the same, count by count, as one plane with all of these values would have. Its bins
    /// are wider than that only where planes of more than 131,072 different bins are in, or integers among floats.
    pub fn histogram(&self) -> Option<Histogram> {
        let range = self.range()?;
        Some(self.bins.on(Grid::at_least(range, self.bins.greatest_exponent()?)))
    }

    /// Limits that let at most the saturated fraction of all planes' values be cut off, half at each end; wider than exact
    /// ones by less than a bin. `None` without a finite value.
    pub fn percentile_limits(&self) -> Option<[f64; 2]> {
        let histogram = self.histogram()?;
        let clipped = saturated_at_one_end(self.counts.finite_count);
        let bars: Vec<([f64; 2], u64)> = bars_of(&histogram, self.range()).collect();
        let low = bars.get(bins_before(bars.iter(), clipped))?.0[0];
        let high = bars.iter().rev().nth(bins_before(bars.iter().rev(), clipped))?.0[1];
        let [min, max] = self.range()?.to_f64();
        Some([low.clamp(min, max), high.clamp(min, max)])
    }
}

fn counts_of(plane: &PlaneStatistics) -> Totals {
    Totals {
        plane_count: 1,
        pixel_count: plane.pixel_count,
        range: None,
        finite_count: plane.finite_count,
        nonzero_count: plane.nonzero_count,
        nan_count: plane.nan_count,
    }
}

/// Bins that hold no more than `rank` values together.
fn bins_before<'a>(bins: impl Iterator<Item = &'a ([f64; 2], u64)>, rank: u64) -> usize {
    let mut before = 0;
    bins.take_while(|(_, count)| {
        before += count;
        before <= rank
    })
    .count()
}

/// Least and greatest values of planes, in order, so that the next one is known when a plane is taken out.
#[derive(Clone, PartialEq, Debug)]
struct Extremes<K> {
    minima: BTreeMap<K, u64>,
    maxima: BTreeMap<K, u64>,
}

impl<K> Default for Extremes<K> {
    fn default() -> Self {
        Self { minima: BTreeMap::new(), maxima: BTreeMap::new() }
    }
}

impl<K: Ord + Copy> Extremes<K> {
    fn add(&mut self, min: K, max: K) {
        *self.minima.entry(min).or_default() += 1;
        *self.maxima.entry(max).or_default() += 1;
    }

    fn subtract(&mut self, min: K, max: K) {
        for (values, value) in [(&mut self.minima, min), (&mut self.maxima, max)] {
            if let Entry::Occupied(mut entry) = values.entry(value) {
                *entry.get_mut() -= 1;
                if *entry.get() == 0 {
                    entry.remove();
                }
            }
        }
    }

    fn add_all(&mut self, other: &Self) {
        for (values, added) in [(&mut self.minima, &other.minima), (&mut self.maxima, &other.maxima)] {
            for (value, planes) in added {
                *values.entry(*value).or_default() += planes;
            }
        }
    }

    fn range(&self) -> Option<[K; 2]> {
        Some([*self.minima.first_key_value()?.0, *self.maxima.last_key_value()?.0])
    }
}

/// A finite float64 as an integer of the same order.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
struct FiniteBits(i64);

impl FiniteBits {
    fn of(value: f64) -> Self {
        Self(Self::flipped(value.to_bits() as i64))
    }

    fn to_f64(self) -> f64 {
        f64::from_bits(Self::flipped(self.0) as u64)
    }

    /// Negative floats descend with their bits: all but the sign are flipped, which flipping again undoes.
    fn flipped(bits: i64) -> i64 {
        bits ^ ((bits >> 63) as u64 >> 1) as i64
    }
}
