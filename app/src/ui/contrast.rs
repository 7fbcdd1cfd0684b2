//! Settings of the selected layer where the sliders stand: contrast limits, gamma, colormap, opacity, blending.

use bevy_egui::egui::{Button, DragValue, Label, RichText, Slider, SliderClamping, Ui, vec2};
use wellscope_protocol::dtype::ElementType;
use wellscope_protocol::route::RouteKind;

use super::histogram::{Histogram, HistogramAction};
use super::icons::{Icon, icon_button};
use super::theme::named_row;
use super::{UiState, colormaps, sliders, text, theme};
use crate::render::scene::{Blending, Interpolation};
use crate::statistics::{Totals, ValueRange};
use crate::viewer::Viewer;
use crate::viewer::command::ViewCommand;
use crate::viewer::layer::{Layer, Plane};

/// The settings; nothing when no layer is selected.
pub(super) fn show(ui: &mut Ui, viewer: &Viewer, state: &mut UiState, commands: &mut Vec<ViewCommand>) {
    let Some(layer) = viewer.selected_layer() else { return };
    let plane = layer.plane_at(&viewer.axes);
    if layer.kind == RouteKind::Image {
        super::section_title(ui, "Contrast", &channel_text(viewer, layer));
        if plane.is_some_and(|plane| plane.source.samples > 1) {
            ui.weak("Colour image, shown as it was sent.");
        } else {
            show_limits(ui, viewer, layer, plane, state, commands);
        }
        ui.add_space(6.0);
    }
    super::section_title(ui, "Layer", "");
    let mut opacity = layer.display.opacity * 100.0;
    let changed = named_row(ui, "Opacity", |ui| {
        wide_slider(ui, Slider::new(&mut opacity, 0.0..=100.0).suffix(" %").fixed_decimals(0), 0.0)
    });
    if changed {
        commands.push(ViewCommand::SetOpacity(layer.id, opacity / 100.0));
    }
    if layer.kind == RouteKind::Image {
        show_drawing(ui, layer, commands);
    }
}

/// Which channel the settings are of.
fn channel_text(viewer: &Viewer, layer: &Layer) -> String {
    let channel = viewer.axes.find("channel").filter(|_| layer.channel_at(&viewer.axes).is_some());
    channel
        .and_then(|(_, axis)| Some(sliders::value_text("channel", axis.value(axis.current()?), &viewer.names)))
        .map(|text| if text.starts_with("Ch") { text } else { format!("Ch {text}") })
        .unwrap_or_default()
}

fn show_limits(
    ui: &mut Ui,
    viewer: &Viewer,
    layer: &Layer,
    plane: Option<&Plane>,
    state: &mut UiState,
    commands: &mut Vec<ViewCommand>,
) {
    let channel = layer.channel_at(&viewer.axes);
    let display = layer.display.channel(channel);
    let Some(limits) = display.and_then(|display| display.contrast_limits) else {
        ui.weak("Not measured yet.");
        return;
    };
    let gamma = display.map_or(1.0, |display| display.gamma);
    let range = display.and_then(|display| display.statistics.range()).map(|range| range.to_f64());
    let element = plane.map(|plane| plane.source.element);
    let is_integer = element.is_some_and(is_integer);
    let colormap = layer.display.colormap_of(channel);
    let histogram =
        Histogram { statistics: plane.and_then(|plane| plane.statistics.as_deref()), range, limits, gamma, is_integer };
    match histogram.show(ui, state.swatches.colours(colormap), &mut state.limit_drag) {
        Some(HistogramAction::Limits(limits)) => commands.push(ViewCommand::SetContrast(layer.id, limits)),
        Some(HistogramAction::Auto) => commands.push(ViewCommand::AutoContrast(layer.id)),
        None => {}
    }
    show_typed_limits(ui, layer, limits, range, is_integer, commands);
    if let Some(text) = display.and_then(|display| received_text(&display.statistics.totals())) {
        named_row(ui, "Received", |ui| {
            let hint = "Least and greatest value of everything that this channel of the layer now holds";
            ui.add(Label::new(RichText::new(text).color(theme::TEXT)).truncate()).on_hover_text(hint);
        });
    }
    let mut new_gamma = gamma;
    let changed = named_row(ui, "Gamma", |ui| {
        let slider = Slider::new(&mut new_gamma, 0.2..=5.0).logarithmic(true).max_decimals(2);
        let changed = wide_slider(ui, slider.clamping(SliderClamping::Edits), 28.0);
        if icon_button(ui, Icon::Reset, gamma != 1.0, "Back to 1, linear").clicked() {
            commands.push(ViewCommand::SetGamma(layer.id, 1.0));
        }
        changed
    });
    if changed {
        commands.push(ViewCommand::SetGamma(layer.id, new_gamma));
    }
    let chosen = named_row(ui, "Colormap", |ui| {
        colormaps::show_menu(ui, colormap, &mut state.swatches, &mut state.colormap_filter)
    });
    if let Some(name) = chosen {
        commands.push(ViewCommand::SetColormap(layer.id, name));
    }
}

