//! Linux: segments are files in `/dev/shm`, read with `pread(2)` into our own memory.
//!
//! No mapping: a producer that shortens a mapped segment would kill us with SIGBUS, a read merely ends early.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
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

    fn read_at(&self, offset: u64, into: &mut [u8]) -> Result<(), SegmentError> {
        let mut found = 0;
        while let Some(rest) = into.get_mut(found..).filter(|rest| !rest.is_empty()) {
            match self.file.read_at(rest, offset + found as u64) {
                Ok(0) => {
                    let (needed_bytes, found_bytes) = (offset + into.len() as u64, offset + found as u64);
                    return Err(SegmentError::Shortened { needed_bytes, found_bytes });
                }
                Ok(count) => found += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error.into()),
            }
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
        let stat = std::fs::read_to_string("/proc/self/stat").ok();
        let system = std::fs::read_to_string("/proc/stat").ok();
        let create_time = stat.zip(system).and_then(|(stat, system)| create_time(&stat, &system, ticks_per_second));
        Self { ticks_per_second, create_time, previous: None }
    }

    /// Seconds since the epoch, with the fraction that psutil gives.
    pub(crate) fn create_time(&self) -> Option<f64> {
        self.create_time
    }

    pub(crate) fn usage(&mut self) -> Option<ProcessUsage> {
        let statm = std::fs::read_to_string("/proc/self/statm").ok()?;
        let resident_pages: u64 = statm.split_ascii_whitespace().nth(1)?.parse().ok()?;
        let memory_mb = (resident_pages * rustix::param::page_size() as u64) as f64 / (1024.0 * 1024.0);
        let stat = std::fs::read_to_string("/proc/self/stat").ok()?;
        // utime and stime.
        let ticks = stat_field(&stat, 14)? + stat_field(&stat, 15)?;
        let now = Instant::now();
        let seconds = ticks / self.ticks_per_second;
        let cpu_percent = match self.previous.replace((now, seconds)) {
            Some((then, before)) if now > then => 100.0 * (seconds - before) / (now - then).as_secs_f64(),
            _ => 0.0,
        };
        Some(ProcessUsage { memory_mb, cpu_percent })
    }
}

/// A number in `/proc/PID/stat`, counted from 1 as in proc(5). The second field, the program's name in parentheses, may hold
/// anything, parentheses and spaces too; numbers come after it.
fn stat_field(stat: &str, number: usize) -> Option<f64> {
    let (_, rest) = stat.rsplit_once(')')?;
    rest.split_ascii_whitespace().nth(number.checked_sub(3)?)?.parse().ok()
}

/// Start of a process in seconds since the epoch, from its `/proc/PID/stat` and the system's `/proc/stat`.
fn create_time(stat: &str, system: &str, ticks_per_second: f64) -> Option<f64> {
    let start_ticks = stat_field(stat, 22)?;
    let boot_time: f64 = system.lines().find_map(|line| line.strip_prefix("btime "))?.trim().parse().ok()?;
    // psutil divides first and adds the boot time then; another order gives other last bits.
    Some(start_ticks / ticks_per_second + boot_time)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_start_of_a_process_has_psutils_last_bits() {
        let stat = "4711 (a) b (c)) S 1 4711 4711 0 -1 4194560 1 0 0 0 7 8 0 0 20 0 6 0 2174297 1 2 3";
        let system = "cpu  1 2 3\nintr 5\nbtime 1795349370\nprocesses 9\n";
        // What Python gives for psutil 7's expression with these numbers.
        assert_eq!(create_time(stat, system, 100.0), Some(1795371112.97));
        assert_eq!((stat_field(stat, 14), stat_field(stat, 15)), (Some(7.0), Some(8.0)));
    }

    #[test]
    fn this_process_has_a_start_and_uses_memory() {
        let mut meter = ProcessMeter::new();
        assert!(meter.create_time().is_some());
        assert!(meter.usage().is_some_and(|usage| usage.memory_mb > 0.5 && usage.cpu_percent >= 0.0));
    }
}
