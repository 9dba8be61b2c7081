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
use wakeling::{
    Result,
    base::Base,
    compose::Row,
    corpus::{Corpus, Example},
    evaluate::{
        Heard, Noise, Played, Point, Surroundings, float_scores, head_scores, interval,
        threshold_for,
    },
    features::{LogMel, load_log_mel},
    finetune::{Prepared, Settings, finetune},
    models,
    negatives::{Negatives, Speech, Streams, TrunkOutputs, load_speech, trunk_outputs},
    quantize::QuantizedTrunk,
    tokens::clean,
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
    /// Settings of fine-tuning to change, as JSON: `{"dropout": 0.3}`; one table for each
    #[arg(long, default_value = "{}", num_args = 1..)]
    settings: Vec<String>,
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
    args.settings.iter().try_for_each(|settings| table(&args, &bench, settings))
}

/// Prints all words with some settings.
fn table(args: &Args, bench: &Bench<'_>, settings: &str) -> Result<()> {
    println!("settings {settings}\n");
    let head = "| word | draw | recordings | hours | 0.5/h | 95 % | 0.5/h at 10 dB | 1/h | none | \
                own threshold: misses, per hour |";
    println!("{head}{}", if args.float { " float, 0.5/h |" } else { "" });
    println!("{}|", "|---".repeat(if args.float { 11 } else { 10 }));
    let mut all: Vec<[f64; 5]> = Vec::new();
    for (word, clips) in words(&Corpus::open(args.data.join("manifest/all.jsonl"))?.examples) {
        if !args.words.is_empty() && !args.words.contains(&word) {
            continue;
        }
        for draw in 0..args.draws {
            let figures = bench.run(&word, &clips, (draw, settings))?;
            print_line(args, &word, draw, &figures);
            all.push(figures.shares());
        }
    }
    let column = |i: usize| {
        let (mean, half) = mean(&all.iter().map(|s| s[i]).collect::<Vec<_>>());
        format!("{mean:.1} ± {half:.1} %")
    };
    print!("| mean | | | | {} | | {} | {} | {} | |", column(0), column(1), column(2), column(3));
    println!("{}", if args.float { format!(" {} |", column(4)) } else { String::new() });
    Ok(())
}

fn print_line(args: &Args, word: &str, draw: u64, figures: &Figures) {
    let n = figures.recordings;
    let [clean, noisy, one, none, float] = figures.shares();
    let (low, high) = interval(figures.misses[0], n);
    print!(
        "| {word} | {draw} | {n} | {:.2} | {clean:.1} % | {:.1}-{:.1} | {noisy:.1} % | {one:.1} % | \
         {none:.1} % | {:.1} %, {:.2} |",
        figures.hours,
        100.0 * low,
        100.0 * high,
        100.0 * figures.own.misses as f64 / n.max(1) as f64,
        figures.own.false_accepts as f64 / figures.hours,
    );
    println!("{}", if args.float { format!(" {float:.1} % |") } else { String::new() });
}

/// What all words share.
struct Bench<'a> {
    args: &'a Args,
    base: &'a Base,
    trunk: &'a QuantizedTrunk,
    negatives: Negatives,
    prepared: Prepared,
    /// Other speech to test on, what is said in it, and what the trunk makes of it.
    other: Streams,
    outputs: TrunkOutputs,
    /// Share of the other speech that is no pause put between clips.
    spoken: f64,
    noise: Noise,
}

impl<'a> Bench<'a> {
    fn new(args: &'a Args, base: &'a Base, trunk: &'a QuantizedTrunk) -> Result<Self> {
        let open = |name: &str| Corpus::open(args.data.join(name)).map(|c| c.examples);
        let frontend = base.tables.params(base.info.normalization);
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
                speech: load_speech(&train, &frontend, "negatives"),
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
        let others = load_speech(&others, &frontend, "test speech");
        let frames: usize = others.iter().map(|s| s.frames.len()).sum();
        let other = test_streams(&others);
        let spoken = frames as f64 / other.rows.iter().map(Row::len).sum::<usize>() as f64;
        let outputs = trunk_outputs(base, trunk, &other.rows)?;
        let noise = args.data.join("manifest/noise-test.jsonl");
        let noise = Noise::load(&noise, &Corpus::open(&noise)?.examples, 1)?;
        Ok(Self { args, base, trunk, negatives, prepared, other, outputs, spoken, noise })
    }

    fn settings(&self, draw: u64, changes: &str) -> Settings {
        let mut settings = serde_json::to_value(Settings::default()).expect("settings are JSON");
        let changes: serde_json::Map<String, serde_json::Value> =
            serde_json::from_str(changes).expect("--settings is a JSON object");
        for (name, value) in changes {
            settings[name] = value;
        }
        let settings: Settings = serde_json::from_value(settings).expect("names of settings");
        Settings { seed: draw + 1, ..settings }
    }

