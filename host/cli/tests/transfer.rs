//! Tests of how much of a network is trained: results and errors of the commands, on data from the
//! repository.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Output},
};

use tempfile::TempDir;
use wakeling_nn::{head::HeadConfig, params::Params, pretrained::PretrainedModel};
use wakeling_tests::shipped::few_models;
use wakeling_train::head_checkpoint::HeadCheckpoint;

fn demo(folder: &str) -> String {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../demo").join(folder).display().to_string()
}

/// Creates a folder with the small pretrained model and one pack of negative speech.
fn place() -> TempDir {
    let place = tempfile::tempdir().expect("a temporary folder");
    few_models(place.path(), "base-s");
    place
}

fn run(place: &TempDir, arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_wakeling"))
        .args(arguments)
        .args(["--base", "base-s"])
        .current_dir(place.path())
        .env("WAKELING_MODELS", place.path().join("models"))
        .output()
        .expect("the program starts")
}

fn succeeded(output: &Output) -> (String, String) {
    let texts = [&output.stdout, &output.stderr].map(|t| String::from_utf8_lossy(t).into_owned());
    assert!(output.status.success(), "{}", texts[1]);
    let [stdout, stderr] = texts;
    (stdout, stderr)
}

fn weights(path: PathBuf) -> Params {
    PretrainedModel::load(&path).expect("a base").params
}

/// Returns the names of the parameters that differ.
fn moved(before: &Params, after: &Params) -> Vec<String> {
    let differs = |name: &String| before.values(name).ok() != after.values(name).ok();
    before.vars().map(|(name, _)| name).filter(differs).collect()
}

#[test]
fn only_the_unfrozen_blocks_change_and_the_model_detects() {
    let place = place();
    let word = format!("hey wakeling={}", demo("train"));
    let finetune = |train, out| {
        let steps = ["--steps", "150", "--backbone-steps", "15", "--train", train, "--out", out];
        // One pass over the negatives is enough here, and takes a quarter of the time.
        let quick = ["--negative-hours", "0"];
        succeeded(&run(&place, &[&["finetune", "--word", &word][..], &quick, &steps].concat()))
    };
    finetune("last:1", "last");
    let shipped = weights(place.path().join("models/base-s.safetensors"));
    let last = weights(place.path().join("last/base.safetensors"));
    let names = moved(&shipped, &last);
    assert!(!names.is_empty() && names.iter().all(|n| n.starts_with("trunk.07.")), "{names:?}");

    let (_, stderr) = finetune("auto", "auto");
    assert!(stderr.contains("training the head alone"), "{stderr}");
    assert!(!place.path().join("auto/base.safetensors").exists());

    let evaluated = Command::new(env!("CARGO_BIN_EXE_wakeling"))
        .args(["evaluate", "--model", "last/model.wkl", "--negatives", &demo("talk")])
        .args(["--word", &format!("hey wakeling={}", demo("test")), "--out", "curves"])
        .current_dir(place.path())
        .output()
        .expect("the program starts");
    succeeded(&evaluated);
    let curve = fs::read_to_string(place.path().join("curves/hey-wakeling.csv")).expect("a curve");
    // Of 24 recordings, few are missed at the threshold that accepts nothing else.
    let missed = curve.lines().nth(1).and_then(|line| line.rsplit(',').next()?.parse().ok());
    assert!(missed.is_some_and(|missed: usize| missed <= 12), "{curve}");
    let quantized = ["quantize", "--out", "again.wkl", "--head", "last/hey-wakeling.head"];
    let output = Command::new(env!("CARGO_BIN_EXE_wakeling"))
        .args(quantized)
        .args(["--base", "last/base.safetensors"])
        .current_dir(place.path())
        .output()
        .expect("the program starts");
    succeeded(&output);
    let read = |name: &str| fs::read(place.path().join(name)).expect("a model");
    assert_eq!(read("again.wkl").len(), read("last/model.wkl").len());
    let refused =
        run(&place, &["quantize", "--out", "wrong.wkl", "--head", "last/hey-wakeling.head"]);
    assert!(!refused.status.success() && !place.path().join("wrong.wkl").exists());
}

