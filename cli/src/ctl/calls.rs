//! The calls with their options.

use std::path::PathBuf;

use clap::{ArgGroup, Args, Subcommand};

/// One control call.
#[derive(Subcommand, Clone, Debug)]
pub enum Call {
    /// Is a viewer there, and ready? Whose is it, and which process?
    Ping,
    /// What it holds and shows: layers, sliders, the text on the canvas, what went wrong
    State(StateArguments),
    /// Wait until everything that was sent is drawn, at most --timeout
    Settle,
    /// Forget what was received; layers stay visible until they are sent anew
    ClearState,
    /// Move the sliders, show, hide or select a layer
    Navigate(NavigateArguments),
    /// Show these layers and hide all others
    Isolate(IsolateArguments),
    /// Set contrast limits and gamma of a layer, or compute the limits from percentiles of its pixels
    Intensity(IntensityArguments),
    /// Move the camera; without options, tell where it is
    Viewport(ViewportArguments),
    /// Save a picture of what is shown as PNG
    Screenshot(ScreenshotArguments),
    /// Describe single planes, shapes and points, with their values where asked, as JSON
    Payloads(PayloadsArguments),
    /// Close the viewer, and wait until it is gone
    Shutdown(ShutdownArguments),
}

/// `state`.
#[derive(Args, Clone, Debug)]
pub struct StateArguments {
    /// Only this layer
    pub layer: Option<String>,

    /// With --json: list component values and a summary of every item, too
    #[arg(long)]
    pub items: bool,
}

/// `navigate`.
#[derive(Args, Clone, Debug)]
#[command(group = ArgGroup::new("what").required(true).multiple(true))]
pub struct NavigateArguments {
    /// Layer to navigate in; without, the selected one, or the first that has such sliders
    pub layer: Option<String>,

    /// Put a slider on a value, e.g. well=B02; the value or its label. May be repeated
    #[arg(long = "at", value_name = "COMPONENT=VALUE", value_parser = pair, group = "what")]
    pub at: Vec<(String, String)>,

    /// Put a slider on the layer's n-th value, counted from 0, e.g. z_index=4. May be repeated
    #[arg(long = "index", value_name = "COMPONENT=N", value_parser = index, group = "what")]
    pub index: Vec<(String, u64)>,

    /// Show the layer
    #[arg(long, conflicts_with = "hide", group = "what")]
    pub show: bool,

    /// Hide the layer
    #[arg(long, group = "what")]
    pub hide: bool,

    /// Make it the selected layer
    #[arg(long, conflicts_with = "deselect", group = "what")]
    pub select: bool,

    /// Select no layer
    #[arg(long, group = "what")]
    pub deselect: bool,

    /// Select the n-th shape or point and go to its slice
    #[arg(long, value_name = "N", group = "what")]
    pub element: Option<u64>,
}

/// `isolate`.
#[derive(Args, Clone, Debug)]
pub struct IsolateArguments {
    /// Layers to show
    #[arg(required = true, value_name = "LAYER")]
    pub layers: Vec<String>,

    /// Layer to select [default: the first]
    #[arg(long, value_name = "LAYER")]
    pub select: Option<String>,

    /// Put a slider on a value, e.g. well=B02. May be repeated
    #[arg(long = "at", value_name = "COMPONENT=VALUE", value_parser = pair)]
    pub at: Vec<(String, String)>,
}

/// `intensity`.
#[derive(Args, Clone, Debug)]
#[command(group = ArgGroup::new("what").required(true).multiple(true))]
pub struct IntensityArguments {
    /// Layer to set; without, the only image layer
    pub layer: Option<String>,

    /// Intensities drawn as black and as full colour, in the image's units
    #[arg(long, num_args = 2, value_names = ["LOW", "HIGH"], group = "what", allow_negative_numbers = true)]
    pub limits: Option<Vec<f64>>,

    /// Exponent applied after the limits; 1 is linear
    #[arg(long, group = "what")]
    pub gamma: Option<f64>,

    /// Limits from these percentiles, 0 to 100
    #[arg(long, num_args = 2, value_names = ["LOW", "HIGH"], group = "what", conflicts_with_all = ["limits", "gamma"])]
    pub percentiles: Option<Vec<f64>>,

    /// With --percentiles: count only the planes at this value, e.g. well=B02. May be repeated
    #[arg(long = "at", value_name = "COMPONENT=VALUE", value_parser = pair, requires = "percentiles")]
    pub at: Vec<(String, String)>,
}

/// `viewport`.
#[derive(Args, Clone, Debug)]
pub struct ViewportArguments {
    /// Centre in data pixels; the centre of n pixels is (n - 1) / 2
    #[arg(long, num_args = 2, value_names = ["Y", "X"], allow_negative_numbers = true)]
    pub center: Option<Vec<f64>>,

    /// Screen pixels per data pixel
    #[arg(long)]
    pub zoom: Option<f64>,
}

/// `screenshot`.
#[derive(Args, Clone, Debug)]
pub struct ScreenshotArguments {
    /// A file whose name ends in .png, or a folder for a name that tells time, port and title. On the viewer's machine
    #[arg(short, long, value_name = "PATH", default_value = ".")]
    pub output: PathBuf,

    /// The whole window with its panels, not the canvas alone
    #[arg(long)]
    pub window: bool,
}

/// `payloads`.
#[derive(Args, Clone, Debug)]
pub struct PayloadsArguments {
    /// Only this layer
    pub layer: Option<String>,

    /// Only the planes at this value, e.g. well=B02; needs LAYER. May be repeated
    #[arg(long = "at", value_name = "COMPONENT=VALUE", value_parser = pair, requires = "layer")]
    pub at: Vec<(String, String)>,

    /// List pixel values, too
    #[arg(long)]
    pub values: bool,

    /// Values of larger planes are left out
    #[arg(long, value_name = "N", default_value_t = 4096)]
    pub max_values: u64,
}

/// `shutdown`.
#[derive(Args, Clone, Debug)]
pub struct ShutdownArguments {
    /// When it does not close, end its process
    #[arg(long)]
    pub force: bool,
}

fn pair(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((component, value)) if !component.is_empty() && !value.is_empty() => {
            Ok((component.to_owned(), value.to_owned()))
        }
        _ => Err("expected COMPONENT=VALUE, e.g. well=B02".to_owned()),
    }
}

fn index(text: &str) -> Result<(String, u64), String> {
    let expected = || "expected COMPONENT=N, e.g. z_index=4".to_owned();
    let (component, number) = pair(text).map_err(|_| expected())?;
    Ok((component, number.parse().map_err(|_| expected())?))
}
