//! Why plates cannot be opened, read or written. Each sentence names the file.

use std::io;
use std::path::PathBuf;

use wellscope_protocol::dtype::ElementType;

/// Why a folder or file is no plate that we can show. Nothing of it can be used.
#[derive(Debug, thiserror::Error)]
pub enum OpenPlateError {
    /// The path itself could not be read.
    #[error("cannot read {path:?}: {cause}")]
    Unreadable {
        /// Folder or file.
        path: PathBuf,
        /// What the system says.
        cause: io::Error,
    },
    /// No known kind of plate fits.
    #[error("this is no plate that wellscope knows; found {found}. Looked for: {LOOKED_FOR}. Path: {path:?}")]
    UnknownKind {
        /// Folder or file.
        path: PathBuf,
        /// What lies there, for the reader of the sentence.
        found: String,
    },
    /// The kind is known, and its metadata is broken.
    #[error("the {kind} metadata cannot be used: {reason}. File: {path:?}")]
    Metadata {
        /// "OME-XML", "OME-Zarr", "Opera Phenix".
        kind: &'static str,
        /// What was found and what was needed.
        reason: String,
        /// The file with the metadata.
        path: PathBuf,
    },
    /// The kind is known, and there is no image in it.
    #[error("this {kind} plate has no image: {reason}. Path: {path:?}")]
    Empty {
        /// What kind of plate.
        kind: &'static str,
        /// Why none is left.
        reason: String,
        /// Folder or file.
        path: PathBuf,
    },
}

/// What [`crate::Plate::open`] tries, as its error says it.
pub(crate) const LOOKED_FOR: &str = "an OME-Zarr plate or image (zarr.json, .zattrs); an Opera Phenix export \
    (Index.idx.xml, or names like r01c01f01p01-ch1sk1fk1fl1.tiff); OME-TIFF (*.ome.tif, *.ome.tiff); ImageXpress names \
    (A01_s1_w1.tif, plate_A01_s1_w1.TIF, A01_s001_w1_z001_t001.tif); any other TIFF files (*.tif, *.tiff)";

/// Why one plane could not be read. Other planes of the plate still can.
#[derive(Clone, Debug, thiserror::Error)]
pub enum ReadError {
    /// The file is gone or refuses.
    #[error("cannot read the image: {cause}. File: {path:?}")]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system says.
        cause: String,
    },
    /// The file is no image that can be decoded: cut off, damaged, or a rare variant.
    #[error("the image is damaged or of a kind that cannot be decoded: {reason}. File: {path:?}")]
    Decode {
        /// The file.
        path: PathBuf,
        /// What the decoder says.
        reason: String,
    },
    /// The file has fewer pages than its metadata says.
    #[error("the file has {found} pages, page {page} (counted from 0) was asked for. File: {path:?}")]
    NoPage {
        /// The file.
        path: PathBuf,
        /// Page asked for.
        page: usize,
        /// Pages that it has.
        found: usize,
    },
    /// The size that the file claims is more than it can hold, or than is taken at once.
    #[error("the file claims an image of {claimed_bytes} bytes: {reason}. File: {path:?}")]
    TooLarge {
        /// The file.
        path: PathBuf,
        /// Bytes of the decoded image.
        claimed_bytes: u64,
        /// Which bound it breaks.
        reason: String,
    },
    /// The image is not what the plate's metadata says.
    #[error("the metadata says {expected}, the image is {found}. File: {path:?}")]
    Differs {
        /// The file.
        path: PathBuf,
        /// Type and extents by the metadata.
        expected: String,
        /// Those of the image.
        found: String,
    },
}

/// Why an image or a plate could not be written. Nothing half-written is left under the final name.
#[derive(Debug, thiserror::Error)]
pub enum WriteError {
    /// The system refuses: no room, no permission, no folder.
    #[error("cannot write: {cause}. File: {path:?}")]
    Io {
        /// File or folder.
        path: PathBuf,
        /// What the system says.
        cause: io::Error,
    },
    /// Shape and axes do not go together.
    #[error("axes {axes:?} do not fit an array of shape {shape:?}: {reason}. File: {path:?}")]
    Axes {
        /// Axes, slowest first.
        axes: String,
        /// Extents, slowest first.
        shape: Vec<usize>,
        /// What was needed.
        reason: &'static str,
        /// File or folder.
        path: PathBuf,
    },
    /// One field is one array: its planes have one type and size.
    #[error("planes of one field differ: the first is {first}, {position} is {found}. Field: {field}")]
    PlanesDiffer {
        /// Well and site.
        field: String,
        /// Channel, z and timepoint of the other plane.
        position: String,
        /// Type and extents of the first plane.
        first: String,
        /// Those of the other.
        found: String,
    },
    /// What is written lies there already.
    #[error("{what} is there already; remove it, or ask to replace it. Path: {path:?}")]
    Exists {
        /// "the plate", "field 1 of well A01".
        what: String,
        /// Where.
        path: PathBuf,
    },
    /// A name that cannot be a folder of the plate.
    #[error("{found:?} cannot be used as {needed}")]
    Name {
        /// The name.
        found: String,
        /// "a well (row letters and a column, as in A01)".
        needed: &'static str,
    },
    /// Nothing to write.
    #[error("there is no plane to write; a field needs at least one. Field: {field}")]
    Empty {
        /// Well and site.
        field: String,
    },
    /// Label images hold ids.
    #[error("label images hold integers, found {found}; the step should give its result as integers. Field: {field}")]
    LabelType {
        /// Well and site.
        field: String,
        /// Element type of the image.
        found: ElementType,
    },
    /// The encoder refuses.
    #[error("the array cannot be encoded: {reason}. File: {path:?}")]
    Encode {
        /// File or folder.
        path: PathBuf,
        /// What the encoder says.
        reason: String,
    },
}
