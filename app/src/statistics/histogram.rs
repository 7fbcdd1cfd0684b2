//! Counts in bins whose width is a power of two and whose edges are multiples of that width.
//!
//! Such bins nest: two neighbours of one width make exactly one bin of the next, for integers and for floats. So
//! histograms of planes with different ranges are added and subtracted without sharing out a single count.

use super::ValueRange;

/// Most bins of a histogram.
pub const HISTOGRAM_BINS: usize = 256;

/// Below every exponent that occurs: 2^-1074 is the least positive float64.
const LEAST_EXPONENT: i32 = -1074;

/// Counts of values in equal bins from the one that holds the least value to the one that holds the greatest.
///
/// Bin n covers n * 2^exponent (inclusive) to (n + 1) * 2^exponent. The exponent is the least for which a range needs at
/// most [`HISTOGRAM_BINS`] bins; for integers at least 0, for floats at least that of the last digit of float64.
#[derive(Clone, PartialEq, Debug)]
pub struct Histogram {
    exponent: i32,
    first_bin: i128,
    counts: Counts,
}

impl Histogram {
    /// From the counts of the bins of a grid, as many as it has.
    pub(super) fn new(grid: Grid, counts: &[u64]) -> Self {
        Self { exponent: grid.exponent, first_bin: grid.first_bin, counts: Counts::of(counts) }
    }

    /// Logarithm of the width of a bin to base 2.
    pub fn exponent(&self) -> i32 {
        self.exponent
    }

    /// Number of the first bin: its left edge is this times the width.
    pub fn first_bin(&self) -> i128 {
        self.first_bin
    }

    /// Number of bins, 1 to [`HISTOGRAM_BINS`].
    pub fn len(&self) -> usize {
        self.counts.len()
    }

    /// Whether there is no bin. There always is one: planes without a finite value have no histogram.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Values in each bin.
    pub fn counts(&self) -> impl DoubleEndedIterator<Item = u64> + ExactSizeIterator + '_ {
        (0..self.len()).map(|bin| self.counts.get(bin))
    }

    /// Intensities at the edges of the `bin`th bin of this histogram; for floats near the greatest float64 clamped to it.
    pub fn edges(&self, bin: usize) -> [f64; 2] {
        let edge = |number: i128| times_power_of_two(number as f64, self.exponent).clamp(f64::MIN, f64::MAX);
        let number = self.first_bin + bin as i128;
        [edge(number), edge(number + 1)]
    }

    /// Bytes on the heap.
    pub fn heap_bytes(&self) -> usize {
        match &self.counts {
            Counts::U8(counts) => counts.len(),
            Counts::U16(counts) => 2 * counts.len(),
            Counts::U32(counts) => 4 * counts.len(),
            Counts::U64(counts) => 8 * counts.len(),
        }
    }
}

/// Counts in the narrowest type that holds the greatest: tens of thousands of small planes need a byte per bin.
#[derive(Clone, PartialEq, Debug)]
enum Counts {
    U8(Box<[u8]>),
    U16(Box<[u16]>),
    U32(Box<[u32]>),
    U64(Box<[u64]>),
}

impl Counts {
    fn of(counts: &[u64]) -> Self {
        let greatest = counts.iter().copied().max().unwrap_or_default();
        if greatest <= u64::from(u8::MAX) {
            Self::U8(counts.iter().map(|count| *count as u8).collect())
        } else if greatest <= u64::from(u16::MAX) {
            Self::U16(counts.iter().map(|count| *count as u16).collect())
        } else if greatest <= u64::from(u32::MAX) {
            Self::U32(counts.iter().map(|count| *count as u32).collect())
        } else {
            Self::U64(counts.into())
        }
    }

    fn len(&self) -> usize {
        match self {
            Self::U8(counts) => counts.len(),
            Self::U16(counts) => counts.len(),
            Self::U32(counts) => counts.len(),
            Self::U64(counts) => counts.len(),
        }
    }

    fn get(&self, bin: usize) -> u64 {
        match self {
            Self::U8(counts) => u64::from(counts[bin]),
            Self::U16(counts) => u64::from(counts[bin]),
            Self::U32(counts) => u64::from(counts[bin]),
            Self::U64(counts) => counts[bin],
        }
    }
}

/// The bins of a range, before anything is counted.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Grid {
    pub exponent: i32,
    pub first_bin: i128,
    pub len: usize,
}

impl Grid {
    /// The finest grid of at most [`HISTOGRAM_BINS`] bins that holds a range. A range inside of another has a grid that is
    /// at most as wide.
    pub fn of(range: ValueRange) -> Self {
        Self::at_least(range, LEAST_EXPONENT)
    }

    /// The same, with bins of at least 2^exponent.
    pub fn at_least(range: ValueRange, exponent: i32) -> Self {
        let mut exponent = exponent.max(least_exponent(range));
        loop {
            let [first, last] = match range {
                ValueRange::Integer { min, max } => [bin_of_integer(min, exponent), bin_of_integer(max, exponent)],
                ValueRange::Float { min, max } => [bin_of_float(min, exponent), bin_of_float(max, exponent)],
            };
            let len = last - first + 1;
            if len <= HISTOGRAM_BINS as i128 {
                return Self { exponent, first_bin: first, len: len.max(1) as usize };
            }
            // As many doublings as halving the number of bins takes at best; unaligned ends may ask for one more.
            exponent += (i128::BITS - (len - 1).leading_zeros()).saturating_sub(HISTOGRAM_BINS.ilog2()).max(1) as i32;
        }
    }

