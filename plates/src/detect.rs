//! Which kind of plate lies in a folder.

use std::path::{Path, PathBuf};

use crate::error::OpenPlateError;
use crate::files::{Listing, list, some_names, sort_naturally};
use crate::{Plate, imagexpress, ome_tiff, ome_zarr, phenix, tiff_folder, tiff_read};

pub(crate) fn open(path: &Path) -> Result<Plate, OpenPlateError> {
    let unreadable = |cause| OpenPlateError::Unreadable { path: path.to_owned(), cause };
    if std::fs::metadata(path).map_err(unreadable)?.is_file() {
        return open_file(path);
    }
    if ome_zarr::is_group(path) {
        return ome_zarr::open(path);
    }
    let listing = list(path).map_err(unreadable)?;
    if let Some(export) = phenix::find(path, &listing) {
        return phenix::open(path, export);
    }
    let ome = in_natural_order(path, &listing, is_ome_name);
    if !ome.is_empty() {
        return ome_tiff::open(path, ome);
    }
    if let Some(found) = imagexpress::find(path, &listing) {
        return imagexpress::open(path, found);
    }
    if let Some(plate) = open_plain_files(path, &listing)? {
        return Ok(plate);
    }
    let zarrs: Vec<&String> = listing.folders.iter().filter(|name| ome_zarr::is_group(&path.join(name))).collect();
    if let [only] = zarrs.as_slice() {
        return ome_zarr::open(&path.join(only));
    }
    Err(OpenPlateError::UnknownKind { path: path.to_owned(), found: found_words(&listing) })
}

/// TIFF files whose names say nothing.
fn open_plain_files(path: &Path, listing: &Listing) -> Result<Option<Plate>, OpenPlateError> {
    let tiffs = in_natural_order(path, listing, is_tiff_name);
    let Some(first) = tiffs.first() else { return Ok(None) };
    let is_ome = tiff_read::description(first).is_ok_and(|description| ome_tiff::is_ome_xml(&description));
    if is_ome { ome_tiff::open(path, tiffs).map(Some) } else { tiff_folder::open(path, &tiffs).map(Some) }
}

fn in_natural_order(folder: &Path, listing: &Listing, wanted: fn(&str) -> bool) -> Vec<PathBuf> {
    let mut names: Vec<String> = listing.files.iter().filter(|name| wanted(name)).cloned().collect();
    sort_naturally(&mut names);
    names.into_iter().map(|name| folder.join(name)).collect()
}

fn open_file(path: &Path) -> Result<Plate, OpenPlateError> {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    if !is_tiff_name(&name) {
        return Err(OpenPlateError::UnknownKind { path: path.to_owned(), found: format!("the file {name}") });
    }
    let description = tiff_read::description(path).map_err(|error| OpenPlateError::Metadata {
        kind: "TIFF",
        reason: error.to_string(),
        path: path.to_owned(),
    })?;
    if ome_tiff::is_ome_xml(&description) {
        ome_tiff::open(path, vec![path.to_owned()])
    } else {
        tiff_folder::open(path, &[path.to_owned()])
    }
}

pub(crate) fn is_tiff_name(name: &str) -> bool {
    crate::names::tiff_stem(name).is_some()
}

fn is_ome_name(name: &str) -> bool {
    crate::names::tiff_stem(name).is_some_and(|stem| stem.to_ascii_lowercase().ends_with(".ome"))
}

/// What lies in a folder, for the sentence that says that it is no plate.
fn found_words(listing: &Listing) -> String {
    match (listing.files.len(), listing.folders.len()) {
        (0, 0) => "an empty folder".to_owned(),
        (0, _) => format!("the folders {} (open one of them if it is the plate)", some_names(&listing.folders)),
        (_, 0) => format!("the files {}", some_names(&listing.files)),
        _ => format!("the files {} and the folders {}", some_names(&listing.files), some_names(&listing.folders)),
    }
}
