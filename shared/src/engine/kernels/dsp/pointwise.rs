//! Pointwise layers: one function for blocks of four outputs, for each kind of rounding.

use core::arch::{asm, naked_asm};

use super::{
    super::{Affine, BiasScale, LANES, RUN, UNIT, UNIT_WORDS, plain, tflite},
    CHUNK,
};
use crate::model::{TfliteAffine, TfliteFactors};

/// Units per pass of the loop in [`pointwise_blocks`].
const UNITS_UNROLLED: usize = 4;
/// Bytes of code of one unit: 27 instructions of 4 bytes.
const UNIT_CODE: usize = 108;

/// Arguments of [`pointwise_blocks`], in the order of its stack frame.
#[derive(Clone, Copy)]
#[repr(C)]
struct Pointwise<F> {
    /// Widened inputs.
    x: *const u32,
    /// End of the first run of at most [`RUN`] units.
    first_end: *const u32,
    /// End of the inputs, a multiple of [`RUN`] units after `first_end`.
    x_end: *const u32,
    /// Bytes of code that the first pass of a run skips.
    skipped_code: usize,
    /// Biases, multipliers, and what else an output is rounded with, of four outputs each.
    factors: *const F,
    y: *mut i8,
    /// A multiple of [`LANES`] after `y`.
    y_end: *mut i8,
    zero: i32,
    weights: *const u32,
}

pub fn pointwise(x: &[i8], affine: &Affine<'_>, wide: &mut [u32], y: &mut [i8]) {
    for (x, y) in super::super::columns(x, affine, y) {
        pointwise_column(x, affine, wide, y);
    }
}

pub fn pointwise_column(x: &[i8], affine: &Affine<'_>, wide: &mut [u32], y: &mut [i8]) {
    let zero = i32::from(affine.zero_point);
    let done = column(x, (affine, affine.bias_scales), (zero, pointwise_blocks), wide, y);
    if !done {
        plain::pointwise_column(x, affine, &mut [], y);
    }
}

pub fn pointwise_tflite(x: &[i8], affine: &TfliteAffine<'_>, wide: &mut [u32], y: &mut [i8]) {
    let TfliteAffine { affine: shape, factors } = affine;
    let zero = 1 + 2 * i32::from(shape.zero_point);
    if !column(x, (shape, factors), (zero, tflite_blocks), wide, y) {
        tflite::pointwise_plain(x, affine, y);
    }
}

