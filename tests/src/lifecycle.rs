//! A home of its own for viewers that tests start through the client, and small orchestrators as processes.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use tempfile::TempDir;
use wellscope_client::{EndpointNaming, Transport, Viewer, ViewerConfig, ViewerEndpoint};

use crate::home::InHome;
use crate::viewer::{binary, free_port};

/// How long anything may take. Generous: the machine may be busy with a build.
pub const DEADLINE: Duration = Duration::from_secs(60);

/// A home directory and a port in it. Whatever viewer serves the port when this is dropped is stopped.
pub struct Place {
    /// The home; sockets, locks and logs lie below it.
    pub home: TempDir,
    /// Data port.
    pub port: u16,
    /// IPC or TCP.
    pub transport: Transport,
}

impl Place {
    /// A fresh one.
    pub fn new(transport: Transport) -> anyhow::Result<Self> {
        // Short: paths of Unix sockets are limited.
        Ok(Self { home: tempfile::Builder::new().prefix("ws").tempdir()?, port: free_port()?, transport })
    }

    /// Where its viewer listens.
    pub fn endpoint(&self) -> ViewerEndpoint {
        ViewerEndpoint {
            transport: self.transport,
            host: "127.0.0.1".to_owned(),
            port: self.port,
            naming: EndpointNaming::openhcs(),
            home: self.home.path().to_owned(),
        }
    }

    /// A persistent viewer without a window.
    pub fn config(&self) -> anyhow::Result<ViewerConfig> {
        Ok(ViewerConfig {
            program: Some(binary()?),
            headless: Some(true),
            start_timeout: DEADLINE,
            ..ViewerConfig::new(self.endpoint())
        })
    }

    /// Where OpenHCS looks for its log.
    pub fn log_file(&self) -> PathBuf {
        let logs = self.home.path().join(".local/share/openhcs/logs");
        logs.join(format!("napari_detached_port_{}.log", self.port))
    }

    /// Socket files: data and control.
    pub fn socket_files(&self) -> [PathBuf; 2] {
        [self.port, self.port + 1000].map(|port| EndpointNaming::openhcs().ipc_path(self.home.path(), port))
    }

    /// An orchestrator in a process of its own, see `bin/viewer_parent.rs`; `executable` is that program.
    pub fn parent(&self, executable: &str, arguments: &[&str], environment: &[(&str, &str)]) -> anyhow::Result<Parent> {
        let transport = if self.transport == Transport::Tcp { "tcp" } else { "ipc" };
        let program = binary()?;
        let mut command = Command::new(executable);
        // A group of its own, as shells make one for each command line.
        #[cfg(unix)]
        std::os::unix::process::CommandExt::process_group(&mut command, 0);
        let child = command
            .arg(format!("port={}", self.port))
            .arg(format!("home={}", self.home.path().display()))
            .arg(format!("transport={transport}"))
            .arg(format!("program={}", program.display()))
            .args(arguments)
            .in_home(self.home.path())
            .envs(environment.iter().copied())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        Ok(Parent { child })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("--- log of the viewer ---\n{}", std::fs::read_to_string(self.log_file()).unwrap_or_default());
        }
        if let Ok(mut viewer) = Viewer::connect(&self.endpoint()) {
            let _ = viewer.stop();
        }
    }
}

/// What an orchestrator got.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Got {
    /// "started", "replaced", "reused" or "error".
    pub outcome: String,
    /// The viewer's process.
    pub pid: u32,
    /// Everything after the outcome.
    pub rest: String,
}

/// A running orchestrator; killed when dropped.
pub struct Parent {
    child: Child,
}

impl Parent {
    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Waits for its line.
    pub fn got(&mut self) -> anyhow::Result<Got> {
        let output = self.child.stdout.as_mut().context("its output was taken")?;
        let mut line = String::new();
        BufReader::new(output).read_line(&mut line)?;
        let (outcome, rest) = line.trim().split_once(' ').context("the orchestrator ended without a word")?;
        let pid = rest.split(' ').next().and_then(|pid| pid.parse().ok()).unwrap_or(0);
        Ok(Got { outcome: outcome.to_owned(), pid, rest: rest.to_owned() })
    }

    /// Lets it end by itself.
    pub fn end(mut self) -> anyhow::Result<()> {
        drop(self.child.stdin.take());
        let status = self.child.wait()?;
        if status.success() { Ok(()) } else { bail!("the orchestrator ended with {status}") }
    }

    /// SIGHUP to the whole group, as when its terminal closes.
    pub fn hang_up(mut self) -> anyhow::Result<()> {
        let group = format!("-{}", self.pid());
        let status = Command::new("kill").args(["-HUP", "--", &group]).status()?;
        self.child.wait()?;
        if status.success() { Ok(()) } else { bail!("kill -HUP {group} failed") }
    }

    /// SIGKILL.
    pub fn kill(mut self) -> anyhow::Result<()> {
        self.child.kill()?;
        self.child.wait()?;
        Ok(())
    }
}

impl Drop for Parent {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Sends a signal, e.g. "-KILL", by the system's own command.
pub fn signal(pid: u32, name: &str) -> anyhow::Result<()> {
    let status = Command::new("kill").args([name, &pid.to_string()]).status()?;
    if status.success() { Ok(()) } else { bail!("kill {name} {pid} failed") }
}

/// Whether a process runs; a zombie does not. Linux only.
pub fn runs(pid: u32) -> bool {
    let stat = std::fs::read_to_string(Path::new("/proc").join(pid.to_string()).join("stat"));
    stat.is_ok_and(|stat| stat.rsplit_once(") ").is_some_and(|(_, fields)| !fields.starts_with(['Z', 'X'])))
}

/// Waits until something is so.
pub fn wait_for(what: &str, mut is_so: impl FnMut() -> bool) -> anyhow::Result<()> {
    let started = Instant::now();
    while !is_so() {
        if started.elapsed() > DEADLINE {
            bail!("not so within {DEADLINE:?}: {what}");
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    Ok(())
}
