//! Writes model files: the postcard body behind its header.
//!
//! Reading is [`Model::load`], the same code as on the device; `docs/artifact.md` has the bytes.

use std::path::Path;

use wakeling_shared::artifact::{HEADER_BYTES, Model, write_header};

use crate::{Error, Result, files};

/// The bytes of a model file, header and body, unsigned.
///
/// It does not check the model: whoever hands the bytes out calls [`Model::load`] on them first, as
/// [`write`] does.
///
/// # Errors
/// [`Error::Usage`] if postcard refuses, which needs a body beyond 4 GiB.
pub fn encode(model: &Model<'_>) -> Result<Vec<u8>> {
    let body = postcard::to_stdvec(model).map_err(|error| {
        Error::usage(format!("the model cannot be written: {error}"), "make the model smaller")
    })?;
    let mut bytes = Vec::with_capacity(HEADER_BYTES + body.len());
    bytes.extend(write_header(&body, 0));
    bytes.extend(body);
    Ok(bytes)
}

/// Writes a model to `path`, all or nothing, after checking that a device would load it.
///
/// # Errors
/// [`Error::Input`] if no device would; [`Error::Io`] if the system refuses.
pub fn write(path: impl AsRef<Path>, model: &Model<'_>) -> Result<()> {
    let path = path.as_ref();
    let bytes = encode(model)?;
    load(path, &bytes)?;
    files::write_atomic(path, &bytes)
}

/// The bytes of a model file, to be given to [`load`], which borrows them.
///
/// # Errors
/// [`Error::Io`] if the system refuses.
pub fn read(path: impl AsRef<Path>) -> Result<Vec<u8>> {
    let path = path.as_ref();
    std::fs::read(path).map_err(Error::io(path, "read"))
}

/// [`Model::load`], with an error that names the file and a remedy.
///
/// # Errors
/// [`Error::Input`].
pub fn load<'a>(path: &Path, bytes: &'a [u8]) -> Result<Model<'a>> {
    Model::load(bytes).map_err(|error| {
        let remedy = "make it again with `wakeling quantize`, or copy the file again";
        Error::input(path, error.to_string(), remedy)
    })
}
