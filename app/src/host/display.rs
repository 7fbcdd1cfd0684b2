//! Whether there is a display to open a window on, found out before anything that would panic tries.

use super::HostError;

/// Checks that X11 or Wayland can be reached. Windows and macOS always have a display.
///
/// # Errors
/// [`HostError::NoDisplay`], with what to do.
#[cfg(not(all(unix, not(target_os = "macos"))))]
pub(super) fn check() -> Result<(), HostError> {
    Ok(())
}

/// Checks that X11 or Wayland can be reached. Windows and macOS always have a display.
///
/// # Errors
/// [`HostError::NoDisplay`], with what to do.
#[cfg(all(unix, not(target_os = "macos")))]
pub(super) fn check() -> Result<(), HostError> {
    let variable = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
    check_variables(variable("WAYLAND_DISPLAY"), variable("WAYLAND_SOCKET"), variable("DISPLAY"))
}

#[cfg(all(unix, not(target_os = "macos")))]
fn check_variables(
    wayland: Option<String>,
    wayland_socket: Option<String>,
    display: Option<String>,
) -> Result<(), HostError> {
    // An inherited file descriptor; only the compositor's own child gets one.
    if wayland_socket.is_some() {
        return Ok(());
    }
    let mut reasons = Vec::new();
    if let Some(name) = wayland {
        match connect_wayland(&name) {
            Ok(()) => return Ok(()),
            Err(error) => reasons.push(format!("WAYLAND_DISPLAY is {name:?}: {error}")),
        }
    }
    if let Some(name) = display {
        match connect_x11(&name) {
            Ok(()) => return Ok(()),
            Err(error) => reasons.push(format!("DISPLAY is {name:?}: {error}")),
        }
    }
    if reasons.is_empty() {
        reasons.push("neither DISPLAY nor WAYLAND_DISPLAY is set".to_owned());
    }
    Err(HostError::NoDisplay { found: reasons.join("; ") })
}

#[cfg(all(unix, not(target_os = "macos")))]
fn connect_wayland(name: &str) -> std::io::Result<()> {
    use std::os::unix::net::UnixStream;
    // A relative name lies in the runtime folder, as in libwayland.
    let folder = std::env::var_os("XDG_RUNTIME_DIR").unwrap_or_default();
    UnixStream::connect(std::path::Path::new(&folder).join(name)).map(drop)
}

/// Connects as Xlib would, without greeting. That the server also accepts us shows when the window opens.
#[cfg(all(unix, not(target_os = "macos")))]
fn connect_x11(name: &str) -> std::io::Result<()> {
    use std::io::{Error, ErrorKind};
    use std::net::{TcpStream, ToSocketAddrs};
    use std::os::unix::net::UnixStream;
    use std::time::Duration;

    let malformed = || Error::new(ErrorKind::InvalidInput, "not of the form [host]:number");
    let (host, rest) = name.rsplit_once(':').ok_or_else(malformed)?;
    let number: u16 = rest.split('.').next().unwrap_or("").parse().map_err(|_| malformed())?;
    if host.is_empty() || host == "unix" || host.starts_with('/') {
        let path = if host.starts_with('/') { format!("{host}:{number}") } else { format!("/tmp/.X11-unix/X{number}") };
        return match UnixStream::connect(&path) {
            Ok(_) => Ok(()),
            Err(error) => connect_abstract(&path).map_err(|_| error),
        };
    }
    let port = 6000u16.checked_add(number).ok_or_else(malformed)?;
    let mut last = Error::new(ErrorKind::NotFound, "the host has no address");
    for address in (host, port).to_socket_addrs()? {
        match TcpStream::connect_timeout(&address, Duration::from_secs(2)) {
            Ok(_) => return Ok(()),
            Err(error) => last = error,
        }
    }
    Err(last)
}

/// Linux X servers also listen under a name that is not in the file system; containers often see only that one.
#[cfg(target_os = "linux")]
fn connect_abstract(path: &str) -> std::io::Result<()> {
    use std::os::linux::net::SocketAddrExt;
    use std::os::unix::net::{SocketAddr, UnixStream};
    UnixStream::connect_addr(&SocketAddr::from_abstract_name(path)?).map(drop)
}

#[cfg(all(unix, not(target_os = "macos"), not(target_os = "linux")))]
fn connect_abstract(_path: &str) -> std::io::Result<()> {
    Err(std::io::ErrorKind::NotFound.into())
}

#[cfg(all(test, unix, not(target_os = "macos")))]
#[allow(clippy::unwrap_used, reason = "clippy does not see that this is a test")]
mod tests {
    use super::*;

    fn refusal(wayland: Option<&str>, display: Option<&str>) -> String {
        check_variables(wayland.map(Into::into), None, display.map(Into::into)).unwrap_err().to_string()
    }

    #[test]
    fn without_a_display_the_sentence_names_the_ways_out() {
        let sentence = refusal(None, None);
        assert!(sentence.contains("DISPLAY") && sentence.contains("--headless"), "{sentence}");
    }

    #[test]
    fn a_display_that_does_not_answer_is_named() {
        for display in [":7193", "unix:7193.0", "localhost:7193", "nonsense", ":x", "localhost:65535"] {
            let sentence = refusal(Some("no-such-compositor"), Some(display));
            assert!(sentence.contains(display) && sentence.contains("no-such-compositor"), "{sentence}");
        }
    }
}
