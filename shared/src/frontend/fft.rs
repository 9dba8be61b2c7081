//! The spectrum: a real 512-point Fourier transform in place, and its powers.
//!
//! 512 real samples are 256 complex ones. A radix-4 transform (four passes, decimation in time, its
//! input digit-reversed by [`window`](super::window)) and one pass that splits even from odd samples
//! give the bins. Values are `i32` in Q7, twiddles `i32` in Q31, and a product is the rounded high
//! word of the 64-bit one ([`round_high`]): one `SMMULR` on Cortex-M4 and later. There is no scaling between the passes; the
//! bound at [`SAMPLE_FRACTION_BITS`] makes it unnecessary.
//!
//! In: 256 complex. Out: 256 `u64` powers in Q6, in the same memory.

use super::FFT_SIZE;
use super::window::SAMPLE_FRACTION_BITS;
use crate::fixed::round_high;

/// Points of the complex transform.
pub const COMPLEX_POINTS: usize = FFT_SIZE / 2;
/// Fractional bits of a power.
pub const POWER_FRACTION_BITS: u32 = 6;

/// Real and imaginary part.
pub type Complex = [i32; 2];

/// 1 in Q62.
pub(super) const Q62_ONE: i64 = 1 << 62;

/// The product of two complex numbers of magnitude 1, `[cos, sin]` in Q62.
pub(super) const fn rotate_q62([a, b]: [i64; 2], [c, d]: [i64; 2]) -> [i64; 2] {
    let (a, b, c, d) = (a as i128, b as i128, c as i128, d as i128);
    let half = 1 << 61;
    [((a * c - b * d + half) >> 62) as i64, ((a * d + b * c + half) >> 62) as i64]
}

/// Base-4 digit reversal of eight bits: where input `n` of a 256-point radix-4 transform goes.
pub(super) static DIGIT_REVERSED: [u8; COMPLEX_POINTS] = {
    let mut table = [0; COMPLEX_POINTS];
    let mut i = 0;
    while i < COMPLEX_POINTS {
        table[i] = ((i & 3) << 6 | (i & 12) << 2 | (i & 48) >> 2 | (i & 192) >> 6) as u8;
        i += 1;
    }
    table
};

/// The largest multiple of 2π/512 that a pass needs is 3 · 63 · 2.
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

/// The twiddles `w^j, w^2j, w^3j`, j = 1…`COUNT`, of a pass over sub-transforms of `COUNT + 1`
/// points, `w = exp(-2πi / (4·(COUNT + 1)))`, as `[cos, sin]` of the positive angle.
const fn pass_twiddles<const COUNT: usize>() -> [[Complex; 3]; COUNT] {
    let mut table = [[[0; 2]; 3]; COUNT];
    let mut j = 0;
    while j < COUNT {
        let step = (j + 1) * FFT_SIZE / (4 * (COUNT + 1));
        table[j] = [CIRCLE[step], CIRCLE[2 * step], CIRCLE[3 * step]];
        j += 1;
    }
    table
}

static TWIDDLES_4: [[Complex; 3]; 3] = pass_twiddles();
static TWIDDLES_16: [[Complex; 3]; 15] = pass_twiddles();
static TWIDDLES_64: [[Complex; 3]; 63] = pass_twiddles();

/// `[cos, sin]` of 2πk/512 for k = 1…127.
static SPLIT_TWIDDLES: [Complex; COMPLEX_POINTS / 2 - 1] = {
    let mut table = [[0; 2]; COMPLEX_POINTS / 2 - 1];
    let mut k = 0;
    while k < table.len() {
        table[k] = CIRCLE[k + 1];
        k += 1;
    }
    table
};

/// Half of `z · exp(-iθ)`, given `[cos θ, sin θ]` in Q31.
///
/// Products are rounded to nearest: rounding them down would add up in a few bins.
#[inline(always)]
const fn half_rotated([re, im]: Complex, [cos, sin]: Complex) -> Complex {
    [round_high(re, cos) + round_high(im, sin), round_high(im, cos) - round_high(re, sin)]
}

/// The butterfly of four sub-transforms, given the sum `a + c` and the difference `a - c` of the
/// even two, and the sum and the difference of the odd two.
#[inline(always)]
fn combine(sum: Complex, difference: Complex, odd_sum: Complex, odd: Complex) -> [Complex; 4] {
    [
        [sum[0] + odd_sum[0], sum[1] + odd_sum[1]],
        [difference[0] + odd[1], difference[1] - odd[0]],
        [sum[0] - odd_sum[0], sum[1] - odd_sum[1]],
        [difference[0] - odd[1], difference[1] + odd[0]],
    ]
}

/// A butterfly without twiddles.
#[inline(always)]
fn plain(a: Complex, b: Complex, c: Complex, d: Complex) -> [Complex; 4] {
    combine(
        [a[0] + c[0], a[1] + c[1]],
        [a[0] - c[0], a[1] - c[1]],
        [b[0] + d[0], b[1] + d[1]],
        [b[0] - d[0], b[1] - d[1]],
    )
}

