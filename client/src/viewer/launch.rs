//! Starting the viewer's process, detached, and waiting until it serves.

use std::io;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use wellscope_protocol::endpoint::{EndpointNaming, Transport};

use super::error::ViewerError;
use super::exit::Ended;
use super::occupant::{Occupant, look};
use super::{ViewerConfig, default_log_file, log, misfit, program};
use crate::control::{ControlClient, Pong};
use crate::endpoint::ViewerEndpoint;

const POLL_INTERVAL: Duration = Duration::from_millis(10);

/// A viewer that this process has started.
#[derive(Debug)]
pub(super) struct Launched {
    pub program: PathBuf,
    pub headless: bool,
    pub log_file: Option<PathBuf>,
    child: Child,
    /// Our end of its standard input. It ends when this closes, by us or with us.
    lifeline: Option<ChildStdin>,
}

impl Launched {
    pub(super) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Its end, if it came.
    pub(super) fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().ok().flatten()
    }

    /// Kills it and waits. It is our child, so its number cannot be another's.
    pub(super) fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// Lets it run on. Somebody has to take its exit status when it ends before this process does, else it stays in the
    /// system's table as a zombie.
    pub(super) fn forget(mut self) {
        if self.ended().is_none() {
            let reaper = std::thread::Builder::new().name("viewer-reaper".to_owned());
            let _ = reaper.spawn(move || {
                let _lifeline = self.lifeline.take();
                let _ = self.child.wait();
            });
        }
    }
}

/// Starts the process and returns at once.
pub(super) fn launch(config: &ViewerConfig, headless: bool) -> Result<Launched, ViewerError> {
    let program = program::find(config.program.as_deref())?;
    let log_file = config.log_file.clone().unwrap_or_else(|| default_log_file(&config.endpoint));
    // A log that cannot be written is no reason to show nothing.
    let (log_file, output) = match log::create(&log_file) {
        Ok(file) => (Some(log_file), Stdio::from(file)),
        Err(error) => {
            tracing::warn!("the viewer's log cannot be written: {error}. File: {}", log_file.display());
            (None, Stdio::null())
        }
    };
    let mut command = command(config, &program, headless, log_file.as_deref());
    command.stderr(output);
    detach(&mut command);
    let mut child =
        command.spawn().map_err(|source: io::Error| ViewerError::Spawn { program: program.clone(), source })?;
    let lifeline = child.stdin.take();
    tracing::debug!(pid = child.id(), program = %program.display(), headless, "viewer launched");
    Ok(Launched { program, headless, log_file, child, lifeline })
}

/// Waits for a pong of the right kind. A viewer that does not get there in time is killed.
pub(super) fn wait_until_ready(
    config: &ViewerConfig,
    control: &ControlClient,
    launched: &mut Launched,
    deadline: Instant,
) -> Result<Pong, ViewerError> {
    let started = Instant::now();
    loop {
        if let Some(status) = launched.ended() {
            let (program, log) = (launched.program.clone(), log::tail(launched.log_file.as_deref()));
            return Err(Ended { program, status, log }.into());
        }
        if let Occupant::Viewer(pong) = look(&config.endpoint, control, Duration::ZERO)
            && misfit(config, &pong).is_none()
        {
            // Another one may serve the address, and ours be about to say so and end: not ours then.
            let is_ours = pong.process.is_none_or(|process| process.pid == launched.pid());
            if is_ours || is_wrapped(launched, started) {
                return Ok(*pong);
            }
        }
        if Instant::now() >= deadline {
            launched.kill();
            let log = log::tail(launched.log_file.as_deref());
            return Err(ViewerError::NotReady { waited: started.elapsed(), log });
        }
        std::thread::sleep(POLL_INTERVAL);
    }
}

/// A program such as `xvfb-run` starts the viewer as a child of its own: it goes on living while another process answers.
fn is_wrapped(launched: &mut Launched, started: Instant) -> bool {
    started.elapsed() > Duration::from_secs(2) && launched.ended().is_none()
}

fn command(config: &ViewerConfig, program: &Path, headless: bool, log_file: Option<&Path>) -> Command {
    let endpoint = &config.endpoint;
    let mut command = Command::new(program);
    command.args(["--port", &endpoint.port.to_string()]);
    match endpoint.transport {
        Transport::Ipc => command.args(["--transport", "ipc"]),
        Transport::Tcp => command.args(["--transport", "tcp"]),
    };
    if endpoint.transport == Transport::Tcp && endpoint.host.contains(':') {
        command.args(["--bind", endpoint.host.trim_matches(['[', ']'])]);
    }
    name_sockets(&mut command, endpoint);
    if let Some(title) = &config.title {
        // One word, so that a title that begins with a dash is none of the options.
        command.arg(format!("--title={title}"));
    }
    if let Some(application) = &config.application {
        command.arg(format!("--application={}={}", application.id, application.version));
    }
    if let Some(path) = log_file {
        command.arg("--log-file").arg(path);
    }
    if headless {
        command.arg("--headless");
    }
    if config.persistent {
        command.stdin(Stdio::null());
    } else {
        command.arg("--exit-with-stdin").stdin(Stdio::piped());
    }
    // The log file has it already.
    command.stdout(Stdio::null());
    command.args(&config.arguments);
    if std::env::home_dir().as_ref() != Some(&endpoint.home) {
        command.env("HOME", &endpoint.home);
    }
    command
}

