//! Budgets hold at every step, and every block can be reached byte by byte.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that unwraps says where it failed")]

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use wellscope_store::{Pixels, Store, StoreConfig, StoreError, StoreUsage};

const PATIENCE: Duration = Duration::from_secs(30);
const MIB: u64 = 1 << 20;

fn open(folder: &Path, memory_limit_bytes: u64, disk_limit_bytes: u64) -> Store {
    Store::open(StoreConfig { memory_limit_bytes, disk_limit_bytes, folder: folder.to_owned() }).unwrap()
}

/// Bytes that tell block and place.
fn fill(bytes: &mut [u8], seed: u64) {
    for (index, byte) in bytes.iter_mut().enumerate() {
        *byte = (seed.wrapping_mul(31) + index as u64 / 7 + index as u64) as u8;
    }
}

fn expected(len: usize, seed: u64) -> Vec<u8> {
    let mut bytes = vec![0; len];
    fill(&mut bytes, seed);
    bytes
}

fn put(store: &Store, len: usize, seed: u64) -> Result<Pixels, StoreError> {
    let admission = store.admit(len as u64)?;
    let mut buffer = store.buffer(len, Instant::now() + PATIENCE)?;
    assert_eq!(buffer.len(), len);
    fill(&mut buffer, seed);
    Ok(store.keep(admission, buffer))
}

fn wait_until(is_so: impl Fn() -> bool) {
    let started = Instant::now();
    while !is_so() {
        assert!(started.elapsed() < PATIENCE, "it never became so");
        std::thread::sleep(Duration::from_millis(2));
    }
}

fn assert_within(usage: &StoreUsage) {
    assert!(usage.memory_bytes <= usage.memory_limit_bytes, "{usage:?}");
    assert!(usage.disk_bytes <= usage.disk_limit_bytes, "{usage:?}");
}

#[test]
fn four_times_the_memory_limit_comes_back_byte_for_byte() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path(), 16 * MIB, 96 * MIB);
    // Small blocks on the heap and large ones in maps, lengths that fill no page.
    let lens: Vec<usize> = (0..64).map(|index| [1_700_001, 900_000, 4_099, 1 << 20][index % 4]).collect();
    let mut kept = Vec::new();
    for round in 0..3_u64 {
        for (index, &len) in lens.iter().enumerate() {
            let seed = round * 1000 + index as u64;
            kept.push((seed, put(&store, len, seed).unwrap()));
            assert_within(&store.usage());
        }
        if round < 2 {
            kept.clear();
        }
    }
    let total: usize = lens.iter().sum();
    assert!(total as u64 > 3 * 16 * MIB, "{total}");
    for (seed, pixels) in kept.iter().rev().chain(&kept) {
        assert_eq!(pixels.read().unwrap()[..], expected(pixels.len(), *seed)[..], "block {seed}");
        assert_within(&store.usage());
    }
    let usage = store.usage();
    assert_eq!(usage.blocks, 64);
    assert!(usage.loads > 64 && usage.spilled_blocks > 20, "{usage:?}");
}

#[test]
fn many_threads_put_read_and_drop_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path(), 8 * MIB, 64 * MIB);
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let writers: Vec<_> = (0..4_u64)
            .map(|writer| {
                let store = &store;
                scope.spawn(move || {
                    let mut kept: Vec<(u64, Pixels)> = Vec::new();
                    for step in 0..150_u64 {
                        let seed = writer * 10_000 + step;
                        let len = [300_000, 1_200_000, 4096, 70_001][(step % 4) as usize];
                        kept.push((seed, put(store, len, seed).unwrap()));
                        let (seed, pixels) = &kept[(seed as usize * 7919) % kept.len()];
                        assert_eq!(pixels.read().unwrap()[..], expected(pixels.len(), *seed)[..], "block {seed}");
                        if kept.len() > 24 {
                            kept.swap_remove((step as usize * 31) % kept.len());
                        }
                    }
                    for (seed, pixels) in kept {
                        assert_eq!(pixels.read().unwrap()[..], expected(pixels.len(), seed)[..], "block {seed}");
                    }
                })
            })
            .collect();
        let watcher = scope.spawn(|| {
            while !done.load(Ordering::Acquire) {
                assert_within(&store.usage());
            }
        });
        let outcomes: Vec<_> = writers.into_iter().map(|writer| writer.join()).collect();
        done.store(true, Ordering::Release);
        watcher.join().unwrap();
        outcomes.into_iter().for_each(|outcome| outcome.unwrap());
    });
    let usage = store.usage();
    assert!(usage.spill_writes > 0 && usage.loads > 0, "{usage:?}");
    assert_eq!((usage.blocks, usage.spilled_blocks), (0, 0));
}

