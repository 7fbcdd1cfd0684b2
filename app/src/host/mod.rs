//! Where the viewer runs: in a window, or headless with the same picture and no window system.

pub mod adapters;
pub mod idle;
pub mod wake;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use bevy::app::{PluginsState, TerminalCtrlCHandlerPlugin};
use bevy::asset::{AssetPlugin, RenderAssetUsages};
use bevy::camera::RenderTarget;
use bevy::prelude::*;
use bevy::render::RenderPlugin;
use bevy::render::pipelined_rendering::PipelinedRenderingPlugin;
use bevy::render::render_resource::{TextureFormat, TextureUsages};
use bevy::render::renderer::RenderAdapterInfo;
use bevy::window::{ExitCondition, WindowResolution};
use bevy::winit::{EventLoopProxyWrapper, UpdateMode, WinitPlugin, WinitSettings, WinitUserEvent};
use bevy_egui::EguiPlugin;
use crossbeam_channel::{Receiver, bounded};

use crate::host::idle::IdlePlugin;
use crate::host::wake::Wake;
use crate::render::CanvasPlugin;

/// What the host is asked for.
#[derive(Clone, Debug, Default)]
pub struct HostOptions {
    /// No window, no X, no Wayland.
    pub headless: bool,
    /// Logical pixels, width and height.
    pub window_size: (u32, u32),
    /// Of the window.
    pub title: String,
}

/// Why there is nothing to draw on.
#[derive(Debug, thiserror::Error)]
pub enum HostError {
    /// Neither a GPU nor a software renderer.
    #[error("no GPU and no software renderer was found; {advice}", advice = adapters::ADVICE)]
    NoGpu,
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

/// Whether a window could be opened, before anything else is started. Windows and macOS always have a window system.
///
/// # Errors
/// [`HostError::NoDisplay`] when a window is wanted and no window system is named.
pub fn check_display(options: &HostOptions) -> Result<(), HostError> {
    let is_named = |variable| std::env::var_os(variable).is_some_and(|value| !value.is_empty());
    let needs_naming = cfg!(all(unix, not(target_os = "macos")));
    if options.headless || !needs_naming || is_named("DISPLAY") || is_named("WAYLAND_DISPLAY") {
        return Ok(());
    }
    Err(HostError::NoDisplay { found: "neither DISPLAY nor WAYLAND_DISPLAY is set".to_owned() })
}

/// An app with renderer, panels' library, camera and canvas, and a [`Wake`].
///
/// # Errors
/// When there is nothing to draw with or on. Panics of the graphics stack come back as errors, too.
pub fn build_app(options: HostOptions) -> Result<App, HostError> {
    check_display(&options)?;
    if !adapters::is_any_there() {
        return Err(HostError::NoGpu);
    }
    let hook = std::panic::take_hook();
    std::panic::set_hook(Box::new(|_| {}));
    let built = catch_unwind(AssertUnwindSafe(|| build(&options)));
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

fn build(options: &HostOptions) -> App {
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
        .set(RenderPlugin { synchronous_pipeline_compilation: true, ..RenderPlugin::default() })
        // No assets are read from disk.
        .set(AssetPlugin::default())
        // One world after the other: what an update decides is drawn in the same turn, so that "settled" is exact and a
        // slider shows its plane a frame earlier. Intake has threads of its own and gains nothing from overlap.
        .disable::<PipelinedRenderingPlugin>()
        // `start` sets up the log and the signals.
        .disable::<bevy::log::LogPlugin>()
        .disable::<TerminalCtrlCHandlerPlugin>();
    if options.headless {
        plugins = plugins.disable::<WinitPlugin>();
    }
    app.add_plugins(plugins)
        .add_plugins((EguiPlugin::default(), IdlePlugin, CanvasPlugin::default()))
        .init_resource::<ChosenAdapter>()
        .add_systems(Startup, report_adapter);
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
            commands.spawn((Camera2d, Msaa::Off));
        });
}

fn host_headless(app: &mut App, width: u32, height: u32) {
    let (wakes, asleep) = bounded(1);
    // Full means that a frame is due already.
    app.insert_resource(Wake::new(move || drop(wakes.try_send(()))));
    let mut target = Image::new_target_texture(width, height, TextureFormat::Rgba8UnormSrgb, None);
    target.asset_usage = RenderAssetUsages::all();
    target.texture_descriptor.usage |= TextureUsages::COPY_SRC;
    let target = app.world_mut().resource_mut::<Assets<Image>>().add(target);
    app.insert_resource(HeadlessTarget(target.clone()))
        .add_systems(Startup, move |mut commands: Commands| {
            commands.spawn((Camera2d, Msaa::Off, RenderTarget::Image(target.clone().into())));
        })
        .set_runner(move |app| run_headless(app, &asleep));
}

/// A frame per wake; asleep in between.
fn run_headless(mut app: App, asleep: &Receiver<()>) -> AppExit {
    while app.plugins_state() == PluginsState::Adding {
        bevy::tasks::tick_global_task_pools_on_main_thread();
    }
    app.finish();
    app.cleanup();
    loop {
        app.update();
        if let Some(exit) = app.should_exit() {
            return exit;
        }
        if asleep.recv().is_err() {
            return AppExit::Success;
        }
    }
}

fn report_adapter(info: Res<RenderAdapterInfo>, mut chosen: ResMut<ChosenAdapter>) {
    chosen.0 = info.name.clone();
    tracing::info!("drawing with {}", adapters::line(&info));
}
