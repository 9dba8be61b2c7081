//! How the emulation ends: well, or by a panic or a fault, and the host is told.

use core::{fmt::Write, panic::PanicInfo};

use cortex_m_rt::{ExceptionFrame, exception};
use cortex_m_semihosting::debug;
use wakeling_shared::decimal::Decimal;

use crate::registers::Uart;

/// The place tells enough: messages would keep 8 KB of formatting in flash.
#[panic_handler]
fn panic(info: &PanicInfo<'_>) -> ! {
    let mut uart = Uart::new();
    if let Some(place) = info.location() {
        // The serial port never fails.
        let _ = writeln!(uart, "error panic at {}:{}", place.file(), Decimal::of(place.line()));
    }
    leave(&mut uart, false)
}

/// Without it a fault would spin for ever, and the host would wait for ever.
// SAFETY: cortex-m-rt wants the handler declared unsafe; it touches no state but the serial port's.
#[exception]
unsafe fn HardFault(frame: &ExceptionFrame) -> ! {
    let mut uart = Uart::new();
    // The serial port never fails.
    let _ = writeln!(uart, "error hard fault at {:#010x}", frame.pc());
    leave(&mut uart, false)
}

/// Ends the emulation with the status that the host sees.
pub fn leave(uart: &mut Uart, success: bool) -> ! {
    uart.flush();
    debug::exit(if success { debug::EXIT_SUCCESS } else { debug::EXIT_FAILURE });
    loop {
        cortex_m::asm::wfi();
    }
}
