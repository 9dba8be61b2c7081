//! Tests of commands that write files under adverse conditions: killed at any moment, on a full
//! disk, in read-only folders, two at once, with names that are not text, with links that form
//! cycles, and with very many files.
//!
//! An output file is always either the complete old one or the complete new one, and a saved
//! recording is never lost.

#![cfg(unix)]

mod kills;
mod recordings;

use std::{
    collections::BTreeMap,
    env,
    ffi::{OsStr, OsString},
    fs,
    os::unix::{ffi::OsStringExt, fs::PermissionsExt, fs::symlink},
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
    time::{Duration, Instant},
};

use tempfile::TempDir;
use wakeling_audio as audio;
use wakeling_tests::{
    Tier,
    hostile::own::{small_head, small_pretrained},
    random_model,
    shipped::few_models,
    sound,
};

const PROGRAM: &str = env!("CARGO_BIN_EXE_wakeling");
/// Number of files in the folder of many, unless `WAKELING_MANY_FILES` overrides it.
const MANY_FILES: usize = 20_000;

/// Folder with a pretrained model, a head, a model, a few recordings and an archive.
struct TestDir(TempDir);

impl TestDir {
    fn new() -> Self {
        let place = Self(tempfile::tempdir().expect("a temporary folder"));
        let pretrained = small_pretrained();
        pretrained.save(&place.path("base.safetensors")).expect("a base");
        small_head(&pretrained).save(&place.path("hey.head")).expect("a head");
        fs::write(place.path("good.wkl"), random_model(1, Tier::Tiny)).expect("a model");
        fs::create_dir_all(place.path("speech/yes")).expect("a folder");
        for number in 0..4 {
            let pcm = sound::speech_like(number, 1);
            let path = place.path(&format!("speech/yes/{number}_nohash_0.wav"));
            audio::write_wav(path, &pcm).expect("a recording");
        }
        fs::create_dir(place.path("talk")).expect("a folder");
        let talk = sound::speech_like(9, 2);
        audio::write_wav(place.path("talk/a.wav"), &talk).expect("a recording");
        let mut tar = tar::Builder::new(Vec::new());
        tar.append_dir_all("corpus", place.path("speech")).expect("memory");
        fs::write(place.path("corpus.tar"), tar.into_inner().expect("memory")).expect("an archive");
        place
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(PROGRAM);
        command.args(arguments).current_dir(self.0.path()).env("WAKELING_MODELS", self.0.path());
        // A report has a date to the minute; files of two runs are compared byte for byte.
        command.env("SOURCE_DATE_EPOCH", "1700000000");
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        command
    }

