//! Wakeling on the Raspberry Pi Pico (RP2040) and, from the same source, on the Pico 2 (RP2350). A
//! state machine of the PIO clocks an I²S microphone and collects its bits, and DMA writes them.
//! Pins are in `docs/reference/boards.md`.
//!
//! Never run on hardware. On the Pico it runs in a test, in an emulator (`tests/pico/README.md`).

#![no_std]
#![no_main]

use core::cell::RefCell;

use embassy_executor::InterruptExecutor;
use embassy_rp::{
    bind_interrupts, dma,
    flash::{FLASH_BASE, Flash},
    gpio::{Input, Level, Output, Pull},
    interrupt::{self, InterruptExt, Priority},
    peripherals::{DMA_CH0, PIO0, UART0},
    pio::{
        self, Common, Config, Direction, FifoJoin, Pin, Pio, ShiftConfig, ShiftDirection,
        StateMachine, program::pio_asm,
    },
    pio_programs::clock_divider::calculate_pio_clock_divider,
    uart::{self, BufferedInterruptHandler, BufferedUart},
    watchdog::Watchdog,
};
use embassy_time::{Duration, Instant};
use static_cell::ConstStaticCell;
use wakeling_board::{BoardFiller, Parts, line::buffers, queue};
use wakeling_firmware::{
    application::WATCHDOG_MS, blocks::BLOCK_SAMPLES, convert::from_i2s, outputs::Both,
};

bind_interrupts!(struct Irqs {
    PIO0_IRQ_0 => pio::InterruptHandler<PIO0>;
    DMA_IRQ_0 => dma::InterruptHandler<DMA_CH0>;
    UART0_IRQ => BufferedInterruptHandler<UART0>;
});

/// Name of this board.
const NAME: &str = match env!("CARGO_PKG_NAME").as_bytes() {
    b"wakeling-pico2" => "pico2",
    _ => "pico",
};
/// Size of the flash to the end of the region of models; the Pico 2 has twice as much.
const FLASH_BYTES: usize = 2 * 1024 * 1024;

/// Instructions of the state machine per sample: two slots of 32 bits, two instructions per bit.
const INSTRUCTIONS_PER_SAMPLE: u32 = 2 * 2 * 32;
const SAMPLE_RATE: u32 = 16_000;

/// Runs [`record`] above the loop.
static EXECUTOR: InterruptExecutor = InterruptExecutor::new();

#[embassy_rp::interrupt]
unsafe fn SWI_IRQ_1() {
    // SAFETY: this is the interrupt that `EXECUTOR` was started with.
    unsafe { EXECUTOR.on_interrupt() }
}

/// The three wires of the microphone.
struct Wires {
    data: Pin<'static, PIO0>,
    bit_clock: Pin<'static, PIO0>,
    word_select: Pin<'static, PIO0>,
}

/// Configures a state machine that pushes the 32 bits of every left slot. The program in embassy-rp
/// makes slots of 16 bits, but microphones like the INMP441 require 64 clocks per frame (data sheet
/// DS-000069, "serial data interface").
///
/// The side-set is word select, then bit clock. Bits change as the clock falls and are read as it
/// rises. The first bit comes one clock after word select has changed, and the last together with
/// the first clock of the other slot.
fn left_slots(
    common: &mut Common<'static, PIO0>,
    machine: &mut StateMachine<'static, PIO0, 0>,
    wires: &Wires,
) {
    let program = pio_asm!(
        ".side_set 2",
        ".wrap_target",
        "    set x, 29       side 0b00",
        "    nop             side 0b01",
        "    nop             side 0b00",
        "left:",
        "    in pins, 1      side 0b01",
        "    jmp x-- left    side 0b00",
        "    in pins, 1      side 0b01",
        "    set x, 29       side 0b10",
        "    in pins, 1      side 0b11",
        "    nop             side 0b10",
        "right:",
        "    nop             side 0b11",
        "    jmp x-- right   side 0b10",
        "    nop             side 0b11",
        ".wrap",
    );
    let program = common.load_program(&program.program);
    let mut config = Config::default();
    config.use_program(&program, &[&wires.bit_clock, &wires.word_select]);
    config.set_in_pins(&[&wires.data]);
    config.clock_divider = calculate_pio_clock_divider(SAMPLE_RATE * INSTRUCTIONS_PER_SAMPLE);
    config.shift_in =
        ShiftConfig { auto_fill: true, threshold: 32, direction: ShiftDirection::Left };
    // The FIFO holds eight samples, half a millisecond, between two transfers.
    config.fifo_join = FifoJoin::RxOnly;
    machine.set_config(&config);
    machine.set_pin_dirs(Direction::In, &[&wires.data]);
    machine.set_pin_dirs(Direction::Out, &[&wires.bit_clock, &wires.word_select]);
    machine.set_enable(true);
}

