//! What long work shows on stderr.

use std::io;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle, TermLike};

/// If this is set, progress is told as lines, `progress TITLE POSITION LENGTH` with tabs between,
/// for a program that started this one.
pub const LINES: &str = "WAKELING_PROGRESS_LINES";
/// Lines a second.
const LINES_HZ: u8 = 4;

/// A bar on stderr with position, time left and a message.
pub fn progress_bar(length: u64, title: &'static str) -> ProgressBar {
    let bar = ProgressBar::new(length);
    let as_lines = std::env::var_os(LINES).is_some();
    let template = if as_lines {
        bar.set_draw_target(ProgressDrawTarget::term_like_with_hz(Box::new(Lines), LINES_HZ));
        "progress\t{prefix}\t{pos}\t{len}"
    } else {
        "{prefix:>12} [{bar:30}] {pos}/{len} {eta} left  {msg}"
    };
    if let Ok(style) = ProgressStyle::with_template(template) {
        bar.set_style(style.progress_chars("=> "));
    }
    bar.set_prefix(title);
    bar
}

/// A terminal that cannot go back: whatever is drawn is a line of its own.
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
            crate::log!("{text}");
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

/// Reads a line that [`LINES`] asked for: title, position, length.
pub fn parse(line: &str) -> Option<(&str, u64, u64)> {
    let mut fields = line.strip_prefix("progress\t")?.split('\t');
    let (title, position, length) = (fields.next()?, fields.next()?, fields.next()?);
    Some((title.trim(), position.trim().parse().ok()?, length.trim().parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_of_progress_is_read_back() {
        assert_eq!(parse("progress\tfinetune\t30\t400"), Some(("finetune", 30, 400)));
        for other in ["", "progress", "progress\tx\ty\tz", "warning: few"] {
            assert_eq!(parse(other), None, "{other}");
        }
    }
}
