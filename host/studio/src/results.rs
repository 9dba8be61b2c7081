//! Results of a training: the model, the report, and their figures.

use std::{
    fs,
    path::{Path, PathBuf},
    time::UNIX_EPOCH,
};

use serde_json::{Value, json};
use wakeling_train::{evaluate::Summary, finetune::MODEL_FILE};

use crate::{Error, Result, words::pretrained_of};

/// Name of the page of the report.
pub const REPORT: &str = "report.html";

/// Reads the figures of a run's report; `None` if it has no report.
fn summary(run: &Path) -> Option<Summary> {
    run.join(REPORT).is_file().then(|| Summary::load(&run.join(Summary::FILE)))?
}

/// Results of a run, for the page.
#[derive(Clone)]
pub struct Results {
    /// Model, for the list of words; null if there is none.
    pub model: Value,
    /// Verdict of the report: `text`, and of the keyword `misses`, `false_accepts` and `advice`, from
    /// which the page makes one in another language. `None` if there is no report.
    pub verdict: Option<Value>,
}

impl Results {
    /// Reads them.
    pub fn read(run: &Path) -> Self {
        let summary = summary(run);
        let verdict = summary.as_ref().filter(|summary| !summary.verdict.is_empty());
        let verdict = verdict.map(|summary| {
            let keyword = summary.keywords.first().map(|keyword| &keyword.verdict);
            json!({ "text": summary.verdict, "keyword": keyword })
        });
        Self { model: model(run, summary.as_ref()), verdict }
    }
}

/// Returns the model of a run for the list of words; null if there is none.
fn model(run: &Path, summary: Option<&Summary>) -> Value {
    let modified = fs::metadata(run.join(MODEL_FILE)).and_then(|m| m.modified());
    let Ok(modified) = modified else { return Value::Null };
    let trained_at = modified.duration_since(UNIX_EPOCH).map_or(0, |t| t.as_secs());
    let keyword = summary.and_then(|summary| summary.keywords.first());
    let missed = keyword.and_then(|keyword| keyword.missed());
    let false_accepts = keyword.and_then(|keyword| keyword.false_accepts());
    json!({
        "trained_at": trained_at,
        "base": pretrained_of(run).unwrap_or_default(),
        "missed": missed.map(|count| [count.missed, count.recordings]),
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
