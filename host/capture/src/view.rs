//! Content of the screens of `record` and `listen`, and its layout as lines of text.
//!
//! A command describes its output as a [`View`]. [`View::lay_out`] turns it into lines of a width,
//! which tests compare and a terminal prints in place. Colours repeat what words and marks state.

use wakeling_audio::level::{Level, QUIET_DB};
use wakeling_core::console::Style;

/// Lowest level that the meter shows, in dBFS.
const METER_FROM_DB: f32 = -60.0;
/// Peak in dBFS above which a meter warns, before anything clips.
const NEARLY_CLIPPED_DB: f32 = -1.0;
/// Longest bar, in characters.
const LONGEST_BAR: usize = 40;
/// Longest name of a bar, in characters.
const LONGEST_NAME: usize = 24;

/// Line of text in several styles.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Line(Vec<(Style, String)>);

impl From<String> for Line {
    fn from(text: String) -> Self {
        Self::of(Style::Plain, text)
    }
}

impl From<&str> for Line {
    fn from(text: &str) -> Self {
        Self::of(Style::Plain, text)
    }
}

impl Line {
    /// Creates a line of one style.
    pub fn of(style: Style, text: impl Into<String>) -> Self {
        Self::default().and(style, text)
    }

    /// Returns the line with more text at its end. Control characters are left out.
    #[must_use]
    pub fn and(mut self, style: Style, text: impl Into<String>) -> Self {
        let mut text: String = text.into();
        text.retain(|c| !c.is_control());
        match self.0.last_mut() {
            Some((last, joined)) if *last == style => joined.push_str(&text),
            _ if text.is_empty() => {}
            _ => self.0.push((style, text)),
        }
        self
    }

    /// Returns the line with another one at its end.
    fn join(self, other: Self) -> Self {
        other.0.into_iter().fold(self, |line, (style, text)| line.and(style, text))
    }

    /// Stretches of text, each in one style.
    pub fn spans(&self) -> &[(Style, String)] {
        &self.0
    }

    /// Returns the text alone.
    pub fn text(&self) -> String {
        self.0.iter().map(|(_, text)| text.as_str()).collect()
    }

    fn length(&self) -> usize {
        self.0.iter().map(|(_, text)| text.chars().count()).sum()
    }

    /// Returns the first `width` characters.
    fn fit(self, width: usize) -> Self {
        let mut left = width;
        let cut = |(style, text): (Style, String)| {
            let text: String = text.chars().take(left).collect();
            left -= text.chars().count();
            (style, text)
        };
        Self::default().join(Self(self.0.into_iter().map(cut).collect()))
    }

    /// Breaks the line at blanks into lines of at most `width` characters. A longer word is cut.
    fn wrap(self, width: usize) -> Vec<Self> {
        if self.length() <= width {
            return vec![self];
        }
        let (mut lines, mut line) = (Vec::new(), Self::default());
        let words = self
            .0
            .iter()
            .flat_map(|(style, text)| text.split_inclusive(' ').map(move |word| (*style, word)));
        for (style, word) in words {
            let is_full = line.length() + word.trim_end().chars().count() > width;
            if is_full && line.length() > 0 {
                lines.push(std::mem::take(&mut line).fit(width));
            }
            line = line.and(style, word);
        }
        lines.push(line.fit(width));
        lines
    }
}

/// Characters of bars.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Glyphs {
    full: char,
    empty: char,
    mark: char,
    /// Characters around a bar.
    ends: [&'static str; 2],
    /// Line between the zones of the meter.
    border: char,
}

impl Glyphs {
    /// Characters that every terminal shows.
    pub const ASCII: Self =
        Self { full: '#', empty: '-', mark: '|', ends: ["[", "]"], border: '|' };
    /// Lines of box drawing, for terminals with UTF-8. As wide as those of ASCII, so that nothing
    /// else differs.
    pub const UNICODE: Self =
        Self { full: '━', empty: '─', mark: '┃', ends: [" ", " "], border: '╵' };
}

/// Content of a screen.
#[derive(Clone, Debug, Default)]
pub struct View {
    /// Title.
    pub title: String,
    /// News, in one or a few lines.
    pub body: Vec<Line>,
    /// Bars below the text.
    pub bars: Vec<Bar>,
    /// Level of the microphone.
    pub level: Option<Level>,
    /// True while the phrase is spoken, so that a low level is worth a warning.
    pub is_speaking: bool,
    /// Keys with their effects.
    pub keys: &'static [(&'static str, &'static str)],
    /// True if the command waits for a key.
    pub is_question: bool,
}

