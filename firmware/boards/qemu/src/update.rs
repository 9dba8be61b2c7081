//! A device whose model can be replaced while it runs, on QEMU's microbit (Cortex-M0), which has a
//! flash controller and a serial line.
//!
//! The command line is
//! `wakeling RECORDING [scores] [serve] [stream=FILE] [dump=FILE] [cut=CALL] [fuse=TICKS]
//! [button=FROM-TO] [indicator]`.
//!
//! The device starts from the contents of its flash and processes the recording. With `serve` it
//! then waits for a request to restart, after which it starts again at the beginning of the
//! recording. With `stream`, the bytes of the line come from a file on the host instead, so that a
//! run can be repeated.
//!
//! The button is pressed in the sound from `FROM` to `TO`, in milliseconds, at the first start. With
//! `indicator`, the level of the indicator is written where it changes.
//!
//! The power fails within the `cut`th word or page that is written, or after `fuse` ticks of the
//! processor's clock. The contents of the flash then go to `dump`, and nothing else survives.

#![no_std]
#![no_main]

use core::{
    cell::RefCell,
    convert::Infallible,
    fmt,
    ops::Range,
    ptr::{addr_of, addr_of_mut},
    str::SplitAsciiWhitespace,
    sync::atomic::{AtomicU32, Ordering},
};

use wakeling_firmware::{
    application,
    blocks::BLOCK_SAMPLES,
    listener::Options,
    update::{self, Device, PINNED_KEY},
};
use wakeling_qemu::{
    conclude, memory,
    nrf51::{Flash, Uart},
    semihosting::{self, Console, Dump, Led, Recording, RecordingError, Stream},
};
use wakeling_shared::{
    decimal::Decimal,
    enroll::Enroller,
    recorder::Recorder,
    timebase::SAMPLE_RATE_HZ,
    update::{package::Pinned, session::Session, store::SlotImage},
};

/// Size of the arena in bytes: the state of a model of tier S with two keywords; a larger one fits
/// no slot. The rest is for recorder and stack, of which enrollment takes most. With an arena of 17
/// KB the stack overflowed into it, and the board stopped.
const ARENA_BYTES: usize = 9 * 1024;

/// Reason for which the board stopped.
enum Failure {
    Usage,
    Recording(RecordingError),
    Application(application::Failure<RecordingError, Infallible>),
}

impl From<RecordingError> for Failure {
    fn from(error: RecordingError) -> Self {
        Self::Recording(error)
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Usage => f.write_str(
                "the command line must be: wakeling RECORDING [scores] [serve] [stream=FILE] \
                 [dump=FILE] [cut=CALL] [fuse=TICKS] [button=FROM-TO] [indicator]",
            ),
            Self::Recording(error) => error.fmt(f),
            Self::Application(failure) => failure.fmt(f),
        }
    }
}

/// Time of the power failure, and destination of the flash's contents. Both are set before anything
/// is written; the flash and the timer's handler read them.
mod power {
    use super::*;

    /// Number of words and pages until the failure; 0 means never.
    static CUT: AtomicU32 = AtomicU32::new(0);
    /// Number of whole periods of the timer until the failure; `u32::MAX` means never.
    static TURNS: AtomicU32 = AtomicU32::new(u32::MAX);
    /// Handle of the file for the contents of the flash.
    static DUMP: AtomicU32 = AtomicU32::new(u32::MAX);
    /// Addresses of `SYST_CSR`, `SYST_RVR`, `SYST_CVR` (Armv6-M architecture reference, B3.3).
    const TIMER: [usize; 3] = [0xE000_E010, 0xE000_E014, 0xE000_E018];
    const TURN: u32 = 1 << 24;

    pub fn dump_to(dump: &Dump) {
        DUMP.store(dump.handle(), Ordering::Relaxed);
    }

    pub fn cut_at(call: u32) {
        CUT.store(call, Ordering::Relaxed);
    }

    pub fn fuse(ticks: u32) {
        TURNS.store(ticks / TURN, Ordering::Relaxed);
        let [control, reload, value] = TIMER.map(core::ptr::with_exposed_provenance_mut::<u32>);
        // SAFETY: every Cortex-M has these registers, as aligned words. The timer is enabled on the
        // processor's clock, with an interrupt; a new length applies from the second period on.
        unsafe {
            reload.write_volatile((ticks % TURN).max(1));
            value.write_volatile(0);
            control.write_volatile(0b111);
            // The timer loads the first length slightly later.
            while value.read_volatile() == 0 {}
            reload.write_volatile(TURN - 1);
        }
    }

    /// Counts a word or page before it is written.
    pub fn spend() {
        let left = CUT.load(Ordering::Relaxed);
        if left == 1 {
            fail();
        }
        CUT.store(left.saturating_sub(1), Ordering::Relaxed);
    }

    /// Number of ticks left of the fuse, if one is set.
    pub fn left() -> u32 {
        let value = core::ptr::with_exposed_provenance::<u32>(TIMER[2]);
        // SAFETY: as above; reading the value has no side effect.
        let value = unsafe { value.read_volatile() };
        TURNS.load(Ordering::Relaxed).wrapping_mul(TURN).wrapping_add(value)
    }

    /// Counts a period of the timer; its interrupt calls this.
    #[cfg(target_arch = "arm")]
    pub fn turn() {
        let left = TURNS.load(Ordering::Relaxed);
        if left == 0 {
            fail();
        }
        TURNS.store(left.wrapping_sub(1), Ordering::Relaxed);
    }

    /// Simulates a power failure: saves the contents of the flash and ends the emulation.
    pub fn fail() -> ! {
        save();
        semihosting::exit(true)
    }

