//! The store: limits, what is counted against them, and who waits for room.

use std::fmt;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use crate::block::{Block, Pixels};
use crate::error::StoreError;
use crate::extents::{FreeList, UNIT_BYTES, units_of};
use crate::memory::{BufferMut, Bytes, Memory};
use crate::spill::{self, Disk, Order};
use crate::spill_file::{OpenFile, SpillFile, open_unnamed};
use crate::warm::Demand;

/// Limits and place of a [`Store`].
#[derive(Clone, Debug)]
pub struct StoreConfig {
    /// Bytes of pixels in memory, at most.
    pub memory_limit_bytes: u64,
    /// Bytes of the spill file, at most. 0: nothing spills.
    pub disk_limit_bytes: u64,
    /// Folder of the spill file; made (mode 0700) when the first block spills.
    pub folder: PathBuf,
}

/// Pixels of one process within two budgets. Clones are the same store; blocks outlive it.
#[derive(Clone)]
pub struct Store(Arc<Handle>);

/// The end of the last one ends the spill thread.
struct Handle {
    shared: Arc<Shared>,
}

/// What a store holds at one moment.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct StoreUsage {
    /// Pixels in memory: blocks, buffers being filled, bytes that somebody still holds, and buffers kept for reuse. Large
    /// memory that was let go counts until the spill thread has given it back to the system, a moment later.
    pub memory_bytes: u64,
    /// Of them, buffers that are ready for the next pixels.
    pub ready_bytes: u64,
    /// The limit; `u64::MAX`: none.
    pub memory_limit_bytes: u64,
    /// Bytes of the spill file in use, in units of 4 KiB.
    pub disk_bytes: u64,
    /// The limit.
    pub disk_limit_bytes: u64,
    /// Blocks that somebody has a handle of.
    pub blocks: u64,
    /// Of them, those that are only on disk.
    pub spilled_blocks: u64,
    /// Blocks written so far.
    pub spill_writes: u64,
    /// Bytes written so far.
    pub spilled_bytes_written: u64,
    /// Blocks read back so far.
    pub loads: u64,
    /// Bytes read back so far.
    pub bytes_loaded: u64,
    /// Buffers made so far from fresh memory.
    pub buffers_allocated: u64,
    /// Buffers made so far from memory that was used before.
    pub buffers_reused: u64,
    /// Why nothing can be written to the disk at present.
    pub spill_error: Option<String>,
}

/// Called when something is to be shown. Must be cheap and must not block.
pub(crate) type Waker = Arc<dyn Fn() + Send + Sync>;

/// What all parts share.
pub(crate) struct Shared {
    pub(crate) config: StoreConfig,
    has_thread: bool,
    /// Above it the spill thread makes room.
    target_bytes: u64,
    max_idle_bytes: u64,
    ledger: Mutex<Ledger>,
    /// Signalled when memory became free while somebody waits.
    room: Condvar,
    /// Signalled when the spill thread has something to do.
    pub(crate) work: Condvar,
    /// Signalled when a large buffer was asked for.
    pub(crate) warming: Condvar,
    pub(crate) order: Mutex<Order>,
    pub(crate) disk: Mutex<Disk>,
    pub(crate) open_file: OpenFile,
    pub(crate) waker: Mutex<Option<Waker>>,
    pub(crate) counts: Counts,
    clock: AtomicU64,
}

#[derive(Default)]
pub(crate) struct Counts {
    pub(crate) blocks: AtomicU64,
    pub(crate) spilled_blocks: AtomicU64,
    pub(crate) spill_writes: AtomicU64,
    pub(crate) spilled_bytes_written: AtomicU64,
    pub(crate) loads: AtomicU64,
    pub(crate) bytes_loaded: AtomicU64,
    buffers_allocated: AtomicU64,
    buffers_reused: AtomicU64,
}

