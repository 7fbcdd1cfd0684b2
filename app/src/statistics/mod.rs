//! Statistics of one plane: exact range, percentiles, histogram; and what contrast limits follow from them.
//!
//! [`plane_statistics`] measures a plane once, off the render thread; [`auto_limits`] chooses contrast limits;
//! [`MergedStatistics`] adds planes up per channel and takes replaced ones out again, both exactly; [`measure`] is what a
//! worker does with a plane: statistics and a small picture ([`Thumbnail`]).
//!
//! Percentiles are exact for every element type. 8- and 16-bit values (float16 included) are counted one by one. Wider
//! ones are turned into integers of the same order and narrowed down by 16 bits per pass, so that an outlier at 1e30
//! costs a pass, not precision.

mod histogram;
mod merged;
mod merged_bins;
mod thumbnail;
mod wide;

use wellscope_protocol::dtype::ElementType;

use histogram::Grid;
pub use histogram::{HISTOGRAM_BINS, Histogram};
pub use merged::{MergedStatistics, Totals};
pub use thumbnail::{Look, Raster, THUMBNAIL_SIDE, Thumbnail, rgba_of, thumbnail_of};

/// Part of all values that automatic contrast lets saturate, half at each end: 0.35 %, the default of Fiji's
/// Enhance Contrast.
pub const SATURATED_FRACTION: f64 = 0.0035;

/// Integers of at most this distance between least and greatest are shown whole: they are masks, classes or a few labels,
/// and clipping one value of them hides objects.
const MAX_LABEL_SPAN: i128 = 15;

/// Planes of at most this many 2-, 4- or 8-byte values are sorted: filling and reading a table of 65,536 counts costs more.
/// Few in tests, whose planes of random values are small and are to go both ways.
const MAX_SORTED: usize = if cfg!(test) { 500 } else { 8192 };

/// Least and greatest finite value, without loss for any element type.
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum ValueRange {
    /// bool and all integers. `i128` holds both int64 and uint64.
    Integer {
        /// Least value.
        min: i128,
        /// Greatest value.
        max: i128,
    },
    /// float16, float32, float64.
    Float {
        /// Least finite value.
        min: f64,
        /// Greatest finite value.
        max: f64,
    },
}

impl ValueRange {
    /// Least and greatest value as floating point. 64-bit integers beyond 2^53 are rounded: good for drawing, not for a label.
    pub fn to_f64(self) -> [f64; 2] {
        match self {
            Self::Integer { min, max } => [min as f64, max as f64],
            Self::Float { min, max } => [min, max],
        }
    }

    /// The smallest range that holds both. Exact unless one is of integers and one of floats.
    pub fn union(self, other: Self) -> Self {
        match (self, other) {
            (Self::Integer { min: a, max: b }, Self::Integer { min: c, max: d }) => {
                Self::Integer { min: a.min(c), max: b.max(d) }
            }
            _ => {
                let ([a, b], [c, d]) = (self.to_f64(), other.to_f64());
                Self::Float { min: a.min(c), max: b.max(d) }
            }
        }
    }
}

/// What was measured of one plane. Counts are of values, of which an RGB pixel has three.
#[derive(Clone, PartialEq, Debug)]
pub struct PlaneStatistics {
    /// Type that the values were read as.
    pub element: ElementType,
    /// Values per pixel: 1, or 3 and 4 for RGB and RGBA.
    pub samples: u32,
    /// Pixels in the plane.
    pub pixel_count: u64,
    /// Exact range of the finite values; `None` when there is none (an empty plane, or NaN everywhere).
    pub range: Option<ValueRange>,
    /// Finite values, of which the histogram and the percentiles are made.
    pub finite_count: u64,
    /// Values that are neither 0 nor NaN.
    pub nonzero_count: u64,
    /// NaN values. Infinite values are the rest of `pixel_count * samples - finite_count`.
    pub nan_count: u64,
    /// Finite values in at most 256 equal bins over `range`. `None` as for `range`.
    pub histogram: Option<Histogram>,
    /// Values between which all but [`SATURATED_FRACTION`] of the finite values lie: with n of them sorted and
    /// k = floor(n * 0.00175), the k-th from each end. `None` as for `range`.
    pub percentile_limits: Option<[f64; 2]>,
}

impl PlaneStatistics {
    /// Least finite value; rounded for 64-bit integers beyond 2^53, which `range` has in full.
    pub fn min(&self) -> Option<f64> {
        self.range.map(|range| range.to_f64()[0])
    }

