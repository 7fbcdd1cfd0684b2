//! What the receiver has done so far, in numbers that tests and the `state` reply can read at any time.

use std::sync::atomic::{AtomicU64, Ordering};

macro_rules! counters {
    ($($(#[$doc:meta])* $name:ident,)*) => {
        /// Running totals, written by the socket threads. Read them through [`Counters::snapshot`].
        #[derive(Default, Debug)]
        pub struct Counters { $($(#[$doc])* pub $name: AtomicU64,)* }

        /// The values of [`Counters`] at one moment (each exact, not all of the same instant).
        #[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
        pub struct CounterSnapshot { $($(#[$doc])* pub $name: u64,)* }

        impl Counters {
            /// Reads every counter.
            pub fn snapshot(&self) -> CounterSnapshot {
                CounterSnapshot { $($name: self.$name.load(Ordering::Acquire),)* }
            }
        }
    };
}

counters! {
    /// Batches delivered to the app and answered with success.
    batches_received,
    /// Items (images, shapes, points) delivered to the app.
    items_received,
    /// Of them, images.
    images_received,
    /// Items that the app has taken: ack ticket answered or dropped.
    items_taken,
    /// Bytes of pixels copied out of shared memory.
    bytes_copied,
    /// Copies made; one per shared-memory segment.
    copies,
    /// Bytes of pixels copied out of binary frames.
    frame_bytes,
    /// Messages answered with an error, on both sockets.
    errors_replied,
    /// Control requests answered by the receiver or the app.
    controls_answered,
    /// Control requests answered with "busy" because the app did not answer in time.
    controls_timed_out,
    /// Acks handed to ZeroMQ.
    acks_sent,
    /// Acks given up: nobody listens, or too many wait.
    acks_dropped,
    /// Segments that a producer left behind and we unlinked.
    segments_unlinked,
    /// Requests read from the data socket and not yet answered.
    requests_in_hand,
    /// Bytes of pixels delivered and not yet taken by the app.
    in_flight_bytes,
    /// Problems that were only logged because the channel to the app was nearly full.
    problems_dropped,
}

/// Adds to a counter.
pub(crate) fn add(counter: &AtomicU64, amount: u64) {
    counter.fetch_add(amount, Ordering::AcqRel);
}
