//! Two peripherals of the nRF51 that QEMU's microbit has: the flash controller and the serial line.
//!
//! Sources: Nordic nRF51 Series Reference Manual v3.0, 6.1 (NVMC) and 29 (UART). The flash is the
//! region `MODEL` of `memory/cortex-m0.x`.

use core::{convert::Infallible, ptr, slice};

use embedded_storage::nor_flash::{
    ErrorType, NorFlash, NorFlashErrorKind, ReadNorFlash, check_erase, check_read, check_write,
};
use wakeling_shared::update::store::Mapped;

use crate::memory;

/// Registers of the flash controller.
mod nvmc {
    pub const READY: usize = 0x4001_E400;
    pub const CONFIG: usize = 0x4001_E504;
    pub const ERASE_PAGE: usize = 0x4001_E508;
    pub const READ_ONLY: u32 = 0;
    pub const WRITE: u32 = 1;
    pub const ERASE: u32 = 2;
}

/// Registers of the serial line.
mod uart {
    pub const START_RX: usize = 0x4000_2000;
    pub const START_TX: usize = 0x4000_2008;
    pub const RX_READY: usize = 0x4000_2108;
    pub const TX_READY: usize = 0x4000_211C;
    pub const ENABLE: usize = 0x4000_2500;
    pub const RXD: usize = 0x4000_2518;
    pub const TXD: usize = 0x4000_251C;
    pub const ENABLED: u32 = 4;
}

fn write(register: usize, value: u32) {
    // SAFETY: the arguments are the constants above, which are aligned registers that access no
    // memory of the program, and words of the flash region.
    unsafe { ptr::with_exposed_provenance_mut::<u32>(register).write_volatile(value) }
}

fn read(register: usize) -> u32 {
    // SAFETY: as above.
    unsafe { ptr::with_exposed_provenance::<u32>(register).read_volatile() }
}

/// Callback before each word that is written and each page that is erased, so that a test can cut
/// the power there.
pub type Watch = fn();

/// Flash with the region of models.
pub struct Flash {
    start: usize,
    length: usize,
    watch: Watch,
}

impl Flash {
    /// Creates the flash from the region that the memory map reserves for models.
    ///
    /// # Safety
    /// There must be only one, and nothing else may write the region.
    pub unsafe fn new(watch: Watch) -> Self {
        let region = memory::model_region_bounds();
        Self { start: region.0, length: region.1, watch }
    }

    /// Returns bytes of a package that is not written while they are used.
    ///
    /// # Safety
    /// Nothing may write these bytes while the program uses them. They belong to the slot whose
    /// model runs, which a store never writes before its next start.
    pub unsafe fn bytes_in_use(offset: u32, length: u32) -> &'static [u8] {
        let (start, region) = memory::model_region_bounds();
        let (offset, length) = (offset as usize, length as usize);
        if offset.checked_add(length).is_none_or(|end| end > region) {
            return &[];
        }
        // SAFETY: the range is within the region; the caller guarantees the rest.
        unsafe { slice::from_raw_parts(ptr::with_exposed_provenance(start + offset), length) }
    }
}

impl ErrorType for Flash {
    type Error = NorFlashErrorKind;
}

impl ReadNorFlash for Flash {
    const READ_SIZE: usize = 1;

    fn read(&mut self, offset: u32, bytes: &mut [u8]) -> Result<(), NorFlashErrorKind> {
        check_read(self, offset, bytes.len())?;
        bytes.copy_from_slice(self.mapped(offset, bytes.len() as u32));
        Ok(())
    }

    fn capacity(&self) -> usize {
        self.length
    }
}

impl NorFlash for Flash {
    const WRITE_SIZE: usize = 4;
    const ERASE_SIZE: usize = 1024;

    fn erase(&mut self, from: u32, to: u32) -> Result<(), NorFlashErrorKind> {
        check_erase(self, from, to)?;
        for page in (from..to).step_by(Self::ERASE_SIZE) {
            (self.watch)();
            write(nvmc::CONFIG, nvmc::ERASE);
            write(nvmc::ERASE_PAGE, (self.start + page as usize) as u32);
            while read(nvmc::READY) == 0 {}
            write(nvmc::CONFIG, nvmc::READ_ONLY);
        }
        Ok(())
    }

    fn write(&mut self, offset: u32, bytes: &[u8]) -> Result<(), NorFlashErrorKind> {
        check_write(self, offset, bytes.len())?;
        write(nvmc::CONFIG, nvmc::WRITE);
        let (words, _) = bytes.as_chunks();
        for (i, &word) in words.iter().enumerate() {
            (self.watch)();
            write(self.start + offset as usize + 4 * i, u32::from_le_bytes(word));
            while read(nvmc::READY) == 0 {}
        }
        write(nvmc::CONFIG, nvmc::READ_ONLY);
        Ok(())
    }
}

impl Mapped for Flash {
    fn mapped(&self, offset: u32, length: u32) -> &[u8] {
        // SAFETY: the bytes borrow the flash, and writing borrows it mutably.
        unsafe { Self::bytes_in_use(offset, length) }
    }
}

/// The serial line.
pub struct Uart(());

impl Uart {
    /// Enables the line. There is only one.
    pub fn new() -> Self {
        write(uart::ENABLE, uart::ENABLED);
        write(uart::START_RX, 1);
        write(uart::START_TX, 1);
        Self(())
    }
}

impl Default for Uart {
    fn default() -> Self {
        Self::new()
    }
}

impl embedded_io::ErrorType for Uart {
    type Error = Infallible;
}

impl embedded_io::ReadReady for Uart {
    fn read_ready(&mut self) -> Result<bool, Infallible> {
        Ok(read(uart::RX_READY) != 0)
    }
}

impl embedded_io::Read for Uart {
    fn read(&mut self, bytes: &mut [u8]) -> Result<usize, Infallible> {
        let Some(byte) = bytes.first_mut() else { return Ok(0) };
        while read(uart::RX_READY) == 0 {}
        write(uart::RX_READY, 0);
        *byte = read(uart::RXD) as u8;
        Ok(1)
    }
}

impl embedded_io::Write for Uart {
    fn write(&mut self, bytes: &[u8]) -> Result<usize, Infallible> {
        for &byte in bytes {
            write(uart::TX_READY, 0);
            write(uart::TXD, byte.into());
            while read(uart::TX_READY) == 0 {}
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> Result<(), Infallible> {
        Ok(())
    }
}
