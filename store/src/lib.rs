//! Pixels in memory and on disk, within budgets. Knows no sockets, no window and no wire.
//!
//! [`Store::open`] takes the two limits. Who brings pixels asks for room first ([`Store::admit`]), fills buffers
//! ([`Store::buffer`]) and hands them over ([`Store::keep`]); what comes back is [`Pixels`], a handle of immutable bytes that
//! are in memory, in the spill file, or both. [`Pixels::in_memory`] never touches the disk, [`Pixels::read`] brings bytes back.
//!
//! Trade-offs:
//! - **One copy per pixel.** A block is written to the file only when memory is short, and keeps its disk copy after it was read
//!   back, so that evicting it again costs nothing; when the disk is short, those second copies go first.
//! - **Memory counts from allocation to release**, whoever holds it: a block that was spilled while somebody still holds its
//!   [`PixelBytes`] counts until they let go.
//! - **One thread writes** (`wellscope-spill`), ahead of need: it keeps some head-room below the memory limit, so that who fills a
//!   buffer rarely waits for a disk.
//! - **The file has no name** once it is open, so nothing stays behind, not even after a crash.

mod block;
mod error;
mod extents;
mod machine;
mod memory;
mod spill;
mod spill_file;
mod store;
mod warm;

pub use block::{PixelBytes, Pixels};
pub use error::StoreError;
pub use machine::{default_disk_limit, default_memory_limit, default_spill_folder, machine_memory_bytes};
pub use memory::BufferMut;
pub use store::{Admission, Store, StoreConfig, StoreUsage};
