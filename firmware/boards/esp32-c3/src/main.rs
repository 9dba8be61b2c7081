//! Wakeling on the ESP32-C3-DevKitM-1. The chip's I²S peripheral clocks the microphone, and DMA
//! writes the slots into a ring of descriptors, which serves as the queue. Pins are in
//! `docs/reference/boards.md`.
//!
//! Never run on hardware.

#![no_std]
#![no_main]

use core::fmt;

use esp_hal::{
    Blocking,
    clock::CpuClock,
    dma::{DmaError, DmaTransferRxCircular},
    gpio::{Level, Output, OutputConfig},
    i2s::master::{self, Channels, DataFormat, I2s, I2sRx},
    time::{Duration, Rate},
    timer::timg::{MwdtStage, TimerGroup},
    uart::{self, UartTx},
};
use static_cell::{ConstStaticCell, StaticCell};
use wakeling_board::{UART_BAUD, arena, line::lines};
use wakeling_firmware::{
    application::{self, Board, WATCHDOG_MS},
    blocks::{BLOCK_SAMPLES, QUEUE_BLOCKS},
    convert::from_i2s,
    microphone::{Microphone, ReadError},
    outputs::Both,
};

mod flash;

esp_bootloader_esp_idf::esp_app_desc!();

const SLOT_BYTES: usize = 4;
const BLOCK_BYTES: usize = BLOCK_SAMPLES * SLOT_BYTES;
const RING_BYTES: usize = QUEUE_BLOCKS * BLOCK_BYTES;

/// Ring that DMA writes, and the bytes taken out of it but not yet processed.
struct Ring<'r> {
    transfer: DmaTransferRxCircular<'r, I2sRx<'r, Blocking>>,
    taken: &'static mut [u8; RING_BYTES],
    /// Number of bytes of `taken` that were processed, and number of bytes in it.
    start: usize,
    end: usize,
}

/// Error of the driver.
struct Trouble(DmaError);

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.0 {
            DmaError::DescriptorError => "DMA refused a descriptor",
            _ => "DMA failed",
        })
    }
}

impl Ring<'_> {
    /// Takes the received bytes out of the ring; waits until there are some.
    fn take(&mut self) -> Result<(), DmaError> {
        while self.transfer.available()? == 0 {
            core::hint::spin_loop();
        }
        self.start = 0;
        self.end = self.transfer.pop(self.taken)?;
        Ok(())
    }

    /// Restarts after DMA has overrun the ring. Returning all descriptors lets DMA continue.
    fn start_over(&mut self) -> Result<u64, DmaError> {
        self.transfer.pop(self.taken)?;
        (self.start, self.end) = (0, 0);
        Ok((RING_BYTES / SLOT_BYTES) as u64)
    }
}

impl Microphone for Ring<'_> {
    type Error = Trouble;

    fn read(&mut self, block: &mut [i16]) -> Result<usize, ReadError<Trouble>> {
        let board = |error| ReadError::Board(Trouble(error));
        if self.start == self.end {
            match self.take() {
                Ok(()) => {}
                Err(DmaError::Late) => {
                    let lost_samples = self.start_over().map_err(board)?;
                    return Err(ReadError::Overrun { lost_samples });
                }
                Err(error) => return Err(board(error)),
            }
        }
        let (slots, _) = self.taken[self.start..self.end].as_chunks();
        let mut count = 0;
        for (sample, slot) in block.iter_mut().zip(slots) {
            *sample = from_i2s(u32::from_le_bytes(*slot));
            count += 1;
        }
        self.start += count * SLOT_BYTES;
        Ok(count)
    }
}

fn microphone_config() -> master::Config {
    // A frame has two slots of 32 bits, of which the left one is kept.
    let unit = master::UnitConfig::new_tdm_philips()
        .with_sample_rate(Rate::from_hz(16_000))
        .with_data_format(DataFormat::Data32Channel32)
        .with_channels(Channels::LEFT);
    master::Config::new_tdm_philips().with_rx_config(unit)
}

/// Runs the board after the chip's own start. A set-up error is printed and left to the watchdog.
fn detect() -> Result<(), &'static str> {
    let p = esp_hal::init(esp_hal::Config::default().with_cpu_clock(CpuClock::_160MHz));
    let mut watchdog = TimerGroup::new(p.TIMG0).wdt;
    watchdog.set_timeout(MwdtStage::Stage0, Duration::from_millis(WATCHDOG_MS.into()));
    watchdog.enable();
    let uart_config = uart::Config::default().with_baudrate(UART_BAUD);
    let uart = UartTx::new(p.UART0, uart_config).map_err(|_| "the UART's settings")?;
    let mut uart = uart.with_tx(p.GPIO21);
    let led = Output::new(p.GPIO3, Level::Low, OutputConfig::default());
    let pin = Output::new(p.GPIO10, Level::Low, OutputConfig::default());

    let (buffer, descriptors, _, _) =
        esp_hal::dma_circular_buffers_chunk_size!(RING_BYTES, 0, BLOCK_BYTES);
    let i2s = I2s::new(p.I2S0, p.DMA_CH0, microphone_config()).map_err(|_| "I2S's settings")?;
    static RECEIVER: StaticCell<I2sRx<'static, Blocking>> = StaticCell::new();
    let receiver = i2s.i2s_rx.with_bclk(p.GPIO4).with_ws(p.GPIO5).with_din(p.GPIO6);
    let receiver = RECEIVER.init(receiver.build(descriptors));
    static TAKEN: ConstStaticCell<[u8; RING_BYTES]> = ConstStaticCell::new([0; _]);
    let transfer = receiver.read_dma_circular(buffer).map_err(|_| "I2S's DMA")?;

    let board = Board {
        microphone: Ring { transfer, taken: TAKEN.take(), start: 0, end: 0 },
        indicator: Both(led, pin),
        sink: lines(|text| write_all(&mut uart, text)),
        feed: || watchdog.feed(),
    };
    application::run(flash::model_region(), arena(), board);
    Ok(())
}

/// Writes all of `text`. The driver writes only what fits into the FIFO, and returns its length.
fn write_all(uart: &mut UartTx<'_, Blocking>, mut text: &[u8]) -> fmt::Result {
    while !text.is_empty() {
        let count = uart.write(text).map_err(|_| fmt::Error)?;
        text = text.get(count..).ok_or(fmt::Error)?;
    }
    Ok(())
}

#[esp_hal::main]
fn main() -> ! {
    if let Err(what) = detect() {
        defmt::error!("set-up refused: {=str}", what);
    }
    loop {
        core::hint::spin_loop();
    }
}
