//! What only a disk that fails shows.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that unwraps says where it failed")]

use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicUsize};

use super::*;
use crate::block::Pixels;
use crate::spill_file::open_unnamed;
use crate::store::{Store, StoreConfig, StoreUsage};

const BLOCK: usize = 64 << 10;
const PATIENCE: Duration = Duration::from_secs(30);

/// What happens to the disk, from outside.
#[derive(Default)]
struct Faults {
    full: AtomicBool,
    unreadable: AtomicBool,
    changes: AtomicBool,
    wakes: AtomicUsize,
    opened: AtomicUsize,
    closed: AtomicUsize,
}

struct FaultyFile {
    file: Arc<dyn SpillFile>,
    faults: Arc<Faults>,
}

impl Drop for FaultyFile {
    fn drop(&mut self) {
        self.faults.closed.fetch_add(1, Ordering::AcqRel);
    }
}

impl SpillFile for FaultyFile {
    fn write_all_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        if self.faults.full.load(Ordering::Acquire) {
            // Half of it arrives, as on a disk that becomes full.
            self.file.write_all_at(&bytes[..bytes.len() / 2], offset)?;
            return Err(io::ErrorKind::StorageFull.into());
        }
        self.file.write_all_at(bytes, offset)
    }

    fn read_exact_at(&self, bytes: &mut [u8], offset: u64) -> io::Result<()> {
        if self.faults.unreadable.load(Ordering::Acquire) {
            return Err(io::Error::other("a bad sector"));
        }
        self.file.read_exact_at(bytes, offset)?;
        if self.faults.changes.load(Ordering::Acquire) {
            bytes[17] ^= 1;
        }
        Ok(())
    }
}

/// A store of 16 blocks in memory and 64 on a disk that fails when told.
fn store(folder: &Path) -> (Store, Arc<Faults>) {
    let faults = Arc::new(Faults::default());
    let of_file = faults.clone();
    let config = StoreConfig {
        memory_limit_bytes: 16 * BLOCK as u64,
        disk_limit_bytes: 64 * BLOCK as u64,
        folder: folder.to_owned(),
    };
    let open = move |folder: &Path| -> io::Result<Arc<dyn SpillFile>> {
        of_file.opened.fetch_add(1, Ordering::AcqRel);
        Ok(Arc::new(FaultyFile { file: open_unnamed(folder)?, faults: of_file.clone() }))
    };
    let store = Store::open_with(config, Box::new(open)).unwrap();
    let of_waker = faults.clone();
    store.set_waker(Arc::new(move || {
        of_waker.wakes.fetch_add(1, Ordering::AcqRel);
    }));
    (store, faults)
}

fn put(store: &Store, value: u8) -> Result<Pixels, StoreError> {
    let admission = store.admit(BLOCK as u64)?;
    let mut buffer = store.buffer(BLOCK, Instant::now() + PATIENCE)?;
    buffer.fill(value);
    Ok(store.keep(admission, buffer))
}

fn wait_until(store: &Store, fact: impl Fn(&StoreUsage) -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !fact(&store.usage()) {
        assert!(Instant::now() < deadline, "{:?}", store.usage());
        std::thread::sleep(Duration::from_millis(2));
    }
}

