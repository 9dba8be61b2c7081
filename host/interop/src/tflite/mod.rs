//! TensorFlow Lite files.

pub mod arithmetic;
pub mod read;
mod table;
pub mod write;
