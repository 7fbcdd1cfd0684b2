//! Start-up: endpoints first, so that a pipeline never waits for the window; then the GPU, the window and the loop.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::process::ExitCode;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use anyhow::Context;
use bevy::app::AppExit;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use wellscope_protocol::endpoint::Transport;
use wellscope_receiver::{Limits, Receiver, ReceiverConfig, StartError, ViewerIdentity};
use wellscope_store::Store;

use crate::host::wake::Wake;
use crate::host::{self, HostError, HostOptions};
use crate::options::{Options, TransportOption, exit_code};
use crate::signals::{self, ExitRequested, Leave};
use crate::systems::control::Clients;
use crate::systems::follow::FollowFile;
use crate::systems::intake::Inbox;
use crate::systems::memory::{PixelStore, open_store};
use crate::systems::settle::Settlement;
use crate::systems::start_workers;
use crate::ui::problems::{Problems, Severity};
use crate::ui::status::ViewerStatus;
use crate::viewer::Viewer;
use crate::viewer_plugin::ViewerPlugin;

/// Runs the viewer until it is closed. Whatever goes wrong is one printed sentence and an exit code of `--help`.
pub fn run(options: Options) -> ExitCode {
    if let Err(error) = start_log(options.log_file.as_deref()) {
        eprintln!("wellscope: {error:#}");
        return ExitCode::from(exit_code::FAILED);
    }
    if options.info {
        println!("{}", host::adapters::describe());
        return ExitCode::from(exit_code::DONE);
    }
    match view(options) {
        Ok(()) => ExitCode::from(exit_code::DONE),
        Err(error) => {
            tracing::error!("{error:#}");
            eprintln!("wellscope: {error:#}");
            ExitCode::from(code_of(&error))
        }
    }
}

fn view(options: Options) -> anyhow::Result<()> {
    let host_options = HostOptions {
        headless: options.headless,
        window_size: options.window_size,
        title: options.title.clone(),
        vram_limit: options.vram_limit,
    };
    // A window that cannot open is found out before the port is taken: the launcher then sees one clear failure.
    host::check_display(&host_options)?;

    // The receiver starts before there is a loop to wake; what arrives meanwhile waits in its channel.
    let late_wake: Arc<OnceLock<Wake>> = Arc::default();
    let wake_loop = {
        let late_wake = Arc::clone(&late_wake);
        move || {
            if let Some(wake) = late_wake.get() {
                wake.wake();
            }
        }
    };
    let store = open_store(&options)?;
    store.set_waker(Arc::new(wake_loop.clone()));
    let (receiver, inbox) = Receiver::start(receiver_config(&options, &store)?, Arc::new(wake_loop.clone()))?;
    let transport = if options.transport == TransportOption::Ipc { "ipc" } else { "tcp" };
    let endpoint = format!("{transport} {}", options.port);
    let is_open = receiver.endpoints().serves_other_hosts;
    tracing::info!(data = %receiver.endpoints().data_url, control = %receiver.endpoints().control_url, "listening");
    let counters = receiver.counters();
    let settlement = Settlement(receiver.settling());

    let exit = ExitRequested::default();
    let serving = Serving(Arc::new(Mutex::new(Some(receiver))));
    let leave = Leave::new(exit.clone(), wake_loop, {
        let serving = Serving(Arc::clone(&serving.0));
        move || serving.shut_down()
    });
    signals::handle(leave.clone()).context("the system refused signal handlers")?;
    if options.exit_with_stdin {
        signals::leave_with_stdin(leave).context("the system refused a thread")?;
    }

    let outcome = host::build_app(host_options).map_err(anyhow::Error::from).and_then(|mut app| {
        let wake = app.world().resource::<Wake>().clone();
        let status = ViewerStatus {
            endpoint,
            title: options.title.clone(),
            accent: options.accent_color,
            adapter: host::adapters::chosen(&app),
            ..ViewerStatus::default()
        };
        app.insert_resource(Viewer::new(&options.title, options.replace_layers))
            .insert_resource(Inbox(inbox))
            .insert_resource(PixelStore(store))
            .insert_resource(settlement)
            .insert_resource(Clients { counters, port: options.port })
            .insert_resource(status)
            .insert_resource(exit)
            .add_plugins(ViewerPlugin);
        start_workers(&mut app, &wake).context("the system refused a thread")?;
        if is_open {
            let place = if options.bind.is_unspecified() { "this one".to_owned() } else { options.bind.to_string() };
            let sentence = format!(
                "Every machine that reaches {place} can send images to this viewer, control it, and have it write screenshots; \
                 there is no password."
            );
            app.world_mut().resource_mut::<Problems>().report(Severity::Warning, sentence);
        }
        if let Some(file) = options.screenshot.clone() {
            app.insert_resource(FollowFile::new(file));
        }
        // From here on deliveries wake the loop; this once for those that came before.
        let _ = late_wake.set(wake.clone());
        wake.wake();
        // A panic below us (a driver that winit or bevy gives up on) has been printed by then; it must not leave sockets.
        match catch_unwind(AssertUnwindSafe(|| app.run())) {
            Ok(AppExit::Success) => Ok(()),
            Ok(AppExit::Error(code)) => Err(anyhow::anyhow!("the window ended with code {code}")),
            Err(_) => Err(anyhow::anyhow!("the window system or the GPU's driver failed; the log says more")),
        }
    });
    serving.shut_down();
    outcome
}

