//! Fine-tuning: trains a head for a new keyword on a frozen backbone, from a few recordings.
//!
//! The recordings are mixed into many streams, with other sound before, under and after them. The
//! quantized backbone runs over each stream once, from a warm state, exactly as on the device. Only
//! the head is trained, on these embeddings. The loss asks for one moment near the end of the
//! phrase at which the smoothed logit is high, and for low ones everywhere else. The detector
//! compares this smoothed logit with its threshold. The highest-scoring negatives are mined
//! repeatedly and sampled more often.

mod positives;
mod negative_bank;
mod train_step;
pub mod progress;
mod threshold;
mod backbone;

pub use backbone::{ENOUGH_TO_TUNE, Init, Trainable, tune, tune_ticking};
pub use negative_bank::{NegativeBank, features};
pub use positives::KeywordClips;
pub use threshold::RATES_PER_HOUR;

use rand::{SeedableRng, rngs::StdRng};
use wakeling_shared::detector::DetectorParams;

use crate::embeddings::embed_with_progress;
use crate::{
    evaluate::head_scores,
    head_checkpoint::{HeadCheckpoint, HeadMetadata, fingerprint},
    quantize::{QuantizedBackbone, ranges},
    trainer::{SHARDS, Trainer},
};
use positives::PositiveStream;
use progress::Stages;
use threshold::operating_points;
use train_step::{BatchMix, KeywordTrainStep, TrainingSet};
use wakeling_core::{Error, Result};
use wakeling_data::{
    mixing::{BackgroundMix, FeatureAugmentation, MelStream},
    negatives::Negatives,
    text::quoted,
};
use wakeling_nn::{
    head::{HeadConfig, input_gains},
    mode::Samples,
    optimizer::Schedule,
    params::Params,
    pretrained::PretrainedModel,
};

/// Difference between the seeds of two ensemble members.
const ENSEMBLE_SEED_STEP: u64 = 0x9E37_79B9;

/// Settings of a fine-tuning run.
#[derive(Clone, Debug, serde::Serialize, serde::Deserialize)]
pub struct Settings {
    /// Number of ensemble members: heads trained with different seeds and merged into one.
    #[serde(rename = "members")]
    pub ensemble_members: usize,
    /// Hidden channels of each member.
    pub hidden: usize,
    /// Number of taps and their spacing in seconds, for each temporal layer of the head.
    pub temporal: Vec<(usize, f64)>,
    /// Augmentation of the keyword's recordings.
    #[serde(rename = "distortion")]
    pub augmentation: FeatureAugmentation,
    /// Backgrounds of the streams with the keyword.
    pub background: BackgroundMix,
    /// Backgrounds of the negative streams.
    pub negative_background: BackgroundMix,
    /// Hours of negatives to train on. If there are fewer, clips are mixed several times, each time
    /// with another augmentation.
    pub negative_hours: f64,
    /// Minimum number of streams with the whole phrase, mixed from its recordings.
    #[serde(rename = "positive_rows")]
    pub positive_streams: usize,
    /// Training steps of each member.
    pub steps: usize,
    /// Training steps of the backbone, if it is fine-tuned.
    #[serde(rename = "trunk_steps")]
    pub backbone_steps: usize,
    /// Learning rate of a pretrained backbone, as a share of the head's.
    #[serde(rename = "trunk_rate_share")]
    pub backbone_rate_share: f64,
    /// Weight of the learning-without-forgetting loss, whose logits are scaled to unit variance.
    #[serde(rename = "keep_weight")]
    pub lwf_weight: f64,
    /// Peak learning rate.
    pub rate: f64,
    /// Decoupled weight decay.
    pub weight_decay: f64,
    /// Share of the backbone's channels that are hidden from the head, sampled anew for each
    /// window.
    pub dropout: f32,
    /// Start of the span in which the phrase may be detected, in seconds before its estimated end.
    pub early_s: f64,
    /// End of that span, in seconds after the phrase.
    pub late_s: f64,
    /// Length of the detector's moving average, in seconds.
    pub smoothing_s: f64,
    /// Refractory period in seconds: the time after a detection without another one.
    pub refractory_s: f64,
    /// Number of worker threads; the result does not depend on it.
    pub workers: usize,
    /// Seed of all random choices.
    pub seed: u64,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            ensemble_members: 3,
            hidden: 16,
            temporal: vec![(9, 0.04), (9, 0.1)],
            augmentation: FeatureAugmentation::STRONG,
            background: BackgroundMix::PHRASE,
            negative_background: BackgroundMix::NEGATIVE,
            // Three times the hours that ship; the figures of the README were measured with it.
            negative_hours: 14.0,
            positive_streams: 480,
            steps: 400,
            backbone_steps: 300,
            backbone_rate_share: 0.3,
            lwf_weight: 0.3,
            rate: 3e-3,
            weight_decay: 0.05,
            dropout: 0.2,
            early_s: 0.08,
            late_s: 0.36,
            smoothing_s: 0.1,
            refractory_s: 1.0,
            workers: crate::default_workers(),
            seed: 1,
        }
    }
}

impl Settings {
    /// Returns the shape of the head for a backbone with this step rate. The head spans 1.1 to 1.3
    /// s: embeddings represent local sounds, and a phrase is a sequence of them.
    fn head(&self, steps_per_second: f64) -> HeadConfig {
        let layer = |&(taps, spacing_s): &(usize, f64)| {
            (taps, ((spacing_s * steps_per_second).round() as usize).max(1))
        };
        HeadConfig { hidden: self.hidden, temporal: self.temporal.iter().map(layer).collect() }
    }

