//! The canvas: where it is, and what the mouse does on it.

use bevy::prelude::Resource;
use bevy_egui::egui::{self, Event, MouseWheelUnit, PointerButton, Pos2, Rect, Response, Sense, Ui, Vec2};

use super::UiState;
use crate::render::scene::CanvasRect;
use crate::viewer::Viewer;
use crate::viewer::command::ViewCommand;

/// Zoom of one notch of the wheel.
const ZOOM_PER_NOTCH: f64 = 1.2;
/// Points that a touchpad scrolls for as much as one notch of a wheel.
const POINTS_PER_NOTCH: f32 = 40.0;

/// Where the canvas lies in the window.
#[derive(Resource, Clone, Copy, PartialEq, Debug)]
pub struct CanvasArea {
    /// In physical pixels of the window.
    pub rect: CanvasRect,
    /// Physical pixels per point of the panels.
    pub scale_factor: f32,
}

impl Default for CanvasArea {
    fn default() -> Self {
        Self { rect: CanvasRect::default(), scale_factor: 1.0 }
    }
}

impl CanvasArea {
    /// The physical pixels of a rectangle in points. Edges fall on the nearest pixel, so that neighbours share them.
    pub fn new(points: Rect, scale_factor: f32) -> Self {
        let pixel = |point: f32| (point * scale_factor).round().max(0.0) as u32;
        let [x, y, right, bottom] = [points.min.x, points.min.y, points.max.x, points.max.y].map(pixel);
        let rect = CanvasRect { x, y, width: right.saturating_sub(x), height: bottom.saturating_sub(y) };
        Self { rect, scale_factor }
    }

    /// Position on the canvas, in physical pixels from its upper left corner, of a position in points.
    pub fn canvas_from_points(&self, position: Pos2) -> [f64; 2] {
        let scale = f64::from(self.scale_factor);
        [f64::from(position.x) * scale - f64::from(self.rect.x), f64::from(position.y) * scale - f64::from(self.rect.y)]
    }
}

/// What the pointer did to the canvas in this frame.
pub(super) struct CanvasPointer {
    /// The canvas, in points.
    pub rect: Rect,
    /// Where it is in physical pixels.
    pub area: CanvasArea,
    /// Data position `[y, x]` under the pointer.
    pub hovered_data_yx: Option<[f64; 2]>,
}

/// Takes what panels have left over, and turns mouse moves into commands.
pub(super) fn interact(
    ui: &mut Ui,
    viewer: &Viewer,
    state: &mut UiState,
    commands: &mut Vec<ViewCommand>,
) -> CanvasPointer {
    let rect = ui.available_rect_before_wrap();
    let response = ui.allocate_rect(rect, Sense::click_and_drag());
    let area = CanvasArea::new(rect, ui.ctx().pixels_per_point());
    let scale = f64::from(area.scale_factor);
    if response.dragged_by(PointerButton::Primary) || response.dragged_by(PointerButton::Middle) {
        let Vec2 { x, y } = response.drag_delta();
        if x != 0.0 || y != 0.0 {
            commands.push(ViewCommand::Pan([f64::from(x) * scale, f64::from(y) * scale]));
        }
        ui.ctx().set_cursor_icon(egui::CursorIcon::Grabbing);
    }
    let pointer = response.hover_pos().map(|position| area.canvas_from_points(position));
    if let Some(at) = pointer {
        if response.double_clicked() {
            let is_out = ui.input(|input| input.modifiers.alt);
            commands.push(ViewCommand::ZoomAt(if is_out { 0.5 } else { 2.0 }, at));
        }
        read_wheel(ui, &response, at, state, commands);
    }
    let hovered_data_yx = pointer.filter(|_| !viewer.layers.is_empty()).map(|at| viewer.camera.data_from_canvas(at));
    CanvasPointer { rect, area, hovered_data_yx }
}

/// Zoom at the pointer; with Ctrl, steps of the focused slider, as napari does.
fn read_wheel(ui: &Ui, response: &Response, at: [f64; 2], state: &mut UiState, commands: &mut Vec<ViewCommand>) {
    if !response.hovered() {
        return;
    }
    let mut factor = 1.0;
    let mut steps = 0;
    ui.input(|input| {
        for event in &input.events {
            match event {
                Event::MouseWheel { unit, delta, modifiers, .. } => {
                    let notches = notches_of(*unit, *delta);
                    if modifiers.ctrl || modifiers.command {
                        state.wheel_rest += notches;
                        let whole = state.wheel_rest.trunc();
                        state.wheel_rest -= whole;
                        steps += whole as i64;
                    } else {
                        factor *= ZOOM_PER_NOTCH.powf(f64::from(notches));
                    }
                }
                Event::Zoom(pinched) => factor *= f64::from(*pinched),
                _ => {}
            }
        }
    });
    if factor != 1.0 {
        commands.push(ViewCommand::ZoomAt(factor, at));
    }
    if steps != 0 {
        commands.push(ViewCommand::StepFocused(steps));
    }
}

/// Whole notches that the wheel was turned upwards over a widget.
pub(super) fn wheel_notches(ui: &Ui, response: &Response) -> i64 {
    if !response.hovered() {
        return 0;
    }
    ui.input(|input| {
        let turned = input.events.iter().map(|event| match event {
            Event::MouseWheel { unit: unit @ MouseWheelUnit::Line, delta, .. } => notches_of(*unit, *delta),
            _ => 0.0,
        });
        turned.sum::<f32>().round() as i64
    })
}

/// Wheel movement in notches; sideways movement, which Shift makes of it, counts alike.
fn notches_of(unit: MouseWheelUnit, delta: Vec2) -> f32 {
    let along = if delta.y == 0.0 { delta.x } else { delta.y };
    match unit {
        MouseWheelUnit::Line => along,
        MouseWheelUnit::Point => along / POINTS_PER_NOTCH,
        MouseWheelUnit::Page => along * 10.0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bevy_egui::egui::{pos2, vec2};

    #[test]
    fn the_canvas_is_measured_in_physical_pixels() {
        let area = CanvasArea::new(Rect::from_min_max(pos2(280.0, 0.0), pos2(1280.0, 700.0)), 1.5);
        assert_eq!(area.rect, CanvasRect { x: 420, y: 0, width: 1500, height: 1050 });
        assert_eq!(area.canvas_from_points(pos2(290.0, 10.0)), [15.0, 15.0]);
    }

    #[test]
    fn a_window_smaller_than_its_panels_has_an_empty_canvas() {
        let area = CanvasArea::new(Rect::from_min_max(pos2(300.0, 0.0), pos2(100.0, -5.0)), 1.0);
        assert_eq!((area.rect.width, area.rect.height), (0, 0));
    }

    #[test]
    fn touchpads_and_wheels_count_notches_alike() {
        assert_eq!(notches_of(MouseWheelUnit::Line, vec2(0.0, -1.0)), -1.0);
        assert_eq!(notches_of(MouseWheelUnit::Point, vec2(0.0, 80.0)), 2.0);
        assert_eq!(notches_of(MouseWheelUnit::Line, vec2(1.0, 0.0)), 1.0);
    }
}
