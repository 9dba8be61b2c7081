//! Screens of `record` and `listen`, on a terminal or line by line.
//!
//! A command describes its output as a [`View`]. A terminal prints the view in place and reads single
//! keys. Without a terminal (a pipe, a log, a terminal that cannot move its cursor), changes are
//! written as lines, and a key is the first letter of a line.

use std::{
    io::{self, BufRead, IsTerminal, Write},
    time::{Duration, Instant},
};

use crossterm::{
    cursor, event, execute, queue, style,
    terminal::{self, Clear, ClearType},
};

use wakeling_core::console::{self, Stream};

use crate::{
    Error, Result,
    view::{Glyphs, Line, View},
};

/// Size of the buffer of a screen, so that each is written at once and does not flicker.
const SCREEN_BYTES: usize = 32 * 1_024;

/// Key pressed by the user.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Key {
    /// A letter in lower case, a digit or a sign.
    Char(char),
    /// The Enter key, or an empty line.
    Enter,
    /// Ctrl-C, Escape, or the end of the input.
    End,
}

/// Display of views, and source of keys.
pub trait Screen {
    /// Shows a view.
    ///
    /// # Errors
    /// [`Error::Core`] if it cannot be written.
    fn show(&mut self, view: &View) -> Result<()>;

    /// Returns the next key, and waits for it up to `patience`. Without a terminal, it waits for a
    /// line if the last view was a question, and does not wait otherwise.
    ///
    /// # Errors
    /// [`Error::Core`] if no key can be read.
    fn key(&mut self, patience: Duration) -> Result<Option<Key>>;

    /// Asks for a line. Returns `default` if it is empty, none if there is no more input.
    ///
    /// # Errors
    /// [`Error::Core`] if it cannot be written or read.
    fn ask(&mut self, question: &str, default: &str) -> Result<Option<String>>;

    /// Rings the bell, if there is one.
    ///
    /// # Errors
    /// [`Error::Core`] if it cannot be written.
    fn bell(&mut self) -> Result<()> {
        Ok(())
    }
}

/// Opens a terminal if stdin and stderr are one that can move its cursor; else output and input go line
/// by line.
///
/// # Errors
/// [`Error::Core`] if the terminal cannot be set up.
pub fn screen() -> Result<Box<dyn Screen>> {
    let is_dumb = std::env::var_os("TERM").is_some_and(|term| term == "dumb");
    if io::stdin().is_terminal() && io::stderr().is_terminal() && !is_dumb {
        return Ok(Box::new(Terminal::enter()?));
    }
    Ok(Box::new(Lines::default()))
}

fn refused(error: io::Error) -> Error {
    Error::io("terminal", "use")(error)
}

/// Screen that draws in place, below what the terminal already shows.
struct Terminal {
    /// Number of lines of the last view, which the next one overwrites.
    shown_lines: u16,
    last: Vec<Line>,
    glyphs: Glyphs,
}

impl Terminal {
    fn enter() -> Result<Self> {
        terminal::enable_raw_mode().map_err(refused)?;
        let glyphs = if console::has_unicode() { Glyphs::UNICODE } else { Glyphs::ASCII };
        let terminal = Self { shown_lines: 0, last: Vec::new(), glyphs };
        execute!(io::stderr(), cursor::Hide).map_err(refused)?;
        Ok(terminal)
    }

    fn print(&mut self, lines: &[Line]) -> io::Result<()> {
        let mut out = io::BufWriter::with_capacity(SCREEN_BYTES, io::stderr().lock());
        queue!(out, cursor::MoveToColumn(0))?;
        if self.shown_lines > 0 {
            queue!(out, cursor::MoveUp(self.shown_lines))?;
        }
        for line in lines {
            for (style, text) in line.spans() {
                queue!(out, style::Print(style.paint(Stream::Error, text)))?;
            }
            queue!(out, Clear(ClearType::UntilNewLine), style::Print("\r\n"))?;
        }
        queue!(out, Clear(ClearType::FromCursorDown))?;
        self.shown_lines = u16::try_from(lines.len()).unwrap_or(u16::MAX);
        out.flush()
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        // An error can no longer be reported.
        let _ = execute!(io::stderr(), cursor::Show);
        let _ = terminal::disable_raw_mode();
    }
}

