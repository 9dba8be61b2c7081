//! Simulates a device: PCM in, and out the lines that the device prints, byte for byte.
//!
//! There are two devices, the pipeline on this machine and the firmware in an emulator. Both give
//! text, and one parser reads it. A simulation is therefore processed like a board's output.

mod reader;

use std::{borrow::Cow, fmt::Write};

use wakeling_shared::{
    events::{self, Event, Scores, Stats},
    fixed::{LOGIT_FRACTION_BITS, sigmoid},
    mic_health::MicIssue,
    model::{Keyword, Model},
    monitor::Monitor,
    pipeline::{NoObserver, Pipeline},
};

use crate::{Error, Result};
use crate::{
    emulator::{Blocks, Emulator},
    model_file,
    sensitivity::{FalseAccepts, Preset},
};
use reader::LineReader;

/// Sample rate in Hz.
pub const SAMPLE_RATE_HZ: u32 = wakeling_audio::SAMPLE_RATE;

/// Division of PCM into blocks before it enters the pipeline. The output does not depend on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Chunking {
    /// All at once.
    Whole,
    /// Blocks of this many samples, as a board's microphone gives them; 0 counts as 1.
    Fixed(usize),
    /// Blocks of random length, 0 … `longest` samples.
    Random {
        /// Seed of the lengths.
        seed: u64,
        /// Length of the longest block in samples; 0 counts as 1.
        longest: usize,
    },
}

impl Chunking {
    /// Returns the blocks of `pcm` in order; joined, they are `pcm`.
    pub fn blocks(self, pcm: &[i16]) -> impl Iterator<Item = &[i16]> {
        // SplitMix64 (Steele, Lea and Flood 2014).
        let mut state = if let Self::Random { seed, .. } = self { seed } else { 0 };
        let mut next = move |longest: usize| {
            state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
            let z = (state ^ (state >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
            let z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
            ((z ^ (z >> 31)) % (longest as u64 + 1)) as usize
        };
        let mut rest = pcm;
        std::iter::from_fn(move || {
            if rest.is_empty() {
                return None;
            }
            let length = match self {
                Self::Whole => rest.len(),
                Self::Fixed(length) => length.max(1),
                Self::Random { longest, .. } => next(longest.max(1)),
            };
            let (block, others) = rest.split_at(length.min(rest.len()));
            rest = others;
            Some(block)
        })
    }
}

/// Device that processes a recording from a fresh start.
///
/// ```
/// use wakeling_device::simulate::{Chunking, Device};
/// # use wakeling_tests::model::{Tier, random_model};
/// # let bytes = random_model(1, Tier::Tiny);
/// # let model = wakeling_shared::model::Model::load(&bytes).unwrap();
///
/// // `model` is a `wakeling_shared::model::Model`.
/// let pcm: Vec<i16> = (0..32_000).map(|n| (8_000.0 * (n as f32 * 0.3).sin()) as i16).collect();
/// let whole = Device::Host(Chunking::Whole).lines(&model, &pcm, true)?;
/// assert!(whole.starts_with("model ") && whole.contains("\nstep 0 "));
/// // How the microphone divides the sound makes no difference.
/// let blocks = Device::Host(Chunking::Random { seed: 1, longest: 900 });
/// assert_eq!(blocks.lines(&model, &pcm, true)?, whole);
/// # Ok::<(), wakeling_device::Error>(())
/// ```
#[derive(Clone, Debug)]
pub enum Device {
    /// The pipeline on this machine.
    Host(Chunking),
    /// The firmware in an emulator.
    Emulator(Emulator),
}

impl Device {
    /// Returns the lines that the device prints, with the scores of every step only if `scores`.
    ///
    /// # Errors
    /// Those of [`Emulator::run`]. The host's pipeline fails only by a defect of the program.
    pub fn lines(&self, model: &Model<'_>, pcm: &[i16], scores: bool) -> Result<String> {
        match self {
            Self::Host(chunking) => {
                let mut lines = String::new();
                let mut blocks = std::iter::once(Ok(pcm.to_vec()));
                host_lines(model, &mut blocks, *chunking, scores, &mut lines)?;
                Ok(lines)
            }
            Self::Emulator(emulator) => emulator.run(&model_file::encode(model)?, pcm, scores),
        }
    }

    /// Runs the device, and parses the lines that it prints.
    ///
    /// # Errors
    /// Those of [`Device::lines`], and [`Error::EmulatedDevice`] if the device printed an unknown line.
    pub fn run(&self, model: &Model<'_>, pcm: &[i16], scores: bool) -> Result<Simulation> {
        Simulation::parse(&self.lines(model, pcm, scores)?)
    }

    /// Runs on a recording in blocks, which is never in memory as a whole, and follows each
    /// detection to its peak. For this, the device prints the scores of every step; they are
    /// returned only if `scores`.
    ///
    /// # Errors
    /// Those of [`Device::run`] and of the blocks.
    pub fn run_blocks(
        &self,
        model: &Model<'_>,
        blocks: &mut Blocks<'_>,
        scores: bool,
    ) -> Result<Simulation> {
        let mut reader = LineReader::new(model, scores);
        match self {
            Self::Host(chunking) => {
                let chunking = *chunking;
                host_lines(model, blocks, chunking, true, &mut reader)?;
            }
            Self::Emulator(emulator) => {
                let lines = emulator.run_blocks(&model_file::encode(model)?, blocks, true)?;
                // `finish` returns the reader's first error.
                let _ = reader.write_str(&lines);
            }
        }
        reader.finish()
    }
}

/// Writes the lines that the device would print to a sink.
fn host_lines(
    model: &Model<'_>,
    blocks: &mut Blocks<'_>,
    chunking: Chunking,
    scores: bool,
    lines: &mut impl Write,
) -> Result<()> {
    let refused = |_| Error::defect("a sink in memory refused a line");
    let mut arena = vec![0; model.arena_bytes()];
    let mut pipeline = Pipeline::new(model, &mut arena)
        .map_err(|error| Error::defect(format!("the model does not run: {error:?}")))?;
    let mut monitor = Monitor::new(model, &mut pipeline, scores);
    monitor.announce(lines).map_err(refused)?;
    for block in blocks {
        for chunk in chunking.blocks(&block?) {
            monitor.push(chunk, lines, &mut NoObserver).map_err(refused)?;
        }
    }
    Ok(())
}

/// Converts a smoothed logit or threshold in Q8 to a score, 0 … 1, with the device's own
/// [`sigmoid`].
pub fn score(logit: i16) -> f64 {
    f64::from(sigmoid(logit)) / 65_536.0
}

/// Keyword detected by a device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Detection {
    /// Number of samples up to the decision.
    pub end_samples: u64,
    /// Smoothed logit at the decision, Q8.
    pub logit: i16,
    /// Highest smoothed logit of the event, Q8, as
    /// [`DetectionEvent`](crate::sensitivity::DetectionEvent) defines it. Equals `logit` if
    /// the scores of the steps were not read.
    pub peak: i16,
    /// Label of the keyword.
    pub word: String,
}

/// Parsed output of a device.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Simulation {
    /// Scores of every step, if they were requested.
    pub steps: Vec<Scores>,
    /// Detections in order of time.
    pub detections: Vec<Detection>,
    /// Changes of the microphone's health.
    pub mic_issues: Vec<MicIssue>,
    /// Cost of the run; only the firmware measures it.
    pub stats: Option<Stats>,
    /// Highest smoothed logit of each keyword, Q8; empty if the scores of the steps were not read.
    pub highest: Vec<i16>,
}

