//! A viewer in a process of its own, with a home directory of its own, so that tests share no socket.

use std::fs::File;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use tempfile::TempDir;

use crate::home::InHome;

/// How long a viewer may take to serve. Generous: the machine may be busy with a build.
const START_DEADLINE: Duration = Duration::from_secs(60);

/// A running `wellscope`; ended when dropped.
pub struct ViewerProcess {
    /// Its home directory; sockets and locks lie below it.
    pub home: TempDir,
    /// Data port.
    pub port: u16,
    /// "ipc" or "tcp".
    pub transport: &'static str,
    child: Child,
    log: PathBuf,
}

/// The binary under test: what `scripts/test` names, else the one that cargo built beside this test.
pub fn binary() -> anyhow::Result<PathBuf> {
    if let Some(named) = std::env::var_os("WELLSCOPE_TEST_VIEWER") {
        return Ok(PathBuf::from(named));
    }
    let test = std::env::current_exe()?;
    let folder = test.parent().and_then(Path::parent).context("the test binary lies in no folder")?;
    let viewer = folder.join(format!("wellscope{}", std::env::consts::EXE_SUFFIX));
    if !viewer.is_file() {
        bail!("{viewer:?} does not exist; run ./scripts/test, or cargo build --workspace first");
    }
    Ok(viewer)
}

/// A data port that is free together with its control port (1000 above). On IPC any port is free in a fresh home.
pub fn free_port() -> anyhow::Result<u16> {
    for _ in 0..200 {
        let data = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
        if data < 64_000 && TcpListener::bind(("127.0.0.1", data + 1000)).is_ok() {
            return Ok(data);
        }
    }
    bail!("no pair of free ports was found")
}

impl ViewerProcess {
    /// Starts a headless viewer and waits until both of its endpoints serve.
    pub fn start(transport: &'static str, arguments: &[&str]) -> anyhow::Result<Self> {
        let mut all = vec!["--headless"];
        all.extend(arguments);
        Self::start_with(transport, &all, &[])
    }

    /// Starts a viewer with exactly these arguments besides port and transport, and these environment variables.
    pub fn start_with(
        transport: &'static str,
        arguments: &[&str],
        environment: &[(&str, &str)],
    ) -> anyhow::Result<Self> {
        let home = tempfile::Builder::new().prefix("ws").tempdir()?;
        let port = free_port()?;
        let mut viewer = Self::spawn(home, port, transport, arguments, environment)?;
        viewer.wait_until_serving()?;
        Ok(viewer)
    }

    /// Starts the process and returns at once.
    pub fn spawn(
        home: TempDir,
        port: u16,
        transport: &'static str,
        arguments: &[&str],
        environment: &[(&str, &str)],
    ) -> anyhow::Result<Self> {
        let log = home.path().join("viewer.log");
        let output = File::create(&log)?;
        let child = Command::new(binary()?)
            .args(["--port", &port.to_string(), "--transport", transport])
            .args(arguments)
            .in_home(home.path())
            .envs(environment.iter().copied())
            .stdin(Stdio::null())
            .stdout(output.try_clone()?)
            .stderr(output)
            .spawn()?;
        Ok(Self { home, port, transport, child, log })
    }

    fn wait_until_serving(&mut self) -> anyhow::Result<()> {
        let started = Instant::now();
        while started.elapsed() < START_DEADLINE {
            if let Some(status) = self.child.try_wait()? {
                bail!("the viewer ended with {status} before it served:\n{}", self.log());
            }
            if self.log().contains("listening") {
                return Ok(());
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        bail!("the viewer did not serve within {START_DEADLINE:?}:\n{}", self.log())
    }

    /// What the viewer has printed.
    pub fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Socket files of OpenHCS's naming: data and control.
    pub fn socket_files(&self) -> [PathBuf; 2] {
        let folder = self.home.path().join(".openhcs").join("ipc");
        [self.port, self.port + 1000].map(|port| folder.join(format!("openhcs-zmq-{port}.sock")))
    }

    /// Waits for the process to end by itself.
    pub fn wait(&mut self, limit: Duration) -> anyhow::Result<ExitStatus> {
        let started = Instant::now();
        while started.elapsed() < limit {
            if let Some(status) = self.child.try_wait()? {
                return Ok(status);
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        bail!("the viewer still ran after {limit:?}:\n{}", self.log())
    }

    /// CPU time that the process has used so far, user and system, in clock ticks. Linux only.
    pub fn cpu_ticks(&self) -> anyhow::Result<u64> {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.pid()))?;
        let after_name = stat.rsplit_once(')').context("unexpected /proc/pid/stat")?.1;
        let fields: Vec<&str> = after_name.split_whitespace().collect();
        Ok(fields[11].parse::<u64>()? + fields[12].parse::<u64>()?)
    }
}

impl Drop for ViewerProcess {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("--- log of the viewer ---\n{}", self.log());
        }
        // Asked first, so that it removes what older producers leave behind in shared memory; killed when it hangs.
        #[cfg(unix)]
        if matches!(self.child.try_wait(), Ok(None)) {
            let _ = Command::new("kill").arg(self.child.id().to_string()).status();
            let _ = self.wait(Duration::from_secs(10));
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