    /// Greatest finite value; rounded like [`Self::min`].
    pub fn max(&self) -> Option<f64> {
        self.range.map(|range| range.to_f64()[1])
    }

    /// Whether there are two different finite values: a blank plane says nothing about good contrast limits.
    pub fn has_contrast(&self) -> bool {
        match self.range {
            Some(ValueRange::Integer { min, max }) => min < max,
            Some(ValueRange::Float { min, max }) => min < max,
            None => false,
        }
    }

    /// Whether values are bool.
    pub fn is_bool(&self) -> bool {
        self.element == ElementType::Bool
    }

    /// The histogram as bars: intensities at both edges and the count. The outermost end with the range, since nothing
    /// lies beyond it; the bar of an integer ends one above it.
    pub fn bars(&self) -> impl Iterator<Item = ([f64; 2], u64)> + '_ {
        self.histogram.iter().flat_map(|histogram| bars_of(histogram, self.range))
    }
}

/// Bins of a histogram, cut to a range.
fn bars_of(histogram: &Histogram, range: Option<ValueRange>) -> impl Iterator<Item = ([f64; 2], u64)> + '_ {
    let [start, end] = match range {
        Some(ValueRange::Integer { min, max }) => [min as f64, max as f64 + 1.0],
        Some(ValueRange::Float { min, max }) => [min, max],
        None => [f64::MIN, f64::MAX],
    };
    let cut = move |edge: f64| edge.clamp(start, end);
    histogram.counts().enumerate().map(move |(bin, count)| (histogram.edges(bin).map(cut), count))
}

/// Measures one plane of little-endian values. `samples` is the number of values per pixel (1; RGB 3; RGBA 4, of which
/// alpha is measured like a colour). Bytes after the last whole value are left out.
///
/// Needs no more than a few MiB besides `bytes`, however large the plane.
pub fn plane_statistics(element: ElementType, samples: u8, bytes: &[u8]) -> PlaneStatistics {
    use ElementType::*;
    let mut statistics = match element {
        Bool => from_counts(element, bool_counts(bytes).into_iter().enumerate(), |index| Kind::Integer(index as i64)),
        U8 => from_counts(element, byte_counts(bytes).into_iter().enumerate(), |index| Kind::Integer(index as i64)),
        I8 => {
            let counts = rotated(byte_counts(bytes), 128).into_iter().enumerate();
            from_counts(element, counts, |index| Kind::Integer(index as i64 - 128))
        }
        U16 | I16 | F16 if bytes.len() / 2 <= MAX_SORTED => {
            let order: fn(u16) -> u16 = match element {
                U16 => |bits| bits,
                I16 => |bits| bits ^ 0x8000,
                _ => f16_index_of,
            };
            from_counts(element, sorted_pairs(bytes, order), |index| pair_at(element, index))
        }
        U16 => from_counts(element, pair_counts(bytes).into_iter().enumerate(), |index| pair_at(element, index)),
        I16 => {
            let counts = rotated(pair_counts(bytes), 1 << 15).into_iter().enumerate();
            from_counts(element, counts, |index| pair_at(element, index))
        }
        F16 => {
            let counts = ascending_f16(pair_counts(bytes)).into_iter().enumerate();
            from_counts(element, counts, |index| pair_at(element, index))
        }
        I32 => wide::measure::<i32, 4>(element, bytes),
        U32 => wide::measure::<u32, 4>(element, bytes),
        I64 => wide::measure::<i64, 8>(element, bytes),
        U64 => wide::measure::<u64, 8>(element, bytes),
        F32 => wide::measure::<f32, 4>(element, bytes),
        F64 => wide::measure::<f64, 8>(element, bytes),
    };
    statistics.samples = u32::from(samples.max(1));
    statistics.pixel_count = (bytes.len() / element.size_bytes()) as u64 / u64::from(statistics.samples);
    statistics
}

/// What a worker finds out of a plane.
#[derive(Clone, PartialEq, Debug)]
pub struct Measurement {
    /// Range, histogram, percentiles.
    pub statistics: PlaneStatistics,
    /// `None` for a plane that is its own thumbnail, or whose bytes do not fit its shape.
    pub thumbnail: Option<Thumbnail>,
}

impl From<PlaneStatistics> for Measurement {
    fn from(statistics: PlaneStatistics) -> Self {
        Self { statistics, thumbnail: None }
    }
}

/// Measures a plane and makes its thumbnail.
pub fn measure(plane: Raster<'_>) -> Measurement {
    Measurement {
        statistics: plane_statistics(plane.element, plane.samples, plane.bytes),
        thumbnail: thumbnail_of(plane),
    }
}

