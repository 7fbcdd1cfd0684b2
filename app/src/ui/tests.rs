//! The panels laid out without a window: a frame is a function of the viewer and the input.

use std::sync::Arc;

use bevy_egui::egui::{
    self, Event, Key, Modifiers, MouseWheelUnit, PointerButton, Pos2, RawInput, Rect, TouchPhase, pos2, vec2,
};
use wellscope_protocol::batch::Address;
use wellscope_protocol::component::ComponentValue;
use wellscope_protocol::dtype::ElementType;
use wellscope_protocol::route::RouteKind;

use super::*;
use crate::render::scene::{CanvasRect, PlaneId, PlanePixels, PlaneSource};
use crate::render::timing::{TimedEvent, TimedStage};
use crate::statistics::plane_statistics;
use crate::ui::problems::Severity;
use crate::viewer::axes::AxisId;
use crate::viewer::camera::Extent;
use crate::viewer::display::LayerDisplay;
use crate::viewer::layer::{Coordinate, Entry, ItemInfo, Layer, LayerId, Plane};

/// A window of 1280 x 800 points.
struct Screen {
    ctx: egui::Context,
    state: UiState,
    problems: Problems,
    status: ViewerStatus,
    texts: Vec<String>,
    /// Textures that were made, fonts not counted.
    pictures: usize,
    modifiers: Modifiers,
    /// When egui wants the next frame.
    next_frame_in: Duration,
}

impl Screen {
    fn new() -> Self {
        let status = ViewerStatus { endpoint: "ipc 5555".to_owned(), ..ViewerStatus::default() };
        Self {
            ctx: egui::Context::default(),
            state: UiState::default(),
            problems: Problems::default(),
            status,
            texts: Vec::new(),
            pictures: 0,
            modifiers: Modifiers::NONE,
            next_frame_in: Duration::ZERO,
        }
    }

    fn frame(&mut self, viewer: &Viewer, events: Vec<Event>) -> LaidOut {
        let modifiers = events.iter().find_map(|event| match event {
            Event::Key { modifiers, .. } | Event::MouseWheel { modifiers, .. } => Some(*modifiers),
            _ => None,
        });
        let modifiers = modifiers.unwrap_or_default();
        // Modifiers come ahead of the event that they belong to, and only when they change: egui wants a frame after each.
        let changed = (modifiers != self.modifiers).then_some(Event::ModifiersChanged(modifiers));
        self.modifiers = modifiers;
        let events = changed.into_iter().chain(events).collect();
        let screen_rect = Some(Rect::from_min_size(Pos2::ZERO, vec2(1280.0, 800.0)));
        self.ctx.begin_pass(RawInput { screen_rect, events, ..RawInput::default() });
        let laid_out = lay_out(&self.ctx, viewer, &self.status, &mut self.problems, &mut self.state);
        let mut output = self.ctx.end_pass();
        let wishes = output.viewport_output.values().map(|viewport| viewport.repaint_delay);
        self.next_frame_in = wishes.min().unwrap_or(Duration::MAX);
        self.pictures += output.textures_delta.set.iter().filter(|(id, _)| **id != egui::TextureId::default()).count();
        output.textures_delta.clear();
        self.texts = output.shapes.iter().flat_map(|clipped| texts_of(&clipped.shape)).collect();
        laid_out
    }

    /// Frames until what is shown for the first time has its size.
    fn settle(&mut self, viewer: &Viewer) -> LaidOut {
        self.frame(viewer, Vec::new());
        self.frame(viewer, Vec::new())
    }

    fn shows(&self, text: &str) -> bool {
        self.texts.iter().any(|shown| shown.contains(text))
    }
}

fn texts_of(shape: &egui::Shape) -> Vec<String> {
    match shape {
        egui::Shape::Text(text) => vec![text.galley.text().to_owned()],
        egui::Shape::Vec(shapes) => shapes.iter().flat_map(texts_of).collect(),
        _ => Vec::new(),
    }
}

fn key(key: Key, modifiers: Modifiers) -> Event {
    Event::Key { key, physical_key: None, pressed: true, repeat: false, modifiers }
}

