//! Built-in functions by name, with their parameters as a pipeline file gives them.

use serde::Serialize;
use serde::de::DeserializeOwned;
use wellscope_plates::AnyArray;

use super::{
    Background, FunctionError, FunctionOutput, Gaussian, Label, Measure, ParameterError, PercentileNormalize,
    StackInfo, Threshold, ZProjection, outlines,
};

/// A function with its parameters, checked.
#[derive(Clone, PartialEq, Debug)]
pub enum BuiltIn {
    /// `gaussian`
    Gaussian(Gaussian),
    /// `background`
    Background(Background),
    /// `percentile_normalize`
    PercentileNormalize(PercentileNormalize),
    /// `z_projection`
    ZProjection(ZProjection),
    /// `threshold`
    Threshold(Threshold),
    /// `label`
    Label(Label),
    /// `measure`
    Measure(Measure),
}

/// Why a pipeline's step names no function that can be run.
#[derive(Clone, PartialEq, Debug, thiserror::Error)]
pub enum LookupError {
    /// No such name.
    #[error("there is no function {found:?}; there are {}", NAMES.join(", "))]
    Unknown {
        /// The name that was looked up.
        found: String,
    },
    /// A parameter that is misspelt or of another type.
    #[error("the parameters of {function} cannot be read: {reason}")]
    Parameters {
        /// The function.
        function: &'static str,
        /// What the reader of the file says.
        reason: String,
    },
    /// A parameter out of its range.
    #[error("{function}: {cause}")]
    Range {
        /// The function.
        function: &'static str,
        /// What it must be.
        cause: ParameterError,
    },
}

/// What the help says of one function.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct FunctionHelp {
    /// Its name in a pipeline file.
    pub name: &'static str,
    /// What it does, in a sentence.
    pub summary: &'static str,
    /// Its parameters.
    pub parameters: Vec<ParameterHelp>,
}

/// What the help says of one parameter.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct ParameterHelp {
    /// Its name in a pipeline file.
    pub name: &'static str,
    /// Its value when a file says nothing, as TOML; "none" when it has none.
    pub default: String,
    /// What it means, with its unit.
    pub meaning: &'static str,
}

/// Names of all functions.
pub const NAMES: [&str; 7] =
    ["gaussian", "background", "percentile_normalize", "z_projection", "threshold", "label", "measure"];

impl BuiltIn {
    /// The function of this name with parameters from a pipeline file; those that the table leaves out have their
    /// default values.
    ///
    /// # Errors
    /// A sentence on the name or the parameter that is wrong.
    pub fn from_toml(name: &str, parameters: toml::Table) -> Result<Self, LookupError> {
        let function = match name {
            "gaussian" => Self::Gaussian(read("gaussian", parameters)?),
            "background" => Self::Background(read("background", parameters)?),
            "percentile_normalize" => Self::PercentileNormalize(read("percentile_normalize", parameters)?),
            "z_projection" => Self::ZProjection(read("z_projection", parameters)?),
            "threshold" => Self::Threshold(read("threshold", parameters)?),
            "label" => Self::Label(read("label", parameters)?),
            "measure" => Self::Measure(read("measure", parameters)?),
            other => return Err(LookupError::Unknown { found: other.to_owned() }),
        };
        function.validate().map_err(|cause| LookupError::Range { function: function.name(), cause })?;
        Ok(function)
    }

