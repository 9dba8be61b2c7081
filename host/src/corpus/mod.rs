//! What to learn from: a list of clips with what is known about each.
//!
//! People have audio in several shapes; each becomes the same list of [`Example`]s here, so that
//! nothing behind this module knows where a clip came from. Only names are read at this point;
//! [`Example::load`] reads the sound. What cannot be used is listed in [`Corpus::skipped`] and never
//! dropped in silence.
//!
//! | path | becomes |
//! |---|---|
//! | `*.jsonl`, `*.json` | NeMo-style manifest, one JSON object a line (`manifest`) |
//! | folder of folders of audio | "word folders" as in Speech Commands: the folder is the word |
//! | folder of audio | flat clips without text |
//! | audio file | one clip without text |

mod folder;
mod manifest;
mod split;
#[cfg(test)]
mod tests;

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

pub use split::split_by_speaker;

use crate::{Error, Result, audio};

/// One clip, and what is known about it. `None` means unknown.
#[derive(Clone, Debug, PartialEq, serde::Serialize)]
pub struct Example {
    /// The audio file.
    pub path: PathBuf,
    /// Where the clip starts in the file, in seconds.
    pub offset_s: f64,
    /// How long it is, in seconds; to the end of the file if unknown.
    pub duration_s: Option<f64>,
    /// The words that are spoken.
    pub text: Option<String>,
    /// Who speaks. Clips of one speaker never land on both sides of a split.
    pub speaker: Option<String>,
    /// The language's code, such as "en" or "zh".
    pub lang: Option<String>,
    /// "word", "speech", "noise" or "music"; manifests may hold other values.
    pub kind: Option<String>,
    /// The data set from which the clip comes.
    pub source: Option<String>,
    /// The part of the data set to which it belongs, such as "train" or "test".
    pub split: Option<String>,
    /// What else a manifest says of it, such as "gender" or "age".
    pub labels: BTreeMap<String, String>,
}

impl Example {
    /// A whole file about which nothing is known.
    pub fn unlabelled(path: impl Into<PathBuf>) -> Self {
        Self {
            path: path.into(),
            offset_s: 0.0,
            duration_s: None,
            text: None,
            speaker: None,
            lang: None,
            kind: None,
            source: None,
            split: None,
            labels: BTreeMap::new(),
        }
    }

    /// Reads the clip as 16 kHz mono.
    ///
    /// # Errors
    /// As [`audio::read_range`].
    pub fn load(&self) -> Result<Vec<i16>> {
        audio::read_range(&self.path, self.offset_s, self.duration_s)
    }
}

/// Something in a corpus that cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Skipped {
    /// The manifest, file or folder.
    pub path: PathBuf,
    /// The line of the manifest, counted from 1.
    pub line: Option<usize>,
    /// What was expected and what was found.
    pub reason: String,
}

/// A list of clips, in an order that depends only on the names, and what had to be left out.
#[derive(Clone, Debug)]
pub struct Corpus {
    /// The clips.
    pub examples: Vec<Example>,
    /// What cannot be used, for the user to read.
    pub skipped: Vec<Skipped>,
}

impl Corpus {
    /// Lists the clips of a manifest, a folder or a single file (see the module's table).
    ///
    /// # Errors
    /// [`Error::Input`] if there is nothing at `path`, or no usable clip in it; [`Error::Io`] if it
    /// cannot be read. Single bad lines or files are no error.
    pub fn open(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        let metadata = std::fs::metadata(path).map_err(|e| match e.kind() {
            std::io::ErrorKind::NotFound => Error::input(
                path,
                "there is no such file or folder",
                "name a folder with recordings, a .jsonl manifest or an audio file",
            ),
            _ => Error::io(path, "read")(e),
        })?;
        let extension = extension(path);
        if metadata.is_dir() {
            folder::open(path)
        } else if matches!(extension.as_str(), "jsonl" | "json") {
            manifest::open(path)
        } else if AUDIO.contains(&extension.as_str()) {
            Ok(Self { examples: vec![Example::unlabelled(path)], skipped: Vec::new() })
        } else {
            Err(Error::input(
                path,
                "this is neither a manifest (.jsonl) nor audio (.wav, .flac, .ogg, .mp3)",
                "name a folder with recordings, a .jsonl manifest or an audio file",
            ))
        }
    }
}

/// Extensions of files that are taken for audio. What is inside decides how it is decoded.
pub const AUDIO: &[&str] = &["wav", "wave", "flac", "ogg", "oga", "mp3"];

/// File names of audio that we cannot decode, so that the user hears of it.
const UNSUPPORTED: &[&str] =
    &["m4a", "mp4", "aac", "opus", "wma", "aif", "aiff", "webm", "amr", "caf", "spx"];

/// The part after the last dot, in lower case; empty if there is none.
fn extension(path: &Path) -> String {
    path.extension().map(|e| e.to_string_lossy().to_ascii_lowercase()).unwrap_or_default()
}
