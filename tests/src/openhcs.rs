//! OpenHCS 0.8.6 itself: its compiler, orchestrator and workers in their pinned environment, with a home of their own.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use serde_json::Value;
use tempfile::TempDir;

use crate::home::InHome;
use crate::viewer::{binary, free_port};

/// Environment variable that names the interpreter of an OpenHCS that runs pipelines, without napari.
const OPENHCS_RUN: &str = "WELLSCOPE_TEST_PYTHON_OPENHCS_RUN";

/// What OpenHCS's Python finds besides its own packages.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Installed {
    /// Nothing: OpenHCS as it was released.
    Nothing,
    /// The Python package of this checkout, with the `.pth` file that its wheel has.
    Wellscope,
    /// The same, and an empty module `napari`.
    WellscopeAndNapari,
}

/// A workstation with OpenHCS, whose viewers nobody but OpenHCS starts. All of them are ended when it is dropped.
pub struct Workstation {
    /// Its home directory: sockets, locks, logs and plates lie below it.
    pub home: TempDir,
    /// Data port of its viewer.
    pub port: u16,
    /// "ipc" or "tcp".
    pub transport: &'static str,
}

/// What a script printed.
#[derive(Debug)]
pub struct Printed {
    /// Lines of JSON on standard output.
    pub lines: Vec<Value>,
    /// Standard error: what OpenHCS logged.
    pub log: String,
    /// Whether it ended well.
    pub succeeded: bool,
}

impl Printed {
    /// The last line; an error when the script failed.
    pub fn answer(self) -> anyhow::Result<Value> {
        if !self.succeeded {
            bail!("the script failed:\n{}", self.log);
        }
        self.lines.into_iter().next_back().context("the script printed nothing")
    }
}

impl Workstation {
    /// A fresh one; nothing runs.
    pub fn new(transport: &'static str) -> anyhow::Result<Self> {
        Ok(Self { home: tempfile::Builder::new().prefix("ws").tempdir()?, port: free_port()?, transport })
    }

    /// A folder below its home.
    pub fn folder(&self, name: &str) -> PathBuf {
        self.home.path().join(name)
    }

    /// Runs a command of `tests/producers/openhcs_pipeline.py` that names no endpoint.
    pub fn prepare(&self, arguments: &[&str]) -> anyhow::Result<Value> {
        self.python(Installed::Nothing, "openhcs_pipeline.py", arguments, &[])?.answer()
    }

    /// Runs a command of `tests/producers/openhcs_pipeline.py` at its endpoint, with wellscope installed.
    pub fn pipeline(&self, command: &str, arguments: &[&str]) -> anyhow::Result<Printed> {
        self.pipeline_with(Installed::Wellscope, command, arguments, &[])
    }

    /// The same, with other packages and environment variables.
    pub fn pipeline_with(
        &self,
        installed: Installed,
        command: &str,
        arguments: &[&str],
        environment: &[(&str, &str)],
    ) -> anyhow::Result<Printed> {
        let port = self.port.to_string();
        let mut all = vec![command, "--port", &port, "--transport", self.transport];
        all.extend(arguments);
        self.python(installed, "openhcs_pipeline.py", &all, environment)
    }

    /// Runs a script of `tests/producers` that takes the endpoint before its command.
    pub fn client(&self, script: &str, arguments: &[&str]) -> anyhow::Result<Vec<Value>> {
        let port = self.port.to_string();
        let mut all = vec!["--port", &port, "--transport", self.transport];
        all.extend(arguments);
        let printed = self.python(Installed::Wellscope, script, &all, &[])?;
        if !printed.succeeded {
            bail!("{script} {arguments:?} failed:\n{}", printed.log);
        }
        Ok(printed.lines)
    }

    /// The viewer's state.
    pub fn state(&self) -> anyhow::Result<Value> {
        let lines = self.client("control.py", &["--timeout-seconds", "60", "state"])?;
        lines.into_iter().next().context("control.py printed nothing")
    }

    /// Runs OpenHCS's Python; `script` is a file of `tests/producers`, or "-c".
    pub fn python(
        &self,
        installed: Installed,
        script: &str,
        arguments: &[&str],
        environment: &[(&str, &str)],
    ) -> anyhow::Result<Printed> {
        let producers = Path::new(env!("CARGO_MANIFEST_DIR")).join("producers");
        let python = std::env::var_os(OPENHCS_RUN).with_context(|| {
            format!("{OPENHCS_RUN} is not set; run ./scripts/test, which makes the Python environments")
        })?;
        let script = if script == "-c" { OsString::from(script) } else { producers.join(script).into() };
        let output = Command::new(python)
            .arg(script)
            .args(arguments)
            .in_home(self.home.path())
            .env("PYTHONPATH", python_path(installed, &producers)?)
            .env("WELLSCOPE_VIEWER", binary()?)
            .env_remove("DISPLAY")
            .env_remove("WAYLAND_DISPLAY")
            .envs(environment.iter().copied())
            .stdin(Stdio::null())
            .output()?;
        let text = String::from_utf8_lossy(&output.stdout);
        Ok(Printed {
            // OpenHCS's plate generator prints sentences, too.
            lines: text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect(),
            log: String::from_utf8_lossy(&output.stderr).into_owned(),
            succeeded: output.status.success(),
        })
    }

    /// Process ids of its viewers: those that run the viewer's program in its home.
    pub fn viewers(&self) -> Vec<u32> {
        let Ok(processes) = std::fs::read_dir("/proc") else { return Vec::new() };
        let mut home = b"HOME=".to_vec();
        home.extend(self.home.path().as_os_str().as_encoded_bytes());
        processes
            .flatten()
            .filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok())
            .filter(|pid| {
                let read = |file: &str| std::fs::read(format!("/proc/{pid}/{file}")).unwrap_or_default();
                let is_ours = read("environ").split(|byte| *byte == 0).any(|variable| variable == home);
                is_ours && read("cmdline").split(|byte| *byte == 0).any(|word| word == b"--application")
            })
            .collect()
    }

    /// Waits until no viewer is left; what is left after the limit.
    pub fn wait_until_closed(&self, limit: Duration) -> Vec<u32> {
        let started = Instant::now();
        loop {
            let left = self.viewers();
            if left.is_empty() || started.elapsed() > limit {
                return left;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// What its viewer has logged, where OpenHCS looks for it.
    pub fn viewer_log(&self) -> String {
        let file = format!(".local/share/openhcs/logs/napari_detached_port_{}.log", self.port);
        std::fs::read_to_string(self.home.path().join(file)).unwrap_or_default()
    }

    /// Socket files of viewers: data and control.
    pub fn socket_files(&self) -> [PathBuf; 2] {
        [self.port, self.port + 1000].map(|port| self.home.path().join(format!(".openhcs/ipc/openhcs-zmq-{port}.sock")))
    }
}

fn python_path(installed: Installed, producers: &Path) -> anyhow::Result<OsString> {
    let mut folders = Vec::new();
    if installed != Installed::Nothing {
        folders.push(producers.join("as_installed"));
    }
    if installed == Installed::WellscopeAndNapari {
        folders.push(producers.join("without_napari"));
    }
    Ok(std::env::join_paths(folders)?)
}

impl Drop for Workstation {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("--- log of the viewer ---\n{}", self.viewer_log());
        }
        for signal in ["-TERM", "-KILL"] {
            for pid in self.viewers() {
                let _ = Command::new("kill").args([signal, &pid.to_string()]).status();
            }
            if self.wait_until_closed(Duration::from_secs(10)).is_empty() {
                break;
            }
        }
    }
}
