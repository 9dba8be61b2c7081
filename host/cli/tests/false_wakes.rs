//! Tests that audio which triggered a device by mistake no longer does after
//! `finetune --false-wakes`: a recording, and an event of the device's flight recorder.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use wakeling_audio as audio;
use wakeling_core::progress::NoProgress;
use wakeling_data::dataset::{Dataset, Example};
use wakeling_device::{model_file, recorder::Event};
use wakeling_shared::{
    pipeline::Pipeline,
    recorder::{DEFAULT_MARGIN, Log, Recorder},
};
use wakeling_tests::shipped::few_models;
use wakeling_train::evaluate::{TestConditions, score_clips};

fn demo(folder: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../demo").join(folder)
}

/// Fine-tunes the demo's phrase with one pack of the shipped negatives, and returns the model's
/// path.
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

/// Returns the highest mean of five consecutive logits in Q8 (the value that the detector compares)
/// for each recording.
fn peaks(model: &Path, examples: &[Example]) -> Vec<i32> {
    let bytes = model_file::read(model).expect("a model");
    let model = model_file::load(model, &bytes).expect("a model");
    let scored = score_clips(&model, examples, TestConditions::Silence, &NoProgress);
    let scored = scored.expect("it plays");
    let peak = |stream: &Vec<i16>| {
        let means = stream.windows(5).map(|w| w.iter().map(|&l| i32::from(l)).sum::<i32>() / 5);
        means.max().expect("steps")
    };
    scored.scores.streams.iter().map(peak).collect()
}

/// Runs a device with this threshold on a recording, and saves its events as `wakeling device log`
/// does.
fn record(model: &Path, threshold: i32, example: &Example, folder: &Path) -> usize {
    let bytes = model_file::read(model).expect("a model");
    let mut model = model_file::load(model, &bytes).expect("a model");
    model.words[0].detector.threshold = threshold as i16;
    let mut arena = vec![0; model.arena_bytes()];
    let mut pipeline = Pipeline::new(&model, &mut arena).expect("it has its arena");
    // As large as that of the emulated board.
    let mut recorder = Recorder::<2, 4_800>::new();
    recorder.watch(&model, DEFAULT_MARGIN);
    // A room comes first, and after the recording for the length of a window.
    let room: Vec<i16> = (0..16_000).map(|n| [2, -3, 1][n % 3]).collect();
    let pcm = audio::read(&example.path).expect("a recording");
    pipeline.push_to(&[&room[..], &pcm, &room].concat(), &mut recorder);
    let entries = (0..2).filter_map(|index| recorder.entry(index));
    let saved = entries.filter_map(|entry| {
        let features = recorder.window(entry.number)?.concat();
        Event { entry, features }.save(folder).ok()
    });
    saved.count()
}

#[test]
fn a_false_wake_disappears_after_retraining_and_the_word_stays() {
    let place = tempfile::tempdir().expect("a temporary folder");
    few_models(place.path(), "base-m");
    let talk = Dataset::open(demo("talk")).expect("the demo's samples").examples;
    let words = Dataset::open(demo("test")).expect("the demo's samples").examples;

    let before = finetune(place.path(), "before", &[]);
    let peaks_before = peaks(&before, &talk);
    let mut order: Vec<usize> = (0..talk.len()).collect();
    order.sort_by_key(|&i| -peaks_before[i]);
    let [worst, second] = [order[0], order[1]];
    // A threshold just below these two sentences makes the device accept them.
    let threshold = peaks_before[second] - 1;
    let hits = |model| peaks(model, &words).into_iter().filter(|peak| *peak > threshold).count();
    let hits_before = hits(&before);
    assert!(hits_before >= 18, "only {hits_before} of {} words are heard", words.len());

    let alarms = place.path().join("alarms");
    fs::create_dir(&alarms).expect("a folder");
    let path = &talk[worst].path;
    fs::copy(path, alarms.join(path.file_name().expect("a name"))).expect("a copy");
    let recorded = place.path().join("recorded");
    fs::create_dir(&recorded).expect("a folder");
    assert!(record(&before, threshold - 256, &talk[second], &recorded) > 0, "it recorded nothing");
    let after = finetune(place.path(), "after", &["--false-wakes", "alarms", "recorded"]);
    let again = peaks(&after, &talk);
    let hits_after = hits(&after);
    for (what, i) in [("recording", worst), ("flight recorder", second)] {
        let [then, now] = [peaks_before[i], again[i]];
        eprintln!("{what}: {then} → {now} (Q8), hits {hits_before} → {hits_after}");
        // Two logit units below the former threshold: the odds fall to less than a seventh. A sentence that
        // had low odds already falls to less than 1 in 20.
        let most = (then - 1 - 512).max(-768);
        assert!(now < most, "{what}: it still scores {now}, of {then} before");
    }
    assert!(hits_after + 2 >= hits_before, "{hits_before} words heard before, {hits_after} after");
}
