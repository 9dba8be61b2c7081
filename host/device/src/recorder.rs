//! Events of a device's flight recorder, as JSON files of features that `finetune --false-wakes`
//! reads.
//!
//! An event is a file `NUMBER-KIND.features.json`: the keyword, the score, the time, and the window
//! of `i8` features, oldest first. In training, a window is never used alone, because the network
//! would learn the silence before it. Each use follows several seconds of negative speech,
//! different each time.

use std::path::{Path, PathBuf};

use rand::{Rng, RngExt};
use serde::{Deserialize, Serialize};
use wakeling_shared::recorder::{Entry, Kind};

use wakeling_core::files;

use crate::{Error, Result};

/// Suffix of such file names.
pub const ENDING: &str = ".features.json";

/// Event and its window of features.
///
/// ```
/// use wakeling_device::recorder::{Event, load_events};
/// use wakeling_shared::recorder::{Entry, Kind};
///
/// let entry = Entry {
///     number: 7,
///     kind: Kind::NearMiss,
///     word: 0,
///     smoothed: 700,
///     threshold: 800,
///     end_samples: 16_000,
///     width: 160,
///     features: 320,
/// };
/// let event = Event { entry, features: vec![0; 320] };
/// # let folder = std::env::temp_dir().join(format!("wakeling-events-{}", std::process::id()));
/// # std::fs::create_dir_all(&folder).unwrap();
/// let path = event.save(&folder)?;
/// assert!(path.ends_with("00007-near-miss.features.json"));
/// assert_eq!(load_events(&folder)?, [event]);
/// # std::fs::remove_dir_all(&folder).unwrap();
/// # Ok::<(), wakeling_device::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Event {
    /// Description of the event.
    pub entry: Entry,
    /// Features of the window, `entry.features` of them.
    pub features: Vec<i8>,
}

impl Event {
    /// Writes the event to a folder, and returns the path of the file.
    ///
    /// # Errors
    /// [`Error::Core`] if it cannot be written.
    pub fn save(&self, folder: &Path) -> Result<PathBuf> {
        let kind = match self.entry.kind {
            Kind::Detection => "detection",
            Kind::NearMiss => "near-miss",
        };
        let path = folder.join(format!("{:05}-{kind}{ENDING}", self.entry.number));
        let text = serde_json::to_string(self).unwrap_or_default();
        files::write_atomic(&path, text.as_bytes())?;
        Ok(path)
    }

    /// Reads a file.
    ///
    /// # Errors
    /// [`Error::NotAnEvent`] if it is not an event; [`Error::Core`] if it cannot be read.
    pub fn load(path: &Path) -> Result<Self> {
        let refused = |problem: String| Error::NotAnEvent { path: path.to_owned(), problem };
        let text = std::fs::read_to_string(path).map_err(Error::io(path, "read"))?;
        let event: Self =
            serde_json::from_str(&text).map_err(|e| refused(format!("this is no event: {e}")))?;
        let width = usize::from(event.entry.width);
        if width == 0 || event.features.is_empty() || !event.features.len().is_multiple_of(width) {
            return Err(refused("its features are no whole steps".to_owned()));
        }
        Ok(event)
    }
}

/// Reads the events of a folder, or of one file; empty if there are none.
///
/// # Errors
/// As [`Event::load`], and [`Error::Core`] if the folder cannot be read.
pub fn load_events(path: &Path) -> Result<Vec<Event>> {
    let is_event = |path: &Path| path.to_string_lossy().ends_with(ENDING);
    if !path.is_dir() {
        return if is_event(path) { Ok(vec![Event::load(path)?]) } else { Ok(Vec::new()) };
    }
    let entries = std::fs::read_dir(path).map_err(Error::io(path, "read"))?;
    let mut found: Vec<PathBuf> = entries
        .map(|entry| entry.map(|entry| entry.path()).map_err(Error::io(path, "read")))
        .collect::<Result<_>>()?;
    found.retain(|path| is_event(path));
    found.sort();
    found.iter().map(|path| Event::load(path)).collect()
}

/// Builds streams of features that contain each event `copies` times, each time after another part
/// of `contexts`, which are feature streams of negative speech. `width` is the number of features
/// per step of the pretrained model.
///
/// # Errors
/// [`Error::EventWidth`] if an event has another number of features per step.
pub fn streams(
    events: &[Event],
    contexts: &[Vec<i8>],
    (width, copies): (usize, usize),
    rng: &mut impl Rng,
) -> Result<Vec<Vec<i8>>> {
    /// Steps of negative speech before and after an event, more than the backbone's receptive
    /// field.
    const CONTEXT_STEPS: usize = 75;
    if let Some(event) = events.iter().find(|event| usize::from(event.entry.width) != width) {
        let [found, number] = [u32::from(event.entry.width), event.entry.number];
        return Err(Error::EventWidth { number, found, expected: width });
    }
    let long: Vec<&Vec<i8>> =
        contexts.iter().filter(|stream| stream.len() >= CONTEXT_STEPS * width).collect();
    let mut context = || -> &[i8] {
        if long.is_empty() {
            return &[];
        }
        let stream = long[rng.random_range(0..long.len())];
        let last = stream.len() / width - CONTEXT_STEPS;
        let start = rng.random_range(0..=last) * width;
        &stream[start..start + CONTEXT_STEPS * width]
    };
    let mut streams = Vec::new();
    for _ in 0..copies {
        let mut stream = Vec::new();
        for event in events {
            stream.extend_from_slice(context());
            stream.extend_from_slice(&event.features);
        }
        stream.extend_from_slice(context());
        streams.push(stream);
    }
    Ok(streams)
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::{SeedableRng, rngs::StdRng};

    fn event(number: u32, width: u16) -> Event {
        let entry = Entry {
            number,
            kind: Kind::NearMiss,
            word: 0,
            smoothed: 400,
            threshold: 512,
            end_samples: 16_000,
            width,
            features: 2 * width,
        };
        Event { entry, features: vec![number as i8; 2 * usize::from(width)] }
    }

    #[test]
    fn events_read_back() {
        let dir = tempfile::tempdir().unwrap();
        let events = [event(3, 160), event(12, 160)];
        for event in &events {
            event.save(dir.path()).unwrap();
        }
        std::fs::write(dir.path().join("other.txt"), "other").unwrap();
        assert_eq!(load_events(dir.path()).unwrap(), events);
        let path = dir.path().join("00012-near-miss.features.json");
        assert_eq!(load_events(&path).unwrap(), events[1..]);
        std::fs::write(&path, "{}").unwrap();
        let error = load_events(dir.path()).unwrap_err().to_string();
        assert!(error.contains("00012-near-miss"), "{error}");
    }

    #[test]
    fn event_follows_negative_speech_each_time() {
        let contexts = [vec![100; 80 * 300]];
        let mut rng = StdRng::seed_from_u64(1);
        let all = streams(&[event(1, 80), event(2, 80)], &contexts, (80, 3), &mut rng).unwrap();
        assert_eq!(all.len(), 3);
        assert!(all.iter().all(|stream| stream.len() == (3 * 75 + 4) * 80));
        assert_eq!(all[0].iter().filter(|&&feature| feature == 1).count(), 160);
        assert_eq!(all[0][75 * 80], 1);
        let other = streams(&[event(1, 160)], &contexts, (80, 3), &mut rng);
        assert!(other.unwrap_err().to_string().contains("160 features"));
    }
}
