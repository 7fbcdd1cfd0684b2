//! How long a frame of 1163 x 835 takes without a window: wall time including the device's, empty and with 1 and 3 layers.
//!
//! `cargo run --release --example frame_time`; compare figures of one run only.

use std::time::{Duration, Instant};

use bevy::app::PluginsState;
use bevy_egui::{EguiContexts, EguiPrimaryContextPass};
use wellscope::host::{HostOptions, build_app};
use wellscope::render::scene::{
    Blending, CanvasCamera, CanvasRect, Interpolation, PlaneDraw, PlaneId, PlanePixels, PlaneSource, Scene,
};
use wellscope_protocol::dtype::ElementType;

const SIDE: u32 = 1024;

fn main() -> anyhow::Result<()> {
    for layers in [0_u64, 1, 3] {
        let mut app = build_app(HostOptions { headless: true, window_size: (1163, 835), ..HostOptions::default() })?;
        // bevy_egui 0.42 panics when no system uses its context.
        app.add_systems(EguiPrimaryContextPass, |mut contexts: EguiContexts| drop(contexts.ctx_mut().map(|_| ())));
        while app.plugins_state() == PluginsState::Adding {
            bevy::tasks::tick_global_task_pools_on_main_thread();
        }
        app.finish();
        app.cleanup();
        let mut scene = Scene {
            canvas: CanvasRect { x: 0, y: 0, width: 1163, height: 835 },
            camera: CanvasCamera { center_yx: [511.5, 511.5], zoom: 1.2 },
            draws: (1..=layers).map(draw).collect(),
            ..Scene::default()
        };
        for (what, changes) in [("unchanged scene", false), ("contrast changes in each frame", true)] {
            let mut times: Vec<Duration> = Vec::new();
            for frame in 0..60 {
                if changes || frame == 0 {
                    scene.generation += 1;
                    scene.draws.iter_mut().for_each(|draw| draw.contrast_limits[1] = 100.0 + frame as f32);
                    app.insert_resource(scene.clone());
                }
                let started = Instant::now();
                app.update();
                let device = app.world().resource::<bevy::render::renderer::RenderDevice>();
                device.poll(wgpu::PollType::wait_indefinitely())?;
                if frame >= 10 {
                    times.push(started.elapsed());
                }
            }
            times.sort();
            println!("{layers} layers, {what}: min {:.2?}, median {:.2?}", times[0], times[times.len() / 2]);
        }
    }
    Ok(())
}

fn draw(layer: u64) -> PlaneDraw {
    let bytes = vec![layer as u8 * 40; (SIDE * SIDE) as usize];
    PlaneDraw {
        layer,
        plane: PlaneSource {
            id: PlaneId(layer),
            width: SIDE,
            height: SIDE,
            samples: 1,
            element: ElementType::U8,
            pixels: PlanePixels::from_vec(bytes),
            labels: false,
            timing: None,
        },
        origin_yx: [0.0, 0.0],
        contrast_limits: [0.0, 100.0],
        gamma: 1.0,
        colormap: 0,
        opacity: 1.0,
        blending: Blending::Additive,
        interpolation: Interpolation::Nearest,
    }
}
