//! `wakeling images compare`: measures the benefit of transfer and of joint training.

use std::path::PathBuf;

use clap::Args;

use super::{Channels, pretrained_for};
use crate::commands::number;
use crate::error::{Error, Result};
use wakeling_core::{files, progress::Bars};
use wakeling_shared::model::Shape;
use wakeling_vision::{
    Labelling,
    compare::{Repeats, csv, table, tasks, trainables},
    dataset::ImageSet,
    network::SIDES,
    strategy::Trainable,
};

/// Compare training strategies: from scratch or pretrained, jointly or one network per label
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  wakeling images compare --train xrays/train --test xrays/test --images 100 --seeds 5
  wakeling images compare --train road/ --split train --test road/ --test-split test \\
    --tasks --width 0.25 0.5 1 --hide 0.5 --side 64

Each run has its own seed, which samples images (or hidden labels), weights and augmentation.
Every result is that of the int8 model on the test images, as mean and 95 % interval over the
runs.")]
pub struct CompareArgs {
    /// Images to sample from: a folder of class folders, or a table of labels
    #[arg(long, value_name = "PATH")]
    train: PathBuf,
    /// Rows of its table
    #[arg(long, value_name = "NAME")]
    split: Option<String>,
    /// Images to test on
    #[arg(long, value_name = "PATH")]
    test: PathBuf,
    /// Rows of its table
    #[arg(long, value_name = "NAME")]
    test_split: Option<String>,
    /// Numbers of training images, one or several; without it, all
    #[arg(long = "images", alias = "pictures", value_name = "COUNT", num_args = 1.., value_parser = number::within(1..=100_000_000_usize))]
    images: Vec<usize>,
    /// Training strategies
    #[arg(long = "ways", value_name = "WAYS", value_parser = crate::commands::choice::choice::<Trainable>(), num_args = 1.., default_values = ["scratch", "head", "last", "all"])]
    trainables: Vec<Trainable>,
    /// Pretrained network of all strategies except scratch: a name or a path
    #[arg(long = "base", value_name = "BASE", default_value = wakeling_vision::shipped::DEFAULT_PRETRAINED_IMAGES)]
    pretrained: String,
    /// Compare one network for all labels with one per label, from scratch, instead of strategies
    #[arg(long, conflicts_with_all = ["images", "trainables", "pretrained"])]
    tasks: bool,
    /// Widths of the networks, as multiples of tier M
    #[arg(long, num_args = 1.., requires = "tasks", default_values_t = [0.25, 0.5, 1.0],
        value_parser = number::within(0.1..=8.0))]
    width: Vec<f64>,
    /// Share of the labels that is hidden in training
    #[arg(long, requires = "tasks", default_value_t = 0.0,
        value_parser = number::within(0.0..=0.99))]
    hide: f64,
    /// Rows and columns of the images
    #[arg(long, requires = "tasks", default_value_t = 64, value_parser = number::within(SIDES))]
    side: usize,
    /// Gray or colours; without it, as the pretrained network, or colours
    #[arg(long, value_enum)]
    channels: Option<Channels>,
    /// Number of runs of each
    #[arg(long, default_value_t = 5, value_parser = number::within(1..=10_000_usize))]
    seeds: usize,
    /// Seed of the first run
    #[arg(long, default_value_t = 1, value_parser = number::seed())]
    seed: u64,
    /// Training steps of each run
    #[arg(long, default_value_t = 300, value_parser = number::steps())]
    steps: usize,
    /// Worker threads, of which training uses up to two; the result does not depend on it
    #[arg(long, default_value_t = wakeling_train::default_workers(), value_parser = number::workers())]
    workers: usize,
    /// Write every run to this file, as CSV
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
}

/// Runs the command.
pub fn run(args: CompareArgs) -> Result<()> {
    let repeats = Repeats {
        count: args.seeds,
        first_seed: args.seed,
        steps: args.steps,
        workers: args.workers,
    };
    let bars = Bars::default();
    let cells = if args.tasks {
        let channels = args.channels.unwrap_or(Channels::Rgb).count() as u16;
        let side = args.side as u16;
        let [train, test] = args.open(Shape { height: side, width: side, channels })?;
        if train.labelling != Labelling::Several {
            let problem = "a class excludes the others, so there is one task only";
            return Err(Error::input(&args.train, problem, "give a table of labels"));
        }
        tasks([&train, &test], &args.width, args.hide, &repeats, &bars)?
    } else {
        let (pretrained, shape) = pretrained_for(&args.pretrained, args.channels)?;
        let [train, test] = args.open(shape)?;
        let all = [train.all.len()];
        let counts = if args.images.is_empty() { &all[..] } else { &args.images };
        trainables(&pretrained, [&train, &test], counts, &args.trainables, &repeats, &bars)?
    };
    if let Some(path) = &args.out {
        files::write_atomic(path, csv(&cells).as_bytes())?;
    }
    print!("{}", table(&cells));
    Ok(())
}

impl CompareArgs {
    fn open(&self, shape: Shape) -> Result<[ImageSet; 2]> {
        let train = ImageSet::open(&self.train, self.split.as_deref(), shape)?;
        let test = train.open_like(&self.test, self.test_split.as_deref())?;
        Ok([train, test])
    }
}
