//! One slider per stacked component: its name, a track over the sorted values that marks what has been received, the
//! value, and its place among all.

use std::ops::RangeInclusive;

use bevy_egui::egui::{
    self, Align, Align2, Button, CursorIcon, Key, Layout, Rect, Response, ScrollArea, Sense, Stroke, TextEdit,
    TextStyle, Ui, pos2, vec2,
};
use wellscope_protocol::batch::ComponentNames;
use wellscope_protocol::component::ComponentValue;
use wellscope_protocol::label::component_title;

use super::icons::{Icon, icon_button};
use super::preview::PreviewTexture;
use super::{UiState, preview, theme};
use crate::viewer::Viewer;
use crate::viewer::axes::{Axis, AxisId};
use crate::viewer::command::ViewCommand;

/// Sliders that are shown before the list scrolls.
const MOST_ROWS: usize = 6;
const ROW_HEIGHT: f32 = 24.0;
const ROW_SPACING: f32 = 2.0;
const VALUE_WIDTH: f32 = 160.0;
const PLACE_WIDTH: f32 = 72.0;
/// Values stand at least this far apart to get a mark each, in points; else stretches of the track are filled.
const MARK_DISTANCE: f32 = 8.0;

/// A value that is being typed.
pub struct Jump {
    axis: AxisId,
    text: String,
    /// What was typed names no value.
    is_unknown: bool,
    is_fresh: bool,
}

impl Jump {
    /// An empty field in the place of a slider's value.
    pub fn at(axis: AxisId) -> Self {
        Self { axis, text: String::new(), is_unknown: false, is_fresh: true }
    }
}

/// The panel's height for this many sliders, in points; 0 without any.
pub(super) fn panel_height(sliders: usize) -> f32 {
    let rows = sliders.min(MOST_ROWS) as f32;
    if sliders == 0 { 0.0 } else { rows * (ROW_HEIGHT + ROW_SPACING) - ROW_SPACING }
}

/// All sliders.
pub(super) fn show(ui: &mut Ui, viewer: &Viewer, state: &mut UiState, commands: &mut Vec<ViewCommand>) {
    let focused = viewer.focused_slider();
    ui.spacing_mut().item_spacing.y = ROW_SPACING;
    let list = ScrollArea::vertical().max_height(panel_height(MOST_ROWS)).auto_shrink([false, true]);
    list.vscroll(viewer.axes.sliders().count() > MOST_ROWS).show(ui, |ui| {
        for (id, axis) in viewer.axes.sliders() {
            ui.push_id(id.0, |ui| show_slider(ui, viewer, (id, axis), focused == Some(id), state, commands));
        }
    });
}

fn show_slider(
    ui: &mut Ui,
    viewer: &Viewer,
    (id, axis): (AxisId, &Axis),
    is_focused: bool,
    state: &mut UiState,
    commands: &mut Vec<ViewCommand>,
) {
    let Some(current) = axis.current() else { return };
    let place = axis.index_of(current);
    let row = Rect::from_min_size(ui.cursor().min, vec2(ui.available_width(), ROW_HEIGHT));
    if is_focused {
        ui.painter().rect_filled(row.expand2(vec2(6.0, 0.0)), 4.0, ui.visuals().faint_bg_color.gamma_multiply(1.6));
        let bar = Rect::from_min_size(row.left_top() + vec2(-6.0, 4.0), vec2(2.5, ROW_HEIGHT - 8.0));
        ui.painter().rect_filled(bar, 1.0, theme::ACCENT);
    }
    let layout = Layout::left_to_right(Align::Center);
    ui.allocate_ui_with_layout(row.size(), layout, |ui| {
        ui.set_min_height(ROW_HEIGHT);
        ui.spacing_mut().item_spacing.x = 4.0;
        show_name(ui, id, &axis.component, is_focused, commands);
        if icon_button(ui, Icon::Previous, place > 0, "Previous value (Left arrow)").clicked() {
            commands.push(ViewCommand::Step(id, -1));
        }
        let rest = VALUE_WIDTH + PLACE_WIDTH + ui.spacing().interact_size.y + 3.0 * ui.spacing().item_spacing.x;
        let track_width = (ui.available_width() - rest).max(40.0);
        show_track(ui, viewer, (id, axis), place, track_width, is_focused, state, commands);
        if icon_button(ui, Icon::Next, place + 1 < axis.len(), "Next value (Right arrow)").clicked() {
            commands.push(ViewCommand::Step(id, 1));
        }
        show_value(ui, viewer, (id, axis), axis.value(current), state, commands);
        let (rect, _) = ui.allocate_exact_size(vec2(PLACE_WIDTH, ROW_HEIGHT), Sense::hover());
        let font = TextStyle::Body.resolve(ui.style());
        let text = format!("{} / {}", place + 1, axis.len());
        ui.painter().text(rect.right_center(), Align2::RIGHT_CENTER, text, font, theme::WEAK_TEXT);
    });
}

