//! Errors of models of other systems.

/// Error of this crate.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Error that all crates share.
    #[error(transparent)]
    Core(#[from] wakeling_core::Error),
    /// Error of the model file.
    #[error(transparent)]
    Device(#[from] wakeling_device::Error),
}

/// Result of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

wakeling_core::library_error!(Device);
