//! The values under the cursor, read from host memory: exact for every element type, whatever the GPU rounds.

use half::f16;
use wellscope_protocol::dtype::ElementType;
use wellscope_protocol::route::RouteKind;

use crate::render::scene::{PlanePixels, PlaneSource};
use crate::viewer::Viewer;
use crate::viewer::layer::Plane;

/// What is under the cursor.
#[derive(Default)]
pub struct Probe {
    /// Line for the status bar.
    pub text: String,
    /// Pixels that are on disk only; the text has an ellipsis for them until they are back.
    pub on_disk: Vec<PlanePixels>,
}

/// What the status bar says of a data position, e.g. `y 123, x 456: 1023 (1. Gaussian Blur) | 17 (3. Segment labels)`.
/// Visible image layers, bottom to top; layers that end before the position, or have no part in this place of the sliders,
/// are left out. Never waits for the disk.
pub fn probe(viewer: &Viewer, data_yx: [f64; 2]) -> Probe {
    let [y, x] = data_yx.map(nearest);
    let mut on_disk = Vec::new();
    let shown = viewer.layers.values().filter(|layer| layer.visible && layer.kind == RouteKind::Image);
    let values: Vec<String> = shown
        .filter_map(|layer| {
            let value = match layer.plane_at(&viewer.axes) {
                Some(plane) => {
                    let pixel = pixel_at(plane, data_yx)?;
                    match plane.source.pixels.in_memory() {
                        Some(bytes) => pixel_text(&plane.source, &bytes, pixel)?,
                        None => {
                            on_disk.push(plane.source.pixels.clone());
                            "\u{2026}".to_owned()
                        }
                    }
                }
                None if layer.covers_sliders(&viewer.axes) => "not received yet".to_owned(),
                None => return None,
            };
            Some(format!("{value} ({})", layer.title))
        })
        .collect();
    let text =
        if values.is_empty() { format!("y {y}, x {x}") } else { format!("y {y}, x {x}: {}", values.join(" | ")) };
    Probe { text, on_disk }
}

/// Row and column of the pixel of a plane that covers a data position; pixel centres are integers from the origin on.
pub fn pixel_at(plane: &Plane, data_yx: [f64; 2]) -> Option<[u32; 2]> {
    let sides = [plane.source.height, plane.source.width];
    let mut pixel = [0; 2];
    for axis in 0..2 {
        let place = nearest(data_yx[axis] - plane.origin_yx[axis]);
        pixel[axis] = u32::try_from(place).ok().filter(|place| *place < sides[axis])?;
    }
    Some(pixel)
}

/// The pixel whose area, half a pixel around its centre, holds a coordinate.
fn nearest(coordinate: f64) -> i64 {
    (coordinate + 0.5).floor() as i64
}

/// Value of one pixel of a plane with these bytes, all digits; `(red, green, blue)` for colour. `None` outside of the plane.
pub fn pixel_text(plane: &PlaneSource, bytes: &[u8], [row, column]: [u32; 2]) -> Option<String> {
    if row >= plane.height || column >= plane.width {
        return None;
    }
    let samples = usize::from(plane.samples.max(1));
    let pixel = row as usize * plane.width as usize + column as usize;
    let size = plane.element.size_bytes();
    let texts: Vec<String> = (0..samples)
        .map(|sample| {
            let start = (pixel * samples + sample) * size;
            bytes.get(start..start + size).map(|bytes| element_text(plane.element, bytes))
        })
        .collect::<Option<_>>()?;
    Some(if samples == 1 { texts.concat() } else { format!("({})", texts.join(", ")) })
}

