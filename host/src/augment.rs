//! Makes one recording into many: what rooms, microphones, telephones and neighbours do to a voice.
//!
//! A handful of samples recorded at a desk must work across the kitchen. So training never hears the
//! same clip twice: [`Augment`] draws a speed, a room, a tone colour, a noise, a bandwidth and a level
//! from ranges, in the order in which sound meets them on its way from mouth to model. The steps are
//! plain functions in the sub-modules, usable alone. Everything random comes from the caller's
//! generator, so a seed repeats a run.
//!
//! Shapes: `(samples)` of 16 kHz mono i16 in and out; inside f32 in units of an i16 step, which is
//! rounded once, at the end. Only `speed` changes the length.

pub mod filter;
pub mod level;
pub mod noise;
pub mod room;
pub mod speed;
#[cfg(test)]
mod tests;

use std::ops::RangeInclusive;

use rand::{Rng, RngExt};

pub use noise::{Color, Envelope, NoiseKind, babble, synthetic_noise};

use crate::audio::{SAMPLE_RATE, to_i16};

/// The sound path of a telephone, in Hz.
pub const TELEPHONE_HZ: RangeInclusive<f32> = 300.0..=3_400.0;

/// What may happen to a clip: ranges from which each step draws evenly, and how often it happens.
///
/// Probabilities outside of 0 … 1 act as the nearer bound, and ranges may be given either way round.
#[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Augment {
    /// Playback speed; above 1 is faster, shorter and higher. Clamped to 0.5 … 2.
    pub speed: RangeInclusive<f32>,
    /// How often the speed changes.
    pub speed_probability: f64,
    /// Reverberation time in seconds: how long a sound takes to fall by 60 dB.
    pub rt60_s: RangeInclusive<f32>,
    /// Energy of the direct sound over that of the echoes, in dB: high is near.
    pub direct_to_reverberant_db: RangeInclusive<f32>,
    /// How often there is a room.
    pub room_probability: f64,
    /// Treble over bass, in dB across the spectrum.
    pub tilt_db: RangeInclusive<f32>,
    /// Height of each random peak or notch, in dB.
    pub eq_db: RangeInclusive<f32>,
    /// Number of peaks and notches.
    pub eq_bands: usize,
    /// How often the spectrum is tilted and bent.
    pub eq_probability: f64,
    /// Shift in milliseconds; positive is later. What leaves the clip is lost.
    pub shift_ms: RangeInclusive<f32>,
    /// Speech over noise in dB, both as in [`level::mix_at_snr`].
    pub snr_db: RangeInclusive<f32>,
    /// How often noise is added, where the caller has some.
    pub noise_probability: f64,
    /// Upper band edges in Hz, of which one is drawn.
    pub band_limits_hz: Vec<f32>,
    /// How often the band is limited.
    pub band_limit_probability: f64,
    /// How often a limited band is that of a telephone ([`TELEPHONE_HZ`]).
    pub telephone_probability: f64,
    /// Level change in dB.
    pub gain_db: RangeInclusive<f32>,
    /// Where clipping sets in, as a part of the clip's peak.
    pub clip_level: RangeInclusive<f32>,
    /// How often the clip is clipped.
    pub clip_probability: f64,
}

impl Default for Augment {
    /// What a device in a home meets, moderately.
    fn default() -> Self {
        Self {
            speed: 0.85..=1.18,
            speed_probability: 0.5,
            rt60_s: 0.1..=0.6,
            direct_to_reverberant_db: -3.0..=12.0,
            room_probability: 0.5,
            tilt_db: -6.0..=6.0,
            eq_db: -6.0..=6.0,
            eq_bands: 3,
            eq_probability: 0.5,
            shift_ms: -50.0..=50.0,
            snr_db: 0.0..=25.0,
            noise_probability: 0.7,
            band_limits_hz: vec![3_400.0, 4_000.0, 5_500.0],
            band_limit_probability: 0.15,
            telephone_probability: 0.3,
            gain_db: -18.0..=6.0,
            clip_level: 0.3..=0.9,
            clip_probability: 0.05,
        }
    }
}

