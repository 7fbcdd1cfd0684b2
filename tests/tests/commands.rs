//! `wellscope stream`, `run` and `demo` as users call them, with real viewers.
// Signals: on Linux only.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a helper of a test that unwraps says where it failed")]

use std::path::{Path, PathBuf};

use wellscope_client::{ControlClient, LayerSummary, Transport, ViewerState};
use wellscope_plates::{
    AnyArray, FieldPlane, OmeZarrPlateWriter, Plate, TiffMetadata, VoxelSizeUm, ZarrPlateOptions, write_tiff,
};
use wellscope_tests::commands::{Ended, command, ended, files, start, text};
use wellscope_tests::home::InHome;
use wellscope_tests::lifecycle::{Place, runs, signal, wait_for};

/// Wells x sites x channels x planes of the plates here.
const IMAGES: usize = 3 * 2 * 2 * 2;

fn place() -> Place {
    Place::new(Transport::Ipc).unwrap()
}

/// A small plate with the demo's pipeline beside it, in the place's home.
fn plate(place: &Place) -> (PathBuf, PathBuf) {
    let folder = place.home.path().join("demo");
    let sizes = ["--wells", "3", "--sites", "2", "--channels", "2", "--z", "2", "--size", "64"];
    let made = command(place, &[&["demo", "--only-plate", "--dir", text(&folder).unwrap()], &sizes[..]].concat());
    let made = made.unwrap();
    assert_eq!(made.code, 0, "{}", made.err);
    (folder.join("plate"), folder.join("pipeline.toml"))
}

fn stream(place: &Place, plate: &Path, options: &[&str]) -> Ended {
    let port = place.port.to_string();
    let words = ["stream", text(plate).unwrap(), "--port", &port, "--headless", "--settle", "--json"];
    command(place, &[&words[..], options].concat()).unwrap()
}

fn run(place: &Place, pipeline: &Path, plate: &Path, options: &[&str]) -> Ended {
    let port = place.port.to_string();
    let words = ["run", text(pipeline).unwrap(), text(plate).unwrap(), "--port", &port, "--headless", "--json"];
    command(place, &[&words[..], options].concat()).unwrap()
}

fn state(place: &Place) -> ViewerState {
    ControlClient::connect(&place.endpoint()).unwrap().viewer_state(&Default::default()).unwrap()
}

/// The labels of a slider, or the one value that a layer always has.
fn labels(layer: &LayerSummary, component: &str) -> Vec<String> {
    layer
        .sliders
        .iter()
        .find(|slider| slider.component == component)
        .unwrap_or_else(|| panic!("{layer:?}"))
        .labels
        .clone()
}

#[test]
fn a_streamed_plate_is_there_with_all_wells_channels_and_names() {
    let place = place();
    let (plate, _) = plate(&place);
    let streamed = stream(&place, &plate, &[]);
    assert_eq!(streamed.code, 0, "{}", streamed.err);
    let summary = streamed.event("summary").unwrap();
    assert_eq!(summary["images"], IMAGES);
    assert_eq!(summary["bytes"], IMAGES * 64 * 64 * 2);
    assert_eq!((&summary["failed"], &summary["settled"]), (&0.into(), &true.into()));
    assert_eq!(streamed.event("viewer").unwrap()["outcome"], "started");
    let state = state(&place);
    assert_eq!((state.layers.len(), state.item_count), (1, IMAGES as u64), "{state:?}");
    let layer = &state.layers[0];
    assert_eq!(layer.title, "plate");
    let well_labels = labels(layer, "well");
    assert_eq!(well_labels.len(), 3);
    assert!(well_labels[0].contains("A01") && well_labels[2].contains("A03"), "{well_labels:?}");
    let channel_labels = labels(layer, "channel");
    assert!(channel_labels[0].contains("DAPI") && channel_labels[1].contains("GFP"), "{channel_labels:?}");
    assert_eq!((labels(layer, "site").len(), labels(layer, "z_index").len()), (2, 2));
    assert_eq!((state.problems.len(), state.holes.len()), (0, 0), "{state:?}");

    // Again, into the same viewer: nothing is doubled.
    let again = stream(&place, &plate, &[]);
    assert_eq!(again.event("viewer").unwrap()["outcome"], "reused");
    assert_eq!(self::state(&place).item_count, IMAGES as u64);
}

