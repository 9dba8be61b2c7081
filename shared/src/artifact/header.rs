//! The 24 bytes before the body: magic, version, flags, lengths, checksum; all little-endian.

use super::{check::ShapeError, checksum::Checksum};
use crate::decimal::Decimal;

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
/// Flag bit 1: the network is for images ([`ImageModel`](super::ImageModel)), not for sound.
pub const FLAG_IMAGE: u16 = 2;

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
    /// The network is for images where one for sound was wanted, or the other way round.
    Kind {
        /// It is for images.
        image: bool,
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

/// The checksum of a file: of the header's first four words, then of the body.
fn checksum(header: &[u32; CHECKED_WORDS], body: &[u32]) -> u64 {
    Checksum::START.words(header).words(body).value()
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

/// The body of a file of this kind (its flag, or 0 for sound) whose header and checksum hold.
pub(super) fn body(bytes: &[u8], kind: u16) -> Result<Body<'_>, LoadError> {
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
    let expected = u64::from(high) << 32 | u64::from(low);
    let found = checksum(&[magic, version, length, description], words);
    if found != expected {
        return Err(LoadError::Checksum { expected, found });
    }
    let arrays = words.get(padded / size_of::<u32>()..).unwrap_or_default();
    let description = body.get(..description as usize).unwrap_or_default();
    Ok(Body { description, arrays })
}
