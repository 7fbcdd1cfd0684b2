//! Producers that publish (G0, G1): no replies, and each item for itself.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests; clippy.toml exempts only functions marked as such")]

mod common;

use std::time::Duration;

use common::*;
use serde_json::{Value, json};
use wellscope_protocol::endpoint::Transport;
use wellscope_receiver::{DataSocket, Severity};

fn start_subscriber(transport: Transport, change: impl FnOnce(&mut wellscope_receiver::ReceiverConfig)) -> Viewer {
    start_with(transport, |config| {
        config.data_socket = DataSocket::Sub;
        change(config);
    })
}

/// A connected publisher. XPUB, which hears of the subscription: what a PUB sends before it is lost.
fn publisher(viewer: &Viewer) -> zmq::Socket {
    let socket = viewer.context.socket(zmq::XPUB).unwrap();
    socket.set_linger(0).unwrap();
    socket.set_rcvtimeo(PATIENCE.as_millis() as i32).unwrap();
    socket.connect(&viewer.data_url()).unwrap();
    assert_eq!(socket.recv_bytes(0).unwrap(), b"\x01", "the viewer subscribes to everything");
    socket
}

fn publish(socket: &zmq::Socket, images: Value) {
    socket.send(batch(images).to_string().as_str(), 0).unwrap();
}

fn ack_listener(viewer: &Viewer) -> zmq::Socket {
    let socket = viewer.context.socket(zmq::PULL).unwrap();
    socket.set_linger(0).unwrap();
    socket.set_rcvtimeo(PATIENCE.as_millis() as i32).unwrap();
    socket.bind(&viewer.receiver().endpoints().ack_url).unwrap();
    socket
}

fn next_ack(listener: &zmq::Socket) -> Value {
    serde_json::from_slice(&listener.recv_bytes(0).unwrap()).unwrap()
}

#[test]
fn published_batches_are_delivered_in_order() {
    for transport in [Transport::Ipc, Transport::Tcp] {
        let viewer = start_subscriber(transport, |_| ());
        let socket = publisher(&viewer);
        let segments: Vec<Segment> = (0..50_u8).map(|number| Segment::new(&[number; 4])).collect();
        for segment in &segments {
            publish(&socket, json!([image(&segment.name, &[2, 2], "uint8")]));
        }
        for number in 0..50_u8 {
            let batch = viewer.next_batch();
            assert_eq!(&pixels(&batch.items[0])[..], &[number; 4]);
            assert_eq!(batch.sequence, u64::from(number) + 1);
        }
    }
}

#[test]
fn a_single_image_message_without_a_type_is_taken() {
    let viewer = start_subscriber(Transport::Ipc, |_| ());
    let segment = Segment::new(&[5; 4]);
    let mut message = image(&segment.name, &[2, 2], "uint8");
    message.as_object_mut().unwrap().remove("data_type");
    publisher(&viewer).send(message.to_string().as_str(), 0).unwrap();
    assert_eq!(&pixels(&viewer.next_batch().items[0])[..], &[5; 4]);
}

#[test]
fn a_missing_segment_costs_its_own_item_only() {
    let viewer = start_subscriber(Transport::Ipc, |_| ());
    let (listener, socket) = (ack_listener(&viewer), publisher(&viewer));
    let segments = [Segment::new(&[1; 4]), Segment::new(&[3; 4])];
    let missing = fresh_name();
    let item = |name: &str, id: &str| image_with_id(name, &[2, 2], "uint8", id);
    publish(&socket, json!([item(&segments[0].name, "a"), item(&missing, "b"), item(&segments[1].name, "c")]));

    let problem = viewer.next_problem();
    assert_eq!(problem.severity, Severity::Error);
    assert!(problem.text.contains("image 2 of 3") && problem.text.contains(&missing), "{}", problem.text);
    let batch = viewer.next_batch();
    let kept: Vec<u8> = batch.items.iter().map(|item| pixels(item)[0]).collect();
    assert_eq!(kept, [1, 3]);
    let ack = next_ack(&listener);
    assert_eq!((&ack["image_id"], &ack["status"]), (&json!("b"), &json!("error")));
    assert!(ack["error"].as_str().unwrap().contains("gone"), "{ack}");

    batch.items.into_iter().for_each(|item| item.ack.succeed());
    let acked: Vec<Value> = (0..2).map(|_| next_ack(&listener)["image_id"].clone()).collect();
    assert_eq!(acked, ["a", "c"]);
    let counters = viewer.counters();
    assert_eq!((counters.items_received, counters.items_taken, counters.in_flight_bytes), (2, 2, 0));
}

