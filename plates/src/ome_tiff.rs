//! OME-TIFF: one file with everything, a set of files that name each other, or a folder of files by themselves.
//!
//! Wells come from the `Plate` of the XML; without one from the file names, when all of them are of a known kind; else every
//! image is a site of well A01, named by its file.

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rayon::prelude::*;

use crate::error::OpenPlateError;
use crate::files::some_names;
use crate::names::{ParsedName, WellPosition, parse_image_name, tiff_stem};
use crate::ome_xml::{self, OmeImage, OmeXml, TiffData};
use crate::plate::{PlateImage, Source};
use crate::{Plate, PlateFormat, tiff_read};

/// Planes of one plate. More is damage: at 8 bytes per pixel address the list alone would fill memory.
pub(crate) const MAX_IMAGES: u64 = 20_000_000;

pub(crate) fn is_ome_xml(description: &str) -> bool {
    description.contains("<OME") || description.contains(":OME ")
}

/// One file with a document of its own.
struct Document {
    path: PathBuf,
    xml: OmeXml,
}

pub(crate) fn open(root: &Path, files: Vec<PathBuf>) -> Result<Plate, OpenPlateError> {
    let (documents, mut problems) = read_documents(&files);
    if documents.is_empty() {
        return Err(OpenPlateError::Metadata {
            kind: "OME-XML",
            reason: some_names(&problems),
            path: files.into_iter().next().unwrap_or_else(|| root.to_owned()),
        });
    }
    let mut builder = Builder::new(&documents, &files);
    for document in &documents {
        if let Err(reason) = builder.add(document) {
            problems.push(format!("{reason}. File: {:?}", document.path));
        }
    }
    if builder.images.is_empty() {
        let reason = if problems.is_empty() { "no image has a plane".to_owned() } else { some_names(&problems) };
        return Err(OpenPlateError::Empty { kind: "OME-TIFF", reason, path: root.to_owned() });
    }
    Ok(builder.finish(root, &documents, problems))
}

/// The documents of the files. Files that an earlier document speaks for are not opened.
fn read_documents(files: &[PathBuf]) -> (Vec<Document>, Vec<String>) {
    let mut documents = Vec::new();
    let mut problems = Vec::new();
    let mut spoken_for: HashSet<String> = HashSet::new();
    let mut rest = files;
    while let Some((path, after)) = rest.split_first() {
        rest = after;
        if path.file_name().is_some_and(|name| spoken_for.contains(&*name.to_string_lossy())) {
            continue;
        }
        match read_document(path) {
            Ok(document) => {
                let mut names = other_files(&document.xml).peekable();
                let alone = names.peek().is_none();
                spoken_for.extend(names);
                documents.push(document);
                if alone && documents.len() == 1 {
                    // Files by themselves: nothing is to be skipped, so all are read at once.
                    let read: Vec<_> = rest.par_iter().map(|path| read_document(path)).collect();
                    for result in read {
                        match result {
                            Ok(document) => documents.push(document),
                            Err(problem) => problems.push(problem),
                        }
                    }
                    break;
                }
            }
            Err(problem) => problems.push(problem),
        }
    }
    (documents, problems)
}

fn other_files(xml: &OmeXml) -> impl Iterator<Item = String> {
    xml.images.iter().flat_map(|image| &image.tiff_data).filter_map(|data| base_name(data.file_name.as_deref()?))
}

/// The name without any folder: metadata of one folder does not reach into others.
fn base_name(name: &str) -> Option<String> {
    let name = name.rsplit(['/', '\\']).next()?;
    (!matches!(name, "" | "." | "..")).then(|| name.to_owned())
}

fn read_document(path: &Path) -> Result<Document, String> {
    let description = tiff_read::description(path).map_err(|error| error.to_string())?;
    if !is_ome_xml(&description) {
        return Err(format!("the description is no OME-XML. File: {path:?}"));
    }
    let parse = |text: &str, path: &Path| {
        ome_xml::parse(text).map_err(|reason| format!("the OME-XML is broken: {reason}. File: {path:?}"))
    };
    let xml = parse(&description, path)?;
    let Some(companion) = xml.metadata_file.as_deref().and_then(base_name) else {
        return Ok(Document { path: path.to_owned(), xml });
    };
    let companion = path.with_file_name(companion);
    let text = std::fs::read_to_string(&companion).map_err(|cause| {
        format!("the metadata file that {path:?} names cannot be read: {cause}. File: {companion:?}")
    })?;
    Ok(Document { path: path.to_owned(), xml: parse(&text, &companion)? })
}

