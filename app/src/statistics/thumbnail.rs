//! Small pictures of planes in their own values, so that contrast limits and colormap can be applied whenever they are shown.
//!
//! [`thumbnail_of`] makes one where a plane is measured; [`rgba_of`] colours it, or a plane that is small itself, as the
//! canvas would.

use half::f16;
use wellscope_protocol::dtype::ElementType;
use wellscope_shaders::contrast::normalized_from_intensity;

use crate::colormap::{ColormapTable, label_colour, label_id};

/// Most pixels of a thumbnail along either side.
pub const THUMBNAIL_SIDE: u32 = 128;

/// A thumbnail is at least this many times smaller than its plane along each side, so that thumbnails of many small planes
/// stay below a tenth of what these take.
const LEAST_FACTOR: u32 = 4;

/// The values of a plane or a thumbnail.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Raster<'a> {
    /// Pixels along x.
    pub width: u32,
    /// Pixels along y.
    pub height: u32,
    /// Values per pixel: 1, 3 (RGB) or 4 (RGBA).
    pub samples: u8,
    /// What one value is.
    pub element: ElementType,
    /// Values are ids of objects, which must not be mixed.
    pub labels: bool,
    /// Little-endian, C order, `height x width x samples` values.
    pub bytes: &'a [u8],
}

impl Raster<'_> {
    /// Whether the bytes are what the shape says.
    fn is_whole(&self) -> bool {
        let values = u64::from(self.width) * u64::from(self.height) * u64::from(self.samples);
        values > 0
            && matches!(self.samples, 1 | 3 | 4)
            && values.checked_mul(self.element.size_bytes() as u64) == Some(self.bytes.len() as u64)
    }

    /// Whether it is so small that it is its own thumbnail.
    pub fn is_small(&self) -> bool {
        self.width.max(self.height) <= THUMBNAIL_SIDE
    }
}

/// A plane made smaller by a whole factor.
#[derive(Clone, PartialEq, Debug)]
pub struct Thumbnail {
    /// Pixels along x, at most [`THUMBNAIL_SIDE`].
    pub width: u32,
    /// Pixels along y, at most [`THUMBNAIL_SIDE`].
    pub height: u32,
    /// 1, or 4 for colour, which is RGBA of 8 bits whatever the plane has.
    pub samples: u8,
    /// Type of the values: the plane's; `U8` for colour.
    pub element: ElementType,
    /// As in [`Raster`].
    pub labels: bool,
    /// As in [`Raster`].
    pub bytes: Box<[u8]>,
}

impl Thumbnail {
    /// Its values.
    pub fn raster(&self) -> Raster<'_> {
        Raster {
            width: self.width,
            height: self.height,
            samples: self.samples,
            element: self.element,
            labels: self.labels,
            bytes: &self.bytes,
        }
    }
}

/// Makes a plane small. `None` for a plane that is small already, and for one whose bytes do not fit its shape.
///
/// A pixel is the mean of the values that it covers, without those that are not finite; for bool and for integers of 32 and
/// 64 bits, which are masks and labels, the value in the middle: a mean of two labels is a third one.
pub fn thumbnail_of(plane: Raster<'_>) -> Option<Thumbnail> {
    use ElementType::*;
    if !plane.is_whole() || plane.is_small() {
        return None;
    }
    let factor = plane.width.max(plane.height).div_ceil(THUMBNAIL_SIDE).max(LEAST_FACTOR);
    let is_colour = plane.samples > 1;
    let bytes = match plane.element {
        _ if is_colour => colour_means(plane, factor),
        _ if plane.labels => middles(plane, factor),
        U8 => means::<1, i64>(plane, factor, |[byte]| i64::from(byte), |mean| [mean as u8]),
        I8 => means::<1, i64>(plane, factor, |[byte]| i64::from(byte as i8), |mean| [mean as u8]),
        U16 => means::<2, i64>(
            plane,
            factor,
            |pair| i64::from(u16::from_le_bytes(pair)),
            |mean| (mean as u16).to_le_bytes(),
        ),
        I16 => means::<2, i64>(
            plane,
            factor,
            |pair| i64::from(i16::from_le_bytes(pair)),
            |mean| (mean as i16).to_le_bytes(),
        ),
        F16 => means::<2, f64>(
            plane,
            factor,
            |pair| f16::from_le_bytes(pair).to_f64(),
            |mean| f16::from_f64(mean).to_le_bytes(),
        ),
        F32 => means::<4, f64>(
            plane,
            factor,
            |quad| f64::from(f32::from_le_bytes(quad)),
            |mean| (mean as f32).to_le_bytes(),
        ),
        F64 => means::<8, f64>(plane, factor, f64::from_le_bytes, f64::to_le_bytes),
        Bool | I32 | U32 | I64 | U64 => middles(plane, factor),
    };
    Some(Thumbnail {
        width: plane.width.div_ceil(factor),
        height: plane.height.div_ceil(factor),
        samples: if is_colour { 4 } else { 1 },
        element: if is_colour { U8 } else { plane.element },
        labels: plane.labels,
        bytes: bytes.into(),
    })
}

