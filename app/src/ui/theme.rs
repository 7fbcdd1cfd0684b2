//! How the panels look: dark and calm, so that the images are the brightest thing in the window.

use bevy_egui::egui::{
    self, Color32, CornerRadius, FontFamily, FontId, Margin, Shadow, Stroke, TextStyle, Theme, Ui, Visuals, vec2,
};

/// What is selected, focused or can be dragged.
pub const ACCENT: Color32 = Color32::from_rgb(0x5a, 0xa9, 0xe6);
/// Text that is read.
pub const TEXT: Color32 = Color32::from_rgb(0xd6, 0xd9, 0xde);
/// Text beside the text that is read.
pub const WEAK_TEXT: Color32 = Color32::from_rgb(0x93, 0x99, 0xa3);
/// Panels.
pub const PANEL: Color32 = Color32::from_rgb(0x1b, 0x1d, 0x21);
/// Wells in panels: histogram, text fields, tracks.
pub const WELL: Color32 = Color32::from_rgb(0x11, 0x12, 0x15);
/// Lines between panels.
pub const LINE: Color32 = Color32::from_rgb(0x2e, 0x32, 0x38);
/// Something is degraded.
pub const WARNING: Color32 = Color32::from_rgb(0xe8, 0xb0, 0x4b);
/// Something was lost.
pub const ERROR: Color32 = Color32::from_rgb(0xef, 0x6f, 0x6c);

/// Space between the edge of a panel and what is in it, in points.
pub const MARGIN: i8 = 10;
/// Width of the names before controls, in points.
pub const NAME_WIDTH: f32 = 84.0;
/// Seconds until a tooltip opens. bevy_egui wakes the loop for nobody, so the panels ask for that frame themselves.
pub const TOOLTIP_DELAY_SECONDS: f32 = 0.4;

/// Applies the style once per context.
pub fn apply(ctx: &egui::Context) {
    let applied = egui::Id::new("wellscope style applied");
    if ctx.data(|data| data.get_temp::<bool>(applied)).is_some() {
        return;
    }
    ctx.data_mut(|data| data.insert_temp(applied, true));
    ctx.set_theme(Theme::Dark);
    // Ctrl with plus, minus and 0 zoom the canvas, not the panels.
    ctx.options_mut(|options| options.zoom_with_keyboard = false);
    ctx.all_styles_mut(|style| {
        style.visuals = visuals();
        let size = |points: f32| FontId::new(points, FontFamily::Proportional);
        style.text_styles = [
            (TextStyle::Heading, size(14.0)),
            (TextStyle::Body, size(13.0)),
            (TextStyle::Button, size(13.0)),
            (TextStyle::Small, size(11.0)),
            (TextStyle::Monospace, FontId::new(12.0, FontFamily::Monospace)),
        ]
        .into();
        style.spacing.item_spacing = vec2(6.0, 6.0);
        style.spacing.button_padding = vec2(8.0, 3.0);
        style.spacing.interact_size = vec2(28.0, 22.0);
        style.spacing.menu_margin = Margin::same(6);
        style.interaction.tooltip_delay = TOOLTIP_DELAY_SECONDS;
        style.interaction.selectable_labels = false;
        // Nothing moves by itself: each step of an animation would be a frame.
        style.animation_time = 0.0;
        style.scroll_animation = egui::style::ScrollAnimation::none();
        style.explanation_tooltips = false;
    });
}

fn visuals() -> Visuals {
    let mut visuals = Visuals::dark();
    visuals.panel_fill = PANEL;
    visuals.window_fill = Color32::from_rgb(0x22, 0x25, 0x2a);
    visuals.window_stroke = Stroke::new(1.0, Color32::from_rgb(0x3a, 0x3f, 0x47));
    visuals.window_shadow = Shadow { offset: [0, 4], blur: 16, spread: 0, color: Color32::from_black_alpha(120) };
    visuals.popup_shadow = Shadow { offset: [0, 3], blur: 10, spread: 0, color: Color32::from_black_alpha(110) };
    visuals.window_corner_radius = CornerRadius::same(6);
    visuals.menu_corner_radius = CornerRadius::same(6);
    visuals.extreme_bg_color = WELL;
    visuals.faint_bg_color = Color32::from_rgb(0x20, 0x23, 0x28);
    visuals.weak_text_color = Some(WEAK_TEXT);
    visuals.warn_fg_color = WARNING;
    visuals.error_fg_color = ERROR;
    visuals.selection.bg_fill = Color32::from_rgb(0x25, 0x4b, 0x6b);
    visuals.selection.stroke = Stroke::new(1.0, Color32::WHITE);
    visuals.slider_trailing_fill = true;
    // A blinking cursor would be a frame twice a second.
    visuals.text_cursor.blink = false;
    let radius = CornerRadius::same(4);
    let states = [
        (&mut visuals.widgets.noninteractive, PANEL, TEXT),
        (&mut visuals.widgets.inactive, Color32::from_rgb(0x2b, 0x2f, 0x36), TEXT),
        (&mut visuals.widgets.hovered, Color32::from_rgb(0x38, 0x3d, 0x46), Color32::WHITE),
        (&mut visuals.widgets.active, Color32::from_rgb(0x45, 0x4b, 0x56), Color32::WHITE),
        (&mut visuals.widgets.open, Color32::from_rgb(0x32, 0x36, 0x3e), Color32::WHITE),
    ];
    for (widget, fill, text) in states {
        widget.bg_fill = fill;
        widget.weak_bg_fill = fill;
        widget.bg_stroke = Stroke::NONE;
        widget.fg_stroke = Stroke::new(1.0, text);
        widget.corner_radius = radius;
        widget.expansion = 0.0;
    }
    visuals.widgets.noninteractive.bg_stroke = Stroke::new(1.0, LINE);
    visuals
}

/// A line of a panel: a name on the left, its control on the rest.
pub fn named_row<R>(ui: &mut Ui, name: &str, add_control: impl FnOnce(&mut Ui) -> R) -> R {
    ui.horizontal(|ui| {
        let (rect, _) = ui.allocate_exact_size(vec2(NAME_WIDTH, ui.spacing().interact_size.y), egui::Sense::hover());
        let font = TextStyle::Body.resolve(ui.style());
        ui.painter().text(rect.left_center(), egui::Align2::LEFT_CENTER, name, font, WEAK_TEXT);
        add_control(ui)
    })
    .inner
}
