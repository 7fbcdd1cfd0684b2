// One plane of a layer, drawn into the canvas in display values.

struct PlaneUniform {
    // Rectangle that the plane covers on the canvas, cut to the canvas: left, top, right, bottom, in canvas pixels.
    canvas_rect: vec4f,
    // Where in `first_texel` the canvas' upper left corner lies (x, y); texel n reaches from n to n + 1.
    texel_at_origin: vec2f,
    // Texels per canvas pixel along x and y.
    texels_per_pixel: vec2f,
    canvas_size: vec2f,
    contrast_limits: vec2f,
    plane_size: vec2u,
    gamma: f32,
    opacity: f32,
    slot: u32,
    colormap_row: u32,
    first_texel: vec2i,
}

@group(0) @binding(0) var<uniform> plane: PlaneUniform;
@group(0) @binding(1) var colormaps: texture_2d<f32>;
@group(1) @binding(0) var page: texture_2d_array<u32>;

@vertex
fn vertex(@builtin(vertex_index) index: u32) -> @builtin(position) vec4f {
    let corner = vec2f(f32(index & 1u), f32(index >> 1u));
    let pixel = mix(plane.canvas_rect.xy, plane.canvas_rect.zw, corner);
    let ndc = pixel / plane.canvas_size * 2.0 - 1.0;
    return vec4f(ndc.x, -ndc.y, 0.0, 1.0);
}

fn fetch(position: vec2i) -> u32 {
    let last = vec2i(plane.plane_size) - 1;
    return textureLoad(page, clamp(position, vec2i(0), last), plane.slot, 0).r;
}

// Hues by the golden ratio, in whole numbers so that large ids keep their colours. Mirrors `label_colour` in
// app/src/colormap/labels.rs.
fn label_colour(id: u32) -> vec3f {
    let hue = f32(id * 2654435769u) / 4294967296.0;
    let place = (vec3f(5.0, 3.0, 1.0) + vec3f(hue * 6.0)) % vec3f(6.0);
    let part = clamp(min(place, vec3f(4.0) - place), vec3f(0.0), vec3f(1.0));
    return vec3f(1.0) - 0.78 * part;
}

// Colour of one texel: red, green, blue, multiplied by the coverage that follows.
fn colour_of(texel: u32) -> vec4f {
    if SAMPLES == 1u && DECODE == DECODE_LABEL {
        // 0 is no object.
        let coverage = select(1.0, 0.0, texel == 0u);
        return vec4f(label_colour(texel) * coverage, coverage);
    }
    if SAMPLES == 1u {
        let normalized = with_gamma(normalized_from_intensity(intensity_from_texel(texel), plane.contrast_limits), plane.gamma);
        // A NaN has no intensity: nothing is drawn.
        let coverage = select(1.0, 0.0, texel_is_nan(texel));
        let entry = u32(clamp(normalized * 255.0 + 0.5, 0.0, 255.0));
        return vec4f(textureLoad(colormaps, vec2u(entry, plane.colormap_row), 0).rgb * coverage, coverage);
    }
    let raw = unpack4x8unorm(texel);
    let limits = plane.contrast_limits / 255.0;
    let colour = vec3f(
        with_gamma(normalized_from_intensity(raw.r, limits), plane.gamma),
        with_gamma(normalized_from_intensity(raw.g, limits), plane.gamma),
        with_gamma(normalized_from_intensity(raw.b, limits), plane.gamma),
    );
    return vec4f(colour * raw.a, raw.a);
}

@fragment
fn fragment(@builtin(position) position: vec4f) -> @location(0) vec4f {
    let at = plane.texel_at_origin + position.xy * plane.texels_per_pixel;
    var colour: vec4f;
    if LINEAR {
        // Between the centres of four texels; colours are mixed, so a colormap's own steps stay sharp.
        let corner = at - 0.5;
        let base = plane.first_texel + vec2i(floor(corner));
        let part = corner - floor(corner);
        let upper = mix(colour_of(fetch(base)), colour_of(fetch(base + vec2i(1, 0))), part.x);
        let lower = mix(colour_of(fetch(base + vec2i(0, 1))), colour_of(fetch(base + vec2i(1, 1))), part.x);
        colour = mix(upper, lower, part.y);
    } else {
        colour = colour_of(fetch(plane.first_texel + vec2i(floor(at))));
    }
    // Premultiplied: additive layers add it, translucent ones lie over what is below.
    return colour * plane.opacity;
}
