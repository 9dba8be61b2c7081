//! The 24 bytes before the body: magic, version, flags, lengths, checksum; all little-endian.

use super::check::ShapeError;

/// The first four bytes of every model file.
pub const MAGIC: [u8; 4] = *b"WKLG";
/// The version this code writes, and the only one that it reads.
pub const VERSION: u16 = 2;
/// Header length in bytes.
pub const HEADER_BYTES: usize = 24;
/// Words of the header that the checksum covers: all but the checksum itself.
const CHECKED_WORDS: usize = 4;
/// A model and its weights start at addresses that are multiples of this; see [`LoadError::Alignment`].
pub const ALIGNMENT: usize = 4;
/// Lengths of description and arrays are multiples of this.
pub(super) const GRANULE: usize = 8;
/// Flag bit 0, reserved: an Ed25519 signature of 64 bytes over header and body follows the body. This
/// version refuses it.
pub const FLAG_SIGNED: u16 = 1;

/// Why a model file was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LoadError {
    /// Shorter than its header, or than the header says.
    Truncated {
        /// Bytes that should be there.
        expected: usize,
        /// Bytes that are.
        found: usize,
    },
    /// The first four bytes are not [`MAGIC`]: this is no model file.
    Magic,
    /// Made by another version of Wakeling.
    Version {
        /// The version in the header.
        found: u16,
    },
    /// A flag bit that this version does not know.
    Flags {
        /// The flags in the header.
        found: u16,
    },
    /// The bytes do not begin at a multiple of [`ALIGNMENT`], so weights cannot be read as words.
    Alignment {
        /// The remainder of the address.
        remainder: usize,
    },
    /// The header's lengths are no multiples of 8, or the description is longer than the body.
    Lengths,
    /// The file is not the one that was written.
    Checksum {
        /// The checksum in the header.
        expected: u64,
        /// The checksum of the file.
        found: u64,
    },
    /// The description is no postcard encoding of a model.
    Body,
    /// Bytes are left over within the description.
    Trailing {
        /// How many.
        bytes: usize,
    },
    /// There are other arrays than the description says.
    Arrays {
        /// Words that the description says.
        expected: usize,
        /// Words there are.
        found: usize,
    },
    /// The model contradicts itself.
    Shape(ShapeError),
}

impl From<ShapeError> for LoadError {
    fn from(error: ShapeError) -> Self {
        Self::Shape(error)
    }
}

impl core::fmt::Display for LoadError {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Self::Truncated { expected, found } => {
                write!(f, "truncated: {expected} bytes expected, {found} found")
            }
            Self::Magic => write!(f, "not a Wakeling model (it does not begin with WKLG)"),
            Self::Version { found } => {
                write!(f, "format version {found}; this program reads version {VERSION}")
            }
            Self::Flags { found } => write!(f, "unknown flags {found:#06x}"),
            Self::Alignment { remainder } => {
                write!(
                    f,
                    "at an address of remainder {remainder}, not at a multiple of {ALIGNMENT}"
                )
            }
            Self::Lengths => write!(f, "the lengths in the header contradict each other"),
            Self::Checksum { expected, found } => {
                write!(f, "damaged: checksum {found:016x}, header says {expected:016x}")
            }
            Self::Body => write!(f, "the description is not a model's"),
            Self::Trailing { bytes } => write!(f, "{bytes} stray bytes after the description"),
            Self::Arrays { expected, found } => {
                write!(f, "{expected} words of weights expected, {found} found")
            }
            Self::Shape(error) => write!(f, "inconsistent model: {error:?}"),
        }
    }
}

impl core::error::Error for LoadError {}

/// A file, read as one large little-endian integer `N` of words, modulo a prime: with
/// `M = K·2³² − 1`, the state stands for `hi + K·lo (mod M)`, and taking the word `w` in multiplies
/// it by `K = 2⁻³² (mod M)` after adding `w`. It costs one instruction (`UMAAL`) a word on Cortex-M4.
///
/// It detects what changes `N` by no multiple of `M`, wherever that happens:
/// - every error within 63 consecutive bits, since `|δ| < 2⁶³ < M` and `M` is prime;
/// - every pair of flipped bits outside the checksum itself, since `2ⁿ ≡ ±1 (mod M)` for no `n` below 2⁶¹: `M` is a safe prime;
/// - of other errors all but about one in 2⁶⁴.
///
/// The multiplier is that of Thomas's MWC64X generator ("The MWC64X Random Number Generator", 2011),
/// chosen so that `M` and `(M − 1) / 2` are prime. As any checksum without a key, it is no signature.
#[derive(Clone, Copy)]
struct Checksum(u64);

impl Checksum {
    const MULTIPLIER: u32 = 0xFFFE_B81B;
    /// Not 0, so that leading zeros count.
    const START: u64 = 1;
    /// Words between two looks at the loop's end.
    const UNROLLED: usize = 16;

    fn words(self, words: &[u32]) -> Self {
        let (blocks, tail) = words.as_chunks::<{ Self::UNROLLED }>();
        let front = blocks.iter().fold(self, |sum, block| block.iter().fold(sum, Self::word));
        tail.iter().fold(front, Self::word)
    }

