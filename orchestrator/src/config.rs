//! What may be configured of streaming and of writing, at three levels: global, pipeline and step.
//!
//! A field that a level leaves out is that of the level above: step, then pipeline, then global, then the default.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use wellscope_client::{OPENHCS_COMPONENTS, Transport};
use wellscope_protocol::batch::{DisplayConfig, VariableSize};
use wellscope_protocol::component::ComponentMode;

use crate::filter::WellFilter;

/// Where pixels are kept.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Backend {
    /// In memory until the well is done.
    Memory,
    /// TIFF files.
    Disk,
    /// An OME-Zarr plate.
    Zarr,
}

impl Backend {
    /// Whether it outlives the run. Only what does is ever streamed.
    pub const fn is_persistent(self) -> bool {
        !matches!(self, Self::Memory)
    }

    /// As files say it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Memory => "memory",
            Self::Disk => "disk",
            Self::Zarr => "zarr",
        }
    }
}

/// What a level says of streaming. `None`: what the level above says.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct StreamingLevel {
    /// Whether a step streams. A step that says anything about streaming streams, unless it says `false` here.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub enabled: Option<bool>,
    /// Which wells. Default: all.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub well_filter: Option<WellFilter>,
    /// The viewer's data port. Default: 5555.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub port: Option<u16>,
    /// The viewer's machine. Default: localhost.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub host: Option<String>,
    /// How to connect. Default: ipc on this machine where there is any, else tcp.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub transport: Option<TransportName>,
    /// Whether the viewer stays open after the run. Default: yes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub persistent: Option<bool>,
    /// A slider ("stack") or a layer per value ("layer") for components; those not named are sliders. Levels are merged by component.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub modes: BTreeMap<String, Mode>,
    /// Sliders from the outermost to the innermost. Default: site, channel, z_index, timepoint, well.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub order: Option<Vec<String>>,
    /// Colormap of the layers, by the names of napari. Default: gray.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub colormap: Option<String>,
    /// What becomes of images that differ in size. Default: pad_to_max.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub variable_size: Option<SizeRule>,
}

/// How images of different sizes are shown.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SizeRule {
    /// Each at its own extent, from the common origin.
    PadToMax,
    /// A layer per well.
    SeparateLayers,
}

impl From<SizeRule> for VariableSize {
    fn from(rule: SizeRule) -> Self {
        match rule {
            SizeRule::PadToMax => Self::PadToMax,
            SizeRule::SeparateLayers => Self::SeparateLayers,
        }
    }
}

/// How a component is shown.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// A slider.
    Stack,
    /// A layer per value.
    Layer,
}

/// How a viewer is reached.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum TransportName {
    /// Unix sockets.
    Ipc,
    /// TCP.
    Tcp,
}

impl From<TransportName> for Transport {
    fn from(name: TransportName) -> Self {
        match name {
            TransportName::Ipc => Self::Ipc,
            TransportName::Tcp => Self::Tcp,
        }
    }
}

/// What a level says of checkpoints: a copy of a step's output on disk. `None`: what the level above says.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct MaterializationLevel {
    /// Whether a step writes one. A step that says anything about it does, unless it says `false` here.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub enabled: Option<bool>,
    /// `disk` (default) or `zarr`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub backend: Option<Backend>,
    /// Folder below the output folder, in which each step has its own. Default: checkpoints.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub folder: Option<String>,
    /// Which wells. Default: all.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub well_filter: Option<WellFilter>,
}

/// What a level says of the main output of the pipeline, which is that of its last step.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct OutputLevel {
    /// Where the last step's output goes. Default: disk.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub backend: Option<Backend>,
    /// The folder of all output. Default: beside the plate, with its name and `suffix`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub folder: Option<PathBuf>,
    /// What is added to the plate's name. Default: `_outputs`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub suffix: Option<String>,
}

/// One level: global or pipeline.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Level {
    /// Defaults of streaming.
    pub streaming: StreamingLevel,
    /// Defaults of checkpoints.
    pub materialization: MaterializationLevel,
    /// The main output.
    pub output: OutputLevel,
}

/// Streaming of one step, every field decided.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct Streaming {
    /// Which wells; `None`: all.
    pub well_filter: Option<WellFilter>,
    /// The viewer's data port.
    pub port: u16,
    /// The viewer's machine.
    pub host: String,
    /// How to connect.
    pub transport: TransportName,
    /// Whether the viewer stays.
    pub persistent: bool,
    /// Mode of each component that has one.
    pub modes: BTreeMap<String, Mode>,
    /// Sliders, outermost first.
    pub order: Vec<String>,
    /// Colormap.
    pub colormap: String,
    /// Images that differ in size.
    pub variable_size: SizeRule,
}

