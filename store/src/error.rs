//! Why pixels could not be kept or brought back.

use std::path::PathBuf;

/// What went wrong in a store. Nothing that the store held before is lost by any of them but [`Read`](Self::Read) and
/// [`Damaged`](Self::Damaged), which concern one block each.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum StoreError {
    /// Both budgets together have no room. Freeing pixels or larger limits help.
    #[error(
        "{needed_bytes} bytes of pixels need room, {found_bytes} bytes are left of a memory limit of {memory_limit_bytes} \
         and a disk limit of {disk_limit_bytes} bytes"
    )]
    Full {
        /// Bytes asked for, each block rounded up to [`Store::footprint`](crate::Store::footprint).
        needed_bytes: u64,
        /// Bytes that could still be admitted.
        found_bytes: u64,
        /// The store's limits.
        memory_limit_bytes: u64,
        /// The store's limits.
        disk_limit_bytes: u64,
    },
    /// An earlier write to the spill file failed; nothing new is taken until one works again (tried every second).
    #[error("pixels cannot be moved to the disk, so no more are taken: {reason}")]
    SpillFailed {
        /// What the system said, and about which folder.
        reason: String,
    },
    /// Memory stayed full until the deadline: the disk is slower than the pixels come, or too much is held at once.
    #[error(
        "memory for {needed_bytes} bytes of pixels did not become free in time; {memory_bytes} of {memory_limit_bytes} bytes \
         are in use"
    )]
    Busy {
        /// Bytes asked for.
        needed_bytes: u64,
        /// Bytes in use at the deadline.
        memory_bytes: u64,
        /// The limit.
        memory_limit_bytes: u64,
    },
    /// One block is larger than all memory that the store may use.
    #[error(
        "one block of {needed_bytes} bytes of pixels is larger than the memory limit of {memory_limit_bytes} bytes"
    )]
    LargerThanMemory {
        /// Bytes asked for.
        needed_bytes: u64,
        /// The limit.
        memory_limit_bytes: u64,
    },
    /// The system has no such memory.
    #[error("the machine has no memory for {needed_bytes} bytes of pixels")]
    NoMemory {
        /// Bytes asked for.
        needed_bytes: u64,
    },
    /// Spilled pixels cannot be read back.
    #[error("{block_bytes} bytes of pixels cannot be read back from the disk: {reason}. Folder: {}", folder.display())]
    Read {
        /// Length of the block.
        block_bytes: u64,
        /// What the system said.
        reason: String,
        /// Folder of the spill file.
        folder: PathBuf,
    },
    /// What came back from the disk is not what was written. It is not shown.
    #[error("{block_bytes} bytes of pixels came back from the disk changed; they are not shown. Folder: {}", folder.display())]
    Damaged {
        /// Length of the block.
        block_bytes: u64,
        /// Folder of the spill file.
        folder: PathBuf,
    },
    /// The store cannot start.
    #[error("the thread that moves pixels to the disk cannot start: {reason}")]
    NoThread {
        /// What the system said.
        reason: String,
    },
}
