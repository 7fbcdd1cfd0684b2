//! A virtual X display of the test's own.

use std::io::Read;
use std::process::{Child, Command, Stdio};

use anyhow::{Context, bail};

/// A running Xvfb; ended when dropped.
pub struct Display {
    /// What `DISPLAY` is set to.
    pub name: String,
    server: Child,
}

impl Display {
    /// Starts Xvfb on a free display number, which it chooses itself.
    pub fn start() -> anyhow::Result<Self> {
        let mut server = Command::new("Xvfb")
            .args(["-displayfd", "1", "-screen", "0", "1600x1000x24", "-nolisten", "tcp"])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .context("Xvfb could not be started; run ./scripts/test, which installs it")?;
        let mut number = String::new();
        let mut output = server.stdout.take().context("no output")?;
        let mut byte = [0];
        while output.read(&mut byte)? == 1 && byte[0] != b'\n' {
            number.push(char::from(byte[0]));
        }
        if number.is_empty() {
            bail!("Xvfb ended without a display");
        }
        Ok(Self { name: format!(":{number}"), server })
    }
}

impl Drop for Display {
    fn drop(&mut self) {
        let _ = self.server.kill();
        let _ = self.server.wait();
    }
}
