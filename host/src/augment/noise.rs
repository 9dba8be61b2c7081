//! Noise from nothing, for those who have no recordings of it: hisses, rumbles, hum, machines that
//! swell or knock, and a crowd made of other clips.
//!
//! Shapes: `(length)` of i16 at an RMS of 3,000 (21 dB below full scale), which leaves room for the
//! peaks; [`mix_at_snr`](super::level::mix_at_snr) sets the level anyway.

use std::f32::consts::TAU;

use rand::{Rng, RngExt};

use super::{draw, gaussian, level};
use crate::audio::{SAMPLE_RATE, to_i16};

/// Loudness of what is generated, in i16 steps.
const RMS: f32 = 3_000.0;

/// How the energy lies over frequency.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Color {
    /// Flat: a fan, a tap, a bad amplifier.
    White,
    /// −3 dB an octave: rain, traffic, the average of music.
    Pink,
    /// −6 dB an octave: wind, engines.
    Brown,
    /// 50 or 60 Hz and its harmonics: mains.
    Hum,
}

/// How the energy lies over time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Envelope {
    /// Always the same.
    Steady,
    /// Swells and falls at 0.5 to 8 Hz, as speech and passing cars do.
    Modulated,
    /// Bursts of 20 to 300 ms with pauses of 50 to 800 ms: knocks, dishes, keys.
    Bursty,
}

/// A kind of synthetic noise.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct NoiseKind {
    /// Over frequency.
    pub color: Color,
    /// Over time.
    pub envelope: Envelope,
}

impl NoiseKind {
    /// All twelve.
    pub fn all() -> impl Iterator<Item = Self> {
        let envelopes = [Envelope::Steady, Envelope::Modulated, Envelope::Bursty];
        [Color::White, Color::Pink, Color::Brown, Color::Hum]
            .into_iter()
            .flat_map(move |color| envelopes.map(|envelope| Self { color, envelope }))
    }
}

/// `length` samples of one kind of noise.
pub fn synthetic_noise(kind: NoiseKind, length: usize, rng: &mut impl Rng) -> Vec<i16> {
    let mut x = match kind.color {
        Color::White => (0..length).map(|_| gaussian(rng)).collect(),
        Color::Pink => pink(length, rng),
        Color::Brown => brown(length, rng),
        Color::Hum => hum(length, rng),
    };
    match kind.envelope {
        Envelope::Steady => {}
        Envelope::Modulated => modulate(&mut x, rng),
        Envelope::Bursty => burst(&mut x, rng),
    }
    at_level(x)
}

/// `length` samples of all the clips talking at once, each looped from a random place and equally
/// loud. Silent clips are left out; none at all gives silence.
pub fn babble(clips: &[&[i16]], length: usize, rng: &mut impl Rng) -> Vec<i16> {
    let mut sum = vec![0.0; length];
    for clip in clips {
        let voice: Vec<f32> = clip.iter().map(|&s| f32::from(s)).collect();
        let loudness = level::active_rms(&voice);
        if loudness > 0.0 {
            let voice = level::loop_from(clip, length, rng);
            sum.iter_mut().zip(voice).for_each(|(s, v)| *s += v / loudness);
        }
    }
    at_level(sum)
}

fn at_level(mut x: Vec<f32>) -> Vec<i16> {
    let loudness = level::rms(&x);
    if loudness > 0.0 {
        level::scale(&mut x, RMS / loudness);
    }
    to_i16(&x)
}

/// Three one-pole filters side by side, P. Kellet's "economy" set (musicdsp.org, 1999), made
/// for 44.1 kHz; at ours the slope is within 0.7 dB an octave of −3 (tested).
fn pink(length: usize, rng: &mut impl Rng) -> Vec<f32> {
    let mut state = [0.0f32; 3];
    let mut next = || {
        let white = gaussian(rng);
        state[0] = 0.997_65 * state[0] + white * 0.099_046_0;
        state[1] = 0.963_00 * state[1] + white * 0.296_516_4;
        state[2] = 0.570_00 * state[2] + white * 1.052_691_3;
        state.iter().sum::<f32>() + white * 0.1848
    };
    (0..length).map(|_| next()).collect()
}

/// An integrator that leaks, so that it does not wander off: −6 dB an octave above 25 Hz.
fn brown(length: usize, rng: &mut impl Rng) -> Vec<f32> {
    const LEAK: f32 = 0.99; // a corner at 0.01 · 16000 / 2π = 25 Hz
    let mut state = 0.0;
    let mut next = || {
        state = LEAK * state + gaussian(rng);
        state
    };
    (0..length).map(|_| next()).collect()
}

/// Harmonics with random phases, falling with their number, and a little hiss.
fn hum(length: usize, rng: &mut impl Rng) -> Vec<f32> {
    const HARMONICS: usize = 12;
    const HISS: f32 = 0.02;
    let base: f32 = if rng.random_bool(0.5) { 50.0 } else { 60.0 };
    let partials: Vec<(f32, f32, f32)> = (1..=HARMONICS)
        .map(|n| {
            let step = TAU * base * n as f32 / SAMPLE_RATE as f32;
            (step, draw(&(0.0..=TAU), rng), draw(&(0.3..=1.0), rng) / n as f32)
        })
        .collect();
    // The pattern repeats within 0.1 s for both 50 and 60 Hz, which keeps the angles small and exact.
    let period = SAMPLE_RATE as usize / 10;
    let wave: Vec<f32> = (0..period.min(length))
        .map(|i| partials.iter().map(|(step, phase, a)| a * (step * i as f32 + phase).sin()).sum())
        .collect();
    (0..length).map(|i| wave[i % period] + HISS * gaussian(rng)).collect()
}

fn modulate(x: &mut [f32], rng: &mut impl Rng) {
    let step = TAU * draw(&(0.5..=8.0), rng) / SAMPLE_RATE as f32;
    let (phase, depth) = (draw(&(0.0..=TAU), rng), draw(&(0.5..=0.95), rng));
    for (i, v) in x.iter_mut().enumerate() {
        *v *= 1.0 + depth * (step * i as f32 + phase).sin();
    }
}

/// Each burst starts at once and dies away to 5 % of its level; between them 1 % is left.
fn burst(x: &mut [f32], rng: &mut impl Rng) {
    const REST: f32 = 0.01;
    const LN_END: f32 = -3.0;
    let samples = |range, rng: &mut _| (draw(&range, rng) * SAMPLE_RATE as f32) as usize;
    let mut at = 0;
    while at < x.len() {
        let end = (at + samples(0.02..=0.3, rng)).min(x.len());
        let pause = (end + samples(0.05..=0.8, rng)).min(x.len());
        let (height, length) = (draw(&(0.3..=1.0), rng), (end - at) as f32);
        for (i, v) in x[at..end].iter_mut().enumerate() {
            *v *= height * (LN_END * i as f32 / length).exp();
        }
        level::scale(&mut x[end..pause], REST);
        at = pause;
    }
}
