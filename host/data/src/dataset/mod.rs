//! Datasets: clips with their labels, from several layouts.
//!
//! Each layout becomes the same stream of [`Example`]s, so code behind this module does not depend
//! on the source of a clip. Only names are read here; [`Example::load`] reads the audio. A reader
//! passes on one [`Item`] at a time and keeps at most one folder's names, so memory does not grow
//! with the dataset. [`Dataset::open`] collects the clips of small datasets. A file or line that
//! cannot be used becomes an [`Item::Skipped`] with a reason and is never dropped silently. A label
//! that a dataset does not have is `None`.
//!
//! | [`Format`] | content of the path |
//! |---|---|
//! | manifest | `*.jsonl`, `*.json`: NeMo-style, one JSON object a line (`manifest`) |
//! | folder | folder of folders of audio: the folder is the word, as in Speech Commands; audio directly inside has no text, unless a `manifest.jsonl` beside it gives one; or one audio file (`folder`) |
//! | librispeech | folders with `*.trans.txt` beside their audio (`librispeech`) |
//! | common-voice | a release's folder for one language, or one of its `.tsv` (`common_voice`) |
//! | shards | WebDataset `.tar` files: one, a folder of them, or `name-{0000..0099}.tar` (`shards`) |
//!
//! Shards may also be at `http(s)://` and `s3://` addresses (see [`remote`]).

mod common_voice;
pub mod fetch;
pub mod folder;
pub mod inspect;
#[cfg(test)]
mod layout_tests;
mod librispeech;
mod lines;
pub mod index;
pub mod manifest;
mod shards;
mod split;
#[cfg(test)]
mod tests;
pub mod texts;
pub mod unpack;

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};
pub use split::{speaker_position, split_by_speaker};

use crate::remote;
use crate::{Error, Result};
use wakeling_audio as audio;
use wakeling_audio::{AudioReader, Member, Recording};
use wakeling_core::progress::Progress;

/// Clip and its labels. `None` means unknown.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Example {
    /// Audio file, or the archive that contains it; a URL if it is remote.
    pub path: PathBuf,
    /// Part of the archive at `path` that is the audio file; `None` if `path` itself is the audio
    /// file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub member: Option<Member>,
    /// Start of the clip in the file, in seconds.
    pub offset_s: f64,
    /// Length in seconds; `None` means to the end of the file.
    pub duration_s: Option<f64>,
    /// Transcript.
    pub text: Option<String>,
    /// Speaker. Clips of one speaker never fall on both sides of a split.
    pub speaker: Option<String>,
    /// `true` if the speaker was inferred from the file name. This is good enough for a split, but
    /// several people may count as one.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub is_speaker_guessed: bool,
    /// Language code, such as "en" or "zh".
    pub lang: Option<String>,
    /// "word", "speech", "noise" or "music"; manifests may hold other values.
    pub kind: Option<String>,
    /// Dataset from which the clip comes.
    pub source: Option<String>,
    /// Part of the dataset to which the clip belongs, such as "train" or "test".
    pub split: Option<String>,
    /// Other labels of a manifest, such as "gender" or "age".
    pub labels: BTreeMap<String, String>,
}

impl Example {
    /// Creates an entry for a whole file without labels.
    pub fn unlabelled(path: impl Into<PathBuf>) -> Self {
        Self {
            path: path.into(),
            member: None,
            offset_s: 0.0,
            duration_s: None,
            text: None,
            speaker: None,
            is_speaker_guessed: false,
            lang: None,
            kind: None,
            source: None,
            split: None,
            labels: BTreeMap::new(),
        }
    }

    /// Reads the clip as 16 kHz mono. A truncated file is used up to its end, and a warning is
    /// logged to stderr.
    ///
    /// # Errors
    /// As [`Example::record`].
    pub fn load(&self) -> Result<Vec<i16>> {
        let recording = self.record()?;
        if let Some(what) = &recording.shortfall {
            audio::log_shortfall(&self.name(), what);
        }
        Ok(recording.samples)
    }

    /// Reads the clip with the format in which it was stored. A remote shard is fetched into the
    /// cache first.
    ///
    /// # Errors
    /// As [`audio::read_recording`] and [`remote::local`].
    pub fn record(&self) -> Result<Recording> {
        Ok(self.reader()?.collect_recording()?)
    }

    /// Opens the clip for reading in blocks. The data is the same as from [`Example::record`].
    ///
    /// # Errors
    /// As [`AudioReader::open_part`] and [`remote::local`].
    pub fn reader(&self) -> Result<AudioReader> {
        let open = || -> Result<AudioReader> {
            let path = remote::local(&self.path)?;
            let (member, offset_s) = (self.member.as_ref(), self.offset_s);
            Ok(AudioReader::open_part(path, member, offset_s, self.duration_s)?)
        };
        match open() {
            // The shard may have been evicted from the cache between the two lines above.
            Err(error) if error.is_missing() && remote::is_url(&self.path) => open(),
            result => result,
        }
    }

