//! Reads the tables of a TensorFlow Lite file that a conversion needs.
