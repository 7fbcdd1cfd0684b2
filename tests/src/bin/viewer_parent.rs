//! An orchestrator as small as possible: wants a viewer, tells what it got, and holds it until its standard input ends.
//!
//! Arguments are `key=value`: port, home, transport, program, persistent, replace, application (id=version), headless.
//! Prints one line, `OUTCOME PID HEADLESS`, or `error SENTENCE`.

use std::io::Read;
use std::path::PathBuf;

use anyhow::Context;
use wellscope_client::{Application, StartedOrReused, Transport, Viewer, ViewerConfig, ViewerEndpoint};

fn main() -> anyhow::Result<()> {
    match Viewer::ensure(&config()?) {
        Ok(viewer) => {
            let outcome = match viewer.outcome() {
                StartedOrReused::Started => "started",
                StartedOrReused::Replaced { .. } => "replaced",
                StartedOrReused::Reused => "reused",
            };
            println!("{outcome} {} {}", viewer.process().map_or(0, |process| process.pid), viewer.is_headless());
            std::io::stdin().read_to_end(&mut Vec::new())?;
        }
        Err(error) => println!("error {}", error.to_string().replace('\n', " ")),
    }
    Ok(())
}

fn config() -> anyhow::Result<ViewerConfig> {
    let mut config = ViewerConfig::new(ViewerEndpoint { host: "127.0.0.1".to_owned(), ..ViewerEndpoint::default() });
    for argument in std::env::args().skip(1) {
        let (key, value) = argument.split_once('=').context("arguments are key=value")?;
        match key {
            "port" => config.endpoint.port = value.parse()?,
            "home" => config.endpoint.home = PathBuf::from(value),
            "transport" if value == "tcp" => config.endpoint.transport = Transport::Tcp,
            "transport" => config.endpoint.transport = Transport::Ipc,
            "program" => config.program = Some(PathBuf::from(value)),
            "persistent" => config.persistent = value.parse()?,
            "replace" => config.replace = value.parse()?,
            "headless" => config.headless = Some(value.parse()?),
            "application" => {
                let (id, version) = value.split_once('=').context("an application is id=version")?;
                config.application = Some(Application { id: id.to_owned(), version: version.to_owned() });
            }
            other => anyhow::bail!("there is no argument {other}"),
        }
    }
    Ok(config)
}
