//! Training in a child process that runs this program and prints its progress as lines.
//!
//! A quarter of the takes is held out from training. The report measures these takes, and the
//! recorded room sound as negative audio. Its figures are thus from recordings that were not used
//! for training.

use std::{
    fs,
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
    process::{Child, ChildStderr, Command, Stdio},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    thread::JoinHandle,
    time::Instant,
};

use serde::Serialize;

use super::stages::Overall;
use wakeling_capture::folder::Entry;
use wakeling_core::{
    Error, Result, files,
    progress::{self, Update},
};

/// One take in this many is held out for the report, if there are enough.
const TEST_ONE_IN: usize = 4;
/// Number of takes from which on some are held out.
const ENOUGH_TAKES: usize = 8;
/// Share of the progress from which on the remaining time is estimated.
const ESTIMATED_FROM: f64 = 0.1;
/// Number of log lines that are kept.
const LOG_LINES: usize = 40;

/// Training data and result folder.
pub struct Job {
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
    /// Additional arguments for `finetune`.
    pub finetune: Vec<String>,
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
    /// Last lines that the program printed.
    pub log: Vec<String>,
    /// Error message with a remedy.
    pub error: String,
    /// Number of takes for training, and number of takes for the report.
    pub takes: (usize, usize),
    /// Takes that are not used.
    pub left_out: Vec<LeftOut>,
}

impl Progress {
    /// Processes a line that is no progress. An error and the lines after it explain a failure.
    fn log(&mut self, line: &str) {
        if let Some(error) = line.strip_prefix("error: ") {
            self.error = error.to_owned();
        } else if !self.error.is_empty() {
            self.error += "\n";
            self.error += line;
        }
        if self.log.len() >= LOG_LINES {
            self.log.remove(0);
        }
        self.log.push(line.to_owned());
    }
}

/// State that the thread following a training run shares with the studio.
struct Shared {
    progress: Progress,
    overall: Overall,
    child: Option<Child>,
    is_cancelled: bool,
    started: Instant,
}

impl Shared {
    fn begin(&mut self, command: &'static str) {
        self.progress.state = command;
        self.overall.begin(command);
    }

    fn line(&mut self, line: &str) {
        match Update::parse(line) {
            // A bar of length 0 has no work.
            Some(update) if update.length == 0 => {}
            Some(update) => {
                self.overall.update(&update);
                let Update { stage, position, length, message, .. } = update;
                let progress = &mut self.progress;
                (progress.stage, progress.message) = (stage, message);
                (progress.position, progress.length) = (position, length);
            }
            None => self.progress.log(line),
        }
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

/// Training run, active or ended. Dropping it ends the child process.
pub struct Training {
    shared: Arc<Mutex<Shared>>,
    follower: Option<JoinHandle<()>>,
}

impl Training {
    /// Starts the child process.
    ///
    /// # Errors
    /// [`Error::Usage`] if there is no take; [`Error::Io`] if the lists of takes cannot be written.
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
            list(&job.out.join("train.jsonl"), part(false))?,
            list(&job.out.join("test.jsonl"), part(true))?,
        );
        let progress = Progress { takes, left_out: job.left_out.clone(), ..Progress::default() };
        let mut shared = Shared {
            progress,
            overall: Overall::default(),
            child: None,
            is_cancelled: false,
            started: Instant::now(),
        };
        shared.begin("finetune");
        let shared = Arc::new(Mutex::new(shared));
        let followed = shared.clone();
        let follower = std::thread::spawn(move || follow(&job, &followed, takes.1 > 0));
        Ok(Self { shared, follower: Some(follower) })
    }

    /// Returns the current state.
    pub fn progress(&self) -> Progress {
        lock(&self.shared).progress()
    }

    /// Returns `true` while the child process runs.
    pub fn is_running(&self) -> bool {
        matches!(lock(&self.shared).progress.state, "finetune" | "evaluate")
    }