/// Contrast limits for a plane that nobody has set limits for. Always finite, the first less than the second:
///
/// | plane | limits |
/// |---|---|
/// | no finite value | 0..1 |
/// | bool | 0..1 |
/// | 3 or more samples per pixel (RGB) | the type's white: 0..255, 0..65535, 0..1 for floats; other types by range |
/// | one value v | v..v+1 (v + a millionth of v, when that is more, so that both differ in float32) |
/// | integers whose range spans at most 15 | least..greatest |
/// | percentile limits coincide (spots in a dark plane) | least..greatest |
/// | all others | percentile limits |
pub fn auto_limits(statistics: &PlaneStatistics) -> [f64; 2] {
    let Some(range) = statistics.range else { return [0.0, 1.0] };
    let [min, max] = range.to_f64();
    match (statistics.element, statistics.samples) {
        (ElementType::Bool, _) => return [0.0, 1.0],
        (ElementType::U8, 3..) => return [0.0, 255.0],
        (ElementType::U16, 3..) => return [0.0, 65535.0],
        (ElementType::F16 | ElementType::F32 | ElementType::F64, 3..) => return [0.0, 1.0],
        _ => {}
    }
    let whole = match range {
        ValueRange::Integer { min, max } => statistics.samples >= 3 || max - min <= MAX_LABEL_SPAN,
        ValueRange::Float { .. } => false,
    };
    if let Some([low, high]) = statistics.percentile_limits.filter(|[low, high]| low < high && !whole) {
        return [low, high];
    }
    if min < max { [min, max] } else { limits_of_constant(min) }
}

/// Limits that draw `value` black and still differ from each other once rounded to `f32`.
fn limits_of_constant(value: f64) -> [f64; 2] {
    let step = (value.abs() * 1e-6).max(1.0);
    if (value + step).is_finite() { [value, value + step] } else { [value - step, value] }
}

/// How many of `count` sorted values may saturate at one end.
fn saturated_at_one_end(count: u64) -> u64 {
    (count as f64 * (SATURATED_FRACTION / 2.0)) as u64
}

/// A value that is counted on its own.
#[derive(Clone, Copy)]
enum Kind {
    Integer(i64),
    Float(f64),
}

/// Statistics from how often each value occurs. `counts` ascends by value; `value_at` names the value of an index.
fn from_counts(
    element: ElementType,
    counts: impl Iterator<Item = (usize, u64)>,
    value_at: impl Fn(usize) -> Kind,
) -> PlaneStatistics {
    let mut nan_count = 0;
    let mut nonzero_count = 0;
    let mut finite: Vec<(Kind, f64, u64)> = Vec::new();
    for (index, count) in counts.filter(|(_, count)| *count > 0) {
        let kind = value_at(index);
        let value = match kind {
            Kind::Integer(value) => value as f64,
            Kind::Float(value) => value,
        };
        nan_count += if value.is_nan() { count } else { 0 };
        nonzero_count += if value != 0.0 && !value.is_nan() { count } else { 0 };
        if value.is_finite() {
            finite.push((kind, value, count));
        }
    }
    let finite_count = finite.iter().map(|(.., count)| count).sum();
    let range = finite.first().zip(finite.last()).map(|(first, last)| match (first.0, last.0) {
        (Kind::Integer(min), Kind::Integer(max)) => ValueRange::Integer { min: min.into(), max: max.into() },
        _ => ValueRange::Float { min: first.1, max: last.1 },
    });
    let histogram = range.map(|range| {
        let grid = Grid::of(range);
        let mut bins = [0_u64; HISTOGRAM_BINS];
        for &(kind, _, count) in &finite {
            let place = match kind {
                Kind::Integer(value) => grid.place_of_integer(value),
                Kind::Float(value) => grid.place_of_float(value),
            };
            bins[place] += count;
        }
        Histogram::new(grid, &bins[..grid.len])
    });
    let clipped = saturated_at_one_end(finite_count);
    let low = value_at_rank(finite.iter(), clipped);
    let high = value_at_rank(finite.iter().rev(), clipped);
    PlaneStatistics {
        element,
        samples: 1,
        pixel_count: 0,
        range,
        finite_count,
        nonzero_count,
        nan_count,
        histogram,
        percentile_limits: low.zip(high).map(|(low, high)| [low, high]),
    }
}