impl Simulation {
    /// Parses the lines that a device printed.
    ///
    /// # Errors
    /// [`Error::EmulatedDevice`] at a line that no device of this version prints, or at an `error` line.
    pub fn parse(lines: &str) -> Result<Self> {
        let mut simulation = Self::default();
        for line in lines.lines() {
            if let Some(scores) = simulation.take(line)? {
                simulation.steps.push(scores);
            }
        }
        Ok(simulation)
    }

    /// Parses a line. Returns the scores of a step instead of storing them.
    fn take(&mut self, line: &str) -> Result<Option<Scores>> {
        match Event::parse(line) {
            Some(Event::Step(scores)) => return Ok(Some(scores)),
            Some(Event::Detection(events::Detection { end_samples, logit, word })) => {
                let word = word.to_owned();
                self.detections.push(Detection { end_samples, logit, peak: logit, word });
            }
            Some(Event::MicIssue(mic_issue)) => self.mic_issues.push(mic_issue),
            Some(Event::Stats(stats)) => self.stats = Some(stats),
            Some(Event::Model(_) | Event::Overrun(_)) => {}
            Some(Event::Error(message)) => {
                return Err(Error::EmulatedDevice { problem: message.to_owned() });
            }
            None => {
                let problem = format!("it printed an unknown line: {line:?}");
                return Err(Error::EmulatedDevice { problem });
            }
        }
        Ok(None)
    }
}

/// Choice of the detection threshold.
///
/// ```
/// use wakeling_device::simulate::Sensitivity;
/// # use wakeling_tests::model::{Tier, random_model};
/// # let bytes = random_model(1, Tier::Tiny);
/// # let mut model = wakeling_shared::model::Model::load(&bytes).unwrap();
///
/// // `model` is a `wakeling_shared::model::Model`.
/// Sensitivity::Score(0.5).apply(&mut model)?;
/// assert_eq!(model.words[0].detector.threshold, 0); // log-odds of 0
/// assert!(Sensitivity::Score(1.5).apply(&mut model).is_err());
/// # Ok::<(), wakeling_device::Error>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub enum Sensitivity {
    /// Threshold stored in the model.
    #[default]
    Model,
    /// Named sensitivity.
    Preset(Preset),
    /// Smoothed score at which a keyword is detected, between 0 and 1.
    Score(f64),
    /// Loosest of the model's operating points that stays within this many false accepts per hour.
    FalseAcceptsPerHour(f64),
}