impl Augment {
    /// Changes nothing: every sample comes back bit exact.
    pub fn none() -> Self {
        let never = 0.0;
        Self {
            speed_probability: never,
            room_probability: never,
            eq_probability: never,
            shift_ms: 0.0..=0.0,
            noise_probability: never,
            band_limit_probability: never,
            gain_db: 0.0..=0.0,
            clip_probability: never,
            ..Self::default()
        }
    }

    /// Draws and applies: speed, room, tone colour, shift, noise, bandwidth, gain, clipping.
    ///
    /// `noise` is looped from a random place to the length of the clip; without it, or if it is
    /// silent, none is added. The length stays, except that speed divides it. Loud results saturate,
    /// as a converter's do.
    pub fn apply(&self, samples: &[i16], noise: Option<&[i16]>, rng: &mut impl Rng) -> Vec<i16> {
        let mut x: Vec<f32> = samples.iter().map(|&s| f32::from(s)).collect();
        if chance(self.speed_probability, rng) {
            x = speed::speed(&x, draw(&self.speed, rng));
        }
        if chance(self.room_probability, rng) {
            let rt60_s = draw(&self.rt60_s, rng);
            let ratio_db = draw(&self.direct_to_reverberant_db, rng);
            let response = room::impulse_response(rt60_s, ratio_db, rng);
            room::reverberate(&mut x, &response);
        }
        if chance(self.eq_probability, rng) {
            self.color(&mut x, rng);
        }
        let shift = draw(&self.shift_ms, rng) * SAMPLE_RATE as f32 / 1_000.0;
        level::shift(&mut x, shift.round() as isize);
        if chance(self.noise_probability, rng)
            && let Some(noise) = noise
        {
            let noise = level::loop_from(noise, x.len(), rng);
            level::mix_at_snr(&mut x, &noise, draw(&self.snr_db, rng));
        }
        if chance(self.band_limit_probability, rng) {
            self.limit_band(&mut x, rng);
        }
        level::gain(&mut x, draw(&self.gain_db, rng));
        if chance(self.clip_probability, rng) {
            level::clip(&mut x, draw(&self.clip_level, rng));
        }
        to_i16(&x)
    }

    fn color(&self, x: &mut [f32], rng: &mut impl Rng) {
        filter::tilt(x, draw(&self.tilt_db, rng));
        for _ in 0..self.eq_bands {
            // Even over octaves, as hearing and the mel scale are.
            let hz = 100.0 * (draw(&(0.0..=1.0), rng) * (7_000.0f32 / 100.0).ln()).exp();
            let width = draw(&(0.5..=2.0), rng);
            filter::Biquad::peaking(hz, width, draw(&self.eq_db, rng)).run(x);
        }
    }

    fn limit_band(&self, x: &mut [f32], rng: &mut impl Rng) {
        if chance(self.telephone_probability, rng) {
            filter::high_pass(x, *TELEPHONE_HZ.start());
            filter::low_pass(x, *TELEPHONE_HZ.end());
        } else if !self.band_limits_hz.is_empty() {
            let index = rng.random_range(0..self.band_limits_hz.len());
            filter::low_pass(x, self.band_limits_hz[index]);
        }
    }
}

/// Even over the range, either way round. Never panics, unlike `random_range` on an empty range.
fn draw(range: &RangeInclusive<f32>, rng: &mut impl Rng) -> f32 {
    range.start() + (range.end() - range.start()) * rng.random::<f32>()
}

fn chance(probability: f64, rng: &mut impl Rng) -> bool {
    rng.random::<f64>() < probability
}

/// A sample of the normal distribution with mean 0 and deviation 1 (Box and Muller, 1958).
fn gaussian(rng: &mut impl Rng) -> f32 {
    let radius = (-2.0 * (1.0 - rng.random::<f32>()).ln()).sqrt();
    radius * (std::f32::consts::TAU * rng.random::<f32>()).cos()
}
