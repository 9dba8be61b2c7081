//! Folders of recordings: 16 kHz mono WAV files, and `manifest.jsonl`, which lists them.
//!
//! A recording is on the disk before the next one begins, first its file and then its line. An
//! interrupted run therefore loses no recording, and the next run continues from there. Foreign
//! lines are left as they are. A recording without a line, from a run that was interrupted between
//! the two, gets one.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};

use wakeling_audio as audio;
use wakeling_audio::SAMPLE_RATE;
use wakeling_core::files;

use crate::{Error, Result};
use wakeling_data::{dataset::manifest::MANIFEST, text::clean};

/// Metadata of a recording in the manifest, besides its file and length.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ClipMetadata {
    /// Transcript.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub text: String,
    /// Name of the speaker.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub speaker: String,
    /// Requested style of speech, such as "far".
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub style: String,
    /// "word", or "room" for sound of a room.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub kind: String,
    /// Where the recording comes from: empty for one that was recorded as such, "file" for a file of
    /// the user, "live" for sound of live detection.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub origin: String,
}

#[derive(Serialize, Deserialize)]
struct Line {
    audio_filepath: String,
    #[serde(default)]
    duration: f64,
    #[serde(flatten)]
    metadata: ClipMetadata,
}

impl Line {
    /// Returns the recording in a folder; `None` if its file does not exist.
    fn entry(self, folder: &Path) -> Option<Entry> {
        let path = folder.join(self.audio_filepath);
        path.is_file().then_some(Entry { path, duration_s: self.duration, metadata: self.metadata })
    }
}

/// Recording on the disk.
#[derive(Clone, Debug, PartialEq)]
pub struct Entry {
    /// Path of its file.
    pub path: PathBuf,
    /// Length in seconds.
    pub duration_s: f64,
    /// Metadata from the manifest.
    pub metadata: ClipMetadata,
}

/// Recording that was taken out of a folder, and can be put back.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TakenOut {
    /// Name of its file.
    pub name: String,
    /// Line of the manifest.
    line: String,
    /// Number of lines before it.
    before: usize,
}

/// Returns the recordings that the manifest of a folder names and that exist. Nothing is created or
/// changed.
///
/// # Errors
/// [`Error::Core`] or [`Error::ManifestIsNoFile`] if the manifest cannot be read.
pub fn list(path: &Path) -> Result<Vec<Entry>> {
    let lines = read_lines(&path.join(MANIFEST))?;
    let named = lines.iter().filter_map(|line| serde_json::from_str(line).ok());
    Ok(named.filter_map(|line: Line| line.entry(path)).collect())
}

/// Folder of recordings.
///
/// ```
/// use wakeling_capture::folder::{ClipMetadata, Folder};
///
/// let path = std::env::temp_dir().join(format!("wakeling-folder-{}", std::process::id()));
/// let metadata = ClipMetadata { text: "hey computer".into(), ..ClipMetadata::default() };
/// let mut folder = Folder::open(&path, "take", &metadata)?;
/// assert!(folder.keep(&[9; 16_000], &metadata)?.ends_with("take-0001.wav"));
/// // Another run goes on where this one ended.
/// let reopened = Folder::open(&path, "take", &metadata)?;
/// assert_eq!((reopened.count("Hey, Computer!"), reopened.seconds()), (1, 1.0));
/// # std::fs::remove_dir_all(&path).unwrap();
/// # Ok::<(), wakeling_capture::Error>(())
/// ```
#[derive(Debug)]
pub struct Folder {
    path: PathBuf,
    prefix: &'static str,
    /// Lines of the manifest.
    lines: Vec<String>,
    kept: Vec<Entry>,
}

impl Folder {
    /// Opens or creates a folder, in which files are called `PREFIX-NNNN.wav`. A file without a
    /// line gets `metadata`.
    ///
    /// # Errors
    /// [`Error::Core`] if the folder cannot be created or read.
    pub fn open(path: &Path, prefix: &'static str, metadata: &ClipMetadata) -> Result<Self> {
        // Another process may have written a file and not yet its line.
        let _claim = files::claim_when_free(path)?;
        let lines = read_lines(&path.join(MANIFEST))?;
        let mut folder = Self { path: path.to_path_buf(), prefix, lines, kept: Vec::new() };
        let named: Vec<Line> =
            folder.lines.iter().filter_map(|l| serde_json::from_str(l).ok()).collect();
        let names: BTreeSet<&str> = named.iter().map(|l| l.audio_filepath.as_str()).collect();
        let strays = folder.strays(&names)?;
        folder.kept = named.into_iter().filter_map(|line| line.entry(path)).collect();
        for name in strays {
            let Ok(pcm) = audio::read(path.join(&name)) else { continue };
            folder.append(&name, pcm.len(), metadata)?;
        }
        Ok(folder)
    }

