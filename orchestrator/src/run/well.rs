//! One well through all steps.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use wellscope_plates::{AnyArray, PlateImage};
use wellscope_protocol::batch::Shape;

use super::output::stem_of;
use super::summary::{WellOutcome, WellSummary};
use super::{Context, Event};
use crate::functions::{StackInfo, Table};
use crate::pipeline::{Functions, Step, StepFunction};

/// One plane in memory, and where on the plate it lies.
#[derive(Clone)]
pub(super) struct Plane {
    /// Its address: that of an image of the plate, or of the first one that it was made of.
    pub image: PlateImage,
    /// `[y, x]`, or `[y, x, samples]` for colour.
    pub pixels: Arc<AnyArray>,
    /// Whether its integers are ids of objects.
    pub labels: bool,
    /// Regions of interest found on it.
    pub rois: Vec<Shape>,
}

/// What a step made of a well.
#[derive(Default)]
pub(super) struct Made {
    pub planes: Vec<Plane>,
    /// Tables, with the name of the plane that they belong to.
    pub tables: Vec<(String, Table)>,
}

/// Planes that differ in nothing but variable components.
struct Group {
    images: Vec<Input>,
    /// The value of the component that chooses the function.
    choice: Option<i64>,
}

/// A plane on the plate, or one that the step before made.
enum Input {
    OnPlate(PlateImage),
    InMemory(Plane),
}

impl Input {
    fn image(&self) -> &PlateImage {
        match self {
            Self::OnPlate(image) => image,
            Self::InMemory(plane) => &plane.image,
        }
    }
}

pub(super) struct WellRun<'a> {
    context: &'a Context,
    well: &'a str,
    summary: WellSummary,
}

/// Why a well ends early.
enum Stop {
    Failed(String),
    Cancelled,
}

impl From<String> for Stop {
    fn from(error: String) -> Self {
        Self::Failed(error)
    }
}

impl<'a> WellRun<'a> {
    pub fn new(context: &'a Context, well: &'a str) -> Self {
        let summary = WellSummary {
            well: well.to_owned(),
            outcome: WellOutcome::Cancelled,
            planes: 0,
            written: 0,
            seconds: Vec::new(),
        };
        Self { context, well, summary }
    }

    pub fn run(mut self) -> WellSummary {
        if self.context.options.cancel.is_cancelled() {
            return self.summary;
        }
        self.context.tell(&Event::WellStarted { well: self.well.to_owned() });
        let mut input: Vec<Input> = self.context.plate.images_of(self.well).cloned().map(Input::OnPlate).collect();
        for (position, step) in self.context.pipeline.steps.iter().enumerate() {
            match self.step(position, step, input) {
                Ok(planes) => input = planes.into_iter().map(Input::InMemory).collect(),
                Err(Stop::Cancelled) => return self.summary,
                Err(Stop::Failed(error)) => {
                    self.summary.outcome = WellOutcome::Failed { step: Some(position), error };
                    return self.summary;
                }
            }
        }
        self.summary.outcome = WellOutcome::Done;
        self.summary
    }

    fn step(&mut self, position: usize, step: &Step, input: Vec<Input>) -> Result<Vec<Plane>, Stop> {
        let started = Instant::now();
        let mut made = Made::default();
        for group in groups_of(input, step) {
            if self.context.options.cancel.is_cancelled() {
                return Err(Stop::Cancelled);
            }
            self.compute(step, group, &mut made)?;
        }
        if self.context.options.cancel.is_cancelled() {
            return Err(Stop::Cancelled);
        }
        self.summary.written += self.context.outputs.write(position, self.well, &made)?;
        self.context.viewers.show(self.context, position, self.well, &made.planes);
        self.summary.planes += made.planes.len();
        let seconds = started.elapsed().as_secs_f64();
        self.summary.seconds.push(seconds);
        let planes = made.planes.len();
        self.context.tell(&Event::StepDone { well: self.well.to_owned(), step: position, planes, seconds });
        Ok(made.planes)
    }

