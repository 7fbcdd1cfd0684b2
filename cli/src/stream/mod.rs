//! `wellscope stream`: shows a plate that lies on disk.

mod selection;
mod transfer;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use clap::Args;
use serde_json::json;
use wellscope_client::{OPENHCS_COMPONENTS, Viewer};
use wellscope_plates::{OpenPlateError, Plate, PlateImage};

use crate::address::ViewerAddress;
use crate::interrupt::{INTERRUPTED, Interrupt};
use crate::progress::{Progress, bytes, counted};
use crate::viewer_options::{NoViewer, ViewerStart, outcome_name};
pub use selection::{SelectionError, Wanted};
use transfer::{Outcome, Transfer};

/// How long the viewer may take to draw what it was sent, with `--settle`.
const SETTLE_DEADLINE: Duration = Duration::from_secs(120);

/// Exit codes, as `--help` lists them.
pub mod exit_code {
    /// Not everything could be shown; what and why is printed.
    pub const INCOMPLETE: u8 = 1;
    // 2 is clap's: the command line could not be understood.
    /// There is no viewer and none could be started, or it went away.
    pub const NO_VIEWER: u8 = 3;
}

/// Options of `wellscope stream`.
#[derive(Args, Clone, Debug)]
#[command(
    after_help = "PLATE is a folder of ImageXpress or Opera Phenix images, OME-TIFF or other TIFF files, an OME-Zarr plate or image, or a single TIFF file. One picture of each well comes first, then the rest, well by well.\n\nExamples:\n  wellscope stream ~/plates/2026-03-01\n  wellscope stream plate.zarr --wells A01:C06 --channels DAPI,GFP\n  wellscope stream plate --wells 4 --clear --settle && wellscope ctl screenshot -o plate.png\n\nExit codes:\n  0    everything is shown\n  1    not everything could be read or shown; what and why is printed\n  2    the command line could not be understood\n  3    no viewer is there and none could be started, or it went away\n  130  interrupted by Ctrl-C"
)]
pub struct StreamArguments {
    /// Folder or file to show
    pub plate: PathBuf,

    /// Wells: names (A01), patterns (B*), rectangles (A01:C06), or how many of the first
    #[arg(long, value_name = "WELLS", value_delimiter = ',')]
    pub wells: Vec<String>,

    /// Channels, by number or name
    #[arg(long, value_name = "CHANNELS", value_delimiter = ',')]
    pub channels: Vec<String>,

    /// Sites (fields of view), e.g. 1,3-5
    #[arg(long, value_name = "SITES", value_delimiter = ',')]
    pub sites: Vec<String>,

    /// Planes along z, e.g. 2-4
    #[arg(long, value_name = "PLANES", value_delimiter = ',')]
    pub z: Vec<String>,

    /// Time points, e.g. 1-10
    #[arg(long, value_name = "TIMEPOINTS", value_delimiter = ',')]
    pub timepoints: Vec<String>,

    /// Components whose values become layers instead of a slider
    #[arg(long, value_name = "COMPONENTS", value_delimiter = ',', value_parser = component)]
    pub layers: Vec<String>,

    /// Wait until the viewer has drawn everything
    #[arg(long)]
    pub settle: bool,

    /// Print what happens as lines of JSON
    #[arg(long, id = "stream-json")]
    pub json: bool,

    /// Which viewer.
    #[command(flatten)]
    pub address: ViewerAddress,

    /// How it is started.
    #[command(flatten)]
    pub start: ViewerStart,
}

