//! An emulated machine: entry point, memory, host, and instruction counter.
//!
//! | part | file | differs by |
//! |---|---|---|
//! | memory map | `boards.toml`, by the build script | machine |
//! | first instructions | cortex-m-rt, or [`start`] | Arm, RISC-V |
//! | command line, sound, lines, exit | [`semihosting`] | one instruction |
//! | counting instructions | [`counter`] | Arm, RISC-V |
//! | flash and serial line, for updates | [`nrf51`] | only QEMU's microbit has them |
//!
//! The crate uses no other peripheral of a board, so it serves every machine.

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

/// Interrupt vectors. No interrupt is ever enabled, but there must be a table, so it has one entry.
/// Otherwise cortex-m-rt makes a table of 240, which takes 1 KB.
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

/// Size of the arena for a model's state on this machine, in bytes.
pub const ARENA_BYTES: usize = parse(env!("WAKELING_ARENA_BYTES")) as usize;

/// Parses a decimal number at compile time.
const fn parse(digits: &str) -> u32 {
    match u32::from_str_radix(digits, 10) {
        Ok(number) => number,
        Err(_) => panic!("build.rs writes decimal numbers"),
    }
}

/// Panic handler: prints the place and ends the emulation. Messages would keep 8 KB of formatting
/// in flash.
pub fn panicked(info: &PanicInfo<'_>) -> ! {
    if let Some(place) = info.location() {
        let line = Decimal::of(place.line());
        // If the console fails, the error cannot be reported.
        let _ = writeln!(Console::new(), "error panic at {}:{line}", Verbatim(place.file()));
    }
    semihosting::exit(false)
}

/// Fault handler: prints the address and ends the emulation. Without it a fault would loop forever.
pub fn flagged(address: u32) -> ! {
    let _ = writeln!(Console::new(), "error fault at {}", Hexadecimal(address));
    semihosting::exit(false)
}

/// Runs `work` and writes its result as the last line. Returns whether it succeeded.
pub fn conclude<T: Display, E: Display>(work: impl FnOnce(&mut Console) -> Result<T, E>) -> bool {
    let mut console = Console::new();
    let ended = work(&mut console);
    // If the console fails, the error cannot be reported.
    let _ = match &ended {
        Ok(result) => writeln!(console, "{result}"),
        Err(failure) => writeln!(console, "error {failure}"),
    };
    ended.is_ok()
}

/// Defines the panic handler, the fault handler, and the entry point, which calls a function
/// `fn() -> bool`. Its result is the exit status for the host. A second argument, the name of a
/// function `fn(&PanicInfo) -> !`, replaces the panic handler.
#[macro_export]
macro_rules! machine {
    ($main:ident) => {
        $crate::machine!($main, $crate::panicked);
    };
    ($main:ident, $panicked:path) => {
        // On a laptop the kernels use `std` to detect the processor's features, and `std` has a
        // handler.
        #[cfg(not(target_arch = "x86_64"))]
        #[panic_handler]
        fn panic(info: &core::panic::PanicInfo<'_>) -> ! {
            $panicked(info)
        }

        #[cfg(target_arch = "x86_64")]
        const _: fn(&core::panic::PanicInfo<'_>) -> ! = $panicked;

        // SAFETY: cortex-m-rt requires the handler to be unsafe; it touches no state.
        #[cfg(target_arch = "arm")]
        #[cortex_m_rt::exception]
        unsafe fn HardFault(frame: &cortex_m_rt::ExceptionFrame) -> ! {
            $crate::flagged(frame.pc())
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
