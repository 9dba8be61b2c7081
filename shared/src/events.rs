//! Event lines of a device, one per event. The simulator prints the same bytes.
//!
//! | line | when |
//! |---|---|
//! | `model <arena bytes> <frames a step> <word>,<word>… <name>` | once a model is loaded |
//! | `step <index> <end sample> <logit>:<smoothed> …` | at every step, if scores are on |
//! | `detection <end sample> <score> <logit> <word>` | at a detection |
//! | `logits <logit> …` | after a run of an image network |
//! | `overrun <sample> <lost samples>` | when the microphone lost samples |
//! | `fault <sample> <kind>` | at a change of health: `stuck`, `clipping`, `offset` or `none` |
//! | `stats <name>=<value> …` | at the end of a run, where it has one |
//! | `error <message>` | when the device gives up |
//!
//! Logits are Q8. The score of a detection is [`sigmoid`] of the smoothed logit in Q16. Samples
//! count from the first one processed. The keyword is the last field of its line, since it may
//! contain spaces. Control characters in it become `?`, so an event stays on one line.

use core::fmt::{self, Display, Formatter, Write};

use heapless::Vec;

use crate::{
    decimal::{Decimal, Verbatim},
    fixed::sigmoid,
    mic_health::{MicIssue, MicIssueKind},
    model::{MAX_KEYWORDS, Model},
    pipeline::Step,
};

/// Text from a model, with control characters replaced by `?`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Text<'a>(pub &'a str);

impl Display for Text<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        self.0.chars().try_for_each(|c| f.write_char(if c.is_control() { '?' } else { c }))
    }
}

/// Line with the keywords of a loaded model and the memory that it needs.
#[derive(Clone, Copy, Debug)]
pub struct Loaded<'m, 'a>(pub &'m Model<'a>);

impl Display for Loaded<'_, '_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let Self(model) = self;
        let frames = Decimal::of(model.frames_per_step);
        write!(f, "model {} {frames} ", Decimal::of(model.arena_bytes()))?;
        for (i, word) in model.words.iter().enumerate() {
            let comma = Verbatim(if i == 0 { "" } else { "," });
            write!(f, "{comma}{}", Text(word.label))?;
        }
        write!(f, " {}", Text(model.card.name))
    }
}

/// Logits of one keyword at a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Score {
    /// Output of the network, Q8.
    pub logit: i16,
    /// Mean over the smoothing window, Q8.
    pub smoothed: i16,
}

/// Line with the scores of one step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Scores {
    /// Number of the step, counted from 0.
    pub index: u64,
    /// Number of samples from the start to the end of the step.
    pub end_samples: u64,
    /// One score per keyword.
    pub words: Vec<Score, MAX_KEYWORDS>,
}

impl From<&Step<'_>> for Scores {
    fn from(step: &Step<'_>) -> Self {
        let words = step.logits.iter().zip(step.decisions);
        Self {
            index: step.index,
            end_samples: step.end_samples,
            words: words
                .map(|(&logit, d)| Score { logit, smoothed: d.smoothed })
                .take(MAX_KEYWORDS)
                .collect(),
        }
    }
}

impl Display for Scores {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "step {} {}", Decimal::of(self.index), Decimal::of(self.end_samples))?;
        self.words
            .iter()
            .try_for_each(|s| write!(f, " {}:{}", Decimal::of(s.logit), Decimal::of(s.smoothed)))
    }
}

/// Line for a detected keyword.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Detection<'a> {
    /// Number of samples from the start to the end of the deciding step.
    pub end_samples: u64,
    /// Smoothed logit, Q8.
    pub logit: i16,
    /// Label of the keyword.
    pub word: &'a str,
}

impl Detection<'_> {
    /// Probability that corresponds to the smoothed logit, Q16.
    pub fn score(&self) -> u16 {
        sigmoid(self.logit)
    }
}

impl Display for Detection<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let Self { end_samples, logit, word } = self;
        let [end, score, logit] =
            [Decimal::of(*end_samples), Decimal::of(self.score()), Decimal::of(*logit)];
        write!(f, "detection {end} {score} {logit} {}", Text(word))
    }
}

