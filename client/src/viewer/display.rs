//! Whether a window can be opened here.

/// Whether windows have somewhere to open: always on Windows and macOS; elsewhere when DISPLAY or WAYLAND_DISPLAY is set.
/// The viewer finds out whether something answers there.
pub fn has_display() -> bool {
    let is_set = |name| std::env::var_os(name).is_some_and(|value| !value.is_empty());
    cfg!(any(windows, target_os = "macos")) || is_set("DISPLAY") || is_set("WAYLAND_DISPLAY")
}
