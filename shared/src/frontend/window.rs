//! The sliding window: keeps the last 480 samples and weighs them with a Hann window.
//!
//! In: `i16` samples in chunks of any length. Out: 256 complex `i32` in Q7, that is real samples
//! `x[2n] + i·x[2n+1]` scaled by 128, already in the order in which [`fft`](super::fft) wants them,
//! so that the transform has no pass of its own for reordering.

use super::fft::{COMPLEX_POINTS, Complex, DIGIT_REVERSED, Q62_ONE, rotate_q62};
use super::{HOP_SAMPLES, WINDOW_SAMPLES};

/// Fractional bits of the windowed samples. `Σ|x|` over the window is at most
/// 2¹⁵ · 240 · 2⁷ < 2³⁰, so neither the transform nor its intermediate sums leave `i32`.
pub const SAMPLE_FRACTION_BITS: u32 = 7;

/// Fractional bits of the window's coefficients.
const COEFFICIENT_BITS: u32 = 16;

const HALF_WINDOW: usize = WINDOW_SAMPLES / 2;

/// `round(2¹⁶ · (½ - ½·cos(2π(i + ½)/480)))`, at most 65 535; the other half mirrors it.
static HANN: [u16; HALF_WINDOW] = hann();

const fn hann() -> [u16; HALF_WINDOW] {
    /// `cos` and `sin` of π/480 in Q62.
    const HALF_STEP: [i64; 2] = [4_611_587_243_787_314_565, 30_183_198_915_511_133];
    let mut table = [0; HALF_WINDOW];
    let mut angle = HALF_STEP;
    let mut i = 0;
    while i < HALF_WINDOW {
        let rounded = (Q62_ONE - angle[0] + (1 << 46)) >> 47;
        table[i] = if rounded > 65_535 { 65_535 } else { rounded as u16 };
        angle = rotate_q62(rotate_q62(angle, HALF_STEP), HALF_STEP);
        i += 1;
    }
    table
}

/// `⌊sample · coefficient · 2⁷⌋`; the magnitude is below 2²².
#[inline(always)]
fn weigh(sample: i16, coefficient: u16) -> i32 {
    (i32::from(sample) * i32::from(coefficient)) >> (COEFFICIENT_BITS - SAMPLE_FRACTION_BITS)
}

/// The last samples heard.
#[derive(Clone, Debug)]
pub struct Window {
    samples: [i16; WINDOW_SAMPLES],
    filled: usize,
}

impl Default for Window {
    fn default() -> Self {
        Self::new()
    }
}

impl Window {
    /// An empty window.
    pub const fn new() -> Self {
        Self { samples: [0; WINDOW_SAMPLES], filled: 0 }
    }

    /// Copies samples until the window is full; returns how many, and whether it is full.
    pub fn push(&mut self, pcm: &[i16]) -> (usize, bool) {
        let mut consumed = 0;
        for (slot, &sample) in self.samples.iter_mut().skip(self.filled).zip(pcm) {
            *slot = sample;
            consumed += 1;
        }
        self.filled += consumed;
        (consumed, self.filled == WINDOW_SAMPLES)
    }

    /// Makes room for the next hop.
    pub fn advance(&mut self) {
        self.samples.copy_within(HOP_SAMPLES.., 0);
        self.filled = WINDOW_SAMPLES - HOP_SAMPLES;
    }

    /// Forgets every sample.
    pub fn reset(&mut self) {
        self.filled = 0;
    }

    /// Writes the windowed samples, padded with zeros to 512, in digit-reversed order.
    pub fn apply(&self, out: &mut [Complex; COMPLEX_POINTS]) {
        let (rising, falling) = self.samples.as_chunks::<2>().0.split_at(HALF_WINDOW / 2);
        let hann = HANN.as_chunks::<2>().0;
        let (first, rest) = DIGIT_REVERSED.split_at(HALF_WINDOW / 2);
        for ((&[a, b], &[wa, wb]), &slot) in rising.iter().zip(hann).zip(first) {
            out[usize::from(slot)] = [weigh(a, wa), weigh(b, wb)];
        }
        let mut slots = rest.iter();
        for ((&[a, b], &[wb, wa]), &slot) in
            falling.iter().zip(hann.iter().rev()).zip(slots.by_ref())
        {
            out[usize::from(slot)] = [weigh(a, wa), weigh(b, wb)];
        }
        for &slot in slots {
            out[usize::from(slot)] = [0, 0];
        }
    }
}

#[cfg(test)]
mod tests {
    extern crate std;
    use super::*;

    #[test]
    fn the_table_is_the_hann_window() {
        for (i, &found) in HANN.iter().enumerate() {
            let angle = core::f64::consts::TAU * (i as f64 + 0.5) / WINDOW_SAMPLES as f64;
            let exact = (65_536.0 * (0.5 - 0.5 * angle.cos())).min(65_535.0);
            assert!((f64::from(found) - exact).abs() <= 0.5 + 1e-6, "{i}: {found} {exact}");
        }
    }
}
