//! Synthesizes samples of a phrase with the user's text-to-speech program.
//!
//! Programs are run by a [`Template`], never through a shell. Every output file is decoded, checked
//! for sound and length, and written atomically as 16 kHz mono. A file's name contains a hash of
//! the command that made it, so that an interrupted run continues from there. A NeMo-style
//! manifest, `manifest.jsonl`, gives the text and the voice of each file; the voice replaces the
//! speaker.

mod command;
mod presets;

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
    time::Duration,
};

use rand::{SeedableRng, rngs::StdRng, seq::SliceRandom};
use rayon::prelude::*;

pub use command::{Template, Values};
pub use presets::{Engine, Preset};

use crate::dataset::manifest::MANIFEST;
use crate::text::quoted;
use crate::{Error, Result};
use wakeling_audio as audio;
use wakeling_audio::SAMPLE_RATE;
use wakeling_core::{files, progress::progress_bar};

/// Value of `source` in the manifest, which separates synthesized samples from recordings.
pub const SOURCE: &str = "synthetic";
/// Smallest peak of a file with sound, in i16 steps: 36 dB below full scale.
const QUIETEST_PEAK: u16 = 500;
/// Length of the shortest phrase, in seconds from the first to the last loud sample.
const SHORTEST_S: f64 = 0.12;
/// Length of the longest phrase in seconds, without the allowance for characters. Failed synthesis
/// usually does not end.
const LONGEST_S: f64 = 2.0;
/// Seconds added to [`LONGEST_S`] per character.
const LONGEST_S_PER_CHARACTER: f64 = 0.3;
/// Length of the longest accepted text, in characters.
const LONGEST_TEXT: usize = 200;

/// File to synthesize.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Utterance {
    /// Text to speak.
    pub text: String,
    /// Voice, as the program names it.
    pub voice: String,
    /// Speed, in the program's own unit.
    pub speed: String,
    /// Pitch, in the program's own unit.
    pub pitch: String,
}

/// Voices, speeds and pitches that a program offers.
///
/// ```
/// use wakeling_data::synthesize::VoiceGrid;
///
/// let list = |names: &[&str]| names.iter().map(|name| name.to_string()).collect::<Vec<_>>();
/// let grid = VoiceGrid {
///     voices: list(&["anna", "bob"]),
///     speeds: list(&["140", "180"]),
///     pitches: list(&["40", "60"]),
/// };
/// let utterances = grid.utterances("hey computer", 20, 0);
/// assert_eq!(utterances.len(), 8); // every combination, once
/// assert_ne!(utterances[0].voice, utterances[1].voice); // every voice before any is repeated
/// assert_eq!(grid.utterances("hey computer", 3, 0), utterances[..3]);
/// ```
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct VoiceGrid {
    /// Voices, as the program names them.
    pub voices: Vec<String>,
    /// Speeds, in the program's own unit.
    pub speeds: Vec<String>,
    /// Pitches, in the program's own unit.
    pub pitches: Vec<String>,
}

impl VoiceGrid {
    /// Returns up to `count` utterances of `text`. Every voice is used before any is repeated, each
    /// with speeds and pitches in an order of its own. A larger `count` begins with the same
    /// utterances.
    pub fn utterances(&self, text: &str, count: usize, seed: u64) -> Vec<Utterance> {
        let mut rng = StdRng::seed_from_u64(seed);
        let tempers: Vec<(&String, &String)> =
            self.speeds.iter().flat_map(|s| self.pitches.iter().map(move |p| (s, p))).collect();
        let mut voices: Vec<(&String, Vec<_>)> = self
            .voices
            .iter()
            .map(|voice| {
                let mut tempers = tempers.clone();
                tempers.shuffle(&mut rng);
                (voice, tempers)
            })
            .collect();
        voices.shuffle(&mut rng);
        let utterance = |i: usize| {
            let (voice, tempers) = voices.get(i % voices.len().max(1))?;
            let (speed, pitch) = tempers.get(i / voices.len())?;
            Some(Utterance {
                text: text.to_owned(),
                voice: (*voice).clone(),
                speed: (*speed).clone(),
                pitch: (*pitch).clone(),
            })
        };
        (0..count).map_while(utterance).collect()
    }
}

