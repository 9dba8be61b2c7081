//! Tests of the built program with realistic bad input: files that are missing, empty, truncated or
//! of another kind, and places that cannot be written.
//!
//! Each must end with a nonzero exit code and a message that names the file and a remedy, and never
//! with a panic. An existing output file must stay unchanged.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Output},
};

use tempfile::TempDir;
use wakeling_audio as audio;
use wakeling_tests::{
    Tier,
    hostile::own::{small_head, small_pretrained},
    random_model, sound,
};

/// Keyword of [`random_model`].
const WORD: &str = "hey wakeling";
/// Previous content of an output file.
const BEFORE: &[u8] = b"what was there before";

/// Folder with good files, and with every bad file that the tests name.
struct TestDir(TempDir);

impl TestDir {
    fn new() -> Self {
        let place = Self(tempfile::tempdir().expect("a temporary folder"));
        let model = random_model(1, Tier::Tiny);
        place.write("good.wkl", &model);
        place.write("cut.wkl", &model[..model.len() - 7]);
        let mut other = model.clone();
        other[4] = 9;
        place.write("version.wkl", &other);
        place.write("text.wkl", b"# not a model\n");
        place.write("empty.wkl", b"");

        let pcm = sound::speech_like(1, 1);
        fs::create_dir(place.path("good")).expect("a folder");
        audio::write_wav(place.path("good/a.wav"), &pcm).expect("a recording");
        fs::create_dir(place.path("other")).expect("a folder");
        audio::write_wav(place.path("other/a.wav"), &pcm).expect("a recording");
        let wav = fs::read(place.path("good/a.wav")).expect("a recording");
        for (name, bytes) in bad_recordings(&wav) {
            place.write(name, &bytes);
        }
        for folder in ["hollow", "folder.wav", "folder.wkl", "models"] {
            fs::create_dir(place.path(folder)).expect("a folder");
        }
        place.write_pretrained();
        place
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn write(&self, name: &str, bytes: &[u8]) {
        fs::write(self.path(name), bytes).expect("a temporary file");
    }

    /// Writes a pretrained model with random weights, `base.safetensors`, and a head on it,
    /// `hey.head`.
    fn write_pretrained(&self) {
        let pretrained = small_pretrained();
        pretrained.save(&self.path("base.safetensors")).expect("a base");
        small_head(&pretrained).save(&self.path("hey.head")).expect("a head");
        let bytes = fs::read(self.path("hey.head")).expect("a head");
        self.write("cut.head", &bytes[..bytes.len() / 2]);
        self.write("text.head", b"# not a head\n");
        self.write("empty.head", b"");
    }

    /// Runs the program in this folder, with only the models in `models/`.
    fn run(&self, arguments: &[&str]) -> Output {
        Command::new(env!("CARGO_BIN_EXE_wakeling"))
            .args(arguments)
            .current_dir(self.0.path())
            .env("WAKELING_MODELS", self.path("models"))
            .output()
            .expect("the program starts")
    }

    /// Runs the program, which must fail and name `file`.
    fn refused(&self, arguments: &[&str], file: &str) {
        let output = self.run(arguments);
        let message = String::from_utf8_lossy(&output.stderr);
        let command = arguments.join(" ");
        let code = output.status.code();
        assert!(code.is_some_and(|c| c != 0), "`{command}` ends with {code:?}:\n{message}");
        assert!(!message.contains("panicked"), "`{command}`:\n{message}");
        assert!(message.contains(file), "`{command}` does not name {file}:\n{message}");
        assert!(message.contains("remedy:"), "`{command}` names no remedy:\n{message}");
    }
}

fn bad_recordings(wav: &[u8]) -> [(&'static str, Vec<u8>); 4] {
    let mut silent = wav[..44].to_vec();
    silent[40..44].fill(0);
    [
        ("zero.wav", Vec::new()),
        ("headed.wav", silent),
        // Not a single sample is complete. A longer truncated file is used up to its end.
        ("cut.wav", wav[..45].to_vec()),
        ("text.wav", b"it rains in the mountains\n".to_vec()),
    ]
}

/// Paths without a valid recording, each bad in another way.
const NO_RECORDINGS: [&str; 7] =
    ["missing.wav", "hollow", "zero.wav", "headed.wav", "cut.wav", "text.wav", "folder.wav"];
const NO_MODELS: [&str; 6] =
    ["missing.wkl", "empty.wkl", "text.wkl", "cut.wkl", "version.wkl", "folder.wkl"];

#[test]
fn simulate_rejects_unreadable_audio() {
    let place = TestDir::new();
    for file in NO_RECORDINGS {
        place.refused(&["simulate", file, "--model", "good.wkl"], file);
    }
    for model in NO_MODELS {
        place.refused(&["simulate", "good", "--model", model], model);
    }
    assert!(place.run(&["simulate", "good", "--model", "good.wkl"]).status.success());
}

fn evaluate_refuses(place: &TestDir, (model, word, negatives): (&str, &str, &str), file: &str) {
    let word = format!("{WORD}={word}");
    let arguments = ["evaluate", "--model", model, "--word", &word, "--negatives", negatives];
    place.refused(&[&arguments[..], &["--out", "out"]].concat(), file);
    assert!(!place.path("out").exists(), "{arguments:?} left something behind");
}

#[test]
fn evaluate_refuses_models_and_folders_that_are_none() {
    let place = TestDir::new();
    for model in NO_MODELS {
        evaluate_refuses(&place, (model, "good", "other"), model);
    }
    for file in ["missing.wav", "hollow", "folder.wav"] {
        evaluate_refuses(&place, ("good.wkl", file, "other"), file);
        evaluate_refuses(&place, ("good.wkl", "good", file), file);
    }
}

#[test]
fn evaluate_rejects_unreadable_audio() {
    let place = TestDir::new();
    for file in NO_RECORDINGS {
        evaluate_refuses(&place, ("good.wkl", file, "other"), file);
        evaluate_refuses(&place, ("good.wkl", "good", file), file);
    }
}

#[test]
fn evaluate_mixes_noise_at_every_level_asked_for() {
    let place = TestDir::new();
    let word = format!("{WORD}=good");
    let evaluate = ["evaluate", "--model", "good.wkl", "--word", &word, "--negatives", "other"];
    for file in NO_RECORDINGS {
        place.refused(&[&evaluate[..], &["--noise", file]].concat(), file);
    }
    let noisy = [&evaluate[..], &["--noise", "good", "--snr", "10"]].concat();
    let output = place.run(&[&noisy[..], &["inf"]].concat());
    let message = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{message}");
    assert!(message.contains("--snr") && message.contains("from -30 to 60"), "{message}");
    let output = place.run(&[&noisy[..], &["-5", "--out", "curves"]].concat());
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(text.contains("misses, clean"), "{text}");
    assert!(text.contains("misses, 10 dB") && text.contains("misses, -5 dB"), "{text}");
    let curve = fs::read_to_string(place.path("curves/hey-wakeling.csv")).expect("a curve");
    let head = "threshold_q8,false_accepts,misses_clean,misses_10_dB,misses_-5_dB,hours,\
                at_most_per_hour,too_short_for_a_rate\n";
    assert!(curve.starts_with(head), "{curve}");
    // The verdict is the first line, and a file for programs.
    let verdict = text.lines().next().unwrap_or_default();
    assert!(verdict.starts_with("In a quiet room it misse"), "{text}");
    assert!(verdict.contains("; in noise at 10 dB ") && verdict.contains(", at -5 dB "), "{text}");
    let summary = fs::read(place.path("curves/report.json")).expect("a summary");
    let summary: serde_json::Value = serde_json::from_slice(&summary).expect("JSON");
    assert_eq!(summary["verdict"], verdict);
    assert_eq!(summary["keywords"][0]["label"], WORD);
    let levels: Vec<_> =
        (0..3).map(|i| summary["keywords"][0]["misses"][i]["snr_db"].as_f64()).collect();
    assert_eq!(levels, [None, Some(10.0), Some(-5.0)]);
}

#[test]
fn evaluate_writes_the_same_page_for_the_same_date() {
    let place = TestDir::new();
    let word = format!("{WORD}=good");
    let evaluate = |date: &str, page: &str| {
        Command::new(env!("CARGO_BIN_EXE_wakeling"))
            .args(["evaluate", "--model", "good.wkl", "--word", &word, "--negatives", "other"])
            .args(["--report", page, "--out", "results"])
            .current_dir(place.0.path())
            .env("WAKELING_MODELS", place.path("models"))
            .env("SOURCE_DATE_EPOCH", date)
            .output()
            .expect("the program starts")
    };
    let mut pages = Vec::new();
    for _ in 0..2 {
        let output = evaluate("1796046600", "page.html");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        pages.push(fs::read_to_string(place.path("page.html")).expect("a page"));
    }
    assert_eq!(pages[0], pages[1]);
    assert!(pages[0].contains("30 November 2026, 13:50 UTC"));
    // The command can be typed again, with its quotes.
    let command = "<code>wakeling evaluate --model good.wkl --word &#39;hey wakeling=good&#39; --negatives other";
    assert!(pages[0].contains(command), "{}", pages[0]);
    for date in ["", "today", "-1"] {
        let output = evaluate(date, "other.html");
        let message = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{message}");
        assert!(message.contains("SOURCE_DATE_EPOCH"), "{message}");
        assert!(!place.path("other.html").exists());
    }
}

/// Returns the lines that a headless browser writes to its console while it shows a page; `None` if
/// there is no browser.
fn console(page: &Path, profile: &Path) -> Option<Vec<String>> {
    let output = Command::new("chromium")
        .args(["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"])
        .args(["--disable-background-networking", "--disable-component-update", "--disable-sync"])
        .args(["--enable-logging=stderr", "--v=0", "--dump-dom"])
        .arg(format!("--user-data-dir={}", profile.display()))
        .arg(format!("file://{}", page.display()))
        .output()
        .ok()?;
    let dom = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(dom.contains("</footer>"), "the page is not shown to its end:\n{dom}");
    let log = String::from_utf8_lossy(&output.stderr).into_owned();
    Some(log.lines().filter(|line| line.contains("CONSOLE")).map(String::from).collect())
}

#[test]
fn evaluate_writes_a_page_that_a_browser_shows_without_complaint() {
    let place = TestDir::new();
    let word = format!("{WORD}=good");
    let evaluate = ["evaluate", "--model", "good.wkl", "--word", &word, "--negatives", "other"];
    let rest = ["--noise", "good", "--report", "page.html"];
    let output = place.run(&[&evaluate[..], &rest].concat());
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(String::from_utf8_lossy(&output.stdout).ends_with("page.html\n"));
    let page = fs::read_to_string(place.path("page.html")).expect("a page");
    assert!(page.contains("good.wkl") && page.contains("<audio "), "{page}");
    place.refused(&[&evaluate[..], &["--report", "hollow"]].concat(), "hollow");
    for head in ["missing.head", "text.head", "hey.head"] {
        let float = ["--report", "page.html", "--base", "base.safetensors", "--float", head];
        place.refused(&[&evaluate[..], &float].concat(), head);
    }

    let Some(console_lines) = console(&place.path("page.html"), &place.path("profile")) else {
        eprintln!("SKIP: no chromium to show the page");
        return;
    };
    assert!(console_lines.is_empty(), "{console_lines:#?}");
    // Verifies that this check does report an error.
    let broken = page.replace("<footer>", "<script>1</script><footer>");
    place.write("broken.html", broken.as_bytes());
    let complaints = console(&place.path("broken.html"), &place.path("profile"));
    assert!(complaints.is_some_and(|lines| !lines.is_empty()), "a forbidden script is not seen");
}

#[test]
fn finetune_refuses_what_it_cannot_learn_from() {
    let place = TestDir::new();
    let finetune = |pretrained: &str, word: &str, negatives: &str, file: &str| {
        let word = format!("hey={word}");
        let arguments =
            ["finetune", "--word", &word, "--base", pretrained, "--negatives", negatives];
        place.refused(&[&arguments[..], &["--only-own", "--out", "out"]].concat(), file);
        assert!(!place.path("out/model.wkl").exists(), "{arguments:?} left a model behind");
    };
    for pretrained in ["missing.safetensors", "text.head", "empty.head", "cut.head", "folder.wkl"] {
        finetune(pretrained, "good", "other", pretrained);
    }
    for file in NO_RECORDINGS {
        let finetune_on = ["finetune", "--word", "hey=good", "--base", "base.safetensors"];
        let rest = ["--negatives", "other", "--only-own", "--out", "out", "--false-wakes", file];
        place.refused(&[&finetune_on[..], &rest].concat(), file);
        finetune("base.safetensors", file, "other", file);
        finetune("base.safetensors", "good", file, file);
    }
}

#[test]
fn quantize_refuses_what_is_no_head() {
    let place = TestDir::new();
    place.write("out.wkl", BEFORE);
    let quantize = |head: &str, pretrained: &str, file: &str| {
        place
            .refused(&["quantize", "--head", head, "--base", pretrained, "--out", "out.wkl"], file);
        assert_eq!(
            fs::read(place.path("out.wkl")).expect("it is there"),
            BEFORE,
            "{head} {pretrained}"
        );
    };
    for head in ["missing.head", "empty.head", "text.head", "cut.head", "hollow", "good.wkl"] {
        quantize(head, "base.safetensors", head);
    }
    for pretrained in ["missing.safetensors", "text.head", "hey.head", "folder.wkl"] {
        quantize("hey.head", pretrained, pretrained);
    }
}

#[test]
fn reports_an_unwritable_folder_and_leaves_it_alone() {
    let place = TestDir::new();
    place.write("file", BEFORE);
    let quantize = ["quantize", "--head", "hey.head", "--base", "base.safetensors", "--out"];
    for out in ["hollow", "file/out.wkl", "missing/out.wkl", "/dev/full"] {
        if Path::new(out).is_absolute() && !Path::new(out).exists() {
            eprintln!("skipped: this system has no {out}");
            continue;
        }
        place.refused(&[&quantize[..], &[out]].concat(), out);
    }
    assert_eq!(fs::read_dir(place.path("hollow")).expect("a folder").count(), 0);

    let word = format!("{WORD}=good");
    let evaluate =
        ["evaluate", "--model", "good.wkl", "--word", &word, "--negatives", "other", "--out"];
    place.refused(&[&evaluate[..], &["file"]].concat(), "file");
    let finetune = ["finetune", "--word", "hey=good", "--base", "base.safetensors"];
    let rest = ["--only-own", "--negatives", "other", "--out", "file"];
    place.refused(&[&finetune[..], &rest[..]].concat(), "file");
    assert_eq!(fs::read(place.path("file")).expect("it is there"), BEFORE);

    // The same commands succeed without an obstacle, so the failures above had the expected cause.
    assert!(place.run(&[&quantize[..], &["new.wkl"]].concat()).status.success());
    assert!(place.run(&["simulate", "good", "--model", "new.wkl"]).status.success());
    assert!(place.run(&[&evaluate[..], &["curves"]].concat()).status.success());
}

/// Uses a link to `/dev/full` in place of a file on a full disk.
#[cfg(target_os = "linux")]
#[test]
fn reports_a_full_disk() {
    use std::{fs::File, os::unix::fs::symlink, process::Stdio};

    let place = TestDir::new();
    fs::create_dir(place.path("curves")).expect("a folder");
    symlink("/dev/full", place.path("curves/hey-wakeling.csv")).expect("a link");
    let word = format!("{WORD}=good");
    let evaluate =
        ["evaluate", "--model", "good.wkl", "--word", &word, "--negatives", "other", "--out"];
    place.refused(&[&evaluate[..], &["curves"]].concat(), "hey-wakeling.csv");

    let full = File::options().write(true).open("/dev/full").expect("Linux has it");
    let output = Command::new(env!("CARGO_BIN_EXE_wakeling"))
        .args(["simulate", "good", "--model", "good.wkl"])
        .current_dir(place.0.path())
        .stdout(Stdio::from(full))
        .output()
        .expect("the program starts");
    let message = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(4), "{message}");
    assert!(message.contains("standard output") && message.contains("remedy:"), "{message}");
}

#[test]
fn check_phrase_warns_of_phrases_and_refuses_what_is_none() {
    let place = TestDir::new();
    let check = |arguments: &[&str]| {
        let output =
            place.run(&[&["check-phrase", "--g2p", "no-such-program"], arguments].concat());
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).expect("text")
    };
    let text = check(&["open", "背景", "hey wakeling"]);
    for part in ["open: poor", "common: spoken about", "北京", "install espeak-ng"] {
        assert!(text.contains(part), "no {part:?} in\n{text}");
    }
    let line: serde_json::Value = serde_json::from_str(&check(&["open", "--json"])).expect("JSON");
    assert_eq!((&line["verdict"], &line["phones"]), (&"poor".into(), &4.into()));
    place.refused(&["check-phrase", "?!"], "?!");
}

