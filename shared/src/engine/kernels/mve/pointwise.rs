//! Pointwise layers. A vector of weights holds those of two outputs for eight inputs, `256·odd + even`
//! each, and is multiplied twice, neither time taken apart: as `i16` by the inputs as `i16`, and as
//! `i8` by the inputs with a zero after each, which leaves the even weights' products.

use core::arch::naked_asm;

use super::{Affine, Factors, LANES, RUN, UNIT, UNIT_WORDS, plain};

/// Inputs after which sums must be taken apart; see [`RUN`].
const RUN_INPUTS: usize = RUN * UNIT;

/// See [`blocks_of_run`]. The order is that in which it loads them.
#[derive(Clone, Copy)]
#[repr(C)]
struct Pointwise {
    x: *const i8,
    weights: *const u32,
    factors: *const Factors,
    /// Inputs of the first run.
    first: usize,
    y: *mut i8,
    blocks: usize,
    zero: i32,
    /// End of the inputs.
    x_end: *const i8,
}

/// See [`pair_blocks`]. The first six are the order of its stack frame.
#[repr(C)]
struct Pair {
    /// Where the first column begins.
    x: *const i8,
    /// Where the second begins.
    next_x: *const i8,
    /// `units` halved and rounded up.
    passes: usize,
    /// 1 if the first pass is of one unit, else 0.
    odd: usize,
    /// From an output to the second column's.
    y_step: usize,
    y_end: *const i8,
    weights: *const u32,
    factors: *const Factors,
    y: *mut i8,
    zero: i32,
}

pub fn pointwise(x: &[i8], affine: &Affine<'_>, _wide: &mut [u32], y: &mut [i8]) {
    let (units, blocks) = (affine.units(), affine.blocks());
    let [inputs, outputs] = [affine.inputs, affine.outputs].map(usize::from);
    let (weights, factors) = (affine.weights, affine.factors);
    let fits = weights.len() >= blocks * units * UNIT_WORDS && factors.len() >= blocks;
    if !fits || inputs == 0 || outputs == 0 {
        return plain::pointwise(x, affine, &mut [], y);
    }
    let mut done = 0;
    if inputs <= RUN_INPUTS && inputs.is_multiple_of(UNIT) && outputs.is_multiple_of(LANES) {
        let pairs = x.chunks_exact(2 * inputs).zip(y.chunks_exact_mut(2 * outputs));
        for (x, y) in pairs {
            let y = y.as_mut_ptr();
            let call = Pair {
                x: x.as_ptr(),
                next_x: x.as_ptr().wrapping_add(inputs),
                passes: units.div_ceil(2),
                odd: units % 2,
                y_step: outputs,
                y_end: y.wrapping_add(outputs),
                weights: weights.as_ptr(),
                factors: factors.as_ptr(),
                y,
                zero: i32::from(affine.zero_point),
            };
            // SAFETY: both columns are `units ≥ 1` units of inputs, no more than a run, and
            // `outputs ≥ LANES` outputs in whole blocks, for which weights and factors are there and
            // aligned.
            unsafe { pair_blocks(&call) }
            done += 2;
        }
    }
    let x = x.get(done * inputs..).unwrap_or_default();
    let y = y.get_mut(done * outputs..).unwrap_or_default();
    for (x, y) in super::super::columns(x, affine, y) {
        column(x, affine, y);
    }
}

/// One column; the arrays have been checked.
fn column(x: &[i8], affine: &Affine<'_>, y: &mut [i8]) {
    let run = if x.len() > RUN_INPUTS { blocks_of_runs } else { blocks_of_run };
    let inputs = x.as_ptr_range();
    let (whole, rest) = y.as_chunks_mut::<LANES>();
    let call = Pointwise {
        x: inputs.start,
        weights: affine.weights.as_ptr(),
        factors: affine.factors.as_ptr(),
        first: x.len().min(RUN_INPUTS),
        y: whole.as_mut_ptr().cast(),
        blocks: whole.len(),
        zero: i32::from(affine.zero_point),
        x_end: inputs.end,
    };
    if !whole.is_empty() {
        // SAFETY: `first` is the first run of the inputs, which are not empty, and all of them where
        // `blocks_of_run` was chosen. `y` is a positive number of blocks, and weights and factors are
        // there for at least as many, and aligned.
        unsafe { run(&call) }
    }
    if !rest.is_empty() {
        let mut last = [0; LANES];
        let words = whole.len() * affine.units() * UNIT_WORDS;
        let last_call = Pointwise {
            weights: call.weights.wrapping_add(words),
            factors: call.factors.wrapping_add(whole.len()),
            y: last.as_mut_ptr(),
            blocks: 1,
            ..call
        };
        // SAFETY: as above, for the last block, which the outputs do not fill.
        unsafe { run(&last_call) }
        rest.iter_mut().zip(last).for_each(|(y, last)| *y = last);
    }
}

