//! `wakeling studio`: records, trains, shows the report and tests a model, in the browser.

use std::{
    io::Write,
    path::PathBuf,
    process::{Command, Stdio},
};

use clap::Args;

use super::number;
use crate::error::{self, Result};
use wakeling_studio::{Memory, Places, Studio};
use wakeling_train::finetune::Settings;

/// Record, train and try a wake word in the browser
#[derive(Debug, Args)]
#[command(after_help = "Example:
  wakeling studio

It prints an address for a browser on this computer. Other computers cannot open it, and no data
leaves the computer. Recordings and models are in the same folders as those of `record` and
`finetune`. A training that was cut off goes on where it was. For an hour after it ended, the same
command uses the same address again, so that a page that is still open goes on.")]
pub struct StudioArgs {
    /// Port on 127.0.0.1 [default: that of the last hour, or a free one]
    #[arg(long, default_value_t = 0, hide_default_value = true,
        value_parser = number::within(0..=u16::MAX))]
    port: u16,
    /// Parent of the folders of recordings
    #[arg(long, value_name = "DIR", default_value = "recordings")]
    recordings: PathBuf,
    /// Parent of the folders of models
    #[arg(long, value_name = "DIR", default_value = "runs")]
    runs: PathBuf,
    /// Training steps of the head, as for `finetune`
    #[arg(long, value_parser = number::steps())]
    steps: Option<usize>,
    /// Open the address in the default browser
    #[arg(long)]
    open: bool,
}

/// Runs the command until the process is ended.
///
/// # Errors
/// Errors of opening or serving the port.
pub fn run(args: StudioArgs) -> Result<()> {
    let mut settings = Settings::default();
    settings.train.steps = args.steps.unwrap_or(settings.train.steps);
    let places = Places { recordings: args.recordings, runs: args.runs, settings };
    let memory = Memory::of(&places);
    let mut studio = Studio::open_again(args.port, places, error::explain_on_page, &memory)?;
    println!("{}", studio.url());
    // If standard output is closed, the address is not needed.
    let _ = std::io::stdout().flush();
    log::info!("open the address above in a browser; Ctrl-C ends the studio");
    if args.open {
        browse(&studio.url());
    }
    Ok(studio.serve()?)
}

/// Opens the default browser. A failure is ignored, since the address was printed.
fn browse(url: &str) {
    let program = if cfg!(target_os = "macos") {
        "open"
    } else if cfg!(windows) {
        "explorer"
    } else {
        "xdg-open"
    };
    let mut command = Command::new(program);
    let command = command.arg(url).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    if command.spawn().is_err() {
        log::info!("no browser could be opened");
    }
}
