//! Boot of the boards with an nRF52840 or nRF52833: clock, UART, watchdog, the executor of the microphone's
//! task, and the loop. A board adds its pins, its microphone and its indicator.
//!
//! Run on a double of the chip (`docs/lab/chips.md`), and never on hardware.

#![no_std]

use core::cell::RefCell;

use embassy_executor::{InterruptExecutor, SpawnError, SpawnToken};
use embassy_nrf::{
    Peri, Peripherals, bind_interrupts,
    buffered_uarte::{self, BufferedUarte},
    config::{Config, HfclkSource},
    gpio::AnyPin,
    interrupt::{self, InterruptExt, Priority},
    nvmc::Nvmc,
    peripherals::{NVMC, PPI_CH2, PPI_CH3, PPI_GROUP0, TIMER1, UARTE0, WDT},
    uarte,
    wdt::{self, Watchdog},
};
use embedded_hal::digital::OutputPin;
use wakeling_board::{BoardFiller, Parts, line::buffers, queue};
use wakeling_firmware::application::WATCHDOG_MS;

bind_interrupts!(struct Irqs {
    UARTE0 => buffered_uarte::InterruptHandler<UARTE0>;
});

/// Runs the microphone's task above the loop.
static EXECUTOR: InterruptExecutor = InterruptExecutor::new();

#[embassy_nrf::interrupt]
unsafe fn EGU0_SWI0() {
    // SAFETY: this is the interrupt that `EXECUTOR` was started with.
    unsafe { EXECUTOR.on_interrupt() }
}

/// Starts the chip. The clock is the crystal, since the internal oscillator jitters too much for a
/// microphone.
pub fn init() -> Peripherals {
    let mut config = Config::default();
    config.hfclk_source = HfclkSource::ExternalXtal;
    embassy_nrf::init(config)
}

/// Peripherals of [`run`]; the macro [`system`](crate::system) takes them out of the chip's.
pub struct System {
    /// UART of the line.
    pub uarte: Peri<'static, UARTE0>,
    /// Counter of the bytes that the UART receives.
    pub timer: Peri<'static, TIMER1>,
    /// Channels between UART and counter.
    pub channels: (Peri<'static, PPI_CH2>, Peri<'static, PPI_CH3>),
    /// Group of these channels.
    pub group: Peri<'static, PPI_GROUP0>,
    /// Pin that receives.
    pub receive: Peri<'static, AnyPin>,
    /// Pin that sends.
    pub send: Peri<'static, AnyPin>,
    /// Watchdog.
    pub watchdog: Peri<'static, WDT>,
    /// Flash controller.
    pub flash: Peri<'static, NVMC>,
}

/// Takes the peripherals of [`run`] out of the chip's, with the pins of the UART:
/// `system!(p, receive: P1_10, send: P1_03)`. TIMER0 and the channels 0 and 1 are left to the microphone.
#[macro_export]
macro_rules! system {
    ($p:ident, receive: $receive:ident, send: $send:ident) => {
        $crate::System {
            uarte: $p.UARTE0,
            timer: $p.TIMER1,
            channels: ($p.PPI_CH2, $p.PPI_CH3),
            group: $p.PPI_GROUP0,
            receive: $p.$receive.into(),
            send: $p.$send.into(),
            watchdog: $p.WDT,
            flash: $p.NVMC,
        }
    };
}

/// Starts the watchdog and the task that `record` makes to fill the queue, and runs the loop until the
/// watchdog restarts the board.
pub fn run<S: Send>(
    name: &'static str,
    system: System,
    indicator: impl OutputPin,
    button: impl FnMut() -> bool,
    record: impl FnOnce(BoardFiller) -> Result<SpawnToken<S>, SpawnError>,
) -> ! {
    let (receive, send) = buffers();
    let uart = BufferedUarte::new(
        system.uarte,
        system.timer,
        system.channels.0,
        system.channels.1,
        system.group,
        system.receive,
        system.send,
        Irqs,
        uarte::Config::default(),
        receive,
        send,
    );
    let mut config = wdt::Config::default();
    config.timeout_ticks = wdt_ticks(WATCHDOG_MS);
    let watchdog = Watchdog::try_new(system.watchdog, config);

    let (filler, microphone) = queue(cortex_m::asm::wfe);
    interrupt::EGU0_SWI0.set_priority(Priority::P6);
    let spawner = EXECUTOR.start(interrupt::EGU0_SWI0);
    // Without the task no block comes, and the watchdog restarts the board.
    if let Ok(task) = record(filler) {
        spawner.spawn(task);
    }

    let watchdog = RefCell::new(watchdog.ok().map(|(_, [handle])| handle));
    let feed = || {
        if let Some(watchdog) = &mut *watchdog.borrow_mut() {
            watchdog.pet();
        }
    };
    let flash = (Nvmc::new(system.flash), 0);
    wakeling_board::run(
        name,
        Parts { microphone, indicator, feed, uart: uart.split(), flash, button },
    )
}

/// Converts milliseconds to ticks of the watchdog, which counts at 32,768 Hz.
const fn wdt_ticks(ms: u32) -> u32 {
    ms * 32_768 / 1_000
}
