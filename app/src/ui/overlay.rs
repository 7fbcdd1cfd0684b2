//! What is drawn over the images: the label of the sliders' places, what is missing, the scale bar, shapes and points,
//! the border that tells viewers apart.

use bevy_egui::egui::{
    Align2, Color32, FontFamily, FontId, Painter, Pos2, Rect, Shape, Stroke, StrokeKind, pos2, vec2,
};
use wellscope_protocol::batch::{ShapeGeometry, VoxelSpacing};
use wellscope_protocol::route::RouteKind;

use super::status::ViewerStatus;
use super::{text, theme};
use crate::colormap::label_colour;
use crate::viewer::Viewer;
use crate::viewer::camera::Camera;
use crate::viewer::layer::Layer;

/// As napari's OpenHCS server draws it (openhcs 0.8.6).
const OVERLAY_SIZE: f32 = 14.0;
/// Width of the border, as OpenHCS draws it around its viewers, in points.
const ACCENT_WIDTH: f32 = 6.0;
const MARGIN: f32 = 12.0;
/// Part of the canvas that a scale bar may take.
const LONGEST_SCALE_BAR: f32 = 0.2;
/// Opacity of shapes and points, as napari's OpenHCS server draws them.
const SHAPE_OPACITY: f32 = 0.7;
/// Diameter of a point, in data pixels (openhcs 0.8.6).
const POINT_DIAMETER: f64 = 3.0;

/// Draws everything over a canvas, given in points.
pub(super) fn paint(painter: &Painter, canvas: Rect, viewer: &Viewer, status: &ViewerStatus) {
    let painter = painter.with_clip_rect(canvas);
    paint_shapes(&painter, canvas, viewer);
    let mut inset = MARGIN;
    if let Some([red, green, blue]) = status.accent {
        let stroke = Stroke::new(ACCENT_WIDTH, Color32::from_rgb(red, green, blue));
        painter.rect_stroke(canvas, 0.0, stroke, StrokeKind::Inside);
        inset += ACCENT_WIDTH;
    }
    if viewer.layers.is_empty() {
        paint_hint(&painter, canvas, status);
        return;
    }
    let width = canvas.width() - 2.0 * inset;
    let mut position = canvas.min + vec2(inset, inset);
    for (line, size, colour) in overlay_lines(viewer) {
        let height = paint_readable(&painter, position, &line, size, colour, width);
        position.y += height + 3.0;
    }
    paint_scale_bar(&painter, canvas.shrink(inset), viewer);
}

/// Lines in the upper left corner, with size and colour.
fn overlay_lines(viewer: &Viewer) -> Vec<(String, f32, Color32)> {
    let quiet = |line: String| (line, 12.0, Color32::from_rgb(0xc3, 0xc8, 0xd0));
    let mut lines = Vec::new();
    let label = viewer.overlay();
    if !label.is_empty() {
        lines.push((label, OVERLAY_SIZE, Color32::WHITE));
    }
    let holes = viewer.holes();
    if !holes.is_empty() {
        lines.push(quiet(format!("not received yet: {}", holes.join(", "))));
    }
    if viewer.layers.values().all(|layer| !layer.visible) {
        lines.push(quiet("all layers are hidden".to_owned()));
    }
    lines
}

/// Text that can be read on any image. Returns its height.
fn paint_readable(painter: &Painter, at: Pos2, text: &str, size: f32, colour: Color32, width: f32) -> f32 {
    let galley = painter.layout(text.to_owned(), FontId::new(size, FontFamily::Proportional), colour, width);
    let height = galley.size().y;
    // A soft dark plate and rim: bright and noisy images would swallow white text.
    let plate = Rect::from_min_size(at, galley.size()).expand2(vec2(5.0, 1.5));
    painter.rect_filled(plate, 3.0, Color32::from_black_alpha(160));
    for (x, y) in [(-1.0, 0.0), (1.0, 0.0), (0.0, -1.0), (0.0, 1.0), (1.0, 1.0), (1.5, 1.5)] {
        painter.galley_with_override_text_color(at + vec2(x, y), galley.clone(), Color32::from_black_alpha(110));
    }
    painter.galley(at, galley, colour);
    height
}

fn paint_hint(painter: &Painter, canvas: Rect, status: &ViewerStatus) {
    let font = |size: f32| FontId::new(size, FontFamily::Proportional);
    let center = canvas.center();
    let lines = [
        (format!("Waiting for images on {}", status.endpoint), 20.0, theme::TEXT, -26.0),
        (
            "Run a pipeline that streams to this port; its images appear here as they are made.".to_owned(),
            13.0,
            theme::WEAK_TEXT,
            6.0,
        ),
        ("Press F1 for keys and mouse.".to_owned(), 13.0, theme::WEAK_TEXT, 28.0),
    ];
    for (line, size, colour, down) in lines {
        let galley = painter.layout(line, font(size), colour, (canvas.width() - 24.0).max(40.0));
        let position = Align2::CENTER_CENTER.anchor_size(center + vec2(0.0, down), galley.size());
        painter.galley(position.min, galley, colour);
    }
}

