//! Thumbnails and their colours, against the slow, plain way.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that unwraps says where it failed")]

use super::*;
use crate::colormap::by_name;

/// Values that look like noise and are the same in every run.
fn noise(count: usize) -> Vec<u32> {
    let mut state = 12345_u64;
    let mut next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as u32
    };
    (0..count).map(|_| next()).collect()
}

fn raster(element: ElementType, samples: u8, [height, width]: [u32; 2], bytes: &[u8]) -> Raster<'_> {
    Raster { width, height, samples, element, labels: false, bytes }
}

/// Numbers of the pixels under each pixel of a thumbnail, row by row.
fn blocks([height, width]: [u32; 2], factor: u32) -> Vec<Vec<usize>> {
    let mut blocks = Vec::new();
    for top in (0..height).step_by(factor as usize) {
        for left in (0..width).step_by(factor as usize) {
            let rows = top..(top + factor).min(height);
            let columns = left..(left + factor).min(width);
            blocks.push(rows.flat_map(|y| columns.clone().map(move |x| (y * width + x) as usize)).collect());
        }
    }
    blocks
}

macro_rules! means_agree {
    ($type:ty, $element:ident, $values:expr) => {{
        let shape = [203, 601];
        let values: Vec<$type> = $values(203 * 601);
        let bytes: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        let small = thumbnail_of(raster(ElementType::$element, 1, shape, &bytes)).unwrap();
        assert_eq!((small.width, small.height, small.samples), (121, 41, 1));
        assert_eq!(small.element, ElementType::$element);
        let expected: Vec<u8> = blocks(shape, 5)
            .iter()
            .flat_map(|block| {
                let sum: f64 = block.iter().map(|pixel| f64::from(values[*pixel])).sum();
                let mean = sum / block.len() as f64;
                let is_integer = !matches!(ElementType::$element, ElementType::F32);
                (if is_integer { (mean + 0.5).floor() } else { mean } as $type).to_le_bytes()
            })
            .collect();
        assert_eq!(*small.bytes, *expected, "{}", stringify!($type));
    }};
}

#[test]
fn intensities_are_averaged_over_what_a_pixel_covers() {
    means_agree!(u8, U8, |count| noise(count).into_iter().map(|value| value as u8).collect());
    means_agree!(i8, I8, |count| noise(count).into_iter().map(|value| value as i8).collect());
    means_agree!(u16, U16, |count| noise(count).into_iter().map(|value| value as u16).collect());
    means_agree!(i16, I16, |count| noise(count).into_iter().map(|value| value as i16).collect());
    means_agree!(f32, F32, |count| noise(count).into_iter().map(|value| (value % 1000) as f32 / 8.0).collect());
}

#[test]
fn values_that_are_not_finite_do_not_spoil_a_mean() {
    let mut values = vec![2.0_f32; 256 * 256];
    values[0] = f32::NAN;
    values[1] = f32::INFINITY;
    // All of the second pixel of the thumbnail.
    for row in 0..4 {
        values[row * 256 + 4..row * 256 + 8].fill(f32::NAN);
    }
    let bytes: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
    let small = thumbnail_of(raster(ElementType::F32, 1, [256, 256], &bytes)).unwrap();
    let found: Vec<f32> = small.bytes.as_chunks().0.iter().map(|quad| f32::from_le_bytes(*quad)).collect();
    assert_eq!((small.width, found[0], found[2]), (64, 2.0, 2.0));
    assert!(found[1].is_nan());
}

#[test]
fn labels_and_masks_are_never_mixed() {
    let shape = [130, 260];
    let labels: Vec<u32> = noise(130 * 260).into_iter().map(|value| value % 7 * 1_000_003).collect();
    let bytes: Vec<u8> = labels.iter().flat_map(|label| label.to_le_bytes()).collect();
    let small = thumbnail_of(raster(ElementType::U32, 1, shape, &bytes)).unwrap();
    let found: Vec<u32> = small.bytes.as_chunks().0.iter().map(|quad| u32::from_le_bytes(*quad)).collect();
    let blocks = blocks(shape, 4);
    assert_eq!(found.len(), blocks.len());
    assert!(found.iter().zip(&blocks).all(|(label, block)| block.iter().any(|pixel| labels[*pixel] == *label)));
    // The middle of a whole block of 4 x 4.
    assert_eq!(found[0], labels[2 * 260 + 2]);

    let mask: Vec<u8> = labels.iter().map(|label| u8::from(*label == 0)).collect();
    let small = thumbnail_of(raster(ElementType::Bool, 1, shape, &mask)).unwrap();
    assert!(small.bytes.iter().all(|byte| *byte <= 1));
}