/// Value shown as a bar.
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
    /// True if the bar and its text stand out.
    pub is_lit: bool,
}

/// Returns the number of cells that a share of a bar takes.
fn cells(share: f64, length: usize) -> usize {
    // `as` maps NaN to 0.
    ((share.clamp(0.0, 1.0) * length as f64).round() as usize).min(length)
}

/// Lays out a bar of `length` characters with a mark: `[######----|---]`. `zone` gives the style of
/// each filled cell.
fn bar(
    (share, mark): (f64, f64),
    length: usize,
    glyphs: Glyphs,
    zone: impl Fn(usize) -> Style,
) -> Line {
    let (filled, mark) = (cells(share, length), cells(mark, length).min(length.saturating_sub(1)));
    let cell = |line: Line, i: usize| match i {
        // The mark is in the style of its zone, and always stands out.
        _ if i == mark => match zone(i) {
            Style::Plain | Style::Accent => line.and(Style::Title, glyphs.mark),
            style => line.and(style, glyphs.mark),
        },
        _ if i < filled => line.and(zone(i), glyphs.full),
        _ => line.and(Style::Dim, glyphs.empty),
    };
    let line = Line::from(glyphs.ends[0]);
    (0..length).fold(line, cell).and(Style::Plain, glyphs.ends[1])
}

impl View {
    /// Lays the view out as lines of at most `width` characters.
    pub fn lay_out(&self, width: usize, glyphs: Glyphs) -> Vec<Line> {
        let mut lines = Line::of(Style::Title, &*self.title).wrap(width);
        lines.push(Line::default());
        lines.extend(self.body.iter().flat_map(|line| line.clone().wrap(width)));
        let name = |bar: &Bar| bar.name.chars().count();
        let names = self.bars.iter().map(name).max().unwrap_or(0).min(LONGEST_NAME);
        for bar in &self.bars {
            lines.push(bar.lay_out(names.min(width / 3), width, glyphs));
        }
        if let Some(level) = self.level {
            lines.push(Line::default());
            lines.extend(Meter::of(level, self.is_speaking, width).lay_out(width, glyphs));
        }
        if !self.keys.is_empty() {
            lines.push(Line::default());
            lines.extend(self.lay_out_keys(width));
        }
        lines
    }

    /// Lays out the keys, broken between two of them.
    fn lay_out_keys(&self, width: usize) -> Vec<Line> {
        let mut lines = Vec::new();
        let mut line = Line::default();
        for (key, does) in self.keys {
            let one = Line::of(Style::Title, *key).and(Style::Dim, format!(" {does}"));
            let is_first = line.length() == 0;
            if !is_first && line.length() + 3 + one.length() > width {
                lines.push(std::mem::take(&mut line));
            } else if !is_first {
                line = line.and(Style::Dim, " · ");
            }
            line = line.join(one);
        }
        lines.push(line);
        lines.into_iter().map(|line| line.fit(width)).collect()
    }
}

impl Bar {
    fn lay_out(&self, names: usize, width: usize, glyphs: Glyphs) -> Line {
        let length = width.saturating_sub(names + self.text.chars().count() + 5).min(LONGEST_BAR);
        let style = if self.is_lit { Style::Good } else { Style::Plain };
        let fill = if self.is_lit { Style::Good } else { Style::Accent };
        let name: String = self.name.chars().take(names).collect();
        let line = Line::of(style, format!("{name:names$}")).and(Style::Plain, "  ");
        let bar = bar((self.share, self.mark), length, glyphs, |_| fill);
        let line = line.join(bar);
        line.and(style, format!(" {}", self.text)).fit(width)
    }
}

/// Zone of the meter that a peak is in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Zone {
    Quiet,
    Good,
    Clips,
}

/// The microphone's level, with the last second's peak as the mark, and advice.
struct Meter {
    level: Level,
    is_speaking: bool,
    /// Text before the bar.
    name: &'static str,
    /// Length of the bar.
    length: usize,
}

impl Meter {
    fn of(level: Level, is_speaking: bool, width: usize) -> Self {
        let name = if width < 60 { "" } else { "microphone " };
        // The bar's ends and `  -12 dB` follow.
        let length = width.saturating_sub(name.len() + 10).clamp(8, LONGEST_BAR);
        Self { level, is_speaking, name, length }
    }