    /// Place of an integer among this grid's bins.
    pub fn place_of_integer(self, value: i64) -> usize {
        self.place(bin_of_integer(i128::from(value), self.exponent))
    }

    /// Place of a finite float among this grid's bins.
    pub fn place_of_float(self, value: f64) -> usize {
        self.place(bin_of_float(value, self.exponent))
    }

    /// Place of a bin by its number, clamped to the grid.
    pub fn place(self, number: i128) -> usize {
        (number - self.first_bin).clamp(0, self.len as i128 - 1) as usize
    }
}

/// The finest bins that make sense for a range: whole numbers, or the last digit of its greatest magnitude. Keeps numbers
/// of bins below 2^54 for floats.
fn least_exponent(range: ValueRange) -> i32 {
    match range {
        ValueRange::Integer { .. } => 0,
        ValueRange::Float { min, max } => {
            let magnitude = min.abs().max(max.abs());
            let biased = (magnitude.to_bits() >> 52) as i32;
            (biased - 1023 - 52).max(LEAST_EXPONENT)
        }
    }
}

fn bin_of_integer(value: i128, exponent: i32) -> i128 {
    folded(value, exponent.max(0).unsigned_abs())
}

/// Exact: multiplying by a power of two only moves the exponent, until the result is far below 1.
fn bin_of_float(value: f64, exponent: i32) -> i128 {
    i128::from(floor_scaled(value, scale_of(exponent)))
}

/// Number of the bin that holds a bin, `doublings` widths up.
pub(super) fn folded(number: i128, doublings: u32) -> i128 {
    number >> doublings.min(i128::BITS - 1)
}

/// Two factors whose product is 2^-exponent: either alone would leave the range of float64 near its ends.
pub(super) fn scale_of(exponent: i32) -> [f64; 2] {
    let half = -exponent / 2;
    [power_of_two(half), power_of_two(-exponent - half)]
}

/// The greatest integer not above `value * scale[0] * scale[1]`, which is less than 2^63 for every bin number of ours.
#[inline]
pub(super) fn floor_scaled(value: f64, scale: [f64; 2]) -> i64 {
    let scaled = value * scale[0] * scale[1];
    // A call of `floor` costs more than all the rest where the processor is not known to have it.
    let truncated = scaled as i64;
    // An integer as it is, or cut off towards zero: one too much below zero. The last case: so small that it became zero.
    let is_below = (truncated as f64 > scaled) | ((scaled == 0.0) & (value < 0.0));
    truncated - i64::from(is_below)
}

fn times_power_of_two(value: f64, exponent: i32) -> f64 {
    let half = exponent / 2;
    value * power_of_two(half) * power_of_two(exponent - half)
}

/// 2^exponent, for exponents of normal float64: -1022 to 1023.
fn power_of_two(exponent: i32) -> f64 {
    f64::from_bits(((exponent + 1023) as u64) << 52)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bins_are_powers_of_two_at_multiples_of_their_width() {
        let grid = |min, max| Grid::of(ValueRange::Integer { min, max });
        assert_eq!(grid(0, 255), Grid { exponent: 0, first_bin: 0, len: 256 });
        assert_eq!(grid(1, 256), Grid { exponent: 0, first_bin: 1, len: 256 });
        assert_eq!(grid(0, 256), Grid { exponent: 1, first_bin: 0, len: 129 });
        // 511 numbers in bins of two would be 256 bins if they began at an even number.
        assert_eq!(grid(1, 511), Grid { exponent: 1, first_bin: 0, len: 256 });
        assert_eq!(grid(1, 512), Grid { exponent: 2, first_bin: 0, len: 129 });
        assert_eq!(grid(-1, 0), Grid { exponent: 0, first_bin: -1, len: 2 });
        assert_eq!(grid(-129, 128), Grid { exponent: 1, first_bin: -65, len: 130 });
        let whole = grid(i128::from(i64::MIN), i128::from(u64::MAX));
        assert_eq!((whole.exponent, whole.len), (57, 192));
    }

    #[test]
    fn float_bins_reach_from_the_least_to_the_greatest_number() {
        let grid = |min, max| Grid::of(ValueRange::Float { min, max });
        assert_eq!(grid(0.0, 0.0), Grid { exponent: -1074, first_bin: 0, len: 1 });
        assert_eq!(grid(0.0, 5e-324), Grid { exponent: -1074, first_bin: 0, len: 2 });
        assert_eq!(grid(0.0, 1.0), Grid { exponent: -7, first_bin: 0, len: 129 });
        assert_eq!(grid(1.0, 1.0).len, 1);
        let whole = grid(-f64::MAX, f64::MAX);
        assert_eq!((whole.exponent, whole.first_bin, whole.len), (1017, -128, 256));
        let histogram = Histogram::new(whole, &[1; 256]);
        assert_eq!((histogram.edges(0)[0], histogram.edges(255)[1]), (-f64::MAX, f64::MAX));
        assert_eq!((whole.place_of_float(-5e-324), whole.place_of_float(0.0)), (127, 128));
    }

    #[test]
    fn counts_take_the_bytes_that_they_need() {
        let grid = Grid { exponent: 0, first_bin: 0, len: 3 };
        for (count, bytes) in [(255, 3), (256, 6), (1 << 16, 12), (1 << 32, 24)] {
            let histogram = Histogram::new(grid, &[0, count, 1]);
            assert_eq!(histogram.heap_bytes(), bytes);
            assert_eq!(histogram.counts().collect::<Vec<_>>(), [0, count, 1]);
        }
    }
}
