#![doc = include_str!("../README.md")]
#![cfg_attr(not(test), deny(clippy::print_stderr, clippy::print_stdout))]

pub mod tflite;
pub mod microwakeword;
pub mod c_array;
mod error;

pub use error::{Error, ExportError, ImportError, ReadError, Result};