    fn compute(&self, step: &Step, group: Group, made: &mut Made) -> Result<(), Stop> {
        let mut planes = Vec::with_capacity(group.images.len());
        for input in group.images {
            planes.push(match input {
                Input::InMemory(plane) => plane,
                Input::OnPlate(image) => {
                    let pixels = self.context.plate.read(&image).map_err(|error| error.to_string())?;
                    Plane { image, pixels: Arc::new(pixels), labels: false, rois: Vec::new() }
                }
            });
        }
        let Some(function) = function_of(step, group.choice) else {
            made.planes.extend(planes);
            return Ok(());
        };
        let Some(first) = planes.first() else { return Ok(()) };
        let stem = stem_of(first);
        let arrays: Vec<AnyArray> = planes.iter().map(|plane| AnyArray::clone(&plane.pixels)).collect();
        let stack = AnyArray::stack(&arrays).map_err(|error| format!("{}: {error}. First: {stem}", function.name()))?;
        drop(arrays);
        let info = self.info(step, &planes);
        let mut output = function
            .compute(&stack, &info)
            .map_err(|error| format!("{}: {error}. First plane: {stem}", function.name()))?;
        let count = output.planes.shape().first().copied().unwrap_or(0);
        if count == 0 || count > planes.len() || output.planes.ndim() < 3 {
            return Err(Stop::Failed(format!(
                "{} made an array of extents {:?} of {} planes; needed planes [n, y, x], at most as many. First plane: {stem}",
                function.name(),
                output.planes.shape(),
                planes.len()
            )));
        }
        for (index, plane) in planes.into_iter().take(count).enumerate() {
            let pixels = output.planes.plane(index).map_err(|error| error.to_string())?;
            let rois = output.rois.get_mut(index).map(std::mem::take).unwrap_or_default();
            made.planes.push(Plane { image: plane.image, pixels: Arc::new(pixels), labels: output.labels, rois });
        }
        made.tables.extend(output.table.map(|table| (stem, table)));
        Ok(())
    }

    /// What planes of a stack are called: by the component that they differ in.
    fn info(&self, step: &Step, planes: &[Plane]) -> StackInfo {
        let plate = &self.context.plate;
        let name = |plane: &Plane| {
            let parts = step.variable_components.iter().filter_map(|component| {
                let value = plane.image.value(component)?.as_key();
                let known =
                    plate.names.get(component).and_then(|names| names.get(&value)).filter(|name| !name.is_empty());
                Some(known.cloned().unwrap_or_else(|| format!("{component} {value}")))
            });
            parts.collect::<Vec<_>>().join(" ")
        };
        let pixel_size_um = plate.voxel_size_um.y.zip(plate.voxel_size_um.x).map(|(y, x)| [y, x]);
        StackInfo { plane_names: planes.iter().map(name).collect(), pixel_size_um }
    }
}

/// The function for a group; `None`: the group passes unchanged.
fn function_of(step: &Step, choice: Option<i64>) -> Option<&Arc<dyn StepFunction>> {
    match &step.functions {
        Functions::One(function) => Some(function),
        Functions::PerGroup(by_value) => by_value.get(&choice?.to_string()),
    }
}

fn number(image: &PlateImage, component: &str) -> Option<i64> {
    match component {
        "site" => Some(image.site),
        "channel" => Some(image.channel),
        "z_index" => Some(image.z_index),
        "timepoint" => Some(image.timepoint),
        _ => None,
    }
}

/// Groups in the order of their addresses; the planes of each too.
fn groups_of(input: Vec<Input>, step: &Step) -> Vec<Group> {
    const ORDER: [&str; 4] = ["site", "channel", "z_index", "timepoint"];
    let is_variable = |component: &str| step.variable_components.iter().any(|name| name == component);
    let mut groups: BTreeMap<[Option<i64>; 4], Group> = BTreeMap::new();
    for plane in input {
        let key = ORDER.map(|component| number(plane.image(), component).filter(|_| !is_variable(component)));
        let choice = number(plane.image(), &step.group_by);
        groups.entry(key).or_insert_with(|| Group { images: Vec::new(), choice }).images.push(plane);
    }
    let mut groups: Vec<Group> = groups.into_values().collect();
    for group in &mut groups {
        group.images.sort_by_key(|plane| ORDER.map(|component| number(plane.image(), component)));
    }
    groups
}
