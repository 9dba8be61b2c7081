//! State of a training run: for the page, and on the disk, where it survives the program.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use serde::{Deserialize, Serialize};

use super::LeftOut;
use crate::stages::Overall;
use wakeling_core::{
    console, files,
    progress::{self, Update},
};
use wakeling_train::finetune::progress::{LOSS, MISSED};

/// File with the state of the last run.
const FILE: &str = "training.json";
/// Shortest time between two writes of it.
const WRITTEN_EVERY: Duration = Duration::from_secs(2);
/// Share of the progress from which on the remaining time is estimated.
const ESTIMATED_FROM: f64 = 0.1;
/// Number of log lines that are kept.
const LOG_LINES: usize = 40;

/// What a run is doing, or how it ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum RunState {
    /// Training.
    #[default]
    Finetune,
    /// Measuring for the report.
    Evaluate,
    /// Ended with a model.
    Done,
    /// Ended with an error.
    Failed,
    /// Ended by the user, or by the end of the program.
    Cancelled,
}

impl RunState {
    /// Returns `true` for a run that goes on.
    pub fn is_running(self) -> bool {
        matches!(self, Self::Finetune | Self::Evaluate)
    }
}

/// Curves of a training run: pairs of training step and value.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Curve {
    /// Mean loss.
    pub loss: Vec<(usize, f64)>,
    /// Missed mixtures of recordings and other sound, in percent.
    pub missed: Vec<(usize, f64)>,
}

impl Curve {
    /// Adds a point. A run that was resumed repeats some steps, whose earlier points are dropped.
    fn add(&mut self, curve: &str, step: usize, value: f64) {
        let points = match curve {
            LOSS => &mut self.loss,
            MISSED => &mut self.missed,
            _ => return,
        };
        points.retain(|(earlier, _)| *earlier < step);
        // JSON has no number for a loss that is not finite.
        if value.is_finite() {
            points.push((step, value));
        }
    }
}

/// State of a training run, as the page receives it.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Progress {
    /// What the run is doing, or how it ended.
    pub state: RunState,
    /// Share of all stages that is done, 0 to 1.
    pub share: f64,
    /// Estimated seconds left, once there is an estimate.
    pub left_s: Option<u64>,
    /// Title of the current stage.
    pub stage: String,
    /// Description of the current work; may be empty.
    pub message: String,
    /// Finished units of this stage.
    pub position: u64,
    /// Total units of this stage.
    pub length: u64,
    /// Last lines for the user.
    pub log: Vec<String>,
    /// Error message, with what to do about it.
    pub error: String,
    /// Number of takes for training, and number of takes for the report.
    pub takes: (usize, usize),
    /// Takes that are not used.
    pub left_out: Vec<LeftOut>,
    /// Curves of the training.
    #[serde(default)]
    pub curve: Curve,
    /// Whether the end of the program ended the run. The next training goes on with it.
    #[serde(default)]
    pub was_interrupted: bool,
    /// Name of the board that the pretrained model was chosen for; empty if none was.
    #[serde(default)]
    pub board: String,
}

impl Progress {
    /// Reads the state of the last run in a folder. A run that neither ended nor goes on in another
    /// process was interrupted. `None` if there was no run, or if another process is writing there.
    pub fn last(run: &Path) -> Option<Self> {
        let text = fs::read(run.join(FILE)).ok()?;
        let mut progress: Self = serde_json::from_slice(&text).ok()?;
        if progress.state.is_running() {
            let _claim = files::claim(run).ok()?;
            (progress.state, progress.was_interrupted) = (RunState::Cancelled, true);
            progress.left_s = None;
        }
        Some(progress)
    }

    fn log(&mut self, text: &str) {
        for line in text.lines() {
            if self.log.len() >= LOG_LINES {
                self.log.remove(0);
            }
            self.log.push(line.to_owned());
        }
    }
}

/// State of a training run, with what its progress is computed from.
struct State {
    progress: Progress,
    overall: Overall,
    /// Number of stages that have begun.
    bars: u64,
    started: Instant,
    written: Instant,
}

impl State {
    fn begin(&mut self, stage: RunState) {
        self.progress.state = stage;
        self.overall.begin(match stage {
            RunState::Evaluate => "evaluate",
            _ => "finetune",
        });
    }

    /// Updates the measure of all stages.
    fn update(&mut self) {
        let Progress { stage, position, length, .. } = &self.progress;
        let update = Update {
            bar: self.bars,
            stage: stage.clone(),
            position: *position,
            length: *length,
            message: String::new(),
        };
        self.overall.update(&update);
    }

