//! Errors of reading, writing and converting sound.

use std::path::{Path, PathBuf};

use crate::PLAUSIBLE_RATES;

/// Error of this crate.
///
/// ```
/// use wakeling_audio::{Error, FileProblem, read_range};
///
/// let folder = read_range(std::env::temp_dir(), 0.0, None).unwrap_err();
/// assert!(matches!(&folder, Error::File(file) if matches!(file.problem, FileProblem::IsFolder)));
/// assert!(read_range("no/such.wav", 0.0, None).unwrap_err().is_missing());
/// ```
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Error that all crates share.
    #[error(transparent)]
    Core(#[from] wakeling_core::Error),
    /// File that cannot be used.
    #[error(transparent)]
    File(Box<FileError>),
    /// Mel bands outside of what the sample rate can hold.
    #[error("mel bands from {low_hz} to {high_hz} Hz are not possible")]
    MelBands {
        /// Lowest frequency asked for, in Hz.
        low_hz: f64,
        /// Highest frequency asked for, in Hz.
        high_hz: f64,
        /// Highest frequency possible, in Hz.
        nyquist_hz: f64,
    },
    /// Recording that is too long for the length field of a WAV file.
    #[error("{samples} samples do not fit into one WAV file of 4 GiB")]
    TooLongForWav {
        /// Number of samples.
        samples: usize,
    },
    /// Microphone without a channel, or with an implausible rate.
    #[error("microphone: it gives {channels} channels at {rate} Hz")]
    MicrophoneFormat {
        /// Number of channels.
        channels: u16,
        /// Sample rate in Hz.
        rate: u32,
    },
    /// Rate of a microphone that cannot be resampled.
    #[error("microphone: {rate} Hz cannot be resampled: {reason}")]
    MicrophoneRate {
        /// Sample rate in Hz.
        rate: u32,
        /// Message of the resampler.
        reason: String,
    },
    /// Rate of a loudspeaker that cannot be resampled.
    #[error("loudspeaker: sound cannot be brought to {rate} Hz: {reason}")]
    PlaybackRate {
        /// Sample rate in Hz.
        rate: u32,
        /// Message of the resampler.
        reason: String,
    },
}

/// Result of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

wakeling_core::library_error!();

/// File that cannot be used, and why.
#[derive(Debug, thiserror::Error)]
#[error("{}: {}{problem}", path.display(), inside(member.as_deref()))]
pub struct FileError {
    /// The file, or the archive that it is in.
    pub path: PathBuf,
    /// Name in the archive.
    pub member: Option<String>,
    /// Why it cannot be used.
    pub problem: FileProblem,
}

impl FileError {
    /// Returns the problem, with the name in the archive, and without the path.
    pub fn described(&self) -> String {
        format!("{}{}", inside(self.member.as_deref()), self.problem)
    }
}

/// Reason why a file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum FileProblem {
    /// Folder in the place of a file.
    #[error("this is a folder, and an audio file is expected")]
    IsFolder,
    /// Device or pipe in the place of a file.
    #[error("this is a device or a pipe, and an audio file is expected")]
    IsDevice,
    /// File without a byte.
    #[error("the file is empty (0 bytes)")]
    Empty,
    /// File without a byte inside an archive.
    #[error("the file is empty (0 bytes)")]
    EmptyMember,
    /// Archive that ends within this file.
    #[error("the archive ends after {found} of the {expected} bytes of this file")]
    ArchiveEnds {
        /// Bytes that are there.
        found: u64,
        /// Length of the file.
        expected: u64,
    },
    /// Content that is not audio, or not of a known kind.
    #[error("this is not audio: it starts with \"{start}\"")]
    NotAudio {
        /// First bytes, printable.
        start: String,
    },
    /// Valid header without samples.
    #[error("the file holds no samples")]
    NoSamples,
    /// Video without sound.
    #[error("there is no audio track inside")]
    NoSound,
    /// Header without samples although sound follows, as an interrupted recorder leaves it.
    #[error("the header says 0 samples, but {present} bytes follow: recording was interrupted")]
    Interrupted {
        /// Bytes behind the header.
        present: u64,
    },
    /// Fewer samples than the header states.
    #[error("the file is truncated: {found} of {expected} samples per channel are there")]
    Truncated {
        /// Samples that are there.
        found: u64,
        /// Samples that the header states.
        expected: u64,
    },
    /// File that ends before any sound.
    #[error("the file is truncated: its {length} bytes {missing}")]
    TruncatedHeader {
        /// Length of the file in bytes.
        length: u64,
        /// What these bytes lack.
        missing: &'static str,
    },
    /// Header whose fields contradict each other.
    #[error("the header gives {channels} channels {place}")]
    DamagedHeader {
        /// Number of channels.
        channels: u32,
        /// Field that does not fit.
        place: String,
    },
    /// Sample rate that no recorder has.
    #[error(
        "the header gives a sample rate of {rate} Hz; {} to {} Hz are plausible",
        PLAUSIBLE_RATES.start(),
        PLAUSIBLE_RATES.end()
    )]
    ImplausibleRate {
        /// Sample rate in Hz.
        rate: u32,
    },
    /// Sound that cannot be decoded: damaged, or of an unsupported kind.
    #[error("{reason}")]
    Undecodable {
        /// What is damaged or not supported.
        reason: String,
    },
    /// Part of a file whose bounds are not times.
    #[error("offset {offset_s} s with duration {duration_s:?} is not a part of a file")]
    NotAPart {
        /// Start in seconds.
        offset_s: f64,
        /// Length in seconds.
        duration_s: Option<f64>,
    },
    /// Part of a file that is past its end, or too short for a sample.
    #[error(
        "the part from {offset_s} s on for {} holds no sample; the file is {length_s:.3} s long",
        duration_s.map_or("the rest".into(), |d| format!("{d} s"))
    )]
    EmptyPart {
        /// Start in seconds.
        offset_s: f64,
        /// Length in seconds.
        duration_s: Option<f64>,
        /// Length of the file in seconds.
        length_s: f64,
    },
}

impl FileProblem {
    /// Creates the problem of sound that cannot be decoded.
    pub(crate) fn undecodable(reason: impl Into<String>) -> Self {
        Self::Undecodable { reason: reason.into() }
    }

    /// Creates the error of this file.
    pub(crate) fn of(self, path: impl AsRef<Path>) -> Error {
        let path = path.as_ref().to_owned();
        Error::File(Box::new(FileError { path, member: None, problem: self }))
    }
}

impl Error {
    /// Adds the name of the file inside an archive.
    pub(crate) fn inside(mut self, name: Option<&str>) -> Self {
        if let (Self::File(error), Some(name)) = (&mut self, name) {
            error.member = Some(name.to_owned());
        }
        self
    }
}

fn inside(member: Option<&str>) -> String {
    member.map_or(String::new(), |name| format!("{name} in it: "))
}
