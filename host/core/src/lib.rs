#![doc = include_str!("../README.md")]
#![cfg_attr(not(test), deny(clippy::print_stderr, clippy::print_stdout))]

pub mod cache;
pub mod choice;
pub mod error;
pub mod files;
pub mod progress;
pub mod console;
pub mod random;
pub mod shipped;
mod vector;

pub use error::{Error, Result};
