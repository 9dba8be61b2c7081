//! Misses of the twelve development wake words at fixed false accepts per hour, by the int8 model.
//!
//! `cargo run --release --example dev_words -- --data DIR --base FILE [--samples 20] [--draws 3]`
//!
//! `DIR` holds `manifest/*.jsonl` and `negatives/`. Each draw takes so many recordings of a word, of
//! as many speakers as there are, trains a head on them with the base frozen, and plays the other
//! recordings and 6.3 hours of other speech to it, as streams.

use std::{collections::BTreeMap, path::PathBuf, time::Instant};

use clap::Parser;
use rand::{SeedableRng, rngs::StdRng, seq::SliceRandom};
use rayon::prelude::*;
use wakeling::{
    Result,
    base::Base,
    compose::Row,
    corpus::{Corpus, Example},
    evaluate::{
        LATE_STEPS, Scores, detections, float_scores, head_scores, interval, threshold_for,
    },
    features::{LogMel, load_log_mel},
    finetune::{Prepared, Settings, finetune},
    models,
    negatives::{Negatives, TrunkOutputs, trunk_outputs},
    quantize::QuantizedTrunk,
    tuned::Tuned,
};

/// Misses of the development wake words
#[derive(Parser)]
struct Args {
    /// Folder that `unpack` and `more-negatives` wrote
    #[arg(long)]
    data: PathBuf,
    /// Base to fine-tune: a name or a path
    #[arg(long, default_value = models::DEFAULT_BASE)]
    base: String,
    /// Recordings of each word to train on
    #[arg(long, default_value_t = 20)]
    samples: usize,
    /// Draws of recordings
    #[arg(long, default_value_t = 1)]
    draws: u64,
    /// Words to run; all if none is named
    #[arg(long, num_args = 1..)]
    words: Vec<String>,
    /// Updates of a head
    #[arg(long, default_value_t = Settings::default().steps)]
    steps: usize,
    /// Settings of fine-tuning to change, as JSON: `{"dropout": 0.3}`
    #[arg(long, default_value = "{}")]
    settings: String,
    /// Use what ships with the base instead of the training speech in DIR
    #[arg(long)]
    shipped_negatives: bool,
    /// Leave out training speech beyond so many hours
    #[arg(long, default_value_t = 100.0)]
    negative_hours: f64,
    /// Measure the float network too
    #[arg(long)]
    float: bool,
}

fn main() -> Result<()> {
    wakeling::startup::prepare();
    let args = Args::parse();
    let base = models::base(&args.base)?;
    let trunk = QuantizedTrunk::of(&base)?;
    let bench = Bench::new(&args, &base, &trunk)?;
    println!("{:.2} h of other speech; misses of the int8 model", bench.hours);
    println!(
        "| word | draw | recordings | at 0.5/h | 95 % | at 1/h | at none | own threshold: misses, per hour |{}",
        if args.float { " float at 0.5/h |" } else { "" }
    );
    println!("|---|---|---|---|---|---|---|---|{}", if args.float { "---|" } else { "" });
    let mut means = [0.0; 4];
    let mut count = 0.0;
    for (word, clips) in words(&Corpus::open(args.data.join("manifest/all.jsonl"))?.examples) {
        if !args.words.is_empty() && !args.words.contains(&word) {
            continue;
        }
        for draw in 0..args.draws {
            let shares = bench.run(&args, &word, &clips, draw)?;
            means.iter_mut().zip(&shares).for_each(|(m, s)| *m += 100.0 * s);
            count += 1.0;
        }
    }
    let means: Vec<String> = means.iter().map(|m| format!("{:.1} %", m / count)).collect();
    println!(
        "| mean | | | {} | | {} | {} | |{}",
        means[0],
        means[1],
        means[2],
        if args.float { format!(" {} |", means[3]) } else { String::new() }
    );
    Ok(())
}

/// What all words share.
struct Bench<'a> {
    base: &'a Base,
    trunk: &'a QuantizedTrunk,
    negatives: Negatives,
    prepared: Prepared,
    other_rows: Vec<Row>,
    other: TrunkOutputs,
    /// Hours of other speech to test on, without the pauses put between clips.
    hours: f64,
}

