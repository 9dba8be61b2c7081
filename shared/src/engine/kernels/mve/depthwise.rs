//! Depthwise layers, eight channels at once. These are two blocks of weights, which one gather load
//! reads. The products of the even and of the odd channels are two vectors of `i32`, and so are
//! biases and multipliers. Narrowing to `i16` interleaves them again.
//!
//! With at most [`UNROLLED`] taps, all pointers stay in registers, which saves three of nine
//! instructions per tap.

use core::arch::naked_asm;

use heapless::Vec;

use super::{super::Columns, Affine, BiasScale, LANES, plain};
use crate::model::MAX_TAPS;

/// Number of channels that are computed at once.
const GROUP: usize = 2 * LANES;

/// Number of taps whose pointers are in registers. Only the first seven can be the base of a vector
/// load.
const UNROLLED: usize = 9;
/// Bytes of code of one tap, 6 instructions of 4 bytes.
const TAP_CODE: usize = 24;
/// Bytes of code by which the last two taps also move their pointers: 4 instructions of 4 bytes.
const MOVE_CODE: usize = 16;

/// Arguments of [`depthwise_groups`], in the order in which it loads them.
#[derive(Clone, Copy)]
#[repr(C)]
struct Depthwise {
    y: *mut i8,
    /// Bytes from the end of a place's groups to the next place's inputs.
    x_skip: usize,
    /// Bytes in a block of weights.
    block_bytes: usize,
    columns: *const *const i8,
    places: usize,
    zero: i32,
    /// Bytes from each pointer to its column.
    start: usize,
    /// Bytes from the end of a place's groups to the next place's outputs.
    y_skip: usize,
    taps: usize,
    /// Number of groups at a place.
    groups: usize,
    weights: *const u32,
    bias_scales: *const BiasScale,
    /// Number of missing taps out of [`UNROLLED`].
    absent: usize,
    /// Bytes of code of the missing taps.
    skipped_code: usize,
}

