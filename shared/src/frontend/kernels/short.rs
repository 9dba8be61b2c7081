//! Arithmetic of the plain kernels for processors whose products have 32 bits (Cortex-M0). There a
//! product of 64 bits is a function of the compiler's library, 40 to 50 instructions with its call.
//!
//! A word is split into halves, so that every product of two halves fits a word. The results are
//! those of [`plain`](super::plain) bit for bit.

use super::plain::Sums;
#[cfg(wakeling_short_product)]
use crate::frontend::fft::Twiddles;
use crate::frontend::fft::{Complex, power};

/// `2¹⁶·high + low` with `low` in −2¹⁵ … 2¹⁵ − 1.
#[derive(Clone, Copy)]
struct Halves {
    high: i32,
    low: i32,
}

impl Halves {
    /// Splits a value below 2³¹ − 2¹⁵, as every one that is rotated is.
    #[inline(always)]
    const fn of(value: i32) -> Self {
        let low = value as i16 as i32;
        Self { high: value.wrapping_sub(low) >> 16, low }
    }

    /// Splits any word. The high half of 2³¹ − 1, the largest sine, is 2¹⁵.
    #[inline(always)]
    const fn of_twiddle(word: i32) -> Self {
        Self { high: ((word >> 15) + 1) >> 1, low: word as i16 as i32 }
    }

    /// Parts of a product in units of 2³² and 2¹⁶, the second one of them with `constant` added.
    ///
    /// With a value whose high half is at most 1.875 · 2¹⁴ and a twiddle whose high half is at most
    /// 2¹⁵, both products of unlike halves together are at most 1.94 · 2³⁰.
    #[inline(always)]
    const fn parts(self, twiddle: Self) -> (i32, i32, i32) {
        let unlike = self.high * twiddle.low + self.low * twiddle.high;
        (self.high * twiddle.high, unlike, self.low * twiddle.low)
    }

    /// Returns the rounded high word of the product, as [`round_high`](crate::fixed::round_high).
    #[inline(always)]
    const fn round_high(self, twiddle: Self) -> i32 {
        let (high, unlike, low) = self.parts(twiddle);
        high + ((unlike + (low >> 16) + (1 << 15)) >> 16)
    }

    /// Returns the rounded high word of the product's negative.
    #[inline(always)]
    const fn round_high_negative(self, twiddle: Self) -> i32 {
        let (high, unlike, low) = self.parts(twiddle);
        ((((-low) >> 16) + (1 << 15) - unlike) >> 16) - high
    }
}

/// Equals [`plain::half_rotated`](super::plain::half_rotated).
#[inline(always)]
pub const fn half_rotated([re, im]: Complex, [cos, sin]: Complex) -> Complex {
    let [re, im] = [Halves::of(re), Halves::of(im)];
    let [cos, sin] = [Halves::of_twiddle(cos), Halves::of_twiddle(sin)];
    [re.round_high(cos) + im.round_high(sin), im.round_high(cos) + re.round_high_negative(sin)]
}

/// Equals [`plain::weigh`](super::plain::weigh).
#[inline(always)]
pub const fn weigh(sample: i16, coefficient: i32) -> i32 {
    let sample = sample as i32;
    sample * (coefficient >> 16) + ((sample * (coefficient & 0xFFFF)) >> 16)
}

/// Returns `word²`; `|word|` is at most 2³¹ − 1.
#[cfg(not(wakeling_short_product))]
const fn squared(word: i32) -> u64 {
    let magnitude = word.unsigned_abs();
    let (high, low) = (magnitude >> 16, magnitude & 0xFFFF);
    let like = ((high * high) as u64) << 32 | (low * low) as u64;
    like + (((high * low) as u64) << 17)
}

/// Equals [`plain::square`](super::plain::square).
#[cfg(not(wakeling_short_product))]
pub const fn square([re, im]: Complex) -> Complex {
    let power = squared(re) + squared(im);
    [power as i32, (power >> 32) as i32]
}

/// The same in assembly.
#[cfg(wakeling_short_product)]
#[inline(always)]
#[allow(unsafe_code, reason = "an assembly function")]
pub fn square([re, im]: Complex) -> Complex {
    // SAFETY: the function accesses no memory but its stack.
    let power = unsafe { assembly::square(re, im) };
    [power as i32, (power >> 32) as i32]
}

