//! The host behind the emulator: its command line, a recording that stands for a microphone, the lines
//! that are printed, and the end (Arm semihosting, version 2.0, which RISC-V uses as well).
//!
//! Nothing here differs from machine to machine but the instruction that calls the host.

use core::{
    convert::Infallible,
    fmt,
    str::{self, SplitAsciiWhitespace},
};

use wakeling_firmware::microphone::{Microphone, ReadError};

/// Numbers of the operations.
mod operation {
    pub const OPEN: usize = 0x01;
    pub const WRITE: usize = 0x05;
    pub const READ: usize = 0x06;
    pub const SEEK: usize = 0x0A;
    pub const GET_COMMAND_LINE: usize = 0x15;
    pub const EXIT: usize = 0x18;
}

/// What a file operation answers when it fails: −1.
const FAILED: usize = usize::MAX;

/// Asks the host.
///
/// # Safety
/// `argument` must be what `operation` wants: a code, or the exposed address of a block whose
/// addresses are valid for what the host does with them.
#[cfg(target_arch = "arm")]
unsafe fn call(operation: usize, argument: usize) -> usize {
    let result;
    // SAFETY: the caller's; besides the memory that the block names only `r0` changes.
    unsafe {
        core::arch::asm!("bkpt #0xAB", inlateout("r0") operation => result, in("r1") argument,
            options(nostack, preserves_flags));
    }
    result
}

/// Asks the host; the three instructions must lie in one page.
///
/// # Safety
/// As above.
#[cfg(target_arch = "riscv32")]
unsafe fn call(operation: usize, argument: usize) -> usize {
    let result;
    // SAFETY: the caller's; besides the memory that the block names only `a0` changes.
    unsafe {
        core::arch::asm!(
            ".balign 16",
            ".option push",
            ".option norvc",
            "slli x0, x0, 0x1f",
            "ebreak",
            "srai x0, x0, 7",
            ".option pop",
            inlateout("a0") operation => result, in("a1") argument,
            options(nostack, preserves_flags));
    }
    result
}

/// There is no such host on the laptop's own target, where the code is only checked.
///
/// # Safety
/// As above.
#[cfg(not(any(target_arch = "arm", target_arch = "riscv32")))]
unsafe fn call(_operation: usize, _argument: usize) -> usize {
    FAILED
}

/// Asks the host with a block of arguments.
///
/// # Safety
/// The addresses in `block` must be valid for what the host does with them.
unsafe fn call_with<const N: usize>(operation: usize, block: &mut [usize; N]) -> usize {
    // SAFETY: the block lives through the call; the rest is the caller's.
    unsafe { call(operation, block.as_mut_ptr().expose_provenance()) }
}

/// Ends the emulation with the status that the host sees: 0 or 1.
pub fn exit(success: bool) -> ! {
    /// `ADP_Stopped_ApplicationExit` and `ADP_Stopped_RunTimeErrorUnknown`.
    const REASONS: [usize; 2] = [0x2_0026, 0x2_0023];
    loop {
        // SAFETY: the argument is a code.
        unsafe { call(operation::EXIT, REASONS[usize::from(!success)]) };
    }
}

/// The command line that the host gave, into `buffer`; empty if there is none, or none that fits.
pub fn command_line(buffer: &mut [u8]) -> &str {
    let mut block = [buffer.as_mut_ptr().expose_provenance(), buffer.len()];
    // SAFETY: the block holds the address and the length of a buffer that lives through the call; the
    // host writes within it, and the length that it wrote into the block.
    let status = unsafe { call_with(operation::GET_COMMAND_LINE, &mut block) };
    let written = if status == 0 { buffer.get(..block[1]) } else { None };
    let text = written.and_then(|b| b.split(|&b| b == 0).next()).unwrap_or_default();
    str::from_utf8(text).unwrap_or_default()
}

/// Longest command line that a program takes.
const COMMAND_LINE_BYTES: usize = 512;

/// What the host asked for, `wakeling RECORDING [WORD…]`: what `parse` makes of the recording and of the
/// words behind it. Not inlined: what it takes on the stack is free again afterwards.
///
/// # Errors
/// `usage` if no recording is named or `parse` gives nothing; if it cannot be opened, that.
#[inline(never)]
pub fn request<T, E: From<RecordingError>>(
    usage: E,
    parse: impl FnOnce(Recording, SplitAsciiWhitespace<'_>) -> Option<T>,
) -> Result<T, E> {
    let mut line = [0; COMMAND_LINE_BYTES];
    let mut words = command_line(&mut line).split_ascii_whitespace();
    match words.nth(1) {
        Some(name) => parse(Recording::open(name)?, words).ok_or(usage),
        None => Err(usage),
    }
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
        Ok(Self { handle: open(name, READ_BINARY).ok_or(RecordingError::Open)? })
    }

    /// Is heard from its beginning again.
    ///
    /// # Errors
    /// [`RecordingError::Read`].
    pub fn rewind(&mut self) -> Result<(), RecordingError> {
        let mut arguments = [self.handle, 0];
        // SAFETY: a handle and a place in its file; no memory is named.
        let answer = unsafe { call_with(operation::SEEK, &mut arguments) };
        if answer == 0 { Ok(()) } else { Err(RecordingError::Read) }
    }
}

