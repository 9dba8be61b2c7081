//! Wakeling on the micro:bit v2 (nRF52833). A timer starts the converter 16,000 times a second, and
//! DMA writes the readings into two buffers in turn. Pins are in `docs/reference/boards.md`.
//!
//! Run on a double of the chip (`docs/lab/chips.md`), and never on hardware.

#![no_std]
#![no_main]

use embassy_nrf::{
    Peri, bind_interrupts,
    gpio::{Input, Level, Output, OutputDrive, Pull},
    peripherals,
    saadc::{self, CallbackResult, ChannelConfig, Saadc},
    timer::Frequency,
};
use static_cell::ConstStaticCell;
use wakeling_board::BoardFiller;
use wakeling_firmware::{blocks::BLOCK_SAMPLES, convert::Analog, outputs::Both};

bind_interrupts!(struct Irqs {
    SAADC => saadc::InterruptHandler;
});

/// Ticks of the 16 MHz timer per sample.
const TICKS_PER_SAMPLE: u32 = 1_000;

/// Bits by which a 14-bit reading is shifted: two to the 16 bits of a sample, and two for 12 dB.
/// The microphone's amplifier gives 206 mV (see [`microphone_config`]) only for unrealistically
/// loud sound.
const GAIN_BITS: u32 = 4;

/// Peripherals that start the converter.
struct Clock {
    timer: Peri<'static, peripherals::TIMER0>,
    end_to_start: Peri<'static, peripherals::PPI_CH0>,
    tick_to_sample: Peri<'static, peripherals::PPI_CH1>,
}

/// Moves the samples that DMA wrote into the queue.
#[embassy_executor::task]
async fn record(mut microphone: Saadc<'static, 1>, clock: Clock, mut filler: BoardFiller) {
    static BUFFERS: ConstStaticCell<[[[i16; 1]; BLOCK_SAMPLES]; 2]> =
        ConstStaticCell::new([[[0]; _]; 2]);
    let Clock { timer, end_to_start, tick_to_sample } = clock;
    let mut analog = Analog::new(GAIN_BITS);
    let put = |readings: &[[i16; 1]]| {
        filler.fill(|block| {
            for (sample, [reading]) in block.iter_mut().zip(readings) {
                *sample = analog.sample(*reading);
            }
        });
        CallbackResult::Continue
    };
    let (ticks, buffers) = (TICKS_PER_SAMPLE, BUFFERS.take());
    microphone
        .run_task_sampler(
            timer,
            end_to_start,
            tick_to_sample,
            Frequency::F16MHz,
            ticks,
            buffers,
            put,
        )
        .await;
}

/// Configures the converter as the micro:bit's own software does (codal-microbit-v2
/// `MicroBitAudio.cpp`, codal-nrf52 `NRF52ADC.cpp`): a quarter of the supply as reference and a
/// gain of four, so 206 mV are 2¹⁴.
fn microphone_config(pin: Peri<'static, peripherals::P0_05>) -> ChannelConfig<'static> {
    let mut channel = ChannelConfig::single_ended(pin);
    channel.reference = saadc::Reference::VDD1_4;
    channel.gain = saadc::Gain::Gain4;
    channel.time = saadc::Time::_3US;
    channel
}

#[cortex_m_rt::entry]
fn main() -> ! {
    let p = wakeling_nrf::init();

    // Power for the microphone, which also lights its LED.
    let _power = Output::new(p.P0_20, Level::High, OutputDrive::HighDrive);
    let mut converter = saadc::Config::default();
    converter.resolution = saadc::Resolution::_14bit;
    let microphone = Saadc::new(p.SAADC, Irqs, converter, [microphone_config(p.P0_05)]);
    let clock = Clock { timer: p.TIMER0, end_to_start: p.PPI_CH0, tick_to_sample: p.PPI_CH1 };
    // The LED in the upper left corner, whose column is held low.
    let _column = Output::new(p.P0_28, Level::Low, OutputDrive::Standard);
    let led = Output::new(p.P0_21, Level::Low, OutputDrive::Standard);
    let pin = Output::new(p.P0_02, Level::Low, OutputDrive::Standard);
    let system = wakeling_nrf::system!(p, receive: P1_08, send: P0_06);
    // Button A, against ground.
    let button = Input::new(p.P0_14, Pull::Up);
    let pressed = || button.is_low();
    wakeling_nrf::run("microbit-v2", system, Both(led, pin), pressed, |filler| {
        record(microphone, clock, filler)
    })
}