/// A butterfly whose last three inputs are halves of what they stand for.
#[inline(always)]
fn of_halves(a: Complex, b: Complex, c: Complex, d: Complex) -> [Complex; 4] {
    combine(
        [a[0] + 2 * c[0], a[1] + 2 * c[1]],
        [a[0] - 2 * c[0], a[1] - 2 * c[1]],
        [2 * (b[0] + d[0]), 2 * (b[1] + d[1])],
        [2 * (b[0] - d[0]), 2 * (b[1] - d[1])],
    )
}

/// The first pass: transforms of four points.
fn first_pass(bins: &mut [Complex; COMPLEX_POINTS]) {
    for quad in bins.as_chunks_mut::<4>().0 {
        let [a, b, c, d] = *quad;
        *quad = plain(a, b, c, d);
    }
}

/// A later pass: every four transforms of `twiddles.len() + 1` points become one. The first
/// butterfly of each has no twiddles, which is faster, and exact.
fn pass(bins: &mut [Complex; COMPLEX_POINTS], twiddles: &[[Complex; 3]]) {
    let span = twiddles.len() + 1;
    for block in bins.chunks_exact_mut(4 * span) {
        let (low, high) = block.split_at_mut(2 * span);
        let (a, b) = low.split_at_mut(span);
        let (c, d) = high.split_at_mut(span);
        let mut quads = a.iter_mut().zip(b).zip(c).zip(d);
        if let Some((((a, b), c), d)) = quads.next() {
            [*a, *b, *c, *d] = plain(*a, *b, *c, *d);
        }
        for ((((a, b), c), d), &[wb, wc, wd]) in quads.zip(twiddles) {
            [*a, *b, *c, *d] =
                of_halves(*a, half_rotated(*b, wb), half_rotated(*c, wc), half_rotated(*d, wd));
        }
    }
}

/// `⌊64 · |X|²⌋` of `X` in Q7, as the low and the high word: it takes the memory of `X`.
#[inline(always)]
const fn power_words([re, im]: Complex) -> Complex {
    let square = (re as i64 * re as i64) as u64 + (im as i64 * im as i64) as u64;
    let power = square >> (2 * SAMPLE_FRACTION_BITS - POWER_FRACTION_BITS);
    [power as i32, (power >> 32) as i32]
}

/// The transform's memory: windowed samples, then bins, then powers.
#[derive(Clone, Debug)]
pub struct Spectrum {
    /// Complex values in Q7; after [`Spectrum::powers`] the two words of each power.
    pub bins: [Complex; COMPLEX_POINTS],
}

impl Default for Spectrum {
    fn default() -> Self {
        Self::new()
    }
}

impl Spectrum {
    /// All zeros.
    pub const fn new() -> Self {
        Self { bins: [[0; 2]; COMPLEX_POINTS] }
    }

    /// The complex transform `Z[k] = Σ z[n]·exp(-2πi·nk/256)` of digit-reversed input, in natural
    /// order. `Σ(|re| + |im|)` over the input must stay below 2³⁰.
    pub fn transform(&mut self) {
        first_pass(&mut self.bins);
        pass(&mut self.bins, &TWIDDLES_4);
        pass(&mut self.bins, &TWIDDLES_16);
        pass(&mut self.bins, &TWIDDLES_64);
    }

    /// From `Z` to the powers `⌊64·|X[k]|²⌋` of the real transform, k = 1…255; bin 0 is left as it
    /// is, for no mel band contains it.
    ///
    /// With `E = (Z[k] + Z*[256-k])/2` and `O = (Z[k] - Z*[256-k])/2i`, the transforms of the even
    /// and of the odd samples, `X[k] = E + w^k·O` and `X*[256-k] = E - w^k·O`.
    pub fn powers(&mut self) {
        let (low, high) = self.bins.split_at_mut(COMPLEX_POINTS / 2);
        let [middle, high @ ..] = high else { return };
        // X[128] is the conjugate of Z[128].
        *middle = power_words(*middle);
        for ((z, mirrored), &twiddle) in
            low.iter_mut().skip(1).zip(high.iter_mut().rev()).zip(&SPLIT_TWIDDLES)
        {
            let even = [(z[0] + mirrored[0]) >> 1, (z[1] - mirrored[1]) >> 1];
            // 2i·O, so that its half rotated is i·w^k·O.
            let odd = [z[0] - mirrored[0], z[1] + mirrored[1]];
            let [re, im] = half_rotated(odd, twiddle);
            *z = power_words([even[0] + im, even[1] - re]);
            *mirrored = power_words([even[0] - im, even[1] + re]);
        }
    }
}

/// The power in a bin after [`Spectrum::powers`].
#[inline(always)]
pub const fn power([low, high]: Complex) -> u64 {
    (low as u32 as u64) | ((high as u32 as u64) << 32)
}
