//! Writes to standard error and standard output without ever stopping the work.
//!
//! `eprintln!` panics if standard error is closed or its disk is full, which would end a training
//! run. [`log!`](log::info) ignores such failures, so that only the log is lost.
//!
//! `println!` panics in the same way. In this crate, the name refers to a macro that keeps the
//! first failure instead and drops what follows. The program ends with [`finish`], which returns
//! the failure once the work is saved.

use std::{
    error::Error as StdError,
    fmt,
    io::{self, Write},
    sync::{Mutex, OnceLock, PoisonError},
};

use crate::{Error, Result};

/// First failure of standard output.
static FAILURE: Mutex<Option<io::Error>> = Mutex::new(None);

/// Function that returns an error's text for the user.
pub type Explain = fn(&(dyn StdError + 'static)) -> String;

/// Function that [`explain_with`] has set.
static EXPLAIN: OnceLock<Explain> = OnceLock::new();

/// Sets the function for errors that are logged or recorded while the work goes on. Libraries state
/// only problems; the program adds what the user can do. A second call has no effect.
pub fn explain_with(explain: Explain) {
    let _ = EXPLAIN.set(explain);
}

/// Returns an error's text for the user: that of the program's function, if it has set one.
///
/// ```
/// use wakeling_core::{Error, console};
///
/// assert_eq!(console::explained(&Error::Cancelled), "cancelled");
/// ```
pub fn explained(error: &(dyn StdError + 'static)) -> String {
    EXPLAIN.get().map_or_else(|| error.to_string(), |explain| explain(error))
}

/// Writes to standard output. Keeps the first failure for [`finish`], and writes nothing after it.
pub fn print(text: fmt::Arguments<'_>) {
    let mut failure = FAILURE.lock().unwrap_or_else(PoisonError::into_inner);
    if failure.is_none() {
        *failure = io::stdout().lock().write_fmt(text).err();
    }
}

/// Flushes standard output and returns its first failure. A closed pipe does not count as one.
///
/// # Errors
/// [`Error::Io`] if any output could not be written.
pub fn finish() -> Result<()> {
    let mut failure = FAILURE.lock().unwrap_or_else(PoisonError::into_inner);
    match failure.take().map_or_else(|| io::stdout().lock().flush(), Err) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            Err(Error::io("standard output", "write")(error))
        }
        _ => Ok(()),
    }
}

/// Writes a line to standard error. Ignores failures.
///
/// The line is written in one call, so that lines of several threads and processes do not mix.
pub fn line(text: fmt::Arguments<'_>) {
    raw(&format!("{text}\n"));
}

/// Writes text to standard error without ending the line. Ignores failures.
pub fn raw(text: &str) {
    let mut stderr = std::io::stderr().lock();
    // If standard error cannot be written, there is no other place to report it.
    let _ = stderr.write_all(text.as_bytes()).and_then(|()| stderr.flush());
}

/// Sends the messages of this project's crates to standard error, each as a line of its own, and drops
/// those of others. A second call has no effect.
pub fn log_to_stderr() {
    if log::set_logger(&Lines).is_ok() {
        log::set_max_level(log::LevelFilter::Info);
    }
}

/// Logger that prints messages without a level or a time.
struct Lines;

impl log::Log for Lines {
    fn enabled(&self, metadata: &log::Metadata<'_>) -> bool {
        metadata.target().starts_with("wakeling")
    }

    fn log(&self, record: &log::Record<'_>) {
        if self.enabled(record.metadata()) {
            line(*record.args());
        }
    }

    fn flush(&self) {}
}
