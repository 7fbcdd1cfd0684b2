//! A plate of cells that no one grew: for the demo, for docs, and for tests. The same options give the same pixels.
//!
//! Columns of the plate are steps of a dose: cells become fewer, their nuclei smaller, and a reporter protein moves from
//! the cytoplasm into the nucleus.

mod cells;
mod folder;
mod microscope;
mod stains;

use ndarray::Array2;

use cells::{Cell, grow_cells};
pub use folder::WritePlateError;
pub use microscope::CAMERA_OFFSET;
pub use stains::Stain;

/// Micrometres between neighbouring pixels: a 20x objective in front of a camera of 6.5 um.
pub const PIXEL_SIZE_UM: f64 = 0.325 * 2.0;

/// Micrometres between neighbouring planes.
pub const Z_STEP_UM: f64 = 2.0;

/// Which plate to make.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SyntheticPlate {
    /// Number of wells, filled row by row.
    pub wells: usize,
    /// Wells per row: steps of the dose.
    pub columns: usize,
    /// Fields of view per well.
    pub sites: usize,
    /// Channels, the first of [`Stain::ALL`].
    pub channels: usize,
    /// Planes per field and channel.
    pub z: usize,
    /// Height and width of an image, in pixels.
    pub size: usize,
    /// Another number gives other cells.
    pub seed: u64,
}

impl Default for SyntheticPlate {
    fn default() -> Self {
        Self { wells: 12, columns: 4, sites: 2, channels: 3, z: 3, size: 512, seed: 1 }
    }
}

/// A number of a [`SyntheticPlate`] that makes no plate.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("a plate takes {least} to {most} {what}, found {found}")]
pub struct PlateSizeError {
    what: &'static str,
    least: usize,
    most: usize,
    found: usize,
}

impl SyntheticPlate {
    /// Whether such a plate exists.
    ///
    /// # Errors
    /// The first number that is out of range.
    pub fn validate(&self) -> Result<(), PlateSizeError> {
        let rows = self.wells.div_ceil(self.columns.max(1));
        for (what, least, most, found) in [
            ("wells", 1, 384, self.wells),
            ("columns", 1, 24, self.columns),
            ("rows", 1, 16, rows),
            ("sites", 1, 100, self.sites),
            ("channels", 1, Stain::ALL.len(), self.channels),
            ("planes (z)", 1, 100, self.z),
            ("pixels (size)", 16, 8192, self.size),
        ] {
            if !(least..=most).contains(&found) {
                return Err(PlateSizeError { what, least, most, found });
            }
        }
        Ok(())
    }

    /// Names of the wells, "A01", "A02", ...
    pub fn well_names(&self) -> Vec<String> {
        (0..self.wells)
            .map(|index| {
                let row = char::from(b'A' + (index / self.columns % 26) as u8);
                format!("{row}{:02}", index % self.columns + 1)
            })
            .collect()
    }

    /// The dose of a well, 0 to 1, by its column.
    pub fn dose(&self, well: usize) -> f32 {
        let last = self.columns.min(self.wells).saturating_sub(1).max(1);
        (well % self.columns) as f32 / last as f32
    }

    /// The channels' stains.
    pub fn stains(&self) -> &'static [Stain] {
        &Stain::ALL[..self.channels.min(Stain::ALL.len())]
    }

    /// Number of images: wells x sites x channels x planes.
    pub fn images(&self) -> usize {
        self.wells * self.sites * self.channels * self.z
    }

    /// One field of view: its cells are grown once for all channels and planes. Indices count from 0.
    pub fn field(&self, well: usize, site: usize) -> Field {
        let seed = mixed(self.seed, &[well as u64, site as u64]);
        Field { cells: grow_cells(seed, self.size, self.dose(well)), plate: self.clone(), seed }
    }
}

/// A field of view with its cells.
#[derive(Clone, Debug)]
pub struct Field {
    cells: Vec<Cell>,
    plate: SyntheticPlate,
    seed: u64,
}

impl Field {
    /// The planes of one channel, `[y, x]` each, from below to above the cells. Focus is best near the middle.
    pub fn planes(&self, stain: Stain) -> Vec<Array2<u16>> {
        let groups = self.light(stain);
        // The dish is not quite level: focus differs between fields, less than a step of z.
        let tilt_um = ((self.seed % 101) as f32 / 100.0 - 0.5) * 1.6;
        let middle = (self.plate.z as f32 - 1.0) / 2.0;
        (0..self.plate.z)
            .map(|z| {
                let stage_um = (z as f32 - middle) * Z_STEP_UM as f32 - tilt_um;
                let groups: Vec<(Array2<f32>, f32)> =
                    groups.iter().map(|(light, height_um)| (light.clone(), stage_um - height_um)).collect();
                microscope::expose(&groups, stain, mixed(self.seed, &[stain as u64, z as u64]))
            })
            .collect()
    }

    /// Number of cells whose nucleus lies in the field.
    pub fn cells_inside(&self) -> usize {
        let inside = |position: f32| position >= 0.0 && position < self.plate.size as f32;
        self.cells.iter().filter(|cell| cell.centre.iter().all(|&position| inside(position))).count()
    }

