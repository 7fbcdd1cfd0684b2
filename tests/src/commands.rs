//! Commands of `wellscope` as processes, each in a home of its own.

use std::path::Path;
use std::process::{Child, Command, Stdio};

use serde_json::Value;

use crate::home::InHome;
use crate::lifecycle::Place;
use crate::viewer::binary;

/// How a command ended, and what it printed.
pub struct Ended {
    /// Its exit code; 1000 when a signal ended it.
    pub code: i32,
    /// Standard output.
    pub out: String,
    /// Standard error.
    pub err: String,
}

impl Ended {
    /// Standard output as lines of JSON.
    pub fn events(&self) -> anyhow::Result<Vec<Value>> {
        self.out.lines().map(|line| Ok(serde_json::from_str(line)?)).collect()
    }

    /// The last event of that name.
    pub fn event(&self, name: &str) -> anyhow::Result<Value> {
        let events = self.events()?;
        let found = events.into_iter().rev().find(|event| event["event"] == name);
        found.ok_or_else(|| anyhow::anyhow!("no event {name:?} in {}\n{}", self.out, self.err))
    }
}

/// Starts `wellscope` with these words in a place's home.
pub fn start(place: &Place, words: &[&str]) -> anyhow::Result<Child> {
    let program = binary()?;
    Ok(Command::new(&program)
        .args(words)
        .in_home(place.home.path())
        .env("WELLSCOPE_VIEWER", &program)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()?)
}

/// Runs `wellscope` with these words in a place's home until it ends.
pub fn command(place: &Place, words: &[&str]) -> anyhow::Result<Ended> {
    ended(start(place, words)?)
}

/// Waits for a command that was started.
pub fn ended(child: Child) -> anyhow::Result<Ended> {
    let output = child.wait_with_output()?;
    Ok(Ended {
        code: output.status.code().unwrap_or(1000),
        out: String::from_utf8(output.stdout)?,
        err: String::from_utf8(output.stderr)?,
    })
}

/// A path as an argument.
pub fn text(path: &Path) -> anyhow::Result<&str> {
    path.to_str().ok_or_else(|| anyhow::anyhow!("{path:?} is not text"))
}

/// Every file below a folder.
pub fn files(folder: &Path) -> Vec<std::path::PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() { found.extend(files(&path)) } else { found.push(path) }
    }
    found.sort();
    found
}
