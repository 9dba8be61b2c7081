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
    evaluate::{detections, head_scores, interval, threshold_for},
    features::LogMel,
    finetune::{Prepared, Settings, finetune},
    negatives::{Negatives, trunk_outputs},
    pretrain::load_log_mel,
    quantize::QuantizedTrunk,
};

/// Misses of the development wake words
#[derive(Parser)]
struct Args {
    /// Folder that `unpack` wrote
    #[arg(long)]
    data: PathBuf,
    /// Base to fine-tune
    #[arg(long)]
    base: PathBuf,
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
    #[arg(long)]
    steps: Option<usize>,
    /// Leave out training speech beyond so many hours
    #[arg(long, default_value_t = 100.0)]
    negative_hours: f64,
}

fn main() -> Result<()> {
    wakeling::startup::prepare();
    let args = Args::parse();
    let open = |name: &str| Corpus::open(args.data.join(name)).map(|c| c.examples);
    let base = Base::load(&args.base)?;
    let trunk = QuantizedTrunk::of(&base)?;
    let frontend = base.tables.params(base.info.normalization);
    let load = |examples: &[Example], title| -> Vec<LogMel> {
        load_log_mel(examples, &frontend, title).into_iter().flatten().collect()
    };

    let mut train = open("manifest/train.jsonl")?;
    train.retain(|e| e.source.as_deref() != Some("gcin"));
    let mut hours = args.negative_hours;
    train.shuffle(&mut StdRng::seed_from_u64(7));
    train.retain(|e| {
        hours -= e.duration_s.unwrap_or(1.0) / 3600.0;
        hours > 0.0
    });
    let negatives = Negatives {
        speech: load(&train, "negatives"),
        noise: load(&open("manifest/noise-train.jsonl")?, "noise"),
    };
    let started = Instant::now();
    let prepared = Prepared::new(&base, &trunk, &negatives, 1)?;
    eprintln!("negatives prepared in {:.1} s", started.elapsed().as_secs_f64());

    let mut others = open("manifest/negative.jsonl")?;
    others.extend(
        open("manifest/test.jsonl")?
            .into_iter()
            .filter(|e| e.source.as_deref() == Some("so762-test")),
    );
    for lang in ["en", "es", "fr", "it", "ru"] {
        others.extend(open(&format!("negatives/{lang}"))?);
    }
    let other_clips = load(&others, "test speech");
    let started = Instant::now();
    let other_outputs = trunk_outputs(&base, &trunk, &test_streams(&other_clips))?;
    let other_hours = other_outputs.steps() as f64 / 180_000.0;
    eprintln!("{other_hours:.2} h of other speech in {:.1} s", started.elapsed().as_secs_f64());

    let mut sums = [0.0; 3];
    let mut count = 0.0;
    println!(
        "word            draw  misses @0.5/h             @1/h      @0/h   own 0.5/h point: misses, FA/h"
    );
    for (word, clips) in words(&open("manifest/all.jsonl")?) {
        if !args.words.is_empty() && !args.words.contains(&word) {
            continue;
        }
        for draw in 0..args.draws {
            let (enrol, test) = clips.draw(args.samples, draw);
            let settings = Settings { seed: draw + 1, ..Settings::default() };
            let settings = Settings { steps: args.steps.unwrap_or(settings.steps), ..settings };
            let started = Instant::now();
            let recordings = load(&enrol, "recordings");
            let tuned =
                finetune(&base, &trunk, &negatives, &prepared, &word, &recordings, &settings)?;
            let seconds = started.elapsed().as_secs_f64();
            let entry = &[tuned.entry(&trunk)?];
            let other = head_scores(&base, &trunk, entry, &other_outputs)?;
            let test_clips = load(&test, "test words");
            let (streams, ends) = positive_streams(&test_clips);
            let outputs = trunk_outputs(&base, &trunk, &streams)?;
            let scores = head_scores(&base, &trunk, entry, &outputs)?;
            let detector = tuned.info.detector;
            let misses_at = |threshold: i16| {
                let heard = detections(&scores, 0, &detector, threshold);
                let missed = |(heard, end): &(&Vec<usize>, &usize)| {
                    !heard.iter().any(|&t| t >= 100 && t <= *end + 50)
                };
                heard.iter().zip(&ends).filter(missed).count()
            };
            let n = test_clips.len();
            let at = |rate: f64| {
                let allowed = (rate * other_hours).floor() as usize;
                misses_at(threshold_for(&other, 0, &detector, allowed).0)
            };
            let misses = [at(0.5), at(1.0), at(0.0)];
            let (low, high) = interval(misses[0], n);
            let percent = |m: usize| 100.0 * m as f64 / n as f64;
            let own = detections(&other, 0, &detector, detector.threshold)
                .iter()
                .map(Vec::len)
                .sum::<usize>();
            println!(
                "{word:<16}{draw:>3} {:>4}/{n:<4} {:5.1} % ({:4.1}-{:4.1})  {:5.1} %  {:5.1} %   {:5.1} %, {:4.1}/h of {}  [{seconds:.0} s]",
                misses[0],
                percent(misses[0]),
                100.0 * low,
                100.0 * high,
                percent(misses[1]),
                percent(misses[2]),
                percent(misses_at(detector.threshold)),
                own as f64 / other_hours,
                tuned
                    .info
                    .points
                    .iter()
                    .map(|p| format!("{}:{}", p.false_accepts, p.threshold))
                    .collect::<Vec<_>>()
                    .join(" "),
            );
            for (sum, m) in sums.iter_mut().zip(misses) {
                *sum += percent(m);
            }
            count += 1.0;
        }
    }
    println!(
        "mean: {:.1} % at 0.5/h, {:.1} % at 1/h, {:.1} % at none",
        sums[0] / count,
        sums[1] / count,
        sums[2] / count
    );
    Ok(())
}

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
            let mut row = Row::new(200 + clip.len() + 120);
            row.add_clip(200, clip);
            (row, (200 + clip.len()) / 2)
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
