//! Kernels for Cortex-M0, whose instructions have 16 bits, reach eight registers, and multiply in
//! place. The sums are in assembly, since compilers spill registers.
//!
//! Pointwise: `x` is widened to `i16` once. A word of weights holds two inputs for two outputs, each
//! `256·odd + even`. Each pair is multiplied as a whole, and its low byte once more; the sums are
//! separated at the end. Four products thus take four multiplications, four additions, four
//! instructions that take the word apart, and a load. The sums are in high registers, which only
//! an addition reaches. Inputs add 0.4 instructions to a product.
//!
//! Depthwise: a product takes 5 instructions, and a tap of four channels another 6.

#![allow(unsafe_code, reason = "assembly, since compilers spill the sums")]

use core::arch::naked_asm;

use super::{
    Affine, BiasScale, Columns, LANES, Pairs, RUN, UNIT, Unit, plain, requantize, taps, units,
};
use crate::{
    fixed::requantize_tflite,
    model::{TfliteAffine, TfliteFactors},
    thumb::{high_to_low, low_to_high},
};

pub use super::plain::add;

pub fn pointwise(x: &[i8], affine: &Affine<'_>, wide: &mut [u32], y: &mut [i8]) {
    for (x, y) in super::columns(x, affine, y) {
        pointwise_column(x, affine, wide, y);
    }
}

pub fn pointwise_column(x: &[i8], affine: &Affine<'_>, wide: &mut [u32], y: &mut [i8]) {
    let zero = i32::from(affine.zero_point);
    let Some(x) = widen(x, wide) else { return plain::pointwise_column(x, affine, wide, y) };
    let blocks = units(affine).chunks_exact(affine.units().max(1));
    for ((block, bias_scales), y) in blocks.zip(affine.bias_scales).zip(y.chunks_mut(LANES)) {
        let [biases, multipliers]: &BiasScale = bias_scales;
        let acc = sums(block, x, biases);
        for ((y, acc), &multiplier) in y.iter_mut().zip(acc).zip(multipliers) {
            *y = requantize(acc, multiplier, zero);
        }
    }
}

/// As [`pointwise_column`], with the roundings of TensorFlow Lite.
pub fn pointwise_tflite(x: &[i8], layer: &TfliteAffine<'_>, wide: &mut [u32], y: &mut [i8]) {
    let TfliteAffine { affine, factors } = layer;
    let zero = i32::from(affine.zero_point);
    let Some(x) = widen(x, wide) else { return super::tflite::pointwise_plain(x, layer, y) };
    let blocks = units(affine).chunks_exact(affine.units().max(1));
    for ((block, factors), y) in blocks.zip(*factors).zip(y.chunks_mut(LANES)) {
        let [biases, multipliers, shifts]: &TfliteFactors = factors;
        let scales = multipliers.iter().zip(shifts);
        for ((y, acc), (&multiplier, &shift)) in
            y.iter_mut().zip(sums(block, x, biases)).zip(scales)
        {
            *y = requantize_tflite(acc, multiplier, shift as u32, zero);
        }
    }
}

/// Widens `x` to whole units, the last one with zeros; `None` if `wide` is too short.
fn widen<'w>(x: &[i8], wide: &'w mut [u32]) -> Option<&'w [Pairs]> {
    let (units, _) = wide.as_chunks_mut::<{ UNIT / 2 }>();
    let units: &mut [Pairs] = bytemuck::cast_slice_mut(units);
    let units = units.get_mut(..x.len().div_ceil(UNIT))?;
    for (unit, x) in units.iter_mut().zip(x.chunks(UNIT)) {
        *unit = [0; UNIT];
        unit.iter_mut().zip(x).for_each(|(wide, &x)| *wide = x.into());
    }
    Some(units)
}

/// Returns the accumulators of a block.
#[inline(always)]
fn sums(block: &[Unit], x: &[Pairs], biases: &[i32; LANES]) -> [i32; LANES] {
    let mut acc = *biases;
    for (units, x) in block.chunks(RUN).zip(x.chunks(RUN)) {
        let [both, even, other_both, other_even] = products(units, x);
        let run = [even, (both - even) >> 8, other_even, (other_both - other_even) >> 8];
        acc.iter_mut().zip(run).for_each(|(acc, sum)| *acc = acc.wrapping_add(sum));
    }
    acc
}

