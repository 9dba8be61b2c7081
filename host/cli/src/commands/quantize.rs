//! `wakeling quantize`: builds one int8 model from a pretrained model and one or several fine-tuned
//! heads.

use std::path::PathBuf;

use clap::Args;
use wakeling_shared::gate::GateParams;

use super::shell_word;
use crate::error::Result;
use wakeling_train::{
    enroll::{EnrollmentHead, Form},
    head_checkpoint::HeadCheckpoint,
    models,
    quantize::{CardText, QuantizedModel},
};

/// Make a model for the device from a pretrained model and heads
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
    let backbone = models::backbone(&args.pretrained)?;
    let heads: Vec<HeadCheckpoint> = args
        .heads
        .iter()
        .map(|path| Ok(HeadCheckpoint::load(path, &backbone.pretrained)?))
        .collect::<Result<_>>()?;
    match &args.enroll {
        None => {
            let gate = args.gate.then(GateParams::default);
            let model = QuantizedModel::of_heads(&backbone, &heads)?.with_gate(gate);
            model.write(&args.out)?;
            log::info!("{}: {}", args.out.display(), model.costs()?);
            log::info!("next: wakeling simulate FILE --model {}", shell_word(&args.out));
        }
        Some(word) => {
            let negatives = models::shipped_negatives()?;
            let empty = EnrollmentHead::new(&backbone, &negatives, word, Form::default())?;
            let words = heads.iter().map(|head| Ok(head.entry(&backbone)?));
            let words = words.collect::<Result<Vec<_>>>()?;
            let pretrained = &backbone.pretrained.info.provenance;
            let provenance = format!("to be enrolled; base: {pretrained}");
            let card = CardText { name: word.clone(), provenance };
            empty.model(&backbone, words, card)?.write(&args.out)?;
        }
    }
    println!("{}", args.out.display());
    Ok(())
}
