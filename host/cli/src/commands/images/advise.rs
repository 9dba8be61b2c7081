//! `wakeling images advise`: estimates whether a pretrained image network helps a task.

use std::path::PathBuf;

use clap::Args;

use super::{Channels, pretrained_for};
use crate::commands::number;
use crate::error::Result;
use wakeling_vision::{advise::Advice, dataset::ImageSet, strategy::Trainable};

/// Check whether images suit the pretrained network, and what to train
#[derive(Debug, Args)]
#[command(after_help = "Example:
  wakeling images advise --train xrays/train --channels gray

Nothing is trained. Each image is embedded by the pretrained network, and classified by the
nearest class mean of all other images. The same is done with an untrained network. If the
pretrained network does better, its features carry over. `wakeling images compare` measures
the result of training.")]
pub struct AdviseArgs {
    /// Training data: a folder of class folders, or a table of labels with 1, 0 and ?
    #[arg(long, value_name = "PATH")]
    train: PathBuf,
    /// Rows of a table to use, by its column `split`
    #[arg(long, value_name = "NAME")]
    split: Option<String>,
    /// Pretrained network: the name of a shipped one, or a path
    #[arg(long = "base", value_name = "BASE", default_value = wakeling_vision::shipped::DEFAULT_PRETRAINED_IMAGES)]
    pretrained: String,
    /// Gray or colours; without it, as the pretrained network
    #[arg(long, value_enum)]
    channels: Option<Channels>,
    /// Seed of the untrained network
    #[arg(long, default_value_t = 1, value_parser = number::seed())]
    seed: u64,
}

/// Runs the command.
pub fn run(args: AdviseArgs) -> Result<()> {
    let (pretrained, shape) = pretrained_for(&args.pretrained, args.channels)?;
    let images = ImageSet::open(&args.train, args.split.as_deref(), shape)?;
    let advice = Advice::of(&pretrained, &images, args.seed)?;
    println!(
        "{}: {} images of {} labels, {} of the rarest",
        args.train.display(),
        advice.images,
        images.labels.len(),
        images.rarest()
    );
    println!("  pretrained network {}: {}", pretrained.info.name, pretrained.info.provenance);
    println!(
        "  {} right without training: {:.0} % with the pretrained network, {:.0} % with an untrained one, {:.0} % by guessing{}",
        if advice.carries() { "+" } else { "!" },
        100.0 * advice.by_pretrained,
        100.0 * advice.by_random,
        100.0 * advice.by_guess,
        if advice.carries() { "" } else { ": its features may not carry over" },
    );
    let (trainable, reason) = Trainable::decide(images.rarest());
    log::info!("{reason}");
    let trainable = match trainable {
        Trainable::Head => "the head alone (--way head): too few images to train more",
        Trainable::Last => "the head and the last blocks (--way last)",
        Trainable::All => "all layers, from the pretrained weights (--way all)",
        Trainable::Scratch => "from scratch (--way scratch)",
    };
    println!(
        "  → train {trainable}; `wakeling images compare` measures all strategies on these images"
    );
    Ok(())
}
