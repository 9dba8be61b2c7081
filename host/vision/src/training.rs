//! Training over images as a step of the common training loop: batches of augmented images, and a
//! loss over the known labels.
//!
//! With exactly one label per image, the classes are sampled equally often, so a rare class counts
//! as much as a common one. With several labels, the images are sampled equally often. The loss is
//! then the sum of the logistic losses of the known labels, divided by their number.

use candle_core::{Device, Result as TensorResult, Tensor};
use rand::{Rng, RngExt, rngs::StdRng};
use serde::Serialize;

use super::{
    Error, Labelling, Result,
    augment::Augment,
    dataset::{ImageSet, LabelledImage},
    file::ImageNetwork,
    metrics::{Measured, measure},
    network::NetworkConfig,
    pixels::value,
};
use wakeling_core::progress::Progress;
use wakeling_nn::{
    mode::Mode,
    ops::{sigmoid_bce::sigmoid_bce, softmax_cross_entropy::softmax_cross_entropy},
    optimizer::Schedule,
    params::Params,
};
use wakeling_train::{
    quantize,
    trainer::{Metric, Rank, SHARDS, StepOutput, TrainStep, Trainer},
};

/// Approximate maximum number of images for calibration.
const CALIBRATION: usize = 512;
/// Batch size of evaluation.
const EVALUATED_AT_ONCE: usize = 64;

/// Configuration of a training run.
///
/// [`finetune::Settings`](crate::finetune::Settings) makes one for fine-tuning.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Settings of the training loop.
    pub run: Trainer,
    /// Images per shard of a training step.
    pub batch: usize,
    /// Augmentation.
    pub augment: Augment,
    /// Index of the first part that is trained; see [`NetworkConfig::parts`].
    pub first_trained: usize,
}

/// Serializable part of [`Settings`].
#[derive(Serialize)]
pub struct Record {
    schedule: Schedule,
    workers: usize,
    seed: u64,
    batch: usize,
    augment: Augment,
    first_trained: usize,
}

impl Settings {
    /// Creates settings for `steps` training steps with peak learning rate `rate`.
    pub fn new(steps: usize, rate: f64, workers: usize, seed: u64) -> Self {
        Self {
            run: Trainer {
                schedule: Schedule {
                    steps,
                    warmup_steps: (steps / 20).clamp(1, 500),
                    peak_rate: rate,
                    weight_decay: 0.05,
                    clip_norm: 5.0,
                    average_decay: 0.99,
                    backbone_rate_share: 1.0,
                },
                shards: SHARDS,
                workers,
                seed,
                validate_every: 0,
                mine_every: 0,
                folder: None,
                checkpoint_every: 200,
                title: "images",
            },
            batch: 32,
            augment: Augment::default(),
            first_trained: 0,
        }
    }

    /// Returns the content of `settings.json`.
    pub fn record(&self) -> Record {
        Record {
            schedule: self.run.schedule,
            workers: self.run.workers,
            seed: self.run.seed,
            batch: self.batch,
            augment: self.augment,
            first_trained: self.first_trained,
        }
    }
}

/// Trains a network on images, then calibrates the ranges of its activations. Draws a bar on stderr.
/// Metrics on `held_out` are computed during training.
///
/// # Errors
/// [`Error::NoLabel`] if no image has a label; else as [`Trainer::train`].
pub fn train(
    network: ImageNetwork,
    images: &ImageSet,
    held_out: Option<&ImageSet>,
    settings: &Settings,
) -> Result<ImageNetwork> {
    let run = |step: &ImageTrainStep<'_>, params| Ok(settings.run.train(step, params)?);
    train_by(run, network, images, held_out, settings)
}

/// Trains a network as [`train`] does, and reports to `progress` instead of drawing a bar.
///
/// # Errors
/// As [`train`]; an error for which [`Error::is_cancelled`] is `true`.
pub fn train_with_progress(
    network: ImageNetwork,
    images: &ImageSet,
    held_out: Option<&ImageSet>,
    settings: &Settings,
    progress: &dyn Progress,
) -> Result<ImageNetwork> {
    let run = |step: &ImageTrainStep<'_>, params| {
        Ok(settings.run.train_with_progress(step, params, progress)?)
    };
    train_by(run, network, images, held_out, settings)
}

fn train_by(
    run: impl Fn(&ImageTrainStep<'_>, Params) -> Result<Params>,
    mut network: ImageNetwork,
    images: &ImageSet,
    held_out: Option<&ImageSet>,
    settings: &Settings,
) -> Result<ImageNetwork> {
    let ImageNetwork { info, params } = &network;
    let by_class = groups(images);
    if by_class.is_empty() {
        return Err(Error::NoLabel);
    }
    let stage = ImageTrainStep { config: &info.network, images, held_out, settings, by_class };
    let params = run(&stage, params.detached()?)?;
    network.params = params;
    calibrate(&mut network, images)?;
    Ok(network)
}

/// Groups the images for sampling: one group per class, or one group of all images with a known
/// label.
fn groups(images: &ImageSet) -> Vec<Vec<usize>> {
    let all = || images.all.iter().enumerate();
    let mut groups: Vec<Vec<usize>> = match images.labelling {
        Labelling::OneOf => (0..images.labels.len())
            .map(|class| all().filter(|(_, p)| p.class() == Some(class)).map(|(i, _)| i).collect())
            .collect(),
        Labelling::Several => {
            let known = |p: &LabelledImage| p.answers.iter().any(Option::is_some);
            vec![all().filter(|(_, p)| known(p)).map(|(i, _)| i).collect()]
        }
    };
    groups.retain(|group| !group.is_empty());
    groups
}

/// Training images, held-out images and settings of a run.
struct ImageTrainStep<'a> {
    config: &'a NetworkConfig,
    images: &'a ImageSet,
    held_out: Option<&'a ImageSet>,
    settings: &'a Settings,
    by_class: Vec<Vec<usize>>,
}

