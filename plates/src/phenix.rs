//! Opera Phenix and Operetta exports: names give components, `Index.idx.xml` (Harmony 4 to 6: `Index.xml`) the rest.

use std::collections::{BTreeMap, HashMap};
use std::fs::File;
use std::io::BufReader;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use quick_xml::Reader;
use quick_xml::events::Event;

use crate::error::OpenPlateError;
use crate::files::{Listing, list, some_names};
use crate::names::{WellPosition, phenix::parse};
use crate::plate::{PlateImage, Source};
use crate::{Plate, PlateFormat};

/// Names of the index, newest first.
const INDEX_NAMES: [&str; 2] = ["Index.idx.xml", "Index.xml"];

/// Where the parts of an export lie.
#[derive(Debug)]
pub(crate) struct Export {
    images: PathBuf,
    files: Vec<String>,
    index: Option<PathBuf>,
}

/// An export: an index or images with such names, in the folder or in its `Images` folder.
pub(crate) fn find(path: &Path, listing: &Listing) -> Option<Export> {
    let below = listing.folders.iter().find(|name| name.eq_ignore_ascii_case("images"));
    let below = below.and_then(|name| Some((path.join(name), list(&path.join(name)).ok()?.files)));
    let here = (path.to_owned(), listing.files.clone());
    for (folder, files) in std::iter::once(here).chain(below) {
        let index = INDEX_NAMES.iter().map(|name| folder.join(name)).find(|index| index.is_file());
        if index.is_some() || files.iter().any(|name| parse(name).is_some()) {
            return Some(Export { images: folder, files, index });
        }
    }
    None
}

pub(crate) fn open(root: &Path, export: Export) -> Result<Plate, OpenPlateError> {
    let index = match &export.index {
        Some(path) => read_index(path)?,
        None => Index::default(),
    };
    let mut wells: HashMap<WellPosition, Arc<str>> = HashMap::new();
    let mut images = Vec::with_capacity(export.files.len());
    let mut others = Vec::new();
    for name in &export.files {
        let listed = index.images.get(name);
        let parsed = parse(name);
        // The name says enough; the index knows files that were renamed.
        let position = parsed.as_ref().map(|parsed| parsed.well).or_else(|| listed.map(|entry| entry.well));
        let Some(position) = position else {
            if crate::detect::is_tiff_name(name) {
                others.push(name.clone());
            }
            continue;
        };
        let parsed = parsed.unwrap_or_default();
        let number =
            |of_name: Option<i64>, of_index: fn(&Entry) -> i64| of_name.or_else(|| listed.map(of_index)).unwrap_or(1);
        images.push(PlateImage {
            well: Arc::clone(wells.entry(position).or_insert_with(|| position.to_string().into())),
            site: number(parsed.site, |entry| entry.site),
            channel: number(parsed.channel, |entry| entry.channel),
            z_index: number(parsed.z_index, |entry| entry.z_index),
            timepoint: number(parsed.timepoint, |entry| entry.timepoint),
            source: Source::Tiff { path: export.images.join(name).into(), page: 0 },
        });
    }
    if images.is_empty() {
        return Err(OpenPlateError::Empty {
            kind: "Opera Phenix",
            reason: "the index was found, but none of its files (r01c01f01p01-ch1sk1fk1fl1.tiff) lies beside it"
                .to_owned(),
            path: export.images,
        });
    }
    let mut plate = Plate::assemble(root, PlateFormat::OperaPhenix, images);
    describe(&mut plate, index, &export.files, &others);
    Ok(plate)
}

/// Names, sizes and warnings.
fn describe(plate: &mut Plate, index: Index, files: &[String], others: &[String]) {
    if !others.is_empty() {
        plate.warnings.push(format!(
            "{} TIFF files have unknown names and were left out: {}",
            others.len(),
            some_names(others)
        ));
    }
    let present: std::collections::HashSet<&str> = files.iter().map(String::as_str).collect();
    let mut missing: Vec<&str> =
        index.images.keys().map(String::as_str).filter(|name| !present.contains(name)).collect();
    missing.sort_unstable();
    if !missing.is_empty() {
        plate.warnings.push(format!(
            "the index lists {} images that are not in the folder: {}",
            missing.len(),
            some_names(&missing)
        ));
    }
    if let Some(name) = index.plate_name {
        plate.name = name;
    }
    let used = plate.values("channel");
    for (channel, name) in index.channel_names {
        if used.contains(&channel.into()) {
            plate.name_value("channel", channel, name);
        }
    }
    plate.voxel_size_um.x = index.resolution_um.0;
    plate.voxel_size_um.y = index.resolution_um.1;
    plate.voxel_size_um.z = z_spacing_um(&index.z_positions);
}

/// The usual distance of planes: the median of differences between planes that follow each other.
fn z_spacing_um(positions: &BTreeMap<i64, f64>) -> Option<f64> {
    let mut steps: Vec<f64> = positions
        .iter()
        .zip(positions.iter().skip(1))
        .filter(|((a, _), (b, _))| *b - *a == 1)
        .map(|((_, a), (_, b))| (b - a).abs())
        .filter(|step| step.is_finite() && *step > 0.0)
        .collect();
    steps.sort_by(f64::total_cmp);
    steps.get(steps.len() / 2).copied()
}