/// Settings for a folder of synthesized samples.
#[derive(Clone, Debug)]
pub struct Speech {
    /// Command line of the program.
    pub template: Template,
    /// Value of `{language}`, and the language in the manifest.
    pub language: String,
    /// Kind in the manifest: "word" for the phrase, "speech" for negatives.
    pub kind: &'static str,
    /// Longest time that one file may take.
    pub timeout: Duration,
}

/// Result of [`Speech::speak`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Spoken {
    /// Number of files in the manifest.
    pub files: usize,
    /// Number of those that existed before.
    pub kept: usize,
    /// Number of files that equal another one, since voice, speed or pitch made no difference.
    pub alike: usize,
    /// Error messages of utterances that failed.
    pub failed: Vec<String>,
}

/// Checks that a text can be passed to a program and spoken.
///
/// # Errors
/// [`Error::NotSpeakable`] if it has no letter or digit, is very long, begins like an option, or holds
/// control characters.
pub fn check_text(text: &str) -> Result<()> {
    let problem = if !text.chars().any(char::is_alphanumeric) {
        "there is nothing in it to be spoken"
    } else if text.chars().count() > LONGEST_TEXT {
        "it is longer than 200 characters"
    } else if text.starts_with('-') {
        "it begins with a dash, as an option does"
    } else if text.chars().any(char::is_control) {
        "it holds control characters"
    } else {
        return Ok(());
    };
    Err(Error::NotSpeakable { text: text.to_owned(), problem })
}

impl Speech {
    /// Synthesizes every utterance into a file of `folder`, on all cores, and writes the manifest.
    ///
    /// A voice that failed is not tried again. Existing files are kept.
    ///
    /// # Errors
    /// [`Error::CommandNotStarted`]; [`Error::SynthesisFailed`], with the command and
    /// its messages, if more than half of the utterances fail; [`Error::OtherSamples`] if the folder holds
    /// samples of another phrase; [`Error::Core`] if a file cannot be written.
    pub fn speak(&self, utterances: &[Utterance], folder: &Path) -> Result<Spoken> {
        for utterance in utterances {
            check_text(&utterance.text)?;
        }
        let _claim = files::claim(folder)?;
        self.refuse_other_texts(utterances, folder)?;
        let bar = progress_bar(utterances.len() as u64, "speaking");
        let broken: Mutex<BTreeMap<String, String>> = Mutex::default();
        let speak = |utterance: &Utterance| -> Result<Made> {
            let known = broken
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .get(&utterance.voice)
                .cloned();
            let made = match known {
                Some(_) => Made::Failed(None),
                None => self.one(utterance, folder)?,
            };
            if let Made::Failed(Some(why)) = &made {
                bar.suspend(|| log::info!("voice {:?} failed: {why}", utterance.voice));
                let mut broken = broken.lock().unwrap_or_else(PoisonError::into_inner);
                broken.insert(utterance.voice.clone(), why.clone());
            }
            bar.inc(1);
            Ok(made)
        };
        let made: Vec<Made> = utterances.par_iter().map(speak).collect::<Result<_>>()?;
        bar.finish_and_clear();
        self.finish(utterances, &made, folder)
    }

    /// Returns the path of an utterance's file.
    fn path(&self, utterance: &Utterance, folder: &Path) -> PathBuf {
        let words = |text: &str| -> String {
            let chars = text.chars().map(|c| if c.is_alphanumeric() { c } else { '-' });
            chars.take(40).collect()
        };
        let Utterance { text, voice, speed, pitch } = utterance;
        let key =
            format!("{}\0{}\0{text}\0{voice}\0{speed}\0{pitch}", self.template, self.language);
        let name =
            format!("{}-{:016x}.wav", words(&format!("{voice}-{speed}-{pitch}")), fnv1a(&key));
        folder.join(name)
    }

