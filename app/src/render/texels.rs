//! Planes as texels: which texture format holds them, and how one pixel lies in it.

use half::f16;
use wellscope_protocol::dtype::ElementType;
use wellscope_shaders::Decode;

use crate::colormap::label_id;
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
    let is_whole = samples.checked_mul(plane.element.size_bytes() as u64) == Some(plane.pixels.len() as u64);
    samples == 0 || !is_whole || !matches!(plane.samples, 1 | 3 | 4)
}

/// The format of a texture layer of `size` (columns, rows) for tiles of a plane.
pub fn format_of(plane: &PlaneSource, [width, height]: [u32; 2]) -> TexelFormat {
    let bytes_per_texel = match (plane.samples, plane.element.size_bytes()) {
        (1, 1) => 1,
        (1, 2) => 2,
        _ => 4,
    };
    TexelFormat { width, height, bytes_per_texel }
}

/// Whether a plane's bytes are texels as they are.
pub fn is_native(plane: &PlaneSource) -> bool {
    plane.samples == 1 && plane.element.size_bytes() <= 4
}

/// How the shader reads a plane's texels.
pub fn decode_of(plane: &PlaneSource) -> Decode {
    match plane.element {
        ElementType::Bool | ElementType::U8 | ElementType::U16 | ElementType::U32 => Decode::U32,
        ElementType::I8 => Decode::I8,
        ElementType::I16 => Decode::I16,
        ElementType::I32 => Decode::I32,
        ElementType::F16 => Decode::F16,
        ElementType::I64 | ElementType::U64 if plane.labels => Decode::U32,
        // 64-bit types are narrowed for display; the host copy stays exact.
        ElementType::F32 | ElementType::F64 | ElementType::I64 | ElementType::U64 => Decode::F32,
    }
}

/// A 64-bit value as the 32 bits that are drawn: a float, or the id of a label.
pub(super) fn narrowed(element: ElementType, labels: bool, bytes: &[u8]) -> [u8; 4] {
    if labels {
        return label_id(bytes).to_le_bytes();
    }
    let Ok(bytes) = <[u8; 8]>::try_from(bytes) else { return [0; 4] };
    let value = match element {
        ElementType::I64 => i64::from_le_bytes(bytes) as f32,
        ElementType::U64 => u64::from_le_bytes(bytes) as f32,
        _ => f64::from_le_bytes(bytes) as f32,
    };
    value.to_le_bytes()
}

/// One colour pixel as 8-bit RGBA: integers by their type's range, floats from 0..1, as napari shows them.
pub(super) fn packed(element: ElementType, samples: u8, bytes: &[u8]) -> [u8; 4] {
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

    #[test]
    fn planes_of_up_to_32_bits_are_texels_as_they_are() {
        for (element, bytes_per_texel) in [(ElementType::Bool, 1), (ElementType::U16, 2), (ElementType::F32, 4)] {
            let source = plane(element, 1, 2, 1, vec![0; 2 * element.size_bytes()]);
            assert!(is_native(&source) && !is_broken(&source));
            assert_eq!(format_of(&source, [2, 1]), TexelFormat { width: 2, height: 1, bytes_per_texel });
        }
        assert!(!is_native(&plane(ElementType::U8, 3, 1, 1, vec![0; 3])));
        assert!(!is_native(&plane(ElementType::F64, 1, 1, 1, vec![0; 8])));
    }

    #[test]
    fn wide_types_are_narrowed_to_floats() {
        assert_eq!(narrowed(ElementType::I64, false, &(-7_i64).to_le_bytes()), (-7.0_f32).to_le_bytes());
        let wide = plane(ElementType::I64, 1, 1, 1, vec![0; 8]);
        assert_eq!(decode_of(&wide), Decode::F32);
        // A float could not tell large ids apart.
        let id = 16_777_217_u64.to_le_bytes();
        assert_eq!(narrowed(ElementType::U64, true, &id), id[..4]);
        assert_eq!(decode_of(&PlaneSource { labels: true, ..wide }), Decode::U32);
    }

    #[test]
    fn colour_is_packed_into_eight_bits() {
        assert_eq!(packed(ElementType::U8, 3, &[1, 2, 3]), [1, 2, 3, 255]);
        let wide: Vec<u8> = [0_u16, 0x8000, 0xffff, 0x7fff].iter().flat_map(|v| v.to_le_bytes()).collect();
        assert_eq!(packed(ElementType::U16, 4, &wide), [0, 0x80, 0xff, 0x7f]);
        let float: Vec<u8> = [0.0_f32, 0.5, 7.0].iter().flat_map(|v| v.to_le_bytes()).collect();
        assert_eq!(packed(ElementType::F32, 3, &float), [0, 128, 255, 255]);
    }

    #[test]
    fn bytes_that_do_not_fit_their_shape_are_found_out() {
        for broken in [
            plane(ElementType::U16, 1, 2, 2, vec![0; 7]),
            plane(ElementType::U8, 1, 2, 2, vec![0; 5]),
            plane(ElementType::U8, 2, 2, 2, vec![0; 8]),
            plane(ElementType::U8, 1, 0, 2, vec![]),
        ] {
            assert!(is_broken(&broken));
        }
        assert!(!is_broken(&plane(ElementType::U8, 3, 2, 1, vec![0; 6])));
    }
}
