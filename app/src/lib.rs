//! The wellscope viewer: a window (or none) that shows what a pipeline streams.
//!
//! [`start::run`] is the whole program; `main.rs` only reads the command line.

pub mod amount;
pub mod colormap;
pub mod host;
pub mod options;
pub mod render;
pub mod signals;
pub mod start;
pub mod statistics;
pub mod systems;
pub mod ui;
pub mod viewer;
pub mod viewer_plugin;
