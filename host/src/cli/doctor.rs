//! `wakeling doctor`: what is missing on this machine, and the remedy for each.

use clap::Args;

use super::record::MicrophoneArgs;
use crate::{
    Error, Result,
    doctor::{Status, examine},
};

/// Check this machine: base, microphone, permissions, compiler, emulator, probe, text-to-speech
#[derive(Debug, Args)]
#[command(after_help = "Example:
  wakeling doctor

ok works; -- is missing and only some need it; BAD is missing and everybody needs it. The exit code
is 0 if nothing is BAD, 4 otherwise.")]
pub struct DoctorArgs {
    #[command(flatten)]
    microphone: MicrophoneArgs,
}

/// Runs the command.
///
/// # Errors
/// [`Error::Device`] if something that everybody needs is missing.
pub fn run(args: DoctorArgs) -> Result<()> {
    let checks = examine(&args.microphone.wanted());
    for check in &checks {
        println!("{check}");
    }
    match checks.iter().filter(|c| c.status == Status::Bad).count() {
        0 => Ok(()),
        bad => Err(Error::device(
            "this machine",
            format!("{bad} of {} checks are bad", checks.len()),
            "see the lines marked BAD",
        )),
    }
}