impl<'a> Bench<'a> {
    fn new(args: &Args, base: &'a Base, trunk: &'a QuantizedTrunk) -> Result<Self> {
        let open = |name: &str| Corpus::open(args.data.join(name)).map(|c| c.examples);
        let negatives = if args.shipped_negatives {
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
                speech: load(base, &train, "negatives"),
                noise: load(base, &open("manifest/noise-train.jsonl")?, "noise"),
            }
        };
        let started = Instant::now();
        let prepared = Prepared::new(base, trunk, &negatives, 1)?;
        eprintln!("negatives prepared in {:.1} s", started.elapsed().as_secs_f64());

        let mut others = open("manifest/negative.jsonl")?;
        let sentences = |e: &Example| e.source.as_deref() == Some("so762-test");
        others.extend(open("manifest/test.jsonl")?.into_iter().filter(sentences));
        for lang in ["en", "es", "fr", "it", "ru"] {
            others.extend(open(&format!("negatives/{lang}"))?);
        }
        let others = load(base, &others, "test speech");
        let hours = others.iter().map(Vec::len).sum::<usize>() as f64 / 360_000.0;
        let other_rows = test_streams(&others);
        let other = trunk_outputs(base, trunk, &other_rows)?;
        Ok(Self { base, trunk, negatives, prepared, other_rows, other, hours })
    }

    /// Trains and tests one draw of a word; shares missed at 0.5/h, 1/h, none, and in float.
    fn run(&self, args: &Args, word: &str, clips: &Word, draw: u64) -> Result<Vec<f64>> {
        let (enrol, test) = clips.draw(args.samples, draw);
        let mut settings = serde_json::to_value(Settings::default()).expect("settings are JSON");
        let changes: serde_json::Map<String, serde_json::Value> =
            serde_json::from_str(&args.settings).expect("--settings is a JSON object");
        for (name, value) in changes {
            settings[name] = value;
        }
        let settings: Settings = serde_json::from_value(settings).expect("names of settings");
        let settings = Settings { seed: draw + 1, steps: args.steps, ..settings };
        let recordings = load(self.base, &enrol, "recordings");
        let started = Instant::now();
        let tuned = finetune(
            self.base,
            self.trunk,
            &self.negatives,
            &self.prepared,
            word,
            &recordings,
            &settings,
        )?;
        eprintln!("{word}: {:.1} s", started.elapsed().as_secs_f64());
        let (rows, ends) = positive_streams(&load(self.base, &test, "test words"));
        let entry = &[tuned.entry(self.trunk)?];
        let other = head_scores(self.base, self.trunk, entry, &self.other)?;
        let outputs = trunk_outputs(self.base, self.trunk, &rows)?;
        let scores = head_scores(self.base, self.trunk, entry, &outputs)?;
        let misses = |rate: f64| self.misses(&tuned, &other, &scores, &ends, rate);
        let (half, one, none) = (misses(0.5), misses(1.0), misses(0.0));
        let detector = tuned.info.detector;
        let own = missed(&scores, &ends, &tuned, detector.threshold);
        let own_false: usize =
            detections(&other, 0, &detector, detector.threshold).iter().map(Vec::len).sum();
        let n = ends.len();
        let percent = |m: usize| 100.0 * m as f64 / n.max(1) as f64;
        let (low, high) = interval(half, n);
        let mut line = format!(
            "| {word} | {draw} | {n} | {:.1} % | {:.1}-{:.1} | {:.1} % | {:.1} % | {:.1} %, {:.2} |",
            percent(half),
            100.0 * low,
            100.0 * high,
            percent(one),
            percent(none),
            percent(own),
            own_false as f64 / self.hours,
        );
        let mut shares = vec![half, one, none];
        if args.float {
            let other = float_scores(self.base, &tuned, &self.other_rows)?;
            let scores = float_scores(self.base, &tuned, &rows)?;
            let float = self.misses(&tuned, &other, &scores, &ends, 0.5);
            line += &format!(" {:.1} % |", percent(float));
            shares.push(float);
        }
        println!("{line}");
        Ok(shares.into_iter().map(|m| m as f64 / n.max(1) as f64).collect())
    }

    /// Recordings missed at the threshold that has at most so many false accepts an hour.
    fn misses(
        &self,
        tuned: &Tuned,
        other: &Scores,
        scores: &Scores,
        ends: &[usize],
        rate: f64,
    ) -> usize {
        let allowed = (rate * self.hours).floor() as usize;
        let (threshold, _) = threshold_for(other, 0, &tuned.info.detector, allowed);
        missed(scores, ends, tuned, threshold)
    }
}

