//! A recording that woke a device by mistake is handed to `finetune --false-wakes`, and no longer does.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use wakeling::{
    artifact,
    corpus::{Corpus, Example},
    evaluate::{Surroundings, play_clips},
};
use wakeling_tests::shipped::few_models;

fn demo(folder: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../demo").join(folder)
}

/// Fine-tunes the demo's phrase with one pack of the shipped negatives; the model.
fn finetune(place: &Path, out: &str, rest: &[&str]) -> PathBuf {
    let word = format!("hey wakeling={}", demo("train").display());
    let output = Command::new(env!("CARGO_BIN_EXE_wakeling"))
        .args(["finetune", "--word", &word, "--steps", "150", "--out", out])
        .args(rest)
        .current_dir(place)
        .env("WAKELING_MODELS", place.join("models"))
        .output()
        .expect("the program starts");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    place.join(out).join("model.wkl")
}

/// The highest mean of five logits in a row (what the detector compares), in Q8, of each recording.
fn peaks(model: &Path, examples: &[Example]) -> Vec<i32> {
    let bytes = artifact::read(model).expect("a model");
    let model = artifact::load(model, &bytes).expect("a model");
    let played = play_clips(&model, examples, Surroundings::Silence).expect("it plays");
    let peak = |stream: &Vec<i16>| {
        let means = stream.windows(5).map(|w| w.iter().map(|&l| i32::from(l)).sum::<i32>() / 5);
        means.max().expect("steps")
    };
    played.scores.streams.iter().map(peak).collect()
}

#[test]
fn a_false_wake_disappears_after_retraining_and_the_word_stays() {
    let place = tempfile::tempdir().expect("a temporary folder");
    few_models(place.path(), "base-m");
    let talk = Corpus::open(demo("talk")).expect("the demo's samples").examples;
    let words = Corpus::open(demo("test")).expect("the demo's samples").examples;

    let before = finetune(place.path(), "before", &[]);
    let heard = peaks(&before, &talk);
    let worst = (0..talk.len()).max_by_key(|&i| heard[i]).expect("recordings");
    // A device whose threshold lies just below this sentence is woken by it.
    let threshold = heard[worst] - 1;
    let hits = |model| peaks(model, &words).into_iter().filter(|peak| *peak > threshold).count();
    let hits_before = hits(&before);
    assert!(hits_before >= 18, "only {hits_before} of {} words are heard", words.len());

    let alarms = place.path().join("alarms");
    fs::create_dir(&alarms).expect("a folder");
    let path = &talk[worst].path;
    fs::copy(path, alarms.join(path.file_name().expect("a name"))).expect("a copy");
    let after = finetune(place.path(), "after", &["--false-wakes", "alarms"]);
    let again = peaks(&after, &talk)[worst];
    let hits_after = hits(&after);
    eprintln!("false wake {} → {again} (Q8), hits {hits_before} → {hits_after}", heard[worst]);
    // Two units of a logit below: the odds fall to less than a seventh.
    assert!(again < threshold - 512, "it still scores {again}, of {threshold} before");
    assert!(hits_after + 2 >= hits_before, "{hits_before} words heard before, {hits_after} after");
}
