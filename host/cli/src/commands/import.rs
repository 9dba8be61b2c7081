//! `wakeling import`: converts a model of another system.

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use wakeling_interop::microwakeword::import::{Imported, Runtime};

use super::shell_word;
use crate::error::Result;

/// Convert a microWakeWord model to a model for every board here
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  wakeling import alexa.tflite --out alexa.wkl
  wakeling import model.tflite --manifest alexa.json --out alexa.wkl
  wakeling simulate kitchen.wav --model alexa.wkl")]
pub struct ImportArgs {
    /// Streaming TensorFlow Lite model
    model: PathBuf,
    /// Manifest of the model; by default the file beside it that ends in .json
    #[arg(long)]
    manifest: Option<PathBuf>,
    /// Runtime whose rule decides about a detection
    #[arg(long, value_enum, default_value = "esphome")]
    rule: Rule,
    /// Model file to write
    #[arg(long)]
    out: PathBuf,
}

/// Rule that decides about a detection.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum Rule {
    /// ESPHome
    Esphome,
    /// The Python package pymicro-wakeword
    Python,
}

/// Runs the command.
pub fn run(args: ImportArgs) -> Result<()> {
    let runtime = match args.rule {
        Rule::Esphome => Runtime::Esphome,
        Rule::Python => Runtime::Python,
    };
    let imported = Imported::open(&args.model, args.manifest.as_deref(), runtime)?;
    imported.write(&args.out)?;
    let micro = &imported.settings.micro;
    let (cutoff, window) = (micro.probability_cutoff, micro.sliding_window_size);
    let word = &imported.settings.wake_word;
    match &imported.manifest {
        Some(manifest) => {
            log::info!("{}: {word:?}, cutoff {cutoff} over {window} steps", manifest.display())
        }
        None => log::info!(
            "no manifest beside {}; assuming {word:?}, cutoff {cutoff} over {window} steps",
            args.model.display()
        ),
    }
    log::info!(
        "{}: {} layers, {} multiply-accumulates a step of {} ms, {} bytes of flash, {} of memory",
        args.out.display(),
        imported.layers,
        imported.macs,
        imported.step_ms,
        imported.bytes().len(),
        imported.arena
    );
    log::info!("next: wakeling simulate FILE --model {}", shell_word(&args.out));
    println!("{}", args.out.display());
    Ok(())
}
