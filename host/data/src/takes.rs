//! Checks recordings of a keyword before they are used for training or evaluation.
//!
//! A muted microphone, a file of ten takes, or the same file under two names gives a model that
//! learned something else than its user meant. [`check`] decodes recordings once and splits files
//! of several takes. It returns the takes that can be used, and those left out, each with its
//! reason.

pub mod alike;
pub mod layout;
pub mod record;
#[cfg(test)]
mod tests;

use std::{
    collections::{BTreeMap, HashMap},
    fmt,
    path::{Path, PathBuf},
};

use rayon::prelude::*;
use wakeling_shared::frontend::FrontendParams;

use crate::dataset::{
    Dataset, Example,
    inspect::{SoundHash, SoundHasher},
    texts::of_text,
};
use crate::{Error, Result};
use layout::{Layout, layout};
use wakeling_audio::phrase_span::{Phrase, phrase_in};
use wakeling_audio::{
    SAMPLE_RATE,
    features::{FrontendTables, LogMel, NormalizationKind, log_mel, mel_powers},
    level::{Level, QUIET_DB, SILENCE_DB, decibels},
};
use wakeling_core::{console, progress::Progress};

/// Number of samples in a frame of 10 ms.
const FRAME: usize = SAMPLE_RATE as usize / 100;
/// Longest recording that is searched for takes, in samples: 3 minutes, some seventy takes.
const LONGEST_SAMPLES: usize = 180 * SAMPLE_RATE as usize;
/// Largest span of digital silence in i16 steps, since the converter's last bit flickers.
const LAST_BITS: u16 = 2;
/// Peak in dBFS below which a recording holds only the converter's own noise.
const MUTED_DB: f32 = -72.0;
/// Peak in dBFS below which a phrase is lost in the converter's noise; it has about six bits.
const FAR_TOO_QUIET_DB: f32 = -54.0;
/// Share of samples at the converter's limit above which a phrase is distorted beyond use.
const RUINED: f64 = 0.05;
/// Smallest magnitude that counts as the converter's limit.
const RAIL: u16 = 32_600;
/// Smallest variation of a phrase's level in dB, from the quiet tenth of the frames to the loud
/// tenth. Below it, the sound is a room or a fan. White noise has 1; of 2,800 recordings of 17
/// words by people, none has less than this.
const STEADY_DB: f32 = 3.0;
/// Number of names that one line lists.
const NAMES_SHOWN: usize = 3;

/// Purpose of recordings, which decides what is left out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// Training: a recording without a usable phrase is left out.
    Train,
    /// Evaluation: quiet or clipped recordings count, since people record them.
    Test,
}

/// Usable recording.
#[derive(Clone, Debug)]
pub struct Take {
    /// File, part of it, and metadata.
    pub example: Example,
    /// Log-mel frames, as the trainer takes them.
    pub frames: LogMel,
    /// Hash of the samples.
    pub hash: SoundHash,
    /// Index of the example that it is from, among those given.
    pub source: usize,
}

/// Defect of a recording.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum TakeProblem {
    /// It holds no sound.
    Silent,
    /// It holds sound, but no phrase.
    NoPhrase,
    /// The phrase is lost in the converter's noise.
    TooQuiet,
    /// The phrase is distorted.
    Clipped,
    /// It cannot be decoded.
    Unreadable,
    /// The same sound occurs earlier.
    Repeated,
}

impl TakeProblem {
    fn name(self) -> &'static str {
        match self {
            Self::Silent => "silent",
            Self::NoPhrase => "without a phrase",
            Self::TooQuiet => "far too quiet",
            Self::Clipped => "clipped",
            Self::Unreadable => "unreadable",
            Self::Repeated => "repeated",
        }
    }
}

/// Recording that was left out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeftOut {
    /// Path of the file.
    pub path: PathBuf,
    /// Name of the file, and the part of it.
    pub name: String,
    /// Kind of defect.
    pub problem: TakeProblem,
    /// Description of what was expected and what was found.
    pub reason: String,
}

impl fmt::Display for LeftOut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.problem {
            // The error names the file, and the part of it if there is one.
            TakeProblem::Unreadable => f.write_str(&self.reason),
            _ => write!(f, "{}: {}", self.name, self.reason),
        }
    }
}

