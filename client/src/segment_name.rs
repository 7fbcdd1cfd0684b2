//! Names of segments that say whose they are, so that those of a process that was killed are found and removed.
//!
//! `wellscope_` + namespace (3) + process id + `_` + start time (4) + serial number, all in base 36. macOS allows 30
//! characters after the slash; this takes at most 30 until a process has made 60 million segments.
//!
//! A process id is known only inside its namespace, and /dev/shm may be shared by several (containers), so the name
//! carries a mark of the namespace, and a sweep touches only its own. The start time tells a dead owner from a new
//! process with the same number.

use std::sync::atomic::{AtomicU64, Ordering};

const PREFIX: &str = "wellscope_";
const NAMESPACE_DIGITS: usize = 3;
const START_DIGITS: usize = 4;

/// A name that this process has not used yet.
pub(crate) fn new_segment_name() -> String {
    static SERIAL: AtomicU64 = AtomicU64::new(0);
    let serial = SERIAL.fetch_add(1, Ordering::Relaxed);
    format!("{}{}", own_prefix(), base36(serial, 1))
}

/// What all names of this process begin with. Read anew each time: after a fork the process is another.
fn own_prefix() -> String {
    let pid = std::process::id();
    let start = start_mark(pid).unwrap_or_else(|| base36(0, START_DIGITS));
    format!("{PREFIX}{}{}_{start}", namespace_mark(), base36(pid.into(), 1))
}

/// `number` in base 36, its last `digits` digits when it has more, filled with zeros when it has fewer; 1 means as many
/// as it has.
fn base36(mut number: u64, digits: usize) -> String {
    let mut text = Vec::new();
    while number > 0 || text.len() < digits {
        if digits > 1 && text.len() == digits {
            break;
        }
        text.push(char::from_digit((number % 36) as u32, 36).unwrap_or('0'));
        number /= 36;
    }
    text.iter().rev().collect()
}

/// Digits of the inode of this process's namespace of process ids; zeros where there is no such thing.
fn namespace_mark() -> String {
    let inode = std::fs::read_link("/proc/self/ns/pid").ok().and_then(|link| {
        let text = link.to_str()?.strip_prefix("pid:[")?.strip_suffix(']')?.to_owned();
        text.parse::<u64>().ok()
    });
    base36(inode.unwrap_or(0), NAMESPACE_DIGITS)
}

/// Digits of a process's start in clock ticks since boot; `None` when it is gone, or on a system without /proc.
fn start_mark(pid: u32) -> Option<String> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The command's name is in parentheses and may hold anything; the fields after it are plain. Start is the 22nd.
    let (_, fields) = stat.rsplit_once(") ")?;
    // What is dead but not waited for has let go of its memory.
    if fields.starts_with(['Z', 'X']) {
        return None;
    }
    Some(base36(fields.split(' ').nth(19)?.parse().ok()?, START_DIGITS))
}

/// Process id of an owner in our namespace, and the mark of its start.
fn owner(name: &str) -> Option<(u32, &str)> {
    let (owner, rest) = name.strip_prefix(PREFIX)?.split_once('_')?;
    let pid = owner.strip_prefix(&namespace_mark())?;
    let is_ours = rest.len() > START_DIGITS && rest.is_ascii() && pid.is_ascii();
    is_ours.then_some(())?;
    Some((u32::from_str_radix(pid, 36).ok()?, &rest[..START_DIGITS]))
}

/// Removes segments of ours whose process is gone; says how many. Linux only: elsewhere segments cannot be listed (macOS)
/// or vanish with their last user (Windows).
#[cfg(target_os = "linux")]
pub(crate) fn sweep_segments_of_dead_owners() -> usize {
    let Ok(entries) = std::fs::read_dir("/dev/shm") else { return 0 };
    let is_left = |name: &str| owner(name).is_some_and(|(pid, start)| start_mark(pid).as_deref() != Some(start));
    let mut removed = 0;
    for entry in entries.flatten() {
        // Others' files cannot be removed (the folder is sticky), nor should they be: their owner may be hidden from us.
        if entry.file_name().to_str().is_some_and(is_left)
            && is_own_file(&entry.path())
            && std::fs::remove_file(entry.path()).is_ok()
        {
            removed += 1;
        }
    }
    removed
}

#[cfg(target_os = "linux")]
fn is_own_file(path: &std::path::Path) -> bool {
    use std::os::unix::fs::MetadataExt;
    std::fs::symlink_metadata(path)
        .is_ok_and(|found| found.is_file() && found.uid() == rustix::process::geteuid().as_raw())
}

#[cfg(not(target_os = "linux"))]
pub(crate) fn sweep_segments_of_dead_owners() -> usize {
    0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_short_and_none_comes_twice() {
        let (first, second) = (new_segment_name(), new_segment_name());
        assert_ne!(first, second);
        assert!(first.len() <= 30, "{first}");
        // The longest that Linux makes: process ids have at most 22 bits.
        let longest = PREFIX.len() + NAMESPACE_DIGITS + base36((1 << 22) - 1, 1).len() + 1 + START_DIGITS;
        assert_eq!(longest + base36(60_000_000, 1).len(), 28);
    }

    #[test]
    fn digits_are_filled_up_or_cut() {
        assert_eq!(base36(35, 1), "z");
        assert_eq!(base36(0, 1), "0");
        assert_eq!(base36(36, 4), "0010");
        assert_eq!(base36(36u64.pow(4) + 5, 4), "0005");
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn segments_of_dead_processes_are_swept_and_all_others_stay() {
        let mut child = std::process::Command::new("true").spawn().unwrap();
        let dead = child.id();
        child.wait().unwrap();
        let name = |pid: u32, namespace: &str, start: &str| {
            format!("{PREFIX}{namespace}{}_{start}sweep{}", base36(pid.into(), 1), std::process::id())
        };
        let (us, here) = (std::process::id(), namespace_mark());
        let start = start_mark(us).unwrap();
        let gone = [name(dead, &here, &start), name(us, &here, "0000")];
        let stay = [
            name(us, &here, &start),
            name(dead, if here == "zzz" { "aaa" } else { "zzz" }, &start),
            format!("wellscope_unlike{us}"),
            format!("napari_sweep{us}"),
        ];
        let path = |name: &String| std::path::Path::new("/dev/shm").join(name);
        gone.iter().chain(&stay).for_each(|name| std::fs::write(path(name), b"pixels").unwrap());
        sweep_segments_of_dead_owners();
        let left: Vec<bool> = gone.iter().chain(&stay).map(|name| path(name).exists()).collect();
        stay.iter().for_each(|name| std::fs::remove_file(path(name)).unwrap());
        assert_eq!(left, [false, false, true, true, true, true]);
    }
}
