//! Writes a synthetic plate to a folder, as an ImageXpress microscope does: a TIFF file per plane, and a `.HTD` file.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use rayon::prelude::*;
use wellscope_plates::{AnyArray, TiffMetadata, VoxelSizeUm, WriteError, write_tiff};

use super::{PIXEL_SIZE_UM, PlateSizeError, SyntheticPlate, Z_STEP_UM};

/// Why a synthetic plate was not written.
#[derive(Debug, thiserror::Error)]
pub enum WritePlateError {
    /// There is no such plate.
    #[error(transparent)]
    Size(#[from] PlateSizeError),
    /// An image could not be written; those before it are there.
    #[error(transparent)]
    Image(#[from] WriteError),
    /// The folder or the `.HTD` file could not be made.
    #[error("cannot write {path:?}: {cause}")]
    Folder {
        /// What was to be made.
        path: PathBuf,
        /// What the system says.
        cause: io::Error,
    },
}

impl SyntheticPlate {
    /// Writes all images and then the `.HTD` file, fields in parallel on the cores of rayon's current pool. `continues` is
    /// called after each image, [`Self::images`] times in all; when it says false, the rest is left out and false is returned.
    ///
    /// # Errors
    /// When the plate cannot be, or the folder cannot be written.
    pub fn write(&self, folder: &Path, continues: impl Fn() -> bool + Sync) -> Result<bool, WritePlateError> {
        self.validate()?;
        fs::create_dir_all(folder).map_err(|cause| WritePlateError::Folder { path: folder.to_owned(), cause })?;
        let names = self.well_names();
        let fields: Vec<(usize, usize)> =
            (0..self.wells).flat_map(|well| (0..self.sites).map(move |site| (well, site))).collect();
        let complete = fields
            .par_iter()
            .map(|&(well, site)| self.write_field(folder, &names[well], well, site, &continues))
            .try_reduce(|| true, |a, b| Ok(a && b))?;
        if complete {
            self.write_htd(folder)?;
        }
        Ok(complete)
    }

    fn write_field(
        &self,
        folder: &Path,
        name: &str,
        well: usize,
        site: usize,
        continues: &(impl Fn() -> bool + Sync),
    ) -> Result<bool, WritePlateError> {
        let field = self.field(well, site);
        for (channel, &stain) in (1..).zip(self.stains()) {
            for (z, plane) in (1..).zip(field.planes(stain)) {
                let file = format!("{name}_s{:03}_w{channel}_z{z:03}_t001.tif", site + 1);
                let metadata = TiffMetadata {
                    name: format!("{name} {}", stain.channel_name()),
                    channel_names: vec![stain.channel_name().to_owned()],
                    voxel_size_um: VoxelSizeUm { z: Some(Z_STEP_UM), y: Some(PIXEL_SIZE_UM), x: Some(PIXEL_SIZE_UM) },
                    ..TiffMetadata::default()
                };
                write_tiff(folder.join(file), &AnyArray::U16(plane.into_dyn()), &metadata)?;
                if !continues() {
                    return Ok(false);
                }
            }
        }
        Ok(true)
    }

    /// The description that MetaXpress puts beside the images; last, so that a plate that has one is complete.
    fn write_htd(&self, folder: &Path) -> Result<(), WritePlateError> {
        let name = folder.file_name().map_or("synthetic".into(), |name| name.to_string_lossy());
        let path = folder.join(format!("{name}.HTD"));
        let part = folder.join(format!(".{name}.HTD.part"));
        fs::write(&part, self.htd(&name))
            .and_then(|()| fs::rename(&part, &path))
            .map_err(|cause| WritePlateError::Folder { path, cause })
    }

    fn htd(&self, name: &str) -> String {
        let flags = |count: usize, of: usize| {
            (0..of).map(|index| if index < count { "TRUE" } else { "FALSE" }).collect::<Vec<_>>().join(", ")
        };
        let mut lines = vec![
            "\"HTSInfoFile\", Version 1.0".to_owned(),
            format!("\"Description\", \"{}\"", name.replace('"', "'")),
            "\"TimePoints\", 1".to_owned(),
            format!("\"ZSeries\", {}", if self.z > 1 { "TRUE" } else { "FALSE" }),
            format!("\"ZSteps\", {}", self.z),
            format!("\"XWells\", {}", self.columns),
            format!("\"YWells\", {}", self.wells.div_ceil(self.columns)),
        ];
        for row in 0..self.wells.div_ceil(self.columns) {
            let filled = (self.wells - row * self.columns).min(self.columns);
            lines.push(format!("\"WellsSelection{}\", {}", row + 1, flags(filled, self.columns)));
        }
        lines.push(format!("\"Sites\", {}", if self.sites > 1 { "TRUE" } else { "FALSE" }));
        lines.push(format!("\"XSites\", {}", self.sites));
        lines.push("\"YSites\", 1".to_owned());
        lines.push(format!("\"SiteSelection1\", {}", flags(self.sites, self.sites)));
        lines.push("\"Waves\", TRUE".to_owned());
        lines.push(format!("\"NWavelengths\", {}", self.channels));
        for (number, stain) in (1..).zip(self.stains()) {
            lines.push(format!("\"WaveName{number}\", \"{}\"", stain.channel_name()));
            lines.push(format!("\"WaveCollect{number}\", 1"));
        }
        lines.push("\"EndFile\"".to_owned());
        lines.join("\r\n") + "\r\n"
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests say where they failed")]
    use std::sync::atomic::{AtomicUsize, Ordering};

    use wellscope_plates::{Plate, PlateFormat};

    use super::*;
    use crate::synthetic::Stain;

    fn tiny() -> SyntheticPlate {
        SyntheticPlate { wells: 3, columns: 2, sites: 2, channels: 2, z: 2, size: 32, seed: 4 }
    }

    #[test]
    fn a_written_plate_is_read_back_pixel_by_pixel() {
        let folder = tempfile::tempdir().unwrap();
        let written = AtomicUsize::new(0);
        let complete = tiny().write(folder.path(), || written.fetch_add(1, Ordering::Relaxed) < usize::MAX).unwrap();
        assert!(complete);
        let plate = Plate::open(folder.path()).unwrap();
        assert_eq!(plate.format, PlateFormat::ImageXpress);
        assert_eq!(plate.warnings, Vec::<String>::new());
        assert_eq!((plate.images.len(), written.into_inner()), (tiny().images(), tiny().images()));
        let wells: Vec<String> = plate.wells().iter().map(|well| well.to_string()).collect();
        assert_eq!(wells, ["A01", "A02", "B01"]);
        assert_eq!(plate.names["channel"]["1"], "DAPI");
        assert_eq!(plate.names["channel"]["2"], "GFP");
        assert_eq!(plate.voxel_size_um.x, Some(PIXEL_SIZE_UM));
        let image = plate.images.iter().find(|image| image.file_name() == "B01_s002_w2_z001_t001.tif").unwrap();
        let known = tiny().field(2, 1).planes(Stain::Gfp)[0].clone();
        assert_eq!(plate.read(image).unwrap(), AnyArray::U16(known.into_dyn()));
    }

    #[test]
    fn a_plate_that_was_stopped_has_no_htd_and_no_half_file() {
        let folder = tempfile::tempdir().unwrap();
        let left = AtomicUsize::new(5);
        let more = || left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |n| n.checked_sub(1)).is_ok();
        assert!(!tiny().write(folder.path(), more).unwrap());
        let names: Vec<String> = fs::read_dir(folder.path())
            .unwrap()
            .map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned())
            .collect();
        assert!(names.len() < tiny().images() && names.iter().all(|name| name.ends_with("_t001.tif")), "{names:?}");
        let plate = Plate::open(folder.path()).unwrap();
        assert!(plate.images.iter().all(|image| plate.read(image).is_ok()));
    }

    #[test]
    fn the_description_says_which_wells_are_filled() {
        let htd = tiny().htd("demo");
        assert!(htd.contains("\"WellsSelection1\", TRUE, TRUE\r\n\"WellsSelection2\", TRUE, FALSE\r\n"), "{htd}");
        assert!(htd.contains("\"NWavelengths\", 2\r\n\"WaveName1\", \"DAPI\"\r\n"), "{htd}");
    }
}
