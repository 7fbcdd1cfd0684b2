#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that unwraps says where it failed")]

use proptest::prelude::*;

use super::*;

/// The slow, plain way: everything as f64, sorted.
fn reference(values: &[f64]) -> (Option<[f64; 2]>, Option<[f64; 2]>) {
    let mut finite: Vec<f64> = values.iter().copied().filter(|value| value.is_finite()).collect();
    finite.sort_by(f64::total_cmp);
    let (Some(first), Some(last)) = (finite.first(), finite.last()) else { return (None, None) };
    let clipped = (finite.len() as f64 * 0.00175).floor() as usize;
    (Some([*first, *last]), Some([finite[clipped], finite[finite.len() - 1 - clipped]]))
}

fn check(element: ElementType, bytes: &[u8], values: &[f64]) -> Result<(), TestCaseError> {
    let found = plane_statistics(element, 1, bytes);
    let (range, limits) = reference(values);
    prop_assert_eq!(found.range.map(ValueRange::to_f64), range);
    prop_assert_eq!(found.percentile_limits, limits);
    prop_assert_eq!(found.pixel_count, values.len() as u64);
    prop_assert_eq!(found.nan_count, values.iter().filter(|value| value.is_nan()).count() as u64);
    prop_assert_eq!(
        found.nonzero_count,
        values.iter().filter(|value| **value != 0.0 && !value.is_nan()).count() as u64
    );
    let finite: Vec<f64> = values.iter().copied().filter(|value| value.is_finite()).collect();
    prop_assert_eq!(found.finite_count, finite.len() as u64);
    check_histogram(&found, &finite)?;
    let limits = auto_limits(&found);
    prop_assert!(limits[0] < limits[1] && limits.iter().all(|limit| limit.is_finite()), "{:?}", limits);
    Ok(())
}

/// Every value lies between the edges of its bin, every bin counts its values, and half as wide bins would be too many.
fn check_histogram(found: &PlaneStatistics, finite: &[f64]) -> Result<(), TestCaseError> {
    let Some(histogram) = &found.histogram else {
        prop_assert!(finite.is_empty());
        return Ok(());
    };
    prop_assert!((1..=HISTOGRAM_BINS).contains(&histogram.len()));
    prop_assert_eq!(histogram.counts().sum::<u64>(), finite.len() as u64);
    // 64-bit integers beyond 2^53 are rounded here, those up to it are exact.
    if finite.iter().any(|value| value.abs() > 9e15) && matches!(found.range, Some(ValueRange::Integer { .. })) {
        return Ok(());
    }
    for (bin, count) in histogram.counts().enumerate() {
        let [left, right] = histogram.edges(bin);
        let is_inside = |value: &&f64| **value >= left && (**value < right || right == f64::MAX);
        prop_assert_eq!(finite.iter().filter(is_inside).count() as u64, count, "{}: {}..{}", bin, left, right);
    }
    prop_assert!(histogram.counts().next() > Some(0) && histogram.counts().next_back() > Some(0));
    let has_fine_bins = matches!(found.range, Some(ValueRange::Integer { .. })) && histogram.exponent() == 0;
    prop_assert!(histogram.len() > HISTOGRAM_BINS / 2 || has_fine_bins || is_resolved(found, histogram));
    let bars: Vec<_> = found.bars().collect();
    let [min, max] = [found.min().unwrap(), found.max().unwrap()];
    prop_assert_eq!(bars[0].0[0], min);
    let is_integer = matches!(found.range, Some(ValueRange::Integer { .. }));
    prop_assert_eq!(bars[bars.len() - 1].0[1], if is_integer { max + 1.0 } else { max });
    Ok(())
}

/// Whether bins are as narrow as the last digit of the greatest magnitude, which nothing narrower would tell apart.
fn is_resolved(found: &PlaneStatistics, histogram: &Histogram) -> bool {
    let magnitude = found.min().unwrap().abs().max(found.max().unwrap().abs());
    let digit = magnitude - magnitude.next_down();
    let [left, right] = histogram.edges(0);
    right - left <= digit * 2.0
}

macro_rules! agrees_with_sorting {
    ($($name:ident: $type:ty, $element:ident;)*) => { proptest! { $(
        #[test]
        fn $name(values in prop::collection::vec(any::<$type>(), 0..3000), narrow in 0_u32..<$type>::BITS) {
            // Shifted, so that ranges of every width occur.
            let values: Vec<$type> = values.into_iter().map(|value| value >> narrow).collect();
            let bytes: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
            check(ElementType::$element, &bytes, &values.iter().map(|value| *value as f64).collect::<Vec<_>>())?;
        }
    )* } };
}

