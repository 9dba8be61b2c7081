//! Scores, false accepts and sensitivity as people read them.
//!
//! Each model has a different threshold: three training runs gave 0.0046, 0.9994 and 0.0288. People
//! therefore see a [`DetectionLevel`], on which every threshold is 50. A count of false accepts is
//! a [`FalseAccepts`], with the bound that its audio allows. A [`Preset`] is one of three named
//! thresholds, and a [`SensitivityScale`] holds the presets of a model.

mod event;
mod level;
mod preset;
mod rate;

pub use event::DetectionEvent;
pub use level::DetectionLevel;
pub use preset::{Evidence, Preset, SensitivityScale, Setting};
pub use rate::{FalseAccepts, duration, interval, poisson_interval, upper_rate};