#[test]
fn a_write_that_fails_loses_nothing_and_refuses_what_is_new_until_one_works() {
    let folder = tempfile::tempdir().unwrap();
    let (store, faults) = store(folder.path());
    faults.full.store(true, Ordering::Release);
    let mut kept = Vec::new();
    let refused = loop {
        match put(&store, kept.len() as u8) {
            Ok(pixels) => kept.push(pixels),
            Err(error) => break error,
        }
        assert!(kept.len() <= 16, "more than memory holds");
    };
    wait_until(&store, |usage| usage.spill_error.is_some());
    let error = store.admit(1).unwrap_err();
    assert!(matches!(refused, StoreError::SpillFailed { .. }), "{refused}");
    assert!(matches!(error, StoreError::SpillFailed { .. }), "{error}");
    assert!(error.to_string().contains(&folder.path().display().to_string()), "{error}");
    wait_until(&store, |_| faults.wakes.load(Ordering::Acquire) > 0);
    for (value, pixels) in kept.iter().enumerate() {
        assert!(pixels.read().unwrap().iter().all(|&byte| usize::from(byte) == value), "block {value}");
    }
    let usage = store.usage();
    assert_eq!((usage.spilled_blocks, usage.disk_bytes, usage.blocks), (0, 0, kept.len() as u64));

    faults.full.store(false, Ordering::Release);
    wait_until(&store, |usage| usage.spill_error.is_none());
    kept.extend((kept.len()..40).map(|value| put(&store, value as u8).unwrap()));
    for (value, pixels) in kept.iter().enumerate() {
        assert!(pixels.read().unwrap().iter().all(|&byte| usize::from(byte) == value), "block {value}");
    }
    wait_until(&store, |_| faults.wakes.load(Ordering::Acquire) > 1);
    assert_eq!(
        faults.wakes.load(Ordering::Acquire),
        2,
        "once that it fails, not at each try, once that it works again"
    );
}

#[test]
fn freeing_everything_ends_a_failure_too() {
    let folder = tempfile::tempdir().unwrap();
    let (store, faults) = store(folder.path());
    faults.full.store(true, Ordering::Release);
    let kept: Vec<_> = (0..16).map_while(|value| put(&store, value).ok()).collect();
    wait_until(&store, |usage| usage.spill_error.is_some());
    drop(kept);
    wait_until(&store, |usage| usage.spill_error.is_none());
    put(&store, 1).unwrap();
}

#[test]
fn while_writes_fail_what_is_on_disk_can_still_be_read() {
    let folder = tempfile::tempdir().unwrap();
    let (store, faults) = store(folder.path());
    let kept: Vec<_> = (0..40).map(|value| put(&store, value).unwrap()).collect();
    faults.full.store(true, Ordering::Release);
    // Reading them all twice moves every block through memory; those that are only in memory stay there.
    for _ in 0..2 {
        for (value, pixels) in kept.iter().enumerate() {
            match pixels.read() {
                Ok(bytes) => assert!(bytes.iter().all(|&byte| usize::from(byte) == value), "block {value}"),
                Err(error) => assert!(matches!(error, StoreError::SpillFailed { .. }), "{error}"),
            }
        }
    }
    faults.full.store(false, Ordering::Release);
    wait_until(&store, |usage| usage.spill_error.is_none());
    for (value, pixels) in kept.iter().enumerate() {
        assert!(pixels.read().unwrap().iter().all(|&byte| usize::from(byte) == value), "block {value}");
    }
}

#[test]
fn a_read_that_fails_is_an_error_and_the_next_may_work() {
    let folder = tempfile::tempdir().unwrap();
    let (store, faults) = store(folder.path());
    let kept: Vec<_> = (0..40).map(|value| put(&store, value).unwrap()).collect();
    wait_until(&store, |usage| usage.spilled_blocks > 20);
    let spilled = kept.iter().position(|pixels| !pixels.is_in_memory()).unwrap();
    let memory = store.usage().memory_bytes;

    faults.unreadable.store(true, Ordering::Release);
    let error = kept[spilled].read().unwrap_err();
    assert!(matches!(&error, StoreError::Read { reason, .. } if reason == "a bad sector"), "{error}");
    faults.unreadable.store(false, Ordering::Release);

    faults.changes.store(true, Ordering::Release);
    let error = kept[spilled].read().unwrap_err();
    assert!(matches!(error, StoreError::Damaged { .. }), "{error}");
    faults.changes.store(false, Ordering::Release);

    assert!(store.usage().memory_bytes <= memory, "the failed reads hold no memory");
    assert!(kept[spilled].read().unwrap().iter().all(|&byte| usize::from(byte) == spilled));
}