/// Result of [`check`].
#[derive(Clone, Debug, Default)]
pub struct Checked {
    /// Usable recordings, in the order given.
    pub takes: Vec<Take>,
    /// Recordings that were left out.
    pub left_out: Vec<LeftOut>,
    /// Notes for the user, a line each.
    pub notes: Vec<String>,
}

impl Checked {
    /// Returns an error if no recording can be used; none otherwise.
    pub fn refusal(&self, path: impl Into<PathBuf>) -> Option<Error> {
        if !self.takes.is_empty() {
            return None;
        }
        let mut counts: BTreeMap<TakeProblem, usize> = BTreeMap::new();
        self.left_out.iter().for_each(|left| *counts.entry(left.problem).or_default() += 1);
        let list: Vec<String> = counts.iter().map(|(f, n)| format!("{n} {}", f.name())).collect();
        let counted = if list.is_empty() { "it is empty".to_owned() } else { list.join(", ") };
        let most =
            counts.iter().max_by_key(|&(problem, count)| (count, std::cmp::Reverse(problem)));
        let most = most.map_or(TakeProblem::Unreadable, |(problem, _)| *problem);
        Some(Error::NoUsableTake { path: path.into(), counts: counted, most })
    }

    /// Reports the notes and the recordings that were left out, a line each.
    pub fn report(&self, progress: &dyn Progress) {
        self.notes.iter().for_each(|note| progress.line(note));
        self.left_out.iter().for_each(|left| progress.line(&format!("skipped: {left}")));
    }

    /// Returns the takes' examples.
    pub fn examples(&self) -> Vec<Example> {
        self.takes.iter().map(|take| take.example.clone()).collect()
    }
}

/// Opens the recordings of a keyword: of the clips at a path those with its text, decoded, cut and
/// checked. Reports what is left out.
///
/// # Errors
/// As [`Dataset::open`] and [`of_text`]; [`Error::NoUsableTake`] if no recording can be used.
pub fn open(
    path: &Path,
    label: &str,
    frontend: &FrontendParams<'_>,
    purpose: Purpose,
    progress: &dyn Progress,
) -> Result<Checked> {
    let found = of_text(path, Dataset::open_reporting(path, progress)?, label)?;
    if let Some(note) = found.note(path, label) {
        progress.line(&note);
    }
    let checked = check(&found.clips, frontend, purpose, progress);
    checked.report(progress);
    match checked.refusal(path) {
        Some(refusal) => Err(refusal),
        None => Ok(checked),
    }
}

/// Decodes and checks recordings. Splits files that hold several takes, and leaves out recordings
/// that cannot be used or repeat another sound.
///
/// ```
/// use wakeling_audio::features::{FrontendTables, NormalizationKind};
/// use wakeling_core::progress::NoProgress;
/// use wakeling_data::{dataset::Example, takes::{Purpose, TakeProblem, check}};
///
/// let path = std::env::temp_dir().join(format!("wakeling-takes-{}.wav", std::process::id()));
/// wakeling_audio::write_wav(&path, &[0; 16_000])?; // the microphone was muted
/// let tables = FrontendTables::default();
/// let params = tables.params(NormalizationKind::Log);
/// let checked = check(&[Example::unlabelled(&path)], &params, Purpose::Train, &NoProgress);
/// assert!(checked.takes.is_empty());
/// assert_eq!(checked.left_out[0].problem, TakeProblem::Silent);
/// # std::fs::remove_file(&path).unwrap();
/// # Ok::<(), wakeling_data::Error>(())
/// ```
pub fn check(
    examples: &[Example],
    frontend: &FrontendParams<'_>,
    purpose: Purpose,
    progress: &dyn Progress,
) -> Checked {
    progress.begin("recordings", examples.len() as u64);
    let look = |(source, example): (usize, &Example)| {
        progress.advance(1);
        File::read(source, example, frontend, purpose)
    };
    let files: Vec<File> = examples.par_iter().enumerate().map(look).collect();
    progress.end();
    let mut checked = Checked::default();
    let (mut first, mut quiet, mut clipped) = (HashMap::new(), Vec::new(), Vec::new());
    for file in files {
        checked.notes.extend(file.note);
        for piece in file.pieces {
            let piece = match piece {
                Ok(piece) => piece,
                Err(left_out) => {
                    checked.left_out.push(left_out);
                    continue;
                }
            };
            let name = piece.take.example.name();
            if let Some(other) = first.get(&piece.take.hash) {
                let reason = format!("the same sound as {other}; it counts once");
                checked.left_out.push(left_out(&piece.take.example, TakeProblem::Repeated, reason));
                continue;
            }
            first.insert(piece.take.hash, name.clone());
            match piece.weakness {
                Some(TakeProblem::TooQuiet) => quiet.push(name),
                Some(TakeProblem::Clipped) => clipped.push(name),
                _ => {}
            }
            checked.takes.push(piece.take);
        }
    }
    let quiet_note = format!("quiet (peak below {QUIET_DB:.0} dB): come nearer");
    for (names, what) in [(quiet, quiet_note.as_str()), (clipped, "clipped here and there")] {
        checked.notes.extend(weak(&names, what));
    }
    checked
}

