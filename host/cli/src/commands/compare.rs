//! `wakeling compare`: measures the benefit of more recordings, of fine-tuning more layers, and of
//! one network for several keywords.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use clap::Args;
use serde_json::{Value, json};

use super::{
    KeywordPath, NegativeArgs, Training, number, open_datasets, open_takes, parse_keyword,
};
use crate::error::{Error, Result};
use indicatif::ProgressBar;
use wakeling_audio::features::{FrontendTables, LogMel, NormalizationKind};
use wakeling_core::{
    files,
    progress::{Bars, Progress, progress_bar},
};
use wakeling_data::clip_features::load_log_mel;
use wakeling_data::{
    dataset::{Example, split_by_speaker},
    negatives::load_speech,
    takes::Purpose,
    text::quoted,
};
use wakeling_train::{
    compare::{
        EmbeddedBackbone, EvalConfig, ExperimentData,
        result_table::{Counts, ResultTable, Trial},
        sample,
    },
    finetune::{
        KeywordClips, Settings, Strategy, Trainable,
        progress::{Costs, Stages, Work},
    },
    head_checkpoint::HeadCheckpoint,
    models,
};

/// Share of a keyword's recordings that is used for testing, unless test recordings are given.
const TEST_SHARE: f64 = 0.4;

/// Compare training strategies over growing numbers of recordings
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  wakeling compare --word \"hey computer=recordings/\" --talk talk/ --out runs/compare
  wakeling compare --word left=l/ right=r/ --talk talk/ --samples 5 20 --train scratch head all \\
    --seeds 3 --out runs/compare
  wakeling compare --word up=u/ down=d/ stop=s/ --talk talk/ --samples 50 --tasks separate joint \\
    --train scratch:25 scratch:50 scratch all --out runs/joint

Each trial samples recordings of a keyword and trains on them. It then runs the device's
pipeline over other recordings (of other speakers, where speakers are named) and over the
talk. The command prints miss rates at fixed false accepts per hour, as means over keywords
and seeds with intervals, and writes compare.csv and charts. An interrupted comparison
continues when the same command is given again.

Training strategies: scratch (a backbone with random weights; scratch:25 has a quarter of the
channels), head (the backbone stays frozen), last:K (its last K blocks are trained too), all.
With `head` a trial takes seconds, with the others minutes.

With --tasks joint, one backbone is fine-tuned for all keywords, each with its own head. On
the device it then runs once; separate backbones run once per keyword. A width at which joint
misses more than separate is too small for the keywords together. Heads on a frozen backbone
are independent, so `head` is the same in both cases and is run once.")]
pub struct CompareArgs {
    /// A keyword and its recordings, from as many speakers as possible
    #[arg(long = "word", value_name = "NAME=PATH", required = true, num_args = 1..,
        value_parser = parse_keyword)]
    words: Vec<KeywordPath>,
    /// Test recordings of a keyword, instead of two in five of those above
    #[arg(long = "test", value_name = "NAME=PATH", num_args = 1.., value_parser = parse_keyword)]
    tests: Vec<KeywordPath>,
    /// Speech without the keywords to count false accepts in; no part of it is used for training
    #[arg(long, required = true, num_args = 1.., value_name = "PATH")]
    talk: Vec<PathBuf>,
    /// Numbers of training recordings
    #[arg(long, num_args = 1.., default_values_t = [1, 3, 5, 10, 20],
        value_parser = number::within(1..=1_000_000_usize))]
    samples: Vec<usize>,
    /// Training strategies: scratch, scratch:PERCENT of the channels, head, last:K, all
    #[arg(long, num_args = 1.., default_values_t = ["head".parse::<Strategy>().expect("a strategy")])]
    train: Vec<Strategy>,
    /// Sharing of a fine-tuned backbone: each keyword has its own, all share one, or both in turn
    #[arg(long, value_enum, num_args = 1.., default_values_t = [Tasks::Separate])]
    tasks: Vec<Tasks>,
    /// Number of seeds for each number of recordings; each samples other recordings
    #[arg(long = "seeds", alias = "draws", value_name = "COUNT", default_value_t = 1, value_parser = number::within(1..=10_000_u64))]
    seeds: u64,
    /// False accepts per hour
    #[arg(long, num_args = 1.., default_values_t = [0.5, 0.0],
        value_parser = number::within(0.0..=number::MOST_PER_HOUR))]
    rates: Vec<f64>,
    /// Folder for the results
    #[arg(long)]
    out: PathBuf,
    /// Pretrained model: the name of a shipped one, or a path
    #[arg(long = "base", value_name = "BASE", default_value = models::DEFAULT_PRETRAINED)]
    pretrained: String,
    #[command(flatten)]
    other: NegativeArgs,
    #[command(flatten)]
    training: Training,
}

