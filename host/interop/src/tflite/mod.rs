//! TensorFlow Lite files.

pub mod read;
