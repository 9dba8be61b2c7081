//! The words of a person: folders of recordings and of models.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use serde_json::Value;
use wakeling_capture::folder::{self, ClipMetadata};
use wakeling_data::dataset::manifest::MANIFEST;
use wakeling_train::finetune::MODEL_FILE;

use crate::{
    Error, Result, corrections,
    places::Places,
    unchanged::Unchanged,
    word::{METADATA, phrase_of},
};

/// Folder of the sound of the room, which all words share.
pub const ROOM: &str = "room";
/// Settings of a training run.
pub const SETTINGS: &str = "settings.json";

/// Word in the list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListedWord {
    /// Name of its folders.
    pub id: String,
    /// Phrase.
    pub phrase: String,
    /// Number of takes.
    pub takes: usize,
    /// Number of those that live detection missed.
    pub missed: usize,
}

/// Words as they were read last, by their folders.
pub type Known = Unchanged<Option<ListedWord>>;

/// Returns all words, sorted by name: those with recordings, and those with a model of one keyword.
/// What cannot be read is left out; what did not change is not read again.
pub fn list(places: &Places, known: &mut Known) -> Vec<ListedWord> {
    let mut words = BTreeMap::new();
    for (id, path) in folders(&places.recordings) {
        if id != ROOM
            && let Some(word) = known.of(&path, &[MANIFEST, METADATA], || recorded(&id, &path))
        {
            words.insert(id, word);
        }
    }
    for (id, path) in folders(&places.runs) {
        if !words.contains_key(&id)
            && let Some(phrase) = trained_phrase(&path)
        {
            words.insert(id.clone(), ListedWord { id, phrase, takes: 0, missed: 0 });
        }
    }
    words.into_values().collect()
}

/// Returns the word of the list with these folders.
///
/// # Errors
/// [`Error::NotAWord`].
pub fn named(places: &Places, id: &str) -> Result<ListedWord> {
    let found = list(places, &mut Known::default()).into_iter().find(|word| word.id == id);
    found.ok_or_else(|| Error::NotAWord { name: id.to_owned() })
}

/// Returns the visible folders in a folder, with their names.
fn folders(parent: &Path) -> Vec<(String, PathBuf)> {
    let Ok(entries) = fs::read_dir(parent) else { return Vec::new() };
    let folder = |entry: fs::DirEntry| {
        let name = entry.file_name().into_string().ok().filter(|n| !n.starts_with('.'))?;
        entry.path().is_dir().then(|| (name, entry.path()))
    };
    entries.filter_map(|entry| folder(entry.ok()?)).collect()
}

/// Returns the word of a folder of recordings.
fn recorded(id: &str, path: &Path) -> Option<ListedWord> {
    let entries = folder::list(path).ok()?;
    let metadata: Vec<ClipMetadata> = entries.iter().map(|e| e.metadata.clone()).collect();
    let phrase = phrase_of(path, &metadata)?;
    let missed = corrections::missed(&entries).count();
    Some(ListedWord { id: id.to_owned(), phrase, takes: entries.len(), missed })
}

/// Reads the settings of a run; `None` if they cannot be read.
fn settings(run: &Path) -> Option<Value> {
    serde_json::from_slice(&fs::read(run.join(SETTINGS)).ok()?).ok()
}

/// Returns the keyword of a model, if it has one and no more.
fn trained_phrase(run: &Path) -> Option<String> {
    if !run.join(MODEL_FILE).is_file() {
        return None;
    }
    match settings(run)?["words"].as_array()?.as_slice() {
        [word] => Some(word["label"].as_str()?.to_owned()),
        _ => None,
    }
}

/// Returns the name of the pretrained model of a run, as its settings give it.
pub fn pretrained_of(run: &Path) -> Option<String> {
    Some(settings(run)?["base"].as_str()?.to_owned())
}
