//! `wakeling finetune`: trains and tests a model for a phrase, from a few recordings of it.

mod words;

use std::path::{Path, PathBuf};

use clap::Args;
use rand::{SeedableRng, rngs::StdRng, seq::IteratorRandom};

use super::{
    KeywordPath, NegativeArgs, Training, open_datasets, parse_keyword, quantize::write_model,
};
use wakeling_core::{Error, Result, files};
use wakeling_data::{
    negatives::{Negatives, SpeechClip, load_speech},
    takes::record::{KeywordRecordings, TrainedOn},
    text::{file_names, quoted},
};
use wakeling_device::{
    recorder::{self, Event},
    sensitivity::{Evidence, Preset},
};
use wakeling_nn::pretrained::PretrainedModel;
use wakeling_train::embeddings::{Embeddings, embed_features, embed_streams};
use wakeling_train::{
    finetune::{
        Init, NegativeBank, Settings, Trainable, features, finetune_with_progress,
        progress::{Costs, Stages, Work},
        tune_ticking,
    },
    head_checkpoint::HeadCheckpoint,
    models,
    quantize::QuantizedBackbone,
};
use words::Keyword;

/// Copies of each recorded false accept, all but a few with augmentation. High-scoring windows are
/// sampled more often anyway; the copies balance one recording against hours of negatives.
const FALSE_WAKE_COPIES: usize = 20;
/// File name of a fine-tuned backbone.
const UNFROZEN_BACKBONE: &str = "base.safetensors";

/// Fine-tune a pretrained model on a few recordings of a wake word
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  wakeling finetune --word \"hey computer=recordings/\" --out runs/computer
  wakeling finetune --word left=left/ --word right=right/ --negatives talk/ --out runs/steer
  wakeling finetune --samples speech/ --out runs/computer
  wakeling finetune --labels labels.csv --out runs/house
  wakeling finetune --word \"hey computer=recordings/\" --false-wakes alarms/ --out runs/v2

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
    /// Pretrained model: the name of a shipped one, or a path
    #[arg(long = "base", value_name = "BASE", default_value = models::DEFAULT_PRETRAINED)]
    pretrained: String,
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
    let pretrained = models::pretrained(&args.pretrained)?;
    let backbone = QuantizedBackbone::of(&pretrained)?;
    let frontend = pretrained.tables.params(pretrained.info.normalization);
    // The user's files are checked before any long computation begins.
    let words = args.load_words(&frontend)?;
    let _claim = files::claim(&args.out)?;

    let negatives = args.other.load(&frontend)?;
    let (events, sounds) = args.events()?;
    let false_wakes = load_speech(&open_datasets(&sounds)?, &frontend, "false wakes");
    if false_wakes.is_empty() && events.is_empty() && !args.false_wakes.is_empty() {
        let remedy = "see the lines above; give the recordings that a device saved";
        return Err(Error::input(&args.false_wakes[0], "no recording in it can be read", remedy));
    }
    let settings = args.training.settings();
    let train = args.decide(&words);
    let costs = Costs::of(&pretrained.info.backbone);
    let work = Work { words: words.len(), hours: negatives.hours(), train, costs };
    let stages = Stages::new(work, &settings);
    let (pretrained, backbone) = match train {
        Trainable::Head => (pretrained, backbone),
        _ => args.move_backbone(&pretrained, train, (&negatives, &words), (&settings, &stages))?,
    };
    let mut bank =
        NegativeBank::with_progress(&pretrained, &backbone, &negatives, &settings, &stages)?;
    if !false_wakes.is_empty() {
        let speech = vec![false_wakes; FALSE_WAKE_COPIES].concat();
        let streams = Negatives { speech, noise: Vec::new() }.streams(settings.seed);
        bank.train_also(embed_streams(&pretrained, &backbone, &streams.streams)?);
    }
    if !events.is_empty() {
        bank.train_also(recorded(&pretrained, &backbone, (&events, &negatives), settings.seed)?);
    }
    let mut heads = Vec::new();
    let names = file_names(words.iter().map(|word| word.label.as_str()));
    for (word, name) in words.iter().zip(&names) {
        let Keyword { label, different, .. } = word;
        let hard_negatives = word.hard_negatives(&words);
        let recordings = word.all(&hard_negatives);
        let data = (&negatives, &bank);
        let word = (label.as_str(), recordings);
        let mut tuned =
            finetune_with_progress(&pretrained, &backbone, data, word, &settings, Some(&stages))?;
        tuned.info.recordings = *different;
        let path = args.out.join(format!("{name}.head"));
        tuned.save(&path)?;
        report(&tuned, &path, &stages);
        heads.push(tuned);
    }
    stages.finish();
    save_settings(&args.out.join("settings.json"), &args, &settings)?;
    let trained = |word: &Keyword| KeywordRecordings {
        label: word.label.clone(),
        recordings: word.sources.clone(),
    };
    TrainedOn { words: words.iter().map(trained).collect() }.save(&args.out)?;
    let model = args.out.join("model.wkl");
    write_model(&model, &pretrained, &backbone, (&heads, None))?;
    log::info!("next: {}", next_command(&model));
    println!("{}", model.display());
    Ok(())
}

