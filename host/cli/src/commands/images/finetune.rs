//! `wakeling images finetune`: trains and tests a model from few images, on a pretrained network.

use std::path::PathBuf;

use clap::Args;
use serde_json::json;

use super::{Channels, pretrained_for, save};
use crate::error::Result;
use wakeling_core::{files, progress::Bars};
use wakeling_vision::{Recipe, dataset::ImageSet, finetune::Settings, strategy::Trainable};

/// Fine-tune a pretrained network on few images
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  wakeling images finetune --train xrays/train --out runs/xray
  wakeling images finetune --train road/labels.csv --split train --name road --out runs/road

The folder then holds NAME.safetensors (float weights), model.wkl (the model for the device) and
settings.json. Try it:
  wakeling images simulate FILE --model runs/xray/model.wkl")]
pub struct FinetuneArgs {
    /// Training data: a folder of class folders, or a table of labels with 1, 0 and ?
    #[arg(long, value_name = "PATH")]
    train: PathBuf,
    /// Rows of a table to train on, by its column `split`
    #[arg(long, value_name = "NAME")]
    split: Option<String>,
    /// Held-out images, to measure the model: float and int8
    #[arg(long, value_name = "PATH")]
    dev: Option<PathBuf>,
    /// Rows of the held-out table
    #[arg(long, value_name = "NAME", requires = "dev")]
    dev_split: Option<String>,
    /// Folder for the results
    #[arg(long)]
    out: PathBuf,
    /// Name of the network
    #[arg(long, default_value = "image")]
    name: String,
    /// Pretrained network: the name of a shipped one, or a path
    #[arg(long = "base", value_name = "BASE", default_value = wakeling_vision::shipped::DEFAULT_PRETRAINED_IMAGES)]
    pretrained: String,
    /// Layers to train; without it, a choice by the number of images
    #[arg(long = "way", value_parser = crate::commands::choice::choice::<Trainable>(), value_name = "WHAT")]
    trainable: Option<Trainable>,
    /// Gray or colours; without it, as the pretrained network
    #[arg(long, value_enum)]
    channels: Option<Channels>,
    /// Training steps
    #[arg(long, default_value_t = 300, value_parser = crate::commands::number::steps())]
    steps: usize,
    /// Worker threads, of which training uses up to two; the result does not depend on it
    #[arg(long, default_value_t = wakeling_train::default_workers(), value_parser = crate::commands::number::workers())]
    workers: usize,
    /// Peak learning rate; without it, a default for the trained layers
    #[arg(long, value_parser = crate::commands::number::within(crate::commands::number::LEARNING_RATES))]
    rate: Option<f64>,
    /// Seed of all random choices
    #[arg(long, default_value_t = 1, value_parser = crate::commands::number::seed())]
    seed: u64,
}

/// Runs the command.
pub fn run(args: FinetuneArgs) -> Result<()> {
    // Rejects colours if the pretrained network has none, before any image is read.
    let (pretrained, shape) = pretrained_for(&args.pretrained, args.channels)?;
    let images = ImageSet::open(&args.train, args.split.as_deref(), shape)?;
    let open = |path: &PathBuf| images.open_like(path, args.dev_split.as_deref());
    let held_out = args.dev.as_ref().map(open).transpose()?;
    let mut recipe = Recipe::new(pretrained, images)?;
    recipe.held_out = held_out;
    recipe.train = args.trainable;
    recipe.name = args.name.clone();
    let FinetuneArgs { steps, rate, workers, seed, .. } = args;
    recipe.settings = Settings { steps, rate, workers, seed, ..Settings::default() };
    let _claim = files::claim(&args.out)?;
    let record = json!({
        "train": args.train, "split": args.split, "dev": args.dev, "dev_split": args.dev_split,
        "name": args.name, "base": args.pretrained,
    });
    save(&recipe.run(&Bars::default())?, &args.out, record)
}