/// One little-endian element as text that reads back to the same value.
fn element_text(element: ElementType, bytes: &[u8]) -> String {
    macro_rules! read {
        ($number:ty) => {
            <$number>::from_le_bytes(bytes.try_into().unwrap_or_default())
        };
    }
    match element {
        // Any byte but 0 is true, as in numpy.
        ElementType::Bool => if bytes.iter().any(|byte| *byte != 0) { "true" } else { "false" }.to_owned(),
        ElementType::U8 => read!(u8).to_string(),
        ElementType::I8 => read!(i8).to_string(),
        ElementType::U16 => read!(u16).to_string(),
        ElementType::I16 => read!(i16).to_string(),
        ElementType::U32 => read!(u32).to_string(),
        ElementType::I32 => read!(i32).to_string(),
        ElementType::U64 => read!(u64).to_string(),
        ElementType::I64 => read!(i64).to_string(),
        ElementType::F16 => format!("{:?}", read!(f16).to_f32()),
        ElementType::F32 => format!("{:?}", read!(f32)),
        ElementType::F64 => format!("{:?}", read!(f64)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::render::scene::PlaneId;

    fn text_of(plane: &PlaneSource, pixel: [u32; 2]) -> Option<String> {
        pixel_text(plane, &plane.pixels.read().unwrap(), pixel)
    }

    fn plane(element: ElementType, samples: u8, width: u32, bytes: Vec<u8>) -> PlaneSource {
        let length = bytes.len();
        let height = (length / element.size_bytes() / usize::from(samples)) as u32 / width;
        let pixels = PlanePixels::from_vec(bytes);
        PlaneSource { id: PlaneId(1), width, height, samples, element, pixels, labels: false, timing: None }
    }

    #[test]
    fn every_element_type_reads_without_loss() {
        let cases: [(ElementType, Vec<u8>, &str); 14] = [
            (ElementType::Bool, vec![1], "true"),
            (ElementType::Bool, vec![0], "false"),
            (ElementType::U8, vec![255], "255"),
            (ElementType::I8, vec![0x80], "-128"),
            (ElementType::U16, 65535_u16.to_le_bytes().to_vec(), "65535"),
            (ElementType::I16, (-2_i16).to_le_bytes().to_vec(), "-2"),
            (ElementType::U32, u32::MAX.to_le_bytes().to_vec(), "4294967295"),
            (ElementType::I32, i32::MIN.to_le_bytes().to_vec(), "-2147483648"),
            (ElementType::U64, u64::MAX.to_le_bytes().to_vec(), "18446744073709551615"),
            (ElementType::I64, (i64::MIN + 1).to_le_bytes().to_vec(), "-9223372036854775807"),
            (ElementType::F16, f16::from_f32(0.5).to_le_bytes().to_vec(), "0.5"),
            (ElementType::F32, 0.1_f32.to_le_bytes().to_vec(), "0.1"),
            (ElementType::F64, 1e-20_f64.to_le_bytes().to_vec(), "1e-20"),
            (ElementType::F64, f64::NAN.to_le_bytes().to_vec(), "NaN"),
        ];
        for (element, bytes, text) in cases {
            assert_eq!(text_of(&plane(element, 1, 1, bytes), [0, 0]).as_deref(), Some(text), "{element}");
        }
    }

    #[test]
    fn rows_columns_and_colours_are_told_apart() {
        let grey = plane(ElementType::U8, 1, 3, (0..6).collect());
        assert_eq!(text_of(&grey, [1, 2]).as_deref(), Some("5"));
        assert_eq!(text_of(&grey, [0, 1]).as_deref(), Some("1"));
        assert_eq!(text_of(&grey, [2, 0]), None);
        assert_eq!(text_of(&grey, [0, 3]), None);
        let colour = plane(ElementType::U8, 3, 2, (0..12).collect());
        assert_eq!(text_of(&colour, [1, 0]).as_deref(), Some("(6, 7, 8)"));
    }

    #[test]
    fn a_pixel_reaches_half_a_pixel_around_its_centre() {
        assert_eq!([-0.5, 0.49, 0.5, -0.51].map(nearest), [0, 0, 1, -1]);
    }
}
