//! Provenance of an evaluation: date, model, command, data and settings.

use std::path::Path;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use wakeling_shared::model::Model;

/// Model that was measured.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ModelRecord {
    /// Name of the file.
    pub file: String,
    /// Name of the model.
    pub name: String,
    /// Size of the file in bytes.
    pub bytes: u64,
    /// SHA-256 of the file, in hexadecimal.
    pub sha256: String,
    /// Name of the pretrained model from which it was fine-tuned.
    #[serde(rename = "base")]
    pub pretrained: String,
    /// Training data and method, as the file states them.
    pub trained_on: String,
}

impl ModelRecord {
    /// Describes a model file with the content `bytes`.
    pub fn new(path: &Path, bytes: &[u8], model: &Model<'_>) -> Self {
        Self {
            file: path.file_name().unwrap_or_default().to_string_lossy().into_owned(),
            name: model.card.name.into(),
            bytes: bytes.len() as u64,
            sha256: Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect(),
            pretrained: model.card.pretrained.into(),
            trained_on: model.card.provenance.into(),
        }
    }
}

/// Use of a dataset in an evaluation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum SourceKind {
    /// Recordings of a keyword.
    Recordings,
    /// Audio without the keywords.
    Negatives,
    /// Noise in which the recordings are played.
    Noise,
}

/// Dataset of an evaluation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Source {
    /// Its use.
    pub kind: SourceKind,
    /// Its name or path.
    pub name: String,
}

/// Date, model, command, data and settings of an evaluation.
///
/// The date is given, so that the same evaluation gives the same page.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Provenance {
    /// Time of the evaluation in seconds since 1970.
    pub made_at: u64,
    /// Model.
    pub model: ModelRecord,
    /// Command that made it; empty if there was none.
    pub command: String,
    /// Datasets.
    pub sources: Vec<Source>,
    /// Settings by name.
    pub settings: Vec<(String, String)>,
}

impl Provenance {
    /// Returns the date and time in UTC, such as `30 November 2026, 13:50 UTC`.
    pub fn date(&self) -> String {
        let time = i64::try_from(self.made_at).ok().and_then(|s| Timestamp::from_second(s).ok());
        time.unwrap_or_default().strftime("%-d %B %Y, %H:%M UTC").to_string()
    }

    /// Returns the names of the datasets with this use.
    pub fn names(&self, kind: SourceKind) -> Vec<&str> {
        self.sources.iter().filter(|s| s.kind == kind).map(|s| s.name.as_str()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_in_words_and_in_range() {
        let date = |made_at| Provenance { made_at, ..Provenance::default() }.date();
        assert_eq!(date(0), "1 January 1970, 00:00 UTC");
        assert_eq!(date(1_796_046_600), "30 November 2026, 13:50 UTC");
        assert_eq!(date(1_709_210_096), "29 February 2024, 12:34 UTC");
        // Beyond the year 9999 there is no date.
        assert_eq!(date(u64::MAX), "1 January 1970, 00:00 UTC");
    }
}