/// What is counted. Locked after the state of a block, never before it.
#[derive(Default)]
pub(crate) struct Ledger {
    /// All memory, idle buffers included.
    memory_bytes: u64,
    idle: Vec<Memory>,
    idle_bytes: u64,
    /// Footprints of all blocks.
    live_bytes: u64,
    /// Footprints that were promised.
    admitted_bytes: u64,
    /// Footprint of the largest block so far.
    largest_bytes: u64,
    /// How many wait for room, and for how much.
    pub(crate) waiting: usize,
    wanted_bytes: u64,
    /// Counts reasons for the spill thread to look.
    pub(crate) kicks: u64,
    pub(crate) spill_error: Option<String>,
    /// Large memory that nobody uses, still counted, and spill files in which nothing is left: freeing gigabytes takes long, and
    /// who drops the last handle may be the thread of the window, so the spill thread does it.
    pub(crate) unused: Vec<Memory>,
    pub(crate) discarded: Vec<Arc<dyn SpillFile>>,
    pub(crate) closing: bool,
    /// What was asked for last, for whoever keeps buffers ready.
    pub(crate) demand: Option<Demand>,
}

impl Ledger {
    /// Counts memory that is about to be made.
    pub(crate) fn count(&mut self, bytes: u64) {
        self.memory_bytes += bytes;
    }
}

/// Small enough to be no loss, large enough for a batch or two of the next images.
const MAX_IDLE_BYTES: u64 = 64 << 20;
/// Memory that is kept free for the next buffers: an eighth of the limit, at most this.
const MAX_HEADROOM_BYTES: u64 = 256 << 20;

