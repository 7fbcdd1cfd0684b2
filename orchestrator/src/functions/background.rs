//! Takes the background off each plane.

use ndarray::{Array2, ArrayView2};
use ndarray_ndimage::{BorderMode, maximum_filter, minimum_filter};
use serde::{Deserialize, Serialize};
use wellscope_plates::AnyArray;

use super::gaussian::gaussian_blur;
use super::planes::{float_planes, map_planes, percentile, stack_as};
use super::{FunctionError, ParameterError};

/// What counts as background.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BackgroundMethod {
    /// The rolling minimum over `radius`, raised again to the edges of what is wide (a grey opening), then smoothed:
    /// follows uneven illumination, keeps everything narrower than twice the radius.
    #[default]
    Minimum,
    /// The plane smoothed with a sigma of `radius`. Quick; takes a little off large objects too.
    Gaussian,
    /// One number per plane, its `percentile`.
    Percentile,
}

/// Takes the background off each plane. Keeps the type of its input; unsigned values end at 0.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Background {
    /// What counts as background.
    pub method: BackgroundMethod,
    /// Half the width, in pixels, of the largest thing that is not background. Not used by `percentile`.
    pub radius: usize,
    /// Percent of a plane's pixels that are below its background. Only used by `percentile`.
    pub percentile: f64,
}

impl Default for Background {
    fn default() -> Self {
        Self { method: BackgroundMethod::Minimum, radius: 50, percentile: 10.0 }
    }
}

impl Background {
    /// Whether the parameters can be used.
    ///
    /// # Errors
    /// The parameter, what it must be and what it is.
    pub fn validate(&self) -> Result<(), ParameterError> {
        if !(1..=5000).contains(&self.radius) {
            return Err(ParameterError::new("radius", "1 <= radius <= 5000 pixels", self.radius));
        }
        if !(0.0..=100.0).contains(&self.percentile) {
            return Err(ParameterError::new("percentile", "0 <= percentile <= 100", self.percentile));
        }
        Ok(())
    }

    /// The stack `[n, y, x]` without its background.
    ///
    /// # Errors
    /// When it is not a stack of grey planes, or a plane has no finite pixel.
    pub fn apply(&self, stack: &AnyArray) -> Result<AnyArray, FunctionError> {
        let flat = map_planes(&float_planes(stack)?, |plane| match self.method {
            BackgroundMethod::Minimum => Ok(plane - &rolling_minimum(plane, self.radius)),
            BackgroundMethod::Gaussian => Ok(plane - &wide_blur(plane.view(), self.radius as f32)),
            BackgroundMethod::Percentile => Ok(plane - percentile(plane.iter().copied(), self.percentile)?),
        })?;
        stack_as(&flat, stack.element_type())
    }
}

/// The grey opening of a plane, smoothed; never above the plane's own smoothed values by more than noise.
fn rolling_minimum(plane: &Array2<f32>, radius: usize) -> Array2<f32> {
    // On a plane reduced so that the window is about 15 pixels wide: a background has no finer detail, and the time
    // no longer grows with the radius. The mean of a block also keeps the minimum from following single dark pixels.
    let factor = (radius / 7).max(1);
    let small = block_means(plane.view(), factor);
    let size = (2 * (radius / factor) + 1).min(small.nrows()).min(small.ncols());
    let low = minimum_filter(&small, size, BorderMode::Nearest, 0);
    let open = maximum_filter(&low, size, BorderMode::Nearest, 0);
    let smooth = gaussian_blur(open.view(), (size as f32 / 4.0).max(0.5));
    enlarged(&smooth, plane.dim(), factor)
}

/// A Gaussian of large sigma, computed on a reduced plane.
fn wide_blur(plane: ArrayView2<'_, f32>, sigma: f32) -> Array2<f32> {
    let factor = ((sigma / 4.0) as usize).max(1);
    let small = block_means(plane, factor);
    let smooth = gaussian_blur(small.view(), sigma / factor as f32);
    enlarged(&smooth, plane.dim(), factor)
}

/// Means of squares of `factor` pixels; those at the far edges may be smaller.
fn block_means(plane: ArrayView2<'_, f32>, factor: usize) -> Array2<f32> {
    if factor == 1 {
        return plane.to_owned();
    }
    let (height, width) = plane.dim();
    Array2::from_shape_fn((height.div_ceil(factor), width.div_ceil(factor)), |(y, x)| {
        let rows = y * factor..((y + 1) * factor).min(height);
        let columns = x * factor..((x + 1) * factor).min(width);
        let block = plane.slice(ndarray::s![rows, columns]);
        block.sum() / block.len() as f32
    })
}

