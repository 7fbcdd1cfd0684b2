//! What the built-in functions share: stacks of grey planes, one plane at a time on the machine's cores.

use ndarray::{Array2, ArrayD, ArrayView2, Axis, Ix3};
use rayon::prelude::*;
use wellscope_plates::{AnyArray, ArrayElement};
use wellscope_protocol::dtype::ElementType;

use super::FunctionError;

/// A stack of grey planes `[n, y, x]` as 32-bit floats. A single plane `[y, x]` is a stack of one.
///
/// # Errors
/// [`FunctionError::Axes`] when it has other axes, [`FunctionError::Empty`] when it has no pixels.
pub fn float_planes(stack: &AnyArray) -> Result<Vec<Array2<f32>>, FunctionError> {
    let floats = stack.to_f32();
    let floats = if floats.ndim() == 2 { floats.insert_axis(Axis(0)) } else { floats };
    let shape = floats.shape().to_vec();
    let stacked = floats
        .into_dimensionality::<Ix3>()
        .map_err(|_| FunctionError::Axes { element: stack.element_type(), shape: stack.shape().to_vec() })?;
    if stacked.is_empty() {
        return Err(FunctionError::Empty { shape });
    }
    Ok(stacked.outer_iter().map(|plane| plane.to_owned()).collect())
}

/// Planes behind each other, in the type that `element` names: rounded, and limited to its range.
///
/// # Errors
/// [`FunctionError::Empty`] when there are no planes, or planes of different extents.
pub fn stack_as(planes: &[Array2<f32>], element: ElementType) -> Result<AnyArray, FunctionError> {
    Ok(AnyArray::F32(stacked(planes)?).cast(element))
}

/// Planes of one extent along a new first axis.
///
/// # Errors
/// [`FunctionError::Empty`] when there are no planes, or planes of different extents.
pub fn stacked<T: ArrayElement>(planes: &[Array2<T>]) -> Result<ArrayD<T>, FunctionError> {
    let views: Vec<ArrayView2<'_, T>> = planes.iter().map(|plane| plane.view()).collect();
    let stack = ndarray::stack(Axis(0), &views).map_err(|_| FunctionError::Empty { shape: vec![planes.len()] })?;
    Ok(stack.into_dyn())
}

/// Computes every plane by itself, several at once.
///
/// # Errors
/// The first plane's error.
pub fn map_planes<T: Send>(
    planes: &[Array2<f32>],
    compute: impl Fn(&Array2<f32>) -> Result<T, FunctionError> + Send + Sync,
) -> Result<Vec<T>, FunctionError> {
    planes.par_iter().map(compute).collect()
}

/// The value below which `percent` of the finite pixels lie, interpolated between neighbours as numpy's default does.
///
/// # Errors
/// [`FunctionError::NothingFinite`] when no pixel is a number.
pub fn percentile(pixels: impl Iterator<Item = f32>, percent: f64) -> Result<f32, FunctionError> {
    Ok(percentiles(pixels, [percent])?[0])
}

/// Several [`percentile`]s of the same pixels.
///
/// # Errors
/// As [`percentile`].
pub fn percentiles<const N: usize>(
    pixels: impl Iterator<Item = f32>,
    percents: [f64; N],
) -> Result<[f32; N], FunctionError> {
    let mut values: Vec<f32> = pixels.filter(|value| value.is_finite()).collect();
    if values.is_empty() {
        return Err(FunctionError::NothingFinite);
    }
    Ok(percents.map(|percent| {
        let position = percent.clamp(0.0, 100.0) / 100.0 * (values.len() - 1) as f64;
        let below = position.floor() as usize;
        let (_, &mut low, above) = values.select_nth_unstable_by(below, f32::total_cmp);
        let high = above.iter().copied().fold(f32::INFINITY, f32::min);
        let fraction = (position - below as f64) as f32;
        if fraction > 0.0 { low + (high - low) * fraction } else { low }
    }))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests say where they failed")]
    use super::*;

    #[test]
    fn percentiles_are_those_of_numpy() {
        // numpy.percentile([15, 20, 35, 40, 50], [0, 5, 30, 40, 50, 100]) of the textbook example.
        let values = [50.0f32, 15.0, 40.0, f32::NAN, 35.0, 20.0];
        let found = percentiles(values.into_iter(), [0.0, 5.0, 30.0, 40.0, 50.0, 100.0]).unwrap();
        let known = [15.0f32, 16.0, 23.0, 29.0, 35.0, 50.0];
        assert!(found.iter().zip(known).all(|(found, known)| (found - known).abs() < 1e-5), "{found:?}");
        assert_eq!(percentile([f32::NAN].into_iter(), 50.0), Err(FunctionError::NothingFinite));
    }

    #[test]
    fn one_plane_is_a_stack_of_one_and_colour_is_refused() {
        let plane = AnyArray::from_values(&[2, 3], vec![1u16, 2, 3, 4, 5, 6]).unwrap();
        assert_eq!(float_planes(&plane).unwrap()[0][[1, 0]], 4.0);
        let colour = AnyArray::from_values(&[1, 2, 2, 3], vec![0u8; 12]).unwrap();
        assert_eq!(
            float_planes(&colour).unwrap_err().to_string(),
            "takes grey planes [n, y, x], found uint8 [1, 2, 2, 3]; take one channel of colour images first"
        );
        let nothing = AnyArray::from_values(&[1, 0, 4], Vec::<u8>::new()).unwrap();
        assert!(matches!(float_planes(&nothing), Err(FunctionError::Empty { .. })));
    }
}