/// Range and number of the planes of a channel: `200 to 64512 in 12 planes`.
fn received_text(totals: &Totals) -> Option<String> {
    let [min, max] = match totals.range? {
        ValueRange::Integer { min, max } => [min.to_string(), max.to_string()],
        ValueRange::Float { min, max } => [min, max].map(|value| text::number_text(value, 4)),
    };
    Some(format!("{min} to {max} in {}", text::count_text(totals.plane_count, "plane")))
}

fn show_typed_limits(
    ui: &mut Ui,
    layer: &Layer,
    limits: [f64; 2],
    range: Option<[f64; 2]>,
    is_integer: bool,
    commands: &mut Vec<ViewCommand>,
) {
    let span = range.map_or(limits[1] - limits[0], |[low, high]| high - low).abs().max(f64::MIN_POSITIVE);
    let mut edited = limits;
    ui.horizontal(|ui| {
        ui.spacing_mut().item_spacing.x = 6.0;
        let width = (ui.available_width() - 6.0) / 2.0;
        for (value, name) in edited.iter_mut().zip(["Min", "Max"]) {
            let field = DragValue::new(value)
                .speed(span / 400.0)
                .prefix(format!("{name}  "))
                .update_while_editing(false)
                .custom_formatter(|value, _| text::number_text(value, 6));
            let field = if is_integer && span > 4.0 { field.max_decimals(0) } else { field };
            ui.add_sized(vec2(width, 22.0), field).on_hover_text("Drag, or click to type");
        }
    });
    if edited != limits {
        commands.push(ViewCommand::SetContrast(layer.id, edited));
    }
    ui.horizontal(|ui| {
        ui.spacing_mut().item_spacing.x = 6.0;
        let width = (ui.available_width() - 6.0) / 2.0;
        let auto = ui.add_sized(vec2(width, 22.0), Button::new("Auto"));
        if auto.on_hover_text("From this plane, 0.35 % of the pixels saturated (C)").clicked() {
            commands.push(ViewCommand::AutoContrast(layer.id));
        }
        let full = ui.add_sized(vec2(width, 22.0), Button::new("Full range"));
        if full.on_hover_text("From the least to the greatest value received for this channel").clicked() {
            commands.push(ViewCommand::FullContrast(layer.id));
        }
    });
}

fn show_drawing(ui: &mut Ui, layer: &Layer, commands: &mut Vec<ViewCommand>) {
    let blending = named_row(ui, "Blending", |ui| {
        let options = [
            (Blending::Additive, "Add", "Additive: the sum with the layers below, clamped at white"),
            (Blending::Translucent, "Over", "Translucent: over the layers below, by opacity"),
            (Blending::Opaque, "Opaque", "Replaces the layers below"),
        ];
        choice(ui, layer.display.blending, &options)
    });
    if let Some(blending) = blending {
        commands.push(ViewCommand::SetBlending(layer.id, blending));
    }
    let interpolation = named_row(ui, "Pixels", |ui| {
        let options = [
            (Interpolation::Nearest, "Square", "Nearest: enlarged pixels stay squares"),
            (Interpolation::Linear, "Smooth", "Linear: enlarged pixels blend into each other"),
        ];
        choice(ui, layer.display.interpolation, &options)
    });
    if let Some(interpolation) = interpolation {
        commands.push(ViewCommand::SetInterpolation(layer.id, interpolation));
    }
}

/// Buttons side by side, one of them down. Returns what was clicked.
fn choice<T: Copy + PartialEq>(ui: &mut Ui, current: T, options: &[(T, &str, &str)]) -> Option<T> {
    ui.spacing_mut().item_spacing.x = 4.0;
    ui.spacing_mut().button_padding.x = 2.0;
    let width = (ui.available_width() - 4.0 * (options.len() - 1) as f32) / options.len() as f32;
    let mut chosen = None;
    for (value, name, hint) in options {
        let button =
            ui.add_sized(vec2(width, 22.0), Button::selectable(*value == current, *name).frame_when_inactive(true));
        if button.on_hover_text(*hint).clicked() {
            chosen = Some(*value);
        }
    }
    chosen
}

/// A slider over the rest of the row, less some points. `true`: the user moved it.
fn wide_slider(ui: &mut Ui, slider: Slider<'_>, kept_free: f32) -> bool {
    let value_width = 56.0;
    ui.spacing_mut().interact_size.x = value_width;
    ui.spacing_mut().slider_width =
        (ui.available_width() - value_width - kept_free - ui.spacing().item_spacing.x).max(30.0);
    ui.add(slider).changed()
}

fn is_integer(element: ElementType) -> bool {
    !matches!(element, ElementType::F16 | ElementType::F32 | ElementType::F64)
}
