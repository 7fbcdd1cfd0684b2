//! `wellscope ctl`: control calls to a running viewer, for scripts and shells.

mod answer;
mod calls;
mod perform;
mod places;
mod show;

use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use wellscope_client::{ControlClient, ControlError};

use crate::address::ViewerAddress;
pub use calls::Call;

/// Exit codes, as `--help` lists them.
pub mod exit_code {
    /// The viewer refused, or something went wrong that is printed.
    pub const REFUSED: u8 = 1;
    // 2 is clap's: the command line could not be understood.
    /// No viewer listens at the address.
    pub const NOBODY: u8 = 3;
    /// A viewer is there and did not answer, or did not get done, in time.
    pub const TOO_LATE: u8 = 4;
}

/// Options of `wellscope ctl`.
#[derive(Args, Clone, Debug)]
#[command(
    subcommand_value_name = "CALL",
    subcommand_help_heading = "Calls",
    disable_help_subcommand = true,
    after_help = "LAYER is a layer's title or route key, as `wellscope ctl state` lists them.\n\nExamples:\n  wellscope ctl settle && wellscope ctl screenshot -o plate.png\n  wellscope ctl navigate --at well=B02 --at channel=2\n  wellscope ctl intensity \"1. Gaussian Blur\" --percentiles 1 99.8\n  wellscope ctl state --json | jq .wellscope.overlay\n\nExit codes:\n  0  done\n  1  the viewer refused, or failed for a reason that is printed\n  2  the command line could not be understood\n  3  no viewer listens there\n  4  the viewer did not answer, or did not get done, in time"
)]
pub struct CtlArguments {
    /// Which viewer.
    #[command(flatten)]
    pub address: ViewerAddress,

    /// Seconds that an answer may take
    #[arg(long, value_name = "SECONDS", default_value = "30", value_parser = seconds, global = true, help_heading = "Options")]
    pub timeout: Duration,

    /// Print the whole answer as JSON
    #[arg(long, id = "ctl-json", global = true, help_heading = "Options")]
    pub json: bool,

    /// What to ask.
    #[command(subcommand)]
    pub call: Call,
}

/// Why a call came to nothing.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CtlError {
    #[error(transparent)]
    Control(#[from] ControlError),
    /// Refused by us, before or after asking.
    #[error("{0}")]
    Refused(String),
    #[error("{0}")]
    Nobody(String),
    #[error("{0}")]
    TooLate(String),
}

impl CtlError {
    fn code(&self) -> u8 {
        match self {
            Self::Control(error) if error.is_absent() => exit_code::NOBODY,
            Self::Control(error) if error.is_late() => exit_code::TOO_LATE,
            Self::Control(_) | Self::Refused(_) => exit_code::REFUSED,
            Self::Nobody(_) => exit_code::NOBODY,
            Self::TooLate(_) => exit_code::TOO_LATE,
        }
    }
}

/// Makes the call and prints the answer.
pub fn run(arguments: &CtlArguments) -> ExitCode {
    let endpoint = arguments.address.endpoint();
    let answer = ControlClient::connect(&endpoint)
        .map_err(|error| CtlError::Refused(error.to_string()))
        .and_then(|client| perform::perform(arguments, &client.with_timeout(arguments.timeout)))
        .map_err(|error| match error {
            // No handshake came about, yet somebody holds the address.
            CtlError::Control(error) if error.is_absent() && endpoint.is_served() => CtlError::TooLate(format!(
                "the program on port {} does not answer; it hangs, or is no viewer",
                endpoint.port
            )),
            other => other,
        });
    match answer {
        Ok(answer) => {
            answer.print(arguments.json);
            ExitCode::SUCCESS
        }
        Err(error) => {
            answer::print_error(&error, arguments.json);
            ExitCode::from(error.code())
        }
    }
}

fn seconds(text: &str) -> Result<Duration, String> {
    let seconds: f64 = text.parse().map_err(|_| "expected a number of seconds, e.g. 2.5".to_owned())?;
    match Duration::try_from_secs_f64(seconds) {
        Ok(duration) if !duration.is_zero() && seconds <= 86_400.0 => Ok(duration),
        _ => Err("expected more than 0 and at most 86400 seconds".to_owned()),
    }
}
