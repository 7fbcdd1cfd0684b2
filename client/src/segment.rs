//! Shared-memory segments: created under a name of the wire, written, unlinked when dropped.

use shared_memory::{Shmem, ShmemConf, ShmemError};

/// Why a segment could not be made.
#[derive(Debug, thiserror::Error)]
pub enum SegmentError {
    /// The system refused to create or map it.
    #[error("cannot create a shared-memory segment of {size_bytes} bytes: {cause}. Segment: {name:?}")]
    Create {
        /// Bytes that were asked for.
        size_bytes: u64,
        /// What the system said.
        cause: ShmemError,
        /// Name on the wire.
        name: String,
    },
    /// Shared memory is full (containers often give /dev/shm only 64 MiB).
    #[error("shared memory has no room for {size_bytes} bytes ({cause}); enlarge /dev/shm or send smaller batches")]
    NoRoom {
        /// Bytes that were asked for.
        size_bytes: u64,
        /// What the system said.
        cause: std::io::Error,
    },
}

/// One segment of ours. Dropping it unlinks it, which is what receivers of G3 and G4 expect after their reply
/// (polystore 0.1.12 and later); an older receiver that unlinked it first does no harm.
pub(crate) struct Segment {
    memory: Shmem,
    name: String,
    /// Another hold on it, which tells whether its name is still there.
    #[cfg(target_os = "linux")]
    file: Option<std::os::fd::OwnedFd>,
}

// SAFETY: a mapping, its file and its name belong to the process, not to the thread that made them; `Shmem` is not
// `Send` only because it holds a raw pointer. Writing needs `&mut self`.
unsafe impl Send for Segment {}

impl Segment {
    /// Creates a segment of `size_bytes` (at least 1) with the bytes `ready`, or what `write` puts there.
    pub fn create(size_bytes: u64, ready: Option<&[u8]>, write: impl FnOnce(&mut [u8])) -> Result<Self, SegmentError> {
        Self::create_named(new_name(), size_bytes, ready, write)
    }

    fn create_named(
        name: String,
        size_bytes: u64,
        ready: Option<&[u8]>,
        write: impl FnOnce(&mut [u8]),
    ) -> Result<Self, SegmentError> {
        let failed = |cause, name: &str| SegmentError::Create { size_bytes, cause, name: name.to_owned() };
        // A length beyond the address space cannot be mapped either; 0 is refused by the crate.
        let length = usize::try_from(size_bytes).map_err(|_| failed(ShmemError::MapSizeZero, &name))?;
        let mut memory =
            ShmemConf::new().os_id(system_name(&name)).size(length).create().map_err(|cause| failed(cause, &name))?;
        if let Some(bytes) = ready
            && bytes.len() <= length
            && write_through_file(&name, bytes)?
        {
            let written = bytes.len() as u64;
            reserve_pages(&name, written, size_bytes - written)?;
            return Ok(Self::of(memory, name));
        }
        reserve_pages(&name, 0, size_bytes)?;
        // SAFETY: the segment was created exclusively a moment ago and its name is known to nobody else yet, so this
        // is the only reference to its bytes; the slice ends before `memory` moves.
        write(&mut unsafe { memory.as_slice_mut() }[..length]);
        Ok(Self::of(memory, name))
    }

    fn of(memory: Shmem, name: String) -> Self {
        Self {
            memory,
            #[cfg(target_os = "linux")]
            file: open_to_write(&name).ok(),
            name,
        }
    }

    /// Creates a segment of `capacity` bytes, to be written more than once. Its first `size_bytes`, at most `capacity`, become
    /// `ready`, or what `write` puts there.
    ///
    /// # Errors
    /// Among others [`ShmemError::MappingIdExists`] when the name is taken.
    pub fn create_to_keep(
        name: String,
        capacity: u64,
        size_bytes: u64,
        ready: Option<&[u8]>,
        write: impl FnOnce(&mut [u8]),
    ) -> Result<Self, SegmentError> {
        let length = usize::try_from(size_bytes.min(capacity)).unwrap_or(usize::MAX);
        Self::create_named(name, capacity, ready.filter(|ready| ready.len() == length), |bytes| {
            let length = length.min(bytes.len());
            write(&mut bytes[..length]);
        })
    }

    /// Writes its first `size_bytes` anew. Only for a segment that no viewer reads any more.
    pub fn rewrite(&mut self, size_bytes: u64, write: impl FnOnce(&mut [u8])) {
        let length = usize::try_from(size_bytes).unwrap_or(usize::MAX).min(self.memory.len());
        // SAFETY: slices of the mapping never leave this file, so `&mut self` makes this the only one of this process. A
        // viewer that read on after its reply would see the new bytes in its own mapping, which is its own mistake.
        write(&mut unsafe { self.memory.as_slice_mut() }[..length]);
    }

    /// Whether a viewer can still open it by its name. Viewers of the first generations unlink what they have read, and
    /// people empty /dev/shm.
    #[cfg(target_os = "linux")]
    pub fn is_linked(&self) -> bool {
        self.file.as_ref().is_some_and(|file| rustix::fs::fstat(file).is_ok_and(|found| found.st_nlink > 0))
    }

