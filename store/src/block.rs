//! One block of pixels and its handles.

use std::fmt;
use std::ops::Deref;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use crate::error::StoreError;
use crate::extents::Extent;
use crate::memory::Bytes;
use crate::store::{Shared, locked};

/// Immutable bytes in memory, on disk, or both. Clones share them; the last one frees memory and disk.
pub struct Pixels(Arc<Block>);

/// What the handles share. The store's own lists may hold it too, so handles are counted apart.
pub(crate) struct Block {
    users: AtomicUsize,
    len: usize,
    home: Option<Arc<Shared>>,
    /// When it was used last, by the store's clock.
    pub(crate) last_use: AtomicU64,
    /// Its place in the store's order of use; 0: none. Written under the lock of that order.
    pub(crate) queued: AtomicU64,
    /// No handle is left. Set before the lists are cleaned, read under their lock, so that none keeps it.
    pub(crate) released: AtomicBool,
    pub(crate) state: Mutex<BlockState>,
    /// Held while bytes are read back, so that two readers read once; the state stays free meanwhile.
    loading: Mutex<()>,
}

#[derive(Default)]
pub(crate) struct BlockState {
    pub(crate) memory: Option<Arc<Bytes>>,
    pub(crate) disk: Option<Box<DiskCopy>>,
}

/// Where a block lies in the spill file.
pub(crate) struct DiskCopy {
    pub(crate) extents: Box<[Extent]>,
    pub(crate) checksum: u64,
}

impl Block {
    fn new(bytes: Bytes, home: Option<Arc<Shared>>) -> Arc<Self> {
        Arc::new(Self {
            users: AtomicUsize::new(1),
            len: bytes.len(),
            home,
            last_use: AtomicU64::new(0),
            queued: AtomicU64::new(0),
            released: AtomicBool::new(false),
            state: Mutex::new(BlockState { memory: Some(Arc::new(bytes)), disk: None }),
            loading: Mutex::new(()),
        })
    }

    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// Equal for no two blocks that live at the same time.
    pub(crate) fn identity(self: &Arc<Self>) -> usize {
        Arc::as_ptr(self) as usize
    }

    fn touch(&self) {
        if let Some(home) = &self.home {
            self.last_use.store(home.tick(), Ordering::Relaxed);
        }
    }
}

impl Pixels {
    /// Bytes that belong to no store and are always in memory.
    pub fn from_vec(bytes: Vec<u8>) -> Self {
        Self(Block::new(Bytes::free_standing(bytes), None))
    }

    pub(crate) fn kept(bytes: Bytes, home: Arc<Shared>) -> Self {
        let block = Block::new(bytes, Some(home));
        block.touch();
        Self(block)
    }

    pub(crate) fn block(&self) -> &Arc<Block> {
        &self.0
    }

    /// Number of bytes.
    pub fn len(&self) -> usize {
        self.0.len
    }

    /// True when there is no byte at all.
    pub fn is_empty(&self) -> bool {
        self.0.len == 0
    }

    /// The bytes if they are in memory. Never touches the disk; counts as a use.
    pub fn in_memory(&self) -> Option<PixelBytes> {
        let found = locked(&self.0.state).memory.clone()?;
        self.0.touch();
        Some(PixelBytes(found))
    }

    /// True when [`in_memory`](Self::in_memory) would give the bytes. Not a use.
    pub fn is_in_memory(&self) -> bool {
        locked(&self.0.state).memory.is_some()
    }

    /// The bytes, read back from the disk when they were spilled; that blocks on the disk, and on memory becoming free for them
    /// (10 s at most). A use.
    ///
    /// # Errors
    /// [`Busy`](StoreError::Busy) when all memory is held elsewhere, [`Read`](StoreError::Read) and
    /// [`Damaged`](StoreError::Damaged) when the disk fails.
    pub fn read(&self) -> Result<PixelBytes, StoreError> {
        if let Some(found) = self.in_memory() {
            return Ok(found);
        }
        let _once = locked(&self.0.loading);
        match (self.in_memory(), &self.0.home) {
            (Some(found), _) => Ok(found),
            (None, Some(home)) => {
                let loaded = home.load(&self.0)?;
                self.0.touch();
                Ok(PixelBytes(loaded))
            }
            // Only a store takes bytes out of memory.
            (None, None) => unreachable!("free-standing pixels are always in memory"),
        }
    }

    /// True when no other clone exists (bytes that somebody holds as [`PixelBytes`] do not count).
    pub fn is_last_reference(&self) -> bool {
        self.0.users.load(Ordering::Acquire) == 1
    }

    /// Equal for clones, different for any two blocks that live at the same time.
    pub fn identity(&self) -> usize {
        self.0.identity()
    }
}

impl Clone for Pixels {
    fn clone(&self) -> Self {
        self.0.users.fetch_add(1, Ordering::Relaxed);
        Self(self.0.clone())
    }
}

impl Drop for Pixels {
    fn drop(&mut self) {
        if self.0.users.fetch_sub(1, Ordering::AcqRel) == 1
            && let Some(home) = &self.0.home
        {
            home.release(&self.0);
        }
    }
}

impl fmt::Debug for Pixels {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let place = if self.is_in_memory() { "in memory" } else { "on disk" };
        write!(f, "Pixels({} bytes {place})", self.len())
    }
}

/// Bytes that stay in memory while this is held, even when their block is spilled or freed meanwhile. Cheap to clone.
#[derive(Clone)]
pub struct PixelBytes(Arc<Bytes>);

impl Deref for PixelBytes {
    type Target = [u8];
    fn deref(&self) -> &[u8] {
        &self.0
    }
}

impl AsRef<[u8]> for PixelBytes {
    fn as_ref(&self) -> &[u8] {
        self
    }
}

impl fmt::Debug for PixelBytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PixelBytes({} bytes)", self.len())
    }
}