/// Computes a block of a pass, as [`plain::pass`](super::plain::pass), from the second butterfly on.
#[cfg(wakeling_short_product)]
#[allow(unsafe_code, reason = "an assembly loop")]
pub fn butterflies(block: &mut [Complex], twiddles: &[Twiddles]) {
    let span = twiddles.len() + 1;
    if block.len() >= 4 * span && span > 1 {
        let (second, twiddles) = (block.as_mut_ptr().wrapping_add(1), twiddles.as_ptr_range());
        let span_bytes = span * size_of::<Complex>();
        // SAFETY: the block has four times `span` values, so that each butterfly has its four, which
        // are `span` apart. There are `span - 1 ≥ 1` butterflies and twiddles, all of whole words.
        unsafe { assembly::butterflies(second, twiddles.start, twiddles.end, span_bytes) }
    }
}

/// Number of bins whose products of a weight and 16 bits sum to less than 2³².
const BINS: usize = 16;

/// Equals [`plain::segment_sums`](super::plain::segment_sums).
#[inline(never)]
pub fn segment_sums(bins: &[Complex], weights: &[[u8; 2]]) -> Sums {
    let count = bins.len().min(weights.len());
    let first = count.min(BINS);
    let (bins, mut more_bins) = bins.split_at(first);
    let (weights, mut more_weights) = weights.split_at(first);
    // Few segments have more bins.
    let mut sums = part_sums(bins, weights).sums();
    while !more_bins.is_empty() && !more_weights.is_empty() {
        let next = more_bins.len().min(more_weights.len()).min(BINS);
        let (bins, weights);
        (bins, more_bins) = more_bins.split_at(next);
        (weights, more_weights) = more_weights.split_at(next);
        let Sums { high, low, total } = part_sums(bins, weights).sums();
        sums.high = sums.high.wrapping_add(high);
        sums.low = sums.low.wrapping_add(low);
        sums.total = sums.total.wrapping_add(total);
    }
    sums
}

/// Sums over at most [`BINS`] bins.
#[derive(Default)]
#[repr(C)]
struct Parts {
    /// Weights times the four halves of the powers, low halves first.
    parts: [u32; 4],
    /// The powers, low word first.
    total: Complex,
}

impl Parts {
    /// Returns the sums of the halves.
    #[inline(always)]
    const fn sums(&self) -> Sums {
        const fn both(low: u32, high: u32) -> u64 {
            low as u64 + ((high as u64) << 16)
        }
        let [a, b, c, d] = self.parts;
        Sums { high: both(c, d), low: both(a, b), total: power(self.total) }
    }
}

/// Returns the sums of as many bins as there are weights, or the other way round.
#[cfg(not(wakeling_short_product))]
fn part_sums(bins: &[Complex], weights: &[[u8; 2]]) -> Parts {
    let mut sums = Parts::default();
    for (&[low, high], &weight) in bins.iter().zip(weights) {
        let total = power(sums.total).wrapping_add(power([low, high]));
        let (low, high) = (low as u32, high as u32);
        let weight = u32::from(u16::from_le_bytes(weight));
        let halves = [low & 0xFFFF, low >> 16, high & 0xFFFF, high >> 16];
        for (part, half) in sums.parts.iter_mut().zip(halves) {
            *part = part.wrapping_add(weight.wrapping_mul(half));
        }
        sums.total = [total as i32, (total >> 32) as i32];
    }
    sums
}

/// The same in assembly: 26 instructions for a bin, where compilers take 90.
#[cfg(wakeling_short_product)]
#[allow(unsafe_code, reason = "an assembly loop")]
fn part_sums(bins: &[Complex], weights: &[[u8; 2]]) -> Parts {
    let mut sums = Parts::default();
    let count = bins.len().min(weights.len());
    if let (Some(bins), true) = (bins.get(..count), count > 0) {
        let bins = bins.as_ptr_range();
        // SAFETY: there are as many weights as bins, and at least one.
        unsafe { assembly::bin_sums(bins.start, bins.end, weights.as_ptr(), &mut sums) }
    }
    sums
}

#[cfg(wakeling_short_product)]
#[allow(unsafe_code, reason = "an assembly loop")]
mod assembly {
    use core::arch::naked_asm;

    use super::Parts;
    use crate::{
        frontend::fft::{Complex, Twiddles},
        thumb::{high_to_low, low_to_high},
    };

