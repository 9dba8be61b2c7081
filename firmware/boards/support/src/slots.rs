//! The region of models as two slots: a part of the flash, written by the chip's driver and read in
//! place.

use embedded_storage::nor_flash::{
    ErrorType, NorFlash, NorFlashError, NorFlashErrorKind, ReadNorFlash, check_erase, check_read,
    check_write,
};
use wakeling_shared::update::store::{Mapped, SlotImage};

use crate::model_bounds;

/// Region of models in the flash. Feeds the watchdog at every erased page, since an update that the
/// device makes itself erases a whole slot at once.
pub struct Region<F, W> {
    flash: F,
    /// Offset of the region's first byte in the addresses of `flash`.
    offset: u32,
    feed: W,
}

impl<F: NorFlash, W: FnMut()> Region<F, W> {
    /// Creates a region in `flash`, whose first byte is at the address `origin`.
    ///
    /// # Panics
    /// If the driver's page size differs from that in the memory map. `wakeling flash` would then
    /// write a model to another place than the one that this program reads.
    pub fn new(flash: F, origin: u32, feed: W) -> Self {
        unsafe extern "C" {
            // Only its address is meaningful.
            static _model_page: u8;
        }
        assert!((&raw const _model_page).addr() == F::ERASE_SIZE);
        Self { flash, offset: (model_bounds().0.addr() as u32).wrapping_sub(origin), feed }
    }
}

impl<F: NorFlash, W> ErrorType for Region<F, W> {
    type Error = NorFlashErrorKind;
}

impl<F: NorFlash, W: FnMut()> ReadNorFlash for Region<F, W> {
    const READ_SIZE: usize = F::READ_SIZE;

    fn read(&mut self, offset: u32, bytes: &mut [u8]) -> Result<(), NorFlashErrorKind> {
        check_read(self, offset, bytes.len())?;
        self.flash.read(self.offset + offset, bytes).map_err(|error| error.kind())
    }

    fn capacity(&self) -> usize {
        model_bounds().1
    }
}

impl<F: NorFlash, W: FnMut()> NorFlash for Region<F, W> {
    const WRITE_SIZE: usize = F::WRITE_SIZE;
    const ERASE_SIZE: usize = F::ERASE_SIZE;

    fn erase(&mut self, from: u32, to: u32) -> Result<(), NorFlashErrorKind> {
        check_erase(self, from, to)?;
        (self.feed)();
        self.flash.erase(self.offset + from, self.offset + to).map_err(|error| error.kind())
    }

    fn write(&mut self, offset: u32, bytes: &[u8]) -> Result<(), NorFlashErrorKind> {
        check_write(self, offset, bytes.len())?;
        self.flash.write(self.offset + offset, bytes).map_err(|error| error.kind())
    }
}

impl<F: NorFlash, W: FnMut()> Mapped for Region<F, W> {
    fn mapped(&self, offset: u32, length: u32) -> &[u8] {
        // SAFETY: the bytes borrow the flash, and writing borrows it mutably.
        unsafe { part(offset, length) }
    }
}

/// Returns the model of the running package.
pub fn running(place: &SlotImage) -> &'static [u8] {
    // SAFETY: this slot's model runs from here on, so the store writes the other one. It writes
    // this one only after its next start, when nothing uses these bytes any more.
    unsafe { part(place.model_at, place.header.model_bytes) }
}

/// Returns bytes of the region; none beyond its end.
///
/// # Safety
/// Nothing may write these bytes while they are used.
unsafe fn part<'b>(offset: u32, length: u32) -> &'b [u8] {
    let (start, region) = model_bounds();
    let (offset, length) = (offset as usize, length as usize);
    if offset.checked_add(length).is_none_or(|end| end > region) {
        return &[];
    }
    // SAFETY: the range is within the flash that the memory map reserves for models; the caller
    // guarantees the rest.
    unsafe { core::slice::from_raw_parts(start.wrapping_add(offset), length) }
}
