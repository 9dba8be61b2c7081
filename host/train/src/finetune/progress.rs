//! Progress bar over all stages of fine-tuning.
//!
//! Fine-tuning mixes and embeds hours of negatives, trains several heads for each keyword, and
//! counts false accepts. With a bar per stage, the time of completion would stay unknown. Here each
//! stage has a share of one bar, according to its cost on an ordinary laptop.

use std::sync::{Mutex, PoisonError};

use indicatif::ProgressBar;

use super::{Settings, Trainable};
use wakeling_core::progress::progress_bar;
use wakeling_nn::backbone::BackboneConfig;

/// Length of the bar, in percent.
const PERCENT: u64 = 100;
/// Cost of mixing a minute of audio and computing its features, in training steps of a head.
const MIX_A_MINUTE: f64 = 0.46;
/// Cost of embedding a minute of audio, per million multiply-accumulates per second of the backbone
/// (measured on two cores with the bases S and M).
const EMBED_A_MINUTE: f64 = 0.3;
/// Cost of a training step of an unfrozen backbone, per million multiply-accumulates per second.
const BACKBONE_STEP: f64 = 7.0;
/// Length of a stream mixed from a recording, in seconds.
const POSITIVE_S: f64 = 5.6;
/// Streams mixed per requested stream: partial phrases and hard negatives are added.
const POSITIVE_SHARE: f64 = 1.6;

/// Amount of work, from which the shares of the stages follow.
#[derive(Clone, Copy, Debug)]
pub struct Work {
    /// Number of keywords to train.
    pub words: usize,
    /// Hours of negatives; each clip counts once.
    pub hours: f64,
    /// Layers that are trained.
    pub train: Trainable,
    /// Costs on this backbone.
    pub costs: Costs,
}

/// Costs of audio and of backbone training steps, in training steps of a head.
#[derive(Clone, Copy, Debug)]
pub struct Costs {
    minute: f64,
    backbone_step: f64,
}

impl Costs {
    /// Estimates the costs from the size of a backbone.
    pub fn of(backbone: &BackboneConfig) -> Self {
        let blocks = backbone.dilations.len() * (backbone.channels + backbone.taps);
        let macs = (backbone.channels * (backbone.inputs() + blocks)) as f64;
        let millions = macs * backbone.steps_per_second() / 1e6;
        Self {
            minute: MIX_A_MINUTE + EMBED_A_MINUTE * millions,
            backbone_step: BACKBONE_STEP * millions,
        }
    }
}

impl Work {
    /// Returns the total cost, in training steps of a head.
    fn cost(&self, settings: &Settings) -> f64 {
        let positives = settings.positive_streams as f64 * POSITIVE_SHARE * POSITIVE_S / 60.0;
        let steps = (settings.steps * settings.ensemble_members.max(1)) as f64;
        let word = positives * self.costs.minute + steps;
        let backbone = match self.train {
            Trainable::Head => 0.0,
            _ => settings.backbone_steps as f64 * self.costs.backbone_step,
        };
        let copies = (settings.negative_hours / self.hours.max(1e-3)).round().clamp(1.0, 4.0);
        self.hours * copies * 60.0 * self.costs.minute + self.words as f64 * word + backbone
    }
}

/// Progress bar.
pub struct Stages {
    bar: ProgressBar,
    /// Total cost, in training steps of a head.
    total: f64,
    costs: Costs,
    done: Mutex<f64>,
}

impl Stages {
    /// Shows a bar on stderr.
    pub fn new(work: Work, settings: &Settings) -> Self {
        let bar = progress_bar(PERCENT, "finetune");
        bar.enable_steady_tick(std::time::Duration::from_millis(500));
        Self::on(bar, work.cost(settings), work.costs)
    }

    /// Creates a bar that is never shown.
    pub fn hidden() -> Self {
        Self::on(ProgressBar::hidden(), 1.0, Costs { minute: 0.0, backbone_step: 0.0 })
    }

    fn on(bar: ProgressBar, total: f64, costs: Costs) -> Self {
        Self { bar, total: total.max(1.0), costs, done: Mutex::new(0.0) }
    }

    /// Shows the name of the current stage.
    pub fn begin(&self, stage: impl Into<String>) {
        self.bar.set_message(stage.into());
    }

    /// Counts embedded audio, in minutes.
    pub fn embedded(&self, audio: f64) {
        self.add(audio * self.costs.minute);
    }

    /// Counts a training step of a head.
    pub fn step(&self) {
        self.add(1.0);
    }

    /// Counts a training step of the backbone.
    pub fn backbone_step(&self) {
        self.add(self.costs.backbone_step);
    }

    fn add(&self, cost: f64) {
        let mut done = self.done.lock().unwrap_or_else(PoisonError::into_inner);
        *done += cost;
        // Only `finish` reaches 100 %, because the shares are estimates.
        let percent = (PERCENT as f64 * *done / self.total) as u64;
        self.bar.set_position(percent.min(PERCENT - 1));
    }

    /// Logs a line above the bar.
    pub fn log(&self, line: &str) {
        self.bar.suspend(|| log::info!("{line}"));
    }

    /// Removes the bar.
    pub fn finish(&self) {
        self.bar.set_position(PERCENT);
        self.bar.finish_and_clear();
    }
}

impl Drop for Stages {
    fn drop(&mut self) {
        // Error messages are printed where the bar was.
        self.bar.finish_and_clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use wakeling_nn::backbone::Tier;

    #[test]
    fn the_bar_covers_all_stages_and_moves_in_each() {
        let settings = Settings::default();
        let costs = Costs::of(&BackboneConfig::of(Tier::M));
        let work = Work { words: 2, hours: 4.7, train: Trainable::Head, costs };
        let stages = Stages::on(ProgressBar::hidden(), work.cost(&settings), costs);
        let at = || stages.bar.position();
        (0..14 * 60).for_each(|_| stages.embedded(1.0));
        let embedded = at();
        assert!((20..70).contains(&embedded), "{embedded}");
        for _ in 0..2 {
            let before = at();
            (0..settings.positive_streams)
                .for_each(|_| stages.embedded(POSITIVE_SHARE * POSITIVE_S / 60.0));
            (0..settings.ensemble_members * settings.steps).for_each(|_| stages.step());
            assert!(at() > before + 5, "{before} {}", at());
        }
        assert!((95..100).contains(&at()), "{}", at());
    }
}
