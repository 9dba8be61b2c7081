//! Kernels with the DSP instructions of Cortex-M4, M7 and M33. They are in assembly, since
//! compilers spill registers around single instructions, and the intrinsics of `core::arch` are not
//! stable.
//!
//! Pointwise: `x` is widened to `i16` once. A word of weights holds two inputs for two outputs,
//! each `256·odd + even`. `SMLAD` multiplies it by two inputs without separating it. `SXTB16`
//! extracts the even weights, which `SMLAD` multiplies again. Four products thus take three
//! instructions. Loads (`LDM`) add a twelfth, and an output adds 9.75 instructions. Of the fourteen
//! registers, four hold eight inputs, four as many pairs of weights, four the sums, and two the
//! pointers.
//!
//! Depthwise: two `SXTB16` widen four channels of a column, and each product is one `SMLAxy`. A tap
//! takes 2.25 instructions per channel, the rest 5.75.

#![allow(unsafe_code, reason = "instructions of the Cortex-M DSP extension")]

use core::arch::{asm, naked_asm};

use heapless::Vec;

use super::{AddScales, Affine, BiasScale, Columns, LANES, RUN, UNIT, UNIT_WORDS, plain};
use crate::model::MAX_TAPS;

/// Bytes in a word.
const CHUNK: usize = 4;
/// Units per pass of the loop in [`pointwise_blocks`].
const UNITS_UNROLLED: usize = 4;
/// Bytes of code of one unit: 27 instructions of 4 bytes.
const UNIT_CODE: usize = 108;
/// Taps per pass of the loop in [`depthwise_blocks`].
const TAPS_UNROLLED: usize = 9;
/// Bytes of code of one tap: 9 instructions of 4 bytes.
const TAP_CODE: usize = 36;

/// Arguments of [`pointwise_blocks`], in the order of its stack frame.
#[derive(Clone, Copy)]
#[repr(C)]
struct Pointwise {
    /// Widened inputs.
    x: *const u32,
    /// End of the first run of at most [`RUN`] units.
    first_end: *const u32,
    /// End of the inputs, a multiple of [`RUN`] units after `first_end`.
    x_end: *const u32,
    /// Bytes of code that the first pass of a run skips.
    skipped_code: usize,
    bias_scales: *const BiasScale,
    y: *mut i8,
    /// A multiple of [`LANES`] after `y`.
    y_end: *mut i8,
    zero: i32,
    weights: *const u32,
}

pub fn pointwise(x: &[i8], affine: &Affine<'_>, wide: &mut [u32], y: &mut [i8]) {
    for (x, y) in super::columns(x, affine, y) {
        pointwise_column(x, affine, wide, y);
    }
}

