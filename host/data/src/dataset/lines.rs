//! Reader of text lines of bounded length. A file without line ends must not fill the memory.

use std::{
    fs::File,
    io::{self, BufRead, BufReader, Read},
    path::Path,
};

use crate::{Error, Result};

/// Maximum length of a line, in bytes.
pub(super) const LINE_MAX: usize = 1 << 20;

/// Reader of lines without their ends, numbered from 1. A byte order mark is dropped.
pub(super) struct Lines {
    file: BufReader<File>,
    buffer: Vec<u8>,
    number: usize,
}

/// Line, or its length if it is too long.
pub(super) enum Line<'a> {
    Bytes(&'a [u8]),
    TooLong(u64),
}

impl Lines {
    pub(super) fn open(path: &Path) -> Result<Self> {
        let file = File::open(path).map_err(Error::io(path, "read"))?;
        Ok(Self { file: BufReader::with_capacity(1 << 16, file), buffer: Vec::new(), number: 0 })
    }

    /// Returns the next line and its number; `None` at the end.
    pub(super) fn next(&mut self) -> io::Result<Option<(usize, Line<'_>)>> {
        self.buffer.clear();
        let limit = LINE_MAX as u64 + 1;
        self.file.by_ref().take(limit).read_until(b'\n', &mut self.buffer)?;
        if self.buffer.is_empty() {
            return Ok(None);
        }
        self.number += 1;
        if self.buffer.len() > LINE_MAX && self.buffer.last() != Some(&b'\n') {
            let rest = self.skip_line()?;
            return Ok(Some((self.number, Line::TooLong(self.buffer.len() as u64 + rest))));
        }
        let mut line = self.buffer.as_slice();
        if self.number == 1 {
            line = line.strip_prefix(b"\xef\xbb\xbf").unwrap_or(line);
        }
        line = line.strip_suffix(b"\n").unwrap_or(line);
        line = line.strip_suffix(b"\r").unwrap_or(line);
        Ok(Some((self.number, Line::Bytes(line))))
    }

    /// Skips the rest of a line; returns its length in bytes.
    fn skip_line(&mut self) -> io::Result<u64> {
        let mut skipped = 0;
        loop {
            let available = self.file.fill_buf()?;
            if available.is_empty() {
                return Ok(skipped);
            }
            let end = available.iter().position(|&b| b == b'\n');
            let used = end.map_or(available.len(), |at| at + 1);
            self.file.consume(used);
            skipped += used as u64;
            if end.is_some() {
                return Ok(skipped);
            }
        }
    }
}

impl<'a> Line<'a> {
    /// Returns the text of the line.
    ///
    /// # Errors
    /// Description of the problem, if the line is too long or not UTF-8.
    pub(super) fn text(&self) -> Result<&'a str, String> {
        match *self {
            Self::Bytes(bytes) => {
                std::str::from_utf8(bytes).map_err(|e| format!("not UTF-8 text: {e}"))
            }
            Self::TooLong(length) => {
                Err(format!("a line of {length} bytes; at most {LINE_MAX} are expected"))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_bounded_and_numbered() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x");
        let mut text = b"\xef\xbb\xbfone\r\n\n".to_vec();
        text.extend(vec![b'x'; 3 * LINE_MAX]);
        text.extend(b"\nlast");
        std::fs::write(&path, text).unwrap();
        let mut lines = Lines::open(&path).unwrap();
        let mut found = Vec::new();
        while let Some((number, line)) = lines.next().unwrap() {
            found.push((number, line.text().map(str::to_owned).map_err(|e| e.len() > 10)));
        }
        let expected =
            [(1, Ok("one".into())), (2, Ok(String::new())), (3, Err(true)), (4, Ok("last".into()))];
        assert_eq!(found, expected);
    }
}
