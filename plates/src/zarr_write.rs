//! Writing OME-Zarr plates (HCS): version 0.4 on zarr version 2.
//!
//! 0.4 because everything opens it today: napari-ome-zarr, ome-zarr-py of any age, Fiji (MoBIE, n5), OMERO and web viewers.
//! 0.5 needs zarr-python 3 and readers of 2025; our own reader takes both.
//!
//! What is on disk is consistent at any time. A plate is written into a hidden folder beside its place and gets its name in
//! [`OmeZarrPlateWriter::finish`], so nothing that was cancelled or killed looks finished. Fields are written the same way
//! inside of it, and only then listed; so the hidden folder is a valid plate of what is done so far.
//!
//! Full resolution only: fields of a plate are camera frames, and viewers reduce those themselves.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use serde_json::{Value, json};
use wellscope_protocol::batch::ComponentNames;
use wellscope_protocol::dtype::ElementType;

use crate::error::WriteError;
use crate::names::WellPosition;
use crate::plate::VoxelSizeUm;
use crate::tiff_write::write_whole;
use crate::zarr_field::{FieldLayout, FieldPlane, limits};

const VERSION: &str = "0.4";

/// What is known of a plate before its first field.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct ZarrPlateOptions {
    /// Name of the plate; the folder's when empty.
    pub name: String,
    /// Names of component values; those of channels become `omero` labels.
    pub names: ComponentNames,
    /// Distances between voxels.
    pub voxel_size_um: VoxelSizeUm,
    /// Whether a plate of this path is replaced, at [`OmeZarrPlateWriter::finish`]; else it is an error.
    pub replace: bool,
}

/// Writes a plate; wells and fields in any order, by several threads at once.
///
/// Dropped without [`OmeZarrPlateWriter::finish`] it removes what it wrote.
#[derive(Debug)]
pub struct OmeZarrPlateWriter {
    path: PathBuf,
    /// Where the plate lies until it is finished. `None` when it has its name.
    partial: Option<PathBuf>,
    options: ZarrPlateOptions,
    /// Fields that are complete, per well. Held while lists on disk are rewritten.
    fields: Mutex<BTreeMap<WellPosition, BTreeSet<i64>>>,
    /// Makes names of folders that are being written unique.
    counter: AtomicU64,
}

impl OmeZarrPlateWriter {
    /// Begins a plate at `path` (usually `*.ome.zarr`). Missing folders above it are made.
    ///
    /// # Errors
    /// When something is there already and is not to be replaced, or the system refuses.
    pub fn create(path: impl AsRef<Path>, mut options: ZarrPlateOptions) -> Result<Self, WriteError> {
        let path = path.as_ref();
        if !options.replace && path.exists() {
            return Err(WriteError::Exists { what: "the plate".to_owned(), path: path.to_owned() });
        }
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        fs::create_dir_all(folder).map_err(|cause| WriteError::Io { path: folder.to_owned(), cause })?;
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if options.name.is_empty() {
            options.name = name.split('.').next().unwrap_or_default().to_owned();
        }
        let partial = tempfile::Builder::new().prefix(&format!(".{name}-")).suffix(".part").tempdir_in(folder);
        let partial = partial.map_err(|cause| WriteError::Io { path: folder.to_owned(), cause })?.keep();
        let writer = Self {
            path: path.to_owned(),
            partial: Some(partial.clone()),
            options,
            fields: Mutex::default(),
            counter: AtomicU64::new(0),
        };
        open_to_group(&partial)?;
        write_group(&partial)?;
        writer.write_plate_list(&BTreeMap::new())?;
        Ok(writer)
    }

    /// The folder that is written to: hidden, beside the plate's place, until the plate is finished.
    pub fn folder(&self) -> &Path {
        self.partial.as_deref().unwrap_or(&self.path)
    }