/// Why nothing was streamed.
#[derive(Debug, thiserror::Error)]
enum StreamError {
    #[error(transparent)]
    Plate(#[from] OpenPlateError),
    #[error(transparent)]
    Selection(#[from] SelectionError),
    #[error(transparent)]
    Viewer(#[from] NoViewer),
    #[error("no image of the plate fits all choices at once; leave some out")]
    NothingChosen,
}

impl StreamError {
    fn code(&self) -> u8 {
        if matches!(self, Self::Viewer(_)) { exit_code::NO_VIEWER } else { exit_code::INCOMPLETE }
    }
}

/// Streams the plate and prints how it went.
pub fn run(arguments: &StreamArguments) -> ExitCode {
    match stream(arguments) {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            if arguments.json {
                crate::progress::print_json(&json!({"event": "error", "message": error.to_string()}));
            }
            eprintln!("wellscope stream: {error}");
            ExitCode::from(error.code())
        }
    }
}

fn stream(arguments: &StreamArguments) -> Result<u8, StreamError> {
    let started = Instant::now();
    let plate = Plate::open(&arguments.plate)?;
    let images = wanted(arguments).images(&plate)?;
    if images.is_empty() {
        return Err(StreamError::NothingChosen);
    }
    let interrupt = Interrupt::listen();
    let progress = Progress::new(arguments.json, "images", images.len() as u64);
    announce(&progress, &plate, &images);
    let endpoint = arguments.address.endpoint();
    let transfer = Transfer { plate: &plate, images: &images, layers: &arguments.layers, endpoint: &endpoint };
    // The viewer starts while the first images are read.
    let (outcome, viewer) = transfer.run(&progress, &interrupt, || {
        let viewer = arguments.start.viewer(&endpoint, &plate.name, true)?;
        let outcome = outcome_name(viewer.outcome());
        progress.tell(
            &format!("viewer on port {}: {outcome}", endpoint.port),
            &json!({"event": "viewer", "port": endpoint.port, "outcome": outcome, "headless": viewer.is_headless()}),
        );
        Ok(viewer)
    })?;
    let settled = arguments.settle && outcome.viewer_lost.is_none() && settle(&viewer, &progress);
    Ok(summarise(arguments, &progress, &outcome, started.elapsed(), settled))
}

fn wanted(arguments: &StreamArguments) -> Wanted {
    Wanted {
        wells: arguments.wells.clone(),
        channels: arguments.channels.clone(),
        sites: arguments.sites.clone(),
        z: arguments.z.clone(),
        timepoints: arguments.timepoints.clone(),
    }
}

fn announce(progress: &Progress, plate: &Plate, images: &[&PlateImage]) {
    let wells = images.iter().map(|image| &image.well).collect::<std::collections::BTreeSet<_>>().len();
    progress.tell(
        &format!("{} ({}): {} in {}", plate.name, plate.format, counted(images.len(), "image"), counted(wells, "well")),
        &json!({
            "event": "plate", "name": plate.name, "format": plate.format.name(), "path": plate.root,
            "images": images.len(), "wells": wells, "names": plate.names,
        }),
    );
    for warning in &plate.warnings {
        progress.tell(&format!("note: {warning}"), &json!({"event": "warning", "message": warning}));
    }
}

fn settle(viewer: &Viewer, progress: &Progress) -> bool {
    progress.doing("waiting until all is drawn");
    match viewer.control().settle(SETTLE_DEADLINE) {
        Ok(_) => true,
        Err(error) => {
            let message = format!("the viewer has everything, and did not say that it is drawn: {error}");
            progress.tell(&message, &json!({"event": "warning", "message": message}));
            false
        }
    }
}

fn summarise(
    arguments: &StreamArguments,
    progress: &Progress,
    outcome: &Outcome,
    elapsed: Duration,
    settled: bool,
) -> u8 {
    let seconds = elapsed.as_secs_f64();
    let shown = format!("{} ({}) in {seconds:.1} s", counted(outcome.sent, "image"), bytes(outcome.sent_bytes));
    let text = if outcome.interrupted {
        format!("interrupted after {shown}")
    } else if let Some(reason) = &outcome.viewer_lost {
        format!("the viewer went away after {shown}: {reason}")
    } else if outcome.failed > 0 {
        format!("sent {shown}; {} could not be shown", counted(outcome.failed, "image"))
    } else {
        format!("sent {shown}")
    };
    progress.finish(
        &text,
        &json!({
            "event": "summary", "images": outcome.sent, "bytes": outcome.sent_bytes, "failed": outcome.failed,
            "seconds": seconds, "interrupted": outcome.interrupted, "viewer_lost": outcome.viewer_lost,
            "settled": if arguments.settle { Some(settled) } else { None },
        }),
    );
    match outcome {
        Outcome { interrupted: true, .. } => INTERRUPTED,
        Outcome { viewer_lost: Some(_), .. } => exit_code::NO_VIEWER,
        Outcome { failed, .. } if *failed > 0 => exit_code::INCOMPLETE,
        _ if arguments.settle && !settled => exit_code::INCOMPLETE,
        _ => 0,
    }
}

fn component(text: &str) -> Result<String, String> {
    if OPENHCS_COMPONENTS.contains(&text) {
        return Ok(text.to_owned());
    }
    Err(format!("expected one of {}", OPENHCS_COMPONENTS.join(", ")))
}