    /// Returns the current state.
    fn progress(&self) -> Progress {
        let is_done = self.progress.state == RunState::Done;
        let share = if is_done { 1.0 } else { self.overall.share() };
        let left_s = (share >= ESTIMATED_FROM && self.progress.state.is_running())
            .then(|| (self.started.elapsed().as_secs_f64() * (1.0 - share) / share).round() as u64);
        Progress { share, left_s, ..self.progress.clone() }
    }
}

/// State that the thread of a training run shares with the studio, and the run's observer.
pub(super) struct Shared {
    state: Mutex<State>,
    pub(super) is_cancelled: AtomicBool,
    file: PathBuf,
}

impl Shared {
    /// Begins a run, whose state is kept in the folder `run`.
    pub(super) fn new(progress: Progress, run: &Path) -> Self {
        let now = Instant::now();
        let overall = Overall::default();
        let mut state = State { progress, overall, bars: 0, started: now, written: now };
        state.begin(RunState::Finetune);
        let shared = Self {
            state: Mutex::new(state),
            is_cancelled: AtomicBool::new(false),
            file: run.join(FILE),
        };
        shared.write();
        shared
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn progress(&self) -> Progress {
        self.state().progress()
    }

    pub(super) fn begin_stage(&self, stage: RunState) {
        self.state().begin(stage);
        self.write();
    }

    /// Ends the run. An `error` is shown and logged.
    pub(super) fn finish(&self, stage: RunState, error: Option<String>) {
        let mut state = self.state();
        state.progress.state = stage;
        if let Some(text) = error {
            state.progress.log(&format!("error: {text}"));
            state.progress.error = text;
        }
        drop(state);
        self.write();
    }

    /// Writes the state. Without it a run cannot be resumed, but its result is the same, so a failure
    /// is logged.
    fn write(&self) {
        let mut state = self.state();
        state.written = Instant::now();
        let progress = state.progress();
        drop(state);
        let text = serde_json::to_vec(&progress).unwrap_or_default();
        if let Err(error) = files::write_atomic(&self.file, &text) {
            log::warn!("{}", console::explained(&error));
        }
    }
}

impl progress::Progress for Shared {
    fn begin(&self, title: &'static str, length: u64) {
        // A stage of length 0 has no work.
        if length > 0 {
            let mut state = self.state();
            state.bars += 1;
            let progress = &mut state.progress;
            (progress.stage, progress.message) = (title.to_owned(), String::new());
            (progress.position, progress.length) = (0, length);
            state.update();
        }
    }

    fn advance(&self, units: u64) {
        let mut state = self.state();
        state.progress.position += units;
        state.update();
    }

    fn message(&self, text: &str) {
        self.state().progress.message = text.to_owned();
    }

    fn line(&self, line: &str) {
        self.state().progress.log(line);
    }

    fn point(&self, curve: &'static str, step: usize, value: f64) {
        let mut state = self.state();
        state.progress.curve.add(curve, step, value);
        let is_due = state.written.elapsed() >= WRITTEN_EVERY;
        drop(state);
        if is_due {
            self.write();
        }
    }

    fn is_cancelled(&self) -> bool {
        self.is_cancelled.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_resumed_run_replaces_the_points_it_repeats() {
        let mut curve = Curve::default();
        for step in [10, 20, 30] {
            curve.add(LOSS, step, f64::from(u32::try_from(step).unwrap()));
        }
        curve.add(LOSS, 20, 1.5);
        curve.add(MISSED, 25, 40.0);
        curve.add("another", 1, 1.0);
        curve.add(LOSS, 40, f64::NAN);
        let expected = Curve { loss: vec![(10, 10.0), (20, 1.5)], missed: vec![(25, 40.0)] };
        assert_eq!(curve, expected);
    }

    #[test]
    fn a_run_that_did_not_end_was_interrupted() {
        let place = tempfile::tempdir().unwrap();
        assert!(Progress::last(place.path()).is_none());
        let shared = Shared::new(Progress { takes: (6, 2), ..Progress::default() }, place.path());
        progress::Progress::point(&shared, LOSS, 10, 0.5);
        shared.begin_stage(RunState::Evaluate);
        let last = Progress::last(place.path()).unwrap();
        assert!(last.was_interrupted && last.state == RunState::Cancelled);
        assert_eq!((last.takes, last.curve.loss.as_slice()), ((6, 2), &[(10, 0.5)][..]));
        // Another process is at it.
        let claim = files::claim(place.path()).unwrap();
        assert!(!cfg!(unix) || Progress::last(place.path()).is_none());
        drop(claim);
        shared.finish(RunState::Failed, Some("no room".into()));
        let last = Progress::last(place.path()).unwrap();
        assert!(!last.was_interrupted && last.state == RunState::Failed && last.error == "no room");
        fs::write(place.path().join(FILE), "{").unwrap();
        assert!(Progress::last(place.path()).is_none());
    }
}
