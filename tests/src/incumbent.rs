//! OpenHCS 0.8.6's real napari viewer, in a process and on a display of its own: what our producers must get along with.

use std::fs::File;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use tempfile::TempDir;
use wellscope_client::{ControlClient, Transport, ViewerEndpoint};

use crate::display::Display;
use crate::home::InHome;
use crate::viewer::free_port;

/// Environment variable that names a Python with OpenHCS and napari: `make_incumbent_venv` of scripts/setup.sh.
const PYTHON: &str = "WELLSCOPE_TEST_PYTHON_INCUMBENT";
/// napari imports for half a minute when nothing is in the disk's cache.
const START_DEADLINE: Duration = Duration::from_secs(180);

/// A running napari; killed when dropped.
pub struct Incumbent {
    // In this order: the viewer ends before its display and its home.
    child: Child,
    endpoint: ViewerEndpoint,
    log: PathBuf,
    _display: Display,
    _home: TempDir,
}

impl Incumbent {
    /// Starts it and waits until it answers.
    pub fn start() -> anyhow::Result<Self> {
        let python = std::env::var_os(PYTHON)
            .with_context(|| format!("{PYTHON} is not set; run ./scripts/test, which makes the Python environments"))?;
        let home = tempfile::Builder::new().prefix("wsi").tempdir()?;
        let display = Display::start()?;
        let endpoint = ViewerEndpoint {
            transport: Transport::Ipc,
            home: home.path().to_owned(),
            ..ViewerEndpoint::openhcs(free_port()?)
        };
        let log = home.path().join("napari.log");
        let output = File::create(&log)?;
        let script = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("producers/run_incumbent.py");
        let child = Command::new(python)
            .arg(script)
            .args(["--port", &endpoint.port.to_string(), "--transport", "ipc"])
            .in_home(home.path())
            .env("XDG_RUNTIME_DIR", home.path())
            .env("DISPLAY", &display.name)
            .env_remove("WAYLAND_DISPLAY")
            .stdin(Stdio::null())
            .stdout(output.try_clone()?)
            .stderr(output)
            .spawn()?;
        let mut started = Self { child, endpoint, log, _display: display, _home: home };
        started.wait_until_ready()?;
        Ok(started)
    }

    fn wait_until_ready(&mut self) -> anyhow::Result<()> {
        let begun = Instant::now();
        while begun.elapsed() < START_DEADLINE {
            if let Some(status) = self.child.try_wait()? {
                bail!("napari ended with {status} before it served:\n{}", self.log());
            }
            if self.client()?.ping(Duration::from_millis(500)).is_ok_and(|pong| pong.ready) {
                return Ok(());
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        bail!("napari did not serve within {START_DEADLINE:?}:\n{}", self.log())
    }

    /// Where it listens.
    pub fn endpoint(&self) -> ViewerEndpoint {
        self.endpoint.clone()
    }

    /// A control client.
    pub fn client(&self) -> anyhow::Result<ControlClient> {
        Ok(ControlClient::connect(&self.endpoint)?)
    }

    /// What it has printed.
    pub fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }
}

impl Drop for Incumbent {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
