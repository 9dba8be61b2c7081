//! Results of reading files, kept while the files stay unchanged: the page asks for the state twice
//! a second while a model is trained.

use std::{
    collections::HashMap,
    fs,
    path::{Path, PathBuf},
    time::SystemTime,
};

/// Length of a file and time of its last change.
pub type Stamp = (u64, Option<SystemTime>);

/// Returns the stamp of a file or folder; that of an empty one if it does not exist.
pub fn stamp(path: &Path) -> Stamp {
    fs::metadata(path).map(|m| (m.len(), m.modified().ok())).unwrap_or_default()
}

/// Results by the folder that they are about.
pub struct Unchanged<T>(HashMap<PathBuf, (Vec<Stamp>, T)>);

impl<T> Default for Unchanged<T> {
    fn default() -> Self {
        Self(HashMap::new())
    }
}

impl<T: Clone> Unchanged<T> {
    /// Returns the result about a folder: the last one if the folder and these files in it have the
    /// same stamps, or else that of `read`.
    pub fn of(&mut self, folder: &Path, files: &[&str], read: impl FnOnce() -> T) -> T {
        let own = std::iter::once(stamp(folder));
        let stamps: Vec<Stamp> =
            own.chain(files.iter().map(|name| stamp(&folder.join(name)))).collect();
        match self.0.get(folder) {
            Some((known, result)) if *known == stamps => result.clone(),
            _ => {
                let result = read();
                self.0.insert(folder.to_owned(), (stamps, result.clone()));
                result
            }
        }
    }
}
