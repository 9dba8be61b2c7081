//! Remedies for the errors of networks and their files.

use wakeling_nn::Error;

use super::{Advice, Advise};

impl Advise for Error {
    fn advice(&self) -> Advice {
        match self {
            Self::Core(error) => error.advice(),
            Self::NoWeights { .. } => Advice::input("give a file made by `wakeling pretrain`"),
            Self::NotPretrained { .. } => Advice::input(
                "give a pretrained model that `wakeling pretrain` of this version wrote",
            ),
            Self::WithoutCuda { .. } => Advice::usage(
                "build it with `cargo build --release -p wakeling --features cuda` (see docs/guide/scaling.md), or train on the processor, with --device cpu",
            ),
            Self::NoGpu { .. } => {
                Advice::system("`nvidia-smi -L` lists GPUs; their numbers begin with 0")
            }
        }
    }
}
