//! `wakeling finetune`: trains and tests a model for a phrase, from a few recordings of it.

mod words;

use std::path::{Path, PathBuf};

use clap::Args;
use serde_json::{Value, json};

use super::{
    KeywordPath, NegativeArgs, Training, open_datasets, open_negatives, parse_keyword, shell_word,
    unreadable,
};
use crate::error::Result;
use wakeling_core::{
    cache, files,
    progress::{Bars, NoProgress},
};
use wakeling_data::negatives::load_speech;
use wakeling_device::{
    board::{Board, Loader},
    recorder,
};
use wakeling_shared::frontend::FrontendParams;
use wakeling_train::{
    finetune::{BoardChoice, BoardFit, FalseWakes, MODEL_FILE, Recipe, Trainable},
    models,
};

/// Fine-tune a pretrained model on a few recordings of a wake word
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  wakeling finetune --word \"hey computer=recordings/\" --out runs/computer
  wakeling finetune --word left=left/ --word right=right/ --negatives talk/ --out runs/steer
  wakeling finetune --samples speech/ --out runs/computer
  wakeling finetune --labels labels.csv --out runs/house
  wakeling finetune --word \"hey computer=recordings/\" --false-wakes alarms/ --out runs/v2
  wakeling finetune --word \"hey computer=recordings/\" --board microbit-v2 --out runs/microbit

Ten to twenty recordings, of several people if several will use it, from near and far,
are a good start. The pretrained model ships with negatives: speech without the keyword, and
noise; --negatives and --noise add to them. Recordings without a sound or a phrase are left
out, a file of several takes is cut, and the same sound counts once; each case is logged. The
folder then holds NAME.head (float weights), model.wkl (the model for the device),
settings.json, recordings.json (the training recordings), and base.safetensors if the backbone
was fine-tuned.

`--train auto` trains only a new head below 50 recordings of a keyword, and the whole backbone
too from there on, which takes some minutes. `--train all` does so with fewer: with 20 it
improved three keywords of twelve, two of them over the telephone, and made nine worse;
`wakeling compare` measures it on your keywords. The new head is the mean of three small
networks; `--ensemble 1 --head-channels 1 --head-layers 0` makes it a single node.

Try the model:
  wakeling simulate FILE --model runs/computer/model.wkl")]
pub struct FinetuneArgs {
    /// A keyword and its recordings: a folder, a manifest or a file; may be given several times. If
    /// clips have texts (a folder of words, Common Voice, a manifest), only those with the
    /// keyword's text are used
    #[arg(long = "word", value_name = "NAME=PATH", required_unless_present_any = ["samples", "labels"],
        value_parser = parse_keyword)]
    words: Vec<KeywordPath>,
    /// Folder that `synthesize` wrote: samples of the keyword named in its manifest, in addition to
    /// recordings of the keyword, if any
    #[arg(long, value_name = "DIR")]
    samples: Vec<PathBuf>,
    /// Table of recordings (CSV). The first column is the file, every other column a keyword: 1 if
    /// it is spoken, 0 if it is not, ? if unknown. A column `speaker` is not a keyword
    #[arg(long, value_name = "FILE")]
    labels: Vec<PathBuf>,
    /// Folder for the results
    #[arg(long)]
    out: PathBuf,
    /// Pretrained model: the name of a shipped one, or a path [default: base-m, or with --board the
    /// largest that fits]
    #[arg(long = "base", value_name = "BASE")]
    pretrained: Option<String>,
    /// Board for the model (`wakeling boards` lists them): checks before training that the model fits
    /// its flash and memory, and prints how to flash it
    #[arg(long, value_name = "NAME")]
    board: Option<String>,
    #[command(flatten)]
    other: NegativeArgs,
    /// Recordings that a device accepted wrongly, or the output of `wakeling device log`; each
    /// counts 20 times in training, and not in the choice of thresholds
    #[arg(long, value_name = "DIR", num_args = 1..)]
    false_wakes: Vec<PathBuf>,
    /// Layers to train: head (the backbone stays frozen), last:K (the backbone's last K blocks
    /// too), all, or auto, a choice by the number of recordings
    #[arg(long, value_name = "PART", default_value_t = Trainable::Auto)]
    train: Trainable,
    #[command(flatten)]
    training: Training,
}

