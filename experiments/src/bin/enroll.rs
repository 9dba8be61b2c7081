//! Misses of a head that a device enrolled from five utterances, compared with a head trained on
//! the same five. Also measures the similarity of five utterances that are one keyword, or are not.
//!
//! `cargo run --release -p wakeling-experiments --bin enroll -- --data DIR [--base base-s] [--seeds 3] [--words
//! amelia]`
//!
//! `DIR` is that of `dev_words`. Each seed samples five recordings of a keyword, from one speaker
//! if speakers are known, and two spares in case some are not detected. The device's own code
//! enrolls them, with the quiet of the first around each, as in one room. The enrolled head is then
//! evaluated on the speaker's other recordings (on all others if the speaker is unknown) and on
//! negative speech.
//!
//! With `--likeness`, only the similarity of five utterances is measured: of one keyword, of five
//! different words of one speaker or of several, of five pieces of one reader's sentences, and of
//! five pieces of noise. Enrollment should never accept noise.

use std::{
    collections::{BTreeMap, HashSet},
    fmt::{self, Display, Formatter},
    path::PathBuf,
};

use clap::Parser;
use rand::{
    RngExt, SeedableRng,
    rngs::StdRng,
    seq::{IndexedRandom, SliceRandom},
};
use wakeling_audio as audio;
use wakeling_audio::SAMPLE_RATE;
use wakeling_data::clip_features::load_log_mel;
use wakeling_data::{
    dataset::{Dataset, Example},
    negatives::load_speech,
    text::clean,
};
use wakeling_experiments::Result;
use wakeling_shared::enroll::{Likeness, UTTERANCES};
use wakeling_train::{
    compare::{EmbeddedBackbone, EvalConfig, ExperimentData, TrialResult},
    enroll::{Learned, empty_entry, enroll},
    finetune::{KeywordClips, Settings, Strategy, TrainSettings, progress::Stages},
    models,
    quantize::KeywordEntry,
};

/// Enrolled heads against trained ones
#[derive(Parser)]
struct Args {
    /// Folder that holds `manifest/*.jsonl` and `negatives/`
    #[arg(long)]
    data: PathBuf,
    /// Pretrained model: a name or a path
    #[arg(long = "base", value_name = "BASE", default_value = models::DEFAULT_PRETRAINED)]
    pretrained: String,
    /// Number of seeds, each with its own sample of recordings
    #[arg(long = "seeds", alias = "draws", value_name = "COUNT", default_value_t = 1)]
    seeds: u64,
    /// Keywords
    #[arg(long, num_args = 1.., default_values_t = ["amelia", "athena", "hey floyd", "ó sauro", "open", "上海", "北京"].map(String::from))]
    words: Vec<String>,
    /// Measure the similarity of five utterances of one keyword, and of five that are not one
    /// keyword
    #[arg(long)]
    likeness: bool,
    /// Leave out the trained heads
    #[arg(long)]
    enrolled_only: bool,
}

fn main() -> Result<()> {
    wakeling_experiments::start();
    let args = Args::parse();
    let all = Dataset::open(args.data.join("manifest/all.jsonl"))?.examples;
    if args.likeness {
        return likeness(&args, &all);
    }
    let backbone = models::backbone(&args.pretrained)?;
    let frontend = backbone.frontend();
    let open = |name: &str| Dataset::open(args.data.join(name)).map(|c| c.examples);
    let mut others = open("manifest/negative.jsonl")?;
    let sentences = |e: &Example| e.source.as_deref() == Some("so762-test");
    others.extend(open("manifest/test.jsonl")?.into_iter().filter(sentences));
    for lang in ["en", "es", "fr", "it", "ru"] {
        others.extend(open(&format!("negatives/{lang}"))?);
    }
    let other = load_speech(&others, &frontend, "test speech");
    let data = ExperimentData::new(models::shipped_negatives()?, &other);
    // One pass over the shipped negatives is enough for five recordings.
    let settings = |seed| {
        let train = TrainSettings { negative_hours: 1.0, seed, ..TrainSettings::default() };
        Settings { train, ..Settings::default() }
    };
    let stages = Stages::silent();
    let embedded = EmbeddedBackbone::new(backbone, &data, &settings(1), &stages)?;
    let empty = empty_entry(&embedded.backbone, &data.negatives, "")?;
    let evaluate = EvalConfig { rates: &RATES, noise: None, float: false };
    println!("| word | seeds, refused | recordings | enrolled: {COLUMNS} | trained: {COLUMNS} |");
    println!("{}|", "|---".repeat(3 + 2 * 4));
    let mut totals: [Counts; 2] = Default::default();
    for word in &args.words {
        let mut counts: [Counts; 2] = Default::default();
        let mut refused = 0;
        for seed in 0..args.seeds {
            let (mut enrol, test) = clips(&all, word, seed);
            let mut rng = StdRng::seed_from_u64(seed);
            let utterances = in_a_room(&enrol, MAX_SAMPLES, &mut rng);
            let mut empty = empty.clone();
            empty.label.clone_from(word);
            let learned = enroll(&embedded.backbone, &empty, &utterances)?;
            eprintln!("{word} {seed}: {}", reported(&learned));
            let Ok(entry) = learned.outcome else {
                refused += 1;
                continue;
            };
            let results = data.measure_entry(&embedded, &entry, &test, &evaluate, seed)?;
            counts[0].extend(&Counts::of(&results));
            if !args.enrolled_only {
                enrol.truncate(UTTERANCES);
                let frontend = embedded.backbone.frontend();
                let recordings: Vec<_> =
                    load_log_mel(&enrol, &frontend, "recordings").into_iter().flatten().collect();
                let strategy: Strategy = "head".parse().expect("a way to train");
                let keyword = KeywordClips::new(word, &recordings);
                let settings = settings(seed + 1);
                let (head, _) = data.train(&embedded, strategy, &[keyword], &settings, &stages)?;
                let results = data.evaluate(&embedded, &head[0], &test, &evaluate, seed)?;
                counts[1].extend(&Counts::of(&results));
            }
        }
        let [enrolled, trained] = &counts;
        let seeds = format!("{}, {refused}", args.seeds);
        println!("| {word} | {seeds} | {} | {enrolled} | {trained} |", enrolled.recordings);
        totals.iter_mut().zip(&counts).for_each(|(total, counts)| total.extend(counts));
    }
    let [enrolled, trained] = &totals;
    println!("| all | | {} | {enrolled} | {trained} |", enrolled.recordings);
    Ok(())
}

