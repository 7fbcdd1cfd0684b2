//! Pipelines of OpenHCS 0.8.6, compiled and run by its own orchestrator, which launches the viewer by itself: napari is
//! not installed, and the Python package of this checkout is.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a helper of a test that unwraps says where it failed")]
#![cfg(target_os = "linux")]

use std::collections::BTreeSet;
use std::time::Duration;

use serde_json::{Value, json};
use wellscope_tests::openhcs::{Installed, Workstation};

/// Sites, channels and slices of each well of the plate that `openhcs_pipeline.py` makes.
const IMAGES_PER_WELL: usize = 2 * 2 * 2;
const TILE: usize = 64;
const CLOSED: Duration = Duration::from_secs(20);

/// A workstation with a plate, some files of which are left out.
fn workstation(transport: &'static str, missing: &[&str]) -> Workstation {
    let workstation = Workstation::new(transport).unwrap();
    let into = workstation.folder("plate");
    let mut arguments = vec!["plate", "--into", into.to_str().unwrap()];
    for file in missing {
        arguments.extend(["--skip", file]);
    }
    let made = workstation.prepare(&arguments).unwrap();
    // The generator leaves a name out in both of its slices.
    let files = 3 * IMAGES_PER_WELL - 2 * missing.len();
    assert_eq!(made["files"].as_array().map(Vec::len), Some(files), "{made}");
    workstation
}

/// Runs the two steps; what OpenHCS made of it.
fn run(workstation: &Workstation, viewer: &str) -> Value {
    let plate = workstation.folder("plate");
    let arguments = ["--plate", plate.to_str().unwrap(), "--viewer", viewer];
    let ran = workstation.pipeline("run", &arguments).unwrap().answer().unwrap();
    assert_eq!(ran["start_method"], "spawn");
    assert_eq!(ran["wells"], json!({"A01": true, "B02": true, "C03": true}), "{ran}");
    assert_eq!(ran["napari_imported"], false, "nothing is left of what stood in for napari");
    ran
}

fn layer<'a>(state: &'a Value, title: &str) -> &'a Value {
    let layers = state["layers"].as_array().unwrap();
    let found = layers.iter().find(|layer| layer["title"] == title);
    found.unwrap_or_else(|| panic!("no layer {title:?} in {state}"))
}

/// (well, site, channel, slice) of each image of a layer.
fn addresses(layer: &Value) -> BTreeSet<String> {
    let values = layer["component_values"].as_array().unwrap();
    values
        .iter()
        .map(|at| format!("{} {} {} {}", at["well"].as_str().unwrap(), at["site"], at["channel"], at["z_index"]))
        .collect()
}

/// Checks the two layers of a whole plate whose first two wells are shown.
fn both_steps_are_shown(state: &Value) {
    assert_eq!(state["layer_count"], 2, "{state}");
    let normalized = layer(state, "1. Normalize");
    assert_eq!(normalized["data_shape"], json!([2, 2, 2, 1, 2, TILE, TILE]));
    assert_eq!(normalized["item_count"], 2 * IMAGES_PER_WELL);
    assert_eq!(normalized["producer_identities"][0]["step_name"], "Normalize");
    let labels = json!({
        "site": ["Site 1", "Site 2"],
        "channel": ["Ch1: W1", "Ch2: W2"],
        "z_index": ["Z 1", "Z 2"],
        "well": ["Well A01", "Well B02"],
    });
    assert_eq!(normalized["labels"], labels);
    assert_eq!(normalized["scalar_labels"], json!(["T 1"]));
    let projected = layer(state, "2. Project");
    assert_eq!(projected["item_count"], 2 * IMAGES_PER_WELL / 2, "the slices became one");
    assert_eq!(projected["stack_axes"], json!(["site", "channel", "well"]));
    assert_eq!(projected["axis_component_values"]["well"], json!(["A01", "B02"]));
    assert_eq!(projected["payload_summaries"][0]["dtype"], "uint16");
    let ours = &state["wellscope"];
    assert_eq!(ours["problems"], json!([]));
    assert_eq!(ours["receiver"]["images"], 2 * IMAGES_PER_WELL + IMAGES_PER_WELL);
    assert_eq!(ours["receiver"]["errors_replied"], 0);
}

/// The overlay names the place of every slider; which well is shown depends on which worker was first.
fn overlay_is_of_the_current_step(state: &Value) {
    let labels = &layer(state, "1. Normalize")["labels"];
    let places = state["axis_labels"].as_array().unwrap().iter().zip(state["current_step"].as_array().unwrap());
    let shown = places.filter_map(|(axis, step)| {
        let of_axis = labels.get(axis.as_str().unwrap())?;
        Some(of_axis[usize::try_from(step.as_u64().unwrap()).unwrap()].as_str().unwrap())
    });
    let expected: Vec<_> = ["T 1"].into_iter().chain(shown).collect();
    assert_eq!(expected.len(), 5, "{expected:?}");
    assert_eq!(state["wellscope"]["overlay"], expected.join(" | "));
}

