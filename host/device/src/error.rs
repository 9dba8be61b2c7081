//! Errors of model files, boards, flashing, the emulator, and devices on a line.

use std::{io, ops::Range, path::PathBuf, process::ExitStatus};

use wakeling_shared::{model::LoadError, update::message::Refusal};

use crate::emulator::EmulatorError;

/// Error of this crate.
///
/// ```
/// use wakeling_device::{Error, board::Board};
///
/// let error = Board::named("nano").unwrap_err(); // its name is nano33
/// assert!(matches!(error, Error::UnknownBoard { known, .. } if known.contains(&"nano33")));
/// ```
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Error that all crates share.
    #[error(transparent)]
    Core(#[from] wakeling_core::Error),
    /// Error of reading or converting sound.
    #[error(transparent)]
    Audio(#[from] wakeling_audio::Error),
    /// Error of the emulator.
    #[error(transparent)]
    Emulator(EmulatorError),

    /// Model whose description does not fit a model file.
    #[error("the model cannot be written: {reason}")]
    ModelUnwritable {
        /// Message of the encoder.
        reason: String,
    },
    /// File that is not a valid model.
    #[error("{}: {reason}", path.display())]
    InvalidModel {
        /// The file.
        path: PathBuf,
        /// Why it is rejected.
        reason: LoadError,
    },
    /// Threshold that is not a probability between 0 and 1.
    #[error("a threshold of {score} is no score")]
    NoScore {
        /// The threshold.
        score: f64,
    },
    /// Rate of false accepts that no measured threshold reaches.
    #[error("the model cannot promise {rate} false accepts per hour for {keyword:?}; {measured}")]
    RateNotMeasured {
        /// False accepts per hour asked for.
        rate: f64,
        /// The keyword.
        keyword: String,
        /// Rates that were measured.
        measured: String,
    },
    /// Output of the emulated device that ends the simulation.
    #[error("emulated device: {problem}")]
    EmulatedDevice {
        /// Message of the firmware, or a line that is none.
        problem: String,
    },

    /// Name that no board has.
    #[error("there is no board {name:?}")]
    UnknownBoard {
        /// The name.
        name: String,
        /// Names that there are.
        known: Vec<&'static str>,
    },
    /// Workspace of the boards, which the current folder and those above lack.
    #[error("{}: not in {} or above", path.display(), searched.display())]
    NoWorkspace {
        /// The missing file, relative to the repository.
        path: PathBuf,
        /// The current folder.
        searched: PathBuf,
        /// Board whose firmware is to be built.
        board: &'static str,
    },
    /// Table of partitions, which the current folder and those above lack.
    #[error("{}: not in {} or above", path.display(), searched.display())]
    NoPartitions {
        /// The missing file, relative to the repository.
        path: PathBuf,
        /// The current folder.
        searched: PathBuf,
    },
    /// Build of a firmware that cargo ended with an error.
    #[error("building the firmware for {board} failed: {status}")]
    BuildFailed {
        /// Name of the board.
        board: &'static str,
        /// Exit status of cargo.
        status: ExitStatus,
    },
    /// Cargo that cannot be started.
    #[error("{} cannot be run: {source}", cargo.display())]
    NoCargo {
        /// The program.
        cargo: PathBuf,
        /// Error of the operating system.
        source: io::Error,
    },
    /// Rust compiler that cannot be started.
    #[error("rustc: cannot be run, and the firmware must be built")]
    NoCompiler,
    /// Target that the compiler lacks, and that rustup did not add.
    #[error("rustc: the target {target} is missing, and rustup did not add it: {status}")]
    TargetNotAdded {
        /// Name of the target.
        target: String,
        /// Exit status of rustup.
        status: ExitStatus,
    },
    /// Target that the compiler lacks, where there is no rustup to add it.
    #[error("rustc: the target {target} is missing, and rustup cannot be run: {source}")]
    NoRustup {
        /// Name of the target.
        target: String,
        /// Error of the operating system.
        source: io::Error,
    },

    /// Firmware of boards that is not beside the program.
    #[error("no firmware of boards beside the program: not in {}", listed(searched))]
    NoShippedFirmware {
        /// The folders that were searched.
        searched: Vec<PathBuf>,
    },
    /// Manifest of firmware that cannot be read.
    #[error("{}: no list of firmware: {problem}", path.display())]
    NotAManifest {
        /// The file.
        path: PathBuf,
        /// Why it is none.
        problem: String,
    },
    /// Firmware of another version of this program.
    #[error("{}: the firmware is for {found}, and this is {own}", path.display())]
    OtherVersion {
        /// The manifest.
        path: PathBuf,
        /// Versions of program and model files of the firmware.
        found: String,
        /// Versions of this program.
        own: String,
    },
    /// Firmware that a manifest does not list.
    #[error("{}: it lists no firmware for {board}{}", path.display(), if *plain { " without slots" } else { "" })]
    NotShipped {
        /// The manifest.
        path: PathBuf,
        /// Name of the board.
        board: &'static str,
        /// Whether the variant without slots is missing.
        plain: bool,
    },
    /// Firmware that was linked for other addresses than those of `boards.toml`.
    #[error("{}: the firmware for {board} has other regions in flash than this program", path.display())]
    OtherLayout {
        /// The manifest.
        path: PathBuf,
        /// Name of the board.
        board: &'static str,
    },
    /// Listed file of a firmware that cannot be read.
    #[error("{}: cannot be read, and is listed: {source}", path.display())]
    ShippedUnreadable {
        /// The file.
        path: PathBuf,
        /// Error of the operating system.
        source: io::Error,
    },
    /// File of a firmware with another content than the listed one.
    #[error("{}: the file is damaged or another one: {problem}", path.display())]
    ShippedDamaged {
        /// The file.
        path: PathBuf,
        /// How it differs.
        problem: String,
    },

    /// File that is not a program for the board.
    #[error("{}: {problem}", path.display())]
    NotFirmware {
        /// The file.
        path: PathBuf,
        /// Name of the board.
        board: &'static str,
        /// Why it is none.
        problem: String,
    },
    /// Part of a program or a model that is outside of its region in flash.
    #[error(
        "{}: its {what} takes {:#010x}..{:#010x}, which is outside {board}'s region for it, \
         {:#010x}..{:#010x}",
        path.display(), part.start, part.end, region.start, region.end
    )]
    OutsideRegion {
        /// The file.
        path: PathBuf,
        /// Kind of the part: "program" or "model".
        what: &'static str,
        /// Addresses of the part.
        part: Range<u64>,
        /// Name of the board.
        board: &'static str,
        /// Addresses of the region.
        region: Range<u32>,
    },
    /// Parts that take the same addresses.
    #[error("{}: two of its parts overlap: {first}, and {second}", path.display())]
    PartsOverlap {
        /// File of the program.
        path: PathBuf,
        /// Description of one part.
        first: String,
        /// Description of the other.
        second: String,
    },
    /// Model that needs more memory than the firmware keeps.
    #[error(
        "{}: the model needs {needed} bytes of memory for its state, and the firmware keeps {kept}",
        path.display()
    )]
    TooMuchMemory {
        /// The file.
        path: PathBuf,
        /// Bytes that the model needs.
        needed: usize,
        /// Bytes that the firmware keeps.
        kept: usize,
    },
    /// Package that does not go into a slot.
    #[error("{}: {board}: {refusal}", path.display())]
    NotForSlot {
        /// The file.
        path: PathBuf,
        /// Name of the board.
        board: &'static str,
        /// Answer of the store.
        refusal: Refusal,
    },
    /// Missing program espflash.
    #[error("espflash: it is not installed")]
    NoEspflash,
    /// Error of espflash.
    #[error("espflash: it ended with {status}")]
    EspflashFailed {
        /// Exit status.
        status: ExitStatus,
    },
    /// Program espflash that cannot be started.
    #[error("espflash: {source}")]
    EspflashUnusable {
        /// Error of the operating system.
        source: io::Error,
    },
    /// Missing debug probe.
    #[error("debug probe: none is plugged in")]
    NoProbe,
    /// Several debug probes that a board could be at.
    #[error("debug probe: {count} are plugged in")]
    SeveralProbes {
        /// Number of probes.
        count: usize,
    },
    /// Error of a debug probe, or of the chip behind it.
    #[error("{device}: {problem}")]
    Probe {
        /// Name of the probe or the board.
        device: String,
        /// Message of probe-rs, with its causes.
        problem: String,
    },

    /// Key file that would be overwritten.
    #[error("{} is there already", path.display())]
    KeyExists {
        /// The file.
        path: PathBuf,
    },
    /// Key file that other users may read.
    #[error("{}: others may read this key (mode {mode:o})", path.display())]
    KeyExposed {
        /// The file.
        path: PathBuf,
        /// Permissions of the file.
        mode: u32,
    },
    /// File that is not a key.
    #[error("{}: this is no key of `wakeling sign`", path.display())]
    NotAKey {
        /// The file.
        path: PathBuf,
    },
    /// System without random numbers.
    #[error("the system's random numbers: {reason}")]
    NoRandomNumbers {
        /// Message of the system.
        reason: String,
    },
    /// File that is not a signed package.
    #[error("{}: this is no complete signed package", path.display())]
    NotAPackage {
        /// The file.
        path: PathBuf,
    },

    /// Network address that does not answer.
    #[error("{name}: {source}")]
    NoConnection {
        /// The address.
        name: String,
        /// Error of the operating system.
        source: io::Error,
    },
    /// Serial port that cannot be opened.
    #[error("{name}: {source}")]
    NoPort {
        /// Name of the port.
        name: String,
        /// Error of the operating system.
        source: io::Error,
        /// Ports that there are.
        available: Vec<String>,
    },
    /// Failed reading from or writing to the line of a device.
    #[error("{device}: {source}")]
    Line {
        /// Name of the line.
        device: String,
        /// Error of the operating system.
        source: io::Error,
    },
    /// Line that was closed.
    #[error("{device}: the line was closed")]
    LineClosed {
        /// Name of the line.
        device: String,
    },
    /// Device that does not answer.
    #[error("{device}: no answer to {attempts} requests")]
    NoAnswer {
        /// Name of the line.
        device: String,
        /// Number of requests.
        attempts: usize,
    },
    /// Device with another version of the protocol.
    #[error("{device}: it uses version {found} of the protocol, not {expected}")]
    Protocol {
        /// Name of the line.
        device: String,
        /// Version of the device.
        found: u8,
        /// Version of this program.
        expected: u8,
    },
    /// Answer that does not belong to the request.
    #[error("{device}: an answer that is none")]
    StrangeAnswer {
        /// Name of the line.
        device: String,
    },
    /// Request that the device refused.
    #[error("{device}: the device refused: {refusal}")]
    Refused {
        /// Name of the line.
        device: String,
        /// Answer of the device.
        refusal: Refusal,
    },
    /// Enrollment that found too few utterances in its time.
    #[error("{device}: it found {found} of {expected} utterances")]
    FewUtterances {
        /// Name of the line.
        device: String,
        /// Number of utterances found.
        found: u32,
        /// Number of utterances needed.
        expected: usize,
    },

    /// File that is not an event of the flight recorder.
    #[error("{}: {problem}", path.display())]
    NotAnEvent {
        /// The file.
        path: PathBuf,
        /// Why it is none.
        problem: String,
    },
    /// Event whose features have another width than those of the pretrained model.
    #[error("event {number} has {found} features per step, the pretrained model {expected}")]
    EventWidth {
        /// Number of the event.
        number: u32,
        /// Features per step of the event.
        found: u32,
        /// Features per step of the pretrained model.
        expected: usize,
    },
}

/// Result of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

wakeling_core::library_error!(Audio);

impl From<EmulatorError> for Error {
    fn from(error: EmulatorError) -> Self {
        match error {
            EmulatorError::Io { path, action, source } => Self::io(path, action)(source),
            error => Self::Emulator(error),
        }
    }
}

/// Formats paths for a message.
fn listed(paths: &[PathBuf]) -> String {
    paths.iter().map(|path| path.display().to_string()).collect::<Vec<_>>().join(", ")
}
