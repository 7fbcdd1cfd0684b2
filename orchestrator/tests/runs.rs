//! Runs over real files: what is written, what fails, and what a cancelled run leaves.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that unwraps says where it failed")]

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use wellscope_orchestrator::config::{Level, MaterializationLevel};
use wellscope_orchestrator::functions::{FunctionOutput, Table};
use wellscope_orchestrator::{
    Backend, CancelToken, Event, Functions, Pipeline, PlateSummary, RunOptions, Step, StepFunction, Summary,
    WellFilter, WellOutcome, compile, run, step_function,
};
use wellscope_plates::{AnyArray, Plate, TiffMetadata, write_tiff};
use wellscope_protocol::dtype::ElementType;

/// Value of a pixel of the plate: tells where it came from.
fn value(well: usize, site: i64, channel: i64, z: i64) -> u16 {
    (well as u16 + 1) * 1000 + (site * 100 + channel * 10 + z) as u16
}

/// Four wells, two sites, two channels, three planes; each image one value.
fn plate(folder: &Path) -> Arc<Plate> {
    let images = folder.join("plate");
    std::fs::create_dir_all(&images).unwrap();
    for (index, well) in ["A01", "A02", "B01", "B02"].into_iter().enumerate() {
        for (site, channel, z) in (1..=2).flat_map(|s| (1..=2).flat_map(move |c| (1..=3).map(move |z| (s, c, z)))) {
            let pixels = AnyArray::from_values(&[4, 5], vec![value(index, site, channel, z); 20]).unwrap();
            let name = format!("{well}_s{site:03}_w{channel}_z{z:03}_t001.tif");
            write_tiff(images.join(name), &pixels, &TiffMetadata::default()).unwrap();
        }
    }
    Arc::new(Plate::open(&images).unwrap())
}

fn plus_one() -> Arc<dyn StepFunction> {
    step_function("plus one", |stack, _| {
        let AnyArray::U16(stack) = stack else { return Err("takes uint16".into()) };
        Ok(FunctionOutput::planes(AnyArray::U16(stack.mapv(|value| value + 1))))
    })
}

fn carried_out(pipeline: &Pipeline, plate: &Arc<Plate>, options: &RunOptions) -> Summary {
    let plan = compile(pipeline, &PlateSummary::of(plate), &Level::default(), None).unwrap();
    let options = RunOptions { viewers: None, ..options.clone() };
    run(pipeline, &plan, plate, &options).unwrap()
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).into_iter().flatten() {
            let path = entry.unwrap().path();
            if path.is_dir() { folders.push(path) } else { found.push(path) }
        }
    }
    found.sort();
    found
}

/// The one value that all pixels of a plane have.
fn only_value(plate: &Plate, well: &str, site: i64, channel: i64, z: i64) -> u16 {
    let image =
        plate.images_of(well).find(|image| (image.site, image.channel, image.z_index) == (site, channel, z)).unwrap();
    let AnyArray::U16(pixels) = plate.read(image).unwrap() else { panic!() };
    assert_eq!(pixels.shape(), [4, 5]);
    assert!(pixels.iter().all(|pixel| *pixel == pixels[[0, 0]]));
    pixels[[0, 0]]
}

#[test]
fn steps_follow_each_other_and_outputs_are_plates_again() {
    for backend in [Backend::Disk, Backend::Zarr] {
        let folder = tempfile::tempdir().unwrap();
        let plate = plate(folder.path());
        let pipeline = Pipeline::new("twice")
            .step(Step::new("first", plus_one()).materialize(MaterializationLevel {
                backend: Some(backend),
                well_filter: Some(WellFilter::List(vec!["A02".into()])),
                ..Default::default()
            }))
            .step(Step::new("second", plus_one()).variable(&["z_index", "site"]).output(backend));
        let summary = carried_out(&pipeline, &plate, &RunOptions::default());
        assert_eq!((summary.wells_done(), summary.problems.len()), (4, 0), "{summary:?}");
        assert_eq!(summary.wells.iter().map(|well| well.planes).sum::<usize>(), 4 * 12 * 2);

        let out = folder.path().join("plate_outputs");
        let (main, kept) = match backend {
            Backend::Zarr => (out.join("plate.ome.zarr"), out.join("checkpoints/01_first.ome.zarr")),
            _ => (out.clone(), out.join("checkpoints/01_first")),
        };
        let kept = Plate::open(kept).unwrap();
        assert_eq!(kept.wells().iter().map(|well| well.to_string()).collect::<Vec<_>>(), ["A02"]);
        assert_eq!(only_value(&kept, "A02", 2, 1, 3), value(1, 2, 1, 3) + 1);
        // Checkpoints lie below the main folder, so that one is opened by its files.
        if backend == Backend::Disk {
            let own: Vec<_> =
                std::fs::read_dir(&main).unwrap().filter(|entry| entry.as_ref().unwrap().path().is_file()).collect();
            assert_eq!(own.len(), 48);
            std::fs::remove_dir_all(out.join("checkpoints")).unwrap();
        }
        let main = Plate::open(main).unwrap();
        assert_eq!(main.images.len(), 48, "{backend:?}");
        for (index, well) in ["A01", "A02", "B01", "B02"].into_iter().enumerate() {
            assert_eq!(only_value(&main, well, 1, 2, 3), value(index, 1, 2, 3) + 2, "{backend:?} {well}");
        }
    }
}

