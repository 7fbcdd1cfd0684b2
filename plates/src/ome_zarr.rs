//! OME-Zarr (NGFF) plates and images: versions 0.1 to 0.4 on zarr version 2, 0.5 on zarr version 3.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rayon::prelude::*;
use serde_json::Value;

use crate::error::OpenPlateError;
use crate::files::some_names;
use crate::names::WellPosition;
use crate::ome_tiff::MAX_IMAGES;
use crate::ome_xml::micrometres_of_unit;
use crate::plate::{LabelImage, PlateImage, Source, VoxelSizeUm};
use crate::zarr_read::{ZarrImage, read_header, read_json};
use crate::{Plate, PlateFormat};

/// Whether a folder holds OME-Zarr metadata (or says that it is zarr, so that the error can name what is missing).
pub(crate) fn is_group(folder: &Path) -> bool {
    ["zarr.json", ".zattrs", ".zgroup"].iter().any(|name| folder.join(name).is_file())
}

/// The attributes of a group: `ome` of zarr.json (0.5), or `.zattrs`.
fn attributes(folder: &Path) -> Result<Value, String> {
    let v3 = folder.join("zarr.json");
    if v3.is_file() {
        let mut json = read_json(&v3).map_err(|reason| format!("{reason}. File: {v3:?}"))?;
        let mut attributes = json["attributes"].take();
        return Ok(if attributes["ome"].is_object() { attributes["ome"].take() } else { attributes });
    }
    let v2 = folder.join(".zattrs");
    read_json(&v2).map_err(|reason| format!("{reason}. File: {v2:?}"))
}

pub(crate) fn open(root: &Path) -> Result<Plate, OpenPlateError> {
    let broken = |reason: String| OpenPlateError::Metadata { kind: "OME-Zarr", reason, path: root.to_owned() };
    let attributes = attributes(root).map_err(broken)?;
    let fields = if attributes["plate"].is_object() {
        plate_fields(root, &attributes["plate"])
    } else if attributes["well"].is_object() {
        // A well opened by itself: its folders say which.
        well_fields(root, position_of_folders(root).unwrap_or_default(), &attributes)
    } else if attributes["multiscales"].is_array() {
        Found {
            fields: vec![Field { folder: root.to_owned(), well: WellPosition::default(), site: 1 }],
            problems: Vec::new(),
        }
    } else if attributes["bioformats2raw.layout"].is_number() {
        series(root)
    } else {
        return Err(broken("it is zarr, but has neither plate nor well nor multiscales in its attributes".to_owned()));
    };
    assemble(root, &attributes, fields)
}

/// One field of view: a multiscale image.
#[derive(Clone, Debug)]
struct Field {
    folder: PathBuf,
    well: WellPosition,
    site: i64,
}

#[derive(Debug, Default)]
struct Found {
    fields: Vec<Field>,
    problems: Vec<String>,
}

/// A relative path of metadata, as folders below `root`. Paths that lead out of it are refused.
fn below(root: &Path, path: &str) -> Option<PathBuf> {
    let parts: Vec<&str> = path.split('/').filter(|part| !part.is_empty()).collect();
    let inside = !parts.is_empty() && parts.iter().all(|part| *part != ".." && *part != "." && !part.contains('\\'));
    inside.then(|| parts.iter().fold(root.to_owned(), |folder, part| folder.join(part)))
}

fn plate_fields(root: &Path, plate: &Value) -> Found {
    let names = |key: &str| -> Vec<String> {
        let entries = plate[key].as_array().into_iter().flatten();
        entries.map(|entry| entry["name"].as_str().unwrap_or_default().to_owned()).collect()
    };
    let (rows, columns) = (names("rows"), names("columns"));
    let wells: Vec<&Value> = plate["wells"].as_array().into_iter().flatten().collect();
    let found: Vec<Found> = wells
        .par_iter()
        .map(|well| {
            let path = well["path"].as_str().unwrap_or_default();
            let Some(folder) = below(root, path) else {
                return Found {
                    problems: vec![format!("well path {path:?} leads out of the plate")],
                    ..Found::default()
                };
            };
            let Some(position) = position_of_well(well, path, &rows, &columns) else {
                return Found {
                    problems: vec![format!("well path {path:?} names no row and column")],
                    ..Found::default()
                };
            };
            match attributes(&folder) {
                Ok(attributes) => well_fields(&folder, position, &attributes),
                Err(reason) => Found { problems: vec![reason], ..Found::default() },
            }
        })
        .collect();
    let mut all = Found::default();
    for part in found {
        all.fields.extend(part.fields);
        all.problems.extend(part.problems);
    }
    count_from_one(&mut all.fields);
    all
}

