//! Levels, mixing, clipping and time shift.
//!
//! Shapes: `(samples)` of f32 in i16 steps, changed in place.

use rand::{Rng, RngExt};

/// Frame over which loudness is measured: 20 ms, about a syllable's edge.
const FRAME: usize = 320;
/// Frames more than this below the loudest count as pauses, in dB. Wide enough to keep the weak
/// consonants of a word; ITU-T P.56 goes 15.9 dB below the active level.
const PAUSE_DB: f32 = 25.0;

/// Root mean square; 0 for no samples.
pub fn rms(x: &[f32]) -> f32 {
    let sum: f64 = x.iter().map(|&v| f64::from(v) * f64::from(v)).sum();
    (sum / x.len().max(1) as f64).sqrt() as f32
}

/// Root mean square over the 20 ms frames that are at most 25 dB below the loudest one.
///
/// A word with a second of silence around it is as loud as the word.
pub fn active_rms(x: &[f32]) -> f32 {
    let frames: Vec<f32> = x.chunks(FRAME).map(rms).collect();
    let floor = frames.iter().copied().fold(0.0, f32::max) * from_db(-PAUSE_DB);
    let mut sum = 0.0;
    let mut count = 0;
    for (frame, level) in x.chunks(FRAME).zip(&frames).filter(|(_, level)| **level >= floor) {
        sum += f64::from(*level) * f64::from(*level) * frame.len() as f64;
        count += frame.len();
    }
    (sum / count.max(1) as f64).sqrt() as f32
}

/// Multiplies by `10^(db / 20)`.
pub fn gain(x: &mut [f32], db: f32) {
    scale(x, from_db(db));
}

/// Adds `noise`, scaled so that `20·log10(active_rms(x) / rms(noise))` is `snr_db`.
///
/// The noise is measured over the samples that are added, so a burst counts as loud as it is on
/// average. A noise shorter than `x` covers only its start. Nothing is added if either is silent.
pub fn mix_at_snr(x: &mut [f32], noise: &[f32], snr_db: f32) {
    let noise = &noise[..noise.len().min(x.len())];
    let (speech, loudness) = (active_rms(x), rms(noise));
    let factor = speech / loudness * from_db(-snr_db);
    if speech > 0.0 && loudness > 0.0 && factor.is_finite() {
        x.iter_mut().zip(noise).for_each(|(x, n)| *x += n * factor);
    }
}

/// `length` samples of `noise` from a random place on, starting over as often as needed; zeros if
/// there is none.
pub fn loop_from(noise: &[i16], length: usize, rng: &mut impl Rng) -> Vec<f32> {
    if noise.is_empty() {
        return vec![0.0; length];
    }
    let start = rng.random_range(0..noise.len());
    noise.iter().cycle().skip(start).take(length).map(|&n| f32::from(n)).collect()
}

/// Cuts the wave off at `level` times its peak, as an overdriven microphone does. `level` is clamped
/// to 0 … 1, and NaN leaves the wave as it is.
pub fn clip(x: &mut [f32], level: f32) {
    let peak = x.iter().fold(0.0f32, |peak, v| peak.max(v.abs()));
    let limit = peak * level.clamp(0.0, 1.0);
    // Not `clamp`, which panics where the limit is NaN.
    x.iter_mut().for_each(|v| *v = v.max(-limit).min(limit));
}

/// Moves the sound by `samples`, later if positive. The gap is silent; what leaves the clip is lost.
pub fn shift(x: &mut [f32], samples: isize) {
    let by = samples.unsigned_abs().min(x.len());
    if samples >= 0 {
        x.rotate_right(by);
        x[..by].fill(0.0);
    } else {
        x.rotate_left(by);
        let kept = x.len() - by;
        x[kept..].fill(0.0);
    }
}

pub(super) fn scale(x: &mut [f32], factor: f32) {
    x.iter_mut().for_each(|v| *v *= factor);
}

pub(super) fn from_db(db: f32) -> f32 {
    10f32.powf(db / 20.0)
}
