//! UF2 files, which a board with a drive writes into its own flash (github.com/microsoft/uf2).
//!
//! A file consists of blocks of 512 bytes. Each holds 256 bytes of flash, their address, its number
//! and the number of blocks. Whole sectors of 4 KiB are written, with `0xFF` where the plan has
//! nothing, since the RP2040's boot ROM mishandles sectors that are filled in part (erratum
//! RP2040-E14).

use std::collections::BTreeMap;

use super::{Part, Plan};
use crate::board::Family;

/// Length of a block.
pub const BLOCK_BYTES: usize = 512;
/// Bytes of flash in a block.
const PAYLOAD_BYTES: usize = 256;
/// Bytes that boards with a drive erase at a time.
const SECTOR_BYTES: usize = 4096;
const MAGIC_START: [u32; 2] = [0x0A32_4655, 0x9E5D_5157];
const MAGIC_END: u32 = 0x0AB1_6F30;
const FLAG_NOT_MAIN_FLASH: u32 = 0x0000_0001;
const FLAG_FAMILY: u32 = 0x0000_2000;
const FLAG_EXTENSIONS: u32 = 0x0000_8000;
/// Words of a block's head, and the offset of its payload.
const HEAD_WORDS: usize = 8;
const HEAD_BYTES: usize = 4 * HEAD_WORDS;

/// Erratum RP2350-E10: a boot ROM with a partition table drops the first block that it gets of a
/// family. picotool therefore puts a block in front of the file that is marked to be ignored.
mod e10 {
    /// Family of absolute addresses (RP2350 datasheet, 5.5.3).
    pub const FAMILY: u32 = 0xE48B_FF57;
    /// Last page of the flash's window.
    pub const ADDRESS: u32 = 0x10FF_FF00;
    /// Fill byte of the page.
    pub const FILL: u8 = 0xEF;
    /// `UF2_EXTENSION_RP2_IGNORE_BLOCK`, placed behind the payload.
    pub const IGNORE: u32 = 0x9957_E304;
}

/// Converts a plan to a file.
///
/// ```
/// use wakeling_device::{board::{Board, Family}, flash::{Part, Plan, uf2}};
///
/// let board = Board::named("pico")?;
/// let part = Part { what: "model", address: board.model.start, bytes: vec![7; 5_000] };
/// let file = uf2::write(&Plan { board, parts: vec![part], load_percent: None }, Family::Rp2040);
/// assert_eq!(file.len(), 2 * 4_096 / 256 * uf2::BLOCK_BYTES); // two sectors
///
/// let parts = uf2::read(&file, Family::Rp2040).unwrap();
/// assert_eq!(parts[0].bytes[..5_000], [7; 5_000]);
/// assert_eq!(uf2::read(&file, Family::Rp2350ArmS), Ok(vec![])); // for another chip
/// # Ok::<(), wakeling_device::Error>(())
/// ```
pub fn write(plan: &Plan, family: Family) -> Vec<u8> {
    let mut pages: Vec<(u32, [u8; PAYLOAD_BYTES])> = Vec::new();
    for (address, sector) in sectors(plan) {
        let (chunks, _) = sector.as_chunks();
        let addresses = (address..).step_by(PAYLOAD_BYTES);
        pages.extend(addresses.zip(chunks.iter().copied()));
    }
    let mut file = Vec::with_capacity((pages.len() + 1) * BLOCK_BYTES);
    if family == Family::Rp2350ArmS {
        file.extend(ignored_block());
    }
    let all = pages.len() as u32;
    for (number, (address, page)) in (0..).zip(&pages) {
        file.extend(block([FLAG_FAMILY, *address, number, all, family.id()], page));
    }
    file
}

/// Returns the plan's parts, laid out in sectors.
fn sectors(plan: &Plan) -> BTreeMap<u32, [u8; SECTOR_BYTES]> {
    let mut sectors = BTreeMap::new();
    for part in &plan.parts {
        for (address, byte) in (part.address..).zip(&part.bytes) {
            let offset = address as usize % SECTOR_BYTES;
            let sector = sectors.entry(address - offset as u32).or_insert([0xFF; SECTOR_BYTES]);
            sector[offset] = *byte;
        }
    }
    sectors
}

