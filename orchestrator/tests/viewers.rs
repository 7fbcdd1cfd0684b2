//! Runs with real viewers: started for the run, reused, closed, missing, killed.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that unwraps says where it failed")]
#![cfg(unix)]

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use wellscope_client::{ControlClient, PING_TIMEOUT, Viewer, ViewerEndpoint};
use wellscope_orchestrator::config::{Level, MaterializationLevel, StreamingLevel};
use wellscope_orchestrator::functions::FunctionOutput;
use wellscope_orchestrator::{
    Backend, CancelToken, Event, Pipeline, PlateSummary, RunOptions, Step, StepFunction, Summary, ViewerOptions,
    WellFilter, compile, run, step_function,
};
use wellscope_plates::{AnyArray, Plate, TiffMetadata, write_tiff};
use wellscope_protocol::batch::{Shape, ShapeGeometry};

/// Every home has sockets of its own, so all tests may use it.
const PORT: u16 = 5555;
const WELLS: [&str; 4] = ["A01", "A02", "B01", "B02"];

/// Runs a test in a process with a home of its own: sockets, locks and logs lie below it.
fn in_own_home(test: &str, body: impl FnOnce(&Path)) {
    if let Some(home) = std::env::var_os("WELLSCOPE_TEST_OWN_HOME") {
        let _closed = ClosedAtEnd;
        return body(Path::new(&home));
    }
    let home = tempfile::Builder::new().prefix("ws").tempdir().unwrap();
    let mut again = Command::new(std::env::current_exe().unwrap());
    again.args(["--exact", test, "--nocapture"]);
    for variable in ["XDG_CACHE_HOME", "XDG_CONFIG_HOME", "XDG_DATA_HOME"] {
        again.env_remove(variable);
    }
    let status = again.env("HOME", home.path()).env("WELLSCOPE_TEST_OWN_HOME", home.path()).status().unwrap();
    assert!(status.success(), "see above");
}

/// No viewer outlives its test, however that ends.
struct ClosedAtEnd;

impl Drop for ClosedAtEnd {
    fn drop(&mut self) {
        if let Ok(mut viewer) = Viewer::connect(&endpoint()) {
            let _ = viewer.stop();
        }
    }
}

fn endpoint() -> ViewerEndpoint {
    ViewerEndpoint::openhcs(PORT)
}

fn control() -> ControlClient {
    ControlClient::connect(&endpoint()).unwrap()
}

fn is_served() -> bool {
    control().ping(PING_TIMEOUT).is_ok()
}

/// The binary under test: what `scripts/test` names, else the one that cargo built beside this test.
fn program() -> PathBuf {
    if let Some(named) = std::env::var_os("WELLSCOPE_TEST_VIEWER") {
        return named.into();
    }
    let test = std::env::current_exe().unwrap();
    let viewer = test.parent().and_then(Path::parent).unwrap().join("wellscope");
    assert!(viewer.is_file(), "{viewer:?} does not exist; run ./scripts/test, or name one in WELLSCOPE_TEST_VIEWER");
    viewer
}

/// Four wells, one site, two named channels.
fn plate(home: &Path) -> Arc<Plate> {
    let images = home.join("plate");
    std::fs::create_dir_all(&images).unwrap();
    for (index, well) in WELLS.into_iter().enumerate() {
        for channel in 1..=2u16 {
            let pixels = AnyArray::from_values(&[32, 48], vec![100 * channel + index as u16; 32 * 48]).unwrap();
            let name = format!("{well}_s1_w{channel}.tif");
            write_tiff(images.join(name), &pixels, &TiffMetadata::default()).unwrap();
        }
    }
    let mut plate = Plate::open(&images).unwrap();
    plate.names.insert("channel".into(), [("1".into(), "DAPI".into()), ("2".into(), "GFP".into())].into());
    Arc::new(plate)
}

fn as_it_is() -> Arc<dyn StepFunction> {
    step_function("as it is", |stack, _| Ok(FunctionOutput::planes(stack.clone())))
}