/// Runs the command.
pub fn run(args: FinetuneArgs) -> Result<()> {
    let path = args.out.join(MODEL_FILE);
    // The user's files are checked before any long computation begins.
    let negatives = open_negatives(&args.other.negatives, &args.words)?;
    let (mut recipe, pretrained, fit) = args.recipe(&path)?;
    let _claim = files::claim(&args.out)?;
    recipe.negatives = args.other.load_own(&negatives, &recipe.backbone.frontend())?;
    recipe.only_own = args.other.only_own;
    recipe.false_wakes = args.load_false_wakes(&recipe.backbone.frontend())?;
    recipe.train = args.train;
    recipe.cache = cache::folder("negatives");
    let model = recipe.run(&Bars::default())?;
    model.save(&args.out, args.record(&pretrained), &NoProgress)?;
    log::info!("what it misses is not known yet: {}", test_command(&path, &args));
    log::info!("next: {}", next_command(&path, fit.as_ref()));
    println!("{}", path.display());
    Ok(())
}

/// Formats the command that counts misses, on recordings that the model was not trained on.
fn test_command(model: &Path, args: &FinetuneArgs) -> String {
    let label = args.words.first().map_or("NAME", |word| &word.label);
    format!(
        "wakeling evaluate --model {} --word \"{label}=OTHER-RECORDINGS\" --negatives OTHER-SPEECH",
        shell_word(model)
    )
}

/// Formats the commands for trying a new model, and for flashing it.
fn next_command(model: &Path, fit: Option<&BoardFit>) -> String {
    let path = shell_word(model);
    let tried = format!("wakeling listen {path}, or wakeling simulate FILE --model {path}");
    let Some(fit) = fit else { return tried };
    let Board { name, loader, .. } = fit.board;
    let plain = if fit.needs_plain { " --plain" } else { "" };
    let file = match loader {
        Loader::ProbeOrUf2 { .. } => format!(" --uf2 {name}.uf2"),
        Loader::Probe => format!(" --hex {name}.hex"),
        Loader::Espflash => String::new(),
    };
    format!("{tried}; on the board: wakeling flash --board {name} {path}{plain}{file}")
}

impl FinetuneArgs {
    /// Loads the recordings and the pretrained model, which is chosen for the board if none is named.
    /// Checks that the model at `path` will fit the board.
    fn recipe(&self, path: &Path) -> Result<(Recipe, String, Option<BoardFit>)> {
        let board = self.board.as_deref().map(Board::named).transpose()?;
        let settings = self.training.settings();
        let named = self.pretrained.as_deref();
        let mut pretrained = named.unwrap_or(models::DEFAULT_PRETRAINED).to_owned();
        let mut backbone = models::backbone(&pretrained)?;
        let mut keywords = self.load_words(&backbone.frontend())?;
        if let (Some(board), None) = (board, named) {
            let choice = BoardChoice::new(board, &keywords, &settings, path)?;
            log::info!("{}", choice.reason);
            // Powers depend on the filters alone.
            if choice.backbone.pretrained.tables != backbone.pretrained.tables {
                keywords = self.load_words(&choice.backbone.frontend())?;
            }
            (pretrained, backbone) = (choice.pretrained.to_owned(), choice.backbone);
        }
        let mut recipe = Recipe::new(backbone, keywords)?;
        recipe.settings = settings;
        let fit = board.map(|board| BoardFit::of(&recipe, board, path)).transpose()?;
        if let Some(fit) = &fit {
            let name = fit.board.name;
            if named.is_some() {
                log::info!("{pretrained} for {name}: {fit}");
            }
            if fit.needs_plain {
                log::info!(
                    "the model fits {name} only with firmware without slots: flash it with --plain"
                );
            }
            if !fit.keeps_up() {
                log::warn!(
                    "the processor of {name} does not keep up with this model, by computed cycles"
                );
            }
        }
        Ok((recipe, pretrained, fit))
    }

    /// Loads the flight recorder events and the recordings of `--false-wakes`.
    fn load_false_wakes(&self, frontend: &FrontendParams<'_>) -> Result<FalseWakes> {
        let (mut events, mut sounds) = (Vec::new(), Vec::new());
        for path in &self.false_wakes {
            let found = recorder::load_events(path)?;
            if found.is_empty() {
                sounds.push(path.clone());
            }
            events.extend(found);
        }
        let clips = load_speech(&open_datasets(&sounds)?, frontend, "false wakes");
        if clips.is_empty() && events.is_empty() && !self.false_wakes.is_empty() {
            return Err(unreadable(&self.false_wakes[0], "the recordings that a device saved"));
        }
        Ok(FalseWakes { clips, events })
    }

    /// Describes the data, for `settings.json`.
    fn record(&self, pretrained: &str) -> Value {
        let word = |w: &KeywordPath| json!({"label": w.label, "path": w.path});
        json!({
            "base": pretrained,
            "board": self.board,
            "words": self.words.iter().map(word).collect::<Vec<_>>(),
            "samples": self.samples,
            "labels": self.labels,
            "negatives": self.other.negatives,
            "noise": self.other.noise,
            "false_wakes": self.false_wakes,
            "only_own": self.other.only_own,
        })
    }
}
