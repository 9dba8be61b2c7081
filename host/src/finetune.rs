//! Fine-tuning: trains a head for a new keyword on a frozen backbone, from a few recordings.
//!
//! The recordings are mixed into many streams, with other sound before, under and after them. The
//! quantized backbone runs over each stream once, from a warm state, exactly as on the device. Only
//! the head is trained, on these embeddings. The loss asks for one moment near the end of the
//! phrase at which the smoothed logit is high, and for low ones everywhere else. The detector
//! compares this smoothed logit with its threshold. The highest-scoring negatives are mined
//! repeatedly and sampled more often.

mod positives;
mod prepared;
mod stage;
pub mod stages;
mod threshold;
mod tuning;

pub use positives::{Phrase, Recordings, phrase_in};
pub use prepared::{Prepared, features};
pub use threshold::RATES_PER_HOUR;
pub use tuning::{ENOUGH_TO_TUNE, Start, Train, tune, tune_ticking};

use rand::{SeedableRng, rngs::StdRng};
use wakeling_shared::detector::DetectorParams;

use crate::{
    Error, Result,
    base::Base,
    compose::{BackgroundMix, Distortion, Row},
    evaluate::head_scores,
    negatives::{Negatives, trunk_outputs_ticking},
    nn::{
        head::{HeadConfig, input_gains},
        optimizer::Schedule,
        params::Params,
        trunk::Samples,
    },
    quantize::{QuantizedTrunk, ranges},
    text::quoted,
    train::{Run, SHARDS},
    tuned::{Tuned, TunedInfo, fingerprint},
};
use positives::PositiveRow;
use stage::{Material, Share, WordStage};
use stages::Stages;
use threshold::operating_points;

/// Difference between the seeds of two ensemble members.
const MEMBER_SEEDS: u64 = 0x9E37_79B9;

/// Settings of a fine-tuning run.
#[derive(Clone, Debug, serde::Serialize, serde::Deserialize)]
pub struct Settings {
    /// Number of ensemble members: heads trained with different seeds and merged into one.
    pub members: usize,
    /// Hidden channels of each member.
    pub hidden: usize,
    /// Number of taps and their spacing in seconds, for each temporal layer of the head.
    pub temporal: Vec<(usize, f64)>,
    /// Augmentation of the keyword's recordings.
    pub distortion: Distortion,
    /// Backgrounds of the streams with the keyword.
    pub background: BackgroundMix,
    /// Backgrounds of the negative streams.
    pub negative_background: BackgroundMix,
    /// Hours of negatives to train on. If there are fewer, clips are mixed several times, each time
    /// with another augmentation.
    pub negative_hours: f64,
    /// Minimum number of streams with the whole phrase, mixed from its recordings.
    pub positive_rows: usize,
    /// Training steps of each member.
    pub steps: usize,
    /// Training steps of the backbone, if it is fine-tuned.
    pub trunk_steps: usize,
    /// Learning rate of a pretrained backbone, as a share of the head's.
    pub trunk_rate_share: f64,
    /// Weight of the learning-without-forgetting loss, whose logits are scaled to unit variance.
    pub keep_weight: f64,
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
            members: 3,
            hidden: 16,
            temporal: vec![(9, 0.04), (9, 0.1)],
            distortion: Distortion::STRONG,
            background: BackgroundMix::PHRASE,
            negative_background: BackgroundMix::NEGATIVE,
            // Three times the hours that ship; the figures of the README were measured with it.
            negative_hours: 14.0,
            positive_rows: 480,
            steps: 400,
            trunk_steps: 300,
            trunk_rate_share: 0.3,
            keep_weight: 0.3,
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
    base: &Base,
    trunk: &QuantizedTrunk,
    negatives: &Negatives,
    prepared: &Prepared,
    label: &str,
    recordings: Recordings<'_>,
    settings: &Settings,
) -> Result<Tuned> {
    let data = (negatives, prepared);
    finetune_with_progress(base, trunk, data, (label, recordings), settings, None)
}

