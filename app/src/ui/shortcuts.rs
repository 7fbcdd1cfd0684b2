//! Keys. One table says what each does; the list that F1 opens is made from it.

use bevy_egui::egui::{self, Event, Key, Modifiers, RichText};

use super::theme;
use crate::viewer::Viewer;
use crate::viewer::command::ViewCommand;

/// What a key does.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Action {
    /// Move the focused slider by this many values.
    Step(i64),
    /// Focus the slider above (-1) or below (1).
    FocusNeighbour(i64),
    /// First (`false`) or last (`true`) value of the focused slider.
    End(bool),
    /// Move the well slider by this many values.
    StepWell(i64),
    /// Show everything.
    Fit,
    /// One screen pixel per data pixel.
    OneToOne,
    /// Zoom in (`true`) or out around the middle.
    Zoom(bool),
    /// Automatic contrast of the selected layer.
    AutoContrast,
    /// Automatic contrast of all visible layers.
    AutoContrastAll,
    /// Show or hide the selected layer.
    ToggleVisible,
    /// Show or hide all other layers.
    ToggleOthers,
    /// Select the layer above (1) or below (-1).
    SelectNeighbour(i64),
    /// Remove the selected layer.
    Remove,
    /// Save the view.
    Screenshot,
    /// Show the list of keys.
    Help,
    /// Close what is open.
    Close,
    /// Full screen and back.
    FullScreen,
}

/// Keys of one line of the list.
struct Shortcut {
    keys: &'static [(Modifiers, Key)],
    action: Action,
    shown: &'static str,
    help: &'static str,
}

const NONE: Modifiers = Modifiers::NONE;
const CTRL: Modifiers = Modifiers::CTRL;
const SHIFT: Modifiers = Modifiers::SHIFT;
const ALT: Modifiers = Modifiers::ALT;
const CTRL_SHIFT: Modifiers = Modifiers { alt: false, ctrl: true, shift: true, mac_cmd: false, command: false };

const fn line(keys: &'static [(Modifiers, Key)], action: Action, shown: &'static str, help: &'static str) -> Shortcut {
    Shortcut { keys, action, shown, help }
}

/// As napari and Fiji users expect them.
const SHORTCUTS: &[Shortcut] = &[
    line(
        &[(NONE, Key::ArrowLeft), (NONE, Key::Comma)],
        Action::Step(-1),
        "Left   ,",
        "Previous value of the focused slider",
    ),
    line(
        &[(NONE, Key::ArrowRight), (NONE, Key::Period)],
        Action::Step(1),
        "Right   .",
        "Next value of the focused slider",
    ),
    line(
        &[(ALT, Key::ArrowUp), (NONE, Key::ArrowUp)],
        Action::FocusNeighbour(-1),
        "Up   Alt+Up",
        "Focus the slider above",
    ),
    line(
        &[(ALT, Key::ArrowDown), (NONE, Key::ArrowDown)],
        Action::FocusNeighbour(1),
        "Down   Alt+Down",
        "Focus the slider below",
    ),
    line(&[(NONE, Key::Home)], Action::End(false), "Home", "First value of the focused slider"),
    line(&[(NONE, Key::End)], Action::End(true), "End", "Last value of the focused slider"),
    line(&[(NONE, Key::PageUp)], Action::StepWell(-1), "Page Up", "Previous well"),
    line(&[(NONE, Key::PageDown)], Action::StepWell(1), "Page Down", "Next well"),
    line(&[(NONE, Key::F), (CTRL, Key::R)], Action::Fit, "F   Ctrl+R", "Show everything"),
    line(&[(CTRL, Key::Num0)], Action::OneToOne, "Ctrl+0", "One screen pixel per image pixel"),
    line(
        &[
            (NONE, Key::Plus),
            (SHIFT, Key::Plus),
            (NONE, Key::Equals),
            (CTRL, Key::Plus),
            (CTRL_SHIFT, Key::Plus),
            (CTRL, Key::Equals),
        ],
        Action::Zoom(true),
        "+",
        "Zoom in",
    ),
    line(&[(NONE, Key::Minus), (CTRL, Key::Minus)], Action::Zoom(false), "-", "Zoom out"),
    line(&[(NONE, Key::C)], Action::AutoContrast, "C", "Automatic contrast of the selected layer"),
    line(&[(CTRL_SHIFT, Key::C)], Action::AutoContrastAll, "Ctrl+Shift+C", "Automatic contrast of all visible layers"),
    line(&[(NONE, Key::V)], Action::ToggleVisible, "V", "Show or hide the selected layer"),
    line(&[(SHIFT, Key::V)], Action::ToggleOthers, "Shift+V", "Show or hide all other layers"),
    line(&[(CTRL, Key::ArrowUp)], Action::SelectNeighbour(1), "Ctrl+Up", "Select the layer above"),
    line(&[(CTRL, Key::ArrowDown)], Action::SelectNeighbour(-1), "Ctrl+Down", "Select the layer below"),
    line(&[(CTRL, Key::Delete)], Action::Remove, "Ctrl+Del", "Remove the selected layer"),
    line(&[(CTRL, Key::S)], Action::Screenshot, "Ctrl+S", "Save a picture of the window"),
    line(&[(NONE, Key::F11)], Action::FullScreen, "F11", "Full screen and back"),
    line(
        &[(NONE, Key::F1), (NONE, Key::Questionmark), (SHIFT, Key::Questionmark), (SHIFT, Key::Slash)],
        Action::Help,
        "F1   ?",
        "Show or close this list",
    ),
    line(&[(NONE, Key::Escape)], Action::Close, "Esc", "Close this list"),
];

