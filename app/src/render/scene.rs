//! What the canvas shows. Computed in the main world by plain functions, drawn in the render world.

use std::ops::{Deref, Range};
use std::sync::Arc;

use bevy::prelude::Resource;
use wellscope_protocol::dtype::ElementType;
use wellscope_store::{PixelBytes, Pixels, StoreError};

use crate::render::timing::PlaneTiming;

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
    pub prefetch: Vec<Neighbour>,
}

/// A plane that a slider move would show.
#[derive(Clone)]
pub struct Neighbour {
    /// The pixels.
    pub plane: PlaneSource,
    /// Data position of the centre of the first pixel.
    pub origin_yx: [f64; 2],
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
    /// Row of the colormap table, or [`LABEL_COLOURS`](crate::colormap::LABEL_COLOURS).
    pub colormap: u32,
    /// 0 transparent .. 1.
    pub opacity: f32,
    /// How it joins what is below.
    pub blending: Blending,
    /// How enlarged pixels look.
    pub interpolation: Interpolation,
}

impl PlaneDraw {
    /// Whether it gives the same picture. Pixels are compared by identity.
    pub fn shows_the_same(&self, other: &Self) -> bool {
        self.layer == other.layer
            && self.plane.id == other.plane.id
            && self.origin_yx == other.origin_yx
            && self.contrast_limits == other.contrast_limits
            && self.gamma == other.gamma
            && self.colormap == other.colormap
            && self.opacity == other.opacity
            && self.blending == other.blending
            && self.interpolation == other.interpolation
    }
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
    /// Values are ids of objects, which must not be mixed.
    pub labels: bool,
    /// Its way to the screen, for a plane that was shown when it arrived.
    pub timing: Option<Arc<PlaneTiming>>,
}

/// Pixels of a plane: a part of a block of pixels that is in memory, on disk, or both.
#[derive(Clone)]
pub struct PlanePixels {
    block: Pixels,
    range: Range<usize>,
}

impl PlanePixels {
    /// A part of a block.
    ///
    /// # Panics
    /// When `range` reaches beyond the block: shapes are checked against sizes where data comes in.
    pub fn new(block: Pixels, range: Range<usize>) -> Self {
        assert!(range.start <= range.end && range.end <= block.len(), "{range:?} of {} bytes", block.len());
        Self { block, range }
    }

    /// A block of its own, always in memory.
    pub fn from_vec(bytes: Vec<u8>) -> Self {
        let range = 0..bytes.len();
        Self::new(Pixels::from_vec(bytes), range)
    }

    /// Number of bytes, wherever they are.
    pub fn len(&self) -> usize {
        self.range.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.range.is_empty()
    }

    /// Whether nobody else holds these bytes.
    pub fn is_last_reference(&self) -> bool {
        self.block.is_last_reference()
    }

    /// The bytes if they are in memory. Never waits.
    pub fn in_memory(&self) -> Option<PlaneBytes> {
        Some(PlaneBytes { block: self.block.in_memory()?, range: self.range.clone() })
    }

    /// The bytes, brought back from disk when they were moved there: that takes as long as the disk takes.
    ///
    /// # Errors
    /// When the disk does not give them back.
    pub fn read(&self) -> Result<PlaneBytes, StoreError> {
        Ok(PlaneBytes { block: self.block.read()?, range: self.range.clone() })
    }
}

/// The bytes of a plane; they stay in memory as long as this is held.
#[derive(Clone)]
pub struct PlaneBytes {
    block: PixelBytes,
    range: Range<usize>,
}

impl Deref for PlaneBytes {
    type Target = [u8];
    fn deref(&self) -> &[u8] {
        &self.block[self.range.clone()]
    }
}
