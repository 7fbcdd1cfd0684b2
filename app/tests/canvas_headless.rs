//! The whole path without a window: scene, canvas, panels, picture; and a loop that sleeps while nothing happens.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a helper of a test that unwraps says where it failed")]

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use bevy::app::{AppExit, PluginsState};
use bevy::prelude::*;
use bevy_egui::{EguiContexts, EguiPrimaryContextPass, egui};
use wellscope::host::wake::Wake;
use wellscope::host::{HostOptions, build_app};
use wellscope::render::RenderReport;
use wellscope::render::scene::{
    Blending, CanvasCamera, CanvasRect, Interpolation, PlaneDraw, PlaneId, PlanePixels, PlaneSource, Scene,
};
use wellscope::render::screenshot::{PendingScreenshot, Picture, ScreenshotScope, Screenshots};
use wellscope_protocol::dtype::ElementType;

/// Where the test's panel lies, in pixels; egui's points are pixels when headless.
const PANEL: egui::Rect = egui::Rect { min: egui::pos2(0.0, 0.0), max: egui::pos2(40.0, 120.0) };
const PANEL_COLOUR: [u8; 3] = [200, 40, 90];

fn headless_app(width: u32, height: u32) -> App {
    let options = HostOptions { headless: true, window_size: (width, height), ..HostOptions::default() };
    let mut app = build_app(options).expect("something to draw with: apt-get install mesa-vulkan-drivers");
    app.init_resource::<Asked>().add_systems(Update, take_pictures).add_systems(EguiPrimaryContextPass, paint_panel);
    app
}

fn paint_panel(mut contexts: EguiContexts) {
    let [red, green, blue] = PANEL_COLOUR;
    if let Ok(context) = contexts.ctx_mut() {
        let painter = context.layer_painter(egui::LayerId::background());
        painter.rect_filled(PANEL, 0.0, egui::Color32::from_rgb(red, green, blue));
    }
}

#[derive(Resource, Default)]
struct Asked(Vec<ScreenshotScope>, Vec<PendingScreenshot>);

fn take_pictures(mut asked: ResMut<Asked>, mut screenshots: Screenshots) {
    if let Some(scope) = asked.0.pop() {
        asked.1.push(screenshots.request(scope));
    }
}

fn finish_plugins(app: &mut App) {
    while app.plugins_state() == PluginsState::Adding {
        bevy::tasks::tick_global_task_pools_on_main_thread();
    }
    app.finish();
    app.cleanup();
}

fn picture(app: &mut App, scope: ScreenshotScope) -> Picture {
    app.world_mut().resource_mut::<Asked>().0.push(scope);
    for _ in 0..200 {
        app.update();
        if let Some(picture) = app.world().resource::<Asked>().1.last().and_then(PendingScreenshot::try_take) {
            return picture;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    panic!("no picture came in 200 frames");
}

fn pixel(picture: &Picture, x: u32, y: u32) -> [u8; 3] {
    let start = 4 * (y * picture.width + x) as usize;
    [picture.rgba[start], picture.rgba[start + 1], picture.rgba[start + 2]]
}

fn draw(layer: u64, width: u32, height: u32, bytes: Vec<u8>) -> PlaneDraw {
    PlaneDraw {
        layer,
        plane: PlaneSource {
            id: PlaneId(layer),
            width,
            height,
            samples: 1,
            element: ElementType::U8,
            pixels: PlanePixels::from_vec(bytes),
            labels: false,
            timing: None,
        },
        origin_yx: [0.0, 0.0],
        contrast_limits: [0.0, 255.0],
        gamma: 1.0,
        colormap: 0,
        opacity: 1.0,
        blending: Blending::Additive,
        interpolation: Interpolation::Nearest,
    }
}

/// 16 x 16 pixels that hold every value once, four screen pixels each.
fn every_value() -> Scene {
    Scene {
        generation: 1,
        canvas: CanvasRect { x: 50, y: 20, width: 64, height: 64 },
        camera: CanvasCamera { center_yx: [7.5, 7.5], zoom: 4.0 },
        draws: vec![draw(1, 16, 16, (0..=255).collect())],
        ..Scene::default()
    }
}

#[test]
fn every_display_value_reaches_the_picture_unchanged_beside_the_panels() {
    let mut app = headless_app(160, 120);
    finish_plugins(&mut app);
    app.insert_resource(every_value());
    app.update();
    // Not pipelined: what an update decided has been drawn when it returns.
    assert_eq!(app.world().resource::<RenderReport>().drawn_generation(), 1);

    let window = picture(&mut app, ScreenshotScope::Window);
    assert_eq!((window.width, window.height), (160, 120));
    for value in 0..=255_u8 {
        let (x, y) = (50 + u32::from(value % 16) * 4, 20 + u32::from(value / 16) * 4);
        for (dx, dy) in [(0, 0), (3, 3)] {
            // Display values become linear light and are encoded again on the way; they must come back the same.
            assert_eq!(pixel(&window, x + dx, y + dy), [value; 3], "at {x}+{dx}, {y}+{dy}");
        }
    }
    assert_eq!(pixel(&window, 5, 5), PANEL_COLOUR);

    let canvas = picture(&mut app, ScreenshotScope::Canvas);
    assert_eq!((canvas.width, canvas.height), (64, 64));
    assert_eq!(pixel(&canvas, 63, 63), [255; 3]);

    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("canvas.png");
    canvas.write_png(&file).unwrap();
    let mut reader =
        png::Decoder::new(std::io::BufReader::new(std::fs::File::open(&file).unwrap())).read_info().unwrap();
    let mut read = vec![0; reader.output_buffer_size().unwrap()];
    reader.next_frame(&mut read).unwrap();
    assert_eq!(read, canvas.rgba);
}

/// Ends the app whatever happens to the thread that holds it, so that a failed check fails instead of hanging.
struct EndsTheApp(Arc<AtomicBool>, Wake);

impl Drop for EndsTheApp {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Release);
        self.1.wake();
    }
}

