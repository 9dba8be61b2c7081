//! Misses of the twelve development keywords at fixed false accepts per hour, with the int8 model.
//!
//! `cargo run --release -p wakeling-experiments --bin dev_words -- --data DIR --base FILE [--samples 20] [--seeds 3]`
//!
//! `DIR` holds `manifest/*.jsonl` and `negatives/`. Each seed samples recordings of a keyword from
//! as many speakers as possible, trains a head on them with the backbone frozen, and evaluates it
//! on the other recordings and on 6.3 hours of negative speech, as streams.

use std::{path::PathBuf, time::Instant};

use clap::Parser;
use rand::{SeedableRng, rngs::StdRng, seq::SliceRandom};
use wakeling_data::{
    dataset::Dataset,
    negatives::{Negatives, load_speech},
};
use wakeling_nn::pretrained::PretrainedModel;
use wakeling_train::{
    compare::{EmbeddedBackbone, EvalConfig, ExperimentData, TrialResult, mean},
    evaluate::{Noise, interval},
    finetune::{KeywordClips, Strategy, progress::Stages},
    models,
    quantize::Backbone,
};

use wakeling_experiments::{Keyword, Result, load, settings, test_negatives, words};

/// Misses of the development keywords
#[derive(Parser)]
struct Args {
    /// Folder that `unpack` and `more-negatives` wrote
    #[arg(long)]
    data: PathBuf,
    /// Pretrained model to fine-tune: a name or a path
    #[arg(long = "base", value_name = "BASE", default_value = models::DEFAULT_PRETRAINED)]
    pretrained: String,
    /// Recordings of each keyword to train on
    #[arg(long, default_value_t = 20)]
    samples: usize,
    /// Folder that holds a folder of synthesized samples for each keyword, to train on as well
    #[arg(long)]
    synthesized: Option<PathBuf>,
    /// Number of seeds, each with its own sample of recordings
    #[arg(long = "seeds", alias = "draws", value_name = "COUNT", default_value_t = 1)]
    seeds: u64,
    /// Keywords to run; all if none is named
    #[arg(long, num_args = 1..)]
    words: Vec<String>,
    /// Settings of fine-tuning to change, as JSON: `{"dropout": 0.3}`; one table for each
    #[arg(long, default_value = "{}", num_args = 1..)]
    settings: Vec<String>,
    /// Part to train: head, last:K, all, or scratch for a backbone without pretraining
    #[arg(long, default_value = "head")]
    train: Strategy,
    /// Use the shipped negatives instead of the training speech in DIR
    #[arg(long)]
    shipped_negatives: bool,
    /// More negative speech for training: manifests or folders
    #[arg(long, num_args = 1..)]
    negatives: Vec<PathBuf>,
    /// Maximum hours of training speech; the rest is left out
    #[arg(long, default_value_t = 100.0)]
    negative_hours: f64,
    /// Measure the float network as well
    #[arg(long)]
    float: bool,
}

fn main() -> Result<()> {
    wakeling_experiments::start();
    let args = Args::parse();
    let bench = Bench::new(&args, models::pretrained(&args.pretrained)?)?;
    args.settings.iter().try_for_each(|settings| table(&args, &bench, settings))
}

/// Prints a table of all keywords with one set of settings.
fn table(args: &Args, bench: &Bench<'_>, settings: &str) -> Result<()> {
    println!("settings {settings}\n");
    let head = "| word | seed | recordings | hours | 0.5/h | 95 % | 0.5/h at 10 dB | 1/h | none | \
                own threshold: misses, per hour |";
    println!("{head}{}", if args.float { " float, 0.5/h |" } else { "" });
    println!("{}|", "|---".repeat(if args.float { 11 } else { 10 }));
    let mut all: Vec<[f64; 5]> = Vec::new();
    for (word, clips) in words(&Dataset::open(args.data.join("manifest/all.jsonl"))?.examples) {
        if !args.words.is_empty() && !args.words.contains(&word) {
            continue;
        }
        for seed in 0..args.seeds {
            let results = bench.run(&word, &clips, (seed, settings))?;
            print_line(args, &word, seed, &results);
            all.push(shares(&results));
        }
    }
    let column = |i: usize| {
        let (mean, half) = mean(&all.iter().map(|s| s[i]).collect::<Vec<_>>());
        format!("{mean:.1} ± {:.1} %", half.unwrap_or(f64::NAN))
    };
    print!("| mean | | | | {} | | {} | {} | {} | |", column(0), column(1), column(2), column(3));
    println!("{}", if args.float { format!(" {} |", column(4)) } else { String::new() });
    Ok(())
}

