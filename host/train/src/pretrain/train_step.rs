//! Training step of pretraining: clips in memory, rows composed of them, and the summed loss.
//!
//! Each worker has its own part of the index and its own shuffle buffer, so several processes
//! together read a dataset once per epoch. A dataset that fits into one buffer is loaded completely
//! and shared by all workers.

use std::sync::{
    PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard,
    atomic::{AtomicU64, AtomicUsize, Ordering},
};

use candle_core::{Device, Tensor};
use candle_nn::Module;
use rand::{RngExt, SeedableRng, rngs::StdRng};
use wakeling_shared::frontend::FrontendParams;

use super::{
    Settings, Weights,
    batch::{Batch, Builder, Parts, Shape, TeacherRows},
    prepare::{Clip, ClipLoader, NoiseLoader, PretrainIndex},
    score::Score,
};
use crate::Result;
use crate::trainer::{Metric, Rank, StepOutput, TrainStep};
use wakeling_data::{
    loader::{DataLoader, LoaderConfig},
    mixing::{BackgroundMix, FeatureAugmentation, Mixer, NoisePool},
};
use wakeling_nn::{
    backbone::{BackboneConfig, BackboneNetwork},
    layers::{Linear, LinearConfig},
    mode::{Mode, Samples},
    ops::{ctc::ctc_loss, sigmoid_bce::sigmoid_bce, squared_error::squared_error},
    params::Params,
};

/// Number of batches of four rows over which the ranges of activations are measured.
const CALIBRATION_ROUNDS: usize = 16;
/// Rows per batch of held-out clips.
const DEV_STREAMS: usize = 8;
/// Maximum number of held-out clips that are evaluated. A larger dataset is represented by these.
const DEV_CLIPS: usize = 4_096;
/// Backgrounds under which the teacher's outputs are compared on held-out streams; see [`Score`].
const HELD_OUT_BACKGROUNDS: [BackgroundMix; 3] = [
    BackgroundMix::NONE,
    BackgroundMix { chance: 1.0, snr_db: (5.0, 5.0), ..BackgroundMix::NONE },
    BackgroundMix {
        chance: 1.0,
        snr_db: (5.0, 5.0),
        babble_chance: 1.0,
        most_talkers: 4,
        ..BackgroundMix::NONE
    },
];
/// Maximum number of noise clips. A larger collection is represented by these.
const NOISE_CLIPS: usize = 1_000;

/// Linear head on the backbone, for one task.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Head {
    Tokens,
    Words,
    TeacherTargets,
    Voice,
}

impl Head {
    pub const ALL: [Self; 4] = [Self::Tokens, Self::Words, Self::TeacherTargets, Self::Voice];

    pub fn name(self) -> &'static str {
        match self {
            Self::Tokens => "ctc",
            Self::Words => "words",
            Self::TeacherTargets => "taught",
            Self::Voice => "voice",
        }
    }

    /// Adds the parameters of the head for `outputs` outputs.
    pub fn init(
        self,
        params: &mut Params,
        channels: usize,
        outputs: usize,
        rng: &mut StdRng,
    ) -> Result<()> {
        let config = LinearConfig { inputs: channels, outputs, gain: 1.0, bias: Some(0.0) };
        Linear::new(config, &params.initializer(rng).pp(self.name()))?;
        Ok(())
    }

    /// Returns `true` if the parameters of this head exist.
    pub fn is_in(self, params: &Params) -> bool {
        params.builder().pp(self.name()).contains_tensor("weight")
    }

    /// Computes the logits: `[streams, steps, channels]` → `[streams, steps, outputs]`.
    pub fn logits(self, params: &Params, backbone: &Tensor) -> Result<Tensor> {
        Ok(Linear::existing(&params.builder().pp(self.name()))?.forward(backbone)?)
    }
}

/// Clips in memory, sampled by weight.
struct Pool {
    loader: DataLoader<ClipLoader>,
    /// Cumulative sum of the weights, up to and including each clip of the buffer.
    cumulative: Vec<f64>,
    /// Clips that went into rows of this training step.
    used: u64,
}

