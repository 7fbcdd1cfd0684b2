//! What end-to-end tests share: a viewer in a process of its own, the real Python producers, displays and pictures.

pub mod commands;
pub mod display;
pub mod home;
pub mod incumbent;
pub mod lifecycle;
pub mod openhcs;
pub mod picture;
pub mod python;
pub mod rust_client;
pub mod viewer;
