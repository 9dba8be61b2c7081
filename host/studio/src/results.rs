//! Results of a training: the model, the report, and their figures.

use std::{
    fs,
    path::{Path, PathBuf},
    time::UNIX_EPOCH,
};

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use wakeling_core::files;
use wakeling_train::finetune::MODEL_FILE;

use crate::{Error, Result, words::base_of};

/// Name of the page of the report.
pub const REPORT: &str = "report.html";
/// Figures of the report.
const FIGURES: &str = "report.json";

/// Figures of the report, as the list of words shows them.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Figures {
    /// Missed takes and their number, at the model's own threshold.
    pub missed: Option<(usize, usize)>,
    /// Detections in the sound of the room.
    pub false_accepts: Option<FalseAccepts>,
    /// Report in a sentence.
    #[serde(default)]
    pub sentence: String,
}

/// Detections in audio without the word.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct FalseAccepts {
    /// Number of detections.
    pub count: usize,
    /// Hours of audio.
    pub hours: f64,
}

impl Figures {
    /// Reads the figures of a run; empty if there are none, or none of its report.
    pub fn read(run: &Path) -> Self {
        let found = fs::read(run.join(FIGURES)).ok().filter(|_| run.join(REPORT).is_file());
        found.and_then(|text| serde_json::from_slice(&text).ok()).unwrap_or_default()
    }

    /// Writes them beside the report.
    ///
    /// # Errors
    /// [`Error::Core`].
    pub fn write(&self, run: &Path) -> Result<()> {
        let text = serde_json::to_vec(self).map_err(|e| Error::defect(e.to_string()))?;
        Ok(files::write_atomic(run.join(FIGURES), &text)?)
    }
}

/// Removes the report of an earlier model, which must not be taken for that of the next.
pub fn forget_report(run: &Path) {
    for name in [REPORT, FIGURES] {
        // If there is none, nothing is left to remove.
        let _ = fs::remove_file(run.join(name));
    }
}

/// Returns the model of a run for the list of words; null if there is none.
pub fn model(run: &Path) -> Value {
    let modified = fs::metadata(run.join(MODEL_FILE)).and_then(|m| m.modified());
    let Ok(modified) = modified else { return Value::Null };
    let trained_at = modified.duration_since(UNIX_EPOCH).map_or(0, |t| t.as_secs());
    let Figures { missed, false_accepts, .. } = Figures::read(run);
    json!({
        "trained_at": trained_at,
        "base": base_of(run).unwrap_or_default(),
        "missed": missed,
        "false_accepts": false_accepts,
    })
}

/// Returns the path of a result file of a run.
///
/// # Errors
/// [`Error::NoModel`] if it does not exist.
pub fn file(run: &Path, name: &str) -> Result<PathBuf> {
    Some(run.join(name)).filter(|path| path.is_file()).ok_or(Error::NoModel)
}
