//! Eight outputs of a column at once. Two blocks share the loads of the inputs, which otherwise
//! take two of nine instructions.
//!
//! `VMLADAVA` adds only to even registers, and there are eight of them: the sums of pairs and of
//! even weights for four pairs of outputs. The odd registers hold pointers and counters.

use core::arch::naked_asm;

use super::{Affine, BiasScale, LANES, RUN, UNIT, UNIT_WORDS};

/// Number of outputs computed at once.
const OUTPUTS: usize = 2 * LANES;
/// Units per pass of the loop in [`pairs_of_blocks`].
const UNITS_UNROLLED: usize = 4;
/// Bytes of code of one unit: 14 instructions of 4 bytes.
const UNIT_CODE: usize = 56;

/// Arguments of [`pairs_of_blocks`], in the order in which it loads them.
#[repr(C)]
struct Eight {
    x: *const i8,
    /// A multiple of [`OUTPUTS`] after `y`.
    y_end: *mut i8,
    weights: *const u32,
    zero: i32,
    /// The weights of the second block.
    second_weights: *const u32,
    /// Bytes of code that the first pass skips, plus 1, since branch addresses are odd.
    skipped_code: usize,
    y: *mut i8,
    bias_scales: *const BiasScale,
    x_end: *const i8,
    block_bytes: usize,
}

/// Computes as many outputs as it can, and returns their number: none if the inputs exceed a run or
/// do not fill whole units. The caller checks the arrays, and that there are inputs.
pub fn pointwise_column(x: &[i8], affine: &Affine<'_>, y: &mut [i8]) -> usize {
    let (whole, units) = (y.as_chunks_mut::<OUTPUTS>().0, affine.units());
    if whole.is_empty() || units > RUN || !x.len().is_multiple_of(UNIT) {
        return 0;
    }
    let done = whole.len() * OUTPUTS;
    let (inputs, outputs) = (x.as_ptr_range(), whole.as_flattened_mut().as_mut_ptr_range());
    let (weights, block_words) = (affine.weights.as_ptr(), units * UNIT_WORDS);
    let call = Eight {
        x: inputs.start,
        y_end: outputs.end,
        weights,
        zero: i32::from(affine.zero_point),
        second_weights: weights.wrapping_add(block_words),
        skipped_code: UNIT_CODE * (units.wrapping_neg() % UNITS_UNROLLED) + 1,
        y: outputs.start,
        bias_scales: affine.bias_scales.as_ptr(),
        x_end: inputs.end,
        block_bytes: block_words * size_of::<u32>(),
    };
    // SAFETY: `x` is a positive number of whole units, at most [`RUN`]. `y` is a positive number of
    // pairs of blocks, and weights and factors exist for at least as many, and are aligned.
    unsafe { pairs_of_blocks(&call) }
    done
}

/// Multiplies a vector of weights at `$weights`: a pair of outputs, with sums in `$both` and
/// `$even`.
macro_rules! pair {
    ($weights:literal, $both:literal, $even:literal) => {
        concat!(
            "vldrw.u32 q2, [",
            $weights,
            "], #16\n",
            "vmladava.s16 ",
            $both,
            ", q2, q0\n",
            "vmladava.s8 ",
            $even,
            ", q2, q1\n",
        )
    };
}

/// Computes two blocks of four outputs at a time, from `y` to `y_end`.
///
/// Frame: the registers at the start of a pair of blocks, which are `x` for `r1` between zeros for
/// the sums; `y_end` and `zero` at 36, the code's address at 44. `q3` holds the addresses of the
/// biases of even outputs, less the 64 bytes from pair to pair.
///
/// # Safety
/// - `x` to `x_end` are `n` whole units of inputs, from 1 to [`RUN`]. `skipped_code` is that of
///   `(−n) % UNITS_UNROLLED` units, plus 1.
/// - `y_end − y` is a positive multiple of [`OUTPUTS`], and those bytes may be written.
/// - `weights` and `bias_scales` are those of as many outputs, and aligned to words; a block of weights
///   has `block_bytes`.
#[unsafe(naked)]
unsafe extern "C" fn pairs_of_blocks(call: &Eight) {
    naked_asm!(
        ".cpu cortex-m55",
        "push {{r4-r11, lr}}",
        "sub sp, #52",
        "ldm.w r0, {{r1-r9, r11}}",
        "vmov.i32 q0, #0",
        "vstrw.32 q0, [sp]",
        "vstrw.32 q0, [sp, #16]",
        "vstrw.32 q0, [sp, #20]",
        "str r1, [sp, #4]",
        "strd r2, r4, [sp, #36]",
        "adr.w r10, 2f",
        "add r10, r6",
        "str.w r10, [sp, #44]",
        "sub.w r8, r8, #64",
        "add.w r0, r8, #32",
        four_addresses!("q3", "r8", "r0", "#8"),
        // A pair of blocks.
        "1:",
        "ldm.w sp, {{r0, r1, r2, r4, r6, r8, r10, r12, lr}}",
        "ldr.w pc, [sp, #44]",
        // A pass has four units, the first one fewer.
        ".p2align 2",
        "2:",
        ".rept 4",
        "vldrb.s16 q0, [r1]",
        "vldrb.u16 q1, [r1], #8",
        pair!("r3", "r4", "r0"),
        pair!("r3", "r6", "r2"),
        pair!("r5", "r12", "r8"),
        pair!("r5", "lr", "r10"),
        ".endr",
        "cmp r1, r9",
        "bne.w 2b",
        // Combines the sums of even and odd outputs, and requantizes both.
        "vmov q0[2], q0[0], r0, r8",
        "vmov q0[3], q0[1], r2, r10",
        "vmov q1[2], q1[0], r4, r12",
        "vmov q1[3], q1[1], r6, lr",
        "vsub.i32 q1, q1, q0",
        "vshr.s32 q1, q1, #8",
        "vldrw.u32 q2, [q3, #64]!",
        "vadd.i32 q0, q0, q2",
        "vldrw.u32 q2, [q3, #4]",
        "vadd.i32 q1, q1, q2",
        "vldrw.u32 q2, [q3, #16]",
        "vrmulh.s32 q0, q0, q2",
        "vldrw.u32 q2, [q3, #20]",
        "vrmulh.s32 q1, q1, q2",
        "vqmovnb.s32 q0, q0",
        "vqmovnt.s32 q0, q1",
        "ldrd r0, r2, [sp, #36]",
        "vqadd.s16 q0, q0, r2",
        "vqmovnb.s16 q0, q0",
        "vstrb.16 q0, [r7], #8",
        // The weights of the second block end where those of the next pair start.
        "mov r3, r5",
        "add r5, r11",
        "cmp r7, r0",
        "bne.w 1b",
        "add sp, #52",
        "pop {{r4-r11, pc}}",
    )
}
