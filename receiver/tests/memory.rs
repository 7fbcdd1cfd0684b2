//! Memory and disk have budgets: what fits comes back byte for byte, what does not is refused before anything is copied.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests; clippy.toml exempts only functions marked as such")]

mod common;

use common::*;
use serde_json::json;
use wellscope_protocol::endpoint::Transport;
use wellscope_store::{Store, StoreConfig};

const MIB: u64 = 1 << 20;

fn start_limited(memory_limit_bytes: u64, disk_limit_bytes: u64) -> (Viewer, Store, tempfile::TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let config = StoreConfig { memory_limit_bytes, disk_limit_bytes, folder: folder.path().join("spill") };
    let store = Store::open(config).unwrap();
    (start_with(Transport::Ipc, |config| config.store = store.clone()), store, folder)
}

/// Bytes of which no two planes of 1 MiB are alike.
fn stack(planes: usize) -> Vec<u8> {
    (0..planes << 20).map(|index| (index % 251 + index / (1 << 20)) as u8).collect()
}

#[test]
fn a_stack_larger_than_memory_arrives_and_spills_plane_by_plane() {
    let (viewer, store, _folder) = start_limited(16 * MIB, 128 * MIB);
    let bytes = stack(48);
    let segment = Segment::new(&bytes);
    assert_eq!(viewer.send_batch(json!([image(&segment.name, &[48, 1024, 1024], "uint8")])), success());
    let batch = viewer.next_batch();
    let pixels = &received_image(&batch.items[0]).pixels;
    assert_eq!((pixels.plane_count(), pixels.plane_bytes(), pixels.total_bytes()), (48, 1 << 20, 48 << 20));
    let usage = store.usage();
    assert_eq!(usage.blocks, 12, "four planes of 1 MiB share a block");
    assert!(usage.spilled_blocks >= 8 && usage.memory_bytes <= 16 * MIB, "{usage:?}");
    for index in (0..48).rev() {
        let (block, range) = pixels.plane(index).unwrap();
        assert!(block.read().unwrap()[range] == bytes[index << 20..(index + 1) << 20], "plane {index}");
        assert!(store.usage().memory_bytes <= 16 * MIB);
    }
    assert_eq!((viewer.counters().copies, viewer.counters().bytes_copied), (1, 48 * MIB));
    drop(batch);
    assert_eq!(store.usage().blocks, 0);
}

#[test]
fn big_endian_stacks_are_mended_in_every_block() {
    let viewer = start(Transport::Ipc);
    let bytes = stack(10);
    let segment = Segment::new(&bytes);
    assert_eq!(viewer.send_batch(json!([image(&segment.name, &[10, 1024, 512], ">u2")])), success());
    let swapped: Vec<u8> = bytes.as_chunks::<2>().0.iter().flat_map(|&[high, low]| [low, high]).collect();
    assert!(pixels(&viewer.next_batch().items[0]) == swapped);
}

#[test]
fn many_images_of_one_batch_arrive_in_order() {
    let viewer = start(Transport::Ipc);
    // More than are open at once, and large enough that several threads copy.
    let segments: Vec<Segment> = (0..150_u8).map(|number| Segment::new(&vec![number; 40_000])).collect();
    let images: Vec<_> = segments.iter().map(|segment| image(&segment.name, &[200, 200], "uint8")).collect();
    assert_eq!(viewer.send_batch(json!(images)), success());
    for (number, item) in viewer.next_batch().items.iter().enumerate() {
        assert!(pixels(item) == vec![number as u8; 40_000], "image {number}");
    }
    assert_eq!(viewer.counters().copies, 150);
}

#[test]
fn full_budgets_refuse_the_batch_with_a_sentence_and_what_is_held_stays() {
    let (viewer, store, _folder) = start_limited(8 * MIB, 8 * MIB);
    let segment = Segment::new(&stack(4));
    let stack_of_4 = json!([image(&segment.name, &[4, 1024, 1024], "uint8")]);
    let mut held = Vec::new();
    let text = loop {
        let reply = viewer.send_batch(stack_of_4.clone());
        if reply != success() {
            break error_text(&reply, Some("batch"));
        }
        held.push(viewer.next_batch());
        assert!(held.len() <= 4, "more than the budgets allow");
    };
    for part in
        ["4194304 bytes", "memory limit of 8388608", "disk limit of 8388608", "--memory-limit", "close or clear"]
    {
        assert!(text.contains(part), "{part:?} is missing: {text}");
    }
    assert_eq!(viewer.next_problem().text, format!("A batch was refused. {text}"));
    let blocks = store.usage().blocks;
    assert_eq!(blocks, held.len() as u64);
    let counters = viewer.counters();
    assert_eq!((counters.in_flight_bytes, counters.copies), (blocks * 4 * MIB, blocks));
    for batch in &held {
        assert!(pixels(&batch.items[0]) == stack(4));
    }
    held.pop();
    assert_eq!(viewer.send_batch(stack_of_4), success());
}

#[test]
fn a_plane_beyond_all_memory_is_refused_by_name() {
    let (viewer, store, _folder) = start_limited(2 * MIB, 64 * MIB);
    let segment = Segment::new(&stack(4));
    let text = error_text(&viewer.send_batch(json!([image(&segment.name, &[2048, 2048], "uint8")])), Some("batch"));
    for part in ["image 1 of 1", "4194304 bytes", "2097152 bytes", "--memory-limit", &segment.name] {
        assert!(text.contains(part), "{part:?} is missing: {text}");
    }
    assert_eq!((store.usage().blocks, store.usage().memory_bytes), (0, 0));
}

#[test]
fn inline_pixels_count_too() {
    let (viewer, store, _folder) = start_limited(8 * MIB, 0);
    let mut item = image("", &[2, 2], "uint16");
    item["data"] = json!([[1, 2], [3, 500]]);
    assert_eq!(viewer.send_batch(json!([item])), success());
    let batch = viewer.next_batch();
    assert_eq!((store.usage().blocks, store.usage().memory_bytes), (1, 8));
    assert_eq!(pixels(&batch.items[0]), [1, 0, 2, 0, 3, 0, 0xf4, 1]);
}

/// Producers of G1 to G3a leave their segments to the viewer, after an error too.
#[test]
fn segments_of_a_refused_batch_do_not_stay_behind() {
    let folder = tempfile::tempdir().unwrap();
    let config = StoreConfig { memory_limit_bytes: MIB, disk_limit_bytes: 0, folder: folder.path().to_owned() };
    let store = Store::open(config).unwrap();
    let viewer = start_with(Transport::Ipc, |config| {
        config.store = store.clone();
        config.limits.late_unlink_millis = 1;
    });
    let segments = [Segment::new(&stack(1)), Segment::new(&stack(1))];
    let images: Vec<_> = segments.iter().map(|segment| image(&segment.name, &[1024, 1024], "uint8")).collect();
    error_text(&viewer.send_batch(json!(images)), Some("batch"));
    eventually("the segments of a batch without room are removed", || !segments.iter().any(Segment::exists));

    // Those behind the image that refuses the batch, too.
    let behind = Segment::new(&[1; 4]);
    let images = json!([image(&fresh_name(), &[2, 2], "uint8"), image(&behind.name, &[2, 2], "uint8")]);
    error_text(&viewer.send_batch(images), Some("batch"));
    eventually("the segment behind a missing one is removed", || !behind.exists());
}
