//! Reads the command line; starts the viewer, or hands a command over.

use std::process::ExitCode;

use clap::Parser;
use wellscope::options::CommandLine;

fn main() -> ExitCode {
    let line = CommandLine::parse();
    match line.command {
        Some(command) => wellscope_cli::run(command),
        None => wellscope::start::run(line.viewer),
    }
}