/// Sharing of a fine-tuned backbone between keywords.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Tasks {
    /// Each keyword has its own.
    Separate,
    /// All keywords share one.
    Joint,
}

/// Training run of the keywords that share a backbone.
struct Job<'w> {
    strategy: Strategy,
    words: Vec<(&'w Keyword, Trial)>,
}

/// Keyword and its recordings for training and for testing.
struct Keyword {
    label: String,
    train: Vec<Example>,
    test: Vec<Example>,
}

/// Runs the command.
pub fn run(args: CompareArgs) -> Result<()> {
    let words = args.load_words()?;
    let _claim = files::claim(&args.out)?;
    let (table, record) = (args.out.join("compare.csv"), args.out.join("settings.json"));
    let settings = args.training.settings();
    let settings_text = format!("{:#}\n", args.record(&settings));
    let goes_on = table.exists();
    let mut results = ResultTable::open(table, &args.rates)?;
    if goes_on {
        assert_same_data(&record, &settings_text)?;
    }
    let jobs = args.jobs(&words)?;
    let left: Vec<&Job<'_>> = jobs
        .iter()
        .filter(|job| job.words.iter().any(|(_, trial)| !results.holds(trial)))
        .collect();
    if left.len() < jobs.len() {
        log::info!("resuming: {} of {} trials are done", jobs.len() - left.len(), jobs.len());
    }
    if !left.is_empty() {
        files::write_atomic(&record, settings_text.as_bytes())?;
        let (data, embedded) = args.data(&settings)?;
        let bar = progress_bar(left.len() as u64, "trainings");
        for job in left {
            bar.set_message(job.to_string());
            let progress = OnBar { bar: &bar, job: job.to_string() };
            let stages = Stages::untimed(&progress);
            for (trial, counts) in args.run(&data, &embedded, job, &settings, &stages)? {
                results.add(trial, counts)?;
            }
            results.save_images(&args.out)?;
            bar.inc(1);
        }
        bar.finish_and_clear();
    }
    results.save_images(&args.out)?;
    print!("{}", results.tables());
    log::info!("{}", args.out.join("compare.csv").display());
    Ok(())
}

/// Shows the stage of a training behind its name, on the bar of all trainings.
struct OnBar<'b> {
    bar: &'b ProgressBar,
    job: String,
}

impl Progress for OnBar<'_> {
    fn message(&self, text: &str) {
        self.bar.set_message(format!("{}: {text}", self.job));
    }
}

impl CompareArgs {
    fn load_words(&self) -> Result<Vec<Keyword>> {
        if let Some(test) =
            self.tests.iter().find(|t| !self.words.iter().any(|w| w.label == t.label))
        {
            let problem = format!("--test names {}, which no --word does", quoted(&test.label));
            return Err(Error::usage(problem, "give both the same name"));
        }
        let mut words = Vec::new();
        let tables = FrontendTables::default();
        let frontend = tables.params(NormalizationKind::Log);
        for word in &self.words {
            let label = &word.label;
            let all = open_takes(word, &frontend, Purpose::Train)?.examples();
            let mut test = Vec::new();
            for given in self.tests.iter().filter(|t| t.label == *label) {
                test.extend(open_takes(given, &frontend, Purpose::Test)?.examples());
            }
            let (train, test) =
                if test.is_empty() { parted(&all, self.training.seed)? } else { (all, test) };
            words.push(Keyword { label: label.clone(), train, test });
        }
        Ok(words)
    }

