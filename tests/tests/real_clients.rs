//! Released clients and producers besides those of `real_producers.rs`, each against a viewer of its own: OpenHCS 0.8.6's
//! own control clients judge every reply, and older producers find what they relied on.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a helper of a test that unwraps says where it failed")]

use std::path::Path;
use std::time::Duration;

use serde_json::{Value, json};
use wellscope_tests::picture::Picture;
use wellscope_tests::python::Generation;
use wellscope_tests::viewer::ViewerProcess;

const OPENHCS_0_8_6: [&str; 4] = ["--window-size", "720x480", "--application", "openhcs=0.8.6"];
const IMAGES: &str = "origin_pipeline_kind_main_projection_main_step_0_name_Blur";
const ROIS: &str = "origin_pipeline_kind_main_projection_main_step_0_name_Blur_shapes";

/// Two wells with an image each, outlines in the second, marks in the first.
fn plate() -> Value {
    let address = |well: &str| json!({"well": well, "site": 1, "channel": 1, "z_index": 1, "timepoint": 1});
    let image = |well: &str, value: u32| {
        json!({
            "path": format!("/plate/{well}_s1_w1.tif"),
            "metadata": address(well),
            "array": {"pattern": "disc", "shape": [48, 64], "dtype": "uint16", "value": value},
        })
    };
    json!({
        "wait_for_unlink_seconds": 60.0,
        "batches": [{
            "identity": {"step_name": "Blur", "pipeline_position": 0},
            "component_names": {"channel": {"1": "DAPI"}, "well": {"A01": "A01", "B02": "B02"}},
            "items": [
                image("A01", 4000),
                image("B02", 3000),
                {"path": "/plate/B02.roi.zip", "metadata": address("B02"), "rois": [{
                    "shapes": [
                        {"type": "polygon", "coordinates": [[4, 4], [4, 20], [20, 20], [20, 4]]},
                        {"type": "ellipse", "center": [24, 32], "radii": [6, 9]},
                    ],
                    "metadata": {"label": 3},
                }]},
                {"path": "/plate/A01_marks.roi.zip", "metadata": address("A01"), "rois": [
                    {"shapes": [{"type": "point", "coordinates": [24, 32]}], "metadata": {"label": 1}},
                ]},
            ],
        }]
    })
}

/// What `by` made of the reply to `message`.
fn result<'a>(lines: &'a [Value], message: &str, by: &str) -> &'a Value {
    let line = lines.iter().find(|line| line["message"] == message && line["by"] == by);
    let line = line.unwrap_or_else(|| panic!("{by} was not asked about {message}: {lines:?}"));
    assert_eq!(line.get("raised"), None, "{message}");
    &line["result"]
}

/// What OpenHCS's agent made of the reply to `message`, which it must have taken without an objection.
fn taken<'a>(lines: &'a [Value], message: &str) -> &'a Value {
    let found = result(lines, message, "agent");
    assert_eq!(found["errors"], json!([]), "{message}: {found}");
    assert_eq!(found["warnings"], json!([]), "{message}: {found}");
    found
}

/// The one objection of OpenHCS's agent.
fn refusal<'a>(lines: &'a [Value], message: &str) -> &'a str {
    let errors = &result(lines, message, "agent")["errors"];
    assert_eq!(errors.as_array().map(Vec::len), Some(1), "{message}: {errors}");
    errors[0]["message"].as_str().unwrap()
}

fn route<'a>(layers: &'a Value, route_key: &str) -> &'a Value {
    let layer = layers.as_array().unwrap().iter().find(|layer| layer["route_key"] == route_key);
    layer.unwrap_or_else(|| panic!("no layer {route_key} in {layers}"))
}

