//! Planes as texels: which texture format holds them, and their bytes in it.

use std::borrow::Cow;

use half::f16;
use wellscope_protocol::dtype::ElementType;
use wellscope_shaders::Decode;

use crate::render::scene::PlaneSource;

/// How a plane lies in a texture array. Planes of equal format share pages.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct TexelFormat {
    /// Texels along x.
    pub width: u32,
    /// Texels along y.
    pub height: u32,
    /// 1 (R8Uint), 2 (R16Uint) or 4 (R32Uint).
    pub bytes_per_texel: u32,
}

impl TexelFormat {
    /// Bytes of one layer.
    pub fn layer_bytes(self) -> u64 {
        u64::from(self.width) * u64::from(self.height) * u64::from(self.bytes_per_texel)
    }
}

/// Whether a plane's bytes cannot be what it says it is. It is drawn magenta, so that the fault is seen and not guessed.
pub fn is_broken(plane: &PlaneSource) -> bool {
    let samples = u64::from(plane.width) * u64::from(plane.height) * u64::from(plane.samples);
    let is_whole = samples.checked_mul(plane.element.size_bytes() as u64) == Some(plane.pixels.as_bytes().len() as u64);
    samples == 0 || !is_whole || !matches!(plane.samples, 1 | 3 | 4)
}

/// Every how many pixels a plane is read so that it fits a texture: 1 unless it is wider or higher than `max_side`.
pub fn stride_of(plane: &PlaneSource, max_side: u32) -> u32 {
    plane.width.max(plane.height).div_ceil(max_side.max(1)).max(1)
}

/// The format of a plane read every `stride` pixels.
pub fn format_of(plane: &PlaneSource, stride: u32) -> TexelFormat {
    if is_broken(plane) {
        return TexelFormat { width: 1, height: 1, bytes_per_texel: 4 };
    }
    let bytes_per_texel = match (plane.samples, plane.element.size_bytes()) {
        (1, 1) => 1,
        (1, 2) => 2,
        _ => 4,
    };
    TexelFormat { width: plane.width.div_ceil(stride), height: plane.height.div_ceil(stride), bytes_per_texel }
}

/// How the shader reads a plane's texels.
pub fn decode_of(plane: &PlaneSource) -> Decode {
    match plane.element {
        ElementType::Bool | ElementType::U8 | ElementType::U16 | ElementType::U32 => Decode::U32,
        ElementType::I8 => Decode::I8,
        ElementType::I16 => Decode::I16,
        ElementType::I32 => Decode::I32,
        ElementType::F16 => Decode::F16,
        // 64-bit types are narrowed for display; the host copy stays exact.
        ElementType::F32 | ElementType::F64 | ElementType::I64 | ElementType::U64 => Decode::F32,
    }
}

/// A plane's texels, rows from the top, without copying when its bytes are texels already.
pub fn texels_of(plane: &PlaneSource, stride: u32) -> Cow<'_, [u8]> {
    if is_broken(plane) {
        return Cow::Borrowed(&[255, 0, 255, 255]);
    }
    let bytes = plane.pixels.as_bytes();
    let is_wide = plane.element.size_bytes() == 8;
    match (plane.samples, stride) {
        (1, 1) if !is_wide => Cow::Borrowed(bytes),
        (1, _) if !is_wide => Cow::Owned(decimated(plane, bytes, stride)),
        (1, _) => Cow::Owned(pixels(plane, stride).flat_map(|pixel| narrowed(plane.element, pixel)).collect()),
        (samples, _) => {
            Cow::Owned(pixels(plane, stride).flat_map(|pixel| packed(plane.element, samples, pixel)).collect())
        }
    }
}

/// Bytes of every `stride`th pixel of every `stride`th row.
fn pixels(plane: &PlaneSource, stride: u32) -> impl Iterator<Item = &[u8]> {
    let pixel_bytes = plane.element.size_bytes() * usize::from(plane.samples);
    let row_bytes = pixel_bytes * plane.width as usize;
    let stride = stride as usize;
    let rows = plane.pixels.as_bytes().chunks_exact(row_bytes).step_by(stride);
    rows.flat_map(move |row| row.chunks_exact(pixel_bytes).step_by(stride))
}

fn decimated(plane: &PlaneSource, bytes: &[u8], stride: u32) -> Vec<u8> {
    let mut kept = Vec::with_capacity(bytes.len() / (stride as usize).pow(2) + 1);
    for pixel in pixels(plane, stride) {
        kept.extend_from_slice(pixel);
    }
    kept
}

fn narrowed(element: ElementType, bytes: &[u8]) -> [u8; 4] {
    let Ok(bytes) = <[u8; 8]>::try_from(bytes) else { return [0; 4] };
    let value = match element {
        ElementType::I64 => i64::from_le_bytes(bytes) as f32,
        ElementType::U64 => u64::from_le_bytes(bytes) as f32,
        _ => f64::from_le_bytes(bytes) as f32,
    };
    value.to_le_bytes()
}

