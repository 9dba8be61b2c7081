//! Pointwise layers over four columns at once. From two units of weights, each `256·odd + even`,
//! one instruction extracts the sixteen even weights, and two make the odd ones. A product of
//! vectors is then sixteen products. The inputs are first put in the resulting order of the
//! weights, which alternates between the two units.
//!
//! An odd weight of 128 fits a pair but not a byte, so the weights are checked for it first. No
//! exporter makes one.

use core::arch::naked_asm;

use super::{Affine, BiasScale, LANES, UNIT, UNIT_WORDS};

/// Number of columns that are computed at once.
const COLUMNS: usize = 4;
/// Largest pair whose odd weight fits a byte: `256 · 127 + 127`.
const MAX_PAIR: i32 = 0x7F7F;
/// Largest number of outputs whose addresses, in four columns, fit offsets of 16 bits.
const MAX_OUTPUTS: usize = 0xFFFF / COLUMNS;

/// Number of words for four columns of reordered inputs.
pub const fn wide_words(inputs: usize) -> usize {
    COLUMNS * inputs.next_multiple_of(2 * UNIT) / size_of::<u32>()
}

/// Arguments of [`quad_columns`]; the first eight are in the order of its stack frame.
#[repr(C)]
struct Quads {
    wide: *mut u32,
    /// Number of pairs of units.
    passes: usize,
    /// 1 if one unit is left over, else 0.
    odd: usize,
    /// Number of inputs beyond whole pairs of units.
    rest: usize,
    inputs: usize,
    outputs: usize,
    weights: *const u32,
    bias_scales: *const BiasScale,
    x: *const i8,
    y: *mut i8,
    quads: usize,
    zero: i32,
}

/// Computes as many columns as it can, and returns their number. The caller checks the arrays, and
/// that there are inputs and outputs.
pub fn pointwise(x: &[i8], affine: &Affine<'_>, wide: &mut [u32], y: &mut [i8]) -> usize {
    let [inputs, outputs] = [affine.inputs, affine.outputs].map(usize::from);
    let quads = (x.len() / inputs).min(y.len() / outputs) / COLUMNS;
    let words = affine.blocks() * affine.units() * UNIT_WORDS;
    let weights = affine.weights.get(..words).unwrap_or_default();
    let whole = outputs.is_multiple_of(LANES) && outputs <= MAX_OUTPUTS;
    if quads == 0 || !whole || wide.len() < wide_words(inputs) || weights.is_empty() {
        return 0;
    }
    // SAFETY: the weights are a positive number of units.
    if unsafe { greatest(weights.as_ptr(), words / UNIT_WORDS) } > MAX_PAIR {
        return 0;
    }
    let call = Quads {
        wide: wide.as_mut_ptr(),
        passes: affine.units() / 2,
        odd: affine.units() % 2,
        rest: inputs % (2 * UNIT),
        inputs,
        outputs,
        weights: weights.as_ptr(),
        bias_scales: affine.bias_scales.as_ptr(),
        x: x.as_ptr(),
        y: y.as_mut_ptr(),
        quads,
        zero: i32::from(affine.zero_point),
    };
    // SAFETY: `x` and `y` are at least `quads ≥ 1` times four columns, `wide` has room for four of
    // inputs, and weights and factors are those of all outputs, which are whole blocks.
    unsafe { quad_columns(&call) }
    quads * COLUMNS
}

/// Returns the largest pair of weights.
///
/// # Safety
/// `weights` are `units ≥ 1` units, aligned to words.
#[unsafe(naked)]
unsafe extern "C" fn greatest(weights: *const u32, units: usize) -> i32 {
    naked_asm!(
        ".cpu cortex-m55",
        "push {{r4, lr}}",
        "movw r2, #0x8000",
        "sxth r2, r2",
        "dls lr, r1",
        "1:",
        "vldrw.u32 q0, [r0], #16",
        "vmaxv.s16 r2, q0",
        "vldrw.u32 q1, [r0], #16",
        "vmaxv.s16 r2, q1",
        "le lr, 1b",
        "sxth r0, r2",
        "pop {{r4, pc}}",
    )
}

