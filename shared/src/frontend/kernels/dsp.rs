//! Kernels with the DSP instructions of Cortex-M4, M7, M33 and M55. Whole functions are in
//! assembly, since a radix-4 butterfly needs thirteen registers, which compilers spill.
//!
//! | instruction | operation |
//! |---|---|
//! | `SMULWB`, `SMULWT` | product of 32 bits and the lower or upper 16, less its 16 low bits |
//! | `SMMULR` | [`round_high`](crate::fixed::round_high) |
//! | `SMMLAR`, `SMMLSR` | the same of a product, or of its negative, added to a register |
//! | `SMULL`, `SMLAL` | 64-bit product, set or added |
//!
//! Every function follows the procedure call standard, with arguments in `r0` to `r3` and `r4` to
//! `r11` restored. None calls another, and none but `mel_powers_asm` uses stack for more than that.

#![allow(unsafe_code, reason = "instructions of the Cortex-M DSP extension")]

use core::arch::naked_asm;

use crate::frontend::fft::{Bins, Complex, SPLIT_PAIRS, Twiddles};
use crate::frontend::mel::MelBands;
use crate::frontend::params::MEL_WEIGHT_BITS;
use crate::frontend::window::{GROUP_PAIRS, GROUPS, Samples};
use crate::frontend::{MEL_CHANNELS, MelPowers};

/// Assembly version of [`plain::window`](super::plain::window).
pub fn window(
    samples: &Samples,
    coefficients: &[[[i32; 2]; GROUP_PAIRS]; GROUPS],
    bins: &mut Bins,
) {
    // SAFETY: the function reads the 480 samples, whose words it may load from any even address,
    // and the 480 coefficients, and writes the 256 values; all three are borrowed.
    unsafe { window_asm(samples, coefficients, bins) }
}

/// Assembly version of [`plain::pass_4`](super::plain::pass_4).
pub fn pass_4(bins: &mut Bins, twiddles: &[Twiddles; 3]) {
    // SAFETY: the function reads three twiddles for each of 16 blocks of 16 values. It reads and
    // writes these values, and accesses nothing else.
    unsafe { pass_4_asm(bins, twiddles) }
}

/// Assembly version of [`plain::pass_16`](super::plain::pass_16).
pub fn pass_16(bins: &mut Bins, twiddles: &[Twiddles; 15]) {
    // SAFETY: as above, with 15 twiddles for each of 4 blocks of 64 values.
    unsafe { pass_16_asm(bins, twiddles) }
}

/// Assembly version of [`plain::pass_64`](super::plain::pass_64).
pub fn pass_64(bins: &mut Bins, twiddles: &[Twiddles; 63]) {
    // SAFETY: as above, with 63 twiddles for one block of 256 values.
    unsafe { pass_64_asm(bins, twiddles) }
}

/// Assembly version of [`plain::powers`](super::plain::powers).
pub fn powers(bins: &mut Bins, twiddles: &[Complex; SPLIT_PAIRS]) {
    // SAFETY: the function reads the 127 twiddles, and reads and writes values 1 to 255.
    unsafe { powers_asm(bins, twiddles) }
}

/// Assembly version of [`plain::mel_powers`](super::plain::mel_powers).
pub fn mel_powers(bins: &Bins, bands: &MelBands<'_>, powers: &mut MelPowers) {
    if let Some((starts, weights)) = bands.tables() {
        let call = Mel {
            bins,
            starts: starts.as_ptr(),
            weights: weights.as_ptr(),
            powers: powers.as_mut_ptr(),
        };
        // SAFETY: the tables were checked: 42 starts in ascending order, none above the number of
        // bins, and a weight for each bin from the first to the last; there are 40 powers.
        unsafe { mel_powers_asm(&call) }
    }
}

/// Arguments of [`mel_powers_asm`], in the order in which it loads them.
#[repr(C)]
struct Mel {
    bins: *const Bins,
    starts: *const [u8; 2],
    weights: *const [u8; 2],
    powers: *mut u64,
}

/// Assembly version of [`plain::advance`](super::plain::advance).
pub fn advance(samples: &mut Samples) {
    // SAFETY: the function reads the last 640 bytes of the samples, which are aligned to 4, and
    // writes the first 640; each word is read before it is written.
    unsafe { advance_asm(samples) }
}

