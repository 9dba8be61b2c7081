//! Errors that all crates share, and what the error of each crate adds to them.
//!
//! Each library crate has an error type of its own, with the error of every crate below it as a
//! variant. Errors state the problem, with what was expected and what was found. What a user can do
//! about it is added by the program.

use std::{io, path::PathBuf};

/// Error that every crate can have.
///
/// ```
/// use wakeling_core::{Error, files};
///
/// let missing = std::fs::read("no/such.wav").map_err(Error::io("no/such.wav", "read")).unwrap_err();
/// assert!(missing.is_missing());
/// assert!(missing.to_string().starts_with("no/such.wav: cannot read"));
///
/// let folder = files::write_atomic(std::env::temp_dir(), b"text").unwrap_err();
/// assert!(matches!(folder, Error::IsFolder { .. }));
/// ```
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Failed system call.
    #[error("{}: cannot {action}: {source}", path.display())]
    Io {
        /// File or folder.
        path: PathBuf,
        /// Verb of the operation: "read", "write", "create".
        action: &'static str,
        /// Error of the operating system.
        source: io::Error,
    },
    /// Folder in the place of a file that is to be written.
    #[error("{}: this is a folder, and a file is to be written", path.display())]
    IsFolder {
        /// The folder.
        path: PathBuf,
    },
    /// Path that ends without the name of a file.
    #[error("{}: there is no file name", path.display())]
    NoFileName {
        /// The path.
        path: PathBuf,
    },
    /// Name that no shipped pretrained model has.
    #[error("no pretrained model {name:?} in {}", shown(searched))]
    NoPretrainedModel {
        /// Name of the model.
        name: String,
        /// Folders that were searched.
        searched: Vec<PathBuf>,
    },
    /// Parameter that a network lacks.
    #[cfg(feature = "tensor")]
    #[error("the network has no parameter {name:?}")]
    NoParameter {
        /// Name of the parameter.
        name: String,
    },
    /// Failed tensor operation: a defect of this program, or too little memory.
    #[cfg(feature = "tensor")]
    #[error("tensor operation failed: {0}")]
    Tensor(#[source] candle_core::Error),
    /// Violated invariant, which is a defect of this program.
    #[error("a defect in wakeling: {0}")]
    Defect(String),
    /// Work that its observer cancelled; see [`Progress`](crate::progress::Progress).
    #[error("cancelled")]
    Cancelled,
}

/// Result of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Error of a library crate. [`library_error!`](crate::library_error) implements it.
pub trait LibraryError {
    /// Returns the error that all crates share, if this is one.
    fn core(&self) -> Option<&Error>;
}

#[cfg(feature = "tensor")]
impl From<candle_core::Error> for Error {
    fn from(error: candle_core::Error) -> Self {
        match error {
            candle_core::Error::CannotFindTensor { path } => Self::NoParameter { name: path },
            error => Self::Tensor(error),
        }
    }
}

impl Error {
    /// Creates an [`Error::Defect`] for a state that the program should rule out.
    pub fn defect<T: Into<String>>(what: T) -> Self {
        Self::Defect(what.into())
    }

    /// Returns a function that wraps a system error with the file and the verb.
    pub fn io(path: impl Into<PathBuf>, action: &'static str) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source| Self::Io { path, action, source }
    }

    /// Returns `true` if the error is a missing file.
    pub fn is_missing(&self) -> bool {
        matches!(self, Self::Io { source, .. } if source.kind() == io::ErrorKind::NotFound)
    }

    /// Returns `true` if the work was cancelled.
    pub fn is_cancelled(&self) -> bool {
        matches!(self, Self::Cancelled)
    }
}

/// Adds to the `Error` of a crate what the errors of all crates have in common: `io`, `defect`,
/// `is_missing`, `is_cancelled`, and [`LibraryError`].
///
/// The error needs a variant `Core(wakeling_core::Error)` with `#[from]`. The arguments are its
/// variants that hold the errors of other crates.
#[macro_export]
macro_rules! library_error {
    ($($lower:ident),*) => {
        impl Error {
            /// Returns a function that wraps a system error with the file and the verb.
            pub fn io(
                path: impl Into<::std::path::PathBuf>,
                action: &'static str,
            ) -> impl FnOnce(::std::io::Error) -> Self {
                let wrap = $crate::Error::io(path, action);
                move |source| Self::Core(wrap(source))
            }

            /// Creates the error for a state that the program should rule out.
            pub fn defect(what: impl Into<String>) -> Self {
                Self::Core($crate::Error::defect(what))
            }

            /// Returns `true` if the error is a missing file.
            pub fn is_missing(&self) -> bool {
                $crate::error::LibraryError::core(self).is_some_and($crate::Error::is_missing)
            }

            /// Returns `true` if the work was cancelled.
            pub fn is_cancelled(&self) -> bool {
                $crate::error::LibraryError::core(self).is_some_and($crate::Error::is_cancelled)
            }
        }

        impl $crate::error::LibraryError for Error {
            fn core(&self) -> Option<&$crate::Error> {
                match self {
                    Self::Core(error) => Some(error),
                    $(Self::$lower(error) => $crate::error::LibraryError::core(error),)*
                    _ => None,
                }
            }
        }
    };
}

/// Returns the folders, separated by commas.
fn shown(folders: &[PathBuf]) -> String {
    folders.iter().map(|folder| folder.display().to_string()).collect::<Vec<_>>().join(", ")
}
