//! Images of a terminal session: text with colours as tmux captures it, drawn as an SVG.
//!
//! The drawing depends only on the text, so an image can be compared with its text.

use std::{
    path::{Path, PathBuf},
    sync::atomic::{AtomicUsize, Ordering},
    time::{Duration, Instant},
};

use crate::null_sink::NullSink;

/// Width of a character in the units of the image; the font is scaled to it.
const CELL: f64 = 8.4;
/// Height of a line.
const LINE: f64 = 18.0;
/// Space around the text.
const MARGIN: f64 = 18.0;
/// Height of the window's title bar.
const BAR: f64 = 34.0;
/// Time limit for the text that a command is expected to show.
const PATIENCE: Duration = Duration::from_secs(900);

/// Image of a terminal in the documents: `NAME.svg`, rendered from `NAME.txt`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Image {
    /// Name of its files, without an ending.
    pub name: &'static str,
    /// Description, for readers who do not see it.
    pub title: &'static str,
    /// Width of the terminal.
    pub columns: usize,
}

/// Images in `docs/images/`.
pub const IMAGES: [Image; 5] = [
    Image {
        name: "terminal",
        title: "A terminal: recording, fine-tuning and testing a wake word",
        columns: 100,
    },
    Image { name: "help", title: "A terminal: the commands in groups", columns: 80 },
    Image {
        name: "record",
        title: "A terminal: takes with the level meter, one good and one too quiet",
        columns: 80,
    },
    Image {
        name: "doctor",
        title: "A terminal: what this machine has, and what it lacks",
        columns: 80,
    },
    Image {
        name: "evaluate",
        title: "A terminal: misses and false accepts of a model",
        columns: 100,
    },
];

/// Start of a command's line.
const PROMPT: &str = "$ ";

const STYLE: &str = "\
text{font:14px ui-monospace,SFMono-Regular,Menlo,Consolas,'DejaVu Sans Mono',monospace;fill:#d5dbe5;white-space:pre}\
rect{fill:#d5dbe5}.b{font-weight:700;fill:#fff}.d{fill:#8b95a7}.r{font-weight:700;fill:#ff8f86}\
.g{font-weight:700;fill:#86d99c}.y{font-weight:700;fill:#ecd17c}.c{fill:#7cc7ff}.p{fill:#86d99c}.t{fill:#9aa5b8;font-size:12px}";

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
            // Bright black is the terminal's gray.
            Some(0) => "d",
            _ if self.is_bold => "b",
            _ if self.is_dim => "d",
            _ => "",
        }
    }
}

/// Returns the text of a terminal without its escape sequences.
pub fn plain(text: &str) -> String {
    let mut look = Look::default();
    let line = |line: &str| -> String {
        spans(line, &mut look).into_iter().map(|(_, text)| text).collect::<String>() + "\n"
    };
    text.lines().map(line).collect()
}

/// Returns the commands of a text, each with the lines that it printed.
pub fn commands(text: &str) -> Vec<(String, Vec<String>)> {
    let mut found: Vec<(String, Vec<String>)> = Vec::new();
    for line in plain(text).lines() {
        match (line.strip_prefix(PROMPT), found.last_mut()) {
            (Some(command), _) => found.push((command.to_owned(), Vec::new())),
            (None, Some((_, lines))) => lines.push(line.trim_end().to_owned()),
            (None, None) => {}
        }
    }
    found
}

/// Returns width and height of a stroke in box drawing; none for other characters.
fn stroke(character: char) -> Option<(f64, f64)> {
    match character {
        '─' => Some((CELL, 1.4)),
        '━' => Some((CELL, 4.0)),
        '┃' => Some((3.0, LINE * 0.8)),
        _ => None,
    }
}

