//! ImageXpress plates: what names do not say comes from the `.HTD` file and from the first image.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::error::OpenPlateError;
use crate::files::{Listing, list, some_names};
use crate::names::ParsedName;
use crate::names::imagexpress::{folder_number, parse};
use crate::plate::{PlateImage, Source, VoxelSizeUm};
use crate::{Plate, PlateFormat, tiff_read};
use crate::{ome_tiff, ome_xml};

/// Files with ImageXpress names, and the folder in which they were found.
#[derive(Debug, Default)]
pub(crate) struct Found {
    folder: PathBuf,
    images: Vec<(PathBuf, ParsedName)>,
    others: Vec<String>,
}

/// How deep `TimePoint_1/ZStep_1` folders are followed.
const MAX_DEPTH: usize = 3;

/// The images of a folder, or of its only subfolder that has any (`images/`, as OpenHCS and some exports make it).
pub(crate) fn find(path: &Path, listing: &Listing) -> Option<Found> {
    let found = collect(path, listing);
    if !found.images.is_empty() {
        return Some(found);
    }
    let mut below: Vec<Found> = listing
        .folders
        .iter()
        .map(|name| path.join(name))
        .filter_map(|folder| Some(collect(&folder, &list(&folder).ok()?)))
        .filter(|found| !found.images.is_empty())
        .collect();
    if below.len() == 1 { below.pop() } else { None }
}

fn collect(folder: &Path, listing: &Listing) -> Found {
    let mut found = Found { folder: folder.to_owned(), ..Found::default() };
    collect_below(folder, listing, None, None, 0, &mut found);
    found
}

fn collect_below(
    folder: &Path,
    listing: &Listing,
    timepoint: Option<i64>,
    z_index: Option<i64>,
    depth: usize,
    found: &mut Found,
) {
    for name in &listing.files {
        match parse(name) {
            Some(parsed) if parsed.is_thumbnail => {}
            Some(parsed) => {
                let parsed = ParsedName {
                    timepoint: parsed.timepoint.or(timepoint),
                    z_index: parsed.z_index.or(z_index),
                    ..parsed
                };
                found.images.push((folder.join(name), parsed));
            }
            None if crate::detect::is_tiff_name(name) => found.others.push(name.clone()),
            None => {}
        }
    }
    for name in &listing.folders {
        let time = folder_number(name, "TimePoint");
        let step = folder_number(name, "ZStep");
        if depth == MAX_DEPTH || (time.is_none() && step.is_none()) {
            continue;
        }
        let below = folder.join(name);
        if let Ok(listing) = list(&below) {
            collect_below(&below, &listing, time.or(timepoint), step.or(z_index), depth + 1, found);
        }
    }
}

pub(crate) fn open(root: &Path, found: Found) -> Result<Plate, OpenPlateError> {
    let mut wells: std::collections::HashMap<crate::WellPosition, Arc<str>> = std::collections::HashMap::new();
    let mut images = Vec::with_capacity(found.images.len());
    for (path, name) in found.images {
        let well = wells.entry(name.well).or_insert_with(|| name.well.to_string().into());
        images.push(PlateImage {
            well: Arc::clone(well),
            site: name.site.unwrap_or(1),
            channel: name.channel.unwrap_or(1),
            z_index: name.z_index.unwrap_or(1),
            timepoint: name.timepoint.unwrap_or(1),
            source: Source::Tiff { path: path.into(), page: 0 },
        });
    }
    let mut plate = Plate::assemble(root, PlateFormat::ImageXpress, images);
    if !found.others.is_empty() {
        plate.warnings.push(format!(
            "{} TIFF files have other names than A01_s1_w1.tif and were left out: {}",
            found.others.len(),
            some_names(&found.others)
        ));
    }
    read_htd(&mut plate, &[root, &found.folder]);
    read_descriptions(&mut plate);
    Ok(plate)
}

/// Names of channels, and of the plate, from the `.HTD` file (lines of `"key", value, value`).
fn read_htd(plate: &mut Plate, folders: &[&Path]) {
    let htd = folders.iter().find_map(|folder| {
        let name = list(folder).ok()?.files.into_iter().find(|name| name.to_ascii_lowercase().ends_with(".htd"))?;
        Some(folder.join(name))
    });
    let Some(htd) = htd else { return };
    let bytes = match std::fs::read(&htd) {
        Ok(bytes) => bytes,
        Err(cause) => return plate.warnings.push(format!("cannot read {htd:?}, which names the channels: {cause}")),
    };
    let used: Vec<String> = plate.values("channel").iter().map(ToString::to_string).collect();
    // Old versions write Latin-1; what is not ASCII is lost, not the file.
    for line in String::from_utf8_lossy(&bytes).lines() {
        let Some((key, value)) = htd_entry(line) else { continue };
        if let Some(number) = key.strip_prefix("WaveName").and_then(crate::names::digits)
            && used.contains(&number.to_string())
            && !value.is_empty()
        {
            plate.name_value("channel", number, value);
        }
    }
}