#[test]
fn two_readers_of_one_block_read_it_once() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path(), 8 * MIB, 64 * MIB);
    let kept: Vec<_> = (0..16).map(|seed| put(&store, 1 << 20, seed).unwrap()).collect();
    let spilled = kept.iter().find(|pixels| !pixels.is_in_memory()).unwrap();
    assert!(spilled.in_memory().is_none());
    std::thread::scope(|scope| {
        let readers: Vec<_> = (0..4).map(|_| scope.spawn(|| spilled.read().unwrap())).collect();
        let held: Vec<_> = readers.into_iter().map(|reader| reader.join().unwrap()).collect();
        assert!(held.iter().all(|bytes| bytes.as_ptr() == held[0].as_ptr()));
    });
    assert_eq!(store.usage().loads, 1);
}

#[test]
fn the_last_clone_frees_memory_and_disk() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path(), 8 * MIB, 64 * MIB);
    let kept: Vec<_> = (0..16).map(|seed| put(&store, 1 << 20, seed).unwrap()).collect();
    assert!(kept[0].is_last_reference());
    let clones = kept.clone();
    assert!(!kept[0].is_last_reference());
    assert_eq!(kept[0].identity(), clones[0].identity());
    assert_ne!(kept[0].identity(), kept[1].identity());
    drop(kept);
    assert_eq!(store.usage().blocks, 16);
    assert!(store.usage().disk_bytes > 0);
    drop(clones);
    // A block that is being written ends with its write.
    let deadline = Instant::now() + PATIENCE;
    while store.usage().disk_bytes > 0 || store.usage().memory_bytes > MIB {
        assert!(Instant::now() < deadline, "{:?}", store.usage());
        std::thread::sleep(Duration::from_millis(1));
    }
    assert_eq!((store.usage().blocks, store.usage().spilled_blocks), (0, 0));
}

#[test]
fn bytes_that_are_held_count_as_memory_until_they_are_let_go() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path(), 4 * MIB, 64 * MIB);
    let pixels = put(&store, 3 << 20, 1).unwrap();
    let held = pixels.in_memory().unwrap();
    // Nothing else can be evicted, so the next buffer finds no room; the held bytes are not evicted in vain.
    let busy = store.buffer(2 << 20, Instant::now() + Duration::from_millis(50)).unwrap_err();
    assert!(matches!(busy, StoreError::Busy { memory_bytes, .. } if memory_bytes == 3 * MIB), "{busy}");
    assert!(pixels.is_in_memory());
    drop(pixels);
    assert_eq!((store.usage().blocks, store.usage().memory_bytes), (0, 3 * MIB));
    assert_eq!(held[..], expected(3 << 20, 1)[..]);
    drop(held);
    store.buffer(2 << 20, Instant::now()).unwrap();
}

#[test]
fn who_waits_for_memory_gets_it_when_bytes_are_let_go() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path(), 4 * MIB, 64 * MIB);
    let pixels = put(&store, 3 << 20, 1).unwrap();
    let held = pixels.in_memory().unwrap();
    std::thread::scope(|scope| {
        let waiter = scope.spawn(|| store.buffer(2 << 20, Instant::now() + PATIENCE).map(|buffer| buffer.len()));
        std::thread::sleep(Duration::from_millis(30));
        drop(held);
        assert_eq!(waiter.join().unwrap(), Ok(2 << 20));
    });
    assert!(!pixels.is_in_memory());
    assert_eq!(pixels.read().unwrap()[..], expected(3 << 20, 1)[..]);
}

