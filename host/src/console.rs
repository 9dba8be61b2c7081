//! Lines on standard error that never stop the work.
//!
//! `eprintln!` panics when standard error is closed or its disk is full, and a training would end with
//! it. [`log!`](crate::log) ignores such failures: a log that cannot be written costs only the log.

use std::{fmt, io::Write};

/// Writes a line to standard error. Ignores failures.
///
/// The line is written in one call, so that lines of several threads and processes do not mix.
pub fn line(text: fmt::Arguments<'_>) {
    raw(&format!("{text}\n"));
}

/// Writes text to standard error without ending the line. Ignores failures.
pub fn raw(text: &str) {
    let mut stderr = std::io::stderr().lock();
    // There is no other place in which to report that standard error cannot be written.
    let _ = stderr.write_all(text.as_bytes()).and_then(|()| stderr.flush());
}

/// Logs a line to standard error, with the arguments of [`format!`]. Never fails: see
/// [`console`](crate::console).
#[macro_export]
macro_rules! log {
    ($($arguments:tt)*) => { $crate::console::line(::core::format_args!($($arguments)*)) };
}
