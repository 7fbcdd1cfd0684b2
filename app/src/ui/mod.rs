//! Panels, canvas and keys. Everything here reads the [`Viewer`] and writes [`ViewCommand`] messages, so that buttons, keys
//! and control messages share one path.
//!
//! [`UiPlugin`] switches it on; [`lay_out`] is all of it as a function of an egui context, which tests call without a
//! window.

pub mod canvas;
pub mod colormaps;
mod contrast;
mod histogram;
mod icons;
mod latency;
mod layers;
pub mod overlay;
mod preview;
pub mod probe;
pub mod problems;
pub mod shortcuts;
pub mod sliders;
pub mod status;
pub mod text;
mod theme;

use std::time::Duration;

use bevy::prelude::*;
use bevy::window::{MonitorSelection, PrimaryWindow, WindowMode};
use bevy_egui::egui::{self, Frame, Margin, RichText, Stroke, Ui, UiBuilder};
use bevy_egui::{EguiContexts, EguiPrimaryContextPass};

use crate::host::wake::Wake;
use crate::render::scene::PlanePixels;
use crate::systems::recall::Recall;
use crate::ui::canvas::CanvasArea;
use crate::ui::colormaps::Swatches;
use crate::ui::histogram::LimitDrag;
use crate::ui::preview::PreviewTexture;
use crate::ui::problems::Problems;
use crate::ui::shortcuts::Action;
use crate::ui::sliders::Jump;
use crate::ui::status::ViewerStatus;
use crate::viewer::Viewer;
use crate::viewer::command::ViewCommand;

/// Width of the panel with layers and their settings, in points.
const SIDE_WIDTH: f32 = 284.0;

/// Panels, canvas and keys.
pub struct UiPlugin;

impl Plugin for UiPlugin {
    fn build(&self, app: &mut App) {
        let [red, green, blue, _] = theme::PANEL.to_array();
        app.insert_resource(ClearColor(Color::srgb_u8(red, green, blue)))
            .init_resource::<CanvasArea>()
            .init_resource::<ViewerStatus>()
            .init_resource::<Problems>()
            .init_resource::<UiState>()
            .add_message::<ViewCommand>()
            .add_message::<ScreenshotWanted>()
            .add_message::<FullScreenToggled>()
            .add_systems(EguiPrimaryContextPass, show_panels)
            .add_systems(Last, (show_late_problems, toggle_full_screen.run_if(on_message::<FullScreenToggled>)));
    }
}

/// The user wants a picture of the window.
#[derive(Message, Clone, Copy, Debug)]
pub struct ScreenshotWanted;

/// The user wants the whole screen, or the window back.
#[derive(Message, Clone, Copy, Debug)]
pub struct FullScreenToggled;

/// What the panels remember between frames and nobody else needs.
#[derive(Resource, Default)]
pub struct UiState {
    jump: Option<Jump>,
    swatches: Swatches,
    colormap_filter: String,
    limit_drag: Option<LimitDrag>,
    preview: PreviewTexture,
    wheel_rest: f32,
    is_help_open: bool,
    shown_problems: u64,
}

/// What a frame of the panels led to.
pub struct LaidOut {
    /// Wishes of the user, in order.
    pub commands: Vec<ViewCommand>,
    /// Where the canvas is.
    pub canvas: CanvasArea,
    /// Keys that are not for the viewer: screenshots, full screen.
    pub actions: Vec<Action>,
    /// Pixels to bring back from disk, since the user looks at their values.
    pub recalled: Vec<PlanePixels>,
}

/// Everything that panels and keys may ask for.
#[derive(bevy::ecs::system::SystemParam)]
struct Wishes<'w> {
    commands: MessageWriter<'w, ViewCommand>,
    screenshots: MessageWriter<'w, ScreenshotWanted>,
    full_screen: MessageWriter<'w, FullScreenToggled>,
}

impl Wishes<'_> {
    fn send(&mut self, laid_out: LaidOut) {
        self.commands.write_batch(laid_out.commands);
        for action in laid_out.actions {
            match action {
                Action::Screenshot => drop(self.screenshots.write(ScreenshotWanted)),
                Action::FullScreen => drop(self.full_screen.write(FullScreenToggled)),
                _ => {}
            }
        }
    }
}

fn show_panels(
    mut contexts: EguiContexts,
    viewer: Res<Viewer>,
    status: Res<ViewerStatus>,
    mut problems: ResMut<Problems>,
    mut state: ResMut<UiState>,
    mut area: ResMut<CanvasArea>,
    mut wishes: Wishes,
    recall: Res<Recall>,
    wake: Res<Wake>,
) {
    let Ok(ctx) = contexts.ctx_mut() else { return };
    let ctx = ctx.clone();
    let mut laid_out = lay_out(&ctx, &viewer, &status, &mut problems, &mut state);
    laid_out.recalled.drain(..).for_each(|pixels| recall.ask(pixels));
    area.set_if_neq(laid_out.canvas);
    state.shown_problems = problems.revision();
    wishes.send(laid_out);
    // bevy_egui 0.42 wakes the loop for repaints that are due at once, not for those with a delay: tooltips.
    if ctx.input(|input| input.pointer.is_moving()) && ctx.is_pointer_over_egui() {
        wake.wake_after(Duration::from_secs_f32(theme::TOOLTIP_DELAY_SECONDS + 0.03));
    }
}

