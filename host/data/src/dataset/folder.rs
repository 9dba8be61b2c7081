//! Reader of folders of audio files.
//!
//! Sub-folders with audio are words, as in Speech Commands: the name of the folder is the text.
//! Names enclosed in underscores are special. `_background_noise_` and `_silence_` are noise, and
//! `_unknown_` holds other words. Audio directly inside the folder has no text. Deeper folders are
//! not searched, because their names could mean a speaker, a chapter or a split. They are listed as
//! skipped. `validation_list.txt` and `testing_list.txt`, if present, give the split. Hidden files
//! are ignored. Audio files in formats that are not supported are listed as skipped, the first in a
//! folder with a command that converts all of them.
//!
//! A `manifest.jsonl` beside audio files, as `wakeling record` writes it, describes the files that
//! it names. Their text, speaker and other labels come from the manifest.
//!
//! If no manifest names a speaker, the speaker is the part of the file name before `_nohash_`.
//! Otherwise it is the part before the first `-` or `_`, under three conditions: at least two files
//! share it, at least two such parts exist, and it is not the name of the folder. A wrong guess can
//! merge two people, which only makes a split coarser. It cannot split one person in two, which
//! would make a test result invalid.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    ffi::OsString,
    fs, io,
    path::{Path, PathBuf},
};

use super::{AUDIO, Example, Item, Sink, Skipped, UNSUPPORTED, extension, manifest};
use crate::dataset::manifest::MANIFEST;
use crate::{Error, Result};
use wakeling_audio as audio;
use wakeling_audio::Content;

/// Maximum number of distinct file name prefixes while speakers are inferred. A dataset with more
/// of them does not name its speakers that way.
const PREFIXES_MAX: usize = 100_000;

pub(super) fn stream(root: &Path, sink: &mut Sink<'_>) -> Result<()> {
    if !root.is_dir() {
        return sink(Item::Clip(Example::unlabelled(root)));
    }
    let (mut prefixes, mut is_named) = (Prefixes::default(), false);
    traverse(root, &mut |item| {
        if let Item::Clip(example) = item {
            is_named |= example.speaker.is_some();
            prefixes.count(&example);
        }
        Ok(())
    })?;
    // If a manifest names speakers, prefixes of file names are not used.
    let prefixes = if is_named { Prefixes::default() } else { prefixes.speakers() };
    traverse(root, &mut |item| {
        sink(match item {
            Item::Clip(mut example) if example.speaker.is_none() => {
                example.speaker = prefixes.of(&example);
                example.is_speaker_guessed = example.speaker.is_some() && hash(&example).is_none();
                Item::Clip(example)
            }
            other => other,
        })
    })
}

/// Passes every clip to `sink`, without its speaker.
fn traverse(root: &Path, sink: &mut Sink<'_>) -> Result<()> {
    let splits = SpeechCommandsSplits::read(root);
    let mut seen = HashSet::from([identity(root)]);
    let index = FolderContents::read(root).map_err(Error::io(root, "read"))?;
    index.hand_on(root, sink, |path| Example::unlabelled(path))?;
    for folder in index.folders {
        // A link back to this folder, or two links to one folder, would count clips twice.
        if !seen.insert(identity(&folder)) {
            let reason = "a link to a folder that is already included";
            sink(Item::Skipped(Skipped::new(&folder, reason)))?;
            continue;
        }
        match FolderContents::read(&folder) {
            Ok(inner) => {
                for deeper in &inner.folders {
                    let reason = "a folder inside a word's folder";
                    sink(Item::Skipped(Skipped::new(deeper, reason)))?;
                }
                inner.hand_on(&folder, sink, |path| word(&folder, path, &splits))?;
            }
            Err(e) => {
                sink(Item::Skipped(Skipped::new(&folder, format!("cannot be read: {e}"))))?;
            }
        }
    }
    Ok(())
}

