//! Pixels out of segments and into the store: each byte once, several blocks at a time.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use wellscope_store::{Admission, BufferMut, Pixels, Store, StoreError};

use crate::patience::Patience;
use crate::pixels::{BlockLayout, ImagePixels};
use crate::platform::{Segment, SegmentError};

/// Below this a second thread costs more than it saves.
const MIN_BYTES_FOR_HELP: usize = 2 << 20;

/// Most threads that copy for one batch, the one that serves it included. Memory, not the processor, sets the pace: more gain nothing.
const MAX_COPY_THREADS: usize = 4;

/// How soon a copy that waits for memory sees that the receiver ends.
const STOP_CHECK: Duration = Duration::from_millis(100);

/// Threads that may help to copy at present, for all batches together.
pub(crate) struct Helpers {
    free: AtomicUsize,
}

/// One image to be copied.
pub(crate) struct CopyTask<'a> {
    pub source: CopySource<'a>,
    pub layout: BlockLayout,
    /// Bytes of an element whose bytes are to be reversed; 1: none are.
    pub swap_bytes: usize,
}

/// Where its bytes are.
pub(crate) enum CopySource<'a> {
    Segment(&'a dyn Segment),
    /// Parts in our memory that lie behind each other: inline data, or the binary frames of an image.
    Parts(Vec<&'a [u8]>),
}

/// What the copies of one batch share.
pub(crate) struct Copier<'a> {
    pub store: &'a Store,
    pub helpers: &'a Helpers,
    pub admission: Mutex<Admission>,
    pub patience: Patience<'a>,
    pub stopping: &'a AtomicBool,
}

/// Why an image could not be copied.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CopyError {
    #[error(transparent)]
    Segment(#[from] SegmentError),
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Helpers {
    /// As many as this machine has cores for, beside the serving thread.
    pub(crate) fn of_machine() -> Self {
        let cores = std::thread::available_parallelism().map_or(1, |cores| cores.get());
        Self { free: AtomicUsize::new(cores.min(MAX_COPY_THREADS) - 1) }
    }

    fn take(&self, wanted: usize) -> usize {
        let update = |free: usize| Some(free - free.min(wanted));
        let before = self.free.fetch_update(Ordering::AcqRel, Ordering::Acquire, update);
        before.unwrap_or(0).min(wanted)
    }
}

impl Copier<'_> {
    /// Copies all images. The results are in the order of the tasks.
    pub(crate) fn copy(&self, tasks: &[CopyTask]) -> Vec<Result<ImagePixels, CopyError>> {
        let jobs: Vec<(usize, usize)> = tasks
            .iter()
            .enumerate()
            .flat_map(|(index, task)| (0..task.layout.block_count()).map(move |block| (index, block)))
            .collect();
        let total: usize = tasks.iter().map(|task| task.layout.total_bytes()).sum();
        let wanted = if total < MIN_BYTES_FOR_HELP { 0 } else { jobs.len().saturating_sub(1) };
        let next = AtomicUsize::new(0);
        let work = || {
            let mut done = Vec::new();
            while let Some(&(index, block)) = jobs.get(next.fetch_add(1, Ordering::Relaxed)) {
                let copied = tasks.get(index).map(|task| self.copy_block(task, block));
                done.extend(copied.map(|copied| (index, block, copied)));
            }
            done
        };
        let mut done = self.with_help(wanted, work);
        done.sort_by_key(|&(index, block, _)| (index, block));

        let mut results: Vec<Result<Vec<Pixels>, CopyError>> = tasks.iter().map(|_| Ok(Vec::new())).collect();
        for (index, _, copied) in done {
            match (results.get_mut(index), copied) {
                (Some(Ok(blocks)), Ok(pixels)) => blocks.push(pixels),
                (Some(result @ Ok(_)), Err(error)) => *result = Err(error),
                _ => {}
            }
        }
        let image = |(result, task): (Result<Vec<Pixels>, CopyError>, &CopyTask)| {
            result.map(|blocks| ImagePixels::new(blocks, task.layout))
        };
        results.into_iter().zip(tasks).map(image).collect()
    }

    /// Runs `work` here and in as many helpers as are free, and joins what they give. A panic of one is a panic here.
    fn with_help<T: Send>(&self, wanted: usize, work: impl Fn() -> Vec<T> + Sync) -> Vec<T> {
        let helpers = self.helpers.take(wanted);
        if helpers == 0 {
            return work();
        }
        struct GiveBack<'a>(&'a Helpers, usize);
        impl Drop for GiveBack<'_> {
            fn drop(&mut self) {
                self.0.free.fetch_add(self.1, Ordering::AcqRel);
            }
        }
        let _give_back = GiveBack(self.helpers, helpers);
        std::thread::scope(|scope| {
            let spawn = |_| {
                // Without a thread the others do its share.
                std::thread::Builder::new().name("wellscope-copy".into()).spawn_scoped(scope, &work).ok()
            };
            let running: Vec<_> = (0..helpers).filter_map(spawn).collect();
            let mut done = work();
            for helper in running {
                match helper.join() {
                    Ok(more) => done.extend(more),
                    Err(panic) => std::panic::resume_unwind(panic),
                }
            }
            done
        })
    }

    /// Memory from the store, which does not know that the receiver may have to end: short waits.
    fn buffer(&self, bytes: usize, deadline: Instant) -> Result<BufferMut, StoreError> {
        loop {
            let soon = deadline.min(Instant::now() + STOP_CHECK);
            match self.store.buffer(bytes, soon) {
                Err(StoreError::Busy { .. }) if soon < deadline && !self.stopping.load(Ordering::Acquire) => {}
                outcome => return outcome,
            }
        }
    }

    fn copy_block(&self, task: &CopyTask, block: usize) -> Result<Pixels, CopyError> {
        let range = task.layout.block(block);
        let is_busy = |outcome: &Result<_, StoreError>| matches!(outcome, Err(StoreError::Busy { .. }));
        let mut buffer = self.patience.attempt(|deadline| self.buffer(range.len(), deadline), is_busy)?;
        match &task.source {
            CopySource::Segment(segment) => segment.read_at(range.start as u64, &mut buffer)?,
            CopySource::Parts(parts) => copy_range(parts, range.start, &mut buffer),
        }
        swap_to_little_endian(&mut buffer, task.swap_bytes);
        let admission = self.admission.lock().unwrap_or_else(PoisonError::into_inner).split(buffer.len() as u64);
        Ok(self.store.keep(admission, buffer))
    }
}

