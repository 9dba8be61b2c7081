//! The two CMSDK peripherals of the board: the serial port that carries the event lines, and the
//! timer that counts instructions (ARM DDI 0479, sections 4.3 and 4.4).

use core::{convert::Infallible, fmt, ptr};

/// One memory-mapped register.
struct Register(usize);

impl Register {
    const UART_DATA: Self = Self(0x4000_4000);
    const UART_STATE: Self = Self(0x4000_4004);
    const UART_CONTROL: Self = Self(0x4000_4008);
    const UART_BAUD_DIVISOR: Self = Self(0x4000_4010);
    const TIMER_CONTROL: Self = Self(0x4000_0000);
    const TIMER_VALUE: Self = Self(0x4000_0004);
    const TIMER_RELOAD: Self = Self(0x4000_0008);

    fn read(&self) -> u32 {
        // SAFETY: the constants above are the only registers; each is an aligned word that the board
        // maps always, and reading one has no effect on memory.
        unsafe { ptr::with_exposed_provenance::<u32>(self.0).read_volatile() }
    }

    fn write(&self, value: u32) {
        // SAFETY: as above; neither peripheral accesses memory by itself.
        unsafe { ptr::with_exposed_provenance_mut::<u32>(self.0).write_volatile(value) }
    }
}

/// UART 0; the host reads it on its standard output.
pub struct Uart;

impl Uart {
    /// Transmitter on, at the fastest rate that QEMU accepts.
    pub fn new() -> Self {
        const TRANSMIT: u32 = 1;
        const LEAST_DIVISOR: u32 = 16;
        Register::UART_BAUD_DIVISOR.write(LEAST_DIVISOR);
        Register::UART_CONTROL.write(TRANSMIT);
        Self
    }

    /// Waits until the last byte is on its way.
    pub fn flush(&mut self) {
        const TRANSMIT_FULL: u32 = 1;
        while Register::UART_STATE.read() & TRANSMIT_FULL != 0 {}
    }
}

impl fmt::Write for Uart {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for byte in text.bytes() {
            self.flush();
            Register::UART_DATA.write(u32::from(byte));
        }
        Ok(())
    }
}

/// Timer 0, free running downwards at the processor's 25 MHz.
pub struct Timer;

impl Timer {
    /// Starts it.
    pub fn new() -> Self {
        const ENABLE: u32 = 1;
        Register::TIMER_RELOAD.write(u32::MAX);
        Register::TIMER_VALUE.write(u32::MAX);
        Register::TIMER_CONTROL.write(ENABLE);
        Self
    }

    /// Ticks so far, modulo 2³².
    pub fn ticks(&self) -> u32 {
        u32::MAX - Register::TIMER_VALUE.read()
    }
}

/// Instructions that `ticks` stand for: a tick lasts 1/25 MHz = 40 ns, and under `-icount shift=5`
/// an instruction lasts 2⁵ = 32 ns.
pub fn instructions(ticks: u64) -> u64 {
    ticks * 40 / 32
}

/// An indicator that nobody sees; the event lines say the same.
pub struct Dark;

impl embedded_hal::digital::ErrorType for Dark {
    type Error = Infallible;
}

impl embedded_hal::digital::OutputPin for Dark {
    fn set_low(&mut self) -> Result<(), Infallible> {
        Ok(())
    }

    fn set_high(&mut self) -> Result<(), Infallible> {
        Ok(())
    }
}
