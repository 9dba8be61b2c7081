//! Progress over all stages of fine-tuning, and their cancellation.
//!
//! Fine-tuning mixes and embeds hours of negatives, trains several heads for each keyword, and
//! counts false accepts. With a bar per stage, the time of completion would stay unknown. Here each
//! stage has a share of one bar, according to its cost on an ordinary laptop.

use std::sync::{Mutex, PoisonError};

use super::{Settings, Trainable};
use crate::Result;
use wakeling_core::progress::{NoProgress, Progress};
use wakeling_nn::backbone::BackboneConfig;

/// Length of the stage that the observer sees, in percent.
const PERCENT: u64 = 100;
/// Cost of mixing a minute of audio and computing its features, in training steps of a head.
const MIX_A_MINUTE: f64 = 0.46;
/// Cost of embedding a minute of audio, per million multiply-accumulates per second of the backbone
/// (measured on two cores with the pretrained models S and M).
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
        let positives = settings.train.positive_streams as f64 * POSITIVE_SHARE * POSITIVE_S / 60.0;
        let steps = (settings.train.steps * settings.head.ensemble_members.max(1)) as f64;
        let word = positives * self.costs.minute + steps;
        let backbone = match self.train {
            Trainable::Head => 0.0,
            _ => settings.train.backbone_steps as f64 * self.costs.backbone_step,
        };
        let copies = (settings.train.negative_hours / self.hours.max(1e-3)).round().clamp(1.0, 4.0);
        self.hours * copies * 60.0 * self.costs.minute + self.words as f64 * word + backbone
    }
}

/// Progress of one run, as one stage of the observer. Every count is also a point at which the
/// observer can cancel the run.
pub struct Stages<'a> {
    progress: &'a dyn Progress,
    costs: Costs,
    /// Total cost, in training steps of a head.
    total: f64,
    /// Cost so far, and the percentage that the observer knows.
    done: Mutex<(f64, u64)>,
}

impl<'a> Stages<'a> {
    /// Begins a run.
    pub fn new(work: Work, settings: &Settings, progress: &'a dyn Progress) -> Self {
        progress.begin("finetune", PERCENT);
        let total = work.cost(settings).max(1.0);
        Self { progress, costs: work.costs, total, done: Mutex::default() }
    }

    /// Creates a run whose observer receives the names of the stages, and no share. It may be one of
    /// many.
    pub fn untimed(progress: &'a dyn Progress) -> Self {
        let costs = Costs { minute: 0.0, backbone_step: 0.0 };
        Self { progress, costs, total: f64::INFINITY, done: Mutex::default() }
    }

    /// Reports the name of the current stage.
    pub fn begin(&self, stage: impl AsRef<str>) {
        self.progress.message(stage.as_ref());
    }

    /// Returns an error once the run is cancelled.
    ///
    /// # Errors
    /// [`Error::Core`](crate::Error::Core), here and below.
    pub fn check(&self) -> Result<()> {
        Ok(self.progress.check()?)
    }

    /// Counts embedded audio, in minutes.
    pub fn embedded(&self, audio: f64) -> Result<()> {
        self.add(audio * self.costs.minute)
    }

    /// Counts a training step of a head.
    pub fn step(&self) -> Result<()> {
        self.add(1.0)
    }

    /// Counts a training step of the backbone.
    pub fn backbone_step(&self) -> Result<()> {
        self.add(self.costs.backbone_step)
    }

    fn add(&self, cost: f64) -> Result<()> {
        let mut done = self.done.lock().unwrap_or_else(PoisonError::into_inner);
        done.0 += cost;
        // Only `finish` reaches 100 %, because the shares are estimates.
        let percent = ((PERCENT as f64 * done.0 / self.total) as u64).min(PERCENT - 1);
        self.progress.advance(percent.saturating_sub(done.1));
        done.1 = done.1.max(percent);
        drop(done);
        self.check()
    }

    /// Reports a line for the user.
    pub fn line(&self, line: &str) {
        self.progress.line(line);
    }

    /// Ends the run.
    pub fn finish(&self) {
        let done = self.done.lock().unwrap_or_else(PoisonError::into_inner);
        self.progress.advance(PERCENT - done.1);
        self.progress.end();
    }
}

impl Stages<'static> {
    /// Creates a run without an observer.
    pub fn silent() -> Self {
        Self::untimed(&NoProgress)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering};

    use super::*;
    use wakeling_nn::backbone::Tier;

    /// Sum of the reported units.
    #[derive(Default)]
    struct Counter(AtomicU64);

    impl Progress for Counter {
        fn advance(&self, units: u64) {
            self.0.fetch_add(units, Ordering::Relaxed);
        }
    }

    #[test]
    fn the_bar_covers_all_stages_and_moves_in_each() -> Result<()> {
        let settings = Settings::default();
        let costs = Costs::of(&BackboneConfig::of(Tier::M));
        let work = Work { words: 2, hours: 4.7, train: Trainable::Head, costs };
        let counter = Counter::default();
        let stages = Stages::new(work, &settings, &counter);
        let at = || counter.0.load(Ordering::Relaxed);
        (0..14 * 60).try_for_each(|_| stages.embedded(1.0))?;
        let embedded = at();
        assert!((20..70).contains(&embedded), "{embedded}");
        for _ in 0..2 {
            let before = at();
            (0..settings.train.positive_streams)
                .try_for_each(|_| stages.embedded(POSITIVE_SHARE * POSITIVE_S / 60.0))?;
            (0..settings.head.ensemble_members * settings.train.steps)
                .try_for_each(|_| stages.step())?;
            assert!(at() > before + 5, "{before} {}", at());
        }
        assert!((95..100).contains(&at()), "{}", at());
        stages.finish();
        assert_eq!(at(), 100);
        Ok(())
    }
}
