//! Drawing.
pub mod scene;
