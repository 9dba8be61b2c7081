//! Writes a program and a model into a board's flash. A plan lists the parts address by address,
//! and a loader carries it out.
//!
//! | step | file | what |
//! |---|---|---|
//! | plan | here | parts with their addresses, each inside its region, none over another |
//! | firmware | [`shipped`] | a board → the file of its firmware that ships with the program |
//! | program | [`program`], [`elf`], [`hex`] | a file → parts |
//! | slots | [`slots`] | a model → the region of models of a board whose model can be replaced |
//! | drive | [`uf2`] | a plan → a file for a board with a drive, and back |
//! | other programs | [`hex`], [`Plan::merged`] | a plan → a file for other flashing programs |
//! | serial | [`espflash`] | a plan → the commands that flash an ESP32 |
//! | probe | `probe` | a plan → a chip through a debug probe, with the feature `probe` |

pub mod elf;
pub mod espflash;
pub mod hex;
#[cfg(feature = "probe")]
pub mod probe;
pub mod program;
mod records;
pub mod shipped;
pub mod slots;
pub mod uf2;

use std::{
    fmt::{self, Display},
    fs,
    ops::Range,
    path::Path,
};

use shipped::Firmware;

use crate::{
    Error, Result,
    board::{ARENA_BYTES, Board},
    cost::keeps_up,
    model_file,
};

/// Content of one stretch of flash.
#[derive(Clone, PartialEq, Eq)]
pub struct Part {
    /// `program` or `model`.
    pub what: &'static str,
    /// Address of the first byte.
    pub address: u32,
    /// Bytes to write.
    pub bytes: Vec<u8>,
}

impl fmt::Debug for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { what, address, bytes } = self;
        write!(f, "{what} at {address:#010x}, {} bytes", bytes.len())
    }
}

impl Part {
    /// Returns the first address, and the one behind the last. The end may exceed the chip's
    /// address space.
    pub fn range(&self) -> Range<u64> {
        let start = u64::from(self.address);
        start..start + self.bytes.len() as u64
    }

    /// Rejects a part that is not inside `region`.
    fn within(self, region: &Range<u32>, board: &Board, from: &Path) -> Result<Self> {
        let part = self.range();
        if part.start >= u64::from(region.start) && part.end <= u64::from(region.end) {
            return Ok(self);
        }
        let (path, what, board) = (from.to_owned(), self.what, board.name);
        Err(Error::OutsideRegion { path, what, part, board, region: region.clone() })
    }
}

/// Parts to write to a board's flash.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Board to flash.
    pub board: &'static Board,
    /// Parts in the order of their addresses, without overlap.
    pub parts: Vec<Part>,
    /// Share of the processor that the model takes, in percent, as [`Board::percent_of`] computes it.
    pub load_percent: Option<f64>,
}

/// Content of a file, with its path.
#[derive(Clone, Copy, Debug)]
pub struct Source<'s> {
    /// Path for messages.
    pub path: &'s Path,
    /// Content of the file.
    pub bytes: &'s [u8],
}

impl Plan {
    /// Creates a plan for `model`, and for `firmware` unless only the model changes. If the board
    /// has slots, the model goes into the first, unless the program is a `plain` one without slots.
    ///
    /// # Errors
    /// [`Error::NotFirmware`], [`Error::InvalidModel`], and others if a file is invalid, if it is not meant for this board, or if the model
    /// needs more flash or memory than the board has.
    pub fn new(
        board: &'static Board,
        firmware: Option<Source<'_>>,
        model: Source<'_>,
        plain: bool,
    ) -> Result<Self> {
        let mut parts = match firmware {
            Some(firmware) => program::parts(board, firmware)?,
            None => Vec::new(),
        };
        let (part, load_percent) = model_part(board, model, plain)?;
        parts.push(part);
        parts.sort_by_key(|part| part.address);
        let overlap = parts.windows(2).find(|pair| pair[0].range().end > pair[1].range().start);
        if let (Some(pair), Some(firmware)) = (overlap, firmware) {
            let [first, second] = [&pair[0], &pair[1]].map(|part| format!("{part:?}"));
            return Err(Error::PartsOverlap { path: firmware.path.to_owned(), first, second });
        }
        Ok(Self { board, parts, load_percent })
    }

