//! Rooms: an artificial impulse response, and convolution with it.
//!
//! A direct sound, a short gap, then noise that dies away exponentially (Polack's model of the
//! diffuse tail): no geometry, but what matters to a recognizer, which is how much echo there is and
//! how long it lasts. Shapes: response `(taps)`; sound `(n)` in and out, the tail beyond `n` is cut.

use rand::Rng;

use super::{gaussian, level};
use crate::audio::SAMPLE_RATE;

/// Amplitude at the end of the reverberation time: −60 dB, as a natural logarithm.
const LN_60_DB: f32 = 6.907_755;
/// The gap before the first echo, in seconds: 0.7 to 3.4 m of detour.
const GAP_S: std::ops::RangeInclusive<f32> = 0.002..=0.010;
/// Limits of the reverberation time in seconds, from a cupboard to a cathedral.
const RT60_S: std::ops::RangeInclusive<f32> = 0.02..=5.0;

/// An impulse response of `rt60_s` seconds (clamped to 0.02 … 5): `h[0] = 1`, silence for 2 to 10 ms,
/// then Gaussian noise times `10^(-3t / rt60)`, scaled so that
/// `10·log10(h[0]² / Σ tail²)` is `direct_to_reverberant_db`.
pub fn impulse_response(
    rt60_s: f32,
    direct_to_reverberant_db: f32,
    rng: &mut impl Rng,
) -> Vec<f32> {
    let rate = SAMPLE_RATE as f32;
    let rt60_s = rt60_s.max(*RT60_S.start()).min(*RT60_S.end());
    let taps = (rt60_s * rate) as usize;
    let gap = (super::draw(&GAP_S, rng) * rate) as usize;
    let mut response = vec![0.0; taps];
    let gap = gap.min(taps / 2);
    for (i, tap) in response.iter_mut().enumerate().skip(gap) {
        *tap = gaussian(rng) * (-LN_60_DB * i as f32 / taps as f32).exp();
    }
    let energy: f32 = response.iter().map(|h| h * h).sum();
    level::scale(&mut response, level::from_db(-direct_to_reverberant_db) / energy.sqrt());
    response[0] = 1.0;
    response
}

/// Convolves with `response` and restores the active level; the length stays.
pub fn reverberate(x: &mut [f32], response: &[f32]) {
    let before = level::active_rms(x);
    let wet = convolve(x, response);
    x.copy_from_slice(&wet);
    let after = level::active_rms(x);
    if after > 0.0 {
        level::scale(x, before / after);
    }
}

/// `y[i] = Σ h[j]·x[i − j]` for `i < n`, by one transform there and one back.
pub fn convolve(x: &[f32], response: &[f32]) -> Vec<f32> {
    if x.is_empty() || response.is_empty() {
        return vec![0.0; x.len()];
    }
    // Taps beyond the sound cannot be heard in it.
    let response = &response[..response.len().min(x.len())];
    let size = (x.len() + response.len()).next_power_of_two();
    // Both are real, so one complex transform carries the two: x in the real part, h in the other.
    let mut z: Vec<Complex> = (0..size).map(|i| Complex(at(x, i), at(response, i))).collect();
    fft(&mut z);
    // X = (Z[k] + Z̄[−k]) / 2 and H = (Z[k] − Z̄[−k]) / 2i, hence X·H = (Z[k]² − Z̄[−k]²) / 4i.
    let product: Vec<Complex> = (0..size)
        .map(|k| {
            let (a, b) = (z[k], z[(size - k) % size].conjugate());
            let (a, b) = (a.times(a), b.times(b));
            // Division by 4i, then conjugated: the inverse transform is the conjugate of the forward
            // transform of the conjugate.
            Complex((a.1 - b.1) / 4.0, (a.0 - b.0) / 4.0)
        })
        .collect();
    z.copy_from_slice(&product);
    fft(&mut z);
    z[..x.len()].iter().map(|c| (c.0 / size as f64) as f32).collect()
}

fn at(x: &[f32], i: usize) -> f64 {
    x.get(i).copied().map_or(0.0, f64::from)
}

/// Real and imaginary part. In f64, because the sound is 2^15 times louder than the response.
#[derive(Clone, Copy)]
struct Complex(f64, f64);

impl Complex {
    fn times(self, other: Self) -> Self {
        Self(self.0 * other.0 - self.1 * other.1, self.0 * other.1 + self.1 * other.0)
    }

    fn conjugate(self) -> Self {
        Self(self.0, -self.1)
    }
}

/// Radix-2 transform in place (Cooley and Tukey, 1965); the length must be a power of two.
fn fft(z: &mut [Complex]) {
    let n = z.len();
    let bits = n.trailing_zeros();
    if bits == 0 {
        return;
    }
    for i in 0..n {
        let j = i.reverse_bits() >> (usize::BITS - bits);
        if i < j {
            z.swap(i, j);
        }
    }
    let turn = |k: usize| {
        let (sin, cos) = (-std::f64::consts::TAU * k as f64 / n as f64).sin_cos();
        Complex(cos, sin)
    };
    let twiddles: Vec<Complex> = (0..n / 2).map(turn).collect();
    let mut half = 1;
    while half < n {
        let stride = n / (2 * half);
        for block in z.chunks_exact_mut(2 * half) {
            let (low, high) = block.split_at_mut(half);
            for ((a, b), w) in low.iter_mut().zip(high).zip(twiddles.iter().step_by(stride)) {
                let t = b.times(*w);
                *b = Complex(a.0 - t.0, a.1 - t.1);
                *a = Complex(a.0 + t.0, a.1 + t.1);
            }
        }
        half *= 2;
    }
}

/// A response for tests that need one that is not noise.
#[cfg(test)]
pub(super) fn sparse(rng: &mut impl Rng, taps: usize) -> Vec<f32> {
    (0..taps).map(|_| if super::chance(0.1, rng) { gaussian(rng) } else { 0.0 }).collect()
}
