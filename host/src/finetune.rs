//! Fine-tuning: a head for a new phrase on a frozen trunk, from a few recordings.
//!
//! The recordings are composed into many streams (other sound before, under and after them), the
//! quantized trunk hears each stream once, warm, exactly as the device does, and only the head is
//! trained on what it said. The loss asks for one moment near the end of the phrase at which the
//! smoothed logit, the number that the detector compares, is high, and for low ones everywhere else;
//! negatives that score highest are found again and again and drawn more often.

mod positives;
mod stage;

pub use positives::{Phrase, phrase_in};

use rand::{SeedableRng, rngs::StdRng};
use wakeling_shared::{
    artifact::OperatingPoint,
    detector::{DetectorParams, LOGIT_CLAMP},
};

use crate::{
    Error, Result,
    base::Base,
    compose::Distortion,
    evaluate::{Scores, head_scores, threshold_for},
    features::LogMel,
    negatives::{Negatives, Streams, TrunkOutputs, trunk_outputs},
    nn::{
        head::HeadConfig,
        optimizer::Schedule,
        params::Params,
        trunk::{Mode, Samples},
    },
    quantize::{QuantizedTrunk, ranges},
    train::Run,
    tuned::{Tuned, TunedInfo, fingerprint},
};
use stage::HeadStage;

/// One stream in so many is kept from training, to choose thresholds by.
const HELD_OUT_ONE_IN: usize = 4;
/// False accepts per hour for which thresholds are sought, strictest first.
pub const RATES_PER_HOUR: [f64; 4] = [0.1, 0.5, 1.0, 5.0];

/// Between the seeds of two members.
const MEMBER_SEEDS: u64 = 0x9E37_79B9;
/// False accepts per hour that a new word starts with.
const STARTING_RATE: f64 = 0.5;
/// Peaks of other speech from which a tail is estimated.
const TAIL_PEAKS: usize = 12;

/// Choices of a fine-tuning run.
#[derive(Clone, Debug, serde::Serialize, serde::Deserialize)]
pub struct Settings {
    /// Heads that are trained, each from other draws, and averaged into one.
    pub members: usize,
    /// Channels within each.
    pub hidden: usize,
    /// Taps of each temporal layer of the head, and the seconds between them.
    pub temporal: Vec<(usize, f64)>,
    /// What happens to the recordings of a word.
    pub distortion: Distortion,
    /// Streams composed from the recordings of a word, at least.
    pub positive_rows: usize,
    /// Updates of each member.
    pub steps: usize,
    /// Highest learning rate.
    pub rate: f64,
    /// Decoupled weight decay.
    pub weight_decay: f64,
    /// Share of the trunk's channels that the head does not see, drawn anew for each window.
    pub dropout: f32,
    /// The phrase may be heard from so many seconds before its end, which is only estimated …
    pub early_s: f64,
    /// … to so many after it.
    pub late_s: f64,
    /// Seconds that the detector averages.
    pub smoothing_s: f64,
    /// Seconds after a detection in which there is no other.
    pub refractory_s: f64,
    /// Worker threads.
    pub workers: usize,
    /// Seed of everything drawn.
    pub seed: u64,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            members: 3,
            hidden: 16,
            temporal: vec![(9, 0.04), (9, 0.1)],
            distortion: Distortion::STRONG,
            positive_rows: 480,
            steps: 400,
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
    /// Shape of the head for a trunk with so many steps a second. It spans 1.1 to 1.3 s: the trunk's
    /// outputs are local sounds, and a phrase is a sequence of them.
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

/// Other speech and noise as the trunk hears it, ready for any number of words.
pub struct Prepared {
    /// Streams to train on.
    train: TrunkOutputs,
    /// All that is known to be said in each of them.
    train_texts: Vec<String>,
    /// Streams to choose thresholds by.
    held_out: TrunkOutputs,
    /// All that is known to be said in each of them.
    held_out_texts: Vec<String>,
    /// Root mean square of each channel.
    rms: Vec<f32>,
}

impl Prepared {
    /// Runs the trunk over every negative stream.
    ///
    /// # Errors
    /// [`Error::Usage`] if there is less than a minute of them.
    pub fn new(
        base: &Base,
        trunk: &QuantizedTrunk,
        negatives: &Negatives,
        seed: u64,
    ) -> Result<Self> {
        let Streams { rows, texts } = negatives.streams(seed);
        let outputs = trunk_outputs(base, trunk, &rows)?;
        if outputs.streams.len() < 2 * HELD_OUT_ONE_IN {
            return Err(Error::usage(
                format!("{} minutes of other speech are too few", outputs.streams.len()),
                "give at least a quarter of an hour with --negatives, or use what ships with the base",
            ));
        }
        let rms = root_mean_squares(&outputs, trunk);
        let TrunkOutputs { channels, steps_per_second, .. } = outputs;
        let empty = || TrunkOutputs { channels, steps_per_second, streams: Vec::new() };
        let (mut train, mut held_out) = (empty(), empty());
        let (mut train_texts, mut held_out_texts) = (Vec::new(), Vec::new());
        for (i, (stream, text)) in outputs.streams.into_iter().zip(texts).enumerate() {
            let (part, texts) = if i % HELD_OUT_ONE_IN == 0 {
                (&mut held_out, &mut held_out_texts)
            } else {
                (&mut train, &mut train_texts)
            };
            part.streams.push(stream);
            texts.push(text);
        }
        Ok(Self { train, train_texts, held_out, held_out_texts, rms })
    }

