//! Tests of the way from a written phrase to a working model, through text-to-speech programs:
//! espeak-ng if it is installed, and scripts that fail in typical ways.

#![cfg(unix)]

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Output},
};

use tempfile::TempDir;
use wakeling_audio as audio;
use wakeling_data::dataset::Dataset;
use wakeling_tests::shipped::few_models;

/// Runs the program in a folder, with the models in its `models`, if there are any.
fn wakeling(folder: &Path, arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_wakeling"))
        .args(arguments)
        .current_dir(folder)
        .env("WAKELING_MODELS", folder.join("models"))
        .output()
        .expect("the program starts")
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn succeeded(output: &Output) -> String {
    assert!(output.status.success(), "{}", stderr(output));
    stderr(output)
}

/// Creates a text-to-speech script: a tone whose pitch depends on the voice and the text, or the
/// commands in `body`. Its arguments are the voice, the file to write and the text.
fn speaker(folder: &Path, body: &str) -> String {
    use std::os::unix::fs::PermissionsExt;
    let tone = folder.join("tone.wav");
    let pcm: Vec<i16> = (0..12_000).map(|i| (8_000.0 * (i as f32 * 0.1).sin()) as i16).collect();
    audio::write_wav(&tone, &pcm).expect("a tone");
    let path = folder.join("speaker.sh");
    fs::write(&path, format!("#!/bin/sh\n{body}\n")).expect("a program");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("a program");
    format!("'{}' {{voice}} {{out}} {{text}}", path.display())
}

fn wavs(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).expect("a folder").map(|e| e.expect("a file").path());
    let mut wavs: Vec<PathBuf> =
        entries.filter(|p| p.extension().is_some_and(|e| e == "wav")).collect();
    wavs.sort();
    wavs
}

