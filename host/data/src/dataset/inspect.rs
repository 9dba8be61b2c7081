//! Statistics of a dataset. Every clip is decoded and measured, and everything unusable is
//! reported.
//!
//! Clips are processed in batches. Memory holds a hash of 16 bytes per clip, to find duplicates,
//! and the names of speakers, languages and words. A million clips take about 50 MB.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    fmt::{self, Write as _},
    hash::{DefaultHasher, Hash, Hasher},
    io::{self, Write},
};

use rayon::prelude::*;
use sha2::{Digest, Sha256};
use wakeling_shared::frontend::MEL_CHANNELS;

use super::{Example, Skipped};
use crate::Result;
use wakeling_audio::{
    FileFormat, SAMPLE_RATE,
    features::{FrontendTables, NormalizationKind, band_center_hz, mel_powers},
};

/// Maximum number of distinct labels that are counted separately; later ones are counted together.
const LABELS_MAX: usize = 100_000;
/// Number of rows of the table of the most frequent words.
const WORDS_SHOWN: usize = 10;
/// Level in dB below the mean power density under a limit. A density above the limit that stays
/// below this level counts as absent. Resamplers and codecs leave less where they cut. We measured
/// 300 clips per source. Of telephone speech and of 8 kHz digits, both stored at 16 kHz through a
/// codec, 93 % and 100 % are below it at one of the limits. Of wide-band speech through the same
/// codec, no clip is in three sources, and 4 % are in a fourth.
const ABSENT_DB: f64 = 56.0;
/// Frequency limits that are detected: a telephone's, and an early sound card's (half of 11,025
/// Hz).
pub const LIMITS_HZ: [f32; 2] = [4_000.0, 5_500.0];
/// Upper end of a filter's transition band, as a multiple of the limit.
const SKIRT: f32 = 1.12;

/// First half of the SHA-256 of samples at 16 kHz. Finds equal audio under different names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct SoundHash([u8; 16]);

impl SoundHash {
    /// Returns the hash of samples.
    pub fn of(pcm: &[i16]) -> Self {
        let mut hasher = SoundHasher::default();
        hasher.push(pcm);
        hasher.finish()
    }
}

/// Incremental hash of samples. The division into blocks does not change the hash.
#[derive(Default)]
pub struct SoundHasher(Sha256);

impl SoundHasher {
    /// Adds the next samples.
    pub fn push(&mut self, pcm: &[i16]) {
        let bytes: Vec<u8> = pcm.iter().flat_map(|x| x.to_le_bytes()).collect();
        self.0.update(&bytes);
    }

    /// Returns the hash of all samples.
    pub fn finish(self) -> SoundHash {
        let mut hash = [0; 16];
        hash.copy_from_slice(&self.0.finalize()[..16]);
        SoundHash(hash)
    }
}

impl fmt::Display for SoundHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// Properties of a decoded clip.
#[derive(Clone, Debug, PartialEq)]
pub struct ClipStats {
    /// Number of samples at 16 kHz.
    pub samples: usize,
    /// Sample rate of the file, in Hz.
    pub rate_hz: u32,
    /// Format of the file.
    pub format: FileFormat,
    /// Hash of the samples.
    pub hash: SoundHash,
    /// Lowest of [`LIMITS_HZ`] above which there is no energy.
    pub limit_hz: Option<f32>,
    /// `true` if all samples are equal.
    pub silent: bool,
    /// Description of the missing end of a truncated file.
    pub shortfall: Option<String>,
}

impl ClipStats {
    /// Decodes and measures a clip.
    ///
    /// # Errors
    /// As [`Example::record`].
    pub fn of(example: &Example) -> Result<Self> {
        let recording = example.record()?;
        let pcm = &recording.samples;
        let silent = pcm.iter().all(|x| Some(x) == pcm.first());
        Ok(Self {
            samples: pcm.len(),
            rate_hz: recording.rate_hz,
            format: recording.format,
            hash: SoundHash::of(pcm),
            limit_hz: if silent { None } else { limit(pcm) },
            silent,
            shortfall: recording.shortfall,
        })
    }

    fn seconds(&self) -> f64 {
        self.samples as f64 / f64::from(SAMPLE_RATE)
    }
}

