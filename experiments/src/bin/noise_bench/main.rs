//! Misses of the development keywords in quiet, in household noise and in babble.
//!
//! ```sh
//! cargo run --release -p wakeling-experiments --bin noise_bench -- --data DIR --out runs/noise \
//!   --recipe today='{}' --recipe plain='{"background": {"chance": 0.8, "snr_db": [0, 35], "babble_chance": 0}}' \
//!   --samples 5 20 --seeds 3
//! ```
//!
//! `DIR` is the folder that `unpack` and `more-negatives` wrote. Each trial samples recordings of a
//! keyword and trains a head on them against the shipped negatives. It then runs the int8 model on
//! the other recordings in every condition, and on 6.3 hours of speech without the keyword. Misses
//! are counted at the lowest threshold with at most 0.5 false accepts an hour. At that threshold
//! false accepts are also counted in the noise and the babble alone.
//!
//! Babble consists of two to six speakers of the `dev` split. They are in no training data and in
//! no other test data. Embeddings of all test data are cached, so a new recipe costs only its
//! training. Trials that are already in `OUT/trials.csv` are not repeated.

mod data;
mod dump;
mod report;

use std::{collections::BTreeMap, path::PathBuf, time::Instant};

use clap::Parser;
use wakeling_data::{dataset::Dataset, negatives::Negatives, text::contains_phrase};
use wakeling_train::embeddings::Embeddings;
use wakeling_train::{
    evaluate::{Point, ScoredClips, ScoredKeyword, head_scores, threshold_for},
    finetune::{KeywordClips, NegativeBank, Settings, progress::Stages, train_head},
    models,
    quantize::Backbone,
};

use data::{CONDITIONS, TestData};
use report::{Counts, Table, Trial};
use wakeling_experiments::{Keyword, Result, keywords, load, settings, words};

/// Rate of false accepts per hour at which misses are counted.
const RATE_PER_HOUR: f64 = 0.5;

/// Misses of the development keywords in quiet, noise and babble
#[derive(Parser)]
struct Args {
    /// Folder that `unpack` and `more-negatives` wrote
    #[arg(long)]
    data: PathBuf,
    /// Folder for trials.csv, noise.md and noise.svg
    #[arg(long)]
    out: PathBuf,
    /// Folder for cached embeddings of the test data [default: OUT/cache]
    #[arg(long)]
    cache: Option<PathBuf>,
    /// Pretrained model: a name or a path
    #[arg(long = "base", value_name = "BASE", default_value = models::DEFAULT_PRETRAINED)]
    pretrained: String,
    /// Name of a recipe and the settings of fine-tuning that it changes, as JSON
    #[arg(long = "recipe", value_name = "NAME=JSON", default_value = "today={}", value_parser = parse_recipe)]
    recipes: Vec<(String, String)>,
    /// Recordings of each keyword to train on
    #[arg(long, num_args = 1.., default_values_t = [5, 20])]
    samples: Vec<usize>,
    /// Number of seeds, each with its own sample of recordings
    #[arg(long = "seeds", alias = "draws", value_name = "COUNT", default_value_t = 3)]
    seeds: u64,
    /// Manifest of other keywords: clips of single words with the splits `wake-enrol` and `wake-test`
    #[arg(long)]
    keywords: Option<PathBuf>,
    /// Keywords to run; all if none is named
    #[arg(long, num_args = 1..)]
    words: Vec<String>,
    /// Write the test data as WAV files to this folder, for `embedding_baseline.py`, and run nothing
    #[arg(long)]
    dump: Option<PathBuf>,
    /// Print the table of the trials so far and run nothing
    #[arg(long)]
    only_report: bool,
}

fn parse_recipe(text: &str) -> std::result::Result<(String, String), String> {
    let (name, json) = text.split_once('=').ok_or("expected NAME=JSON")?;
    if name.is_empty() || name.contains([',', '"', '|', '\n']) {
        return Err("a recipe needs a name without commas, quotes and bars".into());
    }
    serde_json::from_str::<serde_json::Map<String, serde_json::Value>>(json)
        .map_err(|e| format!("{json:?} is not a JSON object: {e}"))?;
    Ok((name.to_owned(), json.to_owned()))
}

fn main() -> Result<()> {
    wakeling_experiments::start();
    let args = Args::parse();
    let mut table = Table::open(args.out.join("trials.csv"))?;
    if !args.only_report {
        run(&args, &mut table)?;
    }
    if args.dump.is_some() {
        return Ok(());
    }
    table.keep(&args.recipes.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>());
    table.save(&args.out)?;
    print!("{}", table.markdown());
    Ok(())
}