    /// Reads a range of the clip's samples, or as many of them as exist. Later samples are not
    /// read, and earlier ones are not kept.
    ///
    /// # Errors
    /// As [`Example::record`].
    pub fn load_samples(&self, range: std::ops::Range<usize>) -> Result<Vec<i16>> {
        let (mut samples, mut position) = (Vec::new(), 0);
        for block in self.reader()? {
            let block = block?;
            let part = |at: usize| at.saturating_sub(position).min(block.len());
            samples.extend_from_slice(&block[part(range.start)..part(range.end)]);
            position += block.len();
            if position >= range.end {
                break;
            }
        }
        Ok(samples)
    }

    /// Passes the clip to `take` in blocks; returns the number of samples.
    ///
    /// A truncated file is used up to its end, and a warning is logged to stderr.
    ///
    /// # Errors
    /// As [`Example::record`]. `take` may have received some blocks before the error.
    pub fn for_each_block(&self, mut take: impl FnMut(&[i16])) -> Result<usize> {
        let (mut reader, mut samples) = (self.reader()?, 0);
        for block in reader.by_ref() {
            let block = block?;
            samples += block.len();
            take(&block);
        }
        if let Some(what) = reader.shortfall() {
            audio::log_shortfall(&self.name(), &what);
        }
        Ok(samples)
    }

    /// Returns the file and the part of it, for messages.
    pub fn name(&self) -> String {
        let path = self.path.display();
        match &self.member {
            Some(member) => format!("{path}:{}", member.name),
            None if self.offset_s > 0.0 => format!("{path}@{}s", self.offset_s),
            None => path.to_string(),
        }
    }
}

/// File, folder or line of a dataset that cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Skipped {
    /// Manifest, file or folder.
    pub path: PathBuf,
    /// Line of the manifest, counted from 1.
    pub line: Option<usize>,
    /// Reason: what was expected and what was found.
    pub reason: String,
}

impl Skipped {
    pub(crate) fn new(path: &Path, reason: impl Into<String>) -> Self {
        Self { path: path.to_path_buf(), line: None, reason: reason.into() }
    }

    fn at(path: &Path, line: usize, reason: impl Into<String>) -> Self {
        Self { line: Some(line), ..Self::new(path, reason) }
    }
}

impl std::fmt::Display for Skipped {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", self.path.display())?;
        if let Some(line) = self.line {
            write!(f, ":{line}")?;
        }
        write!(f, ": {}", self.reason)
    }
}

/// Item that a reader passes on.
#[derive(Clone, Debug, PartialEq)]
pub enum Item {
    /// Clip.
    Clip(Example),
    /// File or line that should have been a clip.
    Skipped(Skipped),
}

/// Receiver of the items of a dataset, one by one. An error ends the reading.
pub type Sink<'a> = dyn FnMut(Item) -> Result<()> + 'a;

/// Layout of a dataset; see the module's table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// JSON-lines manifest
    Manifest,
    /// Folders of words, a folder of audio, or one audio file
    Folder,
    /// LibriSpeech
    Librispeech,
    /// Common Voice
    CommonVoice,
    /// WebDataset shards
    Shards,
}

wakeling_core::choices!(Format {
    Manifest: "manifest", "JSON-lines manifest";
    Folder: "folder", "Folders of words, a folder of audio, or one audio file";
    Librispeech: "librispeech", "LibriSpeech";
    CommonVoice: "common-voice", "Common Voice";
    Shards: "shards", "WebDataset shards";
});

impl Format {
    /// Detects the layout at `path` by its name and its content.
    ///
    /// # Errors
    /// [`Error::NoDataset`] and others if there is nothing, or nothing in a supported layout; [`Error::Core`] if
    /// reading fails.
    pub fn detect(path: &Path) -> Result<Self> {
        if remote::is_url(path) || shards::has_braces(path) {
            return Ok(Self::Shards);
        }
        let metadata = std::fs::metadata(path).map_err(|e| match e.kind() {
            std::io::ErrorKind::NotFound => Error::NoDataset { path: path.to_owned() },
            _ => Error::io(path, "read")(e),
        })?;
        if metadata.is_dir() {
            return Ok(Self::of_folder(path));
        }
        match extension(path).as_str() {
            "jsonl" | "json" => Ok(Self::Manifest),
            "tsv" => Ok(Self::CommonVoice),
            "tar" => Ok(Self::Shards),
            name if AUDIO.contains(&name) => Ok(Self::Folder),
            "gz" | "tgz" | "zip" => Err(Error::CompressedDataset { path: path.to_owned() }),
            _ => Err(Error::UnknownDataset { path: path.to_owned() }),
        }
    }