#[test]
fn what_is_chosen_is_shown_and_nothing_else() {
    let place = place();
    let (plate, _) = plate(&place);
    let chosen = ["--wells", "A02:A03", "--channels", "gfp", "--sites", "2", "--layers", "well"];
    let streamed = stream(&place, &plate, &chosen);
    assert_eq!(streamed.code, 0, "{}", streamed.err);
    let state = state(&place);
    // A layer per well, two planes along z each.
    assert_eq!((state.layers.len(), state.item_count), (2, 4), "{state:?}");
    assert!(state.layers.iter().all(|layer| labels(layer, "z_index").len() == 2));

    let wrong = stream(&place, &plate, &["--channels", "Cy5"]);
    assert_eq!(wrong.code, 1);
    let message = wrong.event("error").unwrap()["message"].as_str().unwrap().to_owned();
    assert_eq!(message, "--channels \"Cy5\" fits nothing on this plate, which has 1 (DAPI), 2 (GFP)");
}

#[test]
fn plates_of_other_kinds_are_shown_too() {
    let place = place();
    let (imagexpress, _) = plate(&place);
    let source = Plate::open(&imagexpress).unwrap();
    let voxel_size_um = VoxelSizeUm { z: Some(2.0), y: Some(0.65), x: Some(0.65) };

    let zarr = place.home.path().join("plate.zarr");
    let options = ZarrPlateOptions { names: source.names.clone(), voxel_size_um, ..Default::default() };
    let writer = OmeZarrPlateWriter::create(&zarr, options).unwrap();
    for well in source.wells() {
        for site in [1, 2] {
            let images: Vec<_> = source.images_of(&well).filter(|image| image.site == site).collect();
            let arrays: Vec<AnyArray> = images.iter().map(|image| source.read(image).unwrap()).collect();
            let planes: Vec<FieldPlane<'_>> = images
                .iter()
                .zip(&arrays)
                .map(|(image, pixels)| FieldPlane {
                    channel: image.channel,
                    z_index: image.z_index,
                    timepoint: image.timepoint,
                    pixels,
                })
                .collect();
            writer.write_field(&well, site, &planes).unwrap();
        }
    }
    let zarr = writer.finish().unwrap();

    let ome_tiff = place.home.path().join("stack.ome.tif");
    let planes: Vec<AnyArray> = source.images[..4].iter().map(|image| source.read(image).unwrap()).collect();
    let stack = AnyArray::stack(&planes).unwrap();
    let AnyArray::U16(stack) = stack else { panic!("another type") };
    let stack = AnyArray::U16(stack.into_shape_with_order(vec![2, 2, 64, 64]).unwrap());
    let channel_names = vec!["DAPI".to_owned(), "GFP".to_owned()];
    write_tiff(&ome_tiff, &stack, &TiffMetadata { channel_names, voxel_size_um, ..Default::default() }).unwrap();

    let phenix = place.home.path().join("phenix").join("Images");
    std::fs::create_dir_all(&phenix).unwrap();
    for image in &source.images {
        let column = image.well[1..].parse::<u32>().unwrap();
        let name = format!("r01c{column:02}f{:02}p{:02}-ch{}sk1fk1fl1.tiff", image.site, image.z_index, image.channel);
        write_tiff(phenix.join(name), &source.read(image).unwrap(), &TiffMetadata::default()).unwrap();
    }

    for (kind, path, images, wells) in [
        ("OME-Zarr", zarr.as_path(), IMAGES, 3),
        ("OME-TIFF", &ome_tiff, 4, 1),
        ("Opera Phenix", phenix.parent().unwrap(), IMAGES, 3),
    ] {
        let streamed = stream(&place, path, &["--replace"]);
        assert_eq!(streamed.code, 0, "{kind}: {}", streamed.err);
        let event = streamed.event("plate").unwrap();
        assert_eq!((&event["format"], &event["wells"]), (&kind.into(), &wells.into()));
        assert_eq!(streamed.event("summary").unwrap()["images"], images, "{kind}");
        let state = state(&place);
        assert_eq!((state.layers.len(), state.item_count), (1, images as u64), "{kind} {state:?}");
        let channels = labels(&state.layers[0], "channel");
        assert_eq!(channels.len(), 2, "{kind}");
        if kind != "Opera Phenix" {
            assert!(channels[0].contains("DAPI") && channels[1].contains("GFP"), "{kind} {channels:?}");
        }
    }
}

