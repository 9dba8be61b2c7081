//! `wakeling finetune`: a tested model for a phrase, from a few recordings of it.

use std::path::{Path, PathBuf};

use clap::Args;

use super::{WordPath, file_name, open_corpora, open_corpus, parse_word, quantize::write_model};
use crate::{
    Error, Result,
    features::load_log_mel,
    files,
    finetune::{Prepared, Settings, finetune},
    models,
    negatives::load_speech,
    quantize::QuantizedTrunk,
    simulate::score,
    tuned::Tuned,
};

/// Below so many recordings a warning is due.
const FEW_RECORDINGS: usize = 5;

/// Fine-tune a wake word from a few recordings on a pretrained base
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  wakeling finetune --word \"hey computer=recordings/\" --out runs/computer
  wakeling finetune --word left=left/ --word right=right/ --negatives talk/ --out runs/steer

Ten to twenty recordings, of several people if several will use it, from near and far,
are a good start. What else a wake word must be told apart from ships with the base;
--negatives and --noise add to it. The folder then holds NAME.head (float weights),
model.wkl (the model for the device) and settings.json. Try it:
  wakeling simulate FILE --model runs/computer/model.wkl")]
pub struct FinetuneArgs {
    /// A word and its recordings: a folder, a manifest or a file; may be given several times
    #[arg(long = "word", value_name = "NAME=PATH", required = true, value_parser = parse_word)]
    words: Vec<WordPath>,
    /// Folder for the results
    #[arg(long)]
    out: PathBuf,
    /// Name of a shipped base, or path of one
    #[arg(long, default_value = models::DEFAULT_BASE)]
    base: String,
    /// Speech without the word, added to what ships with the base
    #[arg(long, num_args = 1..)]
    negatives: Vec<PathBuf>,
    /// Noise and music, added to what ships with the base
    #[arg(long, num_args = 1..)]
    noise: Vec<PathBuf>,
    /// Leave out what ships with the base
    #[arg(long, requires = "negatives")]
    only_own: bool,
    /// Updates of the head
    #[arg(long, default_value_t = Settings::default().steps)]
    steps: usize,
    /// Worker threads
    #[arg(long, default_value_t = crate::default_workers())]
    workers: usize,
    /// Seed of everything drawn
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

/// Runs the command.
pub fn run(args: FinetuneArgs) -> Result<()> {
    let base = models::base(&args.base)?;
    let trunk = QuantizedTrunk::of(&base)?;
    let frontend = base.tables.params(base.info.normalization);
    let load =
        |examples: &[_], title| load_log_mel(examples, &frontend, title).into_iter().flatten();
    for (i, word) in args.words.iter().enumerate() {
        if args.words[..i].iter().any(|w| w.label == word.label) {
            let problem = format!("the word {:?} is given twice", word.label);
            return Err(Error::usage(problem, "put all its recordings in one folder"));
        }
    }
    // What the user gave is looked at before anything long begins.
    let mut words = Vec::new();
    for word in &args.words {
        let examples = open_corpus(&word.path)?;
        let recordings: Vec<_> = load(&examples, "recordings").collect();
        if recordings.is_empty() {
            let remedy = "see the lines above; record again, or give another folder";
            return Err(Error::input(&word.path, "no recording in it can be read", remedy));
        }
        if recordings.len() < FEW_RECORDINGS {
            eprintln!(
                "warning: {} recordings of {:?} are few; from {FEW_RECORDINGS} on it gets good",
                recordings.len(),
                word.label
            );
        }
        words.push((word, recordings));
    }
    std::fs::create_dir_all(&args.out).map_err(Error::io(&args.out, "create"))?;

    let mut negatives =
        if args.only_own { Default::default() } else { models::shipped_negatives()? };
    negatives.speech.extend(load_speech(&open_corpora(&args.negatives)?, &frontend, "negatives"));
    negatives.noise.extend(load(&open_corpora(&args.noise)?, "noise"));
    let prepared = Prepared::new(&base, &trunk, &negatives, args.seed)?;
    let settings = Settings {
        steps: args.steps,
        workers: args.workers,
        seed: args.seed,
        ..Settings::default()
    };
    let mut heads = Vec::new();
    for (word, recordings) in &words {
        let tuned =
            finetune(&base, &trunk, &negatives, &prepared, &word.label, recordings, &settings)?;
        let path = args.out.join(format!("{}.head", file_name(&word.label)));
        tuned.save(&path)?;
        report(&tuned, &path);
        heads.push(tuned);
    }
    save_settings(&args.out.join("settings.json"), &args, &settings)?;
    let model = args.out.join("model.wkl");
    write_model(&model, &base, &trunk, &heads)?;
    println!("{}", model.display());
    Ok(())
}

/// What the thresholds are, and what they rest on.
fn report(tuned: &Tuned, path: &Path) {
    let info = &tuned.info;
    eprintln!("{}: {} recordings of {:?}", path.display(), info.recordings, info.label);
    let in_force = info.detector.threshold;
    if !info.points.iter().any(|p| p.threshold == in_force) {
        eprintln!(
            "  threshold {:.4}, in force: estimated for 0.5 false accepts per hour; more --negatives would show it",
            score(in_force)
        );
    }
    for point in &info.points {
        let hours = f64::from(point.audio_seconds) / 3600.0;
        let mark = if point.threshold == in_force { ", in force" } else { "" };
        // With n events counted, the 95 % bound; 3/T for none (Hanley & Lippman-Hand 1983).
        let bound = crate::evaluate::upper_rate(point.false_accepts as usize, hours);
        eprintln!(
            "  threshold {:.4}{mark}: {} false accepts in {hours:.2} h of other speech, which shows at most {bound:.1} per hour",
            score(point.threshold),
            point.false_accepts
        );
    }
}

fn save_settings(path: &Path, args: &FinetuneArgs, settings: &Settings) -> Result<()> {
    let words: Vec<_> =
        args.words.iter().map(|w| serde_json::json!({"label": w.label, "path": w.path})).collect();
    let record = serde_json::json!({
        "base": args.base,
        "words": words,
        "negatives": args.negatives,
        "noise": args.noise,
        "only_own": args.only_own,
        "settings": settings,
        "version": env!("CARGO_PKG_VERSION"),
    });
    files::write_atomic(path, format!("{record:#}\n").as_bytes())
}