/// Puts planes of several documents into one list.
struct Builder {
    images: Vec<PlateImage>,
    /// Image ID to well and site, per document.
    has_plate: bool,
    /// Whether every file has a name of a microscope.
    named: bool,
    /// Sites that are no field of a well: names by number.
    sites: Vec<String>,
    missing: HashSet<PathBuf>,
    known_lengths: HashMap<PathBuf, u64>,
}

/// Where one image of a document belongs.
struct Place {
    well: Arc<str>,
    site: i64,
    name: ParsedName,
}

impl Builder {
    fn new(documents: &[Document], files: &[PathBuf]) -> Self {
        let has_plate =
            documents.iter().any(|document| document.xml.plates.iter().any(|plate| !plate.wells.is_empty()));
        let named = !has_plate && files.iter().all(|path| parsed_name(path).is_some());
        Self {
            images: Vec::new(),
            has_plate,
            named,
            sites: Vec::new(),
            missing: HashSet::new(),
            known_lengths: HashMap::new(),
        }
    }

    fn add(&mut self, document: &Document) -> Result<(), String> {
        let mut places: HashMap<&str, (WellPosition, i64)> = HashMap::new();
        for well in document.xml.plates.iter().flat_map(|plate| &plate.wells) {
            let Some(position) = WellPosition::from_counted(well.row.saturating_add(1), well.column.saturating_add(1))
            else {
                continue;
            };
            for (index, image) in well.images.iter().enumerate() {
                places.insert(image, (position, index as i64 + 1));
            }
        }
        for image in &document.xml.images {
            let Some(place) = self.place(document, image, &places) else { continue };
            self.add_planes(document, image, &place)?;
        }
        Ok(())
    }

    fn place(
        &mut self,
        document: &Document,
        image: &OmeImage,
        places: &HashMap<&str, (WellPosition, i64)>,
    ) -> Option<Place> {
        if self.has_plate {
            // An image that no well refers to is an overview or a label picture, not a field.
            let (well, site) = places.get(image.id.as_str())?;
            return Some(Place { well: well.to_string().into(), site: *site, name: ParsedName::default() });
        }
        if self.named
            && let Some(name) = parsed_name(&document.path)
        {
            return Some(Place { well: name.well.to_string().into(), site: name.site.unwrap_or(1), name });
        }
        let file = document.path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let single = document.xml.images.len() == 1 || image.name.is_empty();
        self.sites.push(if single { file } else { image.name.clone() });
        Some(Place { well: "A01".into(), site: self.sites.len() as i64, name: ParsedName::default() })
    }

    fn add_planes(&mut self, document: &Document, image: &OmeImage, place: &Place) -> Result<(), String> {
        let planes = image.plane_count().filter(|&planes| planes <= MAX_IMAGES).ok_or_else(|| {
            format!(
                "the OME-XML claims {} planes x {} channels x {} timepoints; at most {MAX_IMAGES} images are taken",
                image.size_z, image.size_c, image.size_t
            )
        })?;
        let whole = [TiffData::default()];
        let parts = if image.tiff_data.is_empty() { whole.as_slice() } else { &image.tiff_data };
        let mut paths: HashMap<&str, Arc<Path>> = HashMap::new();
        for part in parts {
            let name = part.file_name.as_deref().unwrap_or_default();
            let path = Arc::clone(paths.entry(name).or_insert_with(|| match base_name(name) {
                Some(name) => document.path.with_file_name(name).into(),
                None => document.path.as_path().into(),
            }));
            let first = plane_number(image, part).ok_or_else(|| {
                format!(
                    "TiffData begins at z {}, channel {}, timepoint {}, outside of {} x {} x {}",
                    part.first_z, part.first_c, part.first_t, image.size_z, image.size_c, image.size_t
                )
            })?;
            // Without an IFD the whole file belongs to the image; with one it is a single plane, unless it says more.
            let count = part.plane_count.unwrap_or(if part.ifd.is_some() { 1 } else { planes - first });
            let ifd = part.ifd.unwrap_or(0);
            let end = first.checked_add(count).filter(|&end| end <= planes).unwrap_or(planes);
            self.check_length(&path, ifd.saturating_add(end - first))?;
            for (offset, number) in (first..end).enumerate() {
                self.images.push(plane(image, place, number, &path, ifd + offset as u64));
            }
        }
        Ok(())
    }

    /// Every page takes bytes: a file with fewer bytes than pages does not have them.
    fn check_length(&mut self, path: &Path, pages: u64) -> Result<(), String> {
        let length = match self.known_lengths.get(path) {
            Some(&length) => length,
            None => {
                let length = std::fs::metadata(path).map_or(u64::MAX, |metadata| metadata.len());
                if length == u64::MAX {
                    self.missing.insert(path.to_owned());
                }
                self.known_lengths.insert(path.to_owned(), length);
                length
            }
        };
        let too_many = pages > length || self.images.len() as u64 > MAX_IMAGES || pages > u64::from(u32::MAX);
        if too_many {
            return Err(format!("the OME-XML claims {pages} pages, but the file has {length} bytes"));
        }
        Ok(())
    }

