//! `wakeling images simulate`: shows the device's output for images.

use std::path::PathBuf;

use clap::Args;

use crate::error::Result;
use wakeling_device::{emulator::Machine, model_file};
use wakeling_vision::{
    pixels,
    simulate::{emulated_lines, line, load, ranked},
};

/// Show the device's output for images
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  wakeling images simulate xray.png --model runs/xray/model.wkl
  wakeling images simulate xray.png --model runs/xray/model.wkl --emulator

An image is stretched to the model's size first. --lines prints the device's output, byte for
byte: one logit per label, in 1/256.")]
pub struct SimulateArgs {
    /// Image files
    #[arg(value_name = "FILE", required = true)]
    files: Vec<PathBuf>,
    /// The model file
    #[arg(short, long, value_name = "FILE")]
    model: PathBuf,
    /// Print the device's own lines
    #[arg(long)]
    lines: bool,
    /// Run the firmware in QEMU, and print its lines and their cost
    #[arg(long)]
    emulator: bool,
}

/// Runs the command.
pub fn run(args: SimulateArgs) -> Result<()> {
    let bytes = model_file::read(&args.model)?;
    let model = load(&args.model, &bytes)?;
    for file in &args.files {
        let pixels = pixels::read(file, model.shape)?;
        if args.emulator {
            print!("{}", emulated_lines(Machine::CORTEX_M4, &bytes, &pixels)?);
        } else if args.lines {
            println!("{}", line(&model, &pixels)?);
        } else {
            println!("{}", file.display());
            for (logit, label) in ranked(&model, &pixels)? {
                println!("  {logit:>8.3}  {label}");
            }
        }
    }
    Ok(())
}