#[test]
fn full_budgets_refuse_with_a_sentence_and_keep_what_they_hold() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path(), 4 * MIB, 4 * MIB);
    let mut kept = Vec::new();
    let error = loop {
        match put(&store, 1 << 20, kept.len() as u64) {
            Ok(pixels) => kept.push(pixels),
            Err(error) => break error,
        }
    };
    // Room for two of the largest blocks stays for exchange.
    assert_eq!(kept.len(), 6);
    let text = error.to_string();
    assert!(text.contains("1048576 bytes of pixels need room, 0 bytes are left"), "{text}");
    assert!(text.contains("memory limit of 4194304 and a disk limit of 4194304"), "{text}");
    for _ in 0..2 {
        for (seed, pixels) in kept.iter().enumerate() {
            assert_eq!(pixels.read().unwrap()[..], expected(1 << 20, seed as u64)[..]);
        }
    }
    kept.pop();
    put(&store, 1 << 20, 9).unwrap();
}

#[test]
fn promised_room_counts_until_it_is_used_or_dropped() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path(), MIB, 0);
    let mut admission = store.admit(MIB).unwrap();
    assert!(store.admit(1).is_err());
    let part = admission.split(100);
    assert_eq!((part.bytes(), admission.bytes()), (4096, MIB - 4096));
    let mut buffer = store.buffer(100, Instant::now()).unwrap();
    fill(&mut buffer, 1);
    let pixels = store.keep(part, buffer);
    assert!(store.admit(1).is_err());
    drop(admission);
    let rest = store.admit(MIB - 4096).unwrap();
    assert!(store.admit(1).is_err());
    drop(rest);
    drop(pixels);
    drop(store.admit(MIB).unwrap());
}

#[test]
fn one_block_beyond_all_memory_is_refused_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path(), MIB, 64 * MIB);
    let error = store.buffer(2 << 20, Instant::now() + PATIENCE).unwrap_err();
    assert!(matches!(error, StoreError::LargerThanMemory { .. }), "{error}");
    let error = Store::unbounded().buffer(usize::MAX / 2, Instant::now()).unwrap_err();
    assert!(matches!(error, StoreError::NoMemory { .. }), "{error}");
}

#[test]
fn no_file_is_visible_while_blocks_are_on_disk() {
    let folder = tempfile::tempdir().unwrap();
    let spill = folder.path().join("cache/spill");
    let store = open(&spill, 4 * MIB, 64 * MIB);
    assert!(!spill.exists(), "the folder was made before anything spilled");
    let kept: Vec<_> = (0..16).map(|seed| put(&store, 1 << 20, seed).unwrap()).collect();
    assert!(store.usage().spilled_blocks > 0);
    assert!(spill.is_dir());
    if cfg!(unix) {
        assert_eq!(std::fs::read_dir(&spill).unwrap().count(), 0);
    }
    // Blocks outlive their store.
    drop(store);
    for (seed, pixels) in kept.iter().enumerate() {
        assert_eq!(pixels.read().unwrap()[..], expected(1 << 20, seed as u64)[..]);
    }
}

#[test]
fn an_unbounded_store_never_spills() {
    let store = Store::unbounded();
    let kept: Vec<_> = (0..64).map(|seed| put(&store, 1 << 20, seed).unwrap()).collect();
    assert!(kept.iter().all(Pixels::is_in_memory));
    let usage = store.usage();
    assert_eq!((usage.memory_bytes, usage.disk_bytes, usage.spill_writes), (64 * MIB, 0, 0));
    assert_eq!(usage.memory_limit_bytes, u64::MAX);
}

