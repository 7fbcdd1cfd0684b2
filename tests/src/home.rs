//! Homes of their own: what a test starts finds nothing of the user's, and leaves nothing there.

use std::path::Path;
use std::process::Command;

/// Starts programs in a home of their own.
pub trait InHome {
    /// The program's home is `home`, also where the caller's environment names folders outside of a home.
    fn in_home(&mut self, home: &Path) -> &mut Self;
}

impl InHome for Command {
    fn in_home(&mut self, home: &Path) -> &mut Self {
        for variable in ["XDG_CACHE_HOME", "XDG_CONFIG_HOME", "XDG_DATA_HOME"] {
            self.env_remove(variable);
        }
        self.env("HOME", home)
    }
}