/// Formats the commands for trying a new model.
fn next_command(model: &Path) -> String {
    let path = model.display().to_string();
    let is_plain = |c: char| c.is_alphanumeric() || "/.-_+@:\\".contains(c);
    let path = if path.chars().all(is_plain) { path } else { quoted(&path).to_string() };
    format!("wakeling listen {path}, or wakeling simulate FILE --model {path}")
}

/// Computes the backbone's embeddings of events that a device recorded.
fn recorded(
    pretrained: &PretrainedModel,
    backbone: &QuantizedBackbone,
    (events, negatives): (&[Event], &Negatives),
    seed: u64,
) -> Result<Embeddings> {
    /// Number of clips of negative speech that serve as context around the events.
    const CONTEXT_CLIPS: usize = 200;
    let mut rng = StdRng::seed_from_u64(seed);
    let speech = negatives.speech.iter().sample(&mut rng, CONTEXT_CLIPS);
    let speech: Vec<SpeechClip> = speech.into_iter().cloned().collect();
    let contexts = Negatives { speech, noise: Vec::new() }.streams(seed);
    let mut heard = features(pretrained, &contexts.streams);
    let shape = (pretrained.info.backbone.inputs(), FALSE_WAKE_COPIES);
    heard.streams = recorder::streams(events, &heard.streams, shape, &mut rng)?;
    embed_features(pretrained, backbone, &heard.streams)
}

impl FinetuneArgs {
    /// Reads the paths of `--false-wakes`: returns flight recorder events, and the paths with
    /// recordings.
    fn events(&self) -> Result<(Vec<Event>, Vec<PathBuf>)> {
        let (mut events, mut sounds) = (Vec::new(), Vec::new());
        for path in &self.false_wakes {
            let found = recorder::load_events(path)?;
            if found.is_empty() {
                sounds.push(path.clone());
            }
            events.extend(found);
        }
        Ok((events, sounds))
    }

    /// Resolves the layers to train, by the keyword with the fewest recordings.
    fn decide(&self, words: &[Keyword]) -> Trainable {
        // Synthesized samples do not count: a backbone fine-tuned on them would fit synthetic
        // voices.
        let fewest = words.iter().map(|w| w.recorded).min().unwrap_or(0);
        let (train, why) = self.train.decide(fewest);
        if let Some(why) = why {
            log::info!("{why}");
        }
        train
    }

    /// Fine-tunes the backbone on the keywords, and writes the new pretrained model beside the
    /// heads.
    fn move_backbone(
        &self,
        pretrained: &PretrainedModel,
        train: Trainable,
        (negatives, words): (&Negatives, &[Keyword]),
        (settings, stages): (&Settings, &Stages),
    ) -> Result<(PretrainedModel, QuantizedBackbone)> {
        let hard_negatives: Vec<_> = words.iter().map(|word| word.hard_negatives(words)).collect();
        let pairs = words.iter().zip(&hard_negatives);
        let words: Vec<_> = pairs.map(|(w, others)| (w.label.as_str(), w.all(others))).collect();
        stages.begin("training the backbone");
        let how = (Init::Pretrained, train);
        let tick = || stages.backbone_step();
        let pretrained = tune_ticking(pretrained, how, negatives, &words, settings, Some(&tick))?;
        let path = self.out.join(UNFROZEN_BACKBONE);
        pretrained.save(&path)?;
        let path = path.display();
        stages.log(&format!("{path}: the fine-tuned backbone, for `wakeling quantize --base`"));
        let backbone = QuantizedBackbone::of(&pretrained)?;
        Ok((pretrained, backbone))
    }
}

/// Logs the named sensitivities of a keyword, with the false accepts that were counted for each.
fn report(tuned: &HeadCheckpoint, path: &Path, stages: &Stages) {
    let info = &tuned.info;
    let (path, label) = (path.display(), quoted(&info.label));
    stages.log(&format!("{path}: {} recordings of {label}", info.recordings));
    stages.log("  sensitivity  false accepts in held-out negatives");
    let own = info.detector.threshold;
    for preset in Preset::ALL {
        let evidence = Evidence::of(&info.points, preset.threshold(&info.points, own));
        let mark = if preset == Preset::Normal { "; in force" } else { "" };
        stages.log(&format!("  {preset:<11}  {evidence}{mark}"));
    }
    if !info.points.iter().any(|p| p.threshold == own) {
        stages.log(
            "  the threshold of normal is estimated for 0.5 false accepts per hour; more --negatives would measure it",
        );
    }
}

fn save_settings(path: &Path, args: &FinetuneArgs, settings: &Settings) -> Result<()> {
    let words: Vec<_> =
        args.words.iter().map(|w| serde_json::json!({"label": w.label, "path": w.path})).collect();
    let record = serde_json::json!({
        "base": args.pretrained,
        "words": words,
        "samples": args.samples,
        "labels": args.labels,
        "negatives": args.other.negatives,
        "noise": args.other.noise,
        "false_wakes": args.false_wakes,
        "only_own": args.other.only_own,
        "train": args.train.to_string(),
        "settings": settings,
        "version": env!("CARGO_PKG_VERSION"),
    });
    files::write_atomic(path, format!("{record:#}\n").as_bytes())
}
