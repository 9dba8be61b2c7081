//! Remedies for the errors of models of other systems.

use wakeling_interop::Error;

use super::{Advice, Advise};

impl Advise for Error {
    fn advice(&self) -> Advice {
        match self {
            Self::Core(error) => error.advice(),
            Self::Device(error) => error.advice(),
        }
    }
}
