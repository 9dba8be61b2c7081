//! `wakeling images`: networks over images, with the same steps as for audio.

pub mod advise;
pub mod compare;
pub mod evaluate;
pub mod finetune;
pub mod pretrain;
pub mod simulate;

use std::path::Path;

use clap::{Args, Subcommand};
use wakeling_shared::model::ImageModel;

use wakeling_core::{Error, Result, console, files};
use wakeling_vision::{
    dataset::ImageSet,
    evaluate::table,
    file::ImageNetwork,
    metrics::measure,
    quantize,
    simulate::{load, logits},
    training,
};

/// Image networks: pretrain on objects, then fine-tune on few images of something else
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  wakeling images finetune --train xrays/train --out runs/xray
  wakeling images evaluate --model runs/xray/model.wkl --test xrays/test

Images are PNG, JPEG or BMP: in a folder for each class, or named in a table labels.csv
whose first column is the file and whose others are labels with 1, 0 or ? (docs/guide/images.md).")]
pub struct ImagesArgs {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Pretrain(pretrain::PretrainArgs),
    Finetune(finetune::FinetuneArgs),
    Evaluate(evaluate::EvaluateArgs),
    Simulate(simulate::SimulateArgs),
    Compare(compare::CompareArgs),
    Advise(advise::AdviseArgs),
}

/// Runs the command.
pub fn run(args: ImagesArgs) -> Result<()> {
    match args.command {
        Command::Pretrain(args) => pretrain::run(args),
        Command::Finetune(args) => finetune::run(args),
        Command::Evaluate(args) => evaluate::run(args),
        Command::Simulate(args) => simulate::run(args),
        Command::Compare(args) => compare::run(args),
        Command::Advise(args) => advise::run(args),
    }
}

/// Colour channels of images.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Channels {
    /// One channel.
    Gray,
    /// Three channels.
    Rgb,
}

impl Channels {
    /// Returns the number of channels.
    fn count(self) -> usize {
        match self {
            Self::Gray => 1,
            Self::Rgb => 3,
        }
    }
}

/// Writes `NAME.safetensors` and `model.wkl`. Logs the costs of the model, and its metrics on
/// held-out images.
fn write(
    network: &ImageNetwork,
    folder: &Path,
    settings: &serde_json::Value,
    held_out: Option<&ImageSet>,
) -> Result<()> {
    std::fs::create_dir_all(folder).map_err(Error::io(folder, "create"))?;
    let bytes = quantize::encode(network)?;
    let name = &network.info.name;
    network.save(&folder.join(format!("{name}.safetensors")))?;
    files::write_atomic(folder.join("settings.json"), format!("{settings:#}\n").as_bytes())?;
    let path = folder.join("model.wkl");
    files::write_atomic(&path, &bytes)?;
    let model = load(&path, &bytes)?;
    log::info!("{}", costs(&model, bytes.len()));
    if let Some(held_out) = held_out {
        let float = training::logits(&network.info.network, &network.params, held_out)?;
        for (title, logits) in [("float", float), ("int8", logits(&model, held_out)?)] {
            console::raw(&table(title, &measure(held_out, &logits), held_out.labelling));
        }
    }
    println!("{}", path.display());
    Ok(())
}

/// Formats the costs of the model on a device.
fn costs(model: &ImageModel<'_>, bytes: usize) -> String {
    let shape = model.shape;
    format!(
        "{} × {} × {}: {:.2} M multiply-accumulates an image, {bytes} bytes of model, {} bytes of memory (arena)",
        shape.height,
        shape.width,
        shape.channels,
        model.macs() as f64 / 1e6,
        model.arena_bytes()
    )
}
