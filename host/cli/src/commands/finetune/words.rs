//! Keywords of the command line: their takes, samples and tables.

use std::{collections::BTreeSet, path::Path};

use wakeling_shared::frontend::FrontendParams;

use super::{
    super::{check_phrase, open_dataset, open_takes},
    FinetuneArgs,
};
use crate::error::{Error, Result};
use wakeling_core::progress::{Bars, NoProgress};
use wakeling_data::{
    dataset::Example,
    synthesize,
    table::Table,
    takes::{self, Checked, Purpose, Take},
    text::{quoted, text_key},
};
use wakeling_train::finetune::Keyword;

impl FinetuneArgs {
    /// Loads and checks recordings and synthesized samples, keyword by keyword.
    ///
    /// # Errors
    /// [`Error::input`] if no usable recording of a keyword is left.
    pub(super) fn load_words(&self, frontend: &FrontendParams<'_>) -> Result<Vec<Keyword>> {
        let mut words = Vec::new();
        for given in &self.words {
            let takes = open_takes(given, frontend, Purpose::Train)?.takes;
            words.push(Keyword::of_takes(&given.label, takes));
        }
        for path in &self.labels {
            words.extend(labelled(path, frontend)?);
        }
        for folder in &self.samples {
            add_samples(&mut words, folder, frontend)?;
        }
        words.iter().for_each(|word| check_phrase::warn(word.label(), None));
        Ok(words)
    }
}

/// Checks recordings, and logs those that are left out.
fn checked(examples: &[Example], frontend: &FrontendParams<'_>) -> Checked {
    let checked = takes::check(examples, frontend, Purpose::Train, &Bars::default());
    checked.report(&NoProgress);
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
        return Err(refusal.into());
    }
    // Misses that `listen` saved are in such a folder too; these are recordings of people.
    let is_synthesized = |take: &Take| take.example.source.as_deref() == Some(synthesize::SOURCE);
    let (synthesized, recorded) = checked.takes.into_iter().partition(is_synthesized);
    let is_it = |word: &Keyword| text_key(word.label()) == text_key(&label);
    let i = words.iter().position(is_it).unwrap_or_else(|| {
        words.push(Keyword::new(&label));
        words.len() - 1
    });
    words[i].add(recorded);
    words[i].add_synthesized(synthesized);
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
        let takes = with(true);
        if takes.is_empty() {
            let problem = format!("no recording that can be used has a 1 under {}", quoted(label));
            return Err(Error::input(path, problem, "see the lines above; or drop the column"));
        }
        let hard_negatives = with(false).into_iter().map(|take| take.frames).collect();
        words.push(Keyword::of_takes(label, takes).with_table(path.to_owned(), hard_negatives));
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
