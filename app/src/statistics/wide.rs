//! 32- and 64-bit values: too many to count one by one.
//!
//! Every value becomes a `u64` key of the same order, and percentiles are found by counting keys in 65,536 bins and looking
//! again inside the bin that holds the wanted rank, until few enough are left to be sorted.

use wellscope_protocol::dtype::ElementType;

use super::histogram::{Grid, floor_scaled, scale_of};
use super::{HISTOGRAM_BINS, Histogram, MAX_SORTED, PlaneStatistics, ValueRange, saturated_at_one_end};

/// Bins per pass.
const KEY_BITS: u32 = 16;

/// Keys that are gathered and selected from at once: 8 MiB.
const MAX_GATHERED: u64 = 1 << 20;

/// A number of `N` bytes whose order is that of an unsigned key.
pub(super) trait Wide<const N: usize>: Copy {
    fn read(bytes: [u8; N]) -> Self;
    /// Ascends with the value, for finite values.
    fn key(self) -> u64;
    fn from_key(key: u64) -> Self;
    fn to_f64(self) -> f64;
    fn is_finite(self) -> bool;
    fn is_nan(self) -> bool;
    fn is_zero(self) -> bool;
    fn range(min: Self, max: Self) -> ValueRange;
    /// Place of a finite value of the range among the grid's bins.
    fn bin(self, bins: &Bins) -> usize;
}

/// A grid made ready for one of many values: by key for integers, by value for floats.
#[derive(Clone, Copy)]
pub(super) struct Bins {
    first_key: u64,
    shift: u32,
    first: i64,
    scale: [f64; 2],
}

impl Bins {
    fn new(grid: Grid, least_key: u64) -> Self {
        // Least values of types are multiples of every width that occurs, so keys have the same bins as values.
        let shift = grid.exponent.clamp(0, 63).unsigned_abs();
        Self { first_key: least_key >> shift, shift, first: grid.first_bin as i64, scale: scale_of(grid.exponent) }
    }
}

macro_rules! wide_integer {
    ($type:ty, $bytes:literal, $unsigned:ty) => {
        impl Wide<$bytes> for $type {
            fn read(bytes: [u8; $bytes]) -> Self {
                Self::from_le_bytes(bytes)
            }
            fn key(self) -> u64 {
                // Adding 2^(bits - 1) to a signed value, 0 to an unsigned one.
                u64::from((self as $unsigned).wrapping_sub(Self::MIN as $unsigned))
            }
            fn from_key(key: u64) -> Self {
                (key as $unsigned).wrapping_add(Self::MIN as $unsigned) as Self
            }
            fn to_f64(self) -> f64 {
                self as f64
            }
            fn is_finite(self) -> bool {
                true
            }
            fn is_nan(self) -> bool {
                false
            }
            fn is_zero(self) -> bool {
                self == 0
            }
            fn range(min: Self, max: Self) -> ValueRange {
                ValueRange::Integer { min: i128::from(min), max: i128::from(max) }
            }
            #[inline]
            fn bin(self, bins: &Bins) -> usize {
                ((self.key() >> bins.shift) - bins.first_key) as usize
            }
        }
    };
}

wide_integer!(i32, 4, u32);
wide_integer!(u32, 4, u32);
wide_integer!(i64, 8, u64);
wide_integer!(u64, 8, u64);

