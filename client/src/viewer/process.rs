//! Processes by identity: is it still the one that answered our ping, and ending exactly that one.

use std::io;

use wellscope_protocol::control::ProcessIdentity;

/// How to end a process.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Ending {
    /// SIGTERM: it may tidy up.
    Ask,
    /// SIGKILL.
    Kill,
}

/// Now, on the clock on which processes tell when they were created.
pub(super) fn now() -> f64 {
    crate::process::boot_clock().unwrap_or_else(|| {
        let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
        since.map_or(0.0, |since| since.as_secs_f64())
    })
}

/// Whether that very process runs; a zombie does not. `None` where the system does not tell us (macOS, Windows).
#[cfg(target_os = "linux")]
pub(super) fn is_running(process: ProcessIdentity) -> Option<bool> {
    // Boot time, which both sides add, is known to whole seconds and may be corrected by the network's clock.
    const TOLERANCE_SECS: f64 = 1.5;
    let found = crate::process::running_since(process.pid);
    Some(found.is_some_and(|create_time| (create_time - process.create_time).abs() < TOLERANCE_SECS))
}

/// See above.
#[cfg(not(target_os = "linux"))]
pub(super) fn is_running(_process: ProcessIdentity) -> Option<bool> {
    None
}

/// Signals that very process, and never another one that got its number since: the process is held by a descriptor
/// while its identity is checked.
///
/// # Errors
/// When it is gone, another one has its number, or it is not ours.
#[cfg(target_os = "linux")]
pub(super) fn end(process: ProcessIdentity, ending: Ending) -> io::Result<()> {
    use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
    let gone = || io::Error::new(io::ErrorKind::NotFound, "no such process any more");
    let pid = i32::try_from(process.pid).ok().and_then(Pid::from_raw).ok_or_else(gone)?;
    let descriptor = pidfd_open(pid, PidfdFlags::empty())?;
    if is_running(process) != Some(true) {
        return Err(gone());
    }
    let signal = match ending {
        Ending::Ask => Signal::TERM,
        Ending::Kill => Signal::KILL,
    };
    Ok(pidfd_send_signal(descriptor, signal)?)
}

/// Only on Linux can a process be held while we look who it is; elsewhere only our own children are ended.
#[cfg(not(target_os = "linux"))]
pub(super) fn end(_process: ProcessIdentity, _ending: Ending) -> io::Result<()> {
    Err(io::Error::new(io::ErrorKind::Unsupported, "processes of others are not ended on this system"))
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;
    use std::os::unix::process::ExitStatusExt;
    use std::process::{Command, Stdio};

    #[test]
    fn only_the_very_process_is_ended() {
        let mut child = Command::new("sleep").arg("1000").stdin(Stdio::null()).spawn().unwrap();
        let create_time = crate::process::running_since(child.id()).unwrap();
        let identity = ProcessIdentity { pid: child.id(), create_time };
        assert_eq!(is_running(identity), Some(true));
        // The number is right, the process is another one: of yesterday.
        let older = ProcessIdentity { create_time: create_time - 86_400.0, ..identity };
        assert_eq!(is_running(older), Some(false));
        end(older, Ending::Kill).unwrap_err();
        assert!(child.try_wait().unwrap().is_none(), "it was left alone");
        end(identity, Ending::Ask).unwrap();
        assert_eq!(child.wait().unwrap().signal(), Some(15));
        assert_eq!(is_running(identity), Some(false));
        end(identity, Ending::Kill).unwrap_err();
    }

    #[test]
    fn what_was_started_later_was_created_later() {
        let before = now();
        // Ticks of 10 ms.
        std::thread::sleep(std::time::Duration::from_millis(30));
        let mut child = Command::new("sleep").arg("1000").stdin(Stdio::null()).spawn().unwrap();
        let create_time = crate::process::running_since(child.id()).unwrap();
        std::thread::sleep(std::time::Duration::from_millis(30));
        let after = now();
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(before < create_time && create_time < after, "{before} {create_time} {after}");
    }

    #[test]
    fn a_dead_child_that_nobody_waited_for_does_not_run() {
        let mut child = Command::new("sleep").arg("1000").stdin(Stdio::null()).spawn().unwrap();
        let create_time = crate::process::running_since(child.id()).unwrap();
        let identity = ProcessIdentity { pid: child.id(), create_time };
        end(identity, Ending::Kill).unwrap();
        while is_running(identity) == Some(true) {
            std::thread::sleep(std::time::Duration::from_millis(5));
        }
        child.wait().unwrap();
    }
}
