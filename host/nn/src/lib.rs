//! Networks: parameters, layers, and operations that candle lacks or computes incorrectly.
//!
//! Networks are built as in candle-nn: [`Params`](params::Params) holds a `VarMap`, layers take
//! their tensors through a `VarBuilder` and implement `Module` or `ModuleT`, and
//! [`AdamW`](adamw::AdamW) implements `Optimizer`.
//!
//! Activations are `[batch, steps, channels]`, `f32`.

pub mod adamw;
mod builder;
pub mod head;
pub mod layers;
pub mod mode;
pub mod ops;
pub mod optimizer;
pub mod params;
pub mod pretrained;
pub mod processor;
pub mod backbone;

/// Scale of an `i8` feature as input of the network; the zero point is 0.
pub const INPUT_SCALE: f32 = 1.0 / 32.0;
