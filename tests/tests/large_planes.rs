//! A stitched well, larger than a texture should be: only what is in view goes to the GPU, and it is the right part.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a helper of a test that unwraps says where it failed")]

use ndarray::Array2;
use wellscope_client::{BatchRequest, ImageItem};
use wellscope_protocol::control::{CaptureScope, Viewport};
use wellscope_tests::viewer::ViewerProcess;

const HEIGHT: usize = 7000;
const WIDTH: usize = 9000;

/// Squares of 500 pixels, each of a brightness of its own.
fn value(y: usize, x: usize) -> u16 {
    ((y / 500 * 18 + x / 500) * 37 % 256) as u16 * 16
}

/// How bright the middle of the canvas is, 0 to 255.
fn middle(viewer: &ViewerProcess, y: f64, x: f64, zoom: f64) -> u8 {
    viewer.client().unwrap().viewport(Viewport { center: [0.0, y, x], zoom }).unwrap();
    viewer.settle().unwrap();
    let picture = viewer.picture(CaptureScope::Widget).unwrap();
    picture.pixel(picture.width / 2, picture.height / 2)[0]
}

#[test]
fn a_stitched_well_is_right_at_every_zoom_and_only_what_is_in_view_is_uploaded() {
    let viewer = ViewerProcess::start("ipc", &["--window-size", "700x520", "--vram-limit", "64MiB"]).unwrap();
    let pixels = Array2::from_shape_fn((HEIGHT, WIDTH), |(y, x)| value(y, x));
    let mut producer = viewer.producer().unwrap();
    let image = ImageItem::new("/plate/stitched.tif", pixels.view()).at("well", "A01");
    producer.send_batch(BatchRequest::new().item(image)).unwrap();
    viewer.settle().unwrap();
    let uploaded = || viewer.count(["gpu", "upload_bytes"]).unwrap();
    let at_fit = uploaded();
    assert!(at_fit > 0 && at_fit < 4 << 20, "{at_fit} bytes were uploaded to show {} at once", HEIGHT * WIDTH * 2);

    // Limits let a small part of the values saturate at each end; between them brightness is linear.
    let levels: Vec<u16> = (0..14 * 18).map(|square| (square * 37 % 256) as u16 * 16).collect();
    let [low, high] = [*levels.iter().min().unwrap(), *levels.iter().max().unwrap()].map(f64::from);
    for (y, x) in [(250, 250), (6750, 8750), (3250, 5750), (6250, 750)] {
        let expected = (f64::from(value(y, x)) - low) / (high - low) * 255.0;
        for zoom in [4.0, 1.0, 0.4, 0.2, 0.1] {
            let found = f64::from(middle(&viewer, y as f64, x as f64, zoom));
            assert!((found - expected).abs() <= 3.0, "at {y}, {x} and zoom {zoom}: {found}, expected {expected}");
        }
    }
    let before = uploaded();
    middle(&viewer, 2100.0, 7300.0, 8.0);
    let of_one_look = uploaded() - before;
    assert!(of_one_look <= 8 << 20, "{of_one_look} bytes for one look at full resolution");
    assert!(viewer.count(["gpu", "resident_bytes"]).unwrap() <= 64 << 20);
    assert_eq!(viewer.count(["gpu", "missing_tiles"]).unwrap(), 0);
}
