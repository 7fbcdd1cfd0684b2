//! Tells foreground from background.

use ndarray::Array2;
use serde::{Deserialize, Serialize};
use wellscope_plates::AnyArray;
use wellscope_protocol::dtype::ElementType;

use super::planes::{float_planes, map_planes, percentile, stacked};
use super::{FunctionError, ParameterError};

/// A foreground pixel of a mask; 0 is background. 255 so that every program shows the mask, not a black image.
pub const FOREGROUND: u8 = 255;

/// Bins of the histogram of values that are not 8- or 16-bit integers (scikit-image has as many).
const FLOAT_BINS: usize = 256;

/// How the limit is found.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ThresholdMethod {
    /// Otsu's: the limit that tells two classes apart best, of each plane by itself.
    #[default]
    Otsu,
    /// `value`, in the image's own units.
    Fixed,
    /// The `percentile` of each plane.
    Percentile,
}

/// Makes a mask of each plane: `uint8`, 255 where a pixel is above the limit, else 0.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Threshold {
    /// How the limit is found.
    pub method: ThresholdMethod,
    /// The limit in the image's own units. Only used by `fixed`, which needs it.
    pub value: Option<f64>,
    /// Percent of pixels that are background. Only used by `percentile`.
    pub percentile: f64,
    /// The limit that was found is multiplied by this, e.g. 0.8 to take in dim edges.
    pub factor: f64,
}

impl Default for Threshold {
    fn default() -> Self {
        Self { method: ThresholdMethod::Otsu, value: None, percentile: 90.0, factor: 1.0 }
    }
}

impl Threshold {
    /// Whether the parameters can be used.
    ///
    /// # Errors
    /// The parameter, what it must be and what it is.
    pub fn validate(&self) -> Result<(), ParameterError> {
        match (self.method, self.value) {
            (ThresholdMethod::Fixed, None) => {
                return Err(ParameterError::new("value", "given with method = \"fixed\"", "nothing"));
            }
            (_, Some(value)) if !value.is_finite() => {
                return Err(ParameterError::new("value", "a finite number", value));
            }
            _ => {}
        }
        if !(0.0..=100.0).contains(&self.percentile) {
            return Err(ParameterError::new("percentile", "0 <= percentile <= 100", self.percentile));
        }
        if !(self.factor.is_finite() && self.factor > 0.0) {
            return Err(ParameterError::new("factor", "a positive number", self.factor));
        }
        Ok(())
    }

    /// The limit for a plane; pixels above it are foreground.
    ///
    /// # Errors
    /// When no pixel is finite.
    pub fn limit(&self, plane: &Array2<f32>, element: ElementType) -> Result<f32, FunctionError> {
        let limit = match self.method {
            ThresholdMethod::Otsu => otsu(plane, element)?,
            ThresholdMethod::Fixed => self.value.unwrap_or_default() as f32,
            ThresholdMethod::Percentile => percentile(plane.iter().copied(), self.percentile)?,
        };
        Ok(limit * self.factor as f32)
    }

    /// Masks `[n, y, x]` of the stack.
    ///
    /// # Errors
    /// When it is not a stack of grey planes, or a plane has no finite pixel.
    pub fn apply(&self, stack: &AnyArray) -> Result<AnyArray, FunctionError> {
        let element = stack.element_type();
        let masks = map_planes(&float_planes(stack)?, |plane| {
            let limit = self.limit(plane, element)?;
            Ok(plane.mapv(|value| if value > limit { FOREGROUND } else { 0 }))
        })?;
        Ok(AnyArray::U8(stacked(&masks)?))
    }
}

/// Otsu's limit: values up to it are one class, values above it the other, and the variance between both is largest. Exact
/// for integers of 8 and 16 bits; others are counted in [`FLOAT_BINS`] bins between their extremes, whose centre it is.
fn otsu(plane: &Array2<f32>, element: ElementType) -> Result<f32, FunctionError> {
    let finite = || plane.iter().copied().filter(|value| value.is_finite());
    let (min, max) = finite().fold((f32::INFINITY, f32::NEG_INFINITY), |(min, max), v| (min.min(v), max.max(v)));
    if min > max {
        return Err(FunctionError::NothingFinite);
    }
    if min == max {
        // One value: nothing stands out, so nothing is above.
        return Ok(max);
    }
    let exact = matches!(element, ElementType::U8 | ElementType::I8 | ElementType::U16 | ElementType::I16);
    let bins = if exact { (max - min) as usize + 1 } else { FLOAT_BINS };
    let width = if exact { 1.0 } else { (max - min) / bins as f32 };
    let mut counts = vec![0u64; bins];
    for value in finite() {
        counts[(((value - min) / width) as usize).min(bins - 1)] += 1;
    }
    let best = best_split(&counts) as f32;
    Ok(if exact { min + best } else { min + (best + 0.5) * width })
}

