//! Reference kernels in plain Rust; every other implementation must equal them.

use crate::fixed::round_high;
use crate::frontend::fft::{
    Bins, COMPLEX_POINTS, Complex, POWER_FRACTION_BITS, SPLIT_PAIRS, Twiddles, power,
};
use crate::frontend::mel::MelBands;
use crate::frontend::params::MEL_WEIGHT_BITS;
use crate::frontend::window::{COEFFICIENT_BITS, GROUP_PAIRS, GROUPS, Samples, group_start};
use crate::frontend::{HOP_SAMPLES, MelPowers};

/// Functions that have a counterpart in [`short`](super::short), as this processor runs them.
mod own {
    #[cfg(wakeling_short_product)]
    pub(super) use super::super::short::{half_rotated, segment_sums, square, weigh};
    #[cfg(not(wakeling_short_product))]
    pub(super) use super::{half_rotated, segment_sums, square, weigh};
}

/// Applies the window to the samples, pads them with zeros to 512, and does the first pass:
/// transforms of four points 64 apart, in digit-reversed order.
///
/// Block `m` of four outputs has the inputs `n`, `n + 64`, `n + 128`, `n + 192`, where `n` has the
/// three base-4 digits of `m` reversed. A group of four blocks thus has one start, and the last
/// input of each fourth block is zeros.
#[cfg_attr(not(target_os = "none"), inline(always))]
pub fn window(
    Samples(samples): &Samples,
    coefficients: &[[[i32; 2]; GROUP_PAIRS]; GROUPS],
    bins: &mut Bins,
) {
    let Some(pairs) = samples.as_chunks::<2>().0.first_chunk::<PAIRS>() else { return };
    let groups = bins.as_chunks_mut::<GROUPS>().0.iter_mut().zip(coefficients).enumerate();
    for (group, (out, weights)) in groups {
        let start = group_start(group);
        let at = |j: usize, i: usize| {
            // The index is always in range, but not every compiler proves it; an index expression
            // could panic.
            let [a, b] = pairs.get(start + 16 * j + 64 * i).copied().unwrap_or_default();
            let [wa, wb] = weights[4 * j + i];
            [own::weigh(a, wa), own::weigh(b, wb)]
        };
        let (blocks, _) = out.as_chunks_mut::<4>();
        for (j, block) in blocks.iter_mut().enumerate() {
            let last = if j < 3 { at(j, 3) } else { [0, 0] };
            *block = butterfly(at(j, 0), at(j, 1), at(j, 2), last);
        }
    }
}

/// Number of pairs of samples under the window.
const PAIRS: usize = GROUPS * GROUP_PAIRS;

/// Returns `⌊sample · coefficient · 2⁷⌋` for a coefficient in Q23; the magnitude is below 2²².
#[inline(always)]
pub(super) fn weigh(sample: i16, coefficient: i32) -> i32 {
    const { assert!(COEFFICIENT_BITS == 23) };
    ((i64::from(sample) * i64::from(coefficient)) >> 16) as i32
}

/// Returns `⌊½ - (a · b) / 2³²⌋`, the rounded high word of a product's negative, like `SMMLSR`. It
/// differs from the negative of [`round_high`] for ties.
#[inline(always)]
const fn round_high_negative(a: i32, b: i32) -> i32 {
    (((1 << 31) - a as i64 * b as i64) >> 32) as i32
}

/// Returns half of `z · exp(-iθ)`, given `[cos θ, sin θ]` in Q31.
///
/// Products are rounded to nearest, since rounding them down would accumulate in a few bins.
#[inline(always)]
pub(super) const fn half_rotated([re, im]: Complex, [cos, sin]: Complex) -> Complex {
    [round_high(re, cos) + round_high(im, sin), round_high(im, cos) + round_high_negative(re, sin)]
}

/// Combines four sub-transforms, given the sum `a + c` and the difference `a - c` of the even two,
/// and the sum and the difference of the odd two.
#[inline(always)]
fn combine(sum: Complex, difference: Complex, odd_sum: Complex, odd: Complex) -> [Complex; 4] {
    [
        [sum[0] + odd_sum[0], sum[1] + odd_sum[1]],
        [difference[0] + odd[1], difference[1] - odd[0]],
        [sum[0] - odd_sum[0], sum[1] - odd_sum[1]],
        [difference[0] - odd[1], difference[1] + odd[0]],
    ]
}