    fn of_folder(path: &Path) -> Self {
        if shards::are_in(path) {
            Self::Shards
        } else if common_voice::is_in(path) {
            Self::CommonVoice
        } else if librispeech::is_in(path) {
            Self::Librispeech
        } else {
            Self::Folder
        }
    }
}

/// Passes every clip of the dataset at `path`, and everything unusable in it, to `sink`. The order
/// depends only on the names. If `format` is `None`, [`Format::detect`] determines it.
///
/// # Errors
/// [`Error::NoDataset`] if there is nothing at `path`; [`Error::Core`] if it cannot be read; the errors
/// of the sink. Single bad lines or files are not errors.
pub fn stream(path: &Path, format: Option<Format>, sink: &mut Sink<'_>) -> Result<()> {
    let format = match format {
        Some(format) => format,
        None => Format::detect(path)?,
    };
    match format {
        Format::Manifest => manifest::stream(path, sink),
        Format::Folder => folder::stream(path, sink),
        Format::Librispeech => librispeech::stream(path, sink),
        Format::CommonVoice => common_voice::stream(path, sink),
        Format::Shards => shards::stream(path, sink),
    }
}

/// Small dataset in memory: its clips, and the files and lines that were skipped.
///
/// ```
/// use wakeling_data::dataset::{Dataset, Format};
///
/// let folder = std::env::temp_dir().join(format!("wakeling-dataset-{}", std::process::id()));
/// for word in ["yes", "no"] {
///     std::fs::create_dir_all(folder.join(word)).unwrap();
///     wakeling_audio::write_wav(folder.join(word).join("1.wav"), &[9; 1_600])?;
/// }
/// std::fs::write(folder.join("no/2.amr"), "").unwrap();
/// let dataset = Dataset::open(&folder)?;
/// # std::fs::remove_dir_all(&folder).unwrap();
/// let texts: Vec<_> = dataset.examples.iter().filter_map(|clip| clip.text.as_deref()).collect();
/// assert_eq!(texts, ["no", "yes"]); // the folder is the word
/// assert!(dataset.skipped[0].reason.contains(".amr"));
/// # Ok::<(), wakeling_data::Error>(())
/// ```
#[derive(Clone, Debug, Default)]
pub struct Dataset {
    /// Clips.
    pub examples: Vec<Example>,
    /// Files and lines that cannot be used.
    pub skipped: Vec<Skipped>,
}

impl Dataset {
    /// Collects the items that [`stream`] finds at a path.
    ///
    /// # Errors
    /// As [`stream`], and [`Error::NoUsableClip`] or [`Error::NoClip`] if there is no usable clip.
    pub fn open(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        let mut dataset = Self::default();
        stream(path, None, &mut |item| {
            match item {
                Item::Clip(example) => dataset.examples.push(example),
                Item::Skipped(skipped) => dataset.skipped.push(skipped),
            }
            Ok(())
        })?;
        if dataset.examples.is_empty() {
            return Err(nothing_usable(path, dataset.skipped.len(), dataset.skipped.first()));
        }
        Ok(dataset)
    }

    /// Collects the clips at a path, and reports the files and lines that were skipped.
    ///
    /// # Errors
    /// As [`Dataset::open`].
    pub fn open_reporting(path: &Path, progress: &dyn Progress) -> Result<Vec<Example>> {
        let Self { examples, skipped } = Self::open(path)?;
        skipped.iter().for_each(|skipped| progress.line(&format!("skipped: {skipped}")));
        Ok(examples)
    }
}

/// Returns the error for a dataset without clips, in which `skipped` files or lines were skipped.
pub fn nothing_usable(path: &Path, skipped: usize, first: Option<&Skipped>) -> Error {
    let path = path.to_owned();
    match first {
        None => Error::NoClip { path },
        Some(first) => Error::NoUsableClip { path, skipped, first: first.to_string() },
    }
}

pub use audio::EXTENSIONS as AUDIO;
use audio::UNSUPPORTED_EXTENSIONS as UNSUPPORTED;

/// Returns the reason why a file with this extension is skipped.
fn unsupported(extension: &str) -> String {
    format!(".{extension} is not read; convert it to .wav")
}

/// Returns the part after the last dot, in lower case; empty if there is no dot.
fn extension(path: &Path) -> String {
    path.extension().map(|e| e.to_string_lossy().to_ascii_lowercase()).unwrap_or_default()
}

/// Returns a label without surrounding blanks; `None` if nothing or "-" remains.
fn some_label(text: &str) -> Option<String> {
    let text = text.trim();
    (!text.is_empty() && text != "-").then(|| text.to_owned())
}