#[test]
fn a_file_that_cannot_be_made_is_a_failed_write() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("a file, no folder");
    std::fs::write(&file, "").unwrap();
    let config = StoreConfig { memory_limit_bytes: 4 * BLOCK as u64, disk_limit_bytes: 1 << 30, folder: file.clone() };
    let store = Store::open(config).unwrap();
    let kept: Vec<_> = (0..16).map_while(|value| put(&store, value).ok()).collect();
    wait_until(&store, |usage| usage.spill_error.is_some());
    assert!(store.usage().spill_error.unwrap().contains("a file, no folder"));
    for (value, pixels) in kept.iter().enumerate() {
        assert!(pixels.in_memory().unwrap().iter().all(|&byte| usize::from(byte) == value), "block {value}");
    }
}

#[test]
fn a_file_in_which_nothing_is_left_is_given_back_to_the_disk() {
    let folder = tempfile::tempdir().unwrap();
    let (store, faults) = store(folder.path());
    for round in 1..=3 {
        let kept: Vec<_> = (0..40).map(|value| put(&store, value).unwrap()).collect();
        assert!(kept.iter().all(|pixels| pixels.read().is_ok()));
        assert_eq!(faults.opened.load(Ordering::Acquire), round);
        drop(kept);
        wait_until(&store, |usage| usage.disk_bytes == 0 && faults.closed.load(Ordering::Acquire) == round);
    }
}

#[test]
fn the_least_recently_used_leave_first() {
    let folder = tempfile::tempdir().unwrap();
    let (store, _) = store(folder.path());
    let mut kept: Vec<_> = (0..14).map(|value| put(&store, value).unwrap()).collect();
    assert_eq!(store.usage().spilled_blocks, 0);
    // A look is no use, reading is.
    assert!(kept[1].is_in_memory());
    kept[0].in_memory().unwrap();
    kept[2].read().unwrap();
    kept.extend((14..17).map(|value| put(&store, value).unwrap()));
    wait_until(&store, |usage| usage.spilled_blocks >= 3);
    let on_disk: Vec<_> = (0..kept.len()).filter(|&index| !kept[index].is_in_memory()).collect();
    assert_eq!(on_disk, [1, 3, 4]);
}

#[test]
fn a_block_is_written_once_however_often_it_comes_and_goes() {
    let folder = tempfile::tempdir().unwrap();
    let (store, _) = store(folder.path());
    let kept: Vec<_> = (0..40).map(|value| put(&store, value).unwrap()).collect();
    for _ in 0..5 {
        kept.iter().for_each(|pixels| drop(pixels.read().unwrap()));
    }
    let usage = store.usage();
    assert_eq!(usage.spill_writes, 40);
    assert!(usage.loads >= 5 * 24, "{usage:?}");
}

#[test]
fn disk_copies_of_what_is_in_memory_go_first_when_the_disk_is_short() {
    let folder = tempfile::tempdir().unwrap();
    let (store, _) = store(folder.path());
    // Of 16 + 64 blocks, two stay free for exchange.
    let kept: Vec<_> = (0..78).map(|value| put(&store, value).unwrap()).collect();
    let error = store.admit(1).unwrap_err();
    assert!(matches!(error, StoreError::Full { found_bytes: 0, .. }), "{error}");
    for round in 0..3 {
        for index in 0..kept.len() {
            let index = (index * 31 + round) % kept.len();
            assert!(kept[index].read().unwrap().iter().all(|&byte| usize::from(byte) == index), "block {index}");
            let usage = store.usage();
            assert!(usage.memory_bytes <= usage.memory_limit_bytes && usage.disk_bytes <= usage.disk_limit_bytes);
        }
    }
    drop(kept);
    let usage = store.usage();
    assert_eq!((usage.blocks, usage.spilled_blocks, usage.disk_bytes), (0, 0, 0));
}