/// What the mouse does, for the same list.
const MOUSE: &[(&str, &str)] = &[
    ("Drag", "Move the image"),
    ("Wheel", "Zoom at the cursor"),
    ("Ctrl+wheel", "Step the focused slider"),
    ("Double-click", "Zoom in twice; with Alt, out"),
    ("Right-click a layer", "Move, remove, show only this"),
];

/// What a key press does; `None` for keys that nobody listens to.
pub fn action_of(modifiers: Modifiers, key: Key) -> Option<Action> {
    // `command` repeats ctrl (on macOS the command key, which stands for Ctrl there).
    let pressed = Modifiers {
        alt: modifiers.alt,
        ctrl: modifiers.ctrl || modifiers.command,
        shift: modifiers.shift,
        ..Modifiers::NONE
    };
    let found = SHORTCUTS.iter().find(|shortcut| shortcut.keys.contains(&(pressed, key)));
    found.map(|shortcut| shortcut.action)
}

/// What the pressed keys of this frame do, unless a text field takes them. Copy, cut and paste arrive as events of their
/// own and are not in the table.
pub(super) fn pressed_actions(ctx: &egui::Context) -> Vec<Action> {
    if ctx.text_edit_focused() {
        return Vec::new();
    }
    ctx.input(|input| {
        let presses = input.events.iter().filter_map(|event| match event {
            Event::Key { key, pressed: true, modifiers, .. } => action_of(*modifiers, *key),
            _ => None,
        });
        presses.collect()
    })
}