/// Returns `Σ pair·x` and `Σ (low byte of pair)·x` of the first pairs and of the second.
#[inline(always)]
fn products(units: &[Unit], x: &[Pairs]) -> [i32; LANES] {
    let mut sums = [0; LANES];
    let count = units.len().min(x.len());
    if let (Some(x), Some(units), true) = (x.get(..count), units.get(..count), count > 0) {
        let x = x.as_ptr_range();
        // SAFETY: both have `count ≥ 1` units; weights and `wide` are words.
        unsafe { unit_products(units.as_ptr(), x.start, x.end, &mut sums) }
    }
    sums
}

/// Multiplies two inputs, in `r2` and `r3`, by the weights of two outputs, whose word is at `word` in
/// the unit at `r0`.
macro_rules! pair {
    ($word:literal, $both:literal, $even:literal) => {
        concat!(
            "ldr r4, [r0, #",
            $word,
            "]\n",
            "sxth r5, r4\n",
            "sxtb r6, r4\n",
            "muls r5, r2, r5\n",
            "muls r6, r2, r6\n",
            "add ",
            $both,
            ", r5\n",
            "add ",
            $even,
            ", r6\n",
            "asrs r4, r4, #16\n",
            "sxtb r6, r4\n",
            "muls r4, r3, r4\n",
            "muls r6, r3, r6\n",
            "add ",
            $both,
            ", r4\n",
            "add ",
            $even,
            ", r6\n",
        )
    };
}

/// Multiplies two inputs, whose word is at `x` in the unit at `r1`, by the weights of four outputs.
macro_rules! products {
    ($x:literal, $w:literal, $v:literal) => {
        concat!(
            "ldr r3, [r1, #",
            $x,
            "]\n",
            "sxth r2, r3\n",
            "asrs r3, r3, #16\n",
            pair!($w, "r8", "r9"),
            pair!($v, "r10", "r11"),
        )
    };
}

/// Writes the sums of [`products`].
///
/// # Safety
/// `x` to `x_end` are at least one unit, and so many are at `units`; both are aligned to words.
#[unsafe(naked)]
unsafe extern "C" fn unit_products(
    units: *const Unit,
    x: *const Pairs,
    x_end: *const Pairs,
    sums: &mut [i32; LANES],
) {
    naked_asm!(
        "push {{r4-r7, lr}}",
        high_to_low!(),
        "push {{r3-r7}}",
        "mov r12, r2",
        "movs r7, #0",
        "mov r8, r7",
        "mov r9, r7",
        "mov r10, r7",
        "mov r11, r7",
        "1:",
        products!("0", "0", "16"),
        products!("4", "4", "20"),
        products!("8", "8", "24"),
        products!("12", "12", "28"),
        "adds r0, #32",
        "adds r1, #16",
        "cmp r1, r12",
        "bne 1b",
        "pop {{r3}}",
        high_to_low!(),
        "stmia r3!, {{r4-r7}}",
        "pop {{r4-r7}}",
        low_to_high!(),
        "pop {{r4-r7, pc}}",
    )
}

/// Arguments of [`tap_products`], in the order in which it loads them.
#[repr(C)]
struct Taps {
    columns: *const *const i8,
    columns_end: *const *const i8,
    /// Offset of the block in each column.
    offset: usize,
    weights: *const [i16; LANES],
    acc: [i32; LANES],
}

pub fn depthwise(columns: &Columns<'_>, affine: &Affine<'_>, y: &mut [i8]) {
    let zero = i32::from(affine.zero_point);
    let y = y.get_mut(..usize::from(affine.outputs)).unwrap_or_default();
    let blocks = taps(affine).chunks_exact(columns.len().max(1)).zip(affine.bias_scales);
    let mut done = 0;
    for ((weights, [biases, multipliers]), y) in blocks.zip(y.as_chunks_mut::<LANES>().0) {
        let Some(acc) = tap_sums(columns, done * LANES, weights, biases) else { break };
        for ((y, acc), &multiplier) in y.iter_mut().zip(acc).zip(multipliers) {
            *y = requantize(acc, multiplier, zero);
        }
        done += 1;
    }
    if done * LANES < y.len() {
        plain::depthwise_from(done, columns, affine, y);
    }
}

