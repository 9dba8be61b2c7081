//! Multi-label CSV: 1, 0 or ? per file and label.
//!
//! The format is CSV (RFC 4180) with commas, semicolons or tabs, as spreadsheets and pandas write
//! it. The first row names the columns. The first column is a file's path, relative to the table.
//! Every other column is a label, with `1`, `true` or `yes`; `0`, `false` or `no`; and `?` or
//! nothing if it is unknown. Two columns are not labels. `split` separates rows for training from
//! rows for testing, and `speaker` names the speaker.

mod cells;
#[cfg(test)]
mod tests;

use std::{
    collections::HashMap,
    fs,
    path::{Component, Path, PathBuf},
};

use crate::text::{name_key, nfc, quoted};
use crate::{Error, Result};
use cells::{Line, answer, is_number};

/// Column that assigns rows to training or testing.
const SPLIT: &str = "split";
/// Column of speakers.
const SPEAKER: &str = "speaker";

/// File with its labels.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Row {
    /// Path of the file, from the working directory.
    pub path: PathBuf,
    /// True or false for each label; none if it is unknown.
    pub answers: Vec<Option<bool>>,
    /// Name of the speaker, if the table has that column.
    pub speaker: Option<String>,
}

/// Files with their labels.
///
/// ```
/// use wakeling_data::table::Table;
///
/// let path = std::env::temp_dir().join(format!("wakeling-table-{}.csv", std::process::id()));
/// std::fs::write(&path, "file,dog,rain,split\na.wav,1,?,train\nb.wav,0,1,test\n").unwrap();
/// let table = Table::open(&path, Some("train"))?;
/// assert_eq!(table.labels, ["dog", "rain"]);
/// assert_eq!(table.rows[0].answers, [Some(true), None]); // "?" is unknown
/// assert_eq!(table.rows.len(), 1);
/// # std::fs::remove_file(&path).unwrap();
/// # Ok::<(), wakeling_data::Error>(())
/// ```
#[derive(Clone, Debug, Default)]
pub struct Table {
    /// Names of the labels.
    pub labels: Vec<String>,
    /// One row per file, in the order of the table.
    pub rows: Vec<Row>,
    /// Lines that were left out or merged, with the reason.
    pub skipped: Vec<String>,
}

impl Table {
    /// Reads a table, or only its rows of `split` if one is named.
    ///
    /// # Errors
    /// [`Error::Core`] if it cannot be read. [`Error::TableIsNoText`] and others if it is not a table, has no header or
    /// no label, contradicts itself, or has no column for the named split.
    pub fn open(path: &Path, split: Option<&str>) -> Result<Self> {
        let bytes = fs::read(path).map_err(Error::io(path, "read"))?;
        let lines = cells::lines(&bytes).map_err(|problem| Error::TableIsNoText {
            path: path.to_owned(),
            problem: problem.to_string(),
        })?;
        let mut lines = lines.into_iter();
        let first = lines.next().unwrap_or_default();
        let folder = path.parent().unwrap_or(Path::new("."));
        let lines: Vec<Line> = lines.collect();
        let header = Header::of(path, folder, &first, &lines)?;
        if let (Some(split), None) = (split, header.split) {
            let (path, split) = (path.to_owned(), split.to_owned());
            return Err(Error::TableWithoutSplit { path, split });
        }
        let mut reader =
            Reader { path, folder, header, table: Self::default(), seen: HashMap::new() };
        for line in &lines {
            reader.read(line, split)?;
        }
        let labels = reader.header.labels.into_iter().map(|(_, label)| label).collect();
        Ok(Self { labels, ..reader.table })
    }
}

/// Columns of a table.
struct Header {
    columns: usize,
    /// Index and name of each label's column.
    labels: Vec<(usize, String)>,
    split: Option<usize>,
    speaker: Option<usize>,
}

impl Header {
    fn of(path: &Path, folder: &Path, first: &Line, rest: &[Line]) -> Result<Self> {
        let refused = |problem: String| Error::TableColumns { path: path.to_owned(), problem };
        let names: Vec<String> = first.cells.iter().map(|name| nfc(name).into_owned()).collect();
        if let Some(why) = no_header(folder, &names) {
            let (path, reason) = (path.to_owned(), why.to_string());
            return Err(Error::TableWithoutHeader { path, reason });
        }
        if first.is_broken {
            return Err(refused("a quote in its first row is not closed".into()));
        }
        let at = |wanted: &str| names.iter().skip(1).position(|n| name_key(n) == wanted);
        let (split, speaker) = (at(SPLIT).map(|i| i + 1), at(SPEAKER).map(|i| i + 1));
        // Spreadsheets write one separator too many at the end of each line.
        let is_blank = |column: usize| {
            rest.iter().all(|line| line.cells.get(column).is_none_or(String::is_empty))
        };
        let labels: Vec<(usize, String)> = names
            .iter()
            .enumerate()
            .skip(1)
            .filter(|&(column, _)| Some(column) != split && Some(column) != speaker)
            .filter(|(column, name)| !name.is_empty() || !is_blank(*column))
            .map(|(column, name)| (column, name.clone()))
            .collect();
        if labels.is_empty() || labels.iter().any(|(_, name)| name.is_empty()) {
            return Err(refused("its first row names no label, or one without a name".into()));
        }
        for (i, (_, name)) in labels.iter().enumerate() {
            if labels[..i].iter().any(|(_, other)| name_key(other) == name_key(name)) {
                return Err(refused(format!("two columns are called {}", quoted(name))));
            }
        }
        Ok(Self { columns: names.len(), labels, split, speaker })
    }
}

