//! Pointwise layers. A vector of weights holds those of two outputs for eight inputs, each
//! `256·odd + even`. It is multiplied twice without being separated: as `i16` by the inputs as
//! `i16`, and as `i8` by the inputs with a zero after each, which gives the products of the even
//! weights alone.

use core::arch::naked_asm;

use super::{Affine, BiasScale, LANES, RUN, UNIT, UNIT_WORDS, eight, plain, quads};

/// Number of inputs after which sums must be separated; see [`RUN`].
const RUN_INPUTS: usize = RUN * UNIT;

/// Arguments of [`blocks_of_run`], in the order in which it loads them.
#[derive(Clone, Copy)]
#[repr(C)]
struct Pointwise {
    x: *const i8,
    weights: *const u32,
    bias_scales: *const BiasScale,
    /// Number of inputs in the first run.
    first: usize,
    y: *mut i8,
    blocks: usize,
    zero: i32,
    /// End of the inputs.
    x_end: *const i8,
}

pub fn pointwise(x: &[i8], affine: &Affine<'_>, wide: &mut [u32], y: &mut [i8]) {
    let [inputs, outputs] = [affine.inputs, affine.outputs].map(usize::from);
    let done = if fits(affine) { quads::pointwise(x, affine, wide, y) } else { 0 };
    let x = x.get(done * inputs..).unwrap_or_default();
    let y = y.get_mut(done * outputs..).unwrap_or_default();
    for (x, y) in super::super::columns(x, affine, y) {
        pointwise_column(x, affine, wide, y);
    }
}

pub fn pointwise_column(x: &[i8], affine: &Affine<'_>, wide: &mut [u32], y: &mut [i8]) {
    if fits(affine) && x.len() == usize::from(affine.inputs) {
        column(x, affine, y);
    } else {
        plain::pointwise_column(x, affine, wide, y);
    }
}

/// Returns whether there are inputs and outputs, and arrays for all of them.
fn fits(affine: &Affine<'_>) -> bool {
    let (units, blocks) = (affine.units(), affine.blocks());
    let words = blocks * units * UNIT_WORDS;
    words > 0 && affine.weights.len() >= words && affine.bias_scales.len() >= blocks
}

/// Computes one column, with arrays that have been checked.
fn column(x: &[i8], affine: &Affine<'_>, y: &mut [i8]) {
    let done = eight::pointwise_column(x, affine, y);
    if done < y.len() {
        outputs_from(done / LANES, x, affine, y.get_mut(done..).unwrap_or_default());
    }
}

/// Computes the outputs from block `first` on.
fn outputs_from(first: usize, x: &[i8], affine: &Affine<'_>, y: &mut [i8]) {
    let run = if x.len() > RUN_INPUTS { blocks_of_runs } else { blocks_of_run };
    let inputs = x.as_ptr_range();
    let block_words = affine.units() * UNIT_WORDS;
    let (whole, rest) = y.as_chunks_mut::<LANES>();
    let call = Pointwise {
        x: inputs.start,
        weights: affine.weights.as_ptr().wrapping_add(first * block_words),
        bias_scales: affine.bias_scales.as_ptr().wrapping_add(first),
        first: x.len().min(RUN_INPUTS),
        y: whole.as_mut_ptr().cast(),
        blocks: whole.len(),
        zero: i32::from(affine.zero_point),
        x_end: inputs.end,
    };
    if !whole.is_empty() {
        // SAFETY: `first` is the first run of the inputs, which are not empty, and all of them
        // where `blocks_of_run` was chosen. `y` is a positive number of blocks, and weights and
        // factors exist for at least as many, and are aligned.
        unsafe { run(&call) }
    }
    if !rest.is_empty() {
        let mut last = [0; LANES];
        let words = whole.len() * block_words;
        let last_call = Pointwise {
            weights: call.weights.wrapping_add(words),
            bias_scales: call.bias_scales.wrapping_add(whole.len()),
            y: last.as_mut_ptr(),
            blocks: 1,
            ..call
        };
        // SAFETY: as above, for the last block, which the outputs do not fill.
        unsafe { run(&last_call) }
        rest.iter_mut().zip(last).for_each(|(y, last)| *y = last);
    }
}

/// Computes blocks of four outputs for one column. `$run_end` goes between the products of a run
/// and the outputs.
///
/// `r4` and `r6` are the sums of the even outputs, which start with their biases. `r8` and `r10`
/// are those of pairs, which start equal, so their difference is 256 times the odd sums. `r5` and
/// `r9` are the odd outputs.
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

/// Computes blocks whose inputs are a single run.
///
/// # Safety
/// - `x` are `first` inputs, from 1 to [`RUN_INPUTS`].
/// - `y` are `blocks ≥ 1` blocks, which may be written.
/// - `weights` and `bias_scales` are those of as many blocks of such inputs, and aligned to words.
#[unsafe(naked)]
unsafe extern "C" fn blocks_of_run(call: &Pointwise) {
    // The comment mentions the constant, since `naked_asm!` requires every operand to be used.
    blocks!("@ {run}",)
}

/// Computes blocks whose inputs may be several runs.
///
/// # Safety
/// As [`blocks_of_run`], but the inputs continue to `x_end`, and `first` is [`RUN_INPUTS`] if there
/// are more than that.
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