fn word(folder: &Path, path: &Path, splits: &SpeechCommandsSplits) -> Example {
    let name = folder_name(folder);
    let split = splits.of(&name, path);
    let (text, kind) = match name.as_str() {
        "_unknown_" => (None, "word"),
        n if n.len() > 1 && n.starts_with('_') && n.ends_with('_') => (None, "noise"),
        _ => (Some(name), "word"),
    };
    Example { text, kind: Some(kind.to_owned()), split, ..Example::unlabelled(path) }
}

/// Returns `true` for names that begin with a dot, such as the files that macOS adds (`._a.wav`).
pub fn is_hidden(name: &std::ffi::OsStr) -> bool {
    name.as_encoded_bytes().starts_with(b".")
}

/// Extensions of files without sound, which need not be opened.
const NO_SOUND: &[&str] = &[
    "txt",
    "json",
    "jsonl",
    "csv",
    "tsv",
    "md",
    "html",
    "xml",
    "yaml",
    "yml",
    "toml",
    "py",
    "sh",
    "log",
    "lab",
    "textgrid",
    "trn",
    "png",
    "jpg",
    "jpeg",
    "gif",
    "svg",
    "pdf",
    "zip",
    "gz",
    "tgz",
    "tar",
    "npy",
    "head",
    "wkl",
    "safetensors",
];

/// Classification of a file in a folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Use {
    /// Clip.
    Clip,
    /// Audio file that is left out, with the reason.
    Unread(Reason),
    /// File without sound.
    Other,
}

/// Reason why an audio file is left out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reason {
    /// The format is not supported.
    Format(String),
    /// The name is not that of an audio file.
    Name(String),
}

impl Use {
    /// Classifies a file by its name, or by its first bytes if the name is not conclusive.
    pub fn of(path: &Path) -> Self {
        let extension = extension(path);
        if AUDIO.contains(&extension.as_str()) {
            return Self::Clip;
        }
        if NO_SOUND.contains(&extension.as_str()) {
            return Self::Other;
        }
        let is_audio = UNSUPPORTED.contains(&extension.as_str());
        Self::Unread(match audio::content(path) {
            Content::Unsupported(name) => Reason::Format(format!("{name} is not read")),
            Content::Readable(name) => Reason::Name(format!(
                "it holds {name} sound, but its name does not end like one of an audio file; rename \
                 it, for instance to end in .wav: the content decides how it is read"
            )),
            Content::Other if is_audio => Reason::Format(format!(".{extension} is not read")),
            Content::Other => return Self::Other,
        })
    }
}

/// Audio files of one folder that are left out.
#[derive(Default)]
pub struct Unread(Vec<(PathBuf, Reason)>);

impl Unread {
    /// Adds a file and the reason why it is not read.
    pub fn add(&mut self, path: PathBuf, reason: Reason) {
        self.0.push((path, reason));
    }

    /// Returns an entry per file. The first one in an unsupported format includes a command that
    /// converts all of them.
    pub fn skipped(self, folder: &Path) -> Vec<Skipped> {
        let is_format = |(_, reason): &&(PathBuf, Reason)| matches!(reason, Reason::Format(_));
        let files: Vec<&Path> = self.0.iter().filter(is_format).map(|(p, _)| p.as_path()).collect();
        let all = match files.len() {
            1 => "to convert it".to_owned(),
            count => format!("to convert all {count} such files of this folder"),
        };
        let mut advice = Some(format!("; {all}: {}", conversion(folder, &files)));
        let skipped = self.0.iter().map(|(path, reason)| match reason {
            Reason::Name(reason) => Skipped::new(path, reason),
            Reason::Format(reason) => {
                Skipped::new(path, format!("{reason}{}", advice.take().unwrap_or_default()))
            }
        });
        skipped.collect()
    }
}

