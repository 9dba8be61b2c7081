//! `wakeling compare`: what more recordings, and what moving more of the network, are worth.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use clap::Args;
use serde_json::{Value, json};

use super::{OtherSpeech, WordPath, open_corpora, open_corpus, parse_word};
use crate::{
    Error, Result,
    compare::{
        Ears, Ground, How, Measure, draw,
        grid::{Counts, Grid, Trial},
    },
    corpus::{Example, split_by_speaker},
    features::load_log_mel,
    files,
    finetune::Settings,
    models,
    negatives::load_speech,
    progress::progress_bar,
};

/// Share of a word's recordings that is played, where no others are given for that.
const TEST_SHARE: f64 = 0.4;

/// Compare ways of training a word, over growing numbers of recordings
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  wakeling compare --word \"hey computer=recordings/\" --talk talk/ --out runs/compare
  wakeling compare --word left=l/ right=r/ --talk talk/ --samples 5 20 --train scratch head all \\
    --draws 3 --out runs/compare

Each trial draws recordings of a word, trains on them, and plays others, of other speakers
where speakers are known, and the talk to the device's own pipeline. It prints how many are
missed at fixed false accepts per hour, as means over words and draws with intervals, and
writes compare.csv and pictures. A run that was cut off goes on where it was.

Ways of training: scratch (a trunk that was never pretrained), head (the pretrained trunk
stays), last:K (its last K blocks move as well), all. With `head` a trial takes seconds,
with the others minutes.")]
pub struct CompareArgs {
    /// A word and its recordings, of as many speakers as possible
    #[arg(long = "word", value_name = "NAME=PATH", required = true, num_args = 1..,
        value_parser = parse_word)]
    words: Vec<WordPath>,
    /// Recordings of a word to play, instead of two in five of those above
    #[arg(long = "test", value_name = "NAME=PATH", num_args = 1.., value_parser = parse_word)]
    tests: Vec<WordPath>,
    /// Speech without the words, of which no part is trained on, to count false accepts in
    #[arg(long, required = true, num_args = 1.., value_name = "PATH")]
    talk: Vec<PathBuf>,
    /// Numbers of recordings to train on
    #[arg(long, num_args = 1.., default_values_t = [1, 3, 5, 10, 20])]
    samples: Vec<usize>,
    /// Ways of training: scratch, head, last:K, all
    #[arg(long, num_args = 1.., default_values_t = ["head".parse::<How>().expect("a way")])]
    train: Vec<How>,
    /// Draws of recordings for each number
    #[arg(long, default_value_t = 1)]
    draws: u64,
    /// False accepts per hour
    #[arg(long, num_args = 1.., default_values_t = [0.5, 0.0])]
    rates: Vec<f64>,
    /// Folder for the results
    #[arg(long)]
    out: PathBuf,
    /// Name of a shipped base, or path of one
    #[arg(long, default_value = models::DEFAULT_BASE)]
    base: String,
    #[command(flatten)]
    other: OtherSpeech,
    /// Updates of the head
    #[arg(long, default_value_t = Settings::default().steps)]
    steps: usize,
    /// Updates of the trunk, where it moves
    #[arg(long, default_value_t = Settings::default().trunk_steps)]
    trunk_steps: usize,
    /// Heads that are trained and averaged
    #[arg(long, default_value_t = Settings::default().members)]
    members: usize,
    /// Worker threads
    #[arg(long, default_value_t = crate::default_workers())]
    workers: usize,
    /// Seed of everything drawn
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

/// A word's recordings: to train on, and to play.
struct Word {
    label: String,
    train: Vec<Example>,
    test: Vec<Example>,
}

/// Runs the command.
pub fn run(args: CompareArgs) -> Result<()> {
    let words = args.load_words()?;
    let _claim = files::claim(&args.out)?;
    let (table, record) = (args.out.join("compare.csv"), args.out.join("settings.json"));
    let settings = args.settings();
    let settings_text = format!("{:#}\n", args.record(&settings));
    let goes_on = table.exists();
    let mut grid = Grid::open(table, &args.rates)?;
    if goes_on {
        assert_same_ground(&record, &settings_text)?;
    }
    let trials = args.trials(&words);
    let left: Vec<_> = trials.iter().filter(|(_, _, trial)| !grid.holds(trial)).collect();
    if left.len() < trials.len() {
        eprintln!("going on: {} of {} trials are there", trials.len() - left.len(), trials.len());
    }
    if !left.is_empty() {
        files::write_atomic(&record, settings_text.as_bytes())?;
        let (ground, ears) = args.ground(&settings)?;
        let bar = progress_bar(left.len() as u64, "trials");
        for (word, how, trial) in left {
            bar.set_message(format!("{}, {how}, {} recordings", trial.word, trial.samples));
            let counts = args.trial((&ground, &ears), (word, *how, trial), &settings)?;
            grid.add(trial.clone(), counts)?;
            grid.save_pictures(&args.out)?;
            bar.inc(1);
        }
        bar.finish_and_clear();
    }
    grid.save_pictures(&args.out)?;
    print!("{}", grid.tables());
    eprintln!("{}", args.out.join("compare.csv").display());
    Ok(())
}

