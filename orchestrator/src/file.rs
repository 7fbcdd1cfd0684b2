//! Pipelines as TOML files, of built-in functions.
//!
//! ```toml
//! name = "Nuclei"
//!
//! [streaming]                       # what steps that stream have in common
//! port = 5555
//!
//! [[step]]
//! name = "Smooth"
//! function = "gaussian"
//! parameters = { sigma = 2 }
//! materialization = {}              # a checkpoint on disk
//! streaming = { well_filter = 2 }   # which is shown for the first two wells
//!
//! [[step]]
//! name = "Segment"
//! variable_components = ["channel"]
//! function = "measure"
//! streaming = {}                    # the last step's output is written, so it is shown
//! ```

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::Deserialize;

use crate::config::{Backend, Level, MaterializationLevel, OutputLevel, StreamingLevel};
use crate::functions::BuiltIn;
use crate::pipeline::{Functions, Pipeline, Step, StepFunction};

/// Why a file is no pipeline.
#[derive(Debug, thiserror::Error)]
pub enum PipelineFileError {
    /// The system does not give it.
    #[error("cannot read the pipeline: {cause}. File: {path:?}")]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system says.
        cause: std::io::Error,
    },
    /// It is no TOML, or has fields that do not exist.
    #[error("the pipeline cannot be understood: {reason}")]
    Syntax {
        /// Line, column and what was expected.
        reason: String,
    },
    /// Steps that cannot be made, all at once.
    #[error("the pipeline has {} that must be mended:\n{}", counted(.problems), list(.problems))]
    Steps {
        /// A sentence each.
        problems: Vec<String>,
    },
}

fn counted(problems: &[String]) -> String {
    if problems.len() == 1 { "1 problem".to_owned() } else { format!("{} problems", problems.len()) }
}

