//! Reduced-resolution levels of a plane: level n has one texel for each square of 2^n x 2^n pixels.
//!
//! Every level is made from the pixels themselves, never from another level, so that rounding does not add up. Intensities
//! become the mean of their square. Masks and labels must not be mixed: the mean of label 2 and label 8 is an object that
//! does not exist. They are represented by the first pixel of their square.

use half::f16;
use wellscope_protocol::dtype::ElementType;

use crate::render::scene::PlaneSource;
use crate::render::texels::{narrowed, packed};

/// Levels beyond this are never made: 2^16 pixels in a texel are more than any screen shows.
pub const MAX_LEVEL: u8 = 16;

/// A rectangle of texels of one level.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Window {
    /// First column.
    pub x: u32,
    /// First row.
    pub y: u32,
    /// Columns.
    pub width: u32,
    /// Rows.
    pub height: u32,
}

/// What becomes of the pixels that share a texel.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Reduction {
    /// Their mean, rounded to nearest for integers; NaN does not count.
    Mean,
    /// The first of them.
    Pick,
}

/// Released producers mark no label images. bool is a mask, and integers of 32 and 64 bits are labels wherever OpenHCS
/// produces them (int32); cameras send 8 and 16 bits.
pub fn reduction_of(element: ElementType, labels: bool) -> Reduction {
    use ElementType::{Bool, I32, I64, U32, U64};
    match element {
        Bool | I32 | U32 | I64 | U64 => Reduction::Pick,
        _ if labels => Reduction::Pick,
        _ => Reduction::Mean,
    }
}

/// Columns and rows of a level of a plane.
pub fn level_size([width, height]: [u32; 2], level: u8) -> [u32; 2] {
    let side = |pixels: u32| u32::try_from(u64::from(pixels).div_ceil(1 << level)).unwrap_or(u32::MAX);
    [side(width), side(height)]
}

/// Texels of a window of a level, rows from the top, as the texture format of the plane holds them. `bytes` are the plane's
/// pixels; the window lies inside of the level.
pub fn level_texels(plane: &PlaneSource, bytes: &[u8], level: u8, window: Window) -> Vec<u8> {
    use ElementType::{Bool, F16, F32, F64, I8, I16, I32, I64, U8, U16, U32, U64};
    let grid = Grid { plane, bytes, level, window };
    let is_mean = level > 0 && reduction_of(plane.element, plane.labels) == Reduction::Mean;
    match (plane.samples, plane.element, is_mean) {
        (1, U8, true) => grid.means::<u8, 1, 1>(),
        (1, I8, true) => grid.means::<i8, 1, 1>(),
        (1, U16, true) => grid.means::<u16, 2, 2>(),
        (1, I16, true) => grid.means::<i16, 2, 2>(),
        (1, F16, true) => grid.means::<f16, 2, 2>(),
        (1, F32, true) => grid.means::<f32, 4, 4>(),
        (1, F64, true) => grid.means::<f64, 8, 4>(),
        (1, Bool | U8 | I8, _) => grid.picks(|pixel| [pixel[0]]),
        (1, U16 | I16 | F16, _) => grid.picks(|pixel| [pixel[0], pixel[1]]),
        (1, U32 | I32 | F32, _) => grid.picks(|pixel| [pixel[0], pixel[1], pixel[2], pixel[3]]),
        (1, U64 | I64 | F64, _) => grid.picks(|pixel| narrowed(plane.element, plane.labels, pixel)),
        (3, U8, false) => grid.picks(|pixel| [pixel[0], pixel[1], pixel[2], 255]),
        (3, U8, true) => grid.mean_colours(|pixel| [pixel[0], pixel[1], pixel[2], 255]),
        (samples, element, false) => grid.picks(|pixel| packed(element, samples, pixel)),
        (samples, element, true) => grid.mean_colours(|pixel| packed(element, samples, pixel)),
    }
}

/// A window of a level over the pixels that it is made of.
struct Grid<'a> {
    plane: &'a PlaneSource,
    bytes: &'a [u8],
    level: u8,
    window: Window,
}

