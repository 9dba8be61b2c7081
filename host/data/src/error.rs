//! Errors of datasets, tables, packs, archives, texts, and the programs that speak or spell them.

use std::{io, path::PathBuf};

use crate::{takes::TakeProblem, text::quoted};

/// Error of this crate.
///
/// ```
/// use wakeling_data::{Error, dataset::Dataset};
///
/// let error = Dataset::open("no/such/folder").unwrap_err();
/// assert!(matches!(error, Error::NoDataset { .. }));
/// ```
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Error that all crates share.
    #[error(transparent)]
    Core(#[from] wakeling_core::Error),
    /// Error of reading or writing sound.
    #[error(transparent)]
    Audio(#[from] wakeling_audio::Error),

    /// Path at which there is nothing.
    #[error("{}: there is no such file or folder", path.display())]
    NoDataset {
        /// The path.
        path: PathBuf,
    },
    /// File that no layout of a dataset has.
    #[error(
        "{}: this is neither a manifest (.jsonl, .tsv), nor a shard (.tar), nor audio ({})",
        path.display(),
        wakeling_audio::FORMATS
    )]
    UnknownDataset {
        /// The file.
        path: PathBuf,
    },
    /// Archive whose files cannot be found one by one.
    #[error(
        "{}: this is a compressed archive, in which clips cannot be found one by one",
        path.display()
    )]
    CompressedDataset {
        /// The file.
        path: PathBuf,
    },
    /// Dataset in which there is nothing.
    #[error("{}: there is no clip in it", path.display())]
    NoClip {
        /// The dataset.
        path: PathBuf,
    },
    /// Dataset of which everything was skipped.
    #[error("{}: no usable clip in it; {skipped} skipped, the first: {first}", path.display())]
    NoUsableClip {
        /// The dataset.
        path: PathBuf,
        /// Number of files or lines that were skipped.
        skipped: usize,
        /// The first of them, with the reason.
        first: String,
    },
    /// Table without the columns of Common Voice.
    #[error("{}: its first line does not name the columns `path` and `sentence`", path.display())]
    NotCommonVoice {
        /// The table.
        path: PathBuf,
    },
    /// Pattern of shards that is not one.
    #[error("{}: {{FIRST..LAST}} is expected in braces", path.display())]
    ShardPattern {
        /// The pattern.
        path: PathBuf,
    },
    /// Keyword that no clip of a dataset has as its text.
    #[error(
        "{}: none of its {clips} clips has the text {}; there is {texts}",
        path.display(),
        quoted(keyword)
    )]
    NoSuchText {
        /// The dataset.
        path: PathBuf,
        /// Number of its clips.
        clips: usize,
        /// The keyword.
        keyword: String,
        /// Its most frequent texts.
        texts: String,
    },
    /// List of clips that was changed after it was written.
    #[error("{}: this list of clips was changed since it was made: {source}", path.display())]
    IndexChanged {
        /// The list.
        path: PathBuf,
        /// Error of reading it.
        source: io::Error,
    },
    /// Clips in a row of which none can be used.
    #[error(
        "{}: none of the {clips} clips from {position} on can be used{}",
        path.display(),
        last.as_ref().map_or(String::new(), |last| format!("; the last: {last}"))
    )]
    NothingLoads {
        /// The list of clips.
        path: PathBuf,
        /// Number of clips.
        clips: usize,
        /// Position of the first.
        position: u64,
        /// The last of them, with the reason.
        last: Option<String>,
    },
    /// Numbers that are not shares of a whole.
    #[error("{fractions:?} are not shares of a whole")]
    Fractions {
        /// The numbers.
        fractions: Vec<f64>,
    },
    /// Fewer speakers than parts.
    #[error("{speakers} speakers (or files without one) cannot be split into {parts} parts")]
    FewSpeakers {
        /// Number of speakers.
        speakers: usize,
        /// Number of parts.
        parts: usize,
    },

    /// Table that is not text.
    #[error("{}: {problem}", path.display())]
    TableIsNoText {
        /// The table.
        path: PathBuf,
        /// Byte or line that is none.
        problem: String,
    },
    /// Table whose first row does not name columns.
    #[error("{}: its first row is no header: {reason}", path.display())]
    TableWithoutHeader {
        /// The table.
        path: PathBuf,
        /// Why it is none.
        reason: String,
    },
    /// Table without a column that is needed, or with a column that is not allowed.
    #[error("{}: {problem}", path.display())]
    TableColumns {
        /// The table.
        path: PathBuf,
        /// The column.
        problem: String,
    },
    /// Table without the column for a split that is asked for.
    #[error("{}: no column \"split\", and --split {split} is asked for", path.display())]
    TableWithoutSplit {
        /// The table.
        path: PathBuf,
        /// The split.
        split: String,
    },
    /// Table with two answers for one file.
    #[error("{}: {problem}", path.display())]
    TableContradicts {
        /// The table.
        path: PathBuf,
        /// The file, and the two lines.
        problem: String,
    },
    /// File that is not a pack of negatives, or is damaged.
    #[error("{}: {problem}", path.display())]
    InvalidPack {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        problem: String,
    },
    /// Recordings of which none is a usable take.
    #[error("{}: no recording in it can be used: {counts}", path.display())]
    NoUsableTake {
        /// Folder or list of the recordings.
        path: PathBuf,
        /// Number of recordings by kind of problem.
        counts: String,
        /// The most frequent problem.
        most: TakeProblem,
    },

    /// File whose checksum differs.
    #[error("{}: its {kind} is {found}, and {expected} is expected", path.display())]
    Checksum {
        /// The file.
        path: PathBuf,
        /// Name of the checksum.
        kind: &'static str,
        /// Checksum of the file.
        found: String,
        /// Expected checksum.
        expected: String,
    },
    /// Address that does not end in the name of a file.
    #[error("{}: there is no file name at its end", path.display())]
    NoArchiveName {
        /// The address.
        path: PathBuf,
    },
    /// Folder to unpack into that exists.
    #[error("{}: this is there already", path.display())]
    TargetExists {
        /// The folder.
        path: PathBuf,
    },
    /// Archive of an unsupported kind.
    #[error("{}: this is neither .tar, .tar.gz nor .zip", path.display())]
    ArchiveFormat {
        /// The archive.
        path: PathBuf,
    },
    /// Archive that is damaged or cut off.
    #[error("{}: {problem}", path.display())]
    DamagedArchive {
        /// The archive.
        path: PathBuf,
        /// Where it is damaged.
        problem: String,
    },
    /// Archive with a name that leads outside the folder.
    #[error(
        "{}: it holds {name:?}, which would be written outside the folder",
        path.display()
    )]
    HostileArchive {
        /// The archive.
        path: PathBuf,
        /// The name.
        name: String,
    },
    /// Remote file, for a program without the feature `remote`.
    #[error("{url} is not on this machine, and this program was built without `remote`")]
    WithoutRemote {
        /// The address.
        url: String,
    },
    /// Address of a web server that is not one of a file.
    #[error(
        "{}: a {suffix} file is expected: a web server has no list of its files",
        path.display()
    )]
    NoListOfFiles {
        /// The address.
        path: PathBuf,
        /// Ending of the files.
        suffix: String,
    },
    /// S3 server that cannot be addressed, or whose list cannot be read.
    #[error("{url}: {problem}")]
    S3Server {
        /// The address.
        url: String,
        /// What is wrong with the server or its answer.
        problem: String,
    },
    /// S3 address without a bucket.
    #[error("{url}: there is no bucket in it")]
    NoBucket {
        /// The address.
        url: String,
    },
    /// System without a folder for the cache.
    #[error("there is no folder for the cache")]
    NoCacheFolder,

    /// Text that cannot be passed to a program and spoken.
    #[error("{} cannot be spoken: {problem}", quoted(text))]
    NotSpeakable {
        /// The text.
        text: String,
        /// Why it cannot be spoken.
        problem: &'static str,
    },
    /// Folder with samples of another text.
    #[error("{}: the folder holds samples of {}", path.display(), quoted(text))]
    OtherSamples {
        /// Manifest of the folder.
        path: PathBuf,
        /// The other text.
        text: String,
    },
    /// Text-to-speech of which most files failed.
    #[error("{failures} of {files} files could not be made; first: {first}")]
    SynthesisFailed {
        /// Number of failures.
        failures: usize,
        /// Number of files.
        files: usize,
        /// The first failure.
        first: String,
    },
    /// Command line of a text-to-speech program that cannot be used.
    #[error("the command `{line}` cannot be used: {problem}")]
    InvalidCommand {
        /// The command line.
        line: String,
        /// What is wrong with it.
        problem: String,
    },
    /// Text-to-speech program that cannot be started.
    #[error("`{command}`: it cannot be started: {reason}")]
    CommandNotStarted {
        /// The command.
        command: String,
        /// Message of the operating system.
        reason: String,
    },
    /// Language without known voices.
    #[error("no voices of this program are known here for the language {language:?}")]
    NoVoices {
        /// The language.
        language: String,
    },
    /// Program espeak-ng that does not list its voices.
    #[error("`espeak-ng --voices={language}` failed: {reason}")]
    VoicesNotListed {
        /// The language.
        language: String,
        /// Message of the program.
        reason: String,
    },
    /// Program espeak-ng that cannot be started.
    #[error("espeak-ng: it cannot be started: {source}")]
    EspeakNotStarted {
        /// Error of the operating system.
        source: io::Error,
    },
    /// Grapheme-to-phoneme program that failed.
    #[error("the grapheme-to-phoneme program {program:?} failed: {reason}")]
    PhonesFailed {
        /// The program.
        program: String,
        /// Message of the program.
        reason: String,
    },
    /// Grapheme-to-phoneme program that cannot be started.
    #[error("{program}: the program cannot be started: {source}")]
    PhonesNotStarted {
        /// The program.
        program: String,
        /// Error of the operating system.
        source: io::Error,
    },
}

/// Result of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

wakeling_core::library_error!(Audio);