/// Fills `into` with what lies at `start` of the parts put behind each other. Their length was checked.
fn copy_range(parts: &[&[u8]], start: usize, mut into: &mut [u8]) {
    let mut skip = start;
    for part in parts {
        let Some(rest) = part.get(skip..) else {
            skip -= part.len();
            continue;
        };
        skip = 0;
        let count = rest.len().min(into.len());
        let (filled, left) = into.split_at_mut(count);
        filled.copy_from_slice(&rest[..count]);
        into = left;
    }
}

/// Reverses the bytes of every element in place.
fn swap_to_little_endian(bytes: &mut [u8], element_bytes: usize) {
    // Constant sizes let the compiler use vector shuffles.
    match element_bytes {
        2 => bytes.as_chunks_mut::<2>().0.iter_mut().for_each(|element| element.reverse()),
        4 => bytes.as_chunks_mut::<4>().0.iter_mut().for_each(|element| element.reverse()),
        8 => bytes.as_chunks_mut::<8>().0.iter_mut().for_each(|element| element.reverse()),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_swapped_by_element() {
        let mut bytes = [1, 2, 3, 4, 5, 6, 7, 8];
        swap_to_little_endian(&mut bytes, 2);
        assert_eq!(bytes, [2, 1, 4, 3, 6, 5, 8, 7]);
        swap_to_little_endian(&mut bytes, 1);
        assert_eq!(bytes, [2, 1, 4, 3, 6, 5, 8, 7]);
        swap_to_little_endian(&mut bytes, 8);
        assert_eq!(bytes, [7, 8, 5, 6, 3, 4, 1, 2]);
    }

    #[test]
    fn ranges_may_lie_over_several_parts() {
        let parts: [&[u8]; 4] = [&[0, 1, 2], &[], &[3], &[4, 5, 6, 7]];
        for start in 0..8 {
            for end in start..=8 {
                let mut found = vec![99; end - start];
                copy_range(&parts, start, &mut found);
                assert_eq!(found, (start as u8..end as u8).collect::<Vec<_>>(), "{start}..{end}");
            }
        }
    }

    #[test]
    fn helpers_are_lent_once() {
        let helpers = Helpers { free: AtomicUsize::new(3) };
        assert_eq!([helpers.take(2), helpers.take(2), helpers.take(2)], [2, 1, 0]);
    }
}
