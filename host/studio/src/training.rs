//! Training in a thread of this process, by the recipe of `wakeling finetune`.
//!
//! A quarter of the takes and a third of the room's sound are held out from training. The report
//! measures these. Its figures are thus from recordings that were not used for training.

mod job;
mod parts;
mod progress;

use std::{
    sync::{Arc, atomic::Ordering},
    thread::JoinHandle,
};

pub use job::{Job, PretrainedChoice};
pub use parts::LeftOut;
pub use progress::Progress;
use progress::Shared;

use crate::Result;

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
    /// [`Error::NoTake`](crate::Error::NoTake) or [`Error::NoUsableTake`](crate::Error::NoUsableTake);
    /// [`Error::Core`](crate::Error::Core) if the lists of takes cannot be written.
    pub fn start(job: Job) -> Result<Self> {
        let progress = job.prepare()?;
        let word = job.word.clone();
        let shared = Arc::new(Shared::new(progress, &job.out));
        let observed = shared.clone();
        let thread = std::thread::spawn(move || job.run(&observed));
        Ok(Self { word, shared, thread: Some(thread) })
    }

    /// Returns the name of the word's folders.
    pub fn word(&self) -> &str {
        &self.word
    }

    /// Returns the current state.
    pub fn progress(&self) -> Progress {
        self.shared.progress()
    }

    /// Returns `true` while the thread runs.
    pub fn is_running(&self) -> bool {
        self.shared.progress().state.is_running()
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
