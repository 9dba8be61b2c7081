#![doc = include_str!("../README.md")]
#![cfg_attr(not(test), deny(clippy::print_stderr, clippy::print_stdout))]

pub mod adamw;
mod builder;
mod error;
pub mod head;
pub mod layers;
pub mod mode;
pub mod ops;
pub mod optimizer;
pub mod params;
pub mod pretrained;
pub mod processor;
pub mod backbone;

pub use error::{Error, Result};

/// Scale of an `i8` feature as input of the network; the zero point is 0.
pub const INPUT_SCALE: f32 = 1.0 / 32.0;
