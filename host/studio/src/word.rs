//! The open word: its phrase and check, its takes, and the take in progress.

use std::{
    fs,
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{Error, Result, phrase, takes::name_of};
use wakeling_audio as audio;
use wakeling_capture::{
    folder::{ClipMetadata, Entry, Folder},
    record::{FAR, STYLES},
    take::{Recorded, Signal, Take, Timing, trim},
};
use wakeling_core::files;
use wakeling_data::text::clean;

/// Folder in a word's folder with what the studio keeps beside the takes. Hidden folders are no
/// recordings.
const OWN_FOLDER: &str = ".studio";
/// Metadata of the word that no take has, in the word's folder.
pub const METADATA: &str = ".studio/word.json";
/// Take that was recorded and not yet kept or discarded.
const PENDING: &str = "pending.wav";

/// Metadata of a word that survives the program.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct WordMetadata {
    /// Phrase, as it was typed.
    pub phrase: String,
    /// Name of the speaker of the next take.
    #[serde(default)]
    pub speaker: String,
    /// Language that was given; empty if it is guessed.
    #[serde(default)]
    pub language: String,
}

impl WordMetadata {
    /// Reads the metadata of a word's folder; `None` if there is none that can be read.
    pub fn read(folder: &Path) -> Option<Self> {
        let text = fs::read(folder.join(METADATA)).ok()?;
        serde_json::from_slice(&text).ok().filter(|about: &Self| !about.phrase.is_empty())
    }

    /// Writes them.
    ///
    /// # Errors
    /// [`Error::Core`] if the file cannot be written.
    fn write(&self, folder: &Path) -> Result<()> {
        let own = folder.join(OWN_FOLDER);
        fs::create_dir_all(&own).map_err(Error::io(&own, "create"))?;
        let text = serde_json::to_vec(self).map_err(|e| Error::defect(e.to_string()))?;
        Ok(files::write_atomic(folder.join(METADATA), &text)?)
    }
}

/// Word that is open on the page.
pub struct OpenWord {
    /// Name of its folders of recordings and models.
    pub id: String,
    /// Phrase, speaker and language.
    pub about: WordMetadata,
    /// Result of the phrase check, as JSON for the page.
    pub check: Value,
    /// Takes.
    pub takes: Folder,
    /// Take in progress.
    pub take: Option<Take>,
    /// Take that was recorded and not yet kept or discarded.
    pending: Option<Recorded>,
}

impl OpenWord {
    /// Opens or creates the folder `recordings/ID`. A take that was pending when the program ended
    /// is pending again.
    ///
    /// # Errors
    /// [`Error::NotALanguage`]; [`Error::Core`] and [`Error::Capture`] if a file or folder cannot
    /// be read or written.
    pub fn open(recordings: &Path, id: &str, about: WordMetadata) -> Result<Self> {
        let path = recordings.join(id);
        let check = phrase::check(&about.phrase, &about.language)?;
        let metadata = ClipMetadata {
            text: about.phrase.clone(),
            kind: "word".into(),
            ..ClipMetadata::default()
        };
        let takes = Folder::open(&path, "take", &metadata)?;
        about.write(&path)?;
        let mut word = Self { id: id.to_owned(), about, check, takes, take: None, pending: None };
        // A file that holds no phrase, or cannot be read, is no take.
        word.pending = audio::read(word.pending_path()).ok().and_then(|pcm| trim(&pcm));
        Ok(word)
    }

    /// Returns the style of the next take, and its prompt.
    pub fn style(&self) -> (&'static str, &'static str) {
        STYLES[self.takes.count(&self.about.phrase) % STYLES.len()]
    }

    /// Returns `true` if the next take is from across the room.
    pub fn is_far(&self) -> bool {
        self.style().0 == FAR
    }

    /// Begins a take. One that is pending is discarded.
    ///
    /// # Errors
    /// [`Error::Core`] if the pending take cannot be removed.
    pub fn begin_take(&mut self) -> Result<()> {
        self.discard()?;
        let mut take = Take::with(if self.is_far() { Timing::FAR } else { Timing::NEAR });
        // The page sounds it at the end of the countdown, unless the user switched that off.
        take.expect(Signal::Tone);
        self.take = Some(take);
        Ok(())
    }

    /// Ends the take in progress. The recording is written, so that it survives the program.
    /// Returns it, unless it holds no phrase.
    ///
    /// # Errors
    /// [`Error::Core`] if it cannot be written.
    pub fn finish_take(&mut self) -> Result<Option<&Recorded>> {
        self.pending = self.take.take().and_then(Take::finish);
        if let Some(recorded) = &self.pending {
            let path = self.pending_path();
            if let Some(own) = path.parent() {
                fs::create_dir_all(own).map_err(Error::io(own, "create"))?;
            }
            audio::write_wav(&path, &recorded.pcm)?;
        }
        Ok(self.pending.as_ref())
    }

    /// Returns the take that was recorded and not yet kept or discarded.
    pub fn pending(&self) -> Option<&Recorded> {
        self.pending.as_ref()
    }

    /// Keeps the pending take.
    ///
    /// # Errors
    /// [`Error::NoTakeRecorded`]; [`Error::Capture`] if it cannot be written. It is then still
    /// pending.
    pub fn keep(&mut self) -> Result<()> {
        let pcm = self.pending.as_ref().ok_or(Error::NoTakeRecorded)?.pcm.clone();
        let metadata = ClipMetadata { style: self.style().0.into(), ..self.metadata() };
        self.takes.keep(&pcm, &metadata)?;
        // The take is cleared only after it is on the disk.
        self.discard()
    }

    /// Discards the take in progress and the pending one.
    ///
    /// # Errors
    /// [`Error::Core`] if the file cannot be removed.
    pub fn discard(&mut self) -> Result<()> {
        (self.take, self.pending) = (None, None);
        let path = self.pending_path();
        match fs::remove_file(&path) {
            Err(e) if e.kind() != std::io::ErrorKind::NotFound => {
                Err(Error::io(&path, "remove")(e))
            }
            _ => Ok(()),
        }
    }

    /// Returns the metadata of a clip of the phrase, without a style.
    pub fn metadata(&self) -> ClipMetadata {
        ClipMetadata {
            text: self.about.phrase.clone(),
            speaker: self.about.speaker.clone(),
            kind: "word".into(),
            ..ClipMetadata::default()
        }
    }

    /// Returns the kept take of that file name.
    ///
    /// # Errors
    /// [`Error::Capture`] if there is none.
    pub fn kept(&self, name: &str) -> Result<&Entry> {
        let found = self.takes.kept().iter().find(|take| name_of(take) == name);
        let missing = || wakeling_capture::Error::NoRecording { name: name.to_owned() };
        Ok(found.ok_or_else(missing)?)
    }

    fn pending_path(&self) -> PathBuf {
        self.takes.path().join(OWN_FOLDER).join(PENDING)
    }
}

/// Returns the phrase of a folder of recordings: that of its metadata, or else the most frequent
/// transcript of its manifest. `None` if it has neither.
pub fn phrase_of(folder: &Path, entries: &[ClipMetadata]) -> Option<String> {
    if let Some(about) = WordMetadata::read(folder) {
        return Some(about.phrase);
    }
    let texts: Vec<&str> = entries.iter().map(|m| m.text.as_str()).collect();
    let count = |text: &str| texts.iter().filter(|t| clean(t) == clean(text)).count();
    let named = texts.iter().filter(|text| !text.is_empty());
    named.rev().max_by_key(|text| count(text)).map(|text| (*text).to_owned())
}
