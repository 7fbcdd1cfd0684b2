//! `wellscope run`: a pipeline of built-in steps over a plate.

mod events;

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use clap::Args;
use serde_json::json;
use wellscope_orchestrator::config::Level;
use wellscope_orchestrator::{
    CancelToken, CompileError, CompiledPlan, Pipeline, PipelineFileError, PlateSummary, RunError, RunOptions, Summary,
    ViewerOptions, WellFilter, compile, functions,
};
use wellscope_plates::{OpenPlateError, Plate};

use crate::interrupt::{INTERRUPTED, Interrupt};
use crate::progress::{Progress, print_json};
use events::Telling;

/// Exit codes, as `--help` lists them.
pub mod exit_code {
    /// Some wells failed; which and why is printed.
    pub const WELLS_FAILED: u8 = 1;
    // 2 is clap's: the command line could not be understood.
    /// Nothing was run: the pipeline or the plate cannot be used.
    pub const NOT_RUN: u8 = 3;
    /// No well was done.
    pub const ALL_FAILED: u8 = 4;
}

/// Options of `wellscope run`.
#[derive(Args, Clone, Debug)]
#[command(after_long_help = long_help())]
pub struct RunArguments {
    /// The pipeline: a TOML file of steps
    pub pipeline: PathBuf,

    /// The plate to run it on, as `wellscope stream` takes it
    pub plate: PathBuf,

    /// Folder of all output [default: what the pipeline says, else beside the plate, named PLATE_outputs]
    #[arg(long, short, value_name = "FOLDER")]
    pub output: Option<PathBuf>,

    /// Wells to run: names (A01), patterns (B*), rectangles (A01:C06), or how many of the first
    #[arg(long, value_name = "WELLS", value_delimiter = ',')]
    pub wells: Vec<String>,

    /// Wells at once [default: as many as the machine has cores]
    #[arg(long, short, value_name = "NUMBER", default_value_t = 0, hide_default_value = true)]
    pub jobs: usize,

    /// Data port of the viewer, whatever the pipeline says
    #[arg(id = "run-port", long = "port", value_name = "PORT", value_parser = port)]
    pub port: Option<u16>,

    /// Show nothing, whatever the pipeline says
    #[arg(long)]
    pub no_viewer: bool,

    /// Start viewers without a window [default: when there is no display]
    #[arg(id = "run-headless", long = "headless")]
    pub headless: bool,

    /// One more option for viewers that are started, as on their own command line; may be repeated
    #[arg(long = "viewer-option", value_name = "OPTION", allow_hyphen_values = true)]
    pub viewer_options: Vec<OsString>,

    /// Print what would be done, and do nothing
    #[arg(long)]
    pub dry_run: bool,

    /// Print what happens as lines of JSON
    #[arg(long, id = "run-json")]
    pub json: bool,
}