fn show_name(ui: &mut Ui, id: AxisId, component: &str, is_focused: bool, commands: &mut Vec<ViewCommand>) {
    let (rect, response) = ui.allocate_exact_size(vec2(theme::NAME_WIDTH, ROW_HEIGHT), Sense::click());
    let colour = if is_focused { egui::Color32::WHITE } else { theme::TEXT };
    let name = axis_name(component);
    super::text::paint_elided(ui, rect, &name, colour);
    let hint = if is_focused {
        format!("{component}: arrow keys move this slider")
    } else {
        format!("{component}: click to let arrow keys move this slider")
    };
    if response.on_hover_text(hint).clicked() {
        commands.push(ViewCommand::FocusAxis(id));
    }
}

fn show_track(
    ui: &mut Ui,
    viewer: &Viewer,
    (id, axis): (AxisId, &Axis),
    place: usize,
    width: f32,
    is_focused: bool,
    state: &mut UiState,
    commands: &mut Vec<ViewCommand>,
) {
    let (rect, response) = ui.allocate_exact_size(vec2(width, ROW_HEIGHT), Sense::click_and_drag());
    let rail = rect.shrink2(vec2(8.0, 0.0)).x_range();
    let rail = rail.min..=rail.max;
    let received = received(viewer, id);
    paint_track(ui, rect, &rail, &received);
    let handle = pos2(x_of_place(&rail, place, axis.len()), rect.center().y);
    let is_here = received.get(place).copied().unwrap_or_default();
    let colour = if is_focused || response.dragged() { theme::ACCENT } else { theme::TEXT };
    let radius = if response.hovered() || response.dragged() { 7.0 } else { 6.0 };
    ui.painter().circle(
        handle,
        radius,
        if is_here { colour } else { theme::PANEL },
        Stroke::new(2.0, if is_here { theme::PANEL } else { colour }),
    );
    if let Some(pointer) = response.interact_pointer_pos() {
        let target = place_at_x(&rail, pointer.x, axis.len());
        if (response.dragged() || response.clicked()) && target != place {
            commands.push(ViewCommand::GoToIndex(id, target));
        } else if response.clicked() || response.drag_started() {
            commands.push(ViewCommand::FocusAxis(id));
        }
    }
    let notches = super::canvas::wheel_notches(ui, &response);
    if notches != 0 {
        commands.push(ViewCommand::Step(id, notches));
    }
    let response = response.on_hover_cursor(CursorIcon::PointingHand);
    show_track_hint(viewer, (id, axis), &rail, &received, &response, &mut state.preview);
}

