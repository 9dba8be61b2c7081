//! The kernels with the DSP instructions of Cortex-M4, M7 and M33, in assembly: compilers that saw
//! single instructions spilled, and the intrinsics of `core::arch` for this are not stable.
//!
//! Pointwise: `x` is widened to `i16` once. A word of weights holds two inputs for two outputs,
//! `256·odd + even` each. `SMLAD` multiplies it by two inputs as it is; `SXTB16` leaves the even
//! weights, and `SMLAD` multiplies those. So four products cost three instructions; loads (`LDM`) add
//! a twelfth, and what an output costs besides is 9.75 instructions. Of the fourteen registers, four
//! hold eight inputs, four as many pairs of weights, four the sums, two the pointers.
//!
//! Depthwise: two `SXTB16` widen four channels of a column, and each product is one `SMLAxy`. A tap
//! costs 2.25 instructions a channel, the rest 5.75.

#![allow(unsafe_code)]

use core::arch::{asm, naked_asm};

use super::{AddScales, Affine, Columns, Factors, LANES, RUN, UNIT, UNIT_WORDS, plain, wide_words};
use crate::artifact::MAX_TAPS;

/// Bytes of a word.
const CHUNK: usize = 4;
/// Units that [`pointwise_blocks`] multiplies between two looks at the end of its loop.
const UNITS_UNROLLED: usize = 4;
/// Bytes of code of one unit: 27 instructions of 4 bytes.
const UNIT_CODE: usize = 108;
/// Taps that [`depthwise_blocks`] multiplies between two looks at the end of its loop.
const TAPS_UNROLLED: usize = 9;
/// Bytes of code of one tap: 9 instructions of 4 bytes.
const TAP_CODE: usize = 36;

/// See [`pointwise_blocks`]. The order is that of its stack frame.
#[repr(C)]
struct Pointwise {
    /// Widened inputs.
    x: *const u32,
    /// End of the first run of at most [`RUN`] units.
    first_end: *const u32,
    /// End of the inputs, a multiple of [`RUN`] units after `first_end`.
    x_end: *const u32,
    /// Bytes of code that the first pass of a run leaves out.
    skipped_code: usize,
    factors: *const Factors,
    y: *mut i8,
    /// A multiple of [`LANES`] after `y`.
    y_end: *mut i8,
    zero: i32,
    weights: *const u32,
}

pub fn pointwise(x: &[i8], affine: &Affine<'_>, wide: &mut [u32], y: &mut [i8]) {
    let (units, blocks) = (affine.units(), affine.blocks());
    let (weights, factors) = (affine.weights, affine.factors);
    let y = y.get_mut(..usize::from(affine.outputs)).unwrap_or_default();
    let fits = x.len() == usize::from(affine.inputs)
        && weights.len() >= blocks * units * UNIT_WORDS
        && factors.len() >= blocks;
    let room = wide.get_mut(..wide_words(x.len()));
    let (Some(wide), true, false) = (room, fits, x.is_empty() || y.is_empty()) else {
        return plain::pointwise(x, affine, &mut [], y);
    };
    widen(x, wide);
    let first = (units - 1) % RUN + 1;
    let (whole, rest) = y.as_chunks_mut::<LANES>();
    let mut last = [0; LANES];
    let run = |start: usize, y: &mut [i8]| {
        let x = wide.as_ptr();
        let outputs = y.as_mut_ptr_range();
        let call = Pointwise {
            x,
            first_end: x.wrapping_add(first * UNIT / 2),
            x_end: x.wrapping_add(units * UNIT / 2),
            skipped_code: UNIT_CODE * (units.wrapping_neg() % UNITS_UNROLLED),
            factors: factors.as_ptr().wrapping_add(start),
            y: outputs.start,
            y_end: outputs.end,
            zero: i32::from(affine.zero_point),
            weights: weights.as_ptr().wrapping_add(start * units * UNIT_WORDS),
        };
        // SAFETY: `wide` holds `units ≥ 1` units of `i16`. `first ≤ RUN` and `units` are equal
        // modulo `RUN`, and modulo `UNITS_UNROLLED`, which divides `RUN`. `y` is a whole number of
        // blocks, at least one, beginning with block `start`; weights and factors reach up to
        // `blocks`, and start plus the blocks of `y` is at most that. All words are aligned.
        unsafe { pointwise_blocks(&call) }
    };
    if !whole.is_empty() {
        run(0, whole.as_flattened_mut());
    }
    if !rest.is_empty() {
        run(whole.len(), &mut last);
        rest.iter_mut().zip(last).for_each(|(y, last)| *y = last);
    }
}

/// `x` as `i16`, filled up with zeros to whole units; `wide` has exactly that room.
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

/// Eight `i8` as four pairs of `i16`.
#[inline(always)]
fn widen_unit(x: &[i8; UNIT]) -> [u32; UNIT / 2] {
    let [a, b, c, d, e, f, g, h] = *x;
    let [i, j] = widen_word([a, b, c, d]);
    let [k, l] = widen_word([e, f, g, h]);
    [i, j, k, l]
}

