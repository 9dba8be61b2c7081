//! The kernels with the vectors of Armv8.1-M (Cortex-M52, M55, M85), in assembly: their intrinsics are
//! not stable, and compilers do not find them in plain code of this packing.
//!
//! Pointwise: eight inputs are loaded and widened at once. `VMLADAVA` multiplies eight pairs of
//! weights by them and adds the products to a register; `VMOVLB` leaves the even weights, and another
//! `VMLADAVA` multiplies those. So 32 products cost ten instructions, loads and loop included; what a
//! block of four outputs costs besides is about forty.

#![allow(unsafe_code)]

use core::arch::naked_asm;

use super::{Affine, Factors, LANES, RUN, UNIT, UNIT_WORDS, plain, wide_words};

pub use super::dsp::{add, depthwise};

/// See [`pointwise_blocks`]. The order is that in which it loads them.
#[repr(C)]
struct Pointwise {
    x: *const i8,
    /// End of the inputs.
    x_end: *const i8,
    factors: *const Factors,
    y: *mut i8,
    blocks: usize,
    weights: *const u32,
    /// Units of the first run, at most [`RUN`].
    first: usize,
    zero: i32,
}

pub fn pointwise(x: &[i8], affine: &Affine<'_>, wide: &mut [u32], y: &mut [i8]) {
    let (units, blocks) = (affine.units(), affine.blocks());
    let (weights, factors) = (affine.weights, affine.factors);
    let fits = weights.len() >= blocks * units * UNIT_WORDS && factors.len() >= blocks;
    let room = wide.get_mut(..wide_words(affine.inputs.into()));
    let (Some(wide), true, false) = (room, fits, units == 0) else {
        return plain::pointwise(x, affine, &mut [], y);
    };
    let mut call = Pointwise {
        x: core::ptr::null(),
        x_end: core::ptr::null(),
        factors: factors.as_ptr(),
        y: core::ptr::null_mut(),
        blocks: 0,
        weights: weights.as_ptr(),
        first: (units - 1) % RUN + 1,
        zero: i32::from(affine.zero_point),
    };
    for (x, y) in super::columns(x, affine, y) {
        let inputs = whole_units(x, wide).as_ptr_range();
        (call.x, call.x_end) = (inputs.start, inputs.end);
        let (whole, rest) = y.as_chunks_mut::<LANES>();
        if !whole.is_empty() {
            (call.y, call.blocks) = (whole.as_mut_ptr().cast(), whole.len());
            // SAFETY: the inputs are `units ≥ 1` units; `first ≤ RUN` and `units` are equal modulo
            // `RUN`. `y` is a positive number of blocks, and weights and factors are there for at
            // least as many. All words are aligned.
            unsafe { pointwise_blocks(&call) }
        }
        if !rest.is_empty() {
            let mut last = [0; LANES];
            let last_call = Pointwise {
                factors: factors.as_ptr().wrapping_add(whole.len()),
                y: last.as_mut_ptr(),
                blocks: 1,
                weights: weights.as_ptr().wrapping_add(whole.len() * units * UNIT_WORDS),
                ..call
            };
            // SAFETY: as above, for the last block, which the outputs do not fill.
            unsafe { pointwise_blocks(&last_call) }
            rest.iter_mut().zip(last).for_each(|(y, last)| *y = last);
        }
    }
}

/// `x`, or a copy of it in `wide` with zeros up to whole units: weights beyond the inputs may be
/// anything.
fn whole_units<'x>(x: &'x [i8], wide: &'x mut [u32]) -> &'x [i8] {
    if x.len().is_multiple_of(UNIT) {
        return x;
    }
    let padded: &mut [i8] = bytemuck::cast_slice_mut(wide);
    let padded = padded.get_mut(..x.len().next_multiple_of(UNIT)).unwrap_or_default();
    for (at, padded) in padded.iter_mut().enumerate() {
        *padded = x.get(at).copied().unwrap_or(0);
    }
    padded
}

/// Blocks of four outputs.
///
/// Sums: `r4` and `r8` of pairs as they are, `r6` and `r10` of their even weights, `r12` and `r2` of
/// the odd ones.
///
/// # Safety
/// - `x` to `x_end` are `n ≥ 1` units of inputs; `first` is `(n − 1) % RUN + 1`.
/// - `y` are as many blocks as `blocks`, which is not 0, and may be written.
/// - `weights` and `factors` are those of as many blocks of `n` units, and aligned to words.
#[unsafe(naked)]
unsafe extern "C" fn pointwise_blocks(call: &Pointwise) {
    naked_asm!(
        ".cpu cortex-m55",
        "push {{r4-r11, lr}}",
        "sub sp, #12",
        "ldm.w r0, {{r1, r2, r3, r5, r7, r9, r11}}",
        "str r2, [sp]",
        "ldr r0, [r0, #28]",
        "vdup.32 q3, r0",
        // A block.
        "1:",
        "movs r4, #0",
        "mov r6, r4",
        "mov r8, r4",
        "mov r10, r4",
        "mov r12, r4",
        "mov r2, r4",
        "mov r0, r1",
        "mov lr, r11",
        // A run of units.
        "2:",
        "dls lr, lr",
        "3:",
        "vldrb.s16 q0, [r0], #8",
        "vldrw.u32 q1, [r9], #16",
        "vldrw.u32 q2, [r9], #16",
        "vmladava.s16 r4, q1, q0",
        "vmovlb.s8 q1, q1",
        "vmladava.s16 r6, q1, q0",
        "vmladava.s16 r8, q2, q0",
        "vmovlb.s8 q2, q2",
        "vmladava.s16 r10, q2, q0",
        "le lr, 3b",
        // The end of a run: takes the odd sums out.
        "sub r4, r4, r6",
        "sub r8, r8, r10",
        "add r12, r12, r4, asr #8",
        "add r2, r2, r8, asr #8",
        "ldr r4, [sp]",
        "cmp r0, r4",
        "beq 4f",
        "mov r4, r6",
        "mov r8, r10",
        "mov lr, {run}",
        "b 2b",
        // The end of a block: biases, multipliers, zero point, saturation.
        "4:",
        "vmov q0[2], q0[0], r6, r10",
        "vmov q0[3], q0[1], r12, r2",
        "vldrw.u32 q1, [r3], #16",
        "vldrw.u32 q2, [r3], #16",
        "vadd.i32 q0, q0, q1",
        "vrmulh.s32 q0, q0, q2",
        "vadd.i32 q0, q0, q3",
        "vqmovnb.s32 q0, q0",
        "vqmovnb.s16 q0, q0",
        "vstrb.32 q0, [r5], #4",
        "subs r7, #1",
        "bne 1b",
        "add sp, #12",
        "pop {{r4-r11, pc}}",
        run = const RUN,
    )
}
