//! 1,000 planes cost per plane what 10 cost, in copies, buffers and uploads of the running program.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a helper of a test that unwraps says where it failed")]

use std::time::{Duration, Instant};

use ndarray::Array2;
use wellscope_client::{BatchRequest, ImageItem};
use wellscope_tests::rust_client::DEADLINE;
use wellscope_tests::viewer::ViewerProcess;

/// Copies, bytes copied, planes measured and uploads per plane, after streaming `count` planes one by one.
fn work(count: i64) -> ([f64; 4], u64) {
    let viewer = ViewerProcess::start("ipc", &["--window-size", "400x300"]).unwrap();
    let mut producer = viewer.producer().unwrap();
    for index in 0..count {
        let pixels = Array2::from_elem((16, 16), index as u16);
        let image = ImageItem::new("/p/a.tif", pixels.view()).at("site", index).at("well", "A01");
        producer.send_batch(BatchRequest::new().item(image)).unwrap();
    }
    viewer.settle().unwrap();
    // Settling waits for what is shown; the rest is measured soon after.
    let started = Instant::now();
    while viewer.count(["stack", "statistics"]).unwrap() < count as u64 && started.elapsed() < DEADLINE {
        std::thread::sleep(Duration::from_millis(5));
    }
    let count_of = |path| viewer.count(path).unwrap() as f64 / count as f64;
    let per_plane = [
        count_of(["receiver", "copies"]),
        count_of(["receiver", "bytes_copied"]),
        count_of(["stack", "statistics"]),
        count_of(["memory", "buffers_allocated"]),
    ];
    assert_eq!(viewer.count(["stack", "planes"]).unwrap(), count as u64);
    let uploads_before = viewer.count(["gpu", "uploads"]).unwrap();

    // Moving the slider to a neighbour uploads that neighbour's next, never what is there already.
    let route = viewer.state().unwrap();
    let key = route.get("layers").unwrap().items().unwrap()[0].get("route_key").unwrap().as_str().unwrap().to_owned();
    for place in [1, 2, 1, 0, 1, 2] {
        viewer.navigate(&key, &[("site", place)]).unwrap();
        viewer.settle().unwrap();
    }
    let moves = viewer.count(["gpu", "uploads"]).unwrap() - uploads_before;
    assert!(uploads_before <= 4, "only what is shown and its neighbours goes to the GPU: {uploads_before} of {count}");
    (per_plane, moves)
}

#[test]
fn a_thousand_planes_cost_per_plane_what_ten_cost() {
    let (few, moves_of_few) = work(10);
    let (many, moves_of_many) = work(1000);
    assert_eq!(few[0], 1.0, "one copy per plane");
    assert_eq!(few[1], 512.0, "of its bytes and no more");
    assert_eq!(few[2], 1.0, "measured once");
    assert_eq!(&few[..3], &many[..3]);
    assert!(many[3] <= few[3], "buffers allocated per plane: {} for 10, {} for 1000", few[3], many[3]);
    assert_eq!(moves_of_few, moves_of_many, "uploads of six slider moves");
}
