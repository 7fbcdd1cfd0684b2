//! Blocks go to the disk, oldest use first, and come back.

use std::collections::BTreeMap;
use std::io;
use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};

use crate::block::{Block, DiskCopy};
use crate::error::StoreError;
use crate::extents::{Extent, FreeList, units_of};
use crate::memory::Bytes;
use crate::spill_file::{SpillFile, checksum, read_block, write_block};
use crate::store::{Shared, locked};

/// How long reading back may wait for memory.
const LOAD_PATIENCE: Duration = Duration::from_secs(10);
/// While somebody waits and nothing could be evicted, because all of it is held, the thread looks again this often.
const HELD_RETRY: Duration = Duration::from_millis(5);
/// How often a failed disk is tried again.
const FAILED_RETRY: Duration = Duration::from_secs(1);

/// The spill file and what is free in it.
pub(crate) struct Disk {
    pub(crate) free: FreeList,
    pub(crate) file: Option<Arc<dyn SpillFile>>,
}

/// Blocks in memory by their last use, as far as known: a use only writes its time into the block, and whoever takes the oldest
/// entry puts it where it belongs when the block was used since.
#[derive(Default)]
pub(crate) struct Order {
    by_use: BTreeMap<u64, Arc<Block>>,
    /// Blocks in memory that have a disk copy too, by identity.
    doubles: BTreeMap<usize, Arc<Block>>,
}

impl Order {
    fn queue(&mut self, block: &Arc<Block>, at: u64) {
        if !block.released.load(Ordering::Acquire) {
            let before = block.queued.swap(at, Ordering::Relaxed);
            self.by_use.remove(&before);
            self.by_use.insert(at, block.clone());
        }
    }

    fn add_double(&mut self, block: &Arc<Block>) {
        if !block.released.load(Ordering::Acquire) {
            self.doubles.insert(block.identity(), block.clone());
        }
    }

    pub(crate) fn forget(&mut self, block: &Arc<Block>) {
        self.by_use.remove(&block.queued.swap(0, Ordering::Relaxed));
        self.doubles.remove(&block.identity());
    }

    /// Takes the block that was used least recently, unless it was used after `before`.
    fn pop_oldest(&mut self, before: u64) -> Option<(u64, Arc<Block>)> {
        loop {
            let (at, block) = self.by_use.pop_first()?;
            let used = block.last_use.load(Ordering::Relaxed);
            if used > at {
                block.queued.store(used, Ordering::Relaxed);
                self.by_use.insert(used, block);
            } else if at > before {
                self.by_use.insert(at, block);
                return None;
            } else {
                block.queued.store(0, Ordering::Relaxed);
                return Some((at, block));
            }
        }
    }

    fn pop_double(&mut self) -> Option<Arc<Block>> {
        self.doubles.pop_first().map(|(_, block)| block)
    }
}

/// What became of a block that was to leave memory.
enum Eviction {
    /// It left. True when it had to be written first.
    Done { wrote: bool },
    /// Somebody holds its bytes, so memory would not become free; it is written now if it was not before.
    Held,
    /// Nobody has a handle of it any more.
    Gone,
    /// The disk budget has no room for it.
    NoDisk,
    /// The disk does not work.
    Failed(String),
}

/// The thread: sleeps until memory is above its target.
pub(crate) fn run(shared: &Arc<Shared>) {
    let mut seen = 0;
    loop {
        let mut ledger = shared.ledger();
        let looked_at = Instant::now();
        loop {
            if ledger.closing {
                return;
            }
            if !ledger.unused.is_empty() || !ledger.discarded.is_empty() {
                drop(ledger);
                shared.free_unused();
                ledger = shared.ledger();
                continue;
            }
            if ledger.kicks != seen && ledger.spill_error.is_none() && shared.is_over_target(&ledger) {
                break;
            }
            let interval = match (&ledger.spill_error, ledger.waiting) {
                (Some(_), _) => FAILED_RETRY,
                (None, 1..) => HELD_RETRY,
                (None, 0) => {
                    ledger = shared.work.wait(ledger).unwrap_or_else(PoisonError::into_inner);
                    continue;
                }
            };
            // Counted from the last look: whoever wakes the thread in between does not put the next one off.
            let Some(left) = interval.checked_sub(looked_at.elapsed()).filter(|left| !left.is_zero()) else { break };
            ledger = shared.work.wait_timeout(ledger, left).unwrap_or_else(PoisonError::into_inner).0;
        }
        seen = ledger.kicks;
        drop(ledger);
        shared.make_room();
    }
}