    /// Its name in a pipeline file.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Gaussian(_) => "gaussian",
            Self::Background(_) => "background",
            Self::PercentileNormalize(_) => "percentile_normalize",
            Self::ZProjection(_) => "z_projection",
            Self::Threshold(_) => "threshold",
            Self::Label(_) => "label",
            Self::Measure(_) => "measure",
        }
    }

    /// Whether the parameters can be used.
    ///
    /// # Errors
    /// The parameter, what it must be and what it is.
    pub fn validate(&self) -> Result<(), ParameterError> {
        match self {
            Self::Gaussian(function) => function.validate(),
            Self::Background(function) => function.validate(),
            Self::PercentileNormalize(function) => function.validate(),
            Self::ZProjection(function) => function.validate(),
            Self::Threshold(function) => function.validate(),
            Self::Label(function) => function.validate(),
            Self::Measure(function) => function.validate(),
        }
    }

    /// Whether it makes one plane of a stack, instead of as many as it is given.
    pub const fn makes_one_plane(&self) -> bool {
        matches!(self, Self::ZProjection(_) | Self::Measure(_))
    }

    /// Computes a stack `[n, y, x]`, on all cores that rayon's current pool has.
    ///
    /// # Errors
    /// When the stack is not one that the function can take.
    pub fn compute(&self, stack: &AnyArray, info: &StackInfo) -> Result<FunctionOutput, FunctionError> {
        let planes = match self {
            Self::Gaussian(function) => function.apply(stack)?,
            Self::Background(function) => function.apply(stack)?,
            Self::PercentileNormalize(function) => function.apply(stack)?,
            Self::ZProjection(function) => function.apply(stack)?,
            Self::Threshold(function) => function.apply(stack)?,
            Self::Label(function) => return Ok(labelled(function.apply(stack)?)),
            Self::Measure(function) => return function.apply(stack, info),
        };
        Ok(FunctionOutput::planes(planes))
    }
}

fn labelled(planes: AnyArray) -> FunctionOutput {
    let rois = match &planes {
        AnyArray::I32(labels) => labels
            .outer_iter()
            .filter_map(|plane| plane.into_dimensionality().ok())
            .map(|plane| outlines(plane))
            .collect(),
        _ => Vec::new(),
    };
    FunctionOutput { planes, labels: true, rois, table: None }
}

fn read<T: DeserializeOwned>(function: &'static str, parameters: toml::Table) -> Result<T, LookupError> {
    parameters
        .try_into()
        .map_err(|error: toml::de::Error| LookupError::Parameters { function, reason: error.message().to_owned() })
}

/// What the help says of all functions.
pub fn list() -> Vec<FunctionHelp> {
    vec![
        help::<Gaussian>(
            "gaussian",
            "Smooths each plane. Keeps the element type.",
            &[("sigma", "standard deviation in pixels")],
        ),
        help::<Background>(
            "background",
            "Takes the background off each plane. Keeps the element type; unsigned values end at 0.",
            &[
                (
                    "method",
                    "\"minimum\" (follows uneven light), \"gaussian\" (quick) or \"percentile\" (one number per plane)",
                ),
                ("radius", "half the width, in pixels, of the largest thing that is not background"),
                ("percentile", "percent of pixels below the background, with method \"percentile\""),
            ],
        ),
        help::<PercentileNormalize>(
            "percentile_normalize",
            "Stretches intensities between two percentiles. 8 and 16 bits fill their range, others become float32 0 to 1.",
            &[
                ("low", "percent of pixels that become black"),
                ("high", "percent of pixels that stay below white"),
                ("over", "\"stack\" (planes stay comparable) or \"plane\""),
            ],
        ),
        help::<ZProjection>(
            "z_projection",
            "Makes one plane of a stack.",
            &[("method", "\"max\", \"mean\", \"sum\" or \"min\"")],
        ),
        help::<Threshold>(
            "threshold",
            "Makes a mask of each plane: uint8, 255 above the limit, else 0.",
            &[
                ("method", "\"otsu\", \"fixed\" or \"percentile\""),
                ("value", "the limit in the image's own units, with method \"fixed\""),
                ("percentile", "percent of background pixels, with method \"percentile\""),
                ("factor", "the limit that was found is multiplied by this"),
            ],
        ),
        help::<Label>(
            "label",
            "Numbers the objects of each mask: int32 label images, and outlines.",
            &[
                ("min_size", "objects with fewer pixels are left out"),
                ("max_size", "objects with more pixels are left out"),
                ("connectivity", "4 or 8 neighbours make one object"),
                ("clear_border", "whether objects at the border are left out"),
            ],
        ),
        help::<Measure>(
            "measure",
            "Finds objects on one plane and measures them on all planes of a stack: label image, outlines, table.",
            &[
                ("objects", "which plane of the stack shows the objects, counted from 1"),
                ("labelled", "whether that plane has ids already"),
                ("sigma", "standard deviation, in pixels, of the Gaussian before the split; 0: none"),
                ("method", "\"otsu\", \"fixed\" or \"percentile\""),
                ("value", "the limit, with method \"fixed\""),
                ("percentile", "percent of background pixels, with method \"percentile\""),
                ("factor", "the limit that was found is multiplied by this"),
                ("min_size", "objects with fewer pixels are left out"),
                ("max_size", "objects with more pixels are left out"),
                ("clear_border", "whether objects at the border are left out"),
            ],
        ),
    ]
}

