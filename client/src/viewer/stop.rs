//! Ending a viewer: asked first, then signalled, then killed, and its sockets removed when it could not.

use std::time::{Duration, Instant};

use wellscope_protocol::control::ProcessIdentity;
use wellscope_protocol::endpoint::Transport;

use super::error::StopError;
use super::launch::Launched;
use super::occupant::serves;
use super::process::{self, Ending};
use crate::control::ControlClient;
use crate::endpoint::ViewerEndpoint;

/// How long OpenHCS 0.8.6 gives a viewer to close after `force_shutdown`.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(3);
/// How long after SIGTERM, before SIGKILL (openhcs 0.8.6).
const TERMINATE_TIMEOUT: Duration = Duration::from_secs(5);
/// How long the system may take to bury a process.
const KILL_TIMEOUT: Duration = Duration::from_secs(5);
const POLL_INTERVAL: Duration = Duration::from_millis(10);

/// Ends the viewer at `endpoint`, whose ping told `process`; `launched` if it is our child. Returns when it is gone.
pub(super) fn stop(
    endpoint: &ViewerEndpoint,
    control: &ControlClient,
    process: Option<ProcessIdentity>,
    mut launched: Option<&mut Launched>,
) -> Result<(), StopError> {
    let refusal = control.force_shutdown().err().filter(|error| !error.is_absent());
    // One that is already stuck will not close because it is waited for.
    let patience = if refusal.is_some() { Duration::from_millis(200) } else { CLOSE_TIMEOUT };
    let is_local = endpoint.is_on_this_machine();
    let identity = process.filter(|_| is_local);
    if wait_until_gone(endpoint, identity, launched.as_deref_mut(), patience) {
        // A crash, or a viewer that is not ours, may leave them.
        remove_stale_sockets(endpoint);
        return Ok(());
    }
    let reason = refusal.map(|error| format!(" ({error})")).unwrap_or_default();
    match (identity, launched) {
        (Some(identity), launched) => terminate(endpoint, identity, launched)?,
        (None, Some(launched)) => launched.kill(),
        (None, None) => return Err(StopError::Unidentified { port: endpoint.port, reason }),
    }
    remove_stale_sockets(endpoint);
    Ok(())
}

fn terminate(
    endpoint: &ViewerEndpoint,
    identity: ProcessIdentity,
    mut launched: Option<&mut Launched>,
) -> Result<(), StopError> {
    let mut reason = "it ignores SIGKILL".to_owned();
    for (ending, patience) in [(Ending::Ask, TERMINATE_TIMEOUT), (Ending::Kill, KILL_TIMEOUT)] {
        tracing::warn!(pid = identity.pid, ?ending, "the viewer does not close");
        match process::end(identity, ending) {
            Ok(()) => {}
            Err(_) if process::is_running(identity) == Some(false) => return Ok(()),
            Err(error) => reason = error.to_string(),
        }
        if wait_until_gone(endpoint, Some(identity), launched.as_deref_mut(), patience) {
            return Ok(());
        }
    }
    // The child is the viewer or its wrapper, and in any case ours to end.
    if let Some(launched) = launched {
        launched.kill();
        if wait_until_gone(endpoint, Some(identity), None, KILL_TIMEOUT) {
            return Ok(());
        }
    }
    Err(StopError::Survived { port: endpoint.port, pid: identity.pid, reason })
}

/// Waits until neither process nor sockets are left. Where the system does not tell about processes, the sockets count alone.
pub(super) fn wait_until_gone(
    endpoint: &ViewerEndpoint,
    identity: Option<ProcessIdentity>,
    mut launched: Option<&mut Launched>,
    patience: Duration,
) -> bool {
    let started = Instant::now();
    loop {
        // Taking its exit status is what makes a dead child go.
        let child_runs = launched.as_deref_mut().is_some_and(|launched| launched.ended().is_none());
        let runs = match identity.map(process::is_running) {
            Some(Some(runs)) => runs,
            Some(None) | None => child_runs || serves(endpoint) != [false, false],
        };
        if !runs && !child_runs {
            return true;
        }
        if started.elapsed() >= patience {
            return false;
        }
        std::thread::sleep(POLL_INTERVAL);
    }
}

/// Removes socket files that nobody serves any more: to clients of OpenHCS a file that exists means a viewer that is there.
fn remove_stale_sockets(endpoint: &ViewerEndpoint) {
    if endpoint.transport == Transport::Tcp || serves(endpoint) != [false, false] {
        return;
    }
    let control_port = endpoint.naming.control_port(endpoint.port).unwrap_or(endpoint.port);
    for port in [endpoint.port, control_port] {
        let path = endpoint.naming.ipc_path(&endpoint.home, port);
        if is_socket(&path) {
            let _ = std::fs::remove_file(path);
        }
    }
}

#[cfg(unix)]
fn is_socket(path: &std::path::Path) -> bool {
    use std::os::unix::fs::FileTypeExt;
    std::fs::symlink_metadata(path).is_ok_and(|metadata| metadata.file_type().is_socket())
}

#[cfg(not(unix))]
fn is_socket(_path: &std::path::Path) -> bool {
    false
}
