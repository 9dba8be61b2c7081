//! Check of the model's checksum while sound is processed already.
//!
//! The checksum reads the whole model, which takes most of the time to set a board up. So the model
//! is loaded without it, and the loop reads a part of the file before each block of sound. Nothing
//! that depends on the model leaves the board before the check is done: the first line that is to
//! be written finishes the check at once, and a damaged model ends the loop without a line.

use core::cell::Cell;

use wakeling_shared::model::{IntegrityCheck, LoadError};

/// Number of words of the model that are read before each block, in whole blocks of the fastest
/// kernel. With blocks of 20 ms, base M takes a second.
pub const CHECK_WORDS: usize = 38 * 54;

/// State of the check, which the loop and a board's serial line share.
#[derive(Debug)]
pub struct Check<'a> {
    left: Cell<Option<IntegrityCheck<'a>>>,
    words: usize,
}

impl<'a> Check<'a> {
    /// Creates the state of a model that was checked.
    pub const fn done() -> Self {
        Self::in_parts(CHECK_WORDS)
    }

    /// As [`Check::done`]. A check that is begun reads `words` words before each block.
    pub const fn in_parts(words: usize) -> Self {
        Self { left: Cell::new(None), words }
    }

    /// Starts a check.
    pub fn begin(&self, check: IntegrityCheck<'a>) {
        self.left.set(Some(check));
    }

    /// Returns whether the whole model was read and is not damaged.
    pub fn is_done(&self) -> bool {
        self.left.get().is_none()
    }

    /// Reads the next part of the model. Returns `true` at its end, and if it is damaged.
    pub fn advance(&self) -> bool {
        !matches!(self.read(self.words), Ok(false))
    }

    /// Reads the rest of the model. Returns the error if it is damaged, at this call and at every
    /// later one.
    pub fn error(&self) -> Option<LoadError> {
        self.read(usize::MAX).err()
    }

    fn read(&self, words: usize) -> Result<bool, LoadError> {
        let Some(mut check) = self.left.get() else { return Ok(true) };
        let read = check.advance(words);
        self.left.set(if matches!(read, Ok(true)) { None } else { Some(check) });
        read
    }
}
