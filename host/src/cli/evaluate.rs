//! `wakeling evaluate`: misses against false accepts per hour of a model, on recordings.

use std::path::{Path, PathBuf};

use clap::Args;

use super::{WordPath, file_name, open_corpora, open_corpus, parse_word};
use crate::{
    Error, Result, artifact,
    evaluate::{self, Heard},
    files,
};

/// Measure a model: misses against false accepts per hour
#[derive(Debug, Args)]
#[command(after_help = "Example:
  wakeling evaluate --model runs/computer/model.wkl --word \"hey computer=test/\" --negatives talk/

Every recording of a word is played after 2 s and before 1.2 s of silence; the negatives
are played one after another, as one long stream. Counts come with exact 95 % intervals:
T hours without a false accept only show that there are fewer than 3/T an hour.")]
pub struct EvaluateArgs {
    /// The model file
    #[arg(short, long, value_name = "FILE")]
    model: PathBuf,
    /// A word of the model and recordings of it that it was not trained on
    #[arg(long = "word", value_name = "NAME=PATH", required = true, value_parser = parse_word)]
    words: Vec<WordPath>,
    /// Speech and noise without any of the words
    #[arg(long, required = true, num_args = 1..)]
    negatives: Vec<PathBuf>,
    /// Write the curve of misses against false accepts to NAME.csv and NAME.svg in this folder
    #[arg(long)]
    out: Option<PathBuf>,
}

/// Runs the command.
pub fn run(args: EvaluateArgs) -> Result<()> {
    let bytes = artifact::read(&args.model)?;
    let model = artifact::load(&args.model, &bytes)?;
    let index = |word: &WordPath| {
        let labels: Vec<&str> = model.words.iter().map(|w| w.label).collect();
        labels.iter().position(|l| *l == word.label).ok_or_else(|| {
            Error::input(
                &args.model,
                format!("the model has no word {:?}", word.label),
                format!("it has: {}", labels.join(", ")),
            )
        })
    };
    let words = args.words.iter().map(index).collect::<Result<Vec<_>>>()?;
    let nothing = |path: &PathBuf| {
        let remedy = "see the lines above; give other recordings";
        Error::input(path, "no recording in it can be read", remedy)
    };
    // Everything is heard before anything is printed or written.
    let mut played = Vec::new();
    for word in &args.words {
        let clips = evaluate::play_clips(&model, &open_corpus(&word.path)?)?;
        if clips.1.is_empty() {
            return Err(nothing(&word.path));
        }
        played.push(clips);
    }
    let other = evaluate::play_stream(&model, &open_corpora(&args.negatives)?)?;
    if other.streams.is_empty() {
        return Err(nothing(&args.negatives[0]));
    }
    for ((word, &index), (positives, ends)) in args.words.iter().zip(&words).zip(&played) {
        let detector = model.words[index].detector;
        let heard = Heard { positives, ends, other: &other, index, detector };
        print!("{}", heard.table(&word.label));
        if let Some(folder) = &args.out {
            save_curve(folder, &word.label, &heard)?;
        }
    }
    Ok(())
}

/// `NAME.csv` and `NAME.svg` in the folder.
fn save_curve(folder: &Path, label: &str, heard: &Heard<'_>) -> Result<()> {
    let curve = heard.curve();
    std::fs::create_dir_all(folder).map_err(Error::io(folder, "create"))?;
    let name = file_name(label);
    files::write_atomic(folder.join(format!("{name}.csv")), evaluate::csv(&curve).as_bytes())?;
    let svg = evaluate::svg(label, &curve, heard.ends.len(), heard.other.hours());
    files::write_atomic(folder.join(format!("{name}.svg")), svg.as_bytes())
}
