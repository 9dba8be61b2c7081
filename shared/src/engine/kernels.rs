//! The int8 kernels. Each is plain Rust, but for the products of rows with a column vector, which
//! have one file a kind of processor and the same bits in all.
//!
//! Activations and weights are `i8`, accumulators `i32`, the rounding is [`requantize`]. Lengths are
//! the model's, checked at load; a slice that is too short only shortens the result.

#[cfg(wakeling_dsp)]
mod dsp;
#[cfg(any(test, not(any(wakeling_dsp, target_pointer_width = "64"))))]
mod plain;
#[cfg(all(target_pointer_width = "64", not(wakeling_dsp)))]
mod vector;

#[cfg(wakeling_dsp)]
use dsp as rows;
#[cfg(not(any(wakeling_dsp, target_pointer_width = "64")))]
use plain as rows;
#[cfg(all(target_pointer_width = "64", not(wakeling_dsp)))]
use vector as rows;

use crate::{
    artifact::Affine,
    fixed::{requantize, requantize_logit},
};

/// Channels whose accumulators a depthwise kernel keeps in registers.
const LANES: usize = if cfg!(target_pointer_width = "64") { 16 } else { 8 };
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
    let mut buffer = rows::Buffer::new();
    let columns = rows::Columns::new(x, &mut buffer);
    let mut factors = affine.rows();
    let mut blocks = affine.weights.chunks_exact(ROWS * width);
    let y = y.get_mut(..usize::from(affine.outputs)).unwrap_or_default();
    let (quads, rest) = y.as_chunks_mut::<ROWS>();
    for (block, y) in blocks.by_ref().zip(quads) {
        let acc = columns.dot_rows(block);
        for ((y, acc), (bias, multiplier)) in y.iter_mut().zip(acc).zip(&mut factors) {
            *y = finish(bias + acc, multiplier);
        }
    }
    let tail = blocks.remainder().chunks_exact(width);
    for ((y, row), (bias, multiplier)) in rest.iter_mut().zip(tail).zip(factors) {
        *y = finish(bias + dot(row, x), multiplier);
    }
}

/// `Σᵢ w[i]·x[i]`; weights are the bytes of `i8`.
#[inline(always)]
fn dot(w: &[u8], x: &[i8]) -> i32 {
    w.iter().zip(x).map(|(&w, &x)| i32::from(w as i8) * i32::from(x)).sum()
}

/// `y[c] = requantize(bias[c] + Σₖ w[k,c]·column(k·dilation)[c], multiplier[c], zero_point)`, where
/// column 0 is `x` and column `n` the one `n` steps before it.
///
/// Shapes: `x (C)`, weights `(K, C)`, `y (≥ C)`.
pub fn depthwise(x: &[i8], history: History<'_>, affine: &Affine<'_>, y: &mut [i8]) {
    let zero = i32::from(affine.zero_point);
    let mut factors = affine.rows();
    let mut start = 0;
    let (blocks, tail) = y.get_mut(..x.len()).unwrap_or_default().as_chunks_mut::<LANES>();
    for block in blocks {
        let acc = sum_taps::<LANES>(start, x, history, affine.weights);
        for ((y, acc), (bias, multiplier)) in block.iter_mut().zip(acc).zip(&mut factors) {
            *y = requantize(bias + acc, multiplier, zero);
        }
        start += LANES;
    }
    for (y, (bias, multiplier)) in tail.iter_mut().zip(factors) {
        let [acc] = sum_taps(start, x, history, affine.weights);
        *y = requantize(bias + acc, multiplier, zero);
        start += 1;
    }
}

/// `Σₖ w[k,c]·column(k·dilation)[c]` of the channels `c = start … start + L − 1`.
#[inline(always)]
fn sum_taps<const L: usize>(
    start: usize,
    x: &[i8],
    History { ring, oldest, dilation }: History<'_>,
    weights: &[u8],
) -> [i32; L] {
    let width = x.len();
    let back = dilation * width;
    let mut at = oldest * width + start;
    let mut column = x.get(start..).and_then(<[i8]>::first_chunk::<L>);
    let mut rest = weights.get(start..).unwrap_or_default();
    let mut acc = [0; L];
    while let (Some(x), Some(w)) = (column, rest.first_chunk::<L>()) {
        for ((acc, &x), &w) in acc.iter_mut().zip(x).zip(w) {
            *acc += i32::from(w as i8) * i32::from(x);
        }
        at = if at >= back { at - back } else { (at + ring.len()).saturating_sub(back) };
        column = ring.get(at..).and_then(<[i8]>::first_chunk::<L>);
        rest = rest.get(width..).unwrap_or_default();
    }
    acc
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
