//! Summary of an evaluation in JSON, for programs that show it again.

use std::path::Path;

use serde::{Deserialize, Serialize};

use super::{FalseAccepts, MissCount, ModelRecord, Verdict};
use crate::{Error, Result};
use wakeling_core::files;

/// Summary of an evaluation.
///
/// ```
/// use wakeling_train::evaluate::Summary;
///
/// let folder = std::env::temp_dir();
/// let file = folder.join(format!("{}-{}", std::process::id(), Summary::FILE));
/// let summary = Summary { verdict: "It misses none of 72.".into(), ..Summary::default() };
/// summary.save(&file)?;
/// assert_eq!(Summary::load(&file), Some(summary));
/// std::fs::remove_file(&file)?;
/// assert_eq!(Summary::load(&file), None);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Summary {
    /// Version of the program.
    pub version: String,
    /// Time of the evaluation in seconds since 1970.
    pub made_at: u64,
    /// Model that was measured.
    pub model: ModelRecord,
    /// Verdict on all keywords, in plain words.
    pub verdict: String,
    /// Results of each keyword.
    pub keywords: Vec<KeywordSummary>,
}

/// Results of a keyword at the model's own threshold.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct KeywordSummary {
    /// Label of the keyword.
    pub label: String,
    /// Threshold on the smoothed logit, Q8.
    pub threshold_q8: i16,
    /// Verdict, in plain words.
    pub text: String,
    /// Counts and advice behind the verdict.
    #[serde(flatten)]
    pub verdict: Verdict,
}

impl KeywordSummary {
    /// Returns the misses in silence.
    pub fn missed(&self) -> Option<&MissCount> {
        self.verdict.misses.iter().find(|count| count.snr_db.is_none())
    }

    /// Returns the false accepts, if negatives were played.
    pub fn false_accepts(&self) -> Option<FalseAccepts> {
        Some(self.verdict.false_accepts).filter(|accepts| accepts.hours > 0.0)
    }
}

impl Summary {
    /// Name of the file in the folder of a model.
    pub const FILE: &str = "report.json";

    /// Writes the summary to a file.
    ///
    /// # Errors
    /// [`Error::Core`] if the file cannot be written.
    pub fn save(&self, path: &Path) -> Result<()> {
        let text = serde_json::to_string_pretty(self).map_err(|e| Error::defect(e.to_string()))?;
        Ok(files::write_atomic(path, format!("{text}\n").as_bytes())?)
    }

    /// Reads a summary. Returns `None` if there is none, or if the file is damaged: an evaluation
    /// can be repeated.
    pub fn load(path: &Path) -> Option<Self> {
        serde_json::from_slice(&std::fs::read(path).ok()?).ok()
    }
}
