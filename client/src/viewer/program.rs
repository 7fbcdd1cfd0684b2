//! Which program is the viewer.

use std::path::{Path, PathBuf};

use super::error::ViewerError;

const NAME: &str = "wellscope";

/// The configured one, `WELLSCOPE_VIEWER`, this program when it is wellscope itself, or wellscope on PATH.
pub(super) fn find(configured: Option<&Path>) -> Result<PathBuf, ViewerError> {
    if let Some(path) = configured {
        return Ok(path.to_owned());
    }
    if let Some(path) = std::env::var_os("WELLSCOPE_VIEWER").filter(|path| !path.is_empty()) {
        return Ok(PathBuf::from(path));
    }
    if let Some(path) = std::env::current_exe().ok().filter(|path| path.file_stem().is_some_and(|stem| stem == NAME)) {
        return Ok(path);
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .map(|folder| folder.join(format!("{NAME}{}", std::env::consts::EXE_SUFFIX)))
        .find(|candidate| candidate.is_file())
        .ok_or(ViewerError::NoProgram)
}
