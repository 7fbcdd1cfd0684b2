// The canvas, put under the panels of the window.

struct PresentUniform {
    // Upper left corner of the canvas in the target, in pixels.
    origin: vec2f,
    padding: vec2f,
}

@group(0) @binding(0) var<uniform> present: PresentUniform;
@group(0) @binding(1) var canvas: texture_2d<f32>;

@vertex
fn vertex(@builtin(vertex_index) index: u32) -> @builtin(position) vec4f {
    // One triangle that covers everything; the scissor rectangle cuts it to the canvas.
    let corner = vec2f(f32((index << 1u) & 2u), f32(index & 2u));
    return vec4f(corner * 2.0 - 1.0, 0.0, 1.0);
}

@fragment
fn fragment(@builtin(position) position: vec4f) -> @location(0) vec4f {
    let display = textureLoad(canvas, vec2i(position.xy - present.origin), 0).rgb;
    if TARGET_IS_SRGB {
        return vec4f(linear_from_srgb(display), 1.0);
    }
    return vec4f(display, 1.0);
}
