//! Common parts of the boards on hardware, besides the application itself in `wakeling-firmware`.
//!
//! | part | source |
//! |---|---|
//! | the model's flash region | `_model_start`, `_model_length` of the memory map, from `boards.toml` |
//! | the same as two slots, with the feature `update` | `slots` |
//! | the UART, in and out | [`line`] |
//! | memory for the queue and for the model's state | statics here |
//! | the log | defmt over RTT |
//! | copying and filling memory | `wakeling-bytes` |
//! | panic handler | logs the place; the watchdog then restarts the board |

#![no_std]

pub mod line;
#[cfg(feature = "update")]
mod slots;

use core::panic::PanicInfo;

use defmt_rtt as _;
use embassy_sync::blocking_mutex::raw::CriticalSectionRawMutex;
use static_cell::{ConstStaticCell, StaticCell};
use wakeling_bytes as _;
use wakeling_firmware::blocks::{
    BLOCK_SAMPLES, Blocks, Filler, QUEUE_BLOCKS, QueuedMicrophone, Storage,
};

/// Bits per second on the UART, 8N1.
pub const UART_BAUD: u32 = 115_200;

/// Size of the arena in bytes, more than twice what `base-m` needs (`docs/reference/bench.md`).
pub const ARENA_BYTES: usize = 32 * 1024;

/// Interrupt side of the queue.
pub type BoardFiller = Filler<'static, CriticalSectionRawMutex>;

/// Loop side of the queue.
pub type BoardMicrophone = QueuedMicrophone<'static, CriticalSectionRawMutex, fn()>;

/// Creates the queue between interrupt and loop; `wait` sleeps until an interrupt.
///
/// # Panics
/// If called twice.
pub fn queue(wait: fn()) -> (BoardFiller, BoardMicrophone) {
    static STORAGE: ConstStaticCell<Storage> =
        ConstStaticCell::new([[0; BLOCK_SAMPLES]; QUEUE_BLOCKS]);
    static QUEUE: StaticCell<Blocks<'static, CriticalSectionRawMutex>> = StaticCell::new();
    QUEUE.init(Blocks::new(STORAGE.take())).split(wait)
}

/// Returns the memory for the model's state.
///
/// # Panics
/// If called twice.
pub fn arena() -> &'static mut [i8] {
    static ARENA: ConstStaticCell<[i8; ARENA_BYTES]> = ConstStaticCell::new([0; ARENA_BYTES]);
    ARENA.take()
}

/// Parts that a board supplies besides its name: sound, an indicator, a watchdog, a UART, and a
/// flash.
#[cfg(target_arch = "arm")]
pub struct Parts<M, P, W, R, T, F, B> {
    /// Source of 16 kHz mono samples.
    pub microphone: M,
    /// Pin that is high while a detection is shown.
    pub indicator: P,
    /// Callback that feeds the watchdog.
    pub feed: W,
    /// Both halves of a UART driver.
    pub uart: (R, T),
    /// Flash of the chip, with the address of its first byte.
    pub flash: (F, u32),
    /// Callback that returns whether the button for enrollment is pressed.
    pub button: B,
}

/// Runs the model at the front of the region of models until something fails, and then waits for
/// the watchdog. Input on the UART is not read.
#[cfg(all(target_arch = "arm", not(feature = "update")))]
pub fn run<M, P, W, R, T, F, B>(_: &'static str, parts: Parts<M, P, W, R, T, F, B>) -> !
where
    M: wakeling_firmware::microphone::Microphone,
    P: embedded_hal::digital::OutputPin,
    W: FnMut(),
    R: embedded_io_async::Read,
    T: embedded_io_async::Write,
{
    let Parts { microphone, indicator, feed, uart, .. } = parts;
    let mut line = line::Line::new(uart);
    let (_, sender) = line.split();
    let sink = line::lines(|bytes| sender.send(bytes));
    let board = wakeling_firmware::application::Board { microphone, indicator, sink, feed };
    wakeling_firmware::application::run(model_region(), arena(), board);
    stop()
}

/// Runs the model of one of two slots, and accepts others over the UART, until something fails.
/// Then waits for the watchdog.
#[cfg(all(target_arch = "arm", feature = "update"))]
pub fn run<M, P, W, R, T, F, B>(name: &'static str, parts: Parts<M, P, W, R, T, F, B>) -> !
where
    M: wakeling_firmware::microphone::Microphone,
    P: embedded_hal::digital::OutputPin,
    W: Fn(),
    R: embedded_io_async::Read,
    T: embedded_io_async::Write,
    F: embedded_storage::nor_flash::NorFlash,
    B: FnMut() -> bool,
{
    use core::cell::RefCell;
    use wakeling_firmware::update::{self, PINNED_KEY, Tools, Updates};
    use wakeling_shared::{
        enroll::Enroller,
        recorder::Recorder,
        update::{package::Pinned, session::Session},
    };

    /// Number of events that the flight recorder keeps; windows are 1.2 s, where a step is 40 ms of
    /// 160 features.
    const EVENTS: usize = 2;
    const EVENT_BYTES: usize = 4_800;
    static TOOLS: ConstStaticCell<Tools<EVENTS, EVENT_BYTES>> =
        ConstStaticCell::new(RefCell::new((Recorder::new(), Enroller::new())));

    let Parts { microphone, indicator, feed, uart, flash: (flash, origin), button } = parts;
    let mut line = line::Line::new(uart);
    let (received, sender) = line.split();
    let sink = line::lines(|bytes| sender.send(bytes));
    let session = Session::new(name, Pinned(PINNED_KEY));
    let flash = slots::Region::new(flash, origin, &feed);
    let serial = line::Serial { received, sender };
    let device = Updates::open(session, flash, serial, TOOLS.take());
    let board = wakeling_firmware::application::Board { microphone, indicator, sink, feed: &feed };
    update::run(device, slots::running, arena(), board, button);
    stop()
}

/// Waits for the watchdog.
#[cfg(target_arch = "arm")]
fn stop() -> ! {
    loop {
        core::hint::spin_loop();
    }
}

/// Returns address and length of the flash region of models.
#[cfg(target_arch = "arm")]
fn model_bounds() -> (*const u8, usize) {
    unsafe extern "C" {
        // Only their addresses are meaningful.
        static _model_start: u8;
        static _model_length: u8;
    }
    (&raw const _model_start, (&raw const _model_length).addr())
}

/// Flash region of the model, with any contents.
#[cfg(all(target_arch = "arm", not(feature = "update")))]
fn model_region() -> &'static [u8] {
    let (start, length) = model_bounds();
    // SAFETY: the memory map reserves these bytes of flash for the model alone, and nothing writes
    // them while the program runs.
    unsafe { core::slice::from_raw_parts(start, length) }
}

/// Panic handler: logs the place, and waits for the watchdog.
#[panic_handler]
fn panicked(info: &PanicInfo<'_>) -> ! {
    if let Some(place) = info.location() {
        defmt::error!("panic at {=str}:{=u32}", place.file(), place.line());
    }
    loop {
        core::hint::spin_loop();
    }
}
