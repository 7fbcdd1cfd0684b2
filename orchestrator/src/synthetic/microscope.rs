//! What a microscope makes of light: blur out of focus, uneven illumination, noise of photons and camera.

use ndarray::{Array2, Zip};
use rand::rngs::Xoshiro256PlusPlus;
use rand::{Rng, SeedableRng};

use super::stains::Stain;
use crate::functions::gaussian_blur;

/// Counts that the camera adds to every pixel, so that noise around black is not cut off.
pub const CAMERA_OFFSET: f32 = 100.0;

/// Standard deviation of the camera's own noise, in counts.
const READ_NOISE: f32 = 4.0;

/// Counts per photon.
const GAIN: f32 = 1.0;

/// Blur in focus, in pixels, and how much each micrometre out of focus adds (in quadrature).
const BLUR_IN_FOCUS: f32 = 1.0;
const BLUR_PER_UM: f32 = 0.9;

/// Makes a camera frame of light, `[y, x]`, 1 being a typical cell: `(light, micrometres out of focus)` per group of cells
/// that lie at one height.
pub fn expose(groups: &[(Array2<f32>, f32)], stain: Stain, seed: u64) -> Array2<u16> {
    let Some((first, _)) = groups.first() else { return Array2::zeros((0, 0)) };
    let (cell_photons, medium_photons) = stain.photons();
    let mut photons = Array2::from_elem(first.raw_dim(), medium_photons);
    for (light, defocus_um) in groups {
        let sigma = BLUR_IN_FOCUS.hypot(BLUR_PER_UM * defocus_um);
        photons.scaled_add(cell_photons, &gaussian_blur(light.view(), sigma));
        // Light from above and below the plane: a wide-field microscope takes it in as a haze.
        let haze = light.mean().unwrap_or_default();
        photons += 0.35 * haze * cell_photons;
    }
    illuminate(&mut photons, seed);
    detect(&photons, seed)
}

/// Brightest off the centre, a third less in the far corner, as a lamp that is a little out of line.
fn illuminate(photons: &mut Array2<f32>, seed: u64) {
    let (height, width) = photons.dim();
    // The lamp is the microscope's, not the field's: it stays nearly where it is.
    let wobble = (seed % 64) as f32 / 640.0;
    let (lamp_y, lamp_x) = (0.42 + wobble * 0.3, 0.56 - wobble * 0.3);
    for ((y, x), value) in photons.indexed_iter_mut() {
        let dy = y as f32 / height as f32 - lamp_y;
        let dx = x as f32 / width as f32 - lamp_x;
        *value *= 1.0 - 0.55 * (dy * dy + dx * dx);
    }
}

/// Photons arrive one by one (their number varies by its root), then the camera adds its own noise.
fn detect(photons: &Array2<f32>, seed: u64) -> Array2<u16> {
    let mut rng = Xoshiro256PlusPlus::seed_from_u64(seed);
    let mut counts = Array2::zeros(photons.raw_dim());
    Zip::from(&mut counts).and(photons).for_each(|count: &mut u16, &expected| {
        let spread = (expected.max(0.0) * GAIN * GAIN + READ_NOISE * READ_NOISE).sqrt();
        let value = CAMERA_OFFSET + expected * GAIN + spread * normal(&mut rng);
        // The cast limits to the range of the type.
        *count = value.round() as u16;
    });
    counts
}

/// A standard normal number: the sum of twelve uniform ones, here sixteen of 8 bits each from two draws. Tails end at
/// 7 standard deviations, which no one sees in an image; it takes a fifth of the time of exact ways.
fn normal(rng: &mut Xoshiro256PlusPlus) -> f32 {
    let sum = |bits: u64| bits.to_le_bytes().iter().map(|&byte| u32::from(byte)).sum::<u32>();
    let total = sum(rng.next_u64()) + sum(rng.next_u64());
    // 16 uniform bytes: mean 16 * 127.5, variance 16 * (256^2 - 1) / 12.
    (total as f32 - 2040.0) / 295.6
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn noise_is_normal() {
        let mut rng = Xoshiro256PlusPlus::seed_from_u64(5);
        let values: Vec<f64> = (0..100_000).map(|_| f64::from(normal(&mut rng))).collect();
        let mean = values.iter().sum::<f64>() / values.len() as f64;
        let variance = values.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / values.len() as f64;
        assert!(mean.abs() < 0.02 && (variance - 1.0).abs() < 0.03, "{mean} {variance}");
        let within = values.iter().filter(|value| value.abs() < 1.0).count();
        assert!((67_000..69_500).contains(&within), "{within}");
    }

    #[test]
    fn no_light_is_offset_medium_and_noise() {
        let dark = expose(&[(Array2::zeros((64, 64)), 0.0)], Stain::Dapi, 1);
        let mean = dark.iter().map(|&value| f64::from(value)).sum::<f64>() / 4096.0;
        assert!((140.0..162.0).contains(&mean), "{mean}");
    }
}
