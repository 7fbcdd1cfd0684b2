//! Where the viewer runs: in a window, or headless with the same picture and no window system.

pub mod adapters;
pub mod background;
mod display;
mod headless;
pub mod idle;
mod recovery;
pub mod wake;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use bevy::app::TerminalCtrlCHandlerPlugin;
use bevy::asset::RenderAssetUsages;
use bevy::camera::RenderTarget;
use bevy::prelude::*;
use bevy::render::RenderPlugin;
use bevy::render::pipelined_rendering::PipelinedRenderingPlugin;
use bevy::render::render_resource::{TextureFormat, TextureUsages};
use bevy::render::settings::RenderCreation;
use bevy::window::{ExitCondition, WindowResolution};
use bevy::winit::{EventLoopProxyWrapper, UpdateMode, WinitPlugin, WinitSettings, WinitUserEvent};
use bevy_egui::EguiPlugin;

use crate::amount::Amount;
use crate::host::idle::IdlePlugin;
use crate::host::recovery::RecoveryPlugin;
use crate::host::wake::Wake;
use crate::render::CanvasPlugin;
use crate::render::present::main_texture_usages;

/// What the host is asked for.
#[derive(Clone, Debug)]
pub struct HostOptions {
    /// No window, no X, no Wayland.
    pub headless: bool,
    /// Logical pixels, width and height.
    pub window_size: (u32, u32),
    /// Of the window.
    pub title: String,
    /// Bound for the textures of images; `None`: as the GPU allows.
    pub vram_limit: Option<Amount>,
}

impl Default for HostOptions {
    fn default() -> Self {
        Self { headless: false, window_size: (1280, 800), title: String::new(), vram_limit: None }
    }
}

/// Why there is nothing to draw on.
#[derive(Debug, thiserror::Error)]
pub enum HostError {
    /// Neither a GPU nor a software renderer, or none of the wished name.
    #[error("{found}; {advice}", advice = adapters::ADVICE)]
    NoGpu {
        /// What was looked for.
        found: String,
    },
    /// No window system, or one that does not answer.
    #[error("{found}, so no window can be opened; set DISPLAY (X11) or WAYLAND_DISPLAY, or use --headless")]
    NoDisplay {
        /// What was found instead.
        found: String,
    },
    /// The graphics stack gave up.
    #[error("the graphics system could not be started: {reason}")]
    Failed {
        /// Its own words.
        reason: String,
    },
}

/// The image that a headless viewer draws into.
#[derive(Resource, Clone)]
pub struct HeadlessTarget(pub Handle<Image>);

/// The GPU in use, for people.
#[derive(Resource, Clone, Default)]
pub struct ChosenAdapter(pub String);

/// Whether a window could be opened, before anything else is started: the window system is named and answers. Windows and
/// macOS always have one.
///
/// # Errors
/// [`HostError::NoDisplay`] when a window is wanted and there is no window system.
pub fn check_display(options: &HostOptions) -> Result<(), HostError> {
    if options.headless { Ok(()) } else { display::check() }
}

/// An app with renderer, panels' library, camera and canvas, and a [`Wake`].
///
/// The GPU is chosen and opened here and not by bevy, which panics when there is none.
///
/// # Errors
/// When there is nothing to draw with or on. Panics of the graphics stack come back as errors, too.
pub fn build_app(options: HostOptions) -> Result<App, HostError> {
    check_display(&options)?;
    let adapter = adapters::open()?;
    let texture_budget_bytes = adapter.memory.texture_budget(options.vram_limit)?;
    without_panic(|| {
        let mut app = build(&options, adapter.creation, texture_budget_bytes);
        app.insert_resource(adapter.chosen);
        app
    })
}

