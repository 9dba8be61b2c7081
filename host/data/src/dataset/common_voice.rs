//! Reader of Mozilla Common Voice: tab-separated tables beside a folder `clips`.
//!
//! The first line names the columns. `path` and `sentence` are required, `client_id` is the speaker
//! and `locale` the language. A folder is read by its official split (`train.tsv`, `dev.tsv`,
//! `test.tsv`), or by `validated.tsv` if it has no split. The other tables overlap with those or
//! hold rejected clips. They are read only if they are named themselves.

use std::path::{Path, PathBuf};

use super::{Example, Item, Sink, Skipped, extension, lines::Lines, some_label};
use crate::{Error, Result};

const SPLITS: [&str; 3] = ["train", "dev", "test"];
/// Tables of clips that are not part of the official split.
const OTHERS: [&str; 3] = ["validated", "invalidated", "other"];

/// Returns `true` if a folder holds such tables.
pub(super) fn is_in(folder: &Path) -> bool {
    let table = |name: &str| folder.join(format!("{name}.tsv"));
    SPLITS.iter().chain(&OTHERS).any(|name| Columns::read(&table(name)).is_ok())
}

pub(super) fn stream(path: &Path, sink: &mut Sink<'_>) -> Result<()> {
    if !path.is_dir() {
        return table(path, sink);
    }
    let tables = |names: &[&str]| -> Vec<PathBuf> {
        names.iter().map(|n| path.join(format!("{n}.tsv"))).filter(|p| p.is_file()).collect()
    };
    let mut chosen = tables(&SPLITS);
    if chosen.is_empty() {
        chosen = tables(&OTHERS[..1]);
    }
    for other in tables(&OTHERS).iter().filter(|p| !chosen.contains(p)) {
        let reason = "not part of the official split; name this file itself to read it";
        sink(Item::Skipped(Skipped::new(other, reason)))?;
    }
    chosen.iter().try_for_each(|path| table(path, sink))
}

/// Positions of the columns.
struct Columns {
    path: usize,
    sentence: usize,
    speaker: Option<usize>,
    locale: Option<usize>,
}

impl Columns {
    fn read(table: &Path) -> Result<Self> {
        let mut lines = Lines::open(table)?;
        let first = lines.next().map_err(Error::io(table, "read"))?;
        let header = first.and_then(|(_, line)| line.text().ok().map(str::to_owned));
        let header = header.unwrap_or_default();
        let at = |name: &str| header.split('\t').position(|column| column.trim() == name);
        let (Some(path), Some(sentence)) = (at("path"), at("sentence")) else {
            return Err(Error::NotCommonVoice { path: table.to_owned() });
        };
        Ok(Self { path, sentence, speaker: at("client_id"), locale: at("locale") })
    }
}

fn table(path: &Path, sink: &mut Sink<'_>) -> Result<()> {
    let columns = Columns::read(path)?;
    let stem = path.file_stem().unwrap_or_default().to_string_lossy();
    let split = SPLITS.contains(&stem.as_ref()).then(|| stem.to_string());
    let folder = path.parent().unwrap_or(Path::new("")).join("clips");
    let mut lines = Lines::open(path)?;
    while let Some((number, line)) = lines.next().map_err(Error::io(path, "read"))? {
        let text = line.text();
        if number == 1 || text.as_ref().is_ok_and(|text| text.trim().is_empty()) {
            continue;
        }
        sink(match text.and_then(|text| row(text, &columns, &folder)) {
            Ok(example) => Item::Clip(Example { split: split.clone(), ..example }),
            Err(reason) => Item::Skipped(Skipped::at(path, number, reason)),
        })?;
    }
    Ok(())
}

fn row(line: &str, columns: &Columns, folder: &Path) -> Result<Example, String> {
    let fields: Vec<&str> = line.split('\t').collect();
    let field = |at: usize| fields.get(at).copied();
    let name = field(columns.path).and_then(some_label).ok_or("no file name in column `path`")?;
    let sentence = field(columns.sentence).ok_or_else(|| {
        format!("{} columns; the sentence is in column {}", fields.len(), columns.sentence + 1)
    })?;
    let mut path = folder.join(&name);
    // The first releases omit the extension.
    if extension(&path).is_empty() {
        path.set_extension("mp3");
    }
    if !path.is_file() {
        return Err(format!("{}: there is no such file", path.display()));
    }
    let optional = |at: Option<usize>| at.and_then(field).and_then(some_label);
    Ok(Example {
        text: some_label(sentence),
        speaker: optional(columns.speaker),
        lang: optional(columns.locale),
        kind: Some("speech".into()),
        source: Some("common-voice".into()),
        ..Example::unlabelled(path)
    })
}
