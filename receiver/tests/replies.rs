//! Replies, copies, buffers, segments and acks: what the viewer owes a producer.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests; clippy.toml exempts only functions marked as such")]

mod common;

use common::*;
use serde_json::{Value, json};
use wellscope_protocol::dtype::ElementType;
use wellscope_protocol::endpoint::Transport;
use wellscope_protocol::pickle::{NumpyArray, PickleValue, encode};
use wellscope_receiver::Delivery;
use wellscope_store::Store;

#[test]
fn reply_is_sent_after_pixels_are_copied() {
    for transport in [Transport::Ipc, Transport::Tcp] {
        let viewer = start(transport);
        let bytes: Vec<u8> = (0..1 << 20).map(|index| (index % 251) as u8).collect();
        let segment = Segment::new(&bytes);
        assert_eq!(viewer.send_batch(json!([image(&segment.name, &[1024, 1024], "uint8")])), success());
        // What producers of G3 do at once; overwritten first, so that a late copy would show.
        std::fs::write(segment.path(), vec![0; 1 << 20]).unwrap();
        segment.unlink();
        let batch = viewer.next_batch();
        assert_eq!(&pixels(&batch.items[0])[..], &bytes[..]);
        assert_eq!(batch.sequence, 1);
    }
}

#[test]
fn every_request_gets_exactly_one_reply() {
    let viewer = start(Transport::Ipc);
    let dealer = viewer.context.socket(zmq::DEALER).unwrap();
    dealer.set_linger(0).unwrap();
    dealer.set_rcvtimeo(PATIENCE.as_millis() as i32).unwrap();
    dealer.connect(&viewer.data_url()).unwrap();
    let segment = Segment::new(&[1; 4]);
    let good = batch(json!([image(&segment.name, &[2, 2], "uint8")])).to_string().into_bytes();
    let requests = [good.clone(), b"nonsense".to_vec(), good, b"{}".to_vec(), PING.to_vec()];
    for request in &requests {
        dealer.send_multipart([Vec::new(), request.clone()], 0).unwrap();
    }
    let statuses: Vec<Value> = requests
        .iter()
        .map(|_| serde_json::from_slice::<Value>(&dealer.recv_multipart(0).unwrap()[1]).unwrap()["status"].clone())
        .collect();
    assert_eq!(statuses, ["success", "error", "success", "error", "error"]);
    dealer.set_rcvtimeo(50).unwrap();
    assert!(dealer.recv_multipart(0).is_err(), "a reply too many");
}

#[test]
fn several_producers_at_once_each_get_their_own_reply() {
    let viewer = start(Transport::Ipc);
    let url = viewer.data_url();
    let producers: Vec<_> = (0..8u8)
        .map(|number| {
            let (context, url) = (viewer.context.clone(), url.clone());
            std::thread::spawn(move || {
                for _ in 0..20 {
                    // A fresh socket per batch, as released producers do.
                    let producer = context.socket(zmq::REQ).unwrap();
                    producer.set_linger(0).unwrap();
                    producer.set_rcvtimeo(PATIENCE.as_millis() as i32).unwrap();
                    producer.connect(&url).unwrap();
                    let segment = Segment::new(&[number; 4]);
                    let mut item = image(&segment.name, &[2, 2], "uint8");
                    item["path"] = json!(format!("/{number}"));
                    // Odd producers name a segment that is not there.
                    if number % 2 == 1 {
                        segment.unlink();
                    }
                    producer.send(batch(json!([item])).to_string().as_str(), 0).unwrap();
                    let status = reply(&producer)["status"].clone();
                    assert_eq!(status, if number % 2 == 1 { "error" } else { "success" });
                }
            })
        })
        .collect();
    let mut sequences = Vec::new();
    while sequences.len() < 80 {
        if let Delivery::Batch(batch) = viewer.next() {
            sequences.push(batch.sequence);
            let item = &batch.items[0];
            let number: u8 = item.item.path[1..].parse().unwrap();
            assert_eq!(&pixels(item)[..], &[number; 4]);
        }
    }
    producers.into_iter().for_each(|producer| producer.join().unwrap());
    assert_eq!(sequences, (1..=80).collect::<Vec<u64>>());
}

#[test]
fn empty_batches_succeed() {
    let viewer = start(Transport::Ipc);
    assert_eq!(viewer.send_batch(json!([])), success());
    assert!(viewer.next_batch().items.is_empty());
}