    /// Returns all training runs. A number of recordings is left out for keywords that have fewer.
    fn jobs<'w>(&self, words: &'w [Keyword]) -> Result<Vec<Job<'w>>> {
        if self.tasks.contains(&Tasks::Joint) && words.len() < 2 {
            let remedy = "give --word several times, or leave --tasks joint out";
            return Err(Error::usage("a single keyword has nothing to share", remedy));
        }
        let mut jobs = Vec::new();
        for &samples in &self.samples {
            let (enough, few): (Vec<&Keyword>, Vec<&Keyword>) =
                words.iter().partition(|word| samples <= word.train.len());
            for word in few {
                log::info!(
                    "{} has {} recordings to train on: no trial with {samples}",
                    quoted(&word.label),
                    word.train.len()
                );
            }
            for (&strategy, seed) in
                self.train.iter().flat_map(|strategy| (0..self.seeds).map(move |d| (strategy, d)))
            {
                let trial = |word: &Keyword, strategy: String| Trial {
                    word: word.label.clone(),
                    strategy,
                    samples,
                    seed,
                };
                if self.tasks.contains(&Tasks::Separate) || strategy.train == Trainable::Head {
                    let alone = |&word: &&'w Keyword| Job {
                        strategy,
                        words: vec![(word, trial(word, strategy.to_string()))],
                    };
                    jobs.extend(enough.iter().map(alone));
                }
                if self.tasks.contains(&Tasks::Joint)
                    && strategy.train != Trainable::Head
                    && enough.len() > 1
                {
                    let joint =
                        |&word: &&'w Keyword| (word, trial(word, format!("{strategy} joint")));
                    jobs.push(Job { strategy, words: enough.iter().map(joint).collect() });
                }
            }
        }
        Ok(jobs)
    }

    /// Returns the content of `settings.json`.
    fn record(&self, settings: &Settings) -> Value {
        let paths = |words: &[KeywordPath]| -> Vec<_> {
            words.iter().map(|w| json!({"label": w.label, "path": w.path})).collect()
        };
        json!({
            "base": self.pretrained,
            "words": paths(&self.words),
            "test": paths(&self.tests),
            "talk": self.talk,
            "negatives": self.other.negatives,
            "noise": self.other.noise,
            "only_own": self.other.only_own,
            "settings": settings,
            "version": env!("CARGO_PKG_VERSION"),
        })
    }

    fn data(&self, settings: &Settings) -> Result<(ExperimentData, EmbeddedBackbone)> {
        let backbone = models::backbone(&self.pretrained)?;
        let frontend = backbone.frontend();
        let negatives = self.other.load(&frontend)?;
        let talk = load_speech(&open_datasets(&self.talk)?, &frontend, "talk");
        if talk.is_empty() {
            let remedy = "see the lines above; give speech that can be read";
            return Err(Error::input(&self.talk[0], "no talk in it can be read", remedy));
        }
        let data = ExperimentData::new(negatives, &talk);
        let costs = Costs::of(backbone.config());
        let hours = data.negatives.hours();
        let (bars, work) =
            (Bars::default(), Work { words: 0, hours, train: Trainable::Head, costs });
        let stages = Stages::new(work, settings, &bars);
        let embedded = EmbeddedBackbone::new(backbone, &data, settings, &stages)?;
        stages.finish();
        Ok((data, embedded))
    }

    fn run(
        &self,
        data: &ExperimentData,
        embedded: &EmbeddedBackbone,
        job: &Job<'_>,
        settings: &Settings,
        stages: &Stages<'_>,
    ) -> Result<Vec<(Trial, Counts)>> {
        let frontend = embedded.backbone.frontend();
        let seed = |trial: &Trial| self.training.seed.wrapping_add(trial.seed);
        let recordings = |(word, trial): &(&Keyword, Trial)| -> Vec<LogMel> {
            let chosen = sample(&word.train, trial.samples, seed(trial));
            load_log_mel(&chosen, &frontend, "recordings").into_iter().flatten().collect()
        };
        let recordings: Vec<Vec<LogMel>> = job.words.iter().map(recordings).collect();
        let keywords: Vec<KeywordClips<'_>> = job
            .words
            .iter()
            .zip(&recordings)
            .map(|((word, _), recordings)| KeywordClips::new(&word.label, recordings))
            .collect();
        let first = job.words.first().map_or(self.training.seed, |(_, trial)| seed(trial));
        let mut settings = settings.clone();
        settings.train.seed = first;
        let (head, own) = data.train(embedded, job.strategy, &keywords, &settings, stages)?;
        let evaluate = EvalConfig { rates: &self.rates, noise: None, float: false };
        let embedded = own.as_ref().unwrap_or(embedded);
        let counts = |((word, trial), head): (&(&Keyword, Trial), &HeadCheckpoint)| {
            let metrics = data.evaluate(embedded, head, &word.test, &evaluate, seed(trial))?;
            Ok((trial.clone(), Counts::from(&metrics)))
        };
        job.words.iter().zip(&head).map(counts).collect()
    }
}

