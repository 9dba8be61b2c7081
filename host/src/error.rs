//! What can go wrong on the host, and what the user can do about it.
//!
//! Every variant that a user can meet names the file and a remedy; [`Error::exit_code`] is what the
//! process returns for it.

use std::{io, path::PathBuf};

/// A failure of the host library or program.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The request itself makes no sense (exit code 2).
    #[error("{problem}\n  remedy: {remedy}")]
    Usage {
        /// What is wrong with the request.
        problem: String,
        /// What to type instead.
        remedy: String,
    },
    /// A file or folder is not what it should be (exit code 3).
    #[error("{}: {problem}\n  remedy: {remedy}", path.display())]
    Input {
        /// The file or folder.
        path: PathBuf,
        /// What was expected and what was found.
        problem: String,
        /// What the user can do.
        remedy: String,
    },
    /// The operating system refused (exit code 4).
    #[error("{}: cannot {action}: {source}\n  remedy: {}", path.display(), remedy(source.kind()))]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// The verb: "read", "write", "create".
        action: &'static str,
        /// The system's own words.
        source: io::Error,
    },
    /// A device or a program that does not do what it should: a microphone, espeak-ng (exit code 4).
    #[error("{device}: {problem}\n  remedy: {remedy}")]
    Device {
        /// Its name.
        device: String,
        /// What was expected and what was found.
        problem: String,
        /// What the user can do.
        remedy: String,
    },
    /// A tensor operation failed: a defect of this program, or not enough memory (exit code 5).
    #[error("tensor operation failed: {0}")]
    Tensor(#[from] candle_core::Error),
    /// Something that cannot happen did: a defect of this program (exit code 5).
    #[error(
        "a defect in wakeling: {0}\n  remedy: report it, with the command and the line above; what \
         was written before is kept"
    )]
    Defect(String),
}

/// What helps against a refusal of the system.
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

/// The host's result.
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    /// A file that is not what it should be.
    pub fn input(
        path: impl Into<PathBuf>,
        problem: impl Into<String>,
        remedy: impl Into<String>,
    ) -> Self {
        Self::Input { path: path.into(), problem: problem.into(), remedy: remedy.into() }
    }

    /// A request that makes no sense.
    pub fn usage(problem: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self::Usage { problem: problem.into(), remedy: remedy.into() }
    }

    /// A device that does not do what it should.
    pub fn device(
        device: impl Into<String>,
        problem: impl Into<String>,
        remedy: impl Into<String>,
    ) -> Self {
        Self::Device { device: device.into(), problem: problem.into(), remedy: remedy.into() }
    }

    /// A defect of this program: a state that it should rule out. Its remedy is a report.
    pub fn defect<T: Into<String>>(what: T) -> Self {
        Self::Defect(what.into())
    }

    /// Wraps a system error with the file and the verb.
    pub fn io(path: impl Into<PathBuf>, action: &'static str) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source| Self::Io { path, action, source }
    }

    /// Whether a file is simply not there.
    pub fn is_missing(&self) -> bool {
        matches!(self, Self::Io { source, .. } if source.kind() == io::ErrorKind::NotFound)
    }

    /// 2 usage, 3 input, 4 system, 5 internal.
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Usage { .. } => 2,
            Self::Input { .. } => 3,
            Self::Io { .. } | Self::Device { .. } => 4,
            Self::Tensor(_) | Self::Defect(_) => 5,
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
        // The words that a defect's remedy has: they belong to `Error::Defect` alone.
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
