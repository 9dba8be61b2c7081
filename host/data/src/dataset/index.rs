//! Dataset index: a file that lists clips, of any length, with random access.
//!
//! A dataset is scanned once. Each clip becomes one JSON line, whatever its source, with the fields
//! that a caller adds. From then on the order, the number and the labels of the clips are fixed, so
//! a run can be resumed at any of them. Memory holds one [`Chunk`] per 64 clips. It takes 28 bytes
//! with its group, or 3 MB for 7 million clips (10,000 hours).
//!
//! Chunks ([`Chunk`]) are the unit of shuffling and reading. The chunks of one remote shard belong
//! to one [group](DatasetIndex::groups), so the shard is fetched once per epoch. A line that begins with
//! `#` starts a group.

use std::{
    fs::File,
    io::{self, BufRead, BufReader, Seek, SeekFrom, Write},
    ops::Range,
    path::{Path, PathBuf},
};

use serde::{Serialize, de::DeserializeOwned};

use crate::{Error, Result};
use wakeling_core::files::write_atomic_with;

/// Number of clips per chunk.
pub const CHUNK_CLIPS: usize = 64;

/// Chunk of consecutive lines of the index.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Chunk {
    /// Byte offset of the first line.
    offset: u64,
    /// Number of clips before this chunk.
    pub first: u64,
    /// Number of clips in this chunk.
    pub clips: u32,
}

/// Dataset index on the disk.
#[derive(Debug)]
pub struct DatasetIndex {
    path: PathBuf,
    chunks: Vec<Chunk>,
    /// First chunk of every group.
    groups: Vec<u32>,
    clips: u64,
}

/// Writer of an index.
pub struct Writer<'a> {
    out: &'a mut dyn Write,
    failure: Option<io::Error>,
    group: String,
}

impl Writer<'_> {
    /// Adds a clip. `group` is the key of clips that must be read together, or empty.
    pub fn add(&mut self, group: &str, entry: &impl Serialize) {
        if self.failure.is_some() {
            return;
        }
        let mut write = || -> io::Result<()> {
            if group != self.group {
                writeln!(self.out, "# {group}")?;
            }
            serde_json::to_writer(&mut *self.out, entry)?;
            self.out.write_all(b"\n")
        };
        self.failure = write().err();
        group.clone_into(&mut self.group);
    }
}

