//! Tests of properties that hold on any machine, terminal and disk: one seed gives one model with
//! any number of threads, output that cannot be written loses no work, and exit codes are those of
//! the README.

use std::{
    fs,
    io::{BufRead, BufReader, pipe},
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
};

use tempfile::TempDir;
use wakeling_tests::shipped::few_models;

fn demo(folder: &str) -> String {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../demo").join(folder).display().to_string()
}

/// Creates a folder with the small pretrained model and one pack of negative speech.
fn place() -> TempDir {
    let place = tempfile::tempdir().expect("a temporary folder");
    few_models(place.path(), "base-s");
    place
}

fn wakeling(place: &TempDir, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_wakeling"));
    command.args(arguments).current_dir(place.path());
    command.env("WAKELING_MODELS", place.path().join("models"));
    command
}

fn succeeded(output: &Output) {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

/// Options of the shortest fine-tuning that runs every stage.
const QUICK: [&str; 10] = [
    "--steps",
    "12",
    "--backbone-steps",
    "3",
    "--ensemble",
    "2",
    "--negative-hours",
    "0",
    "--base",
    "base-s",
];

fn finetune(place: &TempDir, rest: &[&str]) -> Command {
    let word = format!("hey wakeling={}", demo("train"));
    wakeling(place, &[&["finetune", "--word", &word][..], &QUICK, rest].concat())
}

mod determinism {
    use super::*;

    /// Runs `command` with several numbers of threads, and compares the files that it writes to
    /// `out`.
    fn same_files(place: &TempDir, command: impl Fn(&[&str]) -> Command, files: &[&str]) {
        let mut first: Option<Vec<Vec<u8>>> = None;
        for workers in ["1", "2", "3"] {
            let out = format!("out-{workers}");
            // The number of threads for other work is varied as well.
            let output = command(&["--workers", workers, "--out", &out])
                .env("RAYON_NUM_THREADS", if workers == "3" { "1" } else { workers })
                .output()
                .expect("the program starts");
            succeeded(&output);
            let read =
                |name: &&str| fs::read(place.path().join(&out).join(name)).expect("a result");
            let made: Vec<Vec<u8>> = files.iter().map(read).collect();
            let first = first.get_or_insert_with(|| made.clone());
            for ((file, made), first) in files.iter().zip(&made).zip(first) {
                assert!(made == first, "{file} differs with {workers} workers");
            }
        }
    }

    #[test]
    fn finetune_gives_the_same_model_with_any_number_of_workers() {
        for train in ["head", "last:1", "all"] {
            let place = place();
            let command = |rest: &[&str]| finetune(&place, &[&["--train", train], rest].concat());
            same_files(&place, command, &["model.wkl", "hey-wakeling.head"]);
        }
    }

    #[test]
    fn compare_gives_the_same_table_with_any_number_of_workers() {
        let place = place();
        let (word, test) = (format!("hey={}", demo("train")), format!("hey={}", demo("test")));
        let talk = demo("talk");
        let fixed = ["compare", "--word", &word, "--test", &test, "--talk", &talk];
        let trainables = ["--samples", "2", "--train", "head", "scratch:25"];
        let command =
            |rest: &[&str]| wakeling(&place, &[&fixed[..], &trainables, &QUICK, rest].concat());
        same_files(&place, command, &["compare.csv"]);
    }

    /// Writes two classes of noise images, one brighter than the other.
    fn images(folder: &Path) {
        for (class, pretrained) in [("dark", 30u32), ("bright", 150)] {
            fs::create_dir_all(folder.join(class)).expect("a folder");
            for i in 0..6u32 {
                let pixel =
                    |x, y| image::Luma([(pretrained + (x * 31 + y * 17 + i * 7) % 60) as u8]);
                let image = image::GrayImage::from_fn(32, 32, pixel);
                image.save(folder.join(class).join(format!("{i}.png"))).expect("an image");
            }
        }
    }

    #[test]
    fn images_finetune_gives_the_same_model_with_any_number_of_workers() {
        let place = place();
        images(&place.path().join("train"));
        let models = Path::new(env!("CARGO_MANIFEST_DIR")).join("../models");
        let fixed =
            ["images", "finetune", "--train", "train", "--channels", "gray", "--way", "all"];
        let command = |rest: &[&str]| {
            let mut command = wakeling(&place, &[&fixed[..], &["--steps", "4"], rest].concat());
            command.env("WAKELING_MODELS", &models);
            command
        };
        same_files(&place, command, &["model.wkl"]);
    }
}

#[cfg(unix)]
mod output {
    use super::*;

    fn full() -> Stdio {
        fs::OpenOptions::new().write(true).open("/dev/full").expect("Linux has it").into()
    }

    /// Returns the writing end of a pipe whose reading end is closed.
    fn closed() -> Stdio {
        let (_, writer) = pipe().expect("a pipe");
        writer.into()
    }

    fn model(place: &TempDir, out: &str) -> PathBuf {
        place.path().join(out).join("model.wkl")
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn a_log_that_cannot_be_written_does_not_end_a_training() {
        let place = place();
        let run = |out: &str, stderr: Stdio, lines: bool| {
            let mut command = finetune(&place, &["--out", out]);
            // Progress is printed as lines, so that the bars write as well.
            if lines {
                command.env("WAKELING_PROGRESS_LINES", "1");
            }
            let output = command.stderr(stderr).output().expect("the program starts");
            assert_eq!(output.status.code(), Some(0), "{out}");
            let printed = String::from_utf8_lossy(&output.stdout).into_owned();
            assert!(
                printed.contains("model.wkl") && model(&place, out).exists(),
                "{out}: {printed}"
            );
        };
        run("closed", closed(), true);
        run("full", full(), true);
        // A terminal whose other side was closed.
        run("terminal", terminal(), false);
        // With `2>&-`, the first file that is opened gets the number of standard error.
        let word = format!("hey wakeling={}", demo("train"));
        let output = Command::new("sh")
            .args(["-c", "exec \"$0\" \"$@\" 2>&-", env!("CARGO_BIN_EXE_wakeling"), "finetune"])
            .args(["--word", &word, "--out", "none"])
            .args(QUICK)
            .current_dir(place.path())
            .env("WAKELING_MODELS", place.path().join("models"))
            .output()
            .expect("a shell");
        assert_eq!(output.status.code(), Some(0));
        assert!(model(&place, "none").exists());
    }

    /// Returns a terminal whose other side is closed, so that writing to it fails.
    #[cfg(target_os = "linux")]
    #[allow(unsafe_code, reason = "a terminal whose other side is closed")]
    fn terminal() -> Stdio {
        use std::os::fd::{FromRawFd, OwnedFd};
        let (mut own, mut other) = (0, 0);
        // SAFETY: both pointers refer to local variables; name, settings and size may be null.
        let opened = unsafe {
            let none = std::ptr::null_mut();
            libc::openpty(&mut own, &mut other, none, std::ptr::null_mut(), std::ptr::null_mut())
        };
        assert_eq!(opened, 0, "a terminal");
        // SAFETY: `openpty` has created both descriptors, and nothing else owns them.
        let (own, other) = unsafe { (OwnedFd::from_raw_fd(own), OwnedFd::from_raw_fd(other)) };
        drop(own);
        other.into()
    }

    #[test]
    fn a_reader_that_leaves_after_a_line_does_not_end_a_training() {
        let place = place();
        let mut command = finetune(&place, &["--out", "out"]);
        let command = command.env("WAKELING_PROGRESS_LINES", "1").stdout(Stdio::piped());
        let mut child = command.stderr(Stdio::piped()).spawn().expect("the program starts");
        let mut line = String::new();
        BufReader::new(child.stderr.take().expect("a pipe")).read_line(&mut line).expect("a line");
        let status = child.wait().expect("it ends");
        assert_eq!(status.code(), Some(0), "after {line:?}");
        assert!(model(&place, "out").exists());
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn output_that_cannot_be_written_is_an_error_after_the_work_is_saved() {
        let place = place();
        let output = finetune(&place, &["--out", "out"]).stdout(full()).output();
        let output = output.expect("the program starts");
        let message = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(4), "{message}");
        assert!(message.contains("standard output") && message.contains("remedy:"), "{message}");
        assert!(!message.contains("panicked"), "{message}");
        assert!(model(&place, "out").exists(), "{message}");
        for arguments in [
            &["--help"][..],
            &["--version"],
            &["finetune", "--help"],
            &["check-phrase", "hey computer"],
            &["boards"],
            &["completions", "bash"],
        ] {
            let output = wakeling(&place, arguments).stdout(full()).output().expect("a start");
            let message = String::from_utf8_lossy(&output.stderr);
            assert_eq!(output.status.code(), Some(4), "{arguments:?}: {message}");
            assert!(message.contains("standard output"), "{arguments:?}: {message}");
        }
    }

    #[test]
    fn a_reader_of_standard_output_may_leave() {
        let place = place();
        for arguments in [
            &["--help"][..],
            &["check-phrase", "hey computer", "open"],
            &["check-phrase", "hey computer", "open", "--json"],
            &["boards"],
            &["completions", "bash"],
        ] {
            let output = wakeling(&place, arguments).stdout(closed()).output().expect("a start");
            let message = String::from_utf8_lossy(&output.stderr);
            assert_eq!((output.status.code(), &*message), (Some(0), ""), "{arguments:?}");
        }
    }

    #[test]
    fn closed_stderr_keeps_the_exit_code() {
        let place = place();
        for (arguments, code) in [
            (&["finetune", "--steps", "0"][..], 2),
            (&["check-phrase", "?!"], 2),
            (&["simulate", "x.wav", "--model", "nowhere.wkl"], 4),
        ] {
            let status = wakeling(&place, arguments).stderr(closed()).status().expect("a start");
            assert_eq!(status.code(), Some(code), "{arguments:?}");
        }
    }
}

#[test]
fn negatives_that_are_the_recordings_or_cannot_be_read_are_rejected() {
    let place = place();
    let train = demo("train");
    let texts = place.path().join("texts");
    fs::create_dir(&texts).expect("a folder");
    fs::write(texts.join("a.wav"), "no sound").expect("a file");
    for (negatives, problem) in [(train.as_str(), " are in it as well"), ("texts", "can be read")] {
        let command = &mut finetune(&place, &["--negatives", negatives, "--out", "out"]);
        let output = command.output().expect("the program starts");
        let message = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(3), "{negatives}: {message}");
        assert!(message.contains(problem) && message.contains("remedy:"), "{message}");
    }
    // Another name of the same folder.
    let word = format!("hey wakeling={train}/../test");
    let test = demo("test");
    let path = model(&place);
    let arguments = ["evaluate", "--model", &path, "--word", &word, "--negatives", &test];
    let output = wakeling(&place, &arguments).output().expect("the program starts");
    let message = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(3), "{message}");
    assert!(message.contains("24 recordings of \"hey wakeling\" are in it as well"), "{message}");
}

