//! Errors of opening the service. Faulty clients are answered, and are no errors of the service.

use std::{io, path::PathBuf};

/// Error of this crate.
///
/// ```
/// use wakeling_serve::Error;
///
/// let error = Error::NotAnAddress { text: "kitchen".into(), reason: "no port".into() };
/// assert_eq!(error.to_string(), "\"kitchen\" is no address: no port");
/// ```
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Error that all crates share.
    #[error(transparent)]
    Core(#[from] wakeling_core::Error),
    /// Error of writing a saved detection.
    #[error(transparent)]
    Audio(#[from] wakeling_audio::Error),
    /// Error of a model or of its sensitivity.
    #[error(transparent)]
    Device(#[from] wakeling_device::Error),

    /// Text that is no address with a port.
    #[error("{text:?} is no address: {reason}")]
    NotAnAddress {
        /// Text that was given.
        text: String,
        /// What is wrong with it.
        reason: String,
    },
    /// Address at which the system does not let this program listen.
    #[error("{address}: cannot listen: {source}")]
    NotOpened {
        /// The address.
        address: String,
        /// Error of the operating system.
        source: io::Error,
    },
    /// Folder without a model file.
    #[error("{}: there is no model file (*.wkl) in this folder", path.display())]
    NoModelInFolder {
        /// The folder.
        path: PathBuf,
    },
}

/// Result of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

wakeling_core::library_error!(Audio, Device);
