// Texels as they lie on the GPU back to the intensities that the producer sent.
// DECODE is a constant of the pipeline, so the other branches are compiled away.

fn intensity_from_texel(texel: u32) -> f32 {
    switch DECODE {
        case DECODE_U32: { return f32(texel); }
        case DECODE_I8: { return f32(i32(texel << 24u) >> 24u); }
        case DECODE_I16: { return f32(i32(texel << 16u) >> 16u); }
        case DECODE_I32: { return f32(bitcast<i32>(texel)); }
        case DECODE_F16: { return unpack2x16float(texel).x; }
        default: { return bitcast<f32>(texel); }
    }
}

// NaN has all exponent bits set and a mantissa; comparing with itself may be folded away by fast-math compilers.
fn texel_is_nan(texel: u32) -> bool {
    switch DECODE {
        case DECODE_F16: { return (texel & 0x7c00u) == 0x7c00u && (texel & 0x03ffu) != 0u; }
        case DECODE_F32: { return (texel & 0x7f800000u) == 0x7f800000u && (texel & 0x007fffffu) != 0u; }
        default: { return false; }
    }
}