impl Grid<'_> {
    fn pixel_bytes(&self) -> usize {
        self.plane.element.size_bytes() * usize::from(self.plane.samples)
    }

    /// Bytes of the pixels of one row of the plane that lie under the window.
    fn row(&self, y: usize) -> &[u8] {
        let width = self.plane.width as usize;
        let start = (self.window.x as usize) << self.level;
        let end = ((self.window.x as usize + self.window.width as usize) << self.level).min(width);
        &self.bytes[(y * width + start) * self.pixel_bytes()..(y * width + end) * self.pixel_bytes()]
    }

    /// Rows of the plane under one row of the window.
    fn rows_of(&self, row: u32) -> std::ops::Range<usize> {
        let start = (self.window.y as usize + row as usize) << self.level;
        start..(start + (1 << self.level)).min(self.plane.height as usize)
    }

    fn picks<const TEXEL: usize>(&self, texel_of: impl Fn(&[u8]) -> [u8; TEXEL]) -> Vec<u8> {
        let mut texels = Vec::with_capacity(self.texel_count() * TEXEL);
        for row in 0..self.window.height {
            let pixels = self.row(self.rows_of(row).start).chunks_exact(self.pixel_bytes());
            for pixel in pixels.step_by(1 << self.level) {
                texels.extend_from_slice(&texel_of(pixel));
            }
        }
        texels
    }

    fn means<T: Intensity<PIXEL, TEXEL>, const PIXEL: usize, const TEXEL: usize>(&self) -> Vec<u8> {
        let mut texels = vec![0; self.texel_count() * TEXEL];
        let mut sums = vec![T::Sum::default(); self.window.width as usize];
        let rows = texels.as_chunks_mut::<TEXEL>().0.chunks_exact_mut(self.window.width.max(1) as usize);
        for (row, texels) in (0..self.window.height).zip(rows) {
            sums.fill(T::Sum::default());
            for y in self.rows_of(row) {
                let pixels = self.row(y).as_chunks::<PIXEL>().0;
                // The commonest level by far; a length that the compiler knows is worth a factor.
                if self.level == 1 {
                    let (pairs, last) = pixels.as_chunks::<2>();
                    for (sum, pair) in sums.iter_mut().zip(pairs) {
                        pair.iter().for_each(|pixel| T::add(sum, *pixel));
                    }
                    if let (Some(sum), [pixel]) = (sums.last_mut(), last) {
                        T::add(sum, *pixel);
                    }
                } else {
                    for (sum, square) in sums.iter_mut().zip(pixels.chunks(1 << self.level)) {
                        square.iter().for_each(|pixel| T::add(sum, *pixel));
                    }
                }
            }
            let rows = self.rows_of(row).len() as u64;
            for (column, (sum, texel)) in sums.iter().zip(texels).enumerate() {
                *texel = T::mean(sum, rows * self.columns_of(column));
            }
        }
        texels
    }

    /// Colours weighted by their alpha, so that what is transparent colours nothing.
    fn mean_colours(&self, colour_of: impl Fn(&[u8]) -> [u8; 4]) -> Vec<u8> {
        let mut texels = Vec::with_capacity(self.texel_count() * 4);
        let mut sums = vec![[0_u64; 4]; self.window.width as usize];
        for row in 0..self.window.height {
            sums.fill([0; 4]);
            for y in self.rows_of(row) {
                for (sum, square) in sums.iter_mut().zip(self.row(y).chunks(self.pixel_bytes() << self.level)) {
                    for pixel in square.chunks_exact(self.pixel_bytes()) {
                        let [red, green, blue, alpha] = colour_of(pixel).map(u64::from);
                        for (sum, sample) in sum.iter_mut().zip([red * alpha, green * alpha, blue * alpha, alpha]) {
                            *sum += sample;
                        }
                    }
                }
            }
            let rows = self.rows_of(row).len() as u64;
            for (column, [red, green, blue, alpha]) in sums.iter().enumerate() {
                // Sums stay far below 2^52, so that f64 holds them, and divides faster.
                let part = |sum: u64, of: u64| if of == 0 { 0 } else { (sum as f64 / of as f64 + 0.5) as u8 };
                let count = rows * self.columns_of(column);
                texels.extend([part(*red, *alpha), part(*green, *alpha), part(*blue, *alpha), part(*alpha, count)]);
            }
        }
        texels
    }

    /// Pixels along x under one column of the window.
    fn columns_of(&self, column: usize) -> u64 {
        let start = (u64::from(self.window.x) + column as u64) << self.level;
        (1_u64 << self.level).min(u64::from(self.plane.width) - start)
    }

    fn texel_count(&self) -> usize {
        self.window.width as usize * self.window.height as usize
    }
}

/// A pixel type whose values have a mean.
trait Intensity<const PIXEL: usize, const TEXEL: usize> {
    type Sum: Copy + Default;

