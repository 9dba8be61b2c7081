//! Tables of labels: which of several things are so, are not, or are not known.
//!
//! CSV (RFC 4180, without line breaks in cells). The first row names the columns; the first column is
//! a file's path, from where the table lies; every other column is a label, with `1`, `0`, or `?` where
//! nobody knows. A column `split` is no label: it tells rows for training from rows for testing.

use std::{
    fs,
    path::{Path, PathBuf},
};

use crate::{Error, Result};

/// The column that is no label.
const SPLIT: &str = "split";

/// Files and what is known of each.
#[derive(Clone, Debug, Default)]
pub struct Table {
    /// Names of the labels.
    pub labels: Vec<String>,
    /// Each file, and for each label whether it holds; none where nobody knows.
    pub rows: Vec<(PathBuf, Vec<Option<bool>>)>,
    /// Lines that were left out, and why.
    pub skipped: Vec<String>,
}

impl Table {
    /// Reads a table; the rows of `split` where one is named.
    ///
    /// # Errors
    /// [`Error::Io`] if it cannot be read; [`Error::Input`] if it is no table, or names no label.
    pub fn open(path: &Path, split: Option<&str>) -> Result<Self> {
        let text = fs::read(path).map_err(Error::io(path, "read"))?;
        let refused = |problem: String| {
            let remedy = "the first row names the columns: file, then labels; cells are 1, 0 or ?";
            Error::input(path, problem, remedy)
        };
        let text = String::from_utf8(text).map_err(|_| refused("not a table in UTF-8".into()))?;
        let mut lines = text.trim_start_matches('\u{feff}').lines();
        let header = cells(lines.next().unwrap_or_default()).map_err(|e| refused(e.into()))?;
        let split_column = header.iter().position(|name| name == SPLIT).filter(|&at| at > 0);
        let is_label = |at: usize| at > 0 && Some(at) != split_column;
        let labels: Vec<String> = header
            .iter()
            .enumerate()
            .filter(|&(at, _)| is_label(at))
            .map(|(_, name)| name.clone())
            .collect();
        if labels.is_empty() || labels.iter().any(String::is_empty) {
            return Err(refused("its first row names no label, or one without a name".into()));
        }
        if let Some(twice) = labels.iter().enumerate().find(|(at, l)| labels[..*at].contains(l)) {
            return Err(refused(format!("two columns are called {:?}", twice.1)));
        }
        if let (Some(split), None) = (split, split_column) {
            return Err(refused(format!("no column {SPLIT:?}, and --split {split} is asked for")));
        }
        let folder = path.parent().unwrap_or(Path::new("."));
        let (mut all, mut skipped) = (Vec::new(), Vec::new());
        for (number, line) in lines.enumerate().map(|(at, line)| (at + 2, line)) {
            if line.trim().is_empty() {
                continue;
            }
            let row = cells(line).map_err(str::to_owned).and_then(|cells| {
                if cells.len() != header.len() {
                    return Err(format!("{} columns, and there are {}", cells.len(), header.len()));
                }
                let labels = cells.iter().enumerate().filter(|&(at, _)| is_label(at));
                let answers = labels.map(|(_, cell)| answer(cell)).collect::<Result<_, _>>()?;
                Ok((cells, answers))
            });
            match row {
                Ok((cells, answers)) => {
                    let wanted =
                        split.is_none_or(|s| split_column.is_some_and(|at| cells[at] == s));
                    if wanted {
                        all.push((folder.join(&cells[0]), answers));
                    }
                }
                Err(reason) => skipped.push(format!("{}, line {number}: {reason}", path.display())),
            }
        }
        Ok(Self { labels, rows: all, skipped })
    }
}

fn answer(cell: &str) -> Result<Option<bool>, String> {
    match cell.trim() {
        "1" => Ok(Some(true)),
        "0" => Ok(Some(false)),
        "?" => Ok(None),
        other => Err(format!("{other:?} where 1, 0 or ? is expected")),
    }
}

/// The cells of a line: separated by commas, between quotes where they hold one (RFC 4180, without
/// line breaks).
fn cells(line: &str) -> Result<Vec<String>, &'static str> {
    let mut cells = vec![String::new()];
    let mut quoted = false;
    let mut characters = line.trim_end_matches('\r').chars().peekable();
    while let Some(c) = characters.next() {
        let Some(cell) = cells.last_mut() else { break };
        match c {
            '"' if quoted && characters.peek() == Some(&'"') => {
                characters.next();
                cell.push('"');
            }
            '"' if quoted || cell.is_empty() => quoted = !quoted,
            ',' if !quoted => cells.push(String::new()),
            c => cell.push(c),
        }
    }
    if quoted { Err("a quote is not closed") } else { Ok(cells) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(text: &[u8]) -> (tempfile::TempDir, Result<Table>) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("labels.csv");
        fs::write(&path, text).unwrap();
        let table = Table::open(&path, None);
        (folder, table)
    }

    #[test]
    fn ones_zeros_and_question_marks_are_read_and_the_rest_is_told() {
        let text = "file,left,\"turn, right\"\na.wav,1,?\nb.wav,0,1\n\nc.wav,1\nd.wav,2,0\n";
        let (folder, table) = table(text.as_bytes());
        let table = table.unwrap();
        assert_eq!(table.labels, ["left", "turn, right"]);
        let rows = [
            (folder.path().join("a.wav"), vec![Some(true), None]),
            (folder.path().join("b.wav"), vec![Some(false), Some(true)]),
        ];
        assert_eq!(table.rows, rows);
        assert_eq!(table.skipped.len(), 2);
        assert!(table.skipped[0].contains("line 5: 2 columns"), "{:?}", table.skipped);
        assert!(table.skipped[1].contains("line 6: \"2\""), "{:?}", table.skipped);
    }

    #[test]
    fn what_is_no_table_is_refused_by_name() {
        for text in
            [&b""[..], b"file\n", b"file,a,a\nx,1,1\n", b"file,\n", b"\xff\xfe,a\n", b"f,\"a\n"]
        {
            let error = table(text).1.err().unwrap().to_string();
            assert!(error.contains("labels.csv") && error.contains("remedy"), "{error}");
        }
    }
}