/// A lock whose holder may have panicked: every critical section here leaves its data whole.
pub(crate) fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Store {
    /// Starts a store and its thread `wellscope-spill`. The spill file is made when it is first needed.
    ///
    /// # Errors
    /// [`NoThread`](StoreError::NoThread) when the system gives no thread.
    pub fn open(config: StoreConfig) -> Result<Self, StoreError> {
        Self::open_with(config, Box::new(open_unnamed))
    }

    pub(crate) fn shared(&self) -> &Arc<Shared> {
        &self.0.shared
    }

    pub(crate) fn open_with(config: StoreConfig, open_file: OpenFile) -> Result<Self, StoreError> {
        let shared = Shared::new(config, open_file, true);
        let of_thread = shared.clone();
        std::thread::Builder::new()
            .name("wellscope-spill".into())
            .spawn(move || spill::run(&of_thread))
            .map_err(|error| StoreError::NoThread { reason: error.to_string() })?;
        Ok(Self(Arc::new(Handle { shared })))
    }

    /// A store without limits, which never spills; for tests and tools.
    pub fn unbounded() -> Self {
        let config = StoreConfig { memory_limit_bytes: u64::MAX, disk_limit_bytes: 0, folder: PathBuf::new() };
        Self(Arc::new(Handle { shared: Shared::new(config, Box::new(open_unnamed), false) }))
    }

    /// What a block of `bytes` counts for in the budgets: rounded up to the 4 KiB units of the spill file.
    pub fn footprint(bytes: u64) -> u64 {
        units_of(bytes).saturating_mul(UNIT_BYTES)
    }

    /// Promises room for blocks whose footprints add up to `bytes` (rounded up to 4 KiB), for all of them or none. Held until the
    /// admission is turned into [`Pixels`] or dropped.
    ///
    /// A block is in memory or on disk as a whole, so room for two of the largest blocks stays free where there is a disk:
    /// otherwise the last blocks could fit into neither rest, or not be exchanged when one is read back.
    ///
    /// # Errors
    /// [`Full`](StoreError::Full), or [`SpillFailed`](StoreError::SpillFailed) while the disk fails.
    pub fn admit(&self, bytes: u64) -> Result<Admission, StoreError> {
        let shared = &self.0.shared;
        let config = &shared.config;
        let needed = Self::footprint(bytes);
        let mut ledger = locked(&shared.ledger);
        if let Some(reason) = &ledger.spill_error {
            return Err(StoreError::SpillFailed { reason: reason.clone() });
        }
        let room = config
            .memory_limit_bytes
            .saturating_add(config.disk_limit_bytes)
            .saturating_sub(config.disk_limit_bytes.min(ledger.largest_bytes.saturating_mul(2)));
        let left = room.saturating_sub(ledger.live_bytes).saturating_sub(ledger.admitted_bytes);
        if needed > left {
            return Err(StoreError::Full {
                needed_bytes: needed,
                found_bytes: left,
                memory_limit_bytes: config.memory_limit_bytes,
                disk_limit_bytes: config.disk_limit_bytes,
            });
        }
        ledger.admitted_bytes += needed;
        drop(ledger);
        Ok(Admission { bytes: needed, shared: shared.clone() })
    }

    /// Memory to fill. While memory is at its limit this waits until the spill thread has made room.
    ///
    /// # Errors
    /// [`Busy`](StoreError::Busy) after `deadline`, [`SpillFailed`](StoreError::SpillFailed) when no room can be made because the
    /// disk fails, [`LargerThanMemory`](StoreError::LargerThanMemory), [`NoMemory`](StoreError::NoMemory).
    pub fn buffer(&self, bytes: usize, deadline: Instant) -> Result<BufferMut, StoreError> {
        self.0.shared.buffer(bytes, deadline)
    }

    /// Turns filled memory into pixels. What `admission` holds beyond their footprint is given back.
    pub fn keep(&self, admission: Admission, filled: BufferMut) -> Pixels {
        let shared = &self.0.shared;
        let footprint = Self::footprint(filled.len() as u64);
        let mut ledger = locked(&shared.ledger);
        ledger.live_bytes += footprint;
        ledger.largest_bytes = ledger.largest_bytes.max(footprint);
        drop(ledger);
        // Counted twice for a moment rather than not at all.
        drop(admission);
        shared.counts.blocks.fetch_add(1, Ordering::AcqRel);
        let pixels = Pixels::kept(filled.0, shared.clone());
        shared.queue(pixels.block());
        pixels
    }

    /// What the store holds now. Each number is exact, not all are of the same instant.
    pub fn usage(&self) -> StoreUsage {
        let shared = &self.0.shared;
        let count = |counter: &AtomicU64| counter.load(Ordering::Acquire);
        let counts = &shared.counts;
        let disk_bytes = locked(&shared.disk).free.used_units() * UNIT_BYTES;
        let ledger = locked(&shared.ledger);
        StoreUsage {
            memory_bytes: ledger.memory_bytes,
            ready_bytes: ledger.idle_bytes,
            memory_limit_bytes: shared.config.memory_limit_bytes,
            disk_bytes,
            disk_limit_bytes: shared.config.disk_limit_bytes,
            blocks: count(&counts.blocks),
            spilled_blocks: count(&counts.spilled_blocks),
            spill_writes: count(&counts.spill_writes),
            spilled_bytes_written: count(&counts.spilled_bytes_written),
            loads: count(&counts.loads),
            bytes_loaded: count(&counts.bytes_loaded),
            buffers_allocated: count(&counts.buffers_allocated),
            buffers_reused: count(&counts.buffers_reused),
            spill_error: ledger.spill_error.clone(),
        }
    }

    /// Sets what is called after `spill_error` changed, from the spill thread. Must be cheap and must not block.
    pub fn set_waker(&self, wake: Arc<dyn Fn() + Send + Sync>) {
        *locked(&self.0.shared.waker) = Some(wake);
    }
}

impl fmt::Debug for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.usage().fmt(f)
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        let mut ledger = locked(&self.shared.ledger);
        ledger.closing = true;
        let idle = std::mem::take(&mut ledger.idle);
        ledger.idle_bytes = 0;
        ledger.unused.extend(idle);
        drop(ledger);
        self.shared.free_unused();
        self.shared.work.notify_all();
        self.shared.warming.notify_all();
        self.shared.room.notify_all();
    }
}

/// Room that was promised. Dropped, it is free again.
#[must_use = "the room is given back when this is dropped"]
pub struct Admission {
    bytes: u64,
    shared: Arc<Shared>,
}

impl Admission {
    /// Takes the footprint of a block of `bytes` out of this one, or what is left when that is less.
    pub fn split(&mut self, bytes: u64) -> Self {
        let taken = Store::footprint(bytes).min(self.bytes);
        self.bytes -= taken;
        Self { bytes: taken, shared: self.shared.clone() }
    }

    /// Bytes that it holds.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }
}

