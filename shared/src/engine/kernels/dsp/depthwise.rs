//! Depthwise layers: one function for blocks of four channels, for each kind of rounding.

use core::arch::naked_asm;

use heapless::Vec;

use super::super::{Affine, BiasScale, Columns, LANES, plain, tflite};
use crate::model::{MAX_TAPS, TfliteAffine, TfliteFactors};

/// Taps per pass of the loop in [`depthwise_blocks`].
const TAPS_UNROLLED: usize = 9;
/// Bytes of code of one tap: 9 instructions of 4 bytes.
const TAP_CODE: usize = 36;

/// Arguments of [`depthwise_blocks`]; the first four are in the order of its stack frame.
#[derive(Clone, Copy)]
#[repr(C)]
struct Depthwise<F> {
    columns: *const *const i8,
    /// Bytes of code that the first pass over the taps skips.
    skipped_code: usize,
    zero: i32,
    /// A multiple of [`LANES`] after `y`.
    y_end: *mut i8,
    weights: *const u32,
    /// Biases, multipliers, and what else an output is rounded with, of four channels each.
    factors: *const F,
    y: *mut i8,
    columns_end: *const *const i8,
    /// Bytes from each pointer to its column.
    start: usize,
}

pub fn depthwise(columns: &Columns<'_>, affine: &Affine<'_>, y: &mut [i8]) {
    let zero = i32::from(affine.zero_point);
    let run = (zero, depthwise_blocks as unsafe extern "C" fn(&Depthwise<BiasScale>));
    let done = whole_blocks(columns, (affine, affine.bias_scales), run, y);
    if done * LANES < y.len() {
        plain::depthwise_from(done, columns, affine, y);
    }
}

pub fn depthwise_tflite(columns: &Columns<'_>, affine: &TfliteAffine<'_>, y: &mut [i8]) {
    let zero = 1 + 2 * i32::from(affine.affine.zero_point);
    let run = (zero, tflite_blocks as unsafe extern "C" fn(&Depthwise<TfliteFactors>));
    let done = whole_blocks(columns, (&affine.affine, affine.factors), run, y);
    if done * LANES < y.len() {
        tflite::depthwise_plain_from(done, columns, affine, y);
    }
}

/// Computes the whole blocks by a function for blocks. Returns their number, 0 if there are too few
/// weights, factors or channels.
#[inline(always)]
fn whole_blocks<F: Copy>(
    columns: &Columns<'_>,
    (affine, factors): (&Affine<'_>, &[F]),
    (zero, run): (i32, unsafe extern "C" fn(&Depthwise<F>)),
    y: &mut [i8],
) -> usize {
    let whole = y.as_chunks_mut::<LANES>().0;
    let blocks = whole.len();
    let outputs = whole.as_flattened_mut().as_mut_ptr_range();
    if columns.channels() >= affine.outputs.into()
        && blocks > 0
        && let Some(mut call) = Depthwise::new(columns.starts(), blocks, (affine, factors), zero)
    {
        (call.y, call.y_end) = (outputs.start, outputs.end);
        // SAFETY: `y` is `blocks ≥ 1` blocks, for which the call was made; every pointer has as
        // many readable bytes.
        unsafe { run(&call) };
        return blocks;
    }
    0
}

impl<F> Depthwise<F> {
    /// Creates a call for `blocks` blocks, without outputs. Returns `None` if there are no columns,
    /// or too few weights or factors.
    fn new(
        columns: &[*const i8],
        blocks: usize,
        (affine, factors): (&Affine<'_>, &[F]),
        zero: i32,
    ) -> Option<Self> {
        let count = columns.len();
        let enough =
            factors.len() >= blocks && affine.weights.len() >= blocks * count * (LANES / 2);
        (enough && count > 0).then(|| Self {
            columns: columns.as_ptr(),
            skipped_code: TAP_CODE * (count.next_multiple_of(TAPS_UNROLLED) - count),
            zero,
            y_end: core::ptr::null_mut(),
            weights: affine.weights.as_ptr(),
            factors: factors.as_ptr(),
            y: core::ptr::null_mut(),
            columns_end: columns.as_ptr_range().end,
            start: 0,
        })
    }
}

/// Computes the places that it can, and returns the remaining outputs: all of them if the channels
/// do not fill blocks or `x` is too short.
pub fn depthwise_places<'y>(
    x: &[i8],
    offsets: &[usize],
    step: usize,
    affine: &Affine<'_>,
    y: &'y mut [i8],
) -> &'y mut [i8] {
    let channels = usize::from(affine.outputs);
    let places = y.len() / channels.max(1);
    let furthest = offsets.iter().max().copied().unwrap_or(0);
    let last = places.saturating_sub(1).checked_mul(step);
    let end = last.and_then(|last| last.checked_add(furthest)?.checked_add(channels));
    let fits = end.is_some_and(|end| end <= x.len()) && offsets.len() <= MAX_TAPS;
    if !fits || channels == 0 || !channels.is_multiple_of(LANES) {
        return y;
    }
    let pointers: Vec<*const i8, MAX_TAPS> =
        offsets.iter().map(|&offset| x.as_ptr().wrapping_add(offset)).collect();
    let zero = i32::from(affine.zero_point);
    let weights = (affine, affine.bias_scales);
    let Some(mut call) = Depthwise::new(&pointers, channels / LANES, weights, zero) else {
        return y;
    };
    for y in y.chunks_exact_mut(channels) {
        let outputs = y.as_mut_ptr_range();
        (call.y, call.y_end) = (outputs.start, outputs.end);
        // SAFETY: `y` is `channels ≥ LANES` bytes, the blocks for which the call was made; every
        // column begins `start` bytes after its pointer, and the furthest of the last place ends
        // within `x`, as checked above.
        unsafe { depthwise_blocks(&call) };
        call.start = call.start.wrapping_add(step);
    }
    &mut []
}