/// What lies under the pointer: a small picture of the plane there, at once, so that a slider can be browsed by hovering.
fn show_track_hint(
    viewer: &Viewer,
    (id, axis): (AxisId, &Axis),
    rail: &RangeInclusive<f32>,
    received: &[bool],
    response: &Response,
    textures: &mut PreviewTexture,
) {
    let Some(pointer) = response.hover_pos().filter(|_| !response.dragged()) else { return };
    let target = place_at_x(rail, pointer.x, axis.len());
    let Some(value) = axis.sorted().get(target) else { return };
    let text = value_text(&axis.component, axis.value(*value), &viewer.names);
    let is_here = received.get(target).copied().unwrap_or_default();
    let text = if is_here { text } else { format!("{text}, not received yet") };
    let x = x_of_place(rail, target, axis.len());
    preview::show(response, x, &text, viewer.preview_at(id, *value).as_ref(), textures);
}

fn paint_track(ui: &Ui, rect: Rect, rail: &RangeInclusive<f32>, received: &[bool]) {
    let painter = ui.painter();
    let y = rect.center().y;
    let strip =
        |from: f32, to: f32, height: f32| Rect::from_min_max(pos2(from, y - height / 2.0), pos2(to, y + height / 2.0));
    let here = egui::Color32::from_rgb(0x70, 0x78, 0x84);
    let missing = egui::Color32::from_rgb(0x34, 0x39, 0x41);
    let distance = (rail.end() - rail.start()) / received.len().saturating_sub(1).max(1) as f32;
    if distance >= MARK_DISTANCE {
        painter.rect_filled(strip(*rail.start(), *rail.end(), 2.0), 1.0, missing);
        for (place, is_here) in received.iter().enumerate() {
            let center = pos2(x_of_place(rail, place, received.len()), y);
            if *is_here {
                painter.circle_filled(center, 3.0, here);
            } else {
                painter.circle(center, 3.0, theme::PANEL, Stroke::new(1.2, here.gamma_multiply(0.7)));
            }
        }
        return;
    }
    painter.rect_filled(strip(*rail.start() - 2.0, *rail.end() + 2.0, 5.0), 2.5, missing);
    for run in received_runs(received) {
        let from = x_of_place(rail, *run.start(), received.len()) - distance / 2.0;
        let to = x_of_place(rail, *run.end(), received.len()) + distance / 2.0;
        painter.rect_filled(strip(from, to.max(from + 1.0), 5.0), 1.0, here);
    }
}

fn show_value(
    ui: &mut Ui,
    viewer: &Viewer,
    (id, axis): (AxisId, &Axis),
    value: &ComponentValue,
    state: &mut UiState,
    commands: &mut Vec<ViewCommand>,
) {
    let text = value_text(&axis.component, value, &viewer.names);
    let size = vec2(VALUE_WIDTH, ROW_HEIGHT - 2.0);
    let Some(jump) = state.jump.as_mut().filter(|jump| jump.axis == id) else {
        let button = ui.add_sized(size, Button::new(text.as_str()).truncate());
        if button.on_hover_text(format!("{text}\nClick to type a value")).clicked() {
            state.jump = Some(Jump::at(id));
        }
        return;
    };
    let colour = if jump.is_unknown { theme::ERROR } else { egui::Color32::WHITE };
    let edit = TextEdit::singleline(&mut jump.text).hint_text(text).text_color(colour).margin(vec2(6.0, 2.0));
    let response = ui.add_sized(size, edit);
    if jump.is_fresh {
        jump.is_fresh = false;
        response.request_focus();
        return;
    }
    if response.changed() {
        jump.is_unknown = false;
    }
    if !response.lost_focus() {
        return;
    }
    let is_entered = ui.input(|input| input.key_pressed(Key::Enter));
    let typed = jump.text.clone();
    if !is_entered || typed.trim().is_empty() {
        state.jump = None;
        return;
    }
    match find_typed(axis, &viewer.names, &typed) {
        Some(place) => {
            commands.push(ViewCommand::GoToIndex(id, place));
            state.jump = None;
        }
        None => {
            jump.is_unknown = true;
            response.request_focus();
        }
    }
}

