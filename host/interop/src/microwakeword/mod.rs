//! microWakeWord models.

pub mod import;
