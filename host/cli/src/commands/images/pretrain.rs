//! `wakeling images pretrain`: trains a network on many images.

use std::path::PathBuf;

use clap::Args;
use serde_json::json;

use super::{Channels, save};
use crate::error::Result;
use wakeling_core::files;
use wakeling_vision::{
    augment::Augment,
    dataset::ImageSet,
    network::{NetworkConfig, SIDES, Tier},
    pretrain::{Pretraining, settings},
    strategy::SCRATCH_RATE,
};

/// Pretrain a network on many images of one task
#[derive(Debug, Args)]
#[command(after_help = "Example:
  wakeling images pretrain --train photos/train --dev photos/dev --name photos --out runs/photos

An interrupted run continues when the same command is given again.")]
pub struct PretrainArgs {
    /// Training data: a folder of class folders, or a table of labels
    #[arg(long, value_name = "PATH")]
    train: PathBuf,
    /// Held-out images for measuring
    #[arg(long, value_name = "PATH")]
    dev: Option<PathBuf>,
    /// Rows of a table to train on, by its column `split`
    #[arg(long, value_name = "NAME")]
    split: Option<String>,
    /// Rows of the held-out table
    #[arg(long, value_name = "NAME", requires = "dev")]
    dev_split: Option<String>,
    /// Folder for the network, the model, the checkpoint and the log
    #[arg(long)]
    out: PathBuf,
    /// Name of the network
    #[arg(long, default_value = "base")]
    name: String,
    /// Size of the network
    #[arg(long, value_parser = crate::commands::choice::choice::<Tier>(), ignore_case = true, default_value = "m")]
    tier: Tier,
    /// Rows and columns of the network's input images
    #[arg(long, default_value_t = 32, value_parser = crate::commands::number::within(SIDES))]
    side: usize,
    /// Gray or colours
    #[arg(long, value_enum, default_value = "rgb")]
    channels: Channels,
    /// Training steps
    #[arg(long, default_value_t = 4_000, value_parser = crate::commands::number::steps())]
    steps: usize,
    /// Images in each half of a training step
    #[arg(long, default_value_t = 32, value_parser = crate::commands::number::within(1..=65_536_usize))]
    batch: usize,
    /// Worker threads, of which training uses up to two; the result does not depend on it
    #[arg(long, default_value_t = wakeling_train::default_workers(), value_parser = crate::commands::number::workers())]
    workers: usize,
    /// Peak learning rate
    #[arg(long, default_value_t = SCRATCH_RATE,
        value_parser = crate::commands::number::within(crate::commands::number::LEARNING_RATES))]
    rate: f64,
    /// Leave out augmentation of the images
    #[arg(long)]
    no_augmentation: bool,
    /// Seed of all random choices
    #[arg(long, default_value_t = 1, value_parser = crate::commands::number::seed())]
    seed: u64,
    /// Licence of the images, for the model's card
    #[arg(long, default_value = "unstated")]
    licence: String,
}

/// Runs the command.
pub fn run(args: PretrainArgs) -> Result<()> {
    let config = NetworkConfig::new(args.tier.width(), args.side, args.channels.count());
    let images =
        ImageSet::open_for_pretraining(&args.train, args.split.as_deref(), config.shape())?;
    let open = |path: &PathBuf| images.open_like(path, args.dev_split.as_deref());
    let held_out = args.dev.as_ref().map(open).transpose()?;
    let mut pretraining = Pretraining::new(config, images);
    pretraining.held_out = held_out;
    pretraining.name = args.name.clone();
    pretraining.licence = args.licence;
    pretraining.settings = settings(args.steps, args.rate, args.workers, args.seed);
    pretraining.settings.batch = args.batch;
    pretraining.settings.run.folder = Some(args.out.clone());
    if args.no_augmentation {
        pretraining.settings.augment = Augment::NONE;
    }
    let _claim = files::claim(&args.out)?;
    let record = json!({
        "train": args.train, "split": args.split, "dev": args.dev, "dev_split": args.dev_split,
        "name": args.name, "tier": args.tier, "side": args.side,
    });
    save(&pretraining.run()?, &args.out, record)
}
