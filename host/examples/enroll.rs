//! Misses of a head that a device enrolled from five utterances, against the head that the laptop
//! trains on the same five.
//!
//! `cargo run --release --example enroll -- --data DIR [--base base-m] [--draws 3] [--words amelia]`
//!
//! `DIR` is that of `dev_words`. Each draw takes five recordings of a word, plays them with half a
//! second of faint noise around to the device's own code, and plays the other recordings and the other
//! speech to what comes of it.

use std::path::PathBuf;

use clap::Parser;
use rand::{RngExt, SeedableRng, rngs::StdRng, seq::SliceRandom};
use wakeling::{
    Result,
    audio::{self, SAMPLE_RATE},
    compare::{Ears, Figures, Ground, How, Measure, draw, mean},
    corpus::{Corpus, Example},
    enroll::{empty_entry, enroll},
    features::load_log_mel,
    finetune::Settings,
    models,
    negatives::load_speech,
    tokens::clean,
};
use wakeling_shared::enroll::UTTERANCES;

/// Enrolled heads against trained ones
#[derive(Parser)]
struct Args {
    /// Folder that holds `manifest/*.jsonl` and `negatives/`
    #[arg(long)]
    data: PathBuf,
    /// A base: a name or a path
    #[arg(long, default_value = models::DEFAULT_BASE)]
    base: String,
    /// Draws of recordings
    #[arg(long, default_value_t = 1)]
    draws: u64,
    /// Words
    #[arg(long, num_args = 1.., default_values_t = ["amelia", "athena", "hey floyd", "operator", "ó sauro", "上海"].map(String::from))]
    words: Vec<String>,
    /// Leave out the laptop's heads
    #[arg(long)]
    enrolled_only: bool,
}

const RATES: [f64; 3] = [0.5, 1.0, 0.0];

fn main() -> Result<()> {
    wakeling::startup::prepare();
    let args = Args::parse();
    let base = models::base(&args.base)?;
    let frontend = base.tables.params(base.info.normalization);
    let open = |name: &str| Corpus::open(args.data.join(name)).map(|c| c.examples);
    let mut others = open("manifest/negative.jsonl")?;
    let sentences = |e: &Example| e.source.as_deref() == Some("so762-test");
    others.extend(open("manifest/test.jsonl")?.into_iter().filter(sentences));
    for lang in ["en", "es", "fr", "it", "ru"] {
        others.extend(open(&format!("negatives/{lang}"))?);
    }
    let other = load_speech(&others, &frontend, "test speech");
    let ground = Ground::new(models::shipped_negatives()?, &other);
    // Once through the shipped negatives is enough for five recordings.
    let settings = |seed| Settings { negative_hours: 1.0, seed, ..Settings::default() };
    let ears = Ears::of(base, &ground, &settings(1))?;
    let empty = empty_entry(&ears.base, &ears.trunk, &ground.negatives, "")?;
    let all = open("manifest/all.jsonl")?;
    println!(
        "| word | draw | recordings | enrolled: 0.5/h | 1/h | own threshold, per hour | trained: 0.5/h | 1/h | own threshold, per hour |"
    );
    println!("|---|---|---|---|---|---|---|---|---|");
    let mut shares: [Vec<f64>; 2] = Default::default();
    for word in &args.words {
        for seed in 0..args.draws {
            let (mut enrol, test) = clips(&all, word, seed);
            let measure = Measure { rates: &RATES, noise: None, float: false };
            let mut rng = StdRng::seed_from_u64(seed);
            let utterances = enrol.iter().filter_map(|e| in_quiet(e, &mut rng));
            let utterances: Vec<Vec<i16>> = utterances.collect();
            let mut empty = empty.clone();
            empty.label.clone_from(word);
            let Some(entry) = enroll(&ears.base, &ears.trunk, &empty, &utterances)? else {
                println!("| {word} | {seed} | it did not hear {UTTERANCES} that are alike |");
                continue;
            };
            let enrolled = ground.measure_entry(&ears, &entry, &test, &measure, seed)?;
            print!("| {word} | {seed} | {} | {}", enrolled.recordings, cells(&enrolled));
            shares[0].push(share(&enrolled));
            if !args.enrolled_only {
                enrol.truncate(UTTERANCES);
                let frontend = ears.base.tables.params(ears.base.info.normalization);
                let recordings: Vec<_> =
                    load_log_mel(&enrol, &frontend, "recordings").into_iter().flatten().collect();
                let how: How = "head".parse().expect("a way to train");
                let recordings = (word.as_str(), recordings.as_slice().into());
                let (tuned, _) = ground.train(&ears, how, recordings, &settings(seed + 1))?;
                let trained = ground.measure(&ears, &tuned, &test, &measure, seed)?;
                print!(" {}", cells(&trained));
                shares[1].push(share(&trained));
            }
            println!();
        }
    }
    for (name, shares) in ["enrolled", "trained"].iter().zip(&shares) {
        let (mean, half) = mean(shares);
        println!("{name}: {mean:.1} ± {:.1} % at 0.5/h", half.unwrap_or(f64::NAN));
    }
    Ok(())
}

fn share(figures: &Figures) -> f64 {
    100.0 * figures.clean[0] as f64 / figures.recordings.max(1) as f64
}

fn cells(figures: &Figures) -> String {
    let percent = |n: usize| 100.0 * n as f64 / figures.recordings.max(1) as f64;
    format!(
        "{:.1} % | {:.1} % | {:.1} %, {:.2} |",
        percent(figures.clean[0]),
        percent(figures.clean[1]),
        percent(figures.own.misses),
        figures.own.false_accepts as f64 / figures.hours,
    )
}

/// Recordings to enroll with, a few more than needed since some may be too faint to be heard, and
/// those to test on; of other speakers where speakers are known.
fn clips(all: &[Example], word: &str, seed: u64) -> (Vec<Example>, Vec<Example>) {
    let of = |split: &str| -> Vec<Example> {
        let is = |e: &&Example| {
            e.split.as_deref() == Some(split)
                && e.kind.as_deref() == Some("word")
                && clean(e.text.as_deref().unwrap_or("")) == word
        };
        all.iter().filter(is).cloned().collect()
    };
    let mut any = of("wake-nospeaker");
    if any.is_empty() {
        return (draw(&of("wake-enrol"), UTTERANCES, 1_000 + seed), of("wake-test"));
    }
    any.shuffle(&mut StdRng::seed_from_u64(1_000 + seed));
    let test = any.split_off(UTTERANCES.min(any.len()));
    (any, test)
}

/// A recording between two stretches of faint noise, as a room has it.
fn in_quiet(example: &Example, rng: &mut StdRng) -> Option<Vec<i16>> {
    let pcm = audio::read(&example.path).ok()?;
    let mut room = |seconds: f64| -> Vec<i16> {
        let samples = (seconds * f64::from(SAMPLE_RATE)) as usize;
        (0..samples).map(|_| rng.random_range(-6..=6)).collect()
    };
    Some([room(0.8), pcm, room(0.8)].concat())
}