    /// Writes one field of view: all its planes, of one type and size. Combinations that are missing read as 0; of two planes
    /// with one address the last counts.
    ///
    /// # Errors
    /// When planes differ or are no planes, the field was written before, or the system refuses. The plate then goes on
    /// without this field.
    pub fn write_field(&self, well: &str, site: i64, planes: &[FieldPlane<'_>]) -> Result<(), WriteError> {
        let (position, site_name) = (well_of(well)?, site_of(site)?);
        let well_folder = self.well_folder(position);
        let target = well_folder.join(&site_name);
        if target.exists() {
            return Err(WriteError::Exists { what: format!("field {site} of well {position}"), path: target });
        }
        fs::create_dir_all(&well_folder).map_err(|cause| WriteError::Io { path: well_folder.clone(), cause })?;
        let layout = FieldLayout::of(&format!("{position} site {site}"), planes)?;
        let omero = self.omero(&layout, planes);
        let mut attributes = self.multiscale(&layout, &format!("{position} {site}"));
        attributes["omero"] = omero;
        attributes["wellscope"] = json!({
            "site": site, "timepoints": layout.values[0], "channels": layout.values[1], "z_indices": layout.values[2],
        });
        self.write_whole_folder(&target, |folder| {
            write_group(folder)?;
            write_json(&folder.join(".zattrs"), &attributes)?;
            layout.write_array(&folder.join("0"), planes)
        })?;
        self.list_field(position, site)
    }

    /// Writes a label image of a field that was written: integers, ids of objects, 0 for background.
    ///
    /// Lists of objects (regions of interest, measurements) are not part of OME-Zarr 0.4; write them as CSV or JSON beside it.
    ///
    /// # Errors
    /// As [`OmeZarrPlateWriter::write_field`]; also when the field is not there or values are no integers.
    pub fn write_labels(&self, well: &str, site: i64, name: &str, planes: &[FieldPlane<'_>]) -> Result<(), WriteError> {
        let (position, site_name) = (well_of(well)?, site_of(site)?);
        let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.');
        if name.is_empty() || name.starts_with('.') || !name.chars().all(plain) {
            let needed = "a name of labels (letters, digits, _, - and ., not beginning with a dot)";
            return Err(WriteError::Name { found: name.to_owned(), needed });
        }
        let field = self.well_folder(position).join(site_name);
        let labels = field.join("labels");
        if !field.is_dir() {
            let cause = std::io::Error::new(
                std::io::ErrorKind::NotFound,
                "the field was not written; it comes before its labels",
            );
            return Err(WriteError::Io { path: field, cause });
        }
        let target = labels.join(name);
        if target.exists() {
            return Err(WriteError::Exists {
                what: format!("labels {name:?} of well {position} site {site}"),
                path: target,
            });
        }
        let layout = FieldLayout::of(&format!("{position} site {site}"), planes)?;
        if matches!(layout.element, ElementType::F16 | ElementType::F32 | ElementType::F64) {
            return Err(WriteError::LabelType { field: format!("{position} site {site}"), found: layout.element });
        }
        fs::create_dir_all(&labels).map_err(|cause| WriteError::Io { path: labels.clone(), cause })?;
        let mut attributes = self.multiscale(&layout, name);
        attributes["image-label"] = json!({"version": VERSION, "source": {"image": "../../"}});
        attributes["wellscope"] = json!({
            "timepoints": layout.values[0], "channels": layout.values[1], "z_indices": layout.values[2],
        });
        self.write_whole_folder(&target, |folder| {
            write_group(folder)?;
            write_json(&folder.join(".zattrs"), &attributes)?;
            layout.write_array(&folder.join("0"), planes)
        })?;
        // One list at a time, whoever writes.
        let _lists = self.fields.lock().unwrap_or_else(PoisonError::into_inner);
        write_group(&labels)?;
        let mut names: BTreeSet<String> = crate::zarr_read::read_json(&labels.join(".zattrs"))
            .ok()
            .and_then(|list| serde_json::from_value(list["labels"].clone()).ok())
            .unwrap_or_default();
        names.insert(name.to_owned());
        write_json(&labels.join(".zattrs"), &json!({"labels": names}))
    }

    /// Gives the plate its name. Returns where it is.
    ///
    /// # Errors
    /// When another plate took the name in the meantime, or the system refuses; nothing is left then.
    pub fn finish(mut self) -> Result<PathBuf, WriteError> {
        let io = |cause| WriteError::Io { path: self.path.clone(), cause };
        let Some(partial) = self.partial.clone() else { return Ok(self.path.clone()) };
        let mut old = None;
        if self.path.exists() {
            if !self.options.replace {
                return Err(WriteError::Exists { what: "the plate".to_owned(), path: self.path.clone() });
            }
            let aside = partial.with_extension("old");
            fs::rename(&self.path, &aside).map_err(io)?;
            old = Some(aside);
        }
        if let Err(cause) = fs::rename(&partial, &self.path) {
            if let Some(old) = &old {
                // The old plate is better than none.
                let _ = fs::rename(old, &self.path);
            }
            return Err(io(cause));
        }
        if let Some(old) = old
            && let Err(cause) = fs::remove_dir_all(&old)
        {
            tracing::warn!(path = %old.display(), %cause, "the plate that was replaced could not be removed");
        }
        self.partial = None;
        Ok(self.path.clone())
    }

    fn well_folder(&self, position: WellPosition) -> PathBuf {
        self.folder().join(position.row_name()).join(position.column_name())
    }

    /// Writes a folder under a hidden name, then gives it its name.
    fn write_whole_folder(
        &self,
        target: &Path,
        write: impl FnOnce(&Path) -> Result<(), WriteError>,
    ) -> Result<(), WriteError> {
        let number = self.counter.fetch_add(1, Ordering::Relaxed);
        let folder = target.with_file_name(format!(".{number}.part"));
        let io = |cause| WriteError::Io { path: target.to_owned(), cause };
        fs::create_dir(&folder).map_err(io)?;
        let written = write(&folder).and_then(|()| fs::rename(&folder, target).map_err(io));
        if written.is_err() {
            // Best effort: the hidden folder is in no list.
            let _ = fs::remove_dir_all(&folder);
        }
        written
    }

    /// Adds a field to the lists on disk: the well's, and the plate's when the well is new.
    fn list_field(&self, position: WellPosition, site: i64) -> Result<(), WriteError> {
        let mut fields = self.fields.lock().unwrap_or_else(PoisonError::into_inner);
        let is_new = !fields.contains_key(&position);
        let sites = fields.entry(position).or_default();
        sites.insert(site);
        let images: Vec<Value> = sites.iter().map(|site| json!({"path": site.to_string()})).collect();
        let folder = self.well_folder(position);
        write_json(&folder.join(".zattrs"), &json!({"well": {"version": VERSION, "images": images}}))?;
        write_group(&folder)?;
        if is_new {
            if let Some(row) = folder.parent() {
                write_group(row)?;
            }
            self.write_plate_list(&fields)?;
        } else if fields.values().map(BTreeSet::len).max() == fields.get(&position).map(BTreeSet::len) {
            // field_count is the largest of all wells.
            self.write_plate_list(&fields)?;
        }
        Ok(())
    }

    fn write_plate_list(&self, fields: &BTreeMap<WellPosition, BTreeSet<i64>>) -> Result<(), WriteError> {
        let rows: BTreeSet<u8> = fields.keys().map(|position| position.row).collect();
        let columns: BTreeSet<u8> = fields.keys().map(|position| position.column).collect();
        let row_names = rows.iter().map(|&row| json!({"name": WellPosition { row, column: 0 }.row_name()}));
        let column_names = columns.iter().map(|&column| json!({"name": WellPosition { row: 0, column }.column_name()}));
        // Indices count the rows and columns that are listed.
        let index = |set: &BTreeSet<u8>, value: u8| set.range(..value).count();
        let wells = fields.keys().map(|position| {
            json!({
                "path": format!("{}/{}", position.row_name(), position.column_name()),
                "rowIndex": index(&rows, position.row),
                "columnIndex": index(&columns, position.column),
            })
        });
        let plate = json!({
            "plate": {
                "version": VERSION,
                "name": self.options.name,
                "field_count": fields.values().map(BTreeSet::len).max().unwrap_or(0).max(1),
                "rows": row_names.collect::<Vec<_>>(),
                "columns": column_names.collect::<Vec<_>>(),
                "wells": wells.collect::<Vec<_>>(),
            },
            "wellscope": {"version": env!("CARGO_PKG_VERSION"), "names": self.options.names},
        });
        write_json(&self.folder().join(".zattrs"), &plate)
    }

    fn multiscale(&self, layout: &FieldLayout, name: &str) -> Value {
        let VoxelSizeUm { z, y, x } = self.options.voxel_size_um;
        let mut axes = vec![json!({"name": "t", "type": "time"}), json!({"name": "c", "type": "channel"})];
        let mut scale = vec![1.0, 1.0];
        for (axis, size) in [("z", z), ("y", y), ("x", x)] {
            let mut entry = json!({"name": axis, "type": "space"});
            if size.is_some() {
                entry["unit"] = json!("micrometer");
            }
            axes.push(entry);
            scale.push(size.unwrap_or(1.0));
        }
        debug_assert_eq!(layout.shape.len(), axes.len());
        json!({
            "multiscales": [{
                "version": VERSION,
                "name": name,
                "axes": axes,
                "datasets": [{"path": "0", "coordinateTransformations": [{"type": "scale", "scale": scale}]}],
            }],
        })
    }

    /// Names, colours and display limits of channels, as napari-ome-zarr and web viewers read them.
    fn omero(&self, layout: &FieldLayout, planes: &[FieldPlane<'_>]) -> Value {
        const COLOURS: [&str; 6] = ["FFFFFF", "00FF00", "FF00FF", "00FFFF", "FFFF00", "FF0000"];
        let names = self.options.names.get("channel");
        let channels: Vec<Value> = layout.values[1]
            .iter()
            .enumerate()
            .map(|(index, channel)| {
                let (low, high) = limits(planes.iter().filter(|plane| plane.channel == *channel));
                let label = names.and_then(|names| names.get(&channel.to_string()));
                json!({
                    "label": label.cloned().unwrap_or_else(|| format!("Channel {channel}")),
                    "color": if layout.values[1].len() == 1 { COLOURS[0] } else { COLOURS[1 + index % 5] },
                    "active": true,
                    "window": {"min": low, "max": high, "start": low, "end": high},
                })
            })
            .collect();
        json!({"version": VERSION, "channels": channels})
    }
}

impl Drop for OmeZarrPlateWriter {
    fn drop(&mut self) {
        if let Some(partial) = self.partial.take()
            && let Err(cause) = fs::remove_dir_all(&partial)
        {
            tracing::warn!(path = %partial.display(), %cause, "a plate that was not finished could not be removed");
        }
    }
}

fn well_of(well: &str) -> Result<WellPosition, WriteError> {
    let needed = "a well (row letters and a column, as in A01)";
    WellPosition::parse(well).map_err(|error| WriteError::Name { found: error.found, needed })
}

fn site_of(site: i64) -> Result<String, WriteError> {
    if site < 0 {
        return Err(WriteError::Name { found: site.to_string(), needed: "a site (a number from 0 on)" });
    }
    Ok(site.to_string())
}

fn write_group(folder: &Path) -> Result<(), WriteError> {
    write_json(&folder.join(".zgroup"), &json!({"zarr_format": 2}))
}

pub(crate) fn write_json(path: &Path, value: &Value) -> Result<(), WriteError> {
    write_whole(path, |file| {
        file.write_all(format!("{value:#}").as_bytes()).map_err(|cause| WriteError::Io { path: path.to_owned(), cause })
    })
}

/// Temporary folders are the owner's only; a plate is for everybody whom the umask lets in. The mask itself can only be read
/// by setting it, so a folder that is made the usual way tells it.
#[cfg(unix)]
fn open_to_group(folder: &Path) -> Result<(), WriteError> {
    let io = |cause| WriteError::Io { path: folder.to_owned(), cause };
    let probe = folder.join(".mode");
    fs::create_dir(&probe).map_err(io)?;
    let mode = fs::metadata(&probe).map_err(io)?.permissions();
    fs::remove_dir(&probe).map_err(io)?;
    fs::set_permissions(folder, mode).map_err(io)
}

#[cfg(not(unix))]
fn open_to_group(_: &Path) -> Result<(), WriteError> {
    Ok(())
}