    fn add(sum: &mut Self::Sum, pixel: [u8; PIXEL]);

    /// `count` pixels were added.
    fn mean(sum: &Self::Sum, count: u64) -> [u8; TEXEL];
}

macro_rules! integer_intensity {
    ($type:ty, $bytes:literal) => {
        impl Intensity<$bytes, $bytes> for $type {
            type Sum = i64;

            fn add(sum: &mut i64, pixel: [u8; $bytes]) {
                *sum += i64::from(<$type>::from_le_bytes(pixel));
            }

            fn mean(sum: &i64, count: u64) -> [u8; $bytes] {
                // Halves go up, for negative values too.
                let mean = if count.is_power_of_two() {
                    // All but the squares at the edges; a division would take longer than everything else.
                    (sum + (count / 2) as i64) >> count.trailing_zeros()
                } else {
                    (2 * sum + count as i64).div_euclid(2 * count as i64)
                };
                (mean as $type).to_le_bytes()
            }
        }
    };
}

integer_intensity!(u8, 1);
integer_intensity!(i8, 1);
integer_intensity!(u16, 2);
integer_intensity!(i16, 2);

macro_rules! float_intensity {
    ($type:ty, $bytes:literal, $texel:ty, $texel_bytes:literal, $widen:expr, $narrow:expr) => {
        impl Intensity<$bytes, $texel_bytes> for $type {
            /// Sum and number of what is not NaN.
            type Sum = (f64, u32);

            fn add((sum, count): &mut (f64, u32), pixel: [u8; $bytes]) {
                let value: f64 = $widen(<$type>::from_le_bytes(pixel));
                if !value.is_nan() {
                    *sum += value;
                    *count += 1;
                }
            }

            fn mean((sum, count): &(f64, u32), _pixels: u64) -> [u8; $texel_bytes] {
                // Of nothing but NaN: 0 / 0, which is NaN again.
                let mean: $texel = $narrow(*sum / f64::from(*count));
                mean.to_le_bytes()
            }
        }
    };
}