/// Shown for two wells, one of which has a checkpoint; then a step whose output is written and shown, with an outline per plane.
fn pipeline(persistent: bool) -> Pipeline {
    let outlined = step_function("outlined", |stack, _| {
        let corner = ShapeGeometry::Polygon(vec![[2.0, 2.0], [2.0, 9.0], [9.0, 9.0]]);
        let shape =
            Shape { geometry: corner, label: Some(1), metadata: Default::default(), plane_indices: Default::default() };
        let planes = stack.shape()[0];
        Ok(FunctionOutput { rois: vec![vec![shape]; planes], ..FunctionOutput::planes(stack.clone()) })
    });
    let stream = |filter: Option<WellFilter>| StreamingLevel {
        persistent: Some(persistent),
        well_filter: filter,
        ..Default::default()
    };
    let list = |wells: &[&str]| WellFilter::List(wells.iter().map(|well| (*well).to_owned()).collect());
    Pipeline::new("p")
        .step(
            Step::new("Kept", as_it_is())
                .materialize(MaterializationLevel { well_filter: Some(list(&["A02", "B01"])), ..Default::default() })
                .stream(stream(Some(list(&["A01", "A02"])))),
        )
        .step(Step::new("In memory", as_it_is()).stream(stream(None)))
        .step(Step::new("Last", outlined).output(Backend::Disk).stream(stream(None)))
}

fn carried_out(pipeline: &Pipeline, plate: &Arc<Plate>, options: &RunOptions) -> Summary {
    let plan = compile(pipeline, &PlateSummary::of(plate), &Level::default(), None).unwrap();
    run(pipeline, &plan, plate, options).unwrap()
}

type Events = Arc<Mutex<Vec<Event>>>;

/// Headless viewers, and what happens.
fn options() -> (RunOptions, Events) {
    let events = Events::default();
    let note = Arc::clone(&events);
    let viewers = ViewerOptions { program: Some(program()), headless: Some(true), arguments: Vec::new() };
    let on_event = Arc::new(move |event: &Event| note.lock().unwrap().push(event.clone()));
    (RunOptions { viewers: Some(viewers), on_event, ..RunOptions::default() }, events)
}

fn ready(events: &Events) -> Vec<bool> {
    let reused = |event: &Event| match event {
        Event::ViewerReady { reused, port: PORT, headless } => {
            assert_eq!(*headless, !reused);
            Some(*reused)
        }
        _ => None,
    };
    events.lock().unwrap().iter().filter_map(reused).collect()
}

fn lost(events: &Events) -> usize {
    events.lock().unwrap().iter().filter(|event| matches!(event, Event::ViewerLost { .. })).count()
}

#[test]
fn a_run_shows_what_is_kept_and_the_next_run_uses_the_same_viewer() {
    in_own_home("a_run_shows_what_is_kept_and_the_next_run_uses_the_same_viewer", |home| {
        let (options, events) = options();
        let plate = plate(home);
        let summary = carried_out(&pipeline(true), &plate, &options);
        assert_eq!(summary.wells_done(), 4, "{summary:?}");
        // One well of the checkpoint, all of the last step with an outline per image.
        let expected = 2 + 8 + 8;
        assert_eq!((summary.viewers[0].shown, summary.viewers[0].lost), (expected, 0), "{summary:?}");
        assert_eq!(ready(&events), [false]);

        control().settle(Duration::from_secs(30)).unwrap();
        let state = control().viewer_state(&Default::default()).unwrap();
        assert_eq!((state.item_count, &state.problems), (expected, &Vec::new()));
        let mut layers: Vec<(&str, bool, u64)> = state
            .layers
            .iter()
            .map(|layer| {
                let title = ["Kept", "In memory", "Last"].into_iter().find(|step| layer.title.contains(step)).unwrap();
                (title, layer.data_types.iter().any(|kind| kind == "shapes"), layer.item_count)
            })
            .collect();
        layers.sort_unstable();
        assert_eq!(layers, [("Kept", false, 2), ("Last", false, 8), ("Last", true, 8)]);
        let last = state.layers.iter().find(|layer| layer.title.contains("Last")).unwrap();
        let labels = |component: &str| {
            last.sliders.iter().find(|slider| slider.component == component).unwrap().labels.join(" ")
        };
        assert!(labels("channel").contains("DAPI") && labels("channel").contains("GFP"), "{}", labels("channel"));
        assert!(WELLS.iter().all(|well| labels("well").contains(well)), "{}", labels("well"));

        let process = control().ping(PING_TIMEOUT).unwrap().process;
        let again = carried_out(&pipeline(true), &plate, &options);
        assert_eq!(again.viewers[0].shown, expected);
        assert_eq!(ready(&events), [false, true]);
        assert_eq!(control().ping(PING_TIMEOUT).unwrap().process, process);
        assert_eq!(lost(&events), 0);

        // A second plate of the same name and wells takes no place of the first one's images.
        let other = self::plate(&home.join("other"));
        assert_eq!(other.name, plate.name);
        carried_out(&pipeline(true), &other, &options);
        control().settle(Duration::from_secs(30)).unwrap();
        let state = control().viewer_state(&Default::default()).unwrap();
        // clear_state, with which a run begins, forgets items and leaves what is shown.
        assert_eq!((state.layers.len(), state.item_count), (6, expected));
    });
}