/// Computes a butterfly without twiddles.
#[inline(always)]
fn butterfly(a: Complex, b: Complex, c: Complex, d: Complex) -> [Complex; 4] {
    combine(
        [a[0] + c[0], a[1] + c[1]],
        [a[0] - c[0], a[1] - c[1]],
        [b[0] + d[0], b[1] + d[1]],
        [b[0] - d[0], b[1] - d[1]],
    )
}

/// Computes a butterfly whose last three inputs are halved.
#[inline(always)]
fn of_halves(a: Complex, b: Complex, c: Complex, d: Complex) -> [Complex; 4] {
    combine(
        [a[0] + 2 * c[0], a[1] + 2 * c[1]],
        [a[0] - 2 * c[0], a[1] - 2 * c[1]],
        [2 * (b[0] + d[0]), 2 * (b[1] + d[1])],
        [2 * (b[0] - d[0]), 2 * (b[1] - d[1])],
    )
}

/// Combines every four transforms of 4 points into one.
#[cfg_attr(not(target_os = "none"), inline(always))]
pub fn pass_4(bins: &mut Bins, twiddles: &[Twiddles; 3]) {
    pass(bins, twiddles);
}

/// Combines every four transforms of 16 points into one.
#[cfg_attr(not(target_os = "none"), inline(always))]
pub fn pass_16(bins: &mut Bins, twiddles: &[Twiddles; 15]) {
    pass(bins, twiddles);
}

/// Combines the four transforms of 64 points into one.
#[cfg_attr(not(target_os = "none"), inline(always))]
pub fn pass_64(bins: &mut Bins, twiddles: &[Twiddles; 63]) {
    pass(bins, twiddles);
}

/// Combines every four transforms of `twiddles.len() + 1` points into one. The first butterfly of
/// each has no twiddles, which is faster, and exact.
#[cfg_attr(target_os = "none", inline(never))]
#[cfg_attr(not(target_os = "none"), inline(always))]
fn pass(bins: &mut Bins, twiddles: &[Twiddles]) {
    let span = twiddles.len() + 1;
    for block in bins.chunks_exact_mut(4 * span) {
        let (low, high) = block.split_at_mut(2 * span);
        let (a, b) = low.split_at_mut(span);
        let (c, d) = high.split_at_mut(span);
        let mut quads = a.iter_mut().zip(b).zip(c).zip(d);
        if let Some((((a, b), c), d)) = quads.next() {
            [*a, *b, *c, *d] = butterfly(*a, *b, *c, *d);
        }
        #[cfg(wakeling_short_product)]
        super::short::butterflies(block, twiddles);
        #[cfg(not(wakeling_short_product))]
        for ((((a, b), c), d), &[wb, wc, wd]) in quads.zip(twiddles) {
            let (b_half, c_half) = (own::half_rotated(*b, wb), own::half_rotated(*c, wc));
            [*a, *b, *c, *d] = of_halves(*a, b_half, c_half, own::half_rotated(*d, wd));
        }
    }
}

/// Returns `|z|²` as its low and its high word.
#[inline(always)]
pub(super) const fn square([re, im]: Complex) -> Complex {
    let power = (re as i64 * re as i64) as u64 + (im as i64 * im as i64) as u64;
    [power as i32, (power >> 32) as i32]
}

/// Replaces the complex transform `Z` by `|2·X|²` of the real one.
///
/// With `E = (Z[k] + Z*[256-k])/2` and `O = (Z[k] - Z*[256-k])/2i`, the transforms of the even and
/// of the odd samples, `X[k] = E + w^k·O` and `X*[256-k] = E - w^k·O`.
#[cfg_attr(not(target_os = "none"), inline(always))]
pub fn powers(bins: &mut Bins, twiddles: &[Complex; SPLIT_PAIRS]) {
    let (low, high) = bins.split_at_mut(COMPLEX_POINTS / 2);
    let [middle, high @ ..] = high else { return };
    // X[128] is the conjugate of Z[128].
    *middle = own::square([2 * middle[0], 2 * middle[1]]);
    for ((z, mirrored), &twiddle) in low.iter_mut().skip(1).zip(high.iter_mut().rev()).zip(twiddles)
    {
        let even = [z[0] + mirrored[0], z[1] - mirrored[1]];
        // The value is 2i·O, so that its rotated half is i·w^k·O.
        let odd = [z[0] - mirrored[0], z[1] + mirrored[1]];
        let [re, im] = own::half_rotated(odd, twiddle);
        *z = own::square([even[0] + 2 * im, even[1] - 2 * re]);
        *mirrored = own::square([even[0] - 2 * im, even[1] + 2 * re]);
    }
}

