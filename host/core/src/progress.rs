//! Progress of long work on stderr, as bars for a person or as lines for a program.
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
    sync::atomic::{AtomicU64, Ordering},
};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressState, ProgressStyle, TermLike};
use serde::{Deserialize, Serialize};

/// Environment variable that requests progress as lines instead of bars.
pub const LINES: &str = "WAKELING_PROGRESS_LINES";
/// Start of each line of progress.
const PREFIX: &str = "wakeling-progress ";
/// Lines per second.
const LINES_HZ: u8 = 4;

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
        ProgressStyle::with_template("{prefix:>12} [{bar:30}] {pos}/{len} {eta} left  {msg}")
    };
    if let Ok(style) = style {
        bar.set_style(style.progress_chars("=> "));
    }
    bar.set_prefix(title);
    bar
}

/// Style that draws a bar as a line of progress.
fn lines_style(title: &'static str) -> Result<ProgressStyle, indicatif::style::TemplateError> {
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
