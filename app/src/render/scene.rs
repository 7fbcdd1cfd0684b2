//! What the canvas shows. Computed in the main world by plain functions, drawn in the render world.

use std::ops::Range;
use std::sync::Arc;

use bevy::prelude::Resource;
use wellscope_protocol::dtype::ElementType;

/// Everything that one picture of the canvas depends on.
#[derive(Resource, Clone, Default)]
pub struct Scene {
    /// Grows by one with every change.
    pub generation: u64,
    /// Where the canvas lies in the target, in physical pixels.
    pub canvas: CanvasRect,
    /// Where it looks.
    pub camera: CanvasCamera,
    /// Colour where there is no image, sRGB.
    pub background: [u8; 3],
    /// Planes, bottom to top.
    pub draws: Vec<PlaneDraw>,
    /// Planes to make resident when the visible ones are, nearest first.
    pub prefetch: Vec<PlaneSource>,
}

/// A rectangle in physical pixels of the target.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct CanvasRect {
    /// Left edge.
    pub x: u32,
    /// Upper edge.
    pub y: u32,
    /// Extent along x.
    pub width: u32,
    /// Extent along y.
    pub height: u32,
}

/// Where the canvas looks.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct CanvasCamera {
    /// Data position of the canvas centre; the centre of n pixels is (n - 1) / 2.
    pub center_yx: [f64; 2],
    /// Physical screen pixels per data pixel.
    pub zoom: f64,
}

impl Default for CanvasCamera {
    fn default() -> Self {
        Self { center_yx: [0.0, 0.0], zoom: 1.0 }
    }
}

/// One plane and how it is drawn.
#[derive(Clone)]
pub struct PlaneDraw {
    /// The layer that it belongs to; its last plane stays until this one is resident.
    pub layer: u64,
    /// The pixels.
    pub plane: PlaneSource,
    /// Data position of the centre of the first pixel.
    pub origin_yx: [f64; 2],
    /// Intensities drawn as black and as full colour.
    pub contrast_limits: [f32; 2],
    /// Exponent after contrast; 1 is linear.
    pub gamma: f32,
    /// Row of the colormap table.
    pub colormap: u32,
    /// 0 transparent .. 1.
    pub opacity: f32,
    /// How it joins what is below.
    pub blending: Blending,
    /// How enlarged pixels look.
    pub interpolation: Interpolation,
}

/// How a layer joins those below it, in display values.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub enum Blending {
    /// Sum, clamped at white.
    #[default]
    Additive,
    /// Over, by opacity.
    Translucent,
    /// Replaces what is below.
    Opaque,
}

/// How enlarged pixels look.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub enum Interpolation {
    /// Squares.
    #[default]
    Nearest,
    /// Smooth.
    Linear,
}

/// Identity of a plane's pixels; a new one whenever they change.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct PlaneId(pub u64);

/// One 2-D image in host memory.
#[derive(Clone)]
pub struct PlaneSource {
    /// Identity.
    pub id: PlaneId,
    /// Pixels along x.
    pub width: u32,
    /// Pixels along y.
    pub height: u32,
    /// Samples per pixel: 1, 3 (RGB) or 4 (RGBA).
    pub samples: u8,
    /// What one sample is.
    pub element: ElementType,
    /// Little-endian, C order, `height x width x samples` elements.
    pub pixels: PlanePixels,
}

/// Bytes shared with whoever else holds them; cloning copies none.
#[derive(Clone)]
pub struct PlanePixels {
    bytes: Arc<dyn AsRef<[u8]> + Send + Sync>,
    range: Range<usize>,
}

impl PlanePixels {
    /// A part of a buffer.
    ///
    /// # Panics
    /// When `range` reaches beyond the buffer: shapes are checked against sizes where data comes in.
    pub fn new(bytes: impl AsRef<[u8]> + Send + Sync + 'static, range: Range<usize>) -> Self {
        assert!(range.end <= bytes.as_ref().len(), "{range:?} of {} bytes", bytes.as_ref().len());
        Self { bytes: Arc::new(bytes), range }
    }

    /// Whether nobody else holds these bytes.
    pub fn is_last_reference(&self) -> bool {
        Arc::strong_count(&self.bytes) == 1
    }

    /// The bytes.
    pub fn as_bytes(&self) -> &[u8] {
        &(*self.bytes).as_ref()[self.range.clone()]
    }
}
