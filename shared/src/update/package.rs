//! Signed package in a slot: a header, the model file, and its self-test.
//!
//! | offset | size | field |
//! |---:|---:|---|
//! | 0 | 4 | magic `WKUP` |
//! | 4 | 2 | format version, 1 |
//! | 6 | 2 | flags: bit 0, signed; bit 1, made on the device by enrollment |
//! | 8 | 4 | version of the model, which only increases |
//! | 12 | 4 | bytes of the model, a multiple of 8 |
//! | 16 | 4 | bytes of the self-test after it |
//! | 20 | 4 | CRC-32 of model and self-test |
//! | 24 | 32 | public key of the signer, or zeros |
//! | 56 | 64 | Ed25519 signature (RFC 8032) over bytes 0 … 55, model and self-test |
//! | 120 | 4 | zeros |
//! | 124 | 4 | CRC-32 of bytes 0 … 123 |
//!
//! All fields are little-endian. The model starts at byte 128, so it is aligned if the slot is.

use super::{crc32_of, message::Refusal, put, word};

/// Size of a header in bytes.
pub const HEADER_BYTES: usize = 128;
/// Number of header bytes that the signature covers.
pub const SIGNED_BYTES: usize = 56;
/// Size of a public key in bytes.
pub const KEY_BYTES: usize = 32;
/// Public half of the development key. The secret half is published in `host/device/src/update/keys.rs`,
/// so anyone can sign with it. A product pins its own key.
pub const DEVELOPMENT_KEY: [u8; KEY_BYTES] = [
    0xe1, 0xe5, 0x94, 0xf1, 0xfc, 0x75, 0x2c, 0x45, 0xd5, 0x05, 0xf0, 0x52, 0x31, 0xde, 0x24, 0xe8,
    0x9c, 0x73, 0x46, 0xe7, 0x4c, 0x71, 0x8f, 0x45, 0x99, 0x3c, 0x9e, 0x9a, 0x4b, 0x0f, 0xca, 0xfa,
];
/// Size of a signature in bytes.
pub const SIGNATURE_BYTES: usize = 64;
/// First four bytes of a package.
const MAGIC: u32 = u32::from_le_bytes(*b"WKUP");
const FORMAT: u16 = 1;
/// Flag bit 0: signed.
const SIGNED: u16 = 1;
/// Flag bit 1: made on the device by enrollment.
const ENROLLED: u16 = 2;
/// Models start and end at multiples of this many bytes.
const GRANULE: u32 = 8;
/// Offset of the CRC-32 of the header.
const CRC_AT: usize = HEADER_BYTES - 4;

/// Fields of a header.
///
/// ```
/// use wakeling_shared::update::{crc32_of, package::Header};
///
/// let body = [0; 64]; // a model of 56 bytes and a self-test of 8
/// let header = Header {
///     version: 3,
///     model_bytes: 56,
///     test_bytes: 8,
///     body_crc: crc32_of(&body),
///     signature: None,
///     enrolled: false,
/// };
/// let mut bytes = header.encode();
/// assert_eq!(Header::decode(&bytes), Ok(header));
/// bytes[8] ^= 1; // the version
/// assert!(Header::decode(&bytes).is_err());
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Header {
    /// Version of the model.
    pub version: u32,
    /// Size of the model file in bytes.
    pub model_bytes: u32,
    /// Size of the self-test in bytes.
    pub test_bytes: u32,
    /// CRC-32 of model and self-test.
    pub body_crc: u32,
    /// Public key and signature, if the package is signed.
    pub signature: Option<Signature>,
    /// `true` if the device made the model itself by enrollment.
    pub enrolled: bool,
}

/// A signature and the public key that verifies it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Signature {
    /// Public key of the signer.
    pub key: [u8; KEY_BYTES],
    /// The signature.
    pub bytes: [u8; SIGNATURE_BYTES],
}

impl Header {
    /// Number of bytes after the header.
    pub fn body_bytes(&self) -> u32 {
        self.model_bytes.saturating_add(self.test_bytes)
    }

    /// Encodes the header.
    pub fn encode(&self) -> [u8; HEADER_BYTES] {
        let mut bytes = [0; HEADER_BYTES];
        let signed = if self.signature.is_some() { SIGNED } else { 0 };
        let flags = signed | if self.enrolled { ENROLLED } else { 0 };
        let front = [
            MAGIC,
            u32::from(FORMAT) | u32::from(flags) << 16,
            self.version,
            self.model_bytes,
            self.test_bytes,
            self.body_crc,
        ];
        for (i, word) in front.into_iter().enumerate() {
            put(&mut bytes, 4 * i, word);
        }
        if let Some(signature) = &self.signature {
            bytes[24..SIGNED_BYTES].copy_from_slice(&signature.key);
            bytes[SIGNED_BYTES..SIGNED_BYTES + SIGNATURE_BYTES].copy_from_slice(&signature.bytes);
        }
        let sum = crc32_of(&bytes[..CRC_AT]);
        put(&mut bytes, CRC_AT, sum);
        bytes
    }

