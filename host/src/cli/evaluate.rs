//! `wakeling evaluate`: measures misses against false accepts per hour of a model, on recordings.

use std::path::{Path, PathBuf};

use clap::Args;
use wakeling_shared::artifact::Model;

use super::{WordPath, number, open_corpora, open_takes, parse_word};
use crate::{
    Error, Result, artifact,
    base::Base,
    corpus::Example,
    evaluate::{self, Heard, Noise, Played, PlayedStream, Scores, Surroundings, WordDetail},
    features::{FrontendTables, NormalizationKind},
    files, models,
    takes::{Purpose, record::TrainedOn},
    text::{file_names, name_key, quoted},
    tuned::Tuned,
};

/// Allowed signal-to-noise ratios in dB; beyond them only noise or only speech would remain.
const SNR_DB: std::ops::RangeInclusive<f32> = -30.0..=60.0;

/// Measure a model: misses against false accepts per hour
#[derive(Debug, Args)]
#[command(after_help = "Example:
  wakeling evaluate --model runs/computer/model.wkl --word \"hey computer=test/\" --negatives talk/

Every recording of a word is played after 2 s and before 1.2 s of silence; the negatives
are played one after another, as one long stream. Counts come with exact 95 % intervals:
T hours without a false accept only show that there are fewer than 3/T an hour, and less than
half an hour shows no rate at all. Rows: the sensitivities that listen and simulate know, and
the lowest threshold without a false accept and with some counted rates.

With noise, every recording is played again for each --snr, after 4 s of it and over it:
  wakeling evaluate --model M.wkl --word W=test/ --negatives talk/ --noise kitchen/ --snr 10 5
The ratio is that of the loudest 32 ms of the recording to the loudest 32 ms of the noise
under it. The thresholds are those of the negatives alone.

--report page.html writes one file for a browser: curves, misses by noise and by what the
manifest says of the speakers, latency, and the worst misses and false accepts to listen to.")]
pub struct EvaluateArgs {
    /// The model file
    #[arg(short, long, value_name = "FILE")]
    model: PathBuf,
    /// A keyword of the model and recordings of it that were not used for training. If clips have
    /// texts, only those with the keyword's text are used
    #[arg(long = "word", value_name = "NAME=PATH", required = true, value_parser = parse_word)]
    words: Vec<WordPath>,
    /// Speech and noise without any of the keywords
    #[arg(long, required = true, num_args = 1..)]
    negatives: Vec<PathBuf>,
    /// Noise, from no training data, in which the recordings are played as well
    #[arg(long, num_args = 1..)]
    noise: Vec<PathBuf>,
    /// Signal-to-noise ratios of the recordings in noise, in dB; one or several
    #[arg(long, num_args = 1.., requires = "noise", allow_negative_numbers = true,
        value_name = "DB", default_values_t = [10.0], value_parser = number::within(SNR_DB))]
    snr: Vec<f32>,
    /// Seed of the sampled noise
    #[arg(long, default_value_t = 1, value_parser = number::seed())]
    seed: u64,
    /// Write a page to open in a browser: curves, groups, and the worst errors with their audio
    #[arg(long, value_name = "FILE")]
    report: Option<PathBuf>,
    /// Compare with the float network of these heads, in the report
    #[arg(long, value_name = "HEAD", num_args = 1.., requires = "report")]
    float: Vec<PathBuf>,
    /// Pretrained model of those heads: a name or a path
    #[arg(long, default_value = models::DEFAULT_BASE)]
    base: String,
    /// Write the curve of misses against false accepts to NAME.csv and NAME.svg in this folder
    #[arg(long)]
    out: Option<PathBuf>,
}

/// Runs the command.
pub fn run(args: EvaluateArgs) -> Result<()> {
    let bytes = artifact::read(&args.model)?;
    let model = artifact::load(&args.model, &bytes)?;
    let words = args.word_indices(&model)?;
    let floats = args.load_floats()?;
    // All audio is processed before anything is printed or written.
    let noise = args.load_noise()?;
    let surroundings = args.surroundings(noise.as_ref());
    let words_played = args.play_words(&model, &surroundings)?;
    let negatives = open_corpora(&args.negatives)?;
    let other = evaluate::play_stream(&model, &negatives)?;
    if other.pieces.is_empty() {
        return Err(nothing_heard(&args.negatives[0]));
    }
    let float_played = args.play_floats(&floats, &words_played, &other, &negatives)?;
    let mut details = Vec::new();
    let heard = hear(&words_played, &other, &words, &model);
    let names = file_names(args.words.iter().map(|word| word.label.as_str()));
    for (i, (word, heard)) in args.words.iter().zip(&heard).enumerate() {
        let points = &model.words[words[i]].points;
        print!("{}", evaluate::table(&word.label, heard, points));
        if let Some(folder) = &args.out {
            save_curves(folder, (&names[i], &word.label), heard)?;
        }
        let float = float_played[i].as_ref().map(|(played, scores)| Heard {
            played,
            other: scores,
            index: 0,
            ..heard[0]
        });
        details.push(WordDetail {
            label: &word.label,
            heard,
            points,
            surroundings: &surroundings,
            recordings: &words_played[i].0,
            other: &other,
            negatives: &negatives,
            float,
        });
    }
    if let Some(path) = &args.report {
        let name = args.model.file_name().unwrap_or_default().to_string_lossy();
        files::write_atomic(path, evaluate::page(&name, &details).as_bytes())?;
        println!("{}", path.display());
    }
    Ok(())
}

