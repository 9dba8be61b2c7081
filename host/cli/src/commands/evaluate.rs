//! `wakeling evaluate`: measures misses against false accepts per hour of a model, on recordings.

use std::{
    fs,
    path::{Path, PathBuf},
    time::{SystemTime, UNIX_EPOCH},
};

use clap::Args;
use wakeling_shared::model::Model;

use super::{
    KeywordPath, number, open_datasets, open_negatives, open_takes, parse_keyword, unreadable,
};
use crate::error::{Error, Result};
use wakeling_audio::features::{FrontendTables, NormalizationKind};
use wakeling_core::{Error as CoreError, files, progress::Bars};
use wakeling_data::{
    takes::{Purpose, record::TrainedOn},
    text::{file_names, name_key, quoted},
};
use wakeling_device::model_file;
use wakeling_nn::pretrained::PretrainedModel;
use wakeling_train::{
    evaluate::{
        self, Evaluation, ModelRecord, Noise, Provenance, ScoredKeyword, Source, SourceKind,
        Summary, TestConditions, Verdict,
    },
    head_checkpoint::HeadCheckpoint,
    models,
};

/// What to give instead of data of which nothing can be read.
const OTHERS: &str = "other recordings";
/// Allowed signal-to-noise ratios in dB; beyond them only noise or only speech would remain.
const SNR_DB: std::ops::RangeInclusive<f32> = -30.0..=60.0;

/// Measure a model: misses against false accepts per hour
#[derive(Debug, Args)]
#[command(after_help = "Example:
  wakeling evaluate --model runs/computer/model.wkl --word \"hey computer=test/\" --negatives talk/

The first line is the verdict in plain words. It states no more than the counts support: a share for
a narrow interval, the ends of a wide one, and the counts alone for fewer than ten recordings.

Every recording of a keyword is padded with 2 s of silence before and 1.2 s after it. The
negatives are joined into one long stream. Counts come with exact 95 % intervals: T hours
without a false accept only show that there are fewer than 3/T an hour, and less than half an
hour shows no rate at all. The rows of the table are the sensitivities of listen and simulate,
the lowest threshold without a false accept, and thresholds at some counted rates.

With --noise, every recording is also tested at each --snr, after 4 s of noise and over it:
  wakeling evaluate --model M.wkl --word W=test/ --negatives talk/ --noise kitchen/ --snr 10 5
The ratio is that of the loudest 32 ms of the recording to the loudest 32 ms of the noise
under it. The thresholds are those of the negatives alone.

--report page.html writes one file for a browser: the verdict, curves around the threshold, misses
by noise and by the groups of the manifest, latency, the worst misses and false accepts to listen
to, and how all was measured. --out writes the same results for programs:
  wakeling evaluate --model M.wkl --word W=test/ --negatives talk/ --report page.html --out results/
The date in both is that of SOURCE_DATE_EPOCH if it is set.")]
pub struct EvaluateArgs {
    /// The model file
    #[arg(short, long, value_name = "FILE")]
    model: PathBuf,
    /// A keyword of the model and recordings of it that were not used for training. If clips have
    /// texts, only those with the keyword's text are used
    #[arg(long = "word", value_name = "NAME=PATH", required = true, value_parser = parse_keyword)]
    words: Vec<KeywordPath>,
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
    /// Write a page to open in a browser: verdict, curves, groups, and the worst errors with their
    /// audio
    #[arg(long, value_name = "FILE")]
    report: Option<PathBuf>,
    /// Compare with the float network of these heads, in the report
    #[arg(long, value_name = "HEAD", num_args = 1.., requires = "report")]
    float: Vec<PathBuf>,
    /// Pretrained model of those heads: a name or a path
    #[arg(long = "base", value_name = "BASE", default_value = models::DEFAULT_PRETRAINED)]
    pretrained: String,
    /// Write the curve of misses against false accepts to NAME.csv and NAME.svg in this folder, and
    /// the results at the model's own threshold to report.json
    #[arg(long)]
    out: Option<PathBuf>,
}

