//! Flash of the chip, erased at its full width.
//!
//! embassy-stm32 erases with the width that `FLASH_CR.PSIZE` has, which is 8 bits after a reset and
//! after each of its writes. A sector of 128 KiB then takes up to 4 s, as long as the watchdog
//! waits; with 32 bits it takes up to 2 s (STM32F407 data sheet DS8626, table "Flash memory
//! programming"). 32 bits need a supply of 2.7 V or more, and the board has 3 V.

use embassy_stm32::{
    flash::{Blocking, Error, Flash},
    pac::{FLASH, flash::vals::Psize},
};
use embedded_storage::nor_flash::{ErrorType, NorFlash, ReadNorFlash};

/// Keys that unlock `FLASH_CR` (RM0090, 3.6.1).
const KEYS: [u32; 2] = [0x4567_0123, 0xCDEF_89AB];

/// Flash that is erased with a width of 32 bits.
pub struct WideErase(pub Flash<'static, Blocking>);

impl ErrorType for WideErase {
    type Error = Error;
}

impl ReadNorFlash for WideErase {
    const READ_SIZE: usize = <Flash<'static, Blocking> as ReadNorFlash>::READ_SIZE;

    fn read(&mut self, offset: u32, bytes: &mut [u8]) -> Result<(), Error> {
        ReadNorFlash::read(&mut self.0, offset, bytes)
    }

    fn capacity(&self) -> usize {
        self.0.capacity()
    }
}

impl NorFlash for WideErase {
    const WRITE_SIZE: usize = <Flash<'static, Blocking> as NorFlash>::WRITE_SIZE;
    const ERASE_SIZE: usize = <Flash<'static, Blocking> as NorFlash>::ERASE_SIZE;

    fn erase(&mut self, from: u32, to: u32) -> Result<(), Error> {
        // The driver keeps the width, and locks the register at its end.
        if FLASH.cr().read().lock() {
            KEYS.into_iter().for_each(|key| FLASH.keyr().write_value(key));
        }
        FLASH.cr().modify(|w| w.set_psize(Psize::PSIZE32));
        NorFlash::erase(&mut self.0, from, to)
    }

    fn write(&mut self, offset: u32, bytes: &[u8]) -> Result<(), Error> {
        NorFlash::write(&mut self.0, offset, bytes)
    }
}