impl DatasetIndex {
    /// Writes an index atomically, and opens it. `fill` adds its lines.
    ///
    /// # Errors
    /// The error of `fill`, or [`Error::Core`] if writing fails. An earlier file at `path` is then
    /// unchanged.
    pub fn write(path: &Path, fill: impl FnOnce(&mut Writer<'_>) -> Result<()>) -> Result<Self> {
        let mut failure = None;
        let written = write_atomic_with(path, |out| {
            let mut writer = Writer { out, failure: None, group: String::new() };
            if let Err(error) = fill(&mut writer) {
                failure = Some(error);
                return Err(io::Error::other("stopped"));
            }
            writer.failure.map_or(Ok(()), Err)
        });
        match failure {
            Some(error) => return Err(error),
            None => written?,
        }
        Self::open(path)
    }

    /// Opens an existing index.
    ///
    /// # Errors
    /// [`Error::Core`] if it cannot be read.
    pub fn open(path: &Path) -> Result<Self> {
        let file = File::open(path).map_err(Error::io(path, "read"))?;
        let mut file = BufReader::with_capacity(1 << 18, file);
        let (mut chunks, mut groups): (Vec<Chunk>, Vec<u32>) = (Vec::new(), Vec::new());
        let (mut offset, mut clips, mut cut) = (0, 0u64, true);
        let mut in_group = false;
        loop {
            let (length, first) = pass_line(&mut file).map_err(Error::io(path, "read"))?;
            if length == 0 {
                break;
            }
            match (first, chunks.last_mut()) {
                (b'#', _) => {
                    cut = true;
                    // "# " alone ends a group.
                    in_group = length > 3;
                }
                (_, Some(chunk)) if !cut && (chunk.clips as usize) < CHUNK_CLIPS => {
                    chunk.clips += 1;
                    clips += 1;
                }
                _ => {
                    if cut || !in_group {
                        groups.push(chunks.len() as u32);
                    }
                    chunks.push(Chunk { offset, first: clips, clips: 1 });
                    cut = false;
                    clips += 1;
                }
            }
            offset += length;
        }
        Ok(Self { path: path.to_owned(), chunks, groups, clips })
    }

    /// Returns the part of the index for `worker` of `workers`. Groups are distributed in turn, so
    /// clips that must be read together stay together. If there are fewer groups than workers,
    /// chunks are distributed instead. If there are fewer chunks than workers, every worker gets
    /// the whole index.
    pub fn part(&self, worker: usize, workers: usize) -> Self {
        let falls = |number: usize| number % workers.max(1) == worker;
        let (mut chunks, mut groups) = (Vec::new(), Vec::new());
        let mut add = |range: Range<usize>| {
            groups.push(chunks.len() as u32);
            chunks.extend_from_slice(&self.chunks[range]);
        };
        if self.groups.len() >= workers {
            self.groups().enumerate().filter(|(i, _)| falls(*i)).for_each(|(_, range)| add(range));
        } else if self.chunks.len() >= workers {
            (0..self.chunks.len()).filter(|&i| falls(i)).for_each(|i| add(i..i + 1));
        } else {
            self.groups().for_each(add);
        }
        let clips = chunks.iter().map(|chunk| u64::from(chunk.clips)).sum();
        Self { path: self.path.clone(), chunks, groups, clips }
    }

    /// Returns the path of the file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Number of clips in the index.
    pub fn clips(&self) -> u64 {
        self.clips
    }

    /// Returns the chunks, in the order of the index.
    pub fn chunks(&self) -> &[Chunk] {
        &self.chunks
    }

    /// Returns the ranges of chunks that should be read together.
    pub fn groups(&self) -> impl ExactSizeIterator<Item = Range<usize>> {
        (0..self.groups.len()).map(|i| {
            let end = self.groups.get(i + 1).map_or(self.chunks.len(), |&next| next as usize);
            self.groups[i] as usize..end
        })
    }

    /// Reads the clips of a chunk.
    ///
    /// # Errors
    /// [`Error::Core`] if the index cannot be read; [`Error::IndexChanged`] if it was changed.
    pub fn read<T: DeserializeOwned>(&self, chunk: Chunk) -> Result<Vec<T>> {
        let read = || -> io::Result<Vec<T>> {
            let mut file = File::open(&self.path)?;
            file.seek(SeekFrom::Start(chunk.offset))?;
            let lines = BufReader::with_capacity(1 << 15, file).lines().take(chunk.clips as usize);
            let entry = |line: io::Result<String>| Ok(serde_json::from_str(&line?)?);
            lines.map(entry).collect()
        };
        let entries = read().map_err(|e| self.changed(e))?;
        if entries.len() != chunk.clips as usize {
            return Err(self.changed(io::ErrorKind::UnexpectedEof.into()));
        }
        Ok(entries)
    }

    fn changed(&self, e: io::Error) -> Error {
        match e.kind() {
            io::ErrorKind::InvalidData | io::ErrorKind::UnexpectedEof => {
                Error::IndexChanged { path: self.path.clone(), source: e }
            }
            _ => Error::io(&self.path, "read")(e),
        }
    }

    /// Passes the clips of every chunk to `take`, in order.
    ///
    /// # Errors
    /// As [`DatasetIndex::read`], and the errors of `take`.
    pub fn for_each<T: DeserializeOwned>(
        &self,
        mut take: impl FnMut(Vec<T>) -> Result<()>,
    ) -> Result<()> {
        self.chunks.iter().try_for_each(|chunk| take(self.read(*chunk)?))
    }
}

/// Skips one line; returns its length and its first byte.
fn pass_line(file: &mut impl BufRead) -> io::Result<(u64, u8)> {
    let (mut length, mut first) = (0, None);
    loop {
        let available = file.fill_buf()?;
        if available.is_empty() {
            return Ok((length, first.unwrap_or(0)));
        }
        first.get_or_insert(available[0]);
        let end = available.iter().position(|&b| b == b'\n');
        let used = end.map_or(available.len(), |at| at + 1);
        file.consume(used);
        length += used as u64;
        if end.is_some() {
            return Ok((length, first.unwrap_or(0)));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(path: &Path, groups: &[(&str, u32)]) -> DatasetIndex {
        DatasetIndex::write(path, |writer| {
            let mut number = 0;
            for (group, count) in groups {
                for _ in 0..*count {
                    writer.add(group, &number);
                    number += 1;
                }
            }
            Ok(())
        })
        .unwrap()
    }

    #[test]
    fn blocks_and_groups_cover_every_clip_once() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("list");
        let index = list(&path, &[("", 130), ("s3://a", 100), ("s3://b", 1), ("", 65)]);
        assert_eq!(index.clips(), 296);
        let mut all: Vec<u32> = Vec::new();
        index
            .for_each(|clips| {
                all.extend::<Vec<u32>>(clips);
                Ok(())
            })
            .unwrap();
        assert_eq!(all, (0..296).collect::<Vec<_>>());
        let sizes: Vec<u32> = index.chunks().iter().map(|b| b.clips).collect();
        assert_eq!(sizes, [64, 64, 2, 64, 36, 1, 64, 1]);
        let groups: Vec<_> = index.groups().collect();
        assert_eq!(groups, [0..1, 1..2, 2..3, 3..5, 5..6, 6..7, 7..8]);
        assert_eq!(index.read::<u32>(index.chunks()[5]).unwrap(), [230]);
        assert_eq!(index.chunks()[5].first, 230);
    }

    #[test]
    fn parts_cover_every_clip_once() {
        let dir = tempfile::tempdir().unwrap();
        let groups = [("", 130), ("s3://a", 100), ("s3://b", 1), ("", 65)];
        let index = list(&dir.path().join("list"), &groups);
        for workers in 1..=8 {
            let parts: Vec<DatasetIndex> = (0..workers).map(|w| index.part(w, workers)).collect();
            assert_eq!(parts.iter().map(DatasetIndex::clips).sum::<u64>(), 296);
            let mut all: Vec<u32> = Vec::new();
            for chunk in parts.iter().flat_map(DatasetIndex::chunks) {
                all.extend::<Vec<u32>>(index.read(*chunk).unwrap());
            }
            all.sort_unstable();
            assert_eq!(all, (0..296).collect::<Vec<_>>());
            let whole: Vec<_> = index.groups().collect();
            let grouped: Vec<_> = parts.iter().flat_map(DatasetIndex::groups).collect();
            assert!(workers > whole.len() || grouped.len() == whole.len());
        }
        assert!((0..9).all(|w| index.part(w, 9).clips() == 296));
    }

    #[test]
    fn a_list_that_was_changed_or_could_not_be_written_is_an_error() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("list");
        let index = list(&path, &[("", 100)]);
        let text = std::fs::read(&path).unwrap();
        std::fs::write(&path, &text[..text.len() - 10]).unwrap();
        let error = index.read::<u32>(index.chunks()[1]).unwrap_err().to_string();
        assert!(error.contains("changed"), "{error}");
        assert!(DatasetIndex::write(&path, |_| Err(Error::defect("no"))).is_err());
        assert_eq!(std::fs::read(&path).unwrap().len(), text.len() - 10);
        assert_eq!(list(&path, &[]).clips(), 0);
    }
}
