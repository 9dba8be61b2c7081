//! Remedies for the errors of the studio.

use wakeling_studio::Error;

use super::{Advice, Advise};

impl Advise for Error {
    fn advice(&self) -> Advice {
        match self {
            Self::Core(error) => error.advice(),
            Self::Audio(error) => error.advice(),
            Self::Data(error) => error.advice(),
            Self::Device(error) => error.advice(),
            Self::Interop(error) => error.advice(),
            Self::Train(error) => error.advice(),
            Self::Capture(error) => error.advice(),
            Self::NotALanguage { .. } => Advice::usage("or leave it empty"),
            Self::NotAPhrase { .. } | Self::StraySound => Advice::usage("load the page again"),
            Self::PhraseHasEquals { .. } => Advice::usage("give the phrase in words"),
            Self::NotAName => Advice::usage("give a shorter one"),
            Self::NoPhrase => Advice::usage("name the phrase first"),
            Self::NotListening => Advice::usage("start listening first"),
            Self::NoTakeBegun => Advice::usage("begin one first"),
            Self::NoTakeRecorded => Advice::usage("record one first"),
            Self::AlreadyTraining => Advice::usage("wait for its end, or cancel it"),
            Self::NoTake => Advice::usage("record a few first"),
            Self::NoUsableTake { .. } => Advice::usage("check the microphone, and record again"),
            Self::NoModel => Advice::usage("train first, and wait for the end"),
            Self::NotAWord { .. } => Advice::usage("choose one of the list"),
            Self::WordGone { .. } => {
                Advice::usage("undo the deletion, or open another word, and drop the file again")
            }
            Self::NameTaken { .. } => Advice::usage("delete that one first"),
            Self::InTraining { .. } => Advice::usage("wait for its end, or cancel it"),
            Self::NothingDeleted => Advice::usage("only the last deletion can be undone, once"),
            Self::NothingToCorrect => Advice::usage("listen for a moment first"),
            Self::SoundGone => Advice::usage(
                "correct a detection within 15 seconds, and before one that came later",
            ),
            Self::NotATake { .. } => Advice::usage("say it again, and press the button at once"),
            Self::NotAnExport { .. } => Advice::usage("choose esphome, c or browser"),
            Self::NoBrowserPackage { .. } => Advice::input(
                "build it in a source tree by `./x release npm`, or name its folder in WAKELING_NPM",
            ),
            Self::NotADrive { .. } => Advice::usage("choose one of the list"),
            Self::TooSlow { .. } => Advice::usage("train again for this board"),
            Self::NothingReadable { .. } => Advice::input("record again, and train again"),
        }
    }
}