impl Pool {
    fn weigh(&mut self) {
        let window = self.loader.window();
        let mut sum = 0.0;
        self.cumulative.clear();
        self.cumulative.extend((0..window.len()).map(|index| {
            sum += window.get(index).map_or(0.0, |clip| f64::from(clip.weight));
            sum
        }));
    }

    /// Samples a clip by weight.
    fn sample(&self, rng: &mut StdRng) -> Option<&Clip> {
        let total = self.cumulative.last().copied().filter(|total| *total > 0.0)?;
        let at = rng.random_range(0.0..total);
        // Holes have weight 0, so the first clip whose sum exceeds `at` is not a hole.
        self.loader.window().get(self.cumulative.partition_point(|sum| *sum <= at))
    }

    /// Samples a clip uniformly.
    fn choose(&self, rng: &mut StdRng) -> Option<&Clip> {
        let window = self.loader.window();
        let whole = window.iter().count();
        (whole > 0).then(|| window.iter().nth(rng.random_range(0..whole)))?
    }

    /// Mean length of a clip in the buffer, in seconds.
    fn mean_s(&self) -> f64 {
        let window = self.loader.window();
        let frames: usize = window.iter().map(|clip| clip.log_mel.len()).sum();
        frames as f64 / 100.0 / window.len().max(1) as f64
    }
}

/// State and configuration that the training loop runs for pretraining.
pub struct Pretraining<'a> {
    backbone: BackboneConfig,
    frontend: FrontendParams<'a>,
    /// One pool per worker of this process, or one shared pool if the dataset fits into the buffer.
    pools: Vec<RwLock<Pool>>,
    clips: u64,
    dev: Option<DataLoader<ClipLoader>>,
    /// Noise, without speech, and the backgrounds and augmentation of training.
    mixer: Mixer<'static>,
    teacher: Option<TeacherRows>,
    streams: usize,
    weights: Weights,
    /// Number of stretches with fewer steps than their labels need.
    infeasible: AtomicUsize,
    /// Number of stretches in all.
    stretches: AtomicU64,
}

impl<'a> Pretraining<'a> {
    /// Opens the indices. Training clips are not read until training begins.
    pub fn of(
        settings: &Settings,
        lists: &PretrainIndex,
        frontend: FrontendParams<'a>,
        teacher: Option<TeacherRows>,
        rank: Rank,
    ) -> Result<Self> {
        let config = |window, threads, title| LoaderConfig {
            seed: settings.run.seed,
            window,
            threads,
            skipped: Some(lists.skipped.clone()),
            title,
        };
        let readers = settings.readers.max(1);
        let loader = || ClipLoader::new(&lists.found, settings);
        let noise = if lists.noise.clips() == 0 {
            NoisePool::default()
        } else {
            let config = config(NOISE_CLIPS, readers, "noise");
            let noise = DataLoader::start(
                &lists.noise,
                config,
                NoiseLoader::new(settings.normalization),
                0,
            )?;
            NoisePool::new(noise.window().iter().cloned().collect())
        };
        let dev = match lists.dev.clips() {
            0 => None,
            _ => {
                Some(DataLoader::start(&lists.dev, config(DEV_CLIPS, readers, "dev"), loader(), 0)?)
            }
        };
        let pool = |list: &std::sync::Arc<_>, window, threads| -> Result<RwLock<Pool>> {
            let loader = DataLoader::new(list, config(window, threads, "train"), loader())?;
            Ok(RwLock::new(Pool { loader, cumulative: Vec::new(), used: 0 }))
        };
        let workers = settings.run.shards.max(1);
        let all = workers * rank.count;
        let pools = if lists.train.clips() <= settings.window as u64 {
            vec![pool(&lists.train, settings.window, readers)?]
        } else {
            let own = rank.index * workers..(rank.index + 1) * workers;
            let (window, threads) = (settings.window.div_ceil(all), readers.div_ceil(workers));
            own.map(|worker| {
                let part = std::sync::Arc::new(lists.train.part(worker, all));
                pool(&part, window, threads)
            })
            .collect::<Result<_>>()?
        };
        Ok(Self {
            backbone: settings.backbone.clone(),
            frontend,
            pools,
            clips: lists.train.clips(),
            dev,
            mixer: Mixer::new(noise, Vec::new(), settings.background, settings.augmentation),
            teacher,
            streams: settings.streams,
            weights: settings.weights,
            infeasible: AtomicUsize::new(0),
            stretches: AtomicU64::new(0),
        })
    }