/// Runs every trial that is not in the table yet.
fn run(args: &Args, table: &mut Table) -> Result<()> {
    let all = match &args.keywords {
        Some(path) => keywords(&Dataset::open(path)?.examples),
        None => words(&Dataset::open(args.data.join("manifest/all.jsonl"))?.examples),
    };
    let chosen: BTreeMap<&str, &Keyword> = all
        .iter()
        .map(|(name, word)| (name.as_str(), word))
        .filter(|(name, _)| args.words.is_empty() || args.words.iter().any(|w| w == name))
        .collect();
    if let Some(folder) = &args.dump {
        return dump::write(folder, &args.data, &chosen, (&args.samples, args.seeds));
    }
    let backbone = models::backbone(&args.pretrained)?;
    let cache = args.cache.clone().unwrap_or_else(|| args.out.join("cache"));
    let test = TestData::load(&backbone, &args.data, cache)?;
    let negatives = models::shipped_negatives()?;
    for (recipe, changes) in &args.recipes {
        let mut bench = None;
        for seed in 0..args.seeds {
            for &samples in &args.samples {
                for (&name, word) in &chosen {
                    let trial =
                        Trial { recipe: recipe.clone(), word: name.to_owned(), samples, seed };
                    if table.holds(&trial) {
                        continue;
                    }
                    let settings = settings(seed, changes);
                    if bench.is_none() {
                        bench = Some(Bench::new(&backbone, &negatives, &test, changes)?);
                    }
                    let Some(bench) = &bench else { continue };
                    let counts = bench.trial(name, word, samples, &settings)?;
                    eprintln!("{trial}: {counts}");
                    table.add(trial, counts)?;
                }
            }
        }
    }
    Ok(())
}

/// Data shared by all trials of one recipe.
struct Bench<'a> {
    backbone: &'a Backbone,
    negatives: &'a Negatives,
    test: &'a TestData,
    bank: NegativeBank,
}

impl<'a> Bench<'a> {
    fn new(
        backbone: &'a Backbone,
        negatives: &'a Negatives,
        test: &'a TestData,
        changes: &str,
    ) -> Result<Self> {
        let started = (Instant::now(), cpu_seconds());
        let settings = settings(0, changes);
        let bank = NegativeBank::new(backbone, negatives, &settings.train, &Stages::silent())?;
        eprintln!(
            "negatives embedded in {:.1} s, {:.1} CPU seconds",
            started.0.elapsed().as_secs_f64(),
            cpu_seconds() - started.1
        );
        Ok(Self { backbone, negatives, test, bank })
    }

    fn trial(
        &self,
        name: &str,
        word: &Keyword,
        samples: usize,
        settings: &Settings,
    ) -> Result<Counts> {
        let Self { backbone, negatives, test, bank } = self;
        let (enrol, held_out) = word.sample(samples, settings.train.seed - 1);
        let recordings = load(&backbone.pretrained, &enrol, "recordings");
        let started = cpu_seconds();
        let keyword = KeywordClips::new(name, &recordings);
        let stages = Stages::silent();
        let head = train_head(backbone, negatives, bank, keyword, settings, &stages)?;
        let train_s = cpu_seconds() - started;
        let (detector, entry) = (head.info.detector, [head.entry(backbone)?]);
        let scores = |outputs: &Embeddings| head_scores(backbone, &entry, outputs);
        let speech = test.speech.without(|text| contains_phrase(text, name));
        let other = scores(&speech.outputs)?;
        let allowed = (RATE_PER_HOUR * speech.hours).floor() as usize;
        let (threshold, false_accepts) = threshold_for(&other, 0, &detector, allowed);
        let mut counts = Counts {
            hours: speech.hours,
            false_accepts,
            recordings: held_out.len(),
            train_s,
            ..Counts::default()
        };
        for (i, alone) in [&test.noise, &test.babble].into_iter().enumerate() {
            let alone_scores = scores(&alone.outputs)?;
            let count = |threshold| {
                let steps =
                    wakeling_train::evaluate::detections(&alone_scores, 0, &detector, threshold);
                steps.iter().map(Vec::len).sum()
            };
            counts.alone[i] = (alone.hours, count(threshold), count(detector.threshold));
        }
        for (i, condition) in CONDITIONS.iter().enumerate() {
            let (outputs, spans) = test.clips(backbone, (name, word), condition, &held_out)?;
            let scored = ScoredClips::new(condition.name.into(), scores(&outputs)?, spans);
            let scored_keyword = ScoredKeyword {
                scored: &scored,
                other: &other,
                hours: speech.hours,
                index: 0,
                detector,
            };
            counts.misses[i] = scored_keyword.at(threshold).misses;
            let Point { misses, false_accepts, .. } = scored_keyword.at(detector.threshold);
            counts.own_misses[i] = misses;
            counts.own_false_accepts = false_accepts;
        }
        Ok(counts)
    }
}

/// Returns the CPU seconds that this process has used; NaN if the system does not report them.
///
/// Elapsed time is not meaningful on a machine that others use as well.
fn cpu_seconds() -> f64 {
    const TICKS_PER_SECOND: f64 = 100.0;
    let ticks = || -> Option<f64> {
        let stat = std::fs::read_to_string("/proc/self/stat").ok()?;
        // The program's name is in parentheses and may contain spaces.
        let fields: Vec<&str> = stat.rsplit(')').next()?.split_whitespace().collect();
        let ticks = |i: usize| fields.get(i)?.parse::<f64>().ok();
        Some(ticks(11)? + ticks(12)?)
    };
    ticks().map_or(f64::NAN, |ticks| ticks / TICKS_PER_SECOND)
}