#[test]
fn an_image_that_cannot_be_read_costs_only_itself() {
    let place = place();
    let (plate, pipeline) = plate(&place);
    std::fs::write(plate.join("A02_s001_w1_z001_t001.tif"), b"II*\0 cut off").unwrap();
    let streamed = stream(&place, &plate, &[]);
    assert_eq!(streamed.code, 1);
    assert_eq!(streamed.event("failed").unwrap()["image"], "A02_s001_w1_z001_t001.tif");
    let summary = streamed.event("summary").unwrap();
    assert_eq!((&summary["images"], &summary["failed"]), (&(IMAGES - 1).into(), &1.into()));
    assert_eq!(state(&place).item_count, IMAGES as u64 - 1);

    // The well that has it fails, the others are done.
    let ran = run(&place, &pipeline, &plate, &["--no-viewer"]);
    assert_eq!(ran.code, 1, "{}", ran.err);
    let wells = ran.event("summary").unwrap()["wells"].clone();
    let outcomes: Vec<&str> = wells.as_array().unwrap().iter().map(|well| well["outcome"].as_str().unwrap()).collect();
    assert_eq!(outcomes, ["done", "failed", "done"]);
    assert!(wells[1]["error"].as_str().unwrap().contains("A02_s001_w1_z001_t001.tif"), "{wells}");
}

#[test]
fn the_demo_shows_writes_and_measures_with_nothing_but_the_binary() {
    let place = place();
    let folder = place.home.path().join("demo");
    let picture = place.home.path().join("demo.png");
    let port = place.port.to_string();
    let words = [
        "demo",
        "--dir",
        text(&folder).unwrap(),
        "--wells",
        "4",
        "--sites",
        "1",
        "--size",
        "256",
        "--port",
        &port,
        "--headless",
        "--keep",
        "--json",
        "--screenshot",
        text(&picture).unwrap(),
    ];
    let ran = command(&place, &words).unwrap();
    assert_eq!(ran.code, 0, "{}", ran.err);
    let summary = ran.event("summary").unwrap();
    assert_eq!(summary["wells"].as_array().unwrap().len(), 4);
    assert_eq!(summary["viewers"][0]["lost"], 0, "{summary}");
    assert!(std::fs::read(&picture).unwrap().starts_with(b"\x89PNG"));

    let outputs = folder.join("plate_outputs");
    // Labels of the last step, of each well: one field, one plane.
    let names: Vec<String> =
        files(&outputs).iter().map(|path| path.file_name().unwrap().to_string_lossy().into_owned()).collect();
    assert_eq!(names.iter().filter(|name| name.ends_with("_objects.csv")).count(), 4, "{names:?}");
    let table = files(&outputs).into_iter().find(|path| path.ends_with_name("_objects.csv")).unwrap();
    let table = std::fs::read_to_string(table).unwrap();
    assert!(table.starts_with("label,area_px,centroid_y,centroid_x,area_um2,mean"), "{table}");
    assert!(table.contains("GFP") && table.lines().count() > 5, "{table}");

    let state = state(&place);
    let titles: Vec<&str> = state.layers.iter().map(|layer| layer.title.as_str()).collect();
    let projection = state.layers.iter().find(|layer| layer.title.contains("Projection"));
    assert_eq!(projection.unwrap_or_else(|| panic!("{titles:?}")).item_count, 4 * 3, "{titles:?}");
    let is_shapes = |layer: &&LayerSummary| layer.data_types.iter().any(|kind| kind == "shapes");
    let outlines = state.layers.iter().find(is_shapes).unwrap_or_else(|| panic!("{titles:?}"));
    assert_eq!(outlines.item_count, 4, "{titles:?}");
    assert!(
        !titles.iter().any(|title| ["Background", "Smooth", "Normalize"].iter().any(|name| title.contains(name))),
        "{titles:?}"
    );
    assert_eq!(state.problems, Vec::<String>::new());

    // A second time: the plate is used as it is, and the viewer too.
    let again = command(&place, &words).unwrap();
    assert_eq!(again.code, 0, "{}", again.err);
    assert!(again.event("plate_reused").is_ok());
    assert_eq!(again.event("viewer_ready").unwrap()["reused"], true);
}

