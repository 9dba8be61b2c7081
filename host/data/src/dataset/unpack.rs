//! Unpacking of untrusted archives: tar, tar.gz and zip.
//!
//! Only files and folders are created. All of them are below the target, never behind a link, and
//! never replace an existing file. An archive that violates this is rejected as a whole, because it
//! is damaged or hostile. Links in an archive are skipped and reported. Permissions and owners are
//! not applied. The files are written to a temporary folder beside the target, which is renamed
//! when it is complete.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, BufReader, Read, Seek},
    path::{Component, Path, PathBuf},
};

use flate2::bufread::MultiGzDecoder;

use super::Skipped;
use crate::{Error, Result};

/// Summary of an unpacked archive.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Unpacked {
    /// Number of files written.
    pub files: u64,
    /// Total size of the files, in bytes.
    pub bytes: u64,
    /// Entries that were left out.
    pub skipped: Vec<Skipped>,
}

/// Unpacks `archive` into the folder `target`, which must not exist yet.
///
/// # Errors
/// [`Error::ArchiveFormat`] if the format is not supported; others if the archive is damaged or truncated, if an
/// entry is outside the target, or if `target` exists; [`Error::Core`] if reading or writing fails.
/// `target` does not exist after an error, unless it existed before.
pub fn unpack(archive: &Path, target: &Path) -> Result<Unpacked> {
    if target.symlink_metadata().is_ok() {
        return Err(Error::TargetExists { path: target.to_owned() });
    }
    let mut name = target.as_os_str().to_owned();
    name.push(".unpacking");
    let staging = PathBuf::from(name);
    if staging.symlink_metadata().is_ok_and(|m| m.is_dir()) {
        // The folder remains from a process that was killed. Only this function uses this name.
        fs::remove_dir_all(&staging).map_err(Error::io(&staging, "remove"))?;
    }
    fs::create_dir_all(&staging).map_err(Error::io(&staging, "create"))?;
    let result = fill(archive, &staging);
    if result.is_err() {
        // The first error is reported, so an error of the removal is ignored.
        let _ = fs::remove_dir_all(&staging);
    }
    let unpacked = result?;
    fs::rename(&staging, target).map_err(Error::io(target, "create"))?;
    Ok(unpacked)
}

fn fill(archive: &Path, folder: &Path) -> Result<Unpacked> {
    let mut file = File::open(archive).map_err(Error::io(archive, "read"))?;
    let mut magic = Vec::new();
    (&mut file).take(512).read_to_end(&mut magic).map_err(Error::io(archive, "read"))?;
    file.rewind().map_err(Error::io(archive, "read"))?;
    let file = BufReader::with_capacity(1 << 16, file);
    let mut into = Folder { archive, root: folder, unpacked: Unpacked::default() };
    match magic.as_slice() {
        [0x1f, 0x8b, ..] => into.tar(MultiGzDecoder::new(file))?,
        [b'P', b'K', 3..=8, ..] => into.zip(file)?,
        magic if magic.get(257..262) == Some(b"ustar") => into.tar(file)?,
        _ => return Err(Error::ArchiveFormat { path: archive.to_owned() }),
    }
    Ok(into.unpacked)
}

/// Archive and the folder that it is unpacked into.
struct Folder<'a> {
    archive: &'a Path,
    root: &'a Path,
    unpacked: Unpacked,
}

impl Folder<'_> {
    fn damaged(&self, e: impl std::fmt::Display) -> Error {
        self.refused(format!("damaged or cut off: {e}"))
    }

    fn refused(&self, problem: String) -> Error {
        Error::DamagedArchive { path: self.archive.to_owned(), problem }
    }

    fn tar(&mut self, content: impl Read) -> Result<()> {
        let mut archive = tar::Archive::new(content);
        let entries = archive.entries().map_err(|e| self.damaged(e))?;
        for entry in entries {
            let mut entry = entry.map_err(|e| self.damaged(e))?;
            let name = String::from_utf8_lossy(&entry.path_bytes()).into_owned();
            let kind = entry.header().entry_type();
            if kind.is_dir() {
                self.folder(&name)?;
            } else if kind.is_file() {
                let length = entry.size();
                self.file(&name, length, &mut entry)?;
            } else if kind.is_pax_global_extensions() {
                continue;
            } else {
                self.skip(&name);
            }
        }
        // A tar that is truncated between two files looks complete. A truncated gzip stream does
        // not, but its checksum is read only at its very end.
        let mut rest = archive.into_inner();
        match io::copy(&mut rest, &mut io::sink()) {
            // Bytes after the last gzip member are padding, as on tapes.
            Err(e) if e.kind() != io::ErrorKind::InvalidInput => Err(self.damaged(e)),
            _ => Ok(()),
        }
    }

    fn zip(&mut self, file: BufReader<File>) -> Result<()> {
        let mut archive = zip::ZipArchive::new(file).map_err(|e| self.damaged(e))?;
        for index in 0..archive.len() {
            let mut entry = archive
                .by_index(index)
                .map_err(|e| self.refused(format!("entry {index} cannot be read: {e}")))?;
            let name = entry.name().map_err(|e| self.damaged(e))?.into_owned();
            if entry.is_dir() {
                self.folder(&name)?;
            } else if entry.is_symlink() {
                self.skip(&name);
            } else {
                let length = entry.size();
                self.file(&name, length, &mut entry)?;
            }
        }
        Ok(())
    }

    fn skip(&mut self, name: &str) {
        let reason = format!("{name}: a link or a device, left out");
        self.unpacked.skipped.push(Skipped::new(self.archive, reason));
    }

    /// Returns the path of an entry below the root.
    ///
    /// # Errors
    /// [`Error::HostileArchive`] if the name leads outside the root.
    fn place(&self, name: &str) -> Result<PathBuf> {
        let hostile =
            || Error::HostileArchive { path: self.archive.to_owned(), name: name.to_owned() };
        let mut place = self.root.to_path_buf();
        for component in Path::new(name).components() {
            match component {
                Component::Normal(part) if !part.as_encoded_bytes().contains(&b'\\') => {
                    place.push(part);
                }
                Component::CurDir => {}
                _ => return Err(hostile()),
            }
        }
        if name.contains('\0') {
            return Err(hostile());
        }
        Ok(place)
    }

    fn folder(&self, name: &str) -> Result<()> {
        let place = self.place(name)?;
        fs::create_dir_all(&place).map_err(Error::io(&place, "create"))
    }

    fn file(&mut self, name: &str, length: u64, content: &mut impl Read) -> Result<()> {
        let place = self.place(name)?;
        if let Some(folder) = place.parent() {
            fs::create_dir_all(folder).map_err(Error::io(folder, "create"))?;
        }
        let file = OpenOptions::new().write(true).create_new(true).open(&place);
        let mut file = file.map_err(|e| match e.kind() {
            io::ErrorKind::AlreadyExists => self.refused(format!("{name} is in it twice")),
            _ => Error::io(&place, "create")(e),
        })?;
        let mut buffer = vec![0; 1 << 16];
        let mut written = 0;
        loop {
            let read = content.read(&mut buffer).map_err(|e| self.damaged(e))?;
            if read == 0 {
                break;
            }
            io::Write::write_all(&mut file, &buffer[..read]).map_err(Error::io(&place, "write"))?;
            written += read as u64;
        }
        if written != length {
            return Err(self.damaged(format!("{name}: {written} of {length} bytes")));
        }
        self.unpacked.files += 1;
        self.unpacked.bytes += written;
        Ok(())
    }
}
