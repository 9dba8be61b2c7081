//! Helpers for the tests that cross crates: models with random weights, and synthetic sound.
//!
//! Everything is derived from a seed, so that a failure can be repeated.

#![forbid(unsafe_code)]

pub mod bindings;
pub mod browser;
pub mod chips;
pub mod device;
pub mod elf;
pub mod hostile;
pub mod image;
pub mod layout;
pub mod loud;
pub mod model;
pub mod null_sink;
pub mod pico;
pub mod program;
pub mod forms;
pub mod random;
pub mod requests;
pub mod screens;
pub mod server;
pub mod shipped;
pub mod sound;
pub mod terminal;
pub mod tflite;

pub use model::{Tier, random_model};
pub use random::Random;
