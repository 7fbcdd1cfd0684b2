// Display values (sRGB) to linear light, for targets that encode on write.
fn linear_from_srgb(display: vec3f) -> vec3f {
    let low = display / 12.92;
    let high = pow((display + 0.055) / 1.055, vec3f(2.4));
    return select(high, low, display <= vec3f(0.04045));
}