fn wheel(delta: f32, modifiers: Modifiers) -> Event {
    Event::MouseWheel { unit: MouseWheelUnit::Line, delta: vec2(0.0, delta), phase: TouchPhase::Move, modifiers }
}

fn press(at: Pos2, pressed: bool) -> Event {
    Event::PointerButton { pos: at, button: PointerButton::Primary, pressed, modifiers: Modifiers::NONE }
}

/// One layer of 4 x 3 pixels per well; `received` of the announced `wells` have it.
fn viewer(wells: &[&str], received: &[&str]) -> Viewer {
    let mut viewer = Viewer::default();
    for well in wells {
        viewer.axes.announce("well", &ComponentValue::Text((*well).to_owned()));
    }
    let axis = viewer.axes.axis_of("well");
    let display = LayerDisplay::new("viridis");
    let mut layer = Layer::new(LayerId(7), "route".into(), "1. Gaussian Blur".into(), RouteKind::Image, display);
    layer.axes = vec![axis];
    for well in wells {
        layer.announce(axis, viewer.axes.intern(axis, &ComponentValue::Text((*well).to_owned())));
    }
    for well in received {
        let value = viewer.axes.intern(axis, &ComponentValue::Text((*well).to_owned()));
        viewer.axes.hold(axis, value);
        let plane = plane();
        if let Some(statistics) = &plane.statistics {
            layer.display.channel_mut(None).measure(statistics);
        }
        layer.upsert(Coordinate::new([(axis, value)]), Entry::Plane(plane));
    }
    viewer.selected = Some(layer.id);
    viewer.layers.insert("route".into(), layer);
    viewer
}

fn plane() -> Plane {
    let bytes: Vec<u8> = (0..12_u16).flat_map(|value| (value * 100).to_le_bytes()).collect();
    let statistics = plane_statistics(ElementType::U16, 1, &bytes);
    let source = PlaneSource {
        id: PlaneId(1),
        width: 4,
        height: 3,
        samples: 1,
        element: ElementType::U16,
        pixels: PlanePixels::from_vec(bytes),
        labels: false,
        timing: None,
    };
    Plane {
        source,
        origin_yx: [0.0, 0.0],
        source_shape_yx: None,
        voxel_spacing: None,
        statistics: Some(Arc::new(statistics)),
        thumbnail: None,
        merged: None,
        item: Arc::new(ItemInfo {
            path: "a.tif".into(),
            address: Address::new(),
            shape: vec![3, 4],
            planes: Vec::new(),
            source_frame: Default::default(),
        }),
        index_in_item: 0,
    }
}

#[test]
fn an_empty_viewer_says_where_it_waits() {
    let mut screen = Screen::new();
    let laid_out = screen.settle(&Viewer::default());
    assert!(laid_out.commands.is_empty());
    assert!(screen.shows("Waiting for images on ipc 5555"));
    // 284 points of layers, 26 of status.
    assert_eq!(laid_out.canvas.rect, CanvasRect { x: 284, y: 0, width: 996, height: 774 });
}

#[test]
fn a_quiet_frame_has_no_commands_and_shows_what_matters() {
    let viewer = viewer(&["A01", "B02", "C03"], &["A01", "B02"]);
    let mut screen = Screen::new();
    let laid_out = screen.settle(&viewer);
    assert!(laid_out.commands.is_empty());
    for text in
        ["Well A01", "1. Gaussian Blur", "1 / 3", "Min", "ipc 5555", "viridis", "Received", "0 to 1100 in 2 planes"]
    {
        assert!(screen.shows(text), "{text} is missing from {:?}", screen.texts);
    }
    assert!(laid_out.canvas.rect.height < 774, "the slider takes its place");
    assert_eq!(sliders::received(&viewer, AxisId(0)), [true, true, false]);
}

