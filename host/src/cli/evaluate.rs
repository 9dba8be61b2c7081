//! `wakeling evaluate`: misses against false accepts per hour of a model, on recordings.

use std::path::{Path, PathBuf};

use clap::Args;

use super::{WordPath, file_name, open_corpora, open_corpus, parse_word};
use crate::{
    Error, Result, artifact,
    evaluate::{self, Heard, Noise, Played, PlayedStream, Point, Surroundings},
    files,
};

/// Distances in level that can be asked for, in dB: beyond them there is only noise, or none.
const SNR_DB: std::ops::RangeInclusive<f32> = -30.0..=60.0;

/// Measure a model: misses against false accepts per hour
#[derive(Debug, Args)]
#[command(after_help = "Example:
  wakeling evaluate --model runs/computer/model.wkl --word \"hey computer=test/\" --negatives talk/

Every recording of a word is played after 2 s and before 1.2 s of silence; the negatives
are played one after another, as one long stream. Counts come with exact 95 % intervals:
T hours without a false accept only show that there are fewer than 3/T an hour.

With noise, every recording is played again for each --snr, after 4 s of it and over it:
  wakeling evaluate --model M.wkl --word W=test/ --negatives talk/ --noise kitchen/ --snr 10 5
The ratio is that of the loudest 32 ms of the recording to the loudest 32 ms of the noise
under it. The thresholds are those of the negatives alone.")]
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
    /// Noise, which was in no training, to play the recordings in as well
    #[arg(long, num_args = 1..)]
    noise: Vec<PathBuf>,
    /// How far the recordings rise above the noise, in dB; one or several
    #[arg(long, num_args = 1.., requires = "noise", allow_negative_numbers = true,
        value_name = "DB", default_values_t = [10.0])]
    snr: Vec<f32>,
    /// Seed of the noise that is drawn
    #[arg(long, default_value_t = 1)]
    seed: u64,
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
    let noise = args.load_noise()?;
    let mut played = Vec::new();
    for word in &args.words {
        let recordings = open_corpus(&word.path)?;
        let mut in_each: Vec<Played> = Vec::new();
        for surroundings in args.surroundings(noise.as_ref()) {
            in_each.push(evaluate::play_clips(&model, &recordings, surroundings)?);
        }
        if in_each.iter().all(|played| played.spans.is_empty()) {
            return Err(nothing(&word.path));
        }
        played.push(in_each);
    }
    let other = evaluate::play_stream(&model, &open_corpora(&args.negatives)?)?;
    if other.pieces.is_empty() {
        return Err(nothing(&args.negatives[0]));
    }
    let PlayedStream { scores: other, hours, .. } = &other;
    for ((word, &index), in_each) in args.words.iter().zip(&words).zip(&played) {
        let detector = model.words[index].detector;
        let heard: Vec<Heard<'_>> = in_each
            .iter()
            .map(|played| Heard { played, other, hours: *hours, index, detector })
            .collect();
        print!("{}", evaluate::table(&word.label, &heard));
        if let Some(folder) = &args.out {
            save_curves(folder, &word.label, &heard)?;
        }
    }
    Ok(())
}

impl EvaluateArgs {
    fn load_noise(&self) -> Result<Option<Noise>> {
        if let Some(snr) = self.snr.iter().find(|snr| !SNR_DB.contains(snr)) {
            let remedy = format!("give {} to {} dB, for instance 10", SNR_DB.start(), SNR_DB.end());
            return Err(Error::usage(format!("an --snr of {snr} dB cannot be mixed"), remedy));
        }
        let Some(first) = self.noise.first() else { return Ok(None) };
        Noise::load(first, &open_corpora(&self.noise)?, self.seed).map(Some)
    }

    /// Silence, then noise at each level.
    fn surroundings<'n>(&self, noise: Option<&'n Noise>) -> Vec<Surroundings<'n>> {
        let seed = self.seed;
        let noisy = noise.into_iter().flat_map(|noise| {
            self.snr.iter().map(move |&snr_db| Surroundings::Noise { noise, snr_db, seed })
        });
        std::iter::once(Surroundings::Silence).chain(noisy).collect()
    }
}

/// `NAME.csv`, and `NAME.svg` for the recordings as they are, in the folder.
fn save_curves(folder: &Path, label: &str, heard: &[Heard<'_>]) -> Result<()> {
    let Some(clean) = heard.first() else { return Ok(()) };
    let thresholds = evaluate::thresholds(clean);
    let curve: Vec<Point> = thresholds.iter().map(|&threshold| clean.at(threshold)).collect();
    std::fs::create_dir_all(folder).map_err(Error::io(folder, "create"))?;
    let name = file_name(label);
    let csv = evaluate::csv(heard, &thresholds);
    files::write_atomic(folder.join(format!("{name}.csv")), csv.as_bytes())?;
    let svg = evaluate::svg(label, &curve, clean.count(), clean.hours);
    files::write_atomic(folder.join(format!("{name}.svg")), svg.as_bytes())
}
