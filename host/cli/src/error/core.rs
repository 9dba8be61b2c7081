//! Remedies for the errors that all libraries share.

use std::io;

use wakeling_core::Error;

use super::{Advice, Advise, CANCELLED, INTERNAL};

impl Advise for Error {
    fn advice(&self) -> Advice {
        match self {
            Self::Io { source, .. } => Advice::system(of_system(source.kind())),
            Self::IsFolder { .. } => {
                Advice::input("give the name of a file, for instance one inside this folder")
            }
            Self::NoFileName { .. } => Advice::input("give the name of a file"),
            Self::NoPretrainedModel { .. } => Advice::usage(
                "name base-m, base-s or base-m-pcan, or give the path of a pretrained model (.safetensors), or set WAKELING_MODELS to the folder of pretrained models",
            ),
            Self::NoParameter { .. } => {
                Advice::usage("use a pretrained model of this version, or pretrain again")
            }
            Self::Tensor(_) => Advice::none(INTERNAL),
            Self::Defect(_) => Advice::new(
                INTERNAL,
                "report it, with the command and the line above; what was written before is kept",
            ),
            Self::Cancelled => Advice::none(CANCELLED),
        }
    }
}

/// Returns the remedy for an error of the operating system.
pub(super) fn of_system(kind: io::ErrorKind) -> &'static str {
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
            "check the address and the network, then give the same command again; what has been fetched is kept"
        }
        Kind::StorageFull | Kind::QuotaExceeded | Kind::FileTooLarge => {
            "make room on the disk, then give the same command again"
        }
        _ => "check the disk or the device that it is on, then give the same command again",
    }
}