/// What `by` made of the viewer's reply to `message`, in the lines of `openhcs_client.py`.
fn result<'a>(lines: &'a [Value], message: &str, by: &str) -> &'a Value {
    let line = lines.iter().find(|line| line["message"] == message && line["by"] == by);
    let line = line.unwrap_or_else(|| panic!("{by} was not asked about {message}: {lines:?}"));
    assert_eq!(line.get("raised"), None, "{message}");
    &line["result"]
}

#[test]
fn the_orchestrator_launches_wellscope_shows_both_steps_and_leaves_it_open() {
    let workstation = workstation("ipc", &[]);
    let ran = run(&workstation, "persistent");
    let [pid] = workstation.viewers()[..] else { panic!("one viewer: {:?}", workstation.viewers()) };
    assert_eq!(ran["viewers"], json!([{"port": workstation.port, "mode": "owned_process", "pid": pid}]));

    let settled = workstation.client("control.py", &["--timeout-seconds", "60", "settle"]).unwrap();
    assert_eq!(settled[0]["settle_phase"], "complete");
    let state = workstation.state().unwrap();
    both_steps_are_shown(&state);
    assert_eq!(state["viewer"], json!({"type": "napari", "title": "OpenHCS Napari Visualization"}));
    overlay_is_of_the_current_step(&state);
    let compared = workstation.pipeline("compare", &[]).unwrap().answer().unwrap();
    let each = |images: usize| json!({"compared": images, "equal": images});
    let expected = json!({"1. Normalize": each(2 * IMAGES_PER_WELL), "2. Project": each(IMAGES_PER_WELL)});
    assert_eq!(compared["layers"], expected, "what is shown is what OpenHCS wrote");

    // The scan of the GUI's viewer list.
    let listed = workstation.pipeline("viewers", &[]).unwrap().answer().unwrap();
    let entry = json!({
        "kind": "ViewerServerInfo", "port": workstation.port, "ready": true, "name": "napari", "memory_is_told": true,
        "pid": pid, "log": format!("napari_detached_port_{}.log", workstation.port), "log_exists": true,
    });
    assert_eq!(listed["viewers"], json!([entry]));
    let log = workstation.viewer_log();
    assert_eq!(log.matches("listening").count(), 1, "each line is logged once:\n{log}");

    // The next run finds the viewer that is there, and each step the layer that it had, with what the user set.
    let route = layer(&state, "1. Normalize")["route_key"].as_str().unwrap().to_owned();
    let contrast = ["image-intensity", "--route", &route, "--limits", "12", "345", "--gamma", "0.7"];
    workstation.client("control.py", &contrast).unwrap();
    let again = run(&workstation, "persistent");
    assert_eq!(again["viewers"], json!([{"port": workstation.port, "mode": "connected_external", "pid": null}]));
    assert_eq!(workstation.viewers(), [pid]);
    workstation.client("control.py", &["--timeout-seconds", "60", "settle"]).unwrap();
    let state = workstation.state().unwrap();
    assert_eq!(state["layer_count"], 2, "not a layer more: {state}");
    let normalized = layer(&state, "1. Normalize");
    assert_ne!(normalized["route_key"], route, "OpenHCS numbers its submissions");
    assert_eq!(normalized["item_count"], 2 * IMAGES_PER_WELL);
    assert_eq!(normalized["native_intensity"], json!({"contrast_limits": [12.0, 345.0], "gamma": 0.7}));
    agents_drive_and_stop(&workstation);
}

/// OpenHCS's lifecycle, agent tools and discovery, at a viewer that shows the plate.
fn agents_drive_and_stop(workstation: &Workstation) {
    let lines = workstation.client("openhcs_client.py", &["reuse"]).unwrap();
    assert_eq!(result(&lines, "existing_viewer_is_ready", "lifecycle"), true, "{lines:?}");
    assert_eq!(result(&lines, "sweep", "discovery")["endpoints"][0]["port"], workstation.port);

    let state = workstation.state().unwrap();
    let route = layer(&state, "1. Normalize")["route_key"].as_str().unwrap();
    let shots = workstation.folder("shots");
    std::fs::create_dir(&shots).unwrap();
    let drive = ["drive", "--route", route, "--axis", "well=1", "--into", shots.to_str().unwrap()];
    let lines = workstation.client("openhcs_client.py", &drive).unwrap();
    assert_eq!(result(&lines, "settle", "lifecycle"), true);
    let taken = [
        "state",
        "probe",
        "validate",
        "navigate",
        "isolate_layers",
        "image_intensity",
        "viewport",
        "screenshot_widget",
        "screenshot_window",
        "apply_intensity_window",
        "payloads",
        "sample_image",
    ];
    for message in taken {
        let found = result(&lines, message, "agent");
        assert_eq!(found["errors"], json!([]), "{message}: {found}");
    }
    assert_eq!(result(&lines, "navigate", "agent")["current_step"][4], 1, "the second well");

    let lines = workstation.client("openhcs_client.py", &["stop"]).unwrap();
    assert_eq!(result(&lines, "clear_state", "lifecycle"), true);
    let gone = json!({"succeeded": true, "endpoint_terminated": true});
    assert_eq!(result(&lines, "force_shutdown", "agent"), &gone);
    assert_eq!(workstation.wait_until_closed(CLOSED), [0_u32; 0]);
    for file in workstation.socket_files() {
        assert!(!file.exists(), "{file:?}");
    }
}