/// Returns a warning about recordings that are used but could be better; none if there are none.
fn weak(names: &[String], what: &str) -> Option<String> {
    let (first, rest) = names.split_first()?;
    let shown: Vec<&str> =
        [first].into_iter().chain(rest).take(NAMES_SHOWN).map(String::as_str).collect();
    let more = names.len() - shown.len();
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    let s = if names.len() == 1 { " is" } else { "s are" };
    Some(format!("warning: {} recording{s} {what}: {}{more}", names.len(), shown.join(", ")))
}

fn left_out(example: &Example, problem: TakeProblem, reason: String) -> LeftOut {
    LeftOut { path: example.path.clone(), name: example.name(), problem, reason }
}

/// Take with its weakness, if it has one.
struct Piece {
    take: Take,
    weakness: Option<TakeProblem>,
}

/// Takes found in one file.
#[derive(Default)]
struct File {
    pieces: Vec<Result<Piece, LeftOut>>,
    note: Option<String>,
}

impl File {
    fn read(
        source: usize,
        example: &Example,
        frontend: &FrontendParams<'_>,
        purpose: Purpose,
    ) -> Self {
        let (mut pcm, mut hasher) = (Vec::new(), SoundHasher::default());
        let read = example.for_each_block(|block| {
            hasher.push(block);
            let room = LONGEST_SAMPLES.saturating_sub(pcm.len());
            pcm.extend_from_slice(&block[..room.min(block.len())]);
        });
        match read {
            Err(error) => {
                let left = left_out(example, TakeProblem::Unreadable, console::explained(&error));
                return Self { pieces: vec![Err(left)], note: None };
            }
            Ok(samples) if samples > LONGEST_SAMPLES => {
                let piece = long(source, example, samples, hasher.finish(), purpose);
                return Self { pieces: vec![piece], note: None };
            }
            Ok(_) => {}
        }
        let seconds = pcm.len() as f64 / f64::from(SAMPLE_RATE);
        let piece = |example: Example, pcm: &[i16]| piece(source, example, pcm, frontend, purpose);
        match layout(&pcm) {
            Layout::One => Self { pieces: vec![piece(example.clone(), &pcm)], note: None },
            Layout::Odd(what) => {
                let name = example.name();
                let note = format!("warning: {name}: {seconds:.0} s long, {what}");
                Self { pieces: vec![piece(example.clone(), &pcm)], note: Some(note) }
            }
            Layout::Several(ranges) => {
                let note =
                    format!("{}: {} takes found in {seconds:.0} s", example.name(), ranges.len());
                let cut = |range: std::ops::Range<usize>| {
                    let at = |sample: usize| sample as f64 / f64::from(SAMPLE_RATE);
                    let part = Example {
                        // Milliseconds are easier to read.
                        offset_s: ((example.offset_s + at(range.start)) * 1e3).round() / 1e3,
                        duration_s: Some(at(range.len())),
                        ..example.clone()
                    };
                    piece(part, &pcm[range])
                };
                Self { pieces: ranges.into_iter().map(cut).collect(), note: Some(note) }
            }
        }
    }
}

/// Returns a recording that is too long to be searched for takes. It is played as it is in an
/// evaluation, and is not trained on. Its samples are never in memory as a whole.
fn long(
    source: usize,
    example: &Example,
    samples: usize,
    hash: SoundHash,
    purpose: Purpose,
) -> Result<Piece, LeftOut> {
    if purpose == Purpose::Train {
        let (seconds, most) =
            (samples / SAMPLE_RATE as usize, LONGEST_SAMPLES / SAMPLE_RATE as usize);
        let reason = format!("{seconds} s long: cut it into files of at most {most} s");
        return Err(left_out(example, TakeProblem::NoPhrase, reason));
    }
    let take = Take { example: example.clone(), frames: LogMel::default(), hash, source };
    Ok(Piece { take, weakness: None })
}

