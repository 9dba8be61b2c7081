//! microWakeWord models.

pub mod import;
pub mod export;
pub mod arena;
pub mod score;
pub mod counts;
pub mod esphome;
pub mod manifest;
pub mod files;
mod graph;
mod kernels;
mod lower;
mod nodes;
mod trace;

/// Scale of microWakeWord's features: 26 / 255.
pub const INPUT_SCALE: f32 = 26.0 / 255.0;
/// Zero point of microWakeWord's features.
pub const INPUT_ZERO: i8 = i8::MIN;
