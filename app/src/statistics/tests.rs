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
    let mut bins = [0_u32; HISTOGRAM_BINS];
    if let Some([start, end]) = found.histogram_span() {
        for value in finite {
            let bin = (value / 2.0 - start / 2.0) * (256.0 / (end / 2.0 - start / 2.0));
            bins[(bin as usize).min(255)] += 1;
        }
    }
    prop_assert_eq!(found.histogram, bins);
    let limits = auto_limits(&found);
    prop_assert!(limits[0] < limits[1] && limits.iter().all(|limit| limit.is_finite()), "{:?}", limits);
    Ok(())
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

    #[test]
    fn merging_keeps_counts_and_exact_range(planes in prop::collection::vec(
        (prop::collection::vec(any::<u16>(), 0..200), 0_u32..16), 1..20)) {
        let mut merged = MergedStatistics::default();
        let mut all = Vec::new();
        for (values, narrow) in planes {
            let values: Vec<u16> = values.into_iter().map(|value| value >> narrow).collect();
            merged.merge(&measure_u16(&values));
            all.extend(values);
        }
        let whole = measure_u16(&all);
        prop_assert_eq!(merged.range, whole.range);
        prop_assert_eq!(merged.finite_count, all.len() as u64);
        prop_assert_eq!(merged.histogram.iter().sum::<u64>(), all.len() as u64);
        if let (Some([start, end]), Some([min, max])) = (merged.histogram_span, whole.range.map(ValueRange::to_f64)) {
            prop_assert!(start <= min && end >= max + 1.0);
        }
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
fn merged_limits_enclose_the_exact_ones_closely() {
    let mut merged = MergedStatistics::default();
    let mut all = Vec::new();
    for plane in 0..200_u16 {
        let values: Vec<u16> = (0..5000_u16).map(|index| 200 + plane * 5 + index.wrapping_mul(7919) % 3000).collect();
        merged.merge(&measure_u16(&values));
        all.extend(values);
    }
    let exact = measure_u16(&all).percentile_limits.unwrap();
    let found = merged.percentile_limits().unwrap();
    let bin = merged.histogram_span.map(|[start, end]| (end - start) / 256.0).unwrap();
    assert!(found[0] <= exact[0] + bin && found[0] >= exact[0] - 3.0 * bin, "{found:?} {exact:?} {bin}");
    assert!(found[1] >= exact[1] - bin && found[1] <= exact[1] + 3.0 * bin, "{found:?} {exact:?} {bin}");
    assert_eq!((merged.plane_count, merged.pixel_count), (200, 1_000_000));
}

#[test]
fn merging_a_plane_of_nan_changes_only_counts() {
    let mut merged = MergedStatistics::default();
    merged.merge(&measure_f32(&[0.0, 1.0]));
    let before = merged.clone();
    merged.merge(&measure_f32(&[f32::NAN; 3]));
    assert_eq!((merged.plane_count, merged.nan_count, merged.pixel_count), (2, 3, 5));
    assert_eq!((merged.range, merged.histogram), (before.range, before.histogram));
}

#[test]
fn merging_constant_and_extreme_planes_loses_no_count() {
    let mut merged = MergedStatistics::default();
    for value in [0.0_f64, 0.0, 5.0, f64::MAX, -f64::MAX, 5e-324] {
        merged.merge(&plane_statistics(ElementType::F64, 1, &value.to_le_bytes()));
    }
    assert_eq!(merged.histogram.iter().sum::<u64>(), 6);
    assert_eq!(merged.range.map(ValueRange::to_f64), Some([-f64::MAX, f64::MAX]));
}