    /// Ends the child process and waits for its end. An earlier model is kept.
    pub fn cancel(&mut self) {
        {
            let mut shared = lock(&self.shared);
            shared.is_cancelled = true;
            if let Some(child) = &mut shared.child {
                // `kill` fails if the process has already ended.
                let _ = child.kill();
            }
        }
        if let Some(follower) = self.follower.take() {
            // A thread that panicked has ended too.
            let _ = follower.join();
        }
    }
}

impl Drop for Training {
    fn drop(&mut self) {
        self.cancel();
    }
}

fn lock(shared: &Mutex<Shared>) -> MutexGuard<'_, Shared> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

fn no_take(left_out: &[LeftOut]) -> Error {
    if left_out.is_empty() {
        return Error::usage("there is no take yet", "record a few first");
    }
    let reasons: Vec<String> =
        left_out.iter().map(|take| format!("{}: {}", take.name, take.reason)).collect();
    Error::usage(
        format!("no take can be trained on: {}", reasons.join("; ")),
        "check the microphone, and record again",
    )
}

/// Runs the commands of a training run one after another, and follows each to its end.
fn follow(job: &Job, shared: &Mutex<Shared>, has_test: bool) {
    let path = |name: &str| job.out.join(name).display().to_string();
    let word = |list: &str| format!("{}={}", job.phrase, path(list));
    let mut finetune: Vec<String> = ["finetune", "--word"].map(String::from).into();
    finetune.extend([word("train.jsonl"), "--out".into(), job.out.display().to_string()]);
    finetune.extend(job.finetune.iter().cloned());
    let mut is_good = run(&finetune, shared);
    if is_good {
        // A report from an earlier model must not be taken for this one.
        let _ = fs::remove_file(job.out.join("report.html"));
    }
    if let (true, Some(room), true) = (is_good, &job.room, has_test) {
        lock(shared).begin("evaluate");
        let mut evaluate: Vec<String> = ["evaluate", "--model"].map(String::from).into();
        evaluate.extend([path("model.wkl"), "--word".into(), word("test.jsonl")]);
        evaluate.extend(["--negatives".into(), room.display().to_string()]);
        evaluate.extend(["--report".into(), path("report.html")]);
        is_good = run(&evaluate, shared);
    }
    let mut shared = lock(shared);
    shared.progress.state = match is_good {
        true => "done",
        false if shared.is_cancelled => "cancelled",
        false => "failed",
    };
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
    files::write_atomic(path, text.as_bytes()).map(|()| count)
}

/// Runs this program and processes the lines it prints. Returns `true` if it succeeds.
fn run(arguments: &[String], shared: &Mutex<Shared>) -> bool {
    let stderr = match start(arguments, &mut lock(shared)) {
        Ok(Some(stderr)) => stderr,
        Ok(None) => return false,
        Err(error) => {
            lock(shared).line(&format!("error: the program cannot be started: {error}"));
            return false;
        }
    };
    // A line with invalid UTF-8 must not end the log.
    for line in BufReader::new(stderr).split(b'\n').map_while(|line| line.ok()) {
        lock(shared).line(String::from_utf8_lossy(&line).trim_end());
    }
    let Some(mut child) = lock(shared).child.take() else { return false };
    let status = child.wait();
    let mut shared = lock(shared);
    if shared.is_cancelled {
        return false;
    }
    match status {
        Ok(status) if status.success() => return true,
        Ok(status) if shared.progress.error.is_empty() => {
            let name = &arguments[0];
            shared.line(&format!("error: wakeling {name} ended without a message: {status}"));
            shared.line("  remedy: if memory is short, close other programs; then train again");
        }
        Ok(_) => {}
        Err(error) => shared.line(&format!("error: the program cannot be waited for: {error}")),
    }
    false
}

/// Starts this program, unless the training run was cancelled. Returns its standard error.
fn start(arguments: &[String], shared: &mut Shared) -> std::io::Result<Option<ChildStderr>> {
    if shared.is_cancelled {
        return Ok(None);
    }
    let mut child = Command::new(std::env::current_exe()?)
        .args(arguments)
        .env(progress::LINES, "1")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()?;
    let stderr = child.stderr.take();
    shared.child = Some(child);
    Ok(stderr)
}