/// The endpoints, which go with the first who ends them: the end of the loop, a signal, or a failure on the way.
struct Serving(Arc<Mutex<Option<Receiver>>>);

impl Serving {
    fn shut_down(&self) {
        let receiver = self.0.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(receiver) = receiver {
            receiver.shut_down();
        }
    }
}

fn receiver_config(options: &Options, store: &Store) -> anyhow::Result<ReceiverConfig> {
    // Python's `Path.home()`, which producers build socket paths from, reads the same variable.
    let home = std::env::home_dir().context("no home directory: set HOME")?;
    let limits = Limits {
        max_message_bytes: options.max_message,
        max_image_bytes: options.max_image,
        max_items: options.max_items,
        max_in_flight_bytes: options.max_in_flight,
        ..Limits::default()
    };
    Ok(ReceiverConfig {
        port: options.port,
        data_socket: options.data_socket.into(),
        record: options.record.clone(),
        control_port: options.control_port,
        ack_port: options.ack_port,
        transport: Transport::from(options.transport),
        bind: options.bind,
        naming: options.socket_names.naming(),
        limits,
        store: store.clone(),
        identity: ViewerIdentity {
            application: options.application.clone(),
            title: options.title.clone(),
            log_file: options.log_file.clone(),
            ..ViewerIdentity::default()
        },
        pong_spelling: options.pong.into(),
        ..ReceiverConfig::new(home)
    })
}

/// Logs to standard output, where launchers redirect it into their log file, and to `--log-file`.
fn start_log(file: Option<&Path>) -> anyhow::Result<()> {
    // The GPU stack reports harmless oddities of drivers as warnings; RUST_LOG brings them back.
    let default = "info,wgpu_hal=error,wgpu_core=error,naga=error,bevy_render=warn,bevy_winit=warn,bevy_egui=error";
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(default));
    let file = match file {
        None => None,
        Some(path) => {
            if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
                std::fs::create_dir_all(folder).with_context(|| format!("cannot make the log's folder {folder:?}"))?;
            }
            let file = std::fs::OpenOptions::new().create(true).append(true).open(path);
            Some(file.with_context(|| format!("cannot write the log file {path:?}"))?)
        }
    };
    let to_file = file.map(|file| tracing_subscriber::fmt::layer().with_ansi(false).with_writer(Mutex::new(file)));
    let to_stdout = tracing_subscriber::fmt::layer().with_ansi(false);
    tracing_subscriber::registry().with(filter).with(to_stdout).with(to_file).init();
    Ok(())
}

fn code_of(error: &anyhow::Error) -> u8 {
    if let Some(error) = error.downcast_ref::<HostError>() {
        return match error {
            HostError::NoGpu { .. } => exit_code::NO_GPU,
            HostError::NoDisplay { .. } => exit_code::NO_DISPLAY,
            _ => exit_code::FAILED,
        };
    }
    match error.downcast_ref::<StartError>() {
        Some(StartError::PortTaken { .. }) => exit_code::PORT_IN_USE,
        Some(_) => exit_code::NO_ENDPOINT,
        None => exit_code::FAILED,
    }
}
