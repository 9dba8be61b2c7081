//! The checksum of model files.

/// Checksum of a file, which is read as one large little-endian integer `N` of words, modulo a
/// prime.
///
/// With `M = K·2³² − 1`, the state represents `hi + K·lo (mod M)`. Adding a word `w` adds `w` and
/// then multiplies by `K = 2⁻³² (mod M)`, which is one instruction (`UMAAL`) per word on Cortex-M4.
///
/// It detects every error that does not change `N` by a multiple of `M`, at any position:
/// - every error within 63 consecutive bits, since `|δ| < 2⁶³ < M` and `M` is prime;
/// - every pair of flipped bits outside the checksum itself, since `2ⁿ ≡ ±1 (mod M)` for no `n`
///   below 2⁶¹ (`M` is a safe prime);
/// - all but about one in 2⁶⁴ of the other errors.
///
/// The multiplier is that of Thomas's MWC64X generator ("The MWC64X Random Number Generator",
/// 2011), chosen so that `M` and `(M − 1) / 2` are prime. Like any checksum without a key, it is no
/// signature.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Checksum(u64);

impl Checksum {
    /// Checksum of no words; not 0, so that leading zeros count.
    pub const START: Self = Self(1);
    /// The multiplier `K`.
    const MULTIPLIER: u32 = 0xFFFE_B81B;

    /// Returns the checksum with `words` appended.
    #[cfg(not(any(wakeling_dsp, wakeling_mve)))]
    pub fn words(self, words: &[u32]) -> Self {
        words.iter().fold(self, |sum, &word| sum.word(word))
    }

    /// Returns the checksum with `words` appended.
    #[cfg(any(wakeling_dsp, wakeling_mve))]
    pub fn words(self, words: &[u32]) -> Self {
        let (blocks, tail) = words.as_chunks();
        tail.iter().fold(Self(dsp::blocks(self.0, blocks)), |sum, &word| sum.word(word))
    }

    /// Appends one word. `K·lo + hi + w` is below 2⁶⁴ for all values.
    #[inline(always)]
    fn word(self, word: u32) -> Self {
        let (high, low) = (self.0 >> 32, self.0 & u64::from(u32::MAX));
        if cfg!(wakeling_short_product) {
            return Self((low << 32) - Self::short_of(low as u32) + high + u64::from(word));
        }
        Self(u64::from(Self::MULTIPLIER) * low + high + u64::from(word))
    }

    /// Returns `(2³² − K)·low`, whose products fit 32 bits, which is all that a Cortex-M0 multiplies.
    #[inline(always)]
    const fn short_of(low: u32) -> u64 {
        // 2³² − K = 2¹⁶ + 18,405.
        const REST: u32 = Checksum::MULTIPLIER.wrapping_neg() - (1 << 16);
        const { assert!(REST < 1 << 15) };
        let (high_half, low_half) = (REST * (low >> 16), REST * (low & 0xFFFF));
        ((high_half as u64 + low as u64) << 16) + low_half as u64
    }

    /// The state as `hi·2³² + lo`.
    pub const fn value(self) -> u64 {
        self.0
    }
}

/// Assembly version: 1.15 instructions per word, where compilers take three.
#[cfg(any(wakeling_dsp, wakeling_mve))]
#[allow(unsafe_code, reason = "an assembly loop")]
mod dsp {
    use core::arch::naked_asm;

    use super::Checksum;

    /// Words per pass of the loop: six times as many as fit the registers.
    const BLOCK: usize = 54;

    /// Returns the state after all blocks.
    pub fn blocks(state: u64, blocks: &[[u32; BLOCK]]) -> u64 {
        let words = blocks.as_ptr_range();
        // SAFETY: the pointers are the ends of a slice of whole blocks, aligned to words.
        unsafe { block_words(state, words.start.cast(), words.end.cast()) }
    }

