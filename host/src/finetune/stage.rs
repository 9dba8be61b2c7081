//! The stage that the training loop runs for a word: windows of its streams and of others, and their
//! loss under whatever network hears them.

use std::{
    ops::Range,
    sync::{Mutex, PoisonError},
};

use candle_core::{Device, Tensor};
use rand::{RngExt, SeedableRng, rngs::StdRng, seq::IndexedRandom};
use rayon::prelude::*;

use super::{Settings, positives::Phrase};
use crate::{
    Result,
    negatives::TrunkOutputs,
    nn::{
        head::HeadConfig,
        ops::sigmoid_bce::sigmoid_bce,
        params::Params,
        trunk::{Mode, Samples},
    },
    quantize::Code,
    simd::simd,
    train::{Outcome, Stage},
};

/// Seconds of a window that count.
const WINDOW_S: f64 = 3.0;
/// A window with the phrase ends up to so many seconds before its stream does.
const JITTER_S: f64 = 0.4;
/// Seconds after that in which the detector may still be falling.
const FALLING_S: f64 = 0.5;
/// How many of the highest-scoring negative windows are kept to draw from.
const HARD_WINDOWS: usize = 400;
/// Of what is not the phrase in an update, so many seconds of the highest count once more.
const HARD_S: f64 = 2.0;

/// What a network hears: the numbers of every step, such as a trunk's outputs or its features, of
/// the streams with a word and of all others.
pub struct Material<'a> {
    /// Streams with the phrase or a part of it.
    pub positives: TrunkOutputs,
    /// Where the phrase lies in each of them, in frames.
    pub phrases: Vec<Option<Phrase>>,
    /// Other speech and noise.
    pub negatives: &'a TrunkOutputs,
    /// Which of those are known not to hold the phrase, or not known to.
    pub others: Vec<usize>,
    /// What the numbers stand for …
    pub code: Code,
    /// … and what the network sees of 1 in each channel.
    pub gains: Vec<f32>,
    /// Feature frames that make one step.
    pub frames_per_step: usize,
}

/// The windows of one word's streams, and their loss under a network.
pub struct WordStage<'a, N> {
    network: N,
    material: Material<'a>,
    whole: Vec<usize>,
    parts: Vec<usize>,
    hard: Mutex<Vec<(usize, usize)>>,
    share: Share,
    dropout: f32,
    times: Times,
}

/// What gives the logits of one word.
pub trait Network: Sync {
    /// Steps before the current one that a logit depends on.
    fn history(&self) -> usize;

    /// The word's logits `[B, T]` of inputs `[B, T, channels]`, and a term to add to the loss.
    fn logits(
        &self,
        params: &Params,
        x: &Tensor,
        mode: &mut Mode,
    ) -> Result<(Tensor, Option<Tensor>)>;

    /// The word's logits alone.
    fn scores(&self, params: &Params, x: &Tensor) -> Result<Tensor> {
        Ok(self.logits(params, x, &mut Mode::Evaluate)?.0)
    }

    /// How its batch norm works while it is trained.
    fn training_mode(&self) -> Mode {
        Mode::Evaluate
    }
}

/// A head on the outputs of a trunk that stays as it is.
impl Network for HeadConfig {
    fn history(&self) -> usize {
        Self::history(self)
    }

    fn logits(
        &self,
        params: &Params,
        x: &Tensor,
        mode: &mut Mode,
    ) -> Result<(Tensor, Option<Tensor>)> {
        Ok((self.forward(params, x, mode)?.squeeze(2)?, None))
    }
}

/// Windows of one worker and update.
#[derive(Clone, Copy, Debug)]
pub struct Share {
    /// With the phrase.
    pub positives: usize,
    /// With a part of it.
    pub parts: usize,
    /// Of other speech and noise.
    pub negatives: usize,
}

impl Share {
    /// What a head is trained with.
    pub const HEAD: Self = Self { positives: 20, parts: 6, negatives: 40 };
}

/// Durations, in steps of the trunk.
struct Times {
    window: usize,
    jitter: usize,
    early: usize,
    late: usize,
    falling: usize,
    hard: usize,
    smoothing: usize,
}