fn openhcs_drives(transport: &'static str) {
    let mut viewer = ViewerProcess::start(transport, &OPENHCS_0_8_6).unwrap();
    let lines = viewer.openhcs(&["reuse"]).unwrap();
    assert_eq!(result(&lines, "in_use", "lifecycle"), true);
    assert_eq!(result(&lines, "wait_for_ready", "lifecycle"), true);
    assert_eq!(result(&lines, "existing_viewer_is_ready", "lifecycle"), true, "{lines:?}");
    assert_eq!(result(&lines, "warnings", "lifecycle"), &json!([]));
    if transport == "ipc" {
        let found = &result(&lines, "sweep", "discovery")["endpoints"];
        assert_eq!(found.as_array().map(Vec::len), Some(1), "{found}");
        assert_eq!(found[0]["port"], viewer.port);
        assert_eq!(found[0]["viewer_type"], "napari");
    }

    viewer.stream_and_settle(Generation::G3, plate()).unwrap();
    let shots = viewer.home.path().join("shots");
    std::fs::create_dir(&shots).unwrap();
    let into = shots.to_str().unwrap();
    let drive = ["drive", "--route", IMAGES, "--roi-route", ROIS, "--axis", "well=1", "--into", into];
    let lines = viewer.openhcs(&drive).unwrap();

    assert_eq!(result(&lines, "is_running", "lifecycle"), true);
    assert_eq!(result(&lines, "settle", "lifecycle"), true);
    assert_eq!(result(&lines, "settle", "request")["settle_phase"], "complete");
    assert_eq!(result(&lines, "state", "lifecycle"), true);
    let unknown =
        json!({"status": "error", "type": "error", "message": "Unsupported Napari control message: 'unknown'."});
    assert_eq!(result(&lines, "unknown", "request"), &unknown);

    let state = taken(&lines, "state");
    assert_eq!(state["layer_count"], 3);
    assert_eq!(state["component_item_count"], 4);
    let layer = route(&state["layers"], IMAGES);
    assert_eq!(layer["title"], "1. Blur");
    assert_eq!(layer["producer_identities"][0]["step_name"], "Blur");
    assert_eq!(layer["data_shape"], json!([1, 1, 1, 1, 2, 48, 64]));
    assert_eq!(layer["payload_summary_count"], 2);
    assert_eq!(layer["payload_summaries"][0]["shape"], json!([48, 64]));
    let probe = taken(&lines, "probe");
    assert_eq!((&probe["reachable"], &probe["component_group_count"]), (&json!(true), &json!(3)));
    let validated = taken(&lines, "validate");
    assert_eq!((&validated["valid"], &validated["payload_count"]), (&json!(true), &json!(4)), "{validated}");

    let navigated = taken(&lines, "navigate");
    assert_eq!((&navigated["visible"], &navigated["selected"]), (&json!(true), &json!(true)));
    assert_eq!(navigated["current_step"][4], 1);
    assert_eq!(refusal(&lines, "navigate_nowhere"), "No Napari layer is registered for route_key 'no such route'.");
    let to_result = taken(&lines, "navigate_to_result");
    assert_eq!(to_result["feature_row_count"], 2);
    assert_eq!(to_result["selected_data_indices"], json!([0]));
    assert_eq!(to_result["current_step"][4], 1, "the outlines are in the second well");

    let isolated = taken(&lines, "isolate_layers");
    assert_eq!((&isolated["applied"], &isolated["visible_route_keys"]), (&json!(true), &json!([IMAGES])));
    assert_eq!(isolated["hidden_route_keys"].as_array().map(Vec::len), Some(2));
    assert_eq!(refusal(&lines, "isolate_missing"), "Viewer layer route key(s) are not mounted: no such route");

    let intensity = taken(&lines, "image_intensity");
    assert_eq!(intensity["native_intensity"], json!({"contrast_limits": [10.0, 4000.0], "gamma": 1.5}));
    assert_eq!(taken(&lines, "viewport")["native_viewport"], json!({"center": [0.0, 8.0, 12.0], "zoom": 2.0}));
    for message in ["screenshot_widget", "screenshot_window"] {
        let shot = taken(&lines, message);
        let picture = Picture::read(Path::new(shot["resource"]["path"].as_str().unwrap())).unwrap();
        assert_eq!(json!([picture.width, picture.height]), json!([shot["width"], shot["height"]]), "{message}");
    }

    let window = taken(&lines, "apply_intensity_window");
    assert_eq!((&window["applied"], &window["axis_indices"]), (&json!(true), &json!({"well": 1})));
    assert_eq!(window["resolved_limits"], json!([0.0, 3000.0]));
    assert_eq!(window["contributing_pixel_count"], 48 * 64);
    let payloads = taken(&lines, "payloads");
    let images = &route(&payloads["layers"], IMAGES)["payloads"];
    assert_eq!(images.as_array().map(Vec::len), Some(2), "{images}");
    assert_eq!(images[0]["array_value_summary"]["omitted_reason"], "max_array_elements_exceeded");
    let sample = taken(&lines, "sample_image");
    assert_eq!(sample["sample_included_count"], 2);
    assert_eq!(sample["records"][0]["array_values"], json!([[0, 0, 0], [0, 0, 0]]));
    let outlines = taken(&lines, "summarize_rois");
    assert_eq!((&outlines["total_roi_count"], &outlines["total_roi_member_count"]), (&json!(1), &json!(2)));

    let lines = viewer.openhcs(&["stop"]).unwrap();
    assert_eq!(result(&lines, "clear_state", "lifecycle"), true);
    let gone = json!({"succeeded": true, "endpoint_terminated": true});
    assert_eq!(result(&lines, "force_shutdown", "agent"), &gone);
    assert_eq!(result(&lines, "in_use", "lifecycle"), false);
    assert!(viewer.wait(Duration::from_secs(20)).unwrap().success());
}

#[test]
fn openhcs_0_8_6_drives_the_viewer_over_ipc() {
    openhcs_drives("ipc");
}

#[test]
fn openhcs_0_8_6_drives_the_viewer_over_tcp() {
    openhcs_drives("tcp");
}

#[test]
fn openhcs_reuses_only_a_viewer_of_its_own_version() {
    for (application, observed) in [(Some("openhcs=0.8.5"), "openhcs 0.8.5"), (None, "not reported")] {
        let arguments = application.map(|application| ["--application", application]);
        let viewer = ViewerProcess::start("ipc", arguments.as_ref().map_or(&[], |two| two)).unwrap();
        let lines = viewer.openhcs(&["reuse"]).unwrap();
        assert_eq!(result(&lines, "existing_viewer_is_ready", "lifecycle"), false);
        let port = viewer.port;
        let warning = format!(
            "Napari viewer on port {port} cannot be reused: Endpoint application mismatch: \
             expected openhcs 0.8.6, observed {observed}."
        );
        assert_eq!(result(&lines, "warnings", "lifecycle"), &json!([warning]));
    }
}

