//! Small drawings on buttons. Drawn rather than written: not every font has the signs, and their sizes differ.

use bevy_egui::egui::{Color32, Painter, Pos2, Rect, Response, Sense, Shape, Stroke, StrokeKind, Ui, pos2, vec2};

/// What is drawn.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Icon {
    /// Shown.
    Eye,
    /// Hidden.
    EyeClosed,
    /// To the previous value.
    Previous,
    /// To the next value.
    Next,
    /// Dismiss.
    Cross,
    /// Back to the default.
    Reset,
    /// Problems.
    Warning,
    /// A menu opens.
    Down,
    /// A layer of shapes.
    Shapes,
    /// A layer of points.
    Points,
}

/// Side of an icon, in points.
pub const ICON_SIDE: f32 = 14.0;

/// A button without a frame; what is behind it shows until the pointer is on it.
pub fn icon_button(ui: &mut Ui, icon: Icon, enabled: bool, hover_text: &str) -> Response {
    let side = ui.spacing().interact_size.y;
    let sense = if enabled { Sense::click() } else { Sense::hover() };
    let (rect, response) = ui.allocate_exact_size(vec2(side, side), sense);
    let visuals = ui.style().interact(&response);
    if enabled && response.hovered() {
        ui.painter().rect_filled(rect.shrink(1.0), 4.0, visuals.bg_fill);
    }
    let colour = if enabled { visuals.fg_stroke.color } else { ui.visuals().weak_text_color().gamma_multiply(0.5) };
    paint(ui.painter(), icon, rect.center(), colour);
    response.on_hover_text(hover_text)
}

/// Draws an icon around a point.
pub fn paint(painter: &Painter, icon: Icon, center: Pos2, colour: Color32) {
    let stroke = Stroke::new(1.4, colour);
    let at = |x: f32, y: f32| center + vec2(x, y);
    match icon {
        Icon::Eye => {
            paint_eye(painter, center, stroke);
            painter.circle_filled(center, 2.2, colour);
        }
        Icon::EyeClosed => {
            let faint = colour.gamma_multiply(0.55);
            paint_eye(painter, center, Stroke::new(1.4, faint));
            painter.line_segment([at(-5.0, 5.0), at(5.0, -5.0)], Stroke::new(1.4, faint));
        }
        Icon::Previous => {
            painter.line(vec![at(2.0, -4.5), at(-2.5, 0.0), at(2.0, 4.5)], stroke);
        }
        Icon::Next => {
            painter.line(vec![at(-2.0, -4.5), at(2.5, 0.0), at(-2.0, 4.5)], stroke);
        }
        Icon::Down => {
            painter.line(vec![at(-4.0, -2.0), at(0.0, 2.0), at(4.0, -2.0)], stroke);
        }
        Icon::Cross => {
            painter.line_segment([at(-3.5, -3.5), at(3.5, 3.5)], stroke);
            painter.line_segment([at(-3.5, 3.5), at(3.5, -3.5)], stroke);
        }
        Icon::Reset => {
            // Three quarters of a circle, open at the upper left, where the arrow head is.
            let arc = (0..=18).map(|step| {
                let angle = -0.75 * std::f32::consts::PI + step as f32 / 18.0 * 1.5 * std::f32::consts::PI;
                at(4.5 * angle.cos(), 4.5 * angle.sin())
            });
            painter.line(arc.collect(), stroke);
            let tip = at(-3.2, -3.2);
            painter.line(vec![tip + vec2(-0.4, -3.4), tip, tip + vec2(3.4, 0.2)], stroke);
        }
        Icon::Warning => {
            let corners = vec![at(0.0, -5.5), at(6.0, 5.0), at(-6.0, 5.0)];
            painter.add(Shape::closed_line(corners, stroke));
            painter.line_segment([at(0.0, -2.0), at(0.0, 1.6)], stroke);
            painter.circle_filled(at(0.0, 3.4), 0.9, colour);
        }
        Icon::Shapes => {
            let corners = [(-5.5, 2.0), (-2.5, -5.0), (4.0, -4.0), (5.5, 2.5), (0.0, 5.5)];
            painter.add(Shape::closed_line(corners.map(|(x, y)| at(x, y)).to_vec(), stroke));
        }
        Icon::Points => {
            for (x, y) in [(-3.5, -3.0), (3.5, -1.5), (-1.0, 4.0)] {
                painter.circle_filled(at(x, y), 1.8, colour);
            }
        }
    }
}

fn paint_eye(painter: &Painter, center: Pos2, stroke: Stroke) {
    let steps = 12;
    let lid = |upwards: f32| {
        (0..=steps).map(move |step| {
            let part = step as f32 / steps as f32;
            center + vec2(-6.5 + 13.0 * part, -upwards * 4.2 * (part * std::f32::consts::PI).sin())
        })
    };
    let outline: Vec<Pos2> = lid(1.0).chain(lid(-1.0).rev().skip(1).take(steps - 1)).collect();
    painter.add(Shape::closed_line(outline, stroke));
}

/// A frame around a swatch.
pub fn paint_frame(painter: &Painter, rect: Rect) {
    painter.rect_stroke(rect, 2.0, Stroke::new(1.0, Color32::from_white_alpha(40)), StrokeKind::Inside);
}

/// Where an icon of a row goes: `ICON_SIDE` wide, from `left` on, in the row's middle.
pub fn slot(row: Rect, left: f32) -> Rect {
    Rect::from_center_size(pos2(left + ICON_SIDE / 2.0, row.center().y), vec2(ICON_SIDE, ICON_SIDE))
}