/// As [`depthwise`], with the roundings of TensorFlow Lite.
pub fn depthwise_tflite(columns: &Columns<'_>, layer: &TfliteAffine<'_>, y: &mut [i8]) {
    let TfliteAffine { affine, factors } = layer;
    let zero = i32::from(affine.zero_point);
    let blocks = taps(affine).chunks_exact(columns.len().max(1)).zip(*factors);
    let mut done = 0;
    for ((weights, [biases, multipliers, shifts]), y) in blocks.zip(y.as_chunks_mut::<LANES>().0) {
        let Some(acc) = tap_sums(columns, done * LANES, weights, biases) else { break };
        let scales = multipliers.iter().zip(shifts);
        for ((y, acc), (&multiplier, &shift)) in y.iter_mut().zip(acc).zip(scales) {
            *y = requantize_tflite(acc, multiplier, shift as u32, zero);
        }
        done += 1;
    }
    if done * LANES < y.len() {
        super::tflite::depthwise_plain_from(done, columns, layer, y);
    }
}

/// Returns the accumulators of four channels from `offset` on; `None` if a column ends before them.
#[inline(always)]
fn tap_sums(
    columns: &Columns<'_>,
    offset: usize,
    weights: &[[i16; LANES]],
    biases: &[i32; LANES],
) -> Option<[i32; LANES]> {
    let starts = columns.starts().as_ptr_range();
    let fits = offset + LANES <= columns.channels() && weights.len() == columns.len();
    if !fits || columns.is_empty() {
        return None;
    }
    let mut call = Taps {
        columns: starts.start,
        columns_end: starts.end,
        offset,
        weights: weights.as_ptr(),
        acc: *biases,
    };
    // SAFETY: there is a column, and each has all channels, four of them from `offset` on; there are
    // weights for each, which are whole words.
    unsafe { tap_products(&mut call) };
    Some(call.acc)
}

/// Multiplies the input at byte `x` of the column at `r3` by the weight that `take` leaves in `r7`.
macro_rules! tap {
    ($x:literal, $take:literal, $acc:literal) => {
        concat!(
            "ldrb r6, [r3, #",
            $x,
            "]\n",
            $take,
            "\n",
            "sxtb r6, r6\n",
            "muls r7, r6, r7\n",
            "add ",
            $acc,
            ", r7\n",
        )
    };
}

/// Adds the products of all taps to the accumulators of four channels.
///
/// # Safety
/// `columns` to `columns_end` are at least one pointer to `offset + 4` readable bytes. As many taps
/// are at `weights`, aligned to words.
#[unsafe(naked)]
unsafe extern "C" fn tap_products(call: &mut Taps) {
    naked_asm!(
        "push {{r4-r7, lr}}",
        high_to_low!(),
        "push {{r4-r7}}",
        "mov lr, r0",
        "adds r0, #16",
        "ldmia r0!, {{r4-r7}}",
        low_to_high!(),
        "mov r0, lr",
        "ldmia r0!, {{r4, r5}}",
        "ldmia r0!, {{r2, r6}}",
        "mov r0, r4",
        "mov r12, r5",
        "mov r1, r6",
        "1:",
        "ldmia r0!, {{r3}}",
        "adds r3, r3, r2",
        "ldmia r1!, {{r4, r5}}",
        tap!("0", "sxth r7, r4", "r8"),
        tap!("1", "asrs r7, r4, #16", "r9"),
        tap!("2", "sxth r7, r5", "r10"),
        tap!("3", "asrs r7, r5, #16", "r11"),
        "cmp r0, r12",
        "bne 1b",
        "mov r0, lr",
        "adds r0, #16",
        high_to_low!(),
        "stmia r0!, {{r4-r7}}",
        "pop {{r4-r7}}",
        low_to_high!(),
        "pop {{r4-r7, pc}}",
    )
}
