//! Semihosting: command line, a recording in place of a microphone, printed lines, and exit (Arm
//! semihosting, version 2.0, which RISC-V uses as well).
//!
//! Machines differ only in the instruction that calls the host.

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

/// Result of a file operation that fails: −1.
const FAILED: usize = usize::MAX;

/// Calls the host.
///
/// # Safety
/// `argument` must fit `operation`: a code, or the exposed address of a block whose addresses are
/// valid for the host's use of them.
#[cfg(target_arch = "arm")]
unsafe fn call(operation: usize, argument: usize) -> usize {
    let result;
    // SAFETY: guaranteed by the caller; besides the memory that the block names only `r0` changes.
    unsafe {
        core::arch::asm!("bkpt #0xAB", inlateout("r0") operation => result, in("r1") argument,
            options(nostack, preserves_flags));
    }
    result
}

/// Calls the host. The three instructions must be in one page.
///
/// # Safety
/// As above.
#[cfg(target_arch = "riscv32")]
unsafe fn call(operation: usize, argument: usize) -> usize {
    let result;
    // SAFETY: guaranteed by the caller; besides the memory that the block names only `a0` changes.
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

/// Fails, since the laptop's own target has no such host. The code is only checked there.
///
/// # Safety
/// As above.
#[cfg(not(any(target_arch = "arm", target_arch = "riscv32")))]
unsafe fn call(_operation: usize, _argument: usize) -> usize {
    FAILED
}

/// Calls the host with a block of arguments.
///
/// # Safety
/// The addresses in `block` must be valid for the host's use of them.
unsafe fn call_with<const N: usize>(operation: usize, block: &mut [usize; N]) -> usize {
    // SAFETY: the block is valid during the call; the caller guarantees the rest.
    unsafe { call(operation, block.as_mut_ptr().expose_provenance()) }
}

/// Ends the emulation with exit status 0 on success, else 1.
pub fn exit(success: bool) -> ! {
    /// Codes of `ADP_Stopped_ApplicationExit` and `ADP_Stopped_RunTimeErrorUnknown`.
    const REASONS: [usize; 2] = [0x2_0026, 0x2_0023];
    loop {
        // SAFETY: the argument is a code.
        unsafe { call(operation::EXIT, REASONS[usize::from(!success)]) };
    }
}

/// Reads the command line into `buffer`; returns an empty string if there is none, or none that
/// fits.
pub fn command_line(buffer: &mut [u8]) -> &str {
    let mut block = [buffer.as_mut_ptr().expose_provenance(), buffer.len()];
    // SAFETY: the block holds the address and the length of a buffer that is valid during the call.
    // The host writes within it, and stores the written length in the block.
    let status = unsafe { call_with(operation::GET_COMMAND_LINE, &mut block) };
    let written = if status == 0 { buffer.get(..block[1]) } else { None };
    let text = written.and_then(|b| b.split(|&b| b == 0).next()).unwrap_or_default();
    str::from_utf8(text).unwrap_or_default()
}

/// Longest command line that a program accepts.
const COMMAND_LINE_BYTES: usize = 512;

/// Parses the command line `wakeling RECORDING [WORD…]`. Opens the recording, and passes it and the
/// words after it to `parse`. Not inlined, so that its stack is free again afterwards.
///
/// # Errors
/// `usage` if no recording is named or `parse` returns `None`; the error of opening the recording.
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

/// Error of a recording.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RecordingError {
    /// The host cannot open the file.
    Open,
    /// The host cannot read the file.
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

/// File of raw little-endian `i16` samples on the host.
pub struct Recording {
    handle: usize,
}

impl Recording {
    /// Longest name in bytes.
    const NAME_BYTES: usize = 256;

    /// Opens `name`, relative to the folder in which the emulator runs.
    ///
    /// # Errors
    /// [`RecordingError::Open`] if the host cannot open it.
    pub fn open(name: &str) -> Result<Self, RecordingError> {
        const READ_BINARY: usize = 1;
        Ok(Self { handle: open(name, READ_BINARY).ok_or(RecordingError::Open)? })
    }

    /// Continues at the start of the recording.
    ///
    /// # Errors
    /// [`RecordingError::Read`] if the host fails.
    pub fn rewind(&mut self) -> Result<(), RecordingError> {
        let mut arguments = [self.handle, 0];
        // SAFETY: the arguments are a handle and a position in its file; they name no memory.
        let answer = unsafe { call_with(operation::SEEK, &mut arguments) };
        if answer == 0 { Ok(()) } else { Err(RecordingError::Read) }
    }
}

/// Returns the handle of a file, unless the name is too long or the host fails.
fn open(name: &str, mode: usize) -> Option<usize> {
    // One byte stays 0, since the host requires a terminator.
    let mut path = [0u8; Recording::NAME_BYTES + 1];
    path.get_mut(..name.len())
        .filter(|front| front.len() <= Recording::NAME_BYTES)?
        .copy_from_slice(name.as_bytes());
    let mut block = [path.as_ptr().expose_provenance(), mode, name.len()];
    // SAFETY: the block names a zero-terminated path that is valid during the call.
    let handle = unsafe { call_with(operation::OPEN, &mut block) };
    (handle != FAILED).then_some(handle)
}

impl Microphone for Recording {
    type Error = RecordingError;

    fn read(&mut self, block: &mut [i16]) -> Result<usize, ReadError<RecordingError>> {
        const { assert!(cfg!(target_endian = "little")) };
        let bytes = size_of_val(block);
        let mut arguments = [self.handle, block.as_mut_ptr().expose_provenance(), bytes];
        // SAFETY: the host writes at most `bytes` bytes into `block`, which is valid during the
        // call, and every bit pattern is an i16.
        let missing = unsafe { call_with(operation::READ, &mut arguments) };
        let read = bytes.checked_sub(missing).ok_or(ReadError::Board(RecordingError::Read))?;
        match read / size_of::<i16>() {
            0 => Err(ReadError::End),
            samples => Ok(samples),
        }
    }
}

/// File on the host that replaces the input of a serial line.
pub struct Stream {
    handle: usize,
}

impl Stream {
    /// Opens `name`, relative to the folder in which the emulator runs; `None` if it cannot be
    /// opened.
    pub fn open(name: &str) -> Option<Self> {
        const READ_BINARY: usize = 1;
        Some(Self { handle: open(name, READ_BINARY)? })
    }

    /// Reads the next bytes and returns their number; 0 at the end.
    pub fn read(&mut self, bytes: &mut [u8]) -> usize {
        let length = bytes.len();
        let mut arguments = [self.handle, bytes.as_mut_ptr().expose_provenance(), length];
        // SAFETY: the host writes at most `length` bytes into `bytes`, which are valid during the
        // call.
        let missing = unsafe { call_with(operation::READ, &mut arguments) };
        length.saturating_sub(missing)
    }
}

/// File on the host to which memory is written.
pub struct Dump {
    handle: u32,
}

impl Dump {
    /// Creates or truncates `name`; `None` if that is not possible.
    pub fn create(name: &str) -> Option<Self> {
        const WRITE_BINARY: usize = 5;
        let handle = u32::try_from(open(name, WRITE_BINARY)?).ok()?;
        Some(Self { handle })
    }

    /// Returns the handle, which an interrupt handler can store.
    pub fn handle(&self) -> u32 {
        self.handle
    }

    /// Restores a dump from [`Dump::handle`]; `None` for `u32::MAX`, which is no handle.
    pub fn of_handle(handle: u32) -> Option<Self> {
        (handle != u32::MAX).then_some(Self { handle })
    }

    /// Writes all of `bytes`. If the host fails, the file is too short.
    pub fn write(&self, bytes: &[u8]) {
        let address = bytes.as_ptr().expose_provenance();
        let mut block = [self.handle as usize, address, bytes.len()];
        // SAFETY: the host reads the bytes, which are valid during the call.
        unsafe { call_with(operation::WRITE, &mut block) };
    }
}

/// Standard output of the host. Output is buffered by line, since a call stops the machine.
pub struct Console {
    /// Handle of the console; `None` if the host has none, and output is then discarded.
    handle: Option<usize>,
    line: [u8; Self::LINE_BYTES],
    filled: usize,
}

impl Console {
    /// Size of the buffer; longer lines take several calls.
    const LINE_BYTES: usize = 256;
    /// Largest number of attempts, since a host may accept only part of the bytes.
    const PATIENCE: u32 = 1_000_000;

    /// Opens the console.
    pub fn new() -> Self {
        const WRITE: usize = 4;
        Self { handle: open(":tt", WRITE), line: [0; Self::LINE_BYTES], filled: 0 }
    }

    /// Writes the buffered bytes.
    fn flush(&mut self) -> fmt::Result {
        let filled = core::mem::take(&mut self.filled);
        let Some(handle) = self.handle else { return Ok(()) };
        let mut rest = self.line.get(..filled).unwrap_or_default();
        for _ in 0..Self::PATIENCE {
            if rest.is_empty() {
                return Ok(());
            }
            let mut block = [handle, rest.as_ptr().expose_provenance(), rest.len()];
            // SAFETY: the host reads the bytes of `rest`, which are valid during the call.
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

/// Indicator that writes a line `indicator 1` or `indicator 0` where its level changes.
pub struct Led {
    /// `None` if no lines are written.
    console: Option<Console>,
    lit: bool,
}

impl Led {
    /// Creates an LED that is off, and that writes lines if `reports`.
    pub fn new(reports: bool) -> Self {
        Self { console: reports.then(Console::new), lit: false }
    }

    fn set(&mut self, lit: bool) {
        if let Some(console) = &mut self.console
            && core::mem::replace(&mut self.lit, lit) != lit
        {
            // If the console fails, that cannot be reported.
            let _ =
                fmt::Write::write_str(console, if lit { "indicator 1\n" } else { "indicator 0\n" });
        }
    }
}

impl embedded_hal::digital::ErrorType for Led {
    type Error = Infallible;
}

impl embedded_hal::digital::OutputPin for Led {
    fn set_low(&mut self) -> Result<(), Infallible> {
        self.set(false);
        Ok(())
    }

    fn set_high(&mut self) -> Result<(), Infallible> {
        self.set(true);
        Ok(())
    }
}

/// Indicator without a display, since the event lines carry the same information.
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
