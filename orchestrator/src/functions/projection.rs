//! Makes one plane of a stack.

use ndarray::Array2;
use serde::{Deserialize, Serialize};
use wellscope_plates::AnyArray;
use wellscope_protocol::dtype::ElementType;

use super::planes::float_planes;
use super::{FunctionError, ParameterError};

/// How planes are put together.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ProjectionMethod {
    /// The brightest value of each pixel.
    #[default]
    Max,
    /// The mean of each pixel.
    Mean,
    /// The sum of each pixel, in a type that holds it.
    Sum,
    /// The darkest value of each pixel.
    Min,
}

/// Makes one plane of all planes of a stack, pixel by pixel. Keeps the type, except for the sum: integers of up to 16 bits
/// become 32 bits, larger ones `float64`.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ZProjection {
    /// How planes are put together.
    pub method: ProjectionMethod,
}

impl ZProjection {
    /// Whether the parameters can be used: always.
    ///
    /// # Errors
    /// None.
    pub fn validate(&self) -> Result<(), ParameterError> {
        Ok(())
    }

    /// One plane `[1, y, x]` of the stack `[n, y, x]`.
    ///
    /// # Errors
    /// When it is not a stack of grey planes.
    pub fn apply(&self, stack: &AnyArray) -> Result<AnyArray, FunctionError> {
        // Sums in f64: 32-bit floats hold integers only up to 2^24.
        let planes: Vec<Array2<f64>> = float_planes_f64(stack)?;
        let count = planes.len() as f64;
        let combine: fn(f64, f64) -> f64 = match self.method {
            ProjectionMethod::Max => f64::max,
            ProjectionMethod::Min => f64::min,
            ProjectionMethod::Mean | ProjectionMethod::Sum => |sum, value| sum + value,
        };
        let mut planes = planes.into_iter();
        let mut projection = planes.next().ok_or(FunctionError::Empty { shape: stack.shape().to_vec() })?;
        for plane in planes {
            projection.zip_mut_with(&plane, |sum, &value| *sum = combine(*sum, value));
        }
        let element = match self.method {
            ProjectionMethod::Mean => {
                projection /= count;
                stack.element_type()
            }
            ProjectionMethod::Sum => sum_type(stack.element_type()),
            ProjectionMethod::Max | ProjectionMethod::Min => stack.element_type(),
        };
        Ok(AnyArray::F64(projection.insert_axis(ndarray::Axis(0)).into_dyn()).cast(element))
    }
}

fn float_planes_f64(stack: &AnyArray) -> Result<Vec<Array2<f64>>, FunctionError> {
    // The check of axes is that of every other function.
    if stack.size_bytes() <= stack.len() * 2 {
        return Ok(float_planes(stack)?.into_iter().map(|plane| plane.mapv(f64::from)).collect());
    }
    let AnyArray::F64(values) = stack.cast(ElementType::F64) else {
        return Err(FunctionError::Empty { shape: stack.shape().to_vec() });
    };
    let values = if values.ndim() == 2 { values.insert_axis(ndarray::Axis(0)) } else { values };
    let values = values
        .into_dimensionality::<ndarray::Ix3>()
        .map_err(|_| FunctionError::Axes { element: stack.element_type(), shape: stack.shape().to_vec() })?;
    Ok(values.outer_iter().map(|plane| plane.to_owned()).collect())
}

fn sum_type(element: ElementType) -> ElementType {
    match element {
        ElementType::Bool | ElementType::U8 | ElementType::U16 => ElementType::U32,
        ElementType::I8 | ElementType::I16 => ElementType::I32,
        ElementType::F16 | ElementType::F32 => ElementType::F32,
        _ => ElementType::F64,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests say where they failed")]
    use super::*;

    #[test]
    fn each_method_gives_the_value_it_names() {
        let stack = AnyArray::from_values(&[3, 1, 2], vec![1u16, 60_000, 2, 50_000, 4, 65_000]).unwrap();
        let project = |method| ZProjection { method }.apply(&stack).unwrap();
        let plane = |values: Vec<u16>| AnyArray::from_values(&[1, 1, 2], values).unwrap();
        assert_eq!(project(ProjectionMethod::Max), plane(vec![4, 65_000]));
        assert_eq!(project(ProjectionMethod::Min), plane(vec![1, 50_000]));
        assert_eq!(project(ProjectionMethod::Mean), plane(vec![2, 58_333]));
        let sum = AnyArray::from_values(&[1, 1, 2], vec![7u32, 175_000]).unwrap();
        assert_eq!(project(ProjectionMethod::Sum), sum);
    }

    #[test]
    fn large_integers_keep_their_last_digit() {
        let stack = AnyArray::from_values(&[2, 1, 1], vec![16_777_217u32, 5]).unwrap();
        let max = ZProjection { method: ProjectionMethod::Max }.apply(&stack).unwrap();
        assert_eq!(max, AnyArray::from_values(&[1, 1, 1], vec![16_777_217u32]).unwrap());
    }
}
