//! Wakeling on the Arduino Nano 33 BLE Sense (nRF52840). The chip's own PDM peripheral filters the
//! microphone's bits, and writes samples by DMA into two buffers in turn. Pins are in
//! `docs/reference/boards.md`.
//!
//! Built, and never run on hardware.

#![no_std]
#![no_main]

use core::cell::RefCell;

use embassy_executor::InterruptExecutor;
use embassy_nrf::{
    bind_interrupts,
    buffered_uarte::{self, BufferedUarte},
    config,
    gpio::{Level, Output, OutputDrive},
    interrupt::{self, InterruptExt, Priority},
    nvmc::Nvmc,
    pdm::{self, Pdm, SamplerState},
    peripherals, uarte,
    wdt::{self, Watchdog},
};
use fixed::types::I7F1;
use static_cell::ConstStaticCell;
use wakeling_board::{BoardFiller, Parts, line::buffers, queue};
use wakeling_firmware::{
    application::WATCHDOG_MS,
    blocks::Block,
    outputs::{ActiveLow, Both},
};

bind_interrupts!(struct Irqs {
    PDM => pdm::InterruptHandler<peripherals::PDM>;
    UARTE0 => buffered_uarte::InterruptHandler<peripherals::UARTE0>;
});

/// Runs [`record`] above the loop.
static EXECUTOR: InterruptExecutor = InterruptExecutor::new();

#[embassy_nrf::interrupt]
unsafe fn EGU0_SWI0() {
    // SAFETY: this is the interrupt that `EXECUTOR` was started with.
    unsafe { EXECUTOR.on_interrupt() }
}

/// Moves the samples that DMA wrote into the queue.
#[embassy_executor::task]
async fn record(mut microphone: Pdm<'static>, mut filler: BoardFiller) {
    static BUFFERS: ConstStaticCell<[Block; 2]> = ConstStaticCell::new([[0; _]; 2]);
    let put = |samples: &Block| {
        filler.fill(|block| *block = *samples);
        SamplerState::Sampled
    };
    // It ends only if it was already running; the watchdog then restarts the board.
    let _ = microphone.run_task_sampler(BUFFERS.take(), put).await;
}

/// Configures the sample rate, 1.28 MHz / 80 = 16 kHz, and the gain. The clock of the MP34DT05 must
/// be between 1.2 and 3.25 MHz (data sheet, table 4), which excludes the slower pairs that also
/// give 16 kHz. Its sensitivity is −26 dB of full scale at 94 dB SPL. More than 20 dB of gain would
/// clip loud speech.
fn microphone_config() -> pdm::Config {
    pdm::Config {
        frequency: pdm::Frequency::_1280k,
        ratio: pdm::Ratio::Ratio80,
        gain_left: I7F1::from_num(20),
        ..pdm::Config::default()
    }
}

#[cortex_m_rt::entry]
fn main() -> ! {
    let mut config = config::Config::default();
    // The crystal, since the internal oscillator jitters too much for a microphone.
    config.hfclk_source = config::HfclkSource::ExternalXtal;
    let p = embassy_nrf::init(config);

    // Power for the microphone.
    let _power = Output::new(p.P0_17, Level::High, OutputDrive::Standard);
    let microphone = Pdm::new(p.PDM, Irqs, p.P0_26, p.P0_25, microphone_config());
    let (receive, send) = buffers();
    let uart = BufferedUarte::new(
        p.UARTE0,
        p.TIMER0,
        p.PPI_CH0,
        p.PPI_CH1,
        p.PPI_GROUP0,
        p.P1_10,
        p.P1_03,
        Irqs,
        uarte::Config::default(),
        receive,
        send,
    );
    let lamp = ActiveLow(Output::new(p.P0_16, Level::High, OutputDrive::Standard));
    let pin = Output::new(p.P1_11, Level::Low, OutputDrive::Standard);
    let mut watchdog_config = wdt::Config::default();
    watchdog_config.timeout_ticks = wdt_ticks(WATCHDOG_MS);
    let watchdog = Watchdog::try_new(p.WDT, watchdog_config);

    let (filler, samples) = queue(cortex_m::asm::wfe);
    interrupt::EGU0_SWI0.set_priority(Priority::P6);
    let spawner = EXECUTOR.start(interrupt::EGU0_SWI0);
    if let Ok(task) = record(microphone, filler) {
        spawner.spawn(task);
    }

    let watchdog = RefCell::new(watchdog.ok().map(|(_, [handle])| handle));
    let feed = || {
        if let Some(watchdog) = &mut *watchdog.borrow_mut() {
            watchdog.pet();
        }
    };
    wakeling_board::run(
        "nano33",
        Parts {
            microphone: samples,
            indicator: Both(lamp, pin),
            feed,
            uart: uart.split(),
            flash: (Nvmc::new(p.NVMC), 0),
        },
    )
}

/// Converts milliseconds to ticks of the watchdog, which counts at 32,768 Hz.
const fn wdt_ticks(ms: u32) -> u32 {
    ms * 32_768 / 1_000
}
