//! What a run writes: TIFF files, OME-Zarr plates, tables and outlines. A file has its name only when it is whole.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde_json::json;
use wellscope_plates::{FieldPlane, OmeZarrPlateWriter, Plate, TiffMetadata, ZarrPlateOptions, write_tiff};
use wellscope_protocol::batch::{Shape, ShapeGeometry};

use super::RunError;
use super::well::Plane;
use crate::compile::CompiledPlan;
use crate::config::Backend;
use crate::functions::Table;

/// All places that the steps of a plan write to.
pub(super) struct Outputs {
    steps: Vec<StepOutputs>,
    plate: Arc<Plate>,
    output_folder: PathBuf,
}

struct StepOutputs {
    main: Option<Place>,
    checkpoint: Option<Place>,
    checkpoint_wells: Vec<String>,
    /// Tables and outlines.
    results: PathBuf,
}

enum Place {
    Disk(PathBuf),
    /// Where it will lie, and its writer.
    Zarr(PathBuf, OmeZarrPlateWriter),
}

impl Outputs {
    /// Makes folders and begins OME-Zarr plates.
    pub fn begin(plan: &CompiledPlan, plate: &Arc<Plate>) -> Result<Self, RunError> {
        let mut steps = Vec::new();
        for step in &plan.steps {
            let main = match &step.output_folder {
                Some(path) => Some(Place::begin(step.write, path, plate)?),
                None => None,
            };
            let checkpoint = match &step.checkpoint {
                Some(checkpoint) => Some(Place::begin(checkpoint.backend, &checkpoint.folder, plate)?),
                None => None,
            };
            let checkpoint_wells =
                step.checkpoint.as_ref().map(|checkpoint| checkpoint.wells.clone()).unwrap_or_default();
            let results = plan.output_folder.join("results").join(format!("{:02}", step.position + 1));
            steps.push(StepOutputs { main, checkpoint, checkpoint_wells, results });
        }
        Ok(Self { steps, plate: Arc::clone(plate), output_folder: plan.output_folder.clone() })
    }

    /// Writes what a step made of a well to where it is kept. Returns how many things were written.
    pub fn write(&self, step: usize, well: &str, made: &super::well::Made) -> Result<usize, String> {
        let Some(places) = self.steps.get(step) else { return Ok(0) };
        let checkpoint = places.checkpoint.as_ref().filter(|_| places.checkpoint_wells.iter().any(|kept| kept == well));
        let mut written = 0;
        for place in [places.main.as_ref(), checkpoint].into_iter().flatten() {
            written += place.write(well, &made.planes, &self.plate)?;
        }
        // Tables and outlines are results: they are written wherever the pixels go.
        Ok(written + write_results(&places.results, made)?)
    }

    /// The path that a plane has or would have among the outputs: what viewers show in their tables.
    pub fn path_of(&self, step: usize, plane: &Plane) -> PathBuf {
        let places = self.steps.get(step);
        let place = places.and_then(|places| places.main.as_ref().or(places.checkpoint.as_ref()));
        match place {
            Some(Place::Disk(folder)) => folder.join(plane.image.file_name()),
            Some(Place::Zarr(path, _)) => path.join(plane.image.file_name()),
            None => self.output_folder.join(plane.image.file_name()),
        }
    }

    /// Gives OME-Zarr plates their names. Returns what went wrong.
    pub fn finish(self) -> Vec<String> {
        let places = self.steps.into_iter().flat_map(|step| [step.main, step.checkpoint]).flatten();
        let finish = |place| match place {
            Place::Zarr(_, writer) => writer.finish().err().map(|error| error.to_string()),
            Place::Disk(_) => None,
        };
        places.filter_map(finish).collect()
    }

    /// Removes OME-Zarr plates that are not whole. Files on disk are whole, each for itself, and stay.
    pub fn abandon(self) -> Vec<String> {
        Vec::new()
    }
}

