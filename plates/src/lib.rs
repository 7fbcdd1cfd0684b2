//! Plates as microscopes and analysis programs write them: components parsed from names and metadata, pixels from TIFF and OME-Zarr.
//!
//! [`Plate::open`] detects the kind and lists the images; [`Plate::read`] reads one plane. [`write_tiff`] and
//! [`OmeZarrPlateWriter`] write what a pipeline keeps.

#[macro_use]
mod array;
mod detect;
mod error;
mod files;
mod imagexpress;
mod names;
mod ome_tiff;
mod ome_xml;
mod ome_zarr;
mod phenix;
mod plate;
mod tiff_folder;
mod tiff_pages;
mod tiff_read;
mod tiff_write;
mod zarr_read;
mod zarr_write;

pub use array::{AnyArray, ArrayElement, ArrayError};
pub use error::{OpenPlateError, ReadError, WriteError};
pub use names::{WellError, WellPosition};
pub use plate::{COMPONENTS, PlaneShape, Plate, PlateFormat, PlateImage, VoxelSizeUm};
pub use tiff_write::{TiffMetadata, write_tiff};
pub use zarr_write::{FieldPlane, OmeZarrPlateWriter, ZarrPlateOptions};