#[test]
fn polystore_0_1_9_streams_and_the_viewer_unlinks_what_it_left() {
    let viewer = ViewerProcess::start("ipc", &[]).unwrap();
    let streamed = viewer.stream(Generation::G2, plate()).unwrap();
    let [batch] = &streamed.batches[..] else { panic!("one batch was sent: {streamed:?}") };
    assert_eq!((&batch["error"], &batch["reply"]), (&Value::Null, &json!("success")));
    assert_eq!(streamed.done["all_acknowledged"], true, "{streamed:?}");
    assert_eq!(streamed.done["tracker"], json!({"sent": 4, "processed": 4, "pending": 0}));
    assert!(streamed.acks.iter().all(|ack| ack["status"] == "success"), "{:?}", streamed.acks);
    // The package closes its segments and leaves them: that was the receiver's part then.
    assert_eq!(streamed.done["segments_left"], json!([]));
    assert_eq!(early_layers(&viewer), ["default_layer", "default_layer_points", "default_layer_shapes"]);
}

/// Checks what the viewer made of the plate of a producer without identities; the routes.
fn early_layers(viewer: &ViewerProcess) -> Vec<String> {
    assert_eq!(viewer.control(Generation::G3, &["settle"]).unwrap()["settle_phase"], "complete");
    let state = viewer.control(Generation::G3, &["state"]).unwrap();
    assert_eq!(state["component_item_count"], 4);
    let layer = route(&state["layers"], "default_layer");
    assert_eq!(layer["data_shape"], json!([1, 1, 1, 1, 2, 48, 64]));
    assert_eq!(layer["labels"], json!({"well": ["A01", "B02"]}));
    assert_eq!(layer["scalar_labels"], json!(["Site 1", "Ch1: DAPI", "Z 1", "T 1"]));
    assert_eq!(route(&state["layers"], "default_layer_shapes")["feature_row_count"], 2);
    let mut routes: Vec<_> =
        state["layers"].as_array().unwrap().iter().map(|layer| layer["route_key"].clone()).collect();
    routes.sort_by_key(Value::to_string);
    routes.iter().map(|route| route.as_str().unwrap().to_owned()).collect()
}

#[test]
fn polystore_0_1_7_publishes_and_the_viewer_unlinks_what_it_left() {
    let viewer = ViewerProcess::start("ipc", &["--data-socket", "sub"]).unwrap();
    let streamed = viewer.stream(Generation::G1, plate()).unwrap();
    assert_eq!(streamed.batches[0]["error"], Value::Null);
    assert_eq!(streamed.batches[0]["reply"], Value::Null, "a publisher gets no reply");
    assert_eq!(streamed.done["all_acknowledged"], true, "{streamed:?}");
    assert_eq!(streamed.done["tracker"], json!({"sent": 4, "processed": 4, "pending": 0}));
    assert_eq!(streamed.done["segments_left"], json!([]));
    assert_eq!(early_layers(&viewer), ["default_layer", "default_layer_points", "default_layer_shapes"]);
}

/// Streams the plate's images through the backend inside an old OpenHCS; the one layer that comes of them.
fn images_of_openhcs(generation: Generation, transport: &'static str) -> Value {
    let viewer = ViewerProcess::start(transport, &["--data-socket", "sub"]).unwrap();
    let mut images = plate();
    images["batches"][0]["items"].as_array_mut().unwrap().retain(|item| item.get("array").is_some());
    let streamed = viewer.stream_and_settle(generation, images).unwrap();
    assert_eq!(streamed.done, json!({"done": true, "sent": 2, "counted": 2}));
    let state = viewer.control(Generation::G3, &["state"]).unwrap();
    assert_eq!((&state["layer_count"], &state["wellscope"]["problems"]), (&json!(1), &json!([])), "{state}");
    let layer = state["layers"][0].clone();
    assert_eq!(layer["data_shape"], json!([1, 1, 1, 1, 2, 48, 64]));
    layer
}

#[test]
fn openhcs_0_1_0_publishes_over_tcp() {
    let layer = images_of_openhcs(Generation::G0, "tcp");
    assert_eq!(layer["route_key"], "step_00_Blur");
    assert_eq!(layer["labels"], json!({"well": ["Well A01", "Well B02"]}), "it sends no names");
}

#[test]
fn openhcs_0_5_0_publishes_over_ipc() {
    let layer = images_of_openhcs(Generation::G1OpenHcs, "ipc");
    assert_eq!(layer["route_key"], "default_layer");
    assert_eq!(layer["labels"], json!({"well": ["A01", "B02"]}));
    assert_eq!(layer["scalar_labels"], json!(["Site 1", "Ch1: DAPI", "Z 1", "T 1"]));
}
