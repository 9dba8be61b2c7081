//! The host behind the emulator: its command line, and a recording that stands for a microphone.
//!
//! A recording comes over semihosting and not over the serial port, since a serial port has no end of
//! file and costs a trap a byte (ARM semihosting, version 2.0).

use core::{fmt, str};

use cortex_m_semihosting::{nr, syscall, syscall1};
use wakeling_firmware::microphone::{Microphone, ReadError};

/// What a file operation answers when it fails: −1.
const FAILED: usize = usize::MAX;

/// The command line that the host gave, into `buffer`; empty if there is none, or none that fits.
pub fn command_line(buffer: &mut [u8]) -> &str {
    let mut block = [buffer.as_mut_ptr().expose_provenance(), buffer.len()];
    // SAFETY: the block holds the address and the length of a buffer that lives through the call; the
    // host writes within it, and the length that it wrote into the block.
    let status = unsafe { syscall1(nr::GET_CMDLINE, (&raw mut block).expose_provenance()) };
    let written = if status == 0 { buffer.get(..block[1]) } else { None };
    let text = written.and_then(|b| b.split(|&b| b == 0).next()).unwrap_or_default();
    str::from_utf8(text).unwrap_or_default()
}

/// Why a recording cannot be heard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RecordingError {
    /// The host does not open the file.
    Open,
    /// The host stopped reading.
    Read,
}

impl fmt::Display for RecordingError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Open => "the host cannot open the recording",
            Self::Read => "the host cannot read the recording",
        })
    }
}

/// A file of raw little-endian `i16` samples on the host.
pub struct Recording {
    handle: usize,
}

impl Recording {
    /// Longest name.
    const NAME_BYTES: usize = 256;

    /// Opens `name`, relative to the folder in which the emulator runs.
    ///
    /// # Errors
    /// [`RecordingError::Open`].
    pub fn open(name: &str) -> Result<Self, RecordingError> {
        const READ_BINARY: usize = 1;
        // One byte stays 0, as the host wants it.
        let mut path = [0u8; Self::NAME_BYTES + 1];
        path.get_mut(..name.len().min(Self::NAME_BYTES))
            .filter(|front| front.len() == name.len())
            .ok_or(RecordingError::Open)?
            .copy_from_slice(name.as_bytes());
        let block = [path.as_ptr().expose_provenance(), READ_BINARY, name.len()];
        // SAFETY: the block names a zero-terminated path that lives through the call.
        let handle = unsafe { syscall(nr::OPEN, &block) };
        if handle == FAILED { Err(RecordingError::Open) } else { Ok(Self { handle }) }
    }
}

impl Microphone for Recording {
    type Error = RecordingError;

    fn read(&mut self, block: &mut [i16]) -> Result<usize, ReadError<RecordingError>> {
        const { assert!(cfg!(target_endian = "little")) };
        let bytes = size_of_val(block);
        let arguments = [self.handle, block.as_mut_ptr().expose_provenance(), bytes];
        // SAFETY: the host writes at most `bytes` bytes into `block`, which lives through the call,
        // and every pattern of bits is an i16.
        let missing = unsafe { syscall(nr::READ, &arguments) };
        let read = bytes.checked_sub(missing).ok_or(ReadError::Board(RecordingError::Read))?;
        match read / size_of::<i16>() {
            0 => Err(ReadError::End),
            samples => Ok(samples),
        }
    }
}
