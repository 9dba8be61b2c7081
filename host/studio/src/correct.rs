//! Requests that keep a correction from live detection, and that take it back.

use wakeling_audio::SAMPLE_RATE;
use wakeling_capture::{folder::ClipMetadata, take::trim};
use wakeling_data::takes;

use super::{
    aside::{ClipKind, Deletion},
    corrections::{LIVE, false_wake, missed, open_false_wakes},
    request::Target,
    session::Session,
    takes::name_of,
};
use crate::{Error, Result};

/// Length of a false wake, in seconds.
const FALSE_WAKE_S: f64 = 3.0;
/// Sound after a detection that still belongs to it, in seconds.
const AFTER_S: f64 = 0.5;
/// Length of the sound in which a missed utterance is searched, in seconds.
const MISSED_S: f64 = 5.0;
/// Shortest sound that is kept, in seconds.
const SHORTEST_S: f64 = 0.5;

impl Session {
    /// Keeps the last seconds of live detection as a correction: `kind` is `false_wake` or `missed`,
    /// and `time_s`, if given, the time of the detection.
    pub(super) fn correct(&mut self, target: &Target<'_>) -> Result<()> {
        let run = self.run()?;
        let live = self.live.as_mut().ok_or(Error::NotListening)?;
        let time_s: Option<f64> = target.number("time_s").filter(|t: &f64| t.is_finite());
        if time_s.is_some_and(|t| t < live.kept_from_s()) {
            return Err(Error::SoundGone);
        }
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
        let names = (word.id.as_str(), word.about.phrase.as_str());
        if missed(word.takes.kept()).any(|take| name_of(take) == name) {
            let takes = (&mut word.takes, ClipKind::Take);
            return Deletion::clip(&self.places, names, takes, name);
        }
        let mut clips = open_false_wakes(&run)?;
        Deletion::clip(&self.places, names, (&mut clips, ClipKind::FalseWake), name)
    }
}