    /// Describes the training data of the model, for its model card.
    pub fn provenance(&self, settings: &Settings, sources: &[String]) -> String {
        let teacher = self.teacher.as_ref().map(|t| &t.teacher.teacher.name);
        format!(
            "{:.1} hours of {}{}; {} updates, seed {}",
            self.pool(0).mean_s() / 3_600.0 * self.clips as f64,
            sources.join(", "),
            teacher.map_or(String::new(), |name| format!(", taught by {name}")),
            settings.run.schedule.steps,
            settings.run.seed
        )
    }

    /// Returns the number of stretches whose labels did not fit into their steps, and of all
    /// stretches.
    pub fn infeasible(&self) -> (usize, u64) {
        (self.infeasible.load(Ordering::Relaxed), self.stretches.load(Ordering::Relaxed))
    }
}

impl Pretraining<'_> {
    /// Returns a training batch, and the number of clips in it. With a teacher, three in four rows
    /// come from its streams.
    fn batch<'c>(
        &self,
        next: impl FnMut(&mut StdRng) -> Option<&'c Clip>,
        rng: &mut StdRng,
    ) -> Result<(Batch, usize)> {
        let (streams, mixer) = (self.streams, &self.mixer);
        let Some(teacher) = &self.teacher else {
            let parts = Parts::gather(streams, mixer, next, rng);
            let mixer = self.with_speech(mixer, &parts);
            let mut builder = self.builder(&mixer, &parts);
            let used = builder.add_clips(&parts, parts.streams_for(streams), rng);
            return Ok((builder.build()?, used));
        };
        let parts = Parts::gather(streams / 4, mixer, next, rng);
        let rows_in_all = parts.streams_for(streams);
        let of_clips = if streams < 4 { 0 } else { (rows_in_all / 4).max(1) };
        let mixer = self.with_speech(mixer, &parts);
        let mut builder = self.builder(&mixer, &parts);
        let used = builder.add_clips(&parts, of_clips, rng);
        let [to_train, _] = teacher.split();
        for _ in of_clips..rows_in_all {
            builder.add_targets(teacher, to_train.clone(), rng);
        }
        Ok((builder.build()?, used))
    }

    /// Returns the mixer without augmentation of clips, and with another background.
    fn plain_mixer(&self, background: BackgroundMix) -> Mixer<'static> {
        let mut mixer = self.mixer.clone();
        (mixer.augmentation, mixer.background) = (FeatureAugmentation::NONE, background);
        mixer
    }

    /// Returns the mixer with the speech that babble is made of: the teacher's streams, or the
    /// clips of the batch.
    fn with_speech<'b>(&'b self, mixer: &Mixer<'static>, parts: &Parts<'b>) -> Mixer<'b> {
        mixer.with_speech(match &self.teacher {
            _ if mixer.background.babble_chance == 0.0 => Vec::new(),
            Some(teacher) => teacher.teacher.streams.iter().map(|s| &s.log_mel).collect(),
            None => parts.speech(),
        })
    }

    fn builder<'b>(&'b self, mixer: &'b Mixer<'b>, parts: &Parts<'_>) -> Builder<'b> {
        let shape = Shape {
            frames_per_step: self.backbone.frames_per_step,
            dimensions: self.teacher.as_ref().map_or(0, |t| t.teacher.dimensions),
            voice: self.weights.voice > 0.0,
        };
        Builder::new(&self.frontend, mixer, shape, parts)
    }

    /// Adds the error of the teacher's outputs on held-out streams, under one background.
    fn score_targets(
        &self,
        params: &Params,
        teacher: &TeacherRows,
        (index, background): (usize, BackgroundMix),
        score: &mut Score,
    ) -> Result<()> {
        let [_, held_out] = teacher.split();
        let mut rng = StdRng::seed_from_u64(0);
        let plain = self.plain_mixer(background);
        for first in held_out.clone().step_by(DEV_STREAMS) {
            let parts = Parts::gather(0, &plain, |_| None, &mut rng);
            let mixer = self.with_speech(&plain, &parts);
            let mut builder = self.builder(&mixer, &parts);
            for stream in first..held_out.end.min(first + DEV_STREAMS) {
                builder.add_targets(teacher, stream..stream + 1, &mut rng);
            }
            let batch = builder.build()?;
            let backbone = self.push(params, &batch, &mut Mode::Evaluate)?;
            score.add_targets(params, &backbone, &batch, index)?;
        }
        Ok(())
    }

    fn lock(&self, worker: usize) -> &RwLock<Pool> {
        &self.pools[worker.min(self.pools.len() - 1)]
    }

    fn pool(&self, worker: usize) -> RwLockReadGuard<'_, Pool> {
        self.lock(worker).read().unwrap_or_else(PoisonError::into_inner)
    }

    fn pool_mut(&self, worker: usize) -> RwLockWriteGuard<'_, Pool> {
        self.lock(worker).write().unwrap_or_else(PoisonError::into_inner)
    }

    /// Collects samples of every activation over rows of clips, half of them without augmentation.
    pub fn calibrate(&self, params: &Params, rng: &mut StdRng) -> Result<Samples> {
        let mut mode = Mode::Calibrate(Samples::new());
        let pool = self.pool(0);
        for round in 0..CALIBRATION_ROUNDS {
            let mixer = if round % 2 == 0 {
                self.plain_mixer(BackgroundMix::NONE)
            } else {
                let mut mixer = self.mixer.clone();
                mixer.augmentation = FeatureAugmentation::STRONG;
                mixer
            };
            let parts = Parts::gather(4, &mixer, |rng| pool.choose(rng), rng);
            let mixer = self.with_speech(&mixer, &parts);
            let mut builder = self.builder(&mixer, &parts);
            builder.add_clips(&parts, parts.streams_for(4), rng);
            self.push(params, &builder.build()?, &mut mode)?;
        }
        match mode {
            Mode::Calibrate(samples) => Ok(samples),
            Mode::Train(_) | Mode::Evaluate => Ok(Samples::new()),
        }
    }

    /// Computes the embeddings `[streams, steps, channels]`, on the device of the parameters.
    fn push(&self, params: &Params, batch: &Batch, mode: &mut Mode) -> Result<Tensor> {
        let features = batch.features.to_device(params.device())?;
        Ok(mode.run(&BackboneNetwork::new(&self.backbone, &params.builder())?, &features)?)
    }

    /// Returns the weighted sum of the losses of the tasks for which the batch has labels. Losses
    /// are computed on the CPU: CTC does not suit a GPU, and the labels stay where they are.
    fn loss_of(&self, params: &Params, backbone: &Tensor, batch: &Batch) -> Result<Option<Tensor>> {
        let mut sum: Option<Tensor> = None;
        for head in Head::ALL.into_iter().filter(|head| head.is_in(params)) {
            let logits = || -> Result<Tensor> {
                Ok(head.logits(params, backbone)?.to_device(&Device::Cpu)?)
            };
            let ctc = |segments: &[_]| -> Result<Option<Tensor>> {
                if segments.is_empty() {
                    return Ok(None);
                }
                let ctc = ctc_loss(&logits()?, segments)?;
                self.infeasible.fetch_add(ctc.infeasible, Ordering::Relaxed);
                self.stretches.fetch_add(segments.len() as u64, Ordering::Relaxed);
                Ok(Some(ctc.loss))
            };
            let loss = match head {
                Head::Tokens => ctc(&batch.tokens)?,
                Head::Words => ctc(&batch.words)?,
                Head::TeacherTargets => match &batch.teacher {
                    Some((targets, weights)) => Some(squared_error(&logits()?, targets, weights)?),
                    None => None,
                },
                Head::Voice => match &batch.voice {
                    Some((targets, weights)) => {
                        let labelled = weights.sum_all()?.to_scalar::<f32>()?;
                        let normalizer = f64::from(labelled.max(1.0));
                        Some(sigmoid_bce(&logits()?, targets, weights, normalizer, 0.0)?)
                    }
                    None => None,
                },
            };
            let Some(loss) = loss else { continue };
            let loss = (loss * self.weights.of(head))?;
            sum = Some(match sum {
                Some(sum) => (sum + loss)?,
                None => loss,
            });
        }
        Ok(sum)
    }
}

