//! From a pipeline and a plate to a plan: what each step reads and writes, which of it is shown, and which viewers that takes.
//!
//! Only what outlives the run is shown: a step's main output when it goes to disk or zarr, its checkpoint when it has one. A step that
//! stays in memory shows nothing, whatever it declares, and the plan says so.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::Serialize;
use wellscope_client::{OPENHCS_COMPONENTS, ViewerEndpoint};
use wellscope_plates::Plate;
use wellscope_protocol::component::ComponentValue;

use crate::config::{Backend, Level, Materialization, Streaming, TransportName, is_this_machine};
use crate::filter::{FilterError, WellFilter};
use crate::pipeline::{Functions, Pipeline, Step};

/// What a plan depends on of a plate.
#[derive(Clone, PartialEq, Debug)]
pub struct PlateSummary {
    /// What it is called.
    pub name: String,
    /// Where it lies.
    pub root: PathBuf,
    /// Its wells, in natural order.
    pub wells: Vec<String>,
    /// Values of its components, wells excepted.
    pub values: BTreeMap<String, Vec<ComponentValue>>,
}

impl PlateSummary {
    /// Of an open plate.
    pub fn of(plate: &Plate) -> Self {
        let others = OPENHCS_COMPONENTS.iter().filter(|name| **name != "well");
        Self {
            name: plate.name.clone(),
            root: named_path(&plate.root),
            wells: plate.wells().iter().map(|well| well.to_string()).collect(),
            values: others.map(|name| ((*name).to_owned(), plate.values(name))).collect(),
        }
    }
}

/// A path that ends in a name, so that there is a place beside it: "." does not.
fn named_path(path: &Path) -> PathBuf {
    let absolute = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    match absolute.file_name() {
        Some(_) => absolute,
        None => std::fs::canonicalize(&absolute).unwrap_or(absolute),
    }
}

/// What a run will do.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct CompiledPlan {
    /// Name of the pipeline.
    pub pipeline: String,
    /// Name of the plate.
    pub plate: String,
    /// Where the plate lies. Viewers keep layers of different plates apart by it.
    pub plate_root: PathBuf,
    /// Wells that are processed, in natural order.
    pub wells: Vec<String>,
    /// Folder of all output.
    pub output_folder: PathBuf,
    /// One per step of the pipeline.
    pub steps: Vec<StepPlan>,
    /// Viewers that must run before anything is shown; none when nothing is.
    pub required_viewers: Vec<RequiredViewer>,
}

/// What one step will do.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct StepPlan {
    /// From 0.
    pub position: usize,
    /// Name of the step.
    pub name: String,
    /// Its functions, as reports name them.
    pub function: String,
    /// Components along which planes are stacked.
    pub variable_components: Vec<String>,
    /// Where its input is.
    pub read: ReadBackend,
    /// Where its main output goes.
    pub write: Backend,
    /// Folder (disk) or plate (zarr) of the main output.
    pub output_folder: Option<PathBuf>,
    /// A copy of its output, and of which wells.
    pub checkpoint: Option<CheckpointPlan>,
    /// What of it is shown.
    pub stream: Option<StreamPlan>,
    /// What the user should know, a sentence each.
    pub notes: Vec<String>,
}

/// Where a step reads.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum ReadBackend {
    /// The plate's files.
    Plate,
    /// What the step before made.
    Memory,
}

/// A checkpoint of a step.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct CheckpointPlan {
    /// `disk` or `zarr`.
    pub backend: Backend,
    /// Folder (disk) or plate (zarr).
    pub folder: PathBuf,
    /// Of these wells.
    pub wells: Vec<String>,
}

/// What of a step is shown. Wells that are in none of the lists are not.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct StreamPlan {
    /// Index in [`CompiledPlan::required_viewers`].
    pub viewer: usize,
    /// Wells whose main output is shown, because it is written.
    pub main: Vec<String>,
    /// Wells whose checkpoint is shown. Where both are written the pixels are the same and are sent once, as the main output.
    pub checkpoint: Vec<String>,
    /// Values that will come, per component: sliders have their full length from the start.
    #[serde(skip)]
    pub domain: BTreeMap<String, Vec<ComponentValue>>,
    /// How it is shown.
    pub config: Streaming,
}

impl StreamPlan {
    /// Whether anything of a well is shown.
    pub fn shows(&self, well: &str) -> bool {
        self.main.iter().chain(&self.checkpoint).any(|shown| shown == well)
    }
}

