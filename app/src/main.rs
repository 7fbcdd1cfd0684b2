//! Reads the command line and starts the viewer.

use std::process::ExitCode;

use clap::Parser;
use wellscope::options::Options;

fn main() -> ExitCode {
    wellscope::start::run(Options::parse())
}