fn list(problems: &[String]) -> String {
    problems.iter().map(|problem| format!("  - {problem}")).collect::<Vec<_>>().join("\n")
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default)]
    name: Option<String>,
    #[serde(default)]
    streaming: StreamingLevel,
    #[serde(default)]
    materialization: MaterializationLevel,
    #[serde(default)]
    output: OutputLevel,
    #[serde(default)]
    step: Vec<FileStep>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct FileStep {
    name: Option<String>,
    function: Option<String>,
    #[serde(default)]
    parameters: toml::Table,
    #[serde(default)]
    functions: BTreeMap<String, FileFunction>,
    variable_components: Option<Vec<String>>,
    group_by: Option<String>,
    output: Option<Backend>,
    materialization: Option<MaterializationLevel>,
    streaming: Option<StreamingLevel>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct FileFunction {
    function: String,
    #[serde(default)]
    parameters: toml::Table,
}

impl Pipeline {
    /// Reads a file; without a name in it, the pipeline has the file's.
    ///
    /// # Errors
    /// A sentence per mistake.
    pub fn from_file(path: &Path) -> Result<Self, PipelineFileError> {
        let text =
            std::fs::read_to_string(path).map_err(|cause| PipelineFileError::Read { path: path.to_owned(), cause })?;
        let name = path.file_stem().unwrap_or_default().to_string_lossy();
        Self::from_toml(&text, &name)
    }

    /// Reads a pipeline; `name` is for one that has none.
    ///
    /// # Errors
    /// A sentence per mistake.
    pub fn from_toml(text: &str, name: &str) -> Result<Self, PipelineFileError> {
        let file: File =
            toml::from_str(text).map_err(|error| PipelineFileError::Syntax { reason: error.to_string() })?;
        let (mut steps, mut problems) = (Vec::new(), Vec::new());
        for (index, step) in file.step.into_iter().enumerate() {
            match read_step(step, index) {
                Ok(step) => steps.push(step),
                Err(problem) => problems.push(problem),
            }
        }
        if !problems.is_empty() {
            return Err(PipelineFileError::Steps { problems });
        }
        let level = Level { streaming: file.streaming, materialization: file.materialization, output: file.output };
        Ok(Self { name: file.name.unwrap_or_else(|| name.to_owned()), level, steps })
    }
}

fn read_step(file: FileStep, index: usize) -> Result<Step, String> {
    let number = index + 1;
    let named = |problem: String| match &file.name {
        Some(name) => format!("step {number} ({name}): {problem}"),
        None => format!("step {number}: {problem}"),
    };
    let built_in = |name: &str, parameters: &toml::Table| -> Result<Arc<dyn StepFunction>, String> {
        let function = BuiltIn::from_toml(name, parameters.clone()).map_err(|error| named(error.to_string()))?;
        Ok(Arc::new(function))
    };
    let functions = match (&file.function, file.functions.is_empty()) {
        (Some(name), true) => Functions::One(built_in(name, &file.parameters)?),
        (None, false) if file.parameters.is_empty() => {
            let read = |(value, each): (&String, &FileFunction)| {
                Ok((value.clone(), built_in(&each.function, &each.parameters)?))
            };
            Functions::PerGroup(file.functions.iter().map(read).collect::<Result<_, String>>()?)
        }
        (None, false) => return Err(named("'parameters' beside 'functions'; each function has its own".to_owned())),
        (Some(_), false) => return Err(named("has 'function' and 'functions'; needed one of them".to_owned())),
        (None, true) => {
            return Err(named("'function' is missing; `wellscope run --help` lists what there is".to_owned()));
        }
    };
    let default_name = match &functions {
        Functions::One(function) => function.name().to_owned(),
        Functions::PerGroup(_) => format!("step {number}"),
    };
    let mut step = Step {
        name: file.name.unwrap_or(default_name),
        functions,
        variable_components: file.variable_components.unwrap_or_else(|| vec!["site".to_owned()]),
        group_by: file.group_by.unwrap_or_else(|| "channel".to_owned()),
        output: file.output,
        materialization: file.materialization,
        streaming: file.streaming,
    };
    step.name = step.name.trim().to_owned();
    Ok(step)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests say where they failed")]
    use super::*;
    use crate::filter::WellFilter;

    #[test]
    fn a_file_is_read_as_its_documentation_says() {
        let documented = include_str!("file.rs").lines().filter_map(|line| line.strip_prefix("//! "));
        let text: String = documented
            .skip_while(|line| *line != "```toml")
            .skip(1)
            .take_while(|line| *line != "```")
            .map(|line| format!("{line}\n"))
            .collect();
        let pipeline = Pipeline::from_toml(&text, "x").unwrap();
        assert_eq!((pipeline.name.as_str(), pipeline.steps.len()), ("Nuclei", 2));
        let smooth = &pipeline.steps[0];
        assert_eq!(smooth.streaming.as_ref().unwrap().well_filter, Some(WellFilter::Count(2)));
        assert!(smooth.materialization.is_some() && pipeline.steps[1].materialization.is_none());
        assert_eq!(pipeline.steps[1].variable_components, ["channel"]);
    }

    #[test]
    fn functions_may_differ_by_channel() {
        let text = "[[step]]\nfunctions = { 1 = { function = 'gaussian', parameters = { sigma = 3 } }, 2 = { function = 'background' } }";
        let pipeline = Pipeline::from_toml(text, "x").unwrap();
        assert_eq!(pipeline.steps[0].function_names(), "channel 1: gaussian, channel 2: background");
    }

    #[test]
    fn mistakes_are_told_all_at_once_with_their_step() {
        let text = "[[step]]\nname = 'A'\nfunction = 'gauss'\n[[step]]\n[[step]]\nfunction = 'gaussian'\nparameters = { sigma = -1 }";
        let error = Pipeline::from_toml(text, "x").unwrap_err().to_string();
        assert!(error.contains("3 problems"), "{error}");
        for part in
            ["step 1 (A): there is no function \"gauss\"", "step 2: 'function' is missing", "step 3: gaussian: sigma"]
        {
            assert!(error.contains(part), "{error}");
        }
        let error = Pipeline::from_toml("[[step]]\nfuncton = 'gaussian'", "x").unwrap_err().to_string();
        assert!(error.contains("functon") && error.contains("line 2"), "{error}");
    }
}
