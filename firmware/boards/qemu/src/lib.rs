//! An emulated machine: where the program starts, its memory, the host behind it, and a counter of
//! instructions.
//!
//! | what | file | differs by |
//! |---|---|---|
//! | memory map | `memory/*.x` | machine |
//! | first instructions | cortex-m-rt, or [`start`] | Arm, RISC-V |
//! | command line, sound, lines, exit | [`semihosting`] | one instruction |
//! | counting instructions | [`counter`] | Arm, RISC-V |
//! | flash and serial line, for updates | [`nrf51`] | only QEMU's microbit has them |
//!
//! No other peripheral of a board is touched, so one crate serves every machine.

#![no_std]

pub mod counter;
pub mod memory;
pub mod nrf51;
pub mod semihosting;
#[cfg(target_arch = "riscv32")]
mod start;

use core::{
    fmt::{Display, Write},
    panic::PanicInfo,
};

use wakeling_bytes as _;
use wakeling_shared::decimal::{Decimal, Hexadecimal, Verbatim};

use semihosting::Console;

/// The vectors of interrupts, of which none is ever on: one, since there must be a table. Without it
/// cortex-m-rt makes one of 240, a kilobyte.
#[cfg(target_arch = "arm")]
#[unsafe(link_section = ".vector_table.interrupts")]
#[unsafe(no_mangle)]
pub static __INTERRUPTS: [unsafe extern "C" fn(); 1] = {
    unsafe extern "C" {
        // Defined by cortex-m-rt.
        fn DefaultHandler();
    }
    [DefaultHandler]
};

/// Room for a model's state on this machine.
pub const ARENA_BYTES: usize = parse(env!("WAKELING_ARENA_BYTES")) as usize;

/// A decimal number, at compile time.
const fn parse(digits: &str) -> u32 {
    match u32::from_str_radix(digits, 10) {
        Ok(number) => number,
        Err(_) => panic!("build.rs writes decimal numbers"),
    }
}

/// Says where and ends the emulation. The place tells enough: messages would keep 8 KB of formatting
/// in flash.
pub fn panicked(info: &PanicInfo<'_>) -> ! {
    if let Some(place) = info.location() {
        let line = Decimal::of(place.line());
        // A console that fails leaves nothing to say it with.
        let _ = writeln!(Console::new(), "error panic at {}:{line}", Verbatim(place.file()));
    }
    semihosting::exit(false)
}

/// Says where a fault happened and ends the emulation; without it a fault would spin for ever.
pub fn faulted(address: u32) -> ! {
    let _ = writeln!(Console::new(), "error fault at {}", Hexadecimal(address));
    semihosting::exit(false)
}

/// Does the work, writes what came of it as the last line, and tells whether it went well.
pub fn conclude<T: Display, E: Display>(work: impl FnOnce(&mut Console) -> Result<T, E>) -> bool {
    let mut console = Console::new();
    let ended = work(&mut console);
    // A console that fails leaves nothing to say it with.
    let _ = match &ended {
        Ok(result) => writeln!(console, "{result}"),
        Err(failure) => writeln!(console, "error {failure}"),
    };
    ended.is_ok()
}

/// The panic handler, the fault handler, and the entry that calls a function `fn() -> bool`; its
/// result is the exit status that the host sees. With a second name, that of a function
/// `fn(&PanicInfo) -> !`, that is what happens at a panic.
#[macro_export]
macro_rules! machine {
    ($main:ident) => {
        $crate::machine!($main, $crate::panicked);
    };
    ($main:ident, $panicked:path) => {
        // On a laptop the kernels may ask `std` what its processor has, and `std` has a handler.
        #[cfg(not(target_arch = "x86_64"))]
        #[panic_handler]
        fn panic(info: &core::panic::PanicInfo<'_>) -> ! {
            $panicked(info)
        }

        #[cfg(target_arch = "x86_64")]
        const _: fn(&core::panic::PanicInfo<'_>) -> ! = $panicked;

        // SAFETY: cortex-m-rt wants the handler declared unsafe; it touches no state.
        #[cfg(target_arch = "arm")]
        #[cortex_m_rt::exception]
        unsafe fn HardFault(frame: &cortex_m_rt::ExceptionFrame) -> ! {
            $crate::faulted(frame.pc())
        }

        #[cfg(target_arch = "arm")]
        #[cortex_m_rt::entry]
        fn entry() -> ! {
            $crate::semihosting::exit($main())
        }

        #[cfg(target_arch = "riscv32")]
        #[unsafe(no_mangle)]
        extern "C" fn wakeling_entry() -> ! {
            $crate::semihosting::exit($main())
        }

        // On the laptop's own target the code is only checked.
        #[cfg(not(target_os = "none"))]
        const _: fn() -> bool = $main;
    };
}