/// A sum of the values of one block.
trait Sum: Copy {
    type Total: Copy + Default;
    fn add(total: &mut Self::Total, value: Self);
    fn mean(total: Self::Total, pixels: u64) -> Self;
}

/// Whole numbers, rounded to the nearest.
impl Sum for i64 {
    type Total = i64;
    #[inline]
    fn add(total: &mut i64, value: i64) {
        *total += value;
    }
    fn mean(total: i64, pixels: u64) -> i64 {
        // At most 2^64 pixels of 16 bits would overflow; none has so many.
        let pixels = pixels as i64;
        (total + pixels / 2).div_euclid(pixels)
    }
}

#[derive(Clone, Copy, Default)]
struct FiniteSum {
    sum: f64,
    count: u64,
    /// NaN or an infinity, for blocks without anything else.
    other: f64,
}

impl Sum for f64 {
    type Total = FiniteSum;
    #[inline]
    fn add(total: &mut FiniteSum, value: f64) {
        if value.is_finite() {
            total.sum += value;
            total.count += 1;
        } else {
            total.other = value;
        }
    }
    fn mean(total: FiniteSum, _: u64) -> f64 {
        if total.count > 0 { total.sum / total.count as f64 } else { total.other }
    }
}

/// Means of the blocks of a plane with one value of `N` bytes per pixel.
fn means<const N: usize, S: Sum>(
    plane: Raster<'_>,
    factor: u32,
    read: impl Fn([u8; N]) -> S,
    write: impl Fn(S) -> [u8; N],
) -> Vec<u8> {
    let [width, columns, factor] = [plane.width, plane.width.div_ceil(factor), factor].map(|length| length as usize);
    let values = plane.bytes.as_chunks::<N>().0;
    let mut totals = vec![S::Total::default(); columns];
    let mut bytes = Vec::with_capacity(columns * (plane.height as usize).div_ceil(factor) * N);
    for band in values.chunks(width * factor) {
        totals.fill(S::Total::default());
        for row in band.chunks_exact(width) {
            for (total, block) in totals.iter_mut().zip(row.chunks(factor)) {
                let mut sum = *total;
                block.iter().for_each(|value| S::add(&mut sum, read(*value)));
                *total = sum;
            }
        }
        let rows = band.len() / width;
        for (column, total) in totals.iter().enumerate() {
            let pixels = rows * factor.min(width - column * factor);
            bytes.extend(write(S::mean(*total, pixels as u64)));
        }
    }
    bytes
}

/// Means of each colour as 8-bit RGBA.
fn colour_means(plane: Raster<'_>, factor: u32) -> Vec<u8> {
    let [width, columns, factor] = [plane.width, plane.width.div_ceil(factor), factor].map(|length| length as usize);
    let (samples, size) = (usize::from(plane.samples), plane.element.size_bytes());
    let mut totals = vec![[FiniteSum::default(); 4]; columns];
    let mut bytes = Vec::with_capacity(columns * (plane.height as usize).div_ceil(factor) * 4);
    for band in plane.bytes.chunks(width * factor * samples * size) {
        totals.fill(Default::default());
        for row in band.chunks_exact(width * samples * size) {
            for (total, block) in totals.iter_mut().zip(row.chunks(factor * samples * size)) {
                for pixel in block.chunks_exact(samples * size) {
                    for (sum, value) in total.iter_mut().zip(pixel.chunks_exact(size)) {
                        f64::add(sum, value_of(plane.element, value));
                    }
                }
            }
        }
        for total in &totals {
            let mut pixel = [255; 4];
            for (byte, sum) in pixel.iter_mut().zip(&total[..samples]) {
                *byte = eight_bit(plane.element, f64::mean(*sum, 0));
            }
            bytes.extend(pixel);
        }
    }
    bytes
}

/// The values in the middle of each block.
fn middles(plane: Raster<'_>, factor: u32) -> Vec<u8> {
    let size = plane.element.size_bytes();
    let centres = |length: u32| {
        (0..length).step_by(factor as usize).map(move |start| (start + factor.min(length - start) / 2) as usize)
    };
    let row_bytes = plane.width as usize * size;
    let mut bytes = Vec::new();
    for row in centres(plane.height) {
        let row = &plane.bytes[row * row_bytes..(row + 1) * row_bytes];
        centres(plane.width).for_each(|column| bytes.extend(&row[column * size..(column + 1) * size]));
    }
    bytes
}

