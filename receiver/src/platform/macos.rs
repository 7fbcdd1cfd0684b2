//! macOS: POSIX segments without a folder. `read(2)` on them is refused by the kernel, so they are mapped for the copy; the
//! kernel does not let a producer shorten a segment once it has a length, so the mapping cannot lose its pages.
//!
//! Written against the documentation and XNU's sources; not yet run.

use std::fs::File;
use std::io;

use memmap2::MmapOptions;
use rustix::fs::{Mode, fstat};
use rustix::io::Errno;
use rustix::shm::{self, OFlags};

pub(crate) use super::unix::{create_private_folder, file_identity, restrict_to_user};
use super::{FileIdentity, ProcessUsage, Segment, SegmentError, SharedMemory, is_plain_segment_name};

/// Segments of `shm_open(3)`.
pub(crate) struct SystemSharedMemory;

struct OpenSegment {
    file: File,
    len_bytes: u64,
    identity: FileIdentity,
}

fn open_segment(name: &str) -> Result<OpenSegment, SegmentError> {
    if !is_plain_segment_name(name) {
        return Err(SegmentError::BadName);
    }
    let file = match shm::open(format!("/{name}"), OFlags::RDONLY, Mode::empty()) {
        Ok(descriptor) => File::from(descriptor),
        Err(Errno::NOENT) => return Err(SegmentError::Gone),
        Err(other) => return Err(SegmentError::Io(other.into())),
    };
    let stat = fstat(&file).map_err(io::Error::from)?;
    // The types of these fields differ between systems.
    let identity = FileIdentity { device: stat.st_dev as u64, inode: stat.st_ino as u64 };
    Ok(OpenSegment { file, len_bytes: u64::try_from(stat.st_size).unwrap_or(0), identity })
}

impl SharedMemory for SystemSharedMemory {
    fn open(&self, name: &str) -> Result<Box<dyn Segment>, SegmentError> {
        Ok(Box::new(open_segment(name)?))
    }

    fn unlink_if_same(&self, name: &str, identity: FileIdentity) -> io::Result<bool> {
        let segment = match open_segment(name) {
            Ok(segment) => segment,
            Err(SegmentError::Io(error)) => return Err(error),
            Err(_) => return Ok(false),
        };
        if segment.identity != identity {
            return Ok(false);
        }
        match shm::unlink(format!("/{name}")) {
            Ok(()) => Ok(true),
            Err(Errno::NOENT) => Ok(false),
            Err(other) => Err(other.into()),
        }
    }
}

impl Segment for OpenSegment {
    fn len_bytes(&self) -> u64 {
        self.len_bytes
    }

    fn identity(&self) -> Option<FileIdentity> {
        // Old kernels report 0 for every segment; then it is not known which one it is, and nothing is unlinked.
        (self.identity.inode != 0).then_some(self.identity)
    }

    fn read_at(&self, offset: u64, into: &mut [u8]) -> Result<(), SegmentError> {
        let needed_bytes = offset + into.len() as u64;
        if needed_bytes > self.len_bytes {
            return Err(SegmentError::Shortened { needed_bytes, found_bytes: self.len_bytes });
        }
        // SAFETY: the mapping is read-only, lives only for the copy below, and lies within the segment's length, which the
        // kernel never shrinks. The producer may still write; the bytes are copied as plain data, whatever they are.
        let mapping = unsafe { MmapOptions::new().offset(offset).len(into.len()).map(&self.file) }?;
        into.copy_from_slice(&mapping);
        Ok(())
    }
}

/// What psutil reports of a process. Not computed here: the pong then leaves it out, which clients allow.
pub(crate) struct ProcessMeter;

impl ProcessMeter {
    pub(crate) fn new() -> Self {
        Self
    }

    pub(crate) fn create_time(&self) -> Option<f64> {
        None
    }

    pub(crate) fn usage(&mut self) -> Option<ProcessUsage> {
        None
    }
}
