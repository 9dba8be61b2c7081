//! The sliding window over the last 480 samples, and its Hann coefficients.
//!
//! In: `i16` samples in chunks of any length. Out: [`Samples`].

use super::fft::{Q62_ONE, rotate_q62};
use super::{HOP_SAMPLES, WINDOW_SAMPLES, kernels};

/// Samples under the window, aligned for kernels that move two at once.
#[derive(Clone, Debug)]
#[repr(align(4))]
pub struct Samples(pub [i16; WINDOW_SAMPLES]);

/// Number of fractional bits of the windowed samples. `Σ|x|` over the window is at most 2¹⁵ · 240 ·
/// 2⁷ < 2³⁰, so the transform, its intermediate sums and twice a bin all fit `i32`.
pub const SAMPLE_FRACTION_BITS: u32 = 7;
/// Number of fractional bits of the window's coefficients. The high 32 bits of a 48-bit product are
/// the windowed sample, which is one instruction (`SMULWB`) on Cortex-M4 and later.
pub const COEFFICIENT_BITS: u32 = 16 + SAMPLE_FRACTION_BITS;

/// Number of groups of 16 complex values that the first pass computes from 60 or 64 samples.
pub(super) const GROUPS: usize = 16;
/// Number of pairs of samples in a group; the sixteenth is padding.
pub(super) const GROUP_PAIRS: usize = WINDOW_SAMPLES / 2 / GROUPS;

/// Hann coefficients `round(2²³ · (½ - ½·cos(2π(i + ½)/480)))` for the samples `i = 2n` and
/// `2n + 1` of each pair `n`, in the order in which the first pass reads them. Group `g` has
/// `n = r + 16·j + 64·i` with `i` fastest, where `r` is [`group_start`] of `g`.
pub(super) static COEFFICIENTS: [[[i32; 2]; GROUP_PAIRS]; GROUPS] = {
    let hann = hann();
    let mut table = [[[0; 2]; GROUP_PAIRS]; GROUPS];
    let mut group = 0;
    while group < GROUPS {
        let mut at = 0;
        while at < GROUP_PAIRS {
            let pair = group_start(group) + 16 * (at / 4) + 64 * (at % 4);
            table[group][at] = [hann[2 * pair], hann[2 * pair + 1]];
            at += 1;
        }
        group += 1;
    }
    table
};

/// Returns the first pair of samples in a group: its number with the two base-4 digits exchanged.
#[inline(always)]
pub(super) const fn group_start(group: usize) -> usize {
    (group & 3) << 2 | (group >> 2) & 3
}

const fn hann() -> [i32; WINDOW_SAMPLES] {
    /// `cos` and `sin` of π/480 in Q62.
    const HALF_STEP: [i64; 2] = [4_611_587_243_787_314_565, 30_183_198_915_511_133];
    const SHIFT: u32 = 63 - COEFFICIENT_BITS;
    let mut table = [0; WINDOW_SAMPLES];
    let mut angle = HALF_STEP;
    let mut i = 0;
    while i < WINDOW_SAMPLES / 2 {
        table[i] = ((Q62_ONE - angle[0] + (1 << (SHIFT - 1))) >> SHIFT) as i32;
        table[WINDOW_SAMPLES - 1 - i] = table[i];
        angle = rotate_q62(rotate_q62(angle, HALF_STEP), HALF_STEP);
        i += 1;
    }
    table
}

/// Window over the last samples.
#[derive(Clone, Debug)]
pub struct Window {
    samples: Samples,
    filled: usize,
}

impl Default for Window {
    fn default() -> Self {
        Self::new()
    }
}

impl Window {
    /// Creates an empty window.
    #[inline(always)]
    pub const fn new() -> Self {
        Self { samples: Samples([0; WINDOW_SAMPLES]), filled: 0 }
    }

    /// Copies samples until the window is full. Returns their number, and whether the window is
    /// full.
    #[cfg_attr(not(target_os = "none"), inline(always))]
    pub fn push(&mut self, pcm: &[i16]) -> (usize, bool) {
        let room = self.samples.0.get_mut(self.filled..).unwrap_or_default();
        let consumed = room.len().min(pcm.len());
        if let (Some(room), Some(pcm)) = (room.get_mut(..consumed), pcm.get(..consumed)) {
            room.copy_from_slice(pcm);
        }
        self.filled += consumed;
        (consumed, self.filled == WINDOW_SAMPLES)
    }

    /// Moves the window by one hop.
    #[cfg_attr(not(target_os = "none"), inline(always))]
    pub fn advance(&mut self) {
        kernels::advance(&mut self.samples);
        self.filled = WINDOW_SAMPLES - HOP_SAMPLES;
    }

    /// Empties the window.
    pub fn reset(&mut self) {
        self.filled = 0;
    }

    /// Samples under the window.
    #[cfg_attr(not(target_os = "none"), inline(always))]
    pub const fn samples(&self) -> &Samples {
        &self.samples
    }
}

#[cfg(test)]
mod tests {
    extern crate std;
    use super::*;

    #[test]
    fn the_table_is_the_hann_window() {
        for (i, &found) in hann().iter().enumerate() {
            let angle = core::f64::consts::TAU * (i as f64 + 0.5) / WINDOW_SAMPLES as f64;
            let exact = 8_388_608.0 * (0.5 - 0.5 * angle.cos());
            assert!((f64::from(found) - exact).abs() <= 0.5 + 1e-6, "{i}: {found} {exact}");
        }
    }
}
