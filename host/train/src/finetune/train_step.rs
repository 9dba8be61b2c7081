//! Training step for one keyword: samples windows of its streams and of negative streams, and
//! computes their loss under any network.

use std::{
    ops::Range,
    sync::{Mutex, PoisonError},
};

use candle_core::{Device, Tensor};
use rand::{RngExt, SeedableRng, rngs::StdRng, seq::IndexedRandom};
use rayon::prelude::*;

use super::{
    Settings,
    progress::{MISSED, Stages},
};
use crate::Result;
use crate::embeddings::Embeddings;
use crate::{
    quantize::QuantParams,
    trainer::{StepOutput, TrainStep},
};
use wakeling_audio::phrase_span::Phrase;
use wakeling_core::simd;
use wakeling_nn::{
    head::{HeadConfig, HeadNetwork},
    mode::{Mode, Samples},
    ops::sigmoid_bce::sigmoid_bce,
    params::Params,
};

/// Length of the part of a window that the loss counts, in seconds.
const WINDOW_S: f64 = 3.0;
/// Maximum distance between the end of a window with the phrase and the end of its stream, in
/// seconds.
const JITTER_S: f64 = 0.4;
/// Seconds after the detection span in which the smoothed logit may still be falling.
const FALLING_S: f64 = 0.5;
/// Number of highest-scoring negative windows that are kept for sampling.
const HARD_WINDOWS: usize = 400;
/// False accepts per hour at which misses are counted during training.
const MISSED_AT_PER_HOUR: f64 = 0.5;
/// Largest number of streams whose misses are counted.
const MISSED_STREAMS: usize = 120;
/// Length of the highest-scoring part of the negative steps that counts once more, in seconds.
const HARD_S: f64 = 2.0;

/// Training data for one keyword: the network's input at each step, such as embeddings or features.
pub struct TrainingSet<'a> {
    /// Streams with the phrase or a part of it.
    pub positives: Embeddings,
    /// Position of the phrase in each of them, in frames.
    pub phrases: Vec<Option<Phrase>>,
    /// Negative streams.
    pub negatives: &'a Embeddings,
    /// Indices of the negative streams whose transcripts do not contain the phrase.
    pub others: Vec<usize>,
    /// Quantization parameters of the input.
    pub code: QuantParams,
    /// Gain of each channel at the network's input.
    pub gains: Vec<f32>,
    /// Feature frames per step.
    pub frames_per_step: usize,
}

/// Windows of one keyword's streams, and their loss under a network.
pub struct KeywordTrainStep<'a, N> {
    network: N,
    training_set: TrainingSet<'a>,
    whole: Vec<usize>,
    partial_phrases: Vec<usize>,
    hard: Mutex<Vec<(usize, usize)>>,
    mix: BatchMix,
    dropout: f32,
    times: Times,
    stages: &'a Stages<'a>,
}

/// Network that computes the logits of one keyword.
pub trait Network: Sync {
    /// Number of steps before the current one that a logit depends on.
    fn history(&self) -> usize;

    /// Returns the keyword's logits `[B, T]` for inputs `[B, T, channels]`, and an optional term to
    /// add to the loss.
    fn logits(
        &self,
        params: &Params,
        x: &Tensor,
        mode: &mut Mode,
    ) -> Result<(Tensor, Option<Tensor>)>;

    /// Returns the keyword's logits alone.
    fn scores(&self, params: &Params, x: &Tensor) -> Result<Tensor> {
        Ok(self.logits(params, x, &mut Mode::Evaluate)?.0)
    }

    /// Returns the mode of the batch norm during training.
    fn training_mode(&self) -> Mode {
        Mode::Evaluate
    }
}

/// Head on the embeddings of a frozen backbone.
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
        let head = HeadNetwork::new(self, x.dim(2)?, 1, &params.builder())?;
        Ok((mode.run(&head, x)?.squeeze(2)?, None))
    }
}

/// Number of windows per worker and training step, by kind.
#[derive(Clone, Copy, Debug)]
pub struct BatchMix {
    /// Windows with the phrase.
    pub positives: usize,
    /// Windows with a partial phrase or a hard negative.
    pub partial_phrases: usize,
    /// Windows of negative streams.
    pub negatives: usize,
}

impl BatchMix {
    /// Mix for training a head.
    pub const HEAD: Self = Self { positives: 20, partial_phrases: 6, negatives: 40 };
}

/// Durations in steps of the backbone.
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
            early: steps(settings.train.early_s),
            late: steps(settings.train.late_s),
            falling: steps(FALLING_S),
            hard: steps(HARD_S),
            smoothing: settings.detector.params(0, steps_per_second).smoothing_steps.into(),
        }
    }
}