/// "A/1" by its names; by `rowIndex` and `columnIndex` when rows have names of their own.
fn position_of_well(well: &Value, path: &str, rows: &[String], columns: &[String]) -> Option<WellPosition> {
    let (row, column) = path.trim_matches('/').split_once('/')?;
    if let Ok(position) = WellPosition::parse(&format!("{row}{column}")) {
        return Some(position);
    }
    let index = |key: &str, names: &[String], name: &str| {
        let named = names.iter().position(|known| known == name).map(|index| index as i64);
        well[key].as_i64().or(named).and_then(|index| index.checked_add(1))
    };
    WellPosition::from_counted(index("rowIndex", rows, row)?, index("columnIndex", columns, column)?)
}

fn position_of_folders(folder: &Path) -> Option<WellPosition> {
    let column = folder.file_name()?.to_string_lossy();
    let row = folder.parent()?.file_name()?.to_string_lossy();
    WellPosition::parse(&format!("{row}{column}")).ok()
}

fn well_fields(folder: &Path, well: WellPosition, attributes: &Value) -> Found {
    let mut found = Found::default();
    let Some(images) = attributes["well"]["images"].as_array() else {
        found.problems.push(format!("the well lists no images. File: {folder:?}"));
        return found;
    };
    for (index, image) in images.iter().enumerate() {
        let path = image["path"].as_str().unwrap_or_default();
        match below(folder, path) {
            Some(folder) => {
                // Numbers name their sites; other names are counted.
                let site = crate::names::digits(path).unwrap_or(index as i64);
                found.fields.push(Field { folder, well, site });
            }
            None => found.problems.push(format!("image path {path:?} leads out of the well. File: {folder:?}")),
        }
    }
    found
}

/// Fields are usually called "0", "1", ...; sites are counted from 1. A plate that begins at 1 keeps its numbers.
fn count_from_one(fields: &mut [Field]) {
    if fields.iter().any(|field| field.site == 0) {
        for field in fields {
            field.site += 1;
        }
    }
}

/// What bioformats2raw writes: groups "0", "1", ... of one image each.
fn series(root: &Path) -> Found {
    let exists = |index: &i64| is_group(&root.join(index.to_string()));
    let fields = (0..).take_while(exists).map(|index| Field {
        folder: root.join(index.to_string()),
        well: WellPosition::default(),
        site: index + 1,
    });
    Found { fields: fields.collect(), problems: Vec::new() }
}

/// What one multiscale image says.
struct Image {
    zarr: ZarrImage,
    voxel_size_um: VoxelSizeUm,
    channel_names: Vec<String>,
    /// Values of timepoints, channels and planes that our writer keeps; counted from 1 elsewhere.
    values: [Vec<i64>; 3],
    /// The site that our writer keeps.
    site: Option<i64>,
}

