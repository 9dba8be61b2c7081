//! Networks to train: parameters, layers, and the operations that candle lacks or gets wrong.
//!
//! Activations are `[batch, steps, channels]`, `f32`.

pub mod head;
pub mod ops;
pub mod optimizer;
pub mod params;
pub mod processor;
pub mod trunk;

/// What one step of an `i8` feature is worth to the network; zero stays zero.
pub const INPUT_SCALE: f32 = 1.0 / 32.0;
