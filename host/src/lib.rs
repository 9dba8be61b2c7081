//! Host side of Wakeling: dataset → batches → pretraining → fine-tuning → quantization → model file
//! → evaluation → simulation → flashing.

#![deny(unsafe_code)]
// A log that cannot be written must not end the work. `console` ignores that error; `eprintln!`
// panics.
#![cfg_attr(not(test), deny(clippy::print_stderr))]

// Declared first, because its macros replace those of the standard library in the modules below.
#[macro_use]
pub mod console;

pub mod advise;
pub mod model_file;
pub mod attached;
pub mod audio;
pub mod pretrained;
pub mod board;
pub mod capture;
pub mod cli;
pub mod compare;
pub mod mixing;
pub mod dataset;
pub mod doctor;
pub mod emulator;
pub mod enroll;
pub mod error;
pub mod evaluate;
pub mod features;
pub mod loader;
pub mod files;
pub mod finetune;
pub mod flash;
pub mod images;
pub mod live;
pub mod models;
pub mod negatives;
pub mod nn;
pub mod pack;
pub mod phrase;
pub mod plan;
pub mod pretrain;
pub mod progress;
pub mod quantize;
pub mod recorder;
pub mod remote;
pub mod sensitivity;
mod simd;
pub mod simulate;
pub mod startup;
pub mod studio;
pub mod synthesize;
pub mod table;
pub mod takes;
pub mod distillation;
pub mod terminal;
pub mod text;
pub mod tokens;
pub mod toolchain;
pub mod train;
pub mod head_checkpoint;
pub mod update;

pub use error::{Error, Result};

/// Returns the default number of training threads: one per core, up to [`train::SHARDS`].
pub fn default_workers() -> usize {
    cores().min(train::SHARDS)
}

/// Returns the default number of threads that read clips: one per core, at most four.
pub fn default_readers() -> usize {
    cores().min(4)
}

fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, std::num::NonZero::get)
}
