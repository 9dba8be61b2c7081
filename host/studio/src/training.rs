//! Training in a thread of this process, by the recipe of `wakeling finetune`.
//!
//! A quarter of the takes is held out from training. The report measures these takes, and the
//! recorded room sound as negative audio. Its figures are thus from recordings that were not used
//! for training.

use std::{
    fs,
    panic::{AssertUnwindSafe, catch_unwind},
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread::JoinHandle,
    time::{Instant, SystemTime, UNIX_EPOCH},
};

use serde::Serialize;
use serde_json::json;

use super::stages::Overall;
use crate::{Error, Explain, Result};
use wakeling_audio::features::{FrontendTables, NormalizationKind};
use wakeling_capture::folder::Entry;
use wakeling_core::{
    cache, files,
    progress::{self, Progress as _, Update},
};
use wakeling_data::{
    dataset::Dataset,
    takes::{self, Purpose, record::TrainedOn},
    text::nfc,
};
use wakeling_device::model_file;
use wakeling_train::{
    evaluate::{
        Evaluation, ModelRecord, Provenance, Source, SourceKind, Summary, TestConditions,
        keyword_index,
    },
    finetune::{Keyword, MODEL_FILE, Recipe, Settings},
    models,
};

/// One take in this many is held out for the report, if there are enough.
const TEST_ONE_IN: usize = 4;
/// Number of takes from which on some are held out.
const ENOUGH_TAKES: usize = 8;
/// Share of the progress from which on the remaining time is estimated.
const ESTIMATED_FROM: f64 = 0.1;
/// Number of log lines that are kept.
const LOG_LINES: usize = 40;
/// Lists of the takes for training and for the report.
const TRAIN_LIST: &str = "train.jsonl";
const TEST_LIST: &str = "test.jsonl";

/// Training data and result folder.
pub struct Job {
    /// Name of the word's folders.
    pub word: String,
    /// Phrase.
    pub phrase: String,
    /// Takes of the phrase.
    pub takes: Vec<Entry>,
    /// Takes that are not used, with the reasons.
    pub left_out: Vec<LeftOut>,
    /// Room sound, if any.
    pub room: Option<PathBuf>,
    /// Folder for the results.
    pub out: PathBuf,
    /// Settings of the training.
    pub settings: Settings,
    /// Function that explains errors to the user.
    pub explain: Explain,
}

/// Take that is not used for training.
#[derive(Clone, Debug, Serialize)]
pub struct LeftOut {
    /// Name of its file.
    pub name: String,
    /// The reason.
    pub reason: String,
}

/// State of a training run, as the page receives it.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Progress {
    /// "", "finetune", "evaluate", "done", "failed" or "cancelled".
    pub state: &'static str,
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
}

impl Progress {
    fn log(&mut self, text: &str) {
        for line in text.lines() {
            if self.log.len() >= LOG_LINES {
                self.log.remove(0);
            }
            self.log.push(line.to_owned());
        }
    }
}

/// State of a training run.
struct State {
    progress: Progress,
    overall: Overall,
    /// Number of stages that have begun.
    bars: u64,
    started: Instant,
}

impl State {
    fn begin(&mut self, command: &'static str) {
        self.progress.state = command;
        self.overall.begin(command);
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
        let is_done = self.progress.state == "done";
        let share = if is_done { 1.0 } else { self.overall.share() };
        let left_s = (share >= ESTIMATED_FROM && !is_done)
            .then(|| (self.started.elapsed().as_secs_f64() * (1.0 - share) / share).round() as u64);
        Progress { share, left_s, ..self.progress.clone() }
    }
}

/// State that the thread of a training run shares with the studio, and the run's observer.
struct Shared {
    state: Mutex<State>,
    is_cancelled: AtomicBool,
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
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

    fn is_cancelled(&self) -> bool {
        self.is_cancelled.load(Ordering::Relaxed)
    }
}

