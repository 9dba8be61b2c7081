//! Instruction counter.
//!
//! On Arm the system timer (Armv7-M architecture reference, B3.3) counts the processor's clock.
//! Under `-icount shift=5` an instruction takes 2⁵ = 32 ns of the machine's time. On RISC-V
//! `minstret` counts the instructions themselves, if an instruction takes 1 ns: `-icount shift=0`.

/// Nanoseconds per instruction, and per second.
#[cfg(not(target_arch = "riscv32"))]
const INSTRUCTION_NS: u64 = 32;
#[cfg(not(target_arch = "riscv32"))]
const SECOND_NS: u64 = 1_000_000_000;

/// A running counter.
#[derive(Debug)]
pub struct Counter(());

/// Reading of the counter.
#[derive(Clone, Copy, Debug)]
pub struct Moment(u32);

/// Elapsed ticks. Sum them and convert the sum once.
#[derive(Clone, Copy, Debug, Default)]
pub struct Ticks(u64);

impl core::ops::AddAssign for Ticks {
    fn add_assign(&mut self, Self(ticks): Self) {
        self.0 += ticks;
    }
}

#[cfg(not(target_arch = "riscv32"))]
mod arch {
    use core::ptr;

    /// Addresses of `SYST_CSR`, `SYST_RVR`, `SYST_CVR`.
    const CONTROL: usize = 0xE000_E010;
    const RELOAD: usize = 0xE000_E014;
    const VALUE: usize = 0xE000_E018;
    /// Range of the timer, which has 24 bits and counts down.
    pub const MASK: u32 = 0x00FF_FFFF;

    fn write(register: usize, value: u32) {
        // SAFETY: the constants above are the only registers; every Cortex-M has them, as aligned
        // words, and the timer accesses no memory.
        unsafe { ptr::with_exposed_provenance_mut::<u32>(register).write_volatile(value) }
    }

    pub fn start() {
        /// Enables the timer on the processor's clock, without an interrupt.
        const ENABLE: u32 = 0b101;
        write(RELOAD, MASK);
        write(VALUE, 0);
        write(CONTROL, ENABLE);
    }

    pub fn now() -> u32 {
        // SAFETY: as above; reading the value has no side effect.
        let value = unsafe { ptr::with_exposed_provenance::<u32>(VALUE).read_volatile() };
        MASK - value
    }

    pub fn instructions(ticks: u64) -> u64 {
        const TICK_NS: u64 = crate::parse(env!("WAKELING_HERTZ")) as u64 * super::INSTRUCTION_NS;
        /// Greatest common divisor. The remaining divisor is a power of two on every machine, so
        /// the division is a shift; a 64-bit division would take 1 KB of flash.
        const COMMON: u64 = {
            let (mut a, mut b) = (super::SECOND_NS, TICK_NS);
            while b != 0 {
                (a, b) = (b, a % b);
            }
            a
        };
        ticks * (super::SECOND_NS / COMMON) / (TICK_NS / COMMON)
    }
}

#[cfg(target_arch = "riscv32")]
mod arch {
    pub const MASK: u32 = u32::MAX;

    pub fn start() {}

    pub fn now() -> u32 {
        let low;
        // SAFETY: reading the counter has no side effect.
        unsafe { core::arch::asm!("csrr {}, minstret", out(reg) low, options(nomem, nostack)) }
        low
    }

    pub fn instructions(ticks: u64) -> u64 {
        ticks
    }
}

impl Counter {
    /// Starts the counter.
    pub fn new() -> Self {
        arch::start();
        Self(())
    }

    /// Returns the current reading.
    pub fn now(&self) -> Moment {
        Moment(arch::now())
    }

    /// Returns the ticks since `start`, if those were fewer than 16 million instructions.
    pub fn since(&self, Moment(start): Moment) -> Ticks {
        Ticks(u64::from(arch::now().wrapping_sub(start) & arch::MASK))
    }
}

impl Default for Counter {
    fn default() -> Self {
        Self::new()
    }
}

impl Ticks {
    /// Converts to instructions, rounded down.
    pub fn instructions(self) -> u64 {
        arch::instructions(self.0)
    }
}