fn print_line(args: &Args, word: &str, seed: u64, results: &TrialResult) {
    let n = results.recordings;
    let [clean, noisy, one, none, float] = shares(results);
    let (low, high) = interval(results.clean[0], n);
    print!(
        "| {word} | {seed} | {n} | {:.2} | {clean:.1} % | {:.1}-{:.1} | {noisy:.1} % | {one:.1} % | \
         {none:.1} % | {:.1} %, {:.2} |",
        results.hours,
        100.0 * low,
        100.0 * high,
        100.0 * results.own.misses as f64 / n.max(1) as f64,
        results.own.false_accepts as f64 / results.hours,
    );
    println!("{}", if args.float { format!(" {float:.1} % |") } else { String::new() });
}

/// Data shared by all keywords.
struct Bench<'a> {
    args: &'a Args,
    data: ExperimentData,
    noise: Noise,
    embedded: EmbeddedBackbone,
}

impl<'a> Bench<'a> {
    fn new(args: &'a Args, pretrained: PretrainedModel) -> Result<Self> {
        let open = |name: &str| Dataset::open(args.data.join(name)).map(|c| c.examples);
        let frontend = pretrained.tables.params(pretrained.info.normalization);
        let mut negatives = if args.shipped_negatives {
            models::shipped_negatives()?
        } else {
            let mut train = open("manifest/train.jsonl")?;
            train.retain(|e| e.source.as_deref() != Some("gcin"));
            let mut hours = args.negative_hours;
            train.shuffle(&mut StdRng::seed_from_u64(7));
            train.retain(|e| {
                hours -= e.duration_s.unwrap_or(1.0) / 3600.0;
                hours > 0.0
            });
            Negatives {
                speech: load_speech(&train, &frontend, "negatives"),
                noise: load(&pretrained, &open("manifest/noise-train.jsonl")?, "noise"),
            }
        };
        for path in &args.negatives {
            let more = Dataset::open(path)?.examples;
            negatives.speech.extend(load_speech(&more, &frontend, "more negatives"));
        }
        let others = test_negatives(&args.data)?;
        let data = ExperimentData::new(negatives, &load_speech(&others, &frontend, "test speech"));
        let noise = args.data.join("manifest/noise-test.jsonl");
        let noise = Noise::load(&noise, &Dataset::open(&noise)?.examples, 1)?;
        let started = Instant::now();
        let first = settings(0, args.settings.first().map_or("{}", String::as_str));
        let embedded =
            EmbeddedBackbone::new(Backbone::new(pretrained)?, &data, &first, &Stages::silent())?;
        eprintln!("other speech heard in {:.1} s", started.elapsed().as_secs_f64());
        Ok(Self { args, data, noise, embedded })
    }

    /// Trains and tests a keyword with one seed.
    fn run(&self, word: &str, clips: &Keyword, seed: (u64, &str)) -> Result<TrialResult> {
        let (seed, changes) = seed;
        let (enrol, test) = clips.sample(self.args.samples, seed);
        let mut recordings = load(&self.embedded.backbone.pretrained, &enrol, "recordings");
        if let Some(folder) = &self.args.synthesized {
            let spoken = Dataset::open(folder.join(word))?.examples;
            // As in the command: human recordings weigh as much as synthesized ones.
            let repeats = (spoken.len() / recordings.len().max(1)).clamp(1, 10);
            recordings = vec![recordings; repeats].concat();
            recordings.extend(load(&self.embedded.backbone.pretrained, &spoken, "synthesized"));
        }
        let started = Instant::now();
        let settings = settings(seed, changes);
        let (head, own) = self.data.train(
            &self.embedded,
            self.args.train,
            &[KeywordClips::new(word, &recordings)],
            &settings,
            &Stages::silent(),
        )?;
        eprintln!("{word}: {:.1} s", started.elapsed().as_secs_f64());
        let evaluate = EvalConfig {
            rates: &RATES,
            noise: Some((&self.noise, SNR_DB)),
            float: self.args.float,
        };
        let embedded = own.as_ref().unwrap_or(&self.embedded);
        Ok(self.data.evaluate(embedded, &head[0], &test, &evaluate, seed + 1)?)
    }
}

/// Rates of false accepts per hour at which misses are counted.
const RATES: [f64; 3] = [0.5, 1.0, 0.0];
/// Level of the loudest moment of a recording over that of the noise mixed in, in dB.
const SNR_DB: f32 = 10.0;

/// Returns the shares missed, in percent: at 0.5/h clean and in noise, at 1/h, at none, at 0.5/h in
/// float.
fn shares(results: &TrialResult) -> [f64; 5] {
    let TrialResult { clean, noisy, float, .. } = results;
    [clean.first(), noisy.first(), clean.get(1), clean.get(2), float.first()]
        .map(|n| 100.0 * n.copied().unwrap_or(0) as f64 / results.recordings.max(1) as f64)
}
