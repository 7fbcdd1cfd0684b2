//! Binary frames behind the JSON: pixels of producers that share no memory with the viewer.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests; clippy.toml exempts only functions marked as such")]

mod common;

use common::*;
use serde_json::{Value, json};
use wellscope_protocol::control::Extensions;
use wellscope_protocol::endpoint::Transport;
use wellscope_protocol::pickle::{PickleLimits, decode};
use wellscope_receiver::{DataSocket, Delivery};

fn framed(frames: &[usize], shape: &[u64], dtype: &str) -> Value {
    let mut image = image("", shape, dtype);
    image.as_object_mut().unwrap().remove("shm_name");
    image["frames"] = json!(frames);
    image
}

fn message(images: &[Value], frames: &[&[u8]]) -> Vec<Vec<u8>> {
    let text = batch(json!(images)).to_string().into_bytes();
    std::iter::once(text).chain(frames.iter().map(|frame| frame.to_vec())).collect()
}

/// Sends a request of several frames as a REQ producer.
fn request(viewer: &Viewer, message: Vec<Vec<u8>>) -> Value {
    let producer = viewer.producer();
    producer.send_multipart(message, 0).unwrap();
    reply(&producer)
}

/// A producer that sends ahead.
fn dealer(viewer: &Viewer) -> zmq::Socket {
    let socket = viewer.context.socket(zmq::DEALER).unwrap();
    socket.set_linger(0).unwrap();
    socket.set_rcvtimeo(PATIENCE.as_millis() as i32).unwrap();
    socket.set_sndtimeo(PATIENCE.as_millis() as i32).unwrap();
    socket.connect(&viewer.data_url()).unwrap();
    socket
}

fn send_ahead(dealer: &zmq::Socket, message: Vec<Vec<u8>>) {
    dealer.send_multipart(std::iter::once(Vec::new()).chain(message), 0).unwrap();
}

fn reply_ahead(dealer: &zmq::Socket) -> Value {
    let frames = dealer.recv_multipart(0).unwrap();
    assert_eq!((frames.len(), frames[0].len()), (2, 0));
    serde_json::from_slice(&frames[1]).unwrap()
}

/// Images of a batch, its binary frames, and what the refusal says.
type Case<'a> = (Vec<Value>, Vec<&'a [u8]>, &'a str);

#[test]
fn the_pong_says_what_is_taken() {
    let viewer = start(Transport::Ipc);
    let pong = decode(&viewer.control(PING), &PickleLimits::CONTROL_REPLY).unwrap();
    assert_eq!(Extensions::from_pong(&pong), Some(Extensions::own()));
}

#[test]
fn images_are_put_together_from_their_frames() {
    for transport in [Transport::Ipc, Transport::Tcp] {
        let viewer = start(transport);
        let labels = {
            let mut image = framed(&[5], &[2, 2], "int32");
            image["labels"] = json!(true);
            image
        };
        let images = [
            // Cut inside of an element, and an empty frame between.
            framed(&[3, 4, 0], &[1, 3], ">u2"),
            framed(&[1], &[2, 2, 2], "uint8"),
            {
                let mut colour = framed(&[2], &[1, 2, 3], "uint8");
                colour["source_channel_axis"] = json!(2);
                colour
            },
            labels,
        ];
        let ids: Vec<u8> = [0_i32, 1, -1, 70_000].iter().flat_map(|id| id.to_le_bytes()).collect();
        let frames: [&[u8]; 6] = [&[4, 5], &[1, 2, 3, 4, 5, 6, 7, 8], b"rgbRGB", &[0, 1, 2], &[3], &ids];
        assert_eq!(request(&viewer, message(&images, &frames)), success());
        let batch = viewer.next_batch();
        assert_eq!(pixels(&batch.items[0]), [1, 0, 3, 2, 5, 4], "little-endian now");
        assert_eq!(pixels(&batch.items[1]), [1, 2, 3, 4, 5, 6, 7, 8]);
        assert_eq!(received_image(&batch.items[1]).pixels.plane_count(), 2);
        assert_eq!(pixels(&batch.items[2]), b"rgbRGB");
        assert_eq!(received_image(&batch.items[2]).layout.samples, 3);
        assert_eq!(pixels(&batch.items[3]), ids);
        assert_eq!(
            batch.items.iter().map(|item| received_image(item).labels).collect::<Vec<_>>(),
            [false, false, false, true]
        );
        let counters = viewer.counters();
        assert_eq!((counters.frame_bytes, counters.bytes_copied, counters.images_received), (6 + 8 + 6 + 16, 0, 4));
    }
}

/// More than one block of the store, of frames that end nowhere near the ends of blocks.
#[test]
fn a_stack_of_many_blocks_comes_out_of_uneven_frames() {
    let viewer = start(Transport::Tcp);
    let bytes: Vec<u8> = (0..12 << 20).map(|index: usize| (index % 251 + index / 1_000_003) as u8).collect();
    let frames: Vec<&[u8]> = bytes.chunks(999_999).collect();
    let indices: Vec<usize> = (0..frames.len()).collect();
    let sent = message(&[framed(&indices, &[6, 1024, 1024], ">u2")], &frames);
    assert_eq!(request(&viewer, sent), success());
    let swapped: Vec<u8> = bytes.as_chunks::<2>().0.iter().flat_map(|&[high, low]| [low, high]).collect();
    assert!(pixels(&viewer.next_batch().items[0]) == swapped);
    assert_eq!(viewer.counters().in_flight_bytes, 0);
}

