//! The wire of wellscope as types: batches of images, shapes and points, control messages, endpoints, components.
//!
//! This room knows bytes and field names; it opens no socket and starts no thread. Producers of the OpenHCS family
//! (polystore, zmqruntime, openhcs) speak this wire; `batch` reads what they send, `control` what their clients ask.

pub mod batch;
pub mod component;
pub mod control;
pub mod dtype;
pub mod endpoint;
pub mod label;
pub mod pickle;
pub mod reply;
pub mod route;
