//! Fine-tuning of the backbone: its last blocks, or all of it, on the keywords at hand.
//!
//! With many recordings, a backbone can learn what a head on a frozen one cannot. It must not
//! forget the rest of speech, from which keywords are to be distinguished, and transcripts are
//! rarely available at this point. The loss therefore holds the outputs of the pretraining heads
//! for every window to their values before fine-tuning (Li & Hoiem 2016, "Learning without
//! Forgetting", with the squared error of logits: Ba & Caruana 2014). All keywords of a run share
//! one backbone. Afterwards it is calibrated and quantized again, and heads are trained on it as on
//! any other.

use std::{ops::Range, path::PathBuf};

use candle_core::{Device, Tensor};
use rand::{RngExt, SeedableRng, rngs::StdRng};
use wakeling_shared::model::UNIT;

use super::{
    Settings, TrainSettings,
    negative_bank::{EncodedNegatives, features, features_to_train_on},
    positive_streams,
    positives::{KeywordClips, PositiveStream},
    progress::Stages,
    strategy::{Init, Strategy},
    train_step::{BatchMix, KeywordTrainStep, Network, TrainingSet},
};
use crate::Result;
use crate::embeddings::Embeddings;
use crate::{
    quantize::{QuantParams, ranges},
    trainer::{SHARDS, StepOutput, TrainStep, Trainer},
};
use wakeling_data::negatives::Negatives;
use wakeling_nn::{
    INPUT_SCALE,
    backbone::{BackboneNetwork, Blocks, Stem},
    head::{HeadConfig, HeadNetwork},
    mode::{Mode, Samples},
    ops::{linear::linear, squared_error::squared_error},
    optimizer::Schedule,
    params::Params,
    pretrained::PretrainedModel,
};

/// Windows per worker and training step. A window of features costs a hundred times as much as one
/// of embeddings.
const MIX: BatchMix = BatchMix { positives: 10, partial_phrases: 3, negatives: 15 };
/// Number of streams of each kind for calibrating a fine-tuned backbone.
const CALIBRATION_STREAMS: usize = 24;

