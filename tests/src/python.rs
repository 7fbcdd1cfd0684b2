//! The released Python packages, run in their pinned environments as the judges of our end of the wire.

use std::io::Write;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use anyhow::{Context, bail};
use serde_json::Value;

use crate::home::InHome;
use crate::viewer::ViewerProcess;

/// Which released packages send.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Generation {
    /// openhcs 0.1.0: publishes images over TCP, and unlinks its shared memory when it ends.
    G0,
    /// openhcs 0.5.0: publishes images, and leaves shared memory for the viewer to unlink.
    G1OpenHcs,
    /// polystore 0.1.7 with zmqruntime 0.1.8: publishes, and gets no reply.
    G1,
    /// polystore 0.1.9 with zmqruntime 0.1.8: leaves shared memory for the viewer to unlink.
    G2,
    /// polystore 0.2.19 with zmqruntime 0.2.24, as OpenHCS 0.8.6 pins them.
    G3,
    /// polystore 0.6.3 with zmqruntime 0.6.5.
    G4,
}

impl Generation {
    /// Environment variable that names the interpreter.
    fn variable(self) -> &'static str {
        match self {
            Self::G0 => "WELLSCOPE_TEST_PYTHON_G0",
            Self::G1OpenHcs => "WELLSCOPE_TEST_PYTHON_G1_OPENHCS",
            Self::G1 => "WELLSCOPE_TEST_PYTHON_G1",
            Self::G2 => "WELLSCOPE_TEST_PYTHON_G2",
            Self::G3 => "WELLSCOPE_TEST_PYTHON_G3",
            Self::G4 => "WELLSCOPE_TEST_PYTHON_G4",
        }
    }

    /// The script of `tests/producers` that streams with these packages.
    fn producer(self) -> &'static str {
        match self {
            Self::G0 | Self::G1OpenHcs => "stream_openhcs.py",
            Self::G1 | Self::G2 => "stream_g2.py",
            Self::G3 | Self::G4 => "stream.py",
        }
    }
}

/// Environment variable that names the interpreter of OpenHCS's own control clients.
const OPENHCS: &str = "WELLSCOPE_TEST_PYTHON_OPENHCS";

/// What a producer reported.
#[derive(Debug)]
pub struct Streamed {
    /// One line per batch: `status`, `error`, `image_ids`, `segments_left`.
    pub batches: Vec<Value>,
    /// Acks that its own listener took.
    pub acks: Vec<Value>,
    /// The last line.
    pub done: Value,
}

impl ViewerProcess {
    /// Streams a plan of `tests/producers/stream.py` to this viewer through the real backend.
    ///
    /// G1 and G2 add `reply` to each batch, and `segments_left` to what they report at the end. G0 and openhcs 0.5.0 send
    /// images only and report neither; they add `counted`, the items that the viewer's state counted.
    pub fn stream(&self, generation: Generation, mut plan: Value) -> anyhow::Result<Streamed> {
        plan["port"] = self.port.into();
        plan["transport"] = self.transport.into();
        let lines = self.run(generation.variable(), generation.producer(), &[], Some(plan.to_string()))?;
        let mut streamed = Streamed { batches: Vec::new(), acks: Vec::new(), done: Value::Null };
        for line in lines {
            if line.get("batch").is_some() {
                streamed.batches.push(line);
            } else if let Some(ack) = line.get("ack") {
                streamed.acks.push(ack.clone());
            } else {
                streamed.done = line;
            }
        }
        Ok(streamed)
    }

    /// Sends one control request with the real client of G3 or G4 and returns the reply.
    pub fn control(&self, generation: Generation, arguments: &[&str]) -> anyhow::Result<Value> {
        let port = self.port.to_string();
        let mut all = vec!["--port", &port, "--transport", self.transport, "--timeout-seconds", "60"];
        all.extend(arguments);
        let lines = self.run(generation.variable(), "control.py", &all, None)?;
        lines.into_iter().next().context("control.py printed nothing")
    }

    /// Runs a command of `tests/producers/openhcs_client.py`, OpenHCS 0.8.6's own control clients; its lines.
    pub fn openhcs(&self, arguments: &[&str]) -> anyhow::Result<Vec<Value>> {
        let port = self.port.to_string();
        let mut all = vec!["--port", &port, "--transport", self.transport];
        all.extend(arguments);
        self.run(OPENHCS, "openhcs_client.py", &all, None)
    }

    /// Streams, then waits until all of it is drawn. Fails when a batch was refused.
    pub fn stream_and_settle(&self, generation: Generation, plan: Value) -> anyhow::Result<Streamed> {
        let streamed = self.stream(generation, plan)?;
        for batch in &streamed.batches {
            if batch["status"] != "ok" {
                bail!("a batch was refused: {batch}");
            }
        }
        // Older packages bring no client that settles.
        let client = if generation == Generation::G4 { generation } else { Generation::G3 };
        let settled = self.control(client, &["settle"])?;
        if settled["settle_phase"] != "complete" {
            bail!("not settled: {settled}");
        }
        Ok(streamed)
    }

    fn run(
        &self,
        variable: &str,
        script: &str,
        arguments: &[&str],
        input: Option<String>,
    ) -> anyhow::Result<Vec<Value>> {
        let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("producers");
        let python = std::env::var_os(variable).with_context(|| {
            format!("{variable} is not set; run ./scripts/test, which makes the Python environments")
        })?;
        let mut child = Command::new(python)
            .arg(folder.join(script))
            .args(arguments)
            .in_home(self.home.path())
            .stdin(if input.is_some() { Stdio::piped() } else { Stdio::null() })
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()?;
        if let Some(input) = input {
            child.stdin.take().context("no standard input")?.write_all(input.as_bytes())?;
        }
        let output = child.wait_with_output()?;
        let text = String::from_utf8_lossy(&output.stdout);
        if !output.status.success() {
            let errors = String::from_utf8_lossy(&output.stderr);
            bail!(
                "{script} {arguments:?} ended with {}:\n{text}\n{errors}\n--- viewer ---\n{}",
                output.status,
                self.log()
            );
        }
        text.lines().map(|line| serde_json::from_str(line).with_context(|| format!("not JSON: {line}"))).collect()
    }
}