fn assemble(root: &Path, attributes: &Value, mut found: Found) -> Result<Plate, OpenPlateError> {
    let read: Vec<Result<Image, String>> = found.fields.par_iter().map(|field| read_image(&field.folder)).collect();
    let mut problems = std::mem::take(&mut found.problems);
    let mut images = Vec::new();
    let mut zarr_images = Vec::new();
    let mut voxel_size_um = None;
    let mut channel_names = std::collections::BTreeMap::new();
    for (field, image) in found.fields.iter_mut().zip(read) {
        let image = match image {
            Ok(image) => image,
            Err(reason) => {
                problems.push(format!("{reason}. File: {:?}", field.folder));
                continue;
            }
        };
        field.site = image.site.unwrap_or(field.site);
        if let Err(reason) = add_planes(field, &image, zarr_images.len() as u32, &mut images) {
            problems.push(format!("{reason}. File: {:?}", field.folder));
            continue;
        }
        voxel_size_um.get_or_insert(image.voxel_size_um);
        for (channel, name) in image.values[1].iter().zip(&image.channel_names).filter(|(_, name)| !name.is_empty()) {
            channel_names.entry(*channel).or_insert_with(|| name.clone());
        }
        zarr_images.push(image.zarr);
    }
    if images.is_empty() {
        let reason = if problems.is_empty() { "it lists no wells".to_owned() } else { some_names(&problems) };
        return Err(OpenPlateError::Empty { kind: "OME-Zarr", reason, path: root.to_owned() });
    }
    let labels = add_labels(&found.fields, &mut zarr_images, &mut problems);
    let mut plate = Plate::assemble(root, PlateFormat::OmeZarr, images);
    plate.labels = labels;
    plate.zarr_images = zarr_images;
    plate.voxel_size_um = voxel_size_um.unwrap_or_default();
    plate.warnings.extend(problems);
    for (channel, name) in channel_names {
        plate.name_value("channel", channel, name);
    }
    let written_names = attributes["wellscope"]["names"].clone();
    if let Ok(names) = serde_json::from_value::<wellscope_protocol::batch::ComponentNames>(written_names) {
        for (component, values) in names {
            plate.names.entry(component).or_default().extend(values);
        }
    }
    let named = attributes["plate"]["name"].as_str().filter(|name| !name.is_empty());
    match named {
        Some(name) => plate.name = name.to_owned(),
        None => plate.name = plate.name.strip_suffix(".ome").unwrap_or(&plate.name).to_owned(),
    }
    Ok(plate)
}

/// The label images that the fields list.
fn add_labels(fields: &[Field], zarr_images: &mut Vec<ZarrImage>, problems: &mut Vec<String>) -> Vec<LabelImage> {
    let read: Vec<Vec<(String, Result<Image, String>)>> = fields
        .par_iter()
        .map(|field| {
            let folder = field.folder.join("labels");
            let Ok(list) = attributes(&folder) else { return Vec::new() };
            let names = list["labels"].as_array().into_iter().flatten().filter_map(Value::as_str);
            let read = |name: &str| {
                let folder =
                    below(&folder, name).ok_or_else(|| format!("label path {name:?} leads out of the field"))?;
                read_image(&folder)
            };
            names.map(|name| (name.to_owned(), read(name))).collect()
        })
        .collect();
    let mut labels = Vec::new();
    for (field, (name, image)) in
        fields.iter().zip(read).flat_map(|(field, all)| all.into_iter().map(move |one| (field, one)))
    {
        let mut images = Vec::new();
        let added = image.and_then(|image| {
            add_planes(field, &image, zarr_images.len() as u32, &mut images)?;
            Ok(image.zarr)
        });
        match added {
            Ok(image) => {
                zarr_images.push(image);
                labels.extend(images.into_iter().map(|image| LabelImage { name: name.clone(), image }));
            }
            Err(reason) => problems.push(format!("labels {name:?}: {reason}. File: {:?}", field.folder)),
        }
    }
    labels
}

fn add_planes(field: &Field, image: &Image, number: u32, images: &mut Vec<PlateImage>) -> Result<(), String> {
    let [timepoints, channels, planes] = &image.values;
    let count = (timepoints.len() as u64).saturating_mul(channels.len() as u64).saturating_mul(planes.len() as u64);
    if count.saturating_add(images.len() as u64) > MAX_IMAGES {
        return Err(format!("shape {:?} has {count} planes; at most {MAX_IMAGES} images are taken", image.zarr.shape));
    }
    let well: Arc<str> = match images.last() {
        Some(last) if *last.well == *field.well.to_string() => Arc::clone(&last.well),
        _ => field.well.to_string().into(),
    };
    for (t, &timepoint) in timepoints.iter().enumerate() {
        for (c, &channel) in channels.iter().enumerate() {
            for (z, &z_index) in planes.iter().enumerate() {
                images.push(PlateImage {
                    well: Arc::clone(&well),
                    site: field.site,
                    channel,
                    z_index,
                    timepoint,
                    source: Source::Zarr { image: number, index: [t as u32, c as u32, z as u32] },
                });
            }
        }
    }
    Ok(())
}

