//! `wakeling corpus`: fetches and inspects datasets.

use std::{
    io::{self, BufWriter, Write},
    path::{Path, PathBuf},
};

use clap::{Args, Subcommand};
use indicatif::ProgressBar;

use crate::error::{Error, Result};
use wakeling_core::files::{self, write_atomic_with};
use wakeling_data::dataset::{
    Example, Format, Item,
    fetch::{Checksum, Fetch},
    inspect::{Inspection, Lists},
    nothing_usable, stream,
};

/// Number of clips that are inspected at once.
const BATCH: usize = 256;
/// Maximum number of lines about unusable clips on the terminal.
const LINES_SHOWN: usize = 20;

/// Fetch or inspect a dataset
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  wakeling corpus fetch https://www.openslr.org/resources/12/dev-clean.tar.gz --out corpora
  wakeling corpus inspect corpora/dev-clean --out inspection/")]
pub struct DatasetArgs {
    #[command(subcommand)]
    command: DatasetCommand,
}

#[derive(Debug, Subcommand)]
enum DatasetCommand {
    Inspect(InspectArgs),
    Fetch(FetchArgs),
}

/// Count hours, speakers, languages, labels, bandwidth, broken files and duplicates
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  wakeling corpus inspect LibriSpeech/dev-clean
  wakeling corpus inspect train.jsonl s3://bucket/shards/ --out inspection/

Every clip is decoded. With --out, clips.tsv has a line for each, and skipped.tsv
one for each file, line or clip that is broken, unusable, silent or a duplicate,
with the reason.")]
struct InspectArgs {
    /// Manifests, folders, shards or addresses
    #[arg(required = true)]
    paths: Vec<PathBuf>,
    /// Layout of the dataset, if it cannot be detected
    #[arg(long, value_parser = crate::commands::choice::choice::<Format>())]
    format: Option<Format>,
    /// Folder for the full lists
    #[arg(long)]
    out: Option<PathBuf>,
}

/// Fetch an archive (.tar, .tar.gz, .zip), verify its checksum and unpack it
#[derive(Debug, Args)]
#[command(after_help = "Example:
  wakeling corpus fetch https://www.openslr.org/resources/12/dev-clean.tar.gz --out corpora

Prints the folder of the dataset. An interrupted fetch continues when the same command is
given again. docs/guide/datasets.md lists datasets.")]
struct FetchArgs {
    /// Address (http, https or s3), or a local archive
    from: PathBuf,
    /// Folder in which the dataset's folder is created
    #[arg(long, default_value = ".")]
    out: PathBuf,
    /// Expected SHA-256 of the archive
    #[arg(long, conflicts_with = "md5")]
    sha256: Option<String>,
    /// Expected MD5 of the archive
    #[arg(long)]
    md5: Option<String>,
    /// Keep the archive after unpacking
    #[arg(long)]
    keep: bool,
}

/// Runs the command.
pub fn run(args: DatasetArgs) -> Result<()> {
    match args.command {
        DatasetCommand::Inspect(args) => inspect(&args),
        DatasetCommand::Fetch(args) => fetch(args),
    }
}

fn fetch(args: FetchArgs) -> Result<()> {
    let checksum = args.sha256.map(Checksum::Sha256).or(args.md5.map(Checksum::Md5));
    if checksum.is_none() {
        log::info!("no checksum given: the download is not verified");
    }
    let fetch = Fetch { from: args.from, folder: args.out, checksum, keep: args.keep };
    let (folder, unpacked) = fetch.run()?;
    match unpacked {
        Some(unpacked) => {
            unpacked.skipped.iter().for_each(|skipped| log::info!("skipped: {skipped}"));
            let gigabytes = unpacked.bytes as f64 / 1e9;
            log::info!("{} files, {gigabytes:.2} GB", unpacked.files);
        }
        None => log::info!("it is there already"),
    }
    print(&format!("{}\n", folder.display()))
}

fn inspect(args: &InspectArgs) -> Result<()> {
    let inspection = match &args.out {
        None => {
            let mut shown = FirstLines(0);
            look(args, &mut Lists { clips: &mut io::sink(), skipped: &mut shown })?
        }
        Some(folder) => {
            let _claim = files::claim(folder)?;
            look_and_write(args, folder)?
        }
    };
    print(&inspection.table())
}

/// Inspects the clips and writes both lists. Either both files are written or none.
fn look_and_write(args: &InspectArgs, folder: &Path) -> Result<Inspection> {
    let mut result = None;
    let mut failure = None;
    let stop = || io::Error::other("stopped");
    let skipped_path = folder.join("skipped.tsv");
    let written = write_atomic_with(folder.join("clips.tsv"), |clips| {
        let inner = write_atomic_with(&skipped_path, |skipped| {
            match look(args, &mut Lists { clips, skipped }) {
                Ok(inspection) => result = Some(inspection),
                Err(error) => failure = Some(error),
            }
            if failure.is_some() { Err(stop()) } else { Ok(()) }
        });
        inner.map_err(|error| {
            failure.get_or_insert(error.into());
            stop()
        })
    });
    match (failure, written, result) {
        (Some(error), _, _) => Err(error),
        (None, Err(error), _) => Err(error.into()),
        (None, Ok(()), result) => Ok(result.unwrap_or_default()),
    }
}

fn look(args: &InspectArgs, lists: &mut Lists<'_>) -> Result<Inspection> {
    let unwritten = |e| wakeling_data::Error::io("lists of the inspection", "write")(e);
    lists.begin().map_err(unwritten)?;
    let mut inspection = Inspection::default();
    let bar = ProgressBar::new_spinner();
    for path in &args.paths {
        let mut batch: Vec<Example> = Vec::with_capacity(BATCH);
        let (clips, unusable) = (inspection.clips(), inspection.unusable());
        let mut first = None;
        stream(path, args.format, &mut |item| {
            match item {
                Item::Clip(example) => batch.push(example),
                Item::Skipped(skipped) => {
                    inspection.skip(&skipped, lists).map_err(unwritten)?;
                    first.get_or_insert(skipped);
                }
            }
            if batch.len() == BATCH {
                inspection.add(&batch, lists).map_err(unwritten)?;
                batch.clear();
                bar.set_message(format!("{} clips", inspection.clips()));
                bar.tick();
            }
            Ok(())
        })?;
        inspection.add(&batch, lists).map_err(unwritten)?;
        if (clips, unusable) == (inspection.clips(), inspection.unusable()) {
            return Err(nothing_usable(path, 0, first.as_ref()).into());
        }
    }
    bar.finish_and_clear();
    Ok(inspection)
}

/// Shows the first lines on stderr, then a line on how to see the others.
struct FirstLines(usize);

impl Write for FirstLines {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        for byte in bytes {
            if self.0 <= LINES_SHOWN {
                io::stderr().write_all(&[*byte])?;
            }
            if *byte == b'\n' {
                self.0 += 1;
                if self.0 == LINES_SHOWN + 1 {
                    log::info!("... and more: give --out FOLDER for the full list");
                }
            }
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Prints a result. A closed standard output is no error.
fn print(text: &str) -> Result<()> {
    let mut out = BufWriter::new(io::stdout().lock());
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(e) if e.kind() != io::ErrorKind::BrokenPipe => Err(Error::io("stdout", "write")(e)),
        _ => Ok(()),
    }
}
