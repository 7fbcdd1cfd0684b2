//! Segments that are used again: the pages of a new one must be cleared and mapped first, which takes longer than the copy.

use std::sync::Mutex;
use std::time::{Duration, Instant};

use shared_memory::ShmemError;

use crate::element::Pixels;
use crate::lock::locked;
use crate::segment::{Segment, SegmentError};
use crate::segment_name::new_segment_name;

/// Smallest segment: a page.
const MIN_CAPACITY: u64 = 4096;

/// Segments whose reply has come, warm and ready for the next batch. Bounded in bytes; empty again after a while without use.
pub(crate) struct SegmentPool {
    idle: Mutex<Vec<Idle>>,
    /// Bytes that may lie idle.
    max_idle_bytes: u64,
    /// How long a segment may lie idle.
    keep_idle: Duration,
}

struct Idle {
    segment: Segment,
    since: Instant,
}

impl SegmentPool {
    pub fn new(max_idle_bytes: u64, keep_idle: Duration) -> Self {
        Self { idle: Mutex::new(Vec::new()), max_idle_bytes, keep_idle }
    }

    /// A segment with the bytes of an array: the smallest idle one that fits, else a new one. When shared memory is full, idle
    /// ones are given up first.
    pub fn filled(&self, pixels: &dyn Pixels, size_bytes: u64) -> Result<Segment, SegmentError> {
        let capacity = capacity_for(size_bytes);
        if let Some(mut segment) = self.take(size_bytes, capacity) {
            segment.rewrite(size_bytes, |bytes| pixels.write_to(bytes));
            return Ok(segment);
        }
        match create(capacity, pixels, size_bytes) {
            Err(SegmentError::NoRoom { .. }) if self.clear() => create(capacity, pixels, size_bytes),
            made => made,
        }
    }

    /// Takes a segment back that no viewer reads any more. It is unlinked instead when its name is gone already, or when there
    /// would be too much idle memory.
    pub fn give_back(&self, segment: Segment) {
        let bytes = segment.len() as u64;
        let mut unlinked = Vec::new();
        if bytes > self.max_idle_bytes || !segment.is_linked() {
            unlinked.push(Idle { segment, since: Instant::now() });
        } else {
            let mut idle = locked(&self.idle);
            idle.push(Idle { segment, since: Instant::now() });
            // Longest idle first.
            while idle_bytes(&idle) > self.max_idle_bytes {
                unlinked.push(idle.remove(0));
            }
        }
        // Unlinking and unmapping take their time, which nobody else should wait for.
        drop(unlinked);
    }

    /// Unlinks what was not used for a while; says when it should be called again.
    pub fn shrink(&self, now: Instant) -> Option<Instant> {
        let mut idle = locked(&self.idle);
        let is_old = |idle: &Idle| now.saturating_duration_since(idle.since) >= self.keep_idle;
        let old: Vec<Idle> = idle.extract_if(.., |idle| is_old(idle)).collect();
        let next = idle.iter().map(|idle| idle.since + self.keep_idle).min();
        drop(idle);
        drop(old);
        next
    }

    /// Unlinks all idle segments; whether there were any.
    pub fn clear(&self) -> bool {
        let idle = std::mem::take(&mut *locked(&self.idle));
        !idle.is_empty()
    }

    /// Bytes that lie idle.
    pub fn idle_bytes(&self) -> u64 {
        idle_bytes(&locked(&self.idle))
    }

    fn take(&self, size_bytes: u64, capacity: u64) -> Option<Segment> {
        loop {
            let mut idle = locked(&self.idle);
            // Far larger ones are left for arrays of their own size.
            let fits = |segment: &Segment| (size_bytes..=capacity.saturating_mul(2)).contains(&(segment.len() as u64));
            let smallest = idle
                .iter()
                .enumerate()
                .filter(|(_, idle)| fits(&idle.segment))
                // Of several, the one used last: its pages are the likeliest to be in the cache, and the others grow old.
                .min_by_key(|(position, idle)| (idle.segment.len(), std::cmp::Reverse(*position)));
            let position = smallest?.0;
            let segment = idle.remove(position).segment;
            drop(idle);
            // Somebody may have emptied /dev/shm meanwhile.
            if segment.is_linked() {
                return Some(segment);
            }
        }
    }
}

fn idle_bytes(idle: &[Idle]) -> u64 {
    idle.iter().map(|idle| idle.segment.len() as u64).sum()
}