    /// Returns `re² + im²`, each of a magnitude of at most 2³¹ − 2¹⁵. With `x = 2¹⁶·h + l`,
    /// `x² = 2³²·h² + 2¹⁷·h·l + l²`.
    #[unsafe(naked)]
    pub unsafe extern "C" fn square(re: i32, im: i32) -> u64 {
        naked_asm!(
            "push {{r4, r5}}",
            "sxth r2, r0",
            "subs r0, r0, r2",
            "asrs r0, r0, #16",
            "mov r3, r0",
            "muls r3, r2, r3",
            "muls r2, r2, r2",
            "muls r0, r0, r0",
            "lsls r4, r3, #17",
            "asrs r3, r3, #15",
            "adds r2, r2, r4",
            "adcs r3, r3, r0",
            // The first square is in r2 and r3.
            "sxth r4, r1",
            "subs r1, r1, r4",
            "asrs r1, r1, #16",
            "mov r5, r1",
            "muls r5, r4, r5",
            "muls r4, r4, r4",
            "muls r1, r1, r1",
            "lsls r0, r5, #17",
            "asrs r5, r5, #15",
            "adds r0, r0, r4",
            "adcs r1, r1, r5",
            "adds r0, r0, r2",
            "adcs r1, r1, r3",
            "pop {{r4, r5}}",
            "bx lr",
        )
    }

    /// Leaves the rounded high word of a product, or of its negative, in `r2`. `$xl` and `$xh` are the halves of a value, `$wl` and `$wh` those of a twiddle.
    macro_rules! high {
        ($xl:literal, $xh:literal, $wl:literal, $wh:literal, $negate:literal, $add:literal) => {
            concat!(
                "mov r2, ",
                $wl,
                "\n",
                "muls r2, ",
                $xl,
                ", r2\n",
                $negate,
                "asrs r2, r2, #16\n",
                "mov r3, ",
                $wl,
                "\n",
                "muls r3, ",
                $xh,
                ", r3\n",
                $add,
                " r2, r2, r3\n",
                "mov r3, ",
                $wh,
                "\n",
                "muls r3, ",
                $xl,
                ", r3\n",
                $add,
                " r2, r2, r3\n",
                "add r2, r12\n",
                "asrs r2, r2, #16\n",
                "mov r3, ",
                $wh,
                "\n",
                "muls r3, ",
                $xh,
                ", r3\n",
                $add,
                " r2, r2, r3\n",
            )
        };
    }

