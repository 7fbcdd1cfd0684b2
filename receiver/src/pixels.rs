//! Pixel buffers: each pixel is copied once, into memory that goes back to a bounded pool when nobody needs it.
//!
//! Fresh large allocations cost up to three times what a reused buffer costs (page faults), so buffers are kept.

use std::fmt;
use std::ops::Deref;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use crate::counters::{self, Counters};

/// Pixels of one image, shared and read-only. The last clone returns the allocation to the receiver's pool.
#[derive(Clone)]
pub struct PixelBuffer(Arc<Pooled>);

struct Pooled {
    bytes: Vec<u8>,
    pool: Weak<BufferPool>,
}

impl PixelBuffer {
    /// A buffer that belongs to no pool.
    pub fn from_vec(bytes: Vec<u8>) -> Self {
        Self(Arc::new(Pooled { bytes, pool: Weak::new() }))
    }

    /// Address of the first byte: equal for clones of one buffer, so that tests can see that nothing was copied.
    pub fn identity(&self) -> usize {
        self.0.bytes.as_ptr() as usize
    }

    pub(crate) fn pooled(bytes: Vec<u8>, pool: &Arc<BufferPool>) -> Self {
        Self(Arc::new(Pooled { bytes, pool: Arc::downgrade(pool) }))
    }
}

impl AsRef<[u8]> for PixelBuffer {
    fn as_ref(&self) -> &[u8] {
        self
    }
}

impl Deref for PixelBuffer {
    type Target = [u8];
    fn deref(&self) -> &[u8] {
        &self.0.bytes
    }
}

impl fmt::Debug for PixelBuffer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PixelBuffer({} bytes)", self.len())
    }
}

impl Drop for Pooled {
    fn drop(&mut self) {
        if let Some(pool) = self.pool.upgrade() {
            pool.give_back(std::mem::take(&mut self.bytes));
        }
    }
}

/// Returned allocations, newest last. Holds at most `max_bytes`; beyond that the oldest are freed.
pub(crate) struct BufferPool {
    max_bytes: u64,
    kept: Mutex<Kept>,
    counters: Arc<Counters>,
}

#[derive(Default)]
struct Kept {
    buffers: Vec<Vec<u8>>,
    bytes: u64,
}

/// Many tiny buffers would make the search for a fitting one slow, and cost nothing to allocate anew.
const MAX_KEPT_BUFFERS: usize = 128;

impl BufferPool {
    pub(crate) fn new(max_bytes: u64, counters: Arc<Counters>) -> Arc<Self> {
        Arc::new(Self { max_bytes, kept: Mutex::default(), counters })
    }

    /// An empty buffer with room for `size_bytes`, or `None` when the system has no such memory.
    pub(crate) fn take(&self, size_bytes: usize) -> Option<Vec<u8>> {
        let reused = {
            let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
            // An image may keep its buffer for hours, so one that is much too large would waste memory as long.
            let fits = |buffer: &Vec<u8>| {
                buffer.capacity() >= size_bytes && buffer.capacity() - size_bytes <= size_bytes / 8 + 4096
            };
            kept.buffers.iter().rposition(fits).map(|index| {
                let buffer = kept.buffers.remove(index);
                kept.bytes -= buffer.capacity() as u64;
                buffer
            })
        };
        if let Some(buffer) = reused {
            counters::add(&self.counters.buffers_reused, 1);
            return Some(buffer);
        }
        let mut buffer = Vec::new();
        buffer.try_reserve_exact(size_bytes).ok()?;
        counters::add(&self.counters.buffers_allocated, 1);
        Some(buffer)
    }

    pub(crate) fn give_back(&self, mut buffer: Vec<u8>) {
        let size = buffer.capacity() as u64;
        if size == 0 || size > self.max_bytes {
            return;
        }
        buffer.clear();
        let mut freed = Vec::new();
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        while !kept.buffers.is_empty() && (kept.bytes + size > self.max_bytes || kept.buffers.len() >= MAX_KEPT_BUFFERS)
        {
            let oldest = kept.buffers.remove(0);
            kept.bytes -= oldest.capacity() as u64;
            freed.push(oldest);
        }
        kept.bytes += size;
        kept.buffers.push(buffer);
        // Freeing large memory takes time; not while others wait for the pool.
        drop(kept);
        drop(freed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pool(max_bytes: u64) -> (Arc<BufferPool>, Arc<Counters>) {
        let counters = Arc::new(Counters::default());
        (BufferPool::new(max_bytes, counters.clone()), counters)
    }

    #[test]
    fn the_last_clone_returns_the_allocation() {
        let (pool, counters) = pool(1 << 20);
        let mut bytes = pool.take(1000).unwrap();
        bytes.resize(1000, 7);
        let first = PixelBuffer::pooled(bytes, &pool);
        let second = first.clone();
        assert_eq!(first.identity(), second.identity());
        drop(first);
        pool.take(1000).unwrap();
        assert_eq!(counters.snapshot().buffers_reused, 0, "a clone still holds it");
        drop(second);
        assert!(pool.take(1000).unwrap().is_empty());
        assert_eq!(counters.snapshot().buffers_reused, 1);
    }

    #[test]
    fn the_pool_keeps_no_more_than_its_budget() {
        let (pool, _) = pool(3000);
        for _ in 0..5 {
            pool.give_back(Vec::with_capacity(1000));
        }
        let kept = pool.kept.lock().unwrap();
        assert_eq!((kept.buffers.len(), kept.bytes), (3, 3000));
    }

    #[test]
    fn a_much_too_large_buffer_is_not_reused() {
        let (pool, counters) = pool(1 << 20);
        pool.give_back(Vec::with_capacity(500_000));
        pool.take(1000).unwrap();
        assert_eq!(counters.snapshot().buffers_reused, 0);
    }

    #[test]
    fn memory_that_does_not_exist_is_refused() {
        assert!(pool(0).0.take(usize::MAX / 2).is_none());
    }

    #[test]
    fn a_buffer_outlives_its_pool() {
        let (pool, _) = pool(1 << 20);
        let pixels = PixelBuffer::pooled(vec![1, 2, 3], &pool);
        drop(pool);
        assert_eq!(&pixels[..], &[1, 2, 3]);
    }
}
