//! Corrections from live detection: false wakes, and utterances that were missed.
//!
//! A false wake is kept as a clip of the last seconds in `runs/WORD/false-wakes`, as `listen` keeps
//! it and `finetune --false-wakes` reads it. A missed utterance is trimmed and checked, and becomes a
//! take of the word.

use std::path::Path;

use serde_json::{Value, json};
use wakeling_capture::folder::{self, ClipMetadata, Entry, Folder};

use crate::{Result, takes::name_of};

/// Folder of the false wakes in that of the model.
pub const FALSE_WAKES: &str = "false-wakes";
/// Origin of takes from live detection.
pub const LIVE: &str = "live";

/// Returns the false wakes of a run.
pub fn false_wakes(run: &Path) -> Vec<Entry> {
    folder::list(&run.join(FALSE_WAKES)).unwrap_or_default()
}

/// Returns the takes that came from live detection.
pub fn missed(takes: &[Entry]) -> impl Iterator<Item = &Entry> {
    takes.iter().filter(|take| take.metadata.origin == LIVE)
}

/// Returns corrections for the page: `false_wakes` and `missed`, each with `name` and `seconds`.
pub fn state(false_wakes: &[Entry], takes: &[Entry]) -> Value {
    let clip = |clip: &Entry| json!({ "name": name_of(clip), "seconds": clip.duration_s });
    json!({
        "false_wakes": false_wakes.iter().map(clip).collect::<Vec<_>>(),
        "missed": missed(takes).map(clip).collect::<Vec<_>>(),
    })
}

/// Opens or creates the folder of the false wakes.
///
/// # Errors
/// As [`Folder::open`].
pub fn open_false_wakes(run: &Path) -> Result<Folder> {
    Ok(Folder::open(&run.join(FALSE_WAKES), "wake", &false_wake())?)
}

/// Returns the metadata of a false wake.
pub fn false_wake() -> ClipMetadata {
    ClipMetadata { kind: "false-wake".into(), ..ClipMetadata::default() }
}
