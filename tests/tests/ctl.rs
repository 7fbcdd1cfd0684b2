//! `wellscope ctl` as scripts use it: the real binary, a real viewer, exit codes, text and JSON.
// Homes and signals: on Linux only.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a helper of a test that unwraps says where it failed")]

use std::process::Command;

use ndarray::Array2;
use serde_json::Value;
use wellscope_client::{BatchRequest, ImageItem, step_identity};
use wellscope_tests::home::InHome;
use wellscope_tests::lifecycle::runs;
use wellscope_tests::viewer::{ViewerProcess, binary};

struct Said {
    code: i32,
    out: String,
    err: String,
}

impl Said {
    fn json(&self) -> Value {
        assert_eq!(self.code, 0, "{} {}", self.out, self.err);
        serde_json::from_str(&self.out).unwrap()
    }
}

fn ctl(viewer: &ViewerProcess, arguments: &[&str]) -> Said {
    let output = Command::new(binary().unwrap())
        .args(["ctl", "--port", &viewer.port.to_string(), "--transport", viewer.transport])
        .args(arguments)
        .in_home(viewer.home.path())
        .current_dir(viewer.home.path())
        .output()
        .unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    Said { code: output.status.code().unwrap(), out: text(output.stdout), err: text(output.stderr) }
}

/// Two wells with two channels each, in one layer; a second layer with one image.
fn stream(viewer: &ViewerProcess) {
    let ramp = Array2::from_shape_fn((16, 24), |(y, x)| (y * 24 + x) as u16);
    let mut producer = viewer.producer().unwrap();
    let mut batch = BatchRequest::new().identity(step_identity("Gaussian Blur", 0));
    for well in ["A01", "B02"] {
        for channel in [1, 2] {
            batch = batch.item(
                ImageItem::new("/plate/a.tif", ramp.view()).at("well", well).at("channel", channel).at("site", 1),
            );
        }
    }
    producer.send_batch(batch).unwrap();
    let image = ImageItem::new("/plate/b.tif", ramp.view()).at("well", "A01").at("channel", 1).at("site", 1);
    producer.send_batch(BatchRequest::new().identity(step_identity("Segment", 1)).item(image)).unwrap();
}

const BLUR: &str = "1. Gaussian Blur";
const SEGMENT: &str = "2. Segment";

#[test]
fn a_script_sees_and_moves_what_is_shown() {
    let viewer = ViewerProcess::start("ipc", &["--title", "plate 7"]).unwrap();
    stream(&viewer);
    let ping = ctl(&viewer, &["ping"]);
    assert!(ping.out.contains("is ready") && ping.out.contains(&format!("process {}", viewer.pid())), "{}", ping.out);
    assert_eq!(ctl(&viewer, &["ping", "--json"]).json()["ready"], true);
    assert_eq!(ctl(&viewer, &["settle", "--timeout", "60"]).code, 0);

    let text = ctl(&viewer, &["state"]).out;
    for part in ["\"plate 7\": 2 layers, 5 items", BLUR, "4 images", "channel: 1, 2", "well: A01, B02", SEGMENT] {
        assert!(text.contains(part), "{part} in {text}");
    }
    let json = ctl(&viewer, &["state", "--json"]).json();
    assert_eq!(json["layer_count"], 2);
    assert_eq!(json["layers"][0]["payload_summaries"].as_array().unwrap().len(), 0);
    let items = ctl(&viewer, &["--json", "state", BLUR, "--items"]).json();
    assert_eq!(items["layers"].as_array().unwrap().len(), 1);
    assert_eq!(items["layers"][0]["payload_summaries"].as_array().unwrap().len(), 4);

    let moved = ctl(&viewer, &["navigate", "--at", "well=B02", "--at", "channel=2", "--at", "site=1"]);
    assert!(moved.out.contains("Well B02") && moved.out.contains("Ch 2"), "{} {}", moved.out, moved.err);
    let overlay =
        |viewer| ctl(viewer, &["state", "--json"]).json()["wellscope"]["overlay"].as_str().unwrap().to_owned();
    assert!(overlay(&viewer).contains("Well B02") && overlay(&viewer).contains("Ch 2"), "{}", overlay(&viewer));
    assert_eq!(ctl(&viewer, &["navigate", BLUR, "--index", "well=0", "--hide"]).code, 0);
    let json = ctl(&viewer, &["state", "--json"]).json();
    assert_eq!(json["layers"][0]["visible"], false);

    assert_eq!(ctl(&viewer, &["isolate", SEGMENT]).code, 0);
    let shown: Vec<bool> = ctl(&viewer, &["state", "--json"]).json()["layers"]
        .as_array()
        .unwrap()
        .iter()
        .map(|layer| layer["visible"].as_bool().unwrap())
        .collect();
    assert_eq!(shown, [false, true]);
}

