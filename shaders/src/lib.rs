//! WGSL of wellscope and the Rust structs that mirror its uniforms.
//!
//! A shader is its entry file, the shared parts that it needs, and a head of constants that specialise it; compilers drop
//! the branches that a constant rules out. Plain concatenation instead of `#import`: there are three short files, and naga
//! alone can then check every combination.

pub mod contrast;

use bytemuck::{Pod, Zeroable};

/// How a texel becomes an intensity.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Decode {
    /// Unsigned integers of any width.
    U32,
    /// 8-bit signed, in the low byte.
    I8,
    /// 16-bit signed, in the low half.
    I16,
    /// 32-bit signed.
    I32,
    /// 16-bit float, in the low half.
    F16,
    /// 32-bit float, by its bits.
    F32,
    /// The id of a label, which has a colour of its own.
    Label,
}

impl Decode {
    /// All of them.
    pub const ALL: [Self; 7] = [Self::U32, Self::I8, Self::I16, Self::I32, Self::F16, Self::F32, Self::Label];
}

/// What a plane's shader is specialised for.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct PlaneShaderKey {
    /// How texels are read; of no account for colour.
    pub decode: Decode,
    /// RGBA, packed into 32 bits, instead of one intensity.
    pub is_colour: bool,
    /// Gamma differs from 1.
    pub has_gamma: bool,
    /// Smooth instead of square pixels.
    pub is_linear: bool,
}

impl PlaneShaderKey {
    /// Every combination that can be drawn.
    pub fn all() -> Vec<Self> {
        let mut keys = Vec::new();
        for has_gamma in [false, true] {
            for is_linear in [false, true] {
                keys.push(Self { decode: Decode::U32, is_colour: true, has_gamma, is_linear });
                keys.extend(Decode::ALL.map(|decode| Self { decode, is_colour: false, has_gamma, is_linear }));
            }
        }
        keys
    }
}

/// WGSL that draws one plane into the canvas. Entry points `vertex` (4 vertices, triangle strip) and `fragment`.
pub fn plane_shader(key: PlaneShaderKey) -> String {
    let mut head = String::new();
    for (number, name) in ["U32", "I8", "I16", "I32", "F16", "F32", "LABEL"].iter().enumerate() {
        head.push_str(&format!("const DECODE_{name}: u32 = {number}u;\n"));
    }
    head.push_str(&format!(
        "const DECODE: u32 = {}u;\nconst SAMPLES: u32 = {}u;\nconst GAMMA: bool = {};\nconst LINEAR: bool = {};\n",
        key.decode as u32,
        if key.is_colour { 4 } else { 1 },
        key.has_gamma,
        key.is_linear,
    ));
    [&head, include_str!("decode.wgsl"), include_str!("contrast.wgsl"), include_str!("plane.wgsl")].concat()
}

/// Mirrors `PlaneUniform` in plane.wgsl, field by field.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Debug, Default, Pod, Zeroable)]
pub struct PlaneUniform {
    /// Left, top, right, bottom in canvas pixels, cut to the canvas.
    pub canvas_rect: [f32; 4],
    /// Where in texel [`first_texel`](Self::first_texel) the canvas' upper left corner lies (x, y), 0 to 1.
    pub texel_at_origin: [f32; 2],
    /// Texels per canvas pixel (x, y).
    pub texels_per_pixel: [f32; 2],
    /// Width and height of the canvas in pixels.
    pub canvas_size: [f32; 2],
    /// Intensities drawn as black and as full colour.
    pub contrast_limits: [f32; 2],
    /// Width and height of the plane in texels.
    pub plane_size: [u32; 2],
    /// Exponent after contrast.
    pub gamma: f32,
    /// 0 transparent .. 1.
    pub opacity: f32,
    /// Layer of the texture array.
    pub slot: u32,
    /// Row of the colormap texture.
    pub colormap_row: u32,
    /// Texel (x, y) under the canvas' upper left corner, possibly outside of the plane.
    pub first_texel: [i32; 2],
}

#[cfg(test)]
mod tests {
    use super::*;
    use naga::valid::{Capabilities, ValidationFlags, Validator};

    fn validated(wgsl: &str) -> naga::Module {
        let module =
            naga::front::wgsl::parse_str(wgsl).unwrap_or_else(|error| panic!("{}", error.emit_to_string(wgsl)));
        // For unpack2x16float; wgpu grants it on Vulkan, Metal and DX12.
        let mut validator = Validator::new(ValidationFlags::all(), Capabilities::SHADER_FLOAT16_IN_FLOAT32);
        validator.validate(&module).unwrap_or_else(|error| panic!("{}", error.emit_to_string(wgsl)));
        module
    }

    fn offsets(module: &naga::Module, name: &str) -> (Vec<(String, u32)>, u32) {
        let (_, found) = module.types.iter().find(|(_, ty)| ty.name.as_deref() == Some(name)).unwrap();
        let naga::TypeInner::Struct { members, span } = &found.inner else { panic!("{name} is no struct") };
        (members.iter().map(|member| (member.name.clone().unwrap(), member.offset)).collect(), *span)
    }

    #[test]
    fn every_specialisation_is_valid() {
        assert_eq!(PlaneShaderKey::all().len(), 32);
        for key in PlaneShaderKey::all() {
            validated(&plane_shader(key));
        }
    }

    #[test]
    fn uniforms_have_the_layout_that_the_shaders_read() {
        let module = validated(&plane_shader(PlaneShaderKey::all()[0]));
        let mirror = [
            ("canvas_rect", std::mem::offset_of!(PlaneUniform, canvas_rect)),
            ("texel_at_origin", std::mem::offset_of!(PlaneUniform, texel_at_origin)),
            ("texels_per_pixel", std::mem::offset_of!(PlaneUniform, texels_per_pixel)),
            ("canvas_size", std::mem::offset_of!(PlaneUniform, canvas_size)),
            ("contrast_limits", std::mem::offset_of!(PlaneUniform, contrast_limits)),
            ("plane_size", std::mem::offset_of!(PlaneUniform, plane_size)),
            ("gamma", std::mem::offset_of!(PlaneUniform, gamma)),
            ("opacity", std::mem::offset_of!(PlaneUniform, opacity)),
            ("slot", std::mem::offset_of!(PlaneUniform, slot)),
            ("colormap_row", std::mem::offset_of!(PlaneUniform, colormap_row)),
            ("first_texel", std::mem::offset_of!(PlaneUniform, first_texel)),
        ];
        let (members, span) = offsets(&module, "PlaneUniform");
        assert_eq!(members, mirror.map(|(name, offset)| (name.to_owned(), offset as u32)));
        assert_eq!(span as usize, size_of::<PlaneUniform>());
    }
}
