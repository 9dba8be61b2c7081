//! Deleted words and takes, which are moved aside and can be brought back.
//!
//! Each deletion has a hidden folder of its own, `recordings/.deleted/NNNN`, and for a model
//! `runs/.deleted/NNNN`. Nothing in them is ever overwritten or removed; only the last deletion is
//! offered to be undone, also after another start.

use std::{
    fs,
    io::ErrorKind,
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use wakeling_capture::folder::{Folder, TakenOut};
use wakeling_core::files;

use crate::{Error, Result, places::Places};

/// Hidden folder of the deletions, beside the words.
const ASIDE: &str = ".deleted";
/// Record of the last deletion.
const LAST: &str = "last.json";
/// Largest number of deletions.
const MOST: u32 = 1_000_000;

/// Last deletion.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Deletion {
    /// Name of its folder.
    folder: String,
    /// Name of the word's folders.
    pub word: String,
    /// Phrase of the word.
    phrase: String,
    /// Recording; `None` if the whole word was deleted.
    pub clip: Option<TakenOut>,
    /// Folder of the recording.
    #[serde(default)]
    pub kind: ClipKind,
}

/// Folder that a recording was in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ClipKind {
    /// Takes of the word.
    #[default]
    Take,
    /// False wakes.
    FalseWake,
}

impl Deletion {
    /// Returns the last deletion, if it can be undone.
    pub fn last(places: &Places) -> Option<Self> {
        let text = fs::read(places.recordings.join(ASIDE).join(LAST)).ok()?;
        let last: Self = serde_json::from_slice(&text).ok()?;
        // A name with separators is not one that was written here.
        let is_plain = |name: &str| Path::new(name).file_name().is_some_and(|n| n == name);
        let are_plain = is_plain(&last.folder)
            && is_plain(&last.word)
            && last.clip.as_ref().is_none_or(|clip| is_plain(&clip.name));
        are_plain.then_some(last)
    }

    /// Returns the deletion for the page: `kind` and `name`.
    pub fn state(&self) -> Value {
        match &self.clip {
            None => json!({ "kind": "word", "name": self.phrase }),
            Some(clip) => json!({ "kind": "take", "name": clip.name }),
        }
    }

    /// Moves a word's recordings and model aside.
    ///
    /// # Errors
    /// [`Error::Core`] if a folder cannot be moved.
    pub fn word(places: &Places, word: &str, phrase: &str) -> Result<()> {
        let deletion = Self {
            folder: new_folder(places)?,
            word: word.to_owned(),
            phrase: phrase.to_owned(),
            clip: None,
            kind: ClipKind::Take,
        };
        // Recorded first, so that whatever was moved when the program is killed can come back.
        deletion.record(places)?;
        deletion.pairs(places).iter().try_for_each(|(kept, aside)| shift(kept, aside))
    }

    /// Moves a recording of a word's folder aside.
    ///
    /// # Errors
    /// [`Error::Capture`] if there is no such recording; [`Error::Core`] if it cannot be moved.
    pub fn clip(
        places: &Places,
        (word, phrase): (&str, &str),
        (clips, kind): (&mut Folder, ClipKind),
        name: &str,
    ) -> Result<()> {
        let folder = new_folder(places)?;
        let aside = places.recordings.join(ASIDE).join(&folder);
        let clip = match clips.take_out(name, &aside) {
            Ok(clip) => clip,
            Err(error) => {
                // What is not empty stays.
                let _ = fs::remove_dir(&aside);
                let _ = fs::remove_dir(places.recordings.join(ASIDE));
                return Err(error.into());
            }
        };
        let (word, phrase) = (word.to_owned(), phrase.to_owned());
        Self { folder, word, phrase, clip: Some(clip), kind }.record(places)
    }

    /// Brings a word back.
    ///
    /// # Errors
    /// [`Error::NameTaken`] if there is a word of its name by now; [`Error::Core`] if a folder cannot
    /// be moved.
    pub fn undo_word(&self, places: &Places) -> Result<()> {
        let pairs = self.pairs(places);
        if pairs.iter().any(|(kept, aside)| aside.exists() && kept.exists()) {
            return Err(Error::NameTaken { phrase: self.phrase.clone() });
        }
        pairs.iter().try_for_each(|(kept, aside)| shift(aside, kept))?;
        self.forget(places)
    }

    /// Brings a recording back into its folder.
    ///
    /// # Errors
    /// [`Error::Capture`] if it cannot be moved.
    pub fn undo_clip(&self, places: &Places, clip: &TakenOut, clips: &mut Folder) -> Result<()> {
        clips.put_back(clip, &places.recordings.join(ASIDE).join(&self.folder))?;
        self.forget(places)
    }

    /// Returns the places of the word's recordings and of its model: where it was, and aside.
    fn pairs(&self, places: &Places) -> [(PathBuf, PathBuf); 2] {
        [(&places.recordings, "recordings"), (&places.runs, "run")].map(|(parent, name)| {
            (parent.join(&self.word), parent.join(ASIDE).join(&self.folder).join(name))
        })
    }

    fn record(&self, places: &Places) -> Result<()> {
        let text = serde_json::to_vec(self).map_err(|e| Error::defect(e.to_string()))?;
        Ok(files::write_atomic(places.recordings.join(ASIDE).join(LAST), &text)?)
    }

    /// Ends the offer to undo it.
    fn forget(&self, places: &Places) -> Result<()> {
        let path = places.recordings.join(ASIDE).join(LAST);
        fs::remove_file(&path).map_err(Error::io(&path, "remove"))?;
        // An empty folder is not needed; one that still has content stays.
        let _ = fs::remove_dir(places.recordings.join(ASIDE).join(&self.folder));
        let _ = fs::remove_dir(places.runs.join(ASIDE).join(&self.folder));
        Ok(())
    }
}

/// Creates the folder of a new deletion. Returns its name.
fn new_folder(places: &Places) -> Result<String> {
    let parent = places.recordings.join(ASIDE);
    fs::create_dir_all(&parent).map_err(Error::io(&parent, "create"))?;
    for number in 1..MOST {
        let name = format!("{number:04}");
        if places.runs.join(ASIDE).join(&name).exists() {
            continue;
        }
        let path = parent.join(&name);
        match fs::create_dir(&path) {
            Ok(()) => return Ok(name),
            Err(e) if e.kind() == ErrorKind::AlreadyExists => {}
            Err(e) => return Err(Error::io(&path, "create")(e)),
        }
    }
    let full = std::io::Error::other("it holds too many deletions");
    Err(Error::io(&parent, "create a folder in")(full))
}

/// Moves a folder, if it exists. The parent of the target is created.
fn shift(from: &Path, to: &Path) -> Result<()> {
    if !from.exists() {
        return Ok(());
    }
    if let Some(parent) = to.parent() {
        fs::create_dir_all(parent).map_err(Error::io(parent, "create"))?;
    }
    fs::rename(from, to).map_err(Error::io(from, "move"))
}
