//! Keywords of a model and their training data, before they are mixed.

use std::{collections::HashMap, path::PathBuf};

use crate::{Error, Result};
use wakeling_audio::{features::LogMel, phrase_span::phrase_in};
use wakeling_data::{
    takes::{
        Take,
        record::{KeywordRecordings, Source},
    },
    text::{clean, contains_phrase, name_key, quoted},
};

/// Number of recordings below which a warning is returned.
const FEW_RECORDINGS: usize = 5;
/// Maximum number of repetitions added for each recording beside synthesized samples. They give
/// people's recordings as much weight as synthetic ones.
const MOST_REPEATS: usize = 9;

/// Keyword and its recordings.
#[derive(Clone, Debug, Default)]
pub struct Keyword {
    label: String,
    /// Recordings of people.
    recordings: Vec<LogMel>,
    /// Synthesized samples.
    synthesized: Vec<LogMel>,
    /// Recordings that are labelled as not containing the keyword.
    hard_negatives: Vec<LogMel>,
    /// Table of recordings from which the keyword comes.
    table: Option<PathBuf>,
    /// Files of `recordings` and of `synthesized`, once each.
    sources: Vec<Source>,
}

impl Keyword {
    /// Creates a keyword without recordings.
    pub fn new(label: impl Into<String>) -> Self {
        Self { label: label.into(), ..Self::default() }
    }

    /// Creates a keyword from the log-mel frames of recordings.
    pub fn of_clips(label: impl Into<String>, recordings: Vec<LogMel>) -> Self {
        Self { recordings, ..Self::new(label) }
    }

    /// Creates a keyword from people's takes.
    pub fn of_takes(label: impl Into<String>, takes: Vec<Take>) -> Self {
        let mut keyword = Self::new(label);
        keyword.add(takes);
        keyword
    }

    /// Adds people's takes.
    pub fn add(&mut self, takes: Vec<Take>) {
        self.sources.extend(takes.iter().map(Source::of));
        self.recordings.extend(takes.into_iter().map(|take| take.frames));
    }

    /// Adds synthesized samples.
    pub fn add_synthesized(&mut self, takes: Vec<Take>) {
        self.sources.extend(takes.iter().map(Source::of));
        self.synthesized.extend(takes.into_iter().map(|take| take.frames));
    }

    /// Sets recordings that do not contain the keyword, and the table that labels each recording.
    /// Keywords of one table are no hard negatives of each other.
    pub fn with_table(self, table: PathBuf, hard_negatives: Vec<LogMel>) -> Self {
        Self { table: Some(table), hard_negatives, ..self }
    }

    /// Label of a detection.
    pub fn label(&self) -> &str {
        &self.label
    }

    /// Number of people's recordings.
    pub fn recorded(&self) -> usize {
        self.recordings.len()
    }

    /// Number of recordings and synthesized samples.
    pub fn different(&self) -> usize {
        self.recordings.len() + self.synthesized.len()
    }

    /// Returns all recordings as one list. People's recordings are repeated until they have as much
    /// weight as synthetic ones.
    pub(super) fn weighed(&self) -> Vec<LogMel> {
        let mut all = self.recordings.clone();
        if let Some(times) = self.synthesized.len().checked_div(self.recordings.len()) {
            let repeats = std::iter::repeat_n(&self.recordings, times.min(MOST_REPEATS));
            all.extend(repeats.flatten().cloned());
        }
        all.extend(self.synthesized.iter().cloned());
        all
    }

    /// Returns the hard negatives: recordings labelled as not containing the keyword, and the
    /// recordings of other keywords, which `weighed` holds in the same order. Leaves out keywords
    /// that contain this one ("computer" is in "hey computer"), and keywords of the same table,
    /// which labels each recording itself.
    pub(super) fn hard_negatives(&self, keywords: &[Self], weighed: &[Vec<LogMel>]) -> Vec<LogMel> {
        let others = keywords.iter().zip(weighed).filter(|(other, _)| {
            let same_table = other.table.is_some() && other.table == self.table;
            !same_table && !contains_phrase(&clean(&other.label), &self.label)
        });
        let others = others.flat_map(|(_, recordings)| recordings);
        self.hard_negatives.iter().chain(others).cloned().collect()
    }

    /// Returns the record of the recordings, to be kept beside the model.
    pub(super) fn record(&self) -> KeywordRecordings {
        KeywordRecordings { label: self.label.clone(), recordings: self.sources.clone() }
    }
}