/// `powers[c] = ⌊2⁶⁻¹⁶ · Σ w·power⌋` with `w` in Q12; see [`mel`](crate::frontend::mel).
///
/// The powers sum to less than 2⁶². Their high words times weights, and their low words times
/// weights, thus each fit 63 bits, and together they are exact.
#[cfg_attr(not(target_os = "none"), inline(always))]
pub fn mel_powers(bins: &Bins, bands: &MelBands<'_>, powers: &mut MelPowers) {
    let Some((starts, mut weights)) = bands.tables() else { return };
    let mut starts = starts.iter().map(|&start| usize::from(u16::from_le_bytes(start)));
    let mut start = starts.next().unwrap_or(0);
    let mut bins = bins.get(start..).unwrap_or_default();
    // Share of the segment below that belongs to the band whose centre ends it.
    let mut carried = Wide::default();
    for (segment, end) in starts.enumerate() {
        let count = end.saturating_sub(start).min(bins.len()).min(weights.len());
        let (inside, above) = bins.split_at(count);
        let (shares, later) = weights.split_at(count);
        let sums = own::segment_sums(inside, shares);
        // The falling share of the first segment is below the lowest band and belongs to none.
        if let Some(power) = segment.checked_sub(1).and_then(|c| powers.get_mut(c)) {
            *power = carried.mel_power(sums);
        }
        carried = Wide::rest(sums);
        (start, bins, weights) = (end, above, later);
    }
}

/// Returns the sums of `w·power` and of `power`.
#[cfg_attr(target_os = "none", inline(never))]
#[cfg_attr(not(target_os = "none"), inline(always))]
pub(super) fn segment_sums(bins: &[Complex], weights: &[[u8; 2]]) -> Sums {
    let mut sums = Sums::default();
    for (&[low, high], &weight) in bins.iter().zip(weights) {
        let weight = u64::from(u16::from_le_bytes(weight));
        sums.high = sums.high.wrapping_add(weight * u64::from(high as u32));
        sums.low = sums.low.wrapping_add(weight * u64::from(low as u32));
        sums.total = sums.total.wrapping_add(power([low, high]));
    }
    sums
}

/// Number of fractional bits of a mel power.
const MEL_FRACTION_BITS: u32 = 6;

/// Sums over a part of the powers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Sums {
    /// `Σ w · ⌊power / 2³²⌋`.
    pub(super) high: u64,
    /// `Σ w · (power mod 2³²)`.
    pub(super) low: u64,
    /// `Σ power`.
    pub(super) total: u64,
}

/// `2³²·high + low`: a sum of powers times weights in Q12.
#[derive(Clone, Copy, Debug, Default)]
struct Wide {
    pub(super) high: u64,
    /// Negative if the sum subtracted from it was larger.
    low: i64,
}

impl Wide {
    /// Returns `Σ (1 - w)·power`.
    const fn rest(Sums { high, low, total }: Sums) -> Self {
        const ONE: u64 = 1 << MEL_WEIGHT_BITS;
        Self {
            high: ((total >> 32) * ONE).wrapping_sub(high),
            low: ((total & 0xFFFF_FFFF) * ONE).wrapping_sub(low) as i64,
        }
    }

    /// Returns the sum with `Σ w·power` of `sums`, in Q6 and rounded down.
    const fn mel_power(self, sums: Sums) -> u64 {
        const SHIFT: u32 = POWER_FRACTION_BITS + MEL_WEIGHT_BITS - MEL_FRACTION_BITS;
        let high = self.high.wrapping_add(sums.high);
        let low = self.low.wrapping_add_unsigned(sums.low) >> SHIFT;
        (high << (32 - SHIFT)).wrapping_add_signed(low)
    }
}

/// Moves the samples of the window down by one hop.
#[cfg_attr(not(target_os = "none"), inline(always))]
pub fn advance(Samples(samples): &mut Samples) {
    samples.copy_within(HOP_SAMPLES.., 0);
}
