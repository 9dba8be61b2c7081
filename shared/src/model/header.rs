//! The 24 bytes before the body: magic, version, flags, lengths and checksum, all little-endian.

use super::{check::ShapeError, checksum::Checksum};
use crate::decimal::Decimal;

/// The first four bytes of every model file.
pub const MAGIC: [u8; 4] = *b"WKLG";
/// Format version that this code writes, and the only one that it reads.
pub const VERSION: u16 = 2;
/// Header length in bytes.
pub const HEADER_BYTES: usize = 24;
/// Number of header words that the checksum covers: all but the checksum itself.
const CHECKED_WORDS: usize = 4;
/// Alignment of a model and of its weights, in bytes; see [`LoadError::Alignment`].
pub const ALIGNMENT: usize = 4;
/// Granularity of the lengths of description and arrays, in bytes.
pub(super) const GRANULE: usize = 8;
/// Flag bit 0, reserved for a signature: 64 bytes of Ed25519 over header and body, after the body.
/// This version rejects it.
pub const FLAG_SIGNED: u16 = 1;
/// Flag bit 1: the network is for images ([`ImageModel`](super::ImageModel)) rather than sound.
pub const FLAG_IMAGE: u16 = 2;

/// Reason for which a model file is rejected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LoadError {
    /// The file is shorter than its header, or than the length in the header.
    Truncated {
        /// Number of bytes required.
        expected: usize,
        /// Number of bytes present.
        found: usize,
    },
    /// The first four bytes are not [`MAGIC`], so this is no model file.
    Magic,
    /// Another version of Wakeling made the file.
    Version {
        /// Version in the header.
        found: u16,
    },
    /// The header has a flag bit that this version does not define.
    Flags {
        /// Flags in the header.
        found: u16,
    },
    /// The network is for images where one for sound is expected, or the other way round.
    Kind {
        /// `true` if the network is for images.
        image: bool,
    },
    /// The bytes do not start at a multiple of [`ALIGNMENT`], so weights cannot be read as words.
    Alignment {
        /// Remainder of the address.
        remainder: usize,
    },
    /// A length in the header is not a multiple of 8, or the description is longer than the body.
    Lengths,
    /// The bytes differ from those that were written.
    Checksum {
        /// Checksum in the header.
        expected: u64,
        /// Checksum of the bytes.
        found: u64,
    },
    /// The description is not a postcard encoding of a model.
    Body,
    /// The description has bytes after the model.
    Trailing {
        /// Number of those bytes.
        bytes: usize,
    },
    /// The arrays differ in length from what the description implies.
    Arrays {
        /// Number of words that the description implies.
        expected: usize,
        /// Number of words present.
        found: usize,
    },
    /// The values of the model contradict each other.
    Shape(ShapeError),
}

impl From<ShapeError> for LoadError {
    fn from(error: ShapeError) -> Self {
        Self::Shape(error)
    }
}

impl core::fmt::Display for LoadError {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        let number = Decimal::of::<usize>;
        match *self {
            Self::Truncated { expected, found } => {
                let [expected, found] = [number(expected), number(found)];
                write!(f, "truncated: {expected} bytes expected, {found} found")
            }
            Self::Magic => write!(f, "not a Wakeling model (it does not begin with WKLG)"),
            Self::Version { found } => {
                let [found, own] = [number(found.into()), number(VERSION.into())];
                write!(f, "format version {found}; this program reads version {own}")
            }
            Self::Flags { found } => write!(f, "unknown flags {}", number(found.into())),
            Self::Kind { image: true } => write!(f, "a network for images, not for sound"),
            Self::Kind { image: false } => write!(f, "a network for sound, not for images"),
            Self::Alignment { remainder } => {
                let [remainder, whole] = [number(remainder), number(ALIGNMENT)];
                write!(f, "at an address of remainder {remainder}, not at a multiple of {whole}")
            }
            Self::Lengths => write!(f, "the lengths in the header contradict each other"),
            Self::Checksum { .. } => write!(f, "damaged: checksum and content disagree"),
            Self::Body => write!(f, "the description is not a model's"),
            Self::Trailing { bytes } => {
                write!(f, "{} stray bytes after the description", number(bytes))
            }
            Self::Arrays { expected, found } => {
                let [expected, found] = [number(expected), number(found)];
                write!(f, "{expected} words of weights expected, {found} found")
            }
            Self::Shape(error) => write!(f, "inconsistent model: {error}"),
        }
    }
}

