//! What end-to-end tests share: a viewer in a process of its own, the real Python producers, and pictures.

pub mod picture;
pub mod python;
pub mod viewer;
