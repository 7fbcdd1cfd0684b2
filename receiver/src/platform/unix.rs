//! What Linux and macOS have in common.

use std::fs::{DirBuilder, Permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt};
use std::path::Path;

use super::FileIdentity;

/// Creates `folder` and missing parents, mode 0700. An existing folder stays as it is: it is shared with OpenHCS.
pub(crate) fn create_private_folder(folder: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(folder)
}

/// Mode 0600: only this user may connect to the socket, or read the file.
pub(crate) fn restrict_to_user(path: &Path) -> io::Result<()> {
    std::fs::set_permissions(path, Permissions::from_mode(0o600))
}

/// Which file `path` stands for now, without following a link.
pub(crate) fn file_identity(path: &Path) -> Option<FileIdentity> {
    let metadata = std::fs::symlink_metadata(path).ok()?;
    Some(FileIdentity { device: metadata.dev(), inode: metadata.ino() })
}