impl Times {
    fn of(settings: &Settings, steps_per_second: f64) -> Self {
        let steps = |seconds: f64| (seconds * steps_per_second).round() as usize;
        Self {
            window: steps(WINDOW_S),
            jitter: steps(JITTER_S).max(1),
            early: steps(settings.early_s),
            late: steps(settings.late_s),
            falling: steps(FALLING_S),
            hard: steps(HARD_S),
            smoothing: settings.detector(0, steps_per_second).smoothing_steps.into(),
        }
    }
}

/// A stretch of one stream.
#[derive(Clone, Copy)]
pub struct Window {
    is_positive: bool,
    stream: usize,
    /// First step that counts; the head's history lies before it.
    start: usize,
}

impl<'a, N: Network> WordStage<'a, N> {
    /// A stage over streams that were heard before.
    pub fn new(network: N, material: Material<'a>, share: Share, settings: &Settings) -> Self {
        let of_kind = |whole: bool| -> Vec<usize> {
            (0..material.phrases.len())
                .filter(|&i| material.phrases[i].is_some() == whole)
                .collect()
        };
        Self {
            network,
            whole: of_kind(true),
            parts: of_kind(false),
            hard: Mutex::new(Vec::new()),
            share,
            dropout: settings.dropout,
            times: Times::of(settings, material.negatives.steps_per_second),
            material,
        }
    }

    /// What it learns from: the word's streams and the others.
    pub fn streams(&self) -> [&TrunkOutputs; 2] {
        [&self.material.positives, self.material.negatives]
    }

    /// Steps of a window with the history that its first smoothed logit needs.
    fn window_steps(&self) -> usize {
        self.history() + self.times.window
    }

    fn history(&self) -> usize {
        self.network.history() + self.times.smoothing - 1
    }

    fn stream(&self, window: Window) -> &[i8] {
        let material = &self.material;
        let outputs = if window.is_positive { &material.positives } else { material.negatives };
        outputs.streams.get(window.stream).map_or(&[], Vec::as_slice)
    }

    fn steps_of(&self, outputs: &TrunkOutputs, stream: usize) -> usize {
        outputs.streams.get(stream).map_or(0, |s| s.len() / outputs.channels)
    }

    /// Draws the windows of one update.
    pub fn windows(&self, rng: &mut StdRng) -> Vec<Window> {
        let mut windows = Vec::new();
        let Share { positives, parts, negatives } = self.share;
        for (streams, count) in [(&self.whole, positives), (&self.parts, parts)] {
            for _ in 0..if streams.is_empty() { 0 } else { count } {
                let stream = streams[rng.random_range(0..streams.len())];
                let steps = self.steps_of(&self.material.positives, stream);
                // The last second holds the end of the phrase.
                let start = steps
                    .saturating_sub(self.times.window + rng.random_range(0..self.times.jitter));
                windows.push(Window { is_positive: true, stream, start });
            }
        }
        let hard = self.hard.lock().unwrap_or_else(PoisonError::into_inner);
        let train = self.material.negatives;
        for i in 0..negatives {
            if i % 2 == 0 && !hard.is_empty() {
                let (stream, start) = hard[rng.random_range(0..hard.len())];
                windows.push(Window { is_positive: false, stream, start });
                continue;
            }
            let Some(&stream) = self.material.others.choose(rng) else { break };
            let last = self.steps_of(train, stream).saturating_sub(self.times.window);
            windows.push(Window { is_positive: false, stream, start: rng.random_range(0..=last) });
        }
        windows
    }

    /// Windows as the network sees them, `[windows, history + window, channels]`.
    pub fn gather(&self, windows: &[Window], dropout: Option<&mut StdRng>) -> Result<Tensor> {
        let channels = self.material.positives.channels;
        let steps = self.window_steps();
        let mut values = vec![0f32; windows.len() * steps * channels];
        let mut gains = self.gains();
        let mut dropout = dropout;
        for (window, out) in windows.iter().zip(values.chunks_exact_mut(steps * channels)) {
            if let Some(rng) = dropout.as_deref_mut() {
                gains = self.gains();
                drop_channels(&mut gains, self.dropout, rng);
            }
            self.look(self.stream(*window), window.start, &gains, out);
        }
        Ok(Tensor::from_vec(values, (windows.len(), steps, channels), &Device::Cpu)?)
    }