/// Returns a shell command that converts these files of a folder to WAV files beside them.
fn conversion(folder: &Path, files: &[&Path]) -> String {
    let mut patterns: Vec<String> = Vec::new();
    for file in files {
        let pattern = match file.extension().map(|e| e.to_string_lossy()) {
            Some(e) if e.chars().all(char::is_alphanumeric) => format!("*.{e}"),
            _ => quoted(&file.file_name().unwrap_or_default().to_string_lossy()),
        };
        if !patterns.contains(&pattern) {
            patterns.push(pattern);
        }
    }
    format!(
        "cd {} && for f in {}; do ffmpeg -i \"$f\" -ac 1 -ar 16000 \"$f.wav\"; done",
        quoted(&folder.to_string_lossy()),
        patterns.join(" ")
    )
}

/// Quotes a text as one shell word, if necessary.
fn quoted(text: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "/._-+".contains(c);
    if !text.is_empty() && !text.starts_with('-') && text.chars().all(is_plain) {
        return text.to_owned();
    }
    format!("'{}'", text.replace('\'', "'\\''"))
}

/// Visible content of one folder, sorted by name.
pub struct FolderContents {
    /// Audio files, sorted.
    pub audio: Vec<PathBuf>,
    /// Folders, sorted.
    pub folders: Vec<PathBuf>,
    /// Entries that are neither.
    pub skipped: Vec<Skipped>,
}

impl FolderContents {
    /// Reads a folder, without those in it.
    ///
    /// # Errors
    /// The error of the system if the folder cannot be read.
    pub fn read(folder: &Path) -> io::Result<Self> {
        let mut index = Self { audio: Vec::new(), folders: Vec::new(), skipped: Vec::new() };
        let mut entries = fs::read_dir(folder)?
            .map(|entry| entry.map(|e| (e.file_name(), e.file_type())))
            .collect::<io::Result<Vec<_>>>()?;
        // Comparing names is enough, since all files are in one folder, and is faster than
        // comparing paths.
        entries.sort_by(|(a, _), (b, _)| a.cmp(b));
        let mut unread = Unread::default();
        for (name, kind) in entries {
            if is_hidden(&name) {
                continue;
            }
            let path = folder.join(name);
            // The folder entry already has the type, so only a link costs a system call. A broken
            // or circular link is an error here.
            let kind = match kind {
                Ok(kind) if !kind.is_symlink() => Ok(kind),
                _ => fs::metadata(&path).map(|m| m.file_type()),
            };
            match kind {
                Ok(kind) if kind.is_dir() => index.folders.push(path),
                Ok(kind) if kind.is_file() => match Use::of(&path) {
                    Use::Clip => index.audio.push(path),
                    Use::Unread(reason) => unread.add(path, reason),
                    Use::Other => {}
                },
                Ok(_) => {}
                Err(e) => {
                    index.skipped.push(Skipped::new(&path, format!("cannot be read: {e}")));
                }
            }
        }
        index.skipped.extend(unread.skipped(folder));
        Ok(index)
    }

    /// Passes the skipped files, and then every audio file of `folder`, to `sink`. A file is
    /// described by its manifest, or by `example` if no manifest names it.
    fn hand_on(
        &self,
        folder: &Path,
        sink: &mut Sink<'_>,
        example: impl Fn(&Path) -> Example,
    ) -> Result<()> {
        for skipped in &self.skipped {
            sink(Item::Skipped(skipped.clone()))?;
        }
        let mut described = described(folder, sink)?;
        for path in &self.audio {
            let plain = example(path);
            let clips = path.file_name().and_then(|name| described.remove(name));
            for clip in clips.unwrap_or_else(|| vec![plain.clone()]) {
                // The folder's name is the text of a clip for which the manifest gives no text and
                // no kind.
                let text = match (&clip.text, &clip.kind) {
                    (None, None) => plain.text.clone(),
                    _ => clip.text.clone(),
                };
                let kind = clip.kind.clone().or_else(|| plain.kind.clone());
                let split = clip.split.clone().or_else(|| plain.split.clone());
                sink(Item::Clip(Example { path: path.clone(), text, kind, split, ..clip }))?;
            }
        }
        Ok(())
    }
}