/// The commands that an action stands for; none for actions of the panels themselves.
pub fn commands_of(action: Action, viewer: &Viewer) -> Vec<ViewCommand> {
    let selected = viewer.selected_layer();
    let of_selected = |command: fn(crate::viewer::layer::LayerId) -> ViewCommand| {
        selected.map(|layer| command(layer.id)).into_iter().collect()
    };
    match action {
        Action::Step(by) => vec![ViewCommand::StepFocused(by)],
        Action::FocusNeighbour(by) => vec![ViewCommand::FocusNeighbour(by)],
        Action::End(last) => vec![ViewCommand::FocusedEnd(last)],
        Action::StepWell(by) => {
            let well = viewer.axes.sliders().find(|(_, axis)| axis.component == "well").map(|(id, _)| id);
            // The arrow keys stay where the user put them.
            let focus_back = viewer.focused_slider().map(ViewCommand::FocusAxis);
            well.map(|id| ViewCommand::Step(id, by)).into_iter().chain(well.and(focus_back)).collect()
        }
        Action::Fit => vec![ViewCommand::Fit],
        Action::OneToOne => vec![ViewCommand::OneToOne],
        Action::Zoom(is_in) => vec![ViewCommand::Zoom(if is_in { 1.25 } else { 0.8 })],
        Action::AutoContrast => of_selected(ViewCommand::AutoContrast),
        Action::AutoContrastAll => vec![ViewCommand::AutoContrastAll],
        Action::ToggleVisible => {
            selected.map(|layer| ViewCommand::SetVisible(layer.id, !layer.visible)).into_iter().collect()
        }
        Action::ToggleOthers => of_selected(ViewCommand::ToggleOthers),
        Action::SelectNeighbour(by) => vec![ViewCommand::SelectNeighbour(by)],
        Action::Remove => of_selected(ViewCommand::Remove),
        Action::Screenshot | Action::Help | Action::Close | Action::FullScreen => Vec::new(),
    }
}

/// The list that F1 opens.
pub(super) fn show_help(ctx: &egui::Context, canvas: egui::Rect, is_open: &mut bool) {
    egui::Window::new("Keys and mouse")
        .open(is_open)
        .collapsible(false)
        .resizable(false)
        .pivot(egui::Align2::CENTER_CENTER)
        .default_pos(canvas.center())
        .constrain_to(ctx.content_rect())
        .show(ctx, |ui| {
            let height = ctx.content_rect().height() - 120.0;
            let list = egui::ScrollArea::vertical().max_height(height).min_scrolled_height(height);
            list.content_margin(egui::Margin { right: 14, ..egui::Margin::ZERO }).show(ui, |ui| {
                egui::Grid::new("keys").num_columns(2).spacing([24.0, 3.0]).min_row_height(18.0).show(ui, |ui| {
                    let keys = SHORTCUTS.iter().map(|shortcut| (shortcut.shown, shortcut.help));
                    for (shown, help) in keys.chain(MOUSE.iter().copied()) {
                        ui.label(RichText::new(shown).color(theme::ACCENT));
                        ui.label(help);
                        ui.end_row();
                    }
                });
            });
        });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_do_what_the_table_of_conventions_says() {
        let ctrl = Modifiers { ctrl: true, command: true, ..Modifiers::NONE };
        let cases = [
            (NONE, Key::ArrowRight, Some(Action::Step(1))),
            (NONE, Key::Comma, Some(Action::Step(-1))),
            (ALT, Key::ArrowUp, Some(Action::FocusNeighbour(-1))),
            (ctrl, Key::ArrowUp, Some(Action::SelectNeighbour(1))),
            (ctrl, Key::Num0, Some(Action::OneToOne)),
            (ctrl, Key::R, Some(Action::Fit)),
            (NONE, Key::R, None),
            (NONE, Key::C, Some(Action::AutoContrast)),
            (Modifiers { shift: true, ..ctrl }, Key::C, Some(Action::AutoContrastAll)),
            (ctrl, Key::C, None),
            (SHIFT, Key::V, Some(Action::ToggleOthers)),
            (SHIFT, Key::Questionmark, Some(Action::Help)),
            (ALT, Key::F, None),
        ];
        for (modifiers, key, action) in cases {
            assert_eq!(action_of(modifiers, key), action, "{modifiers:?} {key:?}");
        }
    }

    #[test]
    fn no_key_does_two_things() {
        let keys: Vec<_> = SHORTCUTS.iter().flat_map(|shortcut| shortcut.keys).collect();
        for (place, key) in keys.iter().enumerate() {
            assert!(!keys[..place].contains(key), "{key:?}");
        }
    }

    #[test]
    fn actions_on_the_selected_layer_need_one() {
        let viewer = Viewer::default();
        for action in [Action::Remove, Action::AutoContrast, Action::ToggleVisible, Action::ToggleOthers] {
            assert!(commands_of(action, &viewer).is_empty(), "{action:?}");
        }
        assert_eq!(commands_of(Action::Fit, &viewer).len(), 1);
    }
}
