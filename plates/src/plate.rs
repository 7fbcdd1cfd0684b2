//! A plate: which images there are, and where their pixels lie. Opening reads names and metadata only.

use std::collections::BTreeSet;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use wellscope_protocol::batch::{Address, ComponentNames};
use wellscope_protocol::component::{ComponentValue, compare_values};
use wellscope_protocol::dtype::ElementType;

use crate::error::{OpenPlateError, ReadError};
use crate::tiff_read::PageIndex;
use crate::zarr_read::ZarrImage;
use crate::{AnyArray, detect, tiff_read, zarr_read};

/// The components of every image of a plate, as OpenHCS names them, in the order of [`Plate::images`].
pub const COMPONENTS: [&str; 5] = ["well", "site", "channel", "z_index", "timepoint"];

/// Who wrote the plate.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum PlateFormat {
    /// Molecular Devices ImageXpress (MetaXpress) names, and OpenHCS's own spelling of them.
    ImageXpress,
    /// PerkinElmer / Revvity Opera Phenix and Operetta exports.
    OperaPhenix,
    /// OME-TIFF files.
    OmeTiff,
    /// OME-Zarr (NGFF) plates and images, 0.1 to 0.5.
    OmeZarr,
    /// TIFF files whose names say nothing: each is a site, in natural order of the names.
    TiffFolder,
}

impl PlateFormat {
    /// How the format is called in sentences.
    pub const fn name(self) -> &'static str {
        match self {
            Self::ImageXpress => "ImageXpress",
            Self::OperaPhenix => "Opera Phenix",
            Self::OmeTiff => "OME-TIFF",
            Self::OmeZarr => "OME-Zarr",
            Self::TiffFolder => "TIFF folder",
        }
    }
}

impl fmt::Display for PlateFormat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Distances between voxels in micrometres; `None` where the plate does not say.
#[derive(Clone, Copy, PartialEq, Debug, Default)]
pub struct VoxelSizeUm {
    /// Between planes.
    pub z: Option<f64>,
    /// Between rows.
    pub y: Option<f64>,
    /// Between columns.
    pub x: Option<f64>,
}

/// Type and extents of one image.
#[derive(Clone, PartialEq, Debug)]
pub struct PlaneShape {
    /// `[y, x]`, or `[y, x, samples]` for colour.
    pub shape: Vec<usize>,
    /// What one element is.
    pub element: ElementType,
}

/// One plane of a plate: its address, and where its pixels lie.
///
/// Small (no map per image), so that a plate of 100,000 planes stays small.
#[derive(Clone, PartialEq, Debug)]
pub struct PlateImage {
    /// Row letters and column, "A01".
    pub well: Arc<str>,
    /// Field of view.
    pub site: i64,
    /// Channel (wavelength).
    pub channel: i64,
    /// Plane of a stack.
    pub z_index: i64,
    /// Time point.
    pub timepoint: i64,
    pub(crate) source: Source,
}

/// One plane of a label image that lies with a field (OME-Zarr `labels/`): integers, ids of objects, 0 for background.
#[derive(Clone, PartialEq, Debug)]
pub struct LabelImage {
    /// What the labels are called: "nuclei".
    pub name: String,
    /// Its address; read it as any image of the plate. The channel is 1 where the label image has only one.
    pub image: PlateImage,
}

/// Where the pixels of a plane lie.
#[derive(Clone, PartialEq, Debug)]
pub(crate) enum Source {
    /// One page of a TIFF file.
    Tiff { path: Arc<Path>, page: u32 },
    /// The last two axes of a zarr array, at these indices of the others.
    Zarr { image: u32, index: [u32; 3] },
}

impl PlateImage {
    /// The components of this image, as the wire wants them.
    pub fn address(&self) -> Address {
        COMPONENTS.iter().filter_map(|&component| Some((component.to_owned(), self.value(component)?))).collect()
    }

    /// The value of one of [`COMPONENTS`]; `None` for any other.
    pub fn value(&self, component: &str) -> Option<ComponentValue> {
        Some(match component {
            "well" => ComponentValue::Text(self.well.to_string()),
            "site" => self.site.into(),
            "channel" => self.channel.into(),
            "z_index" => self.z_index.into(),
            "timepoint" => self.timepoint.into(),
            _ => return None,
        })
    }

    /// Name of a file for this plane, as OpenHCS spells them: `A01_s001_w1_z001_t001.tif`.
    pub fn file_name(&self) -> String {
        crate::image_file_name(&self.well, self.site, self.channel, self.z_index, self.timepoint)
    }
}

/// A plate on disk. Cheap to open whatever its size; planes are read when they are asked for, by any thread.
#[derive(Debug)]
pub struct Plate {
    /// The folder or file that was opened.
    pub root: PathBuf,
    /// Who wrote it.
    pub format: PlateFormat,
    /// What the plate is called; the name of its folder where nothing else says.
    pub name: String,
    /// Every plane, by well in natural order, then site, channel, z and timepoint. Addresses are unique.
    pub images: Vec<PlateImage>,
    /// Label images that lie with the fields, by field, in the order of their list.
    pub labels: Vec<LabelImage>,
    /// Names of component values, for the viewer's labels: channel "1" is "DAPI".
    pub names: ComponentNames,
    /// Distances between voxels.
    pub voxel_size_um: VoxelSizeUm,
    /// What was left out or looks wrong, a sentence each, for the user.
    pub warnings: Vec<String>,
    pub(crate) pages: PageIndex,
    pub(crate) zarr_images: Vec<ZarrImage>,
}

