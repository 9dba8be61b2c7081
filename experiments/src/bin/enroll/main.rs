//! Misses and false accepts of heads that a device enrolled from a few utterances.
//!
//! ```sh
//! cargo run --release -p wakeling-experiments --bin enroll -- --data DIR --out runs/enroll \
//!   --base base-m --utterances 3 5 8 --seeds 6
//! ```
//!
//! `DIR` is that of `dev_words`. Each trial enrolls a keyword with the device's own code, on sound
//! that passes through its whole pipeline. The utterances of a trial are
//!
//! - of *one* speaker, if a keyword has speakers with enough recordings, and the test recordings are
//!   the speaker's others; or
//! - of *several* speakers, and the test recordings are of others, as in `dev_words`.
//!
//! Quiet of the recordings is around each. Two recordings are to spare, for those that the device
//! does not detect as an utterance. The enrolled head then runs on the
//! test recordings and on speech without the keyword, as int8 model. Results are counted at the
//! device's own threshold, and at the lowest thresholds with at most 2 and 0.5 false accepts an
//! hour. Trials that are already in `OUT/trials.csv` are not repeated.
//!
//! With `--likeness`, it counts how many sets of five utterances a device accepts: of one keyword,
//! of five different words, of pieces of one reader's sentences, and of pieces of noise. Enrollment
//! should never accept those of no keyword.

mod data;
mod likeness;
mod report;

use std::{collections::BTreeMap, path::PathBuf};

use clap::{Parser, ValueEnum};
use rand::{SeedableRng, rngs::StdRng};
use wakeling_data::{dataset::Dataset, negatives::load_speech, text::contains_phrase};
use wakeling_experiments::{Error, Keyword, Result, keywords, test_negatives, words};
use wakeling_shared::enroll::EnrollError;
use wakeling_train::{
    compare::in_a_row,
    embeddings::{Embeddings, embed_streams},
    enroll::{EnrollmentHead, Form, Learned, enroll},
    evaluate::{ScoredClips, ScoredKeyword, TestConditions, head_scores, threshold_for},
    models,
    quantize::{Backbone, KeywordEntry},
};

use data::{MAX_SAMPLES, Speakers, in_a_room};
use report::{Acceptance, Counts, Table, Trial};

/// Misses and false accepts of enrolled heads
#[derive(Parser)]
struct Args {
    /// Folder that `unpack` and `more-negatives` wrote
    #[arg(long)]
    data: PathBuf,
    /// Folder for trials.csv and enroll.md
    #[arg(long)]
    out: PathBuf,
    /// Pretrained model: a name or a path
    #[arg(long = "base", value_name = "BASE", default_value = models::DEFAULT_PRETRAINED)]
    pretrained: String,
    /// Form of the head: with statistics of negative speech, or plain
    #[arg(long, default_value = "statistics")]
    form: FormArg,
    /// Numbers of utterances
    #[arg(long, num_args = 1.., default_values_t = [5])]
    utterances: Vec<usize>,
    /// Number of seeds for each keyword, each with its own sample of recordings
    #[arg(long, value_name = "COUNT", default_value_t = 3)]
    seeds: u64,
    /// Manifest of other keywords: clips of single words with the splits `wake-enrol` and `wake-test`
    #[arg(long)]
    keywords: Option<PathBuf>,
    /// Keywords to run; all if none is named
    #[arg(long, num_args = 1..)]
    words: Vec<String>,
    /// Hours of speech without the keywords; 0 for all 6.3
    #[arg(long, default_value_t = 0.0)]
    hours: f64,
    /// Count which sets of five utterances are accepted
    #[arg(long)]
    likeness: bool,
    /// Print the table of the trials so far and run nothing
    #[arg(long)]
    only_report: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum FormArg {
    Statistics,
    Plain,
}

impl FormArg {
    fn form(self) -> Form {
        match self {
            Self::Statistics => Form::Statistics,
            Self::Plain => Form::Plain,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Statistics => "statistics",
            Self::Plain => "plain",
        }
    }
}

fn main() -> Result<()> {
    wakeling_experiments::start();
    let args = Args::parse();
    let mut table = Table::open(args.out.join("trials.csv"))?;
    if !args.only_report {
        let bench = Bench::new(&args)?;
        if args.likeness {
            let all = Dataset::open(args.data.join("manifest/all.jsonl"))?.examples;
            return likeness::run(&args, &bench, &all);
        }
        bench.run(&mut table)?;
    }
    table.save(&args.out)?;
    print!("{}", table.markdown());
    Ok(())
}

/// Backbone and speech that all trials share.
struct Bench<'a> {
    args: &'a Args,
    backbone: Backbone,
    empty: EnrollmentHead,
    speech: Embeddings,
    texts: Vec<String>,
    /// Share of the streams that is speech and not a pause between clips.
    spoken: f64,
}

