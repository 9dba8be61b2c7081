//! `wakeling doctor`: reports what is missing on this machine, each with a remedy.

use std::io::{self, IsTerminal};

use clap::Args;

use super::record::MicrophoneArgs;
use crate::doctor::{Status, examine};
use crate::error::{Error, Result};

/// Check this machine, with a remedy for all that is missing
#[derive(Debug, Args)]
#[command(after_help = "Example:
  wakeling doctor

  ok   works
  --   is missing and optional
  !!   is there and does not work as it should
  BAD  is missing and needed

The exit code is 4 if something is BAD, 0 otherwise: recordings can come from elsewhere, so a microphone
is optional.")]
pub struct DoctorArgs {
    #[command(flatten)]
    microphone: MicrophoneArgs,
}

/// Runs the command.
///
/// # Errors
/// [`Error::device`] if a required part is missing or does not work.
pub fn run(args: DoctorArgs) -> Result<()> {
    let report = examine(&args.microphone.wanted());
    print!("{}", report.layout(width()));
    match report.count(Status::Bad) {
        0 => Ok(()),
        _ => Err(Error::device(
            "this machine",
            "something that is needed is missing",
            "see the lines marked BAD",
        )),
    }
}

/// Returns the width for line breaks. Output to a file or a pipe is not broken.
fn width() -> usize {
    const WIDEST: u16 = 120;
    if !io::stdout().is_terminal() {
        return usize::MAX;
    }
    crossterm::terminal::size().map_or(80, |(columns, _)| columns.clamp(40, WIDEST).into())
}
