//! Bytes of an audio file: a whole file, or a file inside an uncompressed archive.
//!
//! No bytes are read ahead, so memory does not grow with the length of the file.

use std::{
    fs::File,
    io::{self, Read, Seek, SeekFrom},
    path::Path,
    sync::{Arc, Mutex, PoisonError},
};

use symphonia::core::io::MediaSource;

use super::{Error, FileProblem, Member, Result};

/// Range of bytes of an open file.
pub(super) struct Source {
    file: File,
    start: u64,
    length: u64,
    position: u64,
    is_seekable: bool,
    failure: Failure,
}

/// First I/O error while a [`Source`] was read.
///
/// A decoder passes on its own errors only. This type separates a failing disk from a damaged file.
#[derive(Clone, Default)]
pub(super) struct Failure(Arc<Mutex<Option<io::Error>>>);

impl Failure {
    /// Returns the I/O error, if there was one, else `otherwise`.
    pub(super) fn or(&self, path: &Path, otherwise: Error) -> Error {
        match self.0.lock().unwrap_or_else(PoisonError::into_inner).take() {
            Some(source) => Error::io(path, "read")(source),
            None => otherwise,
        }
    }

    fn set(&self, error: &io::Error) {
        let copy = match error.raw_os_error() {
            Some(code) => io::Error::from_raw_os_error(code),
            None => io::Error::new(error.kind(), error.to_string()),
        };
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(copy);
    }
}

impl Source {
    /// Opens a regular file that is not empty, or a file inside it.
    ///
    /// # Errors
    /// [`Error::File`] for a folder, a device, a pipe, an empty file, or an archive that ends before
    /// the member does; an I/O error if the file cannot be read.
    pub(super) fn open(path: &Path, member: Option<&Member>) -> Result<Self> {
        let length = checked_length(path)?;
        let file = File::open(path).map_err(Error::io(path, "read"))?;
        let (start, length) = match member {
            None => (0, length),
            Some(member) => {
                let found = length.saturating_sub(member.offset).min(member.length);
                if found < member.length {
                    let expected = member.length;
                    return Err(FileProblem::ArchiveEnds { found, expected }.of(path));
                }
                if found == 0 {
                    return Err(FileProblem::EmptyMember.of(path));
                }
                (member.offset, found)
            }
        };
        let mut source = Self {
            file,
            start,
            length,
            position: 0,
            is_seekable: true,
            failure: Failure::default(),
        };
        source.rewind().map_err(Error::io(path, "read"))?;
        Ok(source)
    }

    /// Restricts the source to `length` bytes from `start` on, as if they were a file.
    pub(super) fn section(mut self, start: u64, length: u64) -> io::Result<Self> {
        let start = start.min(self.length);
        self.length = (self.length - start).min(length);
        self.start += start;
        self.rewind()?;
        Ok(self)
    }

    /// Opens the same bytes again, with a position of its own at their start.
    pub(super) fn again(&self, path: &Path) -> Result<Self> {
        let file = File::open(path).map_err(Error::io(path, "read"))?;
        let (start, length) = (self.start, self.length);
        let failure = self.failure.clone();
        let mut again = Self { file, start, length, position: 0, is_seekable: true, failure };
        again.rewind().map_err(Error::io(path, "read"))?;
        Ok(again)
    }

    /// Returns the same bytes as a stream of unknown length.
    pub(super) fn unseekable(self) -> Self {
        Self { is_seekable: false, ..self }
    }

    pub(super) fn length(&self) -> u64 {
        self.length
    }

    pub(super) fn failure(&self) -> Failure {
        self.failure.clone()
    }
}

/// Returns the length of a regular file that is not empty. Anything else could block or never end.
fn checked_length(path: &Path) -> Result<u64> {
    let metadata = std::fs::metadata(path).map_err(Error::io(path, "read"))?;
    if metadata.is_dir() {
        return Err(FileProblem::IsFolder.of(path));
    }
    if !metadata.is_file() {
        return Err(FileProblem::IsDevice.of(path));
    }
    if metadata.len() == 0 {
        return Err(FileProblem::Empty.of(path));
    }
    Ok(metadata.len())
}

impl Read for Source {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let left = self.length.saturating_sub(self.position);
        let wanted = usize::try_from(left).unwrap_or(usize::MAX).min(buffer.len());
        if wanted == 0 {
            return Ok(0);
        }
        match self.file.read(&mut buffer[..wanted]) {
            Ok(read) => {
                self.position += read as u64;
                Ok(read)
            }
            Err(error) => {
                if error.kind() != io::ErrorKind::Interrupted {
                    self.failure.set(&error);
                }
                Err(error)
            }
        }
    }
}

impl Seek for Source {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let target = match to {
            SeekFrom::Start(at) => Some(at),
            SeekFrom::Current(by) => self.position.checked_add_signed(by),
            SeekFrom::End(by) => self.length.checked_add_signed(by),
        };
        let before = || io::Error::new(io::ErrorKind::InvalidInput, "a seek before the start");
        let target = target.ok_or_else(before)?;
        let absolute = self.start.checked_add(target).ok_or_else(before)?;
        self.file.seek(SeekFrom::Start(absolute)).inspect_err(|error| self.failure.set(error))?;
        self.position = target;
        Ok(target)
    }
}

impl MediaSource for Source {
    fn is_seekable(&self) -> bool {
        self.is_seekable
    }

    fn byte_len(&self) -> Option<u64> {
        self.is_seekable.then_some(self.length)
    }
}
