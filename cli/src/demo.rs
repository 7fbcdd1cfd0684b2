//! `wellscope demo`: synthetic cells, a pipeline, a viewer; nothing else is needed.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use serde_json::json;
use wellscope_client::{
    CaptureScope, ControlError, FrameCondition, ScreenshotRequest, Viewer, ViewerEndpoint, ViewerError,
};
use wellscope_orchestrator::synthetic::{SyntheticPlate, WritePlateError};

use crate::interrupt::{INTERRUPTED, Interrupt};
use crate::progress::{Progress, print_json};
use crate::run::{self, NotRun, RunArguments};

/// The pipeline that is written beside the plate, for the user to edit.
const PIPELINE: &str = include_str!("demo_pipeline.toml");

/// How long the viewer may take to draw everything before its picture is taken.
const SETTLE_DEADLINE: Duration = Duration::from_secs(120);

/// Options of `wellscope demo`.
#[derive(Args, Clone, Debug)]
#[command(
    after_help = "The folder gets plate/ (synthetic images), pipeline.toml (edit it and run the demo again) and plate_outputs/. What is there already is used, not made anew.\n\nExamples:\n  wellscope demo\n  wellscope demo --dir ~/wellscope-demo        keep it, and edit the pipeline\n  wellscope demo --headless --screenshot demo.png\n\nExit codes are those of `wellscope run`."
)]
pub struct DemoArguments {
    /// Where plate, pipeline and output are kept [default: a temporary folder, deleted at the end]
    #[arg(long, value_name = "FOLDER")]
    pub dir: Option<PathBuf>,

    /// Wells of the plate, four in a row: steps of a dose
    #[arg(long, default_value_t = 12)]
    pub wells: usize,

    /// Sites (fields of view) per well
    #[arg(long, default_value_t = 2)]
    pub sites: usize,

    /// Channels: DAPI, GFP, MitoTracker, Actin
    #[arg(long, default_value_t = 3)]
    pub channels: usize,

    /// Planes per stack
    #[arg(long, default_value_t = 3)]
    pub z: usize,

    /// Height and width of an image in pixels
    #[arg(long, default_value_t = 512)]
    pub size: usize,

    /// Another number gives other cells
    #[arg(long, default_value_t = 1)]
    pub seed: u64,

    /// Wells at once [default: as many as the machine has cores]
    #[arg(long, short, default_value_t = 0, hide_default_value = true)]
    pub jobs: usize,

    /// Data port of the viewer
    #[arg(id = "demo-port", long = "port", value_name = "PORT", default_value = "5555", value_parser = port)]
    pub port: u16,

    /// Run without a viewer
    #[arg(long, conflicts_with = "screenshot")]
    pub no_viewer: bool,

    /// Start the viewer without a window, and close it at the end
    #[arg(id = "demo-headless", long = "headless")]
    pub headless: bool,

    /// Keep the temporary folder, and a viewer without a window
    #[arg(long)]
    pub keep: bool,

    /// Make plate and pipeline, and run nothing
    #[arg(long)]
    pub only_plate: bool,

    /// Write the viewer's picture to this file (PNG) at the end
    #[arg(long, value_name = "FILE")]
    pub screenshot: Option<PathBuf>,

    /// One more option for the viewer, as on its own command line; may be repeated
    #[arg(long = "viewer-option", value_name = "OPTION", allow_hyphen_values = true)]
    pub viewer_options: Vec<OsString>,

    /// Print what happens as lines of JSON
    #[arg(long, id = "demo-json")]
    pub json: bool,
}