impl ImageTrainStep<'_> {
    fn sample(&self, rng: &mut impl Rng) -> &LabelledImage {
        let group = &self.by_class[rng.random_range(0..self.by_class.len())];
        &self.images.all[group[rng.random_range(0..group.len())]]
    }
}

impl TrainStep for ImageTrainStep<'_> {
    fn loss(
        &self,
        params: &Params,
        _: usize,
        rng: &mut StdRng,
    ) -> wakeling_train::Result<StepOutput> {
        let Settings { batch, augment, first_trained, .. } = *self.settings;
        let sampled: Vec<&LabelledImage> = (0..batch).map(|_| self.sample(rng)).collect();
        let mut x = Vec::with_capacity(batch * self.images.shape.bytes());
        for image in &sampled {
            x.extend(augment.transform(&image.pixels, self.images.shape, rng));
        }
        let mut mode = Mode::train();
        let x = tensor(self.config, batch, x)?;
        let logits = self.config.forward(params, &x, &mut mode, first_trained)?;
        let loss = loss(&logits, &sampled, self.images.labelling)?;
        let moments = if let Mode::Train(moments) = mode { moments } else { Vec::new() };
        Ok(StepOutput { loss, moments, examples: batch })
    }

    fn validate(&self, params: &Params, _: Rank) -> wakeling_train::Result<Vec<Metric>> {
        let Some(held_out) = self.held_out else { return Ok(Vec::new()) };
        let Measured { accuracy, auc, .. } =
            measure(held_out, &logits(self.config, params, held_out)?);
        Ok(vec![Metric::mean("accuracy", accuracy.share(), 1.0), Metric::mean("auc", auc, 1.0)])
    }
}

/// Creates a tensor `[B, H, W, C]`.
fn tensor(config: &NetworkConfig, batch: usize, values: Vec<f32>) -> TensorResult<Tensor> {
    let shape = (batch, config.height, config.width, config.channels);
    Tensor::from_vec(values, shape, &Device::Cpu)
}

fn loss(logits: &Tensor, sampled: &[&LabelledImage], labelling: Labelling) -> TensorResult<Tensor> {
    match labelling {
        Labelling::OneOf => {
            let classes: Vec<u32> = sampled.iter().map(|p| p.class().unwrap_or(0) as u32).collect();
            softmax_cross_entropy(logits, &classes, None)
        }
        Labelling::Several => {
            let answers = || sampled.iter().flat_map(|p| &p.answers);
            let weights: Vec<f32> = answers().map(|a| f32::from(u8::from(a.is_some()))).collect();
            let targets: Vec<f32> =
                answers().map(|a| f32::from(u8::from(*a == Some(true)))).collect();
            let known = weights.iter().sum::<f32>().max(1.0);
            let tensor = |v: Vec<f32>| Tensor::from_vec(v, logits.shape(), &Device::Cpu);
            sigmoid_bce(logits, &tensor(targets)?, &tensor(weights)?, known.into(), 0.0)
        }
    }
}

/// Computes the float network's logits of each image.
pub fn logits(
    config: &NetworkConfig,
    params: &Params,
    images: &ImageSet,
) -> wakeling_nn::Result<Vec<Vec<f32>>> {
    let mut all = Vec::new();
    for images in images.all.chunks(EVALUATED_AT_ONCE) {
        let logits = forward(config, params, images, &mut Mode::Evaluate)?;
        all.extend(logits.to_vec2()?);
    }
    Ok(all)
}

fn forward(
    config: &NetworkConfig,
    params: &Params,
    images: &[LabelledImage],
    mode: &mut Mode,
) -> wakeling_nn::Result<Tensor> {
    let pixels = images.iter().flat_map(|p| &p.pixels).map(|&p| value(f32::from(p)));
    let x = tensor(config, images.len(), pixels.collect())?;
    // All parts are frozen, so no graph is built.
    config.forward(params, &x, mode, config.parts())
}

/// Measures the ranges of activations on images without augmentation.
///
/// # Errors
/// [`Error::Nn`] if the weights do not fit the network.
pub fn calibrate(network: &mut ImageNetwork, images: &ImageSet) -> Result<()> {
    let mut mode = Mode::Calibrate(Default::default());
    let every = images.all.len().div_ceil(CALIBRATION).max(1);
    let some: Vec<LabelledImage> = images.all.iter().step_by(every).cloned().collect();
    for images in some.chunks(EVALUATED_AT_ONCE) {
        forward(&network.info.network, &network.params, images, &mut mode)?;
    }
    if let Mode::Calibrate(samples) = mode {
        network.info.ranges = quantize::ranges(&samples);
    }
    Ok(())
}