impl Place {
    fn begin(backend: Backend, path: &Path, plate: &Plate) -> Result<Self, RunError> {
        if backend == Backend::Zarr {
            let options = ZarrPlateOptions {
                name: plate.name.clone(),
                names: plate.names.clone(),
                voxel_size_um: plate.voxel_size_um,
                replace: true,
            };
            return Ok(Self::Zarr(path.to_owned(), OmeZarrPlateWriter::create(path, options)?));
        }
        std::fs::create_dir_all(path).map_err(|cause| RunError::Folder { path: path.to_owned(), cause })?;
        Ok(Self::Disk(path.to_owned()))
    }

    fn write(&self, well: &str, planes: &[Plane], plate: &Plate) -> Result<usize, String> {
        match self {
            Self::Disk(folder) => {
                for plane in planes {
                    let name = plane.image.file_name();
                    let channel =
                        plate.names.get("channel").and_then(|names| names.get(&plane.image.channel.to_string()));
                    let metadata = TiffMetadata {
                        name: name.clone(),
                        channel_names: channel.cloned().into_iter().collect(),
                        voxel_size_um: plate.voxel_size_um,
                        axes: if plane.pixels.ndim() == 3 { "YXS".to_owned() } else { String::new() },
                        ..TiffMetadata::default()
                    };
                    write_tiff(folder.join(&name), &plane.pixels, &metadata).map_err(|error| error.to_string())?;
                }
                Ok(planes.len())
            }
            Self::Zarr(_, writer) => {
                let mut by_site: BTreeMap<i64, Vec<FieldPlane<'_>>> = BTreeMap::new();
                for plane in planes {
                    let image = &plane.image;
                    let (channel, z_index, timepoint) = (image.channel, image.z_index, image.timepoint);
                    let field = FieldPlane { channel, z_index, timepoint, pixels: &plane.pixels };
                    by_site.entry(image.site).or_default().push(field);
                }
                for (site, planes) in &by_site {
                    writer.write_field(well, *site, planes).map_err(|error| error.to_string())?;
                }
                Ok(by_site.len())
            }
        }
    }
}

/// Tables as CSV and outlines as JSON, named after the plane that they were found on.
fn write_results(folder: &Path, made: &super::well::Made) -> Result<usize, String> {
    let tables =
        made.tables.iter().map(|(stem, table): &(String, Table)| (format!("{stem}_objects.csv"), table.to_csv()));
    let outlines = made.planes.iter().filter(|plane| !plane.rois.is_empty()).map(|plane| {
        let stem = stem_of(plane);
        (format!("{stem}_outlines.json"), json!(plane.rois.iter().map(outline).collect::<Vec<_>>()).to_string() + "\n")
    });
    let mut written = 0;
    for (name, text) in tables.chain(outlines) {
        write_text(folder, &name, &text)
            .map_err(|cause| format!("cannot write a result: {cause}. File: {:?}", folder.join(&name)))?;
        written += 1;
    }
    Ok(written)
}

/// The name of a plane's file without its ending.
pub(super) fn stem_of(plane: &Plane) -> String {
    plane.image.file_name().trim_end_matches(".tif").to_owned()
}

fn outline(shape: &Shape) -> serde_json::Value {
    let (kind, coordinates) = match &shape.geometry {
        ShapeGeometry::Polygon(points) => ("polygon", points.clone()),
        ShapeGeometry::Path(points) => ("path", points.clone()),
        ShapeGeometry::Rectangle(points) => ("rectangle", points.clone()),
        ShapeGeometry::Points(points) => ("points", points.clone()),
        ShapeGeometry::Ellipse { center, radii } => ("ellipse", vec![*center, *radii]),
    };
    json!({"type": kind, "label": shape.label, "coordinates_yx": coordinates, "metadata": shape.metadata})
}

/// Written beside its place and renamed, as images are.
fn write_text(folder: &Path, name: &str, text: &str) -> std::io::Result<()> {
    std::fs::create_dir_all(folder)?;
    let mut file = tempfile::Builder::new().prefix(".").suffix(".part").tempfile_in(folder)?;
    file.write_all(text.as_bytes())?;
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        // Temporary files are their owner's alone; results are for the group that may read the images.
        file.as_file().set_permissions(std::fs::Permissions::from_mode(0o644))?;
    }
    file.persist(folder.join(name)).map_err(|error| error.error)?;
    Ok(())
}