impl Sensitivity {
    /// Sets the threshold of every keyword of `model`.
    ///
    /// # Errors
    /// [`Error::NoScore`] if the score is not between 0 and 1; [`Error::RateNotMeasured`] if a keyword has no operating point
    /// for the rate. The message then lists the points.
    pub fn apply(self, model: &mut Model<'_>) -> Result<()> {
        for word in &mut model.words {
            word.detector.threshold = match self {
                Self::Model => word.detector.threshold,
                Self::Preset(preset) => preset.threshold(&word.points, word.detector.threshold),
                Self::Score(score) => logit_q8(score)?,
                Self::FalseAcceptsPerHour(rate) => threshold_for(word, rate)?,
            };
        }
        Ok(())
    }
}

/// Converts a score `p` to a threshold in Q8: `round(256 · ln(p / (1 − p)))`, saturated to i16.
///
/// # Errors
/// [`Error::NoScore`] unless the score is above 0 and below 1.
pub fn logit_q8(score: f64) -> Result<i16> {
    if !(score > 0.0 && score < 1.0) {
        return Err(Error::NoScore { score });
    }
    let scale = f64::from(1 << LOGIT_FRACTION_BITS);
    // `as` saturates.
    Ok((scale * (score / (1.0 - score)).ln()).round() as i16)
}

/// Returns the rate of false accepts per hour that `false_accepts` in `audio_seconds` support. This
/// is the counted rate, or the bound 3/T (95 %) if none was counted ("rule of three", Hanley and
/// Lippman-Hand 1983).
pub fn supported_rate(false_accepts: u32, audio_seconds: u32) -> f64 {
    const RULE_OF_THREE: f64 = 3.0;
    let hours = f64::from(audio_seconds) / 3_600.0;
    let count = if false_accepts == 0 { RULE_OF_THREE } else { f64::from(false_accepts) };
    if hours > 0.0 { count / hours } else { f64::INFINITY }
}

fn threshold_for(word: &Keyword<'_>, rate: f64) -> Result<i16> {
    let supported = |p: &&_| rate_of(p) <= rate;
    if let Some(point) = word.points.iter().filter(supported).min_by_key(|p| p.threshold) {
        return Ok(point.threshold);
    }
    let (keyword, measured) = (word.label.to_string(), table(word).into_owned());
    Err(Error::RateNotMeasured { rate, keyword, measured })
}

/// Returns the [`supported_rate`] of an operating point, in false accepts per hour.
pub fn rate_of(point: &wakeling_shared::model::OperatingPoint) -> f64 {
    supported_rate(point.false_accepts, point.audio_seconds)
}

fn table(word: &Keyword<'_>) -> Cow<'static, str> {
    if word.points.is_empty() {
        return "it was never measured on audio without the word".into();
    }
    let mut text = String::from("its table has");
    for (i, point) in word.points.iter().enumerate() {
        let comma = if i == 0 { "" } else { "," };
        // Writing to a String does not fail.
        let _ = write!(text, "{comma} {}", FalseAccepts::from(point));
    }
    text.into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use wakeling_shared::{detector::DetectorParams, model::OperatingPoint};

    #[test]
    fn chunks_join_to_the_whole() {
        let pcm: Vec<i16> = (0..1_000).collect();
        let chunkings = [
            Chunking::Whole,
            Chunking::Fixed(0),
            Chunking::Fixed(7),
            Chunking::Fixed(5_000),
            Chunking::Random { seed: 1, longest: 0 },
            Chunking::Random { seed: 2, longest: 300 },
        ];
        for chunking in chunkings {
            assert_eq!(chunking.blocks(&pcm).collect::<Vec<_>>().concat(), pcm, "{chunking:?}");
        }
    }

    #[test]
    fn a_score_becomes_the_logit_it_came_from() {
        assert_eq!(logit_q8(0.5).unwrap(), 0);
        assert_eq!(logit_q8(0.880_797).unwrap(), 512);
        assert_eq!(logit_q8(0.119_203).unwrap(), -512);
        for bad in [0.0, 1.0, -1.0, f64::NAN] {
            assert!(logit_q8(bad).is_err());
        }
    }

    #[test]
    fn a_rate_takes_the_loosest_point_that_supports_it() {
        let point = |false_accepts, threshold| OperatingPoint {
            false_accepts,
            audio_seconds: 36_000,
            threshold,
        };
        let word = Keyword {
            label: "hey you",
            detector: DetectorParams { smoothing_steps: 1, threshold: 0, refractory_steps: 0 },
            points: [point(0, 900), point(4, 700), point(10, 500)].into_iter().collect(),
        };
        assert_eq!(threshold_for(&word, 0.3).unwrap(), 900);
        assert_eq!(threshold_for(&word, 0.5).unwrap(), 700);
        assert_eq!(threshold_for(&word, 2.0).unwrap(), 500);
        let refused = threshold_for(&word, 0.1).unwrap_err().to_string();
        assert!(
            refused.contains("none in 10.0 h (at most 0.30/h), 4 in 10.0 h (at most 0.92/h)"),
            "{refused}"
        );
    }
}
