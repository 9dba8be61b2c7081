//! Screens of `record` and `listen`, on a terminal or line by line.
//!
//! A command describes its output as a [`View`]. [`View::draw`] turns it into text, which tests
//! compare. A terminal draws the view in place and reads single keys. Without a terminal (a pipe, a
//! log), changes are written as lines, and a key is the first letter of a line.

use std::{
    io::{self, BufRead, IsTerminal, Write},
    time::{Duration, Instant},
};

use crossterm::{
    cursor, event, execute, queue, style,
    style::{Attribute, Color},
    terminal::{self, Clear, ClearType},
};

use wakeling_audio::level::{Level, QUIET_DB};

use crate::{Error, Result};

/// Lowest level that the meter shows, in dBFS.
const METER_FROM_DB: f32 = -60.0;
/// Peak in dBFS above which a meter warns, before anything clips.
const NEARLY_CLIPPED_DB: f32 = -1.0;
/// Longest bar, in characters.
const LONGEST_BAR: usize = 40;

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

/// Content of a screen.
#[derive(Clone, Debug, Default)]
pub struct View {
    /// Title.
    pub title: String,
    /// News, in one or a few lines.
    pub body: Vec<String>,
    /// Bars below the text.
    pub bars: Vec<Bar>,
    /// Level of the microphone.
    pub level: Option<Level>,
    /// Keys with their effects.
    pub keys: &'static [(&'static str, &'static str)],
    /// True if the command waits for a key.
    pub is_question: bool,
}

/// Value drawn as a bar.
#[derive(Clone, Debug)]
pub struct Bar {
    /// Name of the value.
    pub name: String,
    /// Filled part, 0 … 1.
    pub share: f64,
    /// Position of the mark, 0 … 1.
    pub mark: f64,
    /// Text after the bar.
    pub text: String,
}

/// Style of a line on a terminal with colours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Look {
    /// No emphasis.
    Plain,
    /// Bold.
    Title,
    /// Red.
    Warning,
    /// Dim.
    Keys,
}

/// Draws a bar of `width` characters with a mark: `######----|---`.
fn bar(share: f64, mark: Option<f64>, width: usize) -> String {
    // `as` maps NaN to 0.
    let place = |share: f64| ((share.clamp(0.0, 1.0) * width as f64).round() as usize).min(width);
    let (filled, mark) = (place(share), mark.map(|m| place(m).min(width.saturating_sub(1))));
    let cell = |i: usize| match mark {
        Some(mark) if mark == i => '|',
        _ if i < filled => '#',
        _ => '-',
    };
    (0..width).map(cell).collect()
}

/// Returns the first `width` characters, without control characters.
fn fit(text: &str, width: usize) -> String {
    text.chars().filter(|c| !c.is_control()).take(width).collect()
}

impl View {
    /// Draws the view as lines of at most `width` characters.
    pub fn draw(&self, width: usize) -> Vec<(Look, String)> {
        let mut lines = vec![(Look::Title, fit(&self.title, width)), (Look::Plain, String::new())];
        lines.extend(self.body.iter().map(|line| (Look::Plain, fit(line, width))));
        let names = self.bars.iter().map(|b| b.name.chars().count()).max().unwrap_or(0).min(24);
        for Bar { name, share, mark, text } in &self.bars {
            let length = width.saturating_sub(names + text.chars().count() + 6).min(LONGEST_BAR);
            let line = format!(
                "{:names$}  [{}] {text}",
                fit(name, names),
                bar(*share, Some(*mark), length)
            );
            lines.push((Look::Plain, fit(&line, width)));
        }
        if let Some(level) = self.level {
            lines.push((Look::Plain, String::new()));
            lines.push(meter(level, width));
            lines.push((Look::Keys, meter_marks(width)));
        }
        if !self.keys.is_empty() {
            let keys: Vec<String> =
                self.keys.iter().map(|(key, does)| format!("{key} {does}")).collect();
            lines.push((Look::Plain, String::new()));
            lines.push((Look::Keys, fit(&keys.join(" · "), width)));
        }
        lines
    }
}

/// Start of the meter's line, up to the first character of the bar.
const METER_NAME: &str = "microphone [";

/// Returns the length of the meter's bar in characters.
fn meter_length(width: usize) -> usize {
    width.saturating_sub(44).clamp(8, LONGEST_BAR)
}

/// Returns the share of the meter's bar that a level fills.
fn meter_share(db: f32) -> f64 {
    f64::from((db - METER_FROM_DB) / -METER_FROM_DB)
}

/// Draws the microphone's level, with the last second's peak as the mark, and a warning.
fn meter(level: Level, width: usize) -> (Look, String) {
    let bar = bar(meter_share(level.rms_db), Some(meter_share(level.peak_db)), meter_length(width));
    let (look, warning) = if level.is_clipped {
        (Look::Warning, "  CLIPPING: softer, or turn it down")
    } else if level.peak_db > NEARLY_CLIPPED_DB {
        (Look::Warning, "  nearly clipping")
    } else {
        (Look::Plain, "")
    };
    (look, fit(&format!("{METER_NAME}{bar}] {:4.0} dB{warning}", level.peak_db), width))
}