agrees_with_sorting! {
    u8_agrees_with_sorting: u8, U8;
    i8_agrees_with_sorting: i8, I8;
    u16_agrees_with_sorting: u16, U16;
    i16_agrees_with_sorting: i16, I16;
    u32_agrees_with_sorting: u32, U32;
    i32_agrees_with_sorting: i32, I32;
    u64_agrees_with_sorting: u64, U64;
    i64_agrees_with_sorting: i64, I64;
}

proptest! {
    #[test]
    fn f32_agrees_with_sorting(values in prop::collection::vec(
        prop_oneof![4 => 0.0_f32..1.0, 2 => prop::num::f32::ANY, 1 => Just(0.0_f32), 1 => Just(-0.0_f32)], 0..3000)) {
        let bytes: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        check(ElementType::F32, &bytes, &values.iter().map(|value| f64::from(*value)).collect::<Vec<_>>())?;
    }

    #[test]
    fn f64_agrees_with_sorting(values in prop::collection::vec(
        prop_oneof![4 => -1.0_f64..1.0, 2 => prop::num::f64::ANY, 1 => Just(f64::INFINITY)], 0..3000)) {
        let bytes: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        check(ElementType::F64, &bytes, &values)?;
    }

    #[test]
    fn f16_agrees_with_sorting(bits in prop::collection::vec(any::<u16>(), 0..3000)) {
        let bytes: Vec<u8> = bits.iter().flat_map(|bits| bits.to_le_bytes()).collect();
        let values: Vec<f64> = bits.iter().map(|bits| half::f16::from_bits(*bits).to_f64()).collect();
        check(ElementType::F16, &bytes, &values)?;
    }
}

fn measure_u16(values: &[u16]) -> PlaneStatistics {
    let bytes: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
    plane_statistics(ElementType::U16, 1, &bytes)
}

fn measure_f32(values: &[f32]) -> PlaneStatistics {
    let bytes: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
    plane_statistics(ElementType::F32, 1, &bytes)
}

#[test]
fn hot_pixels_do_not_stretch_the_limits() {
    let mut values: Vec<u16> = (0..10_000).map(|index| 100 + index % 1000).collect();
    values[..10].fill(65_535);
    let statistics = measure_u16(&values);
    assert_eq!(statistics.max(), Some(65_535.0));
    // 17 of 10,000 may saturate at each end: 10 hot ones and 7 of the 10 brightest others.
    assert_eq!(auto_limits(&statistics)[1], 1099.0);
}

#[test]
fn spots_in_a_dark_plane_are_not_clipped_away() {
    let mut values = vec![0_u16; 100_000];
    values[..50].fill(4000);
    let statistics = measure_u16(&values);
    assert_eq!(statistics.percentile_limits, Some([0.0, 0.0]));
    assert_eq!(auto_limits(&statistics), [0.0, 4000.0]);
    assert_eq!(statistics.nonzero_count, 50);
    assert!(statistics.has_contrast());
}

#[test]
fn few_labels_are_shown_whole() {
    let mut values = vec![1_u16; 100_000];
    values[0] = 0;
    values[1] = 7;
    values[2..2000].fill(3);
    assert_eq!(auto_limits(&measure_u16(&values)), [0.0, 7.0]);
}

#[test]
fn planes_without_contrast_get_limits_all_the_same() {
    assert_eq!(auto_limits(&measure_u16(&[])), [0.0, 1.0]);
    assert_eq!(auto_limits(&measure_u16(&[0; 9])), [0.0, 1.0]);
    assert_eq!(auto_limits(&measure_u16(&[7; 9])), [7.0, 8.0]);
    assert!(!measure_u16(&[7; 9]).has_contrast());
    assert_eq!(auto_limits(&measure_f32(&[f32::NAN; 4])), [0.0, 1.0]);
    assert_eq!(auto_limits(&measure_f32(&[f32::INFINITY; 4])), [0.0, 1.0]);
    for value in [1e30_f32, -1e30, f32::MAX, 0.0, 1e-30] {
        let [low, high] = auto_limits(&measure_f32(&[value; 4]));
        assert!((low as f32) < high as f32, "{value}: {low}..{high}");
    }
    let extreme = plane_statistics(ElementType::F64, 1, &f64::MAX.to_le_bytes());
    let [low, high] = auto_limits(&extreme);
    assert!(low < high && high.is_finite());
}