/// Blocks of four outputs for one column. Between the products of a run and the outputs stands
/// `$run_end`.
///
/// `r4` and `r6` are the sums of the even outputs, which start with their biases, `r8` and `r10` those
/// of pairs, which start alike: the difference is 256 times the odd ones. `r5` and `r9` are the odd
/// outputs.
macro_rules! blocks {
    ($($run_end:literal,)*) => {
        naked_asm!(
            ".cpu cortex-m55",
            "push {{r4-r11, lr}}",
            "sub sp, #4",
            "ldr r1, [r0, #28]",
            "str r1, [sp]",
            "ldrd r11, r1, [r0, #20]",
            "vdup.32 q3, r1",
            "ldr.w r7, [r0, #16]",
            "ldm.w r0, {{r1, r2, r3, r12}}",
            // A block.
            "1:",
            "ldm.w r3!, {{r4, r5, r6, r9}}",
            "mov r8, r4",
            "mov r10, r6",
            "mov r0, r1",
            "dlstp.16 lr, r12",
            "2:",
            "vldrb.s16 q0, [r0]",
            "vldrb.u16 q1, [r0], #8",
            "vldrw.u32 q2, [r2], #16",
            "vmladava.s16 r8, q2, q0",
            "vmladava.s8 r4, q2, q1",
            "vldrw.u32 q2, [r2], #16",
            "vmladava.s16 r10, q2, q0",
            "vmladava.s8 r6, q2, q1",
            "letp lr, 2b",
            "sub.w r8, r8, r4",
            "sub.w r10, r10, r6",
            "add.w r5, r5, r8, asr #8",
            "add.w r9, r9, r10, asr #8",
            $($run_end,)*
            "vmov q0[2], q0[0], r4, r6",
            "vmov q0[3], q0[1], r5, r9",
            "vldrw.u32 q1, [r3], #16",
            "vrmulh.s32 q0, q0, q1",
            "vadd.i32 q0, q0, q3",
            "vqmovnb.s32 q0, q0",
            "vqmovnb.s16 q0, q0",
            "vstrb.32 q0, [r7], #4",
            "subs.w r11, r11, #1",
            "bne 1b",
            "add sp, #4",
            "pop {{r4-r11, pc}}",
            run = const RUN_INPUTS,
        )
    };
}

/// # Safety
/// - `x` are `first` inputs, from 1 to [`RUN_INPUTS`].
/// - `y` are as many blocks as `blocks`, which is not 0, and may be written.
/// - `weights` and `factors` are those of as many blocks of such inputs, and aligned to words.
#[unsafe(naked)]
unsafe extern "C" fn blocks_of_run(call: &Pointwise) {
    // The constant is named in a comment, since every operand must be.
    blocks!("@ {run}",)
}

/// # Safety
/// As [`blocks_of_run`], but the inputs go on to `x_end`, and `first` is [`RUN_INPUTS`] if they are
/// more.
#[unsafe(naked)]
unsafe extern "C" fn blocks_of_runs(call: &Pointwise) {
    blocks!(
        "ldr r8, [sp]",
        "subs.w r8, r8, r0",
        "bls 3f",
        "cmp.w r8, {run}",
        "it hi",
        "movhi.w r8, {run}",
        "dlstp.16 lr, r8",
        "mov r8, r4",
        "mov r10, r6",
        "b 2b",
        "3:",
    )
}

