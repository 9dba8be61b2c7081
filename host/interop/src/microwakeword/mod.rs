//! microWakeWord models.

pub mod import;
pub mod manifest;
mod graph;
mod kernels;
mod lower;
mod nodes;