pub fn pointwise_column(x: &[i8], affine: &Affine<'_>, wide: &mut [u32], y: &mut [i8]) {
    let (units, blocks) = (affine.units(), affine.blocks());
    let (weights, bias_scales) = (affine.weights, affine.bias_scales);
    let fits = weights.len() >= blocks * units * UNIT_WORDS && bias_scales.len() >= blocks;
    let room = wide.get_mut(..units * UNIT / 2);
    let (Some(wide), true, false) = (room, fits && y.len() <= blocks * LANES, units == 0) else {
        return plain::pointwise_column(x, affine, &mut [], y);
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
        bias_scales: bias_scales.as_ptr(),
        y: outputs.start,
        y_end: outputs.end,
        zero: i32::from(affine.zero_point),
        weights: weights.as_ptr(),
    };
    if whole_blocks > 0 {
        // SAFETY: `wide` holds `units ≥ 1` units of `i16`. `first_end` is after the units left over
        // by whole runs; their number equals `units` modulo `RUN`, and modulo `UNITS_UNROLLED`,
        // which divides `RUN`. `y` is a positive number of whole blocks, and weights and factors
        // exist for at least as many. All words are aligned.
        unsafe { pointwise_blocks(&call) }
    }
    if !rest.is_empty() {
        let mut last = [0; LANES];
        let outputs = last.as_mut_ptr_range();
        let last_call = Pointwise {
            bias_scales: call.bias_scales.wrapping_add(whole_blocks),
            y: outputs.start,
            y_end: outputs.end,
            weights: call.weights.wrapping_add(whole_blocks * units * UNIT_WORDS),
            ..call
        };
        // SAFETY: as above, for the last block, which the outputs do not fill.
        unsafe { pointwise_blocks(&last_call) }
        rest.iter_mut().zip(last).for_each(|(y, last)| *y = last);
    }
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
unsafe extern "C" fn pointwise_blocks(call: &Pointwise) {
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
        "ldm r0!, {{r4-r7}}",
        "str r0, [sp, #16]",
        "ldr r1, [sp, #28]",
        "smmlar r9, r9, r4, r1",
        "smmlar r8, r8, r5, r1",
        "smmlar r11, r11, r6, r1",
        "smmlar r10, r10, r7, r1",
        "ssat r9, #8, r9",
        "ssat r8, #8, r8",
        "ssat r11, #8, r11",
        "ssat r10, #8, r10",
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

/// Arguments of [`depthwise_blocks`]; the first four are in the order of its stack frame.
#[derive(Clone, Copy)]
#[repr(C)]
struct Depthwise {
    columns: *const *const i8,
    /// Bytes of code that the first pass over the taps skips.
    skipped_code: usize,
    zero: i32,
    /// A multiple of [`LANES`] after `y`.
    y_end: *mut i8,
    weights: *const u32,
    bias_scales: *const BiasScale,
    y: *mut i8,
    columns_end: *const *const i8,
    /// Bytes from each pointer to its column.
    start: usize,
}

pub fn depthwise(columns: &Columns<'_>, affine: &Affine<'_>, y: &mut [i8]) {
    let whole = y.as_chunks_mut::<LANES>().0;
    let blocks = whole.len();
    let outputs = whole.as_flattened_mut().as_mut_ptr_range();
    let mut done = 0;
    if columns.channels() >= affine.outputs.into()
        && blocks > 0
        && let Some(mut call) = Depthwise::new(columns.starts(), blocks, affine)
    {
        (call.y, call.y_end) = (outputs.start, outputs.end);
        // SAFETY: `y` is `blocks ≥ 1` blocks, for which the call was made; every pointer has as
        // many readable bytes.
        unsafe { depthwise_blocks(&call) };
        done = blocks;
    }
    if done * LANES < y.len() {
        plain::depthwise_from(done, columns, affine, y);
    }
}

impl Depthwise {
    /// Creates a call for `blocks` blocks, without outputs. Returns `None` if there are no columns,
    /// or too few weights or factors.
    fn new(columns: &[*const i8], blocks: usize, affine: &Affine<'_>) -> Option<Self> {
        let count = columns.len();
        let enough = affine.bias_scales.len() >= blocks
            && affine.weights.len() >= blocks * count * (LANES / 2);
        (enough && count > 0).then(|| Self {
            columns: columns.as_ptr(),
            skipped_code: TAP_CODE * (count.next_multiple_of(TAPS_UNROLLED) - count),
            zero: i32::from(affine.zero_point),
            y_end: core::ptr::null_mut(),
            weights: affine.weights.as_ptr(),
            bias_scales: affine.bias_scales.as_ptr(),
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
    let Some(mut call) = Depthwise::new(&pointers, channels / LANES, affine) else { return y };
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

/// Computes blocks of four channels, from `y` to `y_end`.
///
/// # Safety
/// - `columns` to `columns_end` are `k ≥ 1` pointers. A column starts `start` bytes after each,
///   readable for `y_end − y` bytes. `skipped_code` is that of `(−k) % TAPS_UNROLLED` taps.
/// - `y_end − y` is a positive multiple of [`LANES`], and those bytes may be written.
/// - `weights` and `bias_scales` are those of as many blocks of `k` taps, and aligned to words.
#[unsafe(naked)]
unsafe extern "C" fn depthwise_blocks(call: &Depthwise) {
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
        "ldr.w r8, [sp, #8]",
        "smmlar r4, r4, r0, r8",
        "smmlar r5, r5, r1, r8",
        "smmlar r6, r6, r2, r8",
        "smmlar r7, r7, r3, r8",
        "ssat r4, #8, r4",
        "ssat r5, #8, r5",
        "ssat r6, #8, r6",
        "ssat r7, #8, r7",
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

/// Arguments of [`add_words`].
#[repr(C)]
struct Add {
    x: *const i8,
    o: *const i8,
    y: *mut i8,
    y_end: *mut i8,
    x_scale: i32,
    o_scale: i32,
    constant: i32,
}

pub fn add(x: &[i8], o: &[i8], scales: AddScales, y: &mut [i8]) {
    let length = x.len().min(o.len()).min(y.len());
    let whole = length / CHUNK * CHUNK;
    let (front, tail) = y.split_at_mut_checked(whole).unwrap_or_default();
    if !front.is_empty() {
        let outputs = front.as_mut_ptr_range();
        let call = Add {
            x: x.as_ptr(),
            o: o.as_ptr(),
            y: outputs.start,
            y_end: outputs.end,
            x_scale: scales.x_scale,
            o_scale: scales.o_scale,
            constant: scales.constant(),
        };
        // SAFETY: all three have `whole` bytes, a positive multiple of [`CHUNK`].
        unsafe { add_words(&call) };
    }
    let (x, o) = (x.get(whole..), o.get(whole..));
    plain::add(x.unwrap_or_default(), o.unwrap_or_default(), scales, tail);
}

/// Computes one element of a sum.
macro_rules! add_element {
    ($x:literal, $o:literal) => {
        concat!(
            "sxtb.w r2, ",
            $x,
            "\n",
            "sxtb.w r3, ",
            $o,
            "\n",
            "mla r2, r2, r8, r10\n",
            "mla r2, r3, r9, r2\n",
            "ssat r2, #8, r2, asr #20\n",
            "strb r2, [r6], #1\n",
        )
    };
}

/// Adds four elements at a time, with 7 instructions each.
///
/// # Safety
/// `y_end − y` is a positive multiple of [`CHUNK`]. Those bytes may be written, and as many may be
/// read at `x` and `o`.
#[unsafe(naked)]
unsafe extern "C" fn add_words(call: &Add) {
    naked_asm!(
        allow_dsp!(),
        "push {{r4-r11}}",
        "ldm.w r0, {{r4-r10}}",
        "1:",
        "ldr r0, [r4], #4",
        "ldr r1, [r5], #4",
        add_element!("r0", "r1"),
        add_element!("r0, ror #8", "r1, ror #8"),
        add_element!("r0, ror #16", "r1, ror #16"),
        add_element!("r0, ror #24", "r1, ror #24"),
        "cmp r6, r7",
        "bne 1b",
        "pop {{r4-r11}}",
        "bx lr",
    )
}
