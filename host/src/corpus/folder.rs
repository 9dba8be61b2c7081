//! Folders of audio files.
//!
//! Sub-folders that hold audio are words, as in Speech Commands: the folder's name is the text.
//! Names in underscores are not words there: `_background_noise_` and `_silence_` are noise,
//! `_unknown_` is other words. Audio directly inside has no text. Deeper folders are not searched,
//! because their names could mean a speaker, a chapter or a split; they are listed as skipped.
//! `validation_list.txt` and `testing_list.txt`, where present, give the split. Hidden files are
//! ignored.
//!
//! The speaker is the part of the file name before `_nohash_`. Failing that it is the part before
//! the first `-` or `_`, where at least two files share it, at least two such parts exist, and it is
//! not the name of the folder. This can take two people for one, which only makes a split coarser;
//! it cannot tear one person apart by a wrong guess, which would make a test result a lie.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    fs, io,
    path::{Path, PathBuf},
};

use super::{AUDIO, Corpus, Example, Skipped, UNSUPPORTED, extension};
use crate::{Error, Result};

pub(super) fn open(root: &Path) -> Result<Corpus> {
    let mut corpus = Corpus { examples: Vec::new(), skipped: Vec::new() };
    let splits = SpeechCommandsSplits::read(root);
    let mut seen = HashSet::from([identity(root)]);
    let listing = Listing::read(root, &mut corpus.skipped).map_err(Error::io(root, "read"))?;
    corpus.examples.extend(listing.audio.into_iter().map(Example::unlabelled));
    for folder in listing.folders {
        // A link that leads back here, or two links to one folder, would count clips twice.
        if !seen.insert(identity(&folder)) {
            skip(&mut corpus.skipped, &folder, "a link to a folder that is already included");
            continue;
        }
        match Listing::read(&folder, &mut corpus.skipped) {
            Ok(inner) => {
                for deeper in inner.folders {
                    skip(&mut corpus.skipped, &deeper, "a folder inside a word's folder");
                }
                corpus.examples.extend(word(&folder, inner.audio, &splits));
            }
            Err(e) => skip(&mut corpus.skipped, &folder, &format!("cannot be read: {e}")),
        }
    }
    if corpus.examples.is_empty() {
        return Err(Error::input(
            root,
            "no audio was found in this folder or the folders inside it",
            "put recordings (.wav, .flac, .ogg, .mp3) into it, or one folder of recordings for each \
             word; if they lie deeper, name the folder just above the words",
        ));
    }
    guess_speakers(&mut corpus.examples);
    Ok(corpus)
}

fn word(folder: &Path, audio: Vec<PathBuf>, splits: &SpeechCommandsSplits) -> Vec<Example> {
    let name = folder_name(folder);
    let (text, kind) = match name.as_str() {
        "_unknown_" => (None, "word"),
        n if n.len() > 1 && n.starts_with('_') && n.ends_with('_') => (None, "noise"),
        _ => (Some(name.clone()), "word"),
    };
    let example = |path: PathBuf| Example {
        text: text.clone(),
        kind: Some(kind.to_owned()),
        split: splits.of(&name, &path),
        ..Example::unlabelled(path)
    };
    audio.into_iter().map(example).collect()
}

/// The visible content of one folder, sorted by name.
struct Listing {
    audio: Vec<PathBuf>,
    folders: Vec<PathBuf>,
}

impl Listing {
    fn read(folder: &Path, skipped: &mut Vec<Skipped>) -> io::Result<Self> {
        let mut listing = Self { audio: Vec::new(), folders: Vec::new() };
        let mut paths = fs::read_dir(folder)?
            .map(|entry| entry.map(|e| e.path()))
            .collect::<io::Result<Vec<_>>>()?;
        paths.sort();
        for path in paths {
            if path.file_name().is_none_or(|n| n.as_encoded_bytes().starts_with(b".")) {
                continue;
            }
            let extension = extension(&path);
            // Follows links; one that leads nowhere or in a circle is an error here.
            match fs::metadata(&path) {
                Ok(m) if m.is_dir() => listing.folders.push(path),
                Ok(m) if m.is_file() && AUDIO.contains(&extension.as_str()) => {
                    listing.audio.push(path);
                }
                Ok(m) if m.is_file() && UNSUPPORTED.contains(&extension.as_str()) => {
                    skip(
                        skipped,
                        &path,
                        &format!(".{extension} is not supported; convert it to .wav"),
                    );
                }
                Ok(_) => {}
                Err(e) => skip(skipped, &path, &format!("cannot be read: {e}")),
            }
        }
        Ok(listing)
    }
}

fn skip(skipped: &mut Vec<Skipped>, path: &Path, reason: &str) {
    skipped.push(Skipped { path: path.to_path_buf(), line: None, reason: reason.to_owned() });
}

fn identity(folder: &Path) -> PathBuf {
    fs::canonicalize(folder).unwrap_or_else(|_| folder.to_path_buf())
}

fn folder_name(folder: &Path) -> String {
    folder.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default()
}

/// The lists that Speech Commands ships; what is in neither is for training.
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

fn guess_speakers(examples: &mut [Example]) {
    let mut uses: BTreeMap<String, usize> = BTreeMap::new();
    for example in examples.iter_mut() {
        if example.kind.as_deref() == Some("noise") {
            continue;
        }
        let stem = example.path.file_stem().unwrap_or_default().to_string_lossy();
        if let Some((speaker, _)) = stem.split_once("_nohash_") {
            example.speaker = Some(speaker.to_owned());
        } else if let Some(prefix) = prefix(example) {
            *uses.entry(prefix).or_default() += 1;
        }
    }
    uses.retain(|_, count| *count > 1);
    if uses.len() < 2 {
        return;
    }
    for example in examples.iter_mut().filter(|e| e.speaker.is_none()) {
        if example.kind.as_deref() != Some("noise") {
            example.speaker = prefix(example).filter(|p| uses.contains_key(p));
        }
    }
}

fn prefix(example: &Example) -> Option<String> {
    let stem = example.path.file_stem()?.to_string_lossy();
    let (prefix, _) = stem.split_once(['-', '_'])?;
    let folder = example.path.parent().map(folder_name).unwrap_or_default();
    (!prefix.is_empty() && !prefix.eq_ignore_ascii_case(&folder)).then(|| prefix.to_owned())
}
