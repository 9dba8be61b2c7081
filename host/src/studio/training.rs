//! Training as a child process: this very program, with progress as lines.
//!
//! A quarter of the takes is kept from training and measured instead, against the sound of the room
//! that was recorded; so what the report says is of recordings that the model has not seen.

use std::{
    fs,
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{Arc, Mutex, PoisonError},
};

use serde::Serialize;

use crate::{Error, Result, capture::folder::Kept, files, progress};

/// One take in so many is kept for the report, if there are enough.
const TEST_ONE_IN: usize = 4;
/// From so many takes on.
const ENOUGH_TAKES: usize = 8;

/// What to train, and where.
pub struct Job {
    /// The phrase.
    pub phrase: String,
    /// Its takes.
    pub takes: Vec<Kept>,
    /// Sound of the room, if there is some.
    pub room: Option<PathBuf>,
    /// Folder for the results.
    pub out: PathBuf,
    /// More arguments for `finetune`.
    pub finetune: Vec<String>,
}

/// How far it is, as the page is told.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Progress {
    /// "", "finetune", "evaluate", "done" or "failed".
    pub state: &'static str,
    /// What is being done, in the program's words.
    pub stage: String,
    /// Of this stage.
    pub position: u64,
    /// Of this stage.
    pub length: u64,
    /// The last lines that the program printed.
    pub log: Vec<String>,
    /// Takes that it trains on, and takes for the report.
    pub takes: (usize, usize),
}

impl Progress {
    fn line(&mut self, line: &str) {
        const LINES: usize = 40;
        if let Some((title, position, length)) = progress::parse(line) {
            (self.stage, self.position, self.length) = (title.to_owned(), position, length);
            return;
        }
        if self.log.len() >= LINES {
            self.log.remove(0);
        }
        self.log.push(line.to_owned());
    }
}

/// A training that runs or has ended. Dropping it ends the program that trains.
pub struct Training {
    progress: Arc<Mutex<Progress>>,
    child: Arc<Mutex<Option<Child>>>,
}

impl Training {
    /// Starts.
    ///
    /// # Errors
    /// [`Error::Usage`] if there is no take; [`Error::Io`] if the lists of takes cannot be written.
    pub fn start(job: Job) -> Result<Self> {
        if job.takes.is_empty() {
            return Err(Error::usage("there is no take yet", "record a few first"));
        }
        fs::create_dir_all(&job.out).map_err(Error::io(&job.out, "create"))?;
        let is_enough = job.takes.len() >= ENOUGH_TAKES && job.room.is_some();
        let is_test = |i: usize| is_enough && i % TEST_ONE_IN == TEST_ONE_IN - 1;
        let part =
            |test: bool| job.takes.iter().enumerate().filter(move |(i, _)| is_test(*i) == test);
        let (train, test) = (job.out.join("train.jsonl"), job.out.join("test.jsonl"));
        let counts = (list(&train, part(false))?, list(&test, part(true))?);
        // What an earlier training left says nothing of this one.
        let _ = fs::remove_file(job.out.join("report.html"));
        let progress = Arc::new(Mutex::new(Progress {
            state: "finetune",
            takes: counts,
            ..Progress::default()
        }));
        let training = Self { progress, child: Arc::default() };
        let (progress, child) = (training.progress.clone(), training.child.clone());
        std::thread::spawn(move || {
            let word = |list: &Path| format!("{}={}", job.phrase, list.display());
            let out = job.out.display().to_string();
            let mut finetune =
                vec!["finetune".into(), "--word".into(), word(&train), "--out".into(), out];
            finetune.extend(job.finetune);
            let mut is_good = run(&finetune, &progress, &child);
            if let (true, Some(room), true) = (is_good, &job.room, counts.1 > 0) {
                lock(&progress).state = "evaluate";
                let path = |name: &str| job.out.join(name).display().to_string();
                let evaluate = [
                    "evaluate".into(),
                    "--model".into(),
                    path("model.wkl"),
                    "--word".into(),
                    word(&test),
                    "--negatives".into(),
                    room.display().to_string(),
                    "--report".into(),
                    path("report.html"),
                ];
                is_good = run(&evaluate, &progress, &child);
            }
            lock(&progress).state = if is_good { "done" } else { "failed" };
        });
        Ok(training)
    }

    /// How far it is.
    pub fn progress(&self) -> Progress {
        lock(&self.progress).clone()
    }

    /// Whether it still runs.
    pub fn is_running(&self) -> bool {
        matches!(lock(&self.progress).state, "finetune" | "evaluate")
    }
}

impl Drop for Training {
    fn drop(&mut self) {
        if let Some(child) = lock(&self.child).as_mut() {
            // One that has ended by itself cannot be ended.
            let _ = child.kill();
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Writes a manifest of takes, with paths that hold from anywhere; how many there are.
fn list<'a>(path: &Path, takes: impl Iterator<Item = (usize, &'a Kept)>) -> Result<usize> {
    let (mut text, mut count) = (String::new(), 0);
    for (_, take) in takes {
        let file = fs::canonicalize(&take.path).map_err(Error::io(&take.path, "read"))?;
        let line = serde_json::json!({
            "audio_filepath": file, "duration": take.duration_s, "text": take.facts.text,
            "speaker": take.facts.speaker, "style": take.facts.style, "kind": take.facts.kind,
        });
        text += &format!("{line}\n");
        count += 1;
    }
    files::write_atomic(path, text.as_bytes()).map(|()| count)
}

/// Runs this program and follows what it prints; whether it ended well.
fn run(arguments: &[String], progress: &Mutex<Progress>, slot: &Mutex<Option<Child>>) -> bool {
    let started = std::env::current_exe().and_then(|program| {
        Command::new(program)
            .args(arguments)
            .env(progress::LINES, "1")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
    });
    let mut child = match started {
        Ok(child) => child,
        Err(error) => {
            lock(progress).line(&format!("error: the program cannot be started: {error}"));
            return false;
        }
    };
    let stderr = child.stderr.take();
    *lock(slot) = Some(child);
    for line in stderr.into_iter().flat_map(|e| BufReader::new(e).lines()).map_while(|l| l.ok()) {
        lock(progress).line(&line);
    }
    let child = lock(slot).take();
    child.is_some_and(|mut child| child.wait().is_ok_and(|status| status.success()))
}
