//! Windows: named file mappings, which live as long as any handle is open; nobody unlinks them. TCP is the transport.
//!
//! Written against the documentation; not yet run.

use std::ffi::c_void;
use std::io;
use std::path::Path;

use windows_sys::Win32::Foundation::{CloseHandle, ERROR_FILE_NOT_FOUND, HANDLE};
use windows_sys::Win32::System::Memory::{
    FILE_MAP_READ, MEMORY_BASIC_INFORMATION, MEMORY_MAPPED_VIEW_ADDRESS, MapViewOfFile, OpenFileMappingW,
    UnmapViewOfFile, VirtualQuery,
};

use super::{FileIdentity, ProcessUsage, Segment, SegmentError, SharedMemory, is_plain_segment_name};

/// Named mappings of this login session, as Python's `multiprocessing.shared_memory` creates them.
pub(crate) struct SystemSharedMemory;

struct Mapping {
    handle: HANDLE,
    view: MEMORY_MAPPED_VIEW_ADDRESS,
    len_bytes: u64,
}

impl SharedMemory for SystemSharedMemory {
    fn open(&self, name: &str) -> Result<Box<dyn Segment>, SegmentError> {
        if !is_plain_segment_name(name) {
            return Err(SegmentError::BadName);
        }
        let wide: Vec<u16> = name.encode_utf16().chain([0]).collect();
        // SAFETY: `wide` ends with a zero and outlives the call.
        let handle = unsafe { OpenFileMappingW(FILE_MAP_READ, 0, wide.as_ptr()) };
        if handle.is_null() {
            let error = io::Error::last_os_error();
            let gone = error.raw_os_error() == Some(ERROR_FILE_NOT_FOUND as i32);
            return Err(if gone { SegmentError::Gone } else { SegmentError::Io(error) });
        }
        // SAFETY: `handle` is an open file mapping; a length of 0 maps all of it.
        let view = unsafe { MapViewOfFile(handle, FILE_MAP_READ, 0, 0, 0) };
        if view.Value.is_null() {
            let error = io::Error::last_os_error();
            // SAFETY: `handle` was opened above and is closed once.
            unsafe { CloseHandle(handle) };
            return Err(SegmentError::Io(error));
        }
        let mut mapping = Mapping { handle, view, len_bytes: 0 };
        // SAFETY: all-zero bytes are a valid MEMORY_BASIC_INFORMATION: it has only integers and a pointer.
        let mut information: MEMORY_BASIC_INFORMATION = unsafe { std::mem::zeroed() };
        // SAFETY: `view` is mapped, and `information` is writable for the length given.
        let written = unsafe {
            VirtualQuery(view.Value as *const c_void, &mut information, std::mem::size_of::<MEMORY_BASIC_INFORMATION>())
        };
        if written == 0 {
            return Err(SegmentError::Io(io::Error::last_os_error()));
        }
        mapping.len_bytes = information.RegionSize as u64;
        Ok(Box::new(mapping))
    }

    fn unlink_if_same(&self, _name: &str, _identity: FileIdentity) -> io::Result<bool> {
        Ok(false)
    }
}

impl Segment for Mapping {
    fn len_bytes(&self) -> u64 {
        self.len_bytes
    }

    fn identity(&self) -> Option<FileIdentity> {
        None
    }

    fn read_at(&self, offset: u64, into: &mut [u8]) -> Result<(), SegmentError> {
        let needed_bytes = offset + into.len() as u64;
        if needed_bytes > self.len_bytes {
            return Err(SegmentError::Shortened { needed_bytes, found_bytes: self.len_bytes });
        }
        // SAFETY: the view is mapped readable for `len_bytes` bytes, at least `offset` + the length of `into`, until `self` is
        // dropped, and a mapped view cannot be shortened by another process. Other processes may write meanwhile; the bytes
        // are only copied.
        let bytes =
            unsafe { std::slice::from_raw_parts((self.view.Value as *const u8).add(offset as usize), into.len()) };
        into.copy_from_slice(bytes);
        Ok(())
    }
}

// SAFETY: a handle and the address of a read-only view belong to the process, not to a thread; nothing is changed through them
// before `drop`, which has the only reference.
unsafe impl Send for Mapping {}
// SAFETY: as above; reads of the view need no order among threads.
unsafe impl Sync for Mapping {}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: both were opened by `open` and are released exactly once, here.
        unsafe {
            UnmapViewOfFile(self.view);
            CloseHandle(self.handle);
        }
    }
}

/// Folders below the user's profile are the user's alone by inheritance.
pub(crate) fn create_private_folder(folder: &Path) -> io::Result<()> {
    std::fs::create_dir_all(folder)
}

/// Nothing to do: see [`create_private_folder`].
pub(crate) fn restrict_to_user(_path: &Path) -> io::Result<()> {
    Ok(())
}

/// Not known without opening the file; callers treat an unknown identity as their own file.
pub(crate) fn file_identity(_path: &Path) -> Option<FileIdentity> {
    None
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