/// A component as people read it: `z_index` is `Z`, `dose_level` is `Dose level`.
pub fn axis_name(component: &str) -> String {
    match component {
        "z_index" => "Z".to_owned(),
        "timepoint" => "T".to_owned(),
        other => {
            let words = component_title(&other.replace('_', " ").to_lowercase());
            let (first, rest) = words.split_at(words.chars().next().map_or(0, char::len_utf8));
            format!("{first}{}", rest.to_lowercase())
        }
    }
}

/// A value on its slider: `B02`, `Ch1: DAPI`, `3: top`.
pub fn value_text(component: &str, value: &ComponentValue, names: &ComponentNames) -> String {
    let name = names.get(component).and_then(|names| names.get(&value.as_key()));
    // An empty name is a blank label in the overlay; here it would hide which value it is.
    let name = name.filter(|name| !name.is_empty() && !name.eq_ignore_ascii_case("none"));
    match (component, name) {
        ("channel", Some(name)) => format!("Ch{value}: {name}"),
        (_, Some(name)) if *name == value.as_key() => name.clone(),
        (_, Some(name)) => format!("{value}: {name}"),
        (_, None) => value.to_string(),
    }
}

/// Place of the value that a user means: the value, its name or its label as spelled, then in any case and without leading
/// zeros (`b2` is B02), then what begins so, when only one value does.
pub fn find_typed(axis: &Axis, names: &ComponentNames, typed: &str) -> Option<usize> {
    let spellings: Vec<[String; 3]> = axis
        .sorted()
        .iter()
        .map(|id| {
            let value = axis.value(*id);
            let named = names.get(&axis.component).and_then(|names| names.get(&value.as_key()));
            [value.to_string(), named.cloned().unwrap_or_default(), value_text(&axis.component, value, names)]
        })
        .collect();
    let typed = typed.trim();
    if typed.is_empty() {
        return None;
    }
    let exact = spellings.iter().position(|spelling| spelling.iter().any(|text| text == typed));
    let loosely = loose(typed);
    let alike = || spellings.iter().position(|spelling| spelling.iter().any(|text| loose(text) == loosely));
    let beginning = || {
        let begins = |spelling: &[String; 3]| spelling.iter().any(|text| loose(text).starts_with(&loosely));
        let mut found = spellings.iter().enumerate().filter(|(_, spelling)| begins(spelling));
        found.next().filter(|_| found.next().is_none()).map(|(place, _)| place)
    };
    exact.or_else(alike).or_else(beginning)
}

/// Lower case, and numbers without leading zeros.
fn loose(text: &str) -> String {
    let mut loose = String::with_capacity(text.len());
    let mut characters = text.trim().chars().flat_map(char::to_lowercase).peekable();
    let mut in_number = false;
    while let Some(character) = characters.next() {
        let opens_number = character == '0' && !in_number;
        let is_leading_zero = opens_number && characters.peek().is_some_and(char::is_ascii_digit);
        in_number = character.is_ascii_digit() && !is_leading_zero;
        if !is_leading_zero {
            loose.push(character);
        }
    }
    loose
}

/// For each value in slider order, whether any visible layer has something at it.
pub fn received(viewer: &Viewer, id: AxisId) -> Vec<bool> {
    let axis = viewer.axes.get(id);
    let mut places: Vec<bool> = Vec::new();
    for layer in viewer.layers.values().filter(|layer| layer.visible) {
        for value in layer.seen(id) {
            let number = value.0 as usize;
            if places.len() <= number {
                places.resize(number + 1, false);
            }
            places[number] = true;
        }
    }
    axis.sorted().iter().map(|value| places.get(value.0 as usize).copied().unwrap_or_default()).collect()
}

/// Stretches of received values, as first and last place.
fn received_runs(received: &[bool]) -> Vec<RangeInclusive<usize>> {
    let mut runs: Vec<RangeInclusive<usize>> = Vec::new();
    for (place, _) in received.iter().enumerate().filter(|(_, is_here)| **is_here) {
        match runs.last_mut().filter(|run| *run.end() + 1 == place) {
            Some(run) => *run = *run.start()..=place,
            None => runs.push(place..=place),
        }
    }
    runs
}