/// Line with the logits of an image network, one per label, Q8.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Logits<'a>(pub &'a [i16]);

impl Display for Logits<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str("logits")?;
        self.0.iter().try_for_each(|&logit| write!(f, " {}", Decimal::of(logit)))
    }
}

/// Line for samples that the microphone lost before sample `end_samples`. Later positions are too
/// small by their number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Overrun {
    /// Number of samples processed so far.
    pub end_samples: u64,
    /// Number of missing samples, as far as the board can count them.
    pub lost_samples: u64,
}

impl Display for Overrun {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let [end, lost] = [self.end_samples, self.lost_samples].map(Decimal::of);
        write!(f, "overrun {end} {lost}")
    }
}

/// Line with the cost of a run. Counts instructions rather than cycles, since an emulator has no
/// cycles.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Instructions of loading the model and building the pipeline.
    pub setup_instructions: u64,
    /// Instructions between any two reads of the microphone, summed.
    pub audio_instructions: u64,
    /// Number of samples processed.
    pub samples: u64,
    /// Deepest stack, in bytes.
    pub stack_bytes: u64,
    /// Statically allocated memory without the arena, in bytes.
    pub static_bytes: u64,
    /// Part of the arena that the model uses, in bytes.
    pub arena_bytes: u64,
}

impl Stats {
    const NAMES: [&'static str; 6] = [
        "setup_instructions",
        "audio_instructions",
        "samples",
        "stack_bytes",
        "static_bytes",
        "arena_bytes",
    ];

    const fn values(&self) -> [u64; 6] {
        [
            self.setup_instructions,
            self.audio_instructions,
            self.samples,
            self.stack_bytes,
            self.static_bytes,
            self.arena_bytes,
        ]
    }
}

impl Display for Stats {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str("stats")?;
        let mut named = Self::NAMES.iter().zip(self.values());
        named.try_for_each(|(name, value)| write!(f, " {}={}", Verbatim(name), Decimal::of(value)))
    }
}

/// Writes the scores of a step, if `with_scores`, then a line per detected keyword.
///
/// # Errors
/// Returns the error of the sink.
pub fn report(
    step: &Step<'_>,
    model: &Model<'_>,
    with_scores: bool,
    sink: &mut impl Write,
) -> fmt::Result {
    if with_scores {
        writeln!(sink, "{}", Scores::from(step))?;
    }
    for (decision, word) in step.decisions.iter().zip(&model.words) {
        if decision.fired {
            let (end_samples, logit) = (step.end_samples, decision.smoothed);
            writeln!(sink, "{}", Detection { end_samples, logit, word: word.label })?;
        }
    }
    Ok(())
}

