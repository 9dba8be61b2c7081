//! Remedies for the errors of pretraining, fine-tuning, quantization and evaluation.

use wakeling_train::Error;

use super::{Advice, Advise};

/// Remedy for a folder with another run.
const OTHER_FOLDER: &str = "choose another --out folder, or remove this one";

impl Advise for Error {
    fn advice(&self) -> Advice {
        match self {
            Self::Core(error) => error.advice(),
            Self::Audio(error) => error.advice(),
            Self::Data(error) => error.advice(),
            Self::Device(error) => error.advice(),
            Self::Nn(error) => error.advice(),

            Self::TaskWeight { .. } => Advice::usage("give 0 or more"),
            Self::UnknownTask { known, .. } => {
                Advice::usage(format!("choose one of {}", known.join(", ")))
            }
            Self::NoFolder => Advice::usage("name one with --out"),
            Self::NoTask => {
                Advice::usage("give a --weight above 0 to a task that the datasets have labels for")
            }
            Self::OtherShape { .. } => Advice::usage(
                "choose the --tier and the --normalization of that model, or start without it",
            ),
            Self::NameIsNoText { .. } => Advice::usage("rename"),
            Self::OtherRequest { .. } | Self::OtherCheckpoint { .. } => Advice::input(OTHER_FOLDER),
            Self::OneSpeaker => Advice::usage("give clips of other speakers with --dev"),
            Self::NoLabel => Advice::usage(
                "give a manifest with `text`, or a folder of words with at least 40 clips each",
            ),
            Self::TeacherFile { .. } => {
                Advice::input("see `wakeling pretrain --help` for what a folder of --teacher holds")
            }

            Self::SharedGpu { .. } => Advice::usage(
                "give --workers 1 and more --streams; for several GPUs, see docs/guide/scaling.md",
            ),
            Self::CheckpointWithoutStep { .. } => Advice::input("remove it to start again"),
            Self::WithoutMpi { .. } => {
                Advice::usage("build it with `cargo build --release -p wakeling --features mpi`")
            }

            Self::NoPhrase { .. } => {
                Advice::input("record it again, louder or nearer; see `wakeling finetune --help`")
            }
            Self::KeywordTwice { .. } => {
                Advice::usage("put all its recordings in one folder or table")
            }
            Self::FewNegatives { .. } => Advice::usage(
                "give at least a quarter of an hour with --negatives, or use the shipped negatives",
            ),
            Self::FewBlocks { count, .. } => {
                Advice::usage(format!("give --train last:K with K up to {count}, or all"))
            }
            Self::NotAHead { .. } => {
                Advice::input("give a .head file that `wakeling finetune` wrote")
            }
            Self::OtherPretrained { .. } => Advice::input(
                "give --base the pretrained model it was trained on, or fine-tune again",
            ),

            Self::NoBackboneRange { .. } => Advice::usage("pretrain it again with this version"),
            Self::NoHeadRange { .. } => Advice::usage("fine-tune again"),
            Self::ModelTooLarge { .. } => {
                Advice::usage("put some of the words into a second model")
            }
            Self::NotForEnrollment { .. } => {
                Advice::usage("give a model of `wakeling quantize --enroll`")
            }

            Self::SilentNoise { .. } => {
                Advice::input("give recordings of noise: a kitchen, a street, a television")
            }
            Self::OtherTable { .. } => {
                Advice::input("choose another --out folder, or remove this file")
            }
        }
    }
}