/// Multiplies all inputs for two outputs of four columns. `r0`, `r4`, `r8` and `r12` are the sums
/// of the even output, `r2`, `r6`, `r10` and `lr` those of the odd one, since only even registers
/// can be sums.
macro_rules! two_outputs {
    () => {
        "movs r0, #0
        movs r2, #0
        movs r4, #0
        movs r6, #0
        mov r8, r0
        mov r10, r0
        mov r12, r0
        mov lr, r0
        mov r3, r7
        ldrd r1, r5, [sp]
        cbz r5, 5f
        4:
        vldrw.u32 q0, [r3], #32
        vldrw.u32 q1, [r3], #32
        vrshrnb.i16 q2, q0, #8
        vrshrnt.i16 q2, q1, #8
        vmovnt.i16 q0, q1
        vldrw.u32 q1, [r1, #16]
        vmladava.s8 r4, q0, q1
        vmladava.s8 r6, q2, q1
        vldrw.u32 q1, [r1, #32]
        vmladava.s8 r8, q0, q1
        vmladava.s8 r10, q2, q1
        vldrw.u32 q1, [r1, #48]
        vmladava.s8 r12, q0, q1
        vmladava.s8 lr, q2, q1
        vldrw.u32 q1, [r1], #64
        vmladava.s8 r0, q0, q1
        vmladava.s8 r2, q2, q1
        subs r5, #1
        bne 4b
        5:
        ldr r5, [sp, #8]
        cbz r5, 6f
        vldrw.u32 q0, [r3]
        vrshrnb.i16 q2, q0, #8
        vldrw.u32 q1, [r1]
        vmladava.s8 r0, q0, q1
        vmladava.s8 r2, q2, q1
        vldrw.u32 q1, [r1, #16]
        vmladava.s8 r4, q0, q1
        vmladava.s8 r6, q2, q1
        vldrw.u32 q1, [r1, #32]
        vmladava.s8 r8, q0, q1
        vmladava.s8 r10, q2, q1
        vldrw.u32 q1, [r1, #48]
        vmladava.s8 r12, q0, q1
        vmladava.s8 lr, q2, q1
        6:
        vmov q0[2], q0[0], r0, r8
        vmov q0[3], q0[1], r4, r12
        vmov q1[2], q1[0], r2, r10
        vmov q1[3], q1[1], r6, lr
        ldrd r0, r2, [r9], #8
        ldrd r4, r6, [r9, #8]
        vadd.i32 q0, q0, r0
        vadd.i32 q1, q1, r2
        vdup.32 q2, r4
        vrmulh.s32 q0, q0, q2
        vdup.32 q2, r6
        vrmulh.s32 q1, q1, q2
        vqmovnb.s32 q0, q0
        vqmovnt.s32 q0, q1
        vqadd.s16 q0, q0, q3
        vqmovnb.s16 q0, q0
        vstrb.16 q0, [r11, q4]
        add.w r11, r11, #2
        add.w r7, r7, #16"
    };
}

/// Computes four columns after another, block by block of outputs. `q4` holds the offsets of two
/// outputs of four columns.
///
/// Vector elements beyond an odd last unit are multiplied by inputs that are 0.
///
/// # Safety
/// - `x` are `4 · quads ≥ 4` columns of `inputs`. `y` are as many of `outputs`, a positive multiple
///   of [`LANES`] that is at most [`MAX_OUTPUTS`], which may be written.
/// - `wide` are [`wide_words`] that may be written; `passes`, `odd` and `rest` follow from
///   `inputs`.
/// - `weights` and `bias_scales` are those of all outputs, and aligned to words; no odd weight is 128.
#[unsafe(naked)]
unsafe extern "C" fn quad_columns(call: &Quads) {
    naked_asm!(
        ".cpu cortex-m55",
        "push {{r4-r11, lr}}",
        "vpush {{d8-d9}}",
        "sub sp, #48",
        "mov r12, r0",
        "ldm.w r12!, {{r1-r8}}",
        "stm.w sp, {{r1-r8}}",
        // The offsets, as eight `i16`.
        "mov r2, #0x10000",
        "add.w r3, r6, r6, lsl #16",
        "add.w r4, r2, r3, lsl #1",
        "add.w r5, r4, r3",
        "add.w r3, r3, r2",
        "vmov q4[2], q4[0], r2, r4",
        "vmov q4[3], q4[1], r3, r5",
        "ldm.w r12, {{r1, r2, r3, r4}}",
        "vdup.16 q3, r4",
        "strd r1, r3, [sp, #32]",
        "mov r11, r2",
        // Four columns: reorders their inputs.
        "7:",
        "ldr r1, [sp, #32]",
        "ldr r2, [sp]",
        "ldrd r6, r7, [sp, #12]",
        "lsrs r5, r7, #4",
        "subs.w r8, r6, #8",
        "it mi",
        "movmi r8, #0",
        "movs r4, #4",
        "2:",
        "mov r0, r1",
        "mov r3, r2",
        "wls lr, r5, 4f",
        "3:",
        "vldrb.u16 q0, [r0]",
        "vldrb.u16 q1, [r0, #8]",
        "vmovnt.i16 q0, q1",
        "vstrw.32 q0, [r3], #64",
        "adds r0, #16",
        "le lr, 3b",
        "4:",
        "cbz r6, 5f",
        "vctp.16 r6",
        "vpst",
        "vldrbt.u16 q0, [r0]",
        "vctp.16 r8",
        "vpst",
        "vldrbt.u16 q1, [r0, #8]",
        "vmovnt.i16 q0, q1",
        "vstrw.32 q0, [r3]",
        "5:",
        "add r1, r7",
        "adds r2, #16",
        "subs r4, #1",
        "bne 2b",
        "str r1, [sp, #32]",
        "ldrd r7, r9, [sp, #24]",
        "ldr r1, [sp, #20]",
        "add r1, r11",
        "str r1, [sp, #40]",
        // A block of outputs.
        "1:",
        two_outputs!(),
        two_outputs!(),
        "add.w r9, r9, #16",
        // Advance to the next block's weights.
        "ldrd r0, r1, [sp, #4]",
        "add.w r1, r1, r0, lsl #1",
        "sub.w r7, r7, #32",
        "add.w r7, r7, r1, lsl #5",
        "ldr r0, [sp, #40]",
        "cmp r11, r0",
        "bne.w 1b",
        // Advance to the next four columns' outputs.
        "ldr r0, [sp, #20]",
        "add.w r0, r0, r0, lsl #1",
        "add r11, r0",
        "ldr r0, [sp, #36]",
        "subs r0, #1",
        "str r0, [sp, #36]",
        "bne.w 7b",
        "add sp, #48",
        "vpop {{d8-d9}}",
        "pop {{r4-r11, pc}}",
    )
}