impl Drop for Admission {
    fn drop(&mut self) {
        locked(&self.shared.ledger).admitted_bytes -= self.bytes;
    }
}

impl fmt::Debug for Admission {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Admission({} bytes)", self.bytes)
    }
}

impl Shared {
    fn new(config: StoreConfig, open_file: OpenFile, has_thread: bool) -> Arc<Self> {
        let memory_limit = config.memory_limit_bytes;
        Arc::new(Self {
            target_bytes: memory_limit - (memory_limit / 8).min(MAX_HEADROOM_BYTES),
            max_idle_bytes: (memory_limit / 8).min(MAX_IDLE_BYTES),
            ledger: Mutex::default(),
            room: Condvar::new(),
            work: Condvar::new(),
            warming: Condvar::new(),
            order: Mutex::default(),
            disk: Mutex::new(Disk { free: FreeList::new(config.disk_limit_bytes / UNIT_BYTES), file: None }),
            open_file,
            waker: Mutex::default(),
            counts: Counts::default(),
            clock: AtomicU64::new(1),
            has_thread,
            config,
        })
    }

    pub(crate) fn ledger(&self) -> MutexGuard<'_, Ledger> {
        locked(&self.ledger)
    }

    /// The next moment of the clock that orders uses. Never 0.
    pub(crate) fn tick(&self) -> u64 {
        self.clock.fetch_add(1, Ordering::Relaxed)
    }

    pub(crate) fn buffer(self: &Arc<Self>, bytes: usize, deadline: Instant) -> Result<BufferMut, StoreError> {
        let memory = match self.take_idle(bytes) {
            Some(memory) => {
                self.counts.buffers_reused.fetch_add(1, Ordering::AcqRel);
                memory
            }
            None => {
                let cost = Memory::cost(bytes);
                self.reserve(cost, deadline)?;
                let Some(memory) = Memory::allocate(bytes) else {
                    self.uncount(cost);
                    return Err(StoreError::NoMemory { needed_bytes: bytes as u64 });
                };
                self.counts.buffers_allocated.fetch_add(1, Ordering::AcqRel);
                memory
            }
        };
        if memory.is_large() {
            self.ledger().note_demand(bytes);
            self.warming.notify_one();
        }
        Ok(BufferMut(Bytes::new(memory, bytes, self.clone())))
    }

    /// Whether one more buffer may be made ahead of need.
    pub(crate) fn has_room_to_prepare(&self, ledger: &Ledger, bytes: u64) -> bool {
        ledger.idle_bytes + bytes <= self.max_idle_bytes
            && ledger.memory_bytes.saturating_add(ledger.wanted_bytes).saturating_add(bytes) <= self.target_bytes
    }

    /// Takes memory that was made ahead of need, counted already: its pages are touched here, so that nobody waits for that.
    pub(crate) fn add_ready(&self, memory: Option<Memory>, bytes: usize) {
        let Some(mut memory) = memory else { return self.uncount(Memory::cost(bytes)) };
        memory.touch();
        self.give_back(memory);
    }

    fn take_idle(&self, bytes: usize) -> Option<Memory> {
        let mut ledger = self.ledger();
        let index = ledger.idle.iter().rposition(|memory| memory.serves(bytes))?;
        let memory = ledger.idle.remove(index);
        ledger.idle_bytes -= memory.size();
        Some(memory)
    }

    /// Counts `bytes` of memory as soon as there is room for them.
    fn reserve(&self, bytes: u64, deadline: Instant) -> Result<(), StoreError> {
        let limit = self.config.memory_limit_bytes;
        if bytes > limit {
            return Err(StoreError::LargerThanMemory { needed_bytes: bytes, memory_limit_bytes: limit });
        }
        let mut ledger = self.ledger();
        let (mut waits, mut tried_doubles) = (false, false);
        let outcome = loop {
            if ledger.closing || ledger.memory_bytes <= limit - bytes {
                ledger.memory_bytes += bytes;
                break Ok(());
            }
            if let Some(idle) = ledger.unused.pop().or_else(|| ledger.take_oldest_idle()) {
                // Given back before it stops to count, and not while others wait for the ledger.
                let size = idle.size();
                drop(ledger);
                drop(idle);
                ledger = self.ledger();
                ledger.memory_bytes -= size;
                continue;
            }
            if let Some(reason) = ledger.spill_error.clone() {
                if !tried_doubles {
                    tried_doubles = true;
                    drop(ledger);
                    self.evict_doubles();
                    ledger = self.ledger();
                    continue;
                }
                break Err(StoreError::SpillFailed { reason });
            }
            let now = Instant::now();
            if now >= deadline {
                break Err(StoreError::Busy {
                    needed_bytes: bytes,
                    memory_bytes: ledger.memory_bytes,
                    memory_limit_bytes: limit,
                });
            }
            if !waits {
                waits = true;
                ledger.waiting += 1;
                ledger.wanted_bytes += bytes;
            }
            ledger.kicks += 1;
            self.work.notify_one();
            ledger = self.room.wait_timeout(ledger, deadline - now).unwrap_or_else(PoisonError::into_inner).0;
        };
        if waits {
            ledger.waiting -= 1;
            ledger.wanted_bytes -= bytes;
        }
        if self.is_over_target(&ledger) {
            ledger.kicks += 1;
            self.work.notify_one();
        }
        outcome
    }

    /// True when the spill thread should make room.
    pub(crate) fn is_over_target(&self, ledger: &Ledger) -> bool {
        ledger.memory_bytes.saturating_add(ledger.wanted_bytes) > self.target_bytes
    }

    /// Takes memory that nobody uses any more: kept for the next buffer, or freed.
    pub(crate) fn give_back(&self, memory: Memory) {
        let size = memory.size();
        let mut ledger = self.ledger();
        let keeps = memory.is_large()
            && !ledger.closing
            && !self.is_over_target(&ledger)
            && ledger.idle_bytes + size <= self.max_idle_bytes;
        if keeps {
            ledger.idle_bytes += size;
            ledger.idle.push(memory);
            return;
        }
        if self.has_thread && memory.is_large() && !ledger.closing {
            ledger.unused.push(memory);
            self.work.notify_one();
            return;
        }
        drop(ledger);
        drop(memory);
        self.uncount(size);
    }

    /// Frees what waits for it.
    pub(crate) fn free_unused(&self) {
        let mut ledger = self.ledger();
        let discarded = std::mem::take(&mut ledger.discarded);
        let unused = std::mem::take(&mut ledger.unused);
        drop(ledger);
        drop(discarded);
        for memory in unused {
            let size = memory.size();
            drop(memory);
            self.uncount(size);
        }
    }

    /// Frees buffers that wait for reuse.
    pub(crate) fn free_idle(&self) {
        loop {
            let Some(idle) = self.ledger().take_oldest_idle() else { return };
            let size = idle.size();
            drop(idle);
            self.uncount(size);
        }
    }

    fn uncount(&self, bytes: u64) {
        let mut ledger = self.ledger();
        ledger.memory_bytes -= bytes;
        if ledger.waiting > 0 {
            self.room.notify_all();
        }
    }

    /// Wakes those who wait for memory, to be told why there is none.
    pub(crate) fn wake_waiting(&self) {
        self.room.notify_all();
    }

    /// Forgets a block that nobody has a handle of any more: its memory, its disk, its places in the lists.
    pub(crate) fn release(&self, block: &Arc<Block>) {
        block.released.store(true, Ordering::Release);
        locked(&self.order).forget(block);
        let mut state = locked(&block.state);
        let (memory, disk) = (state.memory.take(), state.disk.take());
        drop(state);
        if memory.is_none() && disk.is_some() {
            self.counts.spilled_blocks.fetch_sub(1, Ordering::AcqRel);
        }
        drop(memory);
        if let Some(disk) = disk {
            self.free_disk(&disk.extents);
        }
        self.counts.blocks.fetch_sub(1, Ordering::AcqRel);
        self.ledger().live_bytes -= Store::footprint(block.len() as u64);
    }
}

impl Ledger {
    fn take_oldest_idle(&mut self) -> Option<Memory> {
        (!self.idle.is_empty()).then(|| {
            let memory = self.idle.remove(0);
            self.idle_bytes -= memory.size();
            memory
        })
    }
}
