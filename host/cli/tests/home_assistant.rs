//! Checks what is installed elsewhere: the add-on for Home Assistant and the systemd unit. No container is
//! built here; the start script, the health check and the unit's command run with the real program.

use std::{
    collections::BTreeSet,
    env, fs,
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
    thread,
    time::{Duration, Instant},
};

use serde_json::Value;
use wakeling_tests::model::{Tier, random_model};

const PROGRAM: &str = env!("CARGO_BIN_EXE_wakeling");

fn integrations() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../integrations")
}

fn read(path: impl AsRef<Path>) -> String {
    let path = path.as_ref();
    fs::read_to_string(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

/// Puts the add-on together for one processor, with the program of this test.
fn assembled(place: &Path) -> PathBuf {
    let output = Command::new(integrations().join("home-assistant/assemble.sh"))
        .arg("amd64")
        .args([place, Path::new(PROGRAM)])
        .output()
        .expect("the script starts");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    place.join("wakeling")
}

/// Parses a YAML file with Python's package; prints SKIP if it is missing.
fn yaml(path: &Path) -> Option<Value> {
    let python = env::var_os("WAKELING_PYTHON").unwrap_or_else(|| "python3".into());
    let code = "import json, sys, yaml; print(json.dumps(yaml.safe_load(open(sys.argv[1]))))";
    let has = Command::new(&python).args(["-c", "import yaml"]).output();
    if !has.is_ok_and(|output| output.status.success()) {
        println!("SKIP: no Python package yaml");
        return None;
    }
    let output = Command::new(python).args(["-c", code]).arg(path).output().expect("Python");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    Some(serde_json::from_slice(&output.stdout).expect("JSON"))
}

/// Fails if `value` is not of a type of Home Assistant's schema.
fn check_option(name: &str, kind: &str, value: &Value) {
    let inside = |prefix: &str| kind.strip_prefix(prefix)?.strip_suffix(')');
    let is_valid = if let Some(names) = inside("list(") {
        names.split('|').any(|name| value == name)
    } else if let Some(range) = inside("int(") {
        let (low, high) = range.split_once(',').expect("a range");
        let range = low.parse().expect("a number")..=high.parse().expect("a number");
        value.as_i64().is_some_and(|number: i64| range.contains(&number))
    } else {
        match kind {
            "str" => value.is_string(),
            "bool" => value.is_boolean(),
            _ => panic!("{name} has the type {kind}"),
        }
    };
    assert!(is_valid, "{name}: {value} is no {kind}");
}

#[test]
fn the_options_of_the_addon_have_types_texts_and_a_use() {
    let addon = integrations().join("home-assistant/wakeling");
    let Some(config) = yaml(&addon.join("config.yaml")) else { return };
    for required in ["name", "version", "slug", "description", "arch"] {
        assert!(!config[required].is_null(), "config.yaml lacks {required}");
    }
    assert_eq!(config["version"], env!("CARGO_PKG_VERSION"));
    let (options, schema) = (config["options"].as_object(), config["schema"].as_object());
    let (options, schema) = (options.expect("options"), schema.expect("a schema"));
    let names = |map: &serde_json::Map<String, Value>| map.keys().cloned().collect::<BTreeSet<_>>();
    assert_eq!(names(options), names(schema));
    let texts = yaml(&addon.join("translations/en.yaml")).expect("it was there");
    let texts = texts["configuration"].as_object().expect("texts");
    assert_eq!(names(texts), names(schema));
    let (run, docs) = (read(addon.join("run.sh")), read(addon.join("DOCS.md")));
    for (name, kind) in schema {
        check_option(name, kind.as_str().expect("a type"), &options[name]);
        assert!(run.contains(&format!("config {name}")) || run.contains(&format!("true {name}")));
        assert!(docs.contains(&format!("| `{name}` |")), "DOCS.md lacks {name}");
    }
    // The program takes the same names and range.
    let help = Command::new(PROGRAM).args(["serve", "--help"]).output().expect("help");
    let help = String::from_utf8_lossy(&help.stdout).into_owned();
    for preset in ["strict", "normal", "eager"] {
        assert!(schema["sensitivity"].as_str().unwrap().contains(preset) && help.contains(preset));
    }
    let build = yaml(&addon.join("build.yaml")).expect("it was there");
    let images = build["build_from"].as_object().expect("images");
    let processors: BTreeSet<_> =
        config["arch"].as_array().unwrap().iter().map(|a| a.as_str().unwrap().to_owned()).collect();
    assert_eq!(names(images), processors);
    assert!(config["ports"]["10400/tcp"].is_null(), "the port is open in the network");
}

#[test]
fn the_image_is_made_of_files_that_are_there() {
    let place = tempfile::tempdir().expect("a folder");
    let addon = assembled(place.path());
    let dockerfile = read(addon.join("Dockerfile"));
    let copied: Vec<&str> = dockerfile
        .lines()
        .filter_map(|line| line.strip_prefix("COPY ")?.split(' ').next())
        .collect();
    assert_eq!(copied.len(), 2);
    for name in copied {
        let path = addon.join(name.replace("${BUILD_ARCH}", "amd64"));
        assert!(path.is_file(), "{}", path.display());
    }
    let bad = Command::new(integrations().join("home-assistant/assemble.sh")).arg("x").output();
    assert_eq!(bad.expect("the script starts").status.code(), Some(2));
}

/// Ends a process with its children.
struct Group(Child);

impl Drop for Group {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Functions of the image's shell library that the start script calls, with the default options.
const BASHIO: &str = r#"
bashio::config() { case $1 in models) echo "$MODELS" ;; sensitivity) echo strict ;; clients) echo 3 ;; *) exit 9 ;; esac; }
bashio::config.true() { [[ $1 == save_detections ]]; }
bashio::exit.nok() { echo "$1" >&2; exit 1; }
bashio::var.json() { echo "$1=$2"; }
bashio::discovery() { echo "$1 $2" >"$MODELS/discovery"; }
bashio::log.warning() { echo "$1" >&2; }
"#;

