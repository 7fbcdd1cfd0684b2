//! Pipelines over plates: what a step computes, what of it is written and streamed, and wells in parallel.

pub mod functions;
pub mod synthetic;
