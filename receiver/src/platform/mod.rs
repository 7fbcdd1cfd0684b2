//! What differs between systems, one module per system: shared memory, the process's own identity, private folders.
//!
//! Linux is built, run and tested; macOS and Windows are written against their documentation and have not been run.

use std::io;

#[cfg(target_os = "linux")]
mod linux;
#[cfg(target_os = "macos")]
mod macos;
#[cfg(unix)]
pub(crate) mod unix;
#[cfg(windows)]
mod windows;

#[cfg(target_os = "linux")]
use linux as system;
#[cfg(target_os = "macos")]
use macos as system;
#[cfg(windows)]
use windows as system;

pub(crate) use system::{ProcessMeter, SystemSharedMemory, create_private_folder, file_identity, restrict_to_user};

/// Identity of a segment or file, for "is it still the one that we read?".
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(crate) struct FileIdentity {
    pub device: u64,
    pub inode: u64,
}

/// Shared memory of other processes, by the name that producers send (no leading slash).
pub(crate) trait SharedMemory: Send + Sync {
    /// Opens a segment for reading.
    fn open(&self, name: &str) -> Result<Box<dyn Segment>, SegmentError>;

    /// Removes the name if it still stands for `identity`. True when it was removed, false when there is nothing to do.
    fn unlink_if_same(&self, name: &str, identity: FileIdentity) -> io::Result<bool>;
}

/// One opened segment. Several threads may read parts of it at once.
pub(crate) trait Segment: Send + Sync {
    /// Its length in bytes; systems round up to pages, so never what the image needs.
    fn len_bytes(&self) -> u64;

    /// Which segment it is; `None` where the system knows no such thing (Windows).
    fn identity(&self) -> Option<FileIdentity>;

    /// Fills `into` with the bytes from `offset` on. Fewer are an error: the producer shortened it.
    fn read_at(&self, offset: u64, into: &mut [u8]) -> Result<(), SegmentError>;
}

/// Why a segment could not be read.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SegmentError {
    /// The name would leave the folder of segments, or is none.
    #[error("the segment's name must be 1 to 255 bytes without '/' and zero bytes")]
    BadName,
    /// Nothing has this name.
    #[error("shared memory is gone; the producer must keep it until the reply")]
    Gone,
    /// The name stands for a folder, a device or a pipe.
    #[error("the name does not stand for a regular shared-memory segment")]
    NotRegular,
    /// It was long enough when opened and became shorter while it was read.
    #[error("it was shortened while being read: {found_bytes} of {needed_bytes} bytes were left")]
    Shortened { needed_bytes: u64, found_bytes: u64 },
    /// The system refused.
    #[error("the system does not let us read it: {0}")]
    Io(#[from] io::Error),
}

/// A name that stays inside the system's namespace of segments.
pub(crate) fn is_plain_segment_name(name: &str) -> bool {
    !name.is_empty() && name.len() <= 255 && name != "." && name != ".." && !name.contains(['/', '\\', '\0'])
}

/// How much this process uses, for the pong.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(crate) struct ProcessUsage {
    /// Resident memory in MiB.
    pub memory_mb: f64,
    /// CPU time since the previous measurement in percent of one core.
    pub cpu_percent: f64,
}

#[cfg(test)]
mod tests {
    use super::is_plain_segment_name;

    #[test]
    fn segment_names_cannot_leave_their_folder() {
        for good in ["napari_ea215f3ee02b", "psm_1", "wnsm_a.b"] {
            assert!(is_plain_segment_name(good), "{good}");
        }
        for bad in ["", ".", "..", "/etc/passwd", "a/b", "../x", "a\0b", &"x".repeat(256)] {
            assert!(!is_plain_segment_name(bad), "{bad}");
        }
    }
}
