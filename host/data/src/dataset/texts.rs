//! Selection of the clips of a dataset that contain one keyword.
//!
//! A folder of words, a Common Voice release or a manifest gives the transcript of each clip. A
//! keyword is trained only on the clips whose transcript it is. A plain folder has no transcripts,
//! and all of it counts as the keyword.

use std::{collections::HashMap, fmt::Write, path::Path};

use super::Example;
use crate::text::{quoted, text_key};
use crate::{Error, Result};

/// Maximum number of texts that an error lists.
const TEXTS_SHOWN: usize = 10;
/// Maximum length of a text in an error, in bytes.
const TEXT_SHOWN: usize = 60;

/// Clips of a keyword, with counts.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct OfText {
    /// Clips with the text, and clips beside them without any text.
    pub clips: Vec<Example>,
    /// Number of these clips that have the text.
    pub named: usize,
    /// Number of clips that were left out, because they have another text or are noise.
    pub others: usize,
}

impl OfText {
    /// Returns a message for the user, if clips were left out.
    pub fn note(&self, path: &Path, label: &str) -> Option<String> {
        let all = self.clips.len() + self.others;
        let without = match self.clips.len() - self.named {
            0 => String::new(),
            n if self.named == 0 => format!("{n} of {all} clips have no other text than"),
            n => format!("{} of {all} clips have the text, and {n} have none:", self.named),
        };
        let used = match without.as_str() {
            "" => format!("{} of {all} clips have the text", self.named),
            text => text.to_owned(),
        };
        let (path, label) = (path.display(), quoted(label));
        (self.others > 0).then(|| format!("{path}: {used} {label}; {} left out", self.others))
    }
}

/// Returns the clips whose text is `label`; all clips if none has a text.
///
/// Texts are compared in NFC, case-folded, without punctuation. A clip without a text and without a
/// kind, such as a file beside folders of words, counts as the keyword.
///
/// # Errors
/// [`Error::NoSuchText`] if every clip has another text.
pub fn of_text(path: &Path, clips: Vec<Example>, label: &str) -> Result<OfText> {
    if clips.iter().all(|clip| clip.text.is_none()) {
        return Ok(OfText { clips, ..OfText::default() });
    }
    let key = text_key(label);
    // Folders of words repeat few texts, and keys are expensive to compute.
    let mut keys: HashMap<String, bool> = HashMap::new();
    let mut is_wanted = |text: &String| match keys.get(text) {
        Some(known) => *known,
        None => *keys.entry(text.clone()).or_insert(text_key(text) == key),
    };
    let mut found = OfText::default();
    let mut others = Vec::new();
    for clip in clips {
        match &clip.text {
            Some(text) if is_wanted(text) => {
                found.named += 1;
                found.clips.push(clip);
            }
            None if clip.kind.is_none() => found.clips.push(clip),
            _ => others.push(clip),
        }
    }
    found.others = others.len();
    if found.clips.is_empty() {
        return Err(no_such_text(path, &others, label));
    }
    Ok(found)
}

fn no_such_text(path: &Path, clips: &[Example], label: &str) -> Error {
    let mut counts: HashMap<&str, usize> = HashMap::new();
    let texts = clips.iter().filter_map(|clip| clip.text.as_deref());
    texts.for_each(|text| *counts.entry(text).or_default() += 1);
    let mut counts: Vec<(&str, usize)> = counts.into_iter().collect();
    counts.sort_by_key(|&(text, count)| (std::cmp::Reverse(count), text));
    let mut list = String::new();
    for (text, count) in counts.iter().take(TEXTS_SHOWN) {
        let comma = if list.is_empty() { "" } else { ", " };
        // Writing to a string cannot fail.
        let _ = write!(list, "{comma}{} ({count})", quoted(&shortened(text)));
    }
    let more = counts.len().saturating_sub(TEXTS_SHOWN);
    if more > 0 {
        let _ = write!(list, " and {more} more");
    }
    let (path, keyword) = (path.to_owned(), label.to_owned());
    Error::NoSuchText { path, clips: clips.len(), keyword, texts: list }
}

fn shortened(text: &str) -> String {
    let mut ends = text.char_indices().map(|(at, _)| at);
    match ends.find(|&at| at > TEXT_SHOWN) {
        Some(end) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn clip(text: Option<&str>, kind: Option<&str>) -> Example {
        Example {
            text: text.map(str::to_owned),
            kind: kind.map(str::to_owned),
            ..Example::unlabelled("x.wav")
        }
    }

    fn select(clips: &[Example], label: &str) -> Result<OfText> {
        of_text(Path::new("words"), clips.to_vec(), label)
    }

    #[test]
    fn only_clips_of_the_text_are_the_word() {
        let clips: Vec<Example> = ["Hey, Computer!", "no", "hey computer", "hey computer now"]
            .map(|text| clip(Some(text), Some("word")))
            .to_vec();
        let found = select(&clips, "hey computer").unwrap();
        assert_eq!((found.clips.len(), found.named, found.others), (2, 2, 2));
        let note = found.note(Path::new("words"), "hey computer").unwrap();
        assert!(note.contains("2 of 4 clips have the text \"hey computer\""), "{note}");
        let cafe = [clip(Some("cafe\u{301}"), None), clip(Some("cafe"), None)];
        assert_eq!(select(&cafe, "Caf\u{e9}").unwrap().clips.len(), 1);
    }

    #[test]
    fn a_folder_without_texts_is_the_word() {
        let clips = [clip(None, None), clip(None, None)];
        let found = select(&clips, "anything").unwrap();
        assert_eq!((found.clips.len(), found.others), (2, 0));
        assert_eq!(found.note(Path::new("x"), "anything"), None);
    }

    #[test]
    fn loose_files_beside_word_folders_are_the_keyword_and_noise_is_not() {
        let clips = [
            clip(None, None),
            clip(Some("room"), Some("word")),
            clip(None, Some("noise")),
            clip(None, Some("word")),
        ];
        let found = select(&clips, "hey").unwrap();
        assert_eq!((found.clips.len(), found.named, found.others), (1, 0, 3));
    }

    #[test]
    fn another_text_is_refused_with_a_list_of_those_that_are_there() {
        let long = "word ".repeat(40);
        let mut clips: Vec<Example> =
            (0..12).map(|i| clip(Some(&format!("text {i:02}")), Some("speech"))).collect();
        clips.extend(vec![clip(Some("नमस्ते"), None), clip(Some("नमस्ते"), None)]);
        clips.push(clip(Some(&long), None));
        let error = select(&clips, "hey").unwrap_err();
        assert!(matches!(error, Error::NoSuchText { clips: 15, .. }), "{error}");
        let message = error.to_string();
        assert!(message.contains("none of its 15 clips"), "{message}");
        assert!(message.contains("there is \"नमस्ते\" (2), \"text 00\" (1)"), "{message}");
        assert!(message.contains("and 4 more") && message.len() < 600, "{message}");
    }
}