impl CompareArgs {
    fn load_words(&self) -> Result<Vec<Word>> {
        if let Some(test) =
            self.tests.iter().find(|t| !self.words.iter().any(|w| w.label == t.label))
        {
            let problem = format!("--test names {:?}, which no --word does", test.label);
            return Err(Error::usage(problem, "give both the same name"));
        }
        if self.samples.contains(&0) || self.draws == 0 {
            let remedy = "give --samples and --draws from 1 on";
            return Err(Error::usage("nothing to train on", remedy));
        }
        let mut words = Vec::new();
        for WordPath { label, path } in &self.words {
            let all = open_corpus(path)?;
            let mut test = Vec::new();
            for given in self.tests.iter().filter(|t| t.label == *label) {
                test.extend(open_corpus(&given.path)?);
            }
            let (train, test) =
                if test.is_empty() { parted(&all, self.seed)? } else { (all, test) };
            words.push(Word { label: label.clone(), train, test });
        }
        Ok(words)
    }

    /// Every trial; where a word has fewer recordings than asked for, that number is left out.
    fn trials<'w>(&self, words: &'w [Word]) -> Vec<(&'w Word, How, Trial)> {
        let mut trials = Vec::new();
        for word in words {
            for &samples in &self.samples {
                if samples > word.train.len() {
                    eprintln!(
                        "{:?} has {} recordings to train on: no trial with {samples}",
                        word.label,
                        word.train.len()
                    );
                    continue;
                }
                for &how in &self.train {
                    trials.extend((0..self.draws).map(|draw| {
                        let (word_name, how_name) = (word.label.clone(), how.to_string());
                        (word, how, Trial { word: word_name, how: how_name, samples, draw })
                    }));
                }
            }
        }
        trials
    }

    fn settings(&self) -> Settings {
        Settings {
            steps: self.steps,
            trunk_steps: self.trunk_steps,
            members: self.members,
            workers: self.workers,
            seed: self.seed,
            ..Settings::default()
        }
    }

    /// For `settings.json`.
    fn record(&self, settings: &Settings) -> Value {
        let paths = |words: &[WordPath]| -> Vec<_> {
            words.iter().map(|w| json!({"label": w.label, "path": w.path})).collect()
        };
        json!({
            "base": self.base,
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

    fn ground(&self, settings: &Settings) -> Result<(Ground, Ears)> {
        let base = models::base(&self.base)?;
        let frontend = base.tables.params(base.info.normalization);
        let negatives = self.other.load(&frontend)?;
        let talk = load_speech(&open_corpora(&self.talk)?, &frontend, "talk");
        if talk.is_empty() {
            let remedy = "see the lines above; give speech that can be read";
            return Err(Error::input(&self.talk[0], "no talk in it can be read", remedy));
        }
        let ground = Ground::new(negatives, &talk);
        let ears = Ears::of(base, &ground, settings)?;
        Ok((ground, ears))
    }

    fn trial(
        &self,
        (ground, ears): (&Ground, &Ears),
        (word, how, trial): (&Word, How, &Trial),
        settings: &Settings,
    ) -> Result<Counts> {
        let seed = self.seed.wrapping_add(trial.draw);
        let settings = Settings { seed, ..settings.clone() };
        let frontend = ears.base.tables.params(ears.base.info.normalization);
        let chosen = draw(&word.train, trial.samples, seed);
        let recordings: Vec<_> =
            load_log_mel(&chosen, &frontend, "recordings").into_iter().flatten().collect();
        let (tuned, own) =
            ground.train(ears, how, (&word.label, recordings.as_slice().into()), &settings)?;
        let measure = Measure { rates: &self.rates, noise: None, float: false };
        let ears = own.as_ref().unwrap_or(ears);
        Ok(Counts::from(&ground.measure(ears, &tuned, &word.test, &measure, seed)?))
    }
}

/// Recordings to train on and to play, of different speakers.
fn parted(all: &[Example], seed: u64) -> Result<(Vec<Example>, Vec<Example>)> {
    let mut parts = split_by_speaker(all, &[1.0 - TEST_SHARE, TEST_SHARE], seed)?.into_iter();
    Ok((parts.next().unwrap_or_default(), parts.next().unwrap_or_default()))
}

/// What of `settings.json` may differ between runs whose trials are of one table: words are added, and
/// neither threads nor versions make another ground.
const MAY_DIFFER: [&str; 5] = ["words", "test", "settings", "workers", "version"];

/// Trials of another ground would be summed up as if they were of this one.
///
/// # Errors
/// [`Error::Input`] if the folder's trials were made otherwise.
fn assert_same_ground(path: &Path, now: &str) -> Result<()> {
    let refused =
        |problem| Error::input(path, problem, "choose another --out folder, or remove this one");
    let before = std::fs::read_to_string(path).map_err(Error::io(path, "read"))?;
    // Both come from text, so that a number is the same however it is rounded.
    let parse = |text| {
        serde_json::from_str::<Value>(text)
            .map_err(|error| refused(format!("not the settings of a comparison: {error}")))
    };
    let (before, now) = (parse(&before)?, parse(now)?);
    let (before, now) = (facts(&before), facts(&now));
    match before.keys().chain(now.keys()).find(|name| before.get(*name) != now.get(*name)) {
        Some(name) => {
            Err(refused(format!("the trials in this folder were made with another {name}")))
        }
        None => Ok(()),
    }
}

/// What a record holds that may not differ, that inside `settings` as well.
fn facts(record: &Value) -> BTreeMap<&str, &Value> {
    let inside = |value| Value::as_object(value).into_iter().flatten();
    let all = inside(record).chain(inside(&record["settings"]));
    all.map(|(name, value)| (name.as_str(), value))
        .filter(|(name, _)| !MAY_DIFFER.contains(name))
        .collect()
}