impl Streaming {
    /// As a batch says it.
    pub fn display_config(&self) -> DisplayConfig {
        let mode = |name: &&str| match self.modes.get(*name) {
            Some(Mode::Layer) => ComponentMode::Layer,
            _ => ComponentMode::Stack,
        };
        DisplayConfig {
            component_modes: OPENHCS_COMPONENTS.iter().map(|name| ((*name).to_owned(), mode(name))).collect(),
            component_order: self.order.clone(),
            colormap: self.colormap.clone(),
            variable_size: self.variable_size.into(),
        }
    }
}

/// A checkpoint of one step, every field decided.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct Materialization {
    /// `disk` or `zarr`.
    pub backend: Backend,
    /// Folder below the output folder.
    pub folder: String,
    /// Which wells; `None`: all.
    pub well_filter: Option<WellFilter>,
}

/// Whether a name is this machine's own.
pub(crate) fn is_this_machine(host: &str) -> bool {
    matches!(host, "localhost" | "127.0.0.1" | "::1")
}

impl StreamingLevel {
    /// This level's fields, and where it has none, those of `above`.
    pub(crate) fn over(&self, above: &Self) -> Self {
        let mut modes = above.modes.clone();
        modes.extend(self.modes.iter().map(|(name, mode)| (name.clone(), *mode)));
        Self {
            enabled: self.enabled.or(above.enabled),
            well_filter: self.well_filter.clone().or_else(|| above.well_filter.clone()),
            port: self.port.or(above.port),
            host: self.host.clone().or_else(|| above.host.clone()),
            transport: self.transport.or(above.transport),
            persistent: self.persistent.or(above.persistent),
            modes,
            order: self.order.clone().or_else(|| above.order.clone()),
            colormap: self.colormap.clone().or_else(|| above.colormap.clone()),
            variable_size: self.variable_size.or(above.variable_size),
        }
    }

    /// With defaults where no level said anything. `None`: the step does not stream.
    pub(crate) fn decided(self) -> Option<Streaming> {
        if !self.enabled.unwrap_or(false) {
            return None;
        }
        let host = self.host.unwrap_or_else(|| "localhost".to_owned());
        let default = if is_this_machine(&host) && !cfg!(windows) { TransportName::Ipc } else { TransportName::Tcp };
        Some(Streaming {
            well_filter: self.well_filter,
            port: self.port.unwrap_or(5555),
            transport: self.transport.unwrap_or(default),
            host,
            persistent: self.persistent.unwrap_or(true),
            modes: self.modes,
            order: self.order.unwrap_or_else(|| OPENHCS_COMPONENTS.map(str::to_owned).to_vec()),
            colormap: self.colormap.unwrap_or_else(|| "gray".to_owned()),
            variable_size: self.variable_size.unwrap_or(SizeRule::PadToMax),
        })
    }

    /// What is wrong with this level, a sentence each.
    pub(crate) fn problems(&self, level: &str) -> Vec<String> {
        let mut problems = Vec::new();
        if self.port.is_some_and(|port| !(1..=64_535).contains(&port)) {
            let port = self.port.unwrap_or_default();
            problems.push(format!(
                "{level}: streaming.port is {port}; needed 1 to 64535, because the control port is 1000 above"
            ));
        }
        let known = |name: &String| OPENHCS_COMPONENTS.contains(&name.as_str());
        let names = self
            .modes
            .keys()
            .map(|name| ("modes", name))
            .chain(self.order.iter().flatten().map(|name| ("order", name)));
        for (field, name) in names.filter(|(_, name)| !known(name)) {
            problems.push(format!(
                "{level}: streaming.{field} names {name:?}; there are {}",
                OPENHCS_COMPONENTS.join(", ")
            ));
        }
        if self.colormap.as_deref().is_some_and(|name| name.trim().is_empty()) {
            problems
                .push(format!("{level}: streaming.colormap is blank; needed a name such as \"gray\" or \"viridis\""));
        }
        if self.host.as_deref().is_some_and(|host| host.trim().is_empty()) {
            problems.push(format!("{level}: streaming.host is blank; needed a machine's name or address"));
        }
        problems
    }
}

impl MaterializationLevel {
    pub(crate) fn over(&self, above: &Self) -> Self {
        Self {
            enabled: self.enabled.or(above.enabled),
            backend: self.backend.or(above.backend),
            folder: self.folder.clone().or_else(|| above.folder.clone()),
            well_filter: self.well_filter.clone().or_else(|| above.well_filter.clone()),
        }
    }