/// Prints the similarity of five utterances.
fn likeness(args: &Args, all: &[Example]) -> Result<()> {
    let backbone = models::backbone(&args.pretrained)?;
    let empty = empty_entry(&backbone, &models::shipped_negatives()?, "none")?;
    for word in &args.words {
        let mut taken = 0;
        for seed in 0..args.seeds {
            let mut rng = StdRng::seed_from_u64(seed);
            let (recordings, _) = clips(all, word, seed);
            let utterances = in_a_room(&recordings, MAX_SAMPLES, &mut rng);
            let learned = enroll(&backbone, &empty, &utterances)?;
            eprintln!("{word} {seed}: {}", reported(&learned));
            taken += usize::from(learned.outcome.is_ok());
        }
        println!("{word}: {taken} of {} taken", args.seeds);
    }
    let noise = Dataset::open(args.data.join("manifest/noise-test.jsonl"))?.examples;
    let kind = |kind: &str| -> Vec<Example> {
        let is =
            |e: &&Example| e.kind.as_deref() == Some(kind) && e.split.as_deref() == Some("test");
        all.iter().filter(is).cloned().collect()
    };
    let (words, sentences) = (kind("word"), kind("sentence"));
    let garbage: [(&str, &[Example], bool, usize); 4] = [
        ("one person's words", &words, true, MAX_SAMPLES),
        ("several people's words", &words, false, MAX_SAMPLES),
        ("pieces of one reader's sentences", &sentences, true, PIECE_SAMPLES),
        ("pieces of noise", &noise, false, PIECE_SAMPLES),
    ];
    for (name, from, of_one, samples) in garbage {
        let mut taken = 0;
        for seed in 0..args.seeds {
            let mut rng = StdRng::seed_from_u64(seed);
            let clips = different(from, of_one, &mut rng);
            let learned = enroll(&backbone, &empty, &in_a_room(&clips, samples, &mut rng))?;
            eprintln!("{name} {seed}: {}", reported(&learned));
            taken += usize::from(learned.outcome.is_ok());
        }
        println!("{name}: {taken} of {} taken", args.seeds);
    }
    Ok(())
}

/// Samples recordings with different texts, from one speaker if `of_one` is set.
fn different(from: &[Example], of_one: bool, rng: &mut StdRng) -> Vec<Example> {
    const WANTED: usize = UTTERANCES + SPARE;
    for first in from.sample(rng, from.len()) {
        let mut own: Vec<&Example> =
            from.iter().filter(|e| !of_one || e.speaker == first.speaker).collect();
        own.shuffle(rng);
        let mut texts = HashSet::new();
        // Noise has no text, so its clips always count as different.
        own.retain(|e| {
            e.kind.as_deref() == Some("noise") || texts.insert(e.text.as_deref().map(clean))
        });
        if own.len() >= WANTED {
            return own.into_iter().take(WANTED).cloned().collect();
        }
    }
    Vec::new()
}

fn reported(learned: &Learned<KeywordEntry>) -> String {
    let outcome = match &learned.outcome {
        Ok(_) => "taken".to_owned(),
        Err(error) => format!("{error:?}"),
    };
    match learned.likeness {
        Some(Likeness { mean_q8, least_q8 }) => {
            let [mean, least] = [mean_q8, least_q8].map(|q8| f64::from(q8) / 256.0);
            format!("{outcome}, cosines {mean:.2}, the least {least:.2}")
        }
        None => outcome,
    }
}

/// Number of spare recordings, for those that are too short or too faint to be detected.
const SPARE: usize = 2;

