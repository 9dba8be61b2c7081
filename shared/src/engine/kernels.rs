//! The int8 kernels: a reference in plain Rust, and one file per kind of processor with bit-equal
//! results.
//!
//! Activations are `i8`, accumulators `i32`, and the rounding is [`requantize`]. [`Affine`]
//! describes the packing of the weights. Lengths are those of the model, which were checked at
//! load; a slice that is too short only shortens the result.

mod columns;
#[cfg(any(wakeling_dsp, wakeling_mve))]
#[cfg_attr(
    wakeling_mve,
    allow(dead_code, unused_imports, reason = "only the layers of TensorFlow Lite use it there")
)]
mod dsp;
#[cfg(wakeling_mve)]
mod mve;
#[allow(dead_code, reason = "every other kernel takes the place of a part of it")]
pub mod plain;
#[cfg(wakeling_rv32)]
mod riscv;
pub mod tflite;
#[cfg(any(
    test,
    not(any(wakeling_dsp, wakeling_mve, wakeling_rv32, wakeling_short_product, wakeling_vector))
))]
pub(super) mod scalar;
#[cfg(wakeling_short_product)]
mod thumb;
#[cfg(all(wakeling_vector, not(any(wakeling_dsp, wakeling_mve))))]
mod vector;

#[cfg(all(wakeling_dsp, not(wakeling_mve)))]
use dsp as fastest;
#[cfg(wakeling_mve)]
use mve as fastest;
#[cfg(wakeling_rv32)]
use riscv as fastest;
#[cfg(not(any(
    wakeling_dsp,
    wakeling_mve,
    wakeling_rv32,
    wakeling_short_product,
    wakeling_vector
)))]
use scalar as fastest;
#[cfg(wakeling_short_product)]
use thumb as fastest;
#[cfg(all(wakeling_vector, not(any(wakeling_dsp, wakeling_mve))))]
use vector as fastest;

pub use columns::Columns;

use crate::{
    fixed::{requantize, requantize_logit},
    model::{Affine, BiasScale, LANES, UNIT},
};

/// The weights of two outputs for the inputs of a unit, each `256 · odd + even`.
type Pairs = [i16; UNIT];
/// The weights of [`LANES`] outputs for [`UNIT`] inputs.
type Unit = [Pairs; LANES / 2];
/// Number of words in a [`Unit`].
const UNIT_WORDS: usize = size_of::<Unit>() / size_of::<u32>();
/// Number of units after which a sum `256 · Σ odd·x + Σ even·x` must be separated: 256 inputs, so
/// that `|Σ odd·x| ≤ 2²²` can be multiplied by 256 in an `i32`.
const RUN: usize = 32;

/// Number of words that [`pointwise`] needs for a column of `inputs` channels, which some kernels
/// widen to `i16`. Equal on every processor, so that devices and laptops agree on the size of a
/// model's arena.
pub const fn wide_words(inputs: usize) -> usize {
    inputs.next_multiple_of(UNIT) / 2
}

/// Number of words with which [`pointwise`] is fastest over several columns, which some kernels
/// reorder.
pub const fn wide_words_of_columns(inputs: usize) -> usize {
    #[cfg(wakeling_mve)]
    let words = mve::wide_words(inputs);
    #[cfg(not(wakeling_mve))]
    let words = wide_words(inputs);
    words
}

/// `y[n,o] = requantize(bias[o] + Σᵢ w[o,i]·x[n,i], multiplier[o], zero_point)`.
///
/// Shapes: `x (N, I)`, `y (≥ N · O)`, `wide` [`wide_words`] of `I`, whose contents are then
/// undefined.
pub fn pointwise(x: &[i8], affine: &Affine<'_>, wide: &mut [u32], y: &mut [i8]) {
    fastest::pointwise(x, affine, wide, y);
}

/// Computes logits in Q8: `y[o] = sat16(round_high(bias[o] + Σᵢ w[o,i]·x[i], multiplier[o]))`.
pub fn logits(x: &[i8], affine: &Affine<'_>, y: &mut [i16]) {
    plain::for_each_output(x, affine, y, requantize_logit);
}

/// Runs [`pointwise`] on one column: `x (I)`, `y (≥ O)`.
pub fn pointwise_column(x: &[i8], affine: &Affine<'_>, wide: &mut [u32], y: &mut [i8]) {
    let y = y.get_mut(..usize::from(affine.outputs)).unwrap_or_default();
    fastest::pointwise_column(x, affine, wide, y);
}