    /// Returns the share of the bar that a level fills.
    fn share(db: f32) -> f64 {
        f64::from((db - METER_FROM_DB) / -METER_FROM_DB)
    }

    fn zone(&self) -> Zone {
        match self.level.peak_db {
            _ if self.level.is_clipped => Zone::Clips,
            peak if peak > NEARLY_CLIPPED_DB => Zone::Clips,
            peak if peak < QUIET_DB => Zone::Quiet,
            _ => Zone::Good,
        }
    }

    /// Number of cells below the good zone.
    fn quiet_cells(&self) -> usize {
        cells(Self::share(QUIET_DB), self.length)
    }

    /// Lays out the meter, its marks, and a line of advice, which is empty while all is well, so that
    /// the lines below stay where they are.
    fn lay_out(&self, width: usize, glyphs: Glyphs) -> [Line; 3] {
        let quiet = self.quiet_cells();
        let style = |cell: usize| match cell {
            _ if cell < quiet => Style::Plain,
            _ if cell + 1 < self.length => Style::Good,
            _ => Style::Error,
        };
        let shares = (Self::share(self.level.rms_db), Self::share(self.level.peak_db));
        let bar = bar(shares, self.length, glyphs, style);
        let line = Line::of(Style::Dim, self.name);
        let line = line.join(bar);
        let number = match self.zone() {
            Zone::Quiet => Style::Plain,
            Zone::Good => Style::Good,
            Zone::Clips => Style::Error,
        };
        let line = line.and(number, format!(" {:4.0} dB", self.level.peak_db));
        [line, self.marks(glyphs), self.advice()].map(|line| line.fit(width))
    }

    /// Lays out the marks below the bar, between peaks that are too quiet, are good, and clip. The
    /// zone of the peak stands out.
    fn marks(&self, glyphs: Glyphs) -> Line {
        let quiet = self.quiet_cells();
        let good = self.length.saturating_sub(quiet + 2);
        // In a narrow place, the short name is enough.
        let name = |long: &'static str, short: &'static str, room: usize| match room {
            _ if long.len() < room => long,
            _ if short.len() <= room => short,
            _ => "",
        };
        let (left, right) = (name("too quiet", "quiet", quiet), name("good", "ok", good));
        let zone = self.zone();
        let style = |own: Zone, lit: Style| if zone == own { lit } else { Style::Dim };
        let border = glyphs.border.to_string();
        Line::from(" ".repeat(self.name.len() + 1))
            .and(style(Zone::Quiet, Style::Plain), format!("{left:<quiet$}"))
            .and(Style::Dim, &*border)
            .and(style(Zone::Good, Style::Good), format!("{right:^good$}"))
            .and(Style::Dim, &*border)
            .and(style(Zone::Clips, Style::Error), " clips")
    }