/// As [`finetune`], with progress shown on one bar over all stages.
///
/// # Errors
/// As [`finetune`].
pub fn finetune_with_progress(
    base: &Base,
    trunk: &QuantizedTrunk,
    (negatives, prepared): (&Negatives, &Prepared),
    (label, recordings): (&str, Recordings<'_>),
    settings: &Settings,
    stages: Option<&Stages>,
) -> Result<Tuned> {
    let begin = |stage: String| stages.map_or((), |stages| stages.begin(stage));
    begin(format!("mixing and embedding {}", quoted(label)));
    let mut rng = StdRng::seed_from_u64(settings.seed);
    let around = positives::Around::of(negatives, label, &settings.background);
    let rows = positives::compose(
        recordings,
        &around,
        &settings.distortion,
        settings.positive_rows,
        &mut rng,
    );
    if rows.is_empty() {
        return Err(no_phrase(label, recordings.of.len()));
    }
    let rate = base.info.trunk.steps_per_second();
    let head = settings.head(rate);
    let tick = |row: &Row| stages.map_or((), |stages| stages.embedded(row.minutes()));
    let material = heard(base, trunk, (prepared, label), rows, &tick)?;
    let stage = WordStage::new(head.clone(), material, Share::HEAD, settings);
    let (mut members, mut samples) = (Vec::new(), Samples::new());
    let step = || stages.map_or((), Stages::step);
    let step: Option<&dyn Fn()> = stages.is_some().then_some(&step);
    let count = settings.members.max(1);
    for member in 0..count {
        begin(format!("training {}, head {} of {count}", quoted(label), member + 1));
        let mut params = Params::default();
        head.init(&mut params, prepared.rms.clone(), 1, &mut rng)?;
        let params = head_run(settings, member).train_ticking(&stage, params, step)?;
        for (layer, values) in stage.calibrate(&params)? {
            samples.entry(layer).or_default().extend(values);
        }
        members.push(params);
    }
    let (head, params) = head.side_by_side(&members)?;
    let info = TunedInfo {
        label: label.to_owned(),
        base: base.info.name.clone(),
        base_fingerprint: fingerprint(base)?,
        head,
        ranges: ranges(&samples),
        detector: settings.detector(i16::MAX, rate),
        points: Vec::new(),
        recordings: recordings.of.len(),
    };
    let mut tuned = Tuned { info, params };
    begin(format!("counting false accepts of {}", quoted(label)));
    let held_out = prepared.held_out_without(label);
    let scores = head_scores(base, trunk, &[tuned.entry(trunk)?], &held_out)?;
    let (points, threshold) = operating_points(&scores, &tuned.info.detector);
    tuned.info.points = points;
    tuned.info.detector.threshold = threshold;
    Ok(tuned)
}

/// Computes the embeddings that the heads of a keyword are trained on.
fn heard<'a>(
    base: &Base,
    trunk: &QuantizedTrunk,
    (prepared, label): (&'a Prepared, &str),
    rows: Vec<PositiveRow>,
    tick: &(dyn Fn(&Row) + Sync),
) -> Result<Material<'a>> {
    let phrases = rows.iter().map(|p| p.phrase).collect();
    let rows: Vec<Row> = rows.into_iter().map(|p| p.row).collect();
    Ok(Material {
        positives: trunk_outputs_ticking(base, trunk, &rows, tick)?,
        phrases,
        negatives: &prepared.train.outputs,
        others: prepared.train.without(label),
        code: trunk.output,
        gains: input_gains(&prepared.rms),
        frames_per_step: base.info.trunk.frames_per_step,
    })
}

fn head_run(settings: &Settings, member: usize) -> Run {
    Run {
        schedule: Schedule {
            steps: settings.steps,
            warmup_steps: settings.steps / 20 + 1,
            peak_rate: settings.rate,
            weight_decay: settings.weight_decay,
            clip_norm: 2.0,
            average_decay: 0.98,
            trunk_rate_share: 1.0,
        },
        shards: SHARDS,
        workers: settings.workers,
        seed: settings.seed.wrapping_add(MEMBER_SEEDS.wrapping_mul(member as u64)),
        validate_every: 0,
        refresh_every: (settings.steps / 8).max(1),
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
