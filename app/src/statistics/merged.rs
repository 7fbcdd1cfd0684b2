//! Statistics of many planes: what a channel's sliders and its "auto" button are made from.

use super::{HISTOGRAM_BINS, PlaneStatistics, ValueRange, saturated_at_one_end};

/// By which part of the histogram's span it grows beyond a plane that does not fit: few steps reach any range, and each
/// step blurs the histogram by up to a bin.
const GROWTH: f64 = 0.125;

/// Planes added up. Range and counts are exact; the histogram keeps every count, within about a bin of where it belongs.
#[derive(Clone, PartialEq, Debug)]
pub struct MergedStatistics {
    /// Planes added.
    pub plane_count: u64,
    /// Their pixels.
    pub pixel_count: u64,
    /// Exact range of all finite values; `None` before the first.
    pub range: Option<ValueRange>,
    /// Finite values, which is also the sum of the histogram.
    pub finite_count: u64,
    /// Values that are neither 0 nor NaN.
    pub nonzero_count: u64,
    /// NaN values.
    pub nan_count: u64,
    /// Finite values in bins of equal width over `histogram_span`.
    pub histogram: [u64; HISTOGRAM_BINS],
    /// Intensities at the left edge of the first bin and the right edge of the last; holds `range` and may be wider.
    pub histogram_span: Option<[f64; 2]>,
}

impl Default for MergedStatistics {
    fn default() -> Self {
        Self {
            plane_count: 0,
            pixel_count: 0,
            range: None,
            finite_count: 0,
            nonzero_count: 0,
            nan_count: 0,
            histogram: [0; HISTOGRAM_BINS],
            histogram_span: None,
        }
    }
}

impl MergedStatistics {
    /// Adds one plane. A plane that replaces another must not be added on top of it; merge its channel afresh then.
    pub fn merge(&mut self, plane: &PlaneStatistics) {
        self.plane_count += 1;
        self.pixel_count += plane.pixel_count;
        self.nonzero_count += plane.nonzero_count;
        self.nan_count += plane.nan_count;
        let (Some(range), Some(span)) = (plane.range, plane.histogram_span()) else { return };
        self.range = Some(self.range.map_or(range, |merged| merged.union(range)));
        self.finite_count += plane.finite_count;

        let mut plane_bins = plane.histogram.map(u64::from);
        // A plane's bins saturate at 32 bits; what is missing there belongs to its fullest bin.
        let missing = plane.finite_count.saturating_sub(plane_bins.iter().sum());
        if let Some(fullest) = plane_bins.iter_mut().max() {
            *fullest += missing;
        }
        let merged_span = match self.histogram_span {
            None => span,
            Some(merged) => grown(merged, span),
        };
        if let Some(old_span) = self.histogram_span.filter(|old| *old != merged_span) {
            self.histogram = rebinned(&self.histogram, old_span, merged_span);
        }
        self.histogram_span = Some(merged_span);
        let added = rebinned(&plane_bins, span, merged_span);
        for (bin, count) in self.histogram.iter_mut().zip(added) {
            *bin += count;
        }
    }

    /// Limits that let at most the saturated fraction of all planes' values be cut off, half at each end; up to about a bin
    /// wider than exact ones. `None` before the first finite value.
    pub fn percentile_limits(&self) -> Option<[f64; 2]> {
        let [min, max] = self.range?.to_f64();
        let [start, end] = self.histogram_span?;
        let clipped = saturated_at_one_end(self.finite_count);
        let low = bins_before(self.histogram.iter(), clipped);
        let high = bins_before(self.histogram.iter().rev(), clipped);
        let edge = |bin: usize| start + (end - start) * (bin as f64 / HISTOGRAM_BINS as f64);
        Some([edge(low).clamp(min, max), edge(HISTOGRAM_BINS - high).clamp(min, max)])
    }
}

/// Bins that hold no more than `rank` values together.
fn bins_before<'a>(bins: impl Iterator<Item = &'a u64>, rank: u64) -> usize {
    let mut before = 0;
    bins.take_while(|count| {
        before += **count;
        before <= rank
    })
    .count()
}

/// A span that holds both, with room on the sides that grew.
fn grown(merged: [f64; 2], plane: [f64; 2]) -> [f64; 2] {
    let [start, end] = [merged[0].min(plane[0]), merged[1].max(plane[1])];
    let room = (end - start) * GROWTH;
    let roomy_start = if start < merged[0] { start - room } else { start };
    let roomy_end = if end > merged[1] { end + room } else { end };
    // Intensities that were never negative keep an axis that begins at 0.
    let start = if start >= 0.0 { roomy_start.max(0.0) } else { roomy_start };
    [start.max(f64::MIN), roomy_end.min(f64::MAX)]
}

/// Spreads bins over another span that holds theirs. Counts are shared out in proportion and none is lost.
fn rebinned(bins: &[u64; HISTOGRAM_BINS], from: [f64; 2], to: [f64; 2]) -> [u64; HISTOGRAM_BINS] {
    if from == to {
        return *bins;
    }
    // Positions are in bins of `to`. Halved, so that the extremes of float64 stay finite.
    let half_width = to[1] / 2.0 - to[0] / 2.0;
    let position = |edge: usize| {
        let part = edge as f64 / HISTOGRAM_BINS as f64;
        let half_edge = from[0] / 2.0 * (1.0 - part) + from[1] / 2.0 * part;
        let position = (half_edge - to[0] / 2.0) / half_width * HISTOGRAM_BINS as f64;
        if position.is_finite() { position.clamp(0.0, HISTOGRAM_BINS as f64) } else { 0.0 }
    };
    let mut spread = [0; HISTOGRAM_BINS];
    for (bin, &count) in bins.iter().enumerate().filter(|(_, count)| **count > 0) {
        let (left, right) = (position(bin), position(bin + 1));
        let mut target = (left as usize).min(HISTOGRAM_BINS - 1);
        let mut given = 0;
        loop {
            let edge = (target + 1) as f64;
            let is_last = edge >= right || target + 1 == HISTOGRAM_BINS;
            let until =
                if is_last { count } else { (((edge - left) / (right - left) * count as f64) as u64).min(count) };
            spread[target] += until.saturating_sub(given);
            given = given.max(until);
            if is_last {
                break;
            }
            target += 1;
        }
    }
    spread
}