/// Splits text where it changes between box drawing, of one kind, and other characters.
fn runs(text: &str) -> Vec<String> {
    let mut runs: Vec<String> = Vec::new();
    let mut last = None;
    for c in text.chars() {
        match runs.last_mut() {
            Some(run) if last == Some(stroke(c)) => run.push(c),
            _ => runs.push(c.into()),
        }
        last = Some(stroke(c));
    }
    runs
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
        if line.starts_with(PROMPT) {
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
    let mut svg = window(width, height, &escape(title));
    for (row, line) in lines.iter().enumerate() {
        let y = BAR + LINE * (row as f64 + 0.9);
        let mut column = 0;
        for (class, text) in stretches(line) {
            let x = MARGIN + column as f64 * CELL;
            column += text.chars().count();
            if !text.trim().is_empty() {
                svg += &element(class, &text, (x, y));
            }
        }
    }
    svg + "</svg>\n"
}

/// Returns the start of an SVG: a window with a title bar.
fn window(width: f64, height: f64, title: &str) -> String {
    format!(
        "<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 {width:.0} {height:.0}' width='{width:.0}' height='{height:.0}' role='img' aria-label='{title}'>\n\
         <title>{title}</title><style>{STYLE}</style>\n\
         <rect x='.5' y='.5' width='{:.0}' height='{:.0}' rx='10' style='fill:#12161d;stroke:#313a48'/>\n\
         <path d='M1 {bar:.0}V10a9 9 0 0 1 9-9H{:.0}a9 9 0 0 1 9 9V{bar:.0}z' fill='#1c222c'/>\n\
         <circle cx='20' cy='15' r='5.5' fill='#ff5f57'/><circle cx='39' cy='15' r='5.5' fill='#febc2e'/><circle cx='58' cy='15' r='5.5' fill='#28c840'/>\n\
         <text class='t' x='{:.0}' y='19' text-anchor='middle'>wakeling</text>\n",
        width - 1.0,
        height - 1.0,
        width - 10.0,
        width / 2.0,
        bar = BAR - 6.0,
    )
}

/// Returns the stretches of a line with their classes. A command's prompt has one of its own.
fn stretches(line: &[(Look, String)]) -> Vec<(&'static str, String)> {
    let text: String = line.iter().map(|(_, text)| text.as_str()).collect();
    if let Some(command) = text.strip_prefix(PROMPT) {
        return vec![("p", PROMPT.into()), ("b", command.into())];
    }
    let of = |(look, text): &(Look, String)| -> Vec<_> {
        runs(text).into_iter().map(|text| (look.class(), text)).collect()
    };
    line.iter().flat_map(of).collect()
}

/// Returns an element for a stretch of text that starts at a point of the base line.
fn element(class: &str, text: &str, (x, y): (f64, f64)) -> String {
    let count = text.chars().count() as f64;
    let class = if class.is_empty() { String::new() } else { format!(" class='{class}'") };
    if let Some((cell, stroke)) = text.chars().next().and_then(stroke) {
        // Fonts leave gaps between these characters.
        let (x, top) = (x + (CELL - cell) / 2.0, y - 4.5 - stroke / 2.0);
        let width = cell + (count - 1.0) * CELL;
        return format!(
            "<rect{class} x='{x:.1}' y='{top:.1}' width='{width:.1}' height='{stroke:.1}'/>\n"
        );
    }
    // A font of another width must not move the columns.
    format!(
        "<text{class} x='{x:.1}' y='{y:.1}' textLength='{:.1}' lengthAdjust='spacingAndGlyphs' xml:space='preserve'>{}</text>\n",
        count * CELL,
        escape(text)
    )
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
        // A server that ends still takes connections at its socket for a moment.
        static SESSIONS: AtomicUsize = AtomicUsize::new(0);
        let number = SESSIONS.fetch_add(1, Ordering::Relaxed);
        let session = Self { sink, socket: folder.join(format!("tmux-{number}")) };
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
            "class='p' x='18.0'",
            "class='b' x='34.8'",
            ">wakeling &lt;x&gt;</text>",
            ">hey</text>",
            "<text class='r' x='51.6'",
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
    fn bars_are_strokes_in_their_place() {
        let svg = svg("a \u{1b}[32m━━\u{1b}[0m─┃\n", "a bar", 20);
        assert!(svg.contains("<rect class='g' x='34.8' y="), "{svg}");
        assert!(svg.contains("width='16.8' height='4.0'"), "{svg}");
        assert!(svg.contains("width='8.4' height='1.4'"), "{svg}");
        assert!(!svg.contains('━') && !svg.contains('┃'), "{svg}");
    }

    #[test]
    fn commands_are_separated_from_their_output() {
        let text = "$ wakeling a\n\u{1b}[1mb\n\n$ wakeling c\nd  \n";
        let found = commands(text);
        assert_eq!(found[0], ("wakeling a".into(), vec!["b".into(), String::new()]));
        assert_eq!(found[1], ("wakeling c".into(), vec!["d".into()]));
    }

    #[test]
    fn the_images_in_the_documents_are_those_of_their_texts() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/images");
        for Image { name, title, columns } in IMAGES {
            let read = |ending: &str| {
                let path = folder.join(format!("{name}.{ending}"));
                std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
            };
            let (text, image) = (read("txt"), read("svg"));
            let expected = svg(&text, title, columns);
            assert_eq!(image, expected, "{name}: ./x images, or for the look alone {RENDER}");
            assert!(image.len() < LARGEST, "{name}: {} bytes", image.len());
        }
    }

    /// Maximum size of an image in bytes.
    const LARGEST: usize = 60_000;

    const RENDER: &str = "cargo run -p wakeling-tests --example terminal_image -- render";
}