#[test]
fn a_demo_without_a_folder_leaves_nothing_behind() {
    let place = place();
    let port = place.port.to_string();
    let temporary = place.home.path().join("t");
    std::fs::create_dir(&temporary).unwrap();
    let words = ["demo", "--wells", "1", "--sites", "1", "--size", "64", "--port", &port, "--headless", "--json"];
    let program = wellscope_tests::viewer::binary().unwrap();
    let output = std::process::Command::new(program)
        .args(words)
        .in_home(place.home.path())
        .env("TMPDIR", &temporary)
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(files(&temporary), Vec::<PathBuf>::new());
    // The viewer that no one can see is closed.
    assert!(wellscope_client::Viewer::connect(&place.endpoint()).is_err());
}

#[test]
fn a_dry_run_says_what_would_happen_and_does_nothing() {
    let place = place();
    let (plate, pipeline) = plate(&place);
    let words = ["run", text(&pipeline).unwrap(), text(&plate).unwrap(), "--dry-run", "--wells", "2"];
    let dry = command(&place, &words).unwrap();
    assert_eq!(dry.code, 0, "{}", dry.err);
    assert!(dry.out.contains("2 wells: A01, A02"), "{}", dry.out);
    assert!(dry.out.contains("Viewer: localhost port 5555"), "{}", dry.out);
    assert!(!plate.with_file_name("plate_outputs").exists());

    let wrong = run(&place, &place.home.path().join("none.toml"), &plate, &[]);
    assert_eq!(wrong.code, 3);
    assert!(wrong.event("error").unwrap()["message"].as_str().unwrap().contains("none.toml"));
    let misspelt = place.home.path().join("misspelt.toml");
    std::fs::write(&misspelt, "[[step]]\nfunction = \"gausian\"\n").unwrap();
    let wrong = run(&place, &misspelt, &plate, &[]);
    assert_eq!(wrong.code, 3);
    assert!(wrong.err.contains("there is no function \"gausian\""), "{}", wrong.err);
    let empty = place.home.path().join("empty");
    std::fs::create_dir(&empty).unwrap();
    assert_eq!(run(&place, &pipeline, &empty, &[]).code, 3);
}

/// A plate and a pipeline that take seconds, with a viewer that is to close with the run.
fn long_run(place: &Place) -> (PathBuf, PathBuf) {
    let folder = place.home.path().join("long");
    let words = ["demo", "--only-plate", "--dir", text(&folder).unwrap(), "--wells", "24", "--size", "256"];
    assert_eq!(command(place, &words).unwrap().code, 0);
    let pipeline = folder.join("pipeline.toml");
    let text = std::fs::read_to_string(&pipeline).unwrap();
    assert!(text.contains("persistent = true"));
    std::fs::write(&pipeline, text.replace("persistent = true", "persistent = false")).unwrap();
    (folder.join("plate"), pipeline)
}