#[test]
fn a_script_sets_contrast_and_camera_and_takes_pictures() {
    let viewer = ViewerProcess::start("tcp", &[]).unwrap();
    stream(&viewer);
    assert_eq!(ctl(&viewer, &["settle"]).code, 0);
    let intensity = |viewer: &ViewerProcess| {
        ctl(viewer, &["state", BLUR, "--json"]).json()["layers"][0]["native_intensity"].clone()
    };
    assert_eq!(ctl(&viewer, &["intensity", BLUR, "--limits", "10", "300", "--gamma", "0.5"]).code, 0);
    let set = intensity(&viewer);
    assert_eq!(set["contrast_limits"], serde_json::json!([10.0, 300.0]));
    assert_eq!(set["gamma"], 0.5);
    // What is not named stays.
    assert_eq!(ctl(&viewer, &["intensity", BLUR, "--gamma", "2"]).code, 0);
    assert_eq!(intensity(&viewer)["contrast_limits"], serde_json::json!([10.0, 300.0]));
    let said = ctl(&viewer, &["intensity", BLUR, "--percentiles", "0", "100", "--at", "well=A01"]);
    assert_eq!(said.out.trim(), format!("{BLUR}: contrast 0.0 to 383.0"), "{}", said.err);

    assert_eq!(ctl(&viewer, &["viewport", "--center", "7.5", "-2", "--zoom", "3"]).code, 0);
    assert_eq!(ctl(&viewer, &["viewport"]).out.trim(), "centre y 7.5, x -2, zoom 3");
    assert_eq!(ctl(&viewer, &["viewport", "--zoom", "4"]).code, 0);
    let camera = ctl(&viewer, &["viewport", "--json"]).json();
    assert_eq!(camera["native_viewport"], serde_json::json!({"center": [0.0, 7.5, -2.0], "zoom": 4.0}));

    let picture = ctl(&viewer, &["screenshot", "-o", "shot.png"]);
    assert_eq!(picture.code, 0, "{}", picture.err);
    let bytes = std::fs::read(viewer.home.path().join("shot.png")).unwrap();
    assert!(bytes.starts_with(b"\x89PNG"));
    let json = ctl(&viewer, &["screenshot", "--window", "-o", "shots", "--json"]).json();
    let path = std::path::PathBuf::from(json["path"].as_str().unwrap());
    assert_eq!(path.parent().unwrap(), viewer.home.path().join("shots"));
    assert_eq!(json["size_bytes"].as_u64().unwrap(), std::fs::metadata(&path).unwrap().len());

    let values = ctl(&viewer, &["payloads", BLUR, "--at", "well=A01", "--at", "channel=1", "--values"]).json();
    let payloads = values["layers"][0]["payloads"].as_array().unwrap();
    assert_eq!(payloads.len(), 1, "{values}");
    assert_eq!(payloads[0]["array_values"][1][0], 24);

    assert_eq!(ctl(&viewer, &["clear-state"]).code, 0);
    assert_eq!(ctl(&viewer, &["state", "--json"]).json()["component_item_count"], 0);
}

#[test]
fn exit_codes_tell_what_went_wrong() {
    let mut viewer = ViewerProcess::start("ipc", &[]).unwrap();
    let empty = ctl(&viewer, &["navigate", "--at", "well=B02"]);
    assert_eq!((empty.code, empty.err.contains("no layers yet")), (1, true), "{}", empty.err);
    stream(&viewer);
    for (arguments, words) in [
        (&["navigate", "--at", "well=Z99"][..], "A01, B02"),
        (&["navigate", "nothing", "--show"][..], "1. Gaussian Blur"),
        (&["intensity", BLUR, "--limits", "9", "3"][..], "smaller than upper bound"),
        (&["isolate", BLUR, "nothing"][..], "there is no layer"),
        (&["screenshot", "-o", "/proc/nowhere"][..], "cannot be written"),
    ] {
        let said = ctl(&viewer, arguments);
        assert_eq!(said.code, 1, "{arguments:?}: {} {}", said.out, said.err);
        assert!(said.err.contains(words), "{arguments:?}: {}", said.err);
    }
    let refused: Value = serde_json::from_str(&ctl(&viewer, &["isolate", "x", "--json"]).out).unwrap();
    assert_eq!(refused["status"], "error");
    for arguments in [&["navigate"][..], &["bogus"], &["intensity"], &["ping", "--timeout", "0"], &["isolate"], &[]] {
        assert_eq!(ctl(&viewer, arguments).code, 2, "{arguments:?}");
    }
    // A viewer that is there and says nothing.
    wellscope_tests::lifecycle::signal(viewer.pid(), "-STOP").unwrap();
    assert_eq!(ctl(&viewer, &["ping", "--timeout", "0.5"]).code, 4);
    assert_eq!(ctl(&viewer, &["state", "--timeout", "0.5"]).code, 4);
    wellscope_tests::lifecycle::signal(viewer.pid(), "-CONT").unwrap();

    let pid = viewer.pid();
    let closed = ctl(&viewer, &["shutdown"]);
    assert_eq!(closed.code, 0, "{}", closed.err);
    assert!(viewer.wait(std::time::Duration::from_secs(60)).unwrap().success());
    assert!(!runs(pid));
    for call in [&["ping"][..], &["state"], &["settle"], &["shutdown"]] {
        let said = ctl(&viewer, call);
        assert_eq!(said.code, 3, "{call:?}: {}", said.err);
    }
}

#[test]
fn what_does_not_answer_as_a_viewer_is_not_ended_by_force() {
    let mut viewer = ViewerProcess::start("ipc", &[]).unwrap();
    wellscope_tests::lifecycle::signal(viewer.pid(), "-STOP").unwrap();
    let said = ctl(&viewer, &["shutdown", "--force", "--timeout", "0.5"]);
    assert_eq!(said.code, 1, "{}", said.out);
    assert!(runs(viewer.pid()) && said.err.contains("does not answer"), "{}", said.err);
    wellscope_tests::lifecycle::signal(viewer.pid(), "-CONT").unwrap();
    assert_eq!(ctl(&viewer, &["shutdown", "--force"]).code, 0);
    viewer.wait(std::time::Duration::from_secs(60)).unwrap();
}