/// Checks that no keyword is given twice.
///
/// # Errors
/// [`Error::KeywordTwice`].
pub(super) fn check_labels(keywords: &[Keyword]) -> Result<()> {
    for (i, keyword) in keywords.iter().enumerate() {
        if keywords[..i].iter().any(|k| name_key(&k.label) == name_key(&keyword.label)) {
            return Err(Error::KeywordTwice { keyword: keyword.label.to_string() });
        }
    }
    Ok(())
}

/// Returns warnings about keywords with few or useless recordings, and with recordings in common.
pub(super) fn warnings(keywords: &[Keyword]) -> Vec<String> {
    let own = keywords.iter().flat_map(|keyword| [few(keyword), without_phrase(keyword)]);
    own.flatten().chain(shared(keywords)).collect()
}

fn few(keyword: &Keyword) -> Option<String> {
    let recorded = keyword.recordings.len();
    let s = if recorded == 1 { "" } else { "s" };
    (keyword.synthesized.is_empty() && recorded < FEW_RECORDINGS).then(|| {
        let label = quoted(&keyword.label);
        format!(
            "warning: only {recorded} recording{s} of {label}; record at least {FEW_RECORDINGS}"
        )
    })
}

fn without_phrase(keyword: &Keyword) -> Option<String> {
    let all = keyword.recordings.iter().chain(&keyword.synthesized);
    let count = all.filter(|recording| phrase_in(recording).is_none()).count();
    // Without any phrase, the training fails.
    let is_some = count > 0 && count < keyword.different();
    is_some.then(|| {
        format!("skipped: {count} recordings of {} hold no phrase", quoted(&keyword.label))
    })
}

/// Returns a warning for each pair of keywords with recordings in common. One of them is wrong,
/// unless one keyword is part of the other.
fn shared(keywords: &[Keyword]) -> Vec<String> {
    let mut owners: HashMap<&str, usize> = HashMap::new();
    let mut counts: HashMap<(usize, usize), usize> = HashMap::new();
    for (i, keyword) in keywords.iter().enumerate().filter(|(_, word)| word.table.is_none()) {
        for source in &keyword.sources {
            match owners.get(source.hash.as_str()) {
                Some(&owner) if owner != i => *counts.entry((owner, i)).or_default() += 1,
                Some(_) => {}
                None => drop(owners.insert(&source.hash, i)),
            }
        }
    }
    let mut counts: Vec<_> = counts.into_iter().collect();
    counts.sort_unstable();
    let line = |((a, b), n): ((usize, usize), usize)| {
        let name = |i: usize| quoted(keywords.get(i).map_or("", |word| word.label.as_str()));
        format!("warning: {} and {} have {n} recordings in common", name(a), name(b))
    };
    counts.into_iter().map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn people_weigh_as_much_as_programs_and_only_they_are_counted_as_recorded() {
        let keyword = |recorded, synthesized| Keyword {
            recordings: vec![LogMel::default(); recorded],
            synthesized: vec![LogMel::default(); synthesized],
            ..Keyword::new("amelia")
        };
        let both = keyword(3, 60);
        assert_eq!((both.recorded(), both.different()), (3, 63));
        assert_eq!(both.weighed().len(), 3 * (1 + MOST_REPEATS) + 60);
        let alone = keyword(0, 60);
        assert_eq!((alone.recorded(), alone.weighed().len()), (0, 60));
    }

    #[test]
    fn recordings_of_two_keywords_give_a_warning() {
        let keyword = |label: &str, hashes: &[&str]| {
            let source = |hash: &&str| Source { name: "x".into(), hash: (*hash).into() };
            Keyword { sources: hashes.iter().map(source).collect(), ..Keyword::new(label) }
        };
        let keywords =
            [keyword("ข่า", &["1", "2"]), keyword("b", &["3"]), keyword("c", &["2", "1", "4"])];
        assert_eq!(shared(&keywords), ["warning: \"ข่า\" and \"c\" have 2 recordings in common"]);
    }

    #[test]
    fn hard_negatives_leave_out_keywords_that_contain_this_one() {
        let keyword = |label: &str, level: i16| Keyword::of_clips(label, vec![vec![[level; 40]]]);
        let keywords = [keyword("computer", 1), keyword("hey computer", 2), keyword("stop", 3)];
        let weighed: Vec<_> = keywords.iter().map(Keyword::weighed).collect();
        let negatives = |i: usize| -> Vec<i16> {
            let clips = keywords[i].hard_negatives(&keywords, &weighed);
            clips.iter().map(|clip| clip[0][0]).collect()
        };
        assert_eq!([negatives(0), negatives(1), negatives(2)], [vec![3], vec![1, 3], vec![1, 2]]);
    }
}