#[test]
fn every_help_has_an_example() {
    let place = TestDir::new();
    let help = |arguments: &[&str]| {
        let output = place.run(arguments);
        assert!(output.status.success(), "{arguments:?}");
        let text = String::from_utf8(output.stdout).expect("text");
        assert!(text.contains("Example"), "`{}` shows no example:\n{text}", arguments.join(" "));
        text
    };
    // Continuation lines of long descriptions are indented further.
    let names = |text: &str| -> Vec<String> {
        let lines = text.lines().filter(|line| line.starts_with("  ") && !line.starts_with("   "));
        let names = lines.filter_map(|line| line.split_whitespace().next());
        names.filter(|command| *command != "help").map(str::to_owned).collect()
    };
    let text = help(&["--help"]);
    let commands = names(text.split("Options:").next().unwrap_or_default());
    assert!(commands.contains(&"simulate".to_owned()), "{text}");
    for command in &commands {
        help(&[command, "-h"]);
        let text = help(&[command, "--help"]);
        // Some commands have commands of their own.
        let nested = text.split("Commands:").nth(1).and_then(|rest| rest.split("\n\n").next());
        for nested in names(nested.unwrap_or_default()) {
            help(&[command, &nested, "--help"]);
        }
    }
}

#[test]
fn completions_and_man_pages_know_every_command() {
    let place = TestDir::new();
    for shell in ["bash", "zsh", "fish", "powershell", "elvish"] {
        let output = place.run(&["completions", shell]);
        let script = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success() && script.contains("false-wakes"), "{shell}: {script}");
    }
    assert!(place.run(&["man", "pages"]).status.success());
    let page = |name: &str| fs::read_to_string(place.path("pages").join(name)).expect("a page");
    assert!(page("wakeling.1").contains("wakeling\\-record(1)"));
    assert!(page("wakeling-record.1").contains("\\-\\-takes"));
    assert!(page("wakeling-corpus-fetch.1").contains(".TH wakeling-corpus-fetch"));
    // Options for experts, which the short help leaves out, are in the pages, and no colours are.
    let finetune = page("wakeling-finetune.1");
    assert!(finetune.contains("\\-\\-backbone\\-steps") && finetune.contains("Examples:"));
    assert!(!finetune.contains('\u{1b}') && !page("wakeling.1").contains('\u{1b}'));
    place.refused(&["man", "good/a.wav"], "good/a.wav");
}