fn paint_scale_bar(painter: &Painter, inside: Rect, viewer: &Viewer) {
    let shown = viewer.layers.values().rev().filter(|layer| layer.visible && layer.kind == RouteKind::Image);
    let Some(spacing) = shown.filter_map(|layer| layer.plane_at(&viewer.axes)?.voxel_spacing.as_ref()).next() else {
        return;
    };
    let points_per_pixel = viewer.camera.zoom / f64::from(painter.pixels_per_point());
    let Some(bar) = ScaleBar::new(spacing, points_per_pixel, f64::from(inside.width() * LONGEST_SCALE_BAR)) else {
        return;
    };
    let width = bar.width_points as f32;
    let right = inside.right_bottom();
    let line = Rect::from_min_max(right - vec2(width, 4.0), right);
    painter.rect_filled(line.expand(1.0), 1.0, Color32::from_black_alpha(140));
    painter.rect_filled(line, 0.0, Color32::WHITE);
    let font = FontId::new(13.0, FontFamily::Proportional);
    let galley = painter.layout_no_wrap(bar.text, font, Color32::WHITE);
    let at = pos2(line.center().x - galley.size().x / 2.0, line.top() - 4.0 - galley.size().y);
    let at = pos2(at.x.min(right.x - galley.size().x), at.y);
    let text = galley.text().to_owned();
    paint_readable(painter, at, &text, 13.0, Color32::WHITE, f32::INFINITY);
}

/// How long a scale bar is and what it says.
#[derive(Clone, PartialEq, Debug)]
pub struct ScaleBar {
    /// Its length on screen, in points.
    pub width_points: f64,
    /// Its length in the sample, e.g. `50 µm`.
    pub text: String,
}

impl ScaleBar {
    /// The longest round length that fits `longest_points`. `None` when nothing sensible can be drawn.
    pub fn new(spacing: &VoxelSpacing, points_per_pixel: f64, longest_points: f64) -> Option<Self> {
        let pixel_size = spacing.values_zyx[2];
        let longest = longest_points / points_per_pixel * pixel_size;
        if !(longest.is_finite() && longest > 0.0 && longest_points >= 1.0) {
            return None;
        }
        let length = nice_length(longest);
        let text = length_text(length, &spacing.unit);
        Some(Self { width_points: length / pixel_size * points_per_pixel, text })
    }
}

/// The greatest of 1, 2, 5, 10, 20, 50, ... (and 0.5, 0.2, ...) that is not above `longest`, which is positive.
pub fn nice_length(longest: f64) -> f64 {
    // A hair more than asked for, so that 0.3 / 0.1 does not lose its 3rd tenth to rounding.
    let longest = longest * (1.0 + 1e-9);
    let decade = 10_f64.powf(longest.log10().floor());
    let step = [5.0, 2.0, 1.0].into_iter().find(|step| step * decade <= longest).unwrap_or(0.5);
    step * decade
}

/// `50 µm`, `500 nm`, `2 mm`; units other than metres as the producer names them.
pub fn length_text(length: f64, unit: &str) -> String {
    let number = |value: f64| text::number_text(value, 3);
    let in_um = match unit.trim().to_lowercase().as_str() {
        "" | "micrometer" | "micrometers" | "micrometre" | "micrometres" | "micron" | "microns" | "um" | "µm"
        | "μm" => 1.0,
        "nanometer" | "nanometers" | "nanometre" | "nanometres" | "nm" => 1e-3,
        "millimeter" | "millimeters" | "millimetre" | "millimetres" | "mm" => 1e3,
        _ => return format!("{} {}", number(length), unit.trim()),
    };
    let um = length * in_um;
    // Rounding keeps 0.2 x 1000 from reading 200.00000000000003.
    let rounded = |value: f64| (value * 1e6).round() / 1e6;
    if um < 1.0 {
        format!("{} nm", number(rounded(um * 1e3)))
    } else if um < 1e3 {
        format!("{} µm", number(rounded(um)))
    } else {
        format!("{} mm", number(rounded(um / 1e3)))
    }
}

/// Shapes and points that the sliders select. Plain lines, without fill.
fn paint_shapes(painter: &Painter, canvas: Rect, viewer: &Viewer) {
    let view = View { canvas, camera: &viewer.camera, points_per_screen_pixel: 1.0 / painter.pixels_per_point() };
    for (layer, set) in viewer.visible_shapes() {
        let selected = layer.selected_in(set);
        for (place, shape) in set.shapes.iter().enumerate() {
            paint_shape(painter, &view, layer, &shape.geometry, shape.label, selected == Some(place));
        }
    }
}

