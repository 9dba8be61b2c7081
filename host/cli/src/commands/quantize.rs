//! `wakeling quantize`: builds one int8 model from a pretrained model and one or several fine-tuned
//! heads.

use std::path::{Path, PathBuf};

use clap::Args;
use wakeling_shared::{gate::GateParams, model::Model};

use wakeling_core::Result;
use wakeling_device::model_file;
use wakeling_nn::pretrained::PretrainedModel;
use wakeling_train::{
    enroll::empty_entry,
    head_checkpoint::HeadCheckpoint,
    models,
    quantize::{CardText, QuantizedBackbone, with_model},
};

/// Make a model for the device from a pretrained model and fine-tuned heads
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  wakeling quantize --head runs/a/hey-computer.head runs/b/stop.head --out both.wkl
  wakeling quantize --enroll \"my word\" --base base-s --out mine.wkl")]
pub struct QuantizeArgs {
    /// Heads that `wakeling finetune` wrote; each is a keyword of the model
    #[arg(long = "head", required_unless_present = "enroll", num_args = 1..)]
    heads: Vec<PathBuf>,
    /// Pretrained model of these heads
    #[arg(long = "base", value_name = "BASE", default_value = models::DEFAULT_PRETRAINED)]
    pretrained: String,
    /// Model file to write
    #[arg(long)]
    out: PathBuf,
    /// Put a gate before the network, which then does not run in silence
    #[arg(long)]
    gate: bool,
    /// Add a keyword for enrollment on the device: `wakeling device enroll`
    #[arg(long, value_name = "WORD", conflicts_with = "gate")]
    enroll: Option<String>,
}

/// Runs the command.
pub fn run(args: QuantizeArgs) -> Result<()> {
    let pretrained = models::pretrained(&args.pretrained)?;
    let backbone = QuantizedBackbone::of(&pretrained)?;
    let heads: Vec<HeadCheckpoint> = args
        .heads
        .iter()
        .map(|path| HeadCheckpoint::load(path, &pretrained))
        .collect::<Result<_>>()?;
    let gate = args.gate.then(GateParams::default);
    match &args.enroll {
        None => write_model(&args.out, &pretrained, &backbone, (&heads, gate))?,
        Some(word) => {
            let empty = empty_entry(&pretrained, &backbone, &models::shipped_negatives()?, word)?;
            let mut words = heads.iter().map(|h| h.entry(&backbone)).collect::<Result<Vec<_>>>()?;
            words.push(empty);
            let provenance =
                format!("to be enrolled; pretrained model: {}", pretrained.info.provenance);
            let card = CardText { name: word.clone(), provenance };
            with_model(&pretrained, &backbone, &words, &card, |model| {
                model_file::write(&args.out, model)
            })?;
        }
    }
    println!("{}", args.out.display());
    Ok(())
}

/// Quantizes heads, writes the model, and logs its costs on a device.
pub fn write_model(
    path: &Path,
    pretrained: &PretrainedModel,
    backbone: &QuantizedBackbone,
    (heads, gate): (&[HeadCheckpoint], Option<GateParams>),
) -> Result<()> {
    let words = heads.iter().map(|h| h.entry(backbone)).collect::<Result<Vec<_>>>()?;
    let labels: Vec<&str> = heads.iter().map(|h| h.info.label.as_str()).collect();
    let recordings: usize = heads.iter().map(|h| h.info.recordings).sum();
    let card = CardText {
        name: labels.join(", "),
        provenance: format!(
            "{recordings} recordings; pretrained model: {}",
            pretrained.info.provenance
        ),
    };
    with_model(pretrained, backbone, &words, &card, |model| {
        let model = &Model { gate, ..model.clone() };
        model_file::write(path, model)?;
        let bytes = model_file::encode(model)?.len();
        log::info!(
            "{}: {} bytes of flash, {} bytes of state, {:.1} million multiply-accumulates a second",
            path.display(),
            bytes,
            model.arena_bytes(),
            model.step_macs() as f64 * pretrained.info.backbone.steps_per_second() / 1e6
        );
        Ok(())
    })
}
