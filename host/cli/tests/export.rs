//! `wakeling export`: what ESPHome and pymicro-wakeword make of its files, and what it refuses.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::{Command, Output},
};

use serde_json::Value;
use tempfile::TempDir;
use wakeling_device::board::esphome::ESPHOME_BOARDS;
use wakeling_tests::model::{Tier, random_model_with_heads};

/// Seed whose model has PCAN features, and one whose model has not.
const PCAN_SEED: u64 = 4;
const OTHER_SEED: u64 = 5;

struct TestDir(TempDir);

impl TestDir {
    fn new() -> Self {
        let place = Self(tempfile::tempdir().expect("a temporary folder"));
        let write = |name, bytes: Vec<u8>| fs::write(place.path(name), bytes).expect("a file");
        write("model.wkl", random_model_with_heads(PCAN_SEED, Tier::Tiny, 4));
        write("log.wkl", random_model_with_heads(OTHER_SEED, Tier::Tiny, 1));
        place
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn run(&self, arguments: &[&str]) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_wakeling"));
        command.arg("export").args(arguments).current_dir(self.0.path());
        command.output().expect("the program starts")
    }

    /// Exports without a count, which takes a minute; returns the files that the program prints.
    fn exported(&self, arguments: &[&str]) -> Vec<PathBuf> {
        let output = self.run(&[arguments, &["--no-count"]].concat());
        let message = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{arguments:?}: {message}");
        let text = String::from_utf8(output.stdout).expect("text");
        text.lines().map(|line| self.path(line)).collect()
    }
}

/// Checks a configuration with the real ESPHome, in a virtual environment of its own, since it
/// pins its dependencies. Returns what it prints, or why it cannot be started.
fn esphome_config(folder: &Path, configuration: &str) -> Result<String, String> {
    let program = env::var("WAKELING_ESPHOME").unwrap_or_else(|_| "esphome".into());
    let output = Command::new(&program)
        .args(["config", configuration])
        .current_dir(folder)
        .output()
        .map_err(|error| format!("{program}: {error}"))?;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let printed = text(&output.stdout) + &text(&output.stderr);
    assert!(output.status.success(), "{configuration}: {printed}");
    Ok(printed)
}

#[test]
fn esphome_takes_the_configuration_of_every_keyword() {
    let place = TestDir::new();
    let arguments = ["model.wkl", "--format", "microwakeword", "--out", "out", "--language", "en"];
    let manifests = place.exported(&arguments);
    let names: Vec<_> = manifests.iter().filter_map(|m| m.file_stem()?.to_str()).collect();
    assert_eq!(names, ["hey-wakeling", "lights-on", "stop", "你好小鸭"]);
    for name in names {
        let page = fs::read_to_string(place.path(&format!("out/{name}.md"))).expect("the page");
        assert!(page.contains("| `probability_cutoff` | false accepts |"), "{page}");
        match esphome_config(&place.path("out"), &format!("{name}.yaml")) {
            Ok(printed) => assert!(printed.contains("Configuration is valid"), "{printed}"),
            Err(reason) => println!("SKIP: {reason}"),
        }
    }
}

#[test]
fn esphome_takes_the_configuration_of_every_board() {
    let place = TestDir::new();
    for board in ESPHOME_BOARDS.iter() {
        let arguments = ["model.wkl", "--format", "microwakeword", "--word", "stop"];
        place.exported(&[&arguments[..], &["--board", board.name, "--out", board.name]].concat());
        let path = place.path(board.name);
        let text = fs::read_to_string(path.join("stop.yaml")).expect("the configuration");
        for pin in board.pins() {
            assert!(text.contains(&format!("GPIO{pin}\n")), "{}: {text}", board.name);
        }
        match esphome_config(&path, "stop.yaml") {
            Ok(printed) => {
                assert!(printed.contains("Configuration is valid"), "{printed}");
                // The maker of this board uses a pin of the chip's USB port.
                let warnings = printed.lines().filter(|line| line.starts_with("WARNING"));
                let usb = warnings.clone().filter(|line| line.contains("USB-Serial-JTAG")).count();
                let expected = usize::from(board.name == "s3-korvo-1");
                assert_eq!((usb, warnings.count()), (expected, expected), "{printed}");
            }
            Err(reason) => println!("SKIP: {reason}"),
        }
    }
}