/// Returns the start script as a command, with stand-ins for the library of the image.
fn start(place: &Path, port: u16) -> Command {
    let script = integrations().join("home-assistant/wakeling/run.sh");
    let folder = Path::new(PROGRAM).parent().expect("a folder");
    let path = format!("{}:{}", folder.display(), env::var("PATH").unwrap_or_default());
    let mut command = Command::new("bash");
    command
        .args(["-c", &format!("{BASHIO}\n. {}", script.display())])
        .env("PATH", path)
        .env("MODELS", place)
        .env("WAKELING_PORT", port.to_string())
        .stdin(Stdio::null());
    command
}

/// Runs the health check of the Dockerfile, at this port.
fn is_healthy(port: u16) -> bool {
    let dockerfile = read(integrations().join("home-assistant/wakeling/Dockerfile"));
    let check = dockerfile.lines().find_map(|line| line.trim().strip_prefix("CMD bash -c '"));
    let check = check.and_then(|line| line.strip_suffix('\'')).expect("a health check");
    let check = check.replace("10400", &port.to_string());
    let output = Command::new("timeout").args(["5", "bash", "-c", &check]).output();
    output.is_ok_and(|Output { status, .. }| status.success())
}

#[test]
fn the_start_script_runs_a_healthy_service() {
    let place = tempfile::tempdir().expect("a folder");
    // Below those that the system gives to clients: a client of such a port can be connected to itself.
    let port = 20_000 + (std::process::id() % 10_000) as u16;
    let output = start(place.path(), port).output().expect("bash");
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stderr).contains("no model in"));
    assert!(!is_healthy(port));

    fs::write(place.path().join("tiny.wkl"), random_model(3, Tier::Tiny)).expect("a model");
    let _running = Group(start(place.path(), port).spawn().expect("bash"));
    let begin = Instant::now();
    while !(is_healthy(port) && place.path().join("discovery").is_file()) {
        if begin.elapsed() > Duration::from_secs(30) {
            panic!("it does not start");
        }
        thread::sleep(Duration::from_millis(200));
    }
    let reported = read(place.path().join("discovery"));
    assert!(reported.starts_with("wyoming uri=tcp://"), "{reported}");
    assert!(place.path().join("detections").is_dir(), "detections are not saved");
}

#[test]
fn systemd_accepts_the_unit() {
    let unit = read(integrations().join("systemd/wakeling-serve.service"));
    let command = unit.lines().find_map(|line| line.strip_prefix("ExecStart=")).expect("a command");
    let place = tempfile::tempdir().expect("a folder");
    // The options of the unit are those of the program.
    let words: Vec<&str> = command.split(' ').filter(|word| *word != "$OPTIONS").collect();
    assert_eq!(words, ["/usr/local/bin/wakeling", "serve", "/etc/wakeling"]);
    let local = place.path().join("wakeling-serve.service");
    fs::write(&local, unit.replace(words[0], PROGRAM)).expect("a unit");
    let analyze = |arguments: &[&str]| {
        let output = Command::new("systemd-analyze").args(arguments).arg(&local).output().ok()?;
        Some((output.status.success(), format!("{output:?}")))
    };
    let Some((is_valid, problem)) = analyze(&["verify"]) else {
        println!("SKIP: no systemd-analyze");
        return;
    };
    assert!(is_valid, "{problem}");
    // Exposure of at most 2 of 10.
    let (is_safe, report) =
        analyze(&["security", "--offline=yes", "--threshold=20"]).expect("it was there");
    assert!(is_safe, "{report}");
}
