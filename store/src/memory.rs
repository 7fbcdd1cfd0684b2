//! Allocations of pixels. Each is counted by its store from the moment it is made until it is given back to the system.

use std::fmt;
use std::ops::{Deref, DerefMut};
use std::sync::Arc;

use memmap2::MmapMut;

use crate::store::Shared;

/// From here on an allocation is a memory map of its own, so that freeing it gives it back to the system at once, whatever lies
/// beside it; the heap would keep it. Smaller ones are many, and cost less on the heap.
const LARGE_BYTES: usize = 1 << 20;
/// Maps are counted, as the system does, in pages.
const PAGE_BYTES: usize = 4096;

/// Memory of one block or buffer.
pub(crate) enum Memory {
    Small(Vec<u8>),
    Large(MmapMut),
}

impl Memory {
    /// What [`allocate`](Self::allocate) will take for `bytes`.
    pub(crate) fn cost(bytes: usize) -> u64 {
        if bytes < LARGE_BYTES { bytes as u64 } else { bytes.next_multiple_of(PAGE_BYTES) as u64 }
    }

    /// Room for `bytes`, or `None` when the system has none.
    pub(crate) fn allocate(bytes: usize) -> Option<Self> {
        if bytes < LARGE_BYTES {
            let mut small = Vec::new();
            small.try_reserve_exact(bytes).ok()?;
            small.resize(bytes, 0);
            return Some(Self::Small(small));
        }
        let map = MmapMut::map_anon(bytes.next_multiple_of(PAGE_BYTES)).ok()?;
        // No huge pages: where they have to be asked for (`madvise`), the system compacts memory in the middle of the first write
        // when its free memory is in pieces, and 64 MiB then took 200 to 450 ms instead of 45 to 100 (Linux 6.18, 16 GiB of file
        // cache, 2 busy cores); where free memory was whole the two were alike.
        Some(Self::Large(map))
    }

    /// Bytes that it counts for.
    pub(crate) fn size(&self) -> u64 {
        match self {
            Self::Small(small) => small.len() as u64,
            Self::Large(map) => map.len() as u64,
        }
    }

    /// Whether it may serve `bytes`: a block may keep it for hours, so one that is much too large would waste memory as long.
    pub(crate) fn serves(&self, bytes: usize) -> bool {
        matches!(self, Self::Large(map) if map.len() >= bytes && map.len() - bytes <= bytes / 8 + PAGE_BYTES)
    }

    /// Has the system provide all pages now.
    pub(crate) fn touch(&mut self) {
        if let Self::Large(map) = self {
            map.iter_mut().step_by(PAGE_BYTES).for_each(|byte| *byte = 0);
        }
    }

    /// Large memory is worth keeping for the next buffer.
    pub(crate) fn is_large(&self) -> bool {
        matches!(self, Self::Large(_))
    }
}

/// Memory in use, and who counts it.
pub(crate) struct Bytes {
    memory: Memory,
    len: usize,
    home: Option<Arc<Shared>>,
}

impl Bytes {
    /// The first `len` bytes of `memory`, which `home` has counted.
    pub(crate) fn new(memory: Memory, len: usize, home: Arc<Shared>) -> Self {
        Self { memory, len, home: Some(home) }
    }

    /// Bytes that no store counts.
    pub(crate) fn free_standing(bytes: Vec<u8>) -> Self {
        Self { len: bytes.len(), memory: Memory::Small(bytes), home: None }
    }
}

impl Deref for Bytes {
    type Target = [u8];
    fn deref(&self) -> &[u8] {
        match &self.memory {
            Memory::Small(small) => &small[..self.len],
            Memory::Large(map) => &map[..self.len],
        }
    }
}

impl DerefMut for Bytes {
    fn deref_mut(&mut self) -> &mut [u8] {
        match &mut self.memory {
            Memory::Small(small) => &mut small[..self.len],
            Memory::Large(map) => &mut map[..self.len],
        }
    }
}

impl Drop for Bytes {
    fn drop(&mut self) {
        if let Some(home) = self.home.take() {
            home.give_back(std::mem::replace(&mut self.memory, Memory::Small(Vec::new())));
        }
    }
}

/// Memory to be filled, exactly as long as asked for. What is in it before is zero or left from an earlier use: fill all of it.
/// Counts as memory in use until it is dropped, or kept and evicted.
pub struct BufferMut(pub(crate) Bytes);

impl Deref for BufferMut {
    type Target = [u8];
    fn deref(&self) -> &[u8] {
        &self.0
    }
}

impl DerefMut for BufferMut {
    fn deref_mut(&mut self) -> &mut [u8] {
        &mut self.0
    }
}

impl fmt::Debug for BufferMut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "BufferMut({} bytes)", self.len())
    }
}
