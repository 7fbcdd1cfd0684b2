//! Pings are answered while the viewer takes in and draws more than it can keep up with.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a helper of a test that unwraps says where it failed")]

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use ndarray::Array2;
use wellscope_client::{BatchRequest, ImageItem};
use wellscope_protocol::control::StateOptions;
use wellscope_tests::viewer::ViewerProcess;

/// 200 batches of 16 MiB: more than a second of copying, measuring and uploading on any machine.
const BATCHES: i64 = 200;
const IMAGES_PER_BATCH: i64 = 8;

/// Far beyond the 200 ms that clients wait, since a busy test machine is no fault of the viewer; far below the time that
/// the stream takes where it would wait for the stream to end.
const PING_DEADLINE: Duration = Duration::from_secs(5);

#[test]
fn every_ping_is_answered_while_large_batches_stream_in() {
    let viewer = ViewerProcess::start("ipc", &["--window-size", "400x300"]).unwrap();
    let is_streaming = AtomicBool::new(true);
    // The same pixels again and again: planes are replaced, so that memory stays small and work does not.
    let pixels = Array2::from_shape_fn((1024, 1024), |(y, x)| (y * 31 + x * 17) as u16);
    let (answered, answered_meanwhile, behind_at_a_ping) = std::thread::scope(|scope| {
        let pinging = scope.spawn(|| {
            let client = viewer.client().unwrap();
            let (mut answered, mut meanwhile, mut behind) = (0_u32, 0_u32, 0_u32);
            while is_streaming.load(Ordering::Acquire) {
                let pong = client.ping(PING_DEADLINE).expect("a ping without an answer");
                assert!(pong.ready);
                answered += 1;
                meanwhile += u32::from(is_streaming.load(Ordering::Acquire));
                // Now and then, whether something is still to be measured while pings are answered.
                if answered.is_multiple_of(10) {
                    let state = client.state(&StateOptions::default()).unwrap();
                    let stack = state.get("wellscope").unwrap().get("stack").unwrap();
                    let count = |key| stack.get(key).unwrap().as_u64().unwrap();
                    behind += u32::from(count("statistics") < count("planes"));
                }
                std::thread::sleep(Duration::from_millis(20));
            }
            (answered, meanwhile, behind)
        });
        let streaming = scope.spawn(|| {
            let mut producer = viewer.producer().unwrap();
            for number in 0..BATCHES {
                let batch = (0..IMAGES_PER_BATCH).fold(BatchRequest::new(), |batch, site| {
                    let image = ImageItem::new("/plate/a.tif", pixels.view()).at("well", "A01").at("site", site);
                    batch.item(image.at("channel", number % 4))
                });
                producer.send_batch(batch).unwrap();
            }
        });
        let streamed = streaming.join();
        is_streaming.store(false, Ordering::Release);
        streamed.unwrap();
        pinging.join().unwrap()
    });
    assert!(answered > 0 && answered_meanwhile > 0, "{answered} answers, {answered_meanwhile} during the stream");
    assert!(behind_at_a_ping > 0, "the viewer was never behind, so nothing was tested");
    viewer.settle().unwrap();
    assert_eq!(viewer.count(["stack", "planes"]).unwrap(), (BATCHES * IMAGES_PER_BATCH) as u64);
}
