//! Errors of models of other systems.

use std::path::PathBuf;

pub use crate::tflite::read::ReadError;

/// Error of this crate.
///
/// ```
/// use wakeling_interop::{Error, ImportError, microwakeword::import::{Imported, Settings}};
///
/// let error = Imported::of(b"no model", &Settings::default()).unwrap_err();
/// assert!(matches!(error, ImportError::Read(_)));
/// assert_eq!(error.to_string(), "not a TensorFlow Lite model (no TFL3 at byte 4)");
/// ```
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Error that all crates share.
    #[error(transparent)]
    Core(#[from] wakeling_core::Error),
    /// Error of the model file.
    #[error(transparent)]
    Device(#[from] wakeling_device::Error),

    /// File that is not converted.
    #[error("{}: {reason}", path.display())]
    Import {
        /// The file.
        path: PathBuf,
        /// Why it is not.
        reason: ImportError,
    },
    /// Manifest that cannot be used.
    #[error("{}: {problem}", path.display())]
    Manifest {
        /// The file.
        path: PathBuf,
        /// What is missing or not supported.
        problem: String,
    },

    /// Model that is not exported.
    #[error("{}: {reason}", path.display())]
    Export {
        /// File of the model.
        path: PathBuf,
        /// Why it is not.
        reason: ExportError,
    },
}

/// Reason for which a model is not converted.
#[derive(Debug, thiserror::Error)]
pub enum ImportError {
    /// File that is no TensorFlow Lite model, or a damaged one.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// Operator, shape or number that has no counterpart here.
    #[error("{place}: {problem}")]
    Unsupported {
        /// Operator or tensor.
        place: String,
        /// What is not supported.
        problem: String,
    },
    /// Model whose settings of detection have no counterpart here.
    #[error("{0}")]
    Detection(String),
    /// Converted model that no device would load, which is a defect of this program.
    #[error("the converted model is invalid: {0}")]
    Invalid(String),
}

/// Reason for which a model is not exported.
#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    /// Features that are not those of microWakeWord.
    #[error("microWakeWord's features are PCAN; this model's are {found}")]
    NotPcan {
        /// Normalization of the model.
        found: &'static str,
    },
    /// Name that no keyword of the model has.
    #[error("the model has no keyword {keyword:?}")]
    UnknownKeyword {
        /// The name.
        keyword: String,
        /// Keywords of the model.
        known: Vec<String>,
    },
    /// Layer without a counterpart in TensorFlow Lite.
    #[error("layer {layer} has no counterpart in TensorFlow Lite: {problem}")]
    Layer {
        /// Index of the layer.
        layer: usize,
        /// Why it has none.
        problem: &'static str,
    },
    /// More temporal layers than a device has variables for.
    #[error("the model has {found} temporal layers; ESPHome has room for the past of {most}")]
    TooManyVariables {
        /// Number of temporal layers.
        found: usize,
        /// Largest number.
        most: usize,
    },
    /// Model that [`Model::load`](wakeling_shared::model::Model::load) would not accept.
    #[error("the model was not checked: {0}")]
    Invalid(&'static str),
}

/// Returns an error about an operator or a tensor.
pub(crate) fn unsupported<T>(
    place: impl Into<String>,
    problem: impl Into<String>,
) -> Result<T, ImportError> {
    Err(ImportError::Unsupported { place: place.into(), problem: problem.into() })
}

/// Result of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

wakeling_core::library_error!(Device);