    /// The held-out streams in which `phrase` is not known to be said.
    fn held_out_without(&self, phrase: &str) -> TrunkOutputs {
        let holding = Streams::holding(&self.held_out_texts, phrase);
        let streams = self.held_out.streams.iter().zip(holding).filter(|(_, holds)| !holds);
        TrunkOutputs { streams: streams.map(|(s, _)| s.clone()).collect(), ..self.held_out }
    }

    /// Adds what the trunk said of more streams, to train on only: no threshold is chosen by them.
    pub fn train_also(&mut self, outputs: TrunkOutputs) {
        self.train_texts.extend(vec![String::new(); outputs.streams.len()]);
        self.train.streams.extend(outputs.streams);
    }

    /// Hours that thresholds are chosen by.
    pub fn held_out_hours(&self) -> f64 {
        self.held_out.hours()
    }
}

fn root_mean_squares(outputs: &TrunkOutputs, trunk: &QuantizedTrunk) -> Vec<f32> {
    let mut sums = vec![0f64; outputs.channels];
    for column in outputs.streams.iter().flat_map(|s| s.chunks_exact(outputs.channels)) {
        for (sum, &q) in sums.iter_mut().zip(column) {
            *sum += f64::from(trunk.output.value(q)).powi(2);
        }
    }
    let steps = outputs.steps().max(1) as f64;
    // A channel that other speech hardly moves must not be blown up.
    let floor = sums.iter().sum::<f64>() / (steps * sums.len().max(1) as f64) * 0.05;
    sums.iter().map(|sum| (sum / steps).max(floor).sqrt() as f32).collect()
}

/// Trains one head for `label` on its recordings.
///
/// # Errors
/// [`Error::Usage`] if no recording holds a phrase.
pub fn finetune(
    base: &Base,
    trunk: &QuantizedTrunk,
    negatives: &Negatives,
    prepared: &Prepared,
    label: &str,
    recordings: &[LogMel],
    settings: &Settings,
) -> Result<Tuned> {
    let mut rng = StdRng::seed_from_u64(settings.seed);
    let around = positives::Around::of(negatives, label);
    let rows = positives::compose(
        recordings,
        &around,
        &settings.distortion,
        settings.positive_rows,
        &mut rng,
    );
    if rows.is_empty() {
        return Err(Error::usage(
            format!("none of the {} recordings of {label:?} holds a phrase", recordings.len()),
            "record it again, louder or nearer; see `wakeling finetune --help`",
        ));
    }
    let rate = base.info.trunk.steps_per_second();
    let head = settings.head(rate);
    let fresh = |rng: &mut StdRng| -> Result<Params> {
        let mut params = Params::default();
        head.init(&mut params, prepared.rms.clone(), rng)?;
        Ok(params)
    };
    let first = fresh(&mut rng)?;
    let stage = HeadStage::new(base, trunk, (prepared, label), rows, settings, (&head, &first))?;
    let run = |member: usize| Run {
        schedule: Schedule {
            steps: settings.steps,
            warmup_steps: settings.steps / 20 + 1,
            peak_rate: settings.rate,
            weight_decay: settings.weight_decay,
            clip_norm: 2.0,
            average_decay: 0.98,
        },
        workers: settings.workers,
        seed: settings.seed.wrapping_add(MEMBER_SEEDS.wrapping_mul(member as u64)),
        validate_every: 0,
        refresh_every: (settings.steps / 8).max(1),
        folder: None,
        checkpoint_every: settings.steps,
        title: "finetune",
    };
    let (mut members, mut samples) = (Vec::new(), Samples::new());
    for member in 0..settings.members.max(1) {
        let params = run(member).train(&stage, fresh(&mut rng)?)?;
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
        recordings: recordings.len(),
    };
    let mut tuned = Tuned { info, params };
    let held_out = prepared.held_out_without(label);
    let scores = head_scores(base, trunk, &[tuned.entry(trunk)?], &held_out)?;
    let (points, threshold) = operating_points(&scores, &tuned.info.detector);
    tuned.info.points = points;
    tuned.info.detector.threshold = threshold;
    Ok(tuned)
}

/// Thresholds for [`RATES_PER_HOUR`] that the audio can support, and the one to start with: for at
/// most [`STARTING_RATE`], counted if the audio is long enough for that, estimated if not.
fn operating_points(scores: &Scores, detector: &DetectorParams) -> (Vec<OperatingPoint>, i16) {
    let hours = scores.hours();
    let mut points: Vec<OperatingPoint> = Vec::new();
    for rate in RATES_PER_HOUR {
        let allowed = (rate * hours).floor() as usize;
        // Less than one event says nothing about a rate; one row says so for all such rates.
        if allowed == 0 && points.iter().any(|p| p.false_accepts == 0) {
            continue;
        }
        let (threshold, false_accepts) = threshold_for(scores, 0, detector, allowed);
        points.push(OperatingPoint {
            false_accepts: false_accepts as u32,
            audio_seconds: (hours * 3600.0) as u32,
            threshold,
        });
    }
    let counted = points.iter().rev().find(|p| f64::from(p.false_accepts) <= STARTING_RATE * hours);
    let threshold = match counted {
        Some(point) if STARTING_RATE * hours >= 1.0 => point.threshold,
        _ => estimated_threshold(scores, detector, STARTING_RATE),
    };
    (points, threshold)
}

/// The threshold for a rate that is too low to be counted: the highest peaks of other speech exceed
/// a high level by about an exponential variable, whose mean the highest [`TAIL_PEAKS`] estimate
/// (peaks over threshold: Pickands 1975, with shape 0).
fn estimated_threshold(scores: &Scores, detector: &DetectorParams, rate: f64) -> i16 {
    let peaks: Vec<f64> = (0..=TAIL_PEAKS)
        .map(|allowed| f64::from(threshold_for(scores, 0, detector, allowed).0))
        .collect();
    let (level, above) = (peaks[TAIL_PEAKS], &peaks[..TAIL_PEAKS]);
    let mean_excess = above.iter().map(|p| p - level).sum::<f64>() / TAIL_PEAKS as f64;
    let events = (TAIL_PEAKS + 1) as f64;
    let threshold = level + mean_excess * (events / (rate * scores.hours())).ln();
    threshold.clamp(peaks[0], f64::from(LOGIT_CLAMP)).round() as i16
}

/// Values of the head's activations over what it was trained on.
impl HeadStage<'_> {
    fn calibrate(&self, params: &Params) -> Result<Samples> {
        let mut mode = Mode::Calibrate(Samples::new());
        let mut rng = StdRng::seed_from_u64(0);
        for _ in 0..4 {
            let windows = self.windows(&mut rng);
            self.forward(params, &self.gather(&windows, None)?, &mut mode)?;
        }
        match mode {
            Mode::Calibrate(samples) => Ok(samples),
            Mode::Train(_) | Mode::Evaluate => Ok(Samples::new()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_too_low_to_count_is_estimated_from_the_tail() {
        // A peak a minute for two hours, exponentially distributed with a mean of 400.
        let hours = 2.0;
        let count = (hours * 60.0) as usize;
        let peak = |i: usize| -400.0 * ((i as f64 + 0.5) / count as f64).ln() - 2_000.0;
        let stream = (0..count)
            .flat_map(|i| [vec![peak((i * 37) % count) as i16], vec![-3_000; 2_999]].concat())
            .collect();
        let scores = Scores { words: 1, steps_per_second: 50.0, streams: vec![stream] };
        let detector = DetectorParams { smoothing_steps: 1, threshold: 0, refractory_steps: 50 };
        // A tenth of an event an hour: one in 600 peaks.
        let expected = 400.0 * 600f64.ln() - 2_000.0;
        let found = f64::from(estimated_threshold(&scores, &detector, 0.1));
        assert!((found - expected).abs() < 200.0, "{found}, about {expected} expected");
        let (points, threshold) = operating_points(&scores, &detector);
        assert!(points.iter().any(|p| p.threshold == threshold), "two hours suffice to count one");
        assert_eq!(points[0].false_accepts, 0);
    }
}