#[test]
fn bool_and_rgb_have_fixed_limits() {
    let mask = plane_statistics(ElementType::Bool, 1, &[0, 1, 255, 0]);
    assert_eq!((mask.range, mask.nonzero_count), (Some(ValueRange::Integer { min: 0, max: 1 }), 2));
    assert_eq!(auto_limits(&mask), [0.0, 1.0]);
    assert_eq!(auto_limits(&plane_statistics(ElementType::Bool, 1, &[1; 4])), [0.0, 1.0]);
    let rgb = plane_statistics(ElementType::U8, 3, &[10, 20, 30, 40, 50, 60]);
    assert_eq!((rgb.pixel_count, rgb.finite_count), (2, 6));
    assert_eq!(auto_limits(&rgb), [0.0, 255.0]);
}

#[test]
fn ranges_of_64_bit_integers_keep_every_digit() {
    let values = [u64::MAX, u64::MAX - 1];
    let bytes: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
    let unsigned = plane_statistics(ElementType::U64, 1, &bytes);
    let expected = ValueRange::Integer { min: i128::from(u64::MAX) - 1, max: i128::from(u64::MAX) };
    assert_eq!(unsigned.range, Some(expected));
    // As floats the two are one, and limits must still differ.
    let [low, high] = auto_limits(&unsigned);
    assert!(low < high);
    let bytes: Vec<u8> = [i64::MIN, i64::MAX].iter().flat_map(|value| value.to_le_bytes()).collect();
    let signed = plane_statistics(ElementType::I64, 1, &bytes);
    assert_eq!(signed.range, Some(ValueRange::Integer { min: i128::from(i64::MIN), max: i128::from(i64::MAX) }));
}

#[test]
fn percentiles_stay_exact_when_one_outlier_spans_the_type() {
    // More values in one bin of the first pass than are gathered at once, so that a further pass narrows them down.
    let count = 3_i64 << 20;
    let mut values: Vec<f64> = (0..count).map(|index| 1.0 + (index * 7919 % count) as f64 / count as f64).collect();
    values[0] = 1e300;
    values[1] = -1e300;
    let bytes: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
    let found = plane_statistics(ElementType::F64, 1, &bytes);
    assert_eq!(found.percentile_limits, reference(&values).1);

    let mut integers: Vec<u64> = (0..count as u64).map(|index| index * 7919 % count as u64).collect();
    integers[0] = u64::MAX;
    let bytes: Vec<u8> = integers.iter().flat_map(|value| value.to_le_bytes()).collect();
    let found = plane_statistics(ElementType::U64, 1, &bytes);
    let values: Vec<f64> = integers.iter().map(|value| *value as f64).collect();
    assert_eq!(found.percentile_limits, reference(&values).1);
}

#[test]
fn small_planes_are_measured_like_large_ones() {
    // The same values a thousand times over: all counts a thousand times as many.
    let bytes: Vec<u8> = (0..20_u16).flat_map(|index| (index * 3000).to_le_bytes()).collect();
    let many = bytes.repeat(1000);
    for element in [ElementType::U16, ElementType::I16, ElementType::F16] {
        let (small, large) = (plane_statistics(element, 1, &bytes), plane_statistics(element, 1, &many));
        assert_eq!((small.range, small.nonzero_count * 1000), (large.range, large.nonzero_count), "{element:?}");
        let counts = |plane: &PlaneStatistics| plane.histogram.iter().flat_map(Histogram::counts).collect::<Vec<_>>();
        assert_eq!(counts(&small).iter().map(|count| count * 1000).collect::<Vec<_>>(), counts(&large));
    }
}

#[test]
fn a_tiny_plane_is_small_in_memory() {
    let values: Vec<u16> = (0..64).map(|index| index * 1021).collect();
    let histogram = measure_u16(&values).histogram.unwrap();
    assert!(histogram.heap_bytes() <= HISTOGRAM_BINS, "{}", histogram.heap_bytes());
    let flat = measure_u16(&[500; 64]).histogram.unwrap();
    assert_eq!((flat.heap_bytes(), flat.first_bin(), flat.exponent()), (1, 500, 0));
}
