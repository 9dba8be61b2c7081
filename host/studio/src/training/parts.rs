//! Recordings of a training run: those to train on, and those that are held out for the report.

use std::{fs, path::Path};

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use wakeling_capture::folder::Entry;
use wakeling_core::files;

use crate::{Error, Result, corrections::LIVE};

/// One take in this many is held out for the report, if there are enough.
const TEST_ONE_IN: usize = 4;
/// Number of takes from which on some are held out.
const ENOUGH_TAKES: usize = 8;
/// One block of the room's sound in this many is held out.
const ROOM_TEST_ONE_IN: usize = 3;
/// Largest number of files in a block of the room's sound, a minute. Sound of one moment is thus not
/// in both parts, but for the ends of the blocks.
const ROOM_BLOCK: usize = 6;

/// Take that is not used for training.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct LeftOut {
    /// Name of its file.
    pub name: String,
    /// The reason.
    pub reason: String,
    /// Kind of the reason, for the page.
    #[serde(default, rename = "fault")]
    pub problem_kind: String,
}

/// Recordings of one kind, in two parts.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Parts {
    /// Recordings to train on.
    pub train: Vec<Entry>,
    /// Recordings that are held out.
    pub test: Vec<Entry>,
}

impl Parts {
    /// Splits takes. None are held out if there are few, or without sound of the room, since there
    /// is no report then. Takes that the last model missed are trained on.
    pub fn of_takes(takes: Vec<Entry>, has_room: bool) -> Self {
        let is_enough = takes.len() >= ENOUGH_TAKES && has_room;
        Self::split(takes, |i, take| {
            let is_last = i % TEST_ONE_IN == TEST_ONE_IN - 1;
            is_enough && is_last && take.metadata.origin != LIVE
        })
    }

    /// Splits the sound of the room. The report needs some, so a single file is held out.
    pub fn of_room(files: Vec<Entry>) -> Self {
        let count = files.len();
        let block = (count / ROOM_TEST_ONE_IN).clamp(1, ROOM_BLOCK);
        Self::split(files, |i, _| match count {
            1 | 2 => i + 1 == count,
            _ => (i / block) % ROOM_TEST_ONE_IN == ROOM_TEST_ONE_IN - 1,
        })
    }

    /// Splits recordings; `is_test` gets the position of each.
    fn split(entries: Vec<Entry>, is_test: impl Fn(usize, &Entry) -> bool) -> Self {
        let mut parts = Self::default();
        for (i, entry) in entries.into_iter().enumerate() {
            let part = if is_test(i, &entry) { &mut parts.test } else { &mut parts.train };
            part.push(entry);
        }
        parts
    }
}

/// Returns a manifest of recordings with absolute paths.
///
/// # Errors
/// [`Error::Core`] if a recording does not exist.
pub fn manifest(entries: &[Entry]) -> Result<String> {
    let mut text = String::new();
    for entry in entries {
        let file = fs::canonicalize(&entry.path).map_err(Error::io(&entry.path, "read"))?;
        let metadata = &entry.metadata;
        let line = json!({
            "audio_filepath": file, "duration": entry.duration_s, "text": metadata.text,
            "speaker": metadata.speaker, "style": metadata.style, "kind": metadata.kind,
        });
        text += &format!("{line}\n");
    }
    Ok(text)
}

/// Writes a manifest of recordings.
///
/// # Errors
/// As [`manifest`]; [`Error::Core`] if it cannot be written.
pub fn write(path: &Path, entries: &[Entry]) -> Result<()> {
    Ok(files::write_atomic(path, manifest(entries)?.as_bytes())?)
}

/// Returns what changes if one of the recordings does: path, length and time of the last change.
pub fn stamps(entries: &[Entry]) -> Value {
    let stamp = |entry: &Entry| {
        let metadata = fs::metadata(&entry.path).ok();
        let modified = metadata.as_ref().and_then(|m| m.modified().ok());
        let modified = modified.and_then(|t| t.duration_since(std::time::UNIX_EPOCH).ok());
        json!([entry.path, metadata.map(|m| m.len()), modified.map(|t| t.as_nanos().to_string())])
    };
    entries.iter().map(stamp).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use wakeling_capture::folder::ClipMetadata;

    fn entries(count: usize, live: &[usize]) -> Vec<Entry> {
        let entry = |i: usize| Entry {
            path: format!("{i}.wav").into(),
            duration_s: 1.0,
            metadata: ClipMetadata {
                origin: if live.contains(&i) { LIVE.into() } else { String::new() },
                ..ClipMetadata::default()
            },
        };
        (0..count).map(entry).collect()
    }

    fn names(entries: &[Entry]) -> Vec<String> {
        entries.iter().map(|e| e.path.display().to_string()).collect()
    }

    #[test]
    fn every_recording_is_in_one_part() {
        for count in 0..40 {
            let room = Parts::of_room(entries(count, &[]));
            assert_eq!(room.train.len() + room.test.len(), count);
            assert_eq!(room.test.is_empty(), count == 0, "{count}");
            assert_eq!(room.train.is_empty(), count < 2, "{count}");
            if count > 5 {
                let share = room.test.len() as f64 / count as f64;
                assert!((0.15..0.55).contains(&share), "{count}: {share}");
            }
            let takes = Parts::of_takes(entries(count, &[]), true);
            assert_eq!(takes.train.len() + takes.test.len(), count);
            assert_eq!(takes.test.is_empty(), count < 8, "{count}");
        }
        let takes = Parts::of_takes(entries(8, &[3]), true);
        assert_eq!(names(&takes.test), ["7.wav"], "a missed one is trained on");
        assert!(Parts::of_takes(entries(20, &[]), false).test.is_empty());
    }
}