    /// Synthesizes one file, or finds it.
    fn one(&self, utterance: &Utterance, folder: &Path) -> Result<Made> {
        let path = self.path(utterance, folder);
        if let Ok(samples) = audio::read(&path) {
            return Ok(Made::File { samples: samples.len(), hash: hash(&samples), kept: true });
        }
        let raw = path
            .with_file_name(format!(".{}", path.file_name().unwrap_or_default().to_string_lossy()));
        // The program may run in a folder of its own, so the path is absolute.
        let raw = std::path::absolute(&raw).map_err(Error::io(&raw, "name"))?;
        let values = Values {
            text: &utterance.text,
            voice: &utterance.voice,
            speed: &utterance.speed,
            pitch: &utterance.pitch,
            language: &self.language,
            out: &raw,
        };
        let spoken = self.template.run(&values, self.timeout)?;
        let checked = spoken.and_then(|command| {
            let failed = |why: String| format!("`{command}`: {why}");
            let samples = audio::read(&raw).map_err(|e| failed(first_line(&e)))?;
            check(&samples, &utterance.text).map_err(failed)?;
            Ok(samples)
        });
        let _ = std::fs::remove_file(&raw);
        let samples = match checked {
            Ok(samples) => samples,
            Err(why) => return Ok(Made::Failed(Some(why))),
        };
        audio::write_wav(&path, &samples)?;
        Ok(Made::File { samples: samples.len(), hash: hash(&samples), kept: false })
    }

    /// Rejects a folder with samples of other texts, which would enter training unnoticed.
    fn refuse_other_texts(&self, utterances: &[Utterance], folder: &Path) -> Result<()> {
        let path = folder.join(MANIFEST);
        let Ok(manifest) = std::fs::read_to_string(&path) else { return Ok(()) };
        let texts: BTreeSet<&str> = utterances.iter().map(|u| u.text.as_str()).collect();
        for line in manifest.lines() {
            let value: serde_json::Value = serde_json::from_str(line).unwrap_or_default();
            if let Some(text) = value["text"].as_str().filter(|t| !texts.contains(t)) {
                return Err(Error::OtherSamples { path, text: text.to_owned() });
            }
        }
        Ok(())
    }

    /// Removes files that equal another one, and writes the manifest.
    fn finish(&self, utterances: &[Utterance], made: &[Made], folder: &Path) -> Result<Spoken> {
        let mut spoken = Spoken::default();
        let mut seen = BTreeSet::new();
        let mut manifest = String::new();
        let mut failures = 0;
        for (utterance, made) in utterances.iter().zip(made) {
            let &Made::File { samples, hash, kept } = made else {
                failures += 1;
                if let Made::Failed(Some(why)) = made {
                    spoken.failed.push(why.clone());
                }
                continue;
            };
            let path = self.path(utterance, folder);
            if !seen.insert((&utterance.text, hash)) {
                spoken.alike += 1;
                std::fs::remove_file(&path).map_err(Error::io(&path, "remove"))?;
                continue;
            }
            spoken.files += 1;
            spoken.kept += usize::from(kept);
            let line = serde_json::json!({
                "audio_filepath": path.file_name().unwrap_or_default().to_string_lossy(),
                "duration": (samples as f64 / f64::from(SAMPLE_RATE) * 1e3).round() / 1e3,
                "text": utterance.text,
                "speaker": utterance.voice,
                "lang": self.language,
                "kind": self.kind,
                "source": SOURCE,
            });
            manifest += &format!("{line}\n");
        }
        if 2 * failures > utterances.len() || spoken.files == 0 {
            let first = spoken.failed.first().map_or("nothing was asked for", String::as_str);
            let (files, first) = (utterances.len(), first.to_owned());
            return Err(Error::SynthesisFailed { failures, files, first });
        }
        files::write_atomic(folder.join(MANIFEST), manifest.as_bytes())?;
        Ok(spoken)
    }
}