/// `y[c] = requantize(bias[c] + Σₖ w[k,c]·columns[k][c], multiplier[c], zero_point)`.
///
/// Shapes: `columns (K, C)`, `y (≥ C)`.
pub fn depthwise(columns: &Columns<'_>, affine: &Affine<'_>, y: &mut [i8]) {
    let y = y.get_mut(..usize::from(affine.outputs)).unwrap_or_default();
    fastest::depthwise(columns, affine, y);
}

/// Runs [`depthwise`] at several places: the column of tap `k` at place `n` starts at
/// `x[offsets[k] + n · step]`.
///
/// Shapes: `offsets (K)`, `y (N, C)`.
pub fn depthwise_places(
    x: &[i8],
    offsets: &[usize],
    step: usize,
    affine: &Affine<'_>,
    y: &mut [i8],
) {
    #[cfg(any(wakeling_dsp, wakeling_mve))]
    let y = fastest::depthwise_places(x, offsets, step, affine, y);
    let places = y.chunks_exact_mut(usize::from(affine.outputs.max(1)));
    for (place, y) in places.enumerate() {
        let mut columns = Columns::of(affine.outputs.into());
        for &offset in offsets {
            columns.push(x.get(offset + place * step..).unwrap_or_default());
        }
        fastest::depthwise(&columns, affine, y);
    }
}

/// Copies rows of `row` elements, which start `stride` apart in `x`, one after another into `y`.
pub fn gather_rows(x: &[i8], stride: usize, row: usize, y: &mut [i8]) {
    #[cfg(wakeling_mve)]
    mve::gather_rows(x, stride, row, y);
    #[cfg(not(wakeling_mve))]
    for (source, row) in x.chunks(stride.max(1)).zip(y.chunks_exact_mut(row.max(1))) {
        if let Some(source) = source.get(..row.len()) {
            row.copy_from_slice(source);
        }
    }
}

/// Iterates over the columns of inputs and the columns of outputs.
fn columns<'x, 'y>(
    x: &'x [i8],
    affine: &Affine<'_>,
    y: &'y mut [i8],
) -> impl Iterator<Item = (&'x [i8], &'y mut [i8])> {
    let [inputs, outputs] = [affine.inputs, affine.outputs].map(|width| usize::from(width.max(1)));
    x.chunks_exact(inputs).zip(y.chunks_exact_mut(outputs))
}

/// Returns the units of pointwise weights.
fn units<'a>(affine: &Affine<'a>) -> &'a [Unit] {
    bytemuck::cast_slice(affine.weights.as_chunks::<UNIT_WORDS>().0)
}

/// Returns the taps of depthwise weights: `(blocks, taps)` of four channels.
fn taps<'a>(affine: &Affine<'a>) -> &'a [[i16; LANES]] {
    bytemuck::cast_slice(affine.weights.as_chunks::<{ LANES / 2 }>().0)
}

/// Scales and zero points of a residual sum; see [`Op::Add`](crate::model::Op::Add).
#[derive(Clone, Copy, Debug)]
pub struct AddScales {
    /// `round(2²⁰ · s_x / s_y)`, at most 2²¹.
    pub x_scale: i32,
    /// `round(2²⁰ · s_o / s_y)`, at most 2²¹.
    pub o_scale: i32,
    /// Zero point of `x`.
    pub x_zero: i8,
    /// Zero point of `o`.
    pub o_zero: i8,
    /// Zero point of `y`.
    pub zero: i8,
}

impl AddScales {
    /// Fractional bits of the scales.
    const BITS: u32 = 20;

    /// Part that does not depend on the elements:
    /// `y = sat8((x·x_scale + o·o_scale + constant) >> 20)`.
    ///
    /// A sum with it always fits `i32`: `255 · 2 · 2²¹ + 2²⁷ + 2¹⁹ < 2³¹`.
    const fn constant(&self) -> i32 {
        let zeros = self.x_zero as i32 * self.x_scale + self.o_zero as i32 * self.o_scale;
        ((self.zero as i32) << Self::BITS) + (1 << (Self::BITS - 1)) - zeros
    }
}

/// `y = sat8(zero + ((x − x_zero)·x_scale + (o − o_zero)·o_scale + 2¹⁹) >> 20)`; ties go toward +∞.
///
/// Computes as many elements as the shortest slice has.
pub fn add(x: &[i8], o: &[i8], scales: AddScales, y: &mut [i8]) {
    fastest::add(x, o, scales, y);
}