/// Four `i8` as two pairs of `i16`.
#[inline(always)]
fn widen_word(bytes: [i8; CHUNK]) -> [u32; 2] {
    let word = u32::from_le_bytes(bytes.map(|x| x as u8));
    let (low, high);
    // SAFETY: the instructions only read and write the registers named, and exist where build.rs
    // chose this file.
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

/// Four pairs of inputs, `r0` to `r3`, times those of two outputs; sums in `$both` and `$even`.
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

/// Blocks of four outputs, from `y` to `y_end`.
///
/// Frame: the fields of [`Pointwise`] up to `zero`, the code's address in place of `skipped_code`;
/// then the end of the run at 32, and the odd outputs' sums at 36 and 40.
///
/// # Safety
/// - `x` to `x_end` are `n ≥ 1` units of inputs; `first_end` is after the first `(n − 1) % RUN + 1`;
///   `skipped_code` is that of `(−n) % UNITS_UNROLLED` units.
/// - `y_end − y` is a positive multiple of [`LANES`], and those bytes may be written.
/// - `weights` and `factors` are those of as many blocks of `n` units, and aligned to words.
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
        // A block: biases into the sums; `both` and `even` start alike, since only their difference
        // makes the odd sums.
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
        // A pass: four units, fewer the first time.
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
        // The end of a run: takes the odd sums out.
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

/// See [`depthwise_blocks`]. The first four are the order of its stack frame.
#[repr(C)]
struct Depthwise {
    columns: *const *const i8,
    /// Bytes of code that the first pass over the taps leaves out.
    skipped_code: usize,
    zero: i32,
    /// A multiple of [`LANES`] after `y`.
    y_end: *mut i8,
    weights: *const u32,
    factors: *const Factors,
    y: *mut i8,
    columns_end: *const *const i8,
}

pub fn depthwise<'c>(columns: impl Iterator<Item = &'c [i8]>, affine: &Affine<'_>, y: &mut [i8]) {
    let channels = usize::from(affine.outputs);
    let blocks = channels / LANES;
    let mut slices = Columns::new();
    let mut pointers = [core::ptr::null(); MAX_TAPS];
    let (mut count, mut fits) = (0, affine.factors.len() >= blocks);
    for (pointer, column) in pointers.iter_mut().zip(columns) {
        fits &= column.len() >= channels;
        *pointer = column.as_ptr();
        count += 1;
        if !channels.is_multiple_of(LANES) {
            // For the channels beyond whole blocks.
            let _ = slices.push(column);
        }
    }
    fits &= count > 0 && affine.weights.len() >= blocks * count * (LANES / 2);
    match y.get_mut(..blocks * LANES) {
        Some(y) if fits && !y.is_empty() => {
            let (columns, outputs) = (pointers.as_ptr(), y.as_mut_ptr_range());
            let passes = count.div_ceil(TAPS_UNROLLED);
            let call = Depthwise {
                columns,
                skipped_code: TAP_CODE * (passes * TAPS_UNROLLED - count),
                zero: i32::from(affine.zero_point),
                y_end: outputs.end,
                weights: affine.weights.as_ptr(),
                factors: affine.factors.as_ptr(),
                y: outputs.start,
                columns_end: columns.wrapping_add(count),
            };
            // SAFETY: `y` is `blocks ≥ 1` blocks; each of `count ≥ 1` pointers has as many readable
            // bytes, and weights and factors are there for all blocks, aligned to words.
            unsafe { depthwise_blocks(&call) };
        }
        _ => {}
    }
    if !slices.is_empty() {
        plain::depthwise_from(blocks, &slices, affine, y);
    }
}

/// Blocks of four channels, from `y` to `y_end`.
///
/// # Safety
/// - `columns` to `columns_end` are `k ≥ 1` pointers to columns, each readable for `y_end − y` bytes;
///   `skipped_code` is that of `(−k) % TAPS_UNROLLED` taps.
/// - `y_end − y` is a positive multiple of [`LANES`], and those bytes may be written.
/// - `weights` and `factors` are those of as many blocks of `k` taps, and aligned to words.
#[unsafe(naked)]
unsafe extern "C" fn depthwise_blocks(call: &Depthwise) {
    naked_asm!(
        allow_dsp!(),
        "push {{r4-r11, lr}}",
        "sub sp, #20",
        "ldm.w r0, {{r1-r8}}",
        "adr.w r0, 2f",
        "add r2, r0, r2",
        "orr r2, r2, #1",
        "stm.w sp, {{r1-r4}}",
        "mov r9, r5",
        "mov r11, r6",
        "mov r12, r7",
        "mov lr, r8",
        "movs r10, #0",
        // A block: biases into the sums.
        "1:",
        "ldm.w r11!, {{r4-r7}}",
        "ldr.w r8, [sp]",
        "ldr.w pc, [sp, #4]",
        // A pass: nine taps, fewer the first time.
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

/// See [`add_words`].
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

/// One element of a sum.
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

/// Four elements at a time, 7 instructions each.
///
/// # Safety
/// `y_end − y` is a positive multiple of [`CHUNK`]; those bytes may be written, and as many read at
/// `x` and `o`.
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
