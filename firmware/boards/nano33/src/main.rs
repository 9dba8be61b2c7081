//! Wakeling on the Arduino Nano 33 BLE Sense (nRF52840). The chip's own PDM peripheral filters the
//! microphone's bits, and writes samples by DMA into two buffers in turn. Pins are in
//! `docs/reference/boards.md`.
//!
//! Run on a double of the chip (`docs/lab/chips.md`), and never on hardware.

#![no_std]
#![no_main]

use embassy_nrf::{
    bind_interrupts,
    gpio::{Input, Level, Output, OutputDrive, Pull},
    pdm::{self, Pdm, SamplerState},
    peripherals,
};
use fixed::types::I7F1;
use static_cell::ConstStaticCell;
use wakeling_board::BoardFiller;
use wakeling_firmware::{
    blocks::Block,
    outputs::{ActiveLow, Both},
};

bind_interrupts!(struct Irqs {
    PDM => pdm::InterruptHandler<peripherals::PDM>;
});

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
    let p = wakeling_nrf::init();

    // Power for the microphone.
    let _power = Output::new(p.P0_17, Level::High, OutputDrive::Standard);
    let microphone = Pdm::new(p.PDM, Irqs, p.P0_26, p.P0_25, microphone_config());
    let led = ActiveLow(Output::new(p.P0_16, Level::High, OutputDrive::Standard));
    let pin = Output::new(p.P1_11, Level::Low, OutputDrive::Standard);
    let system = wakeling_nrf::system!(p, receive: P1_10, send: P1_03);
    // D3, against ground.
    let button = Input::new(p.P1_12, Pull::Up);
    let pressed = || button.is_low();
    wakeling_nrf::run("nano33", system, Both(led, pin), pressed, |filler| {
        record(microphone, filler)
    })
}
