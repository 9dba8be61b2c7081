//! The model file: header, checksum, a postcard description, and the arrays that it describes. The
//! arrays stay in flash.
//!
//! `docs/reference/model-file.md` documents the bytes with a worked example. [`Model::load`] checks
//! a file once. The later stages rely on these checks and cannot fail. They do not rely on the
//! checksum, which [`Model::load_deferred`] leaves for later: any bytes of a file can be hostile.

mod check;
mod checksum;
mod enrollment;
mod geometry;
mod header;
mod image;
mod types;
mod patched;
mod read;

pub use check::ShapeError;
pub use enrollment::{ENROLLMENT_CHANNELS, ENROLLMENT_SPAN, ENROLLMENT_TAPS, EnrollmentHead};
pub use header::{
    ALIGNMENT, FLAG_IMAGE, FLAG_SIGNED, HEADER_BYTES, IntegrityCheck, LoadError, MAGIC, VERSION,
    write_header,
};
pub use image::{ImageLayer, ImageModel, ImageOp, Shape, Tensor, Tensors, Window};
pub use types::{
    Affine, BUFFERS, BiasScale, Card, Head, Keyword, LANES, Layer, MAX_HEADS, MAX_KEYWORDS,
    MAX_LAYERS, MAX_ORDER, MAX_POINTS, MAX_TAPS, Model, Op, OperatingPoint, Statistics, TfliteAdd,
    TfliteAffine, TfliteFactors, TfliteScale, UNIT,
};

pub use patched::{Patches, file_words};

impl<'a> Model<'a> {
    /// Reads and checks a model file. Bytes after the body are ignored, so `bytes` may be a whole
    /// flash region.
    ///
    /// ```
    /// # mod support { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/examples/support/loud.rs")); }
    /// use wakeling_shared::model::{LoadError, Model};
    ///
    /// let mut file = support::loud_model(); // bytes of a model file, as in flash
    /// assert_eq!(Model::load(&file).unwrap().words[0].label, "loud");
    ///
    /// // One changed bit is found, whatever it is in.
    /// *file.last_mut().unwrap() ^= 1;
    /// assert!(matches!(Model::load(&file), Err(LoadError::Checksum { .. })));
    /// ```
    ///
    /// # Errors
    /// [`LoadError`], with what was expected and what was found.
    pub fn load(bytes: &'a [u8]) -> Result<Self, LoadError> {
        let mut model = Self::empty();
        model.read(bytes)?;
        Ok(model)
    }

    /// As [`Model::load`], but builds the model in place. A board has no stack to spare for copies
    /// of it.
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

    /// As [`Model::load_into`], but leaves the checksum for later. Nothing panics with a damaged
    /// model, but its results are meaningless: a device must not use them before the check is done.
    ///
    /// ```
    /// # mod support { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/examples/support/loud.rs")); }
    /// use wakeling_shared::model::{LoadError, Model};
    ///
    /// let mut file = support::loud_model();
    /// *file.last_mut().unwrap() ^= 1;
    /// let mut slot = None;
    /// let (model, mut check) = Model::load_deferred(&mut slot, &file).unwrap();
    /// assert_eq!(model.words[0].label, "loud");
    /// let error = loop {
    ///     match check.advance(54) { // a part between two blocks of sound
    ///         Ok(false) => continue,
    ///         Ok(true) => unreachable!("the last byte is damaged"),
    ///         Err(error) => break error,
    ///     }
    /// };
    /// assert!(matches!(error, LoadError::Checksum { .. }));
    /// ```
    ///
    /// # Errors
    /// As [`Model::load_into`]: a damaged file that cannot be read is reported as damaged.
    #[inline(never)]
    pub fn load_deferred<'s>(
        slot: &'s mut Option<Self>,
        bytes: &'a [u8],
    ) -> Result<(&'s Self, IntegrityCheck<'a>), LoadError> {
        let (body, mut check) = header::body(bytes, 0)?;
        let read = slot.insert(Self::empty()).read_body(body);
        if let Err(error) = read {
            *slot = None;
            return Err(check.finish().err().unwrap_or(error));
        }
        slot.as_ref().map(|model| (model, check)).ok_or(LoadError::Body)
    }

    fn read(&mut self, bytes: &'a [u8]) -> Result<(), LoadError> {
        let (body, mut check) = header::body(bytes, 0)?;
        check.finish()?;
        self.read_body(body)
    }

    fn read_body(&mut self, body: header::Body<'a>) -> Result<(), LoadError> {
        read::description(body.description, self)?;
        read::arrays(body.arrays, self)?;
        Ok(check::check(self)?)
    }
}