/// Training run, active or ended. Dropping it cancels the run.
pub struct Training {
    word: String,
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

impl Training {
    /// Starts the thread.
    ///
    /// # Errors
    /// [`Error::NoTake`] or [`Error::NoUsableTake`]; [`Error::Core`] if the lists of takes cannot be written.
    pub fn start(job: Job) -> Result<Self> {
        if job.takes.is_empty() {
            return Err(no_take(&job.left_out));
        }
        fs::create_dir_all(&job.out).map_err(Error::io(&job.out, "create"))?;
        let is_enough = job.takes.len() >= ENOUGH_TAKES && job.room.is_some();
        let is_test = |i: usize| is_enough && i % TEST_ONE_IN == TEST_ONE_IN - 1;
        let part =
            |test: bool| job.takes.iter().enumerate().filter(move |(i, _)| is_test(*i) == test);
        let takes = (
            list(&job.out.join(TRAIN_LIST), part(false))?,
            list(&job.out.join(TEST_LIST), part(true))?,
        );
        let progress = Progress { takes, left_out: job.left_out.clone(), ..Progress::default() };
        let overall = Overall::default();
        let mut state = State { progress, overall, bars: 0, started: Instant::now() };
        state.begin("finetune");
        let state = Mutex::new(state);
        let shared = Arc::new(Shared { state, is_cancelled: AtomicBool::new(false) });
        let (observed, word) = (shared.clone(), job.word.clone());
        let thread = std::thread::spawn(move || job.run(&observed));
        Ok(Self { word, shared, thread: Some(thread) })
    }

    /// Returns the name of the word's folders.
    pub fn word(&self) -> &str {
        &self.word
    }

    /// Returns the current state.
    pub fn progress(&self) -> Progress {
        self.shared.state().progress()
    }

    /// Returns `true` while the thread runs.
    pub fn is_running(&self) -> bool {
        matches!(self.shared.state().progress.state, "finetune" | "evaluate")
    }

    /// Cancels the run and waits for its end: the next training step or stream. An earlier model is kept.
    pub fn cancel(&mut self) {
        self.shared.is_cancelled.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            // The thread catches panics.
            let _ = thread.join();
        }
    }
}

impl Drop for Training {
    fn drop(&mut self) {
        self.cancel();
    }
}

fn no_take(left_out: &[LeftOut]) -> Error {
    if left_out.is_empty() {
        return Error::NoTake;
    }
    let reason = |take: &LeftOut| format!("{}: {}", take.name, take.reason);
    Error::NoUsableTake { reasons: left_out.iter().map(reason).collect() }
}

impl Job {
    /// Trains and measures, and sets the final state.
    fn run(&self, shared: &Shared) {
        // A defect ends the training, and not the studio.
        let result = catch_unwind(AssertUnwindSafe(|| self.train_and_measure(shared)))
            .unwrap_or_else(|panic| {
                let text = panic.downcast_ref::<String>().map(String::as_str);
                let text = text.or(panic.downcast_ref::<&str>().copied());
                Err(Error::defect(text.unwrap_or("the training panicked")))
            });
        let mut state = shared.state();
        state.progress.state = match result {
            Ok(()) => "done",
            Err(error) if error.is_cancelled() => "cancelled",
            Err(error) => {
                let text = (self.explain)(&error).text;
                state.progress.log(&format!("error: {text}"));
                state.progress.error = text;
                "failed"
            }
        };
    }

    fn train_and_measure(&self, shared: &Shared) -> Result<()> {
        let _claim = files::claim(&self.out)?;
        self.train(shared)?;
        let report = self.out.join("report.html");
        // A report from an earlier model must not be taken for this one.
        let _ = fs::remove_file(&report);
        let _ = fs::remove_file(self.out.join(Summary::FILE));
        let has_test = shared.state().progress.takes.1 > 0;
        if let (Some(room), true) = (&self.room, has_test) {
            shared.state().begin("evaluate");
            let page = self.measure(room, shared)?;
            files::write_atomic(report, page.as_bytes())?;
        }
        Ok(())
    }