/// Fine-tunes a pretrained model's backbone on keywords. The result keeps the pretraining heads,
/// unless the strategy starts from scratch.
///
/// # Errors
/// [`Error::FewBlocks`](crate::Error::FewBlocks) if the backbone has fewer blocks than are to be
/// trained; [`Error::NoPhrase`](crate::Error::NoPhrase) if no recording of a keyword holds a
/// phrase; [`Error::Core`](crate::Error::Core).
pub fn train_backbone(
    pretrained: &PretrainedModel,
    strategy: Strategy,
    negatives: &Negatives,
    keywords: &[KeywordClips<'_>],
    settings: &Settings,
    stages: &Stages<'_>,
) -> Result<PretrainedModel> {
    stages.begin("training the backbone");
    let mut rng = StdRng::seed_from_u64(settings.train.seed);
    let moving = strategy.train.blocks(&pretrained.info.backbone)?;
    let pretrained = &match strategy.init {
        Init::Pretrained => pretrained.clone(),
        Init::Scratch(percent) => scratch(pretrained, percent, &mut rng)?,
    };
    let others = features_to_train_on(pretrained, negatives, &settings.train, stages)?;
    let head = settings.head.config(pretrained.info.backbone.steps_per_second());
    let outputs = sample(pretrained, &others.outputs)?;
    let gains = output_gains(&outputs)?;
    let lwf = match strategy.init {
        Init::Pretrained => Some(LwfLoss::of(pretrained, &outputs, settings.train.lwf_weight)?),
        Init::Scratch(_) => None,
    };
    let mut params = moving_params(pretrained, moving.as_ref())?;
    let channels = pretrained.info.backbone.channels;
    head.init(&mut params, vec![1.0; channels], keywords.len(), &mut rng)?;
    let mut steps = Vec::new();
    for (column, &keyword) in keywords.iter().enumerate() {
        let network = UnfrozenNetwork {
            pretrained,
            moving: moving.clone(),
            head: head.clone(),
            column,
            words: keywords.len(),
            gains: gains.clone(),
            lwf: lwf.clone(),
        };
        let streams = positive_streams(negatives, keyword, settings, stages, &mut rng)?;
        let training_set = training_set(pretrained, &others, keyword.label, streams, stages)?;
        let mut settings = settings.clone();
        settings.train.dropout = 0.0;
        steps.push(KeywordTrainStep::new(network, training_set, MIX, &settings, stages));
    }
    let step = Joint { steps };
    let trainer = trainer(&settings.train, strategy.init, stages.checkpoints("backbone"));
    let steps = stages.backbone(settings.train.backbone_steps);
    let params = trainer.train_ticking(&step, params, &|tick| steps.tick(tick))?;
    with_trained(pretrained, &params, &step, stages)
}

fn trainer(settings: &TrainSettings, init: Init, checkpoints: Option<PathBuf>) -> Trainer {
    let mine_every = (settings.backbone_steps / 5).max(1);
    let rate_share = match init {
        Init::Pretrained => settings.backbone_rate_share,
        Init::Scratch(_) => 1.0,
    };
    Trainer {
        schedule: Schedule {
            steps: settings.backbone_steps,
            warmup_steps: settings.backbone_steps / 20 + 1,
            peak_rate: settings.rate,
            weight_decay: settings.weight_decay,
            clip_norm: 2.0,
            average_decay: 0.98,
            backbone_rate_share: rate_share,
        },
        shards: SHARDS,
        workers: settings.workers,
        seed: settings.seed,
        validate_every: 0,
        mine_every,
        folder: checkpoints,
        checkpoint_every: mine_every,
        title: "trunk",
    }
}

/// Returns the pretrained model with random weights, this percentage of its channels, and no
/// pretraining heads.
fn scratch(
    pretrained: &PretrainedModel,
    percent: u16,
    rng: &mut StdRng,
) -> Result<PretrainedModel> {
    let mut pretrained = PretrainedModel { params: Params::default(), ..pretrained.clone() };
    let channels = pretrained.info.backbone.channels * usize::from(percent) / 100;
    pretrained.info.backbone.channels = channels.next_multiple_of(UNIT).max(UNIT);
    pretrained.info.backbone.init(&mut pretrained.params, rng)?;
    pretrained.info.provenance = "from scratch".into();
    Ok(pretrained)
}

/// Returns a copy of the trainable parameters, with all running statistics.
fn moving_params(pretrained: &PretrainedModel, moving: Option<&Range<usize>>) -> Result<Params> {
    let mut params = pretrained.params.detached()?;
    for (name, _) in pretrained.params.vars() {
        let block = name.strip_prefix("trunk.").map(|rest| rest[..2.min(rest.len())].parse());
        let moves = match (block, moving) {
            (None, _) => false,
            (Some(_), None) => true,
            (Some(Ok(block)), Some(moving)) => moving.contains(&block),
            (Some(Err(_)), Some(_)) => false,
        };
        if !moves {
            params.forget(&name);
        }
    }
    Ok(params)
}

fn training_set<'a>(
    pretrained: &PretrainedModel,
    others: &'a EncodedNegatives,
    label: &str,
    streams: Vec<PositiveStream>,
    stages: &Stages<'_>,
) -> Result<TrainingSet<'a>> {
    let phrases = streams.iter().map(|p| p.phrase).collect();
    let streams: Vec<_> = streams.into_iter().map(|p| p.stream).collect();
    let positives = features(pretrained, &streams, stages)?;
    Ok(TrainingSet {
        code: QuantParams::INPUT,
        gains: vec![1.0; positives.channels],
        positives,
        phrases,
        negatives: &others.outputs,
        others: others.without(label),
        frames_per_step: pretrained.info.backbone.frames_per_step,
    })
}

/// Backbone and head on features, and the column of the head's logits for one keyword.
struct UnfrozenNetwork<'a> {
    pretrained: &'a PretrainedModel,
    /// Blocks that are trained; `None` means all blocks and the stem.
    moving: Option<Range<usize>>,
    head: HeadConfig,
    /// Gain of each channel at the head's input.
    gains: Tensor,
    column: usize,
    /// Number of columns.
    words: usize,
    lwf: Option<LwfLoss>,
}