/// Computes a column by a function for blocks. Returns `false`, with `y` unchanged, if there are
/// too few weights, factors or words of `wide`.
#[inline(always)]
fn column<F: Copy>(
    x: &[i8],
    (affine, factors): (&Affine<'_>, &[F]),
    (zero, run): (i32, unsafe extern "C" fn(&Pointwise<F>)),
    wide: &mut [u32],
    y: &mut [i8],
) -> bool {
    let (units, blocks) = (affine.units(), affine.blocks());
    let fits = affine.weights.len() >= blocks * units * UNIT_WORDS && factors.len() >= blocks;
    let room = wide.get_mut(..units * UNIT / 2);
    let (Some(wide), true, false) = (room, fits && y.len() <= blocks * LANES, units == 0) else {
        return false;
    };
    widen(x, wide);
    let inputs = wide.as_ptr_range();
    let (whole, rest) = y.as_chunks_mut::<LANES>();
    let whole_blocks = whole.len();
    let outputs = whole.as_flattened_mut().as_mut_ptr_range();
    let call = Pointwise {
        x: inputs.start,
        first_end: inputs.start.wrapping_add(((units - 1) % RUN + 1) * UNIT / 2),
        x_end: inputs.end,
        skipped_code: UNIT_CODE * (units.wrapping_neg() % UNITS_UNROLLED),
        factors: factors.as_ptr(),
        y: outputs.start,
        y_end: outputs.end,
        zero,
        weights: affine.weights.as_ptr(),
    };
    if whole_blocks > 0 {
        // SAFETY: `wide` holds `units ≥ 1` units of `i16`. `first_end` is after the units left over
        // by whole runs; their number equals `units` modulo `RUN`, and modulo `UNITS_UNROLLED`,
        // which divides `RUN`. `y` is a positive number of whole blocks, and weights and factors
        // exist for at least as many. All words are aligned.
        unsafe { run(&call) }
    }
    if !rest.is_empty() {
        let mut last = [0; LANES];
        let outputs = last.as_mut_ptr_range();
        let last_call = Pointwise {
            factors: call.factors.wrapping_add(whole_blocks),
            y: outputs.start,
            y_end: outputs.end,
            weights: call.weights.wrapping_add(whole_blocks * units * UNIT_WORDS),
            ..call
        };
        // SAFETY: as above, for the last block, which the outputs do not fill.
        unsafe { run(&last_call) }
        rest.iter_mut().zip(last).for_each(|(y, last)| *y = last);
    }
    true
}

/// Widens `x` to `i16`, padded with zeros to whole units; `wide` has exactly that size.
fn widen(x: &[i8], wide: &mut [u32]) {
    let (front, tail) = x.as_chunks::<UNIT>();
    let (units, _) = wide.as_chunks_mut::<{ UNIT / 2 }>();
    for (unit, x) in units.iter_mut().zip(front) {
        *unit = widen_unit(x);
    }
    if let (Some(unit), false) = (units.last_mut(), tail.is_empty()) {
        *unit = widen_unit(&core::array::from_fn(|i| tail.get(i).copied().unwrap_or(0)));
    }
}

/// Widens eight `i8` to four pairs of `i16`.
#[inline(always)]
fn widen_unit(x: &[i8; UNIT]) -> [u32; UNIT / 2] {
    let [a, b, c, d, e, f, g, h] = *x;
    let [i, j] = widen_word([a, b, c, d]);
    let [k, l] = widen_word([e, f, g, h]);
    [i, j, k, l]
}

/// Widens four `i8` to two pairs of `i16`.
#[inline(always)]
fn widen_word(bytes: [i8; CHUNK]) -> [u32; 2] {
    let word = u32::from_le_bytes(bytes.map(|x| x as u8));
    let (low, high);
    // SAFETY: the instructions only read and write the named registers. build.rs selects this file
    // only where they exist.
    unsafe {
        asm!(
            "sxtb16 {even}, {word}",
            "sxtb16 {word}, {word}, ror #8",
            "pkhbt {low}, {even}, {word}, lsl #16",
            "pkhtb {word}, {word}, {even}, asr #16",
            even = out(reg) _,
            low = lateout(reg) low,
            word = inout(reg) word => high,
            options(pure, nomem, nostack, preserves_flags)
        );
    }
    [low, high]
}

/// Multiplies four pairs of inputs, `r0` to `r3`, by those of two outputs; sums in `$both` and
/// `$even`.
macro_rules! four_pairs {
    ($both:literal, $even:literal) => {
        concat!(
            "ldm.w r12!, {{r4, r5, r6, r7}}\n",
            four_pairs!("r4", "r0", $both, $even),
            four_pairs!("r5", "r1", $both, $even),
            four_pairs!("r6", "r2", $both, $even),
            four_pairs!("r7", "r3", $both, $even),
        )
    };
    ($w:literal, $x:literal, $both:literal, $even:literal) => {
        concat!(
            "smlad ", $both, ", ", $w, ", ", $x, ", ", $both, "\n", "sxtb16 ", $w, ", ", $w, "\n",
            "smlad ", $even, ", ", $w, ", ", $x, ", ", $even, "\n",
        )
    };
}

/// Declares a function that computes blocks of four outputs, and requantizes r9, r8, r11, r10 with the
/// factors from r0 on.
macro_rules! blocks {
    ($name:ident, $factors:ty, $requantize:expr) => {
/// Computes blocks of four outputs, from `y` to `y_end`.
///
/// Frame: the fields of [`Pointwise`] up to `zero`, with the code's address in place of
/// `skipped_code`; then the end of the run at 32, and the sums of the odd outputs at 36 and 40.
///
/// # Safety
/// - `x` to `x_end` are `n ≥ 1` units of inputs. `first_end` is after the first
///   `(n − 1) % RUN + 1`, and `skipped_code` is that of `(−n) % UNITS_UNROLLED` units.
/// - `y_end − y` is a positive multiple of [`LANES`], and those bytes may be written.
/// - `weights` and `bias_scales` are those of as many blocks of `n` units, and aligned to words.
#[unsafe(naked)]
unsafe extern "C" fn $name(call: &Pointwise<$factors>) {
    naked_asm!(
        allow_dsp!(),
        "push {{r4-r11, lr}}",
        "sub sp, #44",
        "ldm.w r0, {{r1-r9}}",
        "mov r12, r9",
        "adr.w r0, 2f",
        "add r4, r0, r4",
        "orr r4, r4, #1",
        "stm.w sp, {{r1-r8}}",
        // A block starts with the biases in the sums. `both` and `even` start equal, since only
        // their difference makes the odd sums.
        "1:",
        "ldr r0, [sp, #16]",
        "ldm r0!, {{r4-r7}}",
        "str r0, [sp, #16]",
        "strd r5, r7, [sp, #36]",
        "mov r8, r4",
        "mov r9, r4",
        "mov r10, r6",
        "mov r11, r6",
        "ldrd lr, r0, [sp]",
        "str r0, [sp, #32]",
        "ldr.w pc, [sp, #12]",
        // A pass has four units, the first one fewer.
        ".p2align 2",
        "2:",
        ".rept 4",
        "ldm.w lr!, {{r0, r1, r2, r3}}",
        four_pairs!("r8", "r9"),
        four_pairs!("r10", "r11"),
        ".endr",
        "ldr r0, [sp, #32]",
        "cmp lr, r0",
        "bne.w 2b",
        // The end of a run: extracts the odd sums.
        "ldrd r4, r5, [sp, #36]",
        "sub r8, r8, r9",
        "sub r10, r10, r11",
        "add r8, r4, r8, asr #8",
        "add r10, r5, r10, asr #8",
        "ldr r0, [sp, #8]",
        "cmp lr, r0",
        "beq 3f",
        "strd r8, r10, [sp, #36]",
        "mov r8, r9",
        "mov r10, r11",
        "add r0, lr, {run_bytes}",
        "str r0, [sp, #32]",
        "b.w 2b",
        // The end of a block: requantizes r9, r8, r11, r10.
        "3:",
        "ldr r0, [sp, #16]",
        $requantize,
        "ldrd r0, r1, [sp, #20]",
        "strb r9, [r0], #1",
        "strb r8, [r0], #1",
        "strb r11, [r0], #1",
        "strb r10, [r0], #1",
        "str r0, [sp, #20]",
        "cmp r0, r1",
        "bne.w 1b",
        "add sp, #44",
        "pop {{r4-r11, pc}}",
        run_bytes = const RUN * UNIT * 2,
    )
}
    };
}

blocks! {
    pointwise_blocks, BiasScale, concat!(
        "ldm r0!, {{r4-r7}}\n",
        "str r0, [sp, #16]\n",
        "ldr r1, [sp, #28]\n",
        "smmlar r9, r9, r4, r1\n",
        "smmlar r8, r8, r5, r1\n",
        "smmlar r11, r11, r6, r1\n",
        "smmlar r10, r10, r7, r1\n",
        "ssat r9, #8, r9\n",
        "ssat r8, #8, r8\n",
        "ssat r11, #8, r11\n",
        "ssat r10, #8, r10",
    )
}

// `zero` is twice the zero point, plus the rounding bit of the last shift.
blocks! {
    tflite_blocks, TfliteFactors, concat!(
        "ldm r0!, {{r4-r7}}\n",
        "smmlar r9, r9, r4, r9\n",
        "smmlar r8, r8, r5, r8\n",
        "smmlar r11, r11, r6, r11\n",
        "smmlar r10, r10, r7, r10\n",
        "ldm r0!, {{r4-r7}}\n",
        "str r0, [sp, #16]\n",
        "ldr r1, [sp, #28]\n",
        "add.w r9, r9, r9, asr #31\n",
        "add.w r8, r8, r8, asr #31\n",
        "add.w r11, r11, r11, asr #31\n",
        "add.w r10, r10, r10, asr #31\n",
        "asr.w r9, r9, r4\n",
        "asr.w r8, r8, r5\n",
        "asr.w r11, r11, r6\n",
        "asr.w r10, r10, r7\n",
        "add.w r9, r9, r1\n",
        "add.w r8, r8, r1\n",
        "add.w r11, r11, r1\n",
        "add.w r10, r10, r1\n",
        "ssat r9, #8, r9, asr #1\n",
        "ssat r8, #8, r8, asr #1\n",
        "ssat r11, #8, r11, asr #1\n",
        "ssat r10, #8, r10, asr #1",
    )
}