macro_rules! wide_float {
    ($type:ty, $bytes:literal, $unsigned:ty, $signed:ty) => {
        impl Wide<$bytes> for $type {
            fn read(bytes: [u8; $bytes]) -> Self {
                Self::from_le_bytes(bytes)
            }
            fn key(self) -> u64 {
                // Negative floats descend with their bits: flip them all. Positive ones move above: flip the sign.
                let bits = self.to_bits();
                let negative = (bits as $signed >> (<$unsigned>::BITS - 1)) as $unsigned;
                u64::from(bits ^ (negative | (1 << (<$unsigned>::BITS - 1))))
            }
            fn from_key(key: u64) -> Self {
                let key = key as $unsigned;
                let positive = (key as $signed >> (<$unsigned>::BITS - 1)) as $unsigned;
                Self::from_bits(key ^ (!positive | (1 << (<$unsigned>::BITS - 1))))
            }
            fn to_f64(self) -> f64 {
                // Adding zero turns -0 into 0, which is what a limit should read.
                f64::from(self) + 0.0
            }
            fn is_finite(self) -> bool {
                <$type>::is_finite(self)
            }
            fn is_nan(self) -> bool {
                <$type>::is_nan(self)
            }
            fn is_zero(self) -> bool {
                self == 0.0
            }
            fn range(min: Self, max: Self) -> ValueRange {
                ValueRange::Float { min: min.to_f64(), max: max.to_f64() }
            }
            #[inline]
            fn bin(self, bins: &Bins) -> usize {
                (floor_scaled(f64::from(self), bins.scale) - bins.first) as usize
            }
        }
    };
}

wide_float!(f32, 4, u32, i32);
wide_float!(f64, 8, u64, i64);

/// Statistics of values of type `T`, little-endian; `samples` and `pixel_count` are left to the caller.
pub(super) fn measure<T: Wide<N>, const N: usize>(element: ElementType, bytes: &[u8]) -> PlaneStatistics {
    let values = bytes.as_chunks::<N>().0;
    let (mut least, mut greatest) = (u64::MAX, 0);
    let (mut finite_count, mut nan_count, mut nonzero_count) = (0_u64, 0_u64, 0_u64);
    for &value in values {
        let value = T::read(value);
        let (key, finite) = (value.key(), value.is_finite());
        least = least.min(if finite { key } else { u64::MAX });
        greatest = greatest.max(if finite { key } else { 0 });
        finite_count += u64::from(finite);
        nan_count += u64::from(value.is_nan());
        nonzero_count += u64::from(!value.is_zero() & !value.is_nan());
    }
    let mut statistics = PlaneStatistics {
        element,
        samples: 1,
        pixel_count: 0,
        range: None,
        finite_count,
        nonzero_count,
        nan_count,
        histogram: None,
        percentile_limits: None,
    };
    if finite_count == 0 {
        return statistics;
    }
    let range = T::range(T::from_key(least), T::from_key(greatest));
    let grid = Grid::of(range);
    let places = Bins::new(grid, least);
    let mut bins = [0_u64; HISTOGRAM_BINS];
    let clipped = saturated_at_one_end(finite_count);
    let ranks = [clipped, finite_count - 1 - clipped];
    let limits = if values.len() <= MAX_SORTED {
        let mut keys = Vec::with_capacity(values.len());
        for value in values.iter().map(|&value| T::read(value)).filter(|value| value.is_finite()) {
            keys.push(value.key());
            bins[value.bin(&places)] += 1;
        }
        keys.sort_unstable();
        ranks.map(|rank| keys[rank as usize])
    } else {
        KeySpan { least, greatest }.measure::<T, N>(values, ranks, &places, &mut bins)
    };
    statistics.range = Some(range);
    statistics.histogram = Some(Histogram::new(grid, &bins[..grid.len]));
    statistics.percentile_limits = Some(limits.map(|key| T::from_key(key).to_f64()));
    statistics
}

/// Keys from `least` to `greatest`, both included.
#[derive(Clone, Copy)]
struct KeySpan {
    least: u64,
    greatest: u64,
}

impl KeySpan {
    /// How far a key's distance from `least` is shifted to become a bin below 2^16.
    fn shift(self) -> u32 {
        (u64::BITS - (self.greatest - self.least).leading_zeros()).saturating_sub(KEY_BITS)
    }

    fn holds(self, key: u64) -> bool {
        (self.least..=self.greatest).contains(&key)
    }

    /// The keys of one bin.
    fn part(self, bin: usize) -> Self {
        let shift = self.shift();
        let least = self.least + ((bin as u64) << shift);
        // The last bin may reach beyond the greatest key; then the span ends with it.
        Self { least, greatest: least.saturating_add((1 << shift) - 1).min(self.greatest) }
    }