/// Script that writes an 8-bit WAV determined by voice and text: 0.6 s of a buzz.
const BUZZ: &str = r#"exec python3 - "$@" <<'END'
import sys, wave, zlib
voice, out, text = sys.argv[1:4]
period = 20 + zlib.crc32((voice + text).encode()) % 200
w = wave.open(out, "wb"); w.setnchannels(1); w.setsampwidth(1); w.setframerate(8000)
w.writeframes(bytes(200 if i % period < period // 2 else 60 for i in range(4800))); w.close()
END"#;

#[test]
fn a_run_that_was_cut_off_goes_on_and_names_every_voice() {
    if Command::new("python3").arg("--version").output().is_err() {
        eprintln!("SKIP: no python3 to stand for a program that speaks");
        return;
    }
    let place = TempDir::new().expect("a temporary folder");
    let line = speaker(place.path(), BUZZ);
    let phrase = "it's \"hey\"; $(touch pwned) `you`";
    let arguments =
        ["synthesize", phrase, "--out", "out", "--command", &line, "--voices", "a b", "c", "d"];
    let first = succeeded(&wakeling(place.path(), &arguments));
    assert!(first.contains("out: 3 of 3 files"), "{first}");
    assert!(!place.path().join("pwned").exists(), "a shell read the phrase");
    let made = wavs(&place.path().join("out"));
    assert_eq!(made.len(), 3);

    let dataset = Dataset::open(place.path().join("out/manifest.jsonl")).expect("a manifest");
    let mut voices: Vec<&str> =
        dataset.examples.iter().filter_map(|e| e.speaker.as_deref()).collect();
    voices.sort_unstable();
    assert_eq!(voices, ["a b", "c", "d"]);
    let example = &dataset.examples[0];
    assert_eq!(example.text.as_deref(), Some(phrase));
    let samples = example.load().expect("a recording").len() as f64;
    assert!((samples / 16_000.0 - 0.6).abs() < 0.01 && example.duration_s == Some(0.6));

    fs::remove_file(&made[1]).expect("a file");
    fs::write(&made[2], b"RIFF").expect("a file");
    let kept = fs::metadata(&made[0]).and_then(|m| m.modified()).expect("a file");
    let second = succeeded(&wakeling(place.path(), &arguments));
    assert!(second.contains("1 there before"), "{second}");
    assert_eq!(wavs(&place.path().join("out")), made);
    assert_eq!(fs::metadata(&made[0]).and_then(|m| m.modified()).expect("a file"), kept);

    // Another phrase in the same folder would be trained on as if it were this one.
    let other = ["synthesize", "other words", "--out", "out", "--command", &line, "--voices", "c"];
    let refused = wakeling(place.path(), &other);
    assert_eq!(refused.status.code(), Some(3));
    assert!(stderr(&refused).contains("manifest.jsonl"), "{}", stderr(&refused));
}

#[test]
fn reports_failed_programs_with_their_messages() {
    let place = TempDir::new().expect("a temporary folder");
    let run = |line: &str, rest: &[&str]| {
        let arguments =
            ["synthesize", "hey you", "--out", "out", "--command", line, "--voices", "x", "y", "z"];
        wakeling(place.path(), &[&arguments[..], rest].concat())
    };
    let silent =
        "cp tone.wav \"$2\" && head -c 44 tone.wav > \"$2\" && head -c 20000 /dev/zero >> \"$2\"";
    for (body, expected) in [
        ("echo 'model file is missing' >&2; exit 7", "model file is missing"),
        ("true", "cannot read"),
        ("cp \"$0\" \"$2\"", "speaker.sh"),
        (silent, "speaker.sh"),
        ("exec sleep 30", "still running after 0.2 s"),
    ] {
        let output = run(&speaker(place.path(), body), &["--timeout-s", "0.2"]);
        let message = stderr(&output);
        assert_eq!(output.status.code(), Some(2), "{body}: {message}");
        assert!(message.contains(expected) && message.contains("remedy:"), "{body}: {message}");
        assert!(message.contains("speaker.sh"), "the command is not named: {message}");
        assert!(wavs(&place.path().join("out")).is_empty(), "{body} left a file behind");
    }
    // If one voice of three fails, it is logged and the others still run; here, both sound the
    // same.
    let body = "[ \"$1\" = y ] && { echo no y >&2; exit 1; }\nexec cp tone.wav \"$2\"";
    let message = succeeded(&run(&speaker(place.path(), body), &[]));
    assert!(message.contains("\"y\" failed") && message.contains("no y"), "{message}");
    assert!(message.contains("1 of 3 files, 1 like another"), "{message}");
    assert_eq!(wavs(&place.path().join("out")).len(), 1);
    for (line, expected) in [
        ("no-such-program {voice} {out}", "no-such-program"),
        ("espeak-ng {voice} {text}", "{out}"),
        ("espeak-ng {voice} {speed} {out}", "--speeds"),
        ("espeak-ng {out}", "{voice}"),
    ] {
        let message = stderr(&run(line, &[]));
        assert!(message.contains(expected) && message.contains("remedy:"), "{line}: {message}");
    }
}

#[test]
fn synthetic_samples_give_a_model_that_detects_people() {
    if Command::new("espeak-ng").arg("--version").output().is_err() {
        eprintln!("SKIP: espeak-ng is not installed");
        return;
    }
    let place = TempDir::new().expect("a temporary folder");
    few_models(place.path(), "base-m");
    let demo = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../demo");
    let near =
        ["synthesize", "hey wakeling", "--out", "speech", "--negatives", "near", "--count", "60"];
    succeeded(&wakeling(place.path(), &near));
    let near = Dataset::open(place.path().join("near/manifest.jsonl")).expect("a manifest");
    assert!(near.examples.len() > 50, "{}", near.examples.len());
    assert!(near.examples.iter().all(|e| e.text.as_deref() != Some("hey wakeling")));

    let finetune = ["finetune", "--samples", "speech", "--steps", "150", "--negative-hours", "0"];
    let made = succeeded(&wakeling(place.path(), &[&finetune[..], &["--out", "alone"]].concat()));
    assert!(made.contains("60 recordings of \"hey wakeling\""), "{made}");
    let detections = |model: &str| {
        let word = format!("hey wakeling={}", demo.join("test").display());
        let talk = demo.join("talk");
        let evaluate = ["evaluate", "--model", model, "--word", &word, "--negatives"];
        let output =
            wakeling(place.path(), &[&evaluate[..], &[talk.to_str().expect("a path")]].concat());
        succeeded(&output);
        let table = String::from_utf8_lossy(&output.stdout).into_owned();
        let row =
            table.lines().find(|l| l.contains("the model's own")).unwrap_or_default().to_owned();
        let misses =
            row.split_whitespace().find_map(|w| w.strip_suffix("/24")?.parse::<usize>().ok());
        misses.unwrap_or_else(|| panic!("no count of 24 recordings in\n{table}"))
    };
    let alone = detections("alone/model.wkl");
    eprintln!("synthesized alone: {alone} of 24 missed");
    assert!(alone <= 12, "{alone} of 24 other voices are missed");

    // Five recordings of other voices in addition, under the same name.
    let few = place.path().join("few");
    fs::create_dir(&few).expect("a folder");
    let train = Dataset::open(demo.join("train")).expect("the demo's samples");
    for example in train.examples.iter().take(5) {
        fs::copy(&example.path, few.join(example.path.file_name().expect("a name")))
            .expect("a copy");
    }
    let both = ["--word", "hey wakeling=few", "--out", "both"];
    let made = succeeded(&wakeling(place.path(), &[&finetune[..], &both].concat()));
    assert!(made.contains("65 recordings of \"hey wakeling\""), "{made}");
    let both = detections("both/model.wkl");
    eprintln!("with five recordings: {both} of 24 missed");
    assert!(both <= alone + 2, "{both} missed with five recordings more, {alone} without");
}
