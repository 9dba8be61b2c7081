//! What the boards on hardware have in common, besides the application itself in `wakeling-firmware`.
//!
//! | what | where it comes from |
//! |---|---|
//! | the model's flash region | `_model_start`, `_model_length` of the board's `memory.x` |
//! | memory for the queue and for the model's state | statics here |
//! | the log | defmt over RTT |
//! | copying and filling memory | `wakeling-bytes` |
//! | a panic | its place goes to the log; the watchdog then starts the board again |

#![no_std]

use core::{fmt, panic::PanicInfo};

use defmt_rtt as _;
use embassy_sync::blocking_mutex::raw::CriticalSectionRawMutex;
use static_cell::{ConstStaticCell, StaticCell};
use wakeling_bytes as _;
use wakeling_firmware::{
    blocks::{BLOCK_SAMPLES, Blocks, Filler, QUEUE_BLOCKS, QueuedMicrophone, Storage},
    outputs::Lines,
};

/// Bits a second on the UART, 8N1.
pub const UART_BAUD: u32 = 115_200;

/// Room for a model's state, five times what base M takes (`docs/bench.md`).
pub const ARENA_BYTES: usize = 64 * 1024;

/// The interrupt's side of the queue.
pub type BoardFiller = Filler<'static, CriticalSectionRawMutex>;

/// The loop's side of the queue.
pub type BoardMicrophone = QueuedMicrophone<'static, CriticalSectionRawMutex, fn()>;

/// The queue between interrupt and loop; `wait` sleeps until an interrupt.
///
/// # Panics
/// If called twice.
pub fn queue(wait: fn()) -> (BoardFiller, BoardMicrophone) {
    static STORAGE: ConstStaticCell<Storage> =
        ConstStaticCell::new([[0; BLOCK_SAMPLES]; QUEUE_BLOCKS]);
    static QUEUE: StaticCell<Blocks<'static, CriticalSectionRawMutex>> = StaticCell::new();
    QUEUE.init(Blocks::new(STORAGE.take())).split(wait)
}

/// Memory for the model's state.
///
/// # Panics
/// If called twice.
pub fn arena() -> &'static mut [i8] {
    static ARENA: ConstStaticCell<[i8; ARENA_BYTES]> = ConstStaticCell::new([0; ARENA_BYTES]);
    ARENA.take()
}

/// Event lines on a UART and in the log.
pub fn lines<B: FnMut(&[u8]) -> fmt::Result>(uart: B) -> Lines<B, fn(&str)> {
    Lines::new(uart, |line| defmt::info!("{=str}", line))
}

/// The flash region of the model, whatever it holds.
#[cfg(target_arch = "arm")]
pub fn model_region() -> &'static [u8] {
    unsafe extern "C" {
        // Only their addresses mean something.
        static _model_start: u8;
        static _model_length: u8;
    }
    let length = (&raw const _model_length).addr();
    // SAFETY: the memory map reserves these bytes of flash for the model alone, and nothing writes them
    // while the program runs.
    unsafe { core::slice::from_raw_parts(&raw const _model_start, length) }
}

/// Says where, and leaves the rest to the watchdog.
#[panic_handler]
fn panicked(info: &PanicInfo<'_>) -> ! {
    if let Some(place) = info.location() {
        defmt::error!("panic at {=str}:{=u32}", place.file(), place.line());
    }
    loop {
        core::hint::spin_loop();
    }
}