impl Shared {
    /// Puts a block that is in memory into the order.
    pub(crate) fn queue(&self, block: &Arc<Block>) {
        let used = block.last_use.load(Ordering::Relaxed);
        locked(&self.order).queue(block, used);
    }

    /// Whether memory is above its target although nothing is left that only waits to be freed.
    fn is_short(&self) -> bool {
        self.free_unused();
        let ledger = self.ledger();
        !ledger.closing && self.is_over_target(&ledger)
    }

    /// Evicts until memory is at its target, or nothing more can leave: each block is looked at once.
    fn make_room(&self) {
        if self.is_short() {
            self.free_idle();
        }
        let begin = self.tick();
        // After a failure a block is written even when memory is not short: only that shows that the disk works again.
        let mut probes = self.ledger().spill_error.is_some();
        while probes || self.is_short() {
            let Some((at, block)) = locked(&self.order).pop_oldest(begin) else {
                if probes && locked(&self.order).by_use.is_empty() {
                    // Nothing is left that the disk would have to take.
                    self.set_spill_error(None);
                }
                return;
            };
            match self.evict(&block) {
                Eviction::Done { wrote } => probes &= !wrote,
                Eviction::Gone => {}
                Eviction::Held => {
                    let now = self.tick();
                    locked(&self.order).queue(&block, now);
                }
                Eviction::NoDisk => {
                    locked(&self.order).queue(&block, at);
                    return;
                }
                Eviction::Failed(reason) => {
                    locked(&self.order).queue(&block, at);
                    self.set_spill_error(Some(reason));
                    self.evict_doubles();
                    return;
                }
            }
        }
    }

    fn set_spill_error(&self, error: Option<String>) {
        let mut ledger = self.ledger();
        if ledger.spill_error == error {
            return;
        }
        match &error {
            Some(reason) => tracing::error!("Pixels cannot be moved to the disk; they stay in memory. {reason}"),
            None => tracing::info!("pixels can be moved to the disk again"),
        }
        ledger.spill_error = error;
        drop(ledger);
        self.wake_waiting();
        if let Some(wake) = locked(&self.waker).clone() {
            wake();
        }
    }

    /// While the disk takes nothing: what is already on it can leave memory.
    pub(crate) fn evict_doubles(&self) {
        let doubles: Vec<_> = locked(&self.order).doubles.values().cloned().collect();
        for block in doubles {
            if !self.is_short() {
                return;
            }
            let mut state = locked(&block.state);
            let alone = state.memory.as_ref().is_some_and(|bytes| Arc::strong_count(bytes) == 1);
            if alone && state.disk.is_some() {
                self.leave_memory(&block, &mut state.memory);
                locked(&self.order).forget(&block);
            }
        }
    }

    /// The block has a disk copy and nobody holds its bytes: memory becomes free.
    fn leave_memory(&self, block: &Arc<Block>, memory: &mut Option<Arc<Bytes>>) {
        // A released block is counted out by whoever releases it, according to what is left then.
        self.counts.spilled_blocks.fetch_add(1, Ordering::AcqRel);
        drop(memory.take());
        locked(&self.order).doubles.remove(&block.identity());
    }