/// Returns the lowest limit above which a recording has no energy.
fn limit(pcm: &[i16]) -> Option<f32> {
    let tables = FrontendTables::default();
    let frames = mel_powers(pcm, &tables.params(NormalizationKind::Log));
    let density = |wanted: &dyn Fn(f32) -> bool| {
        let bands: Vec<usize> = (0..MEL_CHANNELS).filter(|b| wanted(band_center_hz(*b))).collect();
        let hertz: f32 = bands.iter().map(|b| band_center_hz(b + 1) - band_center_hz(*b)).sum();
        let power: f64 = frames.iter().flat_map(|f| bands.iter().map(|b| f[*b] as f64)).sum();
        power / f64::from(hertz)
    };
    LIMITS_HZ.into_iter().find(|&limit| {
        let (below, above) = (density(&|hz| hz < limit), density(&|hz| hz > limit * SKIRT));
        below > 0.0 && 10.0 * (above / below).log10() < -ABSENT_DB
    })
}

/// Number and length of clips.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Amount {
    /// Number of clips.
    pub clips: u64,
    /// Total length, in seconds.
    pub seconds: f64,
}

impl Amount {
    fn add(&mut self, seconds: f64) {
        self.clips += 1;
        self.seconds += seconds;
    }
}

/// Statistics of one or several datasets.
#[derive(Debug, Default)]
pub struct Inspection {
    all: Amount,
    with_text: Amount,
    by: BTreeMap<(&'static str, String), Amount>,
    words: BTreeMap<String, u64>,
    speakers: HashSet<u64>,
    texts: HashSet<u64>,
    first_seen: HashMap<SoundHash, u64>,
    duplicates: u64,
    silent: u64,
    skipped: u64,
    unreadable: u64,
}

/// Writers of the full lists: a table of the clips and one of the skipped files.
pub struct Lists<'a> {
    /// Table with one tab-separated line per clip.
    pub clips: &'a mut dyn Write,
    /// Table with one line per unusable file or line, and the reason.
    pub skipped: &'a mut dyn Write,
}

impl Lists<'_> {
    /// Writes the header lines of the tables.
    ///
    /// # Errors
    /// Errors of the writers.
    pub fn begin(&mut self) -> io::Result<()> {
        writeln!(
            self.clips,
            "clip\tname\tseconds\trate\tformat\tlimit\tspeaker\tlang\tkind\ttext"
        )?;
        writeln!(self.skipped, "name\treason")
    }
}

impl Inspection {
    /// Decodes a batch of clips in parallel, and counts them in order.
    ///
    /// # Errors
    /// That of the system if a list cannot be written. A clip that cannot be read is counted.
    pub fn add(&mut self, batch: &[Example], lists: &mut Lists<'_>) -> io::Result<()> {
        let stats: Vec<Result<ClipStats>> = batch.par_iter().map(ClipStats::of).collect();
        for (example, stats) in batch.iter().zip(stats) {
            match stats {
                Ok(stats) => self.count(example, &stats, lists)?,
                Err(error) => {
                    self.unreadable += 1;
                    self.list_skipped(&example.name(), &error.to_string(), lists)?;
                }
            }
        }
        Ok(())
    }

    /// Counts a file or line that is not a clip.
    ///
    /// # Errors
    /// Errors of the writer of the list.
    pub fn skip(&mut self, skipped: &Skipped, lists: &mut Lists<'_>) -> io::Result<()> {
        self.skipped += 1;
        let line = skipped.line.map_or(String::new(), |l| format!(":{l}"));
        let name = format!("{}{line}", skipped.path.display());
        self.list_skipped(&name, &skipped.reason, lists)
    }

    fn list_skipped(&self, name: &str, reason: &str, lists: &mut Lists<'_>) -> io::Result<()> {
        writeln!(lists.skipped, "{}\t{}", flat(name), flat(reason))
    }