    /// What the network sees of one step of each channel.
    fn gains(&self) -> Vec<f32> {
        self.material.gains.iter().map(|gain| gain * self.material.code.scale).collect()
    }

    /// Fills `out` with the steps of a stream from the history of step `start` on; steps before a
    /// stream's first are zeros, as on a device just switched on, and so are those after its last.
    fn look(&self, stream: &[i8], start: usize, gains: &[f32], out: &mut [f32]) {
        let channels = gains.len();
        let missing = self.history().saturating_sub(start).min(out.len() / channels.max(1));
        let from = (start + missing - self.history()) * channels;
        dequantize(
            stream.get(from..).unwrap_or_default(),
            f32::from(self.material.code.zero_point),
            gains,
            &mut out[missing * channels..],
        );
    }

    /// Smoothed logits `[windows, window]`, and what the network adds to the loss.
    pub fn forward(
        &self,
        params: &Params,
        x: &Tensor,
        mode: &mut Mode,
    ) -> Result<(Tensor, Option<Tensor>)> {
        let (logits, more) = self.network.logits(params, x, mode)?;
        Ok((self.smoothed(&logits)?, more))
    }

    /// What the detector compares, `[windows, steps]`, of logits with their history.
    fn smoothed(&self, logits: &Tensor) -> Result<Tensor> {
        let first = self.network.history();
        let steps = logits.dim(1)?.saturating_sub(self.history());
        let mut sum = logits.narrow(1, first, steps)?;
        for shift in 1..self.times.smoothing {
            sum = (sum + logits.narrow(1, first + shift, steps)?)?;
        }
        Ok((sum * (1.0 / self.times.smoothing as f64))?)
    }

    /// The highest smoothed logit of each window of a stream of others, with the stream and the
    /// window's start. The stream is heard as a whole, so that no step is anyone's history twice.
    fn highest(&self, params: &Params, stream: usize) -> Result<Vec<(f32, usize, usize)>> {
        let others = self.material.negatives;
        let (steps, window) = (self.steps_of(others, stream), self.times.window);
        let shape = (1, self.history() + steps.max(window), others.channels);
        let mut values = vec![0f32; shape.1 * shape.2];
        let codes = others.streams.get(stream).map_or(&[][..], Vec::as_slice);
        self.look(codes, 0, &self.gains(), &mut values);
        let x = Tensor::from_vec(values, shape, &Device::Cpu)?;
        let smoothed = self.smoothed(&self.network.scores(params, &x)?)?.detach();
        let smoothed: Vec<f32> = smoothed.flatten_all()?.to_vec1()?;
        let last = steps.saturating_sub(window);
        let best = smoothed.chunks(window).enumerate().map(|(i, logits)| {
            let highest = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
            (highest, stream, (i * window).min(last))
        });
        Ok(best.collect())
    }

    /// Values of the network's activations over windows as it is trained on.
    pub fn calibrate(&self, params: &Params) -> Result<Samples> {
        let mut mode = Mode::Calibrate(Samples::new());
        let mut rng = StdRng::seed_from_u64(0);
        for _ in 0..4 {
            let windows = self.windows(&mut rng);
            self.forward(params, &self.gather(&windows, None)?, &mut mode)?;
        }
        Ok(mode.samples())
    }

    /// Targets and weights of each window's steps, given the smoothed logits.
    ///
    /// The steps around a phrase's end share one unit of weight, by the softmax of their logits, so
    /// that one moment suffices; the loss of the windows' other steps is a mean.
    fn targets(&self, windows: &[Window], smoothed: &[Vec<f32>]) -> (Vec<f32>, Vec<f32>) {
        let positives = self.whole.len().clamp(1, self.share.positives) as f32;
        let mut targets = vec![0f32; windows.len() * self.times.window];
        let mut weights = vec![f32::NAN; targets.len()];
        for (i, window) in windows.iter().enumerate() {
            let phrase =
                if window.is_positive { self.material.phrases[window.stream] } else { None };
            let Some(phrase) = phrase else { continue };
            let step = |frame: usize| {
                (frame / self.material.frames_per_step) as isize - window.start as isize
            };
            let (start, end) = (step(phrase.start), step(phrase.end));
            // Most of the phrase and what follows it are nobody's.
            let silent_from = start + (end - start) / 3;
            let own = i * self.times.window;
            let hushed = clamped(
                silent_from,
                end + (self.times.late + self.times.falling) as isize,
                self.times.window,
            );
            weights[own..][hushed].fill(0.0);
            let heard = clamped(
                end - self.times.early as isize,
                end + self.times.late as isize,
                self.times.window,
            );
            let share = |t: usize| smoothed[i][t].clamp(-20.0, 20.0).exp();
            let sum: f32 = heard.clone().map(share).sum();
            for t in heard {
                targets[own + t] = 1.0;
                weights[own + t] = share(t) / sum.max(1e-9) / positives;
            }
        }
        weigh_negatives(&mut weights, smoothed, self.times.hard);
        (targets, weights)
    }
}

