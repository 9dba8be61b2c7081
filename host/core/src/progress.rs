//! Progress of long work: an observer of it, and one that draws on stderr, as bars for a person or as
//! lines for a program.
//!
//! A program that starts this one sets [`LINES`] and reads a line for each update. The line is JSON
//! behind a fixed prefix, followed by the bar's message.
//!
//! ```text
//! wakeling-progress {"bar":3,"stage":"finetune","position":30,"length":100} embedding negatives
//! ```
//!
//! JSON survives the changes that a terminal library makes to text, such as expanding tabs and
//! trimming spaces.

use std::{
    fmt, io,
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressState, ProgressStyle, TermLike};
use serde::{Deserialize, Serialize};

use crate::{Error, Result, console};

/// Environment variable that requests progress as lines instead of bars.
pub const LINES: &str = "WAKELING_PROGRESS_LINES";
/// Start of each line of progress.
const PREFIX: &str = "wakeling-progress ";
/// Lines per second.
const LINES_HZ: u8 = 4;

/// Observer of long work, which may also cancel it. The work calls it from several threads.
///
/// ```
/// use std::sync::atomic::{AtomicU64, Ordering};
/// use wakeling_core::{Result, progress::Progress};
///
/// /// Cancels the work after ten units.
/// #[derive(Default)]
/// struct Ten(AtomicU64);
///
/// impl Progress for Ten {
///     fn advance(&self, units: u64) {
///         self.0.fetch_add(units, Ordering::Relaxed);
///     }
///
///     fn is_cancelled(&self) -> bool {
///         self.0.load(Ordering::Relaxed) >= 10
///     }
/// }
///
/// fn work(progress: &dyn Progress) -> Result<()> {
///     progress.begin("work", 1_000);
///     (0..1_000).try_for_each(|_| {
///         progress.check()?;
///         progress.advance(1);
///         Ok(())
///     })
/// }
///
/// let ten = Ten::default();
/// assert!(work(&ten).unwrap_err().is_cancelled());
/// assert_eq!(ten.0.load(Ordering::Relaxed), 10);
/// ```
pub trait Progress: Sync {
    /// Called when a stage of `length` units begins.
    fn begin(&self, _title: &'static str, _length: u64) {}

    /// Called when more units of the stage are done.
    fn advance(&self, _units: u64) {}

    /// Called with a description of the current work.
    fn message(&self, _text: &str) {}

    /// Called with a line for the user. By default, it is logged.
    fn line(&self, line: &str) {
        log::info!("{line}");
    }

    /// Called with the next point of a curve, such as the loss by training steps. A run that is resumed
    /// begins at the step of its checkpoint, so points from there on replace earlier ones.
    fn point(&self, _curve: &'static str, _step: usize, _value: f64) {}

    /// Called when the stage is over.
    fn end(&self) {}

    /// Returns `true` once the work should stop.
    fn is_cancelled(&self) -> bool {
        false
    }

    /// Returns an error once the work should stop, for use with `?`.
    ///
    /// # Errors
    /// [`Error::Cancelled`].
    fn check(&self) -> Result<()> {
        if self.is_cancelled() { Err(Error::Cancelled) } else { Ok(()) }
    }
}

/// Observer that logs lines and ignores everything else.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoProgress;

impl Progress for NoProgress {}

/// Observer that draws a bar on stderr for each stage.
#[derive(Debug, Default)]
pub struct Bars(Mutex<Option<ProgressBar>>);

/// Time between two drawings of a bar that does not move, so that its time left stays true.
const TICK: Duration = Duration::from_millis(500);

impl Bars {
    fn bar(&self) -> MutexGuard<'_, Option<ProgressBar>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Progress for Bars {
    fn begin(&self, title: &'static str, length: u64) {
        self.end();
        let bar = progress_bar(length, title);
        bar.enable_steady_tick(TICK);
        *self.bar() = Some(bar);
    }

    fn advance(&self, units: u64) {
        if let Some(bar) = &*self.bar() {
            bar.inc(units);
        }
    }

    fn message(&self, text: &str) {
        if let Some(bar) = &*self.bar() {
            bar.set_message(text.to_owned());
        }
    }

    fn line(&self, line: &str) {
        match &*self.bar() {
            Some(bar) => bar.suspend(|| log::info!("{line}")),
            None => log::info!("{line}"),
        }
    }

    fn end(&self) {
        if let Some(bar) = self.bar().take() {
            bar.finish_and_clear();
        }
    }
}

impl Drop for Bars {
    fn drop(&mut self) {
        // Error messages are printed where the bar was.
        self.end();
    }
}

/// State of one bar, as a line of progress contains it.
///
/// ```
/// use wakeling_core::progress::Update;
///
/// let line = r#"wakeling-progress {"bar":3,"stage":"finetune","position":30,"length":120} embedding"#;
/// let update = Update::parse(line).unwrap();
/// assert_eq!((update.share(), update.message.as_str()), (0.25, "embedding"));
/// assert_eq!(Update::parse("warning: only 3 recordings"), None);
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Update {
    /// Number of the bar. A new bar has a new number, also under the same title.
    pub bar: u64,
    /// Title of the bar.
    pub stage: String,
    /// Units done.
    pub position: u64,
    /// Units in all; 0 if that is unknown.
    pub length: u64,
    /// Description of the current work; may be empty.
    #[serde(skip)]
    pub message: String,
}

impl Update {
    /// Parses a line; `None` if it is not a line of progress.
    pub fn parse(line: &str) -> Option<Self> {
        let line = line.trim().strip_prefix(PREFIX)?;
        let mut values = serde_json::Deserializer::from_str(line).into_iter::<Self>();
        let update = values.next()?.ok()?;
        let message = line.get(values.byte_offset()..)?.trim().to_owned();
        Some(Self { message, ..update })
    }

    /// Share of the bar that is done, 0 to 1.
    pub fn share(&self) -> f64 {
        (self.position as f64 / self.length.max(1) as f64).min(1.0)
    }
}

impl fmt::Display for Update {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let json = serde_json::to_string(self).map_err(|_| fmt::Error)?;
        write!(f, "{PREFIX}{json} {}", self.message)
    }
}

/// Creates a bar on stderr with position, time left and a message.
pub fn progress_bar(length: u64, title: &'static str) -> ProgressBar {
    let bar = ProgressBar::new(length);
    let style = if std::env::var_os(LINES).is_some() {
        bar.set_draw_target(ProgressDrawTarget::term_like_with_hz(Box::new(Lines), LINES_HZ));
        lines_style(title)
    } else {
        let look = (console::has_colour(console::Stream::Error), console::has_unicode());
        bar_style(look, console::columns())
    };
    if let Ok(style) = style {
        bar.set_style(style);
    }
    bar.set_prefix(title);
    bar
}

/// Style of a bar with position, time left and a message, with colours and characters beyond ASCII
/// where the terminal has them. In a narrow terminal the bar is shorter, and the message is cut
/// rather than the time.
fn bar_style(
    (has_colour, has_unicode): (bool, bool),
    columns: Option<usize>,
) -> std::result::Result<ProgressStyle, indicatif::style::TemplateError> {
    let length = columns.map_or(30, |columns| columns.saturating_sub(60).clamp(6, 30));
    let title =
        if columns.is_some_and(|columns| columns < 60) { "{prefix}" } else { "{prefix:>12}" };
    let bar = match (has_colour, has_unicode) {
        (true, true) => format!("{{bar:{length}.cyan/black.bright}}"),
        (false, true) => format!("{{bar:{length}}}"),
        (true, false) => format!("[{{bar:{length}.cyan}}]"),
        (false, false) => format!("[{{bar:{length}}}]"),
    };
    // The done part differs from the rest in weight as well as in colour.
    let characters = if has_unicode { "━╸─" } else { "=> " };
    let template = format!("{title} {bar} {{pos}}/{{len}} {{eta}} left  {{wide_msg}}");
    Ok(ProgressStyle::with_template(&template)?.progress_chars(characters))
}

/// Style that draws a bar as a line of progress.
fn lines_style(
    title: &'static str,
) -> std::result::Result<ProgressStyle, indicatif::style::TemplateError> {
    static BARS: AtomicU64 = AtomicU64::new(0);
    let bar = BARS.fetch_add(1, Ordering::Relaxed);
    let line = move |state: &ProgressState, out: &mut dyn fmt::Write| {
        let (position, length) = (state.pos(), state.len().unwrap_or(0));
        let (stage, message) = (title.to_owned(), String::new());
        // Writing to text in memory does not fail.
        let _ = write!(out, "{}", Update { bar, stage, position, length, message });
    };
    Ok(ProgressStyle::with_template("{update}{msg}")?.with_key("update", line))
}

/// Terminal that cannot go back, so that everything drawn is a line of its own.
#[derive(Debug)]
struct Lines;

impl TermLike for Lines {
    fn width(&self) -> u16 {
        u16::MAX
    }

