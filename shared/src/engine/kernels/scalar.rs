//! Kernels for 32-bit processors without parallel products: Cortex-M3, and RISC-V without
//! multiplication.
//!
//! A pair of weights is multiplied as a whole, and its low byte once more. The sums are separated
//! at the end of a run. Two products thus take two multiplications, two additions and two loads,
//! and no shifts.

use super::{Affine, BiasScale, Columns, LANES, RUN, UNIT, Unit, plain, requantize, taps, units};

#[cfg(not(test))]
pub use super::plain::add;

pub fn pointwise(x: &[i8], affine: &Affine<'_>, wide: &mut [u32], y: &mut [i8]) {
    for (x, y) in super::columns(x, affine, y) {
        pointwise_column(x, affine, wide, y);
    }
}

pub fn pointwise_column(x: &[i8], affine: &Affine<'_>, _wide: &mut [u32], y: &mut [i8]) {
    let zero = i32::from(affine.zero_point);
    let blocks = units(affine).chunks_exact(affine.units().max(1));
    for ((block, bias_scales), y) in blocks.zip(affine.bias_scales).zip(y.chunks_mut(LANES)) {
        let [biases, multipliers]: &BiasScale = bias_scales;
        let mut acc = *biases;
        for (units, x) in block.chunks(RUN).zip(x.chunks(RUN * UNIT)) {
            add_run(units, x, &mut acc);
        }
        for ((y, acc), &multiplier) in y.iter_mut().zip(acc).zip(multipliers) {
            *y = requantize(acc, multiplier, zero);
        }
    }
}

pub fn depthwise(columns: &Columns<'_>, affine: &Affine<'_>, y: &mut [i8]) {
    let zero = i32::from(affine.zero_point);
    let y = y.get_mut(..usize::from(affine.outputs)).unwrap_or_default();
    let weights = taps(affine).chunks_exact(columns.len().max(1));
    let whole = y.as_chunks_mut::<LANES>().0.iter_mut().enumerate();
    for ((weights, [biases, multipliers]), (block, y)) in weights.zip(affine.bias_scales).zip(whole)
    {
        let mut acc = *biases;
        for (weights, column) in weights.iter().zip(columns.iter()) {
            let x = column.get(block * LANES..).and_then(<[i8]>::first_chunk::<LANES>);
            for ((acc, &w), &x) in acc.iter_mut().zip(weights).zip(x.unwrap_or(&[0; LANES])) {
                *acc += i32::from(w) * i32::from(x);
            }
        }
        for ((y, acc), &multiplier) in y.iter_mut().zip(acc).zip(multipliers) {
            *y = requantize(acc, multiplier, zero);
        }
    }
    plain::depthwise_from(y.len() / LANES, columns, affine, y);
}

/// Adds the products of at most [`RUN`] units to `acc`.
fn add_run(units: &[Unit], x: &[i8], acc: &mut [i32; LANES]) {
    let (whole, tail) = x.as_chunks::<UNIT>();
    let (front, back) = units.split_at(whole.len().min(units.len()));
    let mut sums = add_units(front, whole, [0; LANES]);
    if let (Some(unit), false) = (back.first(), tail.is_empty()) {
        let last = core::array::from_fn(|i| tail.get(i).copied().unwrap_or(0));
        sums = add_units(core::slice::from_ref(unit), &[last], sums);
    }
    let [both, even, other_both, other_even] = sums;
    let sums = [even, (both - even) >> 8, other_even, (other_both - other_even) >> 8];
    acc.iter_mut().zip(sums).for_each(|(acc, sum)| *acc += sum);
}

/// Returns `sums` plus `Σ pair·x` and `Σ (low byte of pair)·x` of the first pairs and of the
/// second.
#[inline(never)]
fn add_units(units: &[Unit], x: &[[i8; UNIT]], sums: [i32; LANES]) -> [i32; LANES] {
    let [mut a, mut b, mut c, mut d] = sums;
    for ([first, second], x) in units.iter().zip(x) {
        for ((&v, &w), &x) in first.iter().zip(second).zip(x) {
            let x = i32::from(x);
            a += i32::from(v) * x;
            b += i32::from(v as i8) * x;
            c += i32::from(w) * x;
            d += i32::from(w as i8) * x;
        }
    }
    [a, b, c, d]
}
