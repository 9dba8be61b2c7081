//! Fixed-point arithmetic that several stages share: requantization, the logistic function and
//! softmax.
//!
//! The network rounds in one way: [`round_high`]. Layers that were converted from TensorFlow Lite
//! round a second time, as that does. A value in Q8 is an integer that represents
//! `value / 256`.

/// Number of fractional bits of a logit: `i16` in Q8 spans ±128 in steps of 1/256.
pub const LOGIT_FRACTION_BITS: u32 = 8;

/// Returns `⌊(a · b) / 2³² + ½⌋`, the high word of the product; ties go toward +∞.
///
/// On Cortex-M4 and later it is one instruction (`SMMULR`).
#[inline(always)]
pub const fn round_high(a: i32, b: i32) -> i32 {
    if cfg!(wakeling_short_product) {
        return round_high_of_halves(a, b);
    }
    let product = a as i64 * b as i64;
    if cfg!(target_arch = "riscv32") {
        // Equal result, with a shift and a 32-bit addition instead of a 64-bit one.
        (product >> 32) as i32 + (product as u32 >> 31) as i32
    } else {
        ((product + (1 << 31)) >> 32) as i32
    }
}

/// Equals [`round_high`]. Products of halves fit 32 bits, which is all that a Cortex-M0 multiplies.
#[inline(always)]
const fn round_high_of_halves(a: i32, b: i32) -> i32 {
    let [a_high, a_low, b_high, b_low] = [a >> 16, a & 0xFFFF, b >> 16, b & 0xFFFF];
    // At most (2¹⁵ − 1) · (2¹⁶ − 1) + 2¹⁶ − 2 + 2¹⁵ = 2³¹ − 1.
    let low = (a_low as u32).wrapping_mul(b_low as u32) >> 16;
    let first = a_high * b_low + (low as i32 + (1 << 15));
    let second = a_low * b_high + (first & 0xFFFF);
    a_high * b_high + (first >> 16) + (second >> 16)
}

/// Returns `sat8(zero_point + round_high(acc, multiplier))`.
///
/// Converts an accumulator of scale `s_x·s_w` to an activation of scale `s_y`, with
/// `multiplier = round(2³² · s_x·s_w / s_y)`.
///
/// ```
/// use wakeling_shared::fixed::requantize;
///
/// // Accumulators of scale 0.02 become activations of scale 0.1: 0.02 / 0.1 · 2³² = 858,993,459.
/// assert_eq!(requantize(250, 858_993_459, 0), 50);
/// assert_eq!(requantize(-250, 858_993_459, -128), -128); // saturates: a ReLU
/// ```
#[inline(always)]
pub const fn requantize(acc: i32, multiplier: i32, zero_point: i32) -> i8 {
    sat8(zero_point + round_high(acc, multiplier))
}

/// Returns the nearest `i8`.
#[inline(always)]
const fn sat8(y: i32) -> i8 {
    if y < -128 {
        -128
    } else if y > 127 {
        127
    } else {
        y as i8
    }
}

/// Returns `x · (2³² + multiplier) / 2³² / 2^shift` with the two roundings of TensorFlow Lite: to
/// the nearest with ties toward +∞, then to the nearest with ties away from zero.
///
/// Equals `MultiplyByQuantizedMultiplier(x, m, -shift)` of `tensorflow/lite/kernels/internal/
/// common.h` without `TFLITE_SINGLE_ROUNDING`, where `multiplier = 2·m − 2³²`; `m` is from 2³⁰ to
/// 2³¹ − 1. A result that does not fit an `i32` wraps around.
#[inline(always)]
pub const fn scale_tflite(x: i32, multiplier: i32, shift: u32) -> i32 {
    let high = x.wrapping_add(round_high(x, multiplier));
    match shift.checked_sub(1) {
        None => high,
        Some(shift) => halve_tflite(high, shift, 1),
    }
}

/// Returns the second rounding, `high / 2^(shift + 1)`, plus `(constant - 1) / 2`.
#[inline(always)]
const fn halve_tflite(high: i32, shift: u32, constant: i32) -> i32 {
    let away_from_zero = high.wrapping_add(high >> 31);
    (away_from_zero >> (shift & 31)).wrapping_add(constant) >> 1
}

