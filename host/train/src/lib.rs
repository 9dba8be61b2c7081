#![doc = include_str!("../README.md")]
#![cfg_attr(not(test), deny(clippy::print_stderr, clippy::print_stdout))]

pub mod startup;
pub mod models;
pub mod trainer;
pub mod distillation;
pub mod pretrain;
pub mod quantize;
pub mod embeddings;
pub mod head_checkpoint;
pub mod finetune;
pub mod evaluate;
pub mod enroll;
pub mod compare;
pub mod advise;
pub mod unlike;
mod error;

pub use error::{Error, Result};

/// Returns the default number of training threads: one per core, as far as training uses them.
pub fn default_workers() -> usize {
    std::thread::available_parallelism().map_or(1, std::num::NonZero::get).min(trainer::SHARDS)
}