impl TrainStep for Pretraining<'_> {
    fn loss(&self, params: &Params, worker: usize, rng: &mut StdRng) -> Result<StepOutput> {
        let (batch, used) = {
            let pool = self.pool(worker);
            self.batch(|rng| pool.sample(rng), rng)?
        };
        self.pool_mut(worker).used += used as u64;
        let mut mode = Mode::train();
        let backbone = self.push(params, &batch, &mut mode)?;
        let loss = match self.loss_of(params, &backbone, &batch)? {
            Some(loss) => loss,
            None => Tensor::zeros((), candle_core::DType::F32, &Device::Cpu)?,
        };
        let moments = match mode {
            Mode::Train(moments) => moments,
            Mode::Evaluate | Mode::Calibrate(_) => Vec::new(),
        };
        Ok(StepOutput { loss, moments, examples: used.max(batch.tokens.len()) })
    }

    fn positions(&self, workers: usize) -> Vec<u64> {
        (0..workers).map(|worker| self.pool(worker).loader.position()).collect()
    }

    fn restore(&self, positions: &[u64]) -> Result<()> {
        for (worker, &position) in positions.iter().enumerate().take(self.pools.len()) {
            let mut pool = self.pool_mut(worker);
            pool.loader.restore(position)?;
            pool.weigh();
        }
        Ok(())
    }

    fn next_batch(&self) -> Result<()> {
        for worker in 0..self.pools.len() {
            let mut pool = self.pool_mut(worker);
            let used = std::mem::take(&mut pool.used);
            pool.loader.next_batch(used)?;
            if !pool.loader.is_whole() {
                pool.weigh();
            }
        }
        Ok(())
    }

    fn validate(&self, params: &Params, rank: Rank) -> Result<Vec<Metric>> {
        let Some(dev) = &self.dev else { return Ok(Vec::new()) };
        let mixer = self.plain_mixer(BackgroundMix::NONE);
        let mut left = dev.window().iter().peekable();
        let mut rng = StdRng::seed_from_u64(0);
        let (mut score, mut number) = (Score::default(), 0);
        while left.peek().is_some() {
            let parts = Parts::gather(DEV_STREAMS, &mixer, |_| left.next(), &mut rng);
            if rank.takes(number) {
                let mut builder = self.builder(&mixer, &parts);
                builder.add_clips(&parts, usize::MAX, &mut rng);
                let batch = builder.build()?;
                let backbone = self.push(params, &batch, &mut Mode::Evaluate)?;
                let loss = self.loss_of(params, &backbone, &batch)?;
                score.add(params, &backbone, &batch, loss.as_ref())?;
            }
            number += 1;
        }
        for (index, background) in HELD_OUT_BACKGROUNDS.into_iter().enumerate() {
            if let (Some(teacher), true) = (&self.teacher, rank.takes(index)) {
                self.score_targets(params, teacher, (index, background), &mut score)?;
            }
        }
        Ok(score.metrics(params))
    }
}