#[test]
fn big_endian_pixels_arrive_little_endian() {
    let viewer = start(Transport::Ipc);
    let segment = Segment::new(&[0x12, 0x34, 0x56, 0x78, 0x9a, 0xbc, 0xde, 0xf0]);
    for (dtype, shape, element, expected) in [
        (">u2", [2, 2], ElementType::U16, [0x34, 0x12, 0x78, 0x56, 0xbc, 0x9a, 0xf0, 0xde]),
        (">i4", [1, 2], ElementType::I32, [0x78, 0x56, 0x34, 0x12, 0xf0, 0xde, 0xbc, 0x9a]),
        (">f8", [1, 1], ElementType::F64, [0xf0, 0xde, 0xbc, 0x9a, 0x78, 0x56, 0x34, 0x12]),
        ("<u2", [2, 2], ElementType::U16, [0x12, 0x34, 0x56, 0x78, 0x9a, 0xbc, 0xde, 0xf0]),
    ] {
        assert_eq!(viewer.send_batch(json!([image(&segment.name, &shape, dtype)])), success());
        let batch = viewer.next_batch();
        let image = received_image(&batch.items[0]);
        assert_eq!((image.element, &image.pixels.to_vec().unwrap()[..]), (element, &expected[..]), "{dtype}");
    }
}

#[test]
fn a_pickle_with_numpy_arrays_is_taken() {
    let viewer = start(Transport::Ipc);
    let array = NumpyArray::new(">u2", vec![1, 2], vec![1, 2, 3, 4]).unwrap();
    let message = PickleValue::dict([
        ("path", "/plate/A01.tif".into()),
        ("metadata", PickleValue::dict([("well", "A01".into())])),
        ("data", PickleValue::Array(Box::new(array))),
    ]);
    assert_eq!(viewer.send(&encode(&message)), success());
    let batch = viewer.next_batch();
    let image = received_image(&batch.items[0]);
    assert_eq!(
        (image.element, &image.shape[..], &image.pixels.to_vec().unwrap()[..]),
        (ElementType::U16, &[1, 2][..], &[2, 1, 4, 3][..])
    );
}

#[test]
fn inline_pixels_need_no_segment() {
    let viewer = start(Transport::Ipc);
    let mut item = image("", &[2, 2], "uint16");
    item["data"] = json!([[1, 2], [3, 500]]);
    assert_eq!(viewer.send_batch(json!([item])), success());
    assert_eq!(&pixels(&viewer.next_batch().items[0])[..], &[1, 0, 2, 0, 3, 0, 0xf4, 1]);
}

#[test]
fn buffers_that_the_app_drops_are_reused_and_each_image_is_copied_once() {
    let store = Store::unbounded();
    let viewer = start_with(Transport::Ipc, |config| config.store = store.clone());
    let segment = Segment::new(&vec![3; 1 << 20]);
    for _ in 0..50 {
        assert_eq!(viewer.send_batch(json!([image(&segment.name, &[1024, 1024], "uint8")])), success());
        drop(viewer.next_batch());
    }
    let (counters, usage) = (viewer.counters(), store.usage());
    assert_eq!((usage.buffers_allocated, usage.buffers_reused, usage.memory_bytes), (1, 49, 1 << 20));
    assert_eq!((counters.copies, counters.bytes_copied), (50, 50 << 20));
    assert_eq!((counters.images_received, counters.items_taken, counters.in_flight_bytes), (50, 50, 0));
}

#[test]
fn a_producer_waits_while_the_app_has_too_much_and_then_hears_that_the_viewer_is_busy() {
    let viewer = start_with(Transport::Ipc, |config| {
        config.limits.max_in_flight_bytes = 100;
        config.limits.busy_timeout_millis = 50;
    });
    let segment = Segment::new(&[1; 100]);
    let images = || json!([image(&segment.name, &[10, 10], "uint8")]);
    assert_eq!(viewer.send_batch(images()), success());
    let first = viewer.next_batch();
    assert!(error_text(&viewer.send_batch(images()), Some("batch")).contains("busy"));
    viewer.next_problem();
    drop(first);
    assert_eq!(viewer.send_batch(images()), success());
}