    /// Butterflies with twiddles: three values are rotated where they are, and then combined.
    ///
    /// The halves of a twiddle are in `r8` to `r11`, the low ones without sign, and those of a value
    /// in `r4` to `r7`. A value is below 0.94 · 2³⁰, so that the sums of unlike halves fit. `r12` is
    /// 2¹⁵. Frame: the span at 0, the end of the twiddles at 4, the first value at 8.
    ///
    /// # Safety
    /// At `first`, and one, two and three spans of `span` bytes after it, are as many values as there
    /// are twiddles up to `end`, at least one.
    #[unsafe(naked)]
    pub unsafe extern "C" fn butterflies(
        first: *mut Complex,
        twiddles: *const Twiddles,
        end: *const Twiddles,
        span: usize,
    ) {
        naked_asm!(
            "push {{r4-r7, lr}}",
            high_to_low!(),
            "push {{r4-r7}}",
            "sub sp, #12",
            "str r3, [sp, #0]",
            "str r2, [sp, #4]",
            "movs r4, #1",
            "lsls r4, r4, #15",
            "mov r12, r4",
            "1:",
            "str r0, [sp, #8]",
            "ldr r3, [sp, #0]",
            "adds r0, r0, r3",
            "bl 3f",
            "ldr r3, [sp, #0]",
            "adds r0, r0, r3",
            "bl 3f",
            "ldr r3, [sp, #0]",
            "adds r0, r0, r3",
            "bl 3f",
            "mov lr, r1",
            // Twice the sum of the odd two is in r8 and r10, twice their difference in r9 and r11, r5.
            "ldr r1, [sp, #0]",
            "ldr r6, [r0, #0]",
            "ldr r7, [r0, #4]",
            "subs r2, r0, r1",
            "subs r0, r2, r1",
            "ldr r4, [r0, #0]",
            "ldr r5, [r0, #4]",
            "ldr r0, [sp, #8]",
            "adds r3, r4, r6",
            "lsls r3, r3, #1",
            "mov r8, r3",
            "subs r4, r4, r6",
            "lsls r4, r4, #1",
            "mov r9, r4",
            "adds r3, r5, r7",
            "lsls r3, r3, #1",
            "mov r10, r3",
            "subs r5, r5, r7",
            "lsls r5, r5, #1",
            // Real parts.
            "ldr r4, [r0, #0]",
            "ldr r6, [r2, #0]",
            "lsls r6, r6, #1",
            "adds r3, r4, r6",
            "subs r4, r4, r6",
            "mov r7, r8",
            "adds r6, r3, r7",
            "str r6, [r0, #0]",
            "subs r3, r3, r7",
            "str r3, [r2, #0]",
            "subs r3, r2, r1",
            "adds r7, r2, r1",
            "adds r6, r4, r5",
            "str r6, [r3, #0]",
            "subs r4, r4, r5",
            "str r4, [r7, #0]",
            // Imaginary parts.
            "ldr r4, [r0, #4]",
            "ldr r6, [r2, #4]",
            "lsls r6, r6, #1",
            "adds r5, r4, r6",
            "subs r4, r4, r6",
            "mov r6, r10",
            "adds r1, r5, r6",
            "str r1, [r0, #4]",
            "subs r5, r5, r6",
            "str r5, [r2, #4]",
            "mov r6, r9",
            "subs r1, r4, r6",
            "str r1, [r3, #4]",
            "adds r4, r4, r6",
            "str r4, [r7, #4]",
            "mov r1, lr",
            "adds r0, #8",
            "ldr r2, [sp, #4]",
            "cmp r1, r2",
            "bne 1b",
            "add sp, #12",
            "pop {{r4-r7}}",
            low_to_high!(),
            "pop {{r4-r7, pc}}",
            // Replaces the value at r0 by half of it rotated by the next twiddle.
            "3:",
            "ldmia r1!, {{r2, r3}}",
            "uxth r4, r2",
            "mov r8, r4",
            "asrs r2, r2, #16",
            "mov r9, r2",
            "uxth r4, r3",
            "mov r10, r4",
            "asrs r3, r3, #16",
            "mov r11, r3",
            "ldr r4, [r0, #0]",
            "ldr r5, [r0, #4]",
            "sxth r6, r4",
            "subs r4, r4, r6",
            "asrs r4, r4, #16",
            "sxth r7, r5",
            "subs r5, r5, r7",
            "asrs r5, r5, #16",
            high!("r6", "r4", "r8", "r9", "", "adds"),
            "str r2, [r0, #0]",
            high!("r7", "r5", "r10", "r11", "", "adds"),
            "ldr r3, [r0, #0]",
            "adds r2, r2, r3",
            "str r2, [r0, #0]",
            high!("r7", "r5", "r8", "r9", "", "adds"),
            "str r2, [r0, #4]",
            high!("r6", "r4", "r10", "r11", "rsbs r2, r2, #0\n", "subs"),
            "ldr r3, [r0, #4]",
            "adds r2, r2, r3",
            "str r2, [r0, #4]",
            "bx lr",
        )
    }

    /// Sums over bins. `r8` to `r11` are the four parts, `r12` and `lr` the words of the total. The
    /// weights come from the model's description and can be at an odd address.
    ///
    /// # Safety
    /// `bins` to `end` are at least one bin, and so many weights are at `weights`.
    #[unsafe(naked)]
    pub unsafe extern "C" fn bin_sums(
        bins: *const Complex,
        end: *const Complex,
        weights: *const [u8; 2],
        sums: &mut Parts,
    ) {
        naked_asm!(
            "push {{r4-r7, lr}}",
            high_to_low!(),
            "push {{r3-r7}}",
            "movs r7, #0",
            "mov r8, r7",
            "mov r9, r7",
            "mov r10, r7",
            "mov r11, r7",
            "mov r12, r7",
            "mov lr, r7",
            "1:",
            "ldmia r0!, {{r3, r4}}",
            "ldrb r5, [r2, #0]",
            "ldrb r6, [r2, #1]",
            "lsls r6, r6, #8",
            "orrs r5, r5, r6",
            "mov r6, r12",
            "mov r7, lr",
            "adds r6, r6, r3",
            "adcs r7, r7, r4",
            "mov r12, r6",
            "mov lr, r7",
            "uxth r6, r3",
            "muls r6, r5, r6",
            "add r8, r6",
            "lsrs r3, r3, #16",
            "muls r3, r5, r3",
            "add r9, r3",
            "uxth r6, r4",
            "muls r6, r5, r6",
            "add r10, r6",
            "lsrs r4, r4, #16",
            "muls r4, r5, r4",
            "add r11, r4",
            "adds r2, #2",
            "cmp r0, r1",
            "bne 1b",
            "pop {{r0}}",
            "mov r1, r8",
            "mov r2, r9",
            "mov r3, r10",
            "mov r4, r11",
            "mov r5, r12",
            "mov r6, lr",
            "stmia r0!, {{r1-r6}}",
            "pop {{r4-r7}}",
            low_to_high!(),
            "pop {{r4-r7, pc}}",
        )
    }
}

