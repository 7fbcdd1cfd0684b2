//! What an exit code of the viewer means, in the words of its `--help`.

use std::path::PathBuf;
use std::process::ExitStatus;

/// The command line could not be understood: clap's code.
pub(super) const BAD_COMMAND_LINE: i32 = 2;
/// No GPU and no software renderer.
pub(super) const NO_GPU: i32 = 3;
/// No display to open a window on.
pub(super) const NO_DISPLAY: i32 = 4;
/// Another program serves the port.
pub(super) const PORT_IN_USE: i32 = 5;
/// The endpoints could not be opened for another reason.
pub(super) const NO_ENDPOINT: i32 = 6;

/// A viewer that ended before it served.
#[derive(Debug, thiserror::Error)]
#[error("the viewer ended with {status} before it served: {}{log}. Program: {}", explain(*status), program.display())]
pub struct Ended {
    /// The viewer's program.
    pub program: PathBuf,
    /// How it ended.
    pub status: ExitStatus,
    /// End of its log, ready to be appended to a sentence.
    pub log: String,
}

fn explain(status: ExitStatus) -> &'static str {
    match status.code() {
        Some(BAD_COMMAND_LINE) => "it did not understand its options; is it another version of wellscope?",
        Some(NO_GPU) => "no GPU and no software renderer was found; install a driver or mesa-vulkan-drivers",
        Some(NO_DISPLAY) => "there is no display to open a window on; start it headless, or set DISPLAY",
        Some(PORT_IN_USE) => "another program serves the port; end it or choose another port",
        Some(NO_ENDPOINT) => "its sockets could not be opened; look whether the socket folder can be written",
        Some(_) => "its log says why",
        None => "it was killed",
    }
}