    fn count(
        &mut self,
        example: &Example,
        stats: &ClipStats,
        lists: &mut Lists<'_>,
    ) -> io::Result<()> {
        let number = self.all.clips + 1;
        let seconds = stats.seconds();
        self.all.add(seconds);
        match self.first_seen.get(&stats.hash) {
            Some(first) => {
                self.duplicates += 1;
                let reason = format!("the same sound as clip {first} of clips.tsv");
                self.list_skipped(&example.name(), &reason, lists)?;
            }
            None => {
                self.first_seen.insert(stats.hash, number);
            }
        }
        if let Some(what) = &stats.shortfall {
            let reason = format!("the file is cut off ({what}); what is there is used");
            self.list_skipped(&example.name(), &reason, lists)?;
        }
        if stats.silent {
            self.silent += 1;
            self.list_skipped(&example.name(), "silent: every sample is the same", lists)?;
        }
        self.label(example, seconds);
        let limit = stats.limit_hz.map_or(String::new(), |hz| format!("{hz}"));
        self.tally("rate", &format!("{} Hz", stats.rate_hz), seconds);
        self.tally("format", &format!("{:?}", stats.format).to_lowercase(), seconds);
        let width = match stats.limit_hz {
            _ if stats.silent => "silence".to_owned(),
            Some(hz) => format!("nothing above {} kHz", hz / 1_000.0),
            None => format!("above {} kHz too", LIMITS_HZ[LIMITS_HZ.len() - 1] / 1_000.0),
        };
        self.tally("bandwidth", &width, seconds);
        let text = |field: &Option<String>| flat(field.as_deref().unwrap_or_default());
        writeln!(
            lists.clips,
            "{number}\t{}\t{seconds:.3}\t{}\t{:?}\t{limit}\t{}\t{}\t{}\t{}",
            flat(&example.name()),
            stats.rate_hz,
            stats.format,
            text(&example.speaker),
            text(&example.lang),
            text(&example.kind),
            text(&example.text),
        )
    }

    fn label(&mut self, example: &Example, seconds: f64) {
        let named = [
            ("language", &example.lang),
            ("kind", &example.kind),
            ("source", &example.source),
            ("split", &example.split),
        ];
        for (what, value) in named {
            self.tally(what, value.as_deref().unwrap_or("unknown"), seconds);
        }
        let hash = |text: &str| {
            let mut hasher = DefaultHasher::new();
            text.hash(&mut hasher);
            hasher.finish()
        };
        self.speakers.extend(example.speaker.as_deref().map(hash));
        if let Some(text) = &example.text {
            self.with_text.add(seconds);
            self.texts.insert(hash(text));
            if example.kind.as_deref() == Some("word")
                && (self.words.len() < LABELS_MAX || self.words.contains_key(text))
            {
                *self.words.entry(text.clone()).or_default() += 1;
            }
        }
    }

    fn tally(&mut self, what: &'static str, value: &str, seconds: f64) {
        let known = self.by.len() < LABELS_MAX;
        let key = (what, if known { value.to_owned() } else { "others".to_owned() });
        self.by.entry(key).or_default().add(seconds);
    }

    /// Number of decoded clips.
    pub fn clips(&self) -> u64 {
        self.all.clips
    }

    /// Number of files and lines that cannot be used.
    pub fn unusable(&self) -> u64 {
        self.skipped + self.unreadable
    }

    /// Returns the table for the terminal.
    pub fn table(&self) -> String {
        let mut out = String::new();
        let mut row = |name: &str, value: String| {
            // Writing to a string cannot fail.
            let _ = writeln!(out, "{name:<12} {value}");
        };
        row("clips", format!("{}", self.all.clips));
        row("hours", format!("{:.2}", self.all.seconds / 3_600.0));
        row("speakers", format!("{}", self.speakers.len()));
        let Amount { clips, seconds } = self.with_text;
        let texts = self.texts.len();
        row("with text", format!("{clips} clips, {:.2} h, {texts} different", seconds / 3_600.0));
        row("words", self.frequent_words());
        let mut last = "";
        for ((what, value), amount) in &self.by {
            let share = 100.0 * amount.clips as f64 / self.all.clips.max(1) as f64;
            let hours = amount.seconds / 3_600.0;
            let name = if *what == last { "" } else { what };
            row(
                name,
                format!("{value:<22} {:>9} clips {share:>5.1} % {hours:>9.2} h", amount.clips),
            );
            last = what;
        }
        row("duplicates", format!("{}", self.duplicates));
        row("silent", format!("{}", self.silent));
        row("unreadable", format!("{}", self.unreadable));
        row("skipped", format!("{}", self.skipped));
        out
    }

    fn frequent_words(&self) -> String {
        let mut words: Vec<(&String, &u64)> = self.words.iter().collect();
        words.sort_by_key(|(word, count)| (std::cmp::Reverse(**count), *word));
        let shown: Vec<String> =
            words.iter().take(WORDS_SHOWN).map(|(word, count)| format!("{word} {count}")).collect();
        let more = words.len().saturating_sub(WORDS_SHOWN);
        let more = if more > 0 { format!(", {more} more") } else { String::new() };
        format!("{}{more}", if shown.is_empty() { "none".into() } else { shown.join(", ") })
    }
}

/// Replaces tabs and line ends, so that the text stays in its column.
fn flat(text: &str) -> String {
    text.replace(['\t', '\n', '\r'], " ")
}
