//! Bad input: the viewer answers or drops that one message, says what was wrong, and goes on.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests; clippy.toml exempts only functions marked as such")]

mod common;

use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use common::*;
use serde_json::json;
use wellscope_protocol::endpoint::Transport;
use wellscope_receiver::Severity;
use wellscope_store::Store;

/// Sends `frame`, expects an error of `reply_type` whose text has every one of `parts`, in the reply and in the window.
fn assert_refused(viewer: &Viewer, frame: &[u8], reply_type: Option<&str>, parts: &[&str]) {
    let text = error_text(&viewer.send(frame), reply_type);
    let problem = viewer.next_problem();
    assert_eq!(problem.severity, Severity::Error);
    for part in parts {
        assert!(text.contains(part), "{part:?} is missing in the reply: {text}");
        assert!(problem.text.contains(part), "{part:?} is missing in the window: {}", problem.text);
    }
}

fn assert_image_refused(viewer: &Viewer, image: serde_json::Value, parts: &[&str]) {
    assert_refused(viewer, batch(json!([image])).to_string().as_bytes(), Some("batch"), parts);
    viewer.assert_serves();
}

#[test]
fn frames_that_are_no_batch_get_an_error_and_the_next_batch_is_served() {
    let viewer = start(Transport::Ipc);
    assert_refused(&viewer, b"{\"type\": \"batch\", ", None, &["JSON"]);
    assert_refused(&viewer, b"", None, &["JSON"]);
    assert_refused(&viewer, b"[1, 2]", None, &["object"]);
    assert_refused(&viewer, b"{}", None, &["type"]);
    assert_refused(&viewer, &[0xff, 0xfe, 0], None, &["utf-8"]);
    viewer.assert_serves();
    assert_eq!(viewer.counters().errors_replied, 5);
}

#[test]
fn missing_and_wrong_fields_are_named() {
    let viewer = start(Transport::Ipc);
    let mut message = batch(json!([]));
    message.as_object_mut().unwrap().remove("display_config");
    assert_refused(&viewer, message.to_string().as_bytes(), Some("batch"), &["display_config"]);

    let segment = Segment::new(&[0; 4]);
    let mut item = image(&segment.name, &[2, 2], "uint8");
    item.as_object_mut().unwrap().remove("path");
    assert_image_refused(&viewer, item, &["path"]);
    let mut item = image(&segment.name, &[2, 2], "uint8");
    item["shape"] = json!("2x2");
    assert_image_refused(&viewer, item, &["shape"]);
    assert_image_refused(&viewer, image(&segment.name, &[2, 2], "complex64"), &["complex64"]);
    assert_image_refused(&viewer, image(&segment.name, &[0, 2], "uint8"), &["0"]);
}

#[test]
fn an_image_without_the_component_of_its_layer_is_refused_by_name() {
    let viewer = start(Transport::Ipc);
    let segment = Segment::new(&[0; 4]);
    let mut message = batch(json!([image(&segment.name, &[2, 2], "uint8")]));
    message["display_config"]["component_modes"]["channel"] = json!("layer");
    message["display_config"]["component_order"] = json!(["channel", "well"]);
    message["images"][0]["producer_identity"] = json!({
        "origin": "pipeline", "output_kind": "main", "output_key": "main", "projection_key": "main", "step_name": "Blur",
        "pipeline_position": 0, "step_scope_id": null, "invocation_key": null, "artifact_kind": null,
    });
    assert_refused(&viewer, message.to_string().as_bytes(), Some("batch"), &["channel", "/plate/A01.tif"]);
    viewer.assert_serves();
}

#[test]
fn a_segment_too_small_for_its_shape_is_refused_with_both_sizes() {
    let viewer = start(Transport::Ipc);
    let segment = Segment::new(&[0; 100]);
    let parts = ["image 1 of 1", "768", "100", &segment.name, "/plate/A01.tif", "uint16"];
    assert_image_refused(&viewer, image(&segment.name, &[16, 24], "uint16"), &parts);
}

#[test]
fn missing_segments_and_names_that_are_no_segment_are_refused() {
    let viewer = start(Transport::Ipc);
    let missing = fresh_name();
    assert_image_refused(&viewer, image(&missing, &[2, 2], "uint8"), &["gone", &missing]);
    assert_image_refused(&viewer, image("../../etc/passwd", &[2, 2], "uint8"), &["'/'"]);
    let folder = Segment { name: fresh_name() };
    std::fs::create_dir(folder.path()).unwrap();
    assert_image_refused(&viewer, image(&folder.name, &[2, 2], "uint8"), &["regular"]);
    std::fs::remove_dir(folder.path()).unwrap();
    // Opening a pipe for reading waits for a writer that never comes.
    let pipe = Segment { name: fresh_name() };
    let made = std::process::Command::new("mkfifo").arg(pipe.path()).status().unwrap();
    assert!(made.success());
    assert_image_refused(&viewer, image(&pipe.name, &[2, 2], "uint8"), &["regular"]);
    let empty = Segment::new(&[]);
    assert_image_refused(&viewer, image(&empty.name, &[2, 2], "uint8"), &["4 bytes", "has 0"]);
}

