//! Errors, and the Python exception of each.

use std::panic::{AssertUnwindSafe, catch_unwind};

use pyo3::{
    create_exception,
    exceptions::{PyOSError, PyRuntimeError, PyValueError},
    prelude::*,
};
use wakeling_core::error::LibraryError;
use wakeling_shared::model::LoadError;

create_exception!(
    wakeling,
    ModelError,
    PyValueError,
    "Model file that is damaged, of another version, or no model at all."
);
create_exception!(
    wakeling,
    AudioError,
    PyValueError,
    "Recording that cannot be used: no audio, damaged, or without a sample."
);

/// Error of this crate.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Bytes that are no valid model.
    #[error("{0}")]
    Load(LoadError),
    /// Error of a model file.
    #[error(transparent)]
    Device(#[from] wakeling_device::Error),
    /// Error of a recording.
    #[error(transparent)]
    Audio(#[from] wakeling_audio::Error),
    /// Violated invariant, which is a defect of this package.
    #[error("a defect in wakeling: {0}")]
    Defect(String),
}

/// Result of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl From<Error> for PyErr {
    fn from(error: Error) -> Self {
        let message = error.to_string();
        let core = match &error {
            Error::Device(error) => error.core(),
            Error::Audio(error) => error.core(),
            Error::Load(_) | Error::Defect(_) => None,
        };
        match (core, &error) {
            (Some(wakeling_core::Error::Io { path, source, .. }), _) => {
                // Python chooses the subclass, such as FileNotFoundError, by the number.
                match source.raw_os_error() {
                    Some(number) => {
                        PyOSError::new_err((number, source.to_string(), path.display().to_string()))
                    }
                    None => PyOSError::new_err(message),
                }
            }
            (Some(_), _) => PyRuntimeError::new_err(message),
            (None, Error::Load(_) | Error::Device(_)) => ModelError::new_err(message),
            (None, Error::Audio(_)) => AudioError::new_err(message),
            (None, Error::Defect(_)) => PyRuntimeError::new_err(message),
        }
    }
}

/// Runs a computation while other Python threads run. A panic, which would be a defect, becomes an
/// error.
///
/// # Errors
/// Those of the computation, and [`Error::Defect`].
pub fn computed<T: Send>(py: Python<'_>, compute: impl FnOnce() -> Result<T> + Send) -> Result<T> {
    py.detach(|| {
        catch_unwind(AssertUnwindSafe(compute)).unwrap_or_else(|payload| {
            let text = payload.downcast_ref::<String>().cloned();
            let text = text.or_else(|| payload.downcast_ref::<&str>().map(|&text| text.into()));
            Err(Error::Defect(text.unwrap_or_else(|| "a panic".into())))
        })
    })
}