impl UnfrozenNetwork<'_> {
    /// Computes the input of the trained part: the features, or the output of the blocks below it.
    fn below(&self, x: &Tensor) -> Result<Tensor> {
        let (config, frozen) = (&self.pretrained.info.backbone, &self.pretrained.params);
        let Some(moving) = &self.moving else { return Ok(x.clone()) };
        let stem = Mode::Evaluate.run(&Stem::new(config, &frozen.builder())?, x)?;
        let blocks = Blocks::new(config, 0..moving.start, &frozen.builder())?;
        Ok(Mode::Evaluate.run(&blocks, &stem)?.detach())
    }

    /// Computes the embeddings from the output of `below`, with these weights for the trained part.
    fn outputs(&self, params: &Params, below: &Tensor, mode: &mut Mode) -> Result<Tensor> {
        let config = &self.pretrained.info.backbone;
        let vb = params.builder();
        match &self.moving {
            Some(moving) => Ok(mode.run(&Blocks::new(config, moving.clone(), &vb)?, below)?),
            None => Ok(mode.run(&BackboneNetwork::new(config, &vb)?, below)?),
        }
    }

    fn head(&self, params: &Params, outputs: &Tensor) -> Result<Tensor> {
        let outputs = outputs.broadcast_mul(&self.gains)?;
        let channels = self.pretrained.info.backbone.channels;
        let head = HeadNetwork::new(&self.head, channels, self.words, &params.builder())?;
        let logits = Mode::Evaluate.run(&head, &outputs)?;
        Ok(logits.narrow(2, self.column, 1)?.squeeze(2)?)
    }
}

impl Network for UnfrozenNetwork<'_> {
    fn history(&self) -> usize {
        self.pretrained.info.backbone.receptive_field() - 1 + self.head.history()
    }

    fn logits(
        &self,
        params: &Params,
        x: &Tensor,
        mode: &mut Mode,
    ) -> Result<(Tensor, Option<Tensor>)> {
        let below = self.below(x)?;
        let outputs = self.outputs(params, &below, mode)?;
        let lwf = match &self.lwf {
            Some(lwf) => {
                let before = self.outputs(&self.pretrained.params, &below, &mut Mode::Evaluate)?;
                Some(lwf.loss(&outputs, &before.detach())?)
            }
            None => None,
        };
        Ok((self.head(params, &outputs)?, lwf))
    }

    fn scores(&self, params: &Params, x: &Tensor) -> Result<Tensor> {
        let outputs = self.outputs(params, &self.below(x)?, &mut Mode::Evaluate)?;
        self.head(params, &outputs)
    }

    fn training_mode(&self) -> Mode {
        // A pretrained backbone keeps its statistics: windows around keywords do not represent all
        // speech.
        if self.lwf.is_some() { Mode::Evaluate } else { Mode::train() }
    }
}

/// Learning-without-forgetting loss: keeps the outputs of the pretraining heads.
#[derive(Clone)]
struct LwfLoss {
    /// Weights of the pretraining heads, `[channels, outputs]`, scaled so that each output has unit
    /// variance. The identity if the model has no such heads.
    weights: Tensor,
    /// Weight of this loss.
    weight: f64,
}

impl LwfLoss {
    /// Creates the loss for a pretrained model. The scales come from `outputs`, `[steps,
    /// channels]`: the backbone's embeddings of negatives.
    fn of(pretrained: &PretrainedModel, outputs: &Tensor, weight: f64) -> Result<Self> {
        let channels = pretrained.info.backbone.channels;
        let mut heads = Vec::new();
        for name in ["ctc.weight", "words.weight"] {
            if pretrained.params.builder().contains_tensor(name) {
                heads.push(pretrained.params.get(name)?.detach());
            }
        }
        let weights = if heads.is_empty() {
            Tensor::eye(channels, candle_core::DType::F32, &Device::Cpu)?
        } else {
            Tensor::cat(&heads, 1)?
        };
        let embeddings = outputs.matmul(&weights)?;
        let mean = embeddings.mean_keepdim(0)?;
        let variance = embeddings.broadcast_sub(&mean)?.sqr()?.mean_keepdim(0)?;
        let deviation = (variance + 1e-6)?.sqrt()?;
        Ok(Self { weights: weights.broadcast_div(&deviation)?, weight })
    }

