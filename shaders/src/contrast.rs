//! Twins of `contrast.wgsl` for reference pictures and tests.

/// Intensity of one channel mapped to 0..1, as the shader does it.
pub fn normalized_from_intensity(intensity: f32, limits: [f32; 2]) -> f32 {
    let span = limits[1] - limits[0];
    ((intensity - limits[0]) / if span > 0.0 { span } else { 1.0 }).clamp(0.0, 1.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_limits_split_at_the_limit_and_tiny_ranges_keep_their_contrast() {
        assert_eq!(normalized_from_intensity(5.0, [5.0, 5.0]), 0.0);
        assert_eq!(normalized_from_intensity(6.0, [5.0, 5.0]), 1.0);
        assert_eq!(normalized_from_intensity(1e-9, [0.0, 2e-9]), 0.5);
    }
}
