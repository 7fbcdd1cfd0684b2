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
mod zarr_field;
mod zarr_read;
mod zarr_write;

pub use array::{AnyArray, ArrayElement, ArrayError};
pub use error::{OpenPlateError, ReadError, WriteError};
pub use names::imagexpress::file_name as image_file_name;
pub use names::{ParsedName, WellError, WellPosition, parse_image_name};
pub use plate::{COMPONENTS, LabelImage, PlaneShape, Plate, PlateFormat, PlateImage, VoxelSizeUm};
pub use tiff_write::{TiffMetadata, write_tiff};
pub use zarr_field::FieldPlane;
pub use zarr_write::{OmeZarrPlateWriter, ZarrPlateOptions};
