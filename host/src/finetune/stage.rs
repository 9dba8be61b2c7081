//! The stage that the training loop runs for a head: windows of trunk outputs, and their loss.

use std::{
    ops::Range,
    sync::{Mutex, PoisonError},
};

use candle_core::{Device, Tensor};
use rand::{RngExt, rngs::StdRng, seq::IndexedRandom};

use super::{
    Prepared, Settings,
    positives::{Phrase, PositiveRow},
};
use crate::{
    Result,
    base::Base,
    compose::Row,
    negatives::{Streams, TrunkOutputs, trunk_outputs},
    nn::{head::HeadConfig, ops::sigmoid_bce::sigmoid_bce, params::Params, trunk::Mode},
    quantize::QuantizedTrunk,
    train::{Outcome, Stage},
};

/// Seconds of a window that count.
const WINDOW_S: f64 = 3.0;
/// A window with the phrase ends up to so many seconds before its stream does.
const JITTER_S: f64 = 0.4;
/// Windows with the phrase, of each worker and update.
const POSITIVE_WINDOWS: usize = 20;
/// Windows with a part of it.
const PARTIAL_WINDOWS: usize = 6;
/// Windows of other speech and noise.
const NEGATIVE_WINDOWS: usize = 40;
/// Seconds after that in which the detector may still be falling.
const FALLING_S: f64 = 0.5;
/// How many of the highest-scoring negative windows are kept to draw from.
const HARD_WINDOWS: usize = 400;
/// Of what is not the phrase in an update, so many seconds of the highest count once more.
const HARD_S: f64 = 2.0;

/// Trunk outputs of a word's streams and of everything else.
pub struct HeadStage<'a> {
    head: HeadConfig,
    prepared: &'a Prepared,
    positives: TrunkOutputs,
    phrases: Vec<Option<Phrase>>,
    /// Streams of `prepared` in which the phrase is not known to be said.
    others: Vec<usize>,
    whole: Vec<usize>,
    parts: Vec<usize>,
    hard: Mutex<Vec<(usize, usize)>>,
    /// Value of each `(channel, q)`, with the head's input gain.
    values: Vec<f32>,
    frames_per_step: usize,
    dropout: f32,
    times: Times,
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

