//! Errors of networks, their files, and the processor that they run on.

use std::path::PathBuf;

use crate::processor::Processor;

/// Error of this crate.
///
/// ```
/// use wakeling_nn::{Error, params::Params};
///
/// let error = Params::default().get("b.weight").unwrap_err();
/// assert!(matches!(error, Error::Core(wakeling_core::Error::NoParameter { .. })));
/// ```
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Error that all crates share.
    #[error(transparent)]
    Core(#[from] wakeling_core::Error),
    /// File without weights, or with damaged ones.
    #[error("{}: not a pretrained model of Wakeling: {reason}", path.display())]
    NoWeights {
        /// The file.
        path: PathBuf,
        /// Why they cannot be read.
        reason: String,
    },
    /// File with weights that are not those of a pretrained model of this version.
    #[error("{}: {problem}", path.display())]
    NotPretrained {
        /// The file.
        path: PathBuf,
        /// What is missing or differs.
        problem: String,
    },
    /// GPU that a program without the feature `cuda` is to use.
    #[error("{processor} was asked for, but this program was built without CUDA")]
    WithoutCuda {
        /// The processor asked for.
        processor: Processor,
    },
    /// GPU that cannot be opened.
    #[error("{processor}: cannot be used: {reason}")]
    NoGpu {
        /// The processor asked for.
        processor: Processor,
        /// Message of the driver.
        reason: String,
    },
}

/// Result of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

wakeling_core::library_error!();

impl From<candle_core::Error> for Error {
    fn from(error: candle_core::Error) -> Self {
        Self::Core(error.into())
    }
}