    fn move_cursor_up(&self, _: usize) -> io::Result<()> {
        Ok(())
    }

    fn move_cursor_down(&self, _: usize) -> io::Result<()> {
        Ok(())
    }

    fn move_cursor_right(&self, _: usize) -> io::Result<()> {
        Ok(())
    }

    fn move_cursor_left(&self, _: usize) -> io::Result<()> {
        Ok(())
    }

    fn write_line(&self, line: &str) -> io::Result<()> {
        self.write_str(line)
    }

    fn write_str(&self, text: &str) -> io::Result<()> {
        let text = text.trim();
        if !text.is_empty() {
            log::info!("{text}");
        }
        Ok(())
    }

    fn clear_line(&self) -> io::Result<()> {
        Ok(())
    }

    fn flush(&self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_look_of_a_bar_is_a_valid_style() {
        for columns in [None, Some(20), Some(40), Some(80), Some(300)] {
            for look in [(true, true), (true, false), (false, true), (false, false)] {
                assert!(bar_style(look, columns).is_ok(), "{look:?} {columns:?}");
            }
        }
    }

    #[test]
    fn other_lines_are_no_progress() {
        let message = "step {3} of \"4\"".into();
        let stage = "false\twakes".into();
        let update = Update { bar: 1, stage, position: 30, length: 400, message };
        assert_eq!(Update::parse(&format!("  {update} ")), Some(update));
        for other in ["", PREFIX, "wakeling-progress {}", "progress\tx\t1\t2", "warning: few"] {
            assert_eq!(Update::parse(other), None, "{other}");
        }
    }
}