#[test]
fn more_blocks_than_there_are_and_other_words_are_refused() {
    let place = place();
    let word = format!("hey wakeling={}", demo("train"));
    for (train, problem) in [("last:9", "8 blocks"), ("last:0", "last:K"), ("most", "last:K")] {
        let out = ["--train", train, "--out", "out"];
        let output = run(&place, &[&["finetune", "--word", &word][..], &out].concat());
        let message = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success() && message.contains(problem), "{train}: {message}");
    }
}

#[test]
fn a_head_may_be_a_single_node() {
    let place = place();
    let word = format!("hey wakeling={}", demo("train"));
    let finetune = |layers| {
        let shape = ["--ensemble", "1", "--head-channels", "1", "--head-layers", layers];
        let quick = ["--steps", "60", "--negative-hours", "0", "--out", "node"];
        run(&place, &[&["finetune", "--word", &word][..], &shape, &quick].concat())
    };
    succeeded(&finetune("0"));
    let pretrained =
        PretrainedModel::load(&place.path().join("models/base-s.safetensors")).expect("a base");
    let head = HeadCheckpoint::load(&place.path().join("node/hey-wakeling.head"), &pretrained)
        .expect("a head");
    assert_eq!(head.info.head, HeadConfig { hidden: 1, temporal: Vec::new() });
    let simulated = Command::new(env!("CARGO_BIN_EXE_wakeling"))
        .args(["simulate", &demo("test"), "--model", "node/model.wkl"])
        .current_dir(place.path())
        .output()
        .expect("the program starts");
    succeeded(&simulated);
    let refused = finetune("3");
    let message = String::from_utf8_lossy(&refused.stderr);
    assert!(!refused.status.success() && message.contains("--head-layers"), "{message}");
}

/// Writes a table of the demo's phrases and talk; `talk` is the content of both columns for the
/// talk.
fn table(place: &TempDir, talk: &str) {
    let mut text = "file,hey wakeling,is synthetic\n".to_owned();
    for (folder, answers) in [("train", "1,1"), ("talk", talk)] {
        for entry in fs::read_dir(demo(folder)).expect("the demo") {
            let path = entry.expect("a file").path();
            if path.extension().is_some_and(|e| e == "ogg" || e == "wav" || e == "flac") {
                text += &format!("{},{answers}\n", path.display());
            }
        }
    }
    fs::write(place.path().join("labels.csv"), text).expect("a table");
}

#[test]
fn table_labels_recordings_with_yes_no_and_unknown() {
    let place = place();
    table(&place, "0,?");
    let train = ["finetune", "--labels", "labels.csv", "--steps", "60", "--out", "out"];
    let (_, stderr) = succeeded(&run(&place, &train));
    let settings = fs::read_to_string(place.path().join("out/settings.json")).expect("settings");
    assert!(settings.contains("labels.csv"), "{settings}");
    assert!(place.path().join("out/hey-wakeling.head").exists(), "{stderr}");
    assert!(place.path().join("out/is-synthetic.head").exists(), "{stderr}");

    let twice = format!("hey wakeling={}", demo("train"));
    let output = run(&place, &[&train[..], &["--word", &twice]].concat());
    let message = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success() && message.contains("given twice"), "{message}");
    fs::write(place.path().join("labels.csv"), "file,hey\nnowhere.wav,1\n").expect("a table");
    let output = run(&place, &train);
    let message = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success() && message.contains("labels.csv"), "{message}");
    assert!(message.contains("nowhere.wav") && message.contains("remedy"), "{message}");
}

/// Options of a comparison that only shows that the command works, not which way is better.
const QUICK: [&str; 8] =
    ["--steps", "60", "--backbone-steps", "4", "--ensemble", "1", "--negative-hours", "1"];

