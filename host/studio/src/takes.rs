//! Checks takes before they are used for training.

use std::{
    collections::HashMap,
    path::{Path, PathBuf},
    sync::Arc,
};

use wakeling_audio::{
    self as audio,
    features::{log_mel, mel_powers},
};
use wakeling_capture::{
    folder::Entry,
    take::{Verdict, trim},
};
use wakeling_data::takes::{self, TakeProblem};
use wakeling_nn::pretrained::PretrainedModel;
use wakeling_train::{
    models,
    unlike::{Recognized, unlike},
};

use crate::unchanged::{Stamp, stamp};

/// Maximum difference between samples of digital silence, in steps of 16 bits.
const SILENCE_STEPS: u16 = 2;

/// Verdict on a take that says something else than the others.
const UNLIKE: &str = "unlike";
/// Text about it.
const UNLIKE_ADVICE: &str = "unlike the others: was that the phrase?";

/// Result of a check.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checked {
    /// Reason for which the take cannot be used for training.
    pub problem: Option<String>,
    /// Kind of that reason, for the page; see [`problem_name`].
    pub problem_kind: &'static str,
    /// Defect of a take that can be used.
    pub warning: Option<&'static str>,
    /// Word for the page: "good", "unusable" or the name of the defect.
    pub verdict: &'static str,
}

impl Default for Checked {
    fn default() -> Self {
        Self { problem: None, problem_kind: "", warning: None, verdict: "good" }
    }
}

impl Checked {
    fn problem(problem: TakeProblem, reason: impl Into<String>) -> Self {
        let (problem, problem_kind) = (Some(reason.into()), problem_name(problem));
        Self { problem, problem_kind, warning: None, verdict: "unusable" }
    }

    /// Returns the text about the take.
    pub fn advice(&self) -> &str {
        self.problem.as_deref().or(self.warning).unwrap_or(Verdict::Good.advice())
    }
}

/// Cache of check results, valid while a file stays unchanged.
#[derive(Default)]
pub struct Checks {
    files: HashMap<PathBuf, (Stamp, Known)>,
    /// Pretrained model that recognizes what takes say; `None` before the first use, or if it cannot
    /// be loaded.
    recognizer: Option<Option<Box<PretrainedModel>>>,
    /// Last comparison: what was compared, and the result.
    compared: (Vec<(PathBuf, Stamp)>, Vec<bool>),
}

/// Result of a check, and what was recognized in the take.
#[derive(Clone)]
struct Known {
    checked: Checked,
    recognized: Option<Arc<Recognized>>,
}

impl Checks {
    /// Checks a take by itself, or returns the cached result for an unchanged file.
    pub fn of(&mut self, take: &Entry) -> Checked {
        self.known(take).checked
    }

    /// Checks the takes of a word: each by itself, and the good ones by comparison.
    pub fn of_all(&mut self, takes: &[&Entry]) -> Vec<Checked> {
        let known: Vec<Known> = takes.iter().map(|take| self.known(take)).collect();
        let recognized: Vec<(usize, &Recognized)> = known
            .iter()
            .enumerate()
            .filter_map(|(i, take)| Some((i, take.recognized.as_deref()?)))
            .collect();
        let key: Vec<(PathBuf, Stamp)> =
            takes.iter().map(|take| (take.path.clone(), stamp(&take.path))).collect();
        if self.compared.0 != key {
            let all: Vec<&Recognized> = recognized.iter().map(|(_, take)| *take).collect();
            self.compared = (key, unlike(&all));
        }
        let mut checked: Vec<Checked> = known.iter().map(|take| take.checked.clone()).collect();
        for ((i, _), is_unlike) in recognized.iter().zip(&self.compared.1) {
            if *is_unlike && checked[*i].verdict == "good" {
                checked[*i].verdict = UNLIKE;
                checked[*i].warning = Some(UNLIKE_ADVICE);
            }
        }
        checked
    }

    fn known(&mut self, take: &Entry) -> Known {
        let stamp = stamp(&take.path);
        match self.files.get(&take.path) {
            Some((known, result)) if *known == stamp => result.clone(),
            _ => {
                let result = self.check(&take.path);
                self.files.insert(take.path.clone(), (stamp, result.clone()));
                result
            }
        }
    }

    /// Reads a file and checks its samples.
    fn check(&mut self, path: &Path) -> Known {
        let pcm = match audio::read(path) {
            Ok(pcm) => pcm,
            Err(error) => {
                let reason = error.to_string();
                let checked = Checked::problem(
                    TakeProblem::Unreadable,
                    reason.lines().next().unwrap_or("unreadable"),
                );
                return Known { checked, recognized: None };
            }
        };
        let checked = check_pcm(&pcm);
        let recognized = match checked.problem {
            None => self.recognize(&pcm).map(Arc::new),
            Some(_) => None,
        };
        Known { checked, recognized }
    }

    /// Recognizes what a take says. `None` without a phrase or a pretrained model: the comparison is
    /// then left out.
    fn recognize(&mut self, pcm: &[i16]) -> Option<Recognized> {
        let load = || models::pretrained(models::DEFAULT_PRETRAINED).ok().map(Box::new);
        let pretrained = self.recognizer.get_or_insert_with(load).as_deref()?;
        let frontend = pretrained.tables.params(pretrained.info.normalization);
        Recognized::of(pretrained, &log_mel(&mel_powers(pcm, &frontend))).ok()?
    }
}

fn check_pcm(pcm: &[i16]) -> Checked {
    if let Some((problem, reason)) = takes::problem(pcm) {
        return Checked::problem(problem, reason);
    }
    match trim(pcm).map(|recorded| recorded.verdict) {
        Some(
            verdict @ (Verdict::Clipped | Verdict::TooQuiet | Verdict::Noisy | Verdict::TooShort),
        ) => Checked {
            warning: Some(verdict.advice()),
            verdict: verdict_name(verdict),
            ..Checked::default()
        },
        // Files from other sources may begin and end anywhere.
        Some(Verdict::Good | Verdict::CutOff | Verdict::Early | Verdict::TooLong) | None => {
            Checked::default()
        }
    }
}

/// Returns the word for a verdict in the answers to the page.
pub fn verdict_name(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Good => "good",
        Verdict::Clipped => "clipped",
        Verdict::TooQuiet => "quiet",
        Verdict::Noisy => "noisy",
        Verdict::CutOff | Verdict::Early => "cut",
        Verdict::TooShort => "short",
        Verdict::TooLong => "long",
    }
}

/// Returns the word for a defect in the answers to the page.
pub fn problem_name(problem: TakeProblem) -> &'static str {
    match problem {
        TakeProblem::Silent => "silent",
        TakeProblem::NoPhrase => "no_phrase",
        TakeProblem::TooQuiet => "quiet",
        TakeProblem::Clipped => "clipped",
        TakeProblem::Unreadable => "unreadable",
        TakeProblem::Repeated => "repeated",
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
