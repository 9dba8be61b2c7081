//! What long work shows on stderr.

use indicatif::{ProgressBar, ProgressStyle};

/// A bar on stderr with position, time left and a message.
pub fn progress_bar(length: u64, title: &'static str) -> ProgressBar {
    let bar = ProgressBar::new(length);
    let template = "{prefix:>12} [{bar:30}] {pos}/{len} {eta} left  {msg}";
    if let Ok(style) = ProgressStyle::with_template(template) {
        bar.set_style(style.progress_chars("=> "));
    }
    bar.set_prefix(title);
    bar
}