/// Declares a function that computes blocks of four channels, and requantizes r4 to r7 with the
/// multipliers in r0 to r3 and the factors from r11 on.
macro_rules! blocks {
    ($name:ident, $factors:ty, $requantize:expr) => {
        /// Computes blocks of four channels, from `y` to `y_end`.
        ///
        /// # Safety
        /// - `columns` to `columns_end` are `k ≥ 1` pointers. A column starts `start` bytes after each,
        ///   readable for `y_end − y` bytes. `skipped_code` is that of `(−k) % TAPS_UNROLLED` taps.
        /// - `y_end − y` is a positive multiple of [`LANES`], and those bytes may be written.
        /// - `weights` and `bias_scales` are those of as many blocks of `k` taps, and aligned to words.
        #[unsafe(naked)]
        unsafe extern "C" fn $name(call: &Depthwise<$factors>) {
            naked_asm!(
                allow_dsp!(),
                "push {{r4-r11, lr}}",
                "sub sp, #20",
                "ldm.w r0, {{r1-r8}}",
                "ldr.w r10, [r0, #32]",
                "adr.w r0, 2f",
                "add r2, r0, r2",
                "orr r2, r2, #1",
                "stm.w sp, {{r1-r4}}",
                "mov r9, r5",
                "mov r11, r6",
                "mov r12, r7",
                "mov lr, r8",
                // A block starts with the biases in the sums.
                "1:",
                "ldm.w r11!, {{r4-r7}}",
                "ldr.w r8, [sp]",
                "ldr.w pc, [sp, #4]",
                // A pass has nine taps, the first one fewer.
                ".p2align 2",
                "2:",
                ".rept 9",
                "ldr.w r1, [r8], #4",
                "ldr.w r0, [r1, r10]",
                "ldrd r2, r3, [r9], #8",
                "sxtb16 r1, r0, ror #8",
                "sxtb16 r0, r0",
                "smlabb r4, r0, r2, r4",
                "smlabt r5, r1, r2, r5",
                "smlatb r6, r0, r3, r6",
                "smlatt r7, r1, r3, r7",
                ".endr",
                "cmp r8, lr",
                "bne.w 2b",
                "ldm.w r11!, {{r0-r3}}",
                $requantize,
                "strb.w r4, [r12], #1",
                "strb.w r5, [r12], #1",
                "strb.w r6, [r12], #1",
                "strb.w r7, [r12], #1",
                "add.w r10, r10, #4",
                "ldr.w r8, [sp, #12]",
                "cmp r12, r8",
                "bne.w 1b",
                "add sp, #20",
                "pop {{r4-r11, pc}}",
            )
        }
    };
}

blocks! {
    depthwise_blocks, BiasScale, concat!(
        "ldr.w r8, [sp, #8]\n",
        "smmlar r4, r4, r0, r8\n",
        "smmlar r5, r5, r1, r8\n",
        "smmlar r6, r6, r2, r8\n",
        "smmlar r7, r7, r3, r8\n",
        "ssat r4, #8, r4\n",
        "ssat r5, #8, r5\n",
        "ssat r6, #8, r6\n",
        "ssat r7, #8, r7",
    )
}

// `zero` is twice the zero point, plus the rounding bit of the last shift.
blocks! {
    tflite_blocks, TfliteFactors, concat!(
        "smmlar r4, r4, r0, r4\n",
        "smmlar r5, r5, r1, r5\n",
        "smmlar r6, r6, r2, r6\n",
        "smmlar r7, r7, r3, r7\n",
        "ldm.w r11!, {{r0-r3}}\n",
        "ldr.w r8, [sp, #8]\n",
        "add.w r4, r4, r4, asr #31\n",
        "add.w r5, r5, r5, asr #31\n",
        "add.w r6, r6, r6, asr #31\n",
        "add.w r7, r7, r7, asr #31\n",
        "asr.w r4, r4, r0\n",
        "asr.w r5, r5, r1\n",
        "asr.w r6, r6, r2\n",
        "asr.w r7, r7, r3\n",
        "add.w r4, r4, r8\n",
        "add.w r5, r5, r8\n",
        "add.w r6, r6, r8\n",
        "add.w r7, r7, r8\n",
        "ssat r4, #8, r4, asr #1\n",
        "ssat r5, #8, r5, asr #1\n",
        "ssat r6, #8, r6, asr #1\n",
        "ssat r7, #8, r7, asr #1",
    )
}