    fn finish(self, root: &Path, documents: &[Document], problems: Vec<String>) -> Plate {
        let mut plate = Plate::assemble(root, PlateFormat::OmeTiff, self.images);
        plate.warnings.extend(problems);
        let mut missing: Vec<String> = self.missing.iter().map(|path| path.display().to_string()).collect();
        missing.sort();
        if !missing.is_empty() {
            plate.warnings.push(format!(
                "{} files that the OME-XML names are missing: {}",
                missing.len(),
                some_names(&missing)
            ));
        }
        for (index, name) in self.sites.iter().enumerate() {
            plate.name_value("site", index + 1, name);
        }
        if let Some(name) = root.file_stem().filter(|_| root.is_file()) {
            let name = name.to_string_lossy();
            plate.name = name.strip_suffix(".ome").unwrap_or(&name).to_owned();
        }
        let plates = documents.iter().flat_map(|document| &document.xml.plates);
        if let Some(named) = plates.into_iter().find(|plate| !plate.name.is_empty()) {
            plate.name.clone_from(&named.name);
        }
        if let Some(first) = documents.iter().find_map(|document| document.xml.images.first()) {
            plate.voxel_size_um = first.voxel_size_um;
        }
        for document in documents {
            // A file by itself counts its channels from the one in its name.
            let name = parsed_name(&document.path).filter(|_| self.named);
            name_channels(&mut plate, &document.xml, name.and_then(|name| name.channel).unwrap_or(1));
        }
        plate
    }
}

/// Names of channels, where no earlier image gave one.
pub(crate) fn name_channels(plate: &mut Plate, xml: &OmeXml, first_channel: i64) {
    for image in &xml.images {
        for (index, channel) in image.channels.iter().enumerate().filter(|(_, channel)| !channel.name.is_empty()) {
            let number = first_channel.saturating_add(index as i64).to_string();
            plate.names.entry("channel".to_owned()).or_default().entry(number).or_insert_with(|| channel.name.clone());
        }
    }
}

fn parsed_name(path: &Path) -> Option<ParsedName> {
    let name = path.file_name()?.to_string_lossy();
    let stem = tiff_stem(&name)?;
    let stem = stem.strip_suffix(".ome").or_else(|| stem.strip_suffix(".OME")).unwrap_or(stem);
    let plain = format!("{stem}.tif");
    parse_image_name(&plain)
}

/// Extents along the axes behind X and Y, fastest first, as `DimensionOrder` says.
fn extents(image: &OmeImage) -> [(char, u64); 3] {
    let extent = |axis| match axis {
        'Z' => image.size_z,
        'C' => image.plane_channels(),
        _ => image.size_t,
    };
    let axes: Vec<char> = image.order.chars().filter(|axis| "ZCT".contains(*axis)).collect();
    let axes = match *axes.as_slice() {
        [a, b, c] if a != b && b != c && a != c => [a, b, c],
        _ => ['Z', 'C', 'T'],
    };
    axes.map(|axis| (axis, extent(axis)))
}

/// The number of the plane at which a part begins; `None` when it lies outside.
fn plane_number(image: &OmeImage, part: &TiffData) -> Option<u64> {
    // FirstC counts samples: the second RGB channel begins at 3.
    let samples = image.size_c.checked_div(image.plane_channels()).unwrap_or(1).max(1);
    let mut number = 0;
    let mut stride = 1;
    for (axis, extent) in extents(image) {
        let first = match axis {
            'Z' => part.first_z,
            'C' => part.first_c / samples,
            _ => part.first_t,
        };
        if first >= extent {
            return None;
        }
        number += first * stride;
        stride *= extent;
    }
    Some(number)
}

fn plane(image: &OmeImage, place: &Place, number: u64, path: &Arc<Path>, page: u64) -> PlateImage {
    let mut rest = number;
    let (mut z, mut c, mut t) = (0, 0, 0);
    for (axis, extent) in extents(image) {
        let index = (rest % extent) as i64;
        rest /= extent;
        match axis {
            'Z' => z = index,
            'C' => c = index,
            _ => t = index,
        }
    }
    PlateImage {
        well: Arc::clone(&place.well),
        site: place.site,
        channel: place.name.channel.unwrap_or(1).saturating_add(c),
        z_index: place.name.z_index.unwrap_or(1).saturating_add(z),
        timepoint: place.name.timepoint.unwrap_or(1).saturating_add(t),
        source: Source::Tiff { path: Arc::clone(path), page: page as u32 },
    }
}