/// Counts over several seeds of a head.
#[derive(Default)]
struct Counts {
    recordings: usize,
    misses: [usize; 3],
    own_misses: usize,
    own_false_accepts: usize,
    hours: f64,
}

const RATES: [f64; 3] = [0.5, 1.0, 0.0];
const COLUMNS: &str =
    "missed at 0.5/h | 1/h | none | own threshold: missed, false accepts per hour";

impl Counts {
    fn of(results: &TrialResult) -> Self {
        let mut misses = [0; 3];
        misses.iter_mut().zip(&results.clean).for_each(|(own, found)| *own = *found);
        Self {
            recordings: results.recordings,
            misses,
            own_misses: results.own.misses,
            own_false_accepts: results.own.false_accepts,
            hours: results.hours,
        }
    }

    fn extend(&mut self, more: &Self) {
        self.recordings += more.recordings;
        self.misses.iter_mut().zip(&more.misses).for_each(|(sum, misses)| *sum += misses);
        self.own_misses += more.own_misses;
        self.own_false_accepts += more.own_false_accepts;
        self.hours += more.hours;
    }
}

impl Display for Counts {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let percent = |n: usize| 100.0 * n as f64 / self.recordings.max(1) as f64;
        let [half, one, none] = self.misses.map(percent);
        let own = percent(self.own_misses);
        let per_hour = self.own_false_accepts as f64 / self.hours.max(1e-9);
        write!(f, "{half:.1} % | {one:.1} % | {none:.1} % | {own:.1} %, {per_hour:.2}")
    }
}

/// Returns the recordings for enrollment, and those for testing: from one speaker with at least
/// nine recordings of the keyword, or from all speakers if there is none.
fn clips(all: &[Example], word: &str, seed: u64) -> (Vec<Example>, Vec<Example>) {
    let mut by_speaker: BTreeMap<&str, Vec<Example>> = BTreeMap::new();
    for example in all {
        let split = example.split.as_deref().unwrap_or("");
        let is_word = example.kind.as_deref() == Some("word")
            && clean(example.text.as_deref().unwrap_or("")) == word;
        if split.starts_with("wake") && is_word {
            let speaker = example.speaker.as_deref().filter(|_| split != "wake-nospeaker");
            by_speaker.entry(speaker.unwrap_or("")).or_default().push(example.clone());
        }
    }
    const RECORDED: usize = UTTERANCES + SPARE + 2;
    let mut speakers: Vec<Vec<Example>> =
        if by_speaker.values().any(|recordings| recordings.len() >= RECORDED) {
            by_speaker.into_values().filter(|recordings| recordings.len() >= RECORDED).collect()
        } else {
            vec![by_speaker.into_values().flatten().collect()]
        };
    // Each seed uses another speaker, as long as there are more.
    speakers.shuffle(&mut StdRng::seed_from_u64(999));
    let of = seed as usize % speakers.len().max(1);
    let Some(mut recordings) = speakers.into_iter().nth(of) else { return Default::default() };
    recordings.shuffle(&mut StdRng::seed_from_u64(1_000 + seed));
    let test = recordings.split_off((UTTERANCES + SPARE).min(recordings.len()));
    (recordings, test)
}

/// Maximum length of a recording of a keyword, in samples.
const MAX_SAMPLES: usize = 3 * SAMPLE_RATE as usize;
/// Length of a piece of a sentence or of noise, about that of a keyword: 1.25 s.
const PIECE_SAMPLES: usize = SAMPLE_RATE as usize * 5 / 4;

/// Returns the first `samples` samples of each recording between two stretches of 2 s of quiet. The
/// quiet is the quietest 0.1 s of the first recording, alternately forward and backward, with faint
/// noise. A device stays in one room; if the quiet changed with every recording, that change would
/// influence the result.
fn in_a_room(examples: &[Example], samples: usize, rng: &mut StdRng) -> Vec<Vec<i16>> {
    const QUIET: usize = SAMPLE_RATE as usize / 10;
    let read = |e: &Example| audio::read(&e.path).ok();
    let cut = |pcm: Vec<i16>| pcm.into_iter().take(samples).collect::<Vec<_>>();
    let clips: Vec<_> = examples.iter().filter_map(read).map(cut).collect();
    let power = |piece: &&[i16]| piece.iter().map(|&x| i64::from(x) * i64::from(x)).sum::<i64>();
    let first = clips.first().map_or(&[][..], Vec::as_slice);
    let quiet = first.windows(QUIET).step_by(QUIET / 4).min_by_key(power).unwrap_or(&[0]).to_vec();
    let mut room = || -> Vec<i16> {
        let forth_and_back = quiet.iter().chain(quiet.iter().rev()).cycle();
        let faint = |&x: &i16| x.saturating_add(rng.random_range(-6..=6));
        forth_and_back.take(2 * SAMPLE_RATE as usize).map(faint).collect()
    };
    clips.into_iter().map(|pcm| [room(), pcm, room()].concat()).collect()
}