    /// Writes the contents of the flash to the host.
    pub fn save() {
        if let Some(dump) = Dump::of_handle(DUMP.load(Ordering::Relaxed)) {
            dump.write(memory::model_region());
        }
    }
}

#[cfg(target_arch = "arm")]
#[cortex_m_rt::exception]
fn SysTick() {
    power::turn();
}

/// Parsed command line.
struct Request {
    recording: Recording,
    options: Options,
    serve: bool,
    line: Line,
    /// Milliseconds of sound in which the button is pressed.
    button: Range<u32>,
    indicator: bool,
}

impl Request {
    fn parse(recording: Recording, words: SplitAsciiWhitespace<'_>) -> Option<Self> {
        let options = Options::default();
        let mut request = Self {
            recording,
            options,
            serve: false,
            line: Line::Uart(Uart::new()),
            button: 0..0,
            indicator: false,
        };
        let mut fuse = None;
        for word in words {
            match word.split_once('=') {
                None if word == "scores" => request.options.scores = true,
                None if word == "serve" => request.serve = true,
                None if word == "indicator" => request.indicator = true,
                Some(("button", times)) => {
                    let (from, to) = times.split_once('-')?;
                    request.button = from.parse().ok()?..to.parse().ok()?;
                }
                Some(("stream", name)) => request.line = Line::Stream(Stream::open(name)?),
                Some(("dump", name)) => power::dump_to(&Dump::create(name)?),
                Some(("cut", call)) => power::cut_at(call.parse().ok()?),
                Some(("fuse", ticks)) => fuse = Some(ticks.parse().ok()?),
                _ => return None,
            }
        }
        if let Some(ticks) = fuse {
            power::fuse(ticks);
        }
        Some(request)
    }
}

/// Source of the bytes on the line.
enum Line {
    Uart(Uart),
    /// A file on the host; replies are discarded.
    Stream(Stream),
}

impl embedded_io::ErrorType for Line {
    type Error = Infallible;
}

impl embedded_io::ReadReady for Line {
    fn read_ready(&mut self) -> Result<bool, Infallible> {
        match self {
            Self::Uart(uart) => uart.read_ready(),
            Self::Stream(_) => Ok(true),
        }
    }
}

impl embedded_io::Read for Line {
    fn read(&mut self, bytes: &mut [u8]) -> Result<usize, Infallible> {
        match self {
            Self::Uart(uart) => uart.read(bytes),
            Self::Stream(stream) => Ok(stream.read(bytes)),
        }
    }
}

impl embedded_io::Write for Line {
    fn write(&mut self, bytes: &[u8]) -> Result<usize, Infallible> {
        match self {
            Self::Uart(uart) => uart.write(bytes),
            Self::Stream(_) => Ok(bytes.len()),
        }
    }

    fn flush(&mut self) -> Result<(), Infallible> {
        Ok(())
    }
}

/// Number of events that the flight recorder keeps.
const EVENTS: usize = 2;
/// Size of a window: 1.2 s, where a step is 40 ms of 160 features.
const EVENT_BYTES: usize = 4_800;
type Tools = update::Tools<EVENTS, EVENT_BYTES>;

/// Last line of the work: depth of the stack in bytes, and number of ticks left of the fuse.
struct Ended {
    stack: usize,
    left: u32,
}

impl fmt::Display for Ended {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [stack, left] = [Decimal::of(self.stack), Decimal::of(self.left)];
        write!(f, "ended stack={stack} left={left}")
    }
}

/// Returns the model of the running package.
fn running(place: &SlotImage) -> &'static [u8] {
    // SAFETY: this slot's model runs from here on, so the store writes the other one. It writes
    // this one only after its next start, when nothing uses these bytes any more.
    unsafe { Flash::bytes_in_use(place.model_at, place.header.model_bytes) }
}

fn work(arena: &mut [i8], tools: &Tools, console: &mut Console) -> Result<Ended, Failure> {
    let request = semihosting::request(Failure::Usage, Request::parse)?;
    // SAFETY: this is the only one; `work` runs once, and nothing else in the program writes there.
    let flash = unsafe { Flash::new(power::spend) };
    let session = Session::new("microbit (QEMU)", Pinned(PINNED_KEY));
    let device = Device::open(session, flash, request.line, tools);
    let mut device = device.map_err(|_| Failure::Application(application::Failure::Flash))?;
    let mut recording = request.recording;
    // The button is read once before each block.
    const BLOCK_MS: u32 = (BLOCK_SAMPLES / (SAMPLE_RATE_HZ / 1_000)) as u32;
    let mut now = 0;
    let mut pressed = || {
        now += BLOCK_MS;
        request.button.contains(&now)
    };
    loop {
        let output = (Led::new(request.indicator), &mut *console, request.options);
        let ended = device.round(running, arena, &mut recording, &mut pressed, output);
        ended.map_err(Failure::Application)?;
        while request.serve && !device.restart() {
            device.serve();
        }
        if !device.restart() {
            break;
        }
        if request.serve {
            recording.rewind().map_err(Failure::Recording)?;
        }
    }
    let left = power::left();
    power::save();
    Ok(Ended { stack: memory::peak_stack_bytes(), left })
}

/// Returns whether the work completed.
fn run() -> bool {
    static mut ARENA: [i8; ARENA_BYTES] = [0; ARENA_BYTES];
    static mut TOOLS: Tools = RefCell::new((Recorder::new(), Enroller::new()));
    // SAFETY: this function runs once, on the only processor, and the only interrupt touches
    // neither, so these are the only references.
    let (arena, tools) = unsafe { (&mut *addr_of_mut!(ARENA), &*addr_of!(TOOLS)) };
    conclude(|console| work(arena, tools, console))
}

wakeling_qemu::machine!(run);
