//! Errors of the requests of the page, and of the work that they start.

use std::path::PathBuf;

/// Error of this crate.
///
/// ```
/// use wakeling_studio::Error;
///
/// assert_eq!(Error::NoPhrase.to_string(), "there is no phrase yet");
/// ```
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Error that all crates share.
    #[error(transparent)]
    Core(#[from] wakeling_core::Error),
    /// Error of reading or converting sound.
    #[error(transparent)]
    Audio(#[from] wakeling_audio::Error),
    /// Error of the sound that is checked.
    #[error(transparent)]
    Data(#[from] wakeling_data::Error),
    /// Error of a model or a board.
    #[error(transparent)]
    Device(#[from] wakeling_device::Error),
    /// Error of a model for another system.
    #[error(transparent)]
    Interop(#[from] wakeling_interop::Error),
    /// Error of training or evaluation.
    #[error(transparent)]
    Train(#[from] wakeling_train::Error),
    /// Error of a folder of takes.
    #[error(transparent)]
    Capture(#[from] wakeling_capture::Error),

    /// Language that is not known.
    #[error("\"{language}\" is no language: {expected}")]
    NotALanguage {
        /// Text of the request.
        language: String,
        /// What is expected.
        expected: String,
    },
    /// Request that is not of this page.
    #[error("this is no phrase: {reason}")]
    NotAPhrase {
        /// Message of the decoder.
        reason: String,
    },
    /// Phrase that cannot be a keyword.
    #[error("{phrase:?} cannot be trained: it holds an equals sign")]
    PhraseHasEquals {
        /// The phrase.
        phrase: String,
    },
    /// Name of a speaker that is too long, or not text.
    #[error("this is no name")]
    NotAName,
    /// Sound without a purpose.
    #[error("sound for nothing")]
    StraySound,
    /// Name that no word has.
    #[error("{name:?} is no word of the list")]
    NotAWord {
        /// The name.
        name: String,
    },
    /// Word that was deleted while a file for it was read.
    #[error("the word {name:?} of this file was deleted")]
    WordGone {
        /// Name of its folders.
        name: String,
    },
    /// Word that cannot come back, since there is another of its name.
    #[error("there is a word {phrase:?} again")]
    NameTaken {
        /// The phrase.
        phrase: String,
    },
    /// Deletion of a word during its training.
    #[error("{phrase:?} is being trained")]
    InTraining {
        /// The phrase.
        phrase: String,
    },
    /// Request that needs a deletion.
    #[error("nothing was deleted that could come back")]
    NothingDeleted,
    /// Correction without sound.
    #[error("there is no sound to keep")]
    NothingToCorrect,
    /// Correction of a detection whose sound was dropped.
    #[error("the sound of this detection is no longer kept")]
    SoundGone,
    /// Sound that is no take.
    #[error("the last sound holds no take: {reason}")]
    NotATake {
        /// Why it is none.
        reason: String,
    },
    /// Name that no form of a model has.
    #[error("{name:?} is no form of a model")]
    NotAnExport {
        /// The name.
        name: String,
    },
    /// Package for browsers that is not beside the program.
    #[error("the package for browsers is not there; searched in {}", shown(searched))]
    NoBrowserPackage {
        /// Folders that were searched.
        searched: Vec<PathBuf>,
    },
    /// Request that needs a phrase.
    #[error("there is no phrase yet")]
    NoPhrase,
    /// Request that needs live detection.
    #[error("no live detection is running")]
    NotListening,
    /// Request that needs a take in progress.
    #[error("no take was begun")]
    NoTakeBegun,
    /// Request that needs a recorded take.
    #[error("there is no take to keep")]
    NoTakeRecorded,
    /// Start of a training during another.
    #[error("a training runs already")]
    AlreadyTraining,
    /// Training without a take.
    #[error("there is no take yet")]
    NoTake,
    /// Training of which no take is usable.
    #[error("no take can be trained on: {}", reasons.join("; "))]
    NoUsableTake {
        /// Why each take was left out.
        reasons: Vec<String>,
    },
    /// Request that needs a model.
    #[error("there is no model yet")]
    NoModel,
    /// Name that no board with a drive has.
    #[error("{name:?} is no board with a drive")]
    NotADrive {
        /// The name.
        name: String,
    },
    /// Board whose processor does not keep up with the model.
    #[error("{} is too slow for this model: it would need {percent:.0} % of its processor", board.title)]
    TooSlow {
        /// The board.
        board: &'static wakeling_device::board::Board,
        /// Load of the processor, computed.
        percent: f64,
    },
    /// List or folder of which no recording can be read.
    #[error("{}: no recording in it can be read", path.display())]
    NothingReadable {
        /// The list or folder.
        path: PathBuf,
    },
}

impl Error {
    /// Returns the word for an error that a user of the page can meet while recording or trying, for
    /// which the page has a text; empty for others.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::NothingToCorrect => "noSound",
            Self::SoundGone => "soundGone",
            Self::NotATake { .. } => "notATake",
            Self::NotListening => "notListening",
            Self::NoTakeBegun => "noTakeBegun",
            Self::NoTakeRecorded => "noTakeRecorded",
            Self::AlreadyTraining => "alreadyTraining",
            Self::InTraining { .. } => "inTraining",
            Self::NoUsableTake { .. } => "noUsableTake",
            Self::NoModel => "noModel",
            Self::WordGone { .. } => "wordGone",
            _ => "",
        }
    }
}

/// Returns the paths of folders as a list.
fn shown(folders: &[PathBuf]) -> String {
    folders.iter().map(|folder| folder.display().to_string()).collect::<Vec<_>>().join(", ")
}

/// Result of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

wakeling_core::library_error!(Audio, Data, Device, Interop, Train, Capture);

/// Text of an error for the page.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Explanation {
    /// Problem, and what the user can do about it.
    pub text: String,
    /// Whether the request caused it, rather than this computer.
    pub is_request: bool,
}

/// Function of the program that explains errors to the user.
pub type Explain = fn(&Error) -> Explanation;
