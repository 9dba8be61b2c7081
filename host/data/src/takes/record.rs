//! Recordings that a model was trained on, in `recordings.json` beside it.
//!
//! A model is evaluated on other recordings than those it was trained on. Hashes of the decoded
//! samples find the same sound also under another name, or in another lossless format.

use std::{collections::HashMap, path::Path};

use serde::{Deserialize, Serialize};

use super::Take;
use crate::{Error, Result};
use crate::{dataset::inspect::SoundHash, text::text_key};
use wakeling_core::files;

/// Name of the file.
pub const FILE: &str = "recordings.json";

/// Training recordings of a model.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct TrainedOn {
    /// One entry per keyword of the model.
    pub words: Vec<KeywordRecordings>,
}

/// Training recordings of one keyword.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct KeywordRecordings {
    /// Name of the keyword.
    pub label: String,
    /// Recordings of the keyword.
    pub recordings: Vec<Source>,
}

/// Recording used for training.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Source {
    /// Name of the file, and the part of it.
    pub name: String,
    /// Half of the SHA-256 of its samples at 16 kHz, in hexadecimal digits.
    pub hash: String,
}

impl Source {
    /// Describes a take.
    pub fn of(take: &Take) -> Self {
        Self { name: take.example.name(), hash: take.hash.to_string() }
    }
}

impl TrainedOn {
    /// Writes the record into a folder.
    ///
    /// # Errors
    /// [`Error::Core`] if the file cannot be written.
    pub fn save(&self, folder: &Path) -> Result<()> {
        let text = serde_json::to_string_pretty(self).map_err(|e| Error::defect(e.to_string()))?;
        Ok(files::write_atomic(folder.join(FILE), format!("{text}\n").as_bytes())?)
    }

    /// Reads the record beside a model. Returns none if there is no readable record, since a model
    /// may be anywhere.
    pub fn beside(model: &Path) -> Option<Self> {
        let path = model.parent().unwrap_or(Path::new("")).join(FILE);
        serde_json::from_slice(&std::fs::read(path).ok()?).ok()
    }

    /// Returns the names of a keyword's training recordings, by their hash.
    fn names(&self, label: &str) -> HashMap<&str, &str> {
        let words = self.words.iter().filter(|word| text_key(&word.label) == text_key(label));
        let sources = words.flat_map(|word| &word.recordings);
        sources.map(|source| (source.hash.as_str(), source.name.as_str())).collect()
    }

    /// Returns a warning if test recordings of a keyword were used for its training.
    pub fn warning<'h>(
        &self,
        label: &str,
        hashes: impl ExactSizeIterator<Item = &'h SoundHash>,
    ) -> Option<String> {
        let (trained, all) = (self.names(label), hashes.len());
        let same: Vec<&str> =
            hashes.filter_map(|hash| trained.get(hash.to_string().as_str()).copied()).collect();
        let first = same.first()?;
        Some(format!(
            "warning: {} of {all} recordings of {} were trained on (such as {first}): the miss \
             rate below is too low; use other recordings",
            same.len(),
            crate::text::quoted(label),
        ))
    }
}
