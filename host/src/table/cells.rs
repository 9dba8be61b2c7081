//! Text to cells, and cells to values.

use csv::{ReaderBuilder, StringRecord};

use crate::text::quoted;

/// What may separate cells, the likeliest last.
const SEPARATORS: [u8; 3] = [b'\t', b';', b','];

/// A row of a table.
#[derive(Clone, Debug, Default)]
pub(super) struct Line {
    /// Number of the line at which it begins, from 1.
    pub number: u64,
    /// Its cells without blanks around them.
    pub cells: Vec<String>,
    /// A cell holds a line break, which no name or value has: a quote was not closed.
    pub is_broken: bool,
}

/// Returns the rows of a table.
///
/// # Errors
/// The problem, if the bytes are no text in UTF-8.
pub(super) fn lines(bytes: &[u8]) -> Result<Vec<Line>, String> {
    let text = std::str::from_utf8(bytes).map_err(|_| "not a table in UTF-8".to_owned())?;
    let text = text.trim_start_matches('\u{feff}');
    // Excel writes its separator in a line of its own, if it is told to.
    let (named, text, before) = match text.strip_prefix("sep=") {
        Some(rest) => {
            let (separator, text) = rest.split_once('\n').unwrap_or((rest, ""));
            (separator.bytes().next(), text, 1)
        }
        None => (None, text, 0),
    };
    let separator = named.unwrap_or_else(|| separator(text));
    // A record is said to begin at the blank lines before it.
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
    // Reading memory that is known to be UTF-8 does not fail.
    builder.from_reader(text.as_bytes()).into_records().map_while(Result::ok)
}

/// Returns the separator that gives the first row most cells; one with which the second row has as
/// many is preferred, since a name may hold another separator.
fn separator(text: &str) -> u8 {
    let score = |&separator: &u8| {
        let mut rows = records(text, separator).map(|record| record.len());
        let (first, second) = (rows.next().unwrap_or(0), rows.next());
        (first > 1 && second.is_none_or(|second| second == first), first)
    };
    SEPARATORS.into_iter().max_by_key(score).unwrap_or(b',')
}

/// Returns the number in a cell; decimal commas count as points.
fn number(cell: &str) -> Option<f64> {
    cell.replace(',', ".").parse().ok()
}

/// Returns true for 1, 0 and ?.
pub(super) fn is_number(cell: &str) -> bool {
    cell == "?" || matches!(number(cell), Some(x) if x == 0.0 || x == 1.0)
}

/// Returns the value of a cell; none where it is not known.
///
/// # Errors
/// What was expected and what was found.
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
