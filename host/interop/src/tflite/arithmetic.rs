//! Integer arithmetic of TensorFlow Lite's reference kernels, as far as a conversion computes it
//! beforehand.
//!
//! Sources: `tensorflow/lite/kernels/internal/{quantization_util.cc,common.h,
//! reference/integer_ops/logistic.h}` and gemmlowp's `fixedpoint.h`.

/// Factor as TensorFlow Lite represents it: `multiplier · 2⁻³¹ · 2^shift`, with a multiplier from
/// 2³⁰ to 2³¹ − 1, or 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Factor {
    /// Multiplier in Q31.
    pub multiplier: i32,
    /// Left shift; negative to the right.
    pub shift: i32,
}

impl Factor {
    /// Represents a factor (`QuantizeMultiplier`). Returns `None` if it is negative, not finite, or
    /// 2³⁰ or more.
    ///
    /// ```
    /// use wakeling_interop::tflite::arithmetic::Factor;
    ///
    /// assert_eq!(Factor::of(0.375), Some(Factor { multiplier: 3 << 29, shift: -1 }));
    /// assert_eq!(Factor::of(1e-12), Some(Factor { multiplier: 0, shift: 0 }));
    /// assert_eq!(Factor::of(f64::NAN), None);
    /// ```
    pub fn of(real: f64) -> Option<Self> {
        if !(0.0..f64::from(1 << 30)).contains(&real) {
            return None;
        }
        let zero = Self { multiplier: 0, shift: 0 };
        if real < 2.0_f64.powi(-40) {
            return Some(zero);
        }
        // The fraction is from ½ to 1; multiplying by a power of two is exact.
        let mut shift = 0;
        let mut fraction = real;
        while fraction >= 1.0 {
            (fraction, shift) = (fraction / 2.0, shift + 1);
        }
        while fraction < 0.5 {
            (fraction, shift) = (fraction * 2.0, shift - 1);
        }
        let mut multiplier = (fraction * f64::from(1_u32 << 31)).round() as i64;
        if multiplier == 1 << 31 {
            (multiplier, shift) = (multiplier / 2, shift + 1);
        }
        if shift < -31 {
            return Some(zero);
        }
        Some(Self { multiplier: multiplier as i32, shift })
    }

    /// Returns `x` times the factor, with the roundings of `MultiplyByQuantizedMultiplier`.
    pub fn apply(self, x: i32) -> i32 {
        let high = high_product(x.wrapping_mul(1 << self.shift.max(0)), self.multiplier);
        rounding_shift(high, (-self.shift).max(0))
    }
}

/// Returns `⌊a·b / 2³¹ + ½⌋` (`SaturatingRoundingDoublingHighMul`).
fn high_product(a: i32, b: i32) -> i32 {
    if a == i32::MIN && b == i32::MIN {
        return i32::MAX;
    }
    ((i64::from(a) * i64::from(b) + (1 << 30)) >> 31) as i32
}

/// Returns `x / 2^shift`, rounded to the nearest, ties away from zero (`RoundingDivideByPOT`).
fn rounding_shift(x: i32, shift: i32) -> i32 {
    let mask = (1_i64 << shift) - 1;
    let threshold = (mask >> 1) + i64::from(x < 0);
    (x >> shift.min(31)) + i32::from((i64::from(x) & mask) > threshold)
}

/// Returns `x · 2^shift`, saturated.
fn saturating_shift(x: i32, shift: u32) -> i32 {
    (i64::from(x) << shift).clamp(i32::MIN.into(), i32::MAX.into()) as i32
}

/// Returns `⌊(a + b) / 2⌉`, ties away from zero (`RoundingHalfSum`).
fn half_sum(a: i32, b: i32) -> i32 {
    let sum = i64::from(a) + i64::from(b);
    ((sum + if sum >= 0 { 1 } else { -1 }) / 2) as i32
}

/// Number of integer bits of the logistic function's input.
const INTEGER_BITS: i32 = 4;
/// Fractional bits of the logistic function's output.
const OUTPUT_BITS: i32 = 8;

/// Returns `logistic` of every `i8` `x`, at index `x + 128`, of this scale and zero point. The
/// scale of the output is 1/256, its zero point −128.
///
/// Returns `None` if the scale is not positive and finite, or too large.
pub fn logistic(scale: f32, zero_point: i32) -> Option<[i8; 256]> {
    let real = f64::from(scale) * f64::from(1 << (31 - INTEGER_BITS));
    if real.is_nan() || real <= 0.0 {
        return None;
    }
    let factor = Factor::of(real)?;
    // `CalculateInputRadius`.
    let largest = f64::from((1 << INTEGER_BITS) - 1) * f64::from(1 << (31 - INTEGER_BITS));
    let radius = (largest / 2.0_f64.powi(factor.shift)).floor();
    Some(std::array::from_fn(|i| {
        let input = i as i32 - 128 - zero_point;
        if f64::from(input) <= -radius {
            i8::MIN
        } else if f64::from(input) >= radius {
            i8::MAX
        } else {
            let output = logistic_q0(factor.apply(input));
            (rounding_shift(output, 31 - OUTPUT_BITS) - 128).clamp(-128, 127) as i8
        }
    }))
}

/// Returns the logistic function in Q31 of an input in Q27 (`gemmlowp::logistic`).
fn logistic_q0(input: i32) -> i32 {
    let positive = one_over_one_plus(exp_of_negative(-input.abs()));
    match input {
        0 => 1 << 30,
        1.. => positive,
        _ => i32::MAX - positive,
    }
}