/// Key and first value of a line: `"WaveName1", "FITC, long pass"`, `"Sites", TRUE, FALSE`.
fn htd_entry(line: &str) -> Option<(&str, &str)> {
    let (key, rest) = line.trim().strip_prefix('"')?.split_once('"')?;
    let rest = rest.trim_start().strip_prefix(',')?.trim_start();
    let value = match rest.strip_prefix('"') {
        Some(quoted) => quoted.split('"').next(),
        None => rest.split(',').next().map(str::trim_end),
    };
    Some((key, value?))
}

/// Pixel size from the first image; names of channels that no `.HTD` gave from the first image of each.
fn read_descriptions(plate: &mut Plate) {
    let mut firsts: BTreeMap<i64, Arc<Path>> = BTreeMap::new();
    for image in &plate.images {
        if let Source::Tiff { path, .. } = &image.source {
            firsts.entry(image.channel).or_insert_with(|| Arc::clone(path));
        }
    }
    for (index, (channel, path)) in firsts.into_iter().enumerate() {
        let named = plate.names.get("channel").is_some_and(|names| names.contains_key(&channel.to_string()));
        if named && index > 0 {
            continue;
        }
        let Ok(description) = tiff_read::description(&path) else { continue };
        let xml = ome_xml::parse(&description).unwrap_or_default();
        if index == 0 {
            let of_ome = xml.images.first().map(|image| image.voxel_size_um);
            plate.voxel_size_um = of_ome.unwrap_or_else(|| metaxpress_pixel_size(&description));
        }
        if !named {
            ome_tiff::name_channels(plate, &xml, channel);
        }
    }
}

/// `spatial-calibration-x` and `-y` of the XML that MetaXpress writes into ImageDescription, when calibrated in µm.
fn metaxpress_pixel_size(description: &str) -> VoxelSizeUm {
    let property = |id: &str| {
        let (_, after) = description.split_once(&format!("id=\"{id}\""))?;
        let (tag, _) = after.split_once('>')?;
        let (_, value) = tag.split_once("value=\"")?;
        Some(value.split('"').next().unwrap_or_default())
    };
    let calibrated = !property("spatial-calibration-state").is_some_and(|state| state.eq_ignore_ascii_case("off"));
    let in_um = property("spatial-calibration-units")
        .is_none_or(|unit| matches!(unit.to_lowercase().as_str(), "um" | "µm" | "μm" | "microns" | "micron"));
    let size = |id| {
        let size: f64 = property(id)?.parse().ok()?;
        (calibrated && in_um && size.is_finite() && size > 0.0).then_some(size)
    };
    VoxelSizeUm { z: None, y: size("spatial-calibration-y"), x: size("spatial-calibration-x") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pixel_size_of_metaxpress_is_taken_when_calibrated_in_micrometres() {
        let description = |state: &str, unit: &str| {
            format!(
                "<MetaData><PlaneInfo><prop id=\"spatial-calibration-state\" type=\"bool\" value=\"{state}\"/>\
                 <prop id=\"spatial-calibration-x\" type=\"float\" value=\"0.65\"/>\
                 <prop id=\"spatial-calibration-y\" type=\"float\" value=\"0.66\"/>\
                 <prop id=\"spatial-calibration-units\" type=\"string\" value=\"{unit}\"/></PlaneInfo></MetaData>"
            )
        };
        let sizes = VoxelSizeUm { z: None, y: Some(0.66), x: Some(0.65) };
        assert_eq!(metaxpress_pixel_size(&description("on", "um")), sizes);
        assert_eq!(metaxpress_pixel_size(&description("on", "inch")), VoxelSizeUm::default());
        assert_eq!(metaxpress_pixel_size(&description("off", "um")), VoxelSizeUm::default());
        assert_eq!(metaxpress_pixel_size("id=\"spatial-calibration-x\""), VoxelSizeUm::default());
    }
}
