//! Writes to standard error and standard output without ever stopping the work.
//!
//! `eprintln!` panics if standard error is closed or its disk is full, which would end a training
//! run. [`log!`](log::info) ignores such failures, so that only the log is lost.
//!
//! `println!` panics in the same way. In this crate, the name refers to a macro that keeps the
//! first failure instead and drops what follows. The program ends with [`finish`], which returns
//! the failure once the work is saved.
//!
//! The program decides once, at its start, whether a stream gets colours ([`set_colour`]). Without
//! that, text is printed as it is. A [`Style`] only repeats what the text states in words.

use std::{
    borrow::Cow,
    env,
    error::Error as StdError,
    ffi::OsString,
    fmt,
    io::{self, Write},
    sync::{
        Mutex, OnceLock, PoisonError,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
};

use crate::{Error, Result};

/// First failure of standard output.
static FAILURE: Mutex<Option<io::Error>> = Mutex::new(None);

/// Whether standard output and standard error get colours.
static COLOURS: [AtomicBool; 2] = [const { AtomicBool::new(false) }; 2];

/// Number of columns of the terminal that standard error is; 0 if it is none.
static COLUMNS: AtomicUsize = AtomicUsize::new(0);

/// Stream that the program prints to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stream {
    /// Standard output: results.
    Output,
    /// Standard error: messages, progress and screens.
    Error,
}

/// Sets whether a stream gets colours. By default none does.
pub fn set_colour(stream: Stream, enabled: bool) {
    COLOURS[stream as usize].store(enabled, Ordering::Relaxed);
}

/// Returns `true` if a stream gets colours.
pub fn has_colour(stream: Stream) -> bool {
    COLOURS[stream as usize].load(Ordering::Relaxed)
}

/// Sets the number of columns of the terminal that standard error is.
pub fn set_columns(columns: usize) {
    COLUMNS.store(columns, Ordering::Relaxed);
}

/// Returns the number of columns of the terminal that standard error is, if it is one.
pub fn columns() -> Option<usize> {
    Some(COLUMNS.load(Ordering::Relaxed)).filter(|&columns| columns > 0)
}

/// Returns `true` if the terminal shows characters beyond ASCII: by the locale, and on Windows by the
/// terminal.
pub fn has_unicode() -> bool {
    if cfg!(windows) {
        return env::var_os("WT_SESSION").is_some() || env::var_os("TERM_PROGRAM").is_some();
    }
    is_utf8(["LC_ALL", "LC_CTYPE", "LANG"].map(env::var_os))
}

/// Returns `true` if the first locale that is set, of those that override each other in this order
/// (POSIX), has the encoding UTF-8.
fn is_utf8(locales: [Option<OsString>; 3]) -> bool {
    let first = locales.into_iter().flatten().find(|locale| !locale.is_empty());
    let name = first.unwrap_or_default().to_string_lossy().to_lowercase();
    name.contains("utf-8") || name.contains("utf8")
}

/// Style of a stretch of text.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Style {
    /// As the terminal prints text.
    #[default]
    Plain,
    /// Title, or what matters most: bold.
    Title,
    /// What is right: green.
    Good,
    /// What should be looked at: yellow.
    Warning,
    /// What is wrong: red.
    Error,
    /// What to do next: cyan.
    Accent,
    /// What matters less: dim.
    Dim,
}

impl Style {
    /// Parameters of the escape sequence (ECMA-48, SGR); empty for [`Style::Plain`].
    const fn parameters(self) -> &'static str {
        match self {
            Self::Plain => "",
            Self::Title => "1",
            Self::Good => "1;32",
            Self::Warning => "1;33",
            Self::Error => "1;31",
            Self::Accent => "1;36",
            Self::Dim => "2",
        }
    }

    /// Returns the text between escape sequences.
    ///
    /// ```
    /// use wakeling_core::console::Style;
    ///
    /// assert_eq!(Style::Good.escaped("fits"), "\u{1b}[1;32mfits\u{1b}[0m");
    /// assert_eq!(Style::Plain.escaped("fits"), "fits");
    /// ```
    pub fn escaped(self, text: &str) -> Cow<'_, str> {
        match self {
            _ if text.is_empty() => text.into(),
            Self::Plain => text.into(),
            _ => format!("\u{1b}[{}m{text}\u{1b}[0m", self.parameters()).into(),
        }
    }

    /// Returns the text in this style if the stream gets colours, else as it is. Text of a table is
    /// padded before.
    pub fn paint(self, stream: Stream, text: &str) -> Cow<'_, str> {
        if has_colour(stream) { self.escaped(text) } else { text.into() }
    }
}

/// Words that begin a line of a message, with their styles.
pub type Labels = &'static [(&'static str, Style)];

/// Labels that [`set_labels`] has set.
static LABELS: OnceLock<Labels> = OnceLock::new();

/// Sets the labels that logged messages show in a style, where standard error gets colours. A second
/// call has no effect.
pub fn set_labels(labels: Labels) {
    let _ = LABELS.set(labels);
}

/// Returns a message with the labels of its lines in their styles.
fn labelled(message: &str, labels: Labels) -> String {
    let styled = |line: &str| {
        let (margin, text) = line.split_at(line.len() - line.trim_start().len());
        let found = labels.iter().find_map(|(label, style)| {
            let rest = text.strip_prefix(label)?;
            Some(format!("{margin}{}{rest}", style.escaped(label)))
        });
        found.unwrap_or_else(|| line.to_owned())
    };
    message.split_inclusive('\n').map(styled).collect()
}

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
            match LABELS.get().filter(|_| has_colour(Stream::Error)) {
                Some(labels) => {
                    line(format_args!("{}", labelled(&record.args().to_string(), labels)));
                }
                None => line(*record.args()),
            }
        }
    }

    fn flush(&self) {}
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_alone_are_styled() {
        let labels: Labels = &[("error:", Style::Error), ("next:", Style::Accent)];
        let message = "error: a: no file\n  next: give another\nthe next: warning: no label";
        let expected = "\u{1b}[1;31merror:\u{1b}[0m a: no file\n  \u{1b}[1;36mnext:\u{1b}[0m give \
                        another\nthe next: warning: no label";
        assert_eq!(labelled(message, labels), expected);
        assert_eq!(labelled("", labels), "");
    }

    #[test]
    fn no_stream_has_colours_unless_the_program_sets_them() {
        assert_eq!(Style::Error.paint(Stream::Output, "x"), "x");
        assert_eq!((has_colour(Stream::Error), columns()), (false, None));
    }

    #[test]
    fn the_locale_states_the_encoding() {
        let locales = |locales: [&str; 3]| {
            is_utf8(locales.map(|locale| (!locale.is_empty()).then(|| locale.into())))
        };
        assert!(locales(["", "", "en_US.UTF-8"]) && locales(["", "C.utf8", "C"]));
        assert!(!locales(["C", "", "en_US.UTF-8"]) && !locales(["", "", ""]));
    }
}