/// Builds a block from flags, address, number, number of blocks, family, and payload.
fn block(
    [flags, address, number, all, family]: [u32; 5],
    payload: &[u8; PAYLOAD_BYTES],
) -> [u8; BLOCK_BYTES] {
    let head =
        [MAGIC_START[0], MAGIC_START[1], flags, address, PAYLOAD_BYTES as u32, number, all, family];
    let mut block = [0; BLOCK_BYTES];
    for (place, word) in block.chunks_exact_mut(4).zip(head) {
        place.copy_from_slice(&word.to_le_bytes());
    }
    block[HEAD_BYTES..HEAD_BYTES + PAYLOAD_BYTES].copy_from_slice(payload);
    block[BLOCK_BYTES - 4..].copy_from_slice(&MAGIC_END.to_le_bytes());
    block
}

fn ignored_block() -> [u8; BLOCK_BYTES] {
    let flags = FLAG_FAMILY | FLAG_EXTENSIONS;
    let mut block = block([flags, e10::ADDRESS, 0, 2, e10::FAMILY], &[e10::FILL; PAYLOAD_BYTES]);
    let behind = HEAD_BYTES + PAYLOAD_BYTES;
    block[behind..behind + 4].copy_from_slice(&e10::IGNORE.to_le_bytes());
    block
}

/// Reason why a file is not a UF2 file, with the index of the block, from 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Uf2Error {
    /// The length is not a multiple of the block length.
    #[error("{bytes} bytes are no whole number of blocks of {BLOCK_BYTES}")]
    Length {
        /// Length of the file.
        bytes: usize,
    },
    /// A magic number is wrong.
    #[error("block {block} is none of UF2's")]
    Magic {
        /// Index of the block.
        block: usize,
    },
    /// The stated payload does not fit a block.
    #[error("block {block} claims {bytes} bytes, and 476 is the maximum")]
    Payload {
        /// Index of the block.
        block: usize,
        /// Stated length of the payload.
        bytes: u32,
    },
    /// Blocks are missing or in another order.
    #[error("block {block} claims to be number {found} of {all}")]
    Order {
        /// Index of the block.
        block: usize,
        /// Stated number of the block.
        found: u32,
        /// Stated number of blocks.
        all: u32,
    },
}

/// Returns what a file writes for `family`, as contiguous parts in the file's order.
///
/// # Errors
/// [`Uf2Error`] if the file is not a valid UF2 file.
pub fn read(file: &[u8], family: Family) -> Result<Vec<Part>, Uf2Error> {
    let (blocks, rest) = file.as_chunks::<BLOCK_BYTES>();
    if !rest.is_empty() {
        return Err(Uf2Error::Length { bytes: file.len() });
    }
    let mut parts: Vec<Part> = Vec::new();
    let mut expected = 0;
    for (index, block) in blocks.iter().enumerate() {
        let (words, _) = block.as_chunks::<4>();
        let word = |i: usize| u32::from_le_bytes(words[i]);
        if [word(0), word(1)] != MAGIC_START || word(BLOCK_BYTES / 4 - 1) != MAGIC_END {
            return Err(Uf2Error::Magic { block: index });
        }
        let (flags, address, bytes, number, all) = (word(2), word(3), word(4), word(5), word(6));
        let payload = block[..BLOCK_BYTES - 4].get(HEAD_BYTES..HEAD_BYTES + bytes as usize);
        let payload = payload.ok_or(Uf2Error::Payload { block: index, bytes })?;
        if flags & FLAG_NOT_MAIN_FLASH != 0 || flags & FLAG_FAMILY == 0 || word(7) != family.id() {
            continue;
        }
        if number != expected || all <= number {
            return Err(Uf2Error::Order { block: index, found: number, all });
        }
        expected += 1;
        match parts.last_mut() {
            Some(part) if part.range().end == u64::from(address) => {
                part.bytes.extend_from_slice(payload);
            }
            _ => parts.push(Part { what: "flash", address, bytes: payload.to_vec() }),
        }
    }
    Ok(parts)
}
