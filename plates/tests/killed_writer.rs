//! A writer that is killed leaves whole files and nothing that looks like a finished plate.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests say where they failed")]

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use wellscope_plates::{AnyArray, FieldPlane, OmeZarrPlateWriter, Plate, TiffMetadata, ZarrPlateOptions, write_tiff};

/// Set in the process that this test starts from its own executable: the folder to write to.
const CHILD: &str = "WELLSCOPE_TEST_WRITES_UNTIL_KILLED";
const EXTENT: usize = 1200;

fn plane(site: u16) -> AnyArray {
    AnyArray::from_values(&[EXTENT, EXTENT], vec![site; EXTENT * EXTENT]).unwrap()
}

/// Writes the same eight files and the fields of a plate again and again. Ends by itself when nobody kills it.
fn write_until_killed(folder: &Path) {
    let end = Instant::now() + Duration::from_secs(60);
    let writer = OmeZarrPlateWriter::create(folder.join("out.zarr"), ZarrPlateOptions::default()).unwrap();
    let mut round = 0;
    while Instant::now() < end {
        for site in 1..=8 {
            let pixels = plane(site);
            write_tiff(folder.join(format!("A01_s{site}_w1.tif")), &pixels, &TiffMetadata::default()).unwrap();
            let planes = [FieldPlane { channel: 1, z_index: 1, timepoint: 1, pixels: &pixels }];
            writer.write_field("A01", round * 8 + i64::from(site), &planes).unwrap();
        }
        round += 1;
    }
}

/// Kills the process when the test ends, whatever happens.
struct Killed(Child);

impl Drop for Killed {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn a_writer_that_is_killed_leaves_whole_files_and_no_finished_plate() {
    if let Some(folder) = std::env::var_os(CHILD) {
        return write_until_killed(&PathBuf::from(folder));
    }
    let folder = tempfile::tempdir().unwrap();
    let child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "a_writer_that_is_killed_leaves_whole_files_and_no_finished_plate"])
        .env(CHILD, folder.path())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let child = Killed(child);
    let deadline = Instant::now() + Duration::from_secs(50);
    // The second round replaces files, so the kill meets files that are there already.
    let second_round = || {
        let hidden = std::fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().path());
        let plate = hidden.into_iter().find(|path| path.to_string_lossy().contains("out.zarr"));
        plate.is_some_and(|plate| plate.join("A/01/12").is_dir())
    };
    while !second_round() {
        assert!(Instant::now() < deadline, "the writer did not write");
        std::thread::sleep(Duration::from_millis(5));
    }
    drop(child);

    assert!(!folder.path().join("out.zarr").exists());
    let plate = Plate::open(folder.path()).unwrap();
    assert_eq!((plate.images.len(), plate.warnings.len()), (8, 0));
    for image in &plate.images {
        assert_eq!(plate.read(image).unwrap(), plane(image.site as u16));
    }
}
