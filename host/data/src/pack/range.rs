//! Adaptive binary range coder (Martin 1979; carry propagation as in LZMA).
//!
//! Each bit has a probability that its context selects. The probability adapts to the coded bits as
//! the mean of a fast and a slow estimate. Encoder and decoder use integer arithmetic, so they
//! always agree.

/// Number of bits of a probability.
const PRECISION: u32 = 16;
/// Lower limit of the range; below it, the coder shifts by a byte.
const LEAST_RANGE: u32 = 1 << 24;

/// Probability that a bit is 0, estimated at two speeds.
#[derive(Clone, Copy, Debug)]
pub struct Chance {
    fast: u16,
    slow: u16,
}

impl Default for Chance {
    fn default() -> Self {
        Self { fast: 1 << 15, slow: 1 << 15 }
    }
}

impl Chance {
    /// Returns the probability as a share of `2¹⁶`, in `[32, 2¹⁶ − 32]`.
    fn of_zero(self) -> u32 {
        ((u32::from(self.fast) + u32::from(self.slow)) / 2).clamp(32, (1 << PRECISION) - 32)
    }

    fn learn(&mut self, bit: bool) {
        let toward = |p: u16, shift: u32| {
            if bit { p - (p >> shift) } else { p + ((u16::MAX - p) >> shift) }
        };
        self.fast = toward(self.fast, 4);
        self.slow = toward(self.slow, 7);
    }
}

/// Writer of bits.
pub struct Encoder {
    low: u64,
    range: u32,
    held: u8,
    pending: u64,
    bytes: Vec<u8>,
}

impl Encoder {
    /// Creates an empty encoder.
    pub fn new() -> Self {
        Self { low: 0, range: u32::MAX, held: 0, pending: 1, bytes: Vec::new() }
    }

    /// Writes a bit.
    pub fn bit(&mut self, chance: &mut Chance, bit: bool) {
        let bound = (self.range >> PRECISION) * chance.of_zero();
        if bit {
            self.low += u64::from(bound);
            self.range -= bound;
        } else {
            self.range = bound;
        }
        chance.learn(bit);
        while self.range < LEAST_RANGE {
            self.range <<= 8;
            self.shift();
        }
    }

    fn shift(&mut self) {
        if self.low < 0xFF00_0000 || self.low > 0xFFFF_FFFF {
            let carry = (self.low >> 32) as u8;
            let mut byte = self.held;
            while self.pending > 0 {
                self.bytes.push(byte.wrapping_add(carry));
                byte = 0xFF;
                self.pending -= 1;
            }
            self.held = (self.low >> 24) as u8;
        }
        self.pending += 1;
        self.low = (self.low & 0x00FF_FFFF) << 8;
    }

    /// Returns the encoded bytes.
    pub fn finish(mut self) -> Vec<u8> {
        for _ in 0..5 {
            self.shift();
        }
        self.bytes
    }
}

/// Reader of bits. Beyond the end of the bytes it reads zeros; see [`Decoder::is_past_end`].
pub struct Decoder<'a> {
    code: u32,
    range: u32,
    bytes: std::slice::Iter<'a, u8>,
    is_past_end: bool,
}

impl<'a> Decoder<'a> {
    /// Creates a decoder for the output of an [`Encoder`].
    pub fn new(bytes: &'a [u8]) -> Self {
        let mut decoder =
            Self { code: 0, range: u32::MAX, bytes: bytes.iter(), is_past_end: false };
        for _ in 0..5 {
            decoder.shift();
        }
        decoder
    }

    fn shift(&mut self) {
        let byte = self.bytes.next();
        self.is_past_end |= byte.is_none();
        self.code = (self.code << 8) | u32::from(byte.copied().unwrap_or(0));
    }

    /// Returns `true` if more was read than an [`Encoder`] wrote. The encoder writes exactly as
    /// many bytes as reading its bits requires.
    pub fn is_past_end(&self) -> bool {
        self.is_past_end
    }

    /// Reads a bit.
    pub fn bit(&mut self, chance: &mut Chance) -> bool {
        let bound = (self.range >> PRECISION) * chance.of_zero();
        let bit = self.code >= bound;
        if bit {
            self.code -= bound;
            self.range -= bound;
        } else {
            self.range = bound;
        }
        chance.learn(bit);
        while self.range < LEAST_RANGE {
            self.range <<= 8;
            self.shift();
        }
        bit
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::{RngExt, SeedableRng, rngs::StdRng};

    #[test]
    fn bits_come_back_and_take_their_entropy() {
        let mut rng = StdRng::seed_from_u64(1);
        for share in [0.5, 0.1, 0.01, 0.0] {
            let bits: Vec<bool> = (0..40_000).map(|_| rng.random_bool(share)).collect();
            let mut encoder = Encoder::new();
            let mut chance = Chance::default();
            bits.iter().for_each(|&bit| encoder.bit(&mut chance, bit));
            let bytes = encoder.finish();
            let mut decoder = Decoder::new(&bytes);
            let mut chance = Chance::default();
            assert!(bits.iter().all(|&bit| decoder.bit(&mut chance) == bit), "{share}");
            assert!(!decoder.is_past_end(), "{share}");
            let entropy = if share == 0.0 {
                0.0
            } else {
                -share * share.log2() - (1.0 - share) * (1.0 - share).log2()
            };
            let spent = bytes.len() as f64 * 8.0 / 40_000.0;
            assert!(spent < 1.1 * entropy + 0.01, "{share}: {spent} bits, {entropy} at best");
        }
    }

    #[test]
    fn any_bytes_decode_to_something() {
        let mut rng = StdRng::seed_from_u64(2);
        let bytes: Vec<u8> = (0..50).map(|_| rng.random()).collect();
        let mut decoder = Decoder::new(&bytes);
        let mut chance = Chance::default();
        assert!((0..5_000).filter(|_| decoder.bit(&mut chance)).count() <= 5_000);
        assert!(decoder.is_past_end(), "no chance makes 50 bytes last for 5,000 bits");
    }
}