/// Loads the pair of samples at `r0 + 64·j + 256·i` and multiplies it by the next two coefficients.
macro_rules! weigh {
    ($re:literal, $im:literal, $at:literal) => {
        concat!(
            "ldr r11, [r0, #",
            $at,
            "]\n",
            "ldrd ",
            $re,
            ", ",
            $im,
            ", [r1], #8\n",
            "smulwb ",
            $re,
            ", ",
            $re,
            ", r11\n",
            "smulwt ",
            $im,
            ", ",
            $im,
            ", r11\n",
        )
    };
}

/// Computes a block of the first pass: pairs at four offsets from `r0`, four values to `r2 + out`.
macro_rules! first {
    ($a:literal, $b:literal, $c:literal, $d:literal; $o0:literal, $o1:literal, $o2:literal, $o3:literal) => {
        concat!(
            weigh!("r3", "r4", $a),
            weigh!("r5", "r6", $b),
            weigh!("r7", "r8", $c),
            weigh!("r9", "r10", $d),
            // Sums of the even two are in r11, r3, differences in r7, r8.
            "add r11, r3, r7\n",
            "sub r7, r3, r7\n",
            "add r3, r4, r8\n",
            "sub r8, r4, r8\n",
            // Sums of the odd two are in r4, r5, differences in r9, r10.
            "add r4, r5, r9\n",
            "sub r9, r5, r9\n",
            "add r5, r6, r10\n",
            "sub r10, r6, r10\n",
            "add r6, r11, r4\n",
            "sub r11, r11, r4\n",
            "add r4, r3, r5\n",
            "sub r3, r3, r5\n",
            "strd r6, r4, [r2, #",
            $o0,
            "]\n",
            "strd r11, r3, [r2, #",
            $o2,
            "]\n",
            "add r6, r7, r10\n",
            "sub r7, r7, r10\n",
            "sub r4, r8, r9\n",
            "add r8, r8, r9\n",
            "strd r6, r4, [r2, #",
            $o1,
            "]\n",
            "strd r7, r8, [r2, #",
            $o3,
            "]\n",
        )
    };
}

/// Computes four times four groups. The start of a group moves by 4 pairs within four groups, and
/// by 1 pair from four groups to the next.
#[unsafe(naked)]
unsafe extern "C" fn window_asm(
    samples: *const Samples,
    coefficients: *const [[[i32; 2]; GROUP_PAIRS]; GROUPS],
    bins: *mut Bins,
) {
    naked_asm!(
        allow_dsp!(),
        "push {{r4-r11, lr}}",
        "movs r12, #4",
        "2:",
        "movs r14, #4",
        "3:",
        first!("0", "256", "512", "768"; "0", "8", "16", "24"),
        first!("64", "320", "576", "832"; "32", "40", "48", "56"),
        first!("128", "384", "640", "896"; "64", "72", "80", "88"),
        // The last input of the fourth block is zeros.
        weigh!("r3", "r4", "192"),
        weigh!("r5", "r6", "448"),
        weigh!("r7", "r8", "704"),
        "add r11, r3, r7",
        "sub r7, r3, r7",
        "add r3, r4, r8",
        "sub r8, r4, r8",
        "add r9, r11, r5",
        "add r10, r3, r6",
        "strd r9, r10, [r2, #96]",
        "sub r9, r11, r5",
        "sub r10, r3, r6",
        "strd r9, r10, [r2, #112]",
        "add r9, r7, r6",
        "sub r10, r8, r5",
        "strd r9, r10, [r2, #104]",
        "sub r9, r7, r6",
        "add r10, r8, r5",
        "strd r9, r10, [r2, #120]",
        "adds r0, #16",
        "adds r2, #128",
        "subs r14, #1",
        "bne 3b",
        "subs r0, #60",
        "subs r12, #1",
        "bne 2b",
        "pop {{r4-r11, pc}}",
    )
}

/// Loads a value at `r0 + at`, rotates it by the next twiddle, and puts half of it into two
/// registers.
macro_rules! rotate {
    ($re:literal, $im:literal, $at:literal) => {
        concat!(
            "ldrd r9, r10, [r0, #",
            $at,
            "]\n",
            "ldrd r11, r12, [r1], #8\n",
            "smmulr ",
            $re,
            ", r9, r11\n",
            "smmulr ",
            $im,
            ", r10, r11\n",
            "smmlar ",
            $re,
            ", r10, r12, ",
            $re,
            "\n",
            "smmlsr ",
            $im,
            ", r9, r12, ",
            $im,
            "\n",
        )
    };
}

