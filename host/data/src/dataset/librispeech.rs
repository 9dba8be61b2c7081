//! Reader of LibriSpeech: one folder per chapter. `SPEAKER-CHAPTER.trans.txt` holds one line per
//! utterance with its name and its words. The audio is beside it, under that name.
//!
//! Any folder of the release may be named: the root, a split, a speaker or a chapter. The split is
//! the name of the folder that begins with `train`, `dev` or `test`. The speaker is the part of the
//! utterance's name before the first `-`. Audio that no line names has no text.

use std::{
    collections::HashSet,
    path::{Path, PathBuf},
};

use super::{
    AUDIO, Example, Item, Sink, Skipped,
    folder::{FolderContents, identity},
    lines::Lines,
    some_label,
};
use crate::{Error, Result};

/// Maximum depth of the search; a release has four levels.
const DEPTH_MAX: usize = 8;
/// Maximum number of folders per level that are searched to detect LibriSpeech.
const DETECT_FOLDERS: usize = 8;
const DETECT_DEPTH: usize = 4;
const TRANSCRIPT: &str = ".trans.txt";

/// Returns `true` if a folder has transcripts in this layout.
pub(super) fn is_in(folder: &Path) -> bool {
    has_transcripts(folder, DETECT_DEPTH)
}

fn has_transcripts(folder: &Path, depth: usize) -> bool {
    if !transcripts(folder).is_empty() {
        return true;
    }
    let Ok(index) = FolderContents::read(folder) else { return false };
    depth > 0 && index.folders.iter().take(DETECT_FOLDERS).any(|f| has_transcripts(f, depth - 1))
}

/// Returns the transcripts directly in a folder, sorted.
fn transcripts(folder: &Path) -> Vec<PathBuf> {
    let Ok(entries) = std::fs::read_dir(folder) else { return Vec::new() };
    let mut paths: Vec<PathBuf> = entries
        .filter_map(|entry| entry.ok().map(|e| e.path()))
        .filter(|path| path.to_string_lossy().ends_with(TRANSCRIPT))
        .collect();
    paths.sort();
    paths
}

pub(super) fn stream(root: &Path, sink: &mut Sink<'_>) -> Result<()> {
    let split = std::path::absolute(root)
        .ok()
        .and_then(|path| path.ancestors().take(DETECT_DEPTH).find_map(split_of));
    visit(root, split, &mut vec![identity(root)], sink)
}

/// Returns the split that a folder's name gives.
fn split_of(folder: &Path) -> Option<String> {
    let name = folder.file_name()?.to_string_lossy();
    let is_split = |split: &&&str| {
        name.strip_prefix(**split)
            .is_some_and(|rest| rest.is_empty() || rest.starts_with(['-', '_']))
    };
    ["train", "dev", "test"].iter().find(is_split).map(|split| (*split).to_owned())
}

/// Passes the clips of a folder and its sub-folders to `sink`. `above` holds the resolved paths of
/// the folders that lead here, to detect circular links.
fn visit(
    folder: &Path,
    split: Option<String>,
    above: &mut Vec<PathBuf>,
    sink: &mut Sink<'_>,
) -> Result<()> {
    let index = FolderContents::read(folder).map_err(Error::io(folder, "read"))?;
    for skipped in &index.skipped {
        sink(Item::Skipped(skipped.clone()))?;
    }
    let mut chapter = Chapter { folder, split: split.as_ref(), spoken: HashSet::new() };
    for path in transcripts(folder) {
        chapter.stream(&path, sink)?;
    }
    for path in index.audio.iter().filter(|p| !chapter.spoken.contains(*p)) {
        sink(Item::Clip(chapter.example(path.clone(), None)))?;
    }
    for inner in &index.folders {
        let real = identity(inner);
        if above.len() >= DEPTH_MAX || above.contains(&real) {
            sink(Item::Skipped(Skipped::new(inner, "a folder too deep, or a link in a circle")))?;
            continue;
        }
        above.push(real);
        visit(inner, split_of(inner).or(split.clone()), above, sink)?;
        above.pop();
    }
    Ok(())
}

/// One folder of utterances.
struct Chapter<'a> {
    folder: &'a Path,
    split: Option<&'a String>,
    /// Audio files named by the lines so far.
    spoken: HashSet<PathBuf>,
}

impl Chapter<'_> {
    fn stream(&mut self, transcript: &Path, sink: &mut Sink<'_>) -> Result<()> {
        let mut lines = Lines::open(transcript)?;
        while let Some((number, line)) = lines.next().map_err(Error::io(transcript, "read"))? {
            let text = line.text();
            if text.as_ref().is_ok_and(|text| text.trim().is_empty()) {
                continue;
            }
            sink(match text.and_then(|text| self.utterance(text)) {
                Ok(example) => Item::Clip(example),
                Err(reason) => Item::Skipped(Skipped::at(transcript, number, reason)),
            })?;
        }
        Ok(())
    }

    fn utterance(&mut self, line: &str) -> Result<Example, String> {
        let (name, words) =
            line.trim().split_once(char::is_whitespace).unwrap_or((line.trim(), ""));
        if name.contains(['/', '\\']) {
            return Err(format!("an utterance's name is expected, not {name:?}"));
        }
        let path =
            AUDIO.iter().map(|e| self.folder.join(format!("{name}.{e}"))).find(|p| p.is_file());
        let path = path.ok_or_else(|| format!("there is no audio file {name}.flac beside it"))?;
        if !self.spoken.insert(path.clone()) {
            return Err(format!("{name} is named twice"));
        }
        Ok(self.example(path, some_label(words)))
    }

    fn example(&self, path: PathBuf, text: Option<String>) -> Example {
        let stem = path.file_stem().unwrap_or_default().to_string_lossy();
        let speaker = stem.split_once('-').and_then(|(speaker, _)| some_label(speaker));
        Example {
            text,
            speaker,
            lang: Some("en".into()),
            kind: Some("speech".into()),
            source: Some("librispeech".into()),
            split: self.split.cloned(),
            ..Example::unlabelled(path.clone())
        }
    }
}