#[test]
fn words_are_compared_on_one_backbone_and_on_their_own() {
    let place = place();
    let (train, test, talk) = (demo("train"), demo("test"), demo("talk"));
    let word = |name: &str, folder: &str| format!("{name}={folder}");
    let fixed = ["compare", "--talk", &talk, "--out", "out", "--samples", "3"];
    let trainables = ["--train", "head", "scratch:25", "--tasks", "joint", "separate"];
    let one = ["--word", &word("one", &train), "--test", &word("one", &test)].map(str::to_owned);
    let two = ["--word", &word("two", &train), "--test", &word("two", &test)].map(str::to_owned);
    let compare = |words: &[&[String]]| {
        let words: Vec<&str> = words.iter().flat_map(|w| w.iter().map(String::as_str)).collect();
        run(&place, &[&fixed[..], &QUICK, &trainables, &words].concat())
    };
    let output = compare(&[&one]);
    let message = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success() && message.contains("nothing to share"), "{message}");
    let (table, _) = succeeded(&compare(&[&one, &two]));
    let trials = fs::read_to_string(place.path().join("out/compare.csv")).expect("a table");
    // Both use the same frozen backbone, so heads are trained once.
    for (trainable, times) in
        [("head,", 2), ("head joint", 0), ("scratch:25,", 2), ("scratch:25 joint,", 2)]
    {
        assert_eq!(
            trials.matches(&format!(",{trainable}")).count(),
            times,
            "{trainable} in {trials}"
        );
    }
    assert!(table.contains("| scratch:25 joint |") && table.contains("| head |"), "{table}");
}

#[test]
fn a_comparison_goes_on_where_it_was() {
    let place = place();
    let (train, test, talk) = (demo("train"), demo("test"), demo("talk"));
    let (word, test) = (format!("hey wakeling={train}"), format!("hey wakeling={test}"));
    let compare = |samples: &[&str], out: &str| {
        let fixed = ["compare", "--word", &word, "--test", &test, "--talk", &talk, "--out", out];
        let trainables = ["--train", "scratch", "head", "--samples"];
        run(&place, &[&fixed[..], &QUICK, &trainables, samples].concat())
    };
    let (table, _) = succeeded(&compare(&["2"], "out"));
    assert!(table.contains("| scratch |") && table.contains("| head |"), "{table}");
    let first = fs::read_to_string(place.path().join("out/compare.csv")).expect("a table");
    assert_eq!(first.lines().count(), 3, "{first}");

    let (table, stderr) = succeeded(&compare(&["2", "8", "2000"], "out"));
    assert!(stderr.contains("2 of 4 trials are done"), "{stderr}");
    assert!(stderr.contains("no trial with 2000"), "{stderr}");
    assert!(table.contains("| 2 | 8 |"), "{table}");
    let second = fs::read_to_string(place.path().join("out/compare.csv")).expect("a table");
    assert!(first.lines().all(|line| second.contains(line)), "{first}\n{second}");
    let image = fs::read_to_string(place.path().join("out/compare-0.5.svg")).expect("a picture");
    assert!(image.contains(">scratch<") && image.contains(">head<"), "{image}");

    fs::create_dir(place.path().join("other")).expect("a folder");
    fs::write(place.path().join("other/compare.csv"), "something else\n").expect("a file");
    let output = compare(&["2"], "other");
    let message = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success() && message.contains("compare.csv"), "{message}");
    let kept = fs::read_to_string(place.path().join("other/compare.csv")).expect("a file");
    assert_eq!(kept, "something else\n");
}

#[test]
fn advice_distinguishes_a_phrase_from_a_mixture() {
    let place = place();
    let advise = |path: &str| succeeded(&run(&place, &["advise", "--word", path])).0;
    let phrase = advise(&format!("hey wakeling={}", demo("train")));
    assert!(phrase.contains("  + base-s recognizes:"), "{phrase}");
    assert!(phrase.contains("--train head"), "{phrase}");
    // Unrelated sentences are no more similar to each other than negative speech is.
    let mixture = advise(&format!("talk={}", demo("talk")));
    assert!(mixture.contains("  ! base-s recognizes:"), "{mixture}");
}