fn x_of_place(rail: &RangeInclusive<f32>, place: usize, places: usize) -> f32 {
    let part = place as f32 / places.saturating_sub(1).max(1) as f32;
    rail.start() + part * (rail.end() - rail.start())
}

fn place_at_x(rail: &RangeInclusive<f32>, x: f32, places: usize) -> usize {
    let last = places.saturating_sub(1);
    let part = ((x - rail.start()) / (rail.end() - rail.start()).max(1.0)).clamp(0.0, 1.0);
    ((part * last as f32).round() as usize).min(last)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::viewer::axes::Axes;

    fn well_axis(values: &[&str]) -> (Axes, AxisId) {
        let mut axes = Axes::default();
        for value in values {
            axes.announce("well", &ComponentValue::Text((*value).to_owned()));
        }
        let id = axes.axis_of("well");
        (axes, id)
    }

    #[test]
    fn components_are_named_as_people_read_them() {
        for (component, name) in
            [("well", "Well"), ("z_index", "Z"), ("timepoint", "T"), ("dose_level", "Dose level"), ("", "")]
        {
            assert_eq!(axis_name(component), name);
        }
    }

    #[test]
    fn values_are_shown_with_their_names_and_never_blank() {
        let named = |component: &str, value: &str, name: &str| {
            (component.to_owned(), [(value.to_owned(), name.to_owned())].into_iter().collect())
        };
        let names: ComponentNames =
            [named("channel", "1", "DAPI"), named("z_index", "3", "top"), named("well", "A01", "")].into();
        assert_eq!(value_text("channel", &1.into(), &names), "Ch1: DAPI");
        assert_eq!(value_text("channel", &2.into(), &names), "2");
        assert_eq!(value_text("z_index", &3.into(), &names), "3: top");
        assert_eq!(value_text("well", &"A01".into(), &names), "A01");
    }

    #[test]
    fn typed_values_are_found_loosely_but_not_guessed() {
        let (axes, id) = well_axis(&["A01", "A02", "B02", "B12"]);
        let names: ComponentNames =
            [("well".to_owned(), [("B12".to_owned(), "control".to_owned())].into_iter().collect())].into();
        let find = |typed: &str| find_typed(axes.get(id), &names, typed);
        assert_eq!(find("B02"), Some(2));
        assert_eq!(find(" b2 "), Some(2));
        assert_eq!(find("control"), Some(3));
        assert_eq!(find("con"), Some(3));
        assert_eq!(find("A"), None, "two wells begin so");
        assert_eq!(find("C01"), None);
        assert_eq!(find("  "), None);
    }

    #[test]
    fn numbers_lose_leading_zeros_only() {
        assert_eq!(["B02", "10", "007", "0", "a0b", "z00"].map(loose), ["b2", "10", "7", "0", "a0b", "z0"]);
    }

    #[test]
    fn track_positions_and_places_match() {
        let rail = 10.0..=110.0;
        for place in 0..12 {
            assert_eq!(place_at_x(&rail, x_of_place(&rail, place, 12), 12), place);
        }
        assert_eq!(place_at_x(&rail, -50.0, 12), 0);
        assert_eq!(place_at_x(&rail, 500.0, 12), 11);
        assert_eq!(place_at_x(&rail, 60.0, 1), 0);
    }

    #[test]
    fn runs_join_neighbours() {
        assert_eq!(received_runs(&[true, true, false, true]), [0..=1, 3..=3]);
        assert_eq!(received_runs(&[false]), []);
    }

    #[test]
    fn long_lists_of_sliders_do_not_eat_the_canvas() {
        assert_eq!(panel_height(0), 0.0);
        assert!(panel_height(2) < panel_height(3));
        assert_eq!(panel_height(MOST_ROWS), panel_height(40));
    }
}
