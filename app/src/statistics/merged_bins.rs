//! Bins of many planes, kept apart by width so that each plane can be taken out again as it went in.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use super::histogram::{Grid, Histogram, folded};

/// Bins that are kept together.
const CHUNK: usize = 64;

/// Most chunks: 1 MiB. All bins that planes of 16-bit values can have at all their widths (131,072) fit in.
const MAX_CHUNKS: usize = 2048;

/// Counts by width and number of bin. What it holds depends on the planes that are in, not on their order or on planes that
/// were in before, as long as they fit into 2,048 chunks; beyond that the narrowest bins are widened, still exact.
#[derive(Clone, PartialEq, Debug)]
pub(super) struct MergedBins {
    /// By exponent of the width and number of the first bin over [`CHUNK`]. No chunk is all zero.
    chunks: BTreeMap<(i32, i128), Box<[u64; CHUNK]>>,
    /// Narrower bins are folded into this width; the least number until there were too many.
    least_exponent: i32,
}

impl Default for MergedBins {
    fn default() -> Self {
        Self { chunks: BTreeMap::new(), least_exponent: i32::MIN }
    }
}

impl MergedBins {
    /// Adds a plane's bins. `grid` is that of the range of all planes, this one included.
    pub fn add(&mut self, histogram: &Histogram, grid: Grid) {
        self.change(histogram.exponent(), histogram.first_bin(), histogram.counts(), |bin, count| *bin += count);
        self.widen_if_full(grid);
    }

    /// Takes out the bins of a plane that was added.
    pub fn subtract(&mut self, histogram: &Histogram) {
        self.change(histogram.exponent(), histogram.first_bin(), histogram.counts(), |bin, count| {
            debug_assert!(*bin >= count, "a plane is taken out that was never added");
            *bin = bin.saturating_sub(count);
        });
        if self.chunks.is_empty() {
            self.least_exponent = i32::MIN;
        }
    }

    /// Adds all bins of another. `grid` as in [`Self::add`].
    pub fn add_all(&mut self, other: &Self, grid: Grid) {
        for (&(exponent, chunk), counts) in &other.chunks {
            let first = chunk * CHUNK as i128;
            self.change(exponent, first, counts.iter().copied(), |bin, count| *bin += count);
        }
        self.widen_if_full(grid);
    }

    /// The greatest width in use.
    pub fn greatest_exponent(&self) -> Option<i32> {
        self.chunks.last_key_value().map(|((exponent, _), _)| (*exponent).max(self.least_exponent))
    }

    /// Everything in the bins of a grid whose bins are at least as wide as all that are in use.
    pub fn on(&self, grid: Grid) -> Histogram {
        let mut counts = vec![0; grid.len];
        for (&(exponent, chunk), bins) in &self.chunks {
            let doublings = (grid.exponent - exponent).max(0).unsigned_abs();
            for (bin, count) in bins.iter().enumerate().filter(|(_, count)| **count > 0) {
                counts[grid.place(folded(chunk * CHUNK as i128 + bin as i128, doublings))] += count;
            }
        }
        Histogram::new(grid, &counts)
    }

    fn change(
        &mut self,
        exponent: i32,
        first_bin: i128,
        counts: impl Iterator<Item = u64>,
        change: impl Fn(&mut u64, u64),
    ) {
        let kept = exponent.max(self.least_exponent);
        let doublings = (i64::from(kept) - i64::from(exponent)) as u32;
        // Few chunks per histogram, each looked up once.
        let mut counts = (first_bin..).zip(counts).map(|(number, count)| (folded(number, doublings), count)).peekable();
        while let Some((number, _)) = counts.peek() {
            let chunk = number.div_euclid(CHUNK as i128);
            let mut entry = match self.chunks.entry((kept, chunk)) {
                Entry::Occupied(entry) => entry,
                Entry::Vacant(entry) => entry.insert_entry(Box::new([0; CHUNK])),
            };
            let bins = entry.get_mut();
            while let Some((number, count)) = counts.next_if(|(number, _)| number.div_euclid(CHUNK as i128) == chunk) {
                change(&mut bins[number.rem_euclid(CHUNK as i128) as usize], count);
            }
            if bins.iter().all(|count| *count == 0) {
                entry.remove();
            }
        }
    }

    /// Folds what is narrower than the bins that a histogram of everything has: at most a few chunks are left of it.
    fn widen_if_full(&mut self, grid: Grid) {
        if self.chunks.len() <= MAX_CHUNKS {
            return;
        }
        self.least_exponent = grid.exponent;
        let wider = self.chunks.split_off(&(grid.exponent, i128::MIN));
        let narrower = std::mem::replace(&mut self.chunks, wider);
        for ((exponent, chunk), counts) in narrower {
            self.change(exponent, chunk * CHUNK as i128, counts.iter().copied(), |bin, count| *bin += count);
        }
    }
}