    /// Trains on the list of takes, and writes the results.
    fn train(&self, shared: &Shared) -> Result<()> {
        let backbone = models::backbone(models::DEFAULT_PRETRAINED)?;
        let (path, label) = (self.out.join(TRAIN_LIST), nfc(&self.phrase));
        let frontend = backbone.frontend();
        let takes = takes::open(&path, &label, &frontend, Purpose::Train, shared)?.takes;
        let keyword = Keyword::of_takes(label.as_ref(), takes);
        let mut recipe = Recipe::new(backbone, vec![keyword])?;
        recipe.settings = self.settings.clone();
        recipe.cache = cache::folder("negatives");
        let model = recipe.run(shared)?;
        // From here on, all files are written, so that they fit each other.
        shared.check()?;
        let record = json!({
            "base": models::DEFAULT_PRETRAINED,
            "words": [{ "label": label, "path": path }],
            "samples": [], "labels": [], "negatives": [], "noise": [], "false_wakes": [],
            "only_own": false,
        });
        Ok(model.save(&self.out, record, shared)?)
    }

    /// Measures the model on the takes that were held out, and on the room. Returns the page.
    fn measure(&self, room: &Path, shared: &Shared) -> Result<String> {
        let (path, label) = (self.out.join(MODEL_FILE), nfc(&self.phrase));
        let file = model_file::read(&path)?;
        let model = model_file::load(&path, &file)?;
        let index = keyword_index(&model, &label)
            .ok_or_else(|| Error::defect("the model lacks its keyword"))?;
        let conditions = [TestConditions::Silence];
        let mut evaluation = Evaluation::new(&model, &conditions);
        let test = self.out.join(TEST_LIST);
        let tables = FrontendTables::default();
        let frontend = tables.params(NormalizationKind::Log);
        let checked = takes::open(&test, &label, &frontend, Purpose::Test, shared)?;
        let hashes = checked.takes.iter().map(|take| &take.hash);
        let trained_on = TrainedOn::beside(&path);
        if let Some(warning) = trained_on.and_then(|t| t.warning(&label, hashes)) {
            shared.line(&warning);
        }
        let negatives = Dataset::open_reporting(room, shared)?;
        if !evaluation.add_keyword((&label, index), checked.examples(), shared)? {
            return Err(unreadable(&test));
        }
        if !evaluation.add_negatives(negatives, shared)? {
            return Err(unreadable(room));
        }
        let made_at =
            SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
        let source = |kind, path: &Path| Source { kind, name: path.display().to_string() };
        let provenance = Provenance {
            made_at,
            model: ModelRecord::new(&path, &file, &model),
            sources: vec![
                source(SourceKind::Recordings, &test),
                source(SourceKind::Negatives, room),
            ],
            ..Provenance::default()
        };
        evaluation.summary(&provenance).save(&self.out.join(Summary::FILE))?;
        Ok(evaluation.page(&provenance))
    }
}

fn unreadable(path: &Path) -> Error {
    Error::NothingReadable { path: path.to_owned() }
}

/// Writes a manifest of takes with absolute paths. Returns the number of takes.
fn list<'a>(path: &Path, takes: impl Iterator<Item = (usize, &'a Entry)>) -> Result<usize> {
    let (mut text, mut count) = (String::new(), 0);
    for (_, take) in takes {
        let file = fs::canonicalize(&take.path).map_err(Error::io(&take.path, "read"))?;
        let line = serde_json::json!({
            "audio_filepath": file, "duration": take.duration_s, "text": take.metadata.text,
            "speaker": take.metadata.speaker, "style": take.metadata.style, "kind": take.metadata.kind,
        });
        text += &format!("{line}\n");
        count += 1;
    }
    files::write_atomic(path, text.as_bytes())?;
    Ok(count)
}
