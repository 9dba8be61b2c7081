//! Arithmetic of the plain kernels for processors whose products have 32 bits (Cortex-M0). There a
//! product of 64 bits is a function of the compiler's library, 40 to 50 instructions with its call.
//!
//! A word is split into halves, so that every product of two halves fits a word. The results are
//! those of [`plain`](super::plain) bit for bit.

use super::plain::Sums;
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
#[inline(always)]
const fn squared(word: i32) -> u64 {
    let magnitude = word.unsigned_abs();
    let (high, low) = (magnitude >> 16, magnitude & 0xFFFF);
    let like = ((high * high) as u64) << 32 | (low * low) as u64;
    like + (((high * low) as u64) << 17)
}

/// Equals [`plain::square`](super::plain::square).
#[inline(always)]
pub const fn square([re, im]: Complex) -> Complex {
    let power = squared(re) + squared(im);
    [power as i32, (power >> 32) as i32]
}

/// Number of bins whose products of a weight and 16 bits sum to less than 2³².
const BINS: usize = 16;

/// Equals [`plain::segment_sums`](super::plain::segment_sums).
#[inline(never)]
pub fn segment_sums(bins: &[Complex], weights: &[[u8; 2]]) -> Sums {
    let mut sums = Sums::default();
    for (bins, weights) in bins.chunks(BINS).zip(weights.chunks(BINS)) {
        let Parts { parts, total } = part_sums(bins, weights);
        let both = |low: u32, high: u32| u64::from(low) + (u64::from(high) << 16);
        sums.low = sums.low.wrapping_add(both(parts[0], parts[1]));
        sums.high = sums.high.wrapping_add(both(parts[2], parts[3]));
        sums.total = sums.total.wrapping_add(power(total));
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
    use crate::frontend::fft::Complex;

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
            "mov r4, r8",
            "mov r5, r9",
            "mov r6, r10",
            "mov r7, r11",
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
            "mov r8, r4",
            "mov r9, r5",
            "mov r10, r6",
            "mov r11, r7",
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
    const LARGEST: i32 = 2 * 240 << 22;

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
