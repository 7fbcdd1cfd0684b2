//! How live the selected layer is: one figure in the status bar, all of them when it is opened.

use bevy_egui::egui::{self, Grid, Popup, PopupCloseBehavior, RichText, Sense, Ui, vec2};

use super::{text, theme};
use crate::viewer::latency::{LayerLatency, Percentiles};
use crate::viewer::layer::Layer;

/// The figure; nothing before the selected layer has shown a plane as it arrived.
pub(super) fn show(ui: &mut Ui, layer: Option<&Layer>) {
    let Some(layer) = layer else { return };
    let drawn = layer.latency.drawn.percentiles();
    if drawn.count == 0 {
        return;
    }
    let font = egui::TextStyle::Body.resolve(ui.style());
    let figure = format!("live {}", text::duration_text(drawn.p50));
    let galley = ui.painter().layout_no_wrap(figure, font, theme::WEAK_TEXT);
    let (rect, button) = ui.allocate_exact_size(galley.size() + vec2(8.0, 2.0), Sense::click());
    let is_open = Popup::is_id_open(ui.ctx(), Popup::default_response_id(&button));
    if button.hovered() || is_open {
        ui.painter().rect_filled(rect, 4.0, ui.visuals().widgets.hovered.bg_fill);
    }
    ui.painter().galley(rect.center() - galley.size() / 2.0, galley, theme::WEAK_TEXT);
    Popup::menu(&button)
        .close_behavior(PopupCloseBehavior::CloseOnClickOutside)
        .show(|ui| show_table(ui, &layer.title, &layer.latency));
    if !is_open {
        let [p95, max] = [drawn.p95, drawn.max].map(text::duration_text);
        button.on_hover_text(format!(
            "{}\nFrom receiving a plane to drawing it: median {}, 95 % within {p95}, longest {max}, {}.\nClick for more.",
            layer.title,
            text::duration_text(drawn.p50),
            text::count_text(drawn.count, "plane"),
        ));
    }
}

fn show_table(ui: &mut Ui, title: &str, latency: &LayerLatency) {
    ui.set_min_width(330.0);
    ui.label(RichText::new(title).strong());
    ui.label(RichText::new("Time from receiving a batch until its planes were").color(theme::WEAK_TEXT));
    Grid::new("latency").num_columns(5).spacing(vec2(18.0, 4.0)).show(ui, |ui| {
        for head in ["", "median", "95 %", "longest", "planes"] {
            ui.label(RichText::new(head).color(theme::WEAK_TEXT));
        }
        ui.end_row();
        let stages = [
            ("in the stack", &latency.stacked, text::duration_text as fn(u64) -> String),
            ("on the GPU", &latency.uploaded, text::duration_text),
            ("drawn", &latency.drawn, text::duration_text),
            ("drawn, in frames", &latency.frames, |frames| frames.to_string()),
        ];
        for (name, distribution, value_text) in stages {
            ui.label(name);
            show_values(ui, distribution.percentiles(), value_text);
            ui.end_row();
        }
    });
    ui.label(
        RichText::new("GPU and drawn: only planes that the sliders showed as they arrived.")
            .small()
            .color(theme::WEAK_TEXT),
    );
}

fn show_values(ui: &mut Ui, percentiles: Percentiles, value_text: fn(u64) -> String) {
    let Percentiles { p50, p95, max, count } = percentiles;
    for value in [p50, p95, max] {
        ui.label(if count == 0 { "–".to_owned() } else { value_text(value) });
    }
    ui.label(count.to_string());
}