/// A parsed event line.
///
/// ```
/// use wakeling_shared::events::{Detection, Event};
///
/// let detection = Detection { end_samples: 16_000, logit: 512, word: "hey you" };
/// let line = detection.to_string();
/// assert_eq!(line, "detection 16000 57724 512 hey you");
/// assert_eq!(Event::parse(&line), Some(Event::Detection(detection)));
/// assert_eq!(Event::parse("a log message of the board"), None);
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event<'a> {
    /// The rest of a `model` line.
    Model(&'a str),
    /// A `step` line.
    Step(Scores),
    /// A `detection` line.
    Detection(Detection<'a>),
    /// An `overrun` line.
    Overrun(Overrun),
    /// A `fault` line.
    MicIssue(MicIssue),
    /// A `stats` line.
    Stats(Stats),
    /// The message of an `error` line.
    Error(&'a str),
}

impl<'a> Event<'a> {
    /// Parses a line without its line ending. Returns `None` if no device prints such a line.
    pub fn parse(line: &'a str) -> Option<Self> {
        let (kind, rest) = line.split_once(' ')?;
        match kind {
            "model" => Some(Self::Model(rest)),
            "step" => parse_step(rest).map(Self::Step),
            "detection" => parse_detection(rest).map(Self::Detection),
            "overrun" => parse_overrun(rest).map(Self::Overrun),
            "fault" => parse_mic_issue(rest).map(Self::MicIssue),
            "stats" => parse_stats(rest).map(Self::Stats),
            "error" => Some(Self::Error(rest)),
            _ => None,
        }
    }
}

fn parse_step(rest: &str) -> Option<Scores> {
    let mut fields = rest.split(' ');
    let index = fields.next()?.parse().ok()?;
    let end_samples = fields.next()?.parse().ok()?;
    let mut words = Vec::new();
    for field in fields {
        let (logit, smoothed) = field.split_once(':')?;
        let score = Score { logit: logit.parse().ok()?, smoothed: smoothed.parse().ok()? };
        words.push(score).ok()?;
    }
    Some(Scores { index, end_samples, words })
}

fn parse_detection(rest: &str) -> Option<Detection<'_>> {
    let mut fields = rest.splitn(4, ' ');
    let end_samples = fields.next()?.parse().ok()?;
    let score: u16 = fields.next()?.parse().ok()?;
    let logit = fields.next()?.parse().ok()?;
    let detection = Detection { end_samples, logit, word: fields.next()? };
    (detection.score() == score).then_some(detection)
}

fn parse_overrun(rest: &str) -> Option<Overrun> {
    let (end, lost) = rest.split_once(' ')?;
    Some(Overrun { end_samples: end.parse().ok()?, lost_samples: lost.parse().ok()? })
}

fn parse_mic_issue(rest: &str) -> Option<MicIssue> {
    let (end_samples, kind) = rest.split_once(' ')?;
    Some(MicIssue { end_samples: end_samples.parse().ok()?, kind: MicIssueKind::of(kind)? })
}

fn parse_stats(rest: &str) -> Option<Stats> {
    let mut fields = rest.split(' ');
    let mut values = [0; 6];
    for (name, value) in Stats::NAMES.iter().zip(&mut values) {
        let (found, number) = fields.next()?.split_once('=')?;
        *value = (found == *name).then(|| number.parse().ok())??;
    }
    let [setup_instructions, audio_instructions, samples, stack_bytes, static_bytes, arena_bytes] =
        values;
    Some(Stats {
        setup_instructions,
        audio_instructions,
        samples,
        stack_bytes,
        static_bytes,
        arena_bytes,
    })
}

#[cfg(test)]
mod tests {
    extern crate std;
    use super::*;
    use std::string::ToString;

    #[test]
    fn a_line_reads_back() {
        let score = |logit, smoothed| Score { logit, smoothed };
        let words = [score(-300, -3_072), score(i16::MAX, 0)].into_iter().collect();
        let scores = Scores { index: 7, end_samples: 2_800, words };
        assert_eq!(scores.to_string(), "step 7 2800 -300:-3072 32767:0");
        assert_eq!(Event::parse(&scores.to_string()), Some(Event::Step(scores)));

        let detection = Detection { end_samples: 16_000, logit: 512, word: "hey you" };
        assert_eq!(detection.to_string(), "detection 16000 57724 512 hey you");
        assert_eq!(Event::parse(&detection.to_string()), Some(Event::Detection(detection)));

        let stats = Stats { samples: 5, stack_bytes: 6, ..Stats::default() };
        assert_eq!(Event::parse(&stats.to_string()), Some(Event::Stats(stats)));

        let overrun = Overrun { end_samples: 3, lost_samples: 320 };
        assert_eq!(overrun.to_string(), "overrun 3 320");
        assert_eq!(Event::parse(&overrun.to_string()), Some(Event::Overrun(overrun)));

        let mic_issue = MicIssue { end_samples: 32_000, kind: MicIssueKind::Clipping };
        assert_eq!(Event::parse(&mic_issue.to_string()), Some(Event::MicIssue(mic_issue)));
    }

    #[test]
    fn a_word_cannot_break_its_line() {
        let detection = Detection { end_samples: 1, logit: 0, word: "a\nstats b\u{7f}" };
        assert_eq!(detection.to_string(), "detection 1 32767 0 a?stats b?");
    }

    #[test]
    fn other_lines_are_no_events() {
        for line in [
            "",
            "step",
            "step x 3",
            "detection 1 2 3 word",
            "overrun 3",
            "stats a=1",
            "fault 1 x",
            "hello world",
        ] {
            assert_eq!(Event::parse(line), None, "{line}");
        }
    }
}
