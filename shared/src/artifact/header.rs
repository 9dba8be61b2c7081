//! The 16 bytes before the body: magic, version, flags, length, checksum; all little-endian.

use super::check::ShapeError;

/// The first four bytes of every model file.
pub const MAGIC: [u8; 4] = *b"WKLG";
/// The version this code writes, and the only one so far that it reads.
pub const VERSION: u16 = 1;
/// Header length in bytes.
pub const HEADER_BYTES: usize = 16;
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
    /// The body is not the one that was written.
    Checksum {
        /// CRC-32 in the header.
        expected: u32,
        /// CRC-32 of the body.
        found: u32,
    },
    /// The body is no postcard encoding of a model.
    Body,
    /// Bytes are left over within the body.
    Trailing {
        /// How many.
        bytes: usize,
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
            Self::Checksum { expected, found } => {
                write!(f, "damaged: checksum {found:08x}, header says {expected:08x}")
            }
            Self::Body => write!(f, "the body is not a model"),
            Self::Trailing { bytes } => write!(f, "{bytes} stray bytes after the model"),
            Self::Shape(error) => write!(f, "inconsistent model: {error:?}"),
        }
    }
}

impl core::error::Error for LoadError {}

/// CRC-32 as in zlib and Ethernet (ISO-HDLC): polynomial 0xEDB88320 reflected, initial and final
/// value 0xFFFFFFFF. `crc32(b"123456789") = 0xCBF43926`.
pub fn crc32(bytes: &[u8]) -> u32 {
    let (words, tail) = bytes.as_chunks::<4>();
    // A word at a time: the lowest byte goes first, so one exclusive or serves four steps.
    let crc = words.iter().fold(u32::MAX, |crc, &word| {
        (0..4).fold(crc ^ u32::from_le_bytes(word), |crc, _| crc_step(crc))
    });
    !tail.iter().fold(crc, |crc, &byte| crc_step(crc ^ u32::from(byte)))
}

/// Divides the lowest byte away.
#[inline(always)]
fn crc_step(crc: u32) -> u32 {
    /// 1 KB. Sixteen entries, for half a byte a time, cost 9 instructions a byte instead of 4; four
    /// tables, for a word a time, save loads that depend on each other but no instruction.
    static TABLE: [u32; 256] = crc_table();
    (crc >> 8) ^ TABLE[(crc & 0xFF) as usize]
}

const fn crc_table() -> [u32; 256] {
    let mut table = [0; 256];
    let mut i = 0;
    while i < table.len() {
        let mut crc = i as u32;
        let mut bit = 0;
        while bit < 8 {
            crc = (crc >> 1) ^ if crc & 1 == 1 { 0xEDB8_8320 } else { 0 };
            bit += 1;
        }
        table[i] = crc;
        i += 1;
    }
    table
}

/// The header for `body`. Bodies of 4 GiB and more are not representable; `length` saturates and the
/// loader then refuses the file.
pub fn write_header(body: &[u8], flags: u16) -> [u8; HEADER_BYTES] {
    let mut header = [0; HEADER_BYTES];
    let length = u32::try_from(body.len()).unwrap_or(u32::MAX);
    header[..4].copy_from_slice(&MAGIC);
    header[4..6].copy_from_slice(&VERSION.to_le_bytes());
    header[6..8].copy_from_slice(&flags.to_le_bytes());
    header[8..12].copy_from_slice(&length.to_le_bytes());
    header[12..].copy_from_slice(&crc32(body).to_le_bytes());
    header
}

/// The body of a file whose header and checksum hold.
pub(super) fn body(bytes: &[u8]) -> Result<&[u8], LoadError> {
    let truncated = |expected| LoadError::Truncated { expected, found: bytes.len() };
    let (header, rest) =
        bytes.split_first_chunk::<HEADER_BYTES>().ok_or(truncated(HEADER_BYTES))?;
    let [m0, m1, m2, m3, v0, v1, f0, f1, l0, l1, l2, l3, c0, c1, c2, c3] = *header;
    if [m0, m1, m2, m3] != MAGIC {
        return Err(LoadError::Magic);
    }
    let version = u16::from_le_bytes([v0, v1]);
    if version != VERSION {
        return Err(LoadError::Version { found: version });
    }
    let flags = u16::from_le_bytes([f0, f1]);
    // Nothing verifies signatures yet, so a file that claims one is refused rather than trusted.
    if flags != 0 {
        return Err(LoadError::Flags { found: flags });
    }
    let length = u32::from_le_bytes([l0, l1, l2, l3]) as usize;
    let body = rest.get(..length).ok_or(truncated(length.saturating_add(HEADER_BYTES)))?;
    let expected = u32::from_le_bytes([c0, c1, c2, c3]);
    let found = crc32(body);
    if found == expected { Ok(body) } else { Err(LoadError::Checksum { expected, found }) }
}

#[cfg(test)]
mod tests {
    extern crate std;
    use super::*;
    use std::vec::Vec;

    /// The division by the polynomial, bit by bit.
    fn crc32_reference(bytes: &[u8]) -> u32 {
        !bytes.iter().fold(u32::MAX, |crc, &byte| {
            (0..8).fold(crc ^ u32::from(byte), |crc, _| {
                (crc >> 1) ^ if crc & 1 == 1 { 0xEDB8_8320 } else { 0 }
            })
        })
    }

    #[test]
    fn the_checksum_is_that_of_zlib_at_every_length_and_alignment() {
        assert_eq!(crc32(b"123456789"), 0xCBF4_3926);
        let bytes: Vec<u8> = (0..64u32).map(|i| (i * i * 31 + i * 7) as u8).collect();
        for start in 0..8 {
            for end in start..bytes.len() {
                let part = &bytes[start..end];
                assert_eq!(crc32(part), crc32_reference(part), "{start}..{end}");
            }
        }
    }
}
