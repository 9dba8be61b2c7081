//! Progress of a training: stages, cancellation.

use std::{
    fs,
    time::{Duration, Instant},
};

use serde_json::{Value, json};
use wakeling_audio as audio;

use super::{ask, follow, recordings, studio, studio_of};

#[test]
fn the_progress_of_a_training_goes_through_all_stages() {
    let place = tempfile::tempdir().expect("a temporary folder");
    recordings(place.path(), 8);
    let silent = place.path().join("recordings/hey-you/take-0009.wav");
    audio::write_wav(silent, &[0; 16_000]).expect("a take");
    let (_program, url) = studio(place.path());
    ask(&url, "/api/begin", Some(&json!({ "phrase": "hey you" })));
    let state = ask(&url, "/api/train", Some(&json!({})));
    let left_out = &state["training"]["left_out"][0];
    assert_eq!(left_out["name"], "take-0009.wav", "{state}");
    // The page has a text for the kind.
    assert_eq!(left_out["fault"], "silent", "{state}");
    assert_eq!(state["training"]["takes"], json!([6, 2]), "{state}");

    let states = follow(&url, |_| false);
    let last = states.last().expect("a state");
    assert_eq!((&last["state"], &last["share"]), (&json!("done"), &json!(1.0)), "{last:#}");
    let shares: Vec<f64> = states.iter().filter_map(|s| s["share"].as_f64()).collect();
    assert!(shares.is_sorted(), "{shares:?}");
    let different = shares.chunk_by(|a, b| a == b).count();
    assert!(different > 10, "{shares:?}");
    assert!(shares.iter().any(|s| (0.01..0.5).contains(s)), "{shares:?}");
    assert!(states.iter().any(|s| s["left_s"].as_u64().is_some()), "{states:?}");
    // The page has a text for each stage, and progress lines are kept out of the messages.
    let strings = include_str!("../../../studio/src/page/strings/en.js");
    for stage in states.iter().filter_map(|s| s["stage"].as_str()).filter(|s| !s.is_empty()) {
        assert!(strings.contains(&format!("\"stage.{stage}\": ")), "{stage}");
    }
    let log: Vec<&str> =
        last["log"].as_array().expect("a log").iter().flat_map(Value::as_str).collect();
    assert!(log.iter().any(|line| line.contains("recordings of")), "{log:#?}");
    assert!(!log.iter().any(|line| line.contains("progress")), "{log:#?}");
    let state = ask(&url, "/api/state", None);
    assert_eq!((&state["model"], &state["report"]), (&json!(true), &json!(true)));
}

#[test]
fn a_training_is_cancelled_and_the_next_one_begins() {
    let place = tempfile::tempdir().expect("a temporary folder");
    recordings(place.path(), 3);
    // Negatives that were embedded before would leave a stage out.
    let (_program, url) = studio_of(place.path(), 60, &place.path().join("cache"));
    ask(&url, "/api/begin", Some(&json!({ "phrase": "hey you" })));
    let run = place.path().join("runs/hey-you");
    for work in ["mixing and embedding negatives", "mixing and embedding", "head 2 of 3"] {
        let state = ask(&url, "/api/train", Some(&json!({})));
        assert_eq!(state["training"]["state"], "finetune", "{state}");
        let is_there = |training: &Value| {
            let message = training["message"].as_str().unwrap_or("");
            message.contains(work) && training["share"].as_f64() > Some(0.0)
        };
        let states = follow(&url, is_there);
        assert_eq!(states.last().expect("a state")["state"], "finetune", "{states:#?}");
        let asked = Instant::now();
        let state = ask(&url, "/api/cancel", Some(&json!({})));
        assert_eq!(state["training"]["state"], "cancelled", "{state}");
        assert_eq!(state["model"], false, "{state}");
        // About a second on a machine that has nothing else to do.
        assert!(asked.elapsed() < Duration::from_secs(8), "{work}: {:?}", asked.elapsed());
        eprintln!("cancelled while {work} in {:?}", asked.elapsed());
        // Only lists of what is trained on are there, and nothing of the training.
        let files =
            fs::read_dir(&run).expect("the folder").map(|e| e.expect("an entry").file_name());
        let mut files: Vec<_> = files.collect();
        files.sort();
        let lists =
            ["room-test.jsonl", "room-train.jsonl", "test.jsonl", "train.jsonl", "training.json"];
        assert_eq!(files, lists);
    }
}
