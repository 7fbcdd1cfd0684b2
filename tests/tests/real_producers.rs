//! The released producers stream to a viewer in a process of its own: replies, acks, shared memory, state, overlay and
//! pictures, over both transports. Nothing here is a fake of ours.
// /dev/shm is looked into: on Linux only.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a helper of a test that unwraps says where it failed")]

use std::collections::BTreeSet;
use std::path::Path;

use serde_json::{Value, json};
use wellscope_tests::picture::Picture;
use wellscope_tests::python::Generation;
use wellscope_tests::viewer::ViewerProcess;

const ROUTE: &str = "origin_pipeline_kind_main_projection_main_step_0_scope_scope-1_name_Gaussian_Blur";

/// Two wells, two channels; each plane is a constant of its own, so that a picture tells which one is shown.
fn plate() -> Value {
    let item = |well: &str, channel: u32, value: u32| {
        json!({
            "path": format!("/plate/{well}_s1_w{channel}.tif"),
            "metadata": {"well": well, "site": 1, "channel": channel, "z_index": 1, "timepoint": 1},
            "array": {"pattern": "disc", "shape": [48, 64], "dtype": "uint16", "value": value},
        })
    };
    json!({
        "batches": [{
            "identity": {"step_name": "Gaussian Blur", "pipeline_position": 0, "step_scope_id": "scope-1"},
            "component_names": {"channel": {"1": "DAPI", "2": null}, "well": {"A01": "A01", "B02": null}},
            "component_value_domain": {"site": [1], "channel": [1, 2], "z_index": [1], "timepoint": [1], "well": ["A01", "B02"]},
            "items": [item("A01", 1, 4000), item("A01", 2, 2000), item("B02", 1, 3000), item("B02", 2, 500)],
        }]
    })
}

fn segments() -> BTreeSet<String> {
    let entries = std::fs::read_dir("/dev/shm").unwrap();
    let names = entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
    names.filter(|name| name.starts_with("napari_")).collect()
}