#[test]
fn the_loop_sleeps_while_nothing_happens_and_draws_one_frame_per_wake() {
    let mut app = headless_app(64, 64);
    app.insert_resource(every_value());
    let end = Arc::new(AtomicBool::new(false));
    let is_over = Arc::clone(&end);
    app.add_systems(Update, move |mut exits: MessageWriter<AppExit>| {
        if is_over.load(Ordering::Acquire) {
            exits.write(AppExit::Success);
        }
    });
    let wake = app.world().resource::<Wake>().clone();
    let report = app.world().resource::<RenderReport>().clone();
    let frames = {
        let report = report.clone();
        move || report.snapshot().frames
    };
    let checks = std::thread::spawn(move || {
        let _end = EndsTheApp(end, wake.clone());
        let deadline = Instant::now() + Duration::from_secs(60);
        let wait_for = |condition: &dyn Fn() -> bool| {
            while !condition() {
                assert!(Instant::now() < deadline, "waited too long; {:?}", report.snapshot());
                std::thread::sleep(Duration::from_millis(5));
            }
        };
        wait_for(&|| report.drawn_generation() == 1);
        // egui may ask for a few frames at its start.
        let last = Mutex::new((frames(), Instant::now()));
        wait_for(&|| {
            let mut last = last.lock().unwrap();
            if last.0 != frames() {
                *last = (frames(), Instant::now());
            }
            last.1.elapsed() > Duration::from_millis(500)
        });

        let before = frames();
        std::thread::sleep(Duration::from_secs(2));
        assert_eq!(frames(), before, "frames while idle");
        let renders = report.snapshot().canvas_renders;
        for woken in 1..=3 {
            wake.wake();
            wait_for(&|| frames() >= before + woken);
        }
        std::thread::sleep(Duration::from_millis(500));
        assert_eq!(frames(), before + 3, "one frame per wake");
        assert_eq!(report.snapshot().canvas_renders, renders, "an unchanged scene is presented, not drawn anew");
    });
    assert_eq!(app.run(), AppExit::Success);
    checks.join().unwrap();
}

#[test]
fn after_the_gpu_is_lost_canvas_and_panels_come_back_from_host_memory() {
    let mut app = headless_app(160, 120);
    finish_plugins(&mut app);
    app.insert_resource(every_value());
    app.update();
    let before = picture(&mut app, ScreenshotScope::Window);
    assert_eq!(pixel(&before, 5, 5), PANEL_COLOUR);

    let uploads_before = app.world().resource::<RenderReport>().snapshot().uploads;
    let device = app.world().resource::<bevy::render::renderer::RenderDevice>().clone();
    device.wgpu_device().destroy();
    // Drivers tell of a loss when something is submitted; a destroyed device tells when it is polled.
    let _ = device.poll(wgpu::PollType::wait_indefinitely());
    for _ in 0..10 {
        app.update();
    }
    let report = app.world().resource::<RenderReport>().clone();
    let problems = report.take_problems();
    assert!(matches!(&problems[..], [sentence] if sentence.contains("opened again")), "{problems:?}");
    assert_eq!(app.should_exit(), None);
    assert_eq!(report.snapshot().uploads, uploads_before + 1, "the plane came back");
    let after = picture(&mut app, ScreenshotScope::Window);
    assert!(before == after, "the picture is another one");
}