/// A viewer that a run needs.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct RequiredViewer {
    /// Its machine.
    pub host: String,
    /// Its data port.
    pub port: u16,
    /// How it is reached.
    pub transport: TransportName,
    /// Whether it stays after the run.
    pub persistent: bool,
    /// Positions of the steps that it shows, from 0.
    pub steps: Vec<usize>,
}

impl RequiredViewer {
    /// Its address.
    pub fn endpoint(&self) -> ViewerEndpoint {
        ViewerEndpoint {
            transport: self.transport.into(),
            host: self.host.clone(),
            ..ViewerEndpoint::openhcs(self.port)
        }
    }
}

/// Why a pipeline cannot be run on a plate: everything that must be mended.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("the pipeline cannot be run:\n{}", problems.iter().map(|problem| format!("  - {problem}")).collect::<Vec<_>>().join("\n"))]
pub struct CompileError {
    /// A sentence each, with level or step, and field.
    pub problems: Vec<String>,
}

/// Makes the plan. `wells`: which are processed; all without. `global`: what neither step nor pipeline says.
///
/// # Errors
/// All that is wrong with configuration and filters, at once.
pub fn compile(
    pipeline: &Pipeline,
    plate: &PlateSummary,
    global: &Level,
    wells: Option<&WellFilter>,
) -> Result<CompiledPlan, CompileError> {
    let mut problems = global.problems("global");
    problems.extend(pipeline.level.problems("pipeline"));
    if pipeline.steps.is_empty() {
        problems.push("the pipeline has no steps; needed at least one".to_owned());
    }
    if plate.wells.is_empty() {
        problems.push(format!("the plate {:?} has no wells; needed at least one", plate.name));
    }
    let chosen = match wells.map_or_else(|| Ok(plate.wells.clone()), |filter| filter.select(&plate.wells)) {
        Ok(chosen) => chosen,
        Err(error) => {
            problems.push(format!("wells to process: {error}"));
            plate.wells.clone()
        }
    };
    let output = pipeline.level.output.over(&global.output);
    let suffix = output.suffix.as_deref().unwrap_or("_outputs");
    let plate_folder =
        plate.root.file_name().map_or_else(|| plate.name.clone(), |name| name.to_string_lossy().into_owned());
    let output_folder =
        output.folder.clone().unwrap_or_else(|| plate.root.with_file_name(format!("{plate_folder}{suffix}")));
    let absolute = std::path::absolute(&output_folder);
    if absolute.as_deref().unwrap_or(&output_folder).starts_with(&plate.root) {
        problems.push(format!(
            "the output folder lies in the plate; needed a folder beside it, so that outputs are never read as images of the plate. Folder: {output_folder:?}"
        ));
    }

    let mut compiler =
        Compiler { pipeline, plate, global, wells: &chosen, output_folder: &output_folder, viewers: Vec::new() };
    let (mut steps, mut values) = (Vec::new(), plate.values.clone());
    let last = pipeline.steps.len().saturating_sub(1);
    for (position, step) in pipeline.steps.iter().enumerate() {
        let last_backend = (position == last).then(|| output.backend.unwrap_or(Backend::Disk));
        let mut step_problems = Vec::new();
        steps.push(compiler.step(position, step, last_backend, &mut values, &mut step_problems));
        let named =
            step_problems.into_iter().map(|problem| format!("step {} ({}): {problem}", position + 1, step.name));
        problems.extend(named);
    }
    let required_viewers = compiler.viewers;
    if !problems.is_empty() {
        return Err(CompileError { problems });
    }
    Ok(CompiledPlan {
        pipeline: pipeline.name.clone(),
        plate: plate.name.clone(),
        plate_root: plate.root.clone(),
        wells: chosen,
        output_folder,
        steps,
        required_viewers,
    })
}

struct Compiler<'a> {
    pipeline: &'a Pipeline,
    plate: &'a PlateSummary,
    global: &'a Level,
    wells: &'a [String],
    output_folder: &'a PathBuf,
    viewers: Vec<RequiredViewer>,
}