#[test]
fn few_freed_buffers_serve_again() {
    let store = Store::unbounded();
    for seed in 0..4 {
        drop(put(&store, 5 << 20, seed).unwrap());
    }
    let usage = store.usage();
    assert_eq!((usage.buffers_allocated, usage.buffers_reused, usage.memory_bytes), (1, 3, 5 * MIB));
    let kept: Vec<_> = (0..40).map(|seed| put(&store, 5 << 20, seed).unwrap()).collect();
    drop(kept);
    assert!(store.usage().memory_bytes <= 64 * MIB, "{:?}", store.usage());
    drop(put(&store, 1 << 20, 1).unwrap());
    assert_eq!(store.usage().buffers_reused, 4, "a much too large buffer was reused");
}

#[test]
fn empty_and_free_standing_pixels_are_pixels() {
    let store = Store::unbounded();
    let empty = put(&store, 0, 0).unwrap();
    assert!(empty.is_empty() && empty.read().unwrap().is_empty());
    let free: Pixels = Pixels::from_vec(vec![1, 2, 3]);
    assert_eq!((free.len(), free.is_in_memory(), &free.read().unwrap()[..]), (3, true, &[1, 2, 3][..]));
    assert!(free.is_last_reference());
    let sendable: Arc<dyn Send + Sync> = Arc::new(free);
    drop(sendable);
}

/// Overhead beside the pixels themselves; 50,000 planes of a screen's thumbnails must not cost more than their pixels.
#[cfg(target_os = "linux")]
#[test]
fn fifty_thousand_small_blocks_cost_little_beside_their_pixels() {
    let resident = || {
        let statm = std::fs::read_to_string("/proc/self/statm").unwrap();
        statm.split_ascii_whitespace().nth(1).unwrap().parse::<u64>().unwrap() * 4096
    };
    const COUNT: u64 = 50_000;
    let store = Store::unbounded();
    // This process may run other tests beside; they are small against 50,000 x 300 bytes only in sum, so a bound with room.
    let mut kept = Vec::with_capacity(COUNT as usize);
    let before = resident();
    kept.extend((0..COUNT).map(|seed| put(&store, 4096, seed).unwrap()));
    let overhead = resident().saturating_sub(before + COUNT * 4096) / COUNT;
    println!("{overhead} bytes of overhead per block");
    assert!(overhead < 400, "{overhead} bytes of overhead per block");
    assert_eq!(store.usage().memory_bytes, COUNT * 4096);
}

#[test]
fn buffers_are_made_ready_between_batches_and_given_back_when_nobody_asks() {
    const BUFFER: usize = 8 << 20;
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path(), 1024 * MIB, 0);
    store.keep_warm().unwrap();
    let deadline = || Instant::now() + PATIENCE;
    let first = store.buffer(BUFFER, deadline()).unwrap();
    // As many as 64 MiB hold, and one in use.
    wait_until(|| store.usage().ready_bytes == 8 * BUFFER as u64);
    assert_eq!(store.usage().memory_bytes, 9 * BUFFER as u64);
    let before = store.usage();
    let more: Vec<_> = (0..8).map(|_| store.buffer(BUFFER, deadline()).unwrap()).collect();
    assert_eq!(store.usage().buffers_reused - before.buffers_reused, 8, "all of them were ready");
    assert!(more.iter().all(|buffer| buffer.iter().all(|byte| *byte == 0)));
    drop((first, more));
    wait_until(|| store.usage().memory_bytes == 0);
}

#[test]
fn nothing_is_made_ready_beyond_the_limit() {
    const BUFFER: usize = 4 << 20;
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path(), 16 * MIB, 0);
    store.keep_warm().unwrap();
    let held: Vec<_> = (0..3).map(|_| store.buffer(BUFFER, Instant::now() + PATIENCE).unwrap()).collect();
    std::thread::sleep(Duration::from_millis(100));
    assert!(store.usage().memory_bytes <= 16 * MIB, "{:?}", store.usage());
    drop(held);
}
