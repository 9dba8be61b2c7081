#![doc = include_str!("../README.md")]
#![cfg_attr(not(test), deny(clippy::print_stderr, clippy::print_stdout))]

pub mod text;
pub mod tokens;
pub mod phrase;
pub mod dataset;
pub mod clip_features;
pub mod table;
pub mod takes;
pub mod loader;
pub mod mixing;
pub mod negatives;
pub mod pack;
pub mod synthesize;
pub mod remote;
mod error;

pub use error::{Error, Result};

/// Returns the default number of threads that read clips: one per core, at most four.
pub fn default_readers() -> usize {
    std::thread::available_parallelism().map_or(1, std::num::NonZero::get).min(4)
}
