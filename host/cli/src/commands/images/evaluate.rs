//! `wakeling images evaluate`: measures accuracy, areas and precisions of a model, on images.

use std::path::PathBuf;

use clap::Args;

use crate::error::Result;
use wakeling_device::model_file;
use wakeling_vision::{
    dataset::ImageSet, evaluate::Evaluation, file::ImageNetwork, simulate::load,
};

/// Measure a model: accuracy, area under the curve, average precision
#[derive(Debug, Args)]
#[command(after_help = "Example:
  wakeling images evaluate --model runs/xray/model.wkl --test xrays/test --float runs/xray/image.safetensors

Each result comes with a 95 % interval: exact for shares, and by 500 bootstrap samples of the
images for areas and precisions. An unknown label (?) is ignored.")]
pub struct EvaluateArgs {
    /// The model file
    #[arg(short, long, value_name = "FILE")]
    model: PathBuf,
    /// Images that were not used for training: a folder of class folders, or a table of labels
    #[arg(long, value_name = "PATH")]
    test: PathBuf,
    /// Rows of a table, by its column `split`
    #[arg(long, value_name = "NAME")]
    split: Option<String>,
    /// Float network of the model, for comparison
    #[arg(long, value_name = "FILE")]
    float: Option<PathBuf>,
}

/// Runs the command.
pub fn run(args: EvaluateArgs) -> Result<()> {
    let bytes = model_file::read(&args.model)?;
    let model = load(&args.model, &bytes)?;
    let float = |path: &PathBuf| ImageNetwork::load_of(path, &model);
    let float = args.float.as_ref().map(float).transpose()?;
    let images = ImageSet::open(&args.test, args.split.as_deref(), model.shape)?
        .in_order_of(&model.labels, &args.test)?;
    print!("{}", Evaluation::of(Some(&model), float.as_ref(), &images)?);
    Ok(())
}
