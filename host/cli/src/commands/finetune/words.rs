//! Keywords of a model and their training data.

use std::{
    collections::{BTreeSet, HashMap},
    path::{Path, PathBuf},
};

use wakeling_shared::frontend::FrontendParams;

use super::{
    super::{check_phrase, open_dataset, open_takes},
    FinetuneArgs,
};
use wakeling_audio::features::LogMel;
use wakeling_core::{Error, Result};
use wakeling_data::{
    dataset::Example,
    synthesize,
    table::Table,
    takes::{self, Checked, Purpose, Take, record::Source},
    text::{clean, contains_phrase, name_key, quoted, text_key},
};
use wakeling_train::finetune::KeywordClips;

/// Number of recordings below which a warning is logged.
const FEW_RECORDINGS: usize = 5;
/// Maximum number of repetitions added for each recording beside synthesized samples. They give
/// people's recordings as much weight as synthetic ones.
const MOST_REPEATS: usize = 9;

/// Keyword and its recordings.
pub(super) struct Keyword {
    pub(super) label: String,
    /// Recordings of people.
    pub(super) recordings: Vec<LogMel>,
    /// Synthesized samples.
    synthesized: Vec<LogMel>,
    /// Number of people's recordings, without repetitions; set by `weighed`.
    pub(super) recorded: usize,
    /// Number of different recordings of both kinds; set by `weighed`.
    pub(super) different: usize,
    /// Recordings that are labelled as not containing the keyword.
    hard_negatives: Vec<LogMel>,
    /// Table from which the keyword comes.
    table: Option<PathBuf>,
    /// Files of `recordings` and of `synthesized`, once each.
    pub(super) sources: Vec<Source>,
}

impl Keyword {
    fn new(label: String) -> Self {
        Self {
            label,
            recordings: Vec::new(),
            synthesized: Vec::new(),
            recorded: 0,
            different: 0,
            hard_negatives: Vec::new(),
            table: None,
            sources: Vec::new(),
        }
    }

    /// Adds people's recordings.
    fn add(&mut self, takes: Vec<Take>) {
        self.sources.extend(takes.iter().map(Source::of));
        self.recordings.extend(takes.into_iter().map(|take| take.frames));
    }

    /// Adds synthesized samples.
    fn add_synthesized(&mut self, takes: Vec<Take>) {
        self.sources.extend(takes.iter().map(Source::of));
        self.synthesized.extend(takes.into_iter().map(|take| take.frames));
    }

    /// Merges all recordings into one list. People's recordings are repeated until they have as
    /// much weight as synthetic ones.
    fn weighed(mut self) -> Self {
        self.recorded = self.recordings.len();
        self.different = self.recorded + self.synthesized.len();
        if let Some(times) = self.synthesized.len().checked_div(self.recorded) {
            let real = self.recordings.clone();
            self.recordings.extend(std::iter::repeat_n(real, times.min(MOST_REPEATS)).flatten());
        }
        self.recordings.append(&mut self.synthesized);
        self
    }

    /// Returns the hard negatives: recordings labelled as not containing the keyword, and the
    /// recordings of other keywords. Leaves out keywords that contain this one ("computer" is in
    /// "hey computer"), and keywords of the same table, which labels each recording itself.
    pub(super) fn hard_negatives(&self, words: &[Self]) -> Vec<LogMel> {
        let others = words.iter().filter(|w| {
            let same_table = w.table.is_some() && w.table == self.table;
            !same_table && !contains_phrase(&clean(&w.label), &self.label)
        });
        let others = others.flat_map(|w| &w.recordings);
        self.hard_negatives.iter().chain(others).cloned().collect()
    }

    pub(super) fn all<'w>(&'w self, hard_negatives: &'w [LogMel]) -> KeywordClips<'w> {
        KeywordClips { of: &self.recordings, hard_negatives }
    }
}

impl FinetuneArgs {
    /// Loads and checks recordings and synthesized samples, keyword by keyword.
    ///
    /// # Errors
    /// [`Error::Input`] if no usable recording of a keyword is left; [`Error::Usage`] if a keyword
    /// is given twice.
    pub(super) fn load_words(&self, frontend: &FrontendParams<'_>) -> Result<Vec<Keyword>> {
        let mut words = Vec::new();
        for given in &self.words {
            let mut word = Keyword::new(given.label.clone());
            word.add(open_takes(given, frontend, Purpose::Train)?.takes);
            words.push(word);
        }
        for path in &self.labels {
            words.extend(labelled(path, frontend)?);
        }
        for (i, word) in words.iter().enumerate() {
            if words[..i].iter().any(|w| name_key(&w.label) == name_key(&word.label)) {
                let problem = format!("the keyword {} is given twice", quoted(&word.label));
                return Err(Error::usage(problem, "put all its recordings in one folder or table"));
            }
        }
        for folder in &self.samples {
            add_samples(&mut words, folder, frontend)?;
        }
        for word in &words {
            check_phrase::warn(&word.label, None);
            let recorded = word.recordings.len();
            if word.synthesized.is_empty() && recorded < FEW_RECORDINGS {
                let s = if recorded == 1 { "" } else { "s" };
                log::info!(
                    "warning: only {recorded} recording{s} of {}; record at least {FEW_RECORDINGS}",
                    quoted(&word.label)
                );
            }
        }
        shared(&words).iter().for_each(|line| log::info!("{line}"));
        Ok(words.into_iter().map(Keyword::weighed).collect())
    }
}

