//! Exponential and logarithm that vectorize, and the reductions built on them.
//!
//! The standard library's versions are function calls for one value at a time. These are the
//! branch-free single precision polynomials of Cephes (Moshier, `expf.c` and `logf.c`), inlined
//! into [`simd!`] bodies. NaN stays NaN, so a diverged network remains visible.

use wakeling_core::simd;

/// Lower limit of the argument of `exp`. The result there, about 1.6e-38, is negligible next to 1
/// in f32.
const EXP_LOWEST: f32 = -87.0;
/// Upper limit of the argument of `exp`; beyond it f32 overflows.
const EXP_HIGHEST: f32 = 88.0;
/// Constant 1.5 · 2²³: adding it leaves the rounded integer in the low mantissa bits.
const ROUNDING_SHIFT: f32 = 12_582_912.0;
/// High and low part of ln 2; the high part is exact in few bits (Cody and Waite).
const LN2_HIGH: f32 = 0.693_359_4;
const LN2_LOW: f32 = -2.121_944_4e-4;

/// Returns `e^x`, with relative error below 2e-7 on [-87, 88]; `x` is clamped to that range.
#[inline(always)]
pub(super) fn exp(x: f32) -> f32 {
    let x = if x < EXP_LOWEST { EXP_LOWEST } else { x };
    let x = if x > EXP_HIGHEST { EXP_HIGHEST } else { x };
    let shifted = x.mul_add(std::f32::consts::LOG2_E, ROUNDING_SHIFT);
    let power = shifted - ROUNDING_SHIFT;
    let r = power.mul_add(-LN2_HIGH, x);
    let r = power.mul_add(-LN2_LOW, r);
    let mut p = 1.987_569_1e-4_f32;
    for coefficient in [1.398_2e-3, 8.333_452e-3, 4.166_579_6e-2, 1.666_666_5e-1, 0.5] {
        p = p.mul_add(r, coefficient);
    }
    let mantissa = p.mul_add(r * r, r + 1.0);
    // Bits of the rounding constant are shifted out at the top; the rest is 2^power as an f32
    // exponent.
    mantissa * f32::from_bits(shifted.to_bits().wrapping_add(127) << 23)
}

/// Returns `ln x` for normal positive `x`, with relative error below 3e-7 away from 1.
#[inline(always)]
pub(super) fn ln(x: f32) -> f32 {
    let bits = x.to_bits();
    let exponent = (bits >> 23) as i32 - 126;
    let mantissa = f32::from_bits((bits & 0x007f_ffff) | 0x3f00_0000);
    let low = mantissa < std::f32::consts::FRAC_1_SQRT_2;
    let m = if low { mantissa + mantissa - 1.0 } else { mantissa - 1.0 };
    let exponent = (if low { exponent - 1 } else { exponent }) as f32;
    let square = m * m;
    let mut p = 7.037_683_6e-2_f32;
    for coefficient in [
        -1.151_461e-1,
        1.167_699_9e-1,
        -1.242_014_1e-1,
        1.424_932_3e-1,
        -1.666_805_8e-1,
        2.000_071_5e-1,
        -2.499_999_4e-1,
        3.333_333e-1,
    ] {
        p = p.mul_add(m, coefficient);
    }
    let tail = (p * m).mul_add(square, exponent * LN2_LOW) - 0.5 * square;
    let result = exponent.mul_add(LN2_HIGH, m + tail);
    if x.is_nan() { x } else { result }
}

/// Returns `ln(1 + e^-|x|) + max(x, 0)`, the softplus of `x`.
#[inline(always)]
pub(super) fn softplus(x: f32) -> f32 {
    ln(1.0 + exp(-x.abs())) + if x < 0.0 { 0.0 } else { x }
}

/// Number of partial results kept side by side, so that a reduction vectorizes.
const LANES: usize = 64;

simd! {
    /// Returns the largest value; NaN is ignored.
    pub(super) fn max(values: &[f32]) -> f32 {
        let (chunks, tail) = values.as_chunks::<LANES>();
        let mut best = [f32::NEG_INFINITY; LANES];
        for chunk in chunks {
            for (b, &v) in best.iter_mut().zip(chunk) {
                *b = if v > *b { v } else { *b };
            }
        }
        best.iter().chain(tail).fold(f32::NEG_INFINITY, |b, &v| if v > b { v } else { b })
    }

    /// Writes `out[i] = e^(x[i] - shift)` and returns the sum.
    pub(super) fn exp_shifted(x: &[f32], shift: f32, out: &mut [f32]) -> f32 {
        for (o, &v) in out.iter_mut().zip(x) {
            *o = exp(v - shift);
        }
        sum_body(&out[..x.len()])
    }

    /// Computes `y[i] += factor * x[i]`.
    pub(super) fn add_scaled(y: &mut [f32], factor: f32, x: &[f32]) {
        for (y, &x) in y.iter_mut().zip(x) {
            *y = factor.mul_add(x, *y);
        }
    }

    /// Computes `totals[c] += Σ_rows rows[r, c]` over rows of `totals.len()` values.
    pub(super) fn add_column_sums(rows: &[f32], totals: &mut [f32]) {
        /// Number of rows summed separately before they are added, which keeps the rounding error
        /// of long columns small.
        const TILE: usize = 32;
        let channels = totals.len();
        let mut partial = vec![0.0f32; channels];
        for tile in rows.chunks(TILE * channels) {
            partial.fill(0.0);
            for row in tile.chunks_exact(channels) {
                for (p, &v) in partial.iter_mut().zip(row) {
                    *p += v;
                }
            }
            for (t, &p) in totals.iter_mut().zip(&partial) {
                *t += p;
            }
        }
    }
}

#[inline(always)]
fn sum_body(values: &[f32]) -> f32 {
    let (chunks, tail) = values.as_chunks::<LANES>();
    let mut totals = [0.0f32; LANES];
    for chunk in chunks {
        for (t, &v) in totals.iter_mut().zip(chunk) {
            *t += v;
        }
    }
    totals.iter().chain(tail).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exp_agrees_with_the_standard_library() {
        for step in -8700..8800 {
            let x = step as f32 * 0.01;
            let expected = f64::from(x).exp();
            assert!((f64::from(exp(x)) / expected - 1.0).abs() < 2e-7, "e^{x}: {}", exp(x));
        }
        assert!(exp(-1e30) < 1e-37 && exp(f32::NEG_INFINITY) < 1e-37);
        assert!(exp(f32::NAN).is_nan());
    }

    #[test]
    fn ln_agrees_with_the_standard_library() {
        for step in 1..40_000 {
            let x = step as f32 * 1.7e-3;
            let expected = f64::from(x).ln();
            let error = (f64::from(ln(x)) - expected).abs();
            assert!(error < 3e-7 * expected.abs().max(0.3), "ln {x}: {}", ln(x));
        }
        assert!(ln(f32::NAN).is_nan());
    }

    #[test]
    fn reductions_cover_chunks_and_tails() {
        for length in [1, 63, 64, 65, 200] {
            let x: Vec<f32> = (0..length).map(|i| ((i * 37) % 101) as f32 * 0.1 - 5.0).collect();
            let expected = x.iter().copied().fold(f32::NEG_INFINITY, f32::max);
            assert_eq!(max(&x), expected);
            let mut out = vec![0.0; length];
            let sum: f64 = x.iter().map(|&v| f64::from(v - 1.0).exp()).sum();
            assert!((f64::from(exp_shifted(&x, 1.0, &mut out)) / sum - 1.0).abs() < 1e-6);
        }
    }
}