/// Result of one utterance.
enum Made {
    File {
        samples: usize,
        hash: u64,
        kept: bool,
    },
    /// Failure with its reason; none if the voice had failed before.
    Failed(Option<String>),
}

/// Checks that a file holds speech of a length that fits its text.
fn check(samples: &[i16], text: &str) -> Result<(), String> {
    let loud = |s: &&i16| s.unsigned_abs() >= QUIETEST_PEAK;
    let first = samples.iter().position(|s| loud(&s)).ok_or("there is no sound in its file")?;
    let last = samples.iter().rposition(|s| loud(&s)).unwrap_or(first);
    let seconds = (last - first) as f64 / f64::from(SAMPLE_RATE);
    let longest = LONGEST_S + LONGEST_S_PER_CHARACTER * text.chars().count() as f64;
    if (SHORTEST_S..=longest).contains(&seconds) {
        return Ok(());
    }
    Err(format!(
        "its file has {seconds:.2} s of sound; {SHORTEST_S} to {longest:.1} s are expected for {}",
        quoted(text)
    ))
}

fn first_line(error: &impl std::fmt::Display) -> String {
    error.to_string().lines().next().unwrap_or_default().to_owned()
}

fn hash(samples: &[i16]) -> u64 {
    let bytes: Vec<u8> = samples.iter().flat_map(|s| s.to_le_bytes()).collect();
    fnv1a_bytes(&bytes)
}

fn fnv1a(text: &str) -> u64 {
    fnv1a_bytes(text.as_bytes())
}

/// FNV-1a, 64 bits (Fowler, Noll, Vo), which is the same in every version and on every machine.
fn fnv1a_bytes(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xCBF2_9CE4_8422_2325, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01B3)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn grid() -> VoiceGrid {
        let list = |texts: &[&str]| texts.iter().map(|t| (*t).to_owned()).collect();
        VoiceGrid {
            voices: list(&["a", "b", "c"]),
            speeds: list(&["1", "2"]),
            pitches: list(&["x", "y"]),
        }
    }

    #[test]
    fn every_voice_comes_before_any_repeats_and_no_variant_repeats() {
        let all = grid().utterances("hey", 100, 1);
        assert_eq!(all.len(), 12);
        let different: BTreeSet<String> = all.iter().map(|u| format!("{u:?}")).collect();
        assert_eq!(different.len(), 12);
        for round in all.chunks(3) {
            assert_eq!(round.iter().map(|u| &u.voice).collect::<BTreeSet<_>>().len(), 3);
        }
        assert_eq!(grid().utterances("hey", 5, 1), all[..5]);
        let none = VoiceGrid { voices: Vec::new(), ..grid() };
        assert!(none.utterances("hey", 5, 1).is_empty());
    }

    #[test]
    fn files_without_speech_are_refused() {
        let tone = |seconds: f64| -> Vec<i16> {
            let n = (seconds * 16_000.0) as usize;
            (0..n).map(|i| (5_000.0 * (i as f64 * 0.3).sin()) as i16).collect()
        };
        assert_eq!(check(&tone(0.8), "hey you"), Ok(()));
        for (samples, why) in [
            (vec![], "no sound"),
            (vec![3; 16_000], "no sound"),
            (tone(0.05), "0.05 s of sound"),
            (tone(30.0), "30.00 s of sound"),
        ] {
            let refused = check(&samples, "hey you").unwrap_err();
            assert!(refused.contains(why), "{refused}");
        }
    }

    #[test]
    fn texts_that_a_program_could_take_for_something_else_are_refused() {
        for text in ["", " ", "?!", "--help", "hey\u{7}you", "a\nb", &"a".repeat(201)] {
            assert!(check_text(text).is_err(), "{text:?}");
        }
        for text in ["hey you", "你好百度", "it's 5 o'clock", "\"; rm -rf ~"] {
            assert!(check_text(text).is_ok(), "{text:?}");
        }
    }
}
