//! Parts of a program that go into flash, from an ELF file, an Intel HEX file, or the binary of an ESP32.

use super::{Part, Source, elf, hex};
use crate::{
    Error, Result,
    board::{Board, Loader},
};

/// First byte of an image that an ESP32's ROM or bootloader starts (ESP-IDF, "App Image Format").
const ESP_IMAGE: u8 = 0xE9;
/// Offset in an ESP32-C3's flash of the table of partitions, and its first bytes (ESP-IDF, "Partition Tables").
const ESP_PARTITIONS: (usize, [u8; 2]) = (0x8000, [0xAA, 0x50]);

/// Returns the parts of a program for `board`, each inside the region for it.
///
/// The binary of an ESP32 holds bootloader, partitions and program, from the first byte of flash on. An ELF
/// file for an ESP32 has no parts, since espflash makes an image of it that the ROM can load.
///
/// # Errors
/// [`Error::NotFirmware`] if it is no program for the board; [`Error::OutsideRegion`].
pub fn parts(board: &Board, source: Source<'_>) -> Result<Vec<Part>> {
    match (source.bytes.first(), board.loader) {
        (Some(&hex::FIRST), Loader::Probe | Loader::ProbeOrUf2 { .. }) => of_hex(board, source),
        (Some(&ESP_IMAGE), Loader::Espflash) => Ok(vec![of_binary(board, source)?]),
        _ => elf::parts(board, source),
    }
}

fn refuse(board: &Board, source: Source<'_>, problem: String) -> Error {
    Error::NotFirmware { path: source.path.to_owned(), board: board.name, problem }
}

fn of_hex(board: &Board, source: Source<'_>) -> Result<Vec<Part>> {
    let parts =
        hex::read(source.bytes).map_err(|error| refuse(board, source, error.to_string()))?;
    if parts.is_empty() {
        return Err(refuse(board, source, "it has no data".to_owned()));
    }
    let program = parts.into_iter().map(|part| Part { what: "program", ..part });
    program.map(|part| part.within(&board.program, board, source.path)).collect()
}

fn of_binary(board: &Board, source: Source<'_>) -> Result<Part> {
    let (table, start) = ESP_PARTITIONS;
    let has =
        |at: usize, bytes: &[u8]| source.bytes.get(at..).is_some_and(|b| b.starts_with(bytes));
    if !has(table, &start) || !has(board.program.start as usize, &[ESP_IMAGE]) {
        let problem = "it lacks a table of partitions, or a program behind it".to_owned();
        return Err(refuse(board, source, problem));
    }
    let part = Part { what: "program", address: 0, bytes: source.bytes.to_vec() };
    part.within(&(0..board.program.end), board, source.path)
}
