//! TIFF files whose names say nothing about wells: each file is a site of well A01, in natural order, and is named by its file.
//!
//! Showing them beats refusing them: a user who points at a folder of images wants to see them. ImageJ's hyperstacks give
//! channels, planes and timepoints; of any other file with several pages each page is a plane of a stack.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rayon::prelude::*;

use crate::error::OpenPlateError;
use crate::files::some_names;
use crate::plate::{PlateImage, Source};
use crate::{Plate, PlateFormat, tiff_read};

/// Channels and planes of a file; the rest of its pages are timepoints.
#[derive(Clone, Copy, Debug)]
struct Stack {
    pages: usize,
    channels: usize,
    slices: usize,
}

pub(crate) fn open(root: &Path, files: &[PathBuf]) -> Result<Plate, OpenPlateError> {
    let stacks: Vec<Result<Stack, String>> =
        files.par_iter().map(|path| read_stack(path).map_err(|error| error.to_string())).collect();
    let well: Arc<str> = "A01".into();
    let mut images = Vec::new();
    let mut names = Vec::new();
    let mut broken = Vec::new();
    for (path, stack) in files.iter().zip(stacks) {
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let stack = match stack {
            Ok(stack) => stack,
            Err(reason) => {
                broken.push(reason);
                continue;
            }
        };
        names.push(name);
        let path: Arc<Path> = path.as_path().into();
        for page in 0..stack.pages {
            images.push(PlateImage {
                well: Arc::clone(&well),
                site: names.len() as i64,
                channel: (page % stack.channels + 1) as i64,
                z_index: (page / stack.channels % stack.slices + 1) as i64,
                timepoint: (page / stack.channels / stack.slices + 1) as i64,
                source: Source::Tiff { path: Arc::clone(&path), page: page as u32 },
            });
        }
    }
    if images.is_empty() {
        return Err(OpenPlateError::Empty { kind: "TIFF", reason: some_names(&broken), path: root.to_owned() });
    }
    let mut plate = Plate::assemble(root, PlateFormat::TiffFolder, images);
    if root.is_dir() {
        plate.warnings.push(format!(
            "the names say nothing about wells, so each file is shown as a site of well A01; read would be names like \
             A01_s1_w1.tif or r01c01f01p01-ch1sk1fk1fl1.tiff. Found: {}",
            some_names(&names)
        ));
    }
    if !broken.is_empty() {
        plate.warnings.push(format!("{} files cannot be read: {}", broken.len(), some_names(&broken)));
    }
    for (index, name) in names.into_iter().enumerate() {
        plate.name_value("site", index + 1, name);
    }
    Ok(plate)
}

fn read_stack(path: &Path) -> Result<Stack, crate::ReadError> {
    let pages = tiff_read::page_count(path)?;
    if pages < 2 {
        return Ok(Stack { pages, channels: 1, slices: 1 });
    }
    let description = tiff_read::description(path)?;
    Ok(imagej_stack(&description, pages).unwrap_or(Stack { pages, channels: 1, slices: pages }))
}

/// What ImageJ writes into ImageDescription: lines of `key=value`. `None` when it is another program's, or does not fit.
fn imagej_stack(description: &str, pages: usize) -> Option<Stack> {
    description.starts_with("ImageJ=").then_some(())?;
    let number = |key: &str| {
        let value = description.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix('='));
        value.map_or(Some(1), |value| value.trim().parse::<usize>().ok()).filter(|&number| number > 0)
    };
    let (channels, slices, frames) = (number("channels")?, number("slices")?, number("frames")?);
    (channels.checked_mul(slices)?.checked_mul(frames)? == pages).then_some(Stack { pages, channels, slices })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests say where they failed")]
    use super::*;

    #[test]
    fn hyperstacks_of_imagej_have_channels_and_planes() {
        let stack =
            imagej_stack("ImageJ=1.53\nimages=12\nchannels=2\nslices=3\nframes=2\nhyperstack=true\n", 12).unwrap();
        assert_eq!((stack.channels, stack.slices), (2, 3));
        for (text, pages) in [
            ("ImageJ=1.53\nchannels=2\n", 12),
            ("channels=2\n", 2),
            ("ImageJ=1\nslices=0\n", 1),
            ("ImageJ=1\nslices=x\n", 1),
        ] {
            assert!(imagej_stack(text, pages).is_none(), "{text:?}");
        }
    }
}