#[test]
fn a_hole_is_named() {
    let mut viewer = viewer(&["A01", "B02"], &["A01"]);
    viewer.apply(ViewCommand::GoToIndex(AxisId(0), 1));
    let mut screen = Screen::new();
    screen.settle(&viewer);
    assert!(screen.shows("not received yet: 1. Gaussian Blur"));
    let middle = pos2(800.0, 300.0);
    screen.frame(&viewer, vec![Event::PointerMoved(middle)]);
    screen.frame(&viewer, Vec::new());
    assert!(screen.shows("not received yet (1. Gaussian Blur)"), "{:?}", screen.texts);
}

#[test]
fn the_probe_reads_the_pixel_under_the_pointer() {
    let mut viewer = viewer(&["A01"], &["A01"]);
    let mut screen = Screen::new();
    let area = screen.settle(&viewer).canvas;
    viewer.camera.resize([f64::from(area.rect.width), f64::from(area.rect.height)]);
    viewer.camera.fit(Extent::of_image([0.0, 0.0], [3, 4]));
    let [x, y] = viewer.camera.canvas_from_data([2.0, 1.0]);
    let at = pos2(x as f32 + area.rect.x as f32, y as f32 + area.rect.y as f32);
    screen.frame(&viewer, vec![Event::PointerMoved(at)]);
    screen.frame(&viewer, Vec::new());
    assert!(screen.shows("y 2, x 1: 900 (1. Gaussian Blur)"), "{:?}", screen.texts);
}

#[test]
fn keys_become_commands_unless_text_is_being_typed() {
    let viewer = viewer(&["A01", "B02"], &["A01"]);
    let mut screen = Screen::new();
    screen.settle(&viewer);
    let laid_out = screen.frame(&viewer, vec![key(Key::ArrowRight, Modifiers::NONE)]);
    assert!(matches!(laid_out.commands[..], [ViewCommand::StepFocused(1)]), "{:?}", laid_out.commands);
    let saved = screen.frame(&viewer, vec![key(Key::S, Modifiers::CTRL)]);
    assert_eq!(saved.actions, [Action::Screenshot]);

    screen.state.jump = Some(Jump::at(AxisId(0)));
    screen.settle(&viewer);
    let typed = screen.frame(&viewer, vec![key(Key::V, Modifiers::NONE), Event::Text("v".into())]);
    assert!(typed.commands.is_empty(), "{:?}", typed.commands);
}

#[test]
fn a_typed_value_is_gone_to() {
    let viewer = viewer(&["A01", "B02"], &["A01"]);
    let mut screen = Screen::new();
    screen.state.jump = Some(Jump::at(AxisId(0)));
    screen.settle(&viewer);
    screen.frame(&viewer, vec![Event::Text("b2".into())]);
    let entered = screen.frame(&viewer, vec![key(Key::Enter, Modifiers::NONE)]);
    assert!(matches!(entered.commands[..], [ViewCommand::GoToIndex(AxisId(0), 1)]), "{:?}", entered.commands);
    assert!(screen.state.jump.is_none());
}

#[test]
fn the_wheel_zooms_at_the_pointer_and_steps_with_ctrl() {
    let viewer = viewer(&["A01", "B02"], &["A01"]);
    let mut screen = Screen::new();
    screen.settle(&viewer);
    screen.frame(&viewer, vec![Event::PointerMoved(pos2(384.0, 50.0))]);
    let zoomed = screen.frame(&viewer, vec![wheel(1.0, Modifiers::NONE)]);
    let [ViewCommand::ZoomAt(factor, at)] = zoomed.commands[..] else { panic!("{:?}", zoomed.commands) };
    assert!(factor > 1.0);
    assert_eq!(at, [100.0, 50.0]);
    let stepped = screen.frame(&viewer, vec![wheel(-2.0, Modifiers::CTRL)]);
    assert!(matches!(stepped.commands[..], [ViewCommand::StepFocused(-2)]), "{:?}", stepped.commands);
    screen.frame(&viewer, vec![Event::PointerMoved(pos2(100.0, 50.0))]);
    let on_panel = screen.frame(&viewer, vec![wheel(1.0, Modifiers::NONE)]);
    assert!(on_panel.commands.is_empty(), "{:?}", on_panel.commands);
}

