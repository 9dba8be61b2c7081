//! `wakeling images`: networks over images, with the same steps as for audio.

pub mod advise;
pub mod compare;
pub mod evaluate;
pub mod finetune;
pub mod pretrain;
pub mod simulate;

use std::path::Path;

use clap::{Args, Subcommand};

use crate::error::Result;
use wakeling_core::{console, progress::NoProgress};
use wakeling_shared::model::Shape;
use wakeling_vision::{
    file::ImageNetwork, shipped::pretrained_images, trained_model::TrainedModel,
};

/// Classify images: pretrain, fine-tune on few images, measure
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

/// Loads a pretrained network, by the name of a shipped one or a path. Returns it with the shape of
/// the images to fine-tune it on.
fn pretrained_for(name: &str, channels: Option<Channels>) -> Result<(ImageNetwork, Shape)> {
    let pretrained = pretrained_images(name)?;
    let shape = pretrained.shape_with(channels.map(Channels::count))?;
    Ok((pretrained, shape))
}

/// Writes a model into a folder, or a network that has none. Prints its metrics on held-out images
/// on stderr, and its path.
fn save(model: &TrainedModel, folder: &Path, record: serde_json::Value) -> Result<()> {
    let path = model.save(folder, record, &NoProgress)?;
    if let Some(evaluation) = &model.evaluation {
        console::raw(&evaluation.to_string());
    }
    println!("{}", path.display());
    Ok(())
}