/// Turns a panic of what we build on into an error: winit 0.30 and bevy 0.19 panic where a window system refuses us.
fn without_panic<T>(build: impl FnOnce() -> T) -> Result<T, HostError> {
    let hook = std::panic::take_hook();
    // The sentence reaches the user as an error; the usual hook would print a second one.
    std::panic::set_hook(Box::new(|_| {}));
    // Whatever a panic left half done is dropped, not looked at.
    let built = catch_unwind(AssertUnwindSafe(build));
    std::panic::set_hook(hook);
    built.map_err(|panic| {
        let text = panic.downcast_ref::<String>().cloned();
        let reason = text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned())).unwrap_or_default();
        if reason.contains("event loop") || reason.contains("isplay") {
            HostError::NoDisplay { found: format!("the window system does not answer ({reason})") }
        } else {
            HostError::Failed { reason }
        }
    })
}

fn build(options: &HostOptions, render_creation: RenderCreation, texture_budget_bytes: u64) -> App {
    let mut app = App::new();
    let (width, height) = options.window_size;
    let window = Window {
        title: options.title.clone(),
        name: Some("wellscope".to_owned()),
        resolution: WindowResolution::new(width, height),
        ..Window::default()
    };
    let windows = WindowPlugin {
        primary_window: (!options.headless).then_some(window),
        exit_condition: if options.headless { ExitCondition::DontExit } else { ExitCondition::OnAllClosed },
        ..WindowPlugin::default()
    };
    let mut plugins = DefaultPlugins
        .set(windows)
        // A pipeline that compiles later leaves a frame without its panels, and a sleeping loop draws no next one.
        .set(RenderPlugin { render_creation, synchronous_pipeline_compilation: true, ..RenderPlugin::default() })
        // One world after the other: what an update decides is drawn in the same turn, so that "settled" is exact and a
        // slider shows its plane a frame earlier. Intake has threads of its own and gains nothing from overlap.
        .disable::<PipelinedRenderingPlugin>()
        // `start` sets up the log and the signals.
        .disable::<bevy::log::LogPlugin>()
        .disable::<TerminalCtrlCHandlerPlugin>();
    if options.headless {
        plugins = plugins.disable::<WinitPlugin>();
    }
    let canvas = CanvasPlugin { texture_budget_bytes };
    app.add_plugins(plugins).add_plugins((EguiPlugin::default(), IdlePlugin, canvas, RecoveryPlugin));
    if options.headless {
        host_headless(&mut app, width, height);
    } else {
        host_window(&mut app);
    }
    app
}

fn host_window(app: &mut App) {
    let proxy = (**app.world().resource::<EventLoopProxyWrapper>()).clone();
    let asleep = UpdateMode::reactive_low_power(Duration::MAX);
    app.insert_resource(WinitSettings { focused_mode: asleep, unfocused_mode: asleep })
        .insert_resource(Wake::new(move || {
            // Fails only when the loop has ended.
            let _ = proxy.send_event(WinitUserEvent::WakeUp);
        }))
        .add_systems(Startup, |mut commands: Commands| {
            commands.spawn((Camera2d, Msaa::Off, main_texture_usages()));
        });
}

fn host_headless(app: &mut App, width: u32, height: u32) {
    let (wake, woken) = Wake::with_channel();
    // The first frame; later ones are asked for.
    wake.wake();
    let mut target = Image::new_target_texture(width, height, TextureFormat::Rgba8UnormSrgb, None);
    target.asset_usage = RenderAssetUsages::all();
    target.texture_descriptor.usage |= TextureUsages::COPY_SRC;
    let target = app.world_mut().resource_mut::<Assets<Image>>().add(target);
    app.insert_resource(wake)
        .insert_resource(HeadlessTarget(target.clone()))
        .add_systems(Startup, move |mut commands: Commands| {
            commands.spawn((Camera2d, Msaa::Off, main_texture_usages(), RenderTarget::Image(target.clone().into())));
        })
        .set_runner(move |app| headless::run(app, &woken));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_below_becomes_a_sentence() {
        let error = without_panic(|| -> () { panic!("Failed to build event loop: no server") }).unwrap_err();
        assert!(matches!(&error, HostError::NoDisplay { .. }), "{error}");
        let error = without_panic(|| -> () { panic!("something else") }).unwrap_err();
        assert!(matches!(&error, HostError::Failed { reason } if reason == "something else"), "{error}");
        assert_eq!(without_panic(|| 7).unwrap(), 7);
    }
}