impl<'a> Bench<'a> {
    fn new(args: &'a Args) -> Result<Self> {
        let backbone = models::backbone(&args.pretrained)?;
        let negatives = models::shipped_negatives()?;
        let empty = EnrollmentHead::new(&backbone, &negatives, "", args.form.form())?;
        let clips = load_speech(&test_negatives(&args.data)?, &backbone.frontend(), "test speech");
        let frames: usize = clips.iter().map(|clip| clip.frames.len()).sum();
        let mut streams = in_a_row(&clips);
        let all: usize = streams.streams.iter().map(wakeling_data::mixing::MelStream::len).sum();
        if args.hours > 0.0 {
            // A stream is a minute. Every k-th is kept, so that all sources are.
            let wanted = (60.0 * args.hours).ceil().max(1.0) as usize;
            let step = (streams.streams.len() / wanted).max(1);
            streams.streams = streams.streams.into_iter().step_by(step).collect();
            streams.texts = streams.texts.into_iter().step_by(step).collect();
        }
        let speech = embed_streams(&backbone, &streams.streams)?;
        let spoken = frames as f64 / all.max(1) as f64;
        Ok(Self { args, backbone, empty, speech, texts: streams.texts, spoken })
    }

    /// Runs every trial that is not in the table yet.
    fn run(&self, table: &mut Table) -> Result<()> {
        let Args { pretrained, keywords: other, .. } = self.args;
        let all = match other {
            Some(path) => keywords(&Dataset::open(path)?.examples),
            None => words(&Dataset::open(self.args.data.join("manifest/all.jsonl"))?.examples),
        };
        let chosen: BTreeMap<&String, &Keyword> = all
            .iter()
            .filter(|(name, _)| self.args.words.is_empty() || self.args.words.contains(name))
            .collect();
        for (word, clips) in chosen {
            for &utterances in &self.args.utterances {
                for speakers in [Speakers::One, Speakers::Several] {
                    for seed in 0..self.args.seeds {
                        let trial = Trial {
                            pretrained: pretrained.clone(),
                            form: self.args.form.name().to_owned(),
                            word: word.clone(),
                            speakers: speakers.name().to_owned(),
                            utterances,
                            seed,
                        };
                        if table.holds(&trial) {
                            continue;
                        }
                        if let Some(counts) = self.trial(&trial, speakers, clips)? {
                            eprintln!("{trial}: {counts}");
                            table.add(trial, counts)?;
                        }
                    }
                }
            }
        }
        Ok(())
    }

    /// Enrolls and measures a keyword. `None` if there are too few recordings.
    fn trial(&self, trial: &Trial, speakers: Speakers, clips: &Keyword) -> Result<Option<Counts>> {
        let Trial { word, utterances, seed, .. } = trial;
        let Some((enrol, test)) = speakers.sample(clips, *utterances, *seed) else {
            return Ok(None);
        };
        let rng = &mut StdRng::seed_from_u64(*seed);
        let sound = in_a_room(&enrol, MAX_SAMPLES, speakers, rng);
        let entry = match self.enroll(*utterances, &sound)?.outcome {
            Ok(entry) => entry,
            Err(EnrollError::Unlike) => return Ok(Some(Counts::of(Acceptance::Unlike))),
            Err(_) => return Ok(Some(Counts::of(Acceptance::Undetected))),
        };
        let (detector, entry) = (entry.detector, [entry]);
        let kept = (0..self.texts.len()).filter(|&i| !contains_phrase(&self.texts[i], word));
        let streams = kept.map(|i| self.speech.streams[i].clone()).collect();
        let other = head_scores(&self.backbone, &entry, &Embeddings { streams, ..self.speech })?;
        let hours = other.hours() * self.spoken;
        let silence = TestConditions::Silence;
        let rate = self.backbone.steps_per_second();
        let (streams, spans) = silence.streams(&test, &self.backbone.frontend(), rate);
        let outputs = embed_streams(&self.backbone, &streams)?;
        let scores = head_scores(&self.backbone, &entry, &outputs)?;
        let scored = ScoredClips::new(silence.name(), scores, spans);
        let scored_keyword =
            ScoredKeyword { scored: &scored, other: &other, hours, index: 0, detector };
        let own = scored_keyword.at(detector.threshold);
        let at = |rate: f64| {
            let allowed = (rate * hours).floor() as usize;
            scored_keyword.at(threshold_for(&other, 0, &detector, allowed).0).misses
        };
        Ok(Some(Counts {
            outcome: Acceptance::Accepted,
            recordings: scored_keyword.count(),
            hours,
            misses: own.misses,
            false_accepts: own.false_accepts,
            at_2: at(2.0),
            at_half: at(0.5),
        }))
    }

    /// Enrolls with the device's code.
    fn enroll(&self, utterances: usize, sound: &[Vec<i16>]) -> Result<Learned<KeywordEntry>> {
        let (backbone, empty) = (&self.backbone, &self.empty);
        Ok(match utterances {
            3 => enroll::<3>(backbone, empty, sound),
            5 => enroll::<5>(backbone, empty, sound),
            8 => enroll::<8>(backbone, empty, sound),
            _ => return Err(Error::new("--utterances takes 3, 5 or 8")),
        }?)
    }
}
