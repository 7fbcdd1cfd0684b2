//! Measures labelled objects.

use std::collections::BTreeMap;

use ndarray::ArrayView2;

/// What is known of one object on one plane.
#[derive(Clone, PartialEq, Debug)]
pub struct ObjectMeasurement {
    /// Its id in the label image.
    pub label: i32,
    /// Number of pixels.
    pub area_px: u64,
    /// Mean position of its pixels, `[y, x]`; pixel centres are integers.
    pub centroid_yx: [f64; 2],
    /// Mean intensity, in the image's own units.
    pub mean: f64,
    /// Least intensity.
    pub min: f32,
    /// Largest intensity.
    pub max: f32,
    /// Sum of intensities.
    pub sum: f64,
}

/// Every object of a label image, by id, with the intensities of a plane of the same extent. Pixels that are no number
/// count for the area and the position, not for intensities; an object without any number has NaN.
pub fn measure(labels: ArrayView2<'_, i32>, intensities: ArrayView2<'_, f32>) -> Vec<ObjectMeasurement> {
    let mut sums: BTreeMap<i32, Sums> = BTreeMap::new();
    // Runs of one object are common: looking it up once per run is enough.
    for (y, (row, values)) in labels.outer_iter().zip(intensities.outer_iter()).enumerate() {
        let mut pixels = row.iter().zip(values).enumerate().peekable();
        while let Some(&(_, (&id, _))) = pixels.peek() {
            let run = std::iter::from_fn(|| pixels.next_if(|(_, (other, _))| **other == id));
            if id > 0 {
                let object = sums.entry(id).or_default();
                run.for_each(|(x, (_, &value))| object.add(y, x, value));
            } else {
                run.for_each(drop);
            }
        }
    }
    sums.into_iter().map(|(label, sums)| sums.measurement(label)).collect()
}

struct Sums {
    pixels: u64,
    y: u64,
    x: u64,
    numbers: u64,
    sum: f64,
    min: f32,
    max: f32,
}

impl Default for Sums {
    fn default() -> Self {
        Self { pixels: 0, y: 0, x: 0, numbers: 0, sum: 0.0, min: f32::INFINITY, max: f32::NEG_INFINITY }
    }
}

impl Sums {
    fn add(&mut self, y: usize, x: usize, value: f32) {
        self.pixels += 1;
        self.y += y as u64;
        self.x += x as u64;
        if !value.is_nan() {
            self.numbers += 1;
            self.sum += f64::from(value);
            self.min = self.min.min(value);
            self.max = self.max.max(value);
        }
    }

    fn measurement(&self, label: i32) -> ObjectMeasurement {
        let pixels = self.pixels as f64;
        let any = self.numbers > 0;
        ObjectMeasurement {
            label,
            area_px: self.pixels,
            centroid_yx: [self.y as f64 / pixels, self.x as f64 / pixels],
            mean: self.sum / self.numbers as f64,
            min: if any { self.min } else { f32::NAN },
            max: if any { self.max } else { f32::NAN },
            sum: if any { self.sum } else { f64::NAN },
        }
    }
}

#[cfg(test)]
mod tests {
    use ndarray::array;

    use super::*;

    #[test]
    fn area_centroid_and_intensities_are_those_of_the_objects_own_pixels() {
        let labels = array![[1, 1, 0], [1, 0, 5], [0, 0, 5]];
        let intensities = array![[10.0f32, 20.0, 99.0], [60.0, 99.0, 1.0], [99.0, 99.0, 3.0]];
        let objects = measure(labels.view(), intensities.view());
        let first = ObjectMeasurement {
            label: 1,
            area_px: 3,
            centroid_yx: [1.0 / 3.0, 1.0 / 3.0],
            mean: 30.0,
            min: 10.0,
            max: 60.0,
            sum: 90.0,
        };
        let second = ObjectMeasurement {
            label: 5,
            area_px: 2,
            centroid_yx: [1.5, 2.0],
            mean: 2.0,
            min: 1.0,
            max: 3.0,
            sum: 4.0,
        };
        assert_eq!(objects, [first, second]);
    }

    #[test]
    fn pixels_that_are_no_number_do_not_spoil_the_mean() {
        let objects = measure(array![[1, 1, 2]].view(), array![[f32::NAN, 4.0, f32::NAN]].view());
        assert_eq!((objects[0].area_px, objects[0].mean), (2, 4.0));
        assert!(objects[1].mean.is_nan() && objects[1].min.is_nan());
    }
}
