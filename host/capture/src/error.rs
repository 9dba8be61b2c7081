//! Errors of the microphone, the loudspeaker, and folders of takes.

use std::path::PathBuf;

/// Error of this crate.
///
/// ```
/// use wakeling_capture::{Error, device::choose};
///
/// let error = choose(&[], "headset").unwrap_err();
/// assert!(matches!(error, Error::NoMatch { names, .. } if names.is_empty()));
/// ```
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Error that all crates share.
    #[error(transparent)]
    Core(#[from] wakeling_core::Error),
    /// Error of converting or writing sound.
    #[error(transparent)]
    Audio(#[from] wakeling_audio::Error),
    /// Error of the model that listens.
    #[error(transparent)]
    Device(#[from] wakeling_device::Error),

    /// Program that was built without the feature `microphone`.
    #[error("microphone: this program was built without sound")]
    WithoutSound,
    /// Sound service of the system that does not answer.
    #[error("sound: microphones cannot be listed: {reason}")]
    NoService {
        /// Message of the system.
        reason: String,
    },
    /// System without a microphone.
    #[error("microphone: the system has none")]
    NoMicrophone,
    /// Choice of a microphone that fits none, or several.
    #[error(
        "{wanted}: {}",
        if *is_ambiguous { "several have that in their name" } else { "there is no such microphone" }
    )]
    NoMatch {
        /// Name or number asked for.
        wanted: String,
        /// Whether several have it in their name.
        is_ambiguous: bool,
        /// Names of all microphones, in the order of their numbers.
        names: Vec<String>,
    },
    /// Microphone that cannot be opened.
    #[error("{name}: cannot be opened: {reason}")]
    NotOpened {
        /// Name of the microphone.
        name: String,
        /// Kind of the cause.
        obstacle: Obstacle,
        /// Message of the system.
        reason: String,
    },
    /// Microphone that was unplugged while it recorded.
    #[error("{name}: the microphone was disconnected: {reason}")]
    Disconnected {
        /// Name of the microphone.
        name: String,
        /// Message of the system.
        reason: String,
    },
    /// Microphone that stopped to give samples.
    #[error("{name}: the microphone gave no sample for {seconds} s")]
    NoSamples {
        /// Name of the microphone.
        name: String,
        /// Time without a sample, in seconds.
        seconds: u64,
    },
    /// Takes without any sound in an unattended session.
    #[error("{name}: no sound in {takes} takes in a row")]
    SilentTakes {
        /// Name of the microphone.
        name: String,
        /// Number of takes.
        takes: usize,
    },
    /// System without a loudspeaker.
    #[error("loudspeaker: the system has none")]
    NoLoudspeaker,
    /// Loudspeaker that cannot play.
    #[error("loudspeaker: cannot play: {reason}")]
    PlaybackFailed {
        /// Message of the system.
        reason: String,
    },
    /// Name that no recording of a folder has.
    #[error("there is no recording {name:?}")]
    NoRecording {
        /// The name.
        name: String,
    },
    /// Folder, device or pipe in the place of a manifest.
    #[error("{}: this is no file", path.display())]
    ManifestIsNoFile {
        /// The manifest.
        path: PathBuf,
    },
}

/// Kind of cause for which a microphone cannot be opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Obstacle {
    /// Another program uses it.
    Busy,
    /// The user may not use it.
    Permission,
    /// It does not offer the rate.
    Format,
    /// Any other cause, such as a device that is unplugged.
    Other,
}

/// Result of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

wakeling_core::library_error!(Audio, Device);