/// Returns a warning for each pair of keywords with recordings in common. One of them is wrong,
/// unless one keyword is part of the other.
fn shared(words: &[Keyword]) -> Vec<String> {
    let mut owners: HashMap<&str, usize> = HashMap::new();
    let mut counts: HashMap<(usize, usize), usize> = HashMap::new();
    for (i, word) in words.iter().enumerate().filter(|(_, word)| word.table.is_none()) {
        for source in &word.sources {
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
        let name = |i: usize| quoted(words.get(i).map_or("", |word| word.label.as_str()));
        format!("warning: {} and {} have {n} recordings in common", name(a), name(b))
    };
    counts.into_iter().map(line).collect()
}

/// Checks recordings, and logs those that are left out.
fn checked(examples: &[Example], frontend: &FrontendParams<'_>) -> Checked {
    let checked = takes::check(examples, frontend, Purpose::Train);
    checked.log();
    checked
}

/// Adds the samples that `synthesize` wrote to their keyword.
fn add_samples(
    words: &mut Vec<Keyword>,
    folder: &Path,
    frontend: &FrontendParams<'_>,
) -> Result<()> {
    let manifest = folder.join(wakeling_data::dataset::manifest::MANIFEST);
    let examples = open_dataset(if manifest.is_file() { &manifest } else { folder })?;
    let label = label_of(folder, &examples)?;
    let checked = checked(&examples, frontend);
    if let Some(refusal) = checked.refusal(folder) {
        return Err(refusal);
    }
    // Misses that `listen` saved are in such a folder too; these are recordings of people.
    let is_spoken = |take: &Take| take.example.source.as_deref() == Some(synthesize::SOURCE);
    let (spoken, said) = checked.takes.into_iter().partition(is_spoken);
    let is_it = |word: &Keyword| text_key(&word.label) == text_key(&label);
    let i = words.iter().position(is_it).unwrap_or_else(|| {
        words.push(Keyword::new(label.clone()));
        words.len() - 1
    });
    words[i].add(said);
    words[i].add_synthesized(spoken);
    Ok(())
}

/// Loads the keywords of a table of recordings.
fn labelled(path: &Path, frontend: &FrontendParams<'_>) -> Result<Vec<Keyword>> {
    let table = Table::open(path, None)?;
    table.skipped.iter().for_each(|skipped| log::info!("skipped: {skipped}"));
    let example = |row: &wakeling_data::table::Row| Example {
        speaker: row.speaker.clone(),
        ..Example::unlabelled(&row.path)
    };
    let examples: Vec<Example> = table.rows.iter().map(example).collect();
    let checked = checked(&examples, frontend);
    let mut words = Vec::new();
    for (column, label) in table.labels.iter().enumerate() {
        let with = |wanted: bool| -> Vec<Take> {
            let has = |take: &&Take| {
                let answers = table.rows.get(take.source).map(|row| &row.answers);
                answers.and_then(|a| a.get(column)) == Some(&Some(wanted))
            };
            checked.takes.iter().filter(has).cloned().collect()
        };
        let mut word = Keyword::new(label.clone());
        word.add(with(true));
        if word.recordings.is_empty() {
            let problem = format!("no recording that can be used has a 1 under {}", quoted(label));
            return Err(Error::input(path, problem, "see the lines above; or drop the column"));
        }
        word.hard_negatives = with(false).into_iter().map(|take| take.frames).collect();
        word.table = Some(path.to_owned());
        words.push(word);
    }
    Ok(words)
}

/// Returns the single text of a folder of samples.
fn label_of(folder: &Path, examples: &[Example]) -> Result<String> {
    let texts: BTreeSet<&str> = examples.iter().filter_map(|e| e.text.as_deref()).collect();
    let mut texts = texts.into_iter();
    match (texts.next(), texts.next()) {
        (Some(text), None) => Ok(text.to_owned()),
        (None, _) => Err(Error::input(
            folder,
            "no manifest in it names the word",
            format!("give --word NAME={}", folder.display()),
        )),
        (Some(a), Some(b)) => Err(Error::input(
            folder,
            format!("its manifest names several texts, {} and {}", quoted(a), quoted(b)),
            "give --samples a folder of one phrase; similar phrases belong to --negatives",
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use wakeling_train::finetune::Trainable;

    #[test]
    fn people_weigh_as_much_as_programs_and_only_they_are_counted_as_recorded() {
        let mut word = Keyword::new("amelia".into());
        word.recordings = vec![LogMel::default(); 3];
        word.synthesized = vec![LogMel::default(); 60];
        let word = word.weighed();
        assert_eq!((word.recorded, word.different), (3, 63));
        assert_eq!(word.recordings.len(), 3 * (1 + MOST_REPEATS) + 60);
        assert_eq!(Trainable::Auto.decide(word.recorded).0, Trainable::Head);

        let mut word = Keyword::new("amelia".into());
        word.synthesized = vec![LogMel::default(); 60];
        let word = word.weighed();
        assert_eq!((word.recorded, word.recordings.len()), (0, 60));
    }

    #[test]
    fn reports_recordings_shared_by_two_keywords() {
        let word = |label: &str, hashes: &[&str]| {
            let mut word = Keyword::new(label.into());
            let source = |hash: &&str| Source { name: "x".into(), hash: (*hash).into() };
            word.sources = hashes.iter().map(source).collect();
            word
        };
        let words = [word("ข่า", &["1", "2"]), word("b", &["3"]), word("c", &["2", "1", "4"])];
        assert_eq!(shared(&words), ["warning: \"ข่า\" and \"c\" have 2 recordings in common"]);
    }
}