/// Returns `sat8(zero_point + scale_tflite(acc, multiplier, shift + 1))`.
///
/// ```
/// use wakeling_shared::fixed::{requantize, requantize_tflite};
///
/// // A scale of 0.2: TensorFlow Lite's multiplier is round(0.8 · 2³¹), its right shift 2.
/// let multiplier = (2_i64 * 1_717_986_918 - (1 << 32)) as i32;
/// assert_eq!(requantize_tflite(13, multiplier, 1, 0), 3); // 2.6
/// // The first rounding makes 2.48 of 12.4 · 0.2 to 10 / 4, and the second one makes 3 of it.
/// assert_eq!(requantize_tflite(12, multiplier, 1, 0), 3);
/// assert_eq!(requantize(12, 858_993_459, 0), 2);
/// ```
#[inline(always)]
pub const fn requantize_tflite(acc: i32, multiplier: i32, shift: u32, zero_point: i32) -> i8 {
    let high = acc.wrapping_add(round_high(acc, multiplier));
    sat8(halve_tflite(high, shift, 1 + 2 * zero_point))
}

/// Returns `sat16(round_high(acc, multiplier))`: converts an accumulator to a logit in Q8.
#[inline(always)]
pub const fn requantize_logit(acc: i32, multiplier: i32) -> i16 {
    let y = round_high(acc, multiplier);
    if y < i16::MIN as i32 {
        i16::MIN
    } else if y > i16::MAX as i32 {
        i16::MAX
    } else {
        y as i16
    }
}

/// Entries of the exponential's table per unit of its argument.
const EXP_STEPS_PER_UNIT: usize = 16;
/// Argument from which on `exp(-x)` is 0 in Q16 (`exp(-12) · 2¹⁶ = 0.4`).
const EXP_LIMIT: usize = 12;
const EXP_ENTRIES: usize = EXP_LIMIT * EXP_STEPS_PER_UNIT + 1;

/// `round(2¹⁶ · exp(-i/16))`, computed by repeated multiplication in Q62.
static EXP_NEG: [u32; EXP_ENTRIES] = exp_table();

const fn exp_table() -> [u32; EXP_ENTRIES] {
    /// `exp(-1/16)` in Q62.
    const RATIO: u128 = 4_332_278_087_304_955_805;
    let mut table = [0; EXP_ENTRIES];
    let mut value: u128 = 1 << 62;
    let mut i = 0;
    while i < EXP_ENTRIES {
        table[i] = ((value + (1 << 45)) >> 46) as u32;
        value = (value * RATIO + (1 << 61)) >> 62;
        i += 1;
    }
    table
}

/// Returns `exp(-x)` in Q16 for `x ≥ 0` in Q8.
///
/// Interpolates linearly in a table of 193 entries; the absolute error is below 2⁻¹⁰ · exp(-x) +
/// 2⁻¹⁶.
pub fn exp_neg(x_q8: u32) -> u32 {
    const STEP_BITS: u32 = LOGIT_FRACTION_BITS - EXP_STEPS_PER_UNIT.trailing_zeros();
    let index = (x_q8 >> STEP_BITS) as usize;
    let (Some(&a), Some(&b)) = (EXP_NEG.get(index), EXP_NEG.get(index + 1)) else {
        return 0;
    };
    let fraction = x_q8 & ((1 << STEP_BITS) - 1);
    a - (((a - b) * fraction) >> STEP_BITS)
}

/// Logistic function `1 / (1 + exp(-x))` of a logit in Q8. Returns Q16 in 0 … 65 535.
///
/// Monotone; the absolute error is below 2⁻¹¹.
pub fn sigmoid(logit_q8: i16) -> u16 {
    let e = exp_neg(u32::from(logit_q8.unsigned_abs()));
    // The larger of the two probabilities: 1 / (1 + e), with e in Q16 and the result in Q16.
    let denominator = (1u32 << 16) + e;
    // The denominator is never 0; `max` makes that visible to the compiler.
    let large = (u32::MAX / denominator.max(1)).min(65_535);
    if logit_q8 >= 0 { large as u16 } else { (65_536 - large) as u16 }
}

