//! Where a board's sound comes from: the one thing that differs from board to board.

/// Why there is no next block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReadError<E> {
    /// The sound is over: a recording has an end, a microphone has none.
    End,
    /// The board came too late; the next read goes on behind the gap.
    Overrun {
        /// How many samples are missing, as far as the board can tell.
        lost_samples: u64,
    },
    /// The board's own trouble.
    Board(E),
}

/// A source of 16 kHz mono samples.
pub trait Microphone {
    /// What can go wrong on this board.
    type Error: core::fmt::Display;

    /// Waits for samples and writes them to the front of `block`; returns how many, at least 1 and at
    /// most `block.len()`.
    ///
    /// # Errors
    /// [`ReadError`]; after [`ReadError::Overrun`] reading may go on.
    fn read(&mut self, block: &mut [i16]) -> Result<usize, ReadError<Self::Error>>;
}

impl<M: Microphone + ?Sized> Microphone for &mut M {
    type Error = M::Error;

    fn read(&mut self, block: &mut [i16]) -> Result<usize, ReadError<M::Error>> {
        M::read(self, block)
    }
}