#[test]
fn a_full_channel_makes_producers_wait_until_the_app_takes_something() {
    let viewer = start_with(Transport::Ipc, |config| config.limits.queue_batches = 1);
    assert_eq!(viewer.send_batch(json!([])), success());
    let producer = viewer.producer();
    producer.send(batch(json!([])).to_string().as_str(), 0).unwrap();
    assert_eq!(producer.poll(zmq::POLLIN, 100).unwrap(), 0, "no reply while there is no room");
    viewer.next_batch();
    assert_eq!(reply(&producer), success());
    viewer.next_batch();
}

#[test]
fn a_segment_that_its_producer_leaves_behind_is_unlinked_late() {
    let viewer = start_with(Transport::Ipc, |config| config.limits.late_unlink_millis = 100);
    let left = Segment::new(&[1; 4]);
    assert_eq!(viewer.send_batch(json!([image(&left.name, &[2, 2], "uint8")])), success());
    eventually("the segment is unlinked", || !left.exists());
    eventually("the unlink is counted", || viewer.counters().segments_unlinked == 1);
}

#[test]
fn a_new_segment_of_the_same_name_and_foreign_segments_stay() {
    let viewer = start_with(Transport::Ipc, |config| config.limits.late_unlink_millis = 100);
    let reused = Segment::new(&[1; 4]);
    let mut foreign = Segment::new(&[1; 4]);
    foreign.unlink();
    foreign.name = foreign.name.replace("napari_", "other_");
    std::fs::write(foreign.path(), [1; 4]).unwrap();
    let images = json!([image(&reused.name, &[2, 2], "uint8"), image(&foreign.name, &[2, 2], "uint8")]);
    assert_eq!(viewer.send_batch(images), success());
    // A file kept open holds its inode, so that the new one surely has another.
    let _first = std::fs::File::open(reused.path()).unwrap();
    reused.unlink();
    std::fs::write(reused.path(), [2; 4]).unwrap();
    // A third segment shows that the time has come and gone.
    let last = Segment::new(&[1; 4]);
    viewer.send_batch(json!([image(&last.name, &[2, 2], "uint8")]));
    eventually("the last segment is unlinked", || !last.exists());
    assert!(reused.exists() && foreign.exists());
}

#[test]
fn the_end_of_the_viewer_unlinks_what_is_left() {
    let mut viewer = start(Transport::Ipc);
    let left = Segment::new(&[1; 4]);
    viewer.send_batch(json!([image(&left.name, &[2, 2], "uint8")]));
    viewer.receiver.take().unwrap().shut_down();
    assert!(!left.exists());
}

fn listener(viewer: &Viewer, url: &str) -> zmq::Socket {
    let socket = viewer.context.socket(zmq::PULL).unwrap();
    socket.set_rcvtimeo(PATIENCE.as_millis() as i32).unwrap();
    // Clients connect to the name, a socket binds the address.
    socket.bind(&url.replace("localhost", "127.0.0.1")).unwrap();
    socket
}

fn next_ack(listener: &zmq::Socket) -> Value {
    serde_json::from_slice(&listener.recv_bytes(0).unwrap()).unwrap()
}

#[test]
fn acks_reach_the_shared_ack_port_even_when_it_is_bound_later() {
    for transport in [Transport::Ipc, Transport::Tcp] {
        let viewer = start(transport);
        let segment = Segment::new(&[1; 4]);
        let images = json!([
            image_with_id(&segment.name, &[2, 2], "uint8", "first"),
            image(&segment.name, &[2, 2], "uint8"),
            image_with_id(&segment.name, &[2, 2], "uint8", "second"),
        ]);
        assert_eq!(viewer.send_batch(images), success());
        let mut items = viewer.next_batch().items.into_iter();
        items.next().unwrap().ack.succeed();
        items.next().unwrap().ack.succeed();
        items.next().unwrap().ack.fail("different rank");
        eventually("both acks are sent", || viewer.counters().acks_sent == 2);
        let listener = listener(&viewer, &viewer.receiver().endpoints().ack_url);
        let first = next_ack(&listener);
        assert_eq!(
            (&first["type"], &first["image_id"], &first["status"]),
            (&json!("image_ack"), &json!("first"), &json!("success"))
        );
        assert_eq!(first["viewer_port"], viewer.receiver().endpoints().port);
        assert_eq!(first["viewer_type"], "napari");
        assert!(first["timestamp"].as_f64().unwrap() > 1.7e9);
        let second = next_ack(&listener);
        assert_eq!((&second["status"], &second["error"]), (&json!("error"), &json!("different rank")));
    }
}

