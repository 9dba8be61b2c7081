//! Folder of files that can be computed or fetched again.

use std::{
    fs,
    path::{Path, PathBuf},
    time::SystemTime,
};

/// Returns the folder `name` of the cache: in `$WAKELING_CACHE`, `$XDG_CACHE_HOME/wakeling`,
/// `~/.cache/wakeling` or, on Windows, `%LOCALAPPDATA%/wakeling`, the first whose variable is set.
/// `None` if none is set.
///
/// ```
/// if let Some(folder) = wakeling_core::cache::folder("negatives") {
///     assert!(folder.ends_with("negatives"));
/// }
/// ```
pub fn folder(name: &str) -> Option<PathBuf> {
    let variable = |name| std::env::var_os(name).filter(|v| !v.is_empty()).map(PathBuf::from);
    let folder = variable("WAKELING_CACHE")
        .or_else(|| variable("XDG_CACHE_HOME").map(|f| f.join("wakeling")))
        .or_else(|| variable("HOME").map(|f| f.join(".cache/wakeling")))
        .or_else(|| variable("LOCALAPPDATA").map(|f| f.join("wakeling")));
    folder.map(|f| f.join(name))
}

/// Removes all but the `count` files of a folder that were changed last. What cannot be removed
/// stays, because only disk space is lost.
pub fn keep_newest(folder: &Path, count: usize) {
    let Ok(entries) = fs::read_dir(folder) else { return };
    let mut files: Vec<(SystemTime, PathBuf)> = entries
        .flatten()
        .filter_map(|entry| {
            let data = entry.metadata().ok().filter(fs::Metadata::is_file)?;
            Some((data.modified().ok()?, entry.path()))
        })
        .collect();
    files.sort();
    let excess = files.len().saturating_sub(count);
    for (_, path) in files.drain(..excess) {
        let _ = fs::remove_file(path);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn only_the_newest_files_stay() {
        let folder = tempfile::tempdir().unwrap();
        let start = SystemTime::now() - Duration::from_secs(100);
        for (age, name) in ["c", "a", "b"].into_iter().enumerate() {
            let file = fs::File::create(folder.path().join(name)).unwrap();
            file.set_modified(start + Duration::from_secs(age as u64)).unwrap();
        }
        fs::create_dir(folder.path().join("folder")).unwrap();
        keep_newest(folder.path(), 2);
        let mut names: Vec<_> =
            fs::read_dir(folder.path()).unwrap().map(|e| e.unwrap().file_name()).collect();
        names.sort();
        assert_eq!(names, ["a", "b", "folder"]);
        keep_newest(&folder.path().join("none"), 1);
    }
}
