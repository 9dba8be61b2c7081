//! Error of a crate that has no error type of its own yet: a text, and what to do about it.
//!
//! Crates move to typed errors one by one. This file goes once the last has moved.

use std::{fmt, path::PathBuf};

use crate::Error;

/// Kind of an error without a type.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Invalid request.
    Usage,
    /// Invalid or unusable file or folder.
    Input,
    /// Failure of a device or an external program.
    Device,
}

/// Error without a type: a problem and a remedy in words.
#[derive(Debug)]
pub struct Untyped {
    /// Kind, which decides on the exit code.
    pub kind: Kind,
    /// File, folder, device or program.
    pub place: Option<String>,
    /// Problem: what was expected and what was found.
    pub problem: String,
    /// Action that the user can take.
    pub remedy: String,
}

impl fmt::Display for Untyped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(place) = &self.place {
            write!(f, "{place}: ")?;
        }
        write!(f, "{}\n  remedy: {}", self.problem, self.remedy)
    }
}

impl Error {
    /// Creates an error about a file or folder.
    pub fn input(
        path: impl Into<PathBuf>,
        problem: impl Into<String>,
        remedy: impl Into<String>,
    ) -> Self {
        let place = Some(path.into().display().to_string());
        Self::untyped(Kind::Input, place, problem.into(), remedy.into())
    }

    /// Creates an error about a request.
    pub fn usage(problem: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self::untyped(Kind::Usage, None, problem.into(), remedy.into())
    }

    /// Creates an error about a device or an external program.
    pub fn device(
        device: impl Into<String>,
        problem: impl Into<String>,
        remedy: impl Into<String>,
    ) -> Self {
        Self::untyped(Kind::Device, Some(device.into()), problem.into(), remedy.into())
    }

    /// Returns the kind of an error without a type.
    pub fn kind(&self) -> Option<Kind> {
        match self {
            Self::Untyped(untyped) => Some(untyped.kind),
            _ => None,
        }
    }

    fn untyped(kind: Kind, place: Option<String>, problem: String, remedy: String) -> Self {
        Self::Untyped(Box::new(Untyped { kind, place, problem, remedy }))
    }
}