fn read_image(folder: &Path) -> Result<Image, String> {
    let attributes = attributes(folder)?;
    let multiscale = &attributes["multiscales"][0];
    let dataset = &multiscale["datasets"][0];
    let path = dataset["path"].as_str().ok_or("multiscales name no dataset")?;
    let path = below(folder, path).ok_or_else(|| format!("dataset path {path:?} leads out of the image"))?;
    let header = read_header(&path)?;
    let axes = axis_names(multiscale, header.shape.len());
    if axes.len() != header.shape.len() {
        return Err(format!("{} axes for an array of shape {:?}", axes.len(), header.shape));
    }
    if !axes.ends_with(&["y".to_owned(), "x".to_owned()]) {
        return Err(format!("axes {axes:?}; needed y and x at the end"));
    }
    let places = ["t", "c", "z"].map(|name| axes.iter().position(|axis| axis == name));
    let other = (0..axes.len() - 2).find(|axis| header.shape[*axis] > 1 && !places.contains(&Some(*axis)));
    if let Some(axis) = other {
        return Err(format!("axis {:?} of extent {} is not one of t, c, z, y, x", axes[axis], header.shape[axis]));
    }
    let extents = places.map(|place| place.map_or(1, |axis| header.shape[axis]));
    if extents.iter().any(|&extent| extent > MAX_IMAGES) {
        return Err(format!("shape {:?} has more than {MAX_IMAGES} planes", header.shape));
    }
    let keys = ["timepoints", "channels", "z_indices"];
    let values = [0, 1, 2].map(|axis| values_of(&attributes["wellscope"][keys[axis]], extents[axis]));
    let labels = attributes["omero"]["channels"].as_array().into_iter().flatten();
    Ok(Image {
        zarr: ZarrImage { path, shape: header.shape, element: header.element, axes: places },
        voxel_size_um: voxel_size(multiscale, &axes),
        channel_names: labels.map(|channel| channel["label"].as_str().unwrap_or_default().to_owned()).collect(),
        values,
        site: attributes["wellscope"]["site"].as_i64(),
    })
}

/// The component values along an axis: those that were written with the image, or 1, 2, 3, ...
fn values_of(written: &Value, extent: u64) -> Vec<i64> {
    let written: Option<Vec<i64>> = written.as_array().and_then(|values| values.iter().map(Value::as_i64).collect());
    written.filter(|values| values.len() as u64 == extent).unwrap_or_else(|| (1..=extent as i64).collect())
}

/// Names of axes: objects with a name (0.4, 0.5), names (0.3), or the five of 0.1 and 0.2.
fn axis_names(multiscale: &Value, rank: usize) -> Vec<String> {
    match multiscale["axes"].as_array() {
        Some(axes) => {
            axes.iter().map(|axis| axis["name"].as_str().or(axis.as_str()).unwrap_or_default().to_lowercase()).collect()
        }
        None => {
            ["t", "c", "z", "y", "x"].iter().skip(5usize.saturating_sub(rank)).map(|&name| name.to_owned()).collect()
        }
    }
}

/// Scales of the dataset, times those of all datasets, in micrometres.
fn voxel_size(multiscale: &Value, axes: &[String]) -> VoxelSizeUm {
    let scale_of = |transformations: &Value, axis: usize| {
        let transformations = transformations.as_array().into_iter().flatten();
        transformations.filter_map(|one| one["scale"][axis].as_f64()).product::<f64>()
    };
    let datasets = &multiscale["datasets"][0]["coordinateTransformations"];
    let size = |name: &str| {
        let axis = axes.iter().position(|axis| axis == name)?;
        // Without a scale nothing is known; a scale without a unit is in pixels or in anything else.
        datasets.as_array().filter(|list| list.iter().any(|one| one["scale"].is_array()))?;
        let unit = multiscale["axes"][axis]["unit"].as_str()?;
        let size = scale_of(datasets, axis) * scale_of(&multiscale["coordinateTransformations"], axis);
        let size = size * micrometres_of_unit(unit)?;
        (size.is_finite() && size > 0.0).then_some(size)
    };
    VoxelSizeUm { z: size("z"), y: size("y"), x: size("x") }
}
