//! Tests that `listen` on a real capture path detects the same as `simulate` in the same audio.
//! Skipped, with a message, if PulseAudio is missing.

use std::{
    path::Path,
    process::{Command, Output, Stdio},
};

use wakeling_audio as audio;
use wakeling_tests::{null_sink::NullSink, shipped::few_models, terminal::commands};

const PROGRAM: &str = env!("CARGO_BIN_EXE_wakeling");
/// Option for a low threshold, far from the scores. Scores depend on where within a step the
/// capture starts.
const LOOSE: [&str; 2] = ["--false-accepts-per-hour", "5"];
/// Allowed difference between two intervals of detections. The capture starts anywhere within a
/// step of 40 ms, and the detector averages over a few steps.
const TOLERANCE_S: f64 = 0.1;

fn demo(folder: &str) -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../demo").join(folder)
}

fn succeeded(output: Output) -> String {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("text")
}

/// Returns the times of the detections in lines of JSON, in seconds.
fn times(lines: &str) -> Vec<f64> {
    let time = |line: &str| {
        let line: serde_json::Value = serde_json::from_str(line).expect("a line of JSON");
        line["time_s"].as_f64()
    };
    lines.lines().filter_map(time).collect()
}

/// Checks the screen of `finetune` in the README's image against what another training logged: the
/// first line, the title of the table, its rows, and the next step.
fn the_image_shows_what_is_logged(logged: &str) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"));
    let path = folder.join("../../docs/images/terminal.txt");
    let image = commands(&std::fs::read_to_string(path).expect("an accepted screen"));
    let finetune = image.iter().find(|(command, _)| command.starts_with("wakeling finetune"));
    let (_, lines) = finetune.expect("the image shows finetune");
    let words = |line: &str| {
        let words = line.split_whitespace().filter(|word| !word.contains('/'));
        let words = words.filter(|word| !word.contains(|c: char| c.is_ascii_digit()));
        words.map(str::to_owned).collect::<Vec<_>>()
    };
    let first = |lines: &[&str], start: &str| {
        let found = lines.iter().find(|line| line.trim_start().starts_with(start));
        words(found.unwrap_or_else(|| panic!("no {start:?} in {lines:#?}")))
    };
    let image: Vec<&str> = lines.iter().map(String::as_str).collect();
    let logged: Vec<&str> = logged.lines().collect();
    for start in ["training the head alone", "sensitivity", "next:"] {
        assert_eq!(first(&image, start), first(&logged, start), "./x images makes it anew");
    }
    for start in ["strict", "normal", "eager"] {
        assert_eq!(first(&image, start)[0], first(&logged, start)[0], "./x images makes it anew");
    }
}

#[test]
fn microphone_and_recording_give_the_same_events() {
    let place = tempfile::tempdir().expect("a temporary folder");
    let Some(sink) = NullSink::start(place.path(), 16_000, 1) else { return };
    let models = few_models(place.path(), "base-s");
    let word = format!("hey wakeling={}", demo("train").display());
    let finetune = ["finetune", "--base", "base-s", "--steps", "150", "--word", &word];
    let output = Command::new(PROGRAM)
        .args(finetune)
        .args(["--negative-hours", "0", "--out", "made"])
        .current_dir(place.path())
        .env("WAKELING_MODELS", models)
        .output();
    let output = output.expect("the program starts");
    the_image_shows_what_is_logged(&String::from_utf8_lossy(&output.stderr));
    succeeded(output);

    let mut sound = vec![0; 32_000];
    for voice in ["am_onyx-0.ogg", "bf_lily-0.ogg", "am_onyx-1.ogg", "bf_lily-1.ogg"] {
        sound.extend(audio::read(demo("test").join(voice)).expect("a sample of the demo"));
        sound.resize(sound.len() + 32_000, 0);
    }
    let wav = place.path().join("said.wav");
    audio::write_wav(&wav, &sound).expect("a recording");
    let output = Command::new(PROGRAM)
        .args(["simulate", "said.wav", "--model", "made/model.wkl", "--json"])
        .args(LOOSE)
        .current_dir(place.path())
        .output();
    let recorded = times(&succeeded(output.expect("the program starts")));
    assert!(recorded.len() >= 3, "only {recorded:?} are heard in the recording");

    let seconds = (sound.len() / 16_000 + 4).to_string();
    let listener = sink
        .command(PROGRAM)
        .args(["listen", "made/model.wkl", "--json", "--seconds", &seconds])
        .args(LOOSE)
        .current_dir(place.path())
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the program starts");
    sink.wait_for_listener();
    let mut player = sink.play(&wav);
    let live = times(&succeeded(listener.wait_with_output().expect("it ends")));
    player.wait().expect("paplay ends");
    eprintln!("recorded {recorded:.2?}, live {live:.2?}");
    assert_eq!(live.len(), recorded.len(), "live {live:?}, recorded {recorded:?}");
    for (live, recorded) in live.windows(2).zip(recorded.windows(2)) {
        let difference = (live[1] - live[0]) - (recorded[1] - recorded[0]);
        assert!(difference.abs() <= TOLERANCE_S, "{difference:.3} s apart");
    }
}
