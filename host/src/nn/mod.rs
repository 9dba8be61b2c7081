//! (in progress)
pub mod ops;
