//! Images of a terminal session: text with colours as tmux captures it, drawn as an SVG.
//!
//! The drawing depends only on the text, so an image can be compared with its text.

use std::{
    fmt::Write,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use crate::null_sink::NullSink;

/// Width of a character in the units of the image; the font is scaled to it.
const CELL: f64 = 8.4;
/// Height of a line.
const LINE: f64 = 18.0;
/// Space around the text.
const MARGIN: f64 = 16.0;
/// Height of the bar above the text.
const BAR: f64 = 28.0;
/// Time limit for the text that a command is expected to show.
const PATIENCE: Duration = Duration::from_secs(900);

/// Title of the image in the documents.
pub const IMAGE_TITLE: &str = "A terminal: recording, fine-tuning and testing a wake word";
/// Number of columns of the image in the documents.
pub const IMAGE_COLUMNS: usize = 100;

const STYLE: &str = "\
text{font:14px ui-monospace,SFMono-Regular,Menlo,Consolas,'DejaVu Sans Mono',monospace;fill:#d8dee9;white-space:pre}\
.b{font-weight:700;fill:#fff}.d{fill:#8a94a6}.r{fill:#ff8a80}.g{fill:#8fd6a0}.y{fill:#e6cf7a}.c{fill:#7fc8ff}";

/// Style of a stretch of text.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Look {
    is_bold: bool,
    is_dim: bool,
    /// Colour of the terminal, 0 to 7, if it is not the default.
    colour: Option<u8>,
}

impl Look {
    /// Applies the parameters of one escape sequence (ECMA-48, SGR). Unknown parameters are
    /// ignored.
    fn apply(&mut self, parameters: &str) {
        let mut codes = parameters.split(';').map(|code| code.parse::<u8>().unwrap_or(0));
        while let Some(code) = codes.next() {
            match code {
                0 => *self = Self::default(),
                1 => self.is_bold = true,
                2 => self.is_dim = true,
                22 => (self.is_bold, self.is_dim) = (false, false),
                30..=37 => self.colour = Some(code - 30),
                90..=97 => self.colour = Some(code - 90),
                39 => self.colour = None,
                // `38;5;N`: of 256 colours, the first sixteen are the terminal's own.
                38 if codes.next() == Some(5) => {
                    self.colour = codes.next().filter(|n| *n < 16).map(|n| n % 8);
                }
                _ => {}
            }
        }
    }

    fn class(self) -> &'static str {
        match self.colour {
            Some(1) => "r",
            Some(2) => "g",
            Some(3) => "y",
            Some(4 | 6) => "c",
            _ if self.is_bold => "b",
            _ if self.is_dim => "d",
            _ => "",
        }
    }
}

/// Splits a line into stretches of one style each.
fn spans(line: &str, look: &mut Look) -> Vec<(Look, String)> {
    let mut spans: Vec<(Look, String)> = Vec::new();
    for (i, part) in line.split("\u{1b}[").enumerate() {
        let text = match part.split_once('m') {
            Some((parameters, text)) if i > 0 => {
                look.apply(parameters);
                text
            }
            _ => part,
        };
        let text: String = text.chars().filter(|c| !c.is_control()).collect();
        match spans.last_mut() {
            Some((last, joined)) if last == look => joined.push_str(&text),
            _ if text.is_empty() => {}
            _ => spans.push((*look, text)),
        }
    }
    spans
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

/// Returns the text of a terminal as an SVG, at least `columns` wide. A line that begins with `$ `
/// is a command.
pub fn svg(text: &str, title: &str, columns: usize) -> String {
    let mut look = Look::default();
    let line = |line: &str| {
        // The end of a screen does not reset its last style.
        if line.starts_with("$ ") {
            look = Look::default();
        }
        spans(line, &mut look)
    };
    let lines: Vec<_> = text.trim_end().lines().map(line).collect();
    let length = |line: &Vec<(Look, String)>| -> usize {
        line.iter().map(|(_, text)| text.chars().count()).sum()
    };
    let columns = lines.iter().map(length).max().unwrap_or(0).max(columns);
    let width = columns as f64 * CELL + 2.0 * MARGIN;
    let height = lines.len() as f64 * LINE + BAR + MARGIN;
    let title = escape(title);
    let mut svg = format!(
        "<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 {width:.0} {height:.0}' width='{width:.0}' height='{height:.0}' role='img' aria-label='{title}'>\n\
         <title>{title}</title><style>{STYLE}</style>\n\
         <rect width='100%' height='100%' rx='8' fill='#161b22'/>\n\
         <circle cx='18' cy='15' r='5' fill='#ff5f57'/><circle cx='36' cy='15' r='5' fill='#febc2e'/><circle cx='54' cy='15' r='5' fill='#28c840'/>\n"
    );
    for (row, line) in lines.iter().enumerate() {
        let y = BAR + LINE * (row as f64 + 0.9);
        let mut column = 0;
        let is_command = line.first().is_some_and(|(_, text)| text.starts_with("$ "));
        for (look, text) in line {
            let (count, start) = (text.chars().count(), column);
            column += count;
            if text.trim().is_empty() {
                continue;
            }
            let class = if is_command { "b" } else { look.class() };
            let class = if class.is_empty() { String::new() } else { format!(" class='{class}'") };
            // A font of another width must not move the columns.
            let _ = writeln!(
                svg,
                "<text{class} x='{:.1}' y='{y:.1}' textLength='{:.1}' lengthAdjust='spacingAndGlyphs' xml:space='preserve'>{}</text>",
                MARGIN + start as f64 * CELL,
                count as f64 * CELL,
                escape(text)
            );
        }
    }
    svg + "</svg>\n"
}

/// Terminal in tmux that runs a command with a virtual sound card.
pub struct Session<'s> {
    sink: &'s NullSink,
    socket: PathBuf,
}