    /// Decodes a header.
    ///
    /// # Errors
    /// [`Refusal::Header`] if the bytes are no header or were changed; [`Refusal::Format`] if the
    /// format or a flag is unknown.
    pub fn decode(bytes: &[u8]) -> Result<Self, Refusal> {
        let bytes: &[u8; HEADER_BYTES] = bytes.try_into().map_err(|_| Refusal::Header)?;
        if word(bytes, 0) != MAGIC || word(bytes, CRC_AT) != crc32_of(&bytes[..CRC_AT]) {
            return Err(Refusal::Header);
        }
        let [format, flags] = [word(bytes, 4) as u16, (word(bytes, 4) >> 16) as u16];
        if format != FORMAT || flags & !(SIGNED | ENROLLED) != 0 {
            return Err(Refusal::Format);
        }
        let signature = || {
            let (key, rest) = bytes.get(24..)?.split_first_chunk()?;
            Some(Signature { key: *key, bytes: *rest.first_chunk()? })
        };
        let header = Self {
            version: word(bytes, 8),
            model_bytes: word(bytes, 12),
            test_bytes: word(bytes, 16),
            body_crc: word(bytes, 20),
            signature: if flags & SIGNED != 0 { signature() } else { None },
            enrolled: flags & ENROLLED != 0,
        };
        let whole = header.model_bytes.checked_add(header.test_bytes).is_some();
        let aligned = header.model_bytes.is_multiple_of(GRANULE);
        if whole && aligned && header.encode() == *bytes {
            Ok(header)
        } else {
            Err(Refusal::Header)
        }
    }
}

/// Decides whose models a device accepts.
pub trait Authority {
    /// State of a check in progress.
    type Check;

    /// Required public key, if any.
    fn key(&self) -> Option<[u8; KEY_BYTES]>;

    /// Starts to check a package.
    ///
    /// # Errors
    /// [`Refusal::Unsigned`] or [`Refusal::ForeignKey`] if the required key did not sign it.
    fn begin(&self, header: &Header) -> Result<Self::Check, Refusal>;

    /// Adds the next bytes of model and self-test.
    fn absorb(&self, check: &mut Self::Check, bytes: &[u8]);

    /// Checks the signature over all bytes.
    ///
    /// # Errors
    /// [`Refusal::Signature`] if it does not match.
    fn finish(&self, check: Self::Check) -> Result<(), Refusal>;
}

/// Accepts every model.
#[derive(Clone, Copy, Debug)]
pub struct Anyone;

impl Authority for Anyone {
    type Check = ();

    fn key(&self) -> Option<[u8; KEY_BYTES]> {
        None
    }

    fn begin(&self, _: &Header) -> Result<(), Refusal> {
        Ok(())
    }

    fn absorb(&self, (): &mut (), _: &[u8]) {}

    fn finish(&self, (): ()) -> Result<(), Refusal> {
        Ok(())
    }
}

/// Accepts only models signed with one key.
#[cfg(feature = "signature")]
#[derive(Clone, Copy, Debug)]
pub struct Pinned(pub [u8; KEY_BYTES]);

#[cfg(feature = "signature")]
impl Authority for Pinned {
    type Check = ed25519_compact::VerifyingState;

    fn key(&self) -> Option<[u8; KEY_BYTES]> {
        Some(self.0)
    }

    fn begin(&self, header: &Header) -> Result<Self::Check, Refusal> {
        let signature = header.signature.as_ref().ok_or(Refusal::Unsigned)?;
        if signature.key != self.0 {
            return Err(Refusal::ForeignKey);
        }
        // Uses the pinned key rather than the one in the header.
        let key = ed25519_compact::PublicKey::new(self.0);
        let signature = ed25519_compact::Signature::new(signature.bytes);
        let mut check = key.verify_incremental(&signature).map_err(|_| Refusal::Signature)?;
        check.absorb(&header.encode()[..SIGNED_BYTES]);
        Ok(check)
    }

    fn absorb(&self, check: &mut Self::Check, bytes: &[u8]) {
        check.absorb(bytes);
    }

    fn finish(&self, check: Self::Check) -> Result<(), Refusal> {
        check.verify().map_err(|_| Refusal::Signature)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header() -> Header {
        let signature = Signature { key: [7; KEY_BYTES], bytes: [9; SIGNATURE_BYTES] };
        Header {
            version: 3,
            model_bytes: 4_096,
            test_bytes: 100,
            body_crc: 0x1234_5678,
            signature: Some(signature),
            enrolled: false,
        }
    }

    #[test]
    fn a_header_reads_back() {
        for header in [header(), Header { signature: None, enrolled: true, ..header() }] {
            assert_eq!(Header::decode(&header.encode()), Ok(header));
        }
    }

    #[test]
    fn every_flipped_bit_is_refused() {
        let bytes = header().encode();
        for bit in 0..8 * HEADER_BYTES {
            let mut damaged = bytes;
            damaged[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(Header::decode(&damaged), Err(Refusal::Header), "bit {bit}");
        }
        assert_eq!(Header::decode(&bytes[1..]), Err(Refusal::Header));
    }

    #[test]
    fn lengths_that_make_no_sense_are_refused() {
        for (model_bytes, test_bytes) in [(4_097, 0), (u32::MAX - 7, 8)] {
            let header = Header { model_bytes, test_bytes, ..header() };
            assert_eq!(Header::decode(&header.encode()), Err(Refusal::Header));
        }
    }
}
