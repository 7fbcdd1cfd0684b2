//! One wellscope per port: a lock file that its owner holds open, and that says who the owner is.
//!
//! libzmq's bind of an IPC path silently removes a socket that is there, so the lock comes before the bind.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Read, Seek, Write};
use std::path::{Path, PathBuf};

use crate::platform::{create_private_folder, file_identity, restrict_to_user};

/// A held lock. Dropping it removes the file.
#[derive(Debug)]
pub(crate) struct PortLock {
    path: PathBuf,
    _file: File,
}

/// Why a lock could not be taken.
#[derive(Debug)]
pub(crate) enum LockError {
    /// Another process holds it; what its file says about it, when it can be read.
    Held(Option<LockHolder>),
    /// The file cannot be made.
    Io(io::Error),
}

/// What a lock file says.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct LockHolder {
    pub pid: u32,
    pub program: String,
    pub title: String,
}

/// Losing a race against an owner that is just leaving is tried again; not forever.
const ATTEMPTS: usize = 20;

impl PortLock {
    /// Takes the lock at `path`, creating its folder.
    pub(crate) fn take(path: PathBuf, title: &str) -> Result<Self, LockError> {
        if let Some(folder) = path.parent() {
            create_private_folder(folder).map_err(LockError::Io)?;
        }
        for _ in 0..ATTEMPTS {
            let mut file = OpenOptions::new()
                .read(true)
                .write(true)
                .create(true)
                .truncate(false)
                .open(&path)
                .map_err(LockError::Io)?;
            match file.try_lock() {
                Ok(()) => {}
                Err(TryLockError::WouldBlock) => return Err(LockError::Held(read_holder(&mut file))),
                Err(TryLockError::Error(error)) => return Err(LockError::Io(error)),
            }
            // The owner before may have removed the file between our open and our lock; then the lock is on a file that
            // nobody else can find.
            if !is_file_at(&file, &path) {
                continue;
            }
            restrict_to_user(&path).map_err(LockError::Io)?;
            let holder = serde_json::json!({"pid": std::process::id(), "program": "wellscope", "title": title});
            file.set_len(0).map_err(LockError::Io)?;
            file.write_all(holder.to_string().as_bytes()).map_err(LockError::Io)?;
            return Ok(Self { path, _file: file });
        }
        Err(LockError::Held(None))
    }
}

impl Drop for PortLock {
    fn drop(&mut self) {
        // While the lock is still held: whoever opened the file meanwhile sees that it is gone and makes a new one.
        let _ = std::fs::remove_file(&self.path);
    }
}

fn read_holder(file: &mut File) -> Option<LockHolder> {
    let mut text = String::new();
    file.rewind().ok()?;
    file.take(4096).read_to_string(&mut text).ok()?;
    let value: serde_json::Value = serde_json::from_str(&text).ok()?;
    let field = |name: &str| value.get(name).and_then(|field| field.as_str()).map(str::to_owned);
    Some(LockHolder {
        pid: u32::try_from(value.get("pid")?.as_u64()?).ok()?,
        program: field("program")?,
        title: field("title")?,
    })
}

#[cfg(unix)]
fn is_file_at(file: &File, path: &Path) -> bool {
    use std::os::unix::fs::MetadataExt;
    file.metadata().is_ok_and(|metadata| {
        file_identity(path).is_some_and(|at| at.device == metadata.dev() && at.inode == metadata.ino())
    })
}

/// A file that is open cannot be replaced on Windows.
#[cfg(not(unix))]
fn is_file_at(_file: &File, path: &Path) -> bool {
    let _ = file_identity(path);
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_second_lock_is_refused_and_says_who_holds_the_first() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("deep/5555.lock");
        let first = PortLock::take(path.clone(), "Plate 1").unwrap();
        match PortLock::take(path.clone(), "Plate 2") {
            Err(LockError::Held(Some(holder))) => {
                assert_eq!((holder.pid, holder.title.as_str()), (std::process::id(), "Plate 1"));
            }
            other => panic!("{other:?}"),
        }
        drop(first);
        assert!(!path.exists());
        PortLock::take(path, "Plate 2").unwrap();
    }

    #[test]
    fn a_lock_file_that_a_crash_left_is_no_lock() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("5555.lock");
        std::fs::write(&path, "{\"pid\":1,\"program\":\"wellscope\",\"title\":\"a much longer text than ours\"}")
            .unwrap();
        let _lock = PortLock::take(path.clone(), "x").unwrap();
        let text = std::fs::read_to_string(&path).unwrap();
        assert!(text.contains(&format!("{}", std::process::id())) && text.ends_with('}'), "{text}");
    }
}