/// Why nothing was run.
#[derive(Debug, thiserror::Error)]
pub enum NotRun {
    /// The file is no pipeline.
    #[error(transparent)]
    Pipeline(#[from] PipelineFileError),
    /// The folder is no plate.
    #[error(transparent)]
    Plate(#[from] OpenPlateError),
    /// They do not go together.
    #[error(transparent)]
    Compile(#[from] CompileError),
    /// The run cannot begin.
    #[error(transparent)]
    Begin(#[from] RunError),
}

/// Runs the pipeline and prints how it went.
pub fn run(arguments: &RunArguments) -> ExitCode {
    match run_pipeline(arguments) {
        Ok(None) => ExitCode::SUCCESS,
        Ok(Some(summary)) => ExitCode::from(code_of(&summary)),
        Err(error) => {
            if arguments.json {
                print_json(&json!({"event": "error", "message": error.to_string()}));
            }
            eprintln!("wellscope run: {error}");
            ExitCode::from(exit_code::NOT_RUN)
        }
    }
}

/// Compiles and runs; nothing comes of a dry run.
///
/// # Errors
/// When nothing was run.
pub fn run_pipeline(arguments: &RunArguments) -> Result<Option<Summary>, NotRun> {
    let mut pipeline = Pipeline::from_file(&arguments.pipeline)?;
    override_pipeline(&mut pipeline, arguments);
    let plate = Arc::new(Plate::open(&arguments.plate)?);
    let wells = (!arguments.wells.is_empty()).then(|| well_filter(&arguments.wells));
    let plan = compile(&pipeline, &PlateSummary::of(&plate), &Level::default(), wells.as_ref())?;
    if arguments.json {
        print_json(&json!({"event": "plan", "plan": plan}));
    } else {
        let text = plan.report();
        // With a dry run the report is the result; else it is news.
        if arguments.dry_run { print!("{text}") } else { eprintln!("{text}") }
    }
    if arguments.dry_run {
        return Ok(None);
    }
    let summary = carry_out(&pipeline, &plan, &plate, arguments)?;
    Ok(Some(summary))
}

fn carry_out(
    pipeline: &Pipeline,
    plan: &CompiledPlan,
    plate: &Arc<Plate>,
    arguments: &RunArguments,
) -> Result<Summary, RunError> {
    let steps = plan.wells.len() * plan.steps.len();
    let telling = Arc::new(Telling::new(Progress::new(arguments.json, "steps", steps as u64), plan));
    for warning in &plate.warnings {
        telling.warn(warning);
    }
    let cancel = CancelToken::new();
    let cancelling = cancel.clone();
    let _listening = Interrupt::listen_and(move || cancelling.cancel());
    let viewers = (!arguments.no_viewer).then(|| ViewerOptions {
        headless: arguments.headless.then_some(true),
        arguments: arguments.viewer_options.clone(),
        ..ViewerOptions::default()
    });
    let told = Arc::clone(&telling);
    let options =
        RunOptions { jobs: arguments.jobs, viewers, on_event: Arc::new(move |event| told.tell(event)), cancel };
    let summary = wellscope_orchestrator::run(pipeline, plan, plate, &options)?;
    telling.finish(&summary);
    Ok(summary)
}

/// What the command line says stands above what the pipeline says, at every level.
fn override_pipeline(pipeline: &mut Pipeline, arguments: &RunArguments) {
    if let Some(port) = arguments.port {
        pipeline.level.streaming.port = Some(port);
        let steps = pipeline.steps.iter_mut().filter_map(|step| step.streaming.as_mut());
        steps.for_each(|streaming| streaming.port = Some(port));
    }
    if let Some(folder) = &arguments.output {
        pipeline.level.output.folder = Some(folder.clone());
    }
}

fn well_filter(items: &[String]) -> WellFilter {
    match items {
        [one] => one.parse().map_or_else(|_| WellFilter::Pattern(one.clone()), WellFilter::Count),
        several => WellFilter::List(several.to_vec()),
    }
}

/// The exit code that says how a run went.
pub fn code_of(summary: &Summary) -> u8 {
    match (summary.cancelled, summary.wells_failed().count(), summary.wells_done()) {
        (true, ..) => INTERRUPTED,
        (_, 0, _) if summary.problems.is_empty() => 0,
        (_, failed, 0) if failed > 0 => exit_code::ALL_FAILED,
        _ => exit_code::WELLS_FAILED,
    }
}

fn port(text: &str) -> Result<u16, String> {
    wellscope_protocol::endpoint::parse_data_port(text).map_err(|error| error.to_string())
}

/// What `--help` ends with: an example, the functions, the exit codes.
fn long_help() -> String {
    let mut text = "\
A pipeline is a file like this:

  name = \"Nuclei\"

  [[step]]
  name = \"Projection\"
  function = \"z_projection\"
  variable_components = [\"z_index\"]   # the planes that a function gets together
  materialization = {}                # a checkpoint on disk ...
  streaming = { well_filter = 2 }     # ... which is shown, for the first two wells

  [[step]]
  function = \"measure\"
  variable_components = [\"channel\"]
  parameters = { sigma = 2.0, min_size = 100 }
  streaming = {}                      # the last step's output is written, so it is shown

Functions and their parameters:
"
    .to_owned();
    for function in functions::list() {
        text += &format!("\n  {}: {}\n", function.name, function.summary);
        for parameter in function.parameters {
            text += &format!("    {} = {}    {}\n", parameter.name, parameter.default, parameter.meaning);
        }
    }
    text += "
Exit codes:
  0    all wells are done
  1    some wells failed, the others are done
  2    the command line could not be understood
  3    nothing was run: the pipeline or the plate cannot be used
  4    every well failed
  130  interrupted by Ctrl-C; what is written is whole";
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wells_on_the_command_line_are_a_count_a_pattern_or_a_list() {
        let filter = |items: &[&str]| well_filter(&items.iter().map(|&item| item.to_owned()).collect::<Vec<_>>());
        assert_eq!(filter(&["3"]), WellFilter::Count(3));
        assert_eq!(filter(&["A01:B02"]), WellFilter::Pattern("A01:B02".into()));
        assert_eq!(filter(&["A01", "B*"]), WellFilter::List(vec!["A01".into(), "B*".into()]));
    }

    #[test]
    fn help_names_every_function_and_its_example_can_be_read() {
        let help = long_help();
        assert!(functions::NAMES.iter().all(|name| help.contains(&format!("\n  {name}: "))), "{help}");
        let example: String = help
            .lines()
            .skip(2)
            .take_while(|line| !line.starts_with("Functions"))
            .map(|line| format!("{}\n", line.trim_start()))
            .collect();
        let steps = Pipeline::from_toml(&example, "x").map(|pipeline| pipeline.steps.len());
        assert_eq!(steps.ok(), Some(2), "{example}");
    }
}
