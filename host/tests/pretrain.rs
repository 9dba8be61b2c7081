//! Pretraining by the program itself, on a corpus that it makes: folders of words, each word a chord.

use std::{path::Path, process::Command};

use wakeling::{audio, base::Base, quantize::QuantizedTrunk};

/// Writes `clips` recordings of each word, no two alike.
fn write_words(folder: &Path, clips: usize) {
    for (word, hz) in [("low", 300.0), ("high", 1_200.0)] {
        std::fs::create_dir_all(folder.join(word)).expect("a folder");
        for clip in 0..clips {
            let hz = hz * (1.0 + 0.01 * clip as f64);
            let sample = |t: i32| {
                let phase = std::f64::consts::TAU * hz * f64::from(t) / 16_000.0;
                (6_000.0 * (phase.sin() + 0.5 * (2.0 * phase).sin())) as i16
            };
            let samples: Vec<i16> = (0..6_400).map(sample).collect();
            let path = folder.join(word).join(format!("{clip:02}_nohash_0.wav"));
            audio::write_wav(path, &samples).expect("a recording");
        }
    }
}

#[test]
fn a_base_is_trained_from_folders_of_words_and_a_run_continues() {
    let place = tempfile::tempdir().expect("a temporary folder");
    let (words, out) = (place.path().join("words"), place.path().join("out"));
    write_words(&words, 45);
    let pretrain = || {
        Command::new(env!("CARGO_BIN_EXE_wakeling"))
            .args(["pretrain", "--tier", "s", "--task", "words", "--name", "tiny"])
            .args(["--steps", "12", "--rows", "1", "--workers", "1"])
            .args([Path::new("--train"), &words, Path::new("--out"), &out])
            .output()
            .expect("the program runs")
    };
    let first = pretrain();
    assert!(first.status.success(), "{}", String::from_utf8_lossy(&first.stderr));
    let path = out.join("tiny.safetensors");
    let base = Base::load(&path).expect("a base");
    QuantizedTrunk::of(&base).expect("a calibrated base");
    assert_eq!(base.info.words.outputs(), 3);
    let rows = std::fs::read_to_string(out.join("train.csv")).expect("a log").lines().count();
    assert_eq!(rows, 1 + 12);

    // All of its updates are done: the same command finds the checkpoint and ends with the same base.
    let before = std::fs::read(&path).expect("a base");
    let again = pretrain();
    assert!(String::from_utf8_lossy(&again.stderr).contains("resuming"));
    assert!(before == std::fs::read(&path).expect("a base"), "the base changed");
}