#[test]
fn a_dealer_that_sends_ahead_is_answered_in_its_order() {
    let viewer = start(Transport::Tcp);
    let dealer = dealer(&viewer);
    for number in 0..40_u8 {
        // Every fourth one lacks its frame.
        let frames: &[&[u8]] = if number % 4 == 3 { &[] } else { &[&[number; 4]] };
        send_ahead(&dealer, message(&[framed(&[0], &[2, 2], "uint8")], frames));
    }
    let replies: Vec<bool> = (0..40).map(|_| reply_ahead(&dealer)["status"] == "success").collect();
    assert_eq!(replies, (0..40).map(|number| number % 4 != 3).collect::<Vec<_>>());
    let mut delivered = Vec::new();
    while delivered.len() < 30 {
        if let Delivery::Batch(batch) = viewer.next() {
            delivered.push(pixels(&batch.items[0])[0]);
        }
    }
    assert_eq!(delivered, (0..40).filter(|number| number % 4 != 3).collect::<Vec<u8>>());
}

#[test]
fn frames_that_do_not_fit_refuse_the_batch_by_name() {
    let viewer = start(Transport::Ipc);
    let four = |frames: &[usize]| framed(frames, &[2, 2], "uint8");
    let cases: Vec<Case<'_>> = vec![
        (vec![four(&[0])], vec![], "binary frame 0, the message has 0"),
        (vec![four(&[1])], vec![&[0; 4]], "binary frame 1, the message has 1"),
        (vec![four(&[0]), four(&[0])], vec![&[0; 4]], "images[0] uses already"),
        (vec![four(&[0])], vec![&[0; 3]], "have 3 bytes, shape and dtype need 4"),
        (vec![four(&[0])], vec![&[0; 4], &[0; 4]], "1 of its 2 binary frames belong to no item"),
        (vec![], vec![&[1]], "1 of its 1 binary frames belong to no item"),
        (vec![framed(&[0], &[65_536, 65_536, 4], "uint8")], vec![&[0; 4]], "per image"),
    ];
    for (images, frames, part) in cases {
        let text = error_text(&request(&viewer, message(&images, &frames)), Some("batch"));
        assert!(text.contains(part), "{part:?} is missing in: {text}");
        assert!(viewer.next_problem().text.contains(part));
        viewer.assert_serves();
    }
    assert_eq!(viewer.counters().frame_bytes, 0, "nothing of them was copied");
}

#[test]
fn more_frames_or_bytes_than_a_message_may_have_are_dropped() {
    let viewer = start_with(Transport::Tcp, |config| {
        config.limits.max_items = 8;
        config.limits.max_batch_bytes = 1 << 20;
    });
    let empty: Vec<&[u8]> = vec![&[]; 1_000_000];
    let text = error_text(&request(&viewer, message(&[framed(&[0], &[2, 2], "uint8")], &empty)), Some("batch"));
    assert!(text.contains("1000000 binary frames") && text.contains("at most 16"), "{text}");
    viewer.next_problem();
    let half = vec![0; 600 << 10];
    let text = error_text(&request(&viewer, message(&[], &[&half, &half])), Some("batch"));
    assert!(text.contains("1228800 bytes") && text.contains("at most 1048576"), "{text}");
    viewer.next_problem();
    viewer.assert_serves();
    assert_eq!(viewer.counters().requests_in_hand, 0);
}

#[test]
fn published_frames_cost_only_their_item() {
    let viewer = start_with(Transport::Tcp, |config| config.data_socket = DataSocket::Sub);
    let socket = viewer.context.socket(zmq::XPUB).unwrap();
    socket.set_linger(0).unwrap();
    socket.set_rcvtimeo(PATIENCE.as_millis() as i32).unwrap();
    socket.connect(&viewer.data_url()).unwrap();
    assert_eq!(socket.recv_bytes(0).unwrap(), b"\x01");
    let images = [framed(&[0], &[2, 2], "uint8"), framed(&[0], &[2, 2], "uint8"), framed(&[1], &[1, 2], ">u2")];
    socket.send_multipart(message(&images, &[&[1, 2, 3, 4], &[1, 2, 3, 4], &[9]]), 0).unwrap();
    let mut told = Vec::new();
    let batch = loop {
        match viewer.next() {
            Delivery::Batch(batch) => break batch,
            Delivery::Problem(problem) => told.push(problem.text),
            other => panic!("{other:?}"),
        }
    };
    let found: Vec<Vec<u8>> = batch.items.iter().map(pixels).collect();
    assert_eq!(found, [vec![1, 2, 3, 4], vec![2, 1, 4, 3]]);
    assert!(told.len() == 1 && told[0].contains("item 2 of 3") && told[0].contains("uses already"), "{told:?}");
}

#[test]
fn a_segment_that_its_producer_keeps_is_never_removed() {
    for replied_with_error in [false, true] {
        let viewer = start_with(Transport::Ipc, |config| config.limits.late_unlink_millis = 50);
        let (kept, left) = (Segment::new(&[1; 4]), Segment::new(&[2; 4]));
        let mut first = image(&kept.name, &[2, 2], "uint8");
        first["shm_kept"] = json!(true);
        let second = image(&left.name, &[2, if replied_with_error { 9 } else { 2 }], "uint8");
        let reply = viewer.send_batch(json!([first, second]));
        assert_eq!(reply["status"] == "error", replied_with_error, "{reply}");
        eventually("the other one is removed", || !left.exists());
        assert!(kept.exists());
        assert_eq!(viewer.counters().segments_unlinked, 1);
        if !replied_with_error {
            // Filled again, and sent again.
            viewer.next_batch();
            std::fs::write(kept.path(), [7; 4]).unwrap();
            let mut again = image(&kept.name, &[2, 2], "uint8");
            again["shm_kept"] = json!(true);
            assert_eq!(viewer.send_batch(json!([again])), success());
            assert_eq!(pixels(&viewer.next_batch().items[0]), [7; 4]);
            assert!(kept.exists());
        }
    }
}