    /// Adds all finite values to the histogram's bins, and finds the keys at two ranks among them. This span holds them all.
    ///
    /// Most bins of keys lie inside of one bin of the histogram and are added as a whole. Values are looked at once more in
    /// those that do not, and in those that hold a rank.
    fn measure<T: Wide<N>, const N: usize>(
        self,
        values: &[[u8; N]],
        ranks: [u64; 2],
        places: &Bins,
        bins: &mut [u64; HISTOGRAM_BINS],
    ) -> [u64; 2] {
        const STRADDLES: u8 = 4;
        let counts = self.count::<T, N>(values);
        let mut marks = vec![0_u8; 1 << KEY_BITS];
        for (bin, count) in counts.iter().enumerate().filter(|(_, count)| **count > 0) {
            let part = self.part(bin);
            let [first, last] = [part.least, part.greatest].map(|key| T::from_key(key).bin(places));
            if first == last {
                bins[first] += count;
            } else {
                marks[bin] = STRADDLES;
            }
        }
        let held = ranks.map(|rank| bin_of_rank(&counts, rank));
        let mut gathered = [Vec::new(), Vec::new()];
        for (end, (bin, _)) in held.into_iter().enumerate() {
            let part = self.part(bin);
            if part.least < part.greatest && counts[bin] <= MAX_GATHERED {
                marks[bin] |= 1 << end;
                gathered[end].reserve_exact(counts[bin] as usize);
            }
        }
        if marks.iter().any(|mark| *mark != 0) {
            let shift = self.shift();
            for &value in values {
                let value = T::read(value);
                let key = value.key();
                let mark = if value.is_finite() { marks[((key - self.least) >> shift) as usize] } else { 0 };
                if mark == 0 {
                    continue;
                }
                if mark & STRADDLES != 0 {
                    bins[value.bin(places)] += 1;
                }
                for (end, keys) in gathered.iter_mut().enumerate() {
                    if mark & (1 << end) != 0 {
                        keys.push(key);
                    }
                }
            }
        }
        [0, 1].map(|end| {
            let (bin, rank) = held[end];
            let part = self.part(bin);
            match gathered[end].len().checked_sub(1) {
                Some(last) => *gathered[end].select_nth_unstable((rank as usize).min(last)).1,
                None if part.least == part.greatest => part.least,
                None => part.key_at_rank::<T, N>(values, rank),
            }
        })
    }

    /// Counts the finite values inside this span per bin.
    fn count<T: Wide<N>, const N: usize>(self, values: &[[u8; N]]) -> Vec<u64> {
        let mut counts = vec![0_u64; 1 << KEY_BITS];
        let shift = self.shift();
        for &value in values {
            let value = T::read(value);
            let key = value.key();
            if value.is_finite() && self.holds(key) {
                counts[((key - self.least) >> shift) as usize] += 1;
            }
        }
        counts
    }

    /// The key before which `rank` others of this span come. `rank` is less than their number.
    fn key_at_rank<T: Wide<N>, const N: usize>(mut self, values: &[[u8; N]], mut rank: u64) -> u64 {
        while self.least < self.greatest {
            let counts = self.count::<T, N>(values);
            let (bin, rest) = bin_of_rank(&counts, rank);
            self = self.part(bin);
            rank = rest;
            if counts[bin] <= MAX_GATHERED && self.least < self.greatest {
                let mut keys: Vec<u64> = values
                    .iter()
                    .map(|&value| T::read(value))
                    .filter(|value| value.is_finite() && self.holds(value.key()))
                    .map(T::key)
                    .collect();
                let rank = (rank as usize).min(keys.len() - 1);
                return *keys.select_nth_unstable(rank).1;
            }
        }
        self.least
    }
}

/// The bin that holds the value before which `rank` others come, and how many of these are in it.
fn bin_of_rank(counts: &[u64], mut rank: u64) -> (usize, u64) {
    let mut bin = 0;
    while bin + 1 < counts.len() && counts[bin] <= rank {
        rank -= counts[bin];
        bin += 1;
    }
    (bin, rank)
}
