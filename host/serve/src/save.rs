//! Sound before a detection, saved as WAV for training with false wakes.

use std::{
    collections::VecDeque,
    fs,
    path::{Path, PathBuf},
    sync::atomic::{AtomicU64, Ordering},
    time::{SystemTime, UNIX_EPOCH},
};

use wakeling_audio::{SAMPLE_RATE, write_wav};
use wakeling_core::cache::keep_newest;

use crate::{Error, Result};

/// Length of the saved sound in seconds, as `listen` saves it.
const SAVED_S: usize = 3;

/// Folder of saved detections, of which the newest are kept.
pub struct SavedDetections {
    folder: PathBuf,
    most: usize,
    /// Part of the name of the next file, so that clients do not overwrite each other's.
    next: AtomicU64,
}

impl SavedDetections {
    /// Creates the folder. It keeps at most this many files.
    ///
    /// # Errors
    /// [`Error::Core`] if the folder cannot be created.
    pub fn open(folder: &Path, most: usize) -> Result<Self> {
        fs::create_dir_all(folder).map_err(Error::io(folder, "create"))?;
        Ok(Self { folder: folder.to_owned(), most, next: AtomicU64::new(0) })
    }

    /// Saves the sound before a detection. Returns the file, whose name starts with the time in
    /// milliseconds since 1970.
    pub(crate) fn save(&self, keyword: &str, sound: &Recent) -> Result<PathBuf> {
        let millis = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_millis());
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        // A label may hold what a file name may not.
        let plain = |c: char| if c.is_alphanumeric() || c == '-' { c } else { '_' };
        let keyword: String = keyword.chars().map(plain).take(60).collect();
        let path = self.folder.join(format!("{millis}-{number}-{keyword}.wav"));
        write_wav(&path, &sound.samples())?;
        keep_newest(&self.folder, self.most);
        Ok(path)
    }
}

/// The last seconds of a stream.
#[derive(Default)]
pub(crate) struct Recent(VecDeque<i16>);

impl Recent {
    pub(crate) fn push(&mut self, pcm: &[i16]) {
        let most = SAVED_S * SAMPLE_RATE as usize;
        let pcm = &pcm[pcm.len().saturating_sub(most)..];
        let excess = (self.0.len() + pcm.len()).saturating_sub(most);
        self.0.drain(..excess);
        self.0.extend(pcm);
    }

    fn samples(&self) -> Vec<i16> {
        self.0.iter().copied().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_files_hold_the_last_seconds() {
        let folder = tempfile::tempdir().unwrap();
        let saved = SavedDetections::open(&folder.path().join("wakes"), 2).unwrap();
        let mut recent = Recent::default();
        for block in 0..40 {
            recent.push(&[block; 1_600]);
        }
        recent.push(&[]);
        for _ in 0..3 {
            let path = saved.save("hey/../you", &recent).unwrap();
            assert!(path.to_string_lossy().ends_with("-hey____you.wav"), "{}", path.display());
            let pcm = wakeling_audio::read(&path).unwrap();
            assert_eq!((pcm.len(), pcm[0], pcm[47_999]), (48_000, 10, 39));
        }
        assert_eq!(fs::read_dir(folder.path().join("wakes")).unwrap().count(), 2);
    }
}