impl Screen for Terminal {
    fn show(&mut self, view: &View) -> Result<()> {
        let (width, height) = terminal::size().unwrap_or((80, 24));
        let mut lines = view.lay_out(usize::from(width.max(20)) - 1, self.glyphs);
        // A view taller than the screen could not be overwritten.
        lines.truncate(usize::from(height.max(4)) - 1);
        if lines != self.last {
            self.print(&lines).map_err(refused)?;
            self.last = lines;
        }
        Ok(())
    }

    fn key(&mut self, patience: Duration) -> Result<Option<Key>> {
        let until = Instant::now() + patience;
        loop {
            let left = until.saturating_duration_since(Instant::now());
            if !event::poll(left).map_err(refused)? {
                return Ok(None);
            }
            if let event::Event::Key(key) = event::read().map_err(refused)?
                && key.kind != event::KeyEventKind::Release
                && let Some(key) = known(key)
            {
                return Ok(Some(key));
            }
        }
    }

    fn ask(&mut self, question: &str, default: &str) -> Result<Option<String>> {
        terminal::disable_raw_mode().map_err(refused)?;
        execute!(io::stderr(), cursor::Show).map_err(refused)?;
        let answer = ask_line(question, default);
        terminal::enable_raw_mode().map_err(refused)?;
        execute!(io::stderr(), cursor::Hide).map_err(refused)?;
        (self.shown_lines, self.last) = (0, Vec::new());
        answer
    }

    fn bell(&mut self) -> Result<()> {
        execute!(io::stderr(), style::Print('\u{7}')).map_err(refused)
    }
}

fn known(key: event::KeyEvent) -> Option<Key> {
    let is_control = key.modifiers.contains(event::KeyModifiers::CONTROL);
    match key.code {
        event::KeyCode::Char('c' | 'd') if is_control => Some(Key::End),
        event::KeyCode::Esc => Some(Key::End),
        event::KeyCode::Enter => Some(Key::Enter),
        event::KeyCode::Char(c) if !is_control => Some(Key::Char(c.to_ascii_lowercase())),
        event::KeyCode::Up => Some(Key::Char('+')),
        event::KeyCode::Down => Some(Key::Char('-')),
        _ => None,
    }
}

/// Asks on stderr, and reads a line from stdin.
fn ask_line(question: &str, default: &str) -> Result<Option<String>> {
    let shown = if default.is_empty() { String::new() } else { format!(" [{default}]") };
    console::raw(&format!("{question}{shown}: "));
    Ok(read_line()?.map(|line| if line.is_empty() { default.to_owned() } else { line }))
}

/// Reads a line from stdin, without blanks around it; none at its end.
fn read_line() -> Result<Option<String>> {
    let mut line = String::new();
    let count =
        io::stdin().lock().read_line(&mut line).map_err(Error::io("standard input", "read"))?;
    Ok((count > 0).then(|| line.trim().to_owned()))
}

/// Screen that writes changes as lines.
#[derive(Default)]
struct Lines {
    title: String,
    body: Vec<String>,
    is_question: bool,
}

impl Screen for Lines {
    fn show(&mut self, view: &View) -> Result<()> {
        // A closed stderr does not stop a recording.
        let write = |line: &str| log::info!("{line}");
        if view.title != self.title {
            // Lines have no control characters.
            write(&Line::from(&*view.title).text());
            self.title.clone_from(&view.title);
            self.body.clear();
        }
        let body: Vec<String> = view.body.iter().map(Line::text).collect();
        for line in body.iter().filter(|line| !line.is_empty() && !self.body.contains(line)) {
            write(line);
        }
        self.body = body;
        if view.is_question && !self.is_question {
            let keys: Vec<String> =
                view.keys.iter().map(|(key, does)| format!("{key} {does}")).collect();
            write(&format!("{} ?", keys.join(", ")));
        }
        self.is_question = view.is_question;
        Ok(())
    }

    fn key(&mut self, _: Duration) -> Result<Option<Key>> {
        if !std::mem::take(&mut self.is_question) {
            return Ok(None);
        }
        Ok(Some(match read_line()? {
            None => Key::End,
            Some(line) => {
                line.chars().next().map_or(Key::Enter, |c| Key::Char(c.to_ascii_lowercase()))
            }
        }))
    }

    fn ask(&mut self, question: &str, default: &str) -> Result<Option<String>> {
        ask_line(question, default)
    }
}
