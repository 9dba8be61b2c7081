//! Parts of an ELF file that go into flash: the contents of its loadable segments, at the addresses
//! where they are stored (not where they run).

use object::{
    Endianness,
    elf::{FileHeader32, PT_LOAD},
    read::elf::{FileHeader, ProgramHeader},
};

use super::{Part, Source};
use crate::{
    Error, Result,
    board::{Board, Loader},
};

/// Returns the parts of a program for `board`. There are none for an ESP32, since espflash makes an
/// image of the whole program that the ROM can load.
///
/// # Errors
/// [`Error::NotFirmware`] if it is not a 32-bit ELF file or has nothing to load;
/// [`Error::OutsideRegion`].
pub fn parts(board: &Board, source: Source<'_>) -> Result<Vec<Part>> {
    let refuse = |problem: String| Error::NotFirmware {
        path: source.path.to_owned(),
        board: board.name,
        problem,
    };
    let parse =
        |error: object::Error| refuse(format!("no ELF file for a microcontroller: {error}"));
    let header = FileHeader32::<Endianness>::parse(source.bytes).map_err(parse)?;
    let endian = header.endian().map_err(parse)?;
    let segments = header.program_headers(endian, source.bytes).map_err(parse)?;
    if board.loader == Loader::Espflash {
        return Ok(Vec::new());
    }
    let mut parts = Vec::new();
    for segment in segments {
        if segment.p_type(endian) != PT_LOAD || segment.p_filesz(endian) == 0 {
            continue;
        }
        let bytes = segment
            .data(endian, source.bytes)
            .map_err(|()| refuse("a segment reaches beyond its end".to_owned()))?;
        let part =
            Part { what: "program", address: segment.p_paddr(endian), bytes: bytes.to_vec() };
        parts.push(part.within(&board.program, board, source.path)?);
    }
    if parts.is_empty() {
        return Err(refuse("nothing in it is loaded".to_owned()));
    }
    Ok(parts)
}