    /// Appends whole blocks of words.
    ///
    /// `UMAAL a, b, c, d` replaces `b·2³² + a` by `c·d + a + b`. With a word in `a`, the high half
    /// in `b` and the low half in `c`, that is one step; the word's register becomes the low half.
    ///
    /// # Safety
    /// `words` to `end` must be whole blocks of readable, aligned words.
    #[unsafe(naked)]
    unsafe extern "C" fn block_words(state: u64, words: *const u32, end: *const u32) -> u64 {
        naked_asm!(
            allow_dsp!(),
            "push {{r4-r11, lr}}",
            "mov r11, r0",
            "movw r12, #{low}",
            "movt r12, #{high}",
            "b 2f",
            "1:",
            // The low half stays in r11, then in lr, while the next words are loaded.
            ".rept 3",
            "ldm.w r2!, {{r0, r4-r10, lr}}",
            "umaal r0, r1, r11, r12",
            "umaal r4, r1, r0, r12",
            "umaal r5, r1, r4, r12",
            "umaal r6, r1, r5, r12",
            "umaal r7, r1, r6, r12",
            "umaal r8, r1, r7, r12",
            "umaal r9, r1, r8, r12",
            "umaal r10, r1, r9, r12",
            "umaal lr, r1, r10, r12",
            "ldm.w r2!, {{r0, r4-r11}}",
            "umaal r0, r1, lr, r12",
            "umaal r4, r1, r0, r12",
            "umaal r5, r1, r4, r12",
            "umaal r6, r1, r5, r12",
            "umaal r7, r1, r6, r12",
            "umaal r8, r1, r7, r12",
            "umaal r9, r1, r8, r12",
            "umaal r10, r1, r9, r12",
            "umaal r11, r1, r10, r12",
            ".endr",
            "2:",
            "cmp r2, r3",
            "bne.w 1b",
            "mov r0, r11",
            "pop {{r4-r11, pc}}",
            low = const Checksum::MULTIPLIER & 0xFFFF,
            high = const Checksum::MULTIPLIER >> 16,
        )
    }
}

#[cfg(test)]
mod tests {
    extern crate std;
    use super::*;
    use std::vec::Vec;

    /// `K·2³² − 1`.
    const MODULUS: u128 = ((Checksum::MULTIPLIER as u128) << 32) - 1;

    fn words(count: usize) -> Vec<u32> {
        (1..=count as u32).map(|i| i.wrapping_mul(0x9E37_79B9) ^ i << 7).collect()
    }

    /// Returns the number that a state represents.
    fn residue(state: u64) -> u128 {
        let (high, low) = (u128::from(state >> 32), u128::from(state as u32));
        (high + u128::from(Checksum::MULTIPLIER) * low) % MODULUS
    }

    #[test]
    fn the_checksum_is_the_file_modulo_a_prime() {
        let multiplier = u128::from(Checksum::MULTIPLIER);
        for length in 0..70 {
            let words = words(length);
            let start = residue(Checksum::START.0);
            let expected =
                words.iter().fold(start, |n, &w| (n + u128::from(w)) * multiplier % MODULUS);
            assert_eq!(residue(Checksum::START.words(&words).0), expected, "{length}");
        }
    }

    #[test]
    fn the_product_of_halves_is_equal() {
        let complement = (1 << 32) - u64::from(Checksum::MULTIPLIER);
        for low in words(2_000).into_iter().chain([0, 1, 0xFFFF, 0x1_0000, u32::MAX]) {
            assert_eq!(Checksum::short_of(low), complement * u64::from(low), "{low}");
        }
    }

    /// Miller–Rabin test; with the first twelve primes as bases it is exact below 2⁶⁴.
    fn is_prime(n: u64) -> bool {
        let power = |pretrained: u64, mut exponent: u64| {
            let (mut result, mut square) = (1u128, u128::from(pretrained));
            while exponent > 0 {
                if exponent & 1 == 1 {
                    result = result * square % u128::from(n);
                }
                square = square * square % u128::from(n);
                exponent >>= 1;
            }
            result as u64
        };
        let twos = (n - 1).trailing_zeros();
        [2, 3, 5, 7, 11, 13, 17, 19, 23, 29, 31, 37].into_iter().all(|pretrained| {
            let first = power(pretrained, (n - 1) >> twos);
            first == 1 || (0..twos).any(|i| power(pretrained, (n - 1) >> (twos - i)) == n - 1)
        })
    }

    #[test]
    fn the_modulus_is_a_safe_prime() {
        let modulus = MODULUS as u64;
        assert!(is_prime(modulus) && is_prime((modulus - 1) / 2));
        assert!(!is_prime(modulus - 2));
    }

    #[test]
    fn every_pair_of_flipped_bits_is_seen() {
        let words = words(9);
        let flipped = |bits: &[usize]| {
            let mut words = words.clone();
            bits.iter().for_each(|bit| words[bit / 32] ^= 1 << (bit % 32));
            Checksum::START.words(&words).0
        };
        let sound = flipped(&[]);
        for a in 0..32 * words.len() {
            assert!((0..a).all(|b| flipped(&[a, b]) != sound) && flipped(&[a]) != sound);
        }
    }

    #[test]
    fn leading_zeros_count() {
        let sums: Vec<u64> = (0..20).map(|n| Checksum::START.words(&[0; 20][..n]).0).collect();
        assert!((1..20).all(|i| sums[..i].iter().all(|s| *s != sums[i])));
    }
}
