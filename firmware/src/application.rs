//! Application of every board, run once its clocks and pins are set. It checks the model, runs the
//! pipeline, feeds the watchdog, and reports failures.
//!
//! The watchdog is fed after every processed block, so it restarts the board if the microphone, the
//! loop or the line stops. It is not fed after a failure either. The `error` line thus recurs at
//! every start, until a valid model is written.

use core::fmt::{self, Debug, Display, Write};

use embedded_hal::digital::OutputPin;
use wakeling_shared::{
    decimal::Decimal,
    engine::ArenaTooSmall,
    model::{LoadError, Model},
    pipeline::{NoObserver, Observer, Pipeline},
};

use crate::{
    blocks::BLOCK_SAMPLES,
    check::Check,
    listener::{ListenError, Listener, Options},
    microphone::{Microphone, ReadError},
};

/// Timeout of the watchdog in milliseconds. It exceeds the longest set-up, in which a slow core
/// computes the checksum of a megabyte.
pub const WATCHDOG_MS: u32 = 4_000;

/// Parts that a board supplies.
pub struct Board<M, P, S, W> {
    /// Source of 16 kHz mono samples.
    pub microphone: M,
    /// Pin that is high while a detection is shown.
    pub indicator: P,
    /// Sink for event lines.
    pub sink: S,
    /// Callback after every block, which feeds the watchdog.
    pub feed: W,
}

/// Reason for which a board stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failure<M, P> {
    /// The flash region has no valid model.
    Model(LoadError),
    /// The model needs more memory than the board has.
    Arena(ArenaTooSmall),
    /// The loop failed.
    Listen(ListenError<M, P>),
    /// The sound ended, which does not happen with a microphone.
    End,
    /// The flash of the slots cannot be read or written, or is too small for them.
    Flash,
}

impl<M: Display, P: Debug> Display for Failure<M, P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Model(error) => {
                write!(f, "no valid model: {error}; write one with wakeling flash --model-only")
            }
            &Self::Arena(ArenaTooSmall { expected, found }) => {
                let [expected, found] = [expected, found].map(Decimal::of);
                write!(f, "the model needs an arena of {expected} bytes; this board has {found}")
            }
            Self::Listen(error) => Display::fmt(error, f),
            Self::End => f.write_str("the microphone ended"),
            Self::Flash => f.write_str("the flash failed"),
        }
    }
}

/// Runs the model at the front of `flash` until something fails, and writes the failure as an
/// `error` line. `arena` is the memory for the model's state.
pub fn run<M, P, S, W>(
    flash: &[u8],
    arena: &mut [i8],
    board: Board<M, P, S, W>,
) -> Failure<M::Error, P::Error>
where
    M: Microphone,
    P: OutputPin,
    S: Write,
    W: FnMut(),
{
    let Board { microphone, indicator, mut sink, feed } = board;
    let mut microphone = Watched { microphone, feed };
    let outputs = (indicator, &mut sink, Options::default());
    let file = ModelFile { bytes: flash, check: &Check::done(), is_checked: false };
    let ended = detect(file, arena, &mut microphone, outputs, |_| NoObserver);
    let failure = ended.err().unwrap_or(Failure::End);
    // If the sink fails, the error cannot be reported.
    let _ = writeln!(sink, "error {failure}");
    failure
}

/// A model file in flash.
#[derive(Clone, Copy, Debug)]
pub struct ModelFile<'c, 'a> {
    /// Flash region with the file at its front.
    pub bytes: &'a [u8],
    /// State of the check, which a serial line may read as well.
    pub check: &'c Check<'a>,
    /// `true` if the checksum was computed since the board started.
    pub is_checked: bool,
}

/// Runs a model until the microphone ends. `observer` creates an additional observer for the model.
/// Model and pipeline are built in place in this frame. Not inlined, so that its stack is free again
/// afterwards.
///
/// # Errors
/// [`Failure`], by its cause. If the model is damaged, nothing was written to the sink.
#[inline(never)]
pub fn detect<'f, M: Microphone, P: OutputPin, O: Observer>(
    file: ModelFile<'_, 'f>,
    arena: &mut [i8],
    microphone: &mut M,
    (indicator, sink, options): (P, &mut impl Write, Options),
    observer: impl FnOnce(&Model<'f>) -> O,
) -> Result<(), Failure<M::Error, P::Error>> {
    let (mut model, mut pipeline) = (None, None);
    let (model, check) = Model::load_deferred(&mut model, file.bytes).map_err(Failure::Model)?;
    if !file.is_checked {
        file.check.begin(check);
    }
    // A damaged model may ask for any arena.
    let damaged = |failure| file.check.error().map_or(failure, Failure::Model);
    let pipeline = Pipeline::new_into(&mut pipeline, model, arena)
        .map_err(|error| damaged(Failure::Arena(error)))?;
    let listener = Listener::new((model, file.check), pipeline, (indicator, sink), options);
    let mut listener = listener.with_observer(observer(model));
    let ended = listener.run(microphone, &mut [0; BLOCK_SAMPLES]);
    ended.map(drop).map_err(|error| damaged(Failure::Listen(error)))
}

