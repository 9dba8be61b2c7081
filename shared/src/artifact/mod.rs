//! The model file: one header, one checksum, one postcard body that borrows its weights from flash.
//!
//! `docs/artifact.md` documents the bytes with a worked example. A file is checked once, by
//! [`Model::load`]; the stages behind it rely on what was checked there and cannot fail.

mod check;
mod header;
mod model;
mod read;

pub use check::ShapeError;
pub use header::{FLAG_SIGNED, HEADER_BYTES, LoadError, MAGIC, VERSION, crc32, write_header};
pub use model::{
    Affine, BUFFERS, Card, Head, Layer, MAX_HEADS, MAX_LAYERS, MAX_POINTS, MAX_WORDS, Model, Op,
    OperatingPoint, Word,
};

impl<'a> Model<'a> {
    /// Reads and checks a model file; what follows the body in `bytes` is ignored, so that a whole
    /// flash region can be given.
    ///
    /// # Errors
    /// [`LoadError`] tells what was expected and what was found; nothing is kept.
    pub fn load(bytes: &'a [u8]) -> Result<Self, LoadError> {
        let mut model = Self::empty();
        model.read(bytes)?;
        Ok(model)
    }

    /// As [`Model::load`], but the model is made where it stays: a board has no stack to spare for
    /// copies of it.
    ///
    /// # Errors
    /// As [`Model::load`]; `slot` is then `None`.
    #[inline(never)]
    pub fn load_into<'s>(
        slot: &'s mut Option<Self>,
        bytes: &'a [u8],
    ) -> Result<&'s Self, LoadError> {
        let read = slot.insert(Self::empty()).read(bytes);
        if read.is_err() {
            *slot = None;
        }
        read.and_then(|()| slot.as_ref().ok_or(LoadError::Body))
    }

    fn read(&mut self, bytes: &'a [u8]) -> Result<(), LoadError> {
        match read::body(header::body(bytes)?, self) {
            Ok([]) => Ok(check::check(self)?),
            Ok(rest) => Err(LoadError::Trailing { bytes: rest.len() }),
            Err(_) => Err(LoadError::Body),
        }
    }
}
