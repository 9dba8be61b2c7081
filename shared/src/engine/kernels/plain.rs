//! Reference kernels in plain Rust, also used on processors without a file of their own.

use super::{AddScales, Affine, BiasScale, Columns, LANES, UNIT, Unit, requantize, taps, units};

/// Reference of [`super::pointwise`].
pub fn pointwise(x: &[i8], affine: &Affine<'_>, wide: &mut [u32], y: &mut [i8]) {
    for (x, y) in super::columns(x, affine, y) {
        pointwise_column(x, affine, wide, y);
    }
}

/// Reference of [`super::pointwise_column`].
pub fn pointwise_column(x: &[i8], affine: &Affine<'_>, _wide: &mut [u32], y: &mut [i8]) {
    let zero = i32::from(affine.zero_point);
    for_each_output(x, affine, y, |acc, multiplier| requantize(acc, multiplier, zero));
}

/// Computes each output from its accumulator and multiplier by `finish`.
pub fn for_each_output<Y>(
    x: &[i8],
    affine: &Affine<'_>,
    y: &mut [Y],
    finish: impl Fn(i32, i32) -> Y,
) {
    let y = y.get_mut(..usize::from(affine.outputs)).unwrap_or_default();
    let blocks = units(affine).chunks_exact(affine.units().max(1));
    for ((block, bias_scales), y) in blocks.zip(affine.bias_scales).zip(y.chunks_mut(LANES)) {
        let (acc, [_, multipliers]) = (sums(x, block, &bias_scales[0], y.len()), bias_scales);
        for ((y, acc), &multiplier) in y.iter_mut().zip(acc).zip(multipliers) {
            *y = finish(acc, multiplier);
        }
    }
}

/// Returns the accumulators of a block; only the first `outputs` of them are used.
#[inline(never)]
pub(super) fn sums(
    x: &[i8],
    block: &[Unit],
    biases: &[i32; LANES],
    outputs: usize,
) -> [i32; LANES] {
    let mut acc = *biases;
    let pairs_of_acc =
        acc.as_chunks_mut::<2>().0.get_mut(..outputs.div_ceil(2)).unwrap_or_default();
    for (unit, x) in block.iter().zip(x.chunks(UNIT)) {
        for (pairs, [even_acc, odd_acc]) in unit.iter().zip(&mut *pairs_of_acc) {
            for (&pair, &x) in pairs.iter().zip(x) {
                let (even, x) = (i32::from(pair as i8), i32::from(x));
                *even_acc += even * x;
                *odd_acc += ((i32::from(pair) - even) >> 8) * x;
            }
        }
    }
    acc
}

/// Reference of [`super::depthwise`].
pub fn depthwise(columns: &Columns<'_>, affine: &Affine<'_>, y: &mut [i8]) {
    depthwise_from(0, columns, affine, y);
}

/// Computes the blocks of channels from block `first` on.
pub fn depthwise_from(first: usize, columns: &Columns<'_>, affine: &Affine<'_>, y: &mut [i8]) {
    let zero = i32::from(affine.zero_point);
    let blocks = taps(affine).chunks_exact(columns.len().max(1));
    let y = y.get_mut(..usize::from(affine.outputs)).unwrap_or_default();
    let outputs = y.chunks_mut(LANES).enumerate();
    for ((weights, bias_scales), (block, y)) in
        blocks.zip(affine.bias_scales).zip(outputs).skip(first)
    {
        let [biases, multipliers]: &BiasScale = bias_scales;
        let mut acc = *biases;
        for (weights, column) in weights.iter().zip(columns.iter()) {
            let x = column.get(block * LANES..).unwrap_or_default();
            for ((acc, &w), &x) in acc.iter_mut().zip(weights).zip(x) {
                *acc += i32::from(w) * i32::from(x);
            }
        }
        for ((y, acc), &multiplier) in y.iter_mut().zip(acc).zip(multipliers) {
            *y = requantize(acc, multiplier, zero);
        }
    }
}

/// Reference of [`super::add`].
pub fn add(x: &[i8], o: &[i8], scales: AddScales, y: &mut [i8]) {
    let constant = scales.constant();
    for ((y, &x), &o) in y.iter_mut().zip(x).zip(o) {
        let sum = i32::from(x) * scales.x_scale + i32::from(o) * scales.o_scale + constant;
        *y = (sum >> AddScales::BITS).clamp(-128, 127) as i8;
    }
}