    /// Returns our files that no line names, in order.
    fn strays(&self, named: &BTreeSet<&str>) -> Result<Vec<String>> {
        let entries = fs::read_dir(&self.path).map_err(Error::io(&self.path, "read"))?;
        let mut strays = Vec::new();
        for entry in entries {
            let entry = entry.map_err(Error::io(&self.path, "read"))?;
            let name = entry.file_name().to_string_lossy().into_owned();
            let number = name.strip_prefix(self.prefix).and_then(|n| n.strip_prefix('-'));
            let number = number.and_then(|n| n.strip_suffix(".wav")).unwrap_or_default();
            let is_ours = number.len() >= 4 && number.bytes().all(|b| b.is_ascii_digit());
            if is_ours && !named.contains(name.as_str()) {
                strays.push(name);
            }
        }
        strays.sort();
        Ok(strays)
    }

    /// Path of the folder.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Recordings that the manifest names and that exist.
    pub fn kept(&self) -> &[Entry] {
        &self.kept
    }

    /// Number of recordings whose transcript is `text`, compared without case and punctuation.
    pub fn count(&self, text: &str) -> usize {
        let text = clean(text);
        self.kept.iter().filter(|k| clean(&k.metadata.text) == text).count()
    }

    /// Total length of all recordings in seconds.
    pub fn seconds(&self) -> f64 {
        self.kept.iter().map(|k| k.duration_s).sum()
    }

    /// Stores a recording: first the file and then its line, each written atomically.
    ///
    /// # Errors
    /// [`Error::Core`] if the recording cannot be written; earlier ones are unchanged.
    pub fn keep(&mut self, pcm: &[i16], metadata: &ClipMetadata) -> Result<PathBuf> {
        let _claim = files::claim_when_free(&self.path)?;
        self.reread()?;
        let name = self.free_name();
        let path = self.path.join(&name);
        audio::write_wav(&path, pcm)?;
        match self.append(&name, pcm.len(), metadata) {
            Ok(()) => Ok(path),
            Err(error) => {
                // The next run would add a file without a line to the manifest.
                let _ = fs::remove_file(&path);
                Err(error)
            }
        }
    }

    /// Rereads the manifest, for lines that another process wrote. Its recordings are not counted
    /// here.
    fn reread(&mut self) -> Result<()> {
        let manifest = self.path.join(MANIFEST);
        // If there is no regular file, no other process wrote one. Writing reports what is there.
        if manifest.is_file() {
            self.lines = read_lines(&manifest)?;
        }
        Ok(())
    }

    fn append(&mut self, name: &str, samples: usize, metadata: &ClipMetadata) -> Result<()> {
        let seconds = samples as f64 / f64::from(SAMPLE_RATE);
        let duration = (seconds * 1_000.0).round() / 1_000.0;
        let line = Line { audio_filepath: name.to_owned(), duration, metadata: metadata.clone() };
        let line = serde_json::to_string(&line).map_err(|e| Error::defect(e.to_string()))?;
        self.lines.push(line);
        let text = self.lines.join("\n") + "\n";
        if let Err(error) = files::write_atomic(self.path.join(MANIFEST), text.as_bytes()) {
            self.lines.pop();
            return Err(error.into());
        }
        self.kept.push(Entry {
            path: self.path.join(name),
            duration_s: duration,
            metadata: metadata.clone(),
        });
        Ok(())
    }

    /// Removes the recording of that file name: first its line, then its file.
    ///
    /// # Errors
    /// [`Error::NoRecording`] if there is no such recording; [`Error::Core`] if it cannot be removed.
    pub fn remove(&mut self, name: &str) -> Result<()> {
        let (path, _) = self.forget(name)?;
        fs::remove_file(&path).map_err(Error::io(&path, "remove"))
    }

    /// Takes the recording of that file name out of the folder: first its line is removed, then its
    /// file is moved into the folder `aside`, which must be on the same disk.
    ///
    /// # Errors
    /// [`Error::NoRecording`] if there is no such recording; [`Error::Core`] if it cannot be moved.
    pub fn take_out(&mut self, name: &str, aside: &Path) -> Result<TakenOut> {
        let (path, taken) = self.forget(name)?;
        let target = aside.join(&taken.name);
        fs::rename(&path, &target).map_err(Error::io(&path, "move"))?;
        Ok(taken)
    }

