//! Atomic file writes: a file is either complete or absent.
//!
//! A model, a report or a checkpoint that was cut short by a full disk or Ctrl-C is worse than
//! none, because it looks complete. Everything is therefore written to a temporary file in the same
//! folder (a rename across file systems is not atomic), flushed to the disk, and then renamed. Any
//! earlier file of that name stays untouched until then.
//!
//! Two processes that write to one folder would corrupt each other's results, so long commands
//! [`claim`] it.

use std::{
    fs::{self, File, OpenOptions, TryLockError},
    io::{self, BufWriter, Write},
    path::{Path, PathBuf},
    sync::atomic::{AtomicU64, Ordering},
};

use crate::{Error, Result};

/// Writes `bytes` to `path` atomically. See [`write_atomic_with`].
///
/// ```
/// use wakeling_core::files::write_atomic;
///
/// let path = std::env::temp_dir().join(format!("wakeling-atomic-{}.txt", std::process::id()));
/// write_atomic(&path, b"first")?;
/// write_atomic(&path, b"second")?; // until the rename, the first text stays
/// assert_eq!(std::fs::read(&path).unwrap(), b"second");
/// # std::fs::remove_file(&path).unwrap();
///
/// // A folder is never replaced by a file.
/// assert!(write_atomic(std::env::temp_dir(), b"text").is_err());
/// # Ok::<(), wakeling_core::Error>(())
/// ```
///
/// # Errors
/// As [`write_atomic_with`].
pub fn write_atomic(path: impl AsRef<Path>, bytes: &[u8]) -> Result<()> {
    write_atomic_with(path, |out| out.write_all(bytes))
}

/// Lets `write` fill a buffered temporary file beside `path`, then renames it to `path`.
///
/// A symbolic link is followed: the file it points to is replaced and the link stays. An existing
/// file keeps its permissions. A device or a pipe (`/dev/stdout`) is written directly, since a
/// rename would replace the device itself.
///
/// # Errors
/// [`Error::IsFolder`] and [`Error::NoFileName`], if no file can have this path; [`Error::Io`], naming `path`, if the
/// system or `write` fails. The temporary file is then removed and `path` is unchanged.
pub fn write_atomic_with(
    path: impl AsRef<Path>,
    write: impl FnOnce(&mut dyn Write) -> io::Result<()>,
) -> Result<()> {
    let path = path.as_ref();
    let existing = fs::metadata(path).ok();
    if existing.as_ref().is_some_and(fs::Metadata::is_dir) {
        return Err(Error::IsFolder { path: path.into() });
    }
    if path.file_name().is_none() {
        return Err(Error::NoFileName { path: path.into() });
    }
    if existing.as_ref().is_some_and(|m| !m.is_file()) {
        let device = OpenOptions::new().write(true).open(path).map_err(Error::io(path, "open"))?;
        return fill(device, write).map(drop).map_err(Error::io(path, "write"));
    }
    let target = fs::canonicalize(path).unwrap_or_else(|_| path.to_path_buf());
    let (temporary, file) = Temporary::beside(&target).map_err(Error::io(path, "create"))?;
    if let Some(old) = existing {
        fs::set_permissions(&temporary.0, old.permissions()).map_err(Error::io(path, "write"))?;
    }
    let file = fill(file, write).map_err(Error::io(path, "write"))?;
    file.sync_all().map_err(Error::io(path, "write"))?;
    drop(file);
    fs::rename(&temporary.0, &target).map_err(Error::io(path, "replace"))?;
    std::mem::forget(temporary);
    // The rename survives a power cut only after the folder is flushed too. Not every file system
    // supports that. The file is complete either way, so an error is ignored.
    if let Ok(folder) = File::open(folder_of(&target)) {
        let _ = folder.sync_all();
    }
    Ok(())
}