fn load(base: &Base, examples: &[Example], title: &'static str) -> Vec<LogMel> {
    let frontend = base.tables.params(base.info.normalization);
    load_log_mel(examples, &frontend, title).into_iter().flatten().collect()
}

/// Recordings in which the detector does not fire from their start to 1 s after their end.
fn missed(scores: &Scores, ends: &[usize], tuned: &Tuned, threshold: i16) -> usize {
    let heard = detections(scores, 0, &tuned.info.detector, threshold);
    let in_time = |(steps, end): &(&Vec<usize>, &usize)| {
        steps.iter().any(|t| (LEAD_FRAMES / 2..=*end + LATE_STEPS).contains(t))
    };
    ends.len() - heard.iter().zip(ends).filter(in_time).count()
}

/// Silence before a recording: 2 s.
const LEAD_FRAMES: usize = 200;

/// Clips in order with pauses, cut at 60 s.
fn test_streams(clips: &[LogMel]) -> Vec<Row> {
    let mut streams = Vec::new();
    let mut at = usize::MAX;
    for clip in clips {
        if at.saturating_add(clip.len()) > 6_000 {
            streams.push(Row::new(6_000.max(clip.len() + 60)));
            at = 20;
        }
        if let Some(row) = streams.last_mut() {
            row.add_clip(at, clip);
        }
        at += clip.len() + 30;
    }
    streams
}

/// Each clip after 2 s of silence and before 1.2 s; and the step at which it ends.
fn positive_streams(clips: &[LogMel]) -> (Vec<Row>, Vec<usize>) {
    clips
        .par_iter()
        .map(|clip| {
            let mut row = Row::new(LEAD_FRAMES + clip.len() + 120);
            row.add_clip(LEAD_FRAMES, clip);
            (row, (LEAD_FRAMES + clip.len()) / 2)
        })
        .unzip()
}

/// A word's clips: those to train on and those to test on, or all in one where no speaker is known.
#[derive(Default)]
struct Word {
    enrol: Vec<Example>,
    test: Vec<Example>,
    any: Vec<Example>,
}

impl Word {
    fn draw(&self, samples: usize, seed: u64) -> (Vec<Example>, Vec<Example>) {
        let mut rng = StdRng::seed_from_u64(1_000 + seed);
        if self.any.is_empty() {
            let mut by_speaker: BTreeMap<&str, Vec<&Example>> = BTreeMap::new();
            for e in &self.enrol {
                by_speaker.entry(e.speaker.as_deref().unwrap_or("")).or_default().push(e);
            }
            let mut speakers: Vec<_> = by_speaker.into_values().collect();
            speakers.iter_mut().for_each(|s| s.shuffle(&mut rng));
            speakers.shuffle(&mut rng);
            let deepest = speakers.iter().map(Vec::len).max().unwrap_or(0);
            let rounds = (0..deepest).flat_map(|i| speakers.iter().filter_map(move |s| s.get(i)));
            return (rounds.take(samples).map(|e| (*e).clone()).collect(), self.test.clone());
        }
        let mut all = self.any.clone();
        all.shuffle(&mut rng);
        let test = all.split_off(samples.min(all.len()));
        (all, test)
    }
}

fn words(all: &[Example]) -> BTreeMap<String, Word> {
    let names = [
        "operator",
        "wildfire",
        "open",
        "北京",
        "上海",
        "复旦",
        "athena",
        "amelia",
        "hey savant",
        "hey chatterbox",
        "hey floyd",
        "ó sauro",
    ];
    let mut words: BTreeMap<String, Word> = BTreeMap::new();
    for e in all {
        let text = wakeling::tokens::clean(e.text.as_deref().unwrap_or(""));
        let (Some(split), Some("word")) = (e.split.as_deref(), e.kind.as_deref()) else { continue };
        if !names.contains(&text.as_str()) {
            continue;
        }
        let word = words.entry(text).or_default();
        match split {
            "wake-enrol" => word.enrol.push(e.clone()),
            "wake-test" => word.test.push(e.clone()),
            "wake-nospeaker" => word.any.push(e.clone()),
            _ => {}
        }
    }
    words
}
