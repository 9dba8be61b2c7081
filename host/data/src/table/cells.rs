//! Splits text into cells, and converts cells to values.

use csv::{ReaderBuilder, StringRecord};

use crate::text::quoted;

/// Possible separators of cells, the likeliest last.
const SEPARATORS: [u8; 3] = [b'\t', b';', b','];

/// Row of a table.
#[derive(Clone, Debug, Default)]
pub(super) struct Line {
    /// Number of its first line, from 1.
    pub number: u64,
    /// Cells without blanks around them.
    pub cells: Vec<String>,
    /// True if a cell holds a line break. No name or value has one, so a quote was not closed.
    pub is_broken: bool,
}

/// Returns the rows of a table.
///
/// # Errors
/// A description of the problem, if the bytes are not UTF-8 text.
pub(super) fn lines(bytes: &[u8]) -> Result<Vec<Line>, String> {
    let text = std::str::from_utf8(bytes).map_err(|_| "not a table in UTF-8".to_owned())?;
    let text = text.trim_start_matches('\u{feff}');
    // Excel can be set to write its separator in a line of its own.
    let (named, text, before) = match text.strip_prefix("sep=") {
        Some(rest) => {
            let (separator, text) = rest.split_once('\n').unwrap_or((rest, ""));
            (separator.bytes().next(), text, 1)
        }
        None => (None, text, 0),
    };
    let separator = named.unwrap_or_else(|| separator(text));
    // The position of a record includes the blank lines before it.
    let number = |position: &csv::Position| {
        let rest = text.as_bytes().get(position.byte() as usize..).unwrap_or_default();
        let ends = rest.iter().take_while(|b| matches!(b, b'\r' | b'\n'));
        position.line() + before + ends.filter(|b| **b == b'\n').count() as u64
    };
    let line = |record: StringRecord| Line {
        number: record.position().map_or(0, number),
        is_broken: record.iter().any(|cell| cell.contains(['\n', '\r'])),
        cells: record.iter().map(|cell| cell.trim().to_owned()).collect(),
    };
    Ok(records(text, separator).map(line).collect())
}

fn records(text: &str, separator: u8) -> impl Iterator<Item = StringRecord> {
    let mut builder = ReaderBuilder::new();
    builder.has_headers(false).flexible(true).delimiter(separator);
    // Reading valid UTF-8 from memory does not fail.
    builder.from_reader(text.as_bytes()).into_records().map_while(Result::ok)
}

/// Returns the separator that gives the first row most cells. Separators that give the second row
/// as many are preferred, since a name may hold another separator.
fn separator(text: &str) -> u8 {
    let score = |&separator: &u8| {
        let mut rows = records(text, separator).map(|record| record.len());
        let (first, second) = (rows.next().unwrap_or(0), rows.next());
        (first > 1 && second.is_none_or(|second| second == first), first)
    };
    SEPARATORS.into_iter().max_by_key(score).unwrap_or(b',')
}

/// Parses the number in a cell; a decimal comma counts as a point.
fn number(cell: &str) -> Option<f64> {
    cell.replace(',', ".").parse().ok()
}

/// Returns true for 1, 0 and ?.
pub(super) fn is_number(cell: &str) -> bool {
    cell == "?" || matches!(number(cell), Some(x) if x == 0.0 || x == 1.0)
}

/// Returns the value of a cell; none if it is unknown.
///
/// # Errors
/// A description of what was expected and found.
pub(super) fn answer(cell: &str) -> Result<Option<bool>, String> {
    match cell.trim().to_ascii_lowercase().as_str() {
        "true" | "yes" => Ok(Some(true)),
        "false" | "no" => Ok(Some(false)),
        "" | "?" | "nan" | "na" | "n/a" => Ok(None),
        other => match number(other) {
            Some(1.0) => Ok(Some(true)),
            Some(0.0) => Ok(Some(false)),
            _ => Err(format!("{} where 1, 0 or ? is expected", quoted(cell))),
        },
    }
}