/// Returns `1 / (1 + x)` in Q31 for `x` from 0 to 1 in Q31 (`one_over_one_plus_x_for_x_in_0_1`).
fn one_over_one_plus(x: i32) -> i32 {
    /// 48/17 and −32/17 in Q29.
    const START: i32 = 1_515_870_810;
    const SLOPE: i32 = -1_010_580_540;
    let half = half_sum(x, i32::MAX);
    let mut y = START.wrapping_add(high_product(half, SLOPE));
    for _ in 0..3 {
        let rest = (1 << 29) - high_product(half, y);
        // Q29 · Q29 is Q27.
        y = y.wrapping_add(saturating_shift(high_product(y, rest), 2));
    }
    saturating_shift(y, 1)
}

/// Returns `exp(x)` in Q31 for `x ≤ 0` in Q27 (`exp_on_negative_values`).
fn exp_of_negative(x: i32) -> i32 {
    const FRACTION_BITS: i32 = 31 - INTEGER_BITS;
    const QUARTER: i32 = 1 << (FRACTION_BITS - 2);
    /// `exp(-2^k)` in Q31 for `k` from −2.
    const POWERS: [i32; 6] =
        [1_672_461_947, 1_302_514_674, 790_015_084, 290_630_308, 39_332_535, 720_401];
    if x == 0 {
        return i32::MAX;
    }
    let fraction = (x & (QUARTER - 1)) - QUARTER;
    let mut y = exp_of_quarter(saturating_shift(fraction, INTEGER_BITS as u32));
    let remainder = fraction.wrapping_sub(x);
    for (power, bit) in POWERS.into_iter().zip(FRACTION_BITS - 2..) {
        if remainder & (1 << bit) != 0 {
            y = high_product(y, power);
        }
    }
    y
}

/// Returns `exp(x)` in Q31 for `x` from −¼ to 0 in Q31
/// (`exp_on_interval_between_negative_one_quarter_and_0_excl`).
fn exp_of_quarter(x: i32) -> i32 {
    /// `exp(-⅛)` and ⅓ in Q31.
    const CONSTANT: i32 = 1_895_147_668;
    const THIRD: i32 = 715_827_883;
    let x = x.wrapping_add(1 << 28);
    let x2 = high_product(x, x);
    let x3 = high_product(x2, x);
    let x4 = high_product(x2, x2);
    let tail = high_product(rounding_shift(x4, 2).wrapping_add(x3), THIRD).wrapping_add(x2);
    let tail = rounding_shift(tail, 1);
    CONSTANT.wrapping_add(high_product(CONSTANT, x.wrapping_add(tail)))
}

/// Returns the requantization of every `i8` `x`, at index `x + 128`: `QUANTIZE` from one scale and
/// zero point to others, saturated to `lowest` … `lowest + 255`, less `lowest + 128`. `lowest` is
/// that of the output's type, −128 or 0.
///
/// Returns `None` if the ratio of the scales is no factor.
pub fn requantize(from: (f32, i32), to: (f32, i32), lowest: i32) -> Option<[i8; 256]> {
    let factor = Factor::of(f64::from(from.0) / f64::from(to.0))?;
    Some(std::array::from_fn(|i| {
        let y = factor.apply(i as i32 - 128 - from.1).saturating_add(to.1);
        (y.clamp(lowest, lowest + 255) - lowest - 128) as i8
    }))
}

#[cfg(test)]
mod tests {
    use wakeling_shared::fixed::{requantize_tflite, scale_tflite};

    use super::*;

    #[test]
    fn the_device_rounds_as_the_reference() {
        let multipliers = [1 << 30, (1 << 30) + 1, 1_717_986_918, i32::MAX];
        let near = |x: i32| [x.saturating_sub(1), x, x.saturating_add(1)];
        let values = (0..30).flat_map(|bit| near(1 << bit)).flat_map(|x| [x, -x, 3 * (x / 2), -5]);
        for x in values {
            for multiplier in multipliers {
                for shift in 0..=31 {
                    let expected = Factor { multiplier, shift: -shift }.apply(x);
                    let doubled = (2 * i64::from(multiplier) - (1 << 32)) as i32;
                    let found = scale_tflite(x, doubled, shift as u32);
                    assert_eq!(found, expected, "{x} {multiplier} {shift}");
                    if let Some(shift) = shift.checked_sub(1).filter(|&shift| shift >= 0) {
                        let y = requantize_tflite(x, doubled, shift as u32, -7);
                        assert_eq!(i32::from(y), (expected - 7).clamp(-128, 127), "{x} {shift}");
                    }
                }
            }
        }
    }

    #[test]
    fn the_logistic_function_is_close_and_monotone() {
        for (scale, zero_point) in [(0.189_556, 24), (0.05, 0), (1.5, -128), (0.001, 127)] {
            let table = logistic(scale, zero_point).unwrap();
            for (i, y) in table.into_iter().enumerate() {
                let x = f64::from(scale) * (i as f64 - 128.0 - f64::from(zero_point));
                let exact = 256.0 / (1.0 + (-x).exp()) - 128.0;
                assert!((f64::from(y) - exact.min(127.0)).abs() < 1.0, "{scale} {i}: {y} {exact}");
            }
            assert!(table.is_sorted(), "{scale}");
        }
        assert_eq!(logistic(f32::NAN, 0), None);
        assert_eq!(logistic(0.0, 0), None);
        assert_eq!(logistic(f32::INFINITY, 0), None);
    }

    #[test]
    fn a_shift_of_the_zero_point_alone_changes_nothing() {
        let table = requantize((0.003_906_25, -128), (0.003_906_25, 0), 0).unwrap();
        assert_eq!(table.map(i32::from), std::array::from_fn(|i| i as i32 - 128));
    }
}