impl Plate {
    /// Opens a folder (or a single `.ome.tif`, `.tif` file) and detects what kind of plate it is.
    ///
    /// Reads names and metadata, no pixels. Thumbnails and files that do not belong are left out; [`Plate::warnings`] says so.
    ///
    /// # Errors
    /// When nothing fits, the sentence lists what was looked for and what was found.
    pub fn open(path: impl AsRef<Path>) -> Result<Self, OpenPlateError> {
        detect::open(path.as_ref())
    }

    /// One plane: `[y, x]`, or `[y, x, samples]` for colour. Reads only what this plane needs.
    ///
    /// # Errors
    /// A sentence that names the file; other planes can still be read.
    pub fn read(&self, image: &PlateImage) -> Result<AnyArray, ReadError> {
        match &image.source {
            Source::Tiff { path, page } => tiff_read::read_page(path, *page as usize, &self.pages),
            Source::Zarr { image, index } => zarr_read::read_plane(&self.zarr_images, *image, *index),
        }
    }

    /// Type and extents of a plane, from its header.
    ///
    /// # Errors
    /// As [`Plate::read`], for what can be told without the pixels.
    pub fn shape_of(&self, image: &PlateImage) -> Result<PlaneShape, ReadError> {
        match &image.source {
            Source::Tiff { path, page } => tiff_read::shape_of_page(path, *page as usize, &self.pages),
            Source::Zarr { image, .. } => zarr_read::shape_of_plane(&self.zarr_images, *image),
        }
    }

    /// The file (or zarr array) in which a plane lies.
    pub fn path_of<'a>(&'a self, image: &'a PlateImage) -> &'a Path {
        match &image.source {
            Source::Tiff { path, .. } => path,
            Source::Zarr { image, .. } => self.zarr_images.get(*image as usize).map_or(&self.root, |image| &image.path),
        }
    }

    /// The wells, in natural order, each once.
    pub fn wells(&self) -> Vec<Arc<str>> {
        let mut wells: Vec<Arc<str>> = Vec::new();
        for image in &self.images {
            // Images are sorted by well.
            if wells.last() != Some(&image.well) {
                wells.push(Arc::clone(&image.well));
            }
        }
        wells
    }

    /// The planes of one well; none when there is no such well.
    pub fn images_of<'a>(&'a self, well: &'a str) -> impl Iterator<Item = &'a PlateImage> {
        self.images.iter().filter(move |image| &*image.well == well)
    }

    /// The values of one of [`COMPONENTS`], in the order of the viewer's slider; none for another component.
    pub fn values(&self, component: &str) -> Vec<ComponentValue> {
        if component == "well" {
            return self.wells().iter().map(|well| ComponentValue::Text(well.to_string())).collect();
        }
        let numbers: BTreeSet<i64> = self
            .images
            .iter()
            .filter_map(|image| match component {
                "site" => Some(image.site),
                "channel" => Some(image.channel),
                "z_index" => Some(image.z_index),
                "timepoint" => Some(image.timepoint),
                _ => None,
            })
            .collect();
        numbers.into_iter().map(ComponentValue::Int).collect()
    }

    /// A plate of these images: sorted, and of images with one address only the first (by file name) is kept.
    pub(crate) fn assemble(root: &Path, format: PlateFormat, images: Vec<PlateImage>) -> Self {
        let name = root.file_stem().map_or_else(|| "plate".to_owned(), |name| name.to_string_lossy().into_owned());
        let mut plate = Self {
            root: root.to_owned(),
            format,
            name,
            images,
            labels: Vec::new(),
            names: ComponentNames::new(),
            voxel_size_um: VoxelSizeUm::default(),
            warnings: Vec::new(),
            pages: PageIndex::default(),
            zarr_images: Vec::new(),
        };
        plate.sort();
        plate
    }

    pub(crate) fn sort(&mut self) {
        // One comparison of texts per well, not per image: natural order is not cheap for 100,000 of them.
        let mut wells: Vec<Arc<str>> =
            self.images.iter().map(|image| Arc::clone(&image.well)).collect::<BTreeSet<_>>().into_iter().collect();
        wells.sort_by(|a, b| compare_values(&ComponentValue::from(&**a), &ComponentValue::from(&**b)));
        let ranks: std::collections::HashMap<Arc<str>, usize> =
            wells.into_iter().enumerate().map(|(rank, well)| (well, rank)).collect();
        self.images.sort_by_cached_key(|image| {
            let rank = ranks.get(&image.well).copied().unwrap_or_default();
            (rank, image.site, image.channel, image.z_index, image.timepoint)
        });
        let before = self.images.len();
        let mut twice: Option<String> = None;
        self.images.dedup_by(|next, first| {
            let same = next.well == first.well
                && (next.site, next.channel, next.z_index, next.timepoint)
                    == (first.site, first.channel, first.z_index, first.timepoint);
            if same && twice.is_none() {
                twice = Some(format!(
                    "well {} site {} channel {} z {} timepoint {}",
                    next.well, next.site, next.channel, next.z_index, next.timepoint
                ));
            }
            same
        });
        if let Some(twice) = twice {
            let left_out = before - self.images.len();
            self.warnings.push(format!(
                "{left_out} images have the same address as another and were left out, the first at {twice}; \
                 is this more than one plate in one folder?"
            ));
        }
    }

    pub(crate) fn name_value(&mut self, component: &str, value: impl fmt::Display, name: impl Into<String>) {
        self.names.entry(component.to_owned()).or_default().insert(value.to_string(), name.into());
    }
}
