//! Other speech and noise as a network hears it, made once for any number of words.

use rand::{SeedableRng, rngs::StdRng, seq::SliceRandom};

use crate::{
    Error, Result,
    base::Base,
    compose::Row,
    negatives::{Negatives, Streams, TrunkOutputs, says, trunk_outputs},
    quantize::QuantizedTrunk,
};

/// One stream in so many is kept from training, to choose thresholds by.
const HELD_OUT_ONE_IN: usize = 4;

/// Streams, and all that is known to be said in each of them.
pub struct Heard {
    /// What a network hears.
    pub outputs: TrunkOutputs,
    texts: Vec<String>,
}

impl Heard {
    /// Indices of the streams in which `phrase` is not known to be said.
    pub fn without(&self, phrase: &str) -> Vec<usize> {
        (0..self.texts.len()).filter(|&i| !says(&self.texts[i], phrase)).collect()
    }

    fn of(streams: Streams, hear: impl Fn(&[Row]) -> Result<TrunkOutputs>) -> Result<Self> {
        Ok(Self { outputs: hear(&streams.rows)?, texts: streams.texts })
    }
}

/// Other speech and noise, apart: what is trained on, and what thresholds are chosen by.
struct Parts {
    train: Streams,
    held_out: Streams,
}

impl Parts {
    /// Every clip is on one side only; each to train on is composed `copies` times, never alike.
    fn of(negatives: &Negatives, copies: usize, seed: u64) -> Result<Self> {
        let mut rng = StdRng::seed_from_u64(seed);
        let mut parts = [Negatives::default(), Negatives::default()];
        let mut order: Vec<usize> = (0..negatives.speech.len()).collect();
        order.shuffle(&mut rng);
        for (i, &clip) in order.iter().enumerate() {
            let part = &mut parts[usize::from(i % HELD_OUT_ONE_IN == 0)];
            part.speech.extend(negatives.speech.get(clip).cloned());
        }
        for (i, clip) in negatives.noise.iter().enumerate() {
            parts[usize::from(i % HELD_OUT_ONE_IN == 0)].noise.push(clip.clone());
        }
        let [train, held_out] = parts;
        let held_out = held_out.streams(seed);
        let mut streams = Streams::default();
        for copy in 0..copies.max(1) {
            let Streams { rows, texts } = train.streams(seed.wrapping_add(copy as u64));
            streams.rows.extend(rows);
            streams.texts.extend(texts);
        }
        if held_out.rows.len() < 2 {
            return Err(Error::usage(
                format!("{} minutes of other speech are too few", streams.rows.len()),
                "give at least a quarter of an hour with --negatives, or use what ships with the base",
            ));
        }
        Ok(Self { train: streams, held_out })
    }
}

/// The features of the streams that are trained on: what a trunk takes, step by step.
///
/// # Errors
/// [`Error::Usage`] if there are less than eight minutes of other speech.
pub fn features_to_train_on(base: &Base, negatives: &Negatives, seed: u64) -> Result<Heard> {
    Heard::of(Parts::of(negatives, 1, seed)?.train, |rows| Ok(features(base, rows)))
}

/// The features of streams as numbers of every step.
pub fn features(base: &Base, rows: &[Row]) -> TrunkOutputs {
    let frontend = base.tables.params(base.info.normalization);
    let channels = base.info.trunk.inputs();
    let whole = |row: &Row| {
        let mut features = row.features(&frontend);
        features.truncate(features.len() / channels * channels);
        features
    };
    TrunkOutputs {
        channels,
        steps_per_second: base.info.trunk.steps_per_second(),
        streams: rows.iter().map(whole).collect(),
    }
}

/// Other speech and noise as a trunk hears it, ready for any number of words.
pub struct Prepared {
    /// Streams to train on.
    pub train: Heard,
    /// Streams to choose thresholds by.
    held_out: Heard,
    /// Root mean square of each channel.
    pub rms: Vec<f32>,
}

impl Prepared {
    /// Runs the trunk over every negative stream.
    ///
    /// # Errors
    /// [`Error::Usage`] if there are less than eight minutes of them.
    pub fn new(
        base: &Base,
        trunk: &QuantizedTrunk,
        negatives: &Negatives,
        copies: usize,
        seed: u64,
    ) -> Result<Self> {
        let parts = Parts::of(negatives, copies, seed)?;
        let hear = |rows: &[Row]| trunk_outputs(base, trunk, rows);
        let train = Heard::of(parts.train, hear)?;
        let rms = root_mean_squares(&train.outputs, trunk);
        Ok(Self { train, held_out: Heard::of(parts.held_out, hear)?, rms })
    }

    /// The held-out streams in which `phrase` is not known to be said.
    pub fn held_out_without(&self, phrase: &str) -> TrunkOutputs {
        let all = &self.held_out.outputs;
        let kept = self.held_out.without(phrase);
        let streams = kept.iter().filter_map(|&i| all.streams.get(i).cloned()).collect();
        TrunkOutputs { streams, ..*all }
    }

    /// Adds what the trunk said of more streams, to train on only: no threshold is chosen by them.
    pub fn train_also(&mut self, outputs: TrunkOutputs) {
        self.train.texts.extend(vec![String::new(); outputs.streams.len()]);
        self.train.outputs.streams.extend(outputs.streams);
    }

    /// Hours that thresholds are chosen by.
    pub fn held_out_hours(&self) -> f64 {
        self.held_out.outputs.hours()
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