/// Common names for the column of files. Beside them, "1" is a label.
const FILE_COLUMNS: [&str; 8] =
    ["file", "path", "filename", "name", "audio", "clip", "recording", "image"];

/// Returns the reason why the first row cannot be a header; none if it can.
///
/// "yes" and "no" are values, and also keywords that people train, so they count only beside a
/// file.
fn no_header(folder: &Path, names: &[String]) -> Option<String> {
    let first = names.first().filter(|name| !name.is_empty())?;
    if folder.join(first).is_file() {
        return Some(format!("{} is a file", quoted(first)));
    }
    let mut rest = names[1..].iter().filter(|cell| !cell.is_empty()).peekable();
    if rest.peek().is_none() || FILE_COLUMNS.contains(&name_key(first).as_str()) {
        return None;
    }
    let looks_like_a_file = Path::new(first).extension().is_some();
    let is_value = |cell: &String| is_number(cell) || (looks_like_a_file && answer(cell).is_ok());
    rest.all(is_value).then(|| "its cells are values and not names".into())
}

/// Reads rows one after the other, and compares each with those before.
struct Reader<'a> {
    path: &'a Path,
    folder: &'a Path,
    header: Header,
    table: Table,
    /// Labels of each file so far, with the line that first named it.
    seen: HashMap<PathBuf, Seen>,
}

struct Seen {
    line: u64,
    answers: Vec<Option<bool>>,
    /// Index of its row in the table, if it is of the split that is read.
    row: Option<usize>,
}

impl Reader<'_> {
    fn read(&mut self, line: &Line, split: Option<&str>) -> Result<()> {
        if line.cells.iter().all(String::is_empty) {
            return Ok(());
        }
        let row = match self.row(line) {
            Ok(row) => row,
            Err(reason) => {
                self.skip(line.number, reason);
                return Ok(());
            }
        };
        let cell = |column: Option<usize>| column.and_then(|at| line.cells.get(at));
        let is_wanted = split.is_none_or(|s| cell(self.header.split).is_some_and(|c| c == s));
        self.add(row, line.number, is_wanted)
    }

    fn row(&self, line: &Line) -> Result<Row, String> {
        let Header { columns, labels, speaker, .. } = &self.header;
        if line.is_broken {
            return Err("a quote is not closed; the lines after it are part of its cell".into());
        }
        if line.cells.len() != *columns {
            return Err(format!("{} columns, and there are {columns}", line.cells.len()));
        }
        let cell = |column: usize| line.cells.get(column).map(String::as_str).unwrap_or_default();
        if cell(0).is_empty() {
            return Err("no file is named".into());
        }
        let answers = labels.iter().map(|(at, _)| answer(cell(*at))).collect::<Result<_, _>>()?;
        let speaker = speaker.map(cell).filter(|name| !name.is_empty()).map(str::to_owned);
        Ok(Row { path: tidy(&self.folder.join(cell(0))), answers, speaker })
    }

    /// Adds a row, or merges it into an earlier row of the same file.
    fn add(&mut self, row: Row, line: u64, is_wanted: bool) -> Result<()> {
        let Some(seen) = self.seen.get_mut(&row.path) else {
            let at = is_wanted.then_some(self.table.rows.len());
            let answers = row.answers.clone();
            self.seen.insert(row.path.clone(), Seen { line, answers, row: at });
            if is_wanted {
                self.table.rows.push(row);
            }
            return Ok(());
        };
        let pairs = seen.answers.iter().zip(&row.answers);
        let differs = pairs.enumerate().find(|(_, (a, b))| a.is_some() && b.is_some() && a != b);
        if let Some((i, (before, _))) = differs {
            let (a, b) = if *before == Some(true) { (1, 0) } else { (0, 1) };
            let label = self.header.labels.get(i).map_or("", |(_, label)| label.as_str());
            let problem = format!(
                "{} has {a} under {} in line {}, and {b} in line {line}",
                row.path.display(),
                quoted(label),
                seen.line,
            );
            return Err(Error::TableContradicts { path: self.path.to_owned(), problem });
        }
        let first = seen.line;
        for (known, answer) in seen.answers.iter_mut().zip(&row.answers) {
            *known = known.or(*answer);
        }
        match seen.row {
            Some(at) => {
                self.table.rows[at].answers.clone_from(&seen.answers);
                self.skip(line, format!("the same file as in line {first}; it counts once"));
            }
            None if is_wanted => {
                seen.row = Some(self.table.rows.len());
                self.table.rows.push(row);
            }
            None => {}
        }
        Ok(())
    }

    fn skip(&mut self, line: u64, reason: String) {
        self.table.skipped.push(format!("{}, line {line}: {reason}", self.path.display()));
    }
}

/// Returns the path without `.` components, so that each file has one name.
fn tidy(path: &Path) -> PathBuf {
    path.components().filter(|part| *part != Component::CurDir).collect()
}