#[test]
fn a_viewer_that_is_not_persistent_is_fresh_and_ends_with_its_run() {
    let workstation = workstation("tcp", &[]);
    run(&workstation, "persistent");
    let before = workstation.viewers();
    assert_eq!(before.len(), 1);
    let ran = run(&workstation, "non-persistent");
    // OpenHCS asked it at the end of the run, before it ended it.
    both_steps_are_shown(&ran["states"][workstation.port.to_string()]);
    assert_eq!(ran["viewers"][0]["mode"], "stopped");
    assert_eq!(workstation.wait_until_closed(CLOSED), [0_u32; 0], "neither it nor {before:?} is left");
}

#[test]
fn wells_are_shown_with_holes_where_the_plate_has_no_files() {
    let workstation = workstation("ipc", &["A01_s002_w1.tif", "A01_s002_w2.tif"]);
    run(&workstation, "persistent");
    let state = workstation.state().unwrap();
    let normalized = layer(&state, "1. Normalize");
    assert_eq!(normalized["axis_component_values"]["well"], json!(["A01", "B02"]));
    let mut expected = BTreeSet::new();
    for (well, sites) in [("A01", 1..=1), ("B02", 1..=2)] {
        for site in sites {
            for (channel, slice) in [(1, 1), (1, 2), (2, 1), (2, 2)] {
                expected.insert(format!("{well} {site} {channel} {slice}"));
            }
        }
    }
    assert_eq!(addresses(normalized), expected);
    assert_eq!(layer(&state, "2. Project")["item_count"], 2 + 4);
    assert_eq!(state["wellscope"]["problems"], json!([]));
}

#[test]
fn a_well_that_openhcs_gives_up_for_a_missing_file_hides_no_other() {
    let workstation = workstation("ipc", &["A01_s001_w1.tif"]);
    let plate = workstation.folder("plate");
    let ran = workstation.pipeline("run", &["--plate", plate.to_str().unwrap(), "--viewer", "persistent"]).unwrap();
    // Its own rule (openhcs 0.8.6): a step writes all channels of all sites of a well, or fails.
    assert!(!ran.succeeded && ran.log.contains("Zarr batch layout must declare one item"), "{}", ran.log);
    let state = workstation.state().unwrap();
    let first = addresses(layer(&state, "1. Normalize"));
    let of = |well: &str| first.iter().filter(|address| address.starts_with(well)).count();
    assert_eq!((of("A01"), of("B02")), (IMAGES_PER_WELL - 2, IMAGES_PER_WELL), "{first:?}");
    let second = addresses(layer(&state, "2. Project"));
    assert_eq!(second, ["B02 1 1 null", "B02 1 2 null", "B02 2 1 null", "B02 2 2 null"].map(str::to_owned).into());
}

#[test]
fn the_viewer_is_told_what_openhcs_would_have_told_its_own() {
    let workstation = Workstation::new("tcp").unwrap();
    let more = ["--accent", "#12ab34", "--replace-layers", "--host", "scope-3"];
    let asked = workstation.pipeline("launch", &more).unwrap().answer().unwrap();
    let command = asked["command"].as_array().unwrap();
    let log = format!(".local/share/openhcs/logs/napari_detached_port_{}.log", workstation.port);
    let options = json!([
        "--port",
        workstation.port.to_string(),
        "--transport",
        "tcp",
        "--bind",
        "0.0.0.0",
        "--title",
        "OpenHCS Napari Visualization",
        "--log-file",
        workstation.folder(&log),
        "--application",
        "openhcs=0.8.6",
        "--replace-layers",
        "--accent-color",
        "#12ab34",
        "--headless",
    ]);
    assert_eq!(json!(command[1..]), options, "there is no display");
    assert_eq!(asked["warnings"], json!([]));
    let session = [("DISPLAY", ":7"), ("WELLSCOPE_OPENHCS_OPTIONS", "--memory-limit 2GiB --spill-dir '/a b'")];
    let asked = workstation.pipeline_with(Installed::Wellscope, "launch", &[], &session).unwrap().answer().unwrap();
    let command = asked["command"].as_array().unwrap();
    assert_eq!(command[command.len() - 4..], ["--memory-limit", "2GiB", "--spill-dir", "/a b"]);
    assert!(!command.contains(&json!("--headless")) && !command.contains(&json!("--replace-layers")), "{command:?}");
}

