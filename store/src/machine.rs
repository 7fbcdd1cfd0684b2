//! What the machine has, and the limits that follow when nobody sets any.

use std::path::{Path, PathBuf};

/// Taken for a machine whose memory we cannot ask for without unsafe code (all but Linux): small enough to be true of any that
/// draws images.
const UNKNOWN_MEMORY_BYTES: u64 = 8 << 30;
/// Most of a disk that is taken unasked.
const MAX_DEFAULT_DISK_BYTES: u64 = 256 << 30;
/// Where free space cannot be asked for.
const UNKNOWN_DISK_BYTES: u64 = 32 << 30;

/// Memory that this process may use, in bytes: what the machine has, or the limit of its control group (containers, batch
/// systems) when that is less. Linux; elsewhere 8 GiB is assumed.
pub fn machine_memory_bytes() -> u64 {
    let machine = std::fs::read_to_string("/proc/meminfo").ok().and_then(|text| total_memory(&text));
    let groups = std::fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    let group = group_limit(Path::new("/sys/fs/cgroup"), &groups);
    machine.unwrap_or(UNKNOWN_MEMORY_BYTES).min(group.unwrap_or(u64::MAX))
}

/// Memory for pixels when nobody sets a limit: half of [`machine_memory_bytes`].
pub fn default_memory_limit() -> u64 {
    machine_memory_bytes() / 2
}

/// Disk for pixels when nobody sets a limit: half of what is free where `folder` is or will be, at most 256 GiB. Unix; elsewhere
/// 32 GiB is assumed.
pub fn default_disk_limit(folder: &Path) -> u64 {
    let existing = folder.ancestors().find(|ancestor| ancestor.is_dir());
    let free = existing.and_then(free_disk_bytes).unwrap_or(UNKNOWN_DISK_BYTES * 2);
    (free / 2).min(MAX_DEFAULT_DISK_BYTES)
}

/// `$XDG_CACHE_HOME/wellscope/spill`, else `~/.cache/wellscope/spill` (Windows: `%LOCALAPPDATA%\wellscope\spill`); without a home,
/// a folder of that name where temporary files go.
pub fn default_spill_folder() -> PathBuf {
    let variable = |name: &str| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let cache = if cfg!(windows) {
        variable("LOCALAPPDATA")
    } else {
        variable("XDG_CACHE_HOME").or_else(|| variable("HOME").map(|home| home.join(".cache")))
    };
    cache.unwrap_or_else(std::env::temp_dir).join("wellscope").join("spill")
}

#[cfg(unix)]
fn free_disk_bytes(folder: &Path) -> Option<u64> {
    let found = rustix::fs::statvfs(folder).ok()?;
    // For users: what is kept for root is not ours.
    Some(found.f_bavail.saturating_mul(found.f_frsize))
}

#[cfg(not(unix))]
fn free_disk_bytes(_folder: &Path) -> Option<u64> {
    None
}

/// `MemTotal` of `/proc/meminfo`, in bytes.
fn total_memory(meminfo: &str) -> Option<u64> {
    let line = meminfo.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    kib.checked_mul(1024)
}

/// The smallest limit of the groups that `/proc/self/cgroup` names and of those above them, of either version of control groups.
/// Inside a container the named path may not be visible; its mount shows the container's own group at the top.
fn group_limit(root: &Path, groups: &str) -> Option<u64> {
    let limit = |file: PathBuf| std::fs::read_to_string(file).ok()?.trim().parse::<u64>().ok();
    let of_line = |line: &str| {
        let mut parts = line.splitn(3, ':').skip(1);
        let (controllers, path) = (parts.next()?, parts.next()?);
        let (root, file) = match controllers {
            "" => (root.to_owned(), "memory.max"),
            _ if controllers.split(',').any(|name| name == "memory") => (root.join("memory"), "memory.limit_in_bytes"),
            _ => return None,
        };
        // Relative, so that `..` of a namespace cannot lead elsewhere.
        let path = Path::new(path.trim_start_matches('/'));
        path.ancestors().filter_map(|ancestor| limit(root.join(ancestor).join(file))).min()
    };
    groups.lines().filter_map(of_line).min()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn total_memory_is_read_in_kibibytes() {
        assert_eq!(total_memory("MemTotal:       24551234 kB\nMemFree: 1 kB\n"), Some(24_551_234 * 1024));
        assert_eq!(total_memory("MemFree: 1 kB\n"), None);
    }

    #[test]
    fn the_smallest_group_limit_counts() {
        let root = tempfile::tempdir().unwrap();
        let write = |path: &str, text: &str| {
            let path = root.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        };
        write("user/app/memory.max", "max\n");
        write("user/memory.max", "1000\n");
        write("memory/job/memory.limit_in_bytes", "2000\n");
        write("memory/memory.limit_in_bytes", "9223372036854771712\n");
        let limit = |groups| group_limit(root.path(), groups);
        assert_eq!(limit("0::/user/app\n"), Some(1000));
        assert_eq!(limit("4:cpu,memory:/job\n0::/\n"), Some(2000));
        assert_eq!(limit("4:memory:/not/visible\n"), Some(9_223_372_036_854_771_712));
        assert_eq!(limit("1:cpu:/job\n0::/\n"), None);
        assert_eq!(limit(""), None);
    }

    #[test]
    fn defaults_are_of_this_machine() {
        assert!(machine_memory_bytes() > 64 << 20);
        assert_eq!(default_memory_limit(), machine_memory_bytes() / 2);
        let missing = std::env::temp_dir().join("wellscope/not/made");
        assert!((1..=MAX_DEFAULT_DISK_BYTES).contains(&default_disk_limit(&missing)));
        assert!(!missing.exists());
        assert!(default_spill_folder().ends_with("wellscope/spill"));
    }
}