/// Every file that has its final name can be read to its end.
fn assert_whole(outputs: &Path) -> usize {
    let mut images = 0;
    for file in files(outputs) {
        let name = file.file_name().unwrap().to_string_lossy().into_owned();
        if name.ends_with(".tif") && !name.starts_with('.') {
            let plate = Plate::open(&file).unwrap_or_else(|error| panic!("{error}"));
            plate.images.iter().for_each(|image| drop(plate.read(image).unwrap_or_else(|error| panic!("{error}"))));
            images += 1;
        }
        if name.ends_with(".json") && !name.starts_with('.') {
            serde_json::from_slice::<serde_json::Value>(&std::fs::read(&file).unwrap()).unwrap();
        }
    }
    images
}

#[test]
fn an_interrupted_run_ends_soon_and_leaves_whole_files_and_no_viewer() {
    let place = place();
    let (plate, pipeline) = long_run(&place);
    let port = place.port.to_string();
    let words = ["run", text(&pipeline).unwrap(), text(&plate).unwrap(), "--port", &port, "--headless", "--json"];
    let child = start(&place, &words).unwrap();
    let outputs = plate.with_file_name("plate_outputs");
    wait_for("something is written", || files(&outputs).len() > 3).unwrap();
    signal(child.id(), "-INT").unwrap();
    let ran = ended(child).unwrap();
    assert_eq!(ran.code, 130, "{}", ran.err);
    let summary = ran.event("summary").unwrap();
    assert_eq!(summary["cancelled"], true);
    let wells = summary["wells"].as_array().unwrap();
    assert_eq!(wells.len(), 24);
    assert!(wells.iter().any(|well| well["outcome"] == "cancelled"), "{summary}");
    assert!(assert_whole(&outputs) > 0);
    let names = files(&outputs);
    let left = |path: &PathBuf| path.file_name().unwrap().to_string_lossy().starts_with('.');
    assert!(!names.iter().any(left), "{names:?}");
    assert!(wellscope_client::Viewer::connect(&place.endpoint()).is_err(), "the viewer was not persistent");
}

#[test]
fn a_run_that_is_killed_leaves_whole_files_and_no_orphan() {
    let place = place();
    let (plate, pipeline) = long_run(&place);
    let port = place.port.to_string();
    let words = ["run", text(&pipeline).unwrap(), text(&plate).unwrap(), "--port", &port, "--headless", "--json"];
    let mut child = start(&place, &words).unwrap();
    let outputs = plate.with_file_name("plate_outputs");
    let control = ControlClient::connect(&place.endpoint()).unwrap();
    let mut viewer = None;
    wait_for("the viewer serves and something is written", || {
        viewer = control.ping(wellscope_client::PING_TIMEOUT).ok().and_then(|pong| pong.process);
        viewer.is_some() && files(&outputs).len() > 3
    })
    .unwrap();
    let viewer = viewer.unwrap().pid;
    signal(child.id(), "-KILL").unwrap();
    child.wait().unwrap();
    wait_for("the viewer is gone", || !runs(viewer)).unwrap();
    assert!(assert_whole(&outputs) > 0);

    // And the next run over the same folders is a whole one.
    let ran = run(&place, &pipeline, &plate, &["--wells", "A*"]);
    assert_eq!(ran.code, 0, "{}", ran.err);
    assert!(assert_whole(&outputs) > 0);
}

#[test]
fn without_a_viewer_and_none_to_start_a_stream_says_so() {
    let place = place();
    let (plate, _) = plate(&place);
    let port = place.port.to_string();
    let words = ["stream", text(&plate).unwrap(), "--port", &port, "--no-start"];
    let streamed = command(&place, &words).unwrap();
    assert_eq!((streamed.code, streamed.out.as_str()), (3, ""), "{}", streamed.err);
    assert!(streamed.err.contains("wellscope stream: "), "{}", streamed.err);
    let missing = command(&place, &["stream", "/no/such/plate", "--port", &port]).unwrap();
    assert_eq!(missing.code, 1);
    assert!(missing.err.contains("/no/such/plate"), "{}", missing.err);
}

trait EndsWithName {
    fn ends_with_name(&self, end: &str) -> bool;
}

impl EndsWithName for PathBuf {
    fn ends_with_name(&self, end: &str) -> bool {
        self.file_name().is_some_and(|name| name.to_string_lossy().ends_with(end))
    }
}
