//! Swatches of colormaps, and the menu to choose one.

use std::collections::HashMap;

use bevy_egui::egui::{
    self, Align2, Color32, Mesh, Popup, PopupCloseBehavior, Rect, Response, ScrollArea, Sense, TextEdit, TextStyle, Ui,
    pos2, vec2,
};

use super::icons::{self, Icon};
use super::{text, theme};
use crate::colormap::{by_name, names};

const ROW_HEIGHT: f32 = 22.0;
const SWATCH_WIDTH: f32 = 56.0;

/// Tables of colormaps that were drawn before, by name. Unknown names are gray, as they are on the canvas.
#[derive(Default)]
pub struct Swatches(HashMap<String, Box<[Color32; 256]>>);

impl Swatches {
    /// The colours of a colormap, from the lower contrast limit to the upper one.
    pub fn colours(&mut self, name: &str) -> &[Color32; 256] {
        self.0.entry(name.to_owned()).or_insert_with(|| {
            let colormap = by_name(name).unwrap_or_else(crate::colormap::gray);
            Box::new(colormap.table.map(|[red, green, blue, _]| Color32::from_rgb(red, green, blue)))
        })
    }
}

/// Fills a rectangle with colours from left to right. `part_of` maps 0..1 along the rectangle to 0..1 of the table.
pub fn paint_gradient(ui: &Ui, rect: Rect, colours: &[Color32; 256], part_of: impl Fn(f32) -> f32) {
    let columns = (rect.width().ceil() as usize).clamp(1, 512);
    let mut mesh = Mesh::default();
    for column in 0..columns {
        let [from, to] = [column, column + 1].map(|edge| rect.left() + rect.width() * edge as f32 / columns as f32);
        let part = part_of((column as f32 + 0.5) / columns as f32).clamp(0.0, 1.0);
        let strip = Rect::from_min_max(pos2(from, rect.top()), pos2(to, rect.bottom()));
        mesh.add_colored_rect(strip, colours[(part * 255.0).round() as usize]);
    }
    ui.painter().add(mesh);
}

/// A button that shows the colormap and opens the menu. Returns the name that the user chose.
pub fn show_menu(ui: &mut Ui, current: &str, swatches: &mut Swatches, filter: &mut String) -> Option<String> {
    let (rect, button) = ui.allocate_exact_size(vec2(ui.available_width(), ROW_HEIGHT), Sense::click());
    let visuals = *ui.style().interact(&button);
    ui.painter().rect_filled(rect, 4.0, visuals.weak_bg_fill);
    let swatch = Rect::from_min_size(rect.min + vec2(4.0, 4.0), vec2(SWATCH_WIDTH, ROW_HEIGHT - 8.0));
    paint_gradient(ui, swatch, swatches.colours(current), |part| part);
    let name = Rect::from_min_max(pos2(swatch.right() + 8.0, rect.top()), rect.max - vec2(22.0, 0.0));
    text::paint_elided(ui, name, current, visuals.text_color());
    icons::paint(ui.painter(), Icon::Down, rect.right_center() - vec2(12.0, 0.0), theme::WEAK_TEXT);
    if button.clicked() {
        filter.clear();
    }
    let width = rect.width();
    let chosen = Popup::menu(&button)
        .close_behavior(PopupCloseBehavior::CloseOnClickOutside)
        .width(width)
        .show(|ui| show_list(ui, width, current, swatches, filter));
    chosen.and_then(|inner| inner.inner)
}

fn show_list(ui: &mut Ui, width: f32, current: &str, swatches: &mut Swatches, filter: &mut String) -> Option<String> {
    ui.set_width(width);
    let field = ui.add(TextEdit::singleline(filter).hint_text("Search, or #RRGGBB").desired_width(f32::INFINITY));
    let found = matching(filter);
    let mut chosen = None;
    if field.lost_focus() && ui.input(|input| input.key_pressed(egui::Key::Enter)) {
        chosen = found.first().cloned();
    } else if !field.has_focus() && ui.input(|input| !input.pointer.any_down()) {
        field.request_focus();
    }
    if found.is_empty() {
        ui.weak("No colormap has this name.");
    }
    ui.spacing_mut().item_spacing.y = 0.0;
    ScrollArea::vertical().max_height(300.0).auto_shrink([false, true]).show_rows(
        ui,
        ROW_HEIGHT,
        found.len(),
        |ui, rows| {
            for name in &found[rows] {
                if show_row(ui, name, name == current, swatches).clicked() {
                    chosen = Some(name.clone());
                }
            }
        },
    );
    if chosen.is_some() {
        ui.close();
    }
    chosen
}

fn show_row(ui: &mut Ui, name: &str, is_current: bool, swatches: &mut Swatches) -> Response {
    let (rect, response) = ui.allocate_exact_size(vec2(ui.available_width(), ROW_HEIGHT), Sense::click());
    if is_current {
        ui.painter().rect_filled(rect, 3.0, ui.visuals().selection.bg_fill);
    } else if response.hovered() {
        ui.painter().rect_filled(rect, 3.0, ui.visuals().widgets.hovered.bg_fill);
    }
    let swatch = Rect::from_min_size(rect.min + vec2(4.0, 4.0), vec2(SWATCH_WIDTH, ROW_HEIGHT - 8.0));
    paint_gradient(ui, swatch, swatches.colours(name), |part| part);
    let font = TextStyle::Body.resolve(ui.style());
    ui.painter().text(pos2(swatch.right() + 8.0, rect.center().y), Align2::LEFT_CENTER, name, font, theme::TEXT);
    response
}

/// Names that hold what was typed, in any case; a name that is only found by spelling it out (`gray_r`, `#ff8000`) too.
fn matching(filter: &str) -> Vec<String> {
    let wanted = filter.trim().to_lowercase();
    let mut found: Vec<String> =
        names().iter().filter(|name| name.to_lowercase().contains(&wanted)).map(|name| (*name).to_owned()).collect();
    if !wanted.is_empty()
        && !found.iter().any(|name| name.to_lowercase() == wanted)
        && let Some(colormap) = by_name(filter.trim())
    {
        found.insert(0, colormap.name);
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_menu_finds_parts_of_names_and_spelled_out_ones() {
        assert_eq!(matching("").len(), names().len());
        assert!(matching("VIRI").contains(&"viridis".to_owned()));
        assert_eq!(matching("#ff8000"), ["#ff8000"]);
        assert_eq!(matching("magenta_r").first().map(String::as_str), Some("magenta_r"));
        assert!(matching("no such map").is_empty());
    }

    #[test]
    fn unknown_names_look_as_they_are_drawn() {
        let mut swatches = Swatches::default();
        assert_eq!(swatches.colours("no such map")[255], Color32::WHITE);
        assert_eq!(swatches.colours("red")[255], Color32::RED);
    }
}
