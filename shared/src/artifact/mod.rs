//! The model file: one header, one checksum, one postcard description, and the arrays that it
//! describes, which stay in flash.
//!
//! `docs/reference/model-file.md` documents the bytes with a worked example. A file is checked once, by
//! [`Model::load`]; the stages behind it rely on what was checked there and cannot fail.

mod check;
mod checksum;
mod geometry;
mod header;
mod image;
mod model;
mod patched;
mod read;

pub use check::ShapeError;
pub use header::{
    ALIGNMENT, FLAG_IMAGE, FLAG_SIGNED, HEADER_BYTES, LoadError, MAGIC, VERSION, write_header,
};
pub use image::{ImageLayer, ImageModel, ImageOp, Shape, Tensor, Tensors, Window};
pub use model::{
    Affine, BUFFERS, Card, Factors, Head, LANES, Layer, MAX_HEADS, MAX_LAYERS, MAX_POINTS,
    MAX_TAPS, MAX_WORDS, Model, Op, OperatingPoint, UNIT, Word,
};

pub use patched::{Patches, file_words};

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
        let body = header::body(bytes, 0)?;
        read::description(body.description, self)?;
        read::arrays(body.arrays, self)?;
        Ok(check::check(self)?)
    }
}
