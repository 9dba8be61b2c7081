//! Errors of the host library and program, each with a remedy for the user.
//!
//! Every variant that a user can cause names the file and a remedy. [`Error::exit_code`] is the
//! exit code of the process.

use std::{io, path::PathBuf};

/// Error of the host library or program.
///
/// ```
/// use wakeling_core::Error;
///
/// let missing = std::fs::read("no/such.wav").map_err(Error::io("no/such.wav", "read")).unwrap_err();
/// assert!(missing.is_missing());
/// assert_eq!(missing.exit_code(), 4);
/// assert!(missing.to_string().starts_with("no/such.wav: cannot read"));
///
/// let unusable = Error::input("a.wav", "the file is empty", "record it again");
/// assert_eq!(unusable.to_string(), "a.wav: the file is empty\n  remedy: record it again");
/// ```
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Invalid request (exit code 2).
    #[error("{problem}\n  remedy: {remedy}")]
    Usage {
        /// Problem with the request.
        problem: String,
        /// Valid alternative for the command line.
        remedy: String,
    },
    /// Invalid or unusable file or folder (exit code 3).
    #[error("{}: {problem}\n  remedy: {remedy}", path.display())]
    Input {
        /// File or folder.
        path: PathBuf,
        /// Problem: what was expected and what was found.
        problem: String,
        /// Action that the user can take.
        remedy: String,
    },
    /// Failed system call (exit code 4).
    #[error("{}: cannot {action}: {source}\n  remedy: {}", path.display(), remedy(source.kind()))]
    Io {
        /// File or folder.
        path: PathBuf,
        /// Verb of the operation: "read", "write", "create".
        action: &'static str,
        /// Error of the operating system.
        source: io::Error,
    },
    /// Failure of a device or an external program, such as a microphone or espeak-ng (exit code 4).
    #[error("{device}: {problem}\n  remedy: {remedy}")]
    Device {
        /// Name of the device or program.
        device: String,
        /// Problem: what was expected and what was found.
        problem: String,
        /// Action that the user can take.
        remedy: String,
    },
    /// Failed tensor operation: a defect of this program, or too little memory (exit code 5).
    #[cfg(feature = "tensor")]
    #[error("tensor operation failed: {0}")]
    Tensor(#[source] candle_core::Error),
    /// Violated invariant, which is a defect of this program (exit code 5).
    #[error(
        "a defect in wakeling: {0}\n  remedy: report it, with the command and the line above; what \
         was written before is kept"
    )]
    Defect(String),
    /// Work that its observer cancelled; see [`Progress`](crate::progress::Progress) (exit code 130,
    /// as after an interrupt).
    #[error("cancelled")]
    Cancelled,
}

#[cfg(feature = "tensor")]
impl From<candle_core::Error> for Error {
    fn from(error: candle_core::Error) -> Self {
        match error {
            candle_core::Error::CannotFindTensor { path } => Self::usage(
                format!("the network has no parameter {path:?}"),
                "use a pretrained model of this version, or pretrain again",
            ),
            error => Self::Tensor(error),
        }
    }
}

/// Returns the remedy for an error of the operating system.
fn remedy(kind: io::ErrorKind) -> &'static str {
    use io::ErrorKind as Kind;
    match kind {
        Kind::NotFound => "check the name and the folder that it is in",
        Kind::PermissionDenied | Kind::ReadOnlyFilesystem => {
            "change its permissions, or name another place"
        }
        Kind::IsADirectory => "this is a folder: name a file",
        Kind::NotADirectory | Kind::AlreadyExists => {
            "a file is where a folder should be: name another place"
        }
        Kind::ResourceBusy => "wait until the other has ended, or name another folder",
        Kind::ConnectionAborted => {
            "check the address and the network, then give the same command again; what has been \
             fetched is kept"
        }
        Kind::StorageFull | Kind::QuotaExceeded | Kind::FileTooLarge => {
            "make room on the disk, then give the same command again"
        }
        _ => "check the disk or the device that it is on, then give the same command again",
    }
}

/// Result of the host library.
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    /// Creates an [`Error::Input`].
    pub fn input(
        path: impl Into<PathBuf>,
        problem: impl Into<String>,
        remedy: impl Into<String>,
    ) -> Self {
        Self::Input { path: path.into(), problem: problem.into(), remedy: remedy.into() }
    }

    /// Creates an [`Error::Usage`].
    pub fn usage(problem: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self::Usage { problem: problem.into(), remedy: remedy.into() }
    }

    /// Creates an [`Error::Device`].
    pub fn device(
        device: impl Into<String>,
        problem: impl Into<String>,
        remedy: impl Into<String>,
    ) -> Self {
        Self::Device { device: device.into(), problem: problem.into(), remedy: remedy.into() }
    }

    /// Creates an [`Error::Defect`] for a state that the program should rule out. Its remedy is to
    /// report it.
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

    /// Returns the exit code: 2 usage, 3 input, 4 system or device, 5 internal, 130
    /// cancelled.
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Usage { .. } => 2,
            Self::Input { .. } => 3,
            Self::Io { .. } | Self::Device { .. } => 4,
            #[cfg(feature = "tensor")]
            Self::Tensor(_) => 5,
            Self::Defect(_) => 5,
            Self::Cancelled => 130,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_of_error_has_the_exit_code_of_the_readme() {
        let io = || io::Error::from(io::ErrorKind::NotFound);
        assert_eq!(Error::usage("x", "y").exit_code(), 2);
        assert_eq!(Error::input("x", "y", "z").exit_code(), 3);
        assert_eq!(Error::io("x", "read")(io()).exit_code(), 4);
        assert_eq!(Error::device("x", "y", "z").exit_code(), 4);
        assert_eq!(Error::defect("x").exit_code(), 5);
    }

    #[test]
    fn no_defect_hides_in_another_kind_of_error() {
        // Text of the remedy for a defect. Only `Error::Defect` may use it.
        let sources = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
        let mut folders = vec![sources];
        while let Some(folder) = folders.pop() {
            for entry in std::fs::read_dir(folder).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    folders.push(path);
                } else if path.extension().is_some_and(|e| e == "rs") && !path.ends_with("error.rs")
                {
                    let text = std::fs::read_to_string(&path).unwrap();
                    assert!(!text.contains("report this"), "{}", path.display());
                }
            }
        }
    }
}
