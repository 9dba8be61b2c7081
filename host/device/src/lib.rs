#![doc = include_str!("../README.md")]
#![cfg_attr(not(test), deny(clippy::print_stderr, clippy::print_stdout))]

pub mod model_file;
pub mod owned;
pub mod sensitivity;
pub mod stream;
pub mod simulate;
pub mod emulator;
pub mod board;
pub mod cost;
pub mod attached;
pub mod toolchain;
pub mod flash;
pub mod update;
pub mod recorder;
mod error;

pub use error::{Error, Result};