    /// Sharp light of the cells that lie flat and of those that rounded up, each with its height in micrometres.
    fn light(&self, stain: Stain) -> Vec<(Array2<f32>, f32)> {
        [false, true]
            .into_iter()
            .filter_map(|dividing| {
                let group: Vec<&Cell> = self.cells.iter().filter(|cell| cell.dividing == dividing).collect();
                if group.is_empty() && dividing {
                    return None;
                }
                let mut light = Array2::zeros((self.plate.size, self.plate.size));
                group.iter().for_each(|cell| stain.paint(cell, &mut light));
                let height_um = group.iter().map(|cell| cell.height_um).sum::<f32>() / group.len().max(1) as f32;
                Some((light, height_um))
            })
            .collect()
    }
}

/// A seed of its own for each part of the plate (the finaliser of splitmix64 after each step).
fn mixed(seed: u64, parts: &[u64]) -> u64 {
    parts.iter().fold(seed, |hash, part| {
        let mut z = (hash ^ part.wrapping_mul(0x9E37_79B9_7F4A_7C15)).wrapping_add(0x9E37_79B9_7F4A_7C15);
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests say where they failed")]
    use wellscope_plates::AnyArray;

    use super::*;
    use crate::functions::{Background, Gaussian, Label, Threshold, measure, outlines};

    fn small() -> SyntheticPlate {
        SyntheticPlate { wells: 8, columns: 4, sites: 1, size: 256, ..Default::default() }
    }

    #[test]
    fn same_seed_gives_the_same_pixels_and_another_others() {
        let plate = small();
        let planes = plate.field(1, 0).planes(Stain::Dapi);
        assert_eq!(planes.len(), 3);
        assert_eq!(planes, plate.field(1, 0).planes(Stain::Dapi));
        let other = SyntheticPlate { seed: 2, ..plate };
        assert_ne!(planes, other.field(1, 0).planes(Stain::Dapi));
        assert_ne!(planes, plate_field_of_another_well());
    }

    fn plate_field_of_another_well() -> Vec<Array2<u16>> {
        small().field(5, 0).planes(Stain::Dapi)
    }

    #[test]
    fn wells_are_named_by_row_and_column_and_dosed_by_column() {
        let plate = small();
        assert_eq!(plate.well_names(), ["A01", "A02", "A03", "A04", "B01", "B02", "B03", "B04"]);
        assert_eq!((plate.dose(0), plate.dose(3), plate.dose(4)), (0.0, 1.0, 0.0));
        assert_eq!(plate.images(), 8 * 3 * 3);
    }

    #[test]
    fn sizes_that_make_no_plate_are_refused() {
        let wrong = SyntheticPlate { channels: 5, ..small() };
        assert_eq!(wrong.validate().unwrap_err().to_string(), "a plate takes 1 to 4 channels, found 5");
        let tall = SyntheticPlate { wells: 17, columns: 1, ..small() };
        assert_eq!(tall.validate().unwrap_err().to_string(), "a plate takes 1 to 16 rows, found 17");
        assert!(small().validate().is_ok());
    }

    /// Blurred, flattened, split by Otsu: labels of the sharpest plane.
    fn nuclei(plate: &SyntheticPlate, well: usize) -> (ndarray::Array2<i32>, Vec<Array2<u16>>) {
        let planes = plate.field(well, 0).planes(Stain::Dapi);
        let middle = AnyArray::U16(planes[1].clone().into_dyn());
        let smooth = Gaussian { sigma: 1.5 }.apply(&middle).unwrap();
        let flat = Background { radius: 30, ..Default::default() }.apply(&smooth).unwrap();
        let mask = Threshold::default().apply(&flat).unwrap();
        let label = Label { min_size: 60, ..Default::default() };
        let AnyArray::I32(labels) = label.apply(&mask).unwrap() else { panic!("another type") };
        let labels = labels.index_axis_move(ndarray::Axis(0), 0).into_dimensionality().unwrap();
        (labels, planes)
    }

    #[test]
    fn built_in_steps_find_about_as_many_nuclei_as_there_are() {
        let plate = SyntheticPlate { size: 512, ..small() };
        for well in [0, 3] {
            let (labels, _) = nuclei(&plate, well);
            let (found, real) = (outlines(labels.view()).len() as f64, plate.field(well, 0).cells_inside() as f64);
            assert!((found / real - 1.0).abs() < 0.2, "well {well}: found {found} of {real}");
        }
    }

    #[test]
    fn a_dose_moves_the_reporter_into_the_nucleus_and_kills_cells() {
        let plate = SyntheticPlate { size: 512, ..small() };
        let reporter = |well: usize| {
            let (labels, _) = nuclei(&plate, well);
            let gfp = plate.field(well, 0).planes(Stain::Gfp)[1].mapv(f32::from);
            let objects = measure(labels.view(), gfp.view());
            objects.iter().map(|object| object.mean).sum::<f64>() / objects.len() as f64
        };
        assert!(reporter(3) > 1.5 * reporter(0), "{} {}", reporter(3), reporter(0));
        assert!(plate.field(3, 0).cells_inside() * 3 < plate.field(0, 0).cells_inside() * 2);
    }

    #[test]
    fn the_middle_plane_is_sharpest() {
        let planes = small().field(0, 0).planes(Stain::Dapi);
        let contrast = |plane: &Array2<u16>| {
            let smooth = crate::functions::gaussian_blur(plane.mapv(f32::from).view(), 1.0);
            let slope = &smooth.slice(ndarray::s![.., 1..]) - &smooth.slice(ndarray::s![.., ..-1]);
            slope.iter().map(|step| step * step).sum::<f32>()
        };
        assert!(contrast(&planes[1]) > contrast(&planes[0]) && contrast(&planes[1]) > contrast(&planes[2]));
    }
}