/// Returns the clips that the manifest of a folder describes, by file name. Clips in other folders
/// are handled with those folders.
fn described(folder: &Path, sink: &mut Sink<'_>) -> Result<HashMap<OsString, Vec<Example>>> {
    let mut clips: HashMap<OsString, Vec<Example>> = HashMap::new();
    let path = folder.join(MANIFEST);
    if !path.is_file() {
        return Ok(clips);
    }
    let here = identity(folder);
    manifest::stream(&path, &mut |item| match item {
        Item::Clip(clip) => {
            let is_here = |parent: &Path| parent == folder || identity(parent) == here;
            if let (true, Some(name)) =
                (clip.path.parent().is_some_and(is_here), clip.path.file_name())
            {
                clips.entry(name.to_owned()).or_default().push(clip);
            }
            Ok(())
        }
        skipped => sink(skipped),
    })?;
    Ok(clips)
}

pub(super) fn identity(folder: &Path) -> PathBuf {
    fs::canonicalize(folder).unwrap_or_else(|_| folder.to_path_buf())
}

pub(super) fn folder_name(folder: &Path) -> String {
    folder.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default()
}

/// Lists of the official split of Speech Commands. Clips in neither list are for training.
struct SpeechCommandsSplits(Option<HashMap<String, &'static str>>);

impl SpeechCommandsSplits {
    fn read(root: &Path) -> Self {
        let mut splits = None;
        for (file, split) in [("validation_list.txt", "dev"), ("testing_list.txt", "test")] {
            if let Ok(text) = fs::read_to_string(root.join(file)) {
                let map = splits.get_or_insert_with(HashMap::new);
                map.extend(text.lines().map(|line| (line.trim().to_owned(), split)));
            }
        }
        Self(splits)
    }

    fn of(&self, word: &str, path: &Path) -> Option<String> {
        let name = path.file_name()?.to_string_lossy();
        let split = self.0.as_ref()?.get(&format!("{word}/{name}")).copied();
        Some(split.unwrap_or("train").to_owned())
    }
}

/// Number of occurrences of each file name prefix that could be a speaker.
#[derive(Default)]
struct Prefixes(BTreeMap<String, usize>);

impl Prefixes {
    fn count(&mut self, example: &Example) {
        if self.0.len() > PREFIXES_MAX || is_noise(example) || hash(example).is_some() {
            return;
        }
        if let Some(prefix) = prefix(example) {
            *self.0.entry(prefix).or_default() += 1;
        }
    }

    /// Keeps the prefixes if they look like speakers: several prefixes, each with several files.
    fn speakers(mut self) -> Self {
        let many = self.0.len() > PREFIXES_MAX;
        self.0.retain(|_, count| *count > 1);
        if many || self.0.len() < 2 {
            self.0.clear();
        }
        self
    }

    fn of(&self, example: &Example) -> Option<String> {
        if is_noise(example) {
            return None;
        }
        hash(example).or_else(|| prefix(example).filter(|p| self.0.contains_key(p)))
    }
}

fn is_noise(example: &Example) -> bool {
    example.kind.as_deref() == Some("noise")
}

/// Returns the speaker in a file name of Speech Commands.
fn hash(example: &Example) -> Option<String> {
    let stem = example.path.file_stem()?.to_string_lossy();
    stem.split_once("_nohash_").map(|(speaker, _)| speaker.to_owned())
}

fn prefix(example: &Example) -> Option<String> {
    let stem = example.path.file_stem()?.to_string_lossy();
    let (prefix, _) = stem.split_once(['-', '_'])?;
    let folder = example.path.parent().map(folder_name).unwrap_or_default();
    (!prefix.is_empty() && !prefix.eq_ignore_ascii_case(&folder)).then(|| prefix.to_owned())
}