/// Softmax of logits in Q8. Writes probabilities in Q16 that sum to at most 65 536.
///
/// Writes `min(logits.len(), out.len())` values; without logits it leaves `out` unchanged.
///
/// ```
/// use wakeling_shared::fixed::softmax;
///
/// let mut shares = [0; 2];
/// softmax(&[512, 256], &mut shares); // logits 2 and 1
/// assert_eq!(shares.map(|share| share >> 8), [187, 68]); // 73 % and 27 % of 256
/// ```
pub fn softmax(logits_q8: &[i16], out: &mut [u16]) {
    let Some(&largest) = logits_q8.iter().max() else { return };
    let exp = |l: i16| exp_neg((i32::from(largest) - i32::from(l)) as u32);
    let sum: u32 = logits_q8.iter().map(|&l| exp(l)).sum();
    for (p, &l) in out.iter_mut().zip(logits_q8) {
        *p = ((u64::from(exp(l)) << 16) / u64::from(sum.max(1))).min(65_535) as u16;
    }
}

#[cfg(test)]
mod tests {
    extern crate std;
    use super::*;
    use std::vec::Vec;

    #[test]
    fn the_high_word_rounds_half_up() {
        for (acc, multiplier) in
            [(3, 1 << 30), (-3, 1 << 30), (2, i32::MIN), (1, i32::MAX), (i32::MIN, i32::MAX)]
        {
            let exact = f64::from(acc) * f64::from(multiplier) / 4_294_967_296.0;
            let expected = (exact + 0.5).floor();
            assert_eq!(f64::from(round_high(acc, multiplier)), expected, "{acc}");
        }
    }

    #[test]
    fn the_high_word_of_halves_is_equal() {
        let edges = [0, 1, -1, 0x7FFF, 0x8000, 0xFFFF, -0x8000, -0x8001, 0x7FFF_FFFF, i32::MIN];
        let edges = edges.into_iter().chain([0x7FFF_0000, i32::MIN + 0xFFFF, 0x5A5A_A5A5]);
        let random = (0..3_000u32).map(|i| i.wrapping_mul(0x9E37_79B9) as i32 >> (i % 20));
        let words: Vec<i32> = edges.chain(random).collect();
        for &a in &words {
            for &b in words.iter().step_by(3) {
                assert_eq!(round_high_of_halves(a, b), round_high(a, b), "{a} {b}");
            }
        }
    }

    #[test]
    fn requantization_saturates() {
        assert_eq!(requantize(i32::MAX, i32::MAX, 0), 127);
        assert_eq!(requantize(i32::MIN, i32::MAX, 0), -128);
        assert_eq!(requantize(0, i32::MAX, -128), -128);
        assert_eq!(requantize_logit(i32::MAX, i32::MAX), i16::MAX);
        assert_eq!(requantize_logit(i32::MIN, i32::MAX), i16::MIN);
    }

    #[test]
    fn the_exponential_is_close_and_monotone() {
        let mut last = u32::MAX;
        for x in 0..6_000u32 {
            let exact = (-f64::from(x) / 256.0).exp();
            let found = f64::from(exp_neg(x)) / 65_536.0;
            assert!(
                (found - exact).abs() <= exact / 1024.0 + 1.5 / 65_536.0,
                "{x}: {found} {exact}"
            );
            assert!(exp_neg(x) <= last);
            last = exp_neg(x);
        }
    }

    #[test]
    fn the_sigmoid_is_close_and_monotone_over_every_input() {
        let mut last = 0;
        for x in i16::MIN..=i16::MAX {
            let exact = 1.0 / (1.0 + (-f64::from(x) / 256.0).exp());
            let found = sigmoid(x);
            assert!((f64::from(found) / 65_536.0 - exact).abs() < 1.0 / 2048.0, "{x}");
            assert!(found >= last, "{x}");
            last = found;
        }
    }

    #[test]
    fn softmax_is_close() {
        let logits = [-300i16, 0, 512, 511, i16::MIN, 700];
        let mut found = [0u16; 6];
        softmax(&logits, &mut found);
        let exp: Vec<f64> = logits.iter().map(|&l| (f64::from(l) / 256.0).exp()).collect();
        let sum: f64 = exp.iter().sum();
        for (f, e) in found.iter().zip(&exp) {
            assert!((f64::from(*f) / 65_536.0 - e / sum).abs() < 1.0 / 1024.0);
        }
        softmax(&[], &mut found);
    }
}
