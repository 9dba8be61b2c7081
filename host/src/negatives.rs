//! What a wake word is not: other speech and noise, as streams, and as what the trunk makes of them.
//!
//! A frozen trunk turns each stream once into int8 outputs, by the very engine of the device; heads
//! then train on the outputs, cheaply and for any number of words.

use rand::{RngExt, SeedableRng, rngs::StdRng, seq::SliceRandom};
use rayon::prelude::*;
use wakeling_shared::{artifact::Model, engine::Engine, frontend::MEL_CHANNELS};

use crate::{
    Error, Result,
    base::Base,
    compose::{Distortion, NoisePool, Row, loudness},
    features::LogMel,
    quantize::{CardText, QuantizedTrunk, with_model},
};

/// Steps of a trunk a second: two frames of 10 ms each.
pub const STEPS_PER_SECOND: f64 = 50.0;
/// Frames of a negative stream: 60 s.
const STREAM_FRAMES: usize = 6_000;
/// Longest pause between clips, in frames.
const LONGEST_PAUSE: usize = 80;

/// Other speech and noise, as cached log-mel frames.
#[derive(Clone, Debug, Default)]
pub struct Negatives {
    /// Speech without the wake word.
    pub speech: Vec<LogMel>,
    /// Noise and music.
    pub noise: Vec<LogMel>,
}

/// What a trunk said, step by step, for several streams.
#[derive(Clone, Debug, Default)]
pub struct TrunkOutputs {
    /// Channels of a step.
    pub channels: usize,
    /// Outputs of each stream, `(steps, channels)`.
    pub streams: Vec<Vec<i8>>,
}

impl TrunkOutputs {
    /// Steps in all.
    pub fn steps(&self) -> usize {
        self.streams.iter().map(|s| s.len() / self.channels.max(1)).sum()
    }
}

impl Negatives {
    /// Composes every clip once into streams, distorted and with noise under three in four, and adds
    /// streams of noise alone.
    pub fn streams(&self, seed: u64) -> Vec<Row> {
        let mut rng = StdRng::seed_from_u64(seed);
        let pool = NoisePool::new(self.noise.clone());
        let mut order: Vec<&LogMel> = self.speech.iter().collect();
        order.shuffle(&mut rng);
        let mut streams = Vec::new();
        while !order.is_empty() {
            let mut row = Row::new(STREAM_FRAMES);
            let mut at = rng.random_range(0..LONGEST_PAUSE);
            let mut level = None;
            while let Some(clip) = order.last() {
                if at > 0 && at + clip.len() > STREAM_FRAMES && clip.len() < STREAM_FRAMES {
                    break;
                }
                let plain = rng.random_bool(0.4);
                let distortion = if plain { Distortion::NONE } else { Distortion::STRONG };
                let sound = distortion.apply(clip, &mut rng);
                level.get_or_insert_with(|| loudness(&sound));
                row.add(at, &sound, 1.0);
                at += sound.len() + rng.random_range(5..LONGEST_PAUSE);
                order.pop();
            }
            if rng.random_bool(0.75) {
                let snr_db = rng.random_range(0.0..40.0);
                row.add_noise_below(&pool, level.unwrap_or(1e6), snr_db, &mut rng);
            }
            streams.push(row);
        }
        for _ in 0..(self.noise.iter().map(Vec::len).sum::<usize>() / STREAM_FRAMES) {
            let mut row = Row::new(STREAM_FRAMES);
            for _ in 0..8 {
                let clip = &self.noise[rng.random_range(0..self.noise.len())];
                let at = rng.random_range(0..STREAM_FRAMES);
                row.add(at, &Distortion::STRONG.apply(clip, &mut rng), 1.0);
            }
            row.add_noise_below(&pool, 1e7, rng.random_range(-10.0..20.0), &mut rng);
            streams.push(row);
        }
        streams
    }
}

/// What the quantized trunk says of each row.
///
/// # Errors
/// [`Error::Tensor`] never; [`Error::Usage`] if the trunk makes no valid model.
pub fn trunk_outputs(base: &Base, trunk: &QuantizedTrunk, rows: &[Row]) -> Result<TrunkOutputs> {
    let frontend = base.tables.params(base.info.normalization);
    with_model(base, trunk, &[], &CardText::default(), |model| {
        let streams = rows.par_iter().map(|row| run_trunk(model, &row.features(&frontend)));
        Ok(TrunkOutputs {
            channels: base.info.trunk.channels,
            streams: streams.collect::<Result<_>>()?,
        })
    })
}

/// Runs a model's trunk over features, frame after frame; `(steps, channels)`.
pub fn run_trunk(model: &Model<'_>, features: &[i8]) -> Result<Vec<i8>> {
    let mut arena = vec![0; model.arena_bytes()];
    let mut engine = Engine::new(model, &mut arena)
        .map_err(|e| Error::usage(format!("{e:?}"), "report this as a defect"))?;
    let step = usize::from(model.frames_per_step) * MEL_CHANNELS;
    let mut outputs = Vec::with_capacity(features.len() / step * model.trunk_width());
    for input in features.chunks_exact(step) {
        engine.input().copy_from_slice(input);
        outputs.extend_from_slice(engine.trunk().unwrap_or_default());
    }
    Ok(outputs)
}