/// Defines a pass. `r0` is `2·span - 1` values after the first input of a butterfly, so that the
/// four inputs are in reach and the last store also advances it.
macro_rules! pass {
    ($name:ident, $twiddles:ty, blocks $blocks:literal, butterflies $rest:literal,
     offsets $a:literal, $b:literal, $d:literal,
     bias $bias:literal, next $next:literal, rewind $rewind:literal) => {
        #[unsafe(naked)]
        unsafe extern "C" fn $name(bins: *mut Bins, twiddles: *const $twiddles) {
            naked_asm!(
                allow_dsp!(),
                "push {{r4-r11, lr}}",
                concat!("add r0, r0, #", $bias),
                concat!("movs r2, #", $blocks),
                "2:",
                // The first butterfly has no twiddles.
                concat!("ldrd r9, r10, [r0, #", $a, "]"),
                concat!("ldrd r3, r4, [r0, #", $b, "]"),
                "ldrd r5, r6, [r0, #8]",
                concat!("ldrd r7, r8, [r0, #", $d, "]"),
                "add r11, r9, r5",
                "sub r9, r9, r5",
                "add r12, r10, r6",
                "sub r10, r10, r6",
                "add r5, r3, r7",
                "sub r3, r3, r7",
                "add r6, r4, r8",
                "sub r4, r4, r8",
                "add r7, r11, r5",
                "add r8, r12, r6",
                concat!("strd r7, r8, [r0, #", $a, "]"),
                "sub r7, r11, r5",
                "sub r8, r12, r6",
                "add r11, r9, r4",
                "sub r12, r10, r3",
                concat!("strd r11, r12, [r0, #", $b, "]"),
                "sub r9, r9, r4",
                "add r10, r10, r3",
                concat!("strd r9, r10, [r0, #", $d, "]"),
                "strd r7, r8, [r0, #8]!",
                concat!("movs r14, #", $rest),
                "3:",
                rotate!("r3", "r4", $b),
                rotate!("r5", "r6", "8"),
                rotate!("r7", "r8", $d),
                concat!("ldrd r9, r10, [r0, #", $a, "]"),
                // Sums of the even two are in r11, r12, differences in r9, r10.
                "add r11, r9, r5, lsl #1",
                "sub r9, r9, r5, lsl #1",
                "add r12, r10, r6, lsl #1",
                "sub r10, r10, r6, lsl #1",
                // Half the sums of the odd two are in r5, r6, half the differences in r3, r4.
                "add r5, r3, r7",
                "sub r3, r3, r7",
                "add r6, r4, r8",
                "sub r4, r4, r8",
                "add r7, r11, r5, lsl #1",
                "add r8, r12, r6, lsl #1",
                concat!("strd r7, r8, [r0, #", $a, "]"),
                "sub r7, r11, r5, lsl #1",
                "sub r8, r12, r6, lsl #1",
                "add r11, r9, r4, lsl #1",
                "sub r12, r10, r3, lsl #1",
                concat!("strd r11, r12, [r0, #", $b, "]"),
                "sub r9, r9, r4, lsl #1",
                "add r10, r10, r3, lsl #1",
                concat!("strd r9, r10, [r0, #", $d, "]"),
                "strd r7, r8, [r0, #8]!",
                "subs r14, #1",
                "bne 3b",
                concat!("add r0, r0, #", $next),
                concat!("sub r1, r1, #", $rewind),
                "subs r2, #1",
                "bne 2b",
                "pop {{r4-r11, pc}}",
            )
        }
    };
}

// With spans of 8·4, 8·16 and 8·64 bytes, bias is 2·span - 8 and the offsets are -bias, 8 - span, 8
// + span. The next block is 3 spans after the last butterfly, and a twiddle has 24 bytes.
pass!(pass_4_asm, [Twiddles; 3], blocks "16", butterflies "3",
    offsets "-56", "-24", "40", bias "56", next "96", rewind "72");
pass!(pass_16_asm, [Twiddles; 15], blocks "4", butterflies "15",
    offsets "-248", "-120", "136", bias "248", next "384", rewind "360");
pass!(pass_64_asm, [Twiddles; 63], blocks "1", butterflies "63",
    offsets "-1016", "-504", "520", bias "1016", next "1536", rewind "1512");

