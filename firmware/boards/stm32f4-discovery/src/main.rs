//! Wakeling on the STM32F4-Discovery (STM32F407VG). The chip has no filter for a PDM microphone.
//! I2S2 receives its bits in words of 16, DMA writes them into a ring, and the program filters
//! them. Pins are in `docs/reference/boards.md`.
//!
//! Run on a double of the chip (`docs/lab/chips.md`), and never on hardware.

#![no_std]
#![no_main]

mod flash;

use core::cell::RefCell;

use embassy_executor::InterruptExecutor;
use embassy_stm32::{
    bind_interrupts, dma,
    flash::{FLASH_BASE, Flash},
    gpio::{Input, Level, Output, Pull, Speed},
    i2s::{self, ClockPolarity, Format, I2S, Standard},
    interrupt::{self, InterruptExt, Priority},
    peripherals::{DMA1_CH3, USART2},
    rcc::{
        AHBPrescaler, APBPrescaler, Hse, HseMode, Pll, PllMul, PllPDiv, PllPreDiv, PllQDiv,
        PllRDiv, PllSource, Sysclk,
    },
    time::Hertz,
    usart::{self, BufferedUart},
    wdg::IndependentWatchdog,
};
use flash::WideErase;
use static_cell::ConstStaticCell;
use wakeling_board::{BoardFiller, Parts, line::buffers, queue};
use wakeling_firmware::{
    application::WATCHDOG_MS,
    blocks::BLOCK_SAMPLES,
    cic::{Cic, WORDS_PER_SAMPLE},
    outputs::Both,
};

bind_interrupts!(struct Irqs {
    DMA1_STREAM3 => dma::InterruptHandler<DMA1_CH3>;
    USART2 => usart::BufferedInterruptHandler<USART2>;
});

/// Number of 16-bit words per block.
const BLOCK_WORDS: usize = BLOCK_SAMPLES * WORDS_PER_SAMPLE;
/// Size of the ring in words. DMA signals each half, and a block must be read while the next one
/// arrives.
const RING_WORDS: usize = 4 * BLOCK_WORDS;

/// Runs [`record`] above the loop, by the interrupt of the unused UART 4.
static EXECUTOR: InterruptExecutor = InterruptExecutor::new();

#[embassy_stm32::interrupt]
unsafe fn UART4() {
    // SAFETY: this is the interrupt that `EXECUTOR` was started with.
    unsafe { EXECUTOR.on_interrupt() }
}

/// Filters the bits that DMA wrote into the queue.
#[embassy_executor::task]
async fn record(mut microphone: I2S<'static, u16>, mut filler: BoardFiller) {
    static WORDS: ConstStaticCell<[u16; BLOCK_WORDS]> = ConstStaticCell::new([0; _]);
    let words = WORDS.take();
    let mut filter = Cic::default();
    microphone.start();
    loop {
        match microphone.read(words).await {
            Ok(()) => filler.fill(|block| filter.fill(words, block)),
            // The driver restarts after a whole ring.
            Err(_) => filler.lose((RING_WORDS / BLOCK_WORDS) as u32),
        }
    }
}

/// Configures the clocks: 168 MHz from the 8 MHz crystal, and 8 · 256 / 8 / 5 = 51.2 MHz for I2S2,
/// which is 50 times the microphone's clock (RM0090, table 127: 32 kHz, 16 bits).
fn clocks() -> embassy_stm32::Config {
    let mut config = embassy_stm32::Config::default();
    let rcc = &mut config.rcc;
    rcc.hse = Some(Hse { freq: Hertz(8_000_000), mode: HseMode::Oscillator });
    rcc.pll_src = PllSource::HSE;
    let pll = |mul| Pll { prediv: PllPreDiv::DIV8, mul, divp: None, divq: None, divr: None };
    rcc.pll =
        Some(Pll { divp: Some(PllPDiv::DIV2), divq: Some(PllQDiv::DIV7), ..pll(PllMul::MUL336) });
    rcc.plli2s = Some(Pll { divr: Some(PllRDiv::DIV5), ..pll(PllMul::MUL256) });
    rcc.sys = Sysclk::PLL1_P;
    rcc.ahb_pre = AHBPrescaler::DIV1;
    rcc.apb1_pre = APBPrescaler::DIV4;
    rcc.apb2_pre = APBPrescaler::DIV2;
    config
}

/// Configures a frame of 32 bits at 32 kHz, a clock of 1.024 MHz, as ST's own driver of the board
/// does (STM32F4 firmware package, `stm32f4_discovery_audio.c`). The MP45DT02 requires 1 to 3.25
/// MHz.
fn microphone_config() -> i2s::Config {
    let mut config = i2s::Config::default();
    config.frequency = Hertz(32_000);
    config.standard = Standard::LsbFirst;
    config.format = Format::Data16Channel16;
    config.clock_polarity = ClockPolarity::IdleHigh;
    config.master_clock = false;
    config
}

#[cortex_m_rt::entry]
fn main() -> ! {
    let p = embassy_stm32::init(clocks());

    static RING: ConstStaticCell<[u16; RING_WORDS]> = ConstStaticCell::new([0; _]);
    // Word select has an unconnected pin.
    let microphone = I2S::new_rxonly_nomck(
        p.SPI2,
        p.PC3,
        p.PB12,
        p.PB10,
        p.DMA1_CH3,
        RING.take(),
        Irqs,
        microphone_config(),
    );
    let (receive, send) = buffers();
    let config = usart::Config::default();
    let uart = BufferedUart::new(p.USART2, p.PA3, p.PA2, send, receive, Irqs, config);
    // The driver accepts these constant settings.
    let (send, receive) = uart.expect("115,200 baud").split();
    let led = Output::new(p.PD15, Level::Low, Speed::Low);
    let pin = Output::new(p.PD0, Level::Low, Speed::Low);
    let button = Input::new(p.PA0, Pull::Down);
    let mut watchdog = IndependentWatchdog::new(p.IWDG, WATCHDOG_MS * 1_000);
    watchdog.unleash();

    let (filler, samples) = queue(cortex_m::asm::wfe);
    interrupt::UART4.set_priority(Priority::P6);
    let spawner = EXECUTOR.start(interrupt::UART4);
    if let Ok(task) = record(microphone, filler) {
        spawner.spawn(task);
    }

    let watchdog = RefCell::new(watchdog);
    wakeling_board::run(
        "stm32f4-discovery",
        Parts {
            microphone: samples,
            indicator: Both(led, pin),
            feed: || watchdog.borrow_mut().pet(),
            uart: (receive, send),
            flash: (WideErase(Flash::new_blocking(p.FLASH)), FLASH_BASE as u32),
            button: || button.is_high(),
        },
    )
}
