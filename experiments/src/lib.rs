//! Development keywords and data shared by several examples.

use std::{collections::BTreeMap, error::Error as StdError, fmt, path::Path};

use rand::{SeedableRng, rngs::StdRng, seq::SliceRandom};
use wakeling_audio::features::LogMel;
use wakeling_data::clip_features::load_log_mel;
use wakeling_data::{
    dataset::{Dataset, Example},
    text::clean,
};
use wakeling_nn::pretrained::PretrainedModel;
use wakeling_train::{compare::sample, finetune::Settings};

/// Error of an experiment: a text. `main` prints it as it is.
pub struct Error(String);

/// Result of an experiment.
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    /// Creates an error of the experiment itself.
    pub fn new(problem: impl Into<String>) -> Self {
        Self(problem.into())
    }
}

impl<E: StdError> From<E> for Error {
    fn from(error: E) -> Self {
        Self(error.to_string())
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Development keywords. None of them is in the training split.
pub const WORDS: [&str; 12] = [
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

/// Clips of a keyword: a part for training and a part for testing, or one list if no speaker is
/// known.
#[derive(Default)]
pub struct Keyword {
    /// Clips for training.
    pub enrol: Vec<Example>,
    /// Clips for testing, by other speakers.
    pub test: Vec<Example>,
    /// Clips without a speaker, for both.
    pub any: Vec<Example>,
}

impl Keyword {
    /// Returns all clips that may be tested.
    pub fn all_test(&self) -> &[Example] {
        if self.any.is_empty() { &self.test } else { &self.any }
    }

    /// Samples `samples` clips for training. Returns them and the clips for testing.
    pub fn sample(&self, samples: usize, seed: u64) -> (Vec<Example>, Vec<Example>) {
        if self.any.is_empty() {
            return (sample(&self.enrol, samples, 1_000 + seed), self.test.clone());
        }
        let mut all = self.any.clone();
        all.shuffle(&mut StdRng::seed_from_u64(1_000 + seed));
        let test = all.split_off(samples.min(all.len()));
        (all, test)
    }
}

/// Groups the clips of the development keywords by keyword.
pub fn words(all: &[Example]) -> BTreeMap<String, Keyword> {
    let mut words = keywords(all);
    words.retain(|text, _| WORDS.contains(&text.as_str()));
    words
}

/// Groups the clips of single words in the splits `wake-enrol`, `wake-test` and `wake-nospeaker` by
/// their text.
pub fn keywords(all: &[Example]) -> BTreeMap<String, Keyword> {
    let mut words: BTreeMap<String, Keyword> = BTreeMap::new();
    for e in all {
        let text = clean(e.text.as_deref().unwrap_or(""));
        let (Some(split), Some("word")) = (e.split.as_deref(), e.kind.as_deref()) else { continue };
        let word = words.entry(text).or_default();
        match split {
            "wake-enrol" => word.enrol.push(e.clone()),
            "wake-test" => word.test.push(e.clone()),
            "wake-nospeaker" => word.any.push(e.clone()),
            _ => {}
        }
    }
    words.retain(|_, word| {
        !(word.any.is_empty() && (word.enrol.is_empty() || word.test.is_empty()))
    });
    words
}

/// Loads 6.3 hours of speech without the development keywords, which no training uses.
pub fn test_negatives(data: &Path) -> Result<Vec<Example>> {
    let open = |name: &str| Dataset::open(data.join(name)).map(|c| c.examples);
    let mut all = open("manifest/negative.jsonl")?;
    let sentences = |e: &Example| e.source.as_deref() == Some("so762-test");
    all.extend(open("manifest/test.jsonl")?.into_iter().filter(sentences));
    for lang in ["en", "es", "fr", "it", "ru"] {
        all.extend(open(&format!("negatives/{lang}"))?);
    }
    Ok(all)
}

/// Returns the default settings with the changes of a JSON object, and a separate seed per sample
/// of recordings.
pub fn settings(seed: u64, changes: &str) -> Settings {
    let mut settings = serde_json::to_value(Settings::default()).expect("settings are JSON");
    let changes: serde_json::Map<String, serde_json::Value> =
        serde_json::from_str(changes).expect("--settings is a JSON object");
    for (name, value) in changes {
        assert!(settings.get(&name).is_some(), "there is no setting {name:?}");
        settings[name] = value;
    }
    let mut settings: Settings = serde_json::from_value(settings).expect("values of settings");
    settings.train.seed = seed + 1;
    settings
}

/// Loads the log-mel frames of all examples that can be read.
pub fn load(
    pretrained: &PretrainedModel,
    examples: &[Example],
    title: &'static str,
) -> Vec<LogMel> {
    let frontend = pretrained.tables.params(pretrained.info.normalization);
    load_log_mel(examples, &frontend, title).into_iter().flatten().collect()
}

/// Prepares the process for training, and sends messages to standard error. Call it first in `main`.
pub fn start() {
    wakeling_train::startup::prepare();
    wakeling_core::console::log_to_stderr();
}

/// Returns the CPU time of this thread, in seconds.
#[allow(unsafe_code, reason = "the clock of a thread")]
pub fn cpu_s() -> f64 {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `time` is valid for writes, and the clock exists on every Unix that we build for.
    let failed = unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &mut time) };
    assert_eq!(failed, 0, "no clock of the thread");
    time.tv_sec as f64 + time.tv_nsec as f64 / 1e9
}
