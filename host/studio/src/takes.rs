//! Checks takes before they are used for training.

use std::{
    collections::HashMap,
    fs,
    path::{Path, PathBuf},
    time::SystemTime,
};

use wakeling_audio as audio;
use wakeling_capture::{
    folder::Entry,
    take::{Verdict, trim},
};
use wakeling_data::takes;

use crate::picture::verdict_name;

/// Maximum difference between samples of digital silence, in steps of 16 bits.
const SILENCE_STEPS: u16 = 2;

/// Result of a check.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checked {
    /// Reason for which the take cannot be used for training.
    pub problem: Option<String>,
    /// Defect of a take that can be used.
    pub warning: Option<&'static str>,
    /// Word for the page: "good", "unusable" or the name of the defect.
    pub verdict: &'static str,
}

impl Default for Checked {
    fn default() -> Self {
        Self { problem: None, warning: None, verdict: "good" }
    }
}

impl Checked {
    fn problem(reason: impl Into<String>) -> Self {
        Self { problem: Some(reason.into()), warning: None, verdict: "unusable" }
    }

    /// Returns the text about the take.
    pub fn advice(&self) -> &str {
        self.problem.as_deref().or(self.warning).unwrap_or(Verdict::Good.advice())
    }
}

/// Cache of check results, valid while a file stays unchanged.
#[derive(Default)]
pub struct Checks(HashMap<PathBuf, (Stamp, Checked)>);

/// Length of a file and time of its last change.
type Stamp = (u64, Option<SystemTime>);

impl Checks {
    /// Checks a take, or returns the cached result for an unchanged file.
    pub fn of(&mut self, take: &Entry) -> Checked {
        let metadata = fs::metadata(&take.path);
        let stamp = metadata.map(|m| (m.len(), m.modified().ok())).unwrap_or_default();
        match self.0.get(&take.path) {
            Some((known, checked)) if *known == stamp => checked.clone(),
            _ => {
                let checked = check(&take.path);
                self.0.insert(take.path.clone(), (stamp, checked.clone()));
                checked
            }
        }
    }
}

/// Reads a file and checks its samples.
fn check(path: &Path) -> Checked {
    match audio::read(path) {
        Ok(pcm) => check_pcm(&pcm),
        Err(error) => Checked::problem(error.to_string().lines().next().unwrap_or("unreadable")),
    }
}

fn check_pcm(pcm: &[i16]) -> Checked {
    if let Some((_, reason)) = takes::problem(pcm) {
        return Checked::problem(reason);
    }
    match trim(pcm).map(|recorded| recorded.verdict) {
        Some(
            verdict @ (Verdict::Clipped | Verdict::TooQuiet | Verdict::Noisy | Verdict::TooShort),
        ) => Checked {
            problem: None,
            warning: Some(verdict.advice()),
            verdict: verdict_name(verdict),
        },
        // Files from other sources may begin and end anywhere.
        Some(Verdict::Good | Verdict::CutOff | Verdict::Early | Verdict::TooLong) | None => {
            Checked::default()
        }
    }
}

/// Returns the file name of a take.
pub fn name_of(take: &Entry) -> String {
    take.path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

/// Returns `true` if the samples contain no sound at all, as those of a muted microphone.
pub fn is_digital_silence(pcm: &[i16]) -> bool {
    let least = pcm.iter().min().copied().unwrap_or(0);
    let most = pcm.iter().max().copied().unwrap_or(0);
    most.abs_diff(least) <= SILENCE_STEPS
}

#[cfg(test)]
mod tests {
    use super::*;

    fn noise(samples: usize, peak: i32) -> Vec<i16> {
        // A linear congruential generator suffices as a source of rough sound.
        let mut x = 1_u32;
        let mut next = || {
            x = x.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            ((x >> 16) as i32 % (2 * peak + 1) - peak) as i16
        };
        (0..samples).map(|_| next()).collect()
    }

    #[test]
    fn silence_and_takes_without_a_phrase_are_problems() {
        for silence in [vec![0; 16_000], vec![-7; 16_000], noise(16_000, 1)] {
            let problem = check_pcm(&silence).problem.unwrap();
            assert!(problem.contains("digital silence"), "{problem}");
        }
        let problem = check_pcm(&noise(32_000, 400)).problem.unwrap();
        assert!(problem.contains("no phrase"), "{problem}");
    }

    #[test]
    fn a_phrase_is_no_problem_and_a_quiet_one_is_a_warning() {
        let spoken = |peak| [noise(8_000, 2), noise(12_000, peak), noise(8_000, 2)].concat();
        assert_eq!(check_pcm(&spoken(9_000)), Checked::default());
        let quiet = check_pcm(&spoken(300));
        assert!(quiet.problem.is_none() && quiet.warning.unwrap().contains("too quiet"));
    }

    #[test]
    fn a_file_is_checked_again_only_when_it_changes() {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("take.wav");
        let take = Entry { path: path.clone(), duration_s: 1.0, metadata: Default::default() };
        let mut checks = Checks::default();
        assert!(checks.of(&take).problem.unwrap().contains("take.wav"));
        audio::write_wav(&path, &[0; 16_000]).unwrap();
        assert!(checks.of(&take).problem.unwrap().contains("digital silence"));
        let spoken = [noise(8_000, 2), noise(12_000, 9_000), noise(8_000, 2)].concat();
        audio::write_wav(&path, &spoken).unwrap();
        assert_eq!(checks.of(&take), Checked::default());
    }
}