#[test]
fn a_viewer_that_is_not_persistent_has_all_before_it_is_closed_with_the_run() {
    in_own_home("a_viewer_that_is_not_persistent_has_all_before_it_is_closed_with_the_run", |home| {
        let (options, events) = options();
        let summary = carried_out(&pipeline(false), &plate(home), &options);
        assert_eq!((summary.wells_done(), summary.viewers[0].shown, summary.viewers[0].lost), (4, 18, 0));
        assert_eq!((ready(&events), lost(&events)), (vec![false], 0));
        assert!(!is_served());
    });
}

#[test]
fn without_a_viewer_to_start_the_run_is_whole_and_the_loss_is_told_once() {
    in_own_home("without_a_viewer_to_start_the_run_is_whole_and_the_loss_is_told_once", |home| {
        let (mut options, events) = options();
        options.viewers.as_mut().unwrap().program = Some(home.join("no-such-viewer"));
        let summary = carried_out(&pipeline(true), &plate(home), &options);
        assert_eq!(summary.wells_done(), 4);
        assert_eq!((summary.viewers[0].shown, summary.viewers[0].lost), (0, 18));
        assert!(summary.viewers[0].reason.as_ref().unwrap().contains("no-such-viewer"), "{summary:?}");
        assert_eq!(lost(&events), 1);
    });
}

#[test]
fn a_viewer_that_is_killed_costs_what_it_missed_and_no_well() {
    in_own_home("a_viewer_that_is_killed_costs_what_it_missed_and_no_well", |home| {
        let (mut options, events) = options();
        options.jobs = 1;
        let plate = plate(home);
        // The function of the last well waits until the viewer has shown something, then kills it.
        let killer = step_function("killer", |stack, _| {
            if matches!(stack, AnyArray::U16(values) if values[[0, 0, 0]] == 103) {
                let count = || control().viewer_state(&Default::default()).map_or(0, |state| state.item_count);
                while count() < 6 {
                    std::thread::sleep(Duration::from_millis(50));
                }
                let viewer = control().ping(PING_TIMEOUT).unwrap().process.unwrap().pid;
                assert!(Command::new("kill").args(["-9", &viewer.to_string()]).status().unwrap().success());
                while is_served() {}
            }
            Ok(FunctionOutput::planes(stack.clone()))
        });
        let step = Step::new("Killer", killer).output(Backend::Disk).stream(StreamingLevel::default());
        let summary = carried_out(&Pipeline::new("p").step(step), &plate, &options);
        assert_eq!(summary.wells_done(), 4, "{summary:?}");
        let viewer = &summary.viewers[0];
        assert_eq!((viewer.shown, viewer.lost), (6, 2), "{summary:?}");
        assert_eq!((ready(&events).len(), lost(&events)), (1, 1), "{summary:?}");
        assert_eq!(Plate::open(home.join("plate_outputs")).unwrap().images.len(), 8);
    });
}

#[test]
fn a_cancelled_run_closes_its_viewer() {
    in_own_home("a_cancelled_run_closes_its_viewer", |home| {
        let (mut options, events) = options();
        options.jobs = 1;
        let cancel = CancelToken::new();
        options.cancel = cancel.clone();
        let stop = step_function("stop", move |stack, _| {
            while !is_served() {
                std::thread::sleep(Duration::from_millis(50));
            }
            cancel.cancel();
            Ok(FunctionOutput::planes(stack.clone()))
        });
        let stream = StreamingLevel { persistent: Some(false), ..Default::default() };
        let step = Step::new("Stop", stop).output(Backend::Disk).stream(stream);
        let summary = carried_out(&Pipeline::new("p").step(step), &plate(home), &options);
        assert!(summary.cancelled);
        assert_eq!((summary.wells_done(), summary.wells.len()), (0, 4));
        assert_eq!(lost(&events), 0);
        assert!(!is_served());
    });
}