#[test]
fn colour_becomes_eight_bit_rgba() {
    let rgb = [10_u16, 20_000, 65_535].map(u16::to_le_bytes).concat().repeat(200 * 100);
    let small = thumbnail_of(raster(ElementType::U16, 3, [100, 200], &rgb)).unwrap();
    assert_eq!((small.width, small.height, small.samples, small.element), (50, 25, 4, ElementType::U8));
    assert!(small.bytes.chunks_exact(4).all(|pixel| pixel == [0, 78, 255, 255]), "{:?}", &small.bytes[..4]);
    let rgba = [1_u8, 3, 5, 128].repeat(200 * 100);
    let small = thumbnail_of(raster(ElementType::U8, 4, [100, 200], &rgba)).unwrap();
    assert_eq!(small.bytes[..4], [1, 3, 5, 128]);
}

#[test]
fn thumbnails_are_small_and_only_of_what_is_not() {
    let thumbnail = |shape: [u32; 2]| {
        let bytes = vec![0; (shape[0] * shape[1]) as usize];
        let small = thumbnail_of(raster(ElementType::U8, 1, shape, &bytes))?;
        assert!(small.bytes.len() * 10 <= bytes.len(), "{shape:?}: {} bytes", small.bytes.len());
        Some([small.height, small.width])
    };
    assert_eq!(thumbnail([128, 128]), None);
    assert_eq!(thumbnail([129, 129]), Some([33, 33]));
    assert_eq!(thumbnail([512, 512]), Some([128, 128]));
    assert_eq!(thumbnail([513, 256]), Some([103, 52]));
    assert_eq!(thumbnail([1000, 5000]), Some([25, 125]));
}

#[test]
fn bytes_that_do_not_fit_have_no_picture() {
    let broken = raster(ElementType::U16, 1, [300, 300], &[0; 7]);
    assert_eq!(thumbnail_of(broken), None);
    let viridis = by_name("viridis").unwrap().table;
    assert_eq!(
        rgba_of(broken, Look { contrast_limits: [0.0, 1.0], gamma: 1.0, colours: &viridis, label_colours: false }),
        None
    );
}

#[test]
fn colours_are_those_of_the_canvas() {
    // Every entry of this one is a colour of its own.
    let gray = by_name("gray").unwrap().table;
    let values = [-1.0_f32, 0.0, 0.5, 0.51, 1.0, 7.0, f32::INFINITY, f32::NEG_INFINITY, f32::NAN];
    let bytes: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
    let picture = raster(ElementType::F32, 1, [1, 9], &bytes);
    let entries = |gamma: f32| {
        let rgba = rgba_of(picture, Look { contrast_limits: [0.0, 1.0], gamma, colours: &gray, label_colours: false })
            .unwrap();
        let of = |pixel: &[u8]| gray.iter().position(|colour| colour[..3] == pixel[..3]).unwrap();
        assert!(rgba.chunks_exact(4).take(8).all(|pixel| pixel[3] == 255));
        assert_eq!(rgba[8 * 4 + 3], 0, "NaN is not drawn");
        rgba.chunks_exact(4).take(8).map(of).collect::<Vec<_>>()
    };
    assert_eq!(entries(1.0), [0, 0, 128, 130, 255, 255, 255, 0]);
    // 0.5 squared is a quarter: 64.25.
    assert_eq!(entries(2.0)[2], 64);
}

#[test]
fn colour_images_are_shown_as_they_are() {
    let gray = by_name("gray").unwrap().table;
    let look = Look { contrast_limits: [3.0, 4.0], gamma: 1.0, colours: &gray, label_colours: false };
    let rgb = rgba_of(raster(ElementType::U8, 3, [1, 2], &[1, 2, 3, 250, 251, 252]), look).unwrap();
    assert_eq!(rgb, [1, 2, 3, 255, 250, 251, 252, 255]);
    let float: Vec<u8> = [0.0_f32, 0.5, 1.0, 0.25].iter().flat_map(|value| value.to_le_bytes()).collect();
    assert_eq!(rgba_of(raster(ElementType::F32, 4, [1, 1], &float), look).unwrap(), [0, 128, 255, 64]);
}

#[test]
fn label_ids_have_their_own_colours_and_nothing_is_between_them() {
    let ids: Vec<u8> = noise(130 * 260).into_iter().map(|value| (value % 5 * 50) as u8).collect();
    let plane = Raster { labels: true, ..raster(ElementType::U8, 1, [130, 260], &ids) };
    let small = thumbnail_of(plane).unwrap();
    assert!(small.labels && small.bytes.iter().all(|id| id % 50 == 0));
    let gray = by_name("gray").unwrap().table;
    let look = Look { contrast_limits: [0.0, 1.0], gamma: 1.0, colours: &gray, label_colours: true };
    let bytes = [[0; 8], 100_000_i64.to_le_bytes()].concat();
    let picture = Raster { labels: true, ..raster(ElementType::I64, 1, [1, 2], &bytes) };
    assert_eq!(rgba_of(picture, look).unwrap(), [0, 0, 0, 0, 56, 255, 134, 255]);
}