    fn loss(&self, outputs: &Tensor, before: &Tensor) -> Result<Tensor> {
        let embeddings = linear(outputs, &self.weights, None)?;
        let was = linear(before, &self.weights, None)?.detach();
        let streams =
            embeddings.elem_count() / embeddings.dims().last().copied().unwrap_or(1).max(1);
        Ok((squared_error(&embeddings, &was, &vec![1.0; streams])? * self.weight)?)
    }
}

/// Returns the reciprocal root mean square of each channel, the gain that heads on a frozen
/// backbone use too.
fn output_gains(outputs: &Tensor) -> Result<Tensor> {
    let squares = outputs.sqr()?.mean(0)?;
    // A channel that is almost constant over speech must not be amplified without limit.
    let floor = (squares.mean_all()?.to_scalar::<f32>()? * 0.05).max(1e-6);
    Ok(squares.maximum(f64::from(floor))?.sqrt()?.recip()?)
}

/// Computes the embeddings `[steps, channels]` of the first four streams.
fn sample(pretrained: &PretrainedModel, others: &Embeddings) -> Result<Tensor> {
    let x = stacked(others, 4)?;
    let outputs = Mode::Evaluate.run(&pretrained.network()?, &x)?.detach();
    let channels = pretrained.info.backbone.channels;
    Ok(outputs.reshape((outputs.elem_count() / channels, channels))?)
}

/// Returns the first `count` streams as one input `[streams, steps, channels]`, cut to the
/// shortest.
fn stacked(streams: &Embeddings, count: usize) -> Result<Tensor> {
    let first: Vec<&Vec<i8>> = streams.streams.iter().take(count).collect();
    let length = first.iter().map(|s| s.len()).min().unwrap_or(0);
    let values =
        first.iter().flat_map(|s| s.iter().take(length)).map(|&q| f32::from(q) * INPUT_SCALE);
    let shape = (first.len(), length / streams.channels, streams.channels);
    Ok(Tensor::from_vec(values.collect::<Vec<f32>>(), shape, &Device::Cpu)?)
}

/// One backbone for several keywords: each training step of a worker uses one of them.
struct Joint<'a> {
    steps: Vec<KeywordTrainStep<'a, UnfrozenNetwork<'a>>>,
}

impl TrainStep for Joint<'_> {
    fn loss(&self, params: &Params, worker: usize, rng: &mut StdRng) -> Result<StepOutput> {
        self.steps[rng.random_range(0..self.steps.len())].loss(params, worker, rng)
    }

    fn mine_hard_negatives(&self, params: &Params) -> Result<()> {
        self.steps.iter().try_for_each(|step| step.mine_hard_negatives(params))
    }

    fn gathered(&self) -> String {
        self.steps.iter().map(TrainStep::gathered).collect::<Vec<_>>().join("|")
    }

    fn restore_gathered(&self, gathered: &str) {
        for (step, gathered) in self.steps.iter().zip(gathered.split('|')) {
            step.restore_gathered(gathered);
        }
    }
}

/// Returns the pretrained model with the fine-tuned parameters, calibrated again.
fn with_trained(
    pretrained: &PretrainedModel,
    params: &Params,
    joint: &Joint<'_>,
    stages: &Stages<'_>,
) -> Result<PretrainedModel> {
    let mut pretrained =
        PretrainedModel { params: pretrained.params.detached()?, ..pretrained.clone() };
    for (name, var) in params.vars().filter(|(name, _)| name.starts_with("trunk.")) {
        let values = params.values(&name)?;
        pretrained.params.insert(name, var.dims(), values)?;
    }
    pretrained.params.track_all(params, "")?;
    pretrained.params.remove("head.");
    let mut mode = Mode::Calibrate(Samples::new());
    for step in &joint.steps {
        for streams in step.streams() {
            stages.check()?;
            let x = stacked(streams, CALIBRATION_STREAMS)?;
            mode.run(&pretrained.network()?, &x)?;
        }
    }
    pretrained.info.ranges = ranges(&mode.samples());
    pretrained.info.name = format!("{}-tuned", pretrained.info.name);
    Ok(pretrained)
}
