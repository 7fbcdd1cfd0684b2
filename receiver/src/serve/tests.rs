//! Frames in, batches and refusals out, without a socket.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that unwraps says where it failed")]

use std::io;

use super::*;
use crate::patience::Alone;
use crate::platform::FileIdentity;

/// Shared memory that says it has 8 bytes in every segment and gives `found`.
struct Shrinking {
    found: usize,
}

impl SharedMemory for Shrinking {
    fn open(&self, _name: &str) -> Result<Box<dyn Segment>, SegmentError> {
        Ok(Box::new(Shrinking { found: self.found }))
    }

    fn unlink_if_same(&self, _name: &str, _identity: FileIdentity) -> io::Result<bool> {
        Ok(false)
    }
}

impl Segment for Shrinking {
    fn len_bytes(&self) -> u64 {
        8
    }

    fn identity(&self) -> Option<FileIdentity> {
        Some(FileIdentity { device: 1, inode: 2 })
    }

    fn read_at(&self, offset: u64, into: &mut [u8]) -> Result<(), SegmentError> {
        let needed_bytes = offset + into.len() as u64;
        if needed_bytes > self.found as u64 {
            return Err(SegmentError::Shortened { needed_bytes, found_bytes: self.found as u64 });
        }
        into.fill(7);
        Ok(())
    }
}

fn server(found: usize) -> BatchServer {
    let counters = Arc::new(Counters::default());
    let (sender, _) = crossbeam_channel::bounded(1);
    let outlet = AckOutlet {
        sender,
        counters: counters.clone(),
        shared_url: "ipc:///nowhere".into(),
        viewer_port: 5555,
        allow_remote: false,
    };
    BatchServer {
        limits: Limits::default(),
        data_socket: DataSocket::Rep,
        recorder: None,
        shared_memory: Box::new(Shrinking { found }),
        store: Store::unbounded(),
        helpers: Helpers::of_machine(),
        in_flight: InFlight::new(1 << 20, counters.clone(), Arc::default()),
        outlet: Arc::new(outlet),
        counters,
        stopping: Arc::default(),
    }
}

fn at_once() -> Patience<'static> {
    Patience { deadline: Instant::now(), waiting: &Alone }
}

fn frame(shape: &str) -> String {
    format!(
        r#"{{"type": "batch", "display_config": {{}}, "images": [
            {{"path": "p", "metadata": {{"well": "A01"}}, "shape": {shape}, "dtype": "uint8", "shm_name": "napari_x"}}
        ]}}"#
    )
}

#[test]
fn a_segment_that_shrinks_while_it_is_read_refuses_the_batch() {
    let server = server(3);
    let served = server.serve(&Message::plain(frame("[2, 4]").as_bytes()), at_once());
    let refusal = served.outcome.unwrap_err();
    assert!(refusal.text.contains("3 of 8 bytes") && refusal.text.contains("napari_x"), "{}", refusal.text);
    assert_eq!(served.opened.len(), 1, "it must not stay behind");
    let counters = server.counters.snapshot();
    assert_eq!((counters.copies, counters.in_flight_bytes, counters.items_taken), (0, 0, 0));
}

#[test]
fn only_segments_that_their_producer_may_leave_are_ours_to_remove() {
    for left in ["napari_c140374b", "napari_ea215f3ee02b", "napari_1_"] {
        assert!(may_be_left_behind(left), "{left}");
    }
    for kept in ["napari_140650965493840_1795359489745205747", "psm_1", "fiji_ea215f3ee02b"] {
        assert!(!may_be_left_behind(kept), "{kept}");
    }
}

#[test]
fn pixels_in_flight_are_freed_item_by_item() {
    let server = server(8);
    let batch = server.serve(&Message::plain(frame("[2, 4]").as_bytes()), at_once()).outcome.unwrap();
    assert_eq!(server.counters.snapshot().in_flight_bytes, 8);
    batch.items.into_iter().for_each(|item| item.ack.succeed());
    let counters = server.counters.snapshot();
    assert_eq!((counters.in_flight_bytes, counters.items_taken), (0, 1));
}

#[test]
fn every_prefix_of_a_batch_is_refused_without_a_panic() {
    let server = server(8);
    let frame = frame("[2, 4]");
    for end in 0..frame.len() {
        assert!(server.serve(&Message::plain(&frame.as_bytes()[..end]), at_once()).outcome.is_err(), "{end}");
    }
}