/// What the index says.
#[derive(Debug, Default)]
struct Index {
    plate_name: Option<String>,
    images: HashMap<String, Entry>,
    channel_names: BTreeMap<i64, String>,
    /// x, y.
    resolution_um: (Option<f64>, Option<f64>),
    /// Of the planes of the first stack, in micrometres.
    z_positions: BTreeMap<i64, f64>,
}

#[derive(Clone, Debug, Default)]
struct Entry {
    well: WellPosition,
    site: i64,
    channel: i64,
    z_index: i64,
    timepoint: i64,
}

/// The fields of the `<Image>` or `<Entry>` that is being read.
type Fields = HashMap<String, String>;

fn read_index(path: &Path) -> Result<Index, OpenPlateError> {
    let file = File::open(path).map_err(|cause| OpenPlateError::Unreadable { path: path.to_owned(), cause })?;
    let broken = |reason: String| OpenPlateError::Metadata { kind: "Opera Phenix", reason, path: path.to_owned() };
    let mut reader = Reader::from_reader(BufReader::with_capacity(1 << 16, file));
    let mut buffer = Vec::new();
    let mut index = Index::default();
    let mut tags: Vec<String> = Vec::new();
    let mut fields = Fields::new();
    let mut text = String::new();
    loop {
        match reader
            .read_event_into(&mut buffer)
            .map_err(|error| broken(format!("at byte {}: {error}", reader.buffer_position())))?
        {
            Event::Start(start) => {
                let tag = String::from_utf8_lossy(start.local_name().as_ref()).into_owned();
                if tag == "Image" || tag == "Entry" {
                    fields.clear();
                    // <Entry ChannelID="1"> of Harmony 6.
                    if let Some(channel) = start.try_get_attribute("ChannelID").ok().flatten() {
                        fields.insert("ChannelID".to_owned(), String::from_utf8_lossy(&channel.value).into_owned());
                    }
                }
                tags.push(tag);
                if tags.len() > 64 {
                    return Err(broken("elements are nested more than 64 deep".to_owned()));
                }
                text.clear();
            }
            Event::Text(part) => text.push_str(&part.xml10_content().unwrap_or_default()),
            Event::GeneralRef(entity) => {
                text.push_str(crate::ome_xml::entity_text(&entity).as_deref().unwrap_or_default())
            }
            Event::CData(part) => text.push_str(&String::from_utf8_lossy(&part)),
            Event::End(_) => {
                let tag = tags.pop().unwrap_or_default();
                match (tag.as_str(), tags.last().map(String::as_str)) {
                    ("Image", Some("Images")) => index.take_image(&fields),
                    ("Entry", _) => index.take_channel(&fields),
                    ("Name", Some("Plate")) => {
                        index.plate_name = Some(text.trim().to_owned()).filter(|name| !name.is_empty())
                    }
                    (_, Some("Image" | "Entry")) => {
                        fields.insert(tag, text.trim().to_owned());
                    }
                    _ => {}
                }
                text.clear();
            }
            Event::Eof if tags.is_empty() => return Ok(index),
            Event::Eof => return Err(broken(format!("it ends inside <{}>, so it was cut off", tags.join("><")))),
            _ => {}
        }
        buffer.clear();
    }
}

fn number<T: std::str::FromStr>(fields: &Fields, key: &str) -> Option<T> {
    fields.get(key)?.parse().ok()
}

/// Metres as micrometres.
fn micrometres(fields: &Fields, key: &str) -> Option<f64> {
    number::<f64>(fields, key).map(|metres| metres * 1e6).filter(|value| value.is_finite())
}

impl Index {
    fn take_channel(&mut self, fields: &Fields) {
        if let (Some(channel), Some(name)) = (number(fields, "ChannelID"), fields.get("ChannelName")) {
            self.channel_names.entry(channel).or_insert_with(|| name.clone());
        }
        let size = |key| micrometres(fields, key).filter(|&size| size > 0.0);
        self.resolution_um.0 = self.resolution_um.0.or_else(|| size("ImageResolutionX"));
        self.resolution_um.1 = self.resolution_um.1.or_else(|| size("ImageResolutionY"));
    }

    fn take_image(&mut self, fields: &Fields) {
        self.take_channel(fields);
        let well = number(fields, "Row")
            .zip(number(fields, "Col"))
            .and_then(|(row, column)| WellPosition::from_counted(row, column));
        let (Some(well), Some(name)) = (well, fields.get("URL")) else { return };
        let entry = Entry {
            well,
            site: number(fields, "FieldID").unwrap_or(1),
            channel: number(fields, "ChannelID").unwrap_or(1),
            z_index: number(fields, "PlaneID").unwrap_or(1),
            // Counted from 0 here, from 1 in names.
            timepoint: number::<i64>(fields, "TimepointID").and_then(|index| index.checked_add(1)).unwrap_or(1),
        };
        // Spacing is told by the relative position; the absolute one has the autofocus of each field in it.
        let z = micrometres(fields, "PositionZ").or_else(|| micrometres(fields, "AbsPositionZ"));
        if let Some(z) = z {
            self.z_positions.entry(entry.z_index).or_insert(z);
        }
        self.images.insert(name.clone(), entry);
    }
}
