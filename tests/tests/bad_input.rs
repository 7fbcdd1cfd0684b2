//! Whatever a peer sends: that message is answered or dropped, log and window say what was wrong, and the viewer goes on.
//! Each kind of bad input has its test in the receiver; here the whole program is looked at.
// Segments are made under /dev/shm: on Linux only.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a helper of a test that unwraps says where it failed")]

use std::os::unix::net::UnixStream;
use std::time::Duration;

use ndarray::Array2;
use serde_json::{Value, json};
use wellscope_client::{BatchRequest, ImageItem};
use wellscope_tests::rust_client::DEADLINE;
use wellscope_tests::viewer::ViewerProcess;

fn exchange(viewer: &ViewerProcess, frame: &[u8]) -> Value {
    let socket = zmq::Context::new().socket(zmq::REQ).unwrap();
    socket.set_linger(0).unwrap();
    socket.set_rcvtimeo(DEADLINE.as_millis() as i32).unwrap();
    socket.connect(&viewer.endpoint().data_url().unwrap()).unwrap();
    socket.send(frame, 0).unwrap();
    serde_json::from_slice(&socket.recv_bytes(0).expect("exactly one reply")).unwrap()
}

fn image(shape: Value, dtype: &str, shm_name: &str) -> Vec<u8> {
    json!({
        "type": "batch", "timestamp": 1.0, "display_config": {},
        "images": [{"path": "/p/bad.tif", "shape": shape, "dtype": dtype, "shm_name": shm_name, "metadata": {"well": "A01"}}],
    })
    .to_string()
    .into_bytes()
}

#[test]
fn bad_messages_are_refused_said_and_survived() {
    let viewer = ViewerProcess::start("ipc", &[]).unwrap();
    let segment = format!("napari_{:012x}", std::process::id());
    std::fs::write(format!("/dev/shm/{segment}"), [0_u8; 10]).unwrap();

    let cases: Vec<(Vec<u8>, &str)> = vec![
        (b"\xff\xfe not JSON".to_vec(), "utf-8"),
        (b"[1, 2]".to_vec(), "object"),
        (b"{}".to_vec(), "missing required payload field 'type'"),
        (br#"{"type": "batch", "images": []}"#.to_vec(), "display_config"),
        (image(json!([4, 4]), "uint16", &segment), "32"),
        (image(json!([4, 4]), "uint16", "napari_nowhere"), "napari_nowhere"),
        (image(json!([0, 4]), "uint16", &segment), "0"),
        (image(json!("4x4"), "uint16", &segment), "shape"),
        (image(json!([2, 2]), "complex64", &segment), "complex"),
        (image(json!([2, 2]), "uint9", &segment), "uint9"),
        (b"\x80\x04\x95\x00".to_vec(), "pickle"),
    ];
    for (frame, expected) in &cases {
        let reply = exchange(&viewer, frame);
        assert_eq!(reply["status"], "error", "{reply}");
        let message = reply["message"].as_str().unwrap();
        assert!(message.contains(expected), "{expected:?} is not in {message:?}");
        assert!(viewer.log().contains(&message.chars().take(40).collect::<String>()), "the log says it: {message}");
    }
    // A peer that connects and leaves without a greeting, as OpenHCS's discovery does.
    for file in viewer.socket_files() {
        drop(UnixStream::connect(file).unwrap());
    }

    let state = viewer.state().unwrap();
    let problems = state.get("wellscope").and_then(|facts| facts.get("problems")?.items()).unwrap();
    let shown: String = problems.iter().filter_map(|problem| problem.as_str()).collect();
    assert!(shown.contains("napari_nowhere") && shown.contains("complex"), "the window says it: {shown}");

    let pixels = Array2::from_elem((4, 4), 7_u16);
    let good = BatchRequest::new().item(ImageItem::new("/p/good.tif", pixels.view()).at("well", "A01"));
    viewer.producer().unwrap().send_batch(good).unwrap();
    viewer.settle().unwrap();
    assert_eq!(viewer.count(["stack", "planes"]).unwrap(), 1, "nothing of the bad ones was kept");
    std::fs::remove_file(format!("/dev/shm/{segment}")).unwrap();
}

#[test]
fn a_client_that_dies_before_its_reply_stops_nobody() {
    let viewer = ViewerProcess::start("ipc", &[]).unwrap();
    for _ in 0..5 {
        let socket = zmq::Context::new().socket(zmq::REQ).unwrap();
        socket.set_linger(0).unwrap();
        socket.connect(&viewer.endpoint().data_url().unwrap()).unwrap();
        socket.send(&br#"{"type": "batch", "images": [], "display_config": {}}"#[..], 0).unwrap();
        drop(socket);
    }
    std::thread::sleep(Duration::from_millis(50));
    let reply = exchange(&viewer, br#"{"type": "batch", "images": [], "display_config": {}}"#);
    assert_eq!(reply, json!({"status": "success", "type": "batch"}));
    assert!(viewer.client().unwrap().ping(DEADLINE).unwrap().ready);
}