/// Nothing that came since `before` stays. Tests beside this one make segments too, but remove them within seconds.
fn assert_left_clean(before: &BTreeSet<String>) {
    let fresh: Vec<String> = segments().difference(before).cloned().collect();
    let left = || fresh.iter().filter(|name| segments().contains(*name)).collect::<Vec<_>>();
    let started = std::time::Instant::now();
    while !left().is_empty() {
        assert!(started.elapsed().as_secs() < 20, "left in shared memory: {:?}", left());
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
}

fn overlay(state: &Value) -> &str {
    state["wellscope"]["overlay"].as_str().unwrap_or_else(|| panic!("no overlay text in {state}"))
}

fn go(viewer: &ViewerProcess, generation: Generation, well: u32, channel: u32) -> Value {
    let (well, channel) = (format!("well={well}"), format!("channel={channel}"));
    let reply =
        viewer.control(generation, &["navigate", "--route", ROUTE, "--axis", &well, "--axis", &channel]).unwrap();
    assert_eq!(reply["status"], "success", "{reply}");
    assert_eq!(reply["type"], "navigation_ack");
    reply
}

fn picture(viewer: &ViewerProcess, generation: Generation, scope: &str) -> Picture {
    let folder = viewer.home.path().join("pictures");
    let reply =
        viewer.control(generation, &["screenshot", "--into", folder.to_str().unwrap(), "--scope", scope]).unwrap();
    assert_eq!(reply["status"], "success", "{reply}");
    let picture = Picture::read(Path::new(reply["resource"]["path"].as_str().unwrap())).unwrap();
    assert_eq!(json!([picture.width, picture.height]), json!([reply["width"], reply["height"]]));
    picture
}

fn streams_whole(generation: Generation, transport: &'static str) {
    let before = segments();
    let pong_spelling = if generation == Generation::G4 { "g4" } else { "g3" };
    let viewer = ViewerProcess::start(transport, &["--window-size", "720x480", "--pong", pong_spelling]).unwrap();
    let ready = viewer.control(generation, &["wait-ready"]).unwrap();
    assert!(ready.get("no_reply").is_none(), "{ready}");

    let streamed = viewer.stream_and_settle(generation, plate()).unwrap();
    assert_eq!(streamed.batches.len(), 1);
    assert_eq!(streamed.batches[0]["segments_left"], json!([]), "the producer could not clean up");
    assert_eq!(streamed.done["all_acknowledged"], true, "{streamed:?}");
    assert_eq!(streamed.acks.len(), 4);
    assert!(streamed.acks.iter().all(|ack| ack["status"] == "success"), "{:?}", streamed.acks);
    assert_left_clean(&before);

    let state = viewer.control(generation, &["state"]).unwrap();
    assert_eq!(state["type"], "state_ack");
    assert_eq!(state["layer_count"], 1);
    assert_eq!(state["component_item_count"], 4);
    assert_eq!(state["axis_labels"], json!(["site", "channel", "z_index", "timepoint", "well", "y", "x"]));
    let layer = &state["layers"][0];
    assert_eq!(layer["route_key"], ROUTE);
    assert_eq!(layer["title"], "1. Gaussian Blur");
    assert_eq!(layer["data_shape"], json!([1, 2, 1, 1, 2, 48, 64]));
    assert_eq!(layer["stack_axes"], json!(["channel", "well"]));
    assert_eq!(layer["labels"], json!({"channel": ["Ch1: DAPI", "Ch 2"], "well": ["A01", "Well B02"]}));
    assert_eq!(layer["scalar_labels"], json!(["Site 1", "Z 1", "T 1"]));
    assert_eq!(overlay(&state), "Site 1 | Z 1 | T 1 | Ch1: DAPI | A01");

    // Each channel has limits of its own, from its first image, in well A01: white there, a quarter as bright in B02.
    assert_eq!(overlay(&go(&viewer, generation, 1, 0)), "Site 1 | Z 1 | T 1 | Ch1: DAPI | Well B02");
    assert_eq!(overlay(&go(&viewer, generation, 1, 1)), "Site 1 | Z 1 | T 1 | Ch 2 | Well B02");
    let canvas = picture(&viewer, generation, "widget");
    let middle = canvas.pixel(canvas.width / 2, canvas.height / 2);
    assert!((62..=66).contains(&middle[0]), "a quarter of white: {middle:?}");
    canvas.assert_golden("real_producers_b02_ch2").unwrap();
    assert_eq!(overlay(&go(&viewer, generation, 0, 0)), "Site 1 | Z 1 | T 1 | Ch1: DAPI | A01");
    let canvas = picture(&viewer, generation, "widget");
    canvas.assert_golden("real_producers_a01_ch1").unwrap();
    let window = picture(&viewer, generation, "window");
    assert_eq!((window.width, window.height), (720, 480));
    assert!(canvas.width < window.width && canvas.height < window.height, "the window has panels, the canvas has none");

    let stopped = viewer.control(generation, &["shutdown"]).unwrap();
    assert!(stopped.get("no_reply").is_none(), "{stopped}");
    let mut viewer = viewer;
    assert!(viewer.wait(std::time::Duration::from_secs(20)).unwrap().success());
    assert!(viewer.socket_files().iter().all(|file| !file.exists()), "sockets are removed");
}

#[test]
fn polystore_0_2_19_streams_over_ipc() {
    streams_whole(Generation::G3, "ipc");
}

#[test]
fn polystore_0_2_19_streams_over_tcp() {
    streams_whole(Generation::G3, "tcp");
}

#[test]
fn polystore_0_6_3_streams_over_ipc() {
    streams_whole(Generation::G4, "ipc");
}

#[test]
fn polystore_0_6_3_streams_over_tcp() {
    streams_whole(Generation::G4, "tcp");
}
