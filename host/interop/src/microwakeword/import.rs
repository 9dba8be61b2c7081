//! Converts a microWakeWord model to a model of this project.