/// Microphone that feeds the watchdog after every block.
pub(crate) struct Watched<M, W> {
    pub(crate) microphone: M,
    pub(crate) feed: W,
}

impl<M: Microphone, W: FnMut()> Microphone for Watched<M, W> {
    type Error = M::Error;

    fn read(&mut self, block: &mut [i16]) -> Result<usize, ReadError<M::Error>> {
        let read = self.microphone.read(block);
        if read.is_ok() {
            (self.feed)();
        }
        read
    }
}

#[cfg(test)]
mod tests {
    extern crate std;
    use super::*;
    use crate::check::CHECK_WORDS;
    use core::convert::Infallible;
    use embedded_hal::digital::ErrorType;
    use std::{string::String, vec::Vec};

    /// One second of silence.
    struct Silence(usize);

    impl Microphone for Silence {
        type Error = &'static str;

        fn read(&mut self, block: &mut [i16]) -> Result<usize, ReadError<&'static str>> {
            self.0 = self.0.checked_sub(block.len()).ok_or(ReadError::End)?;
            block.fill(0);
            Ok(block.len())
        }
    }

    struct Dark;

    impl ErrorType for Dark {
        type Error = Infallible;
    }

    impl OutputPin for Dark {
        fn set_low(&mut self) -> Result<(), Infallible> {
            Ok(())
        }

        fn set_high(&mut self) -> Result<(), Infallible> {
            Ok(())
        }
    }

    #[test]
    fn board_without_model_prints_it_and_leaves_the_watchdog_alone() {
        let mut lines = String::new();
        let mut fed = 0;
        let board = Board {
            microphone: Silence(16_000),
            indicator: Dark,
            sink: &mut lines,
            feed: || fed += 1,
        };
        let failure = run(&[0xff; 4_096], &mut [0; 64], board);
        assert!(matches!(failure, Failure::Model(_)), "{failure}");
        assert!(lines.starts_with("error no valid model: "), "{lines}");
        assert!(lines.ends_with("wakeling flash --model-only\n"), "{lines}");
        assert_eq!(fed, 0);
    }

    /// A model file, and the sound that triggers it.
    mod loud {
        extern crate std;
        use std::vec::Vec;

        include!(concat!(env!("CARGO_MANIFEST_DIR"), "/../shared/examples/support/loud.rs"));
    }

    /// Recording that a board plays.
    struct Loud {
        pcm: Vec<i16>,
        at: usize,
    }

    impl Microphone for Loud {
        type Error = &'static str;

        fn read(&mut self, block: &mut [i16]) -> Result<usize, ReadError<&'static str>> {
            let part = self.pcm.get(self.at..self.at + block.len()).ok_or(ReadError::End)?;
            block.copy_from_slice(part);
            self.at += block.len();
            Ok(block.len())
        }
    }

    /// Returns the lines of a board, whose check takes `words` words of the file before each block.
    fn lines_of(file: &[u32], samples: usize, words: usize) -> String {
        let mut lines = String::new();
        let mut microphone = Loud { pcm: loud::sawtooth(samples), at: 0 };
        let file = ModelFile {
            bytes: bytemuck::cast_slice(file),
            check: &Check::in_parts(words),
            is_checked: false,
        };
        let outputs = (Dark, &mut lines, Options::default());
        let ended = detect(file, &mut [0; 2_048], &mut microphone, outputs, |_| NoObserver);
        if let Err(failure) = ended {
            writeln!(lines, "error {failure}").expect("a string");
        }
        lines
    }

    /// A file in words, as flash is.
    fn loud_file() -> Vec<u32> {
        let file = loud::loud_model();
        let words = file.as_chunks().0.iter().map(|&word| u32::from_le_bytes(word));
        words.collect()
    }

    #[test]
    fn model_with_any_damaged_byte_writes_nothing_but_the_error() {
        let good = loud_file();
        let expected = lines_of(&good, 3_200, CHECK_WORDS);
        // The detection comes while two thirds of the file are still to be read.
        assert_eq!(lines_of(&good, 3_200, good.len() / 30), expected);
        assert!(expected.contains("\ndetection "), "a test of nothing: {expected}");
        assert!(expected.starts_with("model "), "{expected}");
        let bytes = 4 * good.len();
        for at in 0..bytes {
            let mut file = good.clone();
            file[at / 4] ^= 0x10 << (8 * (at % 4));
            let refused = Model::load(bytemuck::cast_slice(&file)).expect_err("it is damaged");
            let line = std::format!("error {}\n", Failure::<&str, Infallible>::Model(refused));
            for words in [CHECK_WORDS, good.len() / 30] {
                assert_eq!(lines_of(&file, 3_200, words), line, "byte {at}");
                // The end of the sound finishes the check as well.
                assert_eq!(lines_of(&file, 0, words), line, "byte {at}");
            }
        }
    }

    #[test]
    fn watchdog_is_fed_for_each_block_and_not_for_a_gap() {
        let mut fed = 0;
        let mut watched = Watched { microphone: Silence(960), feed: || fed += 1 };
        let mut block = [0; 320];
        for _ in 0..3 {
            assert_eq!(watched.read(&mut block), Ok(320));
        }
        assert_eq!(watched.read(&mut block), Err(ReadError::End));
        assert_eq!(fed, 3);
    }
}
