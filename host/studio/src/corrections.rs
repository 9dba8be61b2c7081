//! Corrections from live detection: false wakes, and utterances that were missed.
//!
//! A false wake is kept as a clip of the last seconds in `runs/WORD/false-wakes`, as `listen` keeps
//! it and `finetune --false-wakes` reads it. A missed utterance is trimmed and checked, and becomes a
//! take of the word.

use std::path::Path;

use serde_json::{Value, json};
use wakeling_audio::SAMPLE_RATE;
use wakeling_capture::{
    folder::{self, ClipMetadata, Entry, Folder},
    take::trim,
};
use wakeling_data::takes;

use super::{
    aside::{ClipKind, Deletion},
    request::Target,
    session::Session,
    takes::name_of,
};
use crate::{Error, Result};

/// Folder of the false wakes in that of the model.
pub const FALSE_WAKES: &str = "false-wakes";
/// Origin of takes from live detection.
pub const LIVE: &str = "live";
/// Length of a false wake, in seconds.
const FALSE_WAKE_S: f64 = 3.0;
/// Sound after a detection that still belongs to it, in seconds.
const AFTER_S: f64 = 0.5;
/// Length of the sound in which a missed utterance is searched, in seconds.
const MISSED_S: f64 = 5.0;
/// Shortest sound that is kept, in seconds.
const SHORTEST_S: f64 = 0.5;

/// Returns the false wakes of a run.
pub fn false_wakes(run: &Path) -> Vec<Entry> {
    folder::list(&run.join(FALSE_WAKES)).unwrap_or_default()
}

/// Returns the takes that came from live detection.
pub fn missed(takes: &[Entry]) -> impl Iterator<Item = &Entry> {
    takes.iter().filter(|take| take.metadata.origin == LIVE)
}

/// Returns corrections for the page: `false_wakes` and `missed`, each with `name` and `seconds`.
pub fn state(run: &Path, takes: &[Entry]) -> Value {
    let clip = |clip: &Entry| json!({ "name": name_of(clip), "seconds": clip.duration_s });
    json!({
        "false_wakes": false_wakes(run).iter().map(clip).collect::<Vec<_>>(),
        "missed": missed(takes).map(clip).collect::<Vec<_>>(),
    })
}

impl Session {
    /// Keeps the last seconds of live detection as a correction: `kind` is `false_wake` or `missed`,
    /// and `time_s`, if given, the time of the detection.
    pub(super) fn correct(&mut self, target: &Target<'_>) -> Result<()> {
        let run = self.run()?;
        let live = self.live.as_mut().ok_or(Error::NotListening)?;
        let time_s: Option<f64> = target.number("time_s").filter(|t: &f64| t.is_finite());
        let is_long = |pcm: &Vec<i16>| pcm.len() as f64 >= SHORTEST_S * f64::from(SAMPLE_RATE);
        match target.raw("kind") {
            Some("false_wake") => {
                let pcm = live.recent(time_s.map(|t| t + AFTER_S), FALSE_WAKE_S);
                let pcm = Some(pcm).filter(is_long).ok_or(Error::NothingToCorrect)?;
                open_false_wakes(&run)?.keep(&pcm, &false_wake())?;
            }
            Some("missed") => {
                let pcm = live.recent(time_s.map(|t| t + AFTER_S), MISSED_S);
                let pcm = Some(pcm).filter(is_long).ok_or(Error::NothingToCorrect)?;
                if let Some((_, reason)) = takes::problem(&pcm) {
                    return Err(Error::NotATake { reason });
                }
                let pcm = trim(&pcm).map_or(pcm, |recorded| recorded.pcm);
                let word = self.word.as_mut().ok_or(Error::NoPhrase)?;
                let metadata = ClipMetadata { origin: LIVE.into(), ..word.metadata() };
                word.takes.keep(&pcm, &metadata)?;
            }
            _ => return Err(Error::StraySound),
        }
        // The next correction does not keep the same sound again.
        if let Some(live) = &mut self.live {
            live.forget();
        }
        Ok(())
    }

    /// Moves a correction aside.
    pub(super) fn uncorrect(&mut self, name: &str) -> Result<()> {
        let run = self.run()?;
        let word = self.word.as_mut().ok_or(Error::NoPhrase)?;
        let names = (word.id.as_str(), word.facts.phrase.as_str());
        if missed(word.takes.kept()).any(|take| name_of(take) == name) {
            let takes = (&mut word.takes, ClipKind::Take);
            return Deletion::clip(&self.places, names, takes, name);
        }
        let mut clips = open_false_wakes(&run)?;
        Deletion::clip(&self.places, names, (&mut clips, ClipKind::FalseWake), name)
    }
}

/// Opens or creates the folder of the false wakes.
///
/// # Errors
/// As [`Folder::open`].
pub fn open_false_wakes(run: &Path) -> Result<Folder> {
    Ok(Folder::open(&run.join(FALSE_WAKES), "wake", &false_wake())?)
}

fn false_wake() -> ClipMetadata {
    ClipMetadata { kind: "false-wake".into(), ..ClipMetadata::default() }
}
