//! Source of a board's sound, the one part that differs from board to board.

/// Reason for which there is no next block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReadError<E> {
    /// The sound ended. A recording has an end, a microphone has none.
    End,
    /// The board was too late; the next read continues after the gap.
    Overrun {
        /// Number of missing samples, as far as the board can count them.
        lost_samples: u64,
    },
    /// The board failed.
    Board(E),
}

/// A source of 16 kHz mono samples.
pub trait Microphone {
    /// Error of this board.
    type Error: core::fmt::Display;

    /// Waits for samples and writes them to the front of `block`. Returns their number, at least 1
    /// and at most `block.len()`.
    ///
    /// # Errors
    /// [`ReadError`], by its cause. After [`ReadError::Overrun`] the caller may continue to read.
    fn read(&mut self, block: &mut [i16]) -> Result<usize, ReadError<Self::Error>>;
}

impl<M: Microphone + ?Sized> Microphone for &mut M {
    type Error = M::Error;

    fn read(&mut self, block: &mut [i16]) -> Result<usize, ReadError<M::Error>> {
        M::read(self, block)
    }
}