#[test]
fn an_item_that_cannot_be_read_costs_itself_only() {
    let viewer = start_subscriber(Transport::Ipc, |config| config.limits.late_unlink_millis = 1);
    let (listener, socket) = (ack_listener(&viewer), publisher(&viewer));
    let segments = [Segment::new(&[1; 4]), Segment::new(&[2; 4]), Segment::new(&[3; 4])];
    let missing = fresh_name();
    let item = |name: &str, dtype: &str, id: &str| image_with_id(name, &[2, 2], dtype, id);
    publish(
        &socket,
        json!([
            item(&segments[0].name, "uint8", "a"),
            item(&segments[1].name, "uint9", "b"),
            item(&missing, "uint8", "c"),
            7,
            item(&segments[2].name, "uint8", "e"),
        ]),
    );
    let problem = viewer.next_problem();
    assert!(problem.text.starts_with("Left out of a published batch: 3."), "{}", problem.text);
    assert!(problem.text.contains("item 2 of 5") && problem.text.contains("uint9"), "{}", problem.text);
    let batch = viewer.next_batch();
    let kept: Vec<u8> = batch.items.iter().map(|item| pixels(item)[0]).collect();
    assert_eq!(kept, [1, 3]);
    let acks = [next_ack(&listener), next_ack(&listener)];
    for (ack, (id, found)) in acks.iter().zip([("b", "uint9"), ("c", "image 3 of 5")]) {
        assert_eq!((&ack["image_id"], &ack["status"]), (&json!(id), &json!("error")));
        assert!(ack["error"].as_str().unwrap().contains(found), "{ack}");
    }
    batch.items.into_iter().for_each(|item| item.ack.succeed());
    let acked: Vec<Value> = (0..2).map(|_| next_ack(&listener)["image_id"].clone()).collect();
    assert_eq!(acked, ["a", "e"]);
    assert_eq!(viewer.counters().items_received, 2);
    eventually("the segment of the refused item is removed", || !segments[1].exists());
}

#[test]
fn one_item_that_cannot_be_read_refuses_a_requested_batch() {
    let viewer = start(Transport::Ipc);
    let segment = Segment::new(&[1; 4]);
    let images = json!([image(&segment.name, &[2, 2], "uint8"), image(&segment.name, &[2, 2], "uint9")]);
    let text = error_text(&viewer.send_batch(images), Some("batch"));
    assert!(text.contains("images[1]") && text.contains("uint9"), "{text}");
    assert!(viewer.next_problem().text.contains("uint9"));
    assert_eq!(viewer.counters().items_received, 0);
}

#[test]
fn a_batch_that_cannot_be_read_is_acked_as_an_error_item_by_item() {
    let viewer = start_subscriber(Transport::Ipc, |_| ());
    let (listener, socket) = (ack_listener(&viewer), publisher(&viewer));
    let items = json!([image_with_id("x", &[2, 2], "uint8", "a"), image_with_id("y", &[2, 2], "uint8", "b")]);
    let mut message = batch(items);
    message["display_config"] = json!(7);
    socket.send(message.to_string().as_str(), 0).unwrap();
    assert!(viewer.next_problem().text.contains("display_config"));
    for id in ["a", "b"] {
        let ack = next_ack(&listener);
        assert_eq!((&ack["image_id"], &ack["status"]), (&json!(id), &json!("error")));
    }
    for frame in [&b"\xff nonsense"[..], b"", b"{", b"[1]", b"{\"images\": 3, \"image_id\": 4}"] {
        socket.send(frame, 0).unwrap();
        viewer.next_problem();
    }
    socket.send_multipart([&b"topic"[..], b"{}"], 0).unwrap();
    assert!(viewer.next_problem().text.contains("2"));
    let segment = Segment::new(&[9; 4]);
    publish(&socket, json!([image(&segment.name, &[2, 2], "uint8")]));
    assert_eq!(&pixels(&viewer.next_batch().items[0])[..], &[9; 4]);
}

#[test]
fn a_slow_app_loses_nothing_and_control_answers_meanwhile() {
    let viewer = start_subscriber(Transport::Ipc, |config| {
        config.limits.queue_batches = 2;
        // Producers that request would be told that the viewer is busy.
        config.limits.busy_timeout_millis = 1;
    });
    let socket = publisher(&viewer);
    let segments: Vec<Segment> = (0..20_u8).map(|number| Segment::new(&[number; 4])).collect();
    for segment in &segments {
        publish(&socket, json!([image(&segment.name, &[2, 2], "uint8")]));
    }
    eventually("the channel is full", || viewer.deliveries.is_full());
    std::thread::sleep(Duration::from_millis(30));
    assert!(!viewer.control(PING).is_empty());
    for number in 0..20_u8 {
        assert_eq!(pixels(&viewer.next_batch().items[0])[0], number);
    }
}

#[test]
fn a_receiver_that_waits_for_its_app_ends_at_once() {
    let mut viewer = start_subscriber(Transport::Ipc, |config| config.limits.queue_batches = 1);
    let socket = publisher(&viewer);
    for _ in 0..5 {
        publish(&socket, json!([]));
    }
    eventually("the channel is full", || viewer.deliveries.is_full());
    let started = std::time::Instant::now();
    viewer.receiver.take().unwrap().shut_down();
    // The end waits 2 s for threads that do not end by themselves.
    assert!(started.elapsed() < Duration::from_millis(1900), "the data thread did not end");
}

#[test]
fn left_segments_are_removed_and_those_of_openhcs_01_stay() {
    let viewer = start_subscriber(Transport::Ipc, |config| config.limits.late_unlink_millis = 1);
    let socket = publisher(&viewer);
    let left = Segment::new(&[1; 4]);
    let kept = Segment { name: format!("napari_{}_{}", std::process::id(), 1_795_359_489_745_205_747_u64) };
    std::fs::write(kept.path(), [2; 4]).unwrap();
    let images = json!([image(&kept.name, &[2, 2], "uint8"), image(&left.name, &[2, 2], "uint8")]);
    publish(&socket, images);
    assert_eq!(viewer.next_batch().items.len(), 2);
    eventually("the left segment is removed", || !left.exists());
    assert!(kept.exists());
}
