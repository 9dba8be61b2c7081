//! A device whose model can be replaced while it runs, on QEMU's microbit (Cortex-M0), which has a
//! flash controller and a serial line.
//!
//! `wakeling RECORDING [scores] [serve] [stream=FILE] [dump=FILE] [cut=CALL] [fuse=TICKS]`: it starts
//! from what its flash holds, hears the recording, and then, with `serve`, waits for the serial line to
//! ask for a restart, after which it starts again and hears the recording from its beginning. With `stream`
//! the bytes of the line come from a file of the host instead, so that a run repeats itself. The power fails within the `cut`th word or page
//! that is written, or after `fuse` ticks of the processor's clock; what the flash holds then goes to
//! `dump`, and nothing else survives.

#![no_std]
#![no_main]

use core::{
    cell::RefCell,
    convert::Infallible,
    fmt,
    ptr::{addr_of, addr_of_mut},
    str::SplitAsciiWhitespace,
    sync::atomic::{AtomicU32, Ordering},
};

use wakeling_firmware::{
    application,
    listener::Options,
    update::{self, Device, PINNED_KEY},
};
use wakeling_qemu::{
    conclude, memory,
    nrf51::{Flash, Uart},
    semihosting::{self, Console, Dark, Dump, Recording, RecordingError, Stream},
};
use wakeling_shared::{
    decimal::Decimal,
    enroll::Enroller,
    recorder::Recorder,
    update::{image::Pinned, session::Session, store::Place},
};

/// State of a base of tier S with two words; a larger one fits no slot. The rest is for recorder and stack,
/// of which enrolling takes most: with an arena of 17 KB the stack ran into it, and the board stopped.
const ARENA_BYTES: usize = 9 * 1024;

/// Why the board gave up.
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
                 [dump=FILE] [cut=CALL] [fuse=TICKS]",
            ),
            Self::Recording(error) => error.fmt(f),
            Self::Application(failure) => failure.fmt(f),
        }
    }
}

/// When the power fails, and where what the flash holds goes. Set before anything is written, read by
/// the flash and by the timer's handler.
mod power {
    use super::*;

    /// Words and pages that are written until then; 0 never.
    static CUT: AtomicU32 = AtomicU32::new(0);
    /// Whole turns of the timer until then; `u32::MAX` never.
    static TURNS: AtomicU32 = AtomicU32::new(u32::MAX);
    /// Handle of the file for what the flash holds.
    static DUMP: AtomicU32 = AtomicU32::new(u32::MAX);
    /// `SYST_CSR`, `SYST_RVR`, `SYST_CVR` (Armv6-M architecture reference, B3.3).
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
        // SAFETY: every Cortex-M has these registers, as aligned words. On, counting the processor's
        // clock, with an interrupt; a new length counts from the second turn on.
        unsafe {
            reload.write_volatile((ticks % TURN).max(1));
            value.write_volatile(0);
            control.write_volatile(0b111);
            // The first length is taken over a little later.
            while value.read_volatile() == 0 {}
            reload.write_volatile(TURN - 1);
        }
    }

    /// Before a word or page is written.
    pub fn spend() {
        let left = CUT.load(Ordering::Relaxed);
        if left == 1 {
            fail();
        }
        CUT.store(left.saturating_sub(1), Ordering::Relaxed);
    }

    /// Ticks that are left of the fuse, if one burns.
    pub fn left() -> u32 {
        let value = core::ptr::with_exposed_provenance::<u32>(TIMER[2]);
        // SAFETY: as above; reading it has no side effect.
        let value = unsafe { value.read_volatile() };
        TURNS.load(Ordering::Relaxed).wrapping_mul(TURN).wrapping_add(value)
    }

    /// A turn of the timer, which only the processor interrupts with.
    #[cfg(target_arch = "arm")]
    pub fn turn() {
        let left = TURNS.load(Ordering::Relaxed);
        if left == 0 {
            fail();
        }
        TURNS.store(left.wrapping_sub(1), Ordering::Relaxed);
    }

    /// The power fails: what the flash holds is all that is left.
    pub fn fail() -> ! {
        save();
        semihosting::exit(true)
    }

    /// Writes what the flash holds to the host.
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

/// What the host asked for.
struct Request {
    recording: Recording,
    options: Options,
    serve: bool,
    line: Line,
}

impl Request {
    fn parse(recording: Recording, words: SplitAsciiWhitespace<'_>) -> Option<Self> {
        let options = Options::default();
        let mut request = Self { recording, options, serve: false, line: Line::Uart(Uart::new()) };
        let mut fuse = None;
        for word in words {
            match word.split_once('=') {
                None if word == "scores" => request.options.scores = true,
                None if word == "serve" => request.serve = true,
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

/// Where the bytes of the line come from.
enum Line {
    Uart(Uart),
    /// A file of the host; replies go nowhere.
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

/// Of the last events: two.
const EVENTS: usize = 2;
/// Of each 1.2 s, where a step is 40 ms of 160 features.
const EVENT_BYTES: usize = 4_800;
type Tools = update::Tools<EVENTS, EVENT_BYTES>;

/// The end of the work, as a line: ticks that are left of the fuse.
struct Ended {
    left: u32,
}

impl fmt::Display for Ended {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ended left={}", Decimal::of(self.left))
    }
}

/// The model of a place that runs.
fn running(place: &Place) -> &'static [u8] {
    // SAFETY: this slot's model runs from here on, so the store writes the other one, and this one not
    // before its next start, which comes when nothing uses these bytes any more.
    unsafe { Flash::bytes_in_use(place.model_at, place.header.model_bytes) }
}

fn work(arena: &mut [i8], tools: &Tools, console: &mut Console) -> Result<Ended, Failure> {
    let request = semihosting::request(Failure::Usage, Request::parse)?;
    // SAFETY: this is the only one; `work` runs once, and nothing else of the program writes there.
    let flash = unsafe { Flash::new(power::spend) };
    let session = Session::new("microbit (QEMU)", Pinned(PINNED_KEY));
    let device = Device::open(session, flash, request.line, tools);
    let mut device = device.map_err(|_| Failure::Application(application::Failure::Flash))?;
    let mut recording = request.recording;
    loop {
        let output = (Dark, &mut *console, request.options);
        device.round(running, arena, &mut recording, output).map_err(Failure::Application)?;
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
    Ok(Ended { left })
}

/// Returns whether the work came to its end.
fn run() -> bool {
    static mut ARENA: [i8; ARENA_BYTES] = [0; ARENA_BYTES];
    static mut TOOLS: Tools = RefCell::new((Recorder::new(), Enroller::new()));
    // SAFETY: this function runs once, on the only processor, and the one interrupt that may be on
    // touches neither; so these are the only references.
    let (arena, tools) = unsafe { (&mut *addr_of_mut!(ARENA), &*addr_of!(TOOLS)) };
    conclude(|console| work(arena, tools, console))
}

wakeling_qemu::machine!(run);