impl std::fmt::Display for Job<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let words: Vec<&str> = self.words.iter().map(|(word, _)| word.label.as_str()).collect();
        let samples = self.words.first().map_or(0, |(_, trial)| trial.samples);
        write!(f, "{}, {}, {samples} recordings", words.join(" with "), self.strategy)
    }
}

/// Splits recordings into training and test sets with different speakers.
fn parted(all: &[Example], seed: u64) -> Result<(Vec<Example>, Vec<Example>)> {
    let mut parts = split_by_speaker(all, &[1.0 - TEST_SHARE, TEST_SHARE], seed)?.into_iter();
    Ok((parts.next().unwrap_or_default(), parts.next().unwrap_or_default()))
}

/// Keys of `settings.json` that may differ between runs that share a table of trials. Keywords may
/// be added, and neither threads nor versions change the trials.
const MAY_DIFFER: [&str; 5] = ["words", "test", "settings", "workers", "version"];

/// Checks that the trials in a folder were made with the same settings. Otherwise they would be
/// averaged with trials of another experiment.
///
/// # Errors
/// [`Error::input`] if the settings differ.
fn assert_same_data(path: &Path, now: &str) -> Result<()> {
    let refused =
        |problem| Error::input(path, problem, "choose another --out folder, or remove this one");
    let before = std::fs::read_to_string(path).map_err(Error::io(path, "read"))?;
    // Both are parsed from text, so rounding of numbers cannot make them differ.
    let parse = |text| {
        serde_json::from_str::<Value>(text)
            .map_err(|error| refused(format!("not the settings of a comparison: {error}")))
    };
    let (before, now) = (parse(&before)?, parse(now)?);
    let (before, now) = (metadata(&before), metadata(&now));
    match before.keys().chain(now.keys()).find(|name| before.get(*name) != now.get(*name)) {
        Some(name) => {
            Err(refused(format!("the trials in this folder were made with another {name}")))
        }
        None => Ok(()),
    }
}

/// Returns the entries of a record that must not differ, including those inside `settings`.
fn metadata(record: &Value) -> BTreeMap<&str, &Value> {
    let inside = |value| Value::as_object(value).into_iter().flatten();
    let all = inside(record).chain(inside(&record["settings"]));
    all.map(|(name, value)| (name.as_str(), value))
        .filter(|(name, _)| !MAY_DIFFER.contains(name))
        .collect()
}