/// Writes a model with the keyword "hey wakeling", and returns its path.
fn model(place: &TempDir) -> String {
    succeeded(&finetune(place, &["--out", "trained"]).output().expect("the program starts"));
    place.path().join("trained/model.wkl").display().to_string()
}

#[test]
fn exit_codes_are_those_of_the_readme() {
    let place = place();
    fs::write(place.path().join("text.wkl"), "no model").expect("a file");
    fs::write(place.path().join("text.safetensors"), "no base").expect("a file");
    let word = format!("hey wakeling={}", demo("train"));
    for (arguments, code) in [
        (&["check-phrase", "hey computer"][..], 0),
        // Invalid requests.
        (&["no-such-command"], 2),
        (&["finetune", "--workers", "20000"], 2),
        (&["finetune", "--negative-hours", "nan"], 2),
        (&["check-phrase", "hey", "--language", "no such language"], 2),
        (&["finetune", "--word", &word, "--base", "none", "--out", "out"], 2),
        // Invalid files.
        (&["simulate", "x.wav", "--model", "text.wkl"], 3),
        (&["finetune", "--word", &word, "--base", "text.safetensors", "--out", "out"], 3),
        // Failures of the system, a program or a device.
        (&["simulate", "x.wav", "--model", "nowhere.wkl"], 4),
        (
            &[
                "synthesize",
                "hey",
                "--out",
                "s",
                "--command",
                "no-such-program {out} {voice}",
                "--voices",
                "x",
            ],
            4,
        ),
    ] {
        let output = wakeling(&place, arguments).output().expect("the program starts");
        let message = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "{arguments:?}: {message}");
    }
}