    pub(crate) fn decided(self) -> Option<Materialization> {
        self.enabled.unwrap_or(false).then(|| Materialization {
            backend: self.backend.unwrap_or(Backend::Disk),
            folder: self.folder.unwrap_or_else(|| "checkpoints".to_owned()),
            well_filter: self.well_filter,
        })
    }

    pub(crate) fn problems(&self, level: &str) -> Vec<String> {
        let mut problems = Vec::new();
        if self.backend == Some(Backend::Memory) {
            problems.push(format!(
                "{level}: materialization.backend is \"memory\"; a checkpoint is on \"disk\" or in \"zarr\", leave it out for none"
            ));
        }
        if let Some(folder) = &self.folder
            && !is_plain_folder(folder)
        {
            problems.push(format!(
                "{level}: materialization.folder is {folder:?}; needed a plain name below the output folder"
            ));
        }
        problems
    }
}

/// One or more names, none of which leads upwards or to a place of its own.
fn is_plain_folder(folder: &str) -> bool {
    let path = std::path::Path::new(folder);
    !folder.trim().is_empty() && path.components().all(|part| matches!(part, std::path::Component::Normal(_)))
}

impl OutputLevel {
    pub(crate) fn over(&self, above: &Self) -> Self {
        Self {
            backend: self.backend.or(above.backend),
            folder: self.folder.clone().or_else(|| above.folder.clone()),
            suffix: self.suffix.clone().or_else(|| above.suffix.clone()),
        }
    }

    pub(crate) fn problems(&self, level: &str) -> Vec<String> {
        match self.suffix.as_deref() {
            Some(suffix) if suffix.is_empty() || suffix.contains(['/', '\\']) => {
                vec![format!("{level}: output.suffix is {suffix:?}; needed text for the end of a folder's name")]
            }
            _ => Vec::new(),
        }
    }
}

impl Level {
    pub(crate) fn problems(&self, level: &str) -> Vec<String> {
        let mut problems = self.streaming.problems(level);
        problems.extend(self.materialization.problems(level));
        problems.extend(self.output.problems(level));
        problems
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests say where they failed")]
    use super::*;

    #[test]
    fn unset_fields_are_those_of_the_level_above() {
        let step: StreamingLevel = toml::from_str("port = 5600\nmodes = { channel = 'layer' }").unwrap();
        let pipeline: StreamingLevel =
            toml::from_str("port = 5700\nwell_filter = 2\nmodes = { site = 'layer' }").unwrap();
        let global: StreamingLevel = toml::from_str("enabled = true\ncolormap = 'viridis'\nwell_filter = 9").unwrap();
        let decided = step.over(&pipeline).over(&global).decided().unwrap();
        assert_eq!((decided.port, decided.colormap.as_str()), (5600, "viridis"));
        assert_eq!(decided.well_filter, Some(WellFilter::Count(2)));
        assert_eq!(decided.modes.keys().collect::<Vec<_>>(), ["channel", "site"]);
        assert!(decided.persistent, "nobody said otherwise");
        assert_eq!(StreamingLevel::default().decided(), None, "nobody asked for it");
    }

    #[test]
    fn every_problem_is_named_with_its_level_and_field() {
        let level: Level = toml::from_str(
            "[streaming]\nport = 65000\nmodes = { wel = 'stack' }\norder = ['z']\ncolormap = ' '\n\
             [materialization]\nbackend = 'memory'\nfolder = '../up'\n[output]\nsuffix = ''",
        )
        .unwrap();
        let problems = level.problems("pipeline");
        assert_eq!(problems.len(), 7, "{problems:#?}");
        for part in
            ["streaming.port is 65000", "\"wel\"", "\"z\"", "colormap", "backend is \"memory\"", "\"../up\"", "suffix"]
        {
            assert!(
                problems.iter().any(|problem| problem.starts_with("pipeline: ") && problem.contains(part)),
                "{part}"
            );
        }
        assert!(toml::from_str::<Level>("[streaming]\nprot = 1").unwrap_err().to_string().contains("prot"));
    }

    #[test]
    fn another_machine_is_reached_by_tcp() {
        let decided = |text: &str| toml::from_str::<StreamingLevel>(text).unwrap().decided().unwrap().transport;
        assert_eq!(decided("enabled = true\nhost = 'scope'"), TransportName::Tcp);
        assert_eq!(decided("enabled = true"), if cfg!(windows) { TransportName::Tcp } else { TransportName::Ipc });
    }
}