/// Computes the powers. `r0` walks up from value 1, `r1` down from value 255.
#[unsafe(naked)]
unsafe extern "C" fn powers_asm(bins: *mut Bins, twiddles: *const [Complex; SPLIT_PAIRS]) {
    naked_asm!(
        allow_dsp!(),
        "push {{r4-r11, lr}}",
        "mov r2, r1",
        "add r1, r0, #2040",
        "adds r0, #8",
        "movs r14, #127",
        "2:",
        "ldrd r3, r4, [r0]",
        "ldrd r5, r6, [r1]",
        "ldrd r7, r8, [r2], #8",
        "add r9, r3, r5",
        "sub r3, r3, r5",
        "sub r10, r4, r6",
        "add r4, r4, r6",
        "smmulr r5, r3, r7",
        "smmulr r6, r4, r7",
        "smmlar r5, r4, r8, r5",
        "smmlsr r6, r3, r8, r6",
        "add r3, r9, r6, lsl #1",
        "sub r4, r10, r5, lsl #1",
        "sub r9, r9, r6, lsl #1",
        "add r10, r10, r5, lsl #1",
        "smull r5, r6, r3, r3",
        "smull r7, r8, r9, r9",
        "smlal r5, r6, r4, r4",
        "smlal r7, r8, r10, r10",
        "strd r5, r6, [r0], #8",
        "strd r7, r8, [r1], #-8",
        "subs r14, #1",
        "bne 2b",
        // Value 128 is doubled.
        "ldrd r3, r4, [r0]",
        "lsls r3, r3, #1",
        "lsls r4, r4, #1",
        "smull r5, r6, r3, r3",
        "smlal r5, r6, r4, r4",
        "strd r5, r6, [r0]",
        "pop {{r4-r11, pc}}",
    )
}

/// Sums high and low words times weights. Sums for the band that ends are in `r3` to `r6`. Sums
/// with the other shares, for the band that starts, are in `r7` to `r10`.
///
/// Frame: the next start at 0, the next power at 4, the number of remaining segments at 8, the bins
/// at 12.
#[unsafe(naked)]
unsafe extern "C" fn mel_powers_asm(call: &Mel) {
    naked_asm!(
        allow_dsp!(),
        "push {{r4-r11, lr}}",
        "sub sp, #20",
        "ldm r0, {{r0-r3}}",
        "str r0, [sp, #12]",
        "ldrh r4, [r1], #2",
        "add r0, r0, r4, lsl #3",
        "movs r4, #{segments}",
        "str r1, [sp]",
        "strd r3, r4, [sp, #4]",
        "movs r7, #0",
        "movs r8, #0",
        "movs r9, #0",
        "movs r10, #0",
        // A segment: the band that started in the one before now ends.
        "2:",
        "mov r3, r7",
        "mov r4, r8",
        "mov r5, r9",
        "mov r6, r10",
        "movs r7, #0",
        "mov r8, r7",
        "mov r9, r7",
        "mov r10, r7",
        "ldr r11, [sp]",
        "ldrh r12, [r11], #2",
        "str r11, [sp]",
        "ldr r1, [sp, #12]",
        "add r1, r1, r12, lsl #3",
        "cmp r0, r1",
        "beq 4f",
        "3:",
        "ldrd r11, r12, [r0], #8",
        "ldrh r14, [r2], #2",
        "umlal r3, r4, r12, r14",
        "umlal r5, r6, r11, r14",
        "rsb r14, r14, #{one}",
        "umlal r7, r8, r12, r14",
        "umlal r9, r10, r11, r14",
        "cmp r0, r1",
        "bne 3b",
        "4:",
        "ldrd r11, r12, [sp, #4]",
        // The share that ends with the first segment is below the lowest band and belongs to none.
        "cmp r12, #{segments}",
        "beq 5f",
        "lsrs r5, r5, #22",
        "orr r5, r5, r6, lsl #10",
        "lsrs r6, r6, #22",
        "lsls r4, r4, #10",
        "orr r4, r4, r3, lsr #22",
        "adds r5, r5, r3, lsl #10",
        "adc r6, r6, r4",
        "strd r5, r6, [r11], #8",
        "5:",
        "subs r12, r12, #1",
        "strd r11, r12, [sp, #4]",
        "bne 2b",
        "add sp, #20",
        "pop {{r4-r11, pc}}",
        segments = const MEL_CHANNELS + 1,
        one = const 1 << MEL_WEIGHT_BITS,
    )
}

#[unsafe(naked)]
unsafe extern "C" fn advance_asm(samples: *mut Samples) {
    naked_asm!(
        allow_dsp!(),
        "push {{r4-r10, lr}}",
        "add r1, r0, #320",
        "movs r2, #20",
        "2:",
        "ldm r1!, {{r3-r10}}",
        "stm r0!, {{r3-r10}}",
        "subs r2, #1",
        "bne 2b",
        "pop {{r4-r10, pc}}",
    )
}
