//! The model file: one header, one checksum, one postcard body that borrows its weights from flash.
//!
//! `docs/artifact.md` documents the bytes with a worked example. A file is checked once, by
//! [`Model::load`]; the stages behind it rely on what was checked there and cannot fail.

mod check;
mod header;
mod model;

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
        let body = header::body(bytes)?;
        let model: Model<'a> = match postcard::take_from_bytes(body) {
            Ok((model, [])) => model,
            Ok((_, rest)) => return Err(LoadError::Trailing { bytes: rest.len() }),
            Err(_) => return Err(LoadError::Body),
        };
        check::check(&model)?;
        Ok(model)
    }
}