    /// Creates a plan from a firmware and the file of a model, as [`Plan::new`] does from their content.
    ///
    /// # Errors
    /// As [`Plan::new`]; [`Error::Core`] if the model cannot be read.
    pub fn of_files(
        board: &'static Board,
        firmware: Option<&Firmware>,
        model: &Path,
        plain: bool,
    ) -> Result<Self> {
        let bytes = fs::read(model).map_err(Error::io(model, "read"))?;
        let model = Source { path: model, bytes: &bytes };
        Self::new(board, firmware.map(Firmware::source), model, plain)
    }

    /// Tests whether the board's processor keeps up with the sound, as far as its load was computed.
    pub fn keeps_up(&self) -> bool {
        self.load_percent.is_none_or(keeps_up)
    }

    /// Tests whether the plan writes a program.
    pub fn has_program(&self) -> bool {
        self.parts.iter().any(|part| part.what == "program")
    }

    /// Returns the content of flash from the first part to the last, and its address. `0xFF`, the content of
    /// erased flash, is between the parts.
    pub fn merged(&self) -> (u32, Vec<u8>) {
        let start = self.parts.first().map_or(0, |part| part.address);
        let mut bytes = Vec::new();
        for part in &self.parts {
            bytes.resize((part.address - start) as usize, 0xFF);
            bytes.extend_from_slice(&part.bytes);
        }
        (start, bytes)
    }

    /// Returns the number of bytes in all parts.
    pub fn bytes(&self) -> usize {
        self.parts.iter().map(|part| part.bytes.len()).sum()
    }
}

/// Returns whether a board runs `model` only with firmware without slots, since a slot is too small for it.
///
/// # Errors
/// As [`Plan::new`], if the board has no room for the model at all.
pub fn needs_plain(board: &'static Board, model: Source<'_>) -> Result<bool> {
    let Err(error) = Plan::new(board, None, model, false) else { return Ok(false) };
    match error {
        Error::NotForSlot { .. } => Plan::new(board, None, model, true).map(|_| true),
        other => Err(other),
    }
}

/// Formats a line per part: `0x00080000..0x000A1000  135168 bytes  model`.
impl Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{} ({}), {} bytes:", self.board.title, self.board.chip, self.bytes())?;
        for part in &self.parts {
            let Range { start, end } = part.range();
            let bytes = part.bytes.len();
            writeln!(f, "  {start:#010x}..{end:#010x} {bytes:>8} bytes  {}", part.what)?;
        }
        if let Some(percent) = self.load_percent {
            writeln!(f, "  load: {percent:.0} % of {} MHz (computed)", self.board.clock_mhz)?;
        }
        Ok(())
    }
}

/// Returns the part of the model, checked as the board will check it. In a region with slots, the
/// part includes the journal and the package around the model. Also returns the load of the processor.
fn model_part(board: &Board, source: Source<'_>, plain: bool) -> Result<(Part, Option<f64>)> {
    let (bytes, load) = match board.page_bytes {
        Some(page) if !plain => {
            let package = slots::package(source)?;
            let model = package.body().get(..package.header.model_bytes as usize);
            let load = check(board, Source { bytes: model.unwrap_or_default(), ..source })?;
            (slots::region(board, page, source.path, &package)?, load)
        }
        _ => {
            let load = check(board, source)?;
            (source.bytes.to_vec(), load)
        }
    };
    let part = Part { what: "model", address: board.model.start, bytes };
    Ok((part.within(&board.model, board, source.path)?, load))
}

/// Rejects a model that the board's program would reject. Returns the load of the board's processor.
fn check(board: &Board, source: Source<'_>) -> Result<Option<f64>> {
    let model = model_file::load(source.path, source.bytes)?;
    let needs = model.arena_bytes();
    if needs > ARENA_BYTES {
        let path = source.path.to_owned();
        return Err(Error::TooMuchMemory { path, needed: needs, kept: ARENA_BYTES });
    }
    Ok(board.percent_of(&model))
}

#[cfg(test)]
mod tests;
