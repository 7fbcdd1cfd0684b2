// Intensity of one channel mapped to 0..1. Mirrors `normalized_from_intensity` in contrast.rs.
fn normalized_from_intensity(intensity: f32, limits: vec2f) -> f32 {
    // A blank image has equal limits. A fixed floor such as 1e-6 would flatten float images of tiny range.
    let span = limits.y - limits.x;
    return saturate((intensity - limits.x) / select(1.0, span, span > 0.0));
}

// Gamma as napari applies it: after the limits, before the colormap.
fn with_gamma(normalized: f32, gamma: f32) -> f32 {
    if GAMMA {
        return pow(normalized, gamma);
    }
    return normalized;
}