fn nothing_heard(path: &Path) -> Error {
    Error::input(
        path,
        "no recording in it can be read",
        "see the lines above; give other recordings",
    )
}

/// Recordings of a keyword, and the result of playing them under each test condition.
type WordPlayed = (Vec<Example>, Vec<Played>);

/// Returns the scores of each keyword under each test condition.
fn hear<'a>(
    words_played: &'a [WordPlayed],
    other: &'a PlayedStream,
    words: &[usize],
    model: &Model<'_>,
) -> Vec<Vec<Heard<'a>>> {
    let PlayedStream { scores, hours, .. } = other;
    let word = |((_, played), &index): (&'a WordPlayed, &usize)| {
        let detector = model.words[index].detector;
        let heard = |played| Heard { played, other: scores, hours: *hours, index, detector };
        played.iter().map(heard).collect()
    };
    words_played.iter().zip(words).map(word).collect()
}

impl EvaluateArgs {
    /// Returns the index in the model of each keyword given.
    fn word_indices(&self, model: &Model<'_>) -> Result<Vec<usize>> {
        let labels: Vec<&str> = model.words.iter().map(|w| w.label).collect();
        let index = |word: &WordPath| {
            // Models from before names were composed (Unicode NFC) may hold decomposed ones.
            labels.iter().position(|l| name_key(l) == name_key(&word.label)).ok_or_else(|| {
                Error::input(
                    &self.model,
                    format!("the model has no word {}", quoted(&word.label)),
                    format!("it has: {}", labels.join(", ")),
                )
            })
        };
        self.words.iter().map(index).collect()
    }

    /// Plays every keyword under each test condition.
    fn play_words(
        &self,
        model: &Model<'_>,
        surroundings: &[Surroundings<'_>],
    ) -> Result<Vec<WordPlayed>> {
        let tables = FrontendTables::default();
        let frontend = tables.params(NormalizationKind::Log);
        let trained_on = TrainedOn::beside(&self.model);
        let play_word = |word: &WordPath| {
            let checked = open_takes(word, &frontend, Purpose::Test)?;
            let hashes = checked.takes.iter().map(|take| &take.hash);
            if let Some(warning) = trained_on.as_ref().and_then(|t| t.warning(&word.label, hashes))
            {
                crate::log!("{warning}");
            }
            let recordings = checked.examples();
            let play = |s: &Surroundings<'_>| evaluate::play_clips(model, &recordings, *s);
            let played = surroundings.iter().map(play).collect::<Result<Vec<Played>>>()?;
            if played.iter().all(|played| played.spans.is_empty()) {
                return Err(nothing_heard(&word.path));
            }
            Ok((recordings, played))
        };
        self.words.iter().map(play_word).collect()
    }

    fn load_noise(&self) -> Result<Option<Noise>> {
        let Some(first) = self.noise.first() else { return Ok(None) };
        Noise::load(first, &open_corpora(&self.noise)?, self.seed).map(Some)
    }

    /// Loads the pretrained model and the heads to compare with.
    fn load_floats(&self) -> Result<Option<(Base, Vec<Tuned>)>> {
        if self.float.is_empty() {
            return Ok(None);
        }
        let base = models::base(&self.base)?;
        let heads: Vec<Tuned> =
            self.float.iter().map(|path| Tuned::load(path, &base)).collect::<Result<_>>()?;
        for (head, path) in heads.iter().zip(&self.float) {
            if self.words.iter().all(|w| name_key(&w.label) != name_key(&head.info.label)) {
                let problem = format!("this is the head of {}", quoted(&head.info.label));
                let remedy = "give the heads of the words that are measured";
                return Err(Error::input(path, problem, remedy));
            }
        }
        Ok(Some((base, heads)))
    }

    /// Plays each keyword to its float network, if its head was given.
    fn play_floats(
        &self,
        floats: &Option<(Base, Vec<Tuned>)>,
        played: &[WordPlayed],
        other: &PlayedStream,
        negatives: &[Example],
    ) -> Result<Vec<Option<(Played, Scores)>>> {
        let play = |(word, (recordings, _)): (&WordPath, &WordPlayed)| {
            let Some((base, heads)) = floats else { return Ok(None) };
            let head = heads.iter().find(|h| name_key(&h.info.label) == name_key(&word.label));
            head.map(|head| evaluate::play_float(base, head, recordings, other, negatives))
                .transpose()
        };
        self.words.iter().zip(played).map(play).collect()
    }

    /// Returns the test conditions: silence, then noise at each level.
    fn surroundings<'n>(&self, noise: Option<&'n Noise>) -> Vec<Surroundings<'n>> {
        let seed = self.seed;
        let noisy = noise.into_iter().flat_map(|noise| {
            self.snr.iter().map(move |&snr_db| Surroundings::Noise { noise, snr_db, seed })
        });
        std::iter::once(Surroundings::Silence).chain(noisy).collect()
    }
}

/// Writes `NAME.csv` and `NAME.svg` into the folder.
fn save_curves(folder: &Path, (name, label): (&str, &str), heard: &[Heard<'_>]) -> Result<()> {
    let Some(clean) = heard.first() else { return Ok(()) };
    std::fs::create_dir_all(folder).map_err(Error::io(folder, "create"))?;
    let csv = evaluate::csv(heard, &evaluate::thresholds(clean));
    files::write_atomic(folder.join(format!("{name}.csv")), csv.as_bytes())?;
    let svg = evaluate::det_svg(label, heard);
    files::write_atomic(folder.join(format!("{name}.svg")), svg.as_bytes())
}