fn help<T: Serialize + Default>(
    name: &'static str,
    summary: &'static str,
    meanings: &[(&'static str, &'static str)],
) -> FunctionHelp {
    let defaults = toml::Table::try_from(T::default()).unwrap_or_default();
    let parameters = meanings
        .iter()
        .map(|&(name, meaning)| {
            let default = defaults.get(name).map_or_else(|| "none".to_owned(), toml::Value::to_string);
            ParameterHelp { name, default, meaning }
        })
        .collect();
    FunctionHelp { name, summary, parameters }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests say where they failed")]
    use super::*;

    fn parsed(name: &str, parameters: &str) -> Result<BuiltIn, LookupError> {
        BuiltIn::from_toml(name, parameters.parse().unwrap())
    }

    #[test]
    fn parameters_come_from_the_table_and_the_rest_are_defaults() {
        assert_eq!(parsed("gaussian", "sigma = 2.5").unwrap(), BuiltIn::Gaussian(Gaussian { sigma: 2.5 }));
        // An integer where a float is meant is what people write.
        assert_eq!(parsed("gaussian", "sigma = 2").unwrap(), BuiltIn::Gaussian(Gaussian { sigma: 2.0 }));
        let label = parsed("label", "min_size = 50\nconnectivity = 8").unwrap();
        let known = Label { min_size: 50, connectivity: super::super::Connectivity::Eight, ..Default::default() };
        assert_eq!(label, BuiltIn::Label(known));
    }

    #[test]
    fn mistakes_are_named() {
        let sentence = |name, parameters| parsed(name, parameters).unwrap_err().to_string();
        assert_eq!(
            sentence("gauss", ""),
            "there is no function \"gauss\"; there are gaussian, background, percentile_normalize, z_projection, \
             threshold, label, measure"
        );
        let unknown = sentence("gaussian", "sgima = 1.0");
        assert!(
            unknown.contains("gaussian") && unknown.contains("`sgima`") && unknown.contains("`sigma`"),
            "{unknown}"
        );
        assert_eq!(sentence("gaussian", "sigma = -1.0"), "gaussian: sigma must be 0 < sigma <= 1000 pixels, found -1");
        let method = sentence("z_projection", "method = \"median\"");
        assert!(method.contains("`median`") && method.contains("`max`"), "{method}");
    }

    #[test]
    fn help_lists_every_function_with_every_parameter() {
        let helps = list();
        assert_eq!(helps.iter().map(|help| help.name).collect::<Vec<_>>(), NAMES);
        for help in helps {
            let function = parsed(help.name, "").unwrap();
            assert_eq!(function.name(), help.name);
            for parameter in &help.parameters {
                // A parameter that does not exist is refused with "unknown field"; this one is of a wrong type at most.
                let error = parsed(help.name, &format!("{} = []", parameter.name)).unwrap_err().to_string();
                assert!(!error.contains("unknown field"), "{error}");
            }
            let refused = parsed(help.name, "no_such = 1").unwrap_err().to_string();
            let fields = refused.matches('`').count() / 2 - 1;
            assert_eq!(fields, help.parameters.len(), "{} lacks help: {refused}", help.name);
        }
    }

    #[test]
    fn each_function_computes_a_stack() {
        let values = (0..2 * 16 * 16).map(|index| if index % 16 < 6 { 900u16 } else { 100 }).collect();
        let stack = AnyArray::from_values(&[2, 16, 16], values).unwrap();
        for name in NAMES {
            let function = parsed(name, "").unwrap();
            let output = function.compute(&stack, &StackInfo::default()).unwrap();
            let planes = if function.makes_one_plane() { 1 } else { 2 };
            assert_eq!(output.planes.shape(), [planes, 16, 16], "{name}");
            assert_eq!(output.labels, matches!(name, "label" | "measure"), "{name}");
            assert_eq!(output.rois.len(), if output.labels { planes } else { 0 }, "{name}");
        }
    }
}