/// How values become colours.
#[derive(Clone, Copy, Debug)]
pub struct Look<'a> {
    /// Intensities drawn as the first and the last colour. Not used for RGB.
    pub contrast_limits: [f64; 2],
    /// Exponent after contrast; 1 is linear.
    pub gamma: f32,
    /// The colormap.
    pub colours: &'a ColormapTable,
    /// Values are drawn in the colours of label ids instead, 0 not at all.
    pub label_colours: bool,
}

/// The picture as the canvas shows it: RGBA of 8 bits, not premultiplied, rows from the top. NaN is transparent. `None` when
/// the bytes do not fit the shape.
pub fn rgba_of(picture: Raster<'_>, look: Look<'_>) -> Option<Vec<u8>> {
    if !picture.is_whole() {
        return None;
    }
    let size = picture.element.size_bytes();
    let limits = look.contrast_limits.map(|limit| limit as f32);
    let levelled = |intensity: f32, limits: [f32; 2]| {
        let normalized = normalized_from_intensity(intensity, limits);
        if look.gamma == 1.0 { normalized } else { normalized.powf(look.gamma) }
    };
    let byte = |normalized: f32| (normalized * 255.0 + 0.5).clamp(0.0, 255.0) as u8;
    let pixels = picture.bytes.chunks_exact(size * usize::from(picture.samples));
    let coloured = pixels.flat_map(|pixel| {
        if picture.samples == 1 && look.label_colours {
            let id = label_id(pixel);
            let [red, green, blue] = label_colour(id);
            return if id == 0 { [0; 4] } else { [red, green, blue, 255] };
        }
        if picture.samples == 1 {
            let value = value_of(picture.element, pixel);
            let entry = if value.is_nan() { 0 } else { byte(levelled(value as f32, limits)) };
            let [red, green, blue, _] = look.colours[usize::from(entry)];
            return [red, green, blue, if value.is_nan() { 0 } else { 255 }];
        }
        let mut colour = [255; 4];
        for (place, value) in pixel.chunks_exact(size).enumerate() {
            let level = eight_bit(picture.element, value_of(picture.element, value));
            colour[place] = if place < 3 { byte(levelled(f32::from(level), [0.0, 255.0])) } else { level };
        }
        colour
    });
    Some(coloured.collect())
}

/// One little-endian value as a number; any byte of a bool but 0 is 1, as in numpy.
fn value_of(element: ElementType, bytes: &[u8]) -> f64 {
    macro_rules! read {
        ($number:ty) => {
            <$number>::from_le_bytes(bytes.try_into().unwrap_or_default())
        };
    }
    match element {
        ElementType::Bool => f64::from(u8::from(bytes.iter().any(|byte| *byte != 0))),
        ElementType::U8 => f64::from(read!(u8)),
        ElementType::I8 => f64::from(read!(i8)),
        ElementType::U16 => f64::from(read!(u16)),
        ElementType::I16 => f64::from(read!(i16)),
        ElementType::U32 => f64::from(read!(u32)),
        ElementType::I32 => f64::from(read!(i32)),
        ElementType::U64 => read!(u64) as f64,
        ElementType::I64 => read!(i64) as f64,
        ElementType::F16 => f16::from_bits(read!(u16)).to_f64(),
        ElementType::F32 => f64::from(read!(f32)),
        ElementType::F64 => read!(f64),
    }
}

/// A colour's value as 8 bits, as the canvas packs it: unsigned integers by their high byte, signed ones and floats from 0 to
/// the type's white.
fn eight_bit(element: ElementType, value: f64) -> u8 {
    let high_byte = |bits: i32| (value / f64::from(bits - 8).exp2()).floor() as u8;
    let of_white = |white: f64| (value / white * 255.0).round() as u8;
    match element {
        ElementType::Bool => of_white(1.0),
        ElementType::U8 => value.round() as u8,
        ElementType::U16 => high_byte(16),
        ElementType::U32 => high_byte(32),
        ElementType::U64 => high_byte(64),
        ElementType::I8 => of_white(f64::from(i8::MAX)),
        ElementType::I16 => of_white(f64::from(i16::MAX)),
        ElementType::I32 => of_white(f64::from(i32::MAX)),
        ElementType::I64 => of_white(i64::MAX as f64),
        ElementType::F16 | ElementType::F32 | ElementType::F64 => of_white(1.0),
    }
}
