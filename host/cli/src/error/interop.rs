//! Remedies for the errors of models of other systems.

use wakeling_interop::{Error, ExportError, ImportError};

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
            Self::Export { reason, .. } => reason.advice(),
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

impl Advise for ExportError {
    fn advice(&self) -> Advice {
        match self {
            Self::NotPcan { .. } => Advice::input(
                "train the word again on a base model with PCAN features: `wakeling finetune --base base-m-pcan`",
            ),
            Self::UnknownKeyword { known, .. } => {
                Advice::usage(format!("name one with --word: {}", known.join(", ")))
            }
            Self::Layer { .. } => {
                Advice::input("export a model that `wakeling finetune` or `quantize` wrote")
            }
            Self::TooManyVariables { .. } => {
                Advice::input("train a smaller head: `wakeling finetune --head-layers 1`")
            }
            Self::Invalid(_) => Advice::none(super::INTERNAL),
        }
    }
}
