//! Another model for a running device: over a byte stream, into one of two slots of a flash, without
//! a moment at which a power cut leaves no whole model.
//!
//! | stage | file | in | out |
//! |---|---|---|---|
//! | frames | [`frame`] | bytes of a line that may lose or add some | payloads whose CRC-32 holds |
//! | messages | [`message`] | payloads | requests and replies |
//! | session | [`session`] | requests | what is done to the store, and replies |
//! | image | [`image`] | a header of 128 bytes | version, lengths, CRC-32, signature |
//! | slots | [`store`] | header, then chunks | a slot that is written, checked, tried, confirmed |
//! | journal | [`journal`] | which slot counts | the last of two pages of records that is whole |
//! | self-test | [`self_test`] | the model of a slot | whether it says what it should |
//!
//! Nothing here knows a device: the flash is an [`embedded_storage::nor_flash::NorFlash`], whose page
//! and word are taken from the trait. `docs/reference/update-protocol.md` has the
//! bytes and the threats.

pub mod frame;
pub mod image;
pub mod journal;
pub mod message;
pub mod ram;
pub mod self_test;
pub mod session;
pub mod store;

use crc::{CRC_32_ISO_HDLC, Crc, Digest, NoTable};

/// CRC-32 as in Ethernet and zip (reflected `0xEDB88320`); without a table, which is a kilobyte.
static CRC32: Crc<u32, NoTable> = Crc::<u32, NoTable>::new(&CRC_32_ISO_HDLC);

/// A CRC-32 that takes bytes in parts.
pub type Crc32 = Digest<'static, u32, NoTable>;

/// The CRC-32 of nothing yet.
pub fn crc32() -> Crc32 {
    CRC32.digest()
}

/// The CRC-32 of `bytes`.
pub fn crc32_of(bytes: &[u8]) -> u32 {
    CRC32.checksum(bytes)
}

/// A little-endian word at byte `at`; 0 beyond the end.
pub(crate) fn word(bytes: &[u8], at: usize) -> u32 {
    let bytes = bytes.get(at..).and_then(|rest| rest.first_chunk());
    bytes.map_or(0, |&bytes| u32::from_le_bytes(bytes))
}

/// Writes a little-endian word at byte `at`, if there is room.
pub(crate) fn put(bytes: &mut [u8], at: usize, word: u32) {
    if let Some(slot) = bytes.get_mut(at..).and_then(|rest| rest.first_chunk_mut()) {
        *slot = word.to_le_bytes();
    }
}
