//! Linux: segments are files in `/dev/shm`, read with `read(2)` into our own memory.
//!
//! No mapping: a producer that shortens a mapped segment would kill us with SIGBUS, a read merely ends early.

use std::fs::File;
use std::io::{self, Read};
use std::time::Instant;

use rustix::fs::{FileType, Mode, Stat, fstat};
use rustix::io::Errno;
use rustix::shm::{self, OFlags};

pub(crate) use super::unix::{create_private_folder, file_identity, restrict_to_user};
use super::{FileIdentity, ProcessUsage, Segment, SegmentError, SharedMemory, is_plain_segment_name};

/// `/dev/shm`, through `shm_open(3)`.
pub(crate) struct SystemSharedMemory;

struct OpenSegment {
    file: File,
    stat: Stat,
}

fn open_segment(name: &str) -> Result<OpenSegment, SegmentError> {
    if !is_plain_segment_name(name) {
        return Err(SegmentError::BadName);
    }
    let file = match shm::open(format!("/{name}"), OFlags::RDONLY, Mode::empty()) {
        Ok(descriptor) => File::from(descriptor),
        Err(Errno::NOENT) => return Err(SegmentError::Gone),
        Err(other) => return Err(SegmentError::Io(other.into())),
    };
    let stat = fstat(&file).map_err(io::Error::from)?;
    Ok(OpenSegment { file, stat })
}

impl SharedMemory for SystemSharedMemory {
    fn open(&self, name: &str) -> Result<Box<dyn Segment>, SegmentError> {
        // A pipe in /dev/shm would block the open until somebody writes; look before opening.
        if is_plain_segment_name(name)
            && let Ok(metadata) = std::fs::symlink_metadata(format!("/dev/shm/{name}"))
            && !metadata.is_file()
        {
            return Err(SegmentError::NotRegular);
        }
        let segment = open_segment(name)?;
        if FileType::from_raw_mode(segment.stat.st_mode) != FileType::RegularFile {
            return Err(SegmentError::NotRegular);
        }
        Ok(Box::new(segment))
    }

    fn unlink_if_same(&self, name: &str, identity: FileIdentity) -> io::Result<bool> {
        let segment = match open_segment(name) {
            Ok(segment) => segment,
            Err(SegmentError::Io(error)) => return Err(error),
            Err(_) => return Ok(false),
        };
        if segment.identity() != Some(identity) {
            return Ok(false);
        }
        match shm::unlink(format!("/{name}")) {
            Ok(()) => Ok(true),
            Err(Errno::NOENT) => Ok(false),
            Err(other) => Err(other.into()),
        }
    }
}

impl Segment for OpenSegment {
    fn len_bytes(&self) -> u64 {
        u64::try_from(self.stat.st_size).unwrap_or(0)
    }

    fn identity(&self) -> Option<FileIdentity> {
        Some(FileIdentity { device: self.stat.st_dev, inode: self.stat.st_ino })
    }

    fn read_into(&mut self, size_bytes: usize, into: &mut Vec<u8>) -> Result<(), SegmentError> {
        let before = into.len();
        // `read_to_end` writes into the reserved room without zeroing it first.
        (&self.file).take(size_bytes as u64).read_to_end(into)?;
        let found = into.len() - before;
        if found < size_bytes {
            return Err(SegmentError::Shortened { needed_bytes: size_bytes as u64, found_bytes: found as u64 });
        }
        Ok(())
    }
}

/// Identity and use of this process as psutil 5 to 7 compute them on Linux; clients compare `create_time` with `==`.
pub(crate) struct ProcessMeter {
    ticks_per_second: f64,
    create_time: Option<f64>,
    previous: Option<(Instant, f64)>,
}

impl ProcessMeter {
    pub(crate) fn new() -> Self {
        let ticks_per_second = rustix::param::clock_ticks_per_second() as f64;
        Self { ticks_per_second, create_time: create_time(ticks_per_second), previous: None }
    }

    /// Seconds since the epoch, with the fraction that psutil gives.
    pub(crate) fn create_time(&self) -> Option<f64> {
        self.create_time
    }

    pub(crate) fn usage(&mut self) -> Option<ProcessUsage> {
        let statm = std::fs::read_to_string("/proc/self/statm").ok()?;
        let resident_pages: u64 = statm.split_ascii_whitespace().nth(1)?.parse().ok()?;
        let memory_mb = (resident_pages * rustix::param::page_size() as u64) as f64 / (1024.0 * 1024.0);
        // utime and stime are fields 14 and 15; the list starts at field 3.
        let fields = stat_fields()?;
        let ticks = fields.get(11)?.parse::<u64>().ok()? + fields.get(12)?.parse::<u64>().ok()?;
        let now = Instant::now();
        let seconds = ticks as f64 / self.ticks_per_second;
        let cpu_percent = match self.previous.replace((now, seconds)) {
            Some((then, before)) if now > then => 100.0 * (seconds - before) / (now - then).as_secs_f64(),
            _ => 0.0,
        };
        Some(ProcessUsage { memory_mb, cpu_percent })
    }
}

/// Fields of `/proc/self/stat` from the third on: the second, the program's name in parentheses, may hold anything.
fn stat_fields() -> Option<Vec<String>> {
    let stat = std::fs::read_to_string("/proc/self/stat").ok()?;
    let (_, rest) = stat.rsplit_once(')')?;
    Some(rest.split_ascii_whitespace().map(str::to_owned).collect())
}

fn create_time(ticks_per_second: f64) -> Option<f64> {
    let start_ticks: f64 = stat_fields()?.get(19)?.parse().ok()?;
    let system = std::fs::read_to_string("/proc/stat").ok()?;
    let boot_time: f64 = system.lines().find_map(|line| line.strip_prefix("btime "))?.trim().parse().ok()?;
    // psutil divides first and adds the boot time then; another order gives other last bits.
    Some(start_ticks / ticks_per_second + boot_time)
}