/// Section of one stream.
#[derive(Clone, Copy)]
pub struct Window {
    is_positive: bool,
    stream: usize,
    /// First step that the loss counts; the network's history comes before it.
    start: usize,
}

impl<'a, N: Network> KeywordTrainStep<'a, N> {
    /// Creates a training step over encoded streams.
    pub fn new(
        network: N,
        training_set: TrainingSet<'a>,
        mix: BatchMix,
        settings: &Settings,
        stages: &'a Stages<'a>,
    ) -> Self {
        let of_kind = |whole: bool| -> Vec<usize> {
            (0..training_set.phrases.len())
                .filter(|&i| training_set.phrases[i].is_some() == whole)
                .collect()
        };
        Self {
            network,
            whole: of_kind(true),
            partial_phrases: of_kind(false),
            hard: Mutex::new(Vec::new()),
            mix,
            dropout: settings.train.dropout,
            times: Times::of(settings, training_set.negatives.steps_per_second),
            training_set,
            stages,
        }
    }

    /// Returns the streams to train on: the keyword's and the negatives.
    pub fn streams(&self) -> [&Embeddings; 2] {
        [&self.training_set.positives, self.training_set.negatives]
    }

    /// Number of steps of a window, with the history that its first smoothed logit needs.
    fn window_steps(&self) -> usize {
        self.history() + self.times.window
    }

    fn history(&self) -> usize {
        self.network.history() + self.times.smoothing - 1
    }

    fn stream(&self, window: Window) -> &[i8] {
        let training_set = &self.training_set;
        let outputs =
            if window.is_positive { &training_set.positives } else { training_set.negatives };
        outputs.streams.get(window.stream).map_or(&[], Vec::as_slice)
    }

    fn steps_of(&self, outputs: &Embeddings, stream: usize) -> usize {
        outputs.streams.get(stream).map_or(0, |s| s.len() / outputs.channels)
    }

    /// Samples the windows of one training step.
    pub fn windows(&self, rng: &mut StdRng) -> Vec<Window> {
        let mut windows = Vec::new();
        let BatchMix { positives, partial_phrases, negatives } = self.mix;
        for (streams, count) in [(&self.whole, positives), (&self.partial_phrases, partial_phrases)]
        {
            for _ in 0..if streams.is_empty() { 0 } else { count } {
                let stream = streams[rng.random_range(0..streams.len())];
                let steps = self.steps_of(&self.training_set.positives, stream);
                // The end of a stream holds the end of the phrase.
                let start = steps
                    .saturating_sub(self.times.window + rng.random_range(0..self.times.jitter));
                windows.push(Window { is_positive: true, stream, start });
            }
        }
        let hard = self.hard.lock().unwrap_or_else(PoisonError::into_inner);
        let train = self.training_set.negatives;
        for i in 0..negatives {
            if i % 2 == 0 && !hard.is_empty() {
                let (stream, start) = hard[rng.random_range(0..hard.len())];
                windows.push(Window { is_positive: false, stream, start });
                continue;
            }
            let Some(&stream) = self.training_set.others.choose(rng) else { break };
            let last = self.steps_of(train, stream).saturating_sub(self.times.window);
            windows.push(Window { is_positive: false, stream, start: rng.random_range(0..=last) });
        }
        windows
    }

