//! Fine-tuning: trains a head for a new keyword on a frozen backbone, from a few recordings.
//!
//! The recordings are mixed into many streams, with other sound before, under and after them. The
//! quantized backbone runs over each stream once, from a warm state, exactly as on the device. Only
//! the head is trained, on these embeddings. The loss asks for one moment near the end of the
//! phrase at which the smoothed logit is high, and for low ones everywhere else. The detector
//! compares this smoothed logit with its threshold. The highest-scoring negatives are mined
//! repeatedly and sampled more often.

mod settings;
mod strategy;
mod positives;
mod negative_bank;
mod train_step;
pub mod progress;
mod threshold;
mod backbone;
mod keyword;
mod recipe;
mod on_board;

pub use backbone::train_backbone;
pub use keyword::Keyword;
pub use negative_bank::NegativeBank;
pub use on_board::{BoardChoice, BoardFit};
pub use positives::KeywordClips;
pub use recipe::{FalseWakes, FinetunedModel, MODEL_FILE, Recipe};
pub use settings::{DetectorSettings, HeadSettings, NoiseProfile, Settings, TrainSettings};
pub use strategy::{ENOUGH_TO_TUNE, Init, Strategy, Trainable};
pub use threshold::RATES_PER_HOUR;

use std::path::PathBuf;

use rand::{SeedableRng, rngs::StdRng};

use crate::embeddings::embed_with_progress;
use crate::{Error, Result};
use crate::{
    evaluate::head_scores,
    head_checkpoint::{HeadCheckpoint, HeadMetadata, fingerprint},
    quantize::{Backbone, ranges},
    trainer::{SHARDS, Trainer},
};
use positives::PositiveStream;
use progress::Stages;
use threshold::operating_points;
use train_step::{BatchMix, KeywordTrainStep, TrainingSet};
use wakeling_data::{
    mixing::MelStream,
    negatives::Negatives,
    text::{hash, quoted},
};
use wakeling_nn::{head::input_gains, mode::Samples, optimizer::Schedule, params::Params};

/// Difference between the seeds of two ensemble members.
const ENSEMBLE_SEED_STEP: u64 = 0x9E37_79B9;

/// Trains the head of one keyword on a frozen backbone, and chooses its thresholds.
///
/// # Errors
/// [`Error::NoPhrase`] if no recording holds a phrase; [`Error::Core`].
pub fn train_head(
    backbone: &Backbone,
    negatives: &Negatives,
    bank: &NegativeBank,
    keyword: KeywordClips<'_>,
    settings: &Settings,
    stages: &Stages<'_>,
) -> Result<HeadCheckpoint> {
    let label = keyword.label;
    stages.begin(format!("mixing and embedding {}", quoted(label)));
    let mut rng = StdRng::seed_from_u64(settings.train.seed);
    let streams = positive_streams(negatives, keyword, settings, stages, &mut rng)?;
    let rate = backbone.steps_per_second();
    let head = settings.head.config(rate);
    let training_set = training_set(backbone, bank, label, streams, stages)?;
    let step = KeywordTrainStep::new(head.clone(), training_set, BatchMix::HEAD, settings, stages);
    let (mut ensemble_members, mut samples) = (Vec::new(), Samples::new());
    let count = settings.head.ensemble_members.max(1);
    for member in 0..count {
        stages.begin(format!("training {}, head {} of {count}", quoted(label), member + 1));
        let mut params = Params::default();
        head.init(&mut params, bank.rms.clone(), 1, &mut rng)?;
        // Two labels may have the same file name, but not the same hash.
        let network = format!("head-{:016x}-{member}", hash(label));
        let trainer = trainer(&settings.train, member, stages.checkpoints(&network));
        let steps = stages.head(settings.train.steps);
        let params = trainer.train_ticking(&step, params, &|tick| steps.tick(tick))?;
        for (layer, values) in step.calibrate(&params)? {
            samples.entry(layer).or_default().extend(values);
        }
        ensemble_members.push(params);
    }
    let (head, params) = head.side_by_side(&ensemble_members)?;
    let info = HeadMetadata {
        label: label.to_owned(),
        pretrained: backbone.pretrained.info.name.clone(),
        pretrained_fingerprint: fingerprint(&backbone.pretrained)?,
        head,
        ranges: ranges(&samples),
        detector: settings.detector.params(i16::MAX, rate),
        points: Vec::new(),
        recordings: keyword.positives.len(),
    };
    let mut checkpoint = HeadCheckpoint { info, params };
    stages.begin(format!("counting false accepts of {}", quoted(label)));
    let held_out = bank.held_out_without(label);
    let scores = head_scores(backbone, &[checkpoint.entry(backbone)?], &held_out)?;
    stages.check()?;
    let (points, threshold) = operating_points(&scores, &checkpoint.info.detector);
    checkpoint.info.points = points;
    checkpoint.info.detector.threshold = threshold;
    Ok(checkpoint)
}

/// Mixes the streams of a keyword's recordings and hard negatives.
///
/// # Errors
/// [`Error::NoPhrase`] if no recording holds a phrase.
fn positive_streams(
    negatives: &Negatives,
    keyword: KeywordClips<'_>,
    settings: &Settings,
    stages: &Stages<'_>,
    rng: &mut StdRng,
) -> Result<Vec<PositiveStream>> {
    stages.check()?;
    let TrainSettings { augmentation, background, positive_streams, .. } = &settings.train;
    let mixer = negatives.mixer_without(keyword.label, background, augmentation);
    let streams = positives::mix_positives(keyword, &mixer, *positive_streams, rng);
    if streams.is_empty() {
        return Err(no_phrase(keyword.label, keyword.positives.len()));
    }
    Ok(streams)
}

/// Computes the embeddings that the heads of a keyword are trained on.
fn training_set<'a>(
    backbone: &Backbone,
    bank: &'a NegativeBank,
    label: &str,
    streams: Vec<PositiveStream>,
    stages: &Stages<'_>,
) -> Result<TrainingSet<'a>> {
    let phrases = streams.iter().map(|p| p.phrase).collect();
    let streams: Vec<MelStream> = streams.into_iter().map(|p| p.stream).collect();
    let tick = |stream: &MelStream| stages.embedded(stream.minutes());
    Ok(TrainingSet {
        positives: embed_with_progress(backbone, &streams, &tick)?,
        phrases,
        negatives: &bank.train.outputs,
        others: bank.train.without(label),
        code: backbone.int8.output,
        gains: input_gains(&bank.rms),
        frames_per_step: backbone.config().frames_per_step,
    })
}

fn trainer(settings: &TrainSettings, member: usize, checkpoints: Option<PathBuf>) -> Trainer {
    let mine_every = (settings.steps / 8).max(1);
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
        mine_every,
        folder: checkpoints,
        // A run that goes on from there mines the same negatives at once.
        checkpoint_every: mine_every,
        title: "finetune",
    }
}

fn no_phrase(label: &str, recordings: usize) -> Error {
    Error::NoPhrase { keyword: label.to_owned(), recordings }
}
