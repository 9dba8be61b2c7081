//! Remedies for the errors of models of other systems.

use wakeling_interop::{Error, ImportError};

use super::{Advice, Advise};

impl Advise for Error {
    fn advice(&self) -> Advice {
        match self {
            Self::Core(error) => error.advice(),
            Self::Device(error) => error.advice(),
            Self::Import { reason, .. } => reason.advice(),
            Self::Manifest { .. } => Advice::input(
                "give a microWakeWord manifest of version 2 by --manifest (see docs/guide/microwakeword.md)",
            ),
        }
    }
}

impl Advise for ImportError {
    fn advice(&self) -> Advice {
        match self {
            Self::Read(_) => Advice::input(
                "give a streaming model that microWakeWord or `wakeling export` wrote, undamaged",
            ),
            Self::Unsupported { .. } => Advice::input(
                "docs/guide/microwakeword.md lists what is converted; report a model of microWakeWord that is not",
            ),
            Self::Detection(_) => Advice::input("change the manifest, and measure again"),
            Self::Invalid(_) => Advice::none(super::INTERNAL),
        }
    }
}
