//! The functions that a pipeline can use without writing code, by the names that a pipeline file calls them.

mod background;
mod built_in;
mod gaussian;
mod label;
mod measure;
mod normalize;
mod objects;
mod outline;
mod output;
mod planes;
mod projection;
mod threshold;

use std::fmt;

use wellscope_protocol::dtype::ElementType;

pub use background::{Background, BackgroundMethod};
pub use built_in::{BuiltIn, FunctionHelp, LookupError, NAMES, ParameterHelp, list};
pub use gaussian::{Gaussian, gaussian_blur};
pub use label::{Connectivity, Label};
pub use measure::{ObjectMeasurement, measure};
pub use normalize::{NormalizeOver, PercentileNormalize};
pub use objects::Measure;
pub use outline::outlines;
pub use output::{FunctionOutput, StackInfo, Table};
pub use projection::{ProjectionMethod, ZProjection};
pub use threshold::{FOREGROUND, Threshold, ThresholdMethod};

/// A parameter that a function cannot work with.
#[derive(Clone, PartialEq, Debug, thiserror::Error)]
#[error("{parameter} must be {needed}, found {found}")]
pub struct ParameterError {
    /// The parameter's name in a pipeline file.
    pub parameter: &'static str,
    /// What it must be.
    pub needed: String,
    /// What it is.
    pub found: String,
}

impl ParameterError {
    fn new(parameter: &'static str, needed: impl Into<String>, found: impl fmt::Display) -> Self {
        Self { parameter, needed: needed.into(), found: found.to_string() }
    }
}

/// Why a function could not compute a stack.
#[derive(Clone, PartialEq, Debug, thiserror::Error)]
pub enum FunctionError {
    /// Colour, or more axes than a stack has.
    #[error("takes grey planes [n, y, x], found {element} {shape:?}; take one channel of colour images first")]
    Axes {
        /// What the elements are.
        element: ElementType,
        /// Extents, slowest axis first.
        shape: Vec<usize>,
    },
    /// Nothing to compute.
    #[error("takes planes with pixels, found a stack of extents {shape:?}")]
    Empty {
        /// Extents, slowest axis first.
        shape: Vec<usize>,
    },
    /// A parameter names a plane that the stack does not have.
    #[error("plane {wanted} of the stack is to show the objects, found a stack of {found} planes")]
    NoSuchPlane {
        /// Counted from 1.
        wanted: usize,
        /// Planes of the stack.
        found: usize,
    },
    /// Every pixel is NaN or infinite.
    #[error("takes numbers, found a plane without any: every pixel is NaN or infinite")]
    NothingFinite,
}