impl Compiler<'_> {
    /// `values`: those of the components of the step's input; those of its output afterwards.
    fn step(
        &mut self,
        position: usize,
        step: &Step,
        last_backend: Option<Backend>,
        values: &mut BTreeMap<String, Vec<ComponentValue>>,
        problems: &mut Vec<String>,
    ) -> StepPlan {
        check_step(step, problems);
        if step.makes_one_plane() {
            for component in &step.variable_components {
                values.entry(component.clone()).and_modify(|values| values.truncate(1));
            }
        }
        let write = step.output.or(last_backend).unwrap_or(Backend::Memory);
        let folder_name = format!("{:02}_{}", position + 1, folder_of(&step.name));
        let output_folder = match (write, last_backend.is_some()) {
            (Backend::Memory, _) => None,
            (Backend::Disk, true) => Some(self.output_folder.clone()),
            (Backend::Disk, false) => Some(self.output_folder.join(&folder_name)),
            (Backend::Zarr, true) => Some(self.output_folder.join(format!("{}.ome.zarr", folder_of(&self.plate.name)))),
            (Backend::Zarr, false) => Some(self.output_folder.join(format!("{folder_name}.ome.zarr"))),
        };
        let checkpoint = self.materialization(step).and_then(|configured| {
            let wells = self.select(configured.well_filter.as_ref(), "materialization.well_filter", problems)?;
            let parent = self.output_folder.join(&configured.folder);
            let folder = match configured.backend {
                Backend::Zarr => parent.join(format!("{folder_name}.ome.zarr")),
                _ => parent.join(&folder_name),
            };
            Some(CheckpointPlan { backend: configured.backend, folder, wells })
        });
        let mut notes = Vec::new();
        if checkpoint.as_ref().is_some_and(|checkpoint| checkpoint.wells.is_empty()) {
            notes.push("its checkpoint is of no well that is processed".to_owned());
        }
        let checkpoint = checkpoint.filter(|checkpoint| !checkpoint.wells.is_empty());
        let stream = self
            .streaming(step)
            .and_then(|config| self.stream(position, config, write, checkpoint.as_ref(), values, &mut notes, problems));
        StepPlan {
            position,
            name: step.name.clone(),
            function: step.function_names(),
            variable_components: step.variable_components.clone(),
            read: if position == 0 { ReadBackend::Plate } else { ReadBackend::Memory },
            write,
            output_folder,
            checkpoint,
            stream,
            notes,
        }
    }

    /// What a step's levels say of its checkpoint.
    fn materialization(&self, step: &Step) -> Option<Materialization> {
        let mut own = step.materialization.clone().unwrap_or_default();
        // To say anything of it is to want it.
        own.enabled = own.enabled.or(step.materialization.as_ref().map(|_| true));
        own.over(&self.pipeline.level.materialization).over(&self.global.materialization).decided()
    }

    /// What a step's levels say of streaming: its declaration.
    fn streaming(&self, step: &Step) -> Option<Streaming> {
        let mut own = step.streaming.clone().unwrap_or_default();
        own.enabled = own.enabled.or(step.streaming.as_ref().map(|_| true));
        own.over(&self.pipeline.level.streaming).over(&self.global.streaming).decided()
    }

    /// What of a step is shown, by the rule at the top of this file.
    fn stream(
        &mut self,
        position: usize,
        config: Streaming,
        write: Backend,
        checkpoint: Option<&CheckpointPlan>,
        values: &BTreeMap<String, Vec<ComponentValue>>,
        notes: &mut Vec<String>,
        problems: &mut Vec<String>,
    ) -> Option<StreamPlan> {
        let wells = self.select(config.well_filter.as_ref(), "streaming.well_filter", problems)?;
        let main = if write.is_persistent() { wells.clone() } else { Vec::new() };
        let is_kept = |well: &&String| checkpoint.is_some_and(|checkpoint| checkpoint.wells.contains(well));
        let of_checkpoint: Vec<String> =
            if write.is_persistent() { Vec::new() } else { wells.iter().filter(is_kept).cloned().collect() };
        if main.is_empty() && of_checkpoint.is_empty() {
            notes.push(match checkpoint {
                _ if wells.is_empty() => "streaming has no effect: none of its wells is processed".to_owned(),
                None => "streaming has no effect: its output stays in memory and has no checkpoint, so nothing of it is kept. \
                         Give it a checkpoint (materialization = {}) or write its output (output = \"disk\")"
                    .to_owned(),
                Some(checkpoint) => format!(
                    "streaming has no effect: it is to show {}, its checkpoint is of {}",
                    crate::filter::shortened(&wells),
                    crate::filter::shortened(&checkpoint.wells)
                ),
            });
            return None;
        }
        let left_out = wells.len() - main.len().max(of_checkpoint.len());
        if left_out > 0 {
            notes.push(format!("{left_out} of its wells are not shown: their output is not kept"));
        }
        let viewer = self.viewer(position, &config, problems);
        let mut domain = values.clone();
        let shown = if main.is_empty() { &of_checkpoint } else { &main };
        domain.insert("well".to_owned(), shown.iter().map(|well| ComponentValue::Text(well.clone())).collect());
        Some(StreamPlan { viewer, main, checkpoint: of_checkpoint, domain, config })
    }

    /// The viewer at an address, once; two steps that want it otherwise are a problem.
    fn viewer(&mut self, position: usize, config: &Streaming, problems: &mut Vec<String>) -> usize {
        let same_host = |viewer: &RequiredViewer| {
            viewer.host == config.host || (is_this_machine(&viewer.host) && is_this_machine(&config.host))
        };
        let same = |viewer: &RequiredViewer| same_host(viewer) && viewer.port == config.port;
        let meets = |viewer: &&RequiredViewer| same_host(viewer) && viewer.port.abs_diff(config.port) == 1000;
        if let Some(other) = self.viewers.iter().find(meets) {
            problems.push(format!(
                "streaming.port is {} and that of step {} is {}: one's control port (1000 above) would be the other's data port",
                config.port,
                other.steps.first().map_or(0, |step| step + 1),
                other.port
            ));
        }
        let Some(index) = self.viewers.iter().position(same) else {
            self.viewers.push(RequiredViewer {
                host: config.host.clone(),
                port: config.port,
                transport: config.transport,
                persistent: config.persistent,
                steps: vec![position],
            });
            return self.viewers.len() - 1;
        };
        if let Some(viewer) = self.viewers.get_mut(index) {
            let first = viewer.steps.first().map_or(0, |step| step + 1);
            if viewer.persistent != config.persistent {
                problems.push(format!(
                    "streaming.persistent is {} here and {} in step {first}, for the same viewer (port {}); needed the same, or another port",
                    config.persistent, viewer.persistent, config.port
                ));
            }
            if viewer.transport != config.transport {
                problems.push(format!(
                    "streaming.transport differs from that of step {first}, for the same viewer (port {}); needed the same, or another port",
                    config.port
                ));
            }
            viewer.steps.push(position);
        }
        index
    }

    /// The processed wells that a filter chooses. A count counts those that are processed; names are looked up in the whole plate.
    fn select(&self, filter: Option<&WellFilter>, field: &str, problems: &mut Vec<String>) -> Option<Vec<String>> {
        let selected = match filter {
            None => Ok(self.wells.to_vec()),
            Some(filter @ WellFilter::Count(_)) => filter.select(self.wells),
            Some(filter) => filter
                .select(&self.plate.wells)
                .map(|wells| wells.into_iter().filter(|well| self.wells.contains(well)).collect()),
        };
        selected.map_err(|error: FilterError| problems.push(format!("{field}: {error}"))).ok()
    }
}