    /// Puts a recording back that [`Folder::take_out`] moved into the folder `aside`: first its file,
    /// then its line. If another recording has its name by now, it gets the next free one.
    ///
    /// # Errors
    /// [`Error::Core`] if it cannot be moved; [`Error::NoRecording`] if its line is damaged.
    pub fn put_back(&mut self, taken: &TakenOut, aside: &Path) -> Result<()> {
        let _claim = files::claim_when_free(&self.path)?;
        self.reread()?;
        let damaged = |_| Error::NoRecording { name: taken.name.clone() };
        let mut line: serde_json::Map<String, serde_json::Value> =
            serde_json::from_str(&taken.line).map_err(damaged)?;
        let is_plain = Path::new(&taken.name).file_name().is_some_and(|n| n == &*taken.name);
        let name = match is_plain && !self.path.join(&taken.name).exists() {
            true => taken.name.clone(),
            false => self.free_name(),
        };
        line.insert("audio_filepath".into(), name.clone().into());
        let line = serde_json::to_string(&line).map_err(|e| Error::defect(e.to_string()))?;
        let (from, to) = (aside.join(&taken.name), self.path.join(&name));
        fs::rename(&from, &to).map_err(Error::io(&from, "move"))?;
        self.lines.insert(taken.before.min(self.lines.len()), line);
        self.write_lines()?;
        self.kept = list(&self.path)?;
        Ok(())
    }

    /// Removes the line of a recording. Returns the path of its file, and what puts it back.
    fn forget(&mut self, name: &str) -> Result<(PathBuf, TakenOut)> {
        let is_it = |path: &Path| path.file_name().is_some_and(|n| n == name);
        let missing = || Error::NoRecording { name: name.to_owned() };
        let at = self.kept.iter().position(|k| is_it(&k.path)).ok_or_else(missing)?;
        let _claim = files::claim_when_free(&self.path)?;
        self.reread()?;
        let names_it = |line: &String| {
            serde_json::from_str::<Line>(line).is_ok_and(|l| is_it(Path::new(&l.audio_filepath)))
        };
        let before = self.lines.iter().position(names_it).ok_or_else(missing)?;
        let line = self.lines.remove(before);
        if let Err(error) = self.write_lines() {
            self.lines.insert(before, line);
            return Err(error);
        }
        let taken = TakenOut { name: name.to_owned(), line, before };
        Ok((self.kept.remove(at).path, taken))
    }

    fn write_lines(&self) -> Result<()> {
        let text: String = self.lines.iter().map(|l| format!("{l}\n")).collect();
        Ok(files::write_atomic(self.path.join(MANIFEST), text.as_bytes())?)
    }

    /// Returns the first file name that is free.
    fn free_name(&self) -> String {
        let names = (1..).map(|n| format!("{}-{n:04}.wav", self.prefix));
        names.into_iter().find(|name| !self.path.join(name).exists()).unwrap_or_default()
    }
}

