//! 50,000 small planes, the same few hundred coordinates again and again: each is taken, none is left behind anywhere.
// /proc and /dev/shm: on Linux only.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a helper of a test that unwraps says where it failed")]

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use ndarray::Array2;
use wellscope_client::{BatchRequest, ImageItem, Producer};
use wellscope_protocol::pickle::PickleValue;
use wellscope_tests::viewer::ViewerProcess;

const PLANES: u64 = 50_000;
const PLANES_PER_BATCH: u64 = 20;
const SIDE: usize = 64;
/// Each coordinate is replaced 166 times.
const SITES: u64 = 20;
const WELLS: u64 = 15;
/// When memory is looked at. By the first of them every pool, cache and pipeline has what it needs.
const CHECKPOINT: u64 = 10_000;
/// What memory may grow by from the first checkpoint to the last: an allocator's own ups and downs. Were the pixels of
/// the planes in between kept, it would be 312 MiB; were 500 bytes of each, 19 MiB. Under load 16.1 were seen, in doubling steps.
const GROWTH_MIB: f64 = 18.0;

/// Value of every pixel of a plane: another one at each round, so that nothing can be kept from the last.
fn value_of(plane: u64) -> u16 {
    (plane % 60_000) as u16 + 1
}

/// Site and well of a plane, counting through all of them.
fn coordinate_of(plane: u64) -> (u64, u64) {
    (plane % SITES, plane / SITES % WELLS)
}

fn send(producer: &mut Producer, planes: std::ops::Range<u64>) {
    let pixels: Vec<Array2<u16>> =
        planes.clone().map(|plane| Array2::from_elem((SIDE, SIDE), value_of(plane))).collect();
    let mut request = BatchRequest::new();
    for (plane, pixels) in planes.zip(&pixels) {
        let (site, well) = coordinate_of(plane);
        let image = ImageItem::new(format!("/plate/w{well}_s{site}.tif"), pixels.view());
        request = request.item(image.at("site", site as i64).at("well", format!("A{:02}", well + 1)));
    }
    producer.send_batch(request).unwrap();
}

fn resident_mib(viewer: &ViewerProcess) -> f64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", viewer.pid())).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<f64>().unwrap() / 1024.0
}

/// Segments of producers, ours and others'.
fn segments() -> BTreeSet<String> {
    let names = std::fs::read_dir("/dev/shm").unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    names.filter(|name| name.starts_with("napari_")).collect()
}

/// Least and largest value of each plane that the viewer holds.
fn ranges_of(state: &PickleValue) -> BTreeMap<(u64, String), (u64, u64)> {
    let layer = &state.get("layers").unwrap().items().unwrap()[0];
    let summaries = layer.get("payload_summaries").unwrap().items().unwrap();
    let range = |summary: &PickleValue| {
        let components = summary.get("components").unwrap();
        let site = components.get("site").unwrap().as_u64().unwrap();
        let well = components.get("well").unwrap().as_str().unwrap().to_owned();
        let value = |name| summary.get(name).unwrap().as_u64().unwrap();
        ((site, well), (value("min"), value("max")))
    };
    summaries.iter().map(range).collect()
}

#[test]
fn fifty_thousand_planes_leave_nothing_behind() {
    let segments_before = segments();
    let viewer = ViewerProcess::start("ipc", &["--window-size", "400x300"]).unwrap();
    let mut producer = viewer.producer().unwrap();
    let mut resident = Vec::new();
    for first in (0..PLANES).step_by(PLANES_PER_BATCH as usize) {
        send(&mut producer, first..first + PLANES_PER_BATCH);
        if (first + PLANES_PER_BATCH).is_multiple_of(CHECKPOINT) {
            viewer.settle().unwrap();
            resident.push(resident_mib(&viewer));
        }
    }

    // All were taken, and what is held is the last of each coordinate.
    let count = |path| viewer.count(path).unwrap();
    assert_eq!(count(["receiver", "images"]), PLANES);
    assert_eq!(count(["receiver", "copies"]), PLANES);
    assert_eq!(count(["receiver", "bytes_copied"]), PLANES * (SIDE * SIDE * 2) as u64);
    assert_eq!(count(["receiver", "errors_replied"]), 0);
    assert_eq!(count(["stack", "items"]), PLANES);
    assert_eq!(count(["stack", "planes"]), PLANES);
    assert_eq!(count(["stack", "replaced"]), PLANES - SITES * WELLS);
    assert_eq!(count(["stack", "refused"]), 0);
    let state = viewer.state().unwrap();
    assert_eq!(state.get("component_item_count").unwrap().as_u64(), Some(SITES * WELLS));
    let problems = state.get("wellscope").unwrap().get("problems").unwrap();
    assert!(problems.items().unwrap().is_empty(), "{problems}");
    let last: BTreeMap<_, _> = (PLANES - SITES * WELLS..PLANES)
        .map(|plane| {
            let ((site, well), value) = (coordinate_of(plane), u64::from(value_of(plane)));
            ((site, format!("A{:02}", well + 1)), (value, value))
        })
        .collect();
    assert_eq!(ranges_of(&state), last);

    // Nothing else is.
    println!("resident MiB at every {CHECKPOINT} planes: {resident:.1?}");
    let growth = resident.last().unwrap() - resident[0];
    assert!(
        growth <= GROWTH_MIB,
        "{growth:.1} MiB more than after {CHECKPOINT}, at every {CHECKPOINT}: {resident:.1?}"
    );
    drop(producer);
    // Segments of other programs come and go; one that was left behind stays.
    let left: BTreeSet<_> = segments().difference(&segments_before).cloned().collect();
    std::thread::sleep(Duration::from_secs(2));
    let left: Vec<_> = segments().intersection(&left).cloned().collect();
    assert!(left.is_empty(), "segments left behind: {left:?}");
}