#[test]
fn functions_get_planes_stacked_along_variable_components_in_order() {
    let folder = tempfile::tempdir().unwrap();
    let plate = plate(folder.path());
    let seen: Arc<Mutex<Vec<Vec<u16>>>> = Arc::default();
    let note = Arc::clone(&seen);
    let keep_last = step_function("last of z", move |stack, info| {
        let AnyArray::U16(values) = stack else { return Err("takes uint16".into()) };
        note.lock().unwrap().push(values.outer_iter().map(|plane| plane[[0, 0]]).collect());
        assert_eq!(info.plane_names, ["z_index 1", "z_index 2", "z_index 3"]);
        let last = values.slice(ndarray::s![2..3, .., ..]).to_owned().into_dyn();
        Ok(FunctionOutput::planes(AnyArray::U16(last)))
    });
    let pipeline = Pipeline::new("z").step(Step::new("z", keep_last).variable(&["z_index"]));
    let options = RunOptions { jobs: 1, ..RunOptions::default() };
    let summary = carried_out(&pipeline, &plate, &options);
    assert_eq!(summary.wells_done(), 4);
    let seen = seen.lock().unwrap();
    assert_eq!(seen.len(), 4 * 2 * 2);
    assert_eq!(seen[0], [1, 2, 3].map(|z| value(0, 1, 1, z)));
    assert_eq!(seen[1], [1, 2, 3].map(|z| value(0, 1, 2, z)));
    let made = Plate::open(folder.path().join("plate_outputs")).unwrap();
    assert_eq!(made.images.len(), 16, "one plane of three, at the first address");
    assert_eq!(only_value(&made, "B02", 2, 2, 1), value(3, 2, 2, 3));
}

#[test]
fn groups_choose_their_function_and_others_pass() {
    let folder = tempfile::tempdir().unwrap();
    let plate = plate(folder.path());
    let mut step = Step::new("by channel", plus_one());
    step.functions = Functions::PerGroup([("2".to_owned(), plus_one())].into());
    let summary = carried_out(&Pipeline::new("p").step(step), &plate, &RunOptions::default());
    assert_eq!(summary.wells_done(), 4);
    let made = Plate::open(folder.path().join("plate_outputs")).unwrap();
    assert_eq!(only_value(&made, "A01", 1, 1, 1), value(0, 1, 1, 1), "channel 1 passes");
    assert_eq!(only_value(&made, "A01", 1, 2, 1), value(0, 1, 2, 1) + 1);
}

#[test]
fn a_well_that_fails_does_not_stop_the_others() {
    let folder = tempfile::tempdir().unwrap();
    let plate = plate(folder.path());
    std::fs::write(folder.path().join("plate/A02_s002_w1_z002_t001.tif"), b"II*\0").unwrap();
    let pipeline = Pipeline::new("p").step(Step::new("one", plus_one())).step(Step::new("two", plus_one()));
    let summary = carried_out(&pipeline, &plate, &RunOptions::default());
    assert_eq!(summary.wells_done(), 3);
    let failed: Vec<_> = summary.wells_failed().collect();
    let WellOutcome::Failed { step, error } = &failed[0].outcome else { panic!() };
    assert_eq!((failed[0].well.as_str(), *step), ("A02", Some(0)));
    assert!(error.contains("A02_s002_w1_z002_t001.tif"), "{error}");
    assert!(files(&folder.path().join("plate_outputs")).iter().all(|path| !path.to_string_lossy().contains("A02")));
    // A function that panics is a failed well, too.
    let panics = step_function("panics", |stack, _| match stack {
        AnyArray::U16(values) if values[[0, 0, 0]] / 1000 == 3 => panic!("a bug"),
        other => Ok(FunctionOutput::planes(other.clone())),
    });
    std::fs::remove_file(folder.path().join("plate/A02_s002_w1_z002_t001.tif")).unwrap();
    let plate = Arc::new(Plate::open(folder.path().join("plate")).unwrap());
    let summary = carried_out(&Pipeline::new("p").step(Step::new("bug", panics)), &plate, &RunOptions::default());
    assert_eq!(summary.wells_done(), 3);
    assert_eq!(summary.wells_failed().next().unwrap().well, "B01");
}

