//! `wakeling images finetune`: trains and tests a model from few images, on a pretrained network.

use std::path::PathBuf;

use clap::Args;
use serde_json::json;

use super::{Channels, write};
use wakeling_core::{Result, files};
use wakeling_vision::{
    compare::Trainable,
    dataset::ImageSet,
    file::ImageNetwork,
    training::{Settings, train},
};

/// Number of images of the rarest class below which only the head is trained.
const FEW_IMAGES: usize = 10;

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
    let pretrained = wakeling_vision::shipped::pretrained_images(&args.pretrained)?;
    let channels = args.channels.map_or(pretrained.info.network.channels, Channels::count);
    // Rejects colours if the pretrained network has none, before any image is read.
    let shape = pretrained
        .transferred(pretrained.info.labelling, &pretrained.info.labels, channels, args.seed)?
        .info
        .network
        .shape();
    let images = ImageSet::open(&args.train, args.split.as_deref(), shape)?;
    let labels: Vec<&str> = images.labels.iter().map(String::as_str).collect();
    let held_out = match &args.dev {
        Some(path) => Some(
            ImageSet::open(path, args.dev_split.as_deref(), shape)?.in_order_of(&labels, path)?,
        ),
        None => None,
    };
    let trainable = args.trainable.unwrap_or_else(|| decide(&images));
    let mut network =
        pretrained.transferred(images.labelling, &images.labels, channels, args.seed)?;
    if trainable == Trainable::Scratch {
        let config = network.info.network.clone();
        network = ImageNetwork::fresh(config, images.labelling, &images.labels, args.seed)?;
        network.info.licence = "unstated".into();
    }
    let _claim = files::claim(&args.out)?;
    let rate = args.rate.unwrap_or(trainable.rate());
    let mut settings = Settings::new(args.steps, rate, args.workers, args.seed);
    settings.first_trained = trainable.first_trained(&network.info.network);
    let start = if trainable == Trainable::Scratch {
        "random weights"
    } else {
        pretrained.info.name.as_str()
    };
    network.info.name = wakeling_data::text::file_name(&args.name);
    network.info.provenance = format!(
        "{} pictures of {} labels, {} updates from {start} ({})",
        images.all.len(),
        images.labels.len(),
        args.steps,
        pretrained.info.provenance
    );
    let network = train(network, &images, held_out.as_ref(), &settings)?;
    let record = json!({
        "train": args.train, "split": args.split, "dev": args.dev, "dev_split": args.dev_split,
        "name": args.name, "base": args.pretrained, "way": format!("{trainable:?}").to_lowercase(),
        "settings": settings.record(), "version": env!("CARGO_PKG_VERSION"),
    });
    write(&network, &args.out, &record, held_out.as_ref())
}

/// Selects the layers to train by the number of images, and logs the choice.
pub fn decide(images: &ImageSet) -> Trainable {
    let rarest = images.rarest();
    if rarest < FEW_IMAGES {
        log::info!(
            "training the head alone: the rarest label has {rarest} images; below {FEW_IMAGES} more layers would overfit"
        );
        Trainable::Head
    } else {
        log::info!("training all layers: the rarest label has {rarest} images");
        Trainable::All
    }
}
