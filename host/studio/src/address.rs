//! Port and token of the last start, so that a page finds the program again after it was killed.
//!
//! They are in a file that only its user can read. A token is used again only on its own port, and
//! only if the last program used it within the last [`FRESH`]: after that, another user may have
//! taken the port, to whom a page that is still open would send the token.

use std::{
    fs,
    io::{self, Write},
    net::{Ipv4Addr, TcpListener},
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

use serde::{Deserialize, Serialize};
use wakeling_core::cache;
use wakeling_data::text::hash;

use crate::{Error, Result, places::Places};

/// Time after which a token is not used again.
const FRESH: Duration = Duration::from_secs(3_600);
/// Number of hexadecimal digits of a token.
const DIGITS: usize = 32;

/// Port and token of a start.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Address {
    port: u16,
    token: String,
}

/// File of the last start for the same folders of recordings and models.
#[derive(Clone, Debug)]
pub struct Memory(Option<PathBuf>);

impl Memory {
    /// Remembers nothing.
    pub fn none() -> Self {
        Self(None)
    }

    /// Uses a file in the cache. Without a cache, nothing is remembered.
    pub fn of(places: &Places) -> Self {
        Self(cache::folder("studio").map(|folder| Self::within(&folder, places)))
    }

    /// Returns the path of the file in a folder.
    pub(super) fn within(folder: &Path, places: &Places) -> PathBuf {
        let whole = |path: &Path| std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
        let key =
            format!("{}\n{}", whole(&places.recordings).display(), whole(&places.runs).display());
        folder.join(format!("{:016x}.json", hash(&key)))
    }

    #[cfg(test)]
    pub(super) fn at(path: PathBuf) -> Self {
        Self(Some(path))
    }

    /// Opens the port, or for 0 that of the last start, or else a free one. Returns it with its
    /// token, and remembers both.
    ///
    /// # Errors
    /// [`Error::Core`] if the port is taken.
    pub fn listen(&self, port: u16) -> Result<(TcpListener, String)> {
        let last = self.read();
        let wanted = if port == 0 { last.as_ref().map_or(0, |last| last.port) } else { port };
        let bind = |port| TcpListener::bind((Ipv4Addr::LOCALHOST, port));
        let bound = match bind(wanted) {
            Err(_) if port == 0 && wanted != 0 => bind(0),
            bound => bound,
        };
        let listener = bound.map_err(Error::io(format!("127.0.0.1:{wanted}"), "listen at"))?;
        let found = listener.local_addr().map_err(Error::io("127.0.0.1", "listen at"))?.port();
        let token = match last {
            Some(last) if last.port == found => last.token,
            _ => new_token()?,
        };
        self.write(&Address { port: found, token: token.clone() });
        Ok((listener, token))
    }

    /// Marks the address as in use.
    pub fn touch(&self) {
        let Some(path) = &self.0 else { return };
        // If that fails, the next start has another token.
        let _ = fs::File::options()
            .append(true)
            .open(path)
            .and_then(|file| file.set_modified(SystemTime::now()));
    }

    /// Reads the address of the last start; `None` if it is absent, old or damaged, or if others can
    /// read it.
    fn read(&self) -> Option<Address> {
        let path = self.0.as_ref()?;
        let metadata = fs::symlink_metadata(path).ok().filter(fs::Metadata::is_file)?;
        if !is_private(&metadata) {
            log::warn!("{}: others can read it, so its token is not used again", path.display());
            return None;
        }
        let age = SystemTime::now().duration_since(metadata.modified().ok()?).ok()?;
        let address: Address = serde_json::from_slice(&fs::read(path).ok()?).ok()?;
        let is_token =
            address.token.len() == DIGITS && address.token.bytes().all(|b| b.is_ascii_hexdigit());
        (age < FRESH && is_token && address.port != 0).then_some(address)
    }

    /// Writes the address. A failure is logged: the next start then has another one.
    fn write(&self, address: &Address) {
        let Some(path) = &self.0 else { return };
        let write = || -> io::Result<()> {
            let folder = path.parent().unwrap_or(Path::new("."));
            fs::create_dir_all(folder)?;
            // A file that others could read may also be open there.
            match fs::remove_file(path) {
                Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(e),
                _ => {}
            }
            let mut options = fs::OpenOptions::new();
            options.write(true).create_new(true);
            #[cfg(unix)]
            std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
            options.open(path)?.write_all(&serde_json::to_vec(address)?)
        };
        if let Err(error) = write() {
            log::info!("{}: the address is not kept: {error}", path.display());
        }
    }
}

#[cfg(unix)]
fn is_private(metadata: &fs::Metadata) -> bool {
    std::os::unix::fs::MetadataExt::mode(metadata) & 0o077 == 0
}

/// The folder of the user's data has no other readers there.
#[cfg(not(unix))]
fn is_private(_: &fs::Metadata) -> bool {
    true
}

/// Returns a new random token.
fn new_token() -> Result<String> {
    let mut random = [0; DIGITS / 2];
    getrandom::fill(&mut random)
        .map_err(|e| Error::io("random numbers", "read")(io::Error::other(e)))?;
    Ok(format!("{:032x}", u128::from_ne_bytes(random)))
}
