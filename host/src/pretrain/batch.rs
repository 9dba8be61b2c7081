//! Batches of pretraining: rows composed of clips, or cut from streams that a teacher has heard.

use candle_core::{Device, Tensor};
use rand::{RngExt, rngs::StdRng};
use wakeling_shared::frontend::{FrontendParams, MEL_CHANNELS};

use super::prepare::Clip;
use crate::{
    Result,
    compose::{Distortion, NoisePool, Row, loudness, mask},
    features::LogMel,
    nn::ops::ctc::Segment,
    taught::Taught,
};

/// Frames of a training row: 12 s.
pub const ROW_FRAMES: usize = 1_200;
/// Background before the first clip of a row, in frames.
pub const LEAD_FRAMES: usize = 60;
/// CTC may place its tokens up to so many frames after the clip: the trunk is causal.
const DELAY_FRAMES: usize = 30;
/// The trunk says what the teacher says so many frames later.
const TAUGHT_DELAY_FRAMES: usize = 4;
/// What the teacher heard before a row began is unknown to the trunk: 0.8 s.
const TAUGHT_FROM_FRAME: usize = 80;

/// Rows, and what is known about stretches of them.
pub struct Batch {
    /// `[rows, steps, inputs]`.
    pub features: Tensor,
    /// Transcripts.
    pub tokens: Vec<Segment>,
    /// Words.
    pub words: Vec<Segment>,
    /// What a teacher says `[rows, steps, dimensions]`, and the weight of each step.
    pub taught: Option<(Tensor, Vec<f32>)>,
}

/// A labelled stretch of a taught stream, in frames.
pub struct Stretch {
    pub start: usize,
    pub end: usize,
    pub tokens: Vec<u32>,
    pub words: Vec<u32>,
}

/// A taught folder with its labels as classes; one list of stretches a stream.
pub struct TaughtRows {
    pub taught: Taught,
    pub stretches: Vec<Vec<Stretch>>,
}

/// A batch in the making.
pub struct Builder<'a> {
    frontend: &'a FrontendParams<'a>,
    noise: &'a NoisePool,
    distortion: Distortion,
    frames_per_step: usize,
    dimensions: usize,
    rows: usize,
    features: Vec<f32>,
    tokens: Vec<Segment>,
    words: Vec<Segment>,
    targets: Vec<f32>,
    weights: Vec<f32>,
}

impl<'a> Builder<'a> {
    /// Nothing yet; `dimensions` of a teacher's rows, 0 without one.
    pub fn new(
        frontend: &'a FrontendParams<'a>,
        noise: &'a NoisePool,
        distortion: Distortion,
        frames_per_step: usize,
        dimensions: usize,
    ) -> Self {
        Self {
            frontend,
            noise,
            distortion,
            frames_per_step,
            dimensions,
            rows: 0,
            features: Vec::new(),
            tokens: Vec::new(),
            words: Vec::new(),
            targets: Vec::new(),
            weights: Vec::new(),
        }
    }

    fn steps(&self) -> usize {
        ROW_FRAMES / self.frames_per_step
    }

    fn is_distorted(&self) -> bool {
        self.distortion.tempo > 0.0
    }

