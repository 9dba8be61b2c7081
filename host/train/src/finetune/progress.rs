//! Progress over all stages of fine-tuning, and their cancellation.
//!
//! Fine-tuning mixes and embeds hours of negatives, trains several heads for each keyword, and
//! counts false accepts. With a bar per stage, the time of completion would stay unknown. Here each
//! stage has a share of one bar, according to its cost on an ordinary laptop.

use std::{
    cell::Cell,
    path::{Path, PathBuf},
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
};

use super::{Settings, Trainable};
use crate::{Result, trainer::Tick};
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

/// Curve of the loss: the mean over ten training steps.
pub const LOSS: &str = "loss";
/// Curve of the recordings that are missed, in percent of mixtures with other sound, at half a false accept
/// per hour of the training negatives.
pub const MISSED: &str = "missed";
/// Training steps of a point of the curve [`LOSS`].
const LOSS_EVERY: usize = 10;

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
    /// Training steps of the networks that were begun.
    steps: AtomicUsize,
    /// Current training step, counted over all networks.
    step: AtomicUsize,
    checkpoints: Option<PathBuf>,
}

impl<'a> Stages<'a> {
    /// Begins a run.
    pub fn new(work: Work, settings: &Settings, progress: &'a dyn Progress) -> Self {
        progress.begin("finetune", PERCENT);
        let total = work.cost(settings).max(1.0);
        Self { costs: work.costs, total, ..Self::untimed(progress) }
    }

    /// Keeps checkpoints of every network in a folder, from which a run with the same data, settings and
    /// pretrained model goes on. Its result is the same. The caller removes the folder.
    #[must_use]
    pub fn with_checkpoints(self, folder: Option<&Path>) -> Self {
        Self { checkpoints: folder.map(Path::to_owned), ..self }
    }

    /// Returns the folder of a network's checkpoints, if they are kept.
    pub(super) fn checkpoints(&self, network: &str) -> Option<PathBuf> {
        Some(self.checkpoints.as_ref()?.join(network))
    }

    /// Creates a run whose observer receives the names of the stages, and no share. It may be one of
    /// many.
    pub fn untimed(progress: &'a dyn Progress) -> Self {
        let costs = Costs { minute: 0.0, backbone_step: 0.0 };
        Self {
            progress,
            costs,
            total: f64::INFINITY,
            done: Mutex::default(),
            steps: AtomicUsize::new(0),
            step: AtomicUsize::new(0),
            checkpoints: None,
        }
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

    /// Begins to train a head in this many training steps.
    pub fn head(&self, steps: usize) -> Steps<'_, 'a> {
        self.network(steps, 1.0)
    }

    /// Begins to train the backbone in this many training steps.
    pub fn backbone(&self, steps: usize) -> Steps<'_, 'a> {
        self.network(steps, self.costs.backbone_step)
    }

    fn network(&self, steps: usize, cost: f64) -> Steps<'_, 'a> {
        let first = self.steps.fetch_add(steps, Ordering::Relaxed);
        Steps { stages: self, cost, first, done: Cell::new(0), loss: Cell::new((0.0, 0)) }
    }

    /// Reports a point of a curve at the current training step.
    pub fn point(&self, curve: &'static str, value: f64) {
        self.progress.point(curve, self.step.load(Ordering::Relaxed), value);
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

/// Training steps of one network, as progress and as points of the curve [`LOSS`].
pub struct Steps<'s, 'a> {
    stages: &'s Stages<'a>,
    /// Cost of a step.
    cost: f64,
    /// Training steps of the networks before this one.
    first: usize,
    done: Cell<usize>,
    /// Sum of the losses since the last point, and their number.
    loss: Cell<(f64, u32)>,
}

impl Steps<'_, '_> {
    /// Counts the training steps up to this one. Those of a checkpoint count at once.
    ///
    /// # Errors
    /// [`Error::Core`](crate::Error::Core) once the run is cancelled.
    pub fn tick(&self, tick: Tick) -> Result<()> {
        let new = tick.step.saturating_sub(self.done.replace(tick.step));
        self.stages.step.store(self.first + tick.step, Ordering::Relaxed);
        if let Some(loss) = tick.loss {
            let (sum, count) = self.loss.get();
            let (sum, count) = (sum + loss, count + 1);
            let is_due = tick.step.is_multiple_of(LOSS_EVERY);
            if is_due {
                self.stages.point(LOSS, sum / f64::from(count));
            }
            self.loss.set(if is_due { (0.0, 0) } else { (sum, count) });
        }
        self.stages.add(self.cost * new as f64)
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

    /// Points of the curves.
    #[derive(Default)]
    struct Curves(Mutex<Vec<(&'static str, usize, f64)>>);

    impl Progress for Curves {
        fn point(&self, curve: &'static str, step: usize, value: f64) {
            self.0.lock().unwrap().push((curve, step, value));
        }
    }

    #[test]
    fn the_steps_of_all_networks_are_one_axis() -> Result<()> {
        let curves = Curves::default();
        let stages = Stages::untimed(&curves);
        let train = |from: usize| -> Result<()> {
            let steps = stages.head(20);
            steps.tick(Tick { step: from, loss: None })?;
            stages.point(MISSED, 50.0);
            (from + 1..=20).try_for_each(|step| steps.tick(Tick { step, loss: Some(step as f64) }))
        };
        train(0)?;
        train(15)?; // from a checkpoint
        let expected = [
            (MISSED, 0, 50.0),
            (LOSS, 10, 5.5),
            (LOSS, 20, 15.5),
            (MISSED, 35, 50.0),
            (LOSS, 40, 18.0),
        ];
        assert_eq!(*curves.0.lock().unwrap(), expected);
        Ok(())
    }

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
