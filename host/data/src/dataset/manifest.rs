//! Reader of JSON-lines manifests in NVIDIA NeMo's style.
//!
//! Each line is a JSON object with `audio_filepath` (absolute, or relative to the manifest),
//! `duration` and `offset` in seconds, and `text`. Our optional keys are `speaker`, `lang`, `kind`,
//! `source` and `split`. Short values of other keys, such as `gender` or `age`, are kept as labels.
//! Manifests are made by scripts and edited by hand, so a bad line is skipped and does not end the
//! run. An empty string and "-" mean unknown. A speaker that ends in "?" is unknown too; it marks
//! clips whose speakers were mixed up beyond repair.

use std::{collections::BTreeMap, path::Path};

use serde_json::{Map, Value};

use super::{
    Example, Item, Sink, Skipped,
    lines::{Line, Lines},
    some_label,
};
use crate::{Error, Result};

/// Name of the manifest in a folder of synthesized samples.
pub const MANIFEST: &str = "manifest.jsonl";
/// Maximum length of the value of another key, in bytes; longer ones are dropped.
const LABEL_MAX: usize = 64;
/// Maximum number of other keys that are kept.
const LABELS_MAX: usize = 16;

pub(super) fn stream(path: &Path, sink: &mut Sink<'_>) -> Result<()> {
    let folder = path.parent().unwrap_or(Path::new(""));
    let mut lines = Lines::open(path)?;
    while let Some((number, line)) = lines.next().map_err(Error::io(path, "read"))? {
        if matches!(line, Line::Bytes(bytes) if bytes.iter().all(u8::is_ascii_whitespace)) {
            continue;
        }
        sink(match line.text().and_then(|text| parse(folder, text)) {
            Ok(example) => Item::Clip(example),
            Err(reason) => Item::Skipped(Skipped::at(path, number, reason)),
        })?;
    }
    Ok(())
}

fn parse(folder: &Path, line: &str) -> Result<Example, String> {
    let value: Value = serde_json::from_str(line).map_err(|e| format!("not JSON: {e}"))?;
    let Value::Object(map) = value else {
        return Err("a JSON object is expected".into());
    };
    let name = label(&map, "audio_filepath")?.ok_or("`audio_filepath` is missing")?;
    let path = folder.join(&name);
    match std::fs::metadata(&path) {
        Ok(metadata) if metadata.is_file() => {}
        Ok(_) => return Err(format!("{} is not a file", path.display())),
        Err(e) => return Err(format!("{}: {e}", path.display())),
    }
    describe(&map, Example::unlabelled(path))
}

/// Adds the labels of a JSON object to a clip.
pub(super) fn describe(map: &Map<String, Value>, example: Example) -> Result<Example, String> {
    let duration_s = seconds(map, "duration")?;
    if duration_s == Some(0.0) {
        return Err("`duration` is 0".into());
    }
    Ok(Example {
        offset_s: seconds(map, "offset")?.unwrap_or(0.0),
        duration_s,
        text: label(map, "text")?,
        speaker: label(map, "speaker")?.filter(|s| !s.ends_with('?')),
        lang: label(map, "lang")?,
        kind: label(map, "kind")?,
        source: label(map, "source")?,
        split: label(map, "split")?,
        labels: other_labels(map),
        ..example
    })
}

/// Returns short strings and numbers under other keys, by which an evaluation may group clips.
fn other_labels(map: &Map<String, Value>) -> BTreeMap<String, String> {
    const KNOWN: [&str; 9] = [
        "audio_filepath",
        "offset",
        "duration",
        "text",
        "speaker",
        "lang",
        "kind",
        "source",
        "split",
    ];
    let others = map.keys().filter(|key| !KNOWN.contains(&key.as_str()));
    let labels = others.filter_map(|key| Some((key.clone(), label(map, key).ok()??)));
    labels.filter(|(_, value)| value.len() <= LABEL_MAX).take(LABELS_MAX).collect()
}

/// Returns a string label. Numbers are converted to text, since some tools write speakers that way.
fn label(map: &Map<String, Value>, key: &str) -> Result<Option<String>, String> {
    let text = match map.get(key) {
        None | Some(Value::Null) => return Ok(None),
        Some(Value::String(text)) => text.clone(),
        Some(Value::Number(number)) => number.to_string(),
        Some(other) => return Err(format!("`{key}` is {other}; a string is expected")),
    };
    Ok(some_label(&text))
}

fn seconds(map: &Map<String, Value>, key: &str) -> Result<Option<f64>, String> {
    match map.get(key) {
        None | Some(Value::Null) => Ok(None),
        Some(value) => match value.as_f64() {
            Some(s) if s.is_finite() && s >= 0.0 => Ok(Some(s)),
            _ => Err(format!("`{key}` is {value}; seconds, not negative, are expected")),
        },
    }
}