float_intensity!(f16, 2, f16, 2, f16::to_f64, f16::from_f64);
float_intensity!(f32, 4, f32, 4, f64::from, |mean| mean as f32);
float_intensity!(f64, 8, f32, 4, |value| value, |mean| mean as f32);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::render::scene::{PlaneId, PlanePixels};
    use proptest::prelude::*;

    fn plane(element: ElementType, samples: u8, [width, height]: [u32; 2], bytes: Vec<u8>) -> PlaneSource {
        PlaneSource {
            id: PlaneId(1),
            width,
            height,
            samples,
            element,
            pixels: PlanePixels::from_vec(bytes),
            labels: false,
            timing: None,
        }
    }

    fn whole(plane: &PlaneSource, level: u8) -> Vec<u8> {
        let [width, height] = level_size([plane.width, plane.height], level);
        let bytes = plane.pixels.read().unwrap();
        level_texels(plane, &bytes, level, Window { x: 0, y: 0, width, height })
    }

    fn bytes_of<T: Copy, const N: usize>(values: &[T], to_bytes: impl Fn(T) -> [u8; N]) -> Vec<u8> {
        values.iter().flat_map(|value| to_bytes(*value)).collect()
    }

    #[test]
    fn intensities_are_averaged_and_halves_go_up() {
        let pixels = [10_u16, 20, 1, 30, 40, 2, 65_535, 65_535, 7];
        let plane = plane(ElementType::U16, 1, [3, 3], bytes_of(&pixels, u16::to_le_bytes));
        // (10 + 20 + 30 + 40) / 4, (1 + 2) / 2, the last row alone, the corner alone.
        assert_eq!(whole(&plane, 1), bytes_of(&[25_u16, 2, 65_535, 7], u16::to_le_bytes));
        assert_eq!(whole(&plane, 0), bytes_of(&pixels, u16::to_le_bytes));
        let sum: u64 = pixels.iter().map(|pixel| u64::from(*pixel)).sum();
        assert_eq!(whole(&plane, 2), ((sum as f64 / 9.0).round() as u16).to_le_bytes());
    }

    #[test]
    fn negative_intensities_are_averaged_by_value_not_by_bits() {
        let plane = plane(ElementType::I16, 1, [2, 1], bytes_of(&[-3_i16, 0], i16::to_le_bytes));
        assert_eq!(whole(&plane, 1), (-1_i16).to_le_bytes(), "-1.5 goes up");
        let plane = self::plane(ElementType::I8, 1, [2, 1], bytes_of(&[-128_i8, -127], i8::to_le_bytes));
        assert_eq!(whole(&plane, 1), (-127_i8).to_le_bytes());
    }

    #[test]
    fn labels_and_masks_are_never_mixed() {
        let labels = plane(ElementType::I32, 1, [4, 2], bytes_of(&[2, 8, 8, 8, 2, 8, 5, 5], i32::to_le_bytes));
        assert_eq!(whole(&labels, 1), bytes_of(&[2, 8], i32::to_le_bytes));
        let few = plane(ElementType::U8, 1, [4, 2], vec![2, 8, 8, 8, 2, 8, 5, 5]);
        assert_eq!(whole(&few, 1), [5, 7], "intensities of a camera");
        assert_eq!(whole(&PlaneSource { labels: true, ..few }, 1), [2, 8]);
        let mask = plane(ElementType::Bool, 1, [2, 1], vec![0, 1]);
        assert_eq!(whole(&mask, 1), [0]);
        let wide = plane(ElementType::U64, 1, [2, 1], bytes_of(&[9_u64, 3], u64::to_le_bytes));
        assert_eq!(whole(&wide, 1), 9.0_f32.to_le_bytes());
    }

    #[test]
    fn nan_counts_only_where_there_is_nothing_else() {
        let pixels = [f32::NAN, 4.0, f32::NAN, f32::NAN];
        let plane = plane(ElementType::F32, 1, [4, 1], bytes_of(&pixels, f32::to_le_bytes));
        let texels = whole(&plane, 1);
        assert_eq!(texels[..4], 4.0_f32.to_le_bytes());
        assert!(f32::from_le_bytes(texels[4..].try_into().unwrap()).is_nan());
        let halves = [f16::from_f32(1.0), f16::from_f32(2.0)];
        let plane = self::plane(ElementType::F16, 1, [2, 1], bytes_of(&halves, f16::to_le_bytes));
        assert_eq!(whole(&plane, 1), f16::from_f32(1.5).to_le_bytes());
        let plane = self::plane(ElementType::F64, 1, [2, 1], bytes_of(&[1.0_f64, 4.0], f64::to_le_bytes));
        assert_eq!(whole(&plane, 1), 2.5_f32.to_le_bytes());
    }

    #[test]
    fn transparent_pixels_do_not_colour_their_neighbours() {
        let plane = plane(ElementType::U8, 4, [2, 1], vec![200, 100, 0, 255, 9, 9, 9, 0]);
        assert_eq!(whole(&plane, 1), [200, 100, 0, 128]);
        let plane = self::plane(ElementType::U8, 3, [2, 1], vec![0, 10, 255, 3, 20, 255]);
        assert_eq!(whole(&plane, 1), [2, 15, 255, 255]);
    }

    proptest! {
        #[test]
        fn a_window_of_a_level_is_that_part_of_the_whole_level(
            width in 1_u32..40, height in 1_u32..40, level in 0_u8..5, seed: u64, cut in any::<[u32; 4]>(),
            kind in prop::sample::select(vec![
                (ElementType::U8, 1), (ElementType::U16, 1), (ElementType::I32, 1), (ElementType::F32, 1),
                (ElementType::U64, 1), (ElementType::F64, 1), (ElementType::U8, 3), (ElementType::U16, 4),
            ]),
        ) {
            let (element, samples) = kind;
            let count = (width * height) as usize * element.size_bytes() * usize::from(samples);
            let bytes: Vec<u8> =
                (0..count as u64).map(|place| (place.wrapping_add(seed).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 40) as u8).collect();
            let plane = plane(element, samples, [width, height], bytes);
            let [columns, rows] = level_size([width, height], level);
            let all = whole(&plane, level);
            let texel = all.len() / (columns * rows) as usize;
            let (x, y) = (cut[0] % columns, cut[1] % rows);
            let window = Window { x, y, width: 1 + cut[2] % (columns - x), height: 1 + cut[3] % (rows - y) };
            let bytes = plane.pixels.read().unwrap();
            let found = level_texels(&plane, &bytes, level, window);
            let wanted: Vec<u8> = (y..y + window.height)
                .flat_map(|row| {
                    let start = (row * columns + x) as usize * texel;
                    all[start..start + window.width as usize * texel].to_vec()
                })
                .collect();
            prop_assert_eq!(found, wanted);
        }
    }
}
