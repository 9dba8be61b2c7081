//! Updates of the model on a running device, over a byte stream, into one of two slots of a flash.
//! A power cut leaves an intact model at every moment.
//!
//! | stage | file | in | out |
//! |---|---|---|---|
//! | frames | [`frame`] | bytes of a line with errors | payloads whose CRC-32 is valid |
//! | messages | [`message`] | payloads | requests and replies |
//! | session | [`session`] | requests | operations on the store, and replies |
//! | signed package | [`package`] | a header of 128 bytes | version, lengths, CRC-32, signature |
//! | slots | [`store`] | header, then chunks | a slot that is written, checked, tried, confirmed |
//! | journal | [`journal`] | state of the slots | the newest intact record on two pages |
//! | self-test | [`self_test`] | the model of a slot | whether its logits are as expected |
//!
//! Nothing here depends on a device: the flash is an [`embedded_storage::nor_flash::NorFlash`], and
//! the trait gives the sizes of page and word. `docs/reference/update-protocol.md` documents the
//! bytes and the threats.

pub mod frame;
pub mod package;
pub mod journal;
pub mod message;
pub mod ram;
pub mod self_test;
pub mod session;
pub mod store;

use crc::{CRC_32_ISO_HDLC, Crc, Digest, NoTable};

/// CRC-32 as in Ethernet and zip (reflected `0xEDB88320`), without a table, which would take 1 KB.
static CRC32: Crc<u32, NoTable> = Crc::<u32, NoTable>::new(&CRC_32_ISO_HDLC);

/// CRC-32 computed in parts.
pub type Crc32 = Digest<'static, u32, NoTable>;

/// Returns the CRC-32 of no bytes yet.
pub fn crc32() -> Crc32 {
    CRC32.digest()
}

/// Returns the CRC-32 of `bytes`.
pub fn crc32_of(bytes: &[u8]) -> u32 {
    CRC32.checksum(bytes)
}

/// Returns the little-endian word at byte `at`; 0 beyond the end.
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
