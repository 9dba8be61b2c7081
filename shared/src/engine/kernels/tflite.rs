//! Kernels with the two roundings of TensorFlow Lite, for converted models. The sums are those of
//! the other kernels; only the requantization differs.
//!
//! Sources: `tensorflow/lite/kernels/internal/{common.h,reference/integer_ops/{conv,depthwise_conv,
//! add}.h}`.

use super::{Affine, Columns, LANES, plain, taps, units};
use crate::{
    fixed::{requantize_tflite, scale_tflite},
    model::{TfliteAdd, TfliteAffine, TfliteFactors},
};

/// Number of fractional bits of an input of [`add`].
const ADD_BITS: u32 = 20;

/// `y[o] = requantize_tflite(bias[o] + Σᵢ w[o,i]·x[i], multiplier[o], shift[o], zero_point)`.
///
/// Shapes: `x (I)`, `y (≥ O)`, `wide` as for [`super::pointwise`].
pub fn pointwise(x: &[i8], affine: &TfliteAffine<'_>, wide: &mut [u32], y: &mut [i8]) {
    let y = y.get_mut(..usize::from(affine.affine.outputs)).unwrap_or_default();
    #[cfg(any(wakeling_dsp, wakeling_mve))]
    super::dsp::pointwise_tflite(x, affine, wide, y);
    #[cfg(wakeling_short_product)]
    super::thumb::pointwise_tflite(x, affine, wide, y);
    #[cfg(not(any(wakeling_dsp, wakeling_mve, wakeling_short_product)))]
    {
        let _ = wide;
        pointwise_plain(x, affine, y);
    }
}

/// `y[c] = requantize_tflite(bias[c] + Σₖ w[k,c]·columns[k][c], …)`, otherwise as [`pointwise`].
///
/// Shapes: `columns (K, C)`, `y (≥ C)`.
pub fn depthwise(columns: &Columns<'_>, affine: &TfliteAffine<'_>, y: &mut [i8]) {
    let y = y.get_mut(..usize::from(affine.affine.outputs)).unwrap_or_default();
    #[cfg(any(wakeling_dsp, wakeling_mve))]
    super::dsp::depthwise_tflite(columns, affine, y);
    #[cfg(wakeling_short_product)]
    super::thumb::depthwise_tflite(columns, affine, y);
    #[cfg(not(any(wakeling_dsp, wakeling_mve, wakeling_short_product)))]
    depthwise_plain_from(0, columns, affine, y);
}

/// Reference of [`pointwise`].
pub fn pointwise_plain(
    x: &[i8],
    TfliteAffine { affine, factors }: &TfliteAffine<'_>,
    y: &mut [i8],
) {
    let blocks = units(affine).chunks_exact(affine.units().max(1));
    for ((block, factors), y) in blocks.zip(*factors).zip(y.chunks_mut(LANES)) {
        let [biases, ..] = factors;
        finish(plain::sums(x, block, biases, y.len()), factors, affine, y);
    }
}

/// Reference of [`depthwise`], from block `first` on.
pub fn depthwise_plain_from(
    first: usize,
    columns: &Columns<'_>,
    TfliteAffine { affine, factors }: &TfliteAffine<'_>,
    y: &mut [i8],
) {
    let blocks = taps(affine).chunks_exact(columns.len().max(1));
    let outputs = y.chunks_mut(LANES).enumerate();
    for ((weights, factors), (block, y)) in blocks.zip(*factors).zip(outputs).skip(first) {
        let [mut acc, ..] = *factors;
        for (weights, column) in weights.iter().zip(columns.iter()) {
            let x = column.get(block * LANES..).unwrap_or_default();
            for ((acc, &w), &x) in acc.iter_mut().zip(weights).zip(x) {
                *acc += i32::from(w) * i32::from(x);
            }
        }
        finish(acc, factors, affine, y);
    }
}

/// Requantizes the sums of a block.
fn finish(
    acc: [i32; LANES],
    [_, multipliers, shifts]: &TfliteFactors,
    affine: &Affine<'_>,
    y: &mut [i8],
) {
    let zero = i32::from(affine.zero_point);
    for (((y, acc), &multiplier), &shift) in y.iter_mut().zip(acc).zip(multipliers).zip(shifts) {
        *y = requantize_tflite(acc, multiplier, shift as u32, zero);
    }
}

/// Sum of [`Op::AddTflite`](crate::model::Op::AddTflite); as many elements as the shortest slice
/// has.
pub fn add(x: &[i8], o: &[i8], scales: &TfliteAdd, y: &mut [i8]) {
    let TfliteAdd { x_scale, o_scale, y_scale, x_zero, o_zero, zero } = *scales;
    let scaled = |x: i8, zero: i8, scale: crate::model::TfliteScale| {
        let shifted = (i32::from(x) - i32::from(zero)) << ADD_BITS;
        scale_tflite(shifted, scale.multiplier, scale.shift.into())
    };
    for ((y, &x), &o) in y.iter_mut().zip(x).zip(o) {
        let sum = scaled(x, x_zero, x_scale).wrapping_add(scaled(o, o_zero, o_scale));
        let sum = scale_tflite(sum, y_scale.multiplier, y_scale.shift.into());
        *y = sum.saturating_add(zero.into()).clamp(-128, 127) as i8;
    }
}

/// `y = table[x + 128]`, with 0 beyond the table.
pub fn table(x: &[i8], table: &[u8], y: &mut [i8]) {
    for (y, &x) in y.iter_mut().zip(x) {
        *y = table.get(usize::from(x as u8 ^ 0x80)).map_or(0, |&byte| byte as i8);
    }
}