/// The steps of a window that lie in `from..to`.
fn clamped(from: isize, to: isize, window: usize) -> Range<usize> {
    let clamp = |t: isize| t.clamp(0, window as isize) as usize;
    clamp(from)..clamp(to)
}

/// Replaces the weights that are still open: a mean over all, and once more over the highest.
fn weigh_negatives(weights: &mut [f32], smoothed: &[Vec<f32>], hard: usize) {
    let scores: Vec<f32> = smoothed.iter().flatten().copied().collect();
    let mut open: Vec<usize> = (0..weights.len()).filter(|&i| weights[i].is_nan()).collect();
    let mean = 4.0 / open.len().max(1) as f32;
    open.iter().for_each(|&i| weights[i] = mean);
    open.sort_by(|&a, &b| scores[b].total_cmp(&scores[a]));
    open.iter().take(hard).for_each(|&i| weights[i] += 1.0 / hard as f32);
}

/// Hides a share of the channels, and makes up for it in the others.
fn drop_channels(gains: &mut [f32], dropout: f32, rng: &mut StdRng) {
    for gain in gains {
        *gain *= if rng.random::<f32>() < dropout { 0.0 } else { 1.0 / (1.0 - dropout) };
    }
}

simd! {
    /// `gain * (code - zero)` for every channel of every step of `codes` that `out` has room for.
    fn dequantize(codes: &[i8], zero: f32, gains: &[f32], out: &mut [f32]) {
        let channels = gains.len().max(1);
        for (out, codes) in out.chunks_exact_mut(channels).zip(codes.chunks_exact(channels)) {
            for ((out, &code), &gain) in out.iter_mut().zip(codes).zip(gains) {
                *out = gain * (f32::from(code) - zero);
            }
        }
    }
}

impl<N: Network> Stage for WordStage<'_, N> {
    fn loss(&self, params: &Params, _: usize, rng: &mut StdRng) -> Result<Outcome> {
        let windows = self.windows(rng);
        let x = self.gather(&windows, Some(rng))?;
        let mut mode = self.network.training_mode();
        let (smoothed, more) = self.forward(params, &x, &mut mode)?;
        let values: Vec<Vec<f32>> = smoothed.to_vec2()?;
        let (targets, weights) = self.targets(&windows, &values);
        let shape = (windows.len(), self.times.window);
        let targets = Tensor::from_vec(targets, shape, &Device::Cpu)?;
        let weights = Tensor::from_vec(weights, shape, &Device::Cpu)?;
        let mut loss = sigmoid_bce(&smoothed, &targets, &weights, 1.0, 0.0)?;
        if let Some(more) = more {
            loss = (loss + more)?;
        }
        Ok(Outcome { loss, moments: mode.moments(), examples: windows.len() })
    }

    /// Finds the windows of other speech that score highest now.
    fn refresh(&self, params: &Params) -> Result<()> {
        let others = self.material.others.par_iter();
        let mut found: Vec<_> = others
            .map(|&stream| self.highest(params, stream))
            .collect::<Result<Vec<_>>>()?
            .concat();
        found.sort_by(|a, b| b.0.total_cmp(&a.0));
        let hard = found.into_iter().take(HARD_WINDOWS).map(|(_, stream, start)| (stream, start));
        *self.hard.lock().unwrap_or_else(PoisonError::into_inner) = hard.collect();
        Ok(())
    }
}
