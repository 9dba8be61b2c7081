//! One progress bar over all stages of a fine-tuning.
//!
//! A fine-tuning mixes and embeds hours of negatives, trains several heads for each word, and counts
//! false accepts. A bar for each stage would begin at zero again and again, and none of them says when
//! the work is done. Here each stage has a share of one bar, by what it costs on an ordinary laptop.

use std::sync::{Mutex, PoisonError};

use indicatif::ProgressBar;

use super::{Settings, Train};
use crate::progress::progress_bar;

/// Positions of the bar: percent.
const PERCENT: u64 = 100;
/// Minutes of audio that cost as much to mix and embed as one training step of a head.
const MINUTES_A_STEP: f64 = 0.8;
/// Training steps of a head that cost as much as one of a trunk that moves.
const TRUNK_STEP: f64 = 25.0;
/// Seconds of a stream composed from a recording, and how many there are for each that is asked for:
/// parts of phrases and other words come on top.
const POSITIVE_S: f64 = 5.6;
const POSITIVE_SHARE: f64 = 1.6;

/// What is to be done, from which the shares of the stages follow.
#[derive(Clone, Copy, Debug)]
pub struct Work {
    /// Words to train.
    pub words: usize,
    /// Hours of negatives, each counted once.
    pub hours: f64,
    /// What moves.
    pub train: Train,
}

impl Work {
    /// Cost of everything, in training steps of a head.
    fn cost(&self, settings: &Settings) -> f64 {
        let word = cost_of_positives(settings) + (settings.steps * settings.members.max(1)) as f64;
        let trunk = match self.train {
            Train::Head => 0.0,
            _ => settings.trunk_steps as f64 * TRUNK_STEP,
        };
        let copies = (settings.negative_hours / self.hours.max(1e-3)).round().clamp(1.0, 4.0);
        minutes(self.hours * copies * 60.0) + self.words as f64 * word + trunk
    }
}

fn minutes(minutes: f64) -> f64 {
    minutes / MINUTES_A_STEP
}

fn cost_of_positives(settings: &Settings) -> f64 {
    minutes(settings.positive_rows as f64 * POSITIVE_SHARE * POSITIVE_S / 60.0)
}

/// The bar.
pub struct Stages {
    bar: ProgressBar,
    /// Cost of everything.
    total: f64,
    done: Mutex<f64>,
}

impl Stages {
    /// Shows a bar on stderr.
    pub fn new(work: Work, settings: &Settings) -> Self {
        let bar = progress_bar(PERCENT, "finetune");
        bar.enable_steady_tick(std::time::Duration::from_millis(500));
        Self::on(bar, work.cost(settings))
    }

    /// Shows nothing.
    pub fn hidden() -> Self {
        Self::on(ProgressBar::hidden(), 1.0)
    }

    fn on(bar: ProgressBar, total: f64) -> Self {
        Self { bar, total: total.max(1.0), done: Mutex::new(0.0) }
    }

    /// Names what is being done.
    pub fn begin(&self, stage: impl Into<String>) {
        self.bar.set_message(stage.into());
    }

    /// Counts embedded audio, in minutes.
    pub fn embedded(&self, audio: f64) {
        self.add(minutes(audio));
    }

    /// Counts a training step of a head.
    pub fn step(&self) {
        self.add(1.0);
    }

    /// Counts a training step of a trunk.
    pub fn trunk_step(&self) {
        self.add(TRUNK_STEP);
    }

    fn add(&self, cost: f64) {
        let mut done = self.done.lock().unwrap_or_else(PoisonError::into_inner);
        *done += cost;
        // 100 is reached by `finish` alone: estimates are no promise.
        let percent = (PERCENT as f64 * *done / self.total) as u64;
        self.bar.set_position(percent.min(PERCENT - 1));
    }

    /// Logs a line above the bar.
    pub fn log(&self, line: &str) {
        self.bar.suspend(|| crate::log!("{line}"));
    }

    /// Removes the bar.
    pub fn finish(&self) {
        self.bar.set_position(PERCENT);
        self.bar.finish_and_clear();
    }
}

impl Drop for Stages {
    fn drop(&mut self) {
        // An error is printed where the bar was.
        self.bar.finish_and_clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bar_covers_all_stages_and_moves_in_each() {
        let settings = Settings::default();
        let work = Work { words: 2, hours: 4.7, train: Train::Head };
        let stages = Stages::on(ProgressBar::hidden(), work.cost(&settings));
        let at = || stages.bar.position();
        (0..14 * 60).for_each(|_| stages.embedded(1.0));
        let embedded = at();
        assert!((20..80).contains(&embedded), "{embedded}");
        for _ in 0..2 {
            let before = at();
            (0..settings.positive_rows)
                .for_each(|_| stages.embedded(POSITIVE_SHARE * POSITIVE_S / 60.0));
            (0..settings.members * settings.steps).for_each(|_| stages.step());
            assert!(at() > before + 5, "{before} {}", at());
        }
        assert!((95..100).contains(&at()), "{}", at());
    }
}
