//! Smooths each plane with a Gaussian.

use ndarray::{Array2, ArrayView2, Axis};
use serde::{Deserialize, Serialize};
use wellscope_plates::AnyArray;

use super::planes::{float_planes, map_planes, stack_as};
use super::{FunctionError, ParameterError};

/// The kernel ends this many standard deviations from its centre, as in scipy.
const TRUNCATE: f32 = 4.0;

/// A wider kernel takes minutes per image; it is a background that is wanted then.
const MAX_SIGMA: f32 = 1000.0;

/// Smooths each plane with a Gaussian, mirrored at the border as `scipy.ndimage.gaussian_filter` does. Keeps the type of
/// its input; integers are rounded.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Gaussian {
    /// Standard deviation in pixels.
    pub sigma: f32,
}

impl Default for Gaussian {
    fn default() -> Self {
        Self { sigma: 1.0 }
    }
}

impl Gaussian {
    /// Whether the parameters can be used.
    ///
    /// # Errors
    /// When sigma is not a positive number of pixels.
    pub fn validate(&self) -> Result<(), ParameterError> {
        if self.sigma > 0.0 && self.sigma <= MAX_SIGMA {
            return Ok(());
        }
        Err(ParameterError::new("sigma", format!("0 < sigma <= {MAX_SIGMA} pixels"), self.sigma))
    }

    /// The smoothed stack `[n, y, x]`.
    ///
    /// # Errors
    /// When it is not a stack of grey planes.
    pub fn apply(&self, stack: &AnyArray) -> Result<AnyArray, FunctionError> {
        let planes = float_planes(stack)?;
        let smooth = map_planes(&planes, |plane| Ok(gaussian_blur(plane.view(), self.sigma)))?;
        stack_as(&smooth, stack.element_type())
    }
}

/// A plane smoothed along y, then x.
pub fn gaussian_blur(plane: ArrayView2<'_, f32>, sigma: f32) -> Array2<f32> {
    let kernel = kernel(sigma);
    let along_y = blur_rows(plane, &kernel);
    blur_columns(&along_y, &kernel)
}

/// Weights from the outermost left to the outermost right; their sum is 1.
fn kernel(sigma: f32) -> Vec<f32> {
    let radius = (TRUNCATE * sigma + 0.5) as i64;
    let weights: Vec<f64> =
        (-radius..=radius).map(|offset| (-0.5 * (offset as f64 / f64::from(sigma)).powi(2)).exp()).collect();
    let sum: f64 = weights.iter().sum();
    weights.iter().map(|weight| (weight / sum) as f32).collect()
}

/// Index of the pixel that stands at `index` when `extent` pixels are mirrored again and again (`d c b a | a b c d | d c b a`).
fn mirrored(index: i64, extent: usize) -> usize {
    let period = 2 * extent as i64;
    let within = index.rem_euclid(period);
    if within < extent as i64 { within as usize } else { (period - 1 - within) as usize }
}

/// Along y, a whole row at a time, so that neighbours in memory are added with vector instructions.
fn blur_rows(plane: ArrayView2<'_, f32>, kernel: &[f32]) -> Array2<f32> {
    let (height, radius) = (plane.nrows(), (kernel.len() / 2) as i64);
    let mut blurred = Array2::zeros(plane.raw_dim());
    for (y, mut row) in blurred.axis_iter_mut(Axis(0)).enumerate() {
        for (offset, &weight) in (-radius..).zip(kernel) {
            row.scaled_add(weight, &plane.row(mirrored(y as i64 + offset, height)));
        }
    }
    blurred
}

fn blur_columns(plane: &Array2<f32>, kernel: &[f32]) -> Array2<f32> {
    let (width, radius) = (plane.ncols(), (kernel.len() / 2) as i64);
    let mut blurred = Array2::<f32>::zeros(plane.raw_dim());
    let mut padded = vec![0.0f32; width + 2 * radius as usize];
    for (row, mut out) in plane.axis_iter(Axis(0)).zip(blurred.axis_iter_mut(Axis(0))) {
        for (index, value) in (-radius..).zip(&mut padded) {
            *value = row[mirrored(index, width)];
        }
        for (start, &weight) in kernel.iter().enumerate() {
            for (sum, value) in out.iter_mut().zip(&padded[start..]) {
                *sum += weight * value;
            }
        }
    }
    blurred
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests say where they failed")]
    use ndarray_ndimage::{BorderMode, gaussian_filter};
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn an_impulse_becomes_the_kernel_of_scipy() {
        // scipy.ndimage.gaussian_filter1d of [0,0,0,0,0,1,0,0,0,0,0], sigma 1: exp(-x^2/2) over the sum of 9 such weights.
        let weights: Vec<f64> = (-4..=4).map(|x: i32| (-0.5 * f64::from(x * x)).exp()).collect();
        let sum: f64 = weights.iter().sum();
        let mut plane = Array2::zeros((11, 11));
        plane[[5, 5]] = 1.0f32;
        let blurred = gaussian_blur(plane.view(), 1.0);
        assert!((f64::from(blurred[[5, 5]]) - 1.0 / (sum * sum)).abs() < 1e-6);
        assert!((f64::from(blurred[[5, 6]]) - (-0.5f64).exp() / (sum * sum)).abs() < 1e-6);
        assert!((f64::from(blurred[[3, 4]]) - (-2.5f64).exp() / (sum * sum)).abs() < 1e-6);
        assert_eq!(blurred[[5, 0]], 0.0);
    }

    #[test]
    fn integers_stay_integers_and_are_rounded() {
        let mut values = vec![0u16; 25];
        values[12] = 1000;
        let stack = AnyArray::from_values(&[1, 5, 5], values).unwrap();
        let AnyArray::U16(blurred) = (Gaussian { sigma: 0.5 }).apply(&stack).unwrap() else { panic!("another type") };
        // Weights of sigma 0.5: radius 2; 1, e^-2, e^-8 over their sum.
        let sum = 1.0 + 2.0 * (-2f64).exp() + 2.0 * (-8f64).exp();
        assert_eq!(f64::from(blurred[[0, 2, 2]]), (1000.0 / sum / sum).round());
        assert_eq!(f64::from(blurred[[0, 2, 3]]), (1000.0 * (-2f64).exp() / sum / sum).round());
    }

    #[test]
    fn an_image_smaller_than_the_kernel_is_mirrored_until_it_fills_it() {
        let plane = ndarray::array![[1.0f32, 3.0]];
        let blurred = gaussian_blur(plane.view(), 20.0);
        assert!(blurred.iter().all(|value| (value - 2.0).abs() < 0.05), "{blurred}");
    }

    #[test]
    fn sigma_must_be_a_positive_number() {
        for sigma in [0.0, -1.0, f32::NAN, f32::INFINITY] {
            let sentence = Gaussian { sigma }.validate().unwrap_err().to_string();
            assert!(sentence.starts_with("sigma must be 0 < sigma <= 1000 pixels, found "), "{sentence}");
        }
        assert_eq!(Gaussian::default().validate(), Ok(()));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]
        #[test]
        fn result_is_that_of_the_port_of_scipy(values in prop::collection::vec(0f32..1000.0, 40 * 30), sigma in 0.5f32..5.0) {
            let plane = Array2::from_shape_vec((40, 30), values).unwrap();
            let ours = gaussian_blur(plane.view(), sigma);
            let theirs = gaussian_filter(&plane, sigma, 0, BorderMode::Reflect, 4);
            let apart = (&ours - &theirs).iter().fold(0f32, |most, value| most.max(value.abs()));
            prop_assert!(apart < 0.01, "{apart}");
        }
    }
}