/// Why the demo ended early.
#[derive(Debug, thiserror::Error)]
enum DemoError {
    #[error("cannot make {path:?}: {cause}")]
    Folder { path: PathBuf, cause: std::io::Error },
    #[error(transparent)]
    Plate(#[from] WritePlateError),
    #[error(transparent)]
    Run(#[from] NotRun),
    #[error("the picture could not be taken: {0}")]
    Picture(#[from] ControlError),
    #[error("the viewer is gone: {0}")]
    Viewer(#[from] ViewerError),
}

/// Makes the plate, runs the pipeline, shows it.
pub fn run(arguments: &DemoArguments) -> ExitCode {
    match demo(arguments) {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            if arguments.json {
                print_json(&json!({"event": "error", "message": error.to_string()}));
            }
            eprintln!("wellscope demo: {error}");
            ExitCode::from(run::exit_code::NOT_RUN)
        }
    }
}

fn demo(arguments: &DemoArguments) -> Result<u8, DemoError> {
    let (folder, _deleted_at_the_end) = folder(arguments)?;
    let plate = folder.join("plate");
    if !make_plate(arguments, &plate)? {
        return Ok(INTERRUPTED);
    }
    let pipeline = folder.join("pipeline.toml");
    if !pipeline.exists() {
        fs::write(&pipeline, PIPELINE).map_err(|cause| DemoError::Folder { path: pipeline.clone(), cause })?;
    }
    if arguments.only_plate {
        tell(arguments, &format!("plate and pipeline are in {}", folder.display()), "made", &folder);
        return Ok(0);
    }
    let summary = run::run_pipeline(&run_arguments(arguments, pipeline, plate));
    let viewer = show(arguments);
    let code = summary?.as_ref().map_or(0, run::code_of);
    viewer?;
    if arguments.dir.is_some() || arguments.keep {
        tell(arguments, &format!("plate, pipeline and output are in {}", folder.display()), "kept", &folder);
    }
    Ok(code)
}

/// Where everything goes; a temporary folder goes away when its guard does.
fn folder(arguments: &DemoArguments) -> Result<(PathBuf, Option<tempfile::TempDir>), DemoError> {
    if let Some(folder) = &arguments.dir {
        fs::create_dir_all(folder).map_err(|cause| DemoError::Folder { path: folder.clone(), cause })?;
        // Absolute, for the viewer and for people.
        let folder = folder.canonicalize().unwrap_or_else(|_| folder.clone());
        return Ok((folder, None));
    }
    let temporary = tempfile::Builder::new()
        .prefix("wellscope-demo-")
        .tempdir()
        .map_err(|cause| DemoError::Folder { path: std::env::temp_dir(), cause })?;
    if arguments.keep {
        return Ok((temporary.keep(), None));
    }
    Ok((temporary.path().to_owned(), Some(temporary)))
}

/// Writes the plate, unless a whole one is there; false when interrupted.
fn make_plate(arguments: &DemoArguments, folder: &Path) -> Result<bool, DemoError> {
    // The description is written last.
    if folder.join("plate.HTD").is_file() {
        tell(arguments, &format!("using the plate in {}", folder.display()), "plate_reused", folder);
        return Ok(true);
    }
    let plate = SyntheticPlate {
        wells: arguments.wells,
        columns: 4,
        sites: arguments.sites,
        channels: arguments.channels,
        z: arguments.z,
        size: arguments.size,
        seed: arguments.seed,
    };
    let interrupt = Interrupt::listen();
    let progress = Progress::new(arguments.json, "images", plate.images() as u64);
    progress.doing("growing cells");
    let complete = plate.write(folder, || {
        progress.advance(1);
        !interrupt.is_asked()
    })?;
    let text = format!("plate with {} images in {}", plate.images(), folder.display());
    let text = if complete { text } else { "interrupted".to_owned() };
    progress
        .finish(&text, &json!({"event": "plate_made", "images": plate.images(), "path": folder, "complete": complete}));
    Ok(complete)
}

fn run_arguments(arguments: &DemoArguments, pipeline: PathBuf, plate: PathBuf) -> RunArguments {
    RunArguments {
        pipeline,
        plate,
        output: None,
        wells: Vec::new(),
        jobs: arguments.jobs,
        port: Some(arguments.port),
        no_viewer: arguments.no_viewer,
        headless: arguments.headless,
        viewer_options: arguments.viewer_options.clone(),
        dry_run: false,
        json: arguments.json,
    }
}

/// Takes the picture, and closes a viewer that nobody can see.
fn show(arguments: &DemoArguments) -> Result<(), DemoError> {
    if arguments.no_viewer || (arguments.screenshot.is_none() && !arguments.headless) {
        return Ok(());
    }
    let mut viewer = Viewer::connect(&ViewerEndpoint::openhcs(arguments.port))?;
    let taken = match &arguments.screenshot {
        Some(file) => take_picture(arguments, &viewer, file),
        None => Ok(()),
    };
    if arguments.headless && !arguments.keep {
        let _ = viewer.stop();
    }
    taken
}

fn take_picture(arguments: &DemoArguments, viewer: &Viewer, file: &Path) -> Result<(), DemoError> {
    viewer.control().settle(SETTLE_DEADLINE)?;
    // The viewer has a working folder of its own, and names the file itself.
    let file = std::path::absolute(file).unwrap_or_else(|_| file.to_owned());
    let folder = file.parent().unwrap_or(&file);
    let saved = viewer.control().save_screenshot(&ScreenshotRequest {
        output_dir_path: folder.to_string_lossy().into_owned(),
        capture_scope: CaptureScope::Window,
        frame_condition: FrameCondition::Immediate,
        observation_timeout_s: 5.0,
    })?;
    fs::rename(&saved.path, &file).map_err(|cause| DemoError::Folder { path: file.clone(), cause })?;
    tell(arguments, &format!("picture in {}", file.display()), "screenshot", &file);
    Ok(())
}

fn tell(arguments: &DemoArguments, text: &str, event: &str, path: &Path) {
    if arguments.json {
        print_json(&json!({"event": event, "path": path}));
    } else {
        eprintln!("{text}");
    }
}

fn port(text: &str) -> Result<u16, String> {
    wellscope_protocol::endpoint::parse_data_port(text).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests say where they failed")]
    use super::*;

    #[test]
    fn the_pipeline_of_the_demo_is_one() {
        let pipeline = wellscope_orchestrator::Pipeline::from_toml(PIPELINE, "demo").unwrap();
        assert_eq!(pipeline.steps.len(), 5);
        assert!(pipeline.steps.iter().any(|step| step.streaming.is_some()));
    }
}