    /// `K·lo + hi + w` is below 2⁶⁴, whatever they are.
    #[inline(always)]
    fn word(self, &word: &u32) -> Self {
        let (high, low) = (self.0 >> 32, self.0 & u64::from(u32::MAX));
        Self(u64::from(Self::MULTIPLIER) * low + high + u64::from(word))
    }
}

/// The checksum of a file: of the header's first four words, then of the body.
fn checksum(header: &[u32; CHECKED_WORDS], body: &[u32]) -> u64 {
    Checksum(Checksum::START).words(header).words(body).0
}

/// The header of a file with this body, of which the description takes the first
/// `description_bytes`. Bodies of 4 GiB and more are not representable; lengths saturate and the
/// loader then refuses the file.
pub fn write_header(description_bytes: usize, body: &[u32], flags: u16) -> [u8; HEADER_BYTES] {
    let length = |bytes: usize| u32::try_from(bytes).unwrap_or(u32::MAX);
    let front = [
        u32::from_le_bytes(MAGIC),
        u32::from(VERSION) | u32::from(flags) << 16,
        length(size_of_val(body)),
        length(description_bytes),
    ];
    let sum = checksum(&front, body);
    let words = [front[0], front[1], front[2], front[3], sum as u32, (sum >> 32) as u32];
    bytemuck::cast(words.map(u32::to_le_bytes))
}

/// A body whose header and checksum hold.
#[derive(Clone, Copy, Debug)]
pub(super) struct Body<'a> {
    /// Postcard, without its padding.
    pub description: &'a [u8],
    /// Weights and factors.
    pub arrays: &'a [u32],
}

/// The body of a file whose header and checksum hold.
pub(super) fn body(bytes: &[u8]) -> Result<Body<'_>, LoadError> {
    const { assert!(cfg!(target_endian = "little"), "words in flash are little-endian") };
    let truncated = |expected| LoadError::Truncated { expected, found: bytes.len() };
    let (header, rest) =
        bytes.split_first_chunk::<HEADER_BYTES>().ok_or(truncated(HEADER_BYTES))?;
    let words: [[u8; 4]; HEADER_BYTES / 4] = bytemuck::cast(*header);
    let [magic, version, length, description, low, high] = words.map(u32::from_le_bytes);
    if magic != u32::from_le_bytes(MAGIC) {
        return Err(LoadError::Magic);
    }
    if version as u16 != VERSION {
        return Err(LoadError::Version { found: version as u16 });
    }
    // Nothing verifies signatures yet, so a file that claims one is refused rather than trusted.
    let flags = (version >> 16) as u16;
    if flags != 0 {
        return Err(LoadError::Flags { found: flags });
    }
    let body_bytes = length as usize;
    let body = rest.get(..body_bytes).ok_or(truncated(body_bytes.saturating_add(HEADER_BYTES)))?;
    let padded = (description as usize).next_multiple_of(GRANULE);
    if !body_bytes.is_multiple_of(GRANULE) || padded > body_bytes {
        return Err(LoadError::Lengths);
    }
    let remainder = bytes.as_ptr().addr() % ALIGNMENT;
    let words = bytemuck::try_cast_slice(body).map_err(|_| LoadError::Alignment { remainder })?;
    let expected = u64::from(high) << 32 | u64::from(low);
    let found = checksum(&[magic, version, length, description], words);
    if found != expected {
        return Err(LoadError::Checksum { expected, found });
    }
    let arrays = words.get(padded / size_of::<u32>()..).unwrap_or_default();
    let description = body.get(..description as usize).unwrap_or_default();
    Ok(Body { description, arrays })
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

    /// The number for which a state stands.
    fn residue(state: u64) -> u128 {
        let (high, low) = (u128::from(state >> 32), u128::from(state as u32));
        (high + u128::from(Checksum::MULTIPLIER) * low) % MODULUS
    }

    #[test]
    fn the_checksum_is_the_file_modulo_a_prime() {
        let multiplier = u128::from(Checksum::MULTIPLIER);
        for length in 0..70 {
            let words = words(length);
            let start = residue(Checksum::START);
            let expected =
                words.iter().fold(start, |n, &w| (n + u128::from(w)) * multiplier % MODULUS);
            assert_eq!(residue(Checksum(Checksum::START).words(&words).0), expected, "{length}");
        }
    }

    /// Miller and Rabin; with the first twelve primes as bases it decides below 2⁶⁴.
    fn is_prime(n: u64) -> bool {
        let power = |base: u64, mut exponent: u64| {
            let (mut result, mut square) = (1u128, u128::from(base));
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
        [2, 3, 5, 7, 11, 13, 17, 19, 23, 29, 31, 37].into_iter().all(|base| {
            let first = power(base, (n - 1) >> twos);
            first == 1 || (0..twos).any(|i| power(base, (n - 1) >> (twos - i)) == n - 1)
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
            Checksum(Checksum::START).words(&words).0
        };
        let sound = flipped(&[]);
        for a in 0..32 * words.len() {
            assert!((0..a).all(|b| flipped(&[a, b]) != sound) && flipped(&[a]) != sound);
        }
    }

    #[test]
    fn leading_zeros_count() {
        let sums: Vec<u64> =
            (0..20).map(|n| Checksum(Checksum::START).words(&[0; 20][..n]).0).collect();
        assert!((1..20).all(|i| sums[..i].iter().all(|s| *s != sums[i])));
    }
}
