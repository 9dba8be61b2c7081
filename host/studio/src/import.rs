//! Files that are dropped onto the page: any format that is read, of one take or of several.

use std::{
    fs,
    path::{Path, PathBuf},
};

use wakeling_audio::{
    AudioReader, SAMPLE_RATE,
    features::{FrontendTables, NormalizationKind},
};
use wakeling_capture::take::trim;
use wakeling_core::progress::NoProgress;
use wakeling_data::{
    dataset::Example,
    takes::{self, Purpose, TakeProblem},
    text::file_name,
};

use crate::{Error, Result, takes::problem_name};

/// Largest file in bytes.
pub const LARGEST: u64 = 100_000_000;
/// Longest sound of a file, in seconds.
const LONGEST_S: usize = 180;
/// Largest number of takes of one file.
const MOST_TAKES: usize = 100;
/// Hidden folder in which a file is while it is read.
const INCOMING: &str = ".incoming";
/// Longest file name, in characters.
const LONGEST_NAME: usize = 80;

/// Takes of a file.
#[derive(Debug, Default, PartialEq)]
pub struct Import {
    /// Samples of each take.
    pub takes: Vec<Vec<i16>>,
    /// Why the file, or a part of it, was left out; empty if nothing was.
    pub problem: String,
    /// Kind of the problem, for the page: that of a take, `long`, or empty.
    pub problem_kind: &'static str,
}

/// Reads the takes of a file. Several utterances are split at their pauses, as `finetune` does.
/// Unlike other requests, it runs without a lock on the session, since it may take seconds.
///
/// # Errors
/// [`Error::Core`] if the file cannot be written for reading it. A file that cannot be read is an
/// [`Import`] with a problem.
pub fn read(
    recordings: &Path,
    name: &str,
    bytes: &[u8],
    explain: crate::Explain,
) -> Result<Import> {
    let file = Incoming::write(recordings, name, bytes)?;
    let shown: String = name.chars().filter(|c| !c.is_control()).take(LONGEST_NAME).collect();
    // The folder of the file says nothing to the user.
    let text = |error: Error| {
        let text = explain(&error).text;
        text.replace(&file.0.display().to_string(), &shown)
    };
    match is_short(&file.0) {
        Err(error) => {
            let (problem, problem_kind) = (text(error), problem_name(TakeProblem::Unreadable));
            return Ok(Import { problem, problem_kind, ..Import::default() });
        }
        Ok(false) => {
            let problem = format!("{shown}: longer than {LONGEST_S} s: cut it into shorter files");
            return Ok(Import { problem, problem_kind: "long", ..Import::default() });
        }
        Ok(true) => {}
    }
    let tables = FrontendTables::default();
    let frontend = tables.params(NormalizationKind::Log);
    let example = Example::unlabelled(&file.0);
    let checked = takes::check(&[example], &frontend, Purpose::Train, &NoProgress);
    let mut import = Import::default();
    for take in checked.takes.iter().take(MOST_TAKES) {
        match take.example.load() {
            Ok(pcm) => import.takes.push(trim(&pcm).map_or(pcm, |recorded| recorded.pcm)),
            Err(error) => import.problem = text(error.into()),
        }
    }
    if checked.takes.len() > MOST_TAKES {
        import.problem = format!("{shown}: only the first {MOST_TAKES} takes are used");
    }
    if let (true, Some(left)) = (import.problem.is_empty(), checked.left_out.first()) {
        let more = checked.left_out.len() - 1;
        let more = if more > 0 { format!(" (and {more} more)") } else { String::new() };
        import.problem_kind = problem_name(left.problem);
        import.problem = format!("{shown}: {}{more}", left.reason)
            .replace(&file.0.display().to_string(), &shown);
    }
    Ok(import)
}

/// Returns `true` if a file can be read and is not too long. A file that would decode to hours is
/// not decoded to its end.
fn is_short(path: &Path) -> Result<bool> {
    let mut samples = 0;
    for block in AudioReader::open(path)? {
        samples += block?.len();
        if samples > LONGEST_S * SAMPLE_RATE as usize {
            return Ok(false);
        }
    }
    Ok(true)
}

/// File while it is read, removed on drop.
struct Incoming(PathBuf);

impl Incoming {
    /// Writes a file. One at a time is read, so whatever is in its folder is of a program that was
    /// killed.
    fn write(recordings: &Path, name: &str, bytes: &[u8]) -> Result<Self> {
        let folder = recordings.join(INCOMING);
        // If there is none, nothing is left to remove.
        let _ = fs::remove_dir_all(&folder);
        fs::create_dir_all(&folder).map_err(Error::io(&folder, "create"))?;
        let short: String = name.chars().rev().take(LONGEST_NAME).collect();
        let short: String = short.chars().rev().collect();
        let path = folder.join(format!("file-{}", file_name(&short)));
        let file = Self(path);
        fs::write(&file.0, bytes).map_err(Error::io(&file.0, "write"))?;
        Ok(file)
    }
}

impl Drop for Incoming {
    fn drop(&mut self) {
        // A file that cannot be removed is removed by the next import.
        if let Some(folder) = self.0.parent() {
            let _ = fs::remove_dir_all(folder);
        }
    }
}