/// Draws the marks below the meter, between peaks that are too quiet, are good, and clip.
fn meter_marks(width: usize) -> String {
    let length = meter_length(width);
    let quiet = (meter_share(QUIET_DB) * length as f64).round() as usize;
    let good = length.saturating_sub(quiet + 2);
    // In a narrow place, the short name is enough.
    let name = |long: &'static str, short: &'static str, room: usize| match room {
        _ if long.len() < room => long,
        _ if short.len() <= room => short,
        _ => "",
    };
    let (left, right) = (name("too quiet", "quiet", quiet), name("good", "ok", good));
    fit(
        &format!("{:indent$}{left:<quiet$}|{right:^good$}| clips", "", indent = METER_NAME.len()),
        width,
    )
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

/// Opens a terminal if stdin and stderr are one; else output and input go line by line.
///
/// # Errors
/// [`Error::Core`] if the terminal cannot be set up.
pub fn screen() -> Result<Box<dyn Screen>> {
    if io::stdin().is_terminal() && io::stderr().is_terminal() {
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
    last: Vec<(Look, String)>,
}

impl Terminal {
    fn enter() -> Result<Self> {
        terminal::enable_raw_mode().map_err(refused)?;
        let terminal = Self { shown_lines: 0, last: Vec::new() };
        execute!(io::stderr(), cursor::Hide).map_err(refused)?;
        Ok(terminal)
    }

    fn draw(&mut self, lines: &[(Look, String)]) -> io::Result<()> {
        let mut out = io::BufWriter::new(io::stderr().lock());
        queue!(out, cursor::MoveToColumn(0))?;
        if self.shown_lines > 0 {
            queue!(out, cursor::MoveUp(self.shown_lines))?;
        }
        for (look, line) in lines {
            let (color, attribute) = match look {
                Look::Plain => (Color::Reset, Attribute::Reset),
                Look::Title => (Color::Reset, Attribute::Bold),
                Look::Warning => (Color::Red, Attribute::Bold),
                Look::Keys => (Color::Reset, Attribute::Dim),
            };
            queue!(
                out,
                style::SetAttribute(attribute),
                style::SetForegroundColor(color),
                style::Print(line),
                style::SetAttribute(Attribute::Reset),
                Clear(ClearType::UntilNewLine),
                style::Print("\r\n")
            )?;
        }
        queue!(out, Clear(ClearType::FromCursorDown))?;
        self.shown_lines = u16::try_from(lines.len()).unwrap_or(u16::MAX);
        out.flush()
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        // An error can no longer be reported.
        let _ = execute!(io::stderr(), cursor::Show, style::ResetColor);
        let _ = terminal::disable_raw_mode();
    }
}

impl Screen for Terminal {
    fn show(&mut self, view: &View) -> Result<()> {
        let (width, height) = terminal::size().unwrap_or((80, 24));
        let mut lines = view.draw(usize::from(width.max(20)) - 1);
        // A view taller than the screen could not be overwritten.
        lines.truncate(usize::from(height.max(4)) - 1);
        if lines != self.last {
            self.draw(&lines).map_err(refused)?;
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
    wakeling_core::console::raw(&format!("{question}{shown}: "));
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
        let write = |line: &str| log::info!("{}", fit(line, usize::MAX));
        if view.title != self.title {
            write(&view.title);
            self.title.clone_from(&view.title);
            self.body.clear();
        }
        for line in view.body.iter().filter(|l| !l.is_empty() && !self.body.contains(l)) {
            write(line);
        }
        self.body.clone_from(&view.body);
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

#[cfg(test)]
mod tests {
    use super::*;

    fn text(view: &View, width: usize) -> String {
        view.draw(width).into_iter().map(|(_, line)| line + "\n").collect()
    }

    #[test]
    fn a_view_is_text_that_fits() {
        let level = Level { peak_db: -12.0, rms_db: -30.0, is_clipped: false };
        let view = View {
            title: "hey computer".into(),
            body: vec!["say it now".into()],
            bars: vec![Bar { name: "hey".into(), share: 0.25, mark: 0.5, text: "0.2500".into() }],
            level: Some(level),
            keys: &[("k", "keep"), ("r", "redo")],
            is_question: false,
        };
        assert_eq!(
            text(&view, 72),
            "hey computer\n\nsay it now\n\
             hey  [##########----------|-------------------] 0.2500\n\n\
             microphone [##############--------|-----]  -12 dB\n            \
             too quiet  |     good      | clips\n\nk keep · r redo\n"
        );
        for width in [0, 1, 5, 30] {
            assert!(view.draw(width).iter().all(|(_, l)| l.chars().count() <= width), "{width}");
        }
        let clipped = View { level: Some(Level { is_clipped: true, ..level }), ..view };
        let lines = clipped.draw(100);
        assert!(lines.iter().any(|(look, l)| *look == Look::Warning && l.contains("CLIPPING")));
    }

    #[test]
    fn a_bar_is_as_long_as_it_should_be() {
        assert_eq!(bar(0.5, None, 4), "##--");
        assert_eq!(bar(f64::NAN, Some(f64::NAN), 3), "|--");
        assert_eq!(bar(9.0, Some(9.0), 3), "##|");
        assert_eq!(bar(1.0, Some(0.0), 0), "");
    }
}
