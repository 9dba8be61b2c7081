//! Where a training run reports its progress.

use indicatif::ProgressBar;

use crate::Result;
use wakeling_core::progress::{Progress, progress_bar};

/// State of a run at its start or after a training step.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Tick {
    /// Number of training steps done. At the start it is that of the checkpoint, or 0.
    pub step: usize,
    /// Loss of the last step; `None` at the start.
    pub loss: Option<f64>,
}

/// Receiver of the progress of a run.
pub(super) enum Report<'a> {
    /// Draws a bar on stderr.
    Bar(ProgressBar),
    /// Calls a function at the start and after each training step; its error ends the run.
    Ticks(&'a dyn Fn(Tick) -> Result<()>),
    /// Reports to an observer, which may cancel the run.
    Observer(&'a dyn Progress),
    /// Reports nothing, as all processes but the first.
    Silent,
}

impl Report<'_> {
    /// Creates a bar; [`Report::begin`] gives it its length and title.
    pub fn bar() -> Self {
        Self::Bar(ProgressBar::hidden())
    }

    /// Begins a run of `steps` training steps, `done` of which an earlier run has done.
    ///
    /// # Errors
    /// Errors of the ticked function.
    pub fn begin(&mut self, title: &'static str, steps: usize, done: usize) -> Result<()> {
        match self {
            Self::Bar(bar) => {
                *bar = progress_bar(steps as u64, title);
                bar.set_position(done as u64);
                bar.reset_eta();
            }
            Self::Observer(progress) => {
                progress.begin(title, steps as u64);
                progress.advance(done as u64);
            }
            Self::Ticks(tick) => tick(Tick { step: done, loss: None })?,
            Self::Silent => {}
        }
        Ok(())
    }

    /// Reports that `done` training steps are done, the last with this loss.
    ///
    /// # Errors
    /// [`Error::Cancelled`](wakeling_core::Error::Cancelled) once the observer cancels; errors of
    /// the ticked function.
    pub fn step(&self, done: usize, loss: f64, message: impl FnOnce() -> String) -> Result<()> {
        match self {
            Self::Bar(bar) => {
                bar.set_message(message());
                bar.inc(1);
            }
            Self::Ticks(tick) => tick(Tick { step: done, loss: Some(loss) })?,
            Self::Observer(progress) => {
                progress.message(&message());
                progress.advance(1);
                progress.check()?;
            }
            Self::Silent => {}
        }
        Ok(())
    }

    /// Reports a line for the user.
    pub fn line(&self, line: &str) {
        match self {
            Self::Bar(bar) => bar.suspend(|| log::info!("{line}")),
            Self::Observer(progress) => progress.line(line),
            Self::Ticks(_) | Self::Silent => log::info!("{line}"),
        }
    }

    /// Ends the run.
    pub fn end(&self) {
        match self {
            Self::Bar(bar) => bar.finish_and_clear(),
            Self::Observer(progress) => progress.end(),
            Self::Ticks(_) | Self::Silent => {}
        }
    }
}