    /// Adds a row of `pending` and what `next` gives after it, as far as there is room; returns the
    /// first clip that found none.
    pub fn add_clips<'c>(
        &mut self,
        mut pending: Option<&'c Clip>,
        mut next: impl FnMut(&mut StdRng) -> Option<&'c Clip>,
        rng: &mut StdRng,
    ) -> Option<&'c Clip> {
        let mut row = Row::new(ROW_FRAMES);
        let mut at = LEAD_FRAMES;
        let mut level = None;
        while let Some(clip) = pending {
            let sound = self.distortion.apply(&clip.log_mel, rng);
            if at + sound.len() + 2 * DELAY_FRAMES > ROW_FRAMES {
                break;
            }
            level.get_or_insert_with(|| loudness(&sound));
            row.add(at, &sound, 1.0);
            self.label(at, at + sound.len(), [&clip.tokens, &clip.words]);
            at += sound.len() + rng.random_range(2..40);
            pending = next(rng);
        }
        let steps = self.steps();
        self.targets.resize(self.targets.len() + steps * self.dimensions, 0.0);
        self.weights.resize(self.weights.len() + steps, 0.0);
        self.finish_row(row, level.unwrap_or(1e6), rng);
        pending
    }

    /// Adds a stretch of a taught stream.
    pub fn add_taught(&mut self, rows: &TaughtRows, rng: &mut StdRng) {
        let index = rng.random_range(0..rows.taught.streams.len());
        let stream = &rows.taught.streams[index];
        let needed = (ROW_FRAMES as f32 * (1.0 + self.distortion.tempo)) as usize + 1;
        let start = rng.random_range(0..=stream.log_mel.len().saturating_sub(needed));
        let piece = &stream.log_mel[start..(start + needed).min(stream.log_mel.len())];
        let sound = self.distortion.apply(piece, rng);
        let mut row = Row::new(ROW_FRAMES);
        row.add(0, &sound, 1.0);
        // Tempo changes lengths; positions within the piece scale with it.
        let scale = sound.len() as f32 / piece.len().max(1) as f32;
        for stretch in rows.stretches[index].iter().filter(|s| s.start >= start) {
            let within = |frame: usize| ((frame - start) as f32 * scale) as usize;
            let (from, to) = (within(stretch.start), within(stretch.end));
            if to + DELAY_FRAMES > ROW_FRAMES {
                break;
            }
            self.label(from, to, [&stretch.tokens, &stretch.words]);
        }
        for step in 0..self.steps() {
            let heard = (step + 1) * self.frames_per_step;
            let frame = heard.saturating_sub(TAUGHT_DELAY_FRAMES) as f32 / scale + start as f32;
            let first = self.targets.len();
            self.targets.resize(first + self.dimensions, 0.0);
            let is_known = rows.taught.target(stream, frame, &mut self.targets[first..]);
            let counts = is_known && heard > TAUGHT_FROM_FRAME;
            self.weights.push(if counts { 1.0 } else { 0.0 });
        }
        self.finish_row(row, loudness(&sound), rng);
    }

    /// Labels frames `from..to` of the row in the making.
    fn label(&mut self, from: usize, to: usize, labels: [&Vec<u32>; 2]) {
        let start = from / self.frames_per_step;
        let end = ((to + DELAY_FRAMES) / self.frames_per_step).min(self.steps());
        for (labels, segments) in labels.into_iter().zip([&mut self.tokens, &mut self.words]) {
            if !labels.is_empty() {
                segments.push(Segment { row: self.rows, start, end, labels: labels.clone() });
            }
        }
    }

    fn finish_row(&mut self, mut row: Row, level: f32, rng: &mut StdRng) {
        if self.is_distorted() && rng.random_bool(0.75) {
            let snr_db = rng.random_range(0.0..40.0);
            row.add_noise_below(self.noise, level, snr_db, rng);
        }
        let mut row = row.features(self.frontend);
        if self.is_distorted() {
            mask(&mut row, rng);
        }
        self.features.extend(row.into_iter().map(|f| f32::from(f) * crate::nn::INPUT_SCALE));
        self.rows += 1;
    }

    /// The batch.
    pub fn build(self) -> Result<Batch> {
        let (rows, steps) = (self.rows, self.steps());
        let shape = (rows, steps, self.frames_per_step * MEL_CHANNELS);
        let features = Tensor::from_vec(self.features, shape, &Device::Cpu)?;
        let taught = if self.weights.iter().any(|&w| w > 0.0) {
            let shape = (rows, steps, self.dimensions);
            Some((Tensor::from_vec(self.targets, shape, &Device::Cpu)?, self.weights))
        } else {
            None
        };
        Ok(Batch { features, tokens: self.tokens, words: self.words, taught })
    }
}

/// Frames of clips that fit into a row.
pub const FRAMES: std::ops::Range<usize> = 10..ROW_FRAMES - LEAD_FRAMES - 50;

/// Whether a clip fits into a row.
pub fn fits(log_mel: &LogMel) -> bool {
    FRAMES.contains(&log_mel.len())
}
