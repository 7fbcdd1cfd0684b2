//! Planes added up, against measuring all of their values at once.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that unwraps says where it failed")]

use proptest::prelude::*;
use proptest::sample::Index;

use super::*;

fn bytes_of<const N: usize, T: Copy>(values: &[T], bytes: impl Fn(T) -> [u8; N]) -> Vec<u8> {
    values.iter().flat_map(|value| bytes(*value)).collect()
}

fn merged_of<'a>(planes: impl IntoIterator<Item = &'a PlaneStatistics>) -> MergedStatistics {
    let mut merged = MergedStatistics::default();
    planes.into_iter().for_each(|plane| merged.add(plane));
    merged
}

/// Totals and histogram of a merge are those of one plane with all values.
fn check_whole(merged: &MergedStatistics, whole: &PlaneStatistics, planes: usize) -> Result<(), TestCaseError> {
    let totals = merged.totals();
    prop_assert_eq!(totals.range, whole.range);
    prop_assert_eq!(totals.plane_count, planes as u64);
    prop_assert_eq!(
        (totals.pixel_count, totals.finite_count, totals.nonzero_count, totals.nan_count),
        (whole.pixel_count, whole.finite_count, whole.nonzero_count, whole.nan_count)
    );
    prop_assert_eq!(merged.histogram(), whole.histogram.clone());
    Ok(())
}

/// Splits values at will, merges the parts in some order, takes some of them out again, and compares with measuring what
/// is left at once.
fn check_parts<const N: usize, T: Copy>(
    element: ElementType,
    parts: &[Vec<T>],
    bytes: impl Fn(T) -> [u8; N] + Copy,
    order: &[Index],
    leaving: usize,
) -> Result<(), TestCaseError> {
    let measure = |values: &[T]| plane_statistics(element, 1, &bytes_of(values, bytes));
    let planes: Vec<PlaneStatistics> = parts.iter().map(|part| measure(part)).collect();
    let in_order = merged_of(&planes);
    check_whole(&in_order, &measure(&parts.concat()), parts.len())?;

    let mut places: Vec<usize> = (0..planes.len()).collect();
    for (place, index) in order.iter().enumerate().take(planes.len()) {
        places.swap(place, index.index(planes.len()));
    }
    let mut shuffled = merged_of(places.iter().map(|place| &planes[*place]));
    prop_assert_eq!(&shuffled, &in_order, "order does not matter");

    let leaving = leaving.min(planes.len());
    places[..leaving].iter().for_each(|place| shuffled.subtract(&planes[*place]));
    let mut rest: Vec<usize> = places[leaving..].to_vec();
    prop_assert_eq!(&shuffled, &merged_of(rest.iter().map(|place| &planes[*place])), "as if they had never been in");
    rest.sort_unstable();
    let left: Vec<T> = rest.iter().flat_map(|place| parts[*place].iter().copied()).collect();
    check_whole(&shuffled, &measure(&left), rest.len())?;

    let (some, others) = planes.split_at(leaving);
    let mut both = merged_of(some);
    both.add_all(&merged_of(others));
    prop_assert_eq!(both, in_order, "channels add up to their layer");
    Ok(())
}

/// Parts of a plane's values, each of a range of its own.
fn parts<T: Strategy>(value: impl Fn() -> T) -> impl Strategy<Value = Vec<(Vec<T::Value>, u32)>> {
    prop::collection::vec((prop::collection::vec(value(), 0..200), 0_u32..64), 1..12)
}

fn order() -> impl Strategy<Value = Vec<Index>> {
    prop::collection::vec(any::<Index>(), 12)
}

macro_rules! merges_exactly {
    ($($name:ident: $type:ty, $element:ident;)*) => { proptest! { $(
        #[test]
        fn $name(parts in parts(any::<$type>), order in order(), leaving in 0_usize..12) {
            let parts: Vec<Vec<$type>> = parts
                .into_iter()
                .map(|(values, narrow)| values.into_iter().map(|value| value >> (narrow % <$type>::BITS)).collect())
                .collect();
            check_parts(ElementType::$element, &parts, <$type>::to_le_bytes, &order, leaving)?;
        }
    )* } };
}

merges_exactly! {
    u8_merges_exactly: u8, U8;
    u16_merges_exactly: u16, U16;
    i16_merges_exactly: i16, I16;
    i32_merges_exactly: i32, I32;
    u64_merges_exactly: u64, U64;
    i64_merges_exactly: i64, I64;
}