fn create(capacity: u64, pixels: &dyn Pixels, size_bytes: u64) -> Result<Segment, SegmentError> {
    loop {
        let name = new_segment_name();
        match Segment::create_to_keep(name, capacity, size_bytes, pixels.contiguous(), |bytes| pixels.write_to(bytes)) {
            // Left by a process before us whose name came out the same.
            Err(SegmentError::Create { cause: ShmemError::MappingIdExists, .. }) => {}
            made => return made,
        }
    }
}

/// Sizes come in steps of an eighth, so that arrays of nearly the same size share segments.
fn capacity_for(size_bytes: u64) -> u64 {
    let step = size_bytes.checked_next_power_of_two().map_or(MIN_CAPACITY, |power| (power / 16).max(MIN_CAPACITY));
    size_bytes.max(1).checked_next_multiple_of(step).unwrap_or(size_bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::element::RawPixels;
    use wellscope_protocol::dtype::{DType, ElementType};

    fn fill(pool: &SegmentPool, bytes: &[u8]) -> Segment {
        let dtype = DType::little(ElementType::U8);
        let pixels = RawPixels { shape: vec![1, bytes.len() as u64], dtype, bytes };
        pool.filled(&pixels, bytes.len() as u64).unwrap()
    }

    fn pool(max_idle_bytes: u64) -> SegmentPool {
        SegmentPool::new(max_idle_bytes, Duration::from_secs(60))
    }

    #[test]
    fn capacities_waste_little_and_hold_what_they_are_for() {
        for size in [1, 4096, 4097, 100_000, 8 << 20, (8 << 20) + 1, 67_108_864, 70_000_000] {
            let capacity = capacity_for(size);
            assert!(capacity >= size && capacity <= (size + size / 8).max(size + 4096), "{size}: {capacity}");
        }
        assert_eq!(capacity_for(8 << 20), 8 << 20);
        assert_eq!(capacity_for(u64::MAX), u64::MAX);
    }

    #[test]
    fn a_segment_that_came_back_is_used_again_with_new_bytes() {
        let pool = pool(1 << 20);
        let first = fill(&pool, &[1; 5000]);
        let name = first.name().to_owned();
        pool.give_back(first);
        assert_eq!(pool.idle_bytes(), 8192);
        let second = fill(&pool, &[2; 4999]);
        assert_eq!((second.name(), pool.idle_bytes()), (&*name, 0));
        assert_eq!(second.bytes()[..5000], [vec![2; 4999], vec![1]].concat()[..]);
        // One that is far too large is not taken.
        pool.give_back(fill(&pool, &[3; 900_000]));
        assert_ne!(fill(&pool, &[4; 10]).len(), 900_000);
        assert!(pool.idle_bytes() > 900_000);
    }

    #[test]
    fn idle_memory_is_bounded_and_the_oldest_go_first() {
        let pool = pool(10_000);
        let segments = [fill(&pool, &[1; 10]), fill(&pool, &[2; 10]), fill(&pool, &[3; 10])];
        let names: Vec<String> = segments.iter().map(|segment| segment.name().to_owned()).collect();
        segments.into_iter().for_each(|segment| pool.give_back(segment));
        assert_eq!(pool.idle_bytes(), 8192);
        pool.give_back(fill(&super::SegmentPool::new(0, Duration::ZERO), &[0; 20_000]));
        assert_eq!(pool.idle_bytes(), 8192, "what is larger than the bound does not drive out what is there");
        let kept = fill(&pool, &[4; 10]);
        assert_eq!(kept.name(), names[2]);
    }

    #[test]
    fn what_is_idle_for_long_is_given_up() {
        let pool = SegmentPool::new(1 << 20, Duration::from_secs(10));
        pool.give_back(fill(&pool, &[1; 10]));
        let now = Instant::now();
        assert!(pool.shrink(now).is_some_and(|next| next > now));
        assert_eq!(pool.idle_bytes(), 4096);
        assert_eq!(pool.shrink(now + Duration::from_secs(11)), None);
        assert_eq!(pool.idle_bytes(), 0);
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn a_segment_that_somebody_unlinked_is_not_used_again() {
        let pool = pool(1 << 20);
        let (first, second) = (fill(&pool, &[1; 10]), fill(&pool, &[1; 10]));
        let names = [first.name().to_owned(), second.name().to_owned()];
        let unlink = |name: &str| std::fs::remove_file(std::path::Path::new("/dev/shm").join(name)).unwrap();
        unlink(&names[0]);
        pool.give_back(first);
        assert_eq!(pool.idle_bytes(), 0);
        pool.give_back(second);
        unlink(&names[1]);
        let third = fill(&pool, &[3; 10]);
        assert!(!names.contains(&third.name().to_owned()) && third.is_linked());
    }
}
