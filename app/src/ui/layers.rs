//! The list of layers, top layer first.

use bevy_egui::egui::{Align2, Color32, Rect, Response, ScrollArea, Sense, TextStyle, Ui, pos2, vec2};
use wellscope_protocol::route::RouteKind;

use super::colormaps::{Swatches, paint_gradient};
use super::icons::{self, ICON_SIDE, Icon};
use super::{UiState, text, theme};
use crate::viewer::Viewer;
use crate::viewer::command::ViewCommand;
use crate::viewer::layer::{Entry, Layer};

const ROW_HEIGHT: f32 = 26.0;
const EYE_WIDTH: f32 = 26.0;
/// Part of the panel that the list may take before it scrolls.
const LARGEST_PART: f32 = 0.42;

/// The list.
pub(super) fn show(ui: &mut Ui, viewer: &Viewer, state: &mut UiState, commands: &mut Vec<ViewCommand>) {
    let height = (ui.available_height() * LARGEST_PART).max(4.0 * ROW_HEIGHT);
    super::section_title(ui, "Layers", &text::count_text(viewer.layers.len() as u64, "layer"));
    if viewer.layers.is_empty() {
        ui.weak("No images yet.");
        return;
    }
    ScrollArea::vertical().id_salt("layers").max_height(height).auto_shrink([false, true]).show(ui, |ui| {
        ui.spacing_mut().item_spacing.y = 1.0;
        let last = viewer.layers.len() - 1;
        for (place, layer) in viewer.layers.values().enumerate().rev() {
            show_row(ui, viewer, layer, [place < last, place > 0], &mut state.swatches, commands);
        }
    });
}

fn show_row(
    ui: &mut Ui,
    viewer: &Viewer,
    layer: &Layer,
    [can_rise, can_sink]: [bool; 2],
    swatches: &mut Swatches,
    commands: &mut Vec<ViewCommand>,
) {
    let (row, response) = ui.allocate_exact_size(vec2(ui.available_width(), ROW_HEIGHT), Sense::click());
    let eye_rect = Rect::from_min_size(row.min, vec2(EYE_WIDTH, ROW_HEIGHT));
    let eye = ui.interact(eye_rect, response.id.with("eye"), Sense::click());
    let is_selected = viewer.selected == Some(layer.id);
    if is_selected {
        ui.painter().rect_filled(row, 4.0, ui.visuals().selection.bg_fill);
    } else if response.hovered() || eye.hovered() {
        ui.painter().rect_filled(row, 4.0, ui.visuals().faint_bg_color.gamma_multiply(1.6));
    }
    let text_colour = match (is_selected, layer.visible) {
        (true, _) => Color32::WHITE,
        (false, true) => theme::TEXT,
        (false, false) => theme::WEAK_TEXT,
    };
    let eye_icon = if layer.visible { Icon::Eye } else { Icon::EyeClosed };
    let eye_colour = if eye.hovered() { Color32::WHITE } else { text_colour };
    icons::paint(ui.painter(), eye_icon, eye_rect.center(), eye_colour);
    paint_kind(ui, viewer, layer, icons::slot(row, row.left() + EYE_WIDTH), text_colour, swatches);

    let count = text::count_text(layer.item_count as u64, "item");
    let digits = count.split(' ').next().unwrap_or_default();
    let font = TextStyle::Small.resolve(ui.style());
    let count_rect =
        ui.painter().text(row.right_center() - vec2(8.0, 0.0), Align2::RIGHT_CENTER, digits, font, theme::WEAK_TEXT);
    let title = Rect::from_min_max(
        pos2(row.left() + EYE_WIDTH + ICON_SIDE + 8.0, row.top()),
        pos2(count_rect.left() - 8.0, row.bottom()),
    );
    text::paint_elided(ui, title, &layer.title, text_colour);

    if eye.on_hover_text(if layer.visible { "Hide (V)" } else { "Show (V)" }).clicked() {
        commands.push(ViewCommand::SetVisible(layer.id, !layer.visible));
    }
    if response.clicked() {
        commands.push(ViewCommand::Select(layer.id));
    }
    show_context_menu(&response, viewer, layer, [can_rise, can_sink], commands);
    response.on_hover_text(hover_text(layer, &count));
}

fn hover_text(layer: &Layer, count: &str) -> String {
    let stale = if layer.stale { "\nkept from before; the next image replaces it" } else { "" };
    format!("{}\n{count}{stale}", layer.title)
}

fn show_context_menu(
    response: &Response,
    viewer: &Viewer,
    layer: &Layer,
    [can_rise, can_sink]: [bool; 2],
    commands: &mut Vec<ViewCommand>,
) {
    response.context_menu(|ui| {
        ui.set_min_width(170.0);
        if ui.button(if layer.visible { "Hide" } else { "Show" }).clicked() {
            commands.push(ViewCommand::SetVisible(layer.id, !layer.visible));
        }
        let others_shown = viewer.layers.values().any(|other| other.id != layer.id && other.visible);
        if ui.button(if others_shown { "Show only this" } else { "Show all others" }).clicked() {
            commands.push(ViewCommand::ToggleOthers(layer.id));
            commands.push(ViewCommand::SetVisible(layer.id, true));
        }
        ui.separator();
        for (name, is_possible, by) in [("Move up", can_rise, 1), ("Move down", can_sink, -1)] {
            ui.add_enabled_ui(is_possible, |ui| {
                if ui.button(name).clicked() {
                    commands.push(ViewCommand::Raise(layer.id, by));
                }
            });
        }
        if ui.button("Copy title").clicked() {
            ui.ctx().copy_text(layer.title.clone());
        }
        ui.separator();
        if ui.button("Remove").clicked() {
            commands.push(ViewCommand::Remove(layer.id));
        }
    });
}

/// The colormap of an image layer where the sliders stand; a drawing for the others.
fn paint_kind(ui: &Ui, viewer: &Viewer, layer: &Layer, slot: Rect, colour: Color32, swatches: &mut Swatches) {
    match layer.kind {
        RouteKind::Image => {
            let swatch = slot.shrink2(vec2(0.0, 1.0));
            // A layer holds either colour images or others: any of its planes tells.
            let first = layer.entries().next().map(|(_, entry)| entry);
            let is_colour = matches!(first, Some(Entry::Plane(plane)) if plane.source.samples > 1);
            let name = if is_colour { "hsv" } else { layer.display.colormap_of(layer.channel_at(&viewer.axes)) };
            paint_gradient(ui, swatch, swatches.colours(name), |part| part);
            icons::paint_frame(ui.painter(), swatch);
        }
        RouteKind::Shapes => icons::paint(ui.painter(), Icon::Shapes, slot.center(), colour),
        RouteKind::Points => icons::paint(ui.painter(), Icon::Points, slot.center(), colour),
    }
}