    fn evict(&self, block: &Arc<Block>) -> Eviction {
        let mut state = locked(&block.state);
        let Some(bytes) = &state.memory else { return Eviction::Gone };
        if Arc::strong_count(bytes) > 1 {
            return Eviction::Held;
        }
        if state.disk.is_some() {
            self.leave_memory(block, &mut state.memory);
            return Eviction::Done { wrote: false };
        }
        let bytes = bytes.clone();
        drop(state);
        let Some(extents) = self.take_disk(units_of(bytes.len() as u64)) else { return Eviction::NoDisk };
        if let Err(error) = self.write(&extents, &bytes) {
            self.free_disk(&extents);
            let folder = self.config.folder.display();
            return Eviction::Failed(format!("the spill file in {folder} cannot be written: {error}"));
        }
        self.counts.spill_writes.fetch_add(1, Ordering::AcqRel);
        self.counts.spilled_bytes_written.fetch_add(bytes.len() as u64, Ordering::AcqRel);
        self.set_spill_error(None);
        let copy = DiskCopy { extents, checksum: checksum(&bytes) };

        let mut state = locked(&block.state);
        if state.memory.is_none() || block.released.load(Ordering::Acquire) {
            drop(state);
            drop(bytes);
            self.free_disk(&copy.extents);
            return Eviction::Gone;
        }
        state.disk = Some(Box::new(copy));
        drop(bytes);
        if state.memory.as_ref().is_some_and(|bytes| Arc::strong_count(bytes) > 1) {
            locked(&self.order).add_double(block);
            return Eviction::Held;
        }
        self.leave_memory(block, &mut state.memory);
        Eviction::Done { wrote: true }
    }

    /// Ranges for `units`. When the budget is short, blocks that are in memory too give up their disk copies.
    fn take_disk(&self, units: u64) -> Option<Box<[Extent]>> {
        loop {
            if let Some(extents) = locked(&self.disk).free.allocate(units) {
                return Some(extents);
            }
            let double = locked(&self.order).pop_double()?;
            let mut state = locked(&double.state);
            if state.memory.is_some()
                && let Some(copy) = state.disk.take()
            {
                drop(state);
                self.free_disk(&copy.extents);
            }
        }
    }

    pub(crate) fn free_disk(&self, extents: &[Extent]) {
        let mut disk = locked(&self.disk);
        disk.free.release(extents);
        let empty = if disk.free.used_units() == 0 { disk.file.take() } else { None };
        drop(disk);
        if let Some(file) = empty {
            let mut ledger = self.ledger();
            if !ledger.closing {
                ledger.discarded.push(file);
                self.work.notify_one();
            }
        }
    }

    fn file(&self) -> io::Result<Arc<dyn SpillFile>> {
        let mut disk = locked(&self.disk);
        match &disk.file {
            Some(file) => Ok(file.clone()),
            None => Ok(disk.file.insert((self.open_file)(&self.config.folder)?).clone()),
        }
    }

    fn write(&self, extents: &[Extent], bytes: &[u8]) -> io::Result<()> {
        write_block(self.file()?.as_ref(), extents, bytes)
    }

    /// Reads a spilled block back into memory. The caller holds a handle and the block's loading lock, so it stays spilled until
    /// then.
    pub(crate) fn load(self: &Arc<Self>, block: &Arc<Block>) -> Result<Arc<Bytes>, StoreError> {
        let block_bytes = block.len() as u64;
        let failed = |reason: String| StoreError::Read { block_bytes, reason, folder: self.config.folder.clone() };
        let mut buffer = self.buffer(block.len(), Instant::now() + LOAD_PATIENCE)?;
        let (extents, sum) = match &locked(&block.state).disk {
            Some(copy) => (copy.extents.clone(), copy.checksum),
            None => return Err(failed("its place on the disk is unknown".into())),
        };
        self.file()
            .and_then(|file| read_block(file.as_ref(), &extents, &mut buffer))
            .map_err(|error| failed(error.to_string()))?;
        if checksum(&buffer) != sum {
            return Err(StoreError::Damaged { block_bytes, folder: self.config.folder.clone() });
        }
        let bytes = Arc::new(buffer.0);
        locked(&block.state).memory = Some(bytes.clone());
        self.counts.loads.fetch_add(1, Ordering::AcqRel);
        self.counts.bytes_loaded.fetch_add(block_bytes, Ordering::AcqRel);
        self.counts.spilled_blocks.fetch_sub(1, Ordering::AcqRel);
        let now = self.tick();
        block.last_use.store(now, Ordering::Relaxed);
        let mut order = locked(&self.order);
        order.queue(block, now);
        order.add_double(block);
        Ok(bytes)
    }
}

#[cfg(test)]
mod tests;
