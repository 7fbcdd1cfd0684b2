//! From data and the user's wishes to what is drawn. Plain functions; the renderer only carries them out.

use wellscope_protocol::dtype::ElementType;
use wellscope_protocol::route::RouteKind;

use crate::colormap::{ColormapRows, LABEL_COLOURS};
use crate::render::scene::{CanvasCamera, Neighbour, PlaneDraw};
use crate::viewer::Viewer;
use crate::viewer::layer::{Entry, Layer, Plane, ShapeSet};

/// Planes on each side of the current one that are made resident ahead of a slider move.
const PREFETCH_REACH: i64 = 3;

/// What the canvas is to show.
#[derive(Default)]
pub struct Resolved {
    /// Where the canvas looks.
    pub camera: CanvasCamera,
    /// Planes, bottom to top.
    pub draws: Vec<PlaneDraw>,
    /// Planes that a slider move would show next.
    pub prefetch: Vec<Neighbour>,
    /// Things to tell the user once, e.g. an unknown colormap.
    pub warnings: Vec<String>,
}

impl Viewer {
    /// Decides what is drawn. `rows` assigns lines of the colormap table.
    pub fn resolve(&self, rows: &mut ColormapRows) -> Resolved {
        let mut resolved = Resolved {
            camera: CanvasCamera { center_yx: self.camera.center_yx, zoom: self.camera.zoom },
            ..Resolved::default()
        };
        for layer in self.layers.values().filter(|layer| layer.visible && layer.kind == RouteKind::Image) {
            if let Some(plane) = layer.plane_at(&self.axes) {
                resolved.draws.extend(self.draw_of(layer, plane, rows));
            }
            self.collect_neighbours(layer, &mut resolved.prefetch);
        }
        resolved.warnings = rows.take_warnings();
        resolved
    }

    /// Whether nothing that the sliders select waits for its first contrast limits; such a plane is not drawn yet.
    pub fn is_view_measured(&self) -> bool {
        let shown = self.layers.values().filter(|layer| layer.visible && layer.kind == RouteKind::Image);
        shown.filter_map(|layer| Some((layer, layer.plane_at(&self.axes)?))).all(|(layer, plane)| {
            plane.source.samples > 1
                || plane.source.element == ElementType::Bool
                || layer.draws_labels(plane, layer.channel_at(&self.axes))
                || layer
                    .display
                    .channel(layer.channel_at(&self.axes))
                    .is_some_and(|channel| channel.contrast_limits.is_some())
        })
    }

    /// Titles of visible image layers that have nothing yet where the sliders stand, though they cover that place.
    pub fn holes(&self) -> Vec<String> {
        let shown = self.layers.values().filter(|layer| layer.visible && layer.kind == RouteKind::Image);
        let is_hole = |layer: &&Layer| layer.covers_sliders(&self.axes) && layer.plane_at(&self.axes).is_none();
        shown.filter(is_hole).map(|layer| layer.title.clone()).collect()
    }

    /// Shapes and points that the sliders select, bottom to top.
    pub fn visible_shapes(&self) -> impl Iterator<Item = (&Layer, &ShapeSet)> {
        self.layers.values().filter(|layer| layer.visible).filter_map(|layer| {
            match layer.get(&layer.coordinate_at(&self.axes)?)? {
                Entry::Shapes(set) => Some((layer, set)),
                Entry::Plane(_) => None,
            }
        })
    }

    /// `None` while the plane waits for its first statistics: without limits there is nothing true to draw.
    fn draw_of(&self, layer: &Layer, plane: &Plane, rows: &mut ColormapRows) -> Option<PlaneDraw> {
        let channel = layer.channel_at(&self.axes);
        let display = layer.display.channel(channel);
        let is_colour = plane.source.samples > 1;
        let is_labels = layer.draws_labels(plane, channel);
        let limits = match display.and_then(|display| display.contrast_limits) {
            _ if is_colour || is_labels => [0.0, 255.0],
            Some(limits) => limits,
            None if plane.source.element == ElementType::Bool => [0.0, 1.0],
            None => return None,
        };
        Some(PlaneDraw {
            layer: layer.id.0,
            plane: plane.source.clone(),
            origin_yx: plane.origin_yx,
            contrast_limits: limits.map(|limit| limit as f32),
            gamma: display.map_or(1.0, |display| display.gamma as f32),
            colormap: if is_labels { LABEL_COLOURS } else { rows.row_of(layer.display.colormap_of(channel)) },
            opacity: layer.display.opacity,
            blending: layer.display.blending,
            interpolation: layer.display.interpolation,
        })
    }

    /// Nearest first, both directions, along the slider that moves.
    fn collect_neighbours(&self, layer: &Layer, found: &mut Vec<Neighbour>) {
        let Some(axis) = self.focused_slider().filter(|axis| layer.axes.contains(axis)) else { return };
        let Some(here) = layer.coordinate_at(&self.axes) else { return };
        let slider = self.axes.get(axis);
        let Some(current) = slider.current().map(|id| slider.index_of(id) as i64) else { return };
        for distance in (1..=PREFETCH_REACH).flat_map(|reach| [reach, -reach]) {
            let Ok(index) = usize::try_from(current + distance) else { continue };
            if let Some(value) = slider.sorted().get(index)
                && let Some(Entry::Plane(plane)) = layer.get(&here.with(axis, *value))
            {
                found.push(Neighbour { plane: plane.source.clone(), origin_yx: plane.origin_yx });
            }
        }
    }
}
