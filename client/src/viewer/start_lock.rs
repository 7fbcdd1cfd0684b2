//! One starts a viewer, the others wait for it: a lock file that its owner holds open.
//!
//! The path is that of zmqruntime's start-up locks (0.2.24), which its execution clients take in the same way
//! (flock, exclusive). The file stays when the lock is released, as theirs does: removing it would let two hold "the" lock.

use std::fs::{File, OpenOptions, TryLockError};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use wellscope_protocol::endpoint::Transport;

use super::error::ViewerError;
use crate::endpoint::ViewerEndpoint;

const POLL_INTERVAL: Duration = Duration::from_millis(20);

/// A held lock; released when dropped, and by the system when this process dies.
#[derive(Debug)]
pub(super) struct StartLock {
    _file: File,
}

impl StartLock {
    /// Takes the lock of an address, waiting for whoever starts a viewer there, at most until `deadline`.
    pub(super) fn take(endpoint: &ViewerEndpoint, deadline: Instant) -> Result<Self, ViewerError> {
        let started = Instant::now();
        let path = path_of(endpoint);
        let failed = |source| ViewerError::Lock { path: path.clone(), source };
        if let Some(folder) = path.parent() {
            create_private_folder(folder).map_err(failed)?;
        }
        let file =
            OpenOptions::new().read(true).write(true).create(true).truncate(false).open(&path).map_err(failed)?;
        loop {
            match file.try_lock() {
                Ok(()) => return Ok(Self { _file: file }),
                Err(TryLockError::WouldBlock) if Instant::now() < deadline => std::thread::sleep(POLL_INTERVAL),
                Err(TryLockError::WouldBlock) => {
                    return Err(ViewerError::LockHeld { path, waited: started.elapsed() });
                }
                Err(TryLockError::Error(source)) => return Err(failed(source)),
            }
        }
    }
}

/// IPC: `<socket path>.startup.lock`; TCP: `~/.<application>/tcp/<port>.startup.lock` (zmqruntime 0.2.24).
fn path_of(endpoint: &ViewerEndpoint) -> PathBuf {
    match endpoint.transport {
        Transport::Ipc => {
            let mut path = endpoint.naming.ipc_path(&endpoint.home, endpoint.port).into_os_string();
            path.push(".startup.lock");
            PathBuf::from(path)
        }
        Transport::Tcp => {
            let application = format!(".{}", endpoint.naming.app_name);
            endpoint.home.join(application).join("tcp").join(format!("{}.startup.lock", endpoint.port))
        }
    }
}

/// The folder holds the user's sockets, too.
fn create_private_folder(folder: &std::path::Path) -> std::io::Result<()> {
    let mut builder = std::fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(folder)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn locks_lie_where_zmqruntime_puts_them() {
        let ipc = ViewerEndpoint { home: "/home/u".into(), transport: Transport::Ipc, ..ViewerEndpoint::openhcs(5555) };
        assert_eq!(path_of(&ipc), PathBuf::from("/home/u/.openhcs/ipc/openhcs-zmq-5555.sock.startup.lock"));
        let tcp = ViewerEndpoint { transport: Transport::Tcp, ..ipc };
        assert_eq!(path_of(&tcp), PathBuf::from("/home/u/.openhcs/tcp/5555.startup.lock"));
    }

    #[test]
    fn the_second_waits_until_the_first_lets_go() {
        let home = tempfile::tempdir().unwrap();
        let endpoint = ViewerEndpoint { home: home.path().to_owned(), ..ViewerEndpoint::openhcs(5555) };
        let patience = || Instant::now() + Duration::from_secs(30);
        let first = StartLock::take(&endpoint, patience()).unwrap();
        let error = StartLock::take(&endpoint, Instant::now()).unwrap_err();
        assert!(matches!(error, ViewerError::LockHeld { .. }), "{error}");
        let second = std::thread::spawn({
            let endpoint = endpoint.clone();
            move || StartLock::take(&endpoint, patience()).map(drop)
        });
        drop(first);
        second.join().unwrap().unwrap();
    }
}