/// Reads the lines of a manifest; empty if there is no manifest.
fn read_lines(manifest: &Path) -> Result<Vec<String>> {
    let text = match fs::metadata(manifest) {
        // Reading a device or a pipe may never end.
        Ok(metadata) if !metadata.is_file() => {
            return Err(Error::ManifestIsNoFile { path: manifest.to_owned() });
        }
        Ok(_) => fs::read_to_string(manifest).map_err(Error::io(manifest, "read"))?,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => String::new(),
        Err(e) => return Err(Error::io(manifest, "read")(e)),
    };
    Ok(text.lines().map(str::to_owned).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use wakeling_data::dataset::Dataset;

    fn metadata() -> ClipMetadata {
        ClipMetadata {
            text: "hey \"you\"".into(),
            speaker: "Ana".into(),
            style: "far".into(),
            kind: "word".into(),
            ..ClipMetadata::default()
        }
    }

    #[test]
    fn saved_takes_form_a_readable_manifest() {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("a/b");
        let mut folder = Folder::open(&path, "take", &metadata()).unwrap();
        folder.keep(&[7; 16_000], &metadata()).unwrap();
        folder.keep(&[8; 8_000], &ClipMetadata { speaker: String::new(), ..metadata() }).unwrap();
        let dataset = Dataset::open(path.join(MANIFEST)).unwrap();
        assert!(dataset.skipped.is_empty());
        let first = &dataset.examples[0];
        assert_eq!(first.load().unwrap(), [7; 16_000]);
        assert_eq!(
            (first.text.as_deref(), first.speaker.as_deref()),
            (Some("hey \"you\""), Some("Ana"))
        );
        assert_eq!((first.kind.as_deref(), first.labels["style"].as_str()), (Some("word"), "far"));
        assert_eq!(dataset.examples[1].speaker, None);
        assert_eq!((folder.count("Hey you"), folder.count("you"), folder.seconds()), (2, 0, 1.5));
    }

    #[test]
    fn a_run_goes_on_where_the_last_was_cut_off() {
        let place = tempfile::tempdir().unwrap();
        let path = place.path();
        let mut folder = Folder::open(path, "take", &metadata()).unwrap();
        folder.keep(&[7; 16_000], &metadata()).unwrap();
        // The program was killed between file and line, after the manifest was edited by hand.
        audio::write_wav(path.join("take-0002.wav"), &[9; 16_000]).unwrap();
        let mut text = fs::read_to_string(path.join(MANIFEST)).unwrap();
        text += "{\"audio_filepath\": \"gone.wav\", \"text\": \"x\", \"mood\": \"good\"}\n# mine\n";
        fs::write(path.join(MANIFEST), &text).unwrap();
        fs::write(path.join("take-1.wav"), "not ours").unwrap();
        let mut folder = Folder::open(path, "take", &metadata()).unwrap();
        assert_eq!(folder.count("hey you"), 2);
        let third = folder.keep(&[1; 100], &metadata()).unwrap();
        assert!(third.ends_with("take-0003.wav"));
        let written = fs::read_to_string(path.join(MANIFEST)).unwrap();
        assert!(written.starts_with(&text) && written.lines().count() == 5, "{written}");
        assert_eq!(Folder::open(path, "take", &metadata()).unwrap().count("hey you"), 3);
    }

    #[test]
    fn a_recording_can_be_taken_back() {
        let place = tempfile::tempdir().unwrap();
        let mut folder = Folder::open(place.path(), "take", &metadata()).unwrap();
        for _ in 0..3 {
            folder.keep(&[7; 160], &metadata()).unwrap();
        }
        folder.remove("take-0002.wav").unwrap();
        assert!(folder.remove("take-0002.wav").is_err() && folder.remove("../x").is_err());
        assert_eq!(folder.count("hey you"), 2);
        assert_eq!(Folder::open(place.path(), "take", &metadata()).unwrap().count("hey you"), 2);
    }

    #[test]
    fn a_recording_that_was_taken_out_comes_back_as_it_was() {
        let place = tempfile::tempdir().unwrap();
        let aside = tempfile::tempdir_in(place.path()).unwrap();
        let path = place.path().join("word");
        let mut folder = Folder::open(&path, "take", &metadata()).unwrap();
        for level in 1..4 {
            folder.keep(&[level; 160], &metadata()).unwrap();
        }
        let before = fs::read_to_string(path.join(MANIFEST)).unwrap();
        let taken = folder.take_out("take-0002.wav", aside.path()).unwrap();
        assert_eq!((folder.kept().len(), list(&path).unwrap().len()), (2, 2));
        folder.put_back(&taken, aside.path()).unwrap();
        let names = |folder: &Folder| -> Vec<String> {
            let name = |e: &Entry| e.path.file_name().unwrap().to_string_lossy().into_owned();
            folder.kept().iter().map(name).collect()
        };
        assert_eq!(names(&folder), ["take-0001.wav", "take-0002.wav", "take-0003.wav"]);
        assert_eq!(fs::read_to_string(path.join(MANIFEST)).unwrap().len(), before.len());
        assert_eq!(audio::read(path.join("take-0002.wav")).unwrap(), [2; 160]);
        // Its name was given to another one.
        let taken = folder.take_out("take-0002.wav", aside.path()).unwrap();
        folder.keep(&[9; 160], &metadata()).unwrap();
        folder.put_back(&taken, aside.path()).unwrap();
        assert_eq!(audio::read(path.join("take-0002.wav")).unwrap(), [9; 160]);
        assert_eq!(audio::read(path.join("take-0004.wav")).unwrap(), [2; 160]);
        assert_eq!(Folder::open(&path, "take", &metadata()).unwrap().kept().len(), 4);
    }

    #[cfg(unix)]
    #[test]
    fn a_manifest_that_cannot_be_written_keeps_nothing_by_halves() {
        let place = tempfile::tempdir().unwrap();
        let mut folder = Folder::open(place.path(), "take", &metadata()).unwrap();
        std::os::unix::fs::symlink("/dev/full", place.path().join(MANIFEST)).unwrap();
        let error = folder.keep(&[7; 16_000], &metadata()).unwrap_err().to_string();
        assert!(error.contains(MANIFEST) && error.contains("cannot write"), "{error}");
        assert!(!place.path().join("take-0001.wav").exists() && folder.kept().is_empty());
        assert!(Folder::open(place.path(), "take", &metadata()).is_err(), "it would never end");
    }
}
