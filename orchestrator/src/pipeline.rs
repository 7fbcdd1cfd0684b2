//! A pipeline: steps, each with a function, and what is to be kept and seen of it.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use wellscope_plates::AnyArray;

use crate::config::Backend;
use crate::config::{Level, MaterializationLevel, StreamingLevel};
use crate::functions::{BuiltIn, FunctionOutput, StackInfo};

/// What a step computes. Built-in functions are [`BuiltIn`]; a closure is one through [`step_function`].
pub trait StepFunction: Send + Sync {
    /// What reports call it.
    fn name(&self) -> &str;

    /// Computes the planes `[n, y, x]` of one group: as many planes, or fewer.
    ///
    /// # Errors
    /// A sentence; the well fails with it, others go on.
    fn compute(&self, stack: &AnyArray, info: &StackInfo) -> Result<FunctionOutput, String>;

    /// Whether it makes one plane of a stack. Then sliders are declared one value long.
    fn makes_one_plane(&self) -> bool {
        false
    }
}

impl StepFunction for BuiltIn {
    fn name(&self) -> &str {
        BuiltIn::name(self)
    }

    fn compute(&self, stack: &AnyArray, info: &StackInfo) -> Result<FunctionOutput, String> {
        BuiltIn::compute(self, stack, info).map_err(|error| error.to_string())
    }

    fn makes_one_plane(&self) -> bool {
        BuiltIn::makes_one_plane(self)
    }
}

/// A closure as a step's function.
pub fn step_function<F>(name: impl Into<String>, function: F) -> Arc<dyn StepFunction>
where
    F: Fn(&AnyArray, &StackInfo) -> Result<FunctionOutput, String> + Send + Sync + 'static,
{
    Arc::new(Named { name: name.into(), function })
}

struct Named<F> {
    name: String,
    function: F,
}

impl<F> StepFunction for Named<F>
where
    F: Fn(&AnyArray, &StackInfo) -> Result<FunctionOutput, String> + Send + Sync,
{
    fn name(&self) -> &str {
        &self.name
    }

    fn compute(&self, stack: &AnyArray, info: &StackInfo) -> Result<FunctionOutput, String> {
        (self.function)(stack, info)
    }
}

/// Which function a group of planes goes through.
#[derive(Clone)]
pub enum Functions {
    /// The same for every group.
    One(Arc<dyn StepFunction>),
    /// By the group's value of [`Step::group_by`], e.g. channel "1". Groups that are not named pass unchanged.
    PerGroup(BTreeMap<String, Arc<dyn StepFunction>>),
}

/// One step.
#[derive(Clone)]
pub struct Step {
    /// What it is called, in reports and in the viewer.
    pub name: String,
    /// What it computes.
    pub functions: Functions,
    /// Components along which planes are stacked for the function; planes of a stack differ in nothing else. Default: site.
    pub variable_components: Vec<String>,
    /// The component by which [`Functions::PerGroup`] chooses. Default: channel.
    pub group_by: String,
    /// Where the main output goes; without: memory, and for the last step what [`crate::config::OutputLevel`] says.
    pub output: Option<Backend>,
    /// A checkpoint, where the step says anything of it.
    pub materialization: Option<MaterializationLevel>,
    /// Streaming, where the step says anything of it: its declaration.
    pub streaming: Option<StreamingLevel>,
}

impl Step {
    /// A step that streams and keeps nothing.
    pub fn new(name: impl Into<String>, function: Arc<dyn StepFunction>) -> Self {
        Self {
            name: name.into(),
            functions: Functions::One(function),
            variable_components: vec!["site".to_owned()],
            group_by: "channel".to_owned(),
            output: None,
            materialization: None,
            streaming: None,
        }
    }

    /// Stacks planes along these components.
    #[must_use]
    pub fn variable(mut self, components: &[&str]) -> Self {
        self.variable_components = components.iter().map(|name| (*name).to_owned()).collect();
        self
    }

    /// Where its main output goes.
    #[must_use]
    pub fn output(mut self, backend: Backend) -> Self {
        self.output = Some(backend);
        self
    }

    /// Declares a checkpoint.
    #[must_use]
    pub fn materialize(mut self, level: MaterializationLevel) -> Self {
        self.materialization = Some(level);
        self
    }

    /// Declares streaming.
    #[must_use]
    pub fn stream(mut self, level: StreamingLevel) -> Self {
        self.streaming = Some(level);
        self
    }

    /// What reports say of its functions.
    pub(crate) fn function_names(&self) -> String {
        match &self.functions {
            Functions::One(function) => function.name().to_owned(),
            Functions::PerGroup(by_value) => {
                let named =
                    by_value.iter().map(|(value, function)| format!("{} {value}: {}", self.group_by, function.name()));
                named.collect::<Vec<_>>().join(", ")
            }
        }
    }

    pub(crate) fn makes_one_plane(&self) -> bool {
        match &self.functions {
            Functions::One(function) => function.makes_one_plane(),
            Functions::PerGroup(by_value) => by_value.values().all(|function| function.makes_one_plane()),
        }
    }
}

impl fmt::Debug for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Step")
            .field("name", &self.name)
            .field("functions", &self.function_names())
            .finish_non_exhaustive()
    }
}

/// Steps in their order, and what holds for all of them.
#[derive(Clone, Debug, Default)]
pub struct Pipeline {
    /// What it is called.
    pub name: String,
    /// What steps leave out.
    pub level: Level,
    /// The first reads the plate, each other what the one before made.
    pub steps: Vec<Step>,
}

impl Pipeline {
    /// A pipeline without steps.
    pub fn new(name: impl Into<String>) -> Self {
        Self { name: name.into(), ..Self::default() }
    }

    /// Adds a step at the end.
    #[must_use]
    pub fn step(mut self, step: Step) -> Self {
        self.steps.push(step);
        self
    }
}