/// Script that loads a manifest and runs its network on silence.
const PYMICRO: &str = "
import sys
from pymicro_wakeword import MicroWakeWord, MicroWakeWordFeatures
word, features = MicroWakeWord.from_config(sys.argv[1]), MicroWakeWordFeatures()
found = [word.process_streaming_prob(frame) for frame in features.process_streaming(bytes(64000))]
print(word.wake_word, word.stride, word.sliding_window_size, word.trained_languages)
print(len(found), all(0 <= score <= 1 for score in found), max(found) > 0)
";

#[test]
fn pymicro_wakeword_loads_the_manifest() {
    let place = TestDir::new();
    let arguments =
        ["model.wkl", "--format", "microwakeword", "--out", "out", "--word", "lights on"];
    let website =
        ["--author", "a \"test\"", "--website", "https://example.org", "--language", "en"];
    let manifests = place.exported(&[&arguments[..], &website].concat());
    let [manifest] = &manifests[..] else { panic!("{manifests:?}") };
    let json: Value = serde_json::from_slice(&fs::read(manifest).expect("it")).expect("JSON");
    assert_eq!((&json["version"], &json["type"]), (&2.into(), &"micro".into()));
    assert_eq!(json["author"], "a \"test\"");
    let python = env::var("WAKELING_PYTHON").unwrap_or_else(|_| "python3".into());
    let output = Command::new(&python).args(["-c", PYMICRO]).arg(manifest).output();
    match output {
        Ok(output) if output.status.success() => {
            let text = String::from_utf8_lossy(&output.stdout);
            let window = json["micro"]["sliding_window_size"].as_u64().expect("a number");
            assert_eq!(text, format!("lights on 2 {window} ['en']\n198 True True\n"));
        }
        Ok(output) => {
            let message = String::from_utf8_lossy(&output.stderr);
            assert!(message.contains("ModuleNotFoundError"), "{message}");
            println!("SKIP: {message}");
        }
        Err(error) => println!("SKIP: {python}: {error}"),
    }
}

#[test]
fn a_sensitivity_moves_the_cutoff() {
    let place = TestDir::new();
    let cutoff = |sensitivity| {
        let arguments = ["model.wkl", "--format", "microwakeword", "--out", sensitivity];
        let more = ["--word", "stop", "--sensitivity", sensitivity];
        let manifests = place.exported(&[&arguments[..], &more].concat());
        let json = fs::read(&manifests[0]).expect("the manifest");
        let json: Value = serde_json::from_slice(&json).expect("JSON");
        json["micro"]["probability_cutoff"].as_f64().expect("a number")
    };
    let [strict, normal, eager] = ["strict", "normal", "eager"].map(cutoff);
    assert!(strict > normal && normal > eager, "{strict} {normal} {eager}");
}

#[test]
fn a_c_header_has_the_file_and_its_licence() {
    let place = TestDir::new();
    // Any model, whatever its features.
    for model in ["model.wkl", "log.wkl"] {
        let headers = place.exported(&[model, "--format", "c-array", "--out", "src"]);
        let header = fs::read_to_string(&headers[0]).expect("the header");
        let length = fs::metadata(place.path(model)).expect("the model").len();
        let stem = model.trim_end_matches(".wkl");
        assert!(header.contains(&format!("unsigned char {stem}[{length}]")), "{header:.400}");
        assert!(header.contains("// Licence: "), "{header:.400}");
    }
}

#[test]
fn what_has_no_such_form_is_refused() {
    let place = TestDir::new();
    let refused = |model: &str, more: &[&str]| {
        let arguments = [&[model, "--format", "microwakeword", "--out", "refused"], more].concat();
        let output = place.run(&arguments);
        let message = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!output.status.success() && !message.contains("panicked"), "{message}");
        assert!(message.contains("remedy: "), "{message}");
        assert!(!place.path("refused").exists(), "{arguments:?} left something behind");
        (output.status.code(), message)
    };
    let (code, message) = refused("log.wkl", &[]);
    assert_eq!(code, Some(3), "{message}");
    assert!(message.contains("log.wkl") && message.contains("--base base-m-pcan"), "{message}");
    let (code, message) = refused("model.wkl", &["--word", "go"]);
    assert_eq!(code, Some(2), "{message}");
    assert!(message.contains("\"go\"") && message.contains("lights on"), "{message}");
    let (_, message) = refused("missing.wkl", &[]);
    assert!(message.contains("missing.wkl"), "{message}");
    let output =
        place.run(&["model.wkl", "--format", "c-array", "--out", "refused", "--word", "stop"]);
    let message = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(message.contains("--word belongs to --format microwakeword"), "{message}");
    assert!(!place.path("refused").exists());
}
