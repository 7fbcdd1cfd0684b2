//! The commands of `wellscope` beside the viewer itself: stream, run, ctl and demo.
//!
//! A command is a module with its arguments and `pub fn run(&Arguments) -> ExitCode`, and a variant of [`Command`]. Nothing
//! here knows the viewer's program; the binary hands a command over before it has touched a window or a GPU.

pub mod address;
pub mod ctl;
pub mod demo;
pub mod interrupt;
pub mod progress;
pub mod run;
pub mod stream;
pub mod viewer_options;

use std::process::ExitCode;

/// What `wellscope` does when its first word is a command.
#[derive(clap::Subcommand, Clone, Debug)]
pub enum Command {
    /// Show a plate that lies on disk, in a viewer that runs or is started.
    Stream(stream::StreamArguments),
    /// Run a pipeline of built-in steps over a plate, with a viewer.
    Run(run::RunArguments),
    /// Make a plate of synthetic cells and run a pipeline over it, with a viewer.
    Demo(demo::DemoArguments),
    /// Ask a running viewer, or tell it what to show: state, settle, navigate, screenshot, shutdown, ...
    Ctl(ctl::CtlArguments),
}

/// Carries out a command. What goes wrong is printed; the exit code is one of those in the command's `--help`.
pub fn run(command: Command) -> ExitCode {
    match command {
        Command::Stream(arguments) => stream::run(&arguments),
        Command::Run(arguments) => run::run(&arguments),
        Command::Demo(arguments) => demo::run(&arguments),
        Command::Ctl(arguments) => ctl::run(&arguments),
    }
}