pub fn depthwise(columns: &Columns<'_>, affine: &Affine<'_>, y: &mut [i8]) {
    let fits = columns.channels() >= affine.outputs.into();
    // SAFETY: every pointer has as many readable bytes as the layer has channels.
    let done = if fits { unsafe { places(columns.starts(), 0, affine, y) } } else { 0 };
    if done < y.len() {
        plain::depthwise_from(done / LANES, columns, affine, y);
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
    let count = y.len() / channels.max(1);
    let furthest = offsets.iter().max().copied().unwrap_or(0);
    let last = count.saturating_sub(1).checked_mul(step);
    let end = last.and_then(|last| last.checked_add(furthest)?.checked_add(channels));
    let fits = end.is_some_and(|end| end <= x.len()) && offsets.len() <= MAX_TAPS;
    if !fits || channels < GROUP || !channels.is_multiple_of(LANES) {
        return y;
    }
    let pointers: Vec<*const i8, MAX_TAPS> =
        offsets.iter().map(|&offset| x.as_ptr().wrapping_add(offset)).collect();
    let whole = y.get_mut(..count * channels).unwrap_or_default();
    // SAFETY: every column of a place starts `step` bytes after that of the place before, and the
    // furthest of the last place ends within `x`, as checked above.
    if unsafe { places(&pointers, step, affine, whole) } == channels { &mut [] } else { y }
}

/// Computes the first channels at every place of `y (places, channels)`, and returns their number:
/// all of them if they are at least [`GROUP`] and fill blocks.
///
/// # Safety
/// At each pointer, and at every multiple of `step` bytes after it up to the last place, as many
/// bytes as the layer has channels must be readable.
unsafe fn places(columns: &[*const i8], step: usize, affine: &Affine<'_>, y: &mut [i8]) -> usize {
    let (channels, taps) = (usize::from(affine.outputs), columns.len());
    let (groups, places) = (channels / GROUP, y.len() / channels.max(1));
    let blocks = affine.blocks();
    let enough =
        affine.bias_scales.len() >= blocks && affine.weights.len() >= blocks * taps * (LANES / 2);
    if groups == 0 || places == 0 || taps == 0 || !enough {
        return 0;
    }
    let done = groups * GROUP;
    let absent = UNROLLED.saturating_sub(taps);
    let call = Depthwise {
        y: y.as_mut_ptr(),
        x_skip: step.wrapping_sub(done),
        block_bytes: taps * LANES * size_of::<i16>(),
        columns: columns.as_ptr(),
        places,
        zero: i32::from(affine.zero_point),
        start: 0,
        y_skip: channels - done,
        taps,
        groups,
        weights: affine.weights.as_ptr(),
        bias_scales: affine.bias_scales.as_ptr(),
        absent,
        skipped_code: TAP_CODE * absent + MOVE_CODE * absent.min(2),
    };
    let groups_of = if taps > UNROLLED { depthwise_groups } else { depthwise_unrolled };
    // SAFETY: `y` is `places ≥ 1` times `channels`, of which `groups ≥ 1` groups are written. The
    // caller vouches for the columns, and weights and factors were checked. `depthwise_unrolled` is
    // chosen only for few taps, and `absent` and `skipped_code` follow from their number.
    unsafe { groups_of(&call) }
    if channels != done + LANES {
        return done;
    }
    // One block is left: it runs together with the block before it, whose outputs do not change.
    let (first, blocks) = (channels - GROUP, channels / LANES - 2);
    let last = Depthwise {
        y: call.y.wrapping_add(first),
        x_skip: step.wrapping_sub(GROUP),
        start: first,
        y_skip: first,
        groups: 1,
        weights: call.weights.wrapping_add(blocks * taps * (LANES / 2)),
        bias_scales: call.bias_scales.wrapping_add(blocks),
        ..call
    };
    // SAFETY: as above, for the last two blocks.
    unsafe { depthwise_groups(&last) }
    channels
}

/// Computes groups of eight channels at one place after another.
///
/// `q3` holds the addresses of the weights of two blocks, in words, less the 8 bytes that each load
/// adds. `q6` holds those of the biases of even channels, less the 64 bytes from group to group.
///
/// # Safety
/// - `columns` are `taps ≥ 1` pointers. The first place's column starts `start` bytes after each,
///   and each next one `x_skip` bytes after the `8 · groups` bytes of the place before.
/// - `y` are `places ≥ 1` times `8 · groups`, at least 8, bytes with `y_skip` between them, which
///   may be written.
/// - `weights` and `bias_scales` are those of `2 · groups` blocks of `taps`, and aligned to words.
#[unsafe(naked)]
unsafe extern "C" fn depthwise_groups(call: &Depthwise) {
    naked_asm!(
        ".cpu cortex-m55",
        "push {{r4-r11, lr}}",
        "vpush {{d8-d13}}",
        "sub sp, #36",
        "ldrd r7, r1, [r0, #36]",
        "str r7, [sp, #32]",
        "ldr r2, [r0, #8]",
        "sub.w r1, r1, #8",
        "add.w r2, r2, r1",
        four_addresses!("q3", "r1", "r2", "#4"),
        "vstrw.32 q3, [sp]",
        "ldr r1, [r0, #44]",
        "sub.w r1, r1, #64",
        "add.w r2, r1, #32",
        four_addresses!("q6", "r1", "r2", "#8"),
        "vstrw.32 q6, [sp, #16]",
        "ldrd r9, r12, [r0, #28]",
        "ldr.w r10, [r0, #24]",
        "ldm.w r0, {{r2-r7}}",
        // A place.
        "1:",
        "vldrw.u32 q3, [sp]",
        "vldrw.u32 q6, [sp, #16]",
        "ldr.w r11, [sp, #32]",
        // A group.
        "2:",
        "vldrw.u32 q4, [q6, #64]!",
        "vldrw.u32 q5, [q6, #4]",
        "mov r8, r5",
        "dls lr, r12",
        // A tap.
        "3:",
        "ldr.w r1, [r8], #4",
        "add.w r1, r1, r10",
        "vldrb.s16 q0, [r1]",
        "vldrw.u32 q1, [q3, #8]!",
        "vmullb.s16 q2, q0, q1",
        "vadd.i32 q4, q4, q2",
        "vmullt.s16 q0, q0, q1",
        "vadd.i32 q5, q5, q0",
        "le lr, 3b",
        "vldrw.u32 q0, [q6, #16]",
        "vldrw.u32 q1, [q6, #20]",
        "vrmulh.s32 q4, q4, q0",
        "vrmulh.s32 q5, q5, q1",
        "vqmovnb.s32 q4, q4",
        "vqmovnt.s32 q4, q5",
        "vqadd.s16 q4, q4, r7",
        "vqmovnb.s16 q4, q4",
        "vstrb.16 q4, [r2], #8",
        "add.w r10, r10, #8",
        "vadd.i32 q3, q3, r4",
        "subs.w r11, r11, #1",
        "bne 2b",
        "add.w r10, r10, r3",
        "add.w r2, r2, r9",
        "subs r6, #1",
        "bne 1b",
        "add sp, #36",
        "vpop {{d8-d13}}",
        "pop {{r4-r11, pc}}",
    )
}

/// Multiplies the channels of a tap. `$x` is their address. The first seven taps' instruction also
/// advances it, so the end of the instruction is a second argument.
macro_rules! tap {
    ($x:literal, $moved:literal) => {
        concat!(
            "vldrb.s16 q0, [",
            $x,
            "]",
            $moved,
            "\n",
            "vldrw.u32 q1, [q3, #8]!\n",
            "vmullb.s16 q2, q0, q1\n",
            "vadd.i32 q4, q4, q2\n",
            "vmullt.s16 q0, q0, q1\n",
            "vadd.i32 q5, q5, q0\n",
        )
    };
}

/// Multiplies one of the last two taps, whose pointer is in a register that vector loads cannot
/// use. It takes the register of the output pointer meanwhile.
macro_rules! far_tap {
    ($x:literal) => {
        concat!(
            "mov.w r8, r7\n",
            "mov.w r7, ",
            $x,
            "\n",
            tap!("r7", ""),
            "add.w ",
            $x,
            ", ",
            $x,
            ", #8\n",
            "mov.w r7, r8\n",
        )
    };
}

/// As [`depthwise_groups`], for at most [`UNROLLED`] taps. Their pointers are the last of `r9`,
/// `r10`, `r0` to `r6`; `start` must be 0.
///
/// Frame: `q3` and `q6` of a place's start, remaining groups and places at 32, `x_skip` and
/// `y_skip` at 40, `block_bytes` at 48. `q7` is the zero point.
///
/// # Safety
/// As [`depthwise_groups`], with at most [`UNROLLED`] `taps`; `absent` is the number of missing
/// taps, and `skipped_code` the size of their code.
#[unsafe(naked)]
unsafe extern "C" fn depthwise_unrolled(call: &Depthwise) {
    naked_asm!(
        ".cpu cortex-m55",
        "push {{r4-r11, lr}}",
        "vpush {{d8-d15}}",
        "sub sp, #52",
        "ldrd r5, r1, [r0, #36]",
        "ldrd r3, r2, [r0, #4]",
        "str r2, [sp, #48]",
        "sub.w r1, r1, #8",
        "add.w r2, r2, r1",
        four_addresses!("q3", "r1", "r2", "#4"),
        "vstrw.32 q3, [sp]",
        "ldrd r1, r4, [r0, #44]",
        "sub.w r1, r1, #64",
        "add.w r2, r1, #32",
        four_addresses!("q6", "r1", "r2", "#8"),
        "vstrw.32 q6, [sp, #16]",
        "ldr.w lr, [r0, #12]",
        "ldrd r1, r2, [r0, #16]",
        "vdup.16 q7, r2",
        "strd r5, r1, [sp, #32]",
        "ldr r1, [r0, #28]",
        "strd r3, r1, [sp, #40]",
        "ldr r1, [r0, #52]",
        "adr.w r12, 3f",
        "add r12, r1",
        "ldr r7, [r0]",
        "adr.w r11, 4f",
        "add.w r11, r11, r4, lsl #2",
        "mov pc, r11",
        ".p2align 2",
        "4:",
        "ldr.w r9, [lr], #4",
        "ldr.w r10, [lr], #4",
        "ldr.w r0, [lr], #4",
        "ldr.w r1, [lr], #4",
        "ldr.w r2, [lr], #4",
        "ldr.w r3, [lr], #4",
        "ldr.w r4, [lr], #4",
        "ldr.w r5, [lr], #4",
        "ldr.w r6, [lr], #4",
        // A place.
        "1:",
        "ldrd r11, lr, [sp, #32]",
        "subs.w lr, lr, #1",
        "str.w lr, [sp, #36]",
        "dls lr, r11",
        "ldr.w r11, [sp, #48]",
        "vldrw.u32 q3, [sp]",
        "vldrw.u32 q6, [sp, #16]",
        // A group.
        "2:",
        "vldrw.u32 q4, [q6, #64]!",
        "vldrw.u32 q5, [q6, #4]",
        "mov pc, r12",
        ".p2align 2",
        "3:",
        far_tap!("r9"),
        far_tap!("r10"),
        tap!("r0", ", #8"),
        tap!("r1", ", #8"),
        tap!("r2", ", #8"),
        tap!("r3", ", #8"),
        tap!("r4", ", #8"),
        tap!("r5", ", #8"),
        tap!("r6", ", #8"),
        "vldrw.u32 q0, [q6, #16]",
        "vldrw.u32 q1, [q6, #20]",
        "vrmulh.s32 q4, q4, q0",
        "vrmulh.s32 q5, q5, q1",
        "vqmovnb.s32 q4, q4",
        "vqmovnt.s32 q4, q5",
        "vqadd.s16 q4, q4, q7",
        "vqmovnb.s16 q4, q4",
        "vstrb.16 q4, [r7], #8",
        "vadd.i32 q3, q3, r11",
        "le lr, 2b",
        // Advance to the next place, if there is one.
        "ldr.w r11, [sp, #36]",
        "cmp.w r11, #0",
        "beq 5f",
        "ldrd r11, lr, [sp, #40]",
        "add r7, lr",
        "add r9, r11",
        "add r10, r11",
        "add r0, r11",
        "add r1, r11",
        "add r2, r11",
        "add r3, r11",
        "add r4, r11",
        "add r5, r11",
        "add r6, r11",
        "b 1b",
        "5:",
        "add sp, #52",
        "vpop {{d8-d15}}",
        "pop {{r4-r11, pc}}",
    )
}