proptest! {
    #[test]
    fn f32_merges_exactly(parts in parts(|| prop_oneof![
        6 => -1.0_f32..1.0, 1 => prop::num::f32::ANY, 1 => Just(0.0_f32), 1 => Just(f32::NAN)]),
        order in order(), leaving in 0_usize..12) {
        let parts: Vec<Vec<f32>> = parts
            .into_iter()
            .map(|(values, narrow)| values.into_iter().map(|value| value / (1_u64 << narrow) as f32).collect())
            .collect();
        check_parts(ElementType::F32, &parts, f32::to_le_bytes, &order, leaving)?;
    }

    #[test]
    fn f64_merges_exactly(parts in parts(|| prop_oneof![
        6 => -1.0_f64..1.0, 1 => prop::num::f64::ANY, 1 => Just(f64::MAX), 1 => Just(5e-324), 1 => Just(-0.0)]),
        order in order(), leaving in 0_usize..12) {
        let parts: Vec<Vec<f64>> = parts.into_iter().map(|(values, _)| values).collect();
        check_parts(ElementType::F64, &parts, f64::to_le_bytes, &order, leaving)?;
    }

    #[test]
    fn f16_merges_exactly(parts in parts(any::<u16>), order in order(), leaving in 0_usize..12) {
        let parts: Vec<Vec<u16>> = parts.into_iter().map(|(bits, _)| bits).collect();
        check_parts(ElementType::F16, &parts, u16::to_le_bytes, &order, leaving)?;
    }

    #[test]
    fn limits_of_a_merge_enclose_the_exact_ones_by_less_than_a_bin(parts in parts(any::<u16>)) {
        let planes: Vec<PlaneStatistics> = parts
            .iter()
            .map(|(values, narrow)| values.iter().map(|value| value >> (narrow % 16)).collect::<Vec<u16>>())
            .map(|values| plane_statistics(ElementType::U16, 1, &bytes_of(&values, u16::to_le_bytes)))
            .collect();
        let all: Vec<u16> =
            parts.iter().flat_map(|(values, narrow)| values.iter().map(move |value| value >> (narrow % 16))).collect();
        let exact = plane_statistics(ElementType::U16, 1, &bytes_of(&all, u16::to_le_bytes)).percentile_limits;
        let merged = merged_of(&planes);
        let found = merged.percentile_limits();
        prop_assert_eq!(found.is_some(), exact.is_some());
        if let (Some(found), Some(exact), Some(histogram)) = (found, exact, merged.histogram()) {
            let width = f64::from(1 << histogram.exponent());
            prop_assert!(found[0] <= exact[0] && exact[0] < found[0] + width, "{:?} {:?} {}", found, exact, width);
            prop_assert!(exact[1] <= found[1] && found[1] <= exact[1] + width, "{:?} {:?} {}", found, exact, width);
        }
    }
}

fn u16_plane(values: &[u16]) -> PlaneStatistics {
    plane_statistics(ElementType::U16, 1, &bytes_of(values, u16::to_le_bytes))
}

#[test]
fn an_outlier_that_is_replaced_leaves_no_trace() {
    let dark = u16_plane(&[10, 20, 30]);
    let hot = u16_plane(&[10, 65_535]);
    let mut merged = merged_of([&dark, &hot]);
    assert_eq!(merged.histogram().unwrap().exponent(), 8);
    merged.subtract(&hot);
    assert_eq!(merged, merged_of([&dark]));
    assert_eq!(merged.histogram(), dark.histogram);
    merged.subtract(&dark);
    assert_eq!(merged, MergedStatistics::default());
    assert_eq!((merged.range(), merged.histogram()), (None, None));
}

#[test]
fn a_minimum_that_two_planes_share_stays_when_one_of_them_goes() {
    let planes = [u16_plane(&[3, 9]), u16_plane(&[3, 7]), u16_plane(&[5, 9])];
    let mut merged = merged_of(&planes);
    merged.subtract(&planes[0]);
    assert_eq!(merged.range(), Some(ValueRange::Integer { min: 3, max: 9 }));
    merged.subtract(&planes[1]);
    assert_eq!(merged.range(), Some(ValueRange::Integer { min: 5, max: 9 }));
}

#[test]
fn a_plane_of_nan_changes_only_counts() {
    let nan = plane_statistics(ElementType::F32, 1, &bytes_of(&[f32::NAN; 3], f32::to_le_bytes));
    let plane = plane_statistics(ElementType::F32, 1, &bytes_of(&[0.0_f32, 1.0], f32::to_le_bytes));
    let mut merged = merged_of([&plane, &nan]);
    let totals = merged.totals();
    assert_eq!((totals.plane_count, totals.nan_count, totals.pixel_count), (2, 3, 5));
    assert_eq!((totals.range, merged.histogram()), (plane.range, plane.histogram.clone()));
    merged.subtract(&nan);
    assert_eq!(merged, merged_of([&plane]));
}

#[test]
fn integers_and_floats_of_one_channel_are_merged_in_the_wider_bins() {
    let mask = plane_statistics(ElementType::Bool, 1, &[0, 1, 1]);
    let float = plane_statistics(ElementType::F32, 1, &bytes_of(&[-0.25_f32, 0.5, 1.5], f32::to_le_bytes));
    let mut merged = merged_of([&mask, &float]);
    assert_eq!(merged.range(), Some(ValueRange::Float { min: -0.25, max: 1.5 }));
    let histogram = merged.histogram().unwrap();
    assert_eq!((histogram.exponent(), histogram.first_bin()), (0, -1));
    assert_eq!(histogram.counts().collect::<Vec<_>>(), [1, 2, 3]);
    merged.subtract(&mask);
    assert_eq!(merged.histogram(), float.histogram);
}

#[test]
fn more_bins_than_are_kept_are_widened_and_still_exact() {
    // Labels far apart, one per plane: a bin of width one each, and far more of them than fit.
    let plane = |label: u32| plane_statistics(ElementType::U32, 1, &label.to_le_bytes());
    let mut merged = MergedStatistics::default();
    let count = 5000;
    for index in 0..count {
        merged.add(&plane(index * 100_000));
    }
    let all: Vec<u32> = (0..count).map(|index| index * 100_000).collect();
    let whole = plane_statistics(ElementType::U32, 1, &bytes_of(&all, u32::to_le_bytes));
    assert_eq!((merged.range(), merged.histogram()), (whole.range, whole.histogram));
    for index in 1..count {
        merged.subtract(&plane(index * 100_000));
    }
    assert_eq!(merged.range(), Some(ValueRange::Integer { min: 0, max: 0 }));
    assert_eq!(merged.histogram().unwrap().counts().sum::<u64>(), 1);
    merged.subtract(&plane(0));
    assert_eq!(merged, MergedStatistics::default());
}