/// One colour pixel as 8-bit RGBA: integers by their type's range, floats from 0..1, as napari shows them.
fn packed(element: ElementType, samples: u8, bytes: &[u8]) -> [u8; 4] {
    let size = element.size_bytes();
    let sample =
        |index: usize| bytes.get(index * size..(index + 1) * size).map_or(255, |sample| eight_bit(element, sample));
    let alpha = if samples == 4 { sample(3) } else { 255 };
    [sample(0), sample(1), sample(2), alpha]
}

fn eight_bit(element: ElementType, bytes: &[u8]) -> u8 {
    let mut low = [0_u8; 8];
    low[..bytes.len()].copy_from_slice(bytes);
    let raw = u64::from_le_bytes(low);
    let unit = |value: f64| (value.clamp(0.0, 1.0) * 255.0).round() as u8;
    match element {
        ElementType::Bool => {
            if raw == 0 {
                0
            } else {
                255
            }
        }
        ElementType::U8 => raw as u8,
        ElementType::I8 => unit(f64::from(raw as u8 as i8) / f64::from(i8::MAX)),
        ElementType::U16 => (raw >> 8) as u8,
        ElementType::I16 => unit(f64::from(raw as u16 as i16) / f64::from(i16::MAX)),
        ElementType::U32 => (raw >> 24) as u8,
        ElementType::I32 => unit(f64::from(raw as u32 as i32) / f64::from(i32::MAX)),
        ElementType::U64 => (raw >> 56) as u8,
        ElementType::I64 => unit(raw as i64 as f64 / i64::MAX as f64),
        ElementType::F16 => unit(f16::from_bits(raw as u16).to_f64()),
        ElementType::F32 => unit(f64::from(f32::from_bits(raw as u32))),
        ElementType::F64 => unit(f64::from_bits(raw)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::render::scene::{PlaneId, PlanePixels};

    fn plane(element: ElementType, samples: u8, width: u32, height: u32, bytes: Vec<u8>) -> PlaneSource {
        let length = bytes.len();
        PlaneSource { id: PlaneId(1), width, height, samples, element, pixels: PlanePixels::new(bytes, 0..length) }
    }

    #[test]
    fn planes_of_up_to_32_bits_are_uploaded_without_a_copy() {
        let source = plane(ElementType::U16, 1, 2, 1, vec![1, 2, 3, 4]);
        assert!(matches!(texels_of(&source, 1), Cow::Borrowed([1, 2, 3, 4])));
        assert_eq!(format_of(&source, 1).bytes_per_texel, 2);
    }

    #[test]
    fn wide_types_are_narrowed_to_floats() {
        let source = plane(ElementType::I64, 1, 1, 1, (-7_i64).to_le_bytes().to_vec());
        assert_eq!(texels_of(&source, 1).as_ref(), (-7.0_f32).to_le_bytes());
        assert_eq!(decode_of(&source), Decode::F32);
    }

    #[test]
    fn colour_is_packed_into_eight_bits() {
        let rgb = plane(ElementType::U8, 3, 1, 1, vec![1, 2, 3]);
        assert_eq!(texels_of(&rgb, 1).as_ref(), [1, 2, 3, 255]);
        let wide = plane(
            ElementType::U16,
            4,
            1,
            1,
            [0_u16, 0x8000, 0xffff, 0x7fff].iter().flat_map(|v| v.to_le_bytes()).collect(),
        );
        assert_eq!(texels_of(&wide, 1).as_ref(), [0, 0x80, 0xff, 0x7f]);
        let float =
            plane(ElementType::F32, 3, 1, 1, [0.0_f32, 0.5, 7.0].iter().flat_map(|v| v.to_le_bytes()).collect());
        assert_eq!(texels_of(&float, 1).as_ref(), [0, 128, 255, 255]);
    }

    #[test]
    fn bytes_that_do_not_fit_their_shape_are_magenta() {
        for broken in [
            plane(ElementType::U16, 1, 2, 2, vec![0; 7]),
            plane(ElementType::U8, 1, 2, 2, vec![0; 5]),
            plane(ElementType::U8, 2, 2, 2, vec![0; 8]),
            plane(ElementType::U8, 1, 0, 2, vec![]),
        ] {
            assert!(is_broken(&broken));
            assert_eq!(format_of(&broken, 1).layer_bytes(), 4);
            assert_eq!(texels_of(&broken, 1).as_ref(), [255, 0, 255, 255]);
        }
        assert!(!is_broken(&plane(ElementType::U8, 3, 2, 1, vec![0; 6])));
    }

    #[test]
    fn a_plane_beyond_the_texture_limit_is_read_at_a_stride() {
        let source = plane(ElementType::U8, 1, 5, 3, (0..15).collect());
        assert_eq!(stride_of(&source, 16_384), 1);
        let stride = stride_of(&source, 3);
        assert_eq!(stride, 2);
        assert_eq!(format_of(&source, stride), TexelFormat { width: 3, height: 2, bytes_per_texel: 1 });
        assert_eq!(texels_of(&source, stride).as_ref(), [0, 2, 4, 10, 12, 14]);
    }
}
