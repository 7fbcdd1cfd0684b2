//! Stretches intensities between two percentiles.

use serde::{Deserialize, Serialize};
use wellscope_plates::AnyArray;
use wellscope_protocol::dtype::ElementType;

use super::planes::{float_planes, percentiles, stack_as};
use super::{FunctionError, ParameterError};

/// Over which pixels percentiles are taken.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NormalizeOver {
    /// All planes of a stack together: they stay comparable with each other.
    #[default]
    Stack,
    /// Each plane by itself.
    Plane,
}

/// Stretches intensities so that one percentile becomes black and another white; what lies outside is clipped. Integers
/// of 8 and 16 bits keep their type and fill it from 0 to its largest value; everything else becomes `float32`, 0 to 1.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct PercentileNormalize {
    /// Percent of pixels that become black.
    pub low: f64,
    /// Percent of pixels that stay below white.
    pub high: f64,
    /// Over which pixels percentiles are taken.
    pub over: NormalizeOver,
}

impl Default for PercentileNormalize {
    fn default() -> Self {
        Self { low: 1.0, high: 99.0, over: NormalizeOver::Stack }
    }
}

impl PercentileNormalize {
    /// Whether the parameters can be used.
    ///
    /// # Errors
    /// The parameter, what it must be and what it is.
    pub fn validate(&self) -> Result<(), ParameterError> {
        if !(0.0..100.0).contains(&self.low) {
            return Err(ParameterError::new("low", "0 <= low < 100", self.low));
        }
        if !(self.high > self.low && self.high <= 100.0) {
            return Err(ParameterError::new("high", format!("{} (low) < high <= 100", self.low), self.high));
        }
        Ok(())
    }

    /// The stretched stack `[n, y, x]`.
    ///
    /// # Errors
    /// When it is not a stack of grey planes, or no pixel is finite.
    pub fn apply(&self, stack: &AnyArray) -> Result<AnyArray, FunctionError> {
        let mut planes = float_planes(stack)?;
        let (element, white) = stretched_type(stack.element_type());
        let whole = match self.over {
            NormalizeOver::Stack => {
                Some(percentiles(planes.iter().flat_map(|plane| plane.iter().copied()), [self.low, self.high])?)
            }
            NormalizeOver::Plane => None,
        };
        for plane in &mut planes {
            let [low, high] = match whole {
                Some(limits) => limits,
                None => percentiles(plane.iter().copied(), [self.low, self.high])?,
            };
            // A flat plane has no range: all of it is black, as nothing in it stands out.
            let range = if high > low { high - low } else { f32::INFINITY };
            plane.mapv_inplace(|value| ((value - low) / range * white).clamp(0.0, white));
        }
        stack_as(&planes, element)
    }
}

/// The type of the result and its white.
fn stretched_type(element: ElementType) -> (ElementType, f32) {
    match element {
        ElementType::U8 => (element, f32::from(u8::MAX)),
        ElementType::I8 => (element, f32::from(i8::MAX)),
        ElementType::U16 => (element, f32::from(u16::MAX)),
        ElementType::I16 => (element, f32::from(i16::MAX)),
        _ => (ElementType::F32, 1.0),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests say where they failed")]
    use super::*;

    #[test]
    fn limits_become_black_and_white_of_the_type() {
        let stack = AnyArray::from_values(&[1, 1, 5], vec![100u16, 200, 300, 400, 500]).unwrap();
        let normalize = PercentileNormalize { low: 25.0, high: 75.0, over: NormalizeOver::Stack };
        let known = AnyArray::from_values(&[1, 1, 5], vec![0u16, 0, 32768, 65535, 65535]).unwrap();
        assert_eq!(normalize.apply(&stack).unwrap(), known);
    }

    #[test]
    fn floats_become_zero_to_one() {
        let stack = AnyArray::from_values(&[1, 1, 5], vec![-2.0f64, -1.0, 0.0, 1.0, 2.0]).unwrap();
        let normalize = PercentileNormalize { low: 0.0, high: 100.0, over: NormalizeOver::Stack };
        let known = AnyArray::from_values(&[1, 1, 5], vec![0.0f32, 0.25, 0.5, 0.75, 1.0]).unwrap();
        assert_eq!(normalize.apply(&stack).unwrap(), known);
    }

    #[test]
    fn a_stack_shares_limits_and_planes_have_their_own() {
        let stack = AnyArray::from_values(&[2, 1, 2], vec![0u8, 50, 0, 100]).unwrap();
        let over = |over| PercentileNormalize { low: 0.0, high: 100.0, over }.apply(&stack).unwrap();
        assert_eq!(over(NormalizeOver::Stack), AnyArray::from_values(&[2, 1, 2], vec![0u8, 128, 0, 255]).unwrap());
        assert_eq!(over(NormalizeOver::Plane), AnyArray::from_values(&[2, 1, 2], vec![0u8, 255, 0, 255]).unwrap());
    }

    #[test]
    fn a_flat_plane_is_black() {
        let stack = AnyArray::from_values(&[1, 2, 2], vec![9u16; 4]).unwrap();
        assert_eq!(PercentileNormalize::default().apply(&stack).unwrap().to_f32().sum(), 0.0);
    }

    #[test]
    fn high_must_be_above_low() {
        let wrong = PercentileNormalize { low: 50.0, high: 50.0, ..Default::default() };
        assert_eq!(wrong.validate().unwrap_err().to_string(), "high must be 50 (low) < high <= 100, found 50");
        assert!(PercentileNormalize { low: -1.0, ..Default::default() }.validate().is_err());
    }
}