/// Runs the command.
pub fn run(args: EvaluateArgs) -> Result<()> {
    let made_at = date()?;
    let bytes = model_file::read(&args.model)?;
    let model = model_file::load(&args.model, &bytes)?;
    let words = args.word_indices(&model)?;
    let negatives = open_negatives(&args.negatives, &args.words)?;
    let floats = args.load_floats()?;
    if let Some(folder) = args.report.as_deref().and_then(Path::parent) {
        fs::create_dir_all(folder).map_err(CoreError::io(folder, "create"))?;
    }
    // All audio is processed before anything is printed or written.
    let noise = args.load_noise()?;
    let conditions = args.conditions(noise.as_ref());
    let mut evaluation = Evaluation::new(&model, &conditions);
    args.play_words(&mut evaluation, &words)?;
    if !evaluation.add_negatives(negatives, &Bars::default())? {
        return Err(unreadable(&args.negatives[0], OTHERS));
    }
    if let Some((pretrained, heads)) = &floats {
        evaluation.add_float(pretrained, heads)?;
    }
    let provenance = args.provenance(made_at, &bytes, &model);
    let scored = evaluation.scored();
    let details = evaluation.details(&scored);
    let names = file_names(args.words.iter().map(|word| word.label.as_str()));
    for ((detail, name), word) in details.iter().zip(&names).zip(&args.words) {
        let verdict = Verdict::new(detail);
        if args.words.len() > 1 {
            println!("{}: {verdict}", quoted(&word.label));
        } else {
            println!("{verdict}");
        }
        print!("{}", evaluate::table(&word.label, detail.scored_keywords, detail.points));
        if let Some(folder) = &args.out {
            save_curves(folder, (name, &word.label), detail.scored_keywords)?;
        }
    }
    if let Some(folder) = &args.out {
        evaluation.summary(&provenance).save(&folder.join(Summary::FILE))?;
    }
    if let Some(path) = &args.report {
        files::write_atomic(path, evaluation.page(&provenance).as_bytes())?;
        println!("{}", path.display());
    }
    Ok(())
}

/// Returns the seconds since 1970, from `SOURCE_DATE_EPOCH` if it is set: the convention for files
/// that come out the same each time.
fn date() -> Result<u64> {
    const VARIABLE: &str = "SOURCE_DATE_EPOCH";
    let Some(text) = std::env::var_os(VARIABLE) else {
        let since = SystemTime::now().duration_since(UNIX_EPOCH);
        return Ok(since.map_or(0, |since| since.as_secs()));
    };
    text.to_str().and_then(|text| text.parse().ok()).ok_or_else(|| {
        let problem = format!("{VARIABLE} is {text:?}");
        Error::usage(problem, "set it to seconds since 1970, or unset it")
    })
}

/// Returns the command line as it can be typed into a shell.
fn command() -> String {
    let arguments = std::env::args_os().skip(1);
    let shown = arguments.map(|argument| in_shell(&argument.to_string_lossy()));
    std::iter::once("wakeling".to_owned()).chain(shown).collect::<Vec<_>>().join(" ")
}

/// Quotes an argument for a shell, if needed.
fn in_shell(argument: &str) -> String {
    let is_plain = |c: char| c.is_alphanumeric() || "-_./=:,+@%".contains(c);
    if !argument.is_empty() && argument.chars().all(is_plain) {
        return argument.to_owned();
    }
    format!("'{}'", argument.replace('\'', "'\\''"))
}

impl EvaluateArgs {
    /// Describes this evaluation: date, model, command, data and settings.
    fn provenance(&self, made_at: u64, bytes: &[u8], model: &Model<'_>) -> Provenance {
        let source = |kind| move |name: &PathBuf| Source { kind, name: name.display().to_string() };
        let words = self.words.iter().map(|word| &word.path);
        let mut sources: Vec<Source> = words.map(source(SourceKind::Recordings)).collect();
        sources.extend(self.negatives.iter().map(source(SourceKind::Negatives)));
        sources.extend(self.noise.iter().map(source(SourceKind::Noise)));
        let mut settings = Vec::new();
        if !self.noise.is_empty() {
            let levels: Vec<String> = self.snr.iter().map(f32::to_string).collect();
            settings.push(("signal-to-noise ratios in dB".into(), levels.join(", ")));
            settings.push(("seed of the noise".into(), self.seed.to_string()));
        }
        Provenance {
            made_at,
            model: ModelRecord::new(&self.model, bytes, model),
            command: command(),
            sources,
            settings,
        }
    }