fn check_step(step: &Step, problems: &mut Vec<String>) {
    if step.name.trim().is_empty() {
        problems.push("has no name; needed one, for reports and layers".to_owned());
    }
    let stackable = |name: &String| OPENHCS_COMPONENTS.contains(&name.as_str()) && name != "well";
    for name in step.variable_components.iter().filter(|name| !stackable(name)) {
        problems.push(format!(
            "variable_components names {name:?}; there are site, channel, z_index, timepoint (wells are computed one by one)"
        ));
    }
    if let Functions::PerGroup(_) = step.functions {
        if !stackable(&step.group_by) {
            problems.push(format!("group_by is {:?}; needed one of site, channel, z_index, timepoint", step.group_by));
        } else if step.variable_components.contains(&step.group_by) {
            problems.push(format!(
                "group_by is {:?}, which is a variable component too; planes of one stack go through one function",
                step.group_by
            ));
        }
    }
    if let Some(level) = &step.streaming {
        problems.extend(level.problems("step").into_iter().map(|problem| problem.replacen("step: ", "", 1)));
    }
    if let Some(level) = &step.materialization {
        problems.extend(level.problems("step").into_iter().map(|problem| problem.replacen("step: ", "", 1)));
    }
}

/// A name as a folder: what any system takes.
fn folder_of(name: &str) -> String {
    let plain = |letter: char| if letter.is_alphanumeric() || "-_.".contains(letter) { letter } else { '_' };
    let folder: String = name.trim().chars().map(plain).take(64).collect();
    if folder.is_empty() { "unnamed".to_owned() } else { folder }
}