/// Bilinear between the centres of the blocks that [`block_means`] made.
fn enlarged(small: &Array2<f32>, dim: (usize, usize), factor: usize) -> Array2<f32> {
    if factor == 1 {
        return small.clone();
    }
    let samples = |extent: usize, last: usize| -> Vec<(usize, usize, f32)> {
        (0..extent)
            .map(|index| {
                let position = ((index as f32 + 0.5) / factor as f32 - 0.5).clamp(0.0, last as f32);
                let below = position as usize;
                (below, (below + 1).min(last), position - below as f32)
            })
            .collect()
    };
    let rows = samples(dim.0, small.nrows() - 1);
    let columns = samples(dim.1, small.ncols() - 1);
    Array2::from_shape_fn(dim, |(y, x)| {
        let ((top, bottom, down), (left, right, along)) = (rows[y], columns[x]);
        let upper = small[[top, left]] * (1.0 - along) + small[[top, right]] * along;
        let lower = small[[bottom, left]] * (1.0 - along) + small[[bottom, right]] * along;
        upper * (1.0 - down) + lower * down
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests say where they failed")]
    use super::*;

    /// A slope from 100 to 200 with a bright square of 10 pixels, 500 above it.
    fn square_on_a_slope() -> AnyArray {
        let values = (0..128 * 128)
            .map(|index| {
                let (y, x) = (index / 128, index % 128);
                let object = if (60..70).contains(&y) && (60..70).contains(&x) { 500 } else { 0 };
                100 + (100 * x / 127) as u16 + object
            })
            .collect();
        AnyArray::from_values(&[1, 128, 128], values).unwrap()
    }

    #[test]
    fn uneven_illumination_goes_and_objects_stay() {
        for method in [BackgroundMethod::Minimum, BackgroundMethod::Gaussian] {
            let background = Background { method, radius: 20, ..Default::default() };
            let AnyArray::U16(flat) = background.apply(&square_on_a_slope()).unwrap() else { panic!("another type") };
            for x in [10, 40, 100, 117] {
                assert!(flat[[0, 20, x]] < 20, "{method:?} leaves {} at {x}", flat[[0, 20, x]]);
            }
            assert!((440..=520).contains(&flat[[0, 65, 65]]), "{method:?} leaves {}", flat[[0, 65, 65]]);
        }
    }

    #[test]
    fn percentile_is_one_number_per_plane() {
        let stack = AnyArray::from_values(&[2, 1, 5], vec![10u8, 20, 30, 40, 50, 110, 120, 130, 140, 150]).unwrap();
        let background = Background { method: BackgroundMethod::Percentile, percentile: 50.0, ..Default::default() };
        let known = AnyArray::from_values(&[2, 1, 5], vec![0u8, 0, 0, 10, 20, 0, 0, 0, 10, 20]).unwrap();
        assert_eq!(background.apply(&stack).unwrap(), known);
    }

    #[test]
    fn an_image_smaller_than_the_radius_still_works() {
        for method in [BackgroundMethod::Minimum, BackgroundMethod::Gaussian] {
            for shape in [[1, 1, 1], [1, 3, 2], [1, 1, 40]] {
                let stack = AnyArray::from_values(&shape, vec![7.0f32; shape.iter().product()]).unwrap();
                let flat = Background { method, ..Default::default() }.apply(&stack).unwrap().to_f32();
                assert!(flat.iter().all(|value| value.abs() < 1e-4), "{method:?} {shape:?} {flat}");
            }
        }
    }

    #[test]
    fn enlarging_means_of_a_slope_gives_the_slope() {
        let slope = Array2::from_shape_fn((24, 40), |(y, x)| (3 * y + x) as f32);
        let back = enlarged(&block_means(slope.view(), 4), (24, 40), 4);
        for y in 2..22 {
            for x in 2..38 {
                assert!((back[[y, x]] - slope[[y, x]]).abs() < 1e-3, "{y} {x}");
            }
        }
    }

    #[test]
    fn parameters_are_checked() {
        let sentence = Background { radius: 0, ..Default::default() }.validate().unwrap_err().to_string();
        assert_eq!(sentence, "radius must be 1 <= radius <= 5000 pixels, found 0");
        assert!(Background { percentile: 101.0, ..Default::default() }.validate().is_err());
        assert!(Background { percentile: f64::NAN, ..Default::default() }.validate().is_err());
    }
}
