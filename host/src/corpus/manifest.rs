//! JSON-lines manifests in NVIDIA NeMo's style.
//!
//! One JSON object a line, with `audio_filepath` (absolute, or relative to the manifest), `duration`
//! and `offset` in seconds, `text`, and our optional `speaker`, `lang`, `kind`, `source`, `split`.
//! Short values of other keys, such as `gender` or `age`, are kept as labels. Manifests are made by scripts and edited by hand, so a bad line costs
//! that line and not the run. An empty string and "-" mean unknown, and so does a speaker that ends
//! in "?": it marks clips whose speakers were mixed up beyond repair.

use std::{
    collections::BTreeMap,
    fs::File,
    io::{BufRead, BufReader},
    path::Path,
};

use serde_json::{Map, Value};

use super::{Corpus, Example, Skipped};
use crate::{Error, Result};

/// Bytes of the longest value of another key that is kept.
const LABEL_MAX: usize = 64;
/// Other keys that are kept.
const LABELS_MAX: usize = 16;
/// Bytes of the longest line that is taken for a line of a manifest.
const LINE_MAX: usize = 1 << 20;

pub(super) fn open(path: &Path) -> Result<Corpus> {
    let file = File::open(path).map_err(Error::io(path, "read"))?;
    let folder = path.parent().unwrap_or(Path::new(""));
    let mut corpus = Corpus { examples: Vec::new(), skipped: Vec::new() };
    for (index, line) in BufReader::new(file).split(b'\n').enumerate() {
        let line = line.map_err(Error::io(path, "read"))?;
        let line =
            if index == 0 { line.strip_prefix(b"\xef\xbb\xbf").unwrap_or(&line) } else { &line };
        if line.iter().all(u8::is_ascii_whitespace) {
            continue;
        }
        match parse(folder, line) {
            Ok(example) => corpus.examples.push(example),
            Err(reason) => corpus.skipped.push(Skipped {
                path: path.to_path_buf(),
                line: Some(index + 1),
                reason,
            }),
        }
    }
    if corpus.examples.is_empty() {
        return Err(nothing_usable(path, &corpus.skipped));
    }
    Ok(corpus)
}

fn nothing_usable(path: &Path, skipped: &[Skipped]) -> Error {
    let remedy = "a manifest holds one JSON object a line, such as \
         {\"audio_filepath\": \"a.wav\", \"duration\": 1.2, \"text\": \"hello\"}";
    match skipped {
        [] => Error::input(path, "the manifest is empty", remedy),
        [first, ..] => Error::input(
            path,
            format!(
                "none of its {} lines is usable; line {}: {}",
                skipped.len(),
                first.line.unwrap_or(1),
                first.reason
            ),
            remedy,
        ),
    }
}

fn parse(folder: &Path, line: &[u8]) -> Result<Example, String> {
    if line.len() > LINE_MAX {
        return Err(format!("a line of {} bytes; at most {LINE_MAX} are expected", line.len()));
    }
    let value: Value = serde_json::from_slice(line).map_err(|e| format!("not JSON: {e}"))?;
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
    let duration_s = seconds(&map, "duration")?;
    if duration_s == Some(0.0) {
        return Err("`duration` is 0".into());
    }
    Ok(Example {
        path,
        offset_s: seconds(&map, "offset")?.unwrap_or(0.0),
        duration_s,
        text: label(&map, "text")?,
        speaker: label(&map, "speaker")?.filter(|s| !s.ends_with('?')),
        lang: label(&map, "lang")?,
        kind: label(&map, "kind")?,
        source: label(&map, "source")?,
        split: label(&map, "split")?,
        labels: other_labels(&map),
    })
}

/// Short strings and numbers under other keys: what evaluation may group by.
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

/// A string; numbers are taken for their digits, since some tools write speakers that way.
fn label(map: &Map<String, Value>, key: &str) -> Result<Option<String>, String> {
    let text = match map.get(key) {
        None | Some(Value::Null) => return Ok(None),
        Some(Value::String(text)) => text.trim().to_owned(),
        Some(Value::Number(number)) => number.to_string(),
        Some(other) => return Err(format!("`{key}` is {other}; a string is expected")),
    };
    Ok(Some(text).filter(|t| !t.is_empty() && t != "-"))
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