/// Lock that keeps other processes out of a folder until it is dropped or its process ends.
///
/// The folder itself is locked (`flock`), so no lock file remains. If the system cannot lock
/// folders, the claim has no effect.
#[derive(Debug)]
#[must_use = "the claim ends when this is dropped"]
pub struct Claim(#[allow(dead_code, reason = "held, not read")] Option<File>);

/// Creates `folder` if necessary, and claims it.
///
/// ```
/// use wakeling_core::files::claim;
///
/// let folder = std::env::temp_dir().join(format!("wakeling-claim-{}", std::process::id()));
/// let claimed = claim(&folder)?; // creates the folder
/// # #[cfg(unix)]
/// assert!(claim(&folder).is_err()); // another training into the same folder is refused
/// drop(claimed);
/// assert!(claim(&folder).is_ok());
/// # std::fs::remove_dir(&folder).unwrap();
/// # Ok::<(), wakeling_core::Error>(())
/// ```
///
/// # Errors
/// [`Error::Io`] if it cannot be created, or if another process has claimed it.
pub fn claim(folder: &Path) -> Result<Claim> {
    let Some(file) = open_folder(folder)? else { return Ok(Claim(None)) };
    match file.try_lock() {
        Err(TryLockError::WouldBlock) => {
            let taken = io::Error::new(
                io::ErrorKind::ResourceBusy,
                "another `wakeling` is writing into this folder",
            );
            Err(Error::io(folder, "begin")(taken))
        }
        _ => Ok(Claim(Some(file))),
    }
}

/// Claims a folder as [`claim`] does, but waits while another process holds it. Intended for short
/// operations.
///
/// # Errors
/// [`Error::Io`] if the folder cannot be created.
pub fn claim_when_free(folder: &Path) -> Result<Claim> {
    let file = open_folder(folder)?;
    // On a system without locks, no other process holds one, so an error is ignored.
    if let Some(file) = &file {
        let _ = file.lock();
    }
    Ok(Claim(file))
}

/// Opens a folder, after creating it if necessary; `None` if the system cannot open folders.
fn open_folder(folder: &Path) -> Result<Option<File>> {
    fs::create_dir_all(folder).map_err(Error::io(folder, "create"))?;
    Ok(File::open(folder).ok())
}

fn fill(file: File, write: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> io::Result<File> {
    let mut out = BufWriter::with_capacity(1 << 16, file);
    write(&mut out)?;
    out.into_inner().map_err(io::IntoInnerError::into_error)
}

fn folder_of(path: &Path) -> &Path {
    path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// Temporary file that is removed on drop, unless it was renamed and forgotten.
struct Temporary(PathBuf);

impl Temporary {
    fn beside(target: &Path) -> io::Result<(Self, File)> {
        static COUNTER: AtomicU64 = AtomicU64::new(0);
        loop {
            let n = COUNTER.fetch_add(1, Ordering::Relaxed);
            // The name does not contain the target's, which with a suffix might exceed the system's
            // limit.
            let name = format!(".wakeling-{}-{n}.tmp", std::process::id());
            let path = folder_of(target).join(name);
            match OpenOptions::new().write(true).create_new(true).open(&path) {
                Ok(file) => return Ok((Self(path), file)),
                Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {}
                Err(e) => return Err(e),
            }
        }
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(folder: &Path) -> Vec<String> {
        let mut names: Vec<_> = fs::read_dir(folder)
            .unwrap()
            .map(|e| e.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }

    #[test]
    fn writes_and_replaces() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.bin");
        write_atomic(&path, b"one").unwrap();
        write_atomic(&path, b"two!").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"two!");
        assert_eq!(names(dir.path()), ["a.bin"]);
    }

    #[test]
    fn a_full_disk_leaves_the_old_file_and_no_litter() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.bin");
        write_atomic(&path, b"old").unwrap();
        let full = write_atomic_with(&path, |out| {
            out.write_all(&vec![1; 1 << 20])?;
            Err(io::Error::from(io::ErrorKind::StorageFull))
        });
        let message = full.unwrap_err().to_string();
        assert!(message.contains("a.bin") && message.contains("cannot write"), "{message}");
        assert_eq!(fs::read(&path).unwrap(), b"old");
        assert_eq!(names(dir.path()), ["a.bin"]);
    }

    #[test]
    fn a_panicking_writer_leaves_no_litter() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.bin");
        let outcome =
            std::panic::catch_unwind(|| write_atomic_with(&path, |_| panic!("on purpose")));
        assert!(outcome.is_err());
        assert!(names(dir.path()).is_empty());
    }

    #[cfg(unix)]
    #[test]
    fn a_claim_keeps_others_out_until_it_ends() {
        let dir = tempfile::tempdir().unwrap();
        let place = dir.path().join("out");
        let claimed = claim(&place).unwrap();
        let error = claim(&place).unwrap_err();
        assert!(matches!(error, Error::Io { .. }));
        let message = error.to_string();
        assert!(message.contains("another `wakeling`"), "{message}");
        drop(claimed);
        drop(claim_when_free(&place).unwrap());
        drop(claim(&place).unwrap());
        assert!(names(&place).is_empty());
    }

    #[test]
    fn a_folder_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let error = write_atomic(dir.path(), b"x").unwrap_err();
        assert!(matches!(error, Error::IsFolder { .. }), "{error}");
        assert!(error.to_string().contains("folder"));
        assert!(write_atomic("", b"x").is_err());
        assert!(write_atomic(dir.path().join("no/such/folder"), b"x").is_err());
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn a_device_is_written_and_never_replaced() {
        let error = write_atomic("/dev/full", &[0; 1 << 17]).unwrap_err();
        assert!(error.to_string().starts_with("/dev/full: cannot write"), "{error}");
        write_atomic("/dev/null", b"x").unwrap();
        assert!(!fs::metadata("/dev/null").unwrap().is_file());
    }

    #[cfg(unix)]
    #[test]
    fn a_link_and_the_permissions_stay() {
        use std::os::unix::fs::{PermissionsExt, symlink};
        let dir = tempfile::tempdir().unwrap();
        let (real, link) = (dir.path().join("real"), dir.path().join("link"));
        fs::write(&real, b"old").unwrap();
        fs::set_permissions(&real, fs::Permissions::from_mode(0o640)).unwrap();
        symlink(&real, &link).unwrap();
        write_atomic(&link, b"new").unwrap();
        assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
        assert_eq!(fs::read(&real).unwrap(), b"new");
        assert_eq!(fs::metadata(&real).unwrap().permissions().mode() & 0o777, 0o640);
    }
}