#[test]
fn one_bad_segment_refuses_the_whole_batch_and_keeps_nothing() {
    let store = Store::unbounded();
    let viewer = start_with(Transport::Ipc, |config| config.store = store.clone());
    let good = Segment::new(&[7; 4]);
    let missing = fresh_name();
    let images = json!([image(&good.name, &[2, 2], "uint8"), image(&missing, &[2, 2], "uint8")]);
    let parts = ["image 2 of 2", missing.as_str()];
    assert_refused(&viewer, batch(images).to_string().as_bytes(), Some("batch"), &parts);
    let counters = viewer.counters();
    assert_eq!((counters.items_received, counters.items_taken, counters.in_flight_bytes), (0, 0, 0));
    viewer.assert_serves();
    let usage = store.usage();
    assert_eq!((usage.blocks, usage.memory_bytes), (0, 0), "nothing of the refused batch is kept");
}

#[test]
fn segments_longer_than_their_shape_are_read_as_far_as_the_shape_says() {
    let viewer = start(Transport::Ipc);
    let mut bytes = vec![9; 4096];
    bytes[..6].copy_from_slice(&[1, 2, 3, 4, 5, 6]);
    let segment = Segment::new(&bytes);
    assert_eq!(viewer.send_batch(json!([image(&segment.name, &[2, 3], "uint8")])), success());
    assert_eq!(&pixels(&viewer.next_batch().items[0])[..], &[1, 2, 3, 4, 5, 6]);
}

#[test]
fn a_shape_beyond_all_memory_is_refused_without_allocating() {
    let store = Store::unbounded();
    let viewer = start_with(Transport::Ipc, |config| config.store = store.clone());
    let segment = Segment::new(&[0; 16]);
    for shape in [[1 << 16, 1 << 16], [1 << 40, 1 << 40], [u64::MAX, 1]] {
        let frame = batch(json!([image(&segment.name, &shape, "uint32")])).to_string();
        error_text(&viewer.send(frame.as_bytes()), Some("batch"));
        viewer.next_problem();
    }
    // 4 GiB are within the limits, but the segment has 16 bytes: seen before memory is taken.
    error_text(&viewer.send_batch(json!([image(&segment.name, &[1 << 16, 1 << 16], "uint8")])), Some("batch"));
    assert_eq!(store.usage().buffers_allocated, 0);
}

#[test]
fn pickles_that_are_no_images_are_refused_and_run_nothing() {
    let viewer = start(Transport::Ipc);
    assert_refused(&viewer, PING, None, &["'ping' is not a valid"]);
    assert_refused(&viewer, b"\x80\x04\x95\x00", None, &["pickle"]);
    let marker = viewer.home.path().join("executed");
    let hostile = format!("cposix\nsystem\n(Vtouch {}\ntR.", marker.display());
    assert_refused(&viewer, hostile.as_bytes(), None, &["posix.system"]);
    assert!(!marker.exists());
    viewer.assert_serves();
}

#[test]
fn frames_that_belong_to_no_image_get_one_error() {
    let viewer = start(Transport::Ipc);
    let producer = viewer.producer();
    producer.send_multipart([batch(json!([])).to_string().into_bytes(), b"{}".to_vec(), b"{}".to_vec()], 0).unwrap();
    assert!(error_text(&reply(&producer), Some("batch")).contains("2 of its 2 binary frames"));
    viewer.next_problem();
    viewer.assert_serves();
}

#[test]
fn escape_sequences_that_a_peer_sends_reach_no_log() {
    let viewer = start(Transport::Ipc);
    let mut item = image("nowhere", &[2, 2], "uint8");
    item["path"] = json!("/plate/\u{1b}[2Jx\n.tif");
    item["shm_name"] = json!(fresh_name());
    viewer.send_batch(json!([item]));
    let problem = viewer.next_problem();
    assert!(!problem.text.contains(['\u{1b}', '\n']), "{}", problem.text);
    assert!(problem.text.contains("[2Jx"), "{}", problem.text);
}

/// What a peer of ZMTP 3.0 sends before its first message: greeting, then READY of a REQ socket.
fn zmtp_handshake() -> Vec<u8> {
    let mut bytes = vec![0xff, 0, 0, 0, 0, 0, 0, 0, 0, 0x7f, 3, 0];
    bytes.extend(b"NULL");
    bytes.resize(64, 0);
    let mut ready = b"\x05READY\x0bSocket-Type".to_vec();
    ready.extend(3u32.to_be_bytes());
    ready.extend(b"REQ");
    bytes.push(4);
    bytes.push(ready.len() as u8);
    bytes.extend(ready);
    bytes
}