/// Index of the last bin of the lower class.
fn best_split(counts: &[u64]) -> usize {
    let total: u64 = counts.iter().sum();
    let total_moment: f64 = counts.iter().enumerate().map(|(index, &count)| index as f64 * count as f64).sum();
    let (mut below, mut moment) = (0u64, 0.0f64);
    let (mut best, mut best_variance) = (0, -1.0);
    for (index, &count) in counts.iter().enumerate() {
        below += count;
        moment += index as f64 * count as f64;
        let above = total - below;
        if below == 0 || above == 0 {
            continue;
        }
        let apart = moment / below as f64 - (total_moment - moment) / above as f64;
        let variance = below as f64 * above as f64 * apart * apart;
        if variance > best_variance {
            (best, best_variance) = (index, variance);
        }
    }
    best
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests say where they failed")]
    use proptest::prelude::*;

    use super::*;

    fn mask(threshold: &Threshold, values: Vec<u16>) -> Vec<u8> {
        let stack = AnyArray::from_values(&[1, 1, values.len()], values).unwrap();
        let AnyArray::U8(mask) = threshold.apply(&stack).unwrap() else { panic!("another type") };
        mask.into_iter().collect()
    }

    #[test]
    fn otsu_tells_two_groups_apart() {
        let values = vec![10, 12, 11, 13, 200, 210, 205, 10];
        assert_eq!(mask(&Threshold::default(), values), [0, 0, 0, 0, 255, 255, 255, 0]);
    }

    #[test]
    fn a_flat_plane_has_no_foreground() {
        assert_eq!(mask(&Threshold::default(), vec![7; 4]), [0; 4]);
    }

    #[test]
    fn fixed_and_percentile_limits_are_exclusive() {
        let fixed = Threshold { method: ThresholdMethod::Fixed, value: Some(20.0), ..Default::default() };
        assert_eq!(mask(&fixed, vec![19, 20, 21]), [0, 0, 255]);
        let half = Threshold { method: ThresholdMethod::Percentile, percentile: 50.0, ..Default::default() };
        assert_eq!(mask(&half, vec![1, 2, 3, 4, 5]), [0, 0, 0, 255, 255]);
        let doubled = Threshold { factor: 2.0, ..fixed };
        assert_eq!(mask(&doubled, vec![40, 41]), [0, 255]);
    }

    #[test]
    fn floats_are_split_between_their_extremes() {
        let plane = Array2::from_shape_vec((1, 6), vec![0.0f32, 0.01, 0.02, 0.98, 1.0, f32::NAN]).unwrap();
        let limit = otsu(&plane, ElementType::F32).unwrap();
        assert!(limit > 0.015 && limit < 0.98, "{limit}");
    }

    #[test]
    fn fixed_needs_a_value() {
        let sentence = Threshold { method: ThresholdMethod::Fixed, ..Default::default() }.validate().unwrap_err();
        assert_eq!(sentence.to_string(), "value must be given with method = \"fixed\", found nothing");
        assert!(Threshold { factor: 0.0, ..Default::default() }.validate().is_err());
    }

    proptest! {
        #[test]
        fn no_other_limit_tells_classes_apart_better(values in prop::collection::vec(0u8..40, 2..60)) {
            let distinct: std::collections::BTreeSet<u8> = values.iter().copied().collect();
            prop_assume!(distinct.len() > 1);
            let variance = |limit: f64| {
                let mean = |class: &[f64]| class.iter().sum::<f64>() / class.len() as f64;
                let (low, high): (Vec<f64>, Vec<f64>) = values.iter().map(|&v| f64::from(v)).partition(|&v| v <= limit);
                if low.is_empty() || high.is_empty() { return 0.0; }
                low.len() as f64 * high.len() as f64 * (mean(&low) - mean(&high)).powi(2)
            };
            let plane = Array2::from_shape_vec((1, values.len()), values.iter().map(|&v| f32::from(v)).collect()).unwrap();
            let found = variance(f64::from(otsu(&plane, ElementType::U8).unwrap()));
            let best = (0..40).map(|limit| variance(f64::from(limit))).fold(0.0, f64::max);
            prop_assert!(found >= best * (1.0 - 1e-9), "{found} {best}");
        }
    }
}
