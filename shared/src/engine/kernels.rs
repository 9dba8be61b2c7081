//! The int8 kernels: one file of plain Rust that is the truth, and one file a kind of processor with
//! the same bits.
//!
//! Activations are `i8`, accumulators `i32`, the rounding is [`requantize`]; how weights are packed,
//! [`Affine`] says. Lengths are the model's, checked at load; a slice that is too short only shortens
//! the result.

#[cfg(wakeling_dsp)]
mod dsp;
mod plain;
#[cfg(all(target_pointer_width = "64", not(wakeling_dsp)))]
mod vector;

#[cfg(wakeling_dsp)]
use dsp as fastest;
#[cfg(not(any(wakeling_dsp, target_pointer_width = "64")))]
use plain as fastest;
#[cfg(all(target_pointer_width = "64", not(wakeling_dsp)))]
use vector as fastest;

use crate::{
    artifact::{Affine, Factors, LANES, UNIT},
    fixed::{requantize, requantize_logit},
};

/// The weights of two outputs for the inputs of a unit, `256 · odd + even` each.
type Pairs = [i16; UNIT];
/// The weights of [`LANES`] outputs for [`UNIT`] inputs.
type Unit = [Pairs; LANES / 2];
/// Words of a [`Unit`].
const UNIT_WORDS: usize = size_of::<Unit>() / size_of::<u32>();
/// Units after which a sum `256 · Σ odd·x + Σ even·x` must be taken apart: 256 inputs, so that
/// `|Σ odd·x| ≤ 2²²` survives the multiplication by 256 in an `i32`.
const RUN: usize = 32;

/// Words that a kernel needs in order to widen an input column of `inputs` channels to `i16`.
pub const fn wide_words(inputs: usize) -> usize {
    inputs.next_multiple_of(UNIT) / 2
}

/// `y[o] = requantize(bias[o] + Σᵢ w[o,i]·x[i], multiplier[o], zero_point)`.
///
/// Shapes: `x (I)`, `y (≥ O)`, `wide` [`wide_words`] of `I`; what is left there means nothing.
pub fn pointwise(x: &[i8], affine: &Affine<'_>, wide: &mut [u32], y: &mut [i8]) {
    fastest::pointwise(x, affine, wide, y);
}

/// `y[o] = sat16(round_high(bias[o] + Σᵢ w[o,i]·x[i], multiplier[o]))`, a logit in Q8.
pub fn logits(x: &[i8], affine: &Affine<'_>, y: &mut [i16]) {
    plain::for_each_output(x, affine, y, requantize_logit);
}

/// `y[c] = requantize(bias[c] + Σₖ w[k,c]·columns[k][c], multiplier[c], zero_point)`.
///
/// Shapes: `columns (K, ≥ C)`, `y (≥ C)`.
pub fn depthwise(columns: &[&[i8]], affine: &Affine<'_>, y: &mut [i8]) {
    fastest::depthwise(columns, affine, y);
}

/// The units of pointwise weights.
fn units<'a>(affine: &Affine<'a>) -> &'a [Unit] {
    bytemuck::cast_slice(affine.weights.as_chunks::<UNIT_WORDS>().0)
}

/// The taps of depthwise weights: `(blocks, taps)` of four channels.
fn taps<'a>(affine: &Affine<'a>) -> &'a [[i16; LANES]] {
    bytemuck::cast_slice(affine.weights.as_chunks::<{ LANES / 2 }>().0)
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
    let zero = i32::from(zero);
    // What does not depend on the elements; the products below may wrap around, and come back.
    let constant = (1 << 19) - i32::from(x_zero) * x_scale - i32::from(o_zero) * o_scale;
    let one = |x: i8, o: i8| {
        let product = i32::from(x).wrapping_mul(x_scale).wrapping_add(constant);
        let sum = i32::from(o).wrapping_mul(o_scale).wrapping_add(product);
        (zero + (sum >> 20)).clamp(-128, 127) as i8
    };
    /// Elements that a processor of 32 bits loads at once.
    const WORD: usize = 4;
    let (y, y_tail) = y.as_chunks_mut::<WORD>();
    let ((x, x_tail), (o, o_tail)) = (x.as_chunks::<WORD>(), o.as_chunks::<WORD>());
    for ((y, x), o) in y.iter_mut().zip(x).zip(o) {
        *y = core::array::from_fn(|i| one(x[i], o[i]));
    }
    for ((y, &x), &o) in y_tail.iter_mut().zip(x_tail).zip(o_tail) {
        *y = one(x, o);
    }
}