impl<'a> HeadStage<'a> {
    /// Runs the trunk over the word's streams.
    pub fn new(
        base: &Base,
        trunk: &QuantizedTrunk,
        negatives: (&'a Prepared, &str),
        positives: Vec<PositiveRow>,
        settings: &Settings,
        head: (&HeadConfig, &Params),
    ) -> Result<Self> {
        let (head, params) = head;
        let (prepared, phrase) = negatives;
        let holding = Streams::holding(&prepared.train_texts, phrase);
        let phrases: Vec<Option<Phrase>> = positives.iter().map(|p| p.phrase).collect();
        let rows: Vec<Row> = positives.into_iter().map(|p| p.row).collect();
        let of_kind = |whole: bool| -> Vec<usize> {
            (0..phrases.len()).filter(|&i| phrases[i].is_some() == whole).collect()
        };
        let gains = HeadConfig::input_gains(params);
        let values = gains
            .iter()
            .flat_map(|g| (-128..=127).map(move |q: i16| g * trunk.output.value(q as i8)))
            .collect();
        Ok(Self {
            head: head.clone(),
            prepared,
            positives: trunk_outputs(base, trunk, &rows)?,
            others: (0..holding.len()).filter(|&i| !holding[i]).collect(),
            whole: of_kind(true),
            parts: of_kind(false),
            phrases,
            hard: Mutex::new(Vec::new()),
            values,
            frames_per_step: base.info.trunk.frames_per_step,
            dropout: settings.dropout,
            times: Times::of(settings, base.info.trunk.steps_per_second()),
        })
    }

    /// Steps of a window with the history that its first smoothed logit needs.
    fn window_steps(&self) -> usize {
        self.history() + self.times.window
    }

    fn history(&self) -> usize {
        self.head.history() + self.times.smoothing - 1
    }

    fn stream(&self, window: Window) -> &[i8] {
        let outputs = if window.is_positive { &self.positives } else { &self.prepared.train };
        outputs.streams.get(window.stream).map_or(&[], Vec::as_slice)
    }

    fn steps_of(&self, outputs: &TrunkOutputs, stream: usize) -> usize {
        outputs.streams.get(stream).map_or(0, |s| s.len() / outputs.channels)
    }

    /// Draws the windows of one update.
    pub fn windows(&self, rng: &mut StdRng) -> Vec<Window> {
        let mut windows = Vec::new();
        for (streams, count) in [(&self.whole, POSITIVE_WINDOWS), (&self.parts, PARTIAL_WINDOWS)] {
            for _ in 0..if streams.is_empty() { 0 } else { count } {
                let stream = streams[rng.random_range(0..streams.len())];
                let steps = self.steps_of(&self.positives, stream);
                // The last second holds the end of the phrase.
                let start = steps
                    .saturating_sub(self.times.window + rng.random_range(0..self.times.jitter));
                windows.push(Window { is_positive: true, stream, start });
            }
        }
        let hard = self.hard.lock().unwrap_or_else(PoisonError::into_inner);
        let train = &self.prepared.train;
        for i in 0..NEGATIVE_WINDOWS {
            if i % 2 == 0 && !hard.is_empty() {
                let (stream, start) = hard[rng.random_range(0..hard.len())];
                windows.push(Window { is_positive: false, stream, start });
                continue;
            }
            let Some(&stream) = self.others.choose(rng) else { break };
            let last = self.steps_of(train, stream).saturating_sub(self.times.window);
            windows.push(Window { is_positive: false, stream, start: rng.random_range(0..=last) });
        }
        windows
    }

    /// Trunk outputs of windows as the head sees them, `[windows, history + 150, channels]`; steps
    /// before a stream's first are zeros, as on a device just switched on.
    pub fn gather(&self, windows: &[Window], dropout: Option<&mut StdRng>) -> Result<Tensor> {
        let channels = self.positives.channels;
        let steps = self.window_steps();
        let mut values = vec![0f32; windows.len() * steps * channels];
        let mut dropout = dropout;
        let mut keep = vec![1f32; channels];
        for (window, out) in windows.iter().zip(values.chunks_exact_mut(steps * channels)) {
            if let Some(rng) = dropout.as_deref_mut() {
                draw_mask(&mut keep, self.dropout, rng);
            }
            let stream = self.stream(*window);
            for (t, out) in out.chunks_exact_mut(channels).enumerate() {
                let Some(step) = (window.start + t).checked_sub(self.history()) else { continue };
                let column = stream.chunks_exact(channels).nth(step).unwrap_or_default();
                for (c, (out, &q)) in out.iter_mut().zip(column).enumerate() {
                    *out = keep[c] * self.values[256 * c + (i16::from(q) + 128) as usize];
                }
            }
        }
        Ok(Tensor::from_vec(values, (windows.len(), steps, channels), &Device::Cpu)?)
    }

    /// Smoothed logits `[windows, 150]`.
    pub fn forward(&self, params: &Params, x: &Tensor, mode: &mut Mode) -> Result<Tensor> {
        let logits = self.head.forward(params, x, mode)?.squeeze(2)?;
        let first = self.head.history();
        let mut sum = logits.narrow(1, first, self.times.window)?;
        for shift in 1..self.times.smoothing {
            sum = (sum + logits.narrow(1, first + shift, self.times.window)?)?;
        }
        Ok((sum * (1.0 / self.times.smoothing as f64))?)
    }

    /// Targets and weights of each window's steps, given the smoothed logits.
    ///
    /// The steps around a phrase's end share one unit of weight, by the softmax of their logits, so
    /// that one moment suffices; the loss of the windows' other steps is a mean.
    fn targets(&self, windows: &[Window], smoothed: &[Vec<f32>]) -> (Vec<f32>, Vec<f32>) {
        let positives = self.whole.len().clamp(1, POSITIVE_WINDOWS) as f32;
        let mut targets = vec![0f32; windows.len() * self.times.window];
        let mut weights = vec![f32::NAN; targets.len()];
        for (i, window) in windows.iter().enumerate() {
            let phrase = if window.is_positive { self.phrases[window.stream] } else { None };
            let Some(phrase) = phrase else { continue };
            let step =
                |frame: usize| (frame / self.frames_per_step) as isize - window.start as isize;
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

fn draw_mask(keep: &mut [f32], dropout: f32, rng: &mut StdRng) {
    for k in keep {
        *k = if rng.random::<f32>() < dropout { 0.0 } else { 1.0 / (1.0 - dropout) };
    }
}

impl Stage for HeadStage<'_> {
    fn loss(&self, params: &Params, _: usize, rng: &mut StdRng) -> Result<Outcome> {
        let windows = self.windows(rng);
        let x = self.gather(&windows, Some(rng))?;
        let smoothed = self.forward(params, &x, &mut Mode::Evaluate)?;
        let values: Vec<Vec<f32>> = smoothed.to_vec2()?;
        let (targets, weights) = self.targets(&windows, &values);
        let shape = (windows.len(), self.times.window);
        let targets = Tensor::from_vec(targets, shape, &Device::Cpu)?;
        let weights = Tensor::from_vec(weights, shape, &Device::Cpu)?;
        let loss = sigmoid_bce(&smoothed, &targets, &weights, 1.0, 0.0)?;
        Ok(Outcome { loss, moments: Vec::new(), examples: windows.len() })
    }

    /// Finds the windows of other speech that score highest now.
    fn refresh(&self, params: &Params) -> Result<()> {
        let mut found: Vec<(f32, usize, usize)> = Vec::new();
        let train = &self.prepared.train;
        let mut all = Vec::new();
        for &stream in &self.others {
            let steps = self.steps_of(train, stream);
            let starts = (0..=steps.saturating_sub(self.times.window)).step_by(self.times.window);
            all.extend(starts.map(|start| Window { is_positive: false, stream, start }));
        }
        let mut score = |windows: &[Window]| -> Result<()> {
            let x = self.gather(windows, None)?;
            let smoothed = self.forward(params, &x, &mut Mode::Evaluate)?;
            let best: Vec<f32> = smoothed.max(1)?.detach().to_vec1()?;
            found.extend(windows.iter().zip(best).map(|(w, b)| (b, w.stream, w.start)));
            Ok(())
        };
        all.chunks(64).try_for_each(&mut score)?;
        found.sort_by(|a, b| b.0.total_cmp(&a.0));
        let hard = found.into_iter().take(HARD_WINDOWS).map(|(_, stream, start)| (stream, start));
        *self.hard.lock().unwrap_or_else(PoisonError::into_inner) = hard.collect();
        Ok(())
    }
}