#[test]
fn the_switch_leaves_openhcs_as_it_is() {
    let workstation = Workstation::new("ipc").unwrap();
    let released = workstation.pipeline_with(Installed::Nothing, "launch", &[], &[]).unwrap().answer().unwrap();
    assert!(released["refused"].as_str().unwrap().starts_with("napari is required"), "{released}");
    let off = [("WELLSCOPE_OPENHCS", "0")];
    let without = workstation.pipeline_with(Installed::Wellscope, "launch", &[], &off).unwrap().answer().unwrap();
    assert_eq!(without, released);
    let with = workstation.pipeline_with(Installed::WellscopeAndNapari, "launch", &[], &off).unwrap().answer().unwrap();
    launches_napari(&with);
    assert_eq!(with["warnings"], json!([]));
}

#[test]
fn an_openhcs_that_is_not_known_gets_one_warning_and_its_own_viewer() {
    let workstation = Workstation::new("ipc").unwrap();
    let warning = "OpenHCS 0.9.0 is not known to wellscope, which knows 0.8.6; OpenHCS keeps its own viewer. \
                   Set WELLSCOPE_OPENHCS=0 to hide this warning, or install a newer wellscope.";
    let other = ["--as-version", "0.9.0"];
    let launch = |installed, environment: &[(&str, &str)]| {
        workstation.pipeline_with(installed, "launch", &other, environment).unwrap().answer().unwrap()
    };
    let with = launch(Installed::WellscopeAndNapari, &[]);
    launches_napari(&with);
    assert_eq!(with["warnings"], json!([warning]));
    let without = launch(Installed::Wellscope, &[]);
    assert!(without["refused"].as_str().unwrap().starts_with("napari is required"), "{without}");
    assert_eq!(without["warnings"], json!([warning]));
    // A worker of a process that has warned.
    assert_eq!(launch(Installed::Wellscope, &[("_WELLSCOPE_OPENHCS_WARNED", "1")])["warnings"], json!([]));
}

#[test]
fn one_line_does_what_the_pth_file_does() {
    let workstation = Workstation::new("ipc").unwrap();
    let late = "import json, sys, _wellscope_openhcs as hook; sys.meta_path.remove(hook.VisualizerFinder); \
                from openhcs.runtime.napari_stream_visualizer import NapariStreamVisualizer as visualizer; \
                told = lambda: hasattr(visualizer.detached_launch_request, 'launches_wellscope'); \
                before = told(); import wellscope.openhcs; wellscope.openhcs.install(); wellscope.openhcs.install(); \
                print(json.dumps([before, told(), sys.meta_path.count(hook.VisualizerFinder)]))";
    let printed = workstation.python(Installed::WellscopeAndNapari, "-c", &[late], &[]).unwrap().answer().unwrap();
    assert_eq!(printed, json!([false, true, 1]));
}

fn launches_napari(asked: &Value) {
    assert_eq!(asked["command"][1], "-c", "{asked}");
    assert!(asked["command"][2].as_str().unwrap().contains("from openhcs.runtime.napari_viewer_server import"));
}

#[test]
fn python_starts_with_one_small_module_more_and_napari_stays_absent() {
    let workstation = Workstation::new("ipc").unwrap();
    let modules = "import json, sys; print(json.dumps(sorted(sys.modules)))";
    let started = |installed| {
        let printed = workstation.python(installed, "-c", &[modules], &[]).unwrap().answer().unwrap();
        printed.as_array().unwrap().iter().map(|name| name.as_str().unwrap().to_owned()).collect::<BTreeSet<_>>()
    };
    let more = &started(Installed::Wellscope) - &started(Installed::Nothing);
    // sitecustomize is this test's way to read the .pth file, and pathlib what it takes.
    assert!(more.contains("_wellscope_openhcs"), "{more:?}");
    for heavy in ["wellscope", "numpy", "zmq", "openhcs", "logging", "napari"] {
        assert!(!more.contains(heavy), "{heavy} in {more:?}");
    }
    let probe = "import json, importlib.util as u, openhcs.runtime.napari_stream_visualizer; \
                 print(json.dumps(u.find_spec('napari') is None))";
    assert_eq!(workstation.python(Installed::Wellscope, "-c", &[probe], &[]).unwrap().answer().unwrap(), true);
}