/// The handle of a file, unless the name is too long or the host refuses.
fn open(name: &str, mode: usize) -> Option<usize> {
    // One byte stays 0, as the host wants it.
    let mut path = [0u8; Recording::NAME_BYTES + 1];
    path.get_mut(..name.len())
        .filter(|front| front.len() <= Recording::NAME_BYTES)?
        .copy_from_slice(name.as_bytes());
    let mut block = [path.as_ptr().expose_provenance(), mode, name.len()];
    // SAFETY: the block names a zero-terminated path that lives through the call.
    let handle = unsafe { call_with(operation::OPEN, &mut block) };
    (handle != FAILED).then_some(handle)
}

impl Microphone for Recording {
    type Error = RecordingError;

    fn read(&mut self, block: &mut [i16]) -> Result<usize, ReadError<RecordingError>> {
        const { assert!(cfg!(target_endian = "little")) };
        let bytes = size_of_val(block);
        let mut arguments = [self.handle, block.as_mut_ptr().expose_provenance(), bytes];
        // SAFETY: the host writes at most `bytes` bytes into `block`, which lives through the call,
        // and every pattern of bits is an i16.
        let missing = unsafe { call_with(operation::READ, &mut arguments) };
        let read = bytes.checked_sub(missing).ok_or(ReadError::Board(RecordingError::Read))?;
        match read / size_of::<i16>() {
            0 => Err(ReadError::End),
            samples => Ok(samples),
        }
    }
}

/// A file of the host whose bytes stand for those of a serial line.
pub struct Stream {
    handle: usize,
}

impl Stream {
    /// Opens `name`, relative to the folder in which the emulator runs; `None` if it cannot be opened.
    pub fn open(name: &str) -> Option<Self> {
        const READ_BINARY: usize = 1;
        Some(Self { handle: open(name, READ_BINARY)? })
    }

    /// The next bytes; 0 at the end.
    pub fn read(&mut self, bytes: &mut [u8]) -> usize {
        let length = bytes.len();
        let mut arguments = [self.handle, bytes.as_mut_ptr().expose_provenance(), length];
        // SAFETY: the host writes at most `length` bytes into `bytes`, which live through the call.
        let missing = unsafe { call_with(operation::READ, &mut arguments) };
        length.saturating_sub(missing)
    }
}

/// A file of the host to which memory is written.
pub struct Dump {
    handle: u32,
}

impl Dump {
    /// Makes `name` anew; `None` if that is not possible.
    pub fn create(name: &str) -> Option<Self> {
        const WRITE_BINARY: usize = 5;
        let handle = u32::try_from(open(name, WRITE_BINARY)?).ok()?;
        Some(Self { handle })
    }

    /// What a handler keeps of it.
    pub fn handle(&self) -> u32 {
        self.handle
    }

    /// From [`Dump::handle`]; `None` for `u32::MAX`, which is none.
    pub fn of_handle(handle: u32) -> Option<Self> {
        (handle != u32::MAX).then_some(Self { handle })
    }

    /// Writes all of `bytes`; a host that refuses leaves a file that is too short.
    pub fn write(&self, bytes: &[u8]) {
        let address = bytes.as_ptr().expose_provenance();
        let mut block = [self.handle as usize, address, bytes.len()];
        // SAFETY: the host reads the bytes, which live through the call.
        unsafe { call_with(operation::WRITE, &mut block) };
    }
}

/// The host's standard output. What is written goes out line by line: a call stops the machine.
pub struct Console {
    /// `None` if the host has no console; then nothing is said.
    handle: Option<usize>,
    line: [u8; Self::LINE_BYTES],
    filled: usize,
}

impl Console {
    /// Longer lines take several calls.
    const LINE_BYTES: usize = 256;
    /// A host may take less than it is given: how often to try.
    const PATIENCE: u32 = 1_000_000;

    /// Opens it.
    pub fn new() -> Self {
        const WRITE: usize = 4;
        Self { handle: open(":tt", WRITE), line: [0; Self::LINE_BYTES], filled: 0 }
    }

    /// Hands over what has gathered.
    fn flush(&mut self) -> fmt::Result {
        let filled = core::mem::take(&mut self.filled);
        let Some(handle) = self.handle else { return Ok(()) };
        let mut rest = self.line.get(..filled).unwrap_or_default();
        for _ in 0..Self::PATIENCE {
            if rest.is_empty() {
                return Ok(());
            }
            let mut block = [handle, rest.as_ptr().expose_provenance(), rest.len()];
            // SAFETY: the host reads the bytes of `rest`, which live through the call.
            let missing = unsafe { call_with(operation::WRITE, &mut block) };
            rest = rest.get(rest.len().saturating_sub(missing)..).unwrap_or(rest);
        }
        Err(fmt::Error)
    }
}

impl Default for Console {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Write for Console {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for &byte in text.as_bytes() {
            if let Some(slot) = self.line.get_mut(self.filled) {
                *slot = byte;
                self.filled += 1;
            }
            if byte == b'\n' || self.filled == Self::LINE_BYTES {
                self.flush()?;
            }
        }
        Ok(())
    }
}

/// An indicator that nobody sees; the event lines say the same.
pub struct Dark;

impl embedded_hal::digital::ErrorType for Dark {
    type Error = Infallible;
}

impl embedded_hal::digital::OutputPin for Dark {
    fn set_low(&mut self) -> Result<(), Infallible> {
        Ok(())
    }

    fn set_high(&mut self) -> Result<(), Infallible> {
        Ok(())
    }
}
