//! What a slider would show at another value: a small picture of one plane, as its layer colours it.

use wellscope_protocol::route::RouteKind;

use crate::colormap::ColormapTable;
use crate::render::scene::{PlaneBytes, PlaneSource};
use crate::statistics::{Look, Raster, Thumbnail, auto_limits, rgba_of};
use crate::viewer::Viewer;
use crate::viewer::axes::{AxisId, ValueId};
use crate::viewer::layer::{Layer, Plane};

/// A plane's values under their shape.
pub fn raster_of<'a>(plane: &PlaneSource, bytes: &'a [u8]) -> Raster<'a> {
    let PlaneSource { width, height, samples, element, labels, .. } = *plane;
    Raster { width, height, samples, element, labels, bytes }
}

/// A small picture of a plane.
pub enum SmallPicture<'a> {
    /// Made when the plane was measured.
    Thumbnail(&'a Thumbnail),
    /// The plane itself, which is small.
    Whole(&'a PlaneSource, PlaneBytes),
}

impl SmallPicture<'_> {
    /// Its values.
    pub fn raster(&self) -> Raster<'_> {
        match self {
            Self::Thumbnail(thumbnail) => thumbnail.raster(),
            Self::Whole(plane, bytes) => raster_of(plane, bytes),
        }
    }
}

impl Plane {
    /// A small picture of the plane. `None` until it is measured, and for a small plane that is on disk: this never waits.
    pub fn small_picture(&self) -> Option<SmallPicture<'_>> {
        if let Some(thumbnail) = &self.thumbnail {
            return Some(SmallPicture::Thumbnail(thumbnail));
        }
        raster_of(&self.source, &[]).is_small().then_some(())?;
        Some(SmallPicture::Whole(&self.source, self.source.pixels.in_memory()?))
    }
}

/// A plane that is not shown, and how its layer would show it.
pub struct PlanePreview<'a> {
    /// The layer.
    pub layer: &'a Layer,
    /// The plane.
    pub plane: &'a Plane,
    /// The small picture.
    pub picture: SmallPicture<'a>,
    /// Intensities drawn as the first and the last colour.
    pub contrast_limits: [f64; 2],
    /// Exponent after contrast.
    pub gamma: f32,
    /// Name of the colormap.
    pub colormap: &'a str,
    /// Whether values are drawn in the colours of label ids.
    pub label_colours: bool,
}

impl PlanePreview<'_> {
    /// The picture's pixels, RGBA of 8 bits, 4 bytes per pixel of the small picture.
    pub fn rgba(&self, colours: &ColormapTable) -> Option<Vec<u8>> {
        let PlanePreview { contrast_limits, gamma, label_colours, .. } = *self;
        rgba_of(self.picture.raster(), Look { contrast_limits, gamma, colours, label_colours })
    }
}

impl Viewer {
    /// The plane that would be shown if one slider moved to a value: of the selected layer, or else of the uppermost visible
    /// one that has a plane there. `None` where nothing was received or measured. Reads memory only and never waits.
    pub fn preview_at(&self, axis: AxisId, value: ValueId) -> Option<PlanePreview<'_>> {
        let is_shown = |layer: &&Layer| layer.visible && layer.kind == RouteKind::Image;
        let selected = self.selected_layer().into_iter();
        selected.chain(self.layers.values().rev()).filter(is_shown).find_map(|layer| {
            let here = layer.coordinate_at(&self.axes)?;
            let there = if layer.axes.contains(&axis) { here.with(axis, value) } else { here };
            let plane = layer.get(&there)?.as_plane()?;
            let channel = layer.channel_of(&there, &self.axes);
            let display = layer.display.channel(channel);
            let contrast_limits = display
                .and_then(|display| display.contrast_limits)
                .or_else(|| plane.statistics.as_deref().map(auto_limits))?;
            Some(PlanePreview {
                layer,
                plane,
                picture: plane.small_picture()?,
                contrast_limits,
                gamma: display.map_or(1.0, |display| display.gamma as f32),
                colormap: layer.display.colormap_of(channel),
                label_colours: layer.draws_labels(plane, channel),
            })
        })
    }
}