    /// Returns the index in the model of each keyword given.
    fn word_indices(&self, model: &Model<'_>) -> Result<Vec<usize>> {
        let index = |word: &KeywordPath| {
            evaluate::keyword_index(model, &word.label).ok_or_else(|| {
                let labels: Vec<&str> = model.words.iter().map(|w| w.label).collect();
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
    fn play_words(&self, evaluation: &mut Evaluation<'_>, words: &[usize]) -> Result<()> {
        let tables = FrontendTables::default();
        let frontend = tables.params(NormalizationKind::Log);
        let trained_on = TrainedOn::beside(&self.model);
        for (word, &index) in self.words.iter().zip(words) {
            let checked = open_takes(word, &frontend, Purpose::Test)?;
            let hashes = checked.takes.iter().map(|take| &take.hash);
            if let Some(warning) = trained_on.as_ref().and_then(|t| t.warning(&word.label, hashes))
            {
                log::info!("{warning}");
            }
            let keyword = (word.label.as_str(), index);
            if !evaluation.add_keyword(keyword, checked.examples(), &Bars::default())? {
                return Err(unreadable(&word.path, OTHERS));
            }
        }
        Ok(())
    }

    fn load_noise(&self) -> Result<Option<Noise>> {
        let Some(first) = self.noise.first() else { return Ok(None) };
        Ok(Some(Noise::load(first, &open_datasets(&self.noise)?, self.seed)?))
    }

    /// Loads the pretrained model and the heads to compare with.
    fn load_floats(&self) -> Result<Option<(PretrainedModel, Vec<HeadCheckpoint>)>> {
        if self.float.is_empty() {
            return Ok(None);
        }
        let pretrained = models::pretrained(&self.pretrained)?;
        let heads: Vec<HeadCheckpoint> = self
            .float
            .iter()
            .map(|path| Ok(HeadCheckpoint::load(path, &pretrained)?))
            .collect::<Result<_>>()?;
        for (head, path) in heads.iter().zip(&self.float) {
            if self.words.iter().all(|w| name_key(&w.label) != name_key(&head.info.label)) {
                let problem = format!("this is the head of {}", quoted(&head.info.label));
                let remedy = "give the heads of the words that are measured";
                return Err(Error::input(path, problem, remedy));
            }
        }
        Ok(Some((pretrained, heads)))
    }

    /// Returns the test conditions: silence, then noise at each level.
    fn conditions<'n>(&self, noise: Option<&'n Noise>) -> Vec<TestConditions<'n>> {
        let seed = self.seed;
        let noisy = noise.into_iter().flat_map(|noise| {
            self.snr.iter().map(move |&snr_db| TestConditions::Noise { noise, snr_db, seed })
        });
        std::iter::once(TestConditions::Silence).chain(noisy).collect()
    }
}

/// Writes `NAME.csv` and `NAME.svg` into the folder.
fn save_curves(
    folder: &Path,
    (name, label): (&str, &str),
    scored_keywords: &[ScoredKeyword<'_>],
) -> Result<()> {
    let Some(clean) = scored_keywords.first() else { return Ok(()) };
    std::fs::create_dir_all(folder).map_err(Error::io(folder, "create"))?;
    let csv = evaluate::csv(scored_keywords, &evaluate::thresholds(clean));
    files::write_atomic(folder.join(format!("{name}.csv")), csv.as_bytes())?;
    let svg = evaluate::det_svg(label, scored_keywords);
    Ok(files::write_atomic(folder.join(format!("{name}.svg")), svg.as_bytes())?)
}
