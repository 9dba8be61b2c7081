//! The spectrum: a real 512-point Fourier transform in place, and its powers.
//!
//! 512 real samples are treated as 256 complex ones. A radix-4 transform has four passes with
//! decimation in time, of which the first also applies the window and reorders. One more pass
//! separates even from odd samples and gives the bins. Values are `i32` in Q7 and twiddles `i32` in
//! Q31. A product is the rounded high word of 64 bits ([`round_high`](crate::fixed::round_high)),
//! one `SMMULR` on Cortex-M4 and later. Passes need no scaling between them; see the bound at
//! [`SAMPLE_FRACTION_BITS`]. `kernels` holds the arithmetic of the passes.
//!
//! In: 480 samples. Out: 255 `u64` powers in Q16, in the memory of the bins.

use super::FFT_SIZE;
use super::kernels;
use super::window::{COEFFICIENTS, SAMPLE_FRACTION_BITS, Samples};

/// Number of points of the complex transform.
pub const COMPLEX_POINTS: usize = FFT_SIZE / 2;
/// Number of fractional bits of a bin's power: those of the square of twice a value.
pub const POWER_FRACTION_BITS: u32 = 2 * (SAMPLE_FRACTION_BITS + 1);

/// Real and imaginary part.
pub type Complex = [i32; 2];
/// Complex values of the transform.
pub type Bins = [Complex; COMPLEX_POINTS];
/// Twiddles of one butterfly: those of its second, third and fourth input.
pub type Twiddles = [Complex; 3];

/// 1 in Q62.
pub(super) const Q62_ONE: i64 = 1 << 62;

/// Multiplies two complex numbers of magnitude 1, `[cos, sin]` in Q62.
pub(super) const fn rotate_q62([a, b]: [i64; 2], [c, d]: [i64; 2]) -> [i64; 2] {
    let (a, b, c, d) = (a as i128, b as i128, c as i128, d as i128);
    let half = 1 << 61;
    [((a * c - b * d + half) >> 62) as i64, ((a * d + b * c + half) >> 62) as i64]
}

/// Number of table entries; the largest multiple of 2π/512 that a pass needs is 3 · 63 · 2.
const CIRCLE_POINTS: usize = 3 * FFT_SIZE / 4;

/// `[cos, sin]` of 2πk/512 in Q31, at most 2³¹ - 1.
const CIRCLE: [Complex; CIRCLE_POINTS] = {
    /// `cos` and `sin` of 2π/512 in Q62.
    const STEP: [i64; 2] = [4_611_338_766_951_757_487, 56_592_481_536_850_979];
    const fn q31(value: i64) -> i32 {
        let rounded = (value + (1 << 30)) >> 31;
        if rounded > i32::MAX as i64 { i32::MAX } else { rounded as i32 }
    }
    let mut table = [[0; 2]; CIRCLE_POINTS];
    let mut angle = [Q62_ONE, 0];
    let mut i = 0;
    while i < CIRCLE_POINTS {
        table[i] = [q31(angle[0]), q31(angle[1])];
        angle = rotate_q62(angle, STEP);
        i += 1;
    }
    table
};

/// Returns the twiddles `w^j, w^2j, w^3j`, j = 1…`COUNT`, of a pass over sub-transforms of
/// `COUNT + 1` points, with `w = exp(-2πi / (4·(COUNT + 1)))`, as `[cos, sin]` of the positive
/// angle.
const fn pass_twiddles<const COUNT: usize>() -> [Twiddles; COUNT] {
    let mut table = [[[0; 2]; 3]; COUNT];
    let mut j = 0;
    while j < COUNT {
        let step = (j + 1) * FFT_SIZE / (4 * (COUNT + 1));
        table[j] = [CIRCLE[step], CIRCLE[2 * step], CIRCLE[3 * step]];
        j += 1;
    }
    table
}

static TWIDDLES_4: [Twiddles; 3] = pass_twiddles();
static TWIDDLES_16: [Twiddles; 15] = pass_twiddles();
static TWIDDLES_64: [Twiddles; 63] = pass_twiddles();

/// Number of pairs of bins k and 256 - k.
pub(super) const SPLIT_PAIRS: usize = COMPLEX_POINTS / 2 - 1;

/// `[cos, sin]` of 2πk/512 for k = 1…127.
static SPLIT_TWIDDLES: [Complex; SPLIT_PAIRS] = {
    let mut table = [[0; 2]; SPLIT_PAIRS];
    let mut k = 0;
    while k < table.len() {
        table[k] = CIRCLE[k + 1];
        k += 1;
    }
    table
};

/// Memory of the transform: windowed samples, then bins, then powers.
#[derive(Clone, Debug)]
pub struct Spectrum {
    /// Complex values in Q7; after [`Spectrum::powers`] the low and the high word of each power.
    pub bins: Bins,
}

impl Default for Spectrum {
    fn default() -> Self {
        Self::new()
    }
}

impl Spectrum {
    /// Creates a spectrum of zeros.
    #[inline(always)]
    pub const fn new() -> Self {
        Self { bins: [[0; 2]; COMPLEX_POINTS] }
    }

    /// Computes the complex transform `Z[k] = Σ z[n]·exp(-2πi·nk/256)` of the windowed samples
    /// `z[n] = x[2n] + i·x[2n+1]`, in natural order.
    #[cfg_attr(not(target_os = "none"), inline(always))]
    pub fn transform(&mut self, samples: &Samples) {
        kernels::window(samples, &COEFFICIENTS, &mut self.bins);
        kernels::pass_4(&mut self.bins, &TWIDDLES_4);
        kernels::pass_16(&mut self.bins, &TWIDDLES_16);
        kernels::pass_64(&mut self.bins, &TWIDDLES_64);
    }

    /// Replaces `Z` by the powers `2¹⁶·|X[k]|²` of the real transform, k = 1…255. Bin 0 is
    /// unchanged, since no mel band contains it. By the bound at [`SAMPLE_FRACTION_BITS`] and
    /// Parseval's theorem, the powers sum to less than 2⁶².
    #[cfg_attr(not(target_os = "none"), inline(always))]
    pub fn powers(&mut self) {
        kernels::powers(&mut self.bins, &SPLIT_TWIDDLES);
    }
}

/// Returns the power in a bin after [`Spectrum::powers`].
#[inline(always)]
pub const fn power([low, high]: Complex) -> u64 {
    (low as u32 as u64) | ((high as u32 as u64) << 32)
}
