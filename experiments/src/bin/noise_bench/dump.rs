//! The test data as WAV files, so that programs in other languages are tested on the same sound.
//!
//! A folder holds `dump.json` ([`Dump`]) and the recordings of every keyword in every condition. The
//! negatives are named by path and not copied.

use std::{collections::BTreeMap, fs, ops::Range, path::Path};

use serde::Serialize;
use wakeling_audio::write_wav;
use wakeling_core::{Error, files};
use wakeling_data::dataset::{Dataset, Example};

use super::data::{CONDITIONS, Conditions};
use wakeling_experiments::{Keyword, Result, test_negatives};

/// Contents of `dump.json`.
#[derive(Serialize)]
struct Dump {
    /// Names of the conditions, in the order of the tables.
    conditions: Vec<&'static str>,
    /// Speech without the keywords, with its transcripts.
    speech: Vec<Speech>,
    /// Household noise, played alone.
    noise: Vec<String>,
    /// Babble, played alone.
    babble: Vec<String>,
    keywords: BTreeMap<String, DumpedKeyword>,
}

#[derive(Serialize)]
struct Speech {
    path: String,
    text: String,
}

#[derive(Serialize)]
struct DumpedKeyword {
    /// Files and the samples of the recording in each, by condition.
    clips: BTreeMap<&'static str, Vec<Clip>>,
    trials: Vec<Sampling>,
}

#[derive(Serialize)]
struct Clip {
    path: String,
    start: usize,
    end: usize,
}

/// Recordings of a trial.
#[derive(Serialize)]
struct Sampling {
    samples: usize,
    seed: u64,
    /// Files to train on.
    train: Vec<String>,
    /// Positions in `clips` of the recordings to test on.
    test: Vec<usize>,
}

/// Writes the test data of these keywords and of every trial to `folder`.
pub fn write(
    folder: &Path,
    data: &Path,
    keywords: &BTreeMap<&str, &Keyword>,
    (samples, seeds): (&[usize], u64),
) -> Result<()> {
    let conditions = Conditions::load(data)?;
    let create = |path: &Path| fs::create_dir_all(path).map_err(Error::io(path, "create"));
    let mut babble = Vec::new();
    create(&folder.join("babble"))?;
    for (number, clip) in conditions.babble().iter().enumerate() {
        let name = format!("babble/{number:03}.wav");
        write_wav(folder.join(&name), clip)?;
        babble.push(name);
    }
    let mut dumped = BTreeMap::new();
    for (number, (&name, keyword)) in keywords.iter().enumerate() {
        let all = keyword.all_test();
        let mut clips = BTreeMap::new();
        for (c, condition) in CONDITIONS.iter().enumerate() {
            let sub = format!("keyword{number}/{c}");
            create(&folder.join(&sub))?;
            let mut of_condition = Vec::new();
            for (index, example) in all.iter().enumerate() {
                let placed = conditions.place(condition, &example.load()?, index);
                let path = format!("{sub}/{index:03}.wav");
                write_wav(folder.join(&path), &placed.pcm)?;
                let Range { start, end } = placed.recording;
                of_condition.push(Clip { path, start, end });
            }
            clips.insert(condition.name, of_condition);
        }
        let names: BTreeMap<String, usize> = all.iter().map(Example::name).zip(0..).collect();
        let mut trials = Vec::new();
        for seed in 0..seeds {
            for &samples in samples {
                let (train, test) = keyword.sample(samples, seed);
                let train = train.iter().map(|e| e.path.display().to_string()).collect();
                let test = test.iter().filter_map(|e| names.get(&e.name()).copied()).collect();
                trials.push(Sampling { samples, seed, train, test });
            }
        }
        dumped.insert(name.to_owned(), DumpedKeyword { clips, trials });
    }
    let path_of = |example: &Example| example.path.display().to_string();
    let speech = test_negatives(data)?;
    let speech = speech
        .iter()
        .map(|e| Speech { path: path_of(e), text: e.text.clone().unwrap_or_default() })
        .collect();
    let noise = Dataset::open(data.join("manifest/noise-test.jsonl"))?.examples;
    let dump = Dump {
        conditions: CONDITIONS.iter().map(|condition| condition.name).collect(),
        speech,
        noise: noise.iter().map(path_of).collect(),
        babble,
        keywords: dumped,
    };
    let text = serde_json::to_vec_pretty(&dump)?;
    Ok(files::write_atomic(folder.join("dump.json"), &text)?)
}
