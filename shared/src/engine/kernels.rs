//! The int8 kernels in plain Rust: the truth that every faster kernel equals bit for bit.
//!
//! Activations and weights are `i8`, accumulators `i32`, the rounding is
//! [`requantize`](crate::fixed::requantize). Lengths are the model's, checked at load; a slice that
//! is too short only shortens the result.

#[cfg(wakeling_dsp)]
#[path = "kernels/dsp.rs"]
mod rows;
#[cfg(not(wakeling_dsp))]
#[path = "kernels/plain.rs"]
mod rows;

use crate::{
    artifact::Affine,
    fixed::{requantize, requantize_logit},
};

/// Channels whose accumulators a depthwise kernel keeps at once.
const LANES: usize = 16;
/// Rows of a pointwise layer that share what was loaded of `x`.
const ROWS: usize = 4;

/// The past of a depthwise layer: a ring of columns, each as wide as the input.
#[derive(Clone, Copy, Debug)]
pub struct History<'r> {
    /// `(taps − 1) · dilation` columns.
    pub ring: &'r [i8],
    /// The oldest column.
    pub oldest: usize,
    /// Steps between taps.
    pub dilation: usize,
}

impl<'r> History<'r> {
    /// The column `age` steps back, 1 being the step before the current.
    fn column(&self, age: usize, width: usize) -> &'r [i8] {
        let columns = self.ring.len() / width.max(1);
        let newest_first = self.oldest + columns - age.min(columns);
        let index = if newest_first >= columns { newest_first - columns } else { newest_first };
        self.ring.get(index * width..(index + 1) * width).unwrap_or_default()
    }
}

/// `y[o] = requantize(bias[o] + Σᵢ w[o,i]·x[i], multiplier[o], zero_point)`.
///
/// Shapes: `x (I)`, weights `(O, I)`, `y (≥ O)`.
pub fn pointwise(x: &[i8], affine: &Affine<'_>, y: &mut [i8]) {
    let zero = i32::from(affine.zero_point);
    for_each_row(x, affine, y, |acc, multiplier| requantize(acc, multiplier, zero));
}

/// `y[o] = sat16(round_high(bias[o] + Σᵢ w[o,i]·x[i], multiplier[o]))`, a logit in Q8.
pub fn logits(x: &[i8], affine: &Affine<'_>, y: &mut [i16]) {
    for_each_row(x, affine, y, requantize_logit);
}

/// Gives each row's accumulator and multiplier to `finish`: [`ROWS`] rows at a time, then the rest.
#[inline(always)]
fn for_each_row<Y>(x: &[i8], affine: &Affine<'_>, y: &mut [Y], finish: impl Fn(i32, i32) -> Y) {
    let width = x.len().max(1);
    let mut buffer = rows::Buffer::default();
    let columns = rows::Columns::new(x, &mut buffer);
    let mut factors = affine.rows();
    let mut blocks = affine.weights.chunks_exact(ROWS * width);
    let mut outputs = y.chunks_exact_mut(ROWS);
    for (block, y) in blocks.by_ref().zip(outputs.by_ref()) {
        let acc = columns.dot_rows(block);
        for ((y, acc), (bias, multiplier)) in y.iter_mut().zip(acc).zip(&mut factors) {
            *y = finish(bias + acc, multiplier);
        }
    }
    let tail = blocks.remainder().chunks_exact(width);
    for ((y, row), (bias, multiplier)) in outputs.into_remainder().iter_mut().zip(tail).zip(factors)
    {
        *y = finish(bias + dot(row, x), multiplier);
    }
}

/// `Σᵢ w[i]·x[i]`; weights are the bytes of `i8`.
#[inline(always)]
fn dot(w: &[u8], x: &[i8]) -> i32 {
    w.iter().zip(x).map(|(&w, &x)| i32::from(w as i8) * i32::from(x)).sum()
}

/// `y[c] = requantize(bias[c] + Σₖ w[k,c]·column(k·dilation)[c], multiplier[c], zero_point)`, where
/// column 0 is `x`.
///
/// Shapes: `x (C)`, weights `(K, C)`, `y (≥ C)`.
pub fn depthwise(x: &[i8], history: History<'_>, affine: &Affine<'_>, y: &mut [i8]) {
    let width = x.len();
    let zero = i32::from(affine.zero_point);
    let mut rows = affine.rows();
    for (block, y) in y.get_mut(..width).unwrap_or_default().chunks_mut(LANES).enumerate() {
        let start = block * LANES;
        let mut acc = [0i32; LANES];
        for (tap, weights) in affine.weights.chunks_exact(width.max(1)).enumerate() {
            let column = if tap == 0 { x } else { history.column(tap * history.dilation, width) };
            let weights = weights.get(start..).unwrap_or_default();
            let column = column.get(start..).unwrap_or_default();
            for ((acc, &w), &x) in acc.iter_mut().zip(weights).zip(column) {
                *acc += i32::from(w as i8) * i32::from(x);
            }
        }
        for ((y, acc), (bias, multiplier)) in y.iter_mut().zip(acc).zip(&mut rows) {
            *y = requantize(bias + acc, multiplier, zero);
        }
    }
}

/// Scales and zero points of a residual sum; see [`Op::Add`](crate::artifact::Op::Add).
#[derive(Clone, Copy, Debug)]
pub struct AddScales {
    /// `round(2²⁰ · s_x / s_y)`, below 2²².
    pub x_scale: i32,
    /// `round(2²⁰ · s_o / s_y)`, below 2²².
    pub o_scale: i32,
    /// Zero point of `x`.
    pub x_zero: i8,
    /// Zero point of `o`.
    pub o_zero: i8,
    /// Zero point of `y`.
    pub zero: i8,
}

/// `y = sat8(zero + ((x − x_zero)·x_scale + (o − o_zero)·o_scale + 2¹⁹) >> 20)`: ties toward +∞.
///
/// The sum stays below 2 · 255 · 2²² < 2³¹.
pub fn add(x: &[i8], o: &[i8], scales: AddScales, y: &mut [i8]) {
    let AddScales { x_scale, o_scale, x_zero, o_zero, zero } = scales;
    for ((y, &x), &o) in y.iter_mut().zip(x).zip(o) {
        let x = (i32::from(x) - i32::from(x_zero)) * x_scale;
        let o = (i32::from(o) - i32::from(o_zero)) * o_scale;
        let sum = i32::from(zero) + ((x + o + (1 << 19)) >> 20);
        *y = sum.clamp(-128, 127) as i8;
    }
}