    fn detector(&self, threshold: i16, steps_per_second: f64) -> DetectorParams {
        DetectorParams {
            smoothing_steps: (self.smoothing_s * steps_per_second).round().max(1.0) as u8,
            threshold,
            refractory_steps: (self.refractory_s * steps_per_second) as u16,
        }
    }
}

/// Trains one head for `label` on its recordings.
///
/// # Errors
/// [`Error::Input`] if no recording holds a phrase.
pub fn finetune(
    pretrained: &PretrainedModel,
    backbone: &QuantizedBackbone,
    negatives: &Negatives,
    bank: &NegativeBank,
    label: &str,
    recordings: KeywordClips<'_>,
    settings: &Settings,
) -> Result<HeadCheckpoint> {
    let data = (negatives, bank);
    finetune_with_progress(pretrained, backbone, data, (label, recordings), settings, None)
}

/// As [`finetune`], with progress shown on one bar over all stages.
///
/// # Errors
/// As [`finetune`].
pub fn finetune_with_progress(
    pretrained: &PretrainedModel,
    backbone: &QuantizedBackbone,
    (negatives, bank): (&Negatives, &NegativeBank),
    (label, recordings): (&str, KeywordClips<'_>),
    settings: &Settings,
    stages: Option<&Stages>,
) -> Result<HeadCheckpoint> {
    let begin = |stage: String| stages.map_or((), |stages| stages.begin(stage));
    begin(format!("mixing and embedding {}", quoted(label)));
    let mut rng = StdRng::seed_from_u64(settings.seed);
    let around = positives::Around::of(negatives, label, &settings.background);
    let streams = positives::compose(
        recordings,
        &around,
        &settings.augmentation,
        settings.positive_streams,
        &mut rng,
    );
    if streams.is_empty() {
        return Err(no_phrase(label, recordings.of.len()));
    }
    let rate = pretrained.info.backbone.steps_per_second();
    let head = settings.head(rate);
    let tick = |stream: &MelStream| stages.map_or((), |stages| stages.embedded(stream.minutes()));
    let training_set = training_set(pretrained, backbone, (bank, label), streams, &tick)?;
    let stage = KeywordTrainStep::new(head.clone(), training_set, BatchMix::HEAD, settings);
    let (mut ensemble_members, mut samples) = (Vec::new(), Samples::new());
    let step = || stages.map_or((), Stages::step);
    let step: Option<&dyn Fn()> = stages.is_some().then_some(&step);
    let count = settings.ensemble_members.max(1);
    for member in 0..count {
        begin(format!("training {}, head {} of {count}", quoted(label), member + 1));
        let mut params = Params::default();
        head.init(&mut params, bank.rms.clone(), 1, &mut rng)?;
        let params = head_run(settings, member).train_ticking(&stage, params, step)?;
        for (layer, values) in stage.calibrate(&params)? {
            samples.entry(layer).or_default().extend(values);
        }
        ensemble_members.push(params);
    }
    let (head, params) = head.side_by_side(&ensemble_members)?;
    let info = HeadMetadata {
        label: label.to_owned(),
        pretrained: pretrained.info.name.clone(),
        pretrained_fingerprint: fingerprint(pretrained)?,
        head,
        ranges: ranges(&samples),
        detector: settings.detector(i16::MAX, rate),
        points: Vec::new(),
        recordings: recordings.of.len(),
    };
    let mut tuned = HeadCheckpoint { info, params };
    begin(format!("counting false accepts of {}", quoted(label)));
    let held_out = bank.held_out_without(label);
    let scores = head_scores(pretrained, backbone, &[tuned.entry(backbone)?], &held_out)?;
    let (points, threshold) = operating_points(&scores, &tuned.info.detector);
    tuned.info.points = points;
    tuned.info.detector.threshold = threshold;
    Ok(tuned)
}

/// Computes the embeddings that the heads of a keyword are trained on.
fn training_set<'a>(
    pretrained: &PretrainedModel,
    backbone: &QuantizedBackbone,
    (bank, label): (&'a NegativeBank, &str),
    streams: Vec<PositiveStream>,
    tick: &(dyn Fn(&MelStream) + Sync),
) -> Result<TrainingSet<'a>> {
    let phrases = streams.iter().map(|p| p.phrase).collect();
    let streams: Vec<MelStream> = streams.into_iter().map(|p| p.stream).collect();
    Ok(TrainingSet {
        positives: embed_with_progress(pretrained, backbone, &streams, tick)?,
        phrases,
        negatives: &bank.train.outputs,
        others: bank.train.without(label),
        code: backbone.output,
        gains: input_gains(&bank.rms),
        frames_per_step: pretrained.info.backbone.frames_per_step,
    })
}

fn head_run(settings: &Settings, member: usize) -> Trainer {
    Trainer {
        schedule: Schedule {
            steps: settings.steps,
            warmup_steps: settings.steps / 20 + 1,
            peak_rate: settings.rate,
            weight_decay: settings.weight_decay,
            clip_norm: 2.0,
            average_decay: 0.98,
            backbone_rate_share: 1.0,
        },
        shards: SHARDS,
        workers: settings.workers,
        seed: settings.seed.wrapping_add(ENSEMBLE_SEED_STEP.wrapping_mul(member as u64)),
        validate_every: 0,
        mine_every: (settings.steps / 8).max(1),
        folder: None,
        checkpoint_every: settings.steps,
        title: "finetune",
    }
}

fn no_phrase(label: &str, recordings: usize) -> Error {
    Error::input(
        label,
        format!("none of its {recordings} recordings holds a phrase"),
        "record it again, louder or nearer; see `wakeling finetune --help`",
    )
}