/// Has the viewer name its sockets as `endpoint` does. Names of no known application travel by polystore's variables.
fn name_sockets(command: &mut Command, endpoint: &ViewerEndpoint) {
    let naming = &endpoint.naming;
    if *naming == EndpointNaming::openhcs() {
        return;
    }
    if *naming == EndpointNaming::zmqruntime() {
        command.args(["--socket-names", "zmqruntime"]);
        return;
    }
    command.args(["--socket-names", "polystore"]).envs([
        ("POLYSTORE_ZMQ_APP_NAME", naming.app_name.clone()),
        ("POLYSTORE_ZMQ_IPC_DIR", naming.ipc_dir.clone()),
        ("POLYSTORE_ZMQ_IPC_PREFIX", naming.prefix.clone()),
        ("POLYSTORE_ZMQ_IPC_EXT", naming.ext.clone()),
        ("POLYSTORE_ZMQ_CONTROL_OFFSET", naming.control_offset.to_string()),
        ("POLYSTORE_ZMQ_DEFAULT_PORT", naming.default_port.to_string()),
        ("POLYSTORE_ZMQ_ACK_PORT", naming.ack_port.to_string()),
    ]);
}

/// A session of its own: neither Ctrl+C nor a terminal that closes reaches it.
#[cfg(unix)]
fn detach(command: &mut Command) {
    use std::os::unix::process::CommandExt;
    let own_session = || {
        // Cannot fail: a process that was just forked leads no group.
        let _ = rustix::process::setsid();
        Ok(())
    };
    // SAFETY: between fork and exec only functions that are safe in a signal handler may be called. This makes one system
    // call, setsid(2), and neither allocates nor takes a lock.
    unsafe { command.pre_exec(own_session) };
}

/// No console window, and none of the console's Ctrl+C, as OpenHCS 0.8.6 starts its viewers.
#[cfg(windows)]
fn detach(command: &mut Command) {
    use std::os::windows::process::CommandExt;
    const CREATE_NO_WINDOW: u32 = 0x0800_0000;
    const CREATE_NEW_PROCESS_GROUP: u32 = 0x0000_0200;
    command.creation_flags(CREATE_NO_WINDOW | CREATE_NEW_PROCESS_GROUP);
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::ffi::OsStr;
    use wellscope_protocol::control::Application;

    fn words(config: &ViewerConfig, headless: bool) -> Vec<String> {
        let command = command(config, Path::new("wellscope"), headless, Some(Path::new("/l.log")));
        command.get_args().map(|word| word.to_string_lossy().into_owned()).collect()
    }

    #[test]
    fn the_command_line_says_what_was_configured() {
        let endpoint = ViewerEndpoint { transport: Transport::Ipc, ..ViewerEndpoint::openhcs(5600) };
        let persistent = ViewerConfig::new(endpoint.clone());
        assert_eq!(words(&persistent, false), ["--port", "5600", "--transport", "ipc", "--log-file", "/l.log"]);
        let config = ViewerConfig {
            persistent: false,
            title: Some("- plate 7".to_owned()),
            application: Some(Application { id: "openhcs".to_owned(), version: "0.8.6".to_owned() }),
            arguments: vec!["--memory-limit".into(), "1GiB".into()],
            endpoint: ViewerEndpoint { transport: Transport::Tcp, host: "::1".to_owned(), ..endpoint },
            ..persistent
        };
        let expected = "--port 5600 --transport tcp --bind ::1 --title=- plate 7 --application=openhcs=0.8.6 \
                        --log-file /l.log --headless --exit-with-stdin --memory-limit 1GiB";
        assert_eq!(words(&config, true).join(" "), expected);
    }

    #[test]
    fn socket_names_of_any_application_reach_the_viewer() {
        let naming = EndpointNaming { app_name: "lab".to_owned(), ..EndpointNaming::openhcs() };
        let endpoint = ViewerEndpoint { naming, home: "/h".into(), ..ViewerEndpoint::openhcs(5600) };
        let command = command(&ViewerConfig::new(endpoint), Path::new("wellscope"), false, None);
        let variable = |name: &str| command.get_envs().find(|(key, _)| *key == name).and_then(|(_, value)| value);
        assert_eq!(variable("POLYSTORE_ZMQ_APP_NAME"), Some(OsStr::new("lab")));
        assert_eq!(variable("POLYSTORE_ZMQ_IPC_PREFIX"), Some(OsStr::new("openhcs-zmq")));
        assert_eq!(variable("HOME"), Some(OsStr::new("/h")));
    }
}