/// Shakes hands, sends a request that is no batch and no pickle, and reads its error: what comes next is read as a message.
fn assert_answers(stream: &mut (impl Read + Write)) {
    stream.write_all(&zmtp_handshake()).unwrap();
    read_until(stream, b"Socket-Type");
    stream.write_all(&[1, 0, 0, 2, b'{', b'}']).unwrap();
    read_until(stream, b"status");
}

fn read_until(stream: &mut impl Read, words: &[u8]) {
    let mut received: Vec<u8> = Vec::new();
    while !received.windows(words.len()).any(|window| window == words) {
        let mut buffer = [0; 1024];
        let count = stream.read(&mut buffer).unwrap();
        assert!(count > 0, "closed before {words:?}");
        received.extend(&buffer[..count]);
    }
}

/// A frame that announces 10 GiB, behind the empty frame that REQ sockets send first.
fn ten_gib_claim() -> Vec<u8> {
    let mut bytes = vec![1, 0, 2];
    bytes.extend((10u64 << 30).to_be_bytes());
    bytes.extend([b'{'; 64]);
    bytes
}

/// Reads until the other side closes; false when it does not.
fn is_closed_by_peer(stream: &mut impl Read) -> bool {
    let mut buffer = [0; 1024];
    loop {
        match stream.read(&mut buffer) {
            Ok(0) => return true,
            Ok(_) => {}
            Err(error) => return error.kind() == std::io::ErrorKind::ConnectionReset,
        }
    }
}

#[test]
fn a_peer_that_announces_ten_gib_is_disconnected_and_others_are_served() {
    let viewer = start(Transport::Tcp);
    let control = viewer.receiver().endpoints().control_url.clone();
    for url in [viewer.data_url(), control] {
        let mut stream = TcpStream::connect(url.trim_start_matches("tcp://")).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        assert_answers(&mut stream);
        viewer.next_problem();
        stream.write_all(&ten_gib_claim()).unwrap();
        assert!(is_closed_by_peer(&mut stream), "{url}");
    }
    viewer.assert_serves();

    let viewer = start(Transport::Ipc);
    let mut stream = UnixStream::connect(viewer.data_url().trim_start_matches("ipc://")).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    assert_answers(&mut stream);
    viewer.next_problem();
    stream.write_all(&ten_gib_claim()).unwrap();
    assert!(is_closed_by_peer(&mut stream));
    viewer.assert_serves();
}

#[test]
fn peers_that_leave_without_a_greeting_or_in_the_middle_of_one_disturb_nobody() {
    let viewer = start(Transport::Ipc);
    let control = viewer.receiver().endpoints().control_url.clone();
    for url in [viewer.data_url(), control] {
        for sent in [&b""[..], b"\xff\0\0", b"GET / HTTP/1.1\r\n\r\n", &zmtp_handshake()[..70]] {
            let mut stream = UnixStream::connect(url.trim_start_matches("ipc://")).unwrap();
            let _ = stream.write_all(sent);
            let _ = stream.shutdown(Shutdown::Both);
        }
    }
    viewer.assert_serves();
    assert!(!viewer.control(PING).is_empty());

    let viewer = start(Transport::Tcp);
    for _ in 0..20 {
        drop(TcpStream::connect(viewer.data_url().trim_start_matches("tcp://")).unwrap());
    }
    viewer.assert_serves();
}

#[test]
fn a_producer_that_dies_between_request_and_reply_leaves_the_socket_usable() {
    let viewer = start(Transport::Ipc);
    let segment = Segment::new(&[5; 4]);
    for _ in 0..10 {
        let producer = viewer.producer();
        producer.send(batch(json!([image(&segment.name, &[2, 2], "uint8")])).to_string().as_str(), 0).unwrap();
        // Without this the request itself may be lost with the socket.
        viewer.next_batch();
        drop(producer);
    }
    viewer.assert_serves();
}

#[test]
fn control_messages_without_an_envelope_are_dropped() {
    let viewer = start(Transport::Ipc);
    let dealer = viewer.context.socket(zmq::DEALER).unwrap();
    dealer.set_linger(0).unwrap();
    dealer.set_rcvtimeo(PATIENCE.as_millis() as i32).unwrap();
    dealer.connect(&viewer.receiver().endpoints().control_url).unwrap();
    dealer.send(PING, 0).unwrap();
    dealer.send_multipart(vec![b"x".to_vec(); 40], 0).unwrap();
    dealer.send_multipart([b"".to_vec(), b"".to_vec(), b"".to_vec()], 0).unwrap();
    // The first that a REQ socket would send, too.
    dealer.send_multipart([b"".to_vec(), PING.to_vec()], 0).unwrap();
    let reply = dealer.recv_multipart(0).unwrap();
    assert_eq!((reply.len(), reply[0].len()), (2, 0));
    dealer.set_rcvtimeo(Duration::from_millis(50).as_millis() as i32).unwrap();
    assert!(dealer.recv_multipart(0).is_err(), "dropped messages get no reply");
}