    /// Returns what to do about a level outside of the good zone. A low level matters only while
    /// somebody speaks.
    fn advice(&self) -> Line {
        let (style, text) = match self.zone() {
            Zone::Clips if self.level.is_clipped => {
                (Style::Error, "CLIPPING: softer, or turn it down")
            }
            Zone::Clips => (Style::Warning, "nearly clipping: a little softer"),
            Zone::Quiet if self.is_speaking => {
                (Style::Warning, "too quiet: louder, or come nearer")
            }
            Zone::Quiet | Zone::Good => return Line::default(),
        };
        // Below the bar; a narrow terminal has no name before it.
        let margin = if self.name.is_empty() { 0 } else { self.name.len() + 1 };
        Line::from(" ".repeat(margin)).and(style, text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(view: &View, width: usize, glyphs: Glyphs) -> String {
        view.lay_out(width, glyphs).iter().map(|line| line.text() + "\n").collect()
    }

    fn view(level: Level) -> View {
        View {
            title: "hey computer".into(),
            body: vec!["say it now".into()],
            bars: vec![Bar {
                name: "hey".into(),
                share: 0.25,
                mark: 0.5,
                text: "0.2500".into(),
                is_lit: false,
            }],
            level: Some(level),
            keys: &[("k", "keep"), ("r", "redo")],
            ..View::default()
        }
    }

    const GOOD: Level = Level { peak_db: -12.0, rms_db: -30.0, is_clipped: false };

    #[test]
    fn a_view_is_text_that_fits() {
        let view = view(GOOD);
        assert_eq!(
            text(&view, 72, Glyphs::ASCII),
            "hey computer\n\nsay it now\n\
             hey  [##########----------|-------------------] 0.2500\n\n\
             microphone [####################------------|-------]  -12 dB\n            \
             too quiet       |         good         | clips\n\nk keep · r redo\n"
                .replace("clips\n\n", "clips\n\n\n")
        );
        for width in [0, 1, 5, 30, 40] {
            for glyphs in [Glyphs::ASCII, Glyphs::UNICODE] {
                let lines = view.lay_out(width, glyphs);
                assert!(lines.iter().all(|line| line.length() <= width), "{width}");
            }
        }
    }

    /// Forty columns hold the words of every mark, the level, and all keys.
    #[test]
    fn a_narrow_terminal_shows_the_same() {
        let mut view = view(GOOD);
        view.body = vec!["Say it close to the microphone, a hand's width away.".into()];
        view.keys = &[("enter or k", "keeps"), ("r", "again"), ("p", "plays"), ("q", "stops")];
        assert_eq!(
            text(&view, 39, Glyphs::UNICODE),
            "hey computer\n\nSay it close to the microphone, a \nhand's width away.\n\
             hey   ━━━━━━───────┃───────────  0.2500\n\n \
             ━━━━━━━━━━━━━━━────────┃─────   -12 dB\n \
             too quiet   ╵     good      ╵ clips\n\n\n\
             enter or k keeps · r again · p plays\nq stops\n"
        );
    }

    #[test]
    fn advice_is_given_outside_of_the_good_zone() {
        let advice = |peak_db: f32, is_clipped: bool, is_speaking: bool| {
            let level = Level { peak_db, rms_db: -40.0, is_clipped };
            let [_, marks, advice] = Meter::of(level, is_speaking, 80).lay_out(80, Glyphs::UNICODE);
            let lit = marks
                .spans()
                .iter()
                .find(|(style, text)| !matches!(style, Style::Dim) && !text.trim().is_empty());
            let lit = lit.map_or(String::new(), |(_, text)| text.trim().to_owned());
            (lit, advice.text().trim().to_owned())
        };
        assert_eq!(advice(-20.0, false, true), ("good".into(), String::new()));
        assert_eq!(advice(-50.0, false, false).1, "");
        assert_eq!(advice(-50.0, false, true).1, "too quiet: louder, or come nearer");
        assert_eq!(
            advice(-0.5, false, true),
            ("clips".into(), "nearly clipping: a little softer".into())
        );
        assert!(advice(-0.1, true, false).1.starts_with("CLIPPING"));
    }

    #[test]
    fn zones_of_the_bar_have_styles() {
        let level = Level { peak_db: 0.0, rms_db: 0.0, is_clipped: false };
        let [bar, ..] = Meter::of(level, false, 80).lay_out(80, Glyphs::ASCII);
        let styles: Vec<Style> = bar.spans().iter().map(|(style, _)| *style).collect();
        // The end of the bar joins the quiet zone.
        let [name, quiet, good, mark, end, number] = styles[..] else { panic!("{bar:?}") };
        assert_eq!((name, quiet, good), (Style::Dim, Style::Plain, Style::Good));
        assert_eq!((mark, end, number), (Style::Error, Style::Plain, Style::Error));
    }

    #[test]
    fn a_bar_is_as_long_as_it_should_be() {
        let text = |share, mark, length| {
            bar((share, mark), length, Glyphs::ASCII, |_| Style::Plain).text()
        };
        assert_eq!(text(0.5, 1.0, 4), "[##-|]");
        assert_eq!(text(f64::NAN, f64::NAN, 3), "[|--]");
        assert_eq!(text(9.0, 9.0, 3), "[##|]");
        assert_eq!(text(1.0, 0.0, 0), "[]");
    }

    #[test]
    fn lines_break_at_blanks_and_keep_their_styles() {
        let line = Line::from("one two ").and(Style::Good, "three\nfour five");
        let lines = line.wrap(11);
        let texts: Vec<String> = lines.iter().map(Line::text).collect();
        assert_eq!(texts, ["one two ", "threefour ", "five"]);
        assert_eq!(lines[2].spans(), [(Style::Good, "five".to_owned())]);
    }
}