    /// Trains and tests one draw of a word.
    fn run(&self, word: &str, clips: &Word, draw: (u64, &str)) -> Result<Figures> {
        let (draw, changes) = draw;
        let (enrol, test) = clips.draw(self.args.samples, draw);
        let recordings = load(self.base, &enrol, "recordings");
        let started = Instant::now();
        let tuned = finetune(
            self.base,
            self.trunk,
            &self.negatives,
            &self.prepared,
            word,
            &recordings,
            &self.settings(draw, changes),
        )?;
        eprintln!("{word}: {:.1} s", started.elapsed().as_secs_f64());
        // Speech in which the word is known to be said is no speech without it.
        let holding = Streams::holding(&self.other.texts, word);
        let without = |i: &usize| !holding[*i];
        let kept: Vec<usize> = (0..holding.len()).filter(without).collect();
        let streams = kept.iter().map(|&i| self.outputs.streams[i].clone()).collect();
        let outputs = TrunkOutputs { streams, ..self.outputs };
        let entry = &[tuned.entry(self.trunk)?];
        let other = head_scores(self.base, self.trunk, entry, &outputs)?;
        let hours = other.hours() * self.spoken;
        let frontend = self.base.tables.params(self.base.info.normalization);
        let rate = self.base.info.trunk.steps_per_second();
        let noisy = Surroundings::Noise { noise: &self.noise, snr_db: SNR_DB, seed: draw + 1 };
        let mut figures = Figures { hours, ..Figures::default() };
        for surroundings in [Surroundings::Silence, noisy] {
            let (rows, spans) = surroundings.rows(&test, &frontend, rate);
            let outputs = trunk_outputs(self.base, self.trunk, &rows)?;
            let scores = head_scores(self.base, self.trunk, entry, &outputs)?;
            let played = Played::new(surroundings.name(), scores, spans.clone());
            let detector = tuned.info.detector;
            let heard = Heard { played: &played, other: &other, hours, index: 0, detector };
            let at_rate = |rate: f64| {
                let (threshold, _) =
                    threshold_for(&other, 0, &detector, (rate * hours).floor() as usize);
                heard.at(threshold).misses
            };
            if matches!(surroundings, Surroundings::Silence) {
                figures.recordings = heard.count();
                figures.misses[0] = at_rate(0.5);
                figures.misses[2] = at_rate(1.0);
                figures.misses[3] = at_rate(0.0);
                figures.own = heard.at(detector.threshold);
                if self.args.float {
                    let rows_of = |i: &usize| self.other.rows[*i].clone();
                    let others: Vec<Row> = kept.iter().map(rows_of).collect();
                    let other = float_scores(self.base, &tuned, &others)?;
                    let (threshold, _) =
                        threshold_for(&other, 0, &detector, (0.5 * hours).floor() as usize);
                    let scores = float_scores(self.base, &tuned, &rows)?;
                    let float = Played::new(surroundings.name(), scores, spans);
                    let heard = Heard { played: &float, ..heard };
                    figures.misses[4] = heard.at(threshold).misses;
                }
            } else {
                figures.misses[1] = at_rate(0.5);
            }
        }
        Ok(figures)
    }
}

/// The loudest moment of a recording over that of the noise it is played in.
const SNR_DB: f32 = 10.0;

/// What one draw of a word gave.
#[derive(Default)]
struct Figures {
    recordings: usize,
    hours: f64,
    /// Recordings missed: at 0.5/h clean and in noise, at 1/h, at none, at 0.5/h in float.
    misses: [usize; 5],
    /// Counts at the threshold that the model came with.
    own: Point,
}

impl Figures {
    fn shares(&self) -> [f64; 5] {
        self.misses.map(|m| 100.0 * m as f64 / self.recordings.max(1) as f64)
    }
}

/// Mean, and the half width of its 95 % interval by the normal approximation.
fn mean(values: &[f64]) -> (f64, f64) {
    let n = values.len().max(1) as f64;
    let mean = values.iter().sum::<f64>() / n;
    let variance = values.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / (n - 1.0).max(1.0);
    (mean, 1.96 * (variance / n).sqrt())
}

fn load(base: &Base, examples: &[Example], title: &'static str) -> Vec<LogMel> {
    let frontend = base.tables.params(base.info.normalization);
    load_log_mel(examples, &frontend, title).into_iter().flatten().collect()
}

/// Clips in order with pauses, cut at 60 s.
fn test_streams(clips: &[Speech]) -> Streams {
    let mut streams = Streams::default();
    let mut at = usize::MAX;
    for Speech { frames, text } in clips {
        if at.saturating_add(frames.len()) > 6_000 {
            streams.rows.push(Row::new(6_000.max(frames.len() + 60)));
            streams.texts.push(String::new());
            at = 20;
        }
        if let (Some(row), Some(texts)) = (streams.rows.last_mut(), streams.texts.last_mut()) {
            row.add_clip(at, frames);
            *texts = format!("{texts} | {}", clean(text));
        }
        at += frames.len() + 30;
    }
    streams
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
        let text = clean(e.text.as_deref().unwrap_or(""));
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
