//! Who we are, in the form in which the other side checks it: process id and start time.

use std::sync::OnceLock;
use std::time::{SystemTime, UNIX_EPOCH};

use wellscope_protocol::control::ProcessIdentity;

/// This process, as it names itself in return routes (zmqruntime 0.6).
///
/// On Linux the start time is psutil's. Elsewhere it is the time of the first call, which psutil would not confirm.
pub fn this_process() -> ProcessIdentity {
    static FIRST_CALL: OnceLock<f64> = OnceLock::new();
    let create_time = running_since(std::process::id()).unwrap_or_else(|| {
        *FIRST_CALL
            .get_or_init(|| SystemTime::now().duration_since(UNIX_EPOCH).map_or(0.0, |since| since.as_secs_f64()))
    });
    ProcessIdentity { pid: std::process::id(), create_time }
}

/// When a process started, as psutil computes it: boot time in whole seconds + its start in clock ticks / ticks per second.
/// `None` when there is none, when it is a zombie, and on systems other than Linux.
pub(crate) fn running_since(pid: u32) -> Option<f64> {
    // USER_HZ, the unit of /proc, is 100 on every Linux architecture that Rust supports.
    const TICKS_PER_SECOND: f64 = 100.0;
    let boot_time = boot_time()?;
    let own = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The command's name is in parentheses and may hold anything; the fields after it are plain. Start time is the 22nd.
    let (_, fields) = own.rsplit_once(") ")?;
    if fields.starts_with(['Z', 'X']) {
        return None;
    }
    let start_ticks: f64 = fields.split(' ').nth(19)?.parse().ok()?;
    Some(start_ticks / TICKS_PER_SECOND + boot_time)
}

/// Now on the clock of [`running_since`], which may be a second off the time of day. `None` on systems other than Linux.
pub(crate) fn boot_clock() -> Option<f64> {
    let uptime: f64 = std::fs::read_to_string("/proc/uptime").ok()?.split(' ').next()?.parse().ok()?;
    Some(boot_time()? + uptime)
}

/// Seconds since the epoch, without a fraction.
fn boot_time() -> Option<f64> {
    let stat = std::fs::read_to_string("/proc/stat").ok()?;
    stat.lines().find_map(|line| line.strip_prefix("btime "))?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_started_in_the_past_and_not_before_the_epoch() {
        let identity = this_process();
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs_f64();
        assert!(identity.create_time > 0.0 && identity.create_time <= now + 1.0, "{identity:?} at {now}");
        assert_eq!(identity, this_process());
    }
}
