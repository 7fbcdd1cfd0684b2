//! Plates as microscopes and analysis programs write them: components parsed from names and metadata, pixels from TIFF and OME-Zarr.

mod array;

pub use array::{AnyArray, ArrayElement, ArrayError};