    /// Whether a viewer can still open it by its name; asked of the system by opening it.
    #[cfg(not(target_os = "linux"))]
    pub fn is_linked(&self) -> bool {
        ShmemConf::new().os_id(system_name(&self.name)).open().is_ok()
    }

    /// The name as sent: without the leading slash that POSIX wants.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// All of its bytes.
    #[cfg(test)]
    pub fn bytes(&self) -> &[u8] {
        // SAFETY: writing needs `&mut self`; viewers only read.
        unsafe { self.memory.as_slice() }
    }

    /// Bytes of the mapping; the system may round up.
    pub fn len(&self) -> usize {
        self.memory.len()
    }
}

impl std::fmt::Debug for Segment {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Segment").field("name", &self.name).field("size_bytes", &self.memory.len()).finish()
    }
}

/// `napari_` and 12 hex digits of a random UUID, as polystore 0.1.10 and later name theirs.
fn new_name() -> String {
    let random = uuid::Uuid::new_v4().simple().to_string();
    format!("napari_{}", &random[..12])
}

/// Python's `SharedMemory` opens "/name" on POSIX systems and the bare name on Windows.
fn system_name(name: &str) -> String {
    if cfg!(unix) { format!("/{name}") } else { name.to_owned() }
}

/// Writes all of a segment through its file; `false` where that cannot be done. The kernel fills whole pages then: no
/// page is zeroed first and none faults (8 MiB took 5.4 ms instead of 9.3 through the mapping), and a full tmpfs is an error.
#[cfg(target_os = "linux")]
fn write_through_file(name: &str, bytes: &[u8]) -> Result<bool, SegmentError> {
    use rustix::io::Errno;
    let size_bytes = bytes.len() as u64;
    let no_room = |cause: Errno| SegmentError::NoRoom { size_bytes, cause: cause.into() };
    let file = open_to_write(name).map_err(no_room)?;
    let mut written = 0;
    while written < bytes.len() {
        match rustix::io::pwrite(&file, &bytes[written..], written as u64) {
            Ok(0) => return Ok(false),
            Ok(count) => written += count,
            Err(Errno::INTR) => {}
            Err(cause) => return Err(no_room(cause)),
        }
    }
    Ok(true)
}

/// Shared memory has no file that could be written elsewhere.
#[cfg(not(target_os = "linux"))]
fn write_through_file(_name: &str, _bytes: &[u8]) -> Result<bool, SegmentError> {
    Ok(false)
}

#[cfg(target_os = "linux")]
fn open_to_write(name: &str) -> rustix::io::Result<std::os::fd::OwnedFd> {
    use rustix::shm::{Mode, OFlags, open};
    open(system_name(name), OFlags::RDWR, Mode::empty())
}

/// Allocates the pages now. Creating a segment only promises them; writing to a full tmpfs would kill the process.
#[cfg(target_os = "linux")]
fn reserve_pages(name: &str, offset: u64, size_bytes: u64) -> Result<(), SegmentError> {
    if size_bytes == 0 {
        return Ok(());
    }
    use rustix::fs::{FallocateFlags, fallocate};
    use rustix::io::Errno;
    let reserved = open_to_write(name).and_then(|file| {
        loop {
            match fallocate(&file, FallocateFlags::empty(), offset, size_bytes) {
                Err(Errno::INTR) => {}
                result => return result,
            }
        }
    });
    match reserved {
        // A kernel without fallocate on tmpfs: go on as other producers do.
        Ok(()) | Err(Errno::OPNOTSUPP | Errno::NOSYS) => Ok(()),
        Err(cause) => Err(SegmentError::NoRoom { size_bytes, cause: cause.into() }),
    }
}

/// macOS and Windows back a segment with swap when it is created.
#[cfg(not(target_os = "linux"))]
fn reserve_pages(_name: &str, _offset: u64, _size_bytes: u64) -> Result<(), SegmentError> {
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_of_released_producers() {
        let name = new_name();
        let digits = name.strip_prefix("napari_").unwrap();
        assert!(digits.len() == 12 && digits.chars().all(|c| c.is_ascii_hexdigit()), "{name}");
        assert_ne!(name, new_name());
    }

    #[test]
    fn a_segment_holds_what_was_written_and_is_gone_when_dropped() {
        for ready in [None, Some(b"abcde".as_slice())] {
            let segment = Segment::create(5, ready, |bytes| bytes.copy_from_slice(b"abcde")).unwrap();
            assert!(segment.len() >= 5);
            let os_id = system_name(segment.name());
            let other = ShmemConf::new().os_id(&os_id).open().unwrap();
            // SAFETY: nobody writes to the segment any more.
            assert_eq!(unsafe { &other.as_slice()[..5] }, b"abcde");
            drop((segment, other));
            assert!(ShmemConf::new().os_id(&os_id).open().is_err());
        }
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn full_shared_memory_is_an_error_and_leaves_nothing_behind() {
        let name = new_name();
        let error = Segment::create_named(name.clone(), 1 << 45, None, |_| panic!("must not be written")).unwrap_err();
        assert!(matches!(error, SegmentError::NoRoom { .. }), "{error}");
        assert!(!std::path::Path::new("/dev/shm").join(name).exists());
    }
}