/// Number of blocks that the microphone would have given by now, from the start of its clocks.
///
/// While flash is erased no interrupt is served. The FIFO then fills, and the state machine stops its
/// clocks, so that samples are not dropped but never taken. Only the time shows how many.
struct Expected {
    start: Instant,
    /// Number of blocks that were taken or counted as lost.
    blocks: u64,
}

impl Expected {
    /// Time of a block in microseconds.
    const BLOCK_US: u64 = BLOCK_SAMPLES as u64 * 1_000_000 / SAMPLE_RATE as u64;

    /// Counts a block that was taken, and returns the number of whole blocks that are missing before
    /// it if the state machine was `stalled`.
    fn take(&mut self, stalled: bool) -> u32 {
        self.blocks += 1;
        if !stalled {
            return 0;
        }
        let due = self.start.elapsed().as_micros() / Self::BLOCK_US;
        let missing = due.saturating_sub(self.blocks);
        self.blocks += missing;
        missing as u32
    }
}

/// Moves the samples that DMA wrote into the queue.
#[embassy_executor::task]
async fn record(
    mut machine: StateMachine<'static, PIO0, 0>,
    mut dma: dma::Channel<'static>,
    mut filler: BoardFiller,
) {
    static SLOTS: ConstStaticCell<[u32; BLOCK_SAMPLES]> = ConstStaticCell::new([0; _]);
    let slots = SLOTS.take();
    let mut expected = Expected { start: Instant::now(), blocks: 0 };
    loop {
        machine.rx().dma_pull(&mut dma, slots, false).await;
        let stalled = machine.rx().stalled();
        filler.lose(expected.take(stalled));
        filler.fill(|block| {
            for (sample, slot) in block.iter_mut().zip(&*slots) {
                *sample = from_i2s(*slot);
            }
        });
    }
}

#[cortex_m_rt::entry]
fn main() -> ! {
    let p = embassy_rp::init(Default::default());

    let Pio { mut common, mut sm0, .. } = Pio::new(p.PIO0, Irqs);
    let wires = Wires {
        data: common.make_pio_pin(p.PIN_12),
        bit_clock: common.make_pio_pin(p.PIN_10),
        word_select: common.make_pio_pin(p.PIN_11),
    };
    left_slots(&mut common, &mut sm0, &wires);
    let dma = dma::Channel::new(p.DMA_CH0, Irqs);
    let (receive, send) = buffers();
    let config = uart::Config::default();
    let uart = BufferedUart::new(p.UART0, p.PIN_0, p.PIN_1, Irqs, send, receive, config);
    let (send, receive) = uart.split();
    let led = Output::new(p.PIN_25, Level::Low);
    let pin = Output::new(p.PIN_15, Level::Low);
    let button = Input::new(p.PIN_14, Pull::Up);
    let timeout = Duration::from_millis(WATCHDOG_MS.into());
    let mut watchdog = Watchdog::new(p.WATCHDOG);
    watchdog.start(timeout);

    let (filler, samples) = queue(cortex_m::asm::wfe);
    interrupt::SWI_IRQ_1.set_priority(Priority::P3);
    let spawner = EXECUTOR.start(interrupt::SWI_IRQ_1);
    if let Ok(task) = record(sm0, dma, filler) {
        spawner.spawn(task);
    }

    let watchdog = RefCell::new(watchdog);
    wakeling_board::run(
        NAME,
        Parts {
            microphone: samples,
            indicator: Both(led, pin),
            feed: || watchdog.borrow_mut().feed(timeout),
            uart: (receive, send),
            flash: (Flash::<_, _, FLASH_BYTES>::new_blocking(p.FLASH), FLASH_BASE as u32),
            button: || button.is_low(),
        },
    )
}
