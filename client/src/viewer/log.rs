//! Where a viewer's log is, and its last lines for an error.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use wellscope_protocol::endpoint::EndpointNaming;

use crate::endpoint::ViewerEndpoint;

/// Lines of the log that an error quotes.
const TAIL_LINES: usize = 12;
const TAIL_BYTES: u64 = 16 << 10;

/// The log of the viewer at `endpoint`. With OpenHCS's socket names it is the file that OpenHCS writes for its own viewers and
/// lists in its window, `${XDG_DATA_HOME:-~/.local/share}/openhcs/logs/napari_detached_port_<port>.log` (openhcs 0.8.6);
/// else `.../<application>/logs/viewer_port_<port>.log`.
pub fn default_log_file(endpoint: &ViewerEndpoint) -> PathBuf {
    let data_home = std::env::var_os("XDG_DATA_HOME").filter(|folder| !folder.is_empty()).map(PathBuf::from);
    log_file_in(&data_home.unwrap_or_else(|| endpoint.home.join(".local").join("share")), endpoint)
}

fn log_file_in(data_home: &Path, endpoint: &ViewerEndpoint) -> PathBuf {
    let app_name = &endpoint.naming.app_name;
    let stem = if *app_name == EndpointNaming::openhcs().app_name { "napari_detached_port" } else { "viewer_port" };
    data_home.join(app_name).join("logs").join(format!("{stem}_{}.log", endpoint.port))
}

/// Opens the log empty, for appending: what the viewer logs and what drivers print to its standard error go to one file.
pub(super) fn create(path: &Path) -> io::Result<File> {
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder)?;
    }
    File::create(path)?;
    OpenOptions::new().append(true).open(path)
}

/// The last lines of a log, ready to be appended to a sentence; empty when there are none.
pub(super) fn tail(path: Option<&Path>) -> String {
    let Some(path) = path else { return String::new() };
    let text = read_tail(path).unwrap_or_default();
    let lines: Vec<&str> = text.lines().filter(|line| !line.trim().is_empty()).collect();
    if lines.is_empty() {
        return format!(". Its log is empty: {}", path.display());
    }
    let last = lines[lines.len().saturating_sub(TAIL_LINES)..].join("\n  ");
    format!(". The end of its log {}:\n  {last}\n", path.display())
}

fn read_tail(path: &Path) -> io::Result<String> {
    let mut file = File::open(path)?;
    let length = file.metadata()?.len();
    file.seek(SeekFrom::Start(length.saturating_sub(TAIL_BYTES)))?;
    let mut bytes = Vec::new();
    file.take(TAIL_BYTES).read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_log_lies_where_openhcs_lists_it() {
        let endpoint = ViewerEndpoint::openhcs(5555);
        let path = log_file_in(Path::new("/home/u/.local/share"), &endpoint);
        assert_eq!(path, Path::new("/home/u/.local/share/openhcs/logs/napari_detached_port_5555.log"));
        let other = ViewerEndpoint { naming: EndpointNaming::zmqruntime(), ..endpoint };
        assert_eq!(log_file_in(Path::new("/d"), &other), Path::new("/d/zmqruntime/logs/viewer_port_5555.log"));
    }

    #[test]
    fn an_error_quotes_the_last_lines_of_a_long_log() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a/b.log");
        create(&path).unwrap();
        assert!(tail(Some(&path)).contains("empty"));
        let lines: Vec<String> = (0..10_000).map(|line| format!("line {line}")).collect();
        std::fs::write(&path, lines.join("\n")).unwrap();
        let tail = tail(Some(&path));
        assert!(tail.contains("line 9999") && tail.contains("line 9988") && !tail.contains("line 9987"), "{tail}");
    }
}