#[test]
fn acks_follow_the_return_route_and_repeat_it() {
    let viewer = start(Transport::Ipc);
    let url = format!("ipc://{}", viewer.home.path().join("own-acks.sock").display());
    let listener = listener(&viewer, &url);
    let segment = Segment::new(&[1; 4]);
    let mut item = image_with_id(&segment.name, &[2, 2], "uint8", "tracked");
    item["return_route"] =
        json!({"url": url, "incarnation": "7d3e", "owner": {"pid": 7, "create_time": 1795359489.75}});
    item["producer"] = json!({"pid": 8, "create_time": 1795359490.25});
    let (route, producer) = (item["return_route"].clone(), item["producer"].clone());
    assert_eq!(viewer.send_batch(json!([item])), success());
    viewer.next_batch().items.into_iter().for_each(|item| item.ack.succeed());
    let ack = next_ack(&listener);
    assert_eq!((&ack["return_route"], &ack["producer"]), (&route, &producer));
}

#[test]
fn return_routes_to_other_hosts_are_not_followed() {
    let viewer = start(Transport::Ipc);
    let segment = Segment::new(&[1; 4]);
    let mut item = image_with_id(&segment.name, &[2, 2], "uint8", "tracked");
    item["return_route"] =
        json!({"url": "tcp://192.0.2.1:80", "incarnation": "7d3e", "owner": {"pid": 7, "create_time": 1.5}});
    item["producer"] = json!({"pid": 8, "create_time": 1.5});
    assert_eq!(viewer.send_batch(json!([item])), success());
    viewer.next_batch().items.into_iter().for_each(|item| item.ack.succeed());
    assert_eq!((viewer.counters().acks_dropped, viewer.counters().acks_sent), (1, 0));
}

#[test]
fn acks_go_to_the_producer_that_bound_the_shared_path_last() {
    let viewer = start(Transport::Ipc);
    let url = viewer.receiver().endpoints().ack_url.clone();
    let segment = Segment::new(&[1; 4]);
    let send = |id: &str| {
        viewer.send_batch(json!([image_with_id(&segment.name, &[2, 2], "uint8", id)]));
        viewer.next_batch().items.into_iter().for_each(|item| item.ack.succeed());
    };
    let first = listener(&viewer, &url);
    send("one");
    assert_eq!(next_ack(&first)["image_id"], "one");
    let second = listener(&viewer, &url);
    send("two");
    assert_eq!(next_ack(&second)["image_id"], "two");
}

#[test]
fn acks_that_nobody_takes_never_hold_up_the_app() {
    let viewer = start_with(Transport::Ipc, |config| config.limits.max_pending_acks = 10);
    let segment = Segment::new(&[1]);
    let images: Vec<Value> =
        (0..3000).map(|index| image_with_id(&segment.name, &[1, 1], "uint8", &format!("{index}"))).collect();
    assert_eq!(viewer.send_batch(json!(images)), success());
    viewer.next_batch().items.into_iter().for_each(|item| item.ack.succeed());
    eventually("every ack is sent or dropped", || {
        let counters = viewer.counters();
        counters.acks_sent + counters.acks_dropped == 3000 && counters.items_taken == 3000
    });
    assert!(viewer.counters().acks_dropped >= 2000, "the queue for an absent listener is bounded");
}

#[test]
fn items_of_all_kinds_keep_their_order() {
    let viewer = start(Transport::Ipc);
    let segment = Segment::new(&[1; 4]);
    let shapes = json!({
        "path": "/plate/rois", "data_type": "points", "metadata": {"well": "A01"}, "image_id": null,
        "shapes": [{"type": "points", "coordinates": [[1.0, 2.0]], "metadata": {"label": 3}}],
    });
    assert_eq!(viewer.send_batch(json!([shapes, image(&segment.name, &[2, 2], "uint8")])), success());
    let batch = viewer.next_batch();
    assert_eq!((batch.items[0].is_image(), batch.items[1].is_image()), (false, true));
}

#[test]
fn the_app_may_go_before_the_receiver() {
    let mut viewer = start(Transport::Ipc);
    let (_, nothing) = crossbeam_channel::bounded::<Delivery>(0);
    drop(std::mem::replace(&mut viewer.deliveries, nothing));
    assert!(error_text(&viewer.send_batch(json!([])), Some("batch")).contains("closing"));
    viewer.receiver.take().unwrap().shut_down();
}
