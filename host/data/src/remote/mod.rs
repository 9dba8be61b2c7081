//! Files at `http(s)://` and `s3://`: lists them, and fetches them into a cache on the local disk.
//!
//! A shard is fetched completely before it is read. Otherwise the data of a training run would
//! depend on the state of the connection. The cache is in `WAKELING_CACHE` (or the user's cache
//! folder) and holds `WAKELING_CACHE_GB` (20 by default). The least recently used files are removed
//! first. Several processes may share it.

#[cfg(not(feature = "remote"))]
mod absent;
#[cfg(feature = "remote")]
mod download;
#[cfg(feature = "remote")]
mod s3;

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

use sha2::{Digest, Sha256};

#[cfg(not(feature = "remote"))]
use absent as s3;
#[cfg(not(feature = "remote"))]
pub use absent::{Watch, download};
#[cfg(feature = "remote")]
pub use download::{Watch, download};

use crate::{Error, Result};

const CACHE_GB_DEFAULT: f64 = 20.0;
/// Minimum time between two updates of a cached file's time stamp.
const TOUCH_EVERY: Duration = Duration::from_secs(60);

/// Returns `true` if a path is a remote address.
pub fn is_url(path: &Path) -> bool {
    let path = path.as_os_str().as_encoded_bytes();
    [&b"http://"[..], b"https://", b"s3://"].iter().any(|scheme| path.starts_with(scheme))
}

/// Lists the files at an address: the address itself if it ends in `suffix`; else, for `s3://`, all
/// files below it that do, sorted.
///
/// # Errors
/// [`Error::NoListOfFiles`] for an `http(s)://` address with another ending, since a web server has no
/// list; [`Error::Core`] if the server cannot be reached.
pub fn list(url: &Path, suffix: &str) -> Result<Vec<PathBuf>> {
    let text = url.to_string_lossy();
    if text.split(['?', '#']).next().is_some_and(|path| path.ends_with(suffix)) {
        return Ok(vec![url.to_path_buf()]);
    }
    if s3::is_address(&text) {
        return s3::list(&text, suffix);
    }
    Err(Error::NoListOfFiles { path: url.to_owned(), suffix: suffix.to_owned() })
}

/// Returns the local path of a file. A remote file is fetched into the cache first; any other path
/// is returned unchanged.
///
/// # Errors
/// [`Error::Core`] if it cannot be fetched (its kind is `NotFound` if there is no such file), or if
/// the disk is full.
pub fn local(path: &Path) -> Result<PathBuf> {
    if !is_url(path) {
        return Ok(path.to_path_buf());
    }
    let folder = cache_folder()?;
    let cached = folder.join(cache_name(&path.to_string_lossy()));
    if touch(&cached) {
        return Ok(cached);
    }
    fs::create_dir_all(&folder).map_err(Error::io(&folder, "create"))?;
    // One fetch at a time, across threads and processes; the next one then finds the file.
    let lock_path = cached.with_extension("lock");
    let lock = File::create(&lock_path).map_err(Error::io(&lock_path, "create"))?;
    lock.lock().map_err(Error::io(&lock_path, "lock"))?;
    if !touch(&cached) {
        make_room(&folder, cache_bytes());
        download(&path.to_string_lossy(), &cached, &mut |_, _| {})?;
    }
    Ok(cached)
}

fn cache_folder() -> Result<PathBuf> {
    wakeling_core::cache::folder("shards").ok_or(Error::NoCacheFolder)
}

fn cache_bytes() -> u64 {
    let set = std::env::var("WAKELING_CACHE_GB").ok().and_then(|v| v.parse::<f64>().ok());
    (set.unwrap_or(CACHE_GB_DEFAULT) * 1e9) as u64
}

/// Returns a file name for an address, unique by a hash of the address.
fn cache_name(url: &str) -> String {
    let hash = Sha256::digest(url.as_bytes());
    let last = url.split(['?', '#']).next().and_then(|p| p.rsplit('/').next()).unwrap_or("");
    let keep = |c: &char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
    let stem: String = last.trim_end_matches(".tar").chars().filter(keep).take(64).collect();
    format!("{}-{stem}.tar", hex(&hash[..8]))
}

/// Formats bytes as lower-case hexadecimal digits.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Updates the time stamp of a cached file; returns `false` if the file does not exist.
fn touch(cached: &Path) -> bool {
    let Ok(metadata) = fs::metadata(cached) else { return false };
    let age = metadata.modified().ok().and_then(|t| t.elapsed().ok());
    if age.is_none_or(|age| age > TOUCH_EVERY)
        && let Ok(file) = File::options().append(true).open(cached)
    {
        // Only the order of eviction depends on it, so an error is ignored.
        let _ = file.set_modified(SystemTime::now());
    }
    true
}

/// Removes the least recently used files until the cache holds less than `budget` bytes.
fn make_room(folder: &Path, budget: u64) {
    let Ok(entries) = fs::read_dir(folder) else { return };
    let mut files: Vec<(SystemTime, u64, PathBuf)> = entries
        .filter_map(|entry| {
            let entry = entry.ok()?;
            let metadata = entry.metadata().ok()?;
            let is_shard = entry.path().extension().is_some_and(|e| e == "tar");
            is_shard.then_some((metadata.modified().ok()?, metadata.len(), entry.path()))
        })
        .collect();
    files.sort();
    let mut total: u64 = files.iter().map(|(_, bytes, _)| bytes).sum();
    for (_, bytes, path) in files {
        if total < budget {
            break;
        }
        // A file that cannot be removed only takes up space.
        let _ = fs::remove_file(path);
        total -= bytes;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cache_drops_what_was_not_used_for_longest() {
        let dir = tempfile::tempdir().unwrap();
        for (name, age_s) in [("old.tar", 300), ("new.tar", 100), ("middle.tar", 200)] {
            let path = dir.path().join(name);
            fs::write(&path, [0; 100]).unwrap();
            let file = File::options().append(true).open(&path).unwrap();
            file.set_modified(SystemTime::now() - Duration::from_secs(age_s)).unwrap();
        }
        fs::write(dir.path().join("x.lock"), "").unwrap();
        // Use updates the time stamp.
        assert!(touch(&dir.path().join("old.tar")));
        make_room(dir.path(), 250);
        let left = |name: &str| dir.path().join(name).exists();
        assert!(left("old.tar") && left("new.tar") && !left("middle.tar") && left("x.lock"));
    }

    #[test]
    fn addresses_have_names_of_their_own() {
        let names = ["s3://a/x.tar", "s3://b/x.tar", "https://h/x.tar?v=1", "https://h/x.tar?v=2"];
        let cached: std::collections::BTreeSet<String> = names.map(cache_name).into();
        assert_eq!(cached.len(), 4);
        assert!(cached.iter().all(|name| name.ends_with("-x.tar")));
        assert!(is_url(Path::new("s3://b/k")) && !is_url(Path::new("s3/b")));
    }
}