#[test]
fn a_cancelled_run_leaves_whole_files_only_and_no_unfinished_plate() {
    for backend in [Backend::Disk, Backend::Zarr] {
        let folder = tempfile::tempdir().unwrap();
        let plate = plate(folder.path());
        let cancel = CancelToken::new();
        let stop = cancel.clone();
        let on_event = Arc::new(move |event: &Event| {
            if matches!(event, Event::WellEnded { .. }) {
                stop.cancel();
            }
        });
        let pipeline = Pipeline::new("p").step(Step::new("one", plus_one()).output(backend));
        let options = RunOptions { jobs: 1, cancel, on_event, ..RunOptions::default() };
        let summary = carried_out(&pipeline, &plate, &options);
        assert!(summary.cancelled);
        assert_eq!(summary.wells_done(), 1, "the well that was done before stays done");
        assert_eq!(summary.wells.len(), 4);
        assert!(summary.wells[1..].iter().all(|well| well.outcome == WellOutcome::Cancelled));
        let left = files(&folder.path().join("plate_outputs"));
        assert!(left.iter().all(|path| !path.to_string_lossy().contains(".part")), "{left:?}");
        match backend {
            Backend::Disk => {
                assert_eq!(left.len(), 12);
                let made = Plate::open(folder.path().join("plate_outputs")).unwrap();
                assert!(made.images.iter().all(|image| made.read(image).is_ok()));
            }
            _ => assert_eq!(left, Vec::<PathBuf>::new(), "nothing that looks like a plate"),
        }
    }
}

#[test]
fn built_in_steps_leave_labels_tables_and_outlines() {
    let folder = tempfile::tempdir().unwrap();
    let images = folder.path().join("cells");
    std::fs::create_dir_all(&images).unwrap();
    let disc = |y: i32, x: i32| (y - 20).pow(2) + (x - 24).pow(2) < 64 || (y - 45).pow(2) + (x - 40).pow(2) < 49;
    for channel in 1..=2u16 {
        let values = (0..64 * 64).map(|index| if disc(index / 64, index % 64) { 900 * channel } else { 100 }).collect();
        let pixels = AnyArray::from_values(&[64, 64], values).unwrap();
        write_tiff(images.join(format!("C05_s1_w{channel}.tif")), &pixels, &TiffMetadata::default()).unwrap();
    }
    let plate = Arc::new(Plate::open(&images).unwrap());
    let text = "[[step]]\nname = 'Measure'\nfunction = 'measure'\nvariable_components = ['channel']\nparameters = { sigma = 0.0 }";
    let pipeline = Pipeline::from_toml(text, "cells").unwrap();
    let summary = carried_out(&pipeline, &plate, &RunOptions::default());
    assert_eq!(summary.wells_done(), 1, "{summary:?}");
    assert_eq!(summary.wells[0].written, 3, "label image, table, outlines");
    let out = folder.path().join("cells_outputs");
    let table = std::fs::read_to_string(out.join("results/01/C05_s001_w1_z001_t001_objects.csv")).unwrap();
    assert_eq!(table.lines().count(), 3, "{table}");
    let outlines = std::fs::read_to_string(out.join("results/01/C05_s001_w1_z001_t001_outlines.json")).unwrap();
    let outlines: serde_json::Value = serde_json::from_str(&outlines).unwrap();
    assert_eq!(outlines.as_array().unwrap().len(), 2);
    assert_eq!(outlines[0]["type"], "polygon");
    std::fs::remove_dir_all(out.join("results")).unwrap();
    let made = Plate::open(&out).unwrap();
    let labels = made.read(&made.images[0]).unwrap();
    assert_eq!(labels.element_type(), ElementType::I32);
    assert_eq!(labels.to_f32().iter().copied().fold(0.0, f32::max), 2.0);
}

#[test]
fn results_of_a_step_in_memory_are_written_too() {
    let folder = tempfile::tempdir().unwrap();
    let plate = plate(folder.path());
    let counts = step_function("count", |stack, _| {
        let table = Table { columns: vec!["count".into()], rows: vec![vec![7.0]] };
        Ok(FunctionOutput { table: Some(table), ..FunctionOutput::planes(stack.clone()) })
    });
    let pipeline = Pipeline::new("p").step(Step::new("count", counts)).step(Step::new("last", plus_one()));
    assert_eq!(carried_out(&pipeline, &plate, &RunOptions::default()).wells_done(), 4);
    let results = files(&folder.path().join("plate_outputs/results/01"));
    assert_eq!(results.len(), 4 * 2 * 3, "one per well, channel and z; sites are stacked");
    assert_eq!(std::fs::read_to_string(&results[0]).unwrap(), "count\n7\n");
}

#[test]
fn a_run_whose_wells_all_fail_ends_and_says_so() {
    let folder = tempfile::tempdir().unwrap();
    let plate = plate(folder.path());
    let fails = step_function("fails", |_, _| Err("there is no light".into()));
    let ended: Arc<Mutex<Vec<String>>> = Arc::default();
    let note = Arc::clone(&ended);
    let on_event = Arc::new(move |event: &Event| {
        if let Event::WellEnded { well } = event {
            note.lock().unwrap().push(well.well.clone());
        }
    });
    let pipeline = Pipeline::new("p").step(Step::new("fails", fails).output(Backend::Zarr));
    let summary = carried_out(&pipeline, &plate, &RunOptions { on_event, ..RunOptions::default() });
    assert_eq!((summary.wells_done(), summary.wells_failed().count()), (0, 4));
    assert_eq!(ended.lock().unwrap().len(), 4);
    let WellOutcome::Failed { error, .. } = &summary.wells[0].outcome else { panic!() };
    assert!(error.starts_with("fails: there is no light. First plane: A01_s001_w1_z001_t001"), "{error}");
}