/// The element that a client pointed at is drawn on a wide black and white line, which stands out from every image.
fn paint_shape(
    painter: &Painter,
    view: &View,
    layer: &Layer,
    geometry: &ShapeGeometry,
    label: Option<u32>,
    is_selected: bool,
) {
    let opacity = SHAPE_OPACITY * layer.display.opacity;
    if let ShapeGeometry::Points(points) = geometry {
        let radius = (view.points_per_data_pixel() * POINT_DIAMETER / 2.0).max(2.0) as f32;
        let colour = Color32::GREEN.gamma_multiply(opacity);
        for at in points.iter().map(|point| view.position(*point)).filter(|at| view.canvas.expand(radius).contains(*at))
        {
            if is_selected {
                painter.circle_filled(at, radius + 4.0, Color32::BLACK);
                painter.circle_filled(at, radius + 2.5, Color32::WHITE);
            }
            painter.circle_filled(at, radius, colour);
        }
        return;
    }
    let Some((outline, closes)) = geometry.outline() else { return };
    let mut bounds = Rect::NOTHING;
    let mut line: Vec<Pos2> = Vec::with_capacity(outline.len());
    for at in outline.iter().map(|vertex| view.position(*vertex)) {
        bounds.extend_with(at);
        // Vertices closer than this cannot be told apart; dense outlines seen from afar would cost much.
        if line.last().is_none_or(|last| last.distance_sq(at) >= 0.5) {
            line.push(at);
        }
    }
    if !bounds.intersects(view.canvas) {
        return;
    }
    let [red, green, blue] = label_colour(label.unwrap_or_default());
    let colour = Color32::from_rgb(red, green, blue).gamma_multiply(opacity);
    if is_selected && line.len() > 1 {
        for (width, halo) in [(6.5, Color32::BLACK), (4.5, Color32::WHITE)] {
            let stroke = Stroke::new(width, halo);
            painter.add(if closes {
                Shape::closed_line(line.clone(), stroke)
            } else {
                Shape::line(line.clone(), stroke)
            });
        }
    }
    match line.len() {
        0 => {}
        1 => {
            if is_selected {
                painter.circle_filled(bounds.center(), 5.0, Color32::WHITE);
            }
            painter.circle_filled(bounds.center(), 1.0, colour);
        }
        _ if closes => {
            painter.add(Shape::closed_line(line, Stroke::new(1.5, colour)));
        }
        _ => {
            painter.line(line, Stroke::new(1.5, colour));
        }
    }
}

struct View<'a> {
    canvas: Rect,
    camera: &'a Camera,
    points_per_screen_pixel: f32,
}

impl View<'_> {
    fn position(&self, data_yx: [f64; 2]) -> Pos2 {
        let [x, y] = self.camera.canvas_from_data(data_yx).map(|pixels| pixels as f32 * self.points_per_screen_pixel);
        self.canvas.min + vec2(x, y)
    }

    fn points_per_data_pixel(&self) -> f64 {
        self.camera.zoom * f64::from(self.points_per_screen_pixel)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_are_round_and_fit() {
        for (longest, nice) in [(1.0, 1.0), (1.9, 1.0), (2.0, 2.0), (4.99, 2.0), (73.0, 50.0), (0.3, 0.2), (1e-4, 1e-4)]
        {
            let found = nice_length(longest);
            assert!((found - nice).abs() < nice * 1e-6, "{longest}: {found}");
        }
    }

    #[test]
    fn lengths_are_told_in_the_unit_that_people_use() {
        assert_eq!(length_text(50.0, "micrometers"), "50 µm");
        assert_eq!(length_text(0.2, "um"), "200 nm");
        assert_eq!(length_text(2000.0, "µm"), "2 mm");
        assert_eq!(length_text(500.0, "nanometer"), "500 nm");
        assert_eq!(length_text(5.0, "pixels"), "5 pixels");
    }

    #[test]
    fn a_scale_bar_is_as_long_as_it_says() {
        let spacing = VoxelSpacing { values_zyx: [1.0, 0.65, 0.65], unit: "micrometers".to_owned() };
        let bar = ScaleBar::new(&spacing, 2.0, 200.0).unwrap();
        assert_eq!(bar.text, "50 µm");
        assert!((bar.width_points - 50.0 / 0.65 * 2.0).abs() < 1e-9);
        assert!(bar.width_points <= 200.0);
        assert_eq!(ScaleBar::new(&spacing, 2.0, 0.0), None);
    }
}