#[cfg(test)]
mod tests {
    extern crate std;
    use super::super::plain;
    use super::*;
    use std::vec::Vec;

    /// Largest magnitude of a value that is rotated: `Z[k] ∓ Z*[256 − k]`, each at most 240 · 2²².
    const LARGEST: i32 = (2 * 240) << 22;

    /// Returns a sequence of words in which every bit changes.
    fn words() -> impl Iterator<Item = i32> {
        (0u32..).map(|i| {
            let word = i.wrapping_mul(0x9E37_79B9) ^ (i >> 5).wrapping_mul(0x85EB_CA6B);
            (word as i32) >> (i % 23)
        })
    }

    #[test]
    fn rotations_are_equal() {
        let edges = [0, 1, -1, 0x7FFF, 0x8000, -0x8000, 0x1_8000, LARGEST, -LARGEST, 1 << 30];
        let twiddles = [i32::MAX, -i32::MAX, 0, 1, -1, 1 << 30, -(1 << 30), 0x7FFF_8000];
        let some: Vec<i32> = words().take(600).map(|word| word.clamp(-LARGEST, LARGEST)).collect();
        for &re in edges.iter().chain(&some) {
            for &im in edges.iter().chain(some.iter().step_by(7)) {
                for (i, &cos) in twiddles.iter().enumerate() {
                    let z = [re, im];
                    let twiddle = [cos, twiddles[(i + 3) % twiddles.len()]];
                    assert_eq!(half_rotated(z, twiddle), plain::half_rotated(z, twiddle), "{z:?}");
                }
            }
        }
        for (z, twiddle) in some.windows(2).zip(words().skip(1_000)) {
            let twiddle = [twiddle, 0x5A82_799A];
            let z = [z[0], z[1]];
            assert_eq!(half_rotated(z, twiddle), plain::half_rotated(z, twiddle), "{z:?}");
        }
    }

    #[test]
    fn squares_and_weighed_samples_are_equal() {
        let values: Vec<i32> = words().take(2_000).chain([i32::MAX, -i32::MAX, 0, 1]).collect();
        for pair in values.windows(2) {
            // Half of it, so that the sum of two squares fits.
            let z = [pair[0] / 2, pair[1] / 2];
            assert_eq!(square(z), plain::square(z), "{z:?}");
        }
        for sample in [i16::MIN, -1, 0, 1, 12_345, i16::MAX] {
            for coefficient in (0..=1 << 23).step_by(997).chain([1 << 23]) {
                let expected = plain::weigh(sample, coefficient);
                assert_eq!(weigh(sample, coefficient), expected, "{sample} {coefficient}");
            }
        }
    }

    #[test]
    fn sums_of_segments_are_equal_at_every_length() {
        let bins: Vec<Complex> = words()
            .zip(words().skip(99))
            .map(|(low, high)| [low, high & 0x3FFF_FFFF])
            .chain([[-1, 0x3FFF_FFFF]; 3])
            .take(260)
            .collect();
        let weights: Vec<[u8; 2]> =
            (0..260u16).map(|i| (4_096 - 31 * (i % 7)).to_le_bytes()).collect();
        let full = [[-1, -1]; 64];
        for count in 0..bins.len() {
            assert_eq!(
                segment_sums(&bins[..count], &weights[..count]),
                plain::segment_sums(&bins[..count], &weights[..count])
            );
        }
        let weights = [4_096u16.to_le_bytes(); 64];
        assert_eq!(segment_sums(&full, &weights), plain::segment_sums(&full, &weights));
    }
}
