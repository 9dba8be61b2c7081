//! Download, verification and unpacking of an archive. Completed stages are kept, so repeating the
//! call resumes where it stopped.

use std::{
    fs::File,
    io::Read,
    path::{Path, PathBuf},
};

use md5::Md5;
use sha2::{Digest, Sha256};

use super::unpack::{Unpacked, unpack};
use crate::remote::{self, hex};
use crate::{Error, Result};
use wakeling_core::{files, progress::progress_bar};

/// Expected checksum of an archive, as hexadecimal digits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Checksum {
    /// SHA-256.
    Sha256(String),
    /// MD5, which detects transmission errors but not manipulation.
    Md5(String),
}

impl Checksum {
    /// Compares the checksum of a file with this one.
    ///
    /// # Errors
    /// [`Error::Checksum`] if they differ; [`Error::Core`] if the file cannot be read.
    pub fn compare(&self, path: &Path) -> Result<()> {
        let (kind, expected, found) = match self {
            Self::Sha256(expected) => ("SHA-256", expected, digest::<Sha256>(path)?),
            Self::Md5(expected) => ("MD5", expected, digest::<Md5>(path)?),
        };
        if found.eq_ignore_ascii_case(expected.trim()) {
            return Ok(());
        }
        let (path, expected) = (path.to_owned(), expected.clone());
        Err(Error::Checksum { path, kind, found, expected })
    }
}

fn digest<D: Digest>(path: &Path) -> Result<String> {
    let mut file = File::open(path).map_err(Error::io(path, "read"))?;
    let mut digest = D::new();
    let mut buffer = vec![0; 1 << 18];
    loop {
        let read = file.read(&mut buffer).map_err(Error::io(path, "read"))?;
        if read == 0 {
            return Ok(hex(&digest.finalize()));
        }
        digest.update(&buffer[..read]);
    }
}

/// Request to fetch an archive.
#[derive(Clone, Debug)]
pub struct Fetch {
    /// Address, or path of a local archive.
    pub from: PathBuf,
    /// Folder in which the archive's own folder is created.
    pub folder: PathBuf,
    /// Expected checksum, if any.
    pub checksum: Option<Checksum>,
    /// Keeps the archive after it was unpacked. A local archive is always kept.
    pub keep: bool,
}

impl Fetch {
    /// Downloads, verifies and unpacks the archive. Returns the folder of the dataset, and a
    /// summary of the unpacked files unless the folder existed already.
    ///
    /// # Errors
    /// Those of [`remote::download`], [`Checksum::compare`] and [`unpack`].
    pub fn run(&self) -> Result<(PathBuf, Option<Unpacked>)> {
        let name = archive_name(&self.from)?;
        let target = self.folder.join(stem(&name));
        if target.is_dir() {
            return Ok((only_folder(target), None));
        }
        let _claim = files::claim(&self.folder)?;
        let fetched = remote::is_url(&self.from);
        let archive = if fetched { self.folder.join(&name) } else { self.from.clone() };
        if fetched && !archive.exists() {
            download(&self.from, &archive)?;
        }
        if let Some(checksum) = &self.checksum {
            checksum.compare(&archive)?;
        }
        let unpacked = unpack(&archive, &target)?;
        if fetched && !self.keep {
            std::fs::remove_file(&archive).map_err(Error::io(&archive, "remove"))?;
        }
        Ok((only_folder(target), Some(unpacked)))
    }
}

/// Descends while a folder contains a single folder and nothing else, as many archives do. Returns
/// the innermost folder, which holds the dataset.
fn only_folder(mut folder: PathBuf) -> PathBuf {
    loop {
        let Ok(entries) = std::fs::read_dir(&folder) else { return folder };
        let mut paths = entries.flatten().map(|entry| entry.path());
        match (paths.next(), paths.next()) {
            (Some(only), None) if only.is_dir() => folder = only,
            _ => return folder,
        }
    }
}

fn download(from: &Path, archive: &Path) -> Result<()> {
    const BYTES_A_TICK: u64 = 1 << 20;
    let bar = progress_bar(0, "MiB");
    remote::download(&from.to_string_lossy(), archive, &mut |done, total| {
        if let Some(total) = total {
            bar.set_length(total.div_ceil(BYTES_A_TICK));
        }
        bar.set_position(done / BYTES_A_TICK);
    })?;
    bar.finish_and_clear();
    Ok(())
}

/// Returns the last part of an address or a path.
fn archive_name(from: &Path) -> Result<String> {
    let text = from.to_string_lossy();
    let path = if remote::is_url(from) {
        text.split(['?', '#']).next().unwrap_or_default()
    } else {
        &text
    };
    let name = path.rsplit(['/', '\\']).next().unwrap_or_default();
    if stem(name).trim_matches('.').is_empty() {
        return Err(Error::NoArchiveName { path: from.to_owned() });
    }
    Ok(name.to_owned())
}

fn stem(name: &str) -> &str {
    let endings = [".tar.gz", ".tgz", ".tar", ".zip"];
    endings.iter().find_map(|ending| name.strip_suffix(ending)).unwrap_or(
        match name.rsplit_once('.') {
            Some((stem, _)) => stem,
            None => name,
        },
    )
}
