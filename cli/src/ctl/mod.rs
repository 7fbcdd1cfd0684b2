//! `wellscope ctl`: control calls to a running viewer, for scripts and shells.

use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, Subcommand};
use wellscope_client::{ControlClient, PING_TIMEOUT};

use crate::address::ViewerAddress;

/// Options of `wellscope ctl`.
#[derive(Args, Clone, Debug)]
pub struct CtlArguments {
    /// Which viewer.
    #[command(flatten)]
    pub address: ViewerAddress,

    /// What to ask.
    #[command(subcommand)]
    pub call: Call,
}

/// One control call.
#[derive(Subcommand, Clone, Debug)]
pub enum Call {
    /// Is a viewer there, and ready?
    Ping,
}

/// Makes the call and prints the answer.
pub fn run(arguments: &CtlArguments) -> ExitCode {
    let pong = ControlClient::connect(&arguments.address.endpoint())
        .map_err(|error| error.to_string())
        .and_then(|client| client.ping(PING_TIMEOUT.max(Duration::from_secs(1))).map_err(|error| error.to_string()));
    match pong {
        Ok(pong) => {
            println!("ready: {}", pong.ready);
            ExitCode::SUCCESS
        }
        Err(sentence) => {
            eprintln!("wellscope ctl: {sentence}");
            ExitCode::from(3)
        }
    }
}