/// Problems that are reported after the panels were laid out, e.g. an unknown colormap, need one more frame.
fn show_late_problems(problems: Res<Problems>, state: Res<UiState>, wake: Res<Wake>) {
    if problems.revision() != state.shown_problems {
        wake.wake();
    }
}

fn toggle_full_screen(mut windows: Query<&mut Window, With<PrimaryWindow>>, wake: Res<Wake>) {
    for mut window in &mut windows {
        window.mode = match window.mode {
            WindowMode::Windowed => WindowMode::BorderlessFullscreen(MonitorSelection::Current),
            _ => WindowMode::Windowed,
        };
        wake.wake();
    }
}

/// Lays out all panels and reads mouse and keys.
pub fn lay_out(
    ctx: &egui::Context,
    viewer: &Viewer,
    status: &ViewerStatus,
    problems: &mut Problems,
    state: &mut UiState,
) -> LaidOut {
    theme::apply(ctx);
    let mut commands = Vec::new();
    let actions = shortcuts::pressed_actions(ctx);
    for action in &actions {
        commands.extend(shortcuts::commands_of(*action, viewer));
        match action {
            Action::Help => state.is_help_open = !state.is_help_open,
            Action::Close => state.is_help_open = false,
            _ => {}
        }
    }
    let builder = UiBuilder::new().layer_id(egui::LayerId::background()).max_rect(ctx.viewport_rect());
    let mut root = Ui::new(ctx.clone(), "wellscope".into(), builder);

    // The probe is read after the canvas, which comes last; its line is painted into the place kept for it here.
    let status_place = keep_status_place(&mut root);
    egui::Panel::left("side").exact_size(SIDE_WIDTH).resizable(false).frame(panel_frame()).show(&mut root, |ui| {
        layers::show(ui, viewer, state, &mut commands);
        ui.add_space(8.0);
        egui::ScrollArea::vertical().id_salt("settings").auto_shrink([false, false]).show(ui, |ui| {
            contrast::show(ui, viewer, state, &mut commands);
        });
    });
    let sliders = viewer.axes.sliders().count();
    if sliders > 0 {
        let margin = Margin { left: theme::MARGIN + 4, right: theme::MARGIN, top: 6, bottom: 6 };
        egui::Panel::bottom("sliders")
            .exact_size(sliders::panel_height(sliders) + 12.0)
            .frame(panel_frame().inner_margin(margin))
            .show(&mut root, |ui| sliders::show(ui, viewer, state, &mut commands));
    }
    let pointer = egui::CentralPanel::no_frame()
        .show(&mut root, |ui| {
            let pointer = canvas::interact(ui, viewer, state, &mut commands);
            overlay::paint(ui.painter(), pointer.rect, viewer, status);
            pointer
        })
        .inner;
    let probe = pointer.hovered_data_yx.map(|at| probe::probe(viewer, at)).unwrap_or_default();
    show_status(&mut root, status_place, &probe.text, viewer, status, problems);
    problems::show_on_canvas(ctx, pointer.rect, problems);
    shortcuts::show_help(ctx, pointer.rect, &mut state.is_help_open);
    LaidOut { commands, canvas: pointer.area, actions, recalled: probe.on_disk }
}

fn keep_status_place(root: &mut Ui) -> egui::Rect {
    egui::Panel::bottom("status")
        .exact_size(26.0)
        .frame(panel_frame().inner_margin(Margin::symmetric(theme::MARGIN, 2)))
        .show(root, |ui| ui.max_rect())
        .inner
}

fn show_status(
    root: &mut Ui,
    place: egui::Rect,
    probe: &str,
    viewer: &Viewer,
    status: &ViewerStatus,
    problems: &Problems,
) {
    let mut bar = root.new_child(UiBuilder::new().id_salt("status bar").max_rect(place));
    status::show(&mut bar, probe, viewer, status, problems);
}

/// Panels have no fill of their own: the window is cleared to their colour, which costs nothing, and everything else in it is
/// covered by the canvas.
fn panel_frame() -> Frame {
    Frame::new().inner_margin(Margin::same(theme::MARGIN)).stroke(Stroke::NONE)
}

/// A heading over a part of the side panel, with a remark on the right.
fn section_title(ui: &mut Ui, title: &str, remark: &str) {
    ui.horizontal(|ui| {
        ui.label(RichText::new(title).strong());
        ui.with_layout(egui::Layout::right_to_left(egui::Align::Center), |ui| {
            ui.add(egui::Label::new(RichText::new(remark).color(theme::WEAK_TEXT)).truncate());
        });
    });
}

#[cfg(test)]
mod tests;