    /// Returns the network's input for each window, `[windows, history + window, channels]`.
    pub fn gather(&self, windows: &[Window], dropout: Option<&mut StdRng>) -> Result<Tensor> {
        let channels = self.training_set.positives.channels;
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

    /// Returns the network's input for one quantization step of each channel.
    fn gains(&self) -> Vec<f32> {
        self.training_set.gains.iter().map(|gain| gain * self.training_set.code.scale).collect()
    }

    /// Fills `out` with the steps of a stream, beginning with the history before step `start`.
    /// Steps beyond either end of the stream are left at zero, as on a device just switched on.
    fn look(&self, stream: &[i8], start: usize, gains: &[f32], out: &mut [f32]) {
        let channels = gains.len();
        let missing = self.history().saturating_sub(start).min(out.len() / channels.max(1));
        let from = (start + missing - self.history()) * channels;
        dequantize(
            stream.get(from..).unwrap_or_default(),
            f32::from(self.training_set.code.zero_point),
            gains,
            &mut out[missing * channels..],
        );
    }

    /// Returns the smoothed logits `[windows, window]`, and an optional term to add to the loss.
    pub fn forward(
        &self,
        params: &Params,
        x: &Tensor,
        mode: &mut Mode,
    ) -> Result<(Tensor, Option<Tensor>)> {
        let (logits, more) = self.network.logits(params, x, mode)?;
        Ok((self.smoothed(&logits)?, more))
    }

    /// Returns the values that the detector compares, `[windows, steps]`: the moving average of the
    /// logits, without the steps of history.
    fn smoothed(&self, logits: &Tensor) -> Result<Tensor> {
        let first = self.network.history();
        let steps = logits.dim(1)?.saturating_sub(self.history());
        let mut sum = logits.narrow(1, first, steps)?;
        for shift in 1..self.times.smoothing {
            sum = (sum + logits.narrow(1, first + shift, steps)?)?;
        }
        Ok((sum * (1.0 / self.times.smoothing as f64))?)
    }

    /// Returns the highest smoothed logit of each window of a negative stream, with the stream's
    /// index and the window's start. The network runs once over the whole stream, so that no
    /// history is computed twice.
    fn highest(&self, params: &Params, stream: usize) -> Result<Vec<(f32, usize, usize)>> {
        let others = self.training_set.negatives;
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

    /// Returns the share of the keyword's streams, in percent, in which the highest smoothed logit at the end
    /// of the phrase is not above the threshold for [`MISSED_AT_PER_HOUR`]. `highest` are the negative
    /// windows, the highest first. `None` without streams or negatives.
    fn missed(&self, params: &Params, highest: &[(f32, usize, usize)]) -> Result<Option<f64>> {
        let others = self.training_set.negatives;
        let of = |&stream: &usize| self.steps_of(others, stream);
        let steps: usize = self.training_set.others.iter().map(of).sum();
        let hours = steps as f64 / others.steps_per_second / 3600.0;
        let allowed = (MISSED_AT_PER_HOUR * hours) as usize;
        let Some(&(threshold, ..)) = highest.get(allowed) else { return Ok(None) };
        let every = self.whole.len().div_ceil(MISSED_STREAMS).max(1);
        let (mut missed, mut count) = (0_u32, 0_u32);
        for streams in
            self.whole.iter().step_by(every).collect::<Vec<_>>().chunks(self.mix.positives)
        {
            let window = |&&stream: &&usize| Window {
                is_positive: true,
                stream,
                start: self
                    .steps_of(&self.training_set.positives, stream)
                    .saturating_sub(self.times.window),
            };
            let windows: Vec<Window> = streams.iter().map(window).collect();
            let x = self.gather(&windows, None)?;
            let smoothed: Vec<Vec<f32>> =
                self.smoothed(&self.network.scores(params, &x)?)?.detach().to_vec2()?;
            for (window, logits) in windows.iter().zip(&smoothed) {
                let Some(at) = self.target_steps(*window) else { continue };
                let peak = logits[at].iter().copied().fold(f32::NEG_INFINITY, f32::max);
                missed += u32::from(peak <= threshold);
                count += 1;
            }
        }
        Ok((count > 0).then(|| 100.0 * f64::from(missed) / f64::from(count)))
    }

    /// Returns the steps of a window in which its phrase may be detected; `None` if it holds none.
    fn target_steps(&self, window: Window) -> Option<Range<usize>> {
        let phrase = self.training_set.phrases[window.stream].filter(|_| window.is_positive)?;
        let end = (phrase.end / self.training_set.frames_per_step) as isize - window.start as isize;
        let (early, late) = (self.times.early as isize, self.times.late as isize);
        Some(clamped(end - early, end + late, self.times.window))
    }

    /// Samples the network's activations over training windows, without dropout.
    pub fn calibrate(&self, params: &Params) -> Result<Samples> {
        let mut mode = Mode::Calibrate(Samples::new());
        let mut rng = StdRng::seed_from_u64(0);
        for _ in 0..4 {
            let windows = self.windows(&mut rng);
            self.forward(params, &self.gather(&windows, None)?, &mut mode)?;
        }
        Ok(mode.samples())
    }

    /// Returns the target and weight of each step of each window, given the smoothed logits.
    ///
    /// The steps around the end of a phrase share one unit of weight by the softmax of their
    /// logits, so one high moment suffices. The loss of all other steps is a mean.
    fn targets(&self, windows: &[Window], smoothed: &[Vec<f32>]) -> (Vec<f32>, Vec<f32>) {
        let positives = self.whole.len().clamp(1, self.mix.positives) as f32;
        let mut targets = vec![0f32; windows.len() * self.times.window];
        let mut weights = vec![f32::NAN; targets.len()];
        for (i, window) in windows.iter().enumerate() {
            let phrase =
                if window.is_positive { self.training_set.phrases[window.stream] } else { None };
            let Some(phrase) = phrase else { continue };
            let step = |frame: usize| {
                (frame / self.training_set.frames_per_step) as isize - window.start as isize
            };
            let (start, end) = (step(phrase.start), step(phrase.end));
            // The last two thirds of the phrase and its decay are ignored by the loss.
            let silent_from = start + (end - start) / 3;
            let own = i * self.times.window;
            let ignored = clamped(
                silent_from,
                end + (self.times.late + self.times.falling) as isize,
                self.times.window,
            );
            weights[own..][ignored].fill(0.0);
            let target_steps = self.target_steps(*window).unwrap_or_default();
            let mix = |t: usize| smoothed[i][t].clamp(-20.0, 20.0).exp();
            let sum: f32 = target_steps.clone().map(mix).sum();
            for t in target_steps {
                targets[own + t] = 1.0;
                weights[own + t] = mix(t) / sum.max(1e-9) / positives;
            }
        }
        weigh_negatives(&mut weights, smoothed, self.times.hard);
        (targets, weights)
    }
}

/// Clips the steps `from..to` to a window of `window` steps.
fn clamped(from: isize, to: isize, window: usize) -> Range<usize> {
    let clamp = |t: isize| t.clamp(0, window as isize) as usize;
    clamp(from)..clamp(to)
}

/// Sets the weights that are still NaN: `4 / n` for each of these `n` steps, plus `1 / hard` for
/// the `hard` steps with the highest scores.
fn weigh_negatives(weights: &mut [f32], smoothed: &[Vec<f32>], hard: usize) {
    let scores: Vec<f32> = smoothed.iter().flatten().copied().collect();
    let mut open: Vec<usize> = (0..weights.len()).filter(|&i| weights[i].is_nan()).collect();
    let mean = 4.0 / open.len().max(1) as f32;
    open.iter().for_each(|&i| weights[i] = mean);
    open.sort_by(|&a, &b| scores[b].total_cmp(&scores[a]));
    open.iter().take(hard).for_each(|&i| weights[i] += 1.0 / hard as f32);
}

/// Sets a random share of the channels to zero and scales the others up in return (dropout).
fn drop_channels(gains: &mut [f32], dropout: f32, rng: &mut StdRng) {
    for gain in gains {
        *gain *= if rng.random::<f32>() < dropout { 0.0 } else { 1.0 / (1.0 - dropout) };
    }
}

simd! {
    /// Computes `gain * (code - zero)` for every channel of every step of `codes` that fits into
    /// `out`.
    fn dequantize(codes: &[i8], zero: f32, gains: &[f32], out: &mut [f32]) {
        let channels = gains.len().max(1);
        for (out, codes) in out.chunks_exact_mut(channels).zip(codes.chunks_exact(channels)) {
            for ((out, &code), &gain) in out.iter_mut().zip(codes).zip(gains) {
                *out = gain * (f32::from(code) - zero);
            }
        }
    }
}

impl<N: Network> TrainStep for KeywordTrainStep<'_, N> {
    fn loss(&self, params: &Params, _: usize, rng: &mut StdRng) -> Result<StepOutput> {
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
        Ok(StepOutput { loss, moments: mode.moments(), examples: windows.len() })
    }

    /// Returns the mined windows: `STREAM:START` of each.
    fn gathered(&self) -> String {
        let hard = self.hard.lock().unwrap_or_else(PoisonError::into_inner);
        let hard = hard.iter().map(|(stream, start)| format!("{stream}:{start}"));
        hard.collect::<Vec<_>>().join(" ")
    }

    fn restore_gathered(&self, gathered: &str) {
        let window = |text: &str| {
            let (stream, start) = text.split_once(':')?;
            Some((stream.parse().ok()?, start.parse().ok()?))
        };
        let hard = gathered.split(' ').filter_map(window).collect();
        *self.hard.lock().unwrap_or_else(PoisonError::into_inner) = hard;
    }

    /// Mines the negative windows with the highest scores under the current parameters.
    fn mine_hard_negatives(&self, params: &Params) -> Result<()> {
        let others = self.training_set.others.par_iter();
        let mut found: Vec<(f32, usize, usize)> = others
            .map(|&stream| {
                self.stages.check()?;
                self.highest(params, stream)
            })
            .collect::<Result<Vec<_>>>()?
            .concat();
        found.sort_by(|a, b| b.0.total_cmp(&a.0));
        if let Some(missed) = self.missed(params, &found)? {
            self.stages.point(MISSED, missed);
        }
        let hard = found.into_iter().take(HARD_WINDOWS).map(|(_, stream, start)| (stream, start));
        *self.hard.lock().unwrap_or_else(PoisonError::into_inner) = hard.collect();
        Ok(())
    }
}
