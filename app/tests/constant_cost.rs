//! A plane costs what a plane costs, however many were received before: counted in allocations of the whole intake path.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a helper of a test that unwraps says where it failed")]

mod common;

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicU64, Ordering};

use common::{Sent, SentPayload, batch};
use wellscope::viewer::Viewer;

struct Counting;

static ALLOCATIONS: AtomicU64 = AtomicU64::new(0);
static BYTES: AtomicU64 = AtomicU64::new(0);

// SAFETY: every call is passed on to the system's allocator unchanged; counting touches no memory of the caller.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.fetch_add(1, Ordering::Relaxed);
        BYTES.fetch_add(layout.size() as u64, Ordering::Relaxed);
        // SAFETY: the caller's promises are ours.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: the pointer came from `alloc` above, that is from the system.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static COUNTING: Counting = Counting;

/// Allocations and bytes per plane of taking in `count` planes one by one and showing the first, the sent batches not counted.
fn cost_per_plane(count: i64) -> (f64, f64) {
    let mut viewer = Viewer::default();
    let mut rows = Default::default();
    let (mut allocations, mut bytes) = (0, 0);
    for index in 0..count {
        let address = vec![
            ("well", "A01".into()),
            ("channel", (index % 4).into()),
            ("site", (index / 4).into()),
            ("z_index", 1.into()),
            ("timepoint", 1.into()),
        ];
        let sent = batch(vec![Sent { address, step: "Blur", payload: SentPayload::Flat(index as u16, [8, 8]) }]);
        let before = (ALLOCATIONS.load(Ordering::Relaxed), BYTES.load(Ordering::Relaxed));
        let ingested = viewer.take_batch(sent);
        for job in &ingested.jobs {
            let plane = &job.plane;
            let statistics = wellscope::statistics::plane_statistics(plane.element, 1, &plane.pixels.read().unwrap());
            viewer.take_statistics(job, statistics);
        }
        drop(viewer.resolve(&mut rows));
        drop(ingested);
        allocations += ALLOCATIONS.load(Ordering::Relaxed) - before.0;
        bytes += BYTES.load(Ordering::Relaxed) - before.1;
    }
    assert_eq!(viewer.counters.planes, count as u64);
    (allocations as f64 / count as f64, bytes as f64 / count as f64)
}

#[test]
fn a_thousand_planes_cost_per_plane_what_ten_cost() {
    cost_per_plane(10);
    let few = cost_per_plane(10);
    let many = cost_per_plane(1000);
    assert!(few.0 > 1.0, "something was counted");
    assert!(many.0 <= few.0 * 1.05, "allocations per plane: {} for 10, {} for 1000", few.0, many.0);
    // Growing tables double, so their bytes per plane stay within a factor; a rebuild per plane would be a hundredfold.
    assert!(many.1 <= few.1 * 1.5, "bytes per plane: {} for 10, {} for 1000", few.1, many.1);
}
