//! A flash in RAM, for boards and tests without one. Its contents are lost without power.

use embedded_storage::nor_flash::{
    ErrorType, NorFlash, NorFlashErrorKind, ReadNorFlash, check_erase, check_read, check_write,
};

use super::store::Mapped;

/// Words of RAM that behave like a flash: writing only clears bits, and erasing sets those of a
/// page.
#[derive(Debug)]
pub struct RamFlash<'b, const WORD: usize, const PAGE: usize> {
    bytes: &'b mut [u8],
}

impl<'b, const WORD: usize, const PAGE: usize> RamFlash<'b, WORD, PAGE> {
    /// Creates a flash on `words`, with their contents. Words rather than bytes, so that models in
    /// it are aligned.
    pub fn new(words: &'b mut [u64]) -> Self {
        Self { bytes: bytemuck::cast_slice_mut(words) }
    }

    fn range(&mut self, offset: u32, length: usize) -> Result<&mut [u8], NorFlashErrorKind> {
        let start = offset as usize;
        let end = start.saturating_add(length);
        self.bytes.get_mut(start..end).ok_or(NorFlashErrorKind::OutOfBounds)
    }
}

impl<const WORD: usize, const PAGE: usize> ErrorType for RamFlash<'_, WORD, PAGE> {
    type Error = NorFlashErrorKind;
}

impl<const WORD: usize, const PAGE: usize> ReadNorFlash for RamFlash<'_, WORD, PAGE> {
    const READ_SIZE: usize = 1;

    fn read(&mut self, offset: u32, bytes: &mut [u8]) -> Result<(), NorFlashErrorKind> {
        check_read(self, offset, bytes.len())?;
        let length = bytes.len();
        bytes.copy_from_slice(self.range(offset, length)?);
        Ok(())
    }

    fn capacity(&self) -> usize {
        self.bytes.len()
    }
}

impl<const WORD: usize, const PAGE: usize> NorFlash for RamFlash<'_, WORD, PAGE> {
    const WRITE_SIZE: usize = WORD;
    const ERASE_SIZE: usize = PAGE;

    fn erase(&mut self, from: u32, to: u32) -> Result<(), NorFlashErrorKind> {
        check_erase(self, from, to)?;
        self.range(from, (to - from) as usize)?.fill(0xFF);
        Ok(())
    }

    fn write(&mut self, offset: u32, bytes: &[u8]) -> Result<(), NorFlashErrorKind> {
        check_write(self, offset, bytes.len())?;
        let held = self.range(offset, bytes.len())?;
        held.iter_mut().zip(bytes).for_each(|(held, byte)| *held &= byte);
        Ok(())
    }
}

impl<const WORD: usize, const PAGE: usize> Mapped for RamFlash<'_, WORD, PAGE> {
    fn mapped(&self, offset: u32, length: u32) -> &[u8] {
        let (start, length) = (offset as usize, length as usize);
        self.bytes.get(start..start.saturating_add(length)).unwrap_or_default()
    }
}