fn piece(
    source: usize,
    example: Example,
    pcm: &[i16],
    frontend: &FrontendParams<'_>,
    purpose: Purpose,
) -> Result<Piece, LeftOut> {
    if let Some(reason) = silence(pcm) {
        return Err(left_out(&example, TakeProblem::Silent, reason));
    }
    let frames = log_mel(&mel_powers(pcm, frontend));
    let found = phrase_of(pcm, &frames);
    let weakness = match (found, purpose) {
        (Err((problem, reason)), Purpose::Train) => {
            return Err(left_out(&example, problem, reason));
        }
        (Err(_), Purpose::Test) => None,
        (Ok(weakness), _) => weakness,
    };
    Ok(Piece { take: Take { example, frames, hash: SoundHash::of(pcm), source }, weakness })
}

/// Returns the defect of samples that hold no take to train on; none if they hold one.
pub fn problem(pcm: &[i16]) -> Option<(TakeProblem, String)> {
    if let Some(reason) = silence(pcm) {
        return Some((TakeProblem::Silent, reason));
    }
    let tables = FrontendTables::default();
    let frames = log_mel(&mel_powers(pcm, &tables.params(NormalizationKind::Log)));
    phrase_of(pcm, &frames).err()
}

/// Describes why there is no sound in samples; none if there is.
fn silence(pcm: &[i16]) -> Option<String> {
    let least = pcm.iter().min().copied().unwrap_or(0);
    let most = pcm.iter().max().copied().unwrap_or(0);
    // A constant offset of the converter is not sound.
    let span = most.abs_diff(least);
    let peak_db = decibels(f32::from(span) / 2.0);
    match span {
        0..=LAST_BITS => Some("digital silence: the microphone was muted or off".into()),
        _ if peak_db < MUTED_DB => {
            Some(format!("silent (its peak is {peak_db:.0} dB): the microphone was muted or off"))
        }
        _ => None,
    }
}

/// Finds the phrase, and returns its weakness if it has one.
///
/// # Errors
/// The defect and its description, if there is no usable phrase.
fn phrase_of(pcm: &[i16], frames: &LogMel) -> Result<Option<TakeProblem>, (TakeProblem, String)> {
    let none = |why: &str| (TakeProblem::NoPhrase, format!("no phrase was found: {why}"));
    let Phrase { start, end } =
        phrase_in(frames).ok_or_else(|| none("there is only a click, or less than 0.15 s"))?;
    if variation_db(pcm) < STEADY_DB {
        return Err(none("the sound is steady, like a room or a fan"));
    }
    let sample = |frame: usize| (frame * FRAME).min(pcm.len());
    let speech = &pcm[sample(start)..sample(end)];
    let level = Level::of(speech);
    let at_rail = speech.iter().filter(|s| s.unsigned_abs() >= RAIL).count();
    let share = at_rail as f64 / speech.len().max(1) as f64;
    if level.peak_db < FAR_TOO_QUIET_DB {
        let reason = format!("far too quiet: the phrase's peak is {:.0} dB", level.peak_db);
        return Err((TakeProblem::TooQuiet, reason));
    }
    if level.is_clipped && share > RUINED {
        let reason = format!("clipped: {:.0} % of the phrase is cut off", 100.0 * share);
        return Err((TakeProblem::Clipped, reason));
    }
    Ok(match level {
        level if level.is_clipped => Some(TakeProblem::Clipped),
        level if level.peak_db < QUIET_DB => Some(TakeProblem::TooQuiet),
        _ => None,
    })
}

/// Returns the variation of the level in dB, from the quiet tenth of the frames to the loud tenth.
fn variation_db(pcm: &[i16]) -> f32 {
    let mut levels: Vec<f32> = pcm.chunks_exact(FRAME).map(|f| Level::of(f).rms_db).collect();
    levels.sort_by(f32::total_cmp);
    let at = |tenth: usize| levels.get(levels.len() * tenth / 10).copied().unwrap_or(SILENCE_DB);
    at(9) - at(1)
}