    fn run(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().expect("the program starts")
    }
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// Checks for one of our exit codes, a reason that names `file`, and a remedy.
fn assert_refused(output: &Output, file: &str) {
    let message = stderr(output);
    assert!(
        output.status.code().is_some_and(|c| (2..=4).contains(&c)),
        "{:?} {message}",
        output.status
    );
    assert!(message.contains(file) && message.contains("remedy:"), "{message}");
    assert!(!message.contains("panicked"), "{message}");
}

/// Commands that write to `out/`, each with its name.
const WRITERS: [(&str, &[&str]); 6] = [
    (
        "quantize",
        &["quantize", "--head", "hey.head", "--base", "base.safetensors", "--out", "out/a.wkl"],
    ),
    ("inspect", &["corpus", "inspect", "speech", "--out", "out"]),
    ("fetch", &["corpus", "fetch", "corpus.tar", "--out", "out"]),
    ("man", &["man", "out"]),
    (
        "evaluate",
        &[
            "evaluate",
            "--model",
            "good.wkl",
            "--word",
            "hey wakeling=speech/yes",
            "--negatives",
            "talk",
            "--out",
            "out",
            "--report",
            "out/page.html",
        ],
    ),
    ("pack", &["pack", "--speech", "speech", "--out", "out", "--files", "2", "--megabytes", "0.1"]),
];

/// Returns every visible file below a folder, with its bytes.
fn files(folder: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut found = BTreeMap::new();
    let mut folders = vec![folder.to_path_buf()];
    while let Some(folder) = folders.pop() {
        let Ok(entries) = fs::read_dir(&folder) else { continue };
        for path in entries.map(|e| e.expect("a name").path()) {
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            if name.starts_with('.') || name.ends_with(".unpacking") {
                continue;
            }
            if path.is_dir() {
                folders.push(path);
            } else {
                found.insert(path.clone(), fs::read(&path).expect("it can be read"));
            }
        }
    }
    found
}

#[test]
fn a_comparison_goes_on_with_its_own_trials_alone() {
    let place = TestDir::new();
    few_models(place.0.path(), "base-s");
    fs::rename(place.path("models/negatives"), place.path("negatives")).expect("ours");
    let compare = "compare --word hey=speech/yes --talk speech --base base.safetensors --samples 1 \
                   --rates 0 --out out";
    let compare: Vec<&str> = compare.split(' ').collect();
    // The settings are written before all long operations.
    let mut child = place.command(&compare).spawn().expect("the program starts");
    let begun = Instant::now();
    while !place.path("out/settings.json").exists() {
        assert!(begun.elapsed() < Duration::from_secs(60), "no settings are written");
        std::thread::sleep(Duration::from_millis(5));
    }
    child.kill().expect("it can be killed");
    child.wait().expect("it ends");
    let table =
        "word,train,samples,draw,recordings,hours,missed at 0/h\n\"hey\",head,1,0,2,0.1,1\n";
    fs::write(place.path("out/compare.csv"), table).expect("a table");
    let output = place.run(&compare);
    assert!(output.status.success(), "{}", stderr(&output));
    assert!(stderr(&output).contains("1 of 1 trials are done"), "{}", stderr(&output));
    // Results of another seed must not be mixed with these.
    let before = files(&place.path("out"));
    let output = place.run(&[&compare[..], &["--seed", "2"]].concat());
    assert_refused(&output, "settings.json");
    assert!(stderr(&output).contains("another seed"), "{}", stderr(&output));
    assert!(files(&place.path("out")) == before, "something was written");
}

/// Creates a text-to-speech program that never ends.
fn slow_speaker(place: &TestDir) -> String {
    let path = place.path("speaker.sh");
    fs::write(&path, "#!/bin/sh\ntouch started\nexec sleep 60\n").expect("a program");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("a program");
    format!("'{}' {{voice}} {{out}} {{text}}", path.display())
}

#[test]
fn rejects_a_second_process_in_a_folder_until_the_first_ends() {
    let place = TestDir::new();
    let command = slow_speaker(&place);
    let arguments =
        ["synthesize", "hey you", "--out", "out", "--command", &command, "--voices", "a"];
    let mut first = place.command(&arguments).spawn().expect("the program starts");
    let begun = Instant::now();
    while !place.path("started").exists() {
        assert!(begun.elapsed() < Duration::from_secs(20), "the first never begins");
        std::thread::sleep(Duration::from_millis(5));
    }
    let inspect = ["corpus", "inspect", "speech", "--out", "out"];
    for second in [&arguments[..], &inspect] {
        let output = place.run(second);
        assert_eq!(output.status.code(), Some(4));
        assert_refused(&output, "another `wakeling` is writing");
    }
    first.kill().expect("it can be killed");
    first.wait().expect("it ends");
    let output = place.run(&inspect);
    assert!(output.status.success(), "a folder stays claimed: {}", stderr(&output));
}

#[test]
fn a_full_disk_leaves_what_was_there() {
    let place = TestDir::new();
    for (name, arguments) in WRITERS {
        let out = place.path("out");
        let _ = fs::remove_dir_all(&out);
        fs::create_dir(&out).expect("a folder");
        assert!(place.run(arguments).status.success(), "{name}");
        let before = files(&out);
        if name == "fetch" {
            fs::remove_dir_all(&out).expect("ours");
        }
        // No file may grow beyond 512 bytes; the signal is ignored, so that writing fails as on a
        // full disk.
        let output = Command::new("sh")
            .args(["-c", "trap '' XFSZ; ulimit -f 1; exec \"$0\" \"$@\"", PROGRAM])
            .args(arguments)
            .current_dir(place.0.path())
            .env("WAKELING_MODELS", place.0.path())
            .output()
            .expect("a shell");
        if name == "inspect" && output.status.success() {
            continue; // Its tables are that small.
        }
        assert_refused(&output, "out");
        let after = files(&out);
        if name == "fetch" {
            assert!(after.is_empty(), "{after:?}");
        } else {
            assert!(
                after == before
                    || after.iter().all(|(path, bytes)| before.get(path) == Some(bytes))
            );
            assert_eq!(after.len(), before.len(), "{name} lost a file");
        }
        let litter = fs::read_dir(&out).into_iter().flatten().filter_map(Result::ok);
        let litter: Vec<OsString> = litter
            .map(|e| e.file_name())
            .filter(|n| n.as_encoded_bytes().starts_with(b"."))
            .collect();
        assert!(litter.is_empty(), "{name} left {litter:?}");
    }
}

#[test]
fn reports_a_folder_that_cannot_be_written() {
    let place = TestDir::new();
    let out = place.path("out");
    fs::create_dir(&out).expect("a folder");
    fs::set_permissions(&out, fs::Permissions::from_mode(0o555)).expect("ours");
    fs::set_permissions(place.0.path(), fs::Permissions::from_mode(0o755)).expect("ours");
    // Root can write everywhere. In that case the commands run as the user `nobody`, with a copy of
    // the program in a folder that `nobody` can read.
    let is_root = fs::write(out.join("probe"), b"").is_ok();
    let program = place.path("wakeling");
    if is_root {
        fs::remove_file(out.join("probe")).expect("ours");
        fs::copy(PROGRAM, &program).expect("room on the disk");
    }
    let run = |arguments: &[&str]| {
        let mut command = if is_root {
            let mut command = Command::new("setpriv");
            command.args(["--reuid=65534", "--regid=65534", "--clear-groups"]).arg(&program);
            command
        } else {
            Command::new(PROGRAM)
        };
        command.args(arguments).current_dir(place.0.path()).env("WAKELING_MODELS", place.0.path());
        command.output()
    };
    let simulate_good = ["simulate", "speech/yes/0_nohash_0.wav", "--model", "good.wkl"];
    match run(&simulate_good) {
        Ok(output) if output.status.success() => {}
        other => {
            eprintln!("SKIP: nobody cannot run the program here: {other:?}");
            return;
        }
    }
    for (_, arguments) in WRITERS {
        assert_refused(&run(arguments).expect("the program starts"), "out");
        assert_eq!(fs::read_dir(&out).expect("ours").count(), 0);
    }
    // Files that cannot be read.
    fs::set_permissions(place.path("good.wkl"), fs::Permissions::from_mode(0o000)).expect("ours");
    assert_refused(&run(&simulate_good).expect("the program starts"), "good.wkl");
}

#[test]
fn names_that_are_no_text_work_as_others_do() {
    let place = TestDir::new();
    let odd = |bytes: &[u8]| OsString::from_vec(bytes.to_vec());
    let wav = fs::read(place.path("speech/yes/0_nohash_0.wav")).expect("a recording");
    let folder = place.0.path().join(odd(b"sp\xffeech"));
    fs::create_dir_all(folder.join(odd(b"w\xfe"))).expect("a folder");
    for name in [&b"a\xff.wav"[..], b"b\n.wav", b"-c.wav", b"d\x1b[31m.wav", b"\xf0\x9f.wav"] {
        fs::write(folder.join(odd(b"w\xfe")).join(odd(name)), &wav).expect("a recording");
        fs::write(folder.join(odd(name)), &wav).expect("a recording");
    }
    let run = |arguments: &[&OsStr]| {
        let mut command = place.command(&[]);
        command.args(arguments).stdout(Stdio::piped());
        command.output().expect("the program starts")
    };
    let (speech, out) = (folder.as_os_str(), odd(b"o\xffut"));
    let [simulate, model, good] = ["simulate", "--model", "good.wkl"].map(OsStr::new);
    let output = run(&[simulate, speech, model, good]);
    assert!(output.status.success(), "{}", stderr(&output));
    let [dataset, inspect, to] = ["corpus", "inspect", "--out"].map(OsStr::new);
    let output = run(&[dataset, inspect, speech, to, &out]);
    assert!(output.status.success(), "{}", stderr(&output));
    let clips = fs::read(place.0.path().join(&out).join("clips.tsv")).expect("a table");
    // A table has a line for each clip, whatever the names.
    assert_eq!(
        clips.iter().filter(|&&b| b == b'\n').count(),
        1 + 10,
        "{}",
        String::from_utf8_lossy(&clips)
    );
    let [quantize, head, hey, pretrained, small] =
        ["quantize", "--head", "hey.head", "--base", "base.safetensors"].map(OsStr::new);
    let model = Path::new(&out).join(odd(b"\xff.wkl"));
    let output = run(&[quantize, head, hey, pretrained, small, to, model.as_os_str()]);
    assert!(output.status.success(), "{}", stderr(&output));
    assert!(place.0.path().join(model).is_file());
}

#[test]
fn links_in_circles_end() {
    let place = TestDir::new();
    let speech = place.path("speech");
    symlink(&speech, speech.join("again")).expect("a link");
    symlink("..", speech.join("yes/up")).expect("a link");
    symlink("itself", speech.join("itself")).expect("a link");
    symlink("nowhere", speech.join("lost.wav")).expect("a link");
    let output = place.run(&["corpus", "inspect", "speech", "--out", "out"]);
    assert!(output.status.success(), "{}", stderr(&output));
    let clips = fs::read_to_string(place.path("out/clips.tsv")).expect("a table");
    assert_eq!(clips.lines().count(), 1 + 4, "clips are counted twice:\n{clips}");
    // A link to nothing, or to itself, as the output file.
    symlink("loop.wkl", place.path("loop.wkl")).expect("a link");
    let quantize = ["quantize", "--head", "hey.head", "--base", "base.safetensors", "--out"];
    let output = place.run(&[&quantize[..], &["loop.wkl"]].concat());
    let simulate_loop = ["simulate", "speech/yes/0_nohash_0.wav", "--model", "loop.wkl"];
    let is_whole = place.run(&simulate_loop).status.success();
    assert!(output.status.success() == is_whole, "{}", stderr(&output));
}

#[test]
fn traverses_very_many_files() {
    let place = TestDir::new();
    let count =
        env::var("WAKELING_MANY_FILES").map_or(MANY_FILES, |n| n.parse().expect("a number"));
    let original = place.path("speech/yes/0_nohash_0.wav");
    let many = place.path("many/word");
    fs::create_dir_all(&many).expect("a folder");
    fs::write(many.join("seed.txt"), b"").expect("a file");
    for number in 0..count {
        // A hard link takes no space, but no file system allows a million links to one file.
        if number % 30_000 == 0 {
            fs::copy(&original, many.join(format!("{number:07}.wav"))).expect("room on the disk");
        } else {
            let from = many.join(format!("{:07}.wav", number / 30_000 * 30_000));
            fs::hard_link(from, many.join(format!("{number:07}.wav"))).expect("a link");
        }
    }
    let begun = Instant::now();
    let manifest = {
        let mut clips = 0;
        wakeling_data::dataset::stream(&place.path("many"), None, &mut |item| {
            clips += usize::from(matches!(item, wakeling_data::dataset::Item::Clip(_)));
            Ok(())
        })
        .expect("a corpus");
        clips
    };
    assert_eq!(manifest, count);
    eprintln!("{count} files in {:.1} s", begun.elapsed().as_secs_f64());
}