impl core::error::Error for LoadError {}

/// Returns the checksum of the header's first four words, then of the body.
fn checksum(header: &[u32; CHECKED_WORDS], body: &[u32]) -> u64 {
    Checksum::START.words(header).words(body).value()
}

/// Builds the header of a file with this body, whose first `description_bytes` are the description.
/// A body of 4 GiB or more is not representable: its lengths saturate, and the loader rejects the
/// file.
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

/// Check of a file's checksum, a part at a time; see
/// [`Model::load_deferred`](super::Model::load_deferred).
#[derive(Clone, Copy, Debug)]
pub struct IntegrityCheck<'a> {
    sum: Checksum,
    rest: &'a [u32],
    expected: u64,
}

impl IntegrityCheck<'_> {
    /// Reads the next `words` words of the file. Returns `true` once all of them were read and the
    /// checksum agrees. Multiples of 54 are the fastest.
    ///
    /// # Errors
    /// [`LoadError::Checksum`] if the file is damaged, at the last part and at every call after it.
    #[inline(never)]
    pub fn advance(&mut self, words: usize) -> Result<bool, LoadError> {
        let (part, rest) = self.rest.split_at_checked(words).unwrap_or((self.rest, &[]));
        self.sum = self.sum.words(part);
        self.rest = rest;
        if !rest.is_empty() {
            return Ok(false);
        }
        let (expected, found) = (self.expected, self.sum.value());
        if found == expected { Ok(true) } else { Err(LoadError::Checksum { expected, found }) }
    }

    /// Reads the rest of the file.
    ///
    /// # Errors
    /// As [`IntegrityCheck::advance`].
    pub fn finish(&mut self) -> Result<(), LoadError> {
        self.advance(usize::MAX).map(drop)
    }
}

/// The body of a file whose header is valid.
#[derive(Clone, Copy, Debug)]
pub(super) struct Body<'a> {
    /// Postcard encoding, without its padding.
    pub description: &'a [u8],
    /// Weights and factors.
    pub arrays: &'a [u32],
}

/// Checks the header, and returns the body and the check of its checksum, which is still to be done.
/// `kind` is the expected flag, 0 for sound.
pub(super) fn body(bytes: &[u8], kind: u16) -> Result<(Body<'_>, IntegrityCheck<'_>), LoadError> {
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
    // Nothing verifies signatures yet, so a file that claims one is rejected rather than trusted.
    let flags = (version >> 16) as u16;
    if flags & !FLAG_IMAGE != 0 {
        return Err(LoadError::Flags { found: flags });
    }
    if flags != kind {
        return Err(LoadError::Kind { image: flags & FLAG_IMAGE != 0 });
    }
    let body_bytes = length as usize;
    let body = rest.get(..body_bytes).ok_or(truncated(body_bytes.saturating_add(HEADER_BYTES)))?;
    let padded = (description as usize).next_multiple_of(GRANULE);
    if !body_bytes.is_multiple_of(GRANULE) || padded > body_bytes {
        return Err(LoadError::Lengths);
    }
    let remainder = bytes.as_ptr().addr() % ALIGNMENT;
    let words = bytemuck::try_cast_slice(body).map_err(|_| LoadError::Alignment { remainder })?;
    let check = IntegrityCheck {
        sum: Checksum::START.words(&[magic, version, length, description]),
        rest: words,
        expected: u64::from(high) << 32 | u64::from(low),
    };
    let arrays = words.get(padded / size_of::<u32>()..).unwrap_or_default();
    let description = body.get(..description as usize).unwrap_or_default();
    Ok((Body { description, arrays }, check))
}