#[test]
fn a_drag_on_the_canvas_pans() {
    let viewer = viewer(&["A01"], &["A01"]);
    let mut screen = Screen::new();
    screen.settle(&viewer);
    let start = pos2(700.0, 300.0);
    screen.frame(&viewer, vec![Event::PointerMoved(start)]);
    screen.frame(&viewer, vec![press(start, true)]);
    let moved = screen.frame(&viewer, vec![Event::PointerMoved(start + vec2(30.0, -8.0))]);
    assert!(matches!(moved.commands[..], [ViewCommand::Pan([30.0, -8.0])]), "{:?}", moved.commands);
}

#[test]
fn a_problem_is_on_the_canvas_until_it_is_dismissed() {
    let viewer = viewer(&["A01"], &["A01"]);
    let mut screen = Screen::new();
    screen.problems.report(Severity::Error, "shared memory is gone");
    screen.settle(&viewer);
    assert!(screen.shows("shared memory is gone"));
    screen.problems.dismiss("shared memory is gone");
    screen.settle(&viewer);
    assert!(!screen.shows("shared memory is gone"));
}

#[test]
fn hovering_a_slider_shows_what_is_there_at_once() {
    let viewer = viewer(&["A01", "B02", "C03"], &["A01", "B02"]);
    let mut screen = Screen::new();
    let area = screen.settle(&viewer).canvas.rect;
    assert!(!screen.shows("B02"));
    // The middle of the track: names and buttons are left of it, values and places right of it.
    let y = (area.height as f32 + 774.0) / 2.0;
    let hover = |screen: &mut Screen, x: f32| {
        screen.frame(&viewer, vec![Event::PointerMoved(pos2(x, y))]);
        screen.frame(&viewer, Vec::new());
    };
    hover(&mut screen, 690.0);
    assert!(screen.shows("B02"), "{:?}", screen.texts);
    assert_eq!(screen.texts.iter().filter(|text| *text == "1. Gaussian Blur").count(), 2, "list and preview");
    assert_eq!(screen.pictures, 1);
    let quiet = screen.frame(&viewer, Vec::new());
    assert!(quiet.commands.is_empty(), "looking moves nothing");
    hover(&mut screen, 985.0);
    assert!(screen.shows("C03, not received yet"), "{:?}", screen.texts);
    assert_eq!(screen.pictures, 1, "nothing new to draw");
}

#[test]
fn the_status_bar_says_how_live_the_selected_layer_is() {
    let mut viewer = viewer(&["A01"], &["A01"]);
    let mut screen = Screen::new();
    screen.settle(&viewer);
    assert!(!screen.texts.iter().any(|text| text.starts_with("live")), "{:?}", screen.texts);
    let event = |stage, since_received| TimedEvent { layer: 7, plane: PlaneId(1), stage, since_received, frames: 1 };
    viewer.take_timed(&[
        event(TimedStage::Uploaded, Duration::from_millis(8)),
        event(TimedStage::Drawn, Duration::from_millis(12)),
    ]);
    screen.settle(&viewer);
    assert!(screen.shows("live 12 ms"), "{:?}", screen.texts);
    assert!(!screen.shows("on the GPU"), "closed until it is asked for");
    // The figure is the rightmost of the bar, since there are no problems.
    let at = pos2(1280.0 - 40.0, 787.0);
    screen.frame(&viewer, vec![Event::PointerMoved(at)]);
    screen.frame(&viewer, vec![press(at, true)]);
    screen.frame(&viewer, vec![press(at, false)]);
    screen.settle(&viewer);
    for text in ["on the GPU", "8 ms", "drawn, in frames"] {
        assert!(screen.shows(text), "{text} is missing from {:?}", screen.texts);
    }
}

#[test]
fn nothing_asks_for_another_frame_when_nothing_happens() {
    let viewer = viewer(&["A01", "B02"], &["A01"]);
    let mut screen = Screen::new();
    screen.settle(&viewer);
    screen.settle(&viewer);
    assert_eq!(screen.next_frame_in, Duration::MAX, "{:?}", screen.ctx.repaint_causes());
}
