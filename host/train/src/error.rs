//! Errors of pretraining, fine-tuning, quantization and evaluation.

use std::path::PathBuf;

use wakeling_data::text::quoted;

/// Error of this crate.
///
/// ```
/// use wakeling_train::{Error, pretrain::Weights};
///
/// let error = Weights::default().set("sounds", 1.0).unwrap_err();
/// assert!(matches!(error, Error::UnknownTask { known, .. } if known.contains(&"words")));
/// ```
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Error that all crates share.
    #[error(transparent)]
    Core(#[from] wakeling_core::Error),
    /// Error of reading or writing sound.
    #[error(transparent)]
    Audio(#[from] wakeling_audio::Error),
    /// Error of a dataset.
    #[error(transparent)]
    Data(#[from] wakeling_data::Error),
    /// Error of a model file or a simulated device.
    #[error(transparent)]
    Device(#[from] wakeling_device::Error),
    /// Error of a network.
    #[error(transparent)]
    Nn(#[from] wakeling_nn::Error),

    /// Weight of a task that is negative or not finite.
    #[error("{task}={weight} is no weight")]
    TaskWeight {
        /// Name of the task.
        task: String,
        /// The weight.
        weight: f64,
    },
    /// Name that no task has.
    #[error("there is no task {name:?}")]
    UnknownTask {
        /// The name.
        name: String,
        /// Names that there are.
        known: &'static [&'static str],
    },
    /// Pretraining without a folder.
    #[error("pretraining needs a folder")]
    NoFolder,
    /// Pretraining of which no task has data.
    #[error("no task is left to train on")]
    NoTask,
    /// Pretrained model to start from whose shape or normalization is another.
    #[error("{name} has another shape or normalization than this run")]
    OtherShape {
        /// Name of the pretrained model.
        name: String,
    },
    /// Path of a dataset that is not text.
    #[error("a name is not text: {reason}")]
    NameIsNoText {
        /// Message of the encoder.
        reason: String,
    },
    /// Folder of a pretraining with another request.
    #[error("{}: the run in this folder has other datasets, tasks or tokens", path.display())]
    OtherRequest {
        /// The folder.
        path: PathBuf,
    },
    /// Dataset of a single speaker, of which nothing can be held out.
    #[error("every clip is of one speaker, so none can be held out")]
    OneSpeaker,
    /// Datasets without labels for the tasks.
    #[error("no example has a label of this task")]
    NoLabel,
    /// File of a teacher's targets that does not fit.
    #[error("{}: {problem}", path.display())]
    TeacherFile {
        /// The file.
        path: PathBuf,
        /// What does not fit.
        problem: String,
    },

    /// Several workers of a process, with a GPU that they would share.
    #[error("{workers} workers of one process cannot share a GPU")]
    SharedGpu {
        /// Number of workers.
        workers: usize,
    },
    /// Checkpoint without a training step.
    #[error("{}: no step in the checkpoint", path.display())]
    CheckpointWithoutStep {
        /// The checkpoint.
        path: PathBuf,
    },
    /// Checkpoint of another seed or network.
    #[error("{}: the checkpoint is of another run (other seed or network)", path.display())]
    OtherCheckpoint {
        /// The checkpoint.
        path: PathBuf,
    },
    /// One of several processes, of a program without the feature `mpi`.
    #[error("started as one of {processes} processes, but built without MPI")]
    WithoutMpi {
        /// Number of processes.
        processes: usize,
    },

    /// Keyword of which no recording holds a phrase.
    #[error("{keyword}: none of its {recordings} recordings holds a phrase")]
    NoPhrase {
        /// The keyword.
        keyword: String,
        /// Number of recordings.
        recordings: usize,
    },
    /// Keyword that is given twice.
    #[error("the word {} is given twice", quoted(keyword))]
    KeywordTwice {
        /// The keyword.
        keyword: String,
    },
    /// Too little audio without a keyword.
    #[error("{minutes:.0} minutes of negatives are too few")]
    FewNegatives {
        /// Minutes of negatives.
        minutes: f64,
    },
    /// More blocks to train than the backbone has.
    #[error("the backbone has {count} blocks, not {asked}")]
    FewBlocks {
        /// Number of blocks of the backbone.
        count: usize,
        /// Number of blocks asked for.
        asked: usize,
    },
    /// File that is not a head of this version.
    #[error("{}: {problem}", path.display())]
    NotAHead {
        /// The file.
        path: PathBuf,
        /// What is missing or differs.
        problem: String,
    },
    /// Head of another pretrained model.
    #[error(
        "{}: trained on another pretrained model than this {pretrained:?} ({trained_on:?})",
        path.display()
    )]
    OtherPretrained {
        /// The file.
        path: PathBuf,
        /// Name of the given pretrained model.
        pretrained: String,
        /// Name of the one that the head was trained on.
        trained_on: String,
    },

    /// Pretrained model without the range of a layer.
    #[error("the pretrained model has no range for {layer}")]
    NoBackboneRange {
        /// Name of the layer.
        layer: String,
    },
    /// Head without the range of a layer.
    #[error("no range for {layer}")]
    NoHeadRange {
        /// Name of the layer.
        layer: String,
    },
    /// Model with more layers or keywords than a device takes.
    #[error("a model holds at most {most} {what}")]
    ModelTooLarge {
        /// What there are too many of: "layers" or "words".
        what: &'static str,
        /// Maximum number.
        most: usize,
    },
    /// Model that is not one for enrollment.
    #[error("{reason}")]
    NotForEnrollment {
        /// Why it is none.
        reason: String,
    },

    /// Noise without any sound.
    #[error("{}: no recording in it has any sound", path.display())]
    SilentNoise {
        /// Folder of the noise.
        path: PathBuf,
    },
    /// File that is not the table of this comparison.
    #[error("{}: line {line}: {problem}", path.display())]
    OtherTable {
        /// The file.
        path: PathBuf,
        /// Number of the line, from 1 on.
        line: usize,
        /// What is wrong with it.
        problem: String,
    },
}

/// Result of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

wakeling_core::library_error!(Audio, Data, Device, Nn);

impl From<candle_core::Error> for Error {
    fn from(error: candle_core::Error) -> Self {
        Self::Core(error.into())
    }
}