impl<'s> Session<'s> {
    /// Starts a command with `sh` in a folder. `columns` and `rows` are the size of the terminal.
    pub fn start(
        sink: &'s NullSink,
        folder: &Path,
        (columns, rows): (usize, usize),
        command: &str,
    ) -> Self {
        let session = Self { sink, socket: folder.join("tmux") };
        let (columns, rows) = (columns.to_string(), rows.to_string());
        let folder = folder.display().to_string();
        let command = format!("{command}; code=$?; echo; echo EXIT $code; sleep 900");
        let size = ["-x", &columns, "-y", &rows, "-c", &folder, &command];
        session.tmux(&[&["-f", "/dev/null", "new-session", "-d"][..], &size].concat());
        session
    }

    fn tmux(&self, arguments: &[&str]) -> String {
        let output = self.sink.command("tmux").arg("-S").arg(&self.socket).args(arguments).output();
        String::from_utf8_lossy(&output.expect("tmux runs").stdout).into_owned()
    }

    /// Presses a key, by tmux's name of it.
    pub fn press(&self, key: &str) {
        self.tmux(&["send-keys", key]);
    }

    /// Waits until a text is on the screen. Returns the screen with its colours, without the lines
    /// after the end of the command.
    ///
    /// # Panics
    /// If the command ends before, or after 15 minutes.
    pub fn wait_for(&self, text: &str) -> String {
        let started = Instant::now();
        loop {
            let screen = self.tmux(&["capture-pane", "-p"]);
            if screen.contains(text) {
                break;
            }
            let has_ended = screen.contains("\nEXIT ") || started.elapsed() > PATIENCE;
            assert!(!has_ended, "{text:?} is not on the screen:\n{screen}");
            std::thread::sleep(Duration::from_millis(20));
        }
        let screen = self.tmux(&["capture-pane", "-p", "-e"]);
        screen.split("\nEXIT ").next().unwrap_or_default().trim_end().to_owned()
    }
}

impl Drop for Session<'_> {
    fn drop(&mut self) {
        self.tmux(&["kill-server"]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn colours_become_classes_and_text_stays_text() {
        let text = "$ wakeling <x>\n\u{1b}[1mhey\u{1b}[0m \u{1b}[38;5;9ma & b\u{1b}[39m c\n\u{1b}[2mdim\n$ next\nplain\n";
        let svg = svg(text, "a 'title'", 20);
        for part in [
            "class='b' x='16.0'",
            ">$ wakeling &lt;x&gt;</text>",
            ">hey</text>",
            "<text class='r' x='49.6'",
            ">a &amp; b</text>",
            "class='d'",
            "xml:space='preserve'>plain</text>",
        ] {
            assert!(svg.contains(part), "no {part} in\n{svg}");
        }
        assert!(!svg.contains('\u{1b}'));
        assert_eq!(svg.matches("class='d'").count(), 1, "a look outlives its command");
        assert_eq!(svg.matches("<text").count(), svg.matches("</text>").count());
    }

    #[test]
    fn the_image_in_the_documents_is_that_of_its_text() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/images");
        let text = std::fs::read_to_string(folder.join("terminal.txt")).expect("a capture");
        let image = std::fs::read_to_string(folder.join("terminal.svg")).expect("an image");
        assert_eq!(
            image,
            svg(&text, IMAGE_TITLE, IMAGE_COLUMNS),
            "cargo run -p wakeling-tests --example terminal_image -- render"
        );
        assert!(image.len() < 60_000, "{} bytes", image.len());
    }
}