/// A unit of inputs of both columns and its weights.
macro_rules! unit {
    () => {
        "vldrb.s16 q0, [r1]
        vldrb.u16 q1, [r1], #8
        vldrb.s16 q2, [r3]
        vldrb.u16 q4, [r3], #8
        vldrw.u32 q5, [r11], #16
        vmladava.s16 r2, q5, q0
        vmladava.s8 r0, q5, q1
        vmladava.s16 r10, q5, q2
        vmladava.s8 r8, q5, q4
        vldrw.u32 q5, [r11], #16
        vmladava.s16 r6, q5, q0
        vmladava.s8 r4, q5, q1
        vmladava.s16 lr, q5, q2
        vmladava.s8 r12, q5, q4"
    };
}

/// Requantizes a column's sums, even ones and pairs' of the first two outputs, then of the others,
/// into `q0`.
macro_rules! outputs {
    ($even:literal, $pairs:literal, $next_even:literal, $next_pairs:literal) => {
        concat!(
            "sub.w ", $pairs, ", ", $pairs, ", ", $even, "\n",
            "sub.w ", $next_pairs, ", ", $next_pairs, ", ", $next_even, "\n",
            "vmov q0[2], q0[0], ", $even, ", ", $next_even, "\n",
            "vmov q0[3], q0[1], ", $pairs, ", ", $next_pairs, "\n",
            "vshl.s32 q0, q0, q6\n",
            "vadd.i32 q0, q0, q1\n",
            "vrmulh.s32 q0, q0, q2\n",
            "vadd.i32 q0, q0, q3\n",
            "vqmovnb.s32 q0, q0\n",
            "vqmovnb.s16 q0, q0\n",
        )
    };
}

/// Blocks of four outputs for two columns: `r0`, `r2`, `r4`, `r6` are the first one's sums, `r8`,
/// `r10`, `r12`, `lr` the second one's (only even registers can be).
///
/// # Safety
/// - `x` and `next_x` are `n` units of inputs each, from 1 to [`RUN`]; `passes` and `odd` follow from
///   `n`.
/// - `y_end − y` is a positive multiple of [`LANES`]; those bytes may be written, and as many `y_step`
///   behind them.
/// - `weights` and `factors` are those of as many blocks of `n` units, and aligned to words.
#[unsafe(naked)]
unsafe extern "C" fn pair_blocks(call: &Pair) {
    naked_asm!(
        ".cpu cortex-m55",
        "push {{r4-r11, lr}}",
        "vpush {{d8-d13}}",
        "sub sp, #28",
        "ldm.w r0, {{r1-r6}}",
        // Even sums are taken as they are, odd ones shifted right by 8.
        "mov r7, #0",
        "mvn r8, #7",
        "vmov q6[2], q6[0], r7, r7",
        "vmov q6[3], q6[1], r8, r8",
        // The first pass begins at its second unit if it is of one.
        "adr.w r7, 2f",
        "adr.w r8, 3f",
        "cmp r4, #0",
        "it ne",
        "movne r7, r8",
        "orr r4, r7, #1",
        "stm.w sp, {{r1-r6}}",
        "ldr.w r11, [r0, #24]",
        "ldr.w r9, [r0, #28]",
        "ldrd r5, r1, [r0, #32]",
        "vdup.32 q3, r1",
        // A block.
        "1:",
        "movs r0, #0",
        "movs r2, #0",
        "movs r4, #0",
        "movs r6, #0",
        "mov r8, r0",
        "mov r10, r0",
        "mov r12, r0",
        "mov lr, r0",
        "ldrd r1, r3, [sp]",
        "ldr r7, [sp, #8]",
        "ldr.w pc, [sp, #12]",
        ".p2align 2",
        "2:",
        unit!(),
        ".p2align 2",
        "3:",
        unit!(),
        "subs r7, #1",
        "bne.w 2b",
        "vldrw.u32 q1, [r9], #16",
        "vldrw.u32 q2, [r9], #16",
        outputs!("r0", "r2", "r4", "r6"),
        "ldrd r2, r3, [sp, #16]",
        "add.w r2, r2, r5",
        "vstrb.32 q0, [r5], #4",
        outputs!("r8", "r10", "r12", "lr"),
        "vstrb.32 q0, [r2]",
        "cmp r5, r3",
        "bne.w 1b",
        "add sp, #28",
        "vpop {{d8-d13}}",
        "pop {{r4-r11, pc}}",
    )
}
