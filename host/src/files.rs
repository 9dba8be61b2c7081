//! Files that are either all there or not there.
//!
//! A model, a report or a checkpoint that was cut short by a full disk or Ctrl-C is worse than
//! none, because it looks like one. So everything is written to a temporary file in the same
//! folder (a rename across file systems is not atomic), flushed to the disk, and only then renamed
//! over its name. Whatever was there before stays untouched until that moment.
//!
//! Two processes that write into one folder would spoil what the other counts on, so long commands
//! [`claim`] it.

use std::{
    fs::{self, File, OpenOptions, TryLockError},
    io::{self, BufWriter, Write},
    path::{Path, PathBuf},
    sync::atomic::{AtomicU64, Ordering},
};

use crate::{Error, Result};

/// Writes `bytes` to `path`, all or nothing. See [`write_atomic_with`].
///
/// # Errors
/// As [`write_atomic_with`].
pub fn write_atomic(path: impl AsRef<Path>, bytes: &[u8]) -> Result<()> {
    write_atomic_with(path, |out| out.write_all(bytes))
}

/// Lets `write` fill a buffered temporary file beside `path`, then renames it to `path`.
///
/// A symbolic link is followed, so the file it points to is replaced and the link stays. An existing
/// file keeps its permissions. A device or a pipe (`/dev/stdout`) is written directly, since a
/// rename would replace the device itself.
///
/// # Errors
/// [`Error::Input`] if `path` is a folder or has no file name; [`Error::Io`], naming `path`, if the
/// system or `write` refuses. The temporary file is then removed and `path` is as it was.
pub fn write_atomic_with(
    path: impl AsRef<Path>,
    write: impl FnOnce(&mut dyn Write) -> io::Result<()>,
) -> Result<()> {
    let path = path.as_ref();
    let existing = fs::metadata(path).ok();
    if existing.as_ref().is_some_and(fs::Metadata::is_dir) {
        return Err(Error::input(
            path,
            "this is a folder, and a file is to be written",
            "give the name of a file, for instance one inside this folder",
        ));
    }
    if path.file_name().is_none() {
        return Err(Error::input(path, "there is no file name", "give the name of a file"));
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
    // The rename itself survives a power cut only once the folder is on the disk too. Not every
    // file system can do that, and the file is whole either way, so a refusal is no failure.
    if let Ok(folder) = File::open(folder_of(&target)) {
        let _ = folder.sync_all();
    }
    Ok(())
}

/// Keeps other processes out of a folder until it is dropped, or until its process ends, however it
/// ends.
///
/// The folder itself is locked (`flock`), so nothing is left behind. Where a system cannot lock
/// folders, nobody is kept out.
#[derive(Debug)]
#[must_use = "the claim ends when this is dropped"]
pub struct Claim(#[allow(dead_code, reason = "held, not read")] Option<File>);

/// Makes `folder` if need be, and claims it.
///
/// # Errors
/// [`Error::Io`] if it cannot be made, or if another process has claimed it.
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

/// As [`claim`], but waits while another process has it: for what takes a moment.
///
/// # Errors
/// [`Error::Io`] if the folder cannot be made.
pub fn claim_when_free(folder: &Path) -> Result<Claim> {
    let file = open_folder(folder)?;
    // Where there are no locks, nobody else has one.
    if let Some(file) = &file {
        let _ = file.lock();
    }
    Ok(Claim(file))
}

/// A folder, made if need be; none where a system cannot open folders.
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

/// A file that removes itself unless it was renamed (and forgotten).
struct Temporary(PathBuf);

impl Temporary {
    fn beside(target: &Path) -> io::Result<(Self, File)> {
        static COUNTER: AtomicU64 = AtomicU64::new(0);
        loop {
            let n = COUNTER.fetch_add(1, Ordering::Relaxed);
            // The target's own name is left out: with a suffix it might exceed the system's limit.
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
        assert_eq!(error.exit_code(), 4);
        let message = error.to_string();
        assert!(message.contains("another `wakeling`") && message.contains("wait"), "{message}");
        drop(claimed);
        drop(claim_when_free(&place).unwrap());
        drop(claim(&place).unwrap());
        assert!(names(&place).is_empty());
    }

    #[test]
    fn a_folder_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let error = write_atomic(dir.path(), b"x").unwrap_err();
        assert!(matches!(error, Error::Input { .. }), "{error}");
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