/// The value before which `rank` others come.
fn value_at_rank<'a>(values: impl Iterator<Item = &'a (Kind, f64, u64)>, rank: u64) -> Option<f64> {
    let mut before = 0;
    for &(_, value, count) in values {
        before += count;
        if before > rank {
            return Some(value);
        }
    }
    None
}

/// False and true. Any byte but 0 is true, as in numpy.
fn bool_counts(bytes: &[u8]) -> [u64; 2] {
    let zeros = bytes.iter().filter(|byte| **byte == 0).count() as u64;
    [zeros, bytes.len() as u64 - zeros]
}

/// How often each byte occurs. Four tables, because adding to the same counter twice in a row waits for the first addition,
/// and neighbouring pixels are alike.
fn byte_counts(bytes: &[u8]) -> Vec<u64> {
    let mut totals = vec![0_u64; 256];
    // Blocks keep the 32-bit counters from overflowing.
    for block in bytes.chunks(1 << 30) {
        let mut counts = [[0_u32; 256]; 4];
        let (quads, rest) = block.as_chunks::<4>();
        for quad in quads {
            for lane in 0..4 {
                counts[lane][usize::from(quad[lane])] += 1;
            }
        }
        for &byte in rest {
            counts[0][usize::from(byte)] += 1;
        }
        for (value, total) in totals.iter_mut().enumerate() {
            *total += counts.iter().map(|table| u64::from(table[value])).sum::<u64>();
        }
    }
    totals
}

/// How often each 16-bit pattern occurs.
fn pair_counts(bytes: &[u8]) -> Vec<u64> {
    let mut totals = vec![0_u64; 1 << 16];
    let mut counts = vec![[0_u32; 2]; 1 << 16];
    for block in bytes.chunks(1 << 30) {
        let pairs = block.as_chunks::<2>().0;
        let (couples, rest) = pairs.as_chunks::<2>();
        // A slice of a length that the compiler knows needs no bounds check.
        let Some(table) = counts.first_chunk_mut::<{ 1 << 16 }>() else { break };
        for [first, second] in couples {
            table[usize::from(u16::from_le_bytes(*first))][0] += 1;
            table[usize::from(u16::from_le_bytes(*second))][1] += 1;
        }
        for &pair in rest {
            table[usize::from(u16::from_le_bytes(pair))][0] += 1;
        }
        for (total, lanes) in totals.iter_mut().zip(table.iter_mut()) {
            *total += u64::from(lanes[0]) + u64::from(lanes[1]);
            *lanes = [0; 2];
        }
    }
    totals
}

/// Counts of two's complement patterns in ascending order of value: the negative half comes first.
fn rotated(mut counts: Vec<u64>, half: usize) -> Vec<u64> {
    counts.rotate_left(half);
    counts
}

/// Counts of float16 patterns in ascending order of value: negatives backwards, then positives. NaNs lie at both ends.
fn ascending_f16(counts: Vec<u64>) -> Vec<u64> {
    (0..1 << 16).map(|index| counts[usize::from(f16_bits_at(index))]).collect()
}

fn f16_bits_at(index: usize) -> u16 {
    (if index < 1 << 15 { 0xffff - index } else { index - (1 << 15) }) as u16
}

fn f16_index_of(bits: u16) -> u16 {
    if bits < 1 << 15 { bits + (1 << 15) } else { 0xffff - bits }
}

/// The value at an index that ascends with it.
fn pair_at(element: ElementType, index: usize) -> Kind {
    match element {
        // Adding zero turns -0 into 0, which is what a limit should read.
        ElementType::F16 => Kind::Float(half::f16::from_bits(f16_bits_at(index)).to_f64() + 0.0),
        ElementType::I16 => Kind::Integer(index as i64 - (1 << 15)),
        _ => Kind::Integer(index as i64),
    }
}

/// How often each 16-bit pattern occurs in a small plane, by its index in ascending order; only those that occur.
fn sorted_pairs(bytes: &[u8], index_of: impl Fn(u16) -> u16) -> impl Iterator<Item = (usize, u64)> {
    let pairs = bytes.as_chunks::<2>().0;
    let mut indices: Vec<u16> = pairs.iter().map(|pair| index_of(u16::from_le_bytes(*pair))).collect();
    indices.sort_unstable();
    let mut counts: Vec<(usize, u64)> = Vec::new();
    for run in indices.chunk_by(|a, b| a == b) {
        counts.push((usize::from(run[0]), run.len() as u64));
    }
    counts.into_iter()
}

#[cfg(test)]
mod merged_tests;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod thumbnail_tests;
