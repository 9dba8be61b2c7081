//! Tests that training uses the data that the user meant: datasets with several texts, tables,
//! names, silent takes, several takes in a file.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Output},
};

use tempfile::TempDir;
use wakeling_audio as audio;
use wakeling_tests::shipped::few_models;

/// Returns the demo's recordings of "hey wakeling".
fn phrases() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../demo/train");
    let entries = fs::read_dir(folder).expect("the demo").map(|e| e.expect("a file").path());
    let mut files: Vec<PathBuf> =
        entries.filter(|p| p.extension().is_some_and(|e| e == "ogg")).collect();
    files.sort();
    files
}

/// Creates a folder with the small pretrained model and one pack of negative speech.
fn place() -> TempDir {
    let place = tempfile::tempdir().expect("a temporary folder");
    few_models(place.path(), "base-s");
    place
}

fn copy(place: &TempDir, from: &Path, to: &str) {
    let to = place.path().join(to);
    fs::create_dir_all(to.parent().expect("a folder")).expect("a folder");
    fs::copy(from, to).expect("a copy");
}

fn wakeling(place: &TempDir, arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_wakeling"))
        .args(arguments)
        .current_dir(place.path())
        .env("WAKELING_MODELS", place.path().join("models"))
        .output()
        .expect("the program starts")
}

/// Returns exit code, stdout and stderr.
fn parts(output: &Output) -> (i32, String, String) {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (output.status.code().unwrap_or(-1), text(&output.stdout), text(&output.stderr))
}

fn advise(place: &TempDir, word: &str) -> (i32, String, String) {
    parts(&wakeling(place, &["advise", "--base", "base-s", "--word", word]))
}

/// Runs a fine-tuning with as little work as possible.
fn finetune(place: &TempDir, rest: &[&str]) -> (i32, String, String) {
    let quick = ["--steps", "1", "--ensemble", "1", "--negative-hours", "0.05", "--base", "base-s"];
    parts(&wakeling(place, &[&["finetune"][..], rest, &quick].concat()))
}

#[test]
fn only_clips_of_the_words_text_are_taken() {
    let place = place();
    let files = phrases();
    for (i, file) in files.iter().take(6).enumerate() {
        copy(&place, file, &format!("words/{}/{i}.ogg", if i < 4 { "Hey_Wakeling" } else { "no" }));
        copy(&place, file, &format!("cv/clips/{i}.ogg"));
    }
    let line = |i: usize, text: &str| format!("s{i}\t{i}.ogg\t{text}\ten\n");
    let table: String =
        (0..6).map(|i| line(i, if i < 3 { "Hey, wakeling!" } else { "no" })).collect();
    let table = format!("client_id\tpath\tsentence\tlocale\n{table}");
    fs::write(place.path().join("cv/validated.tsv"), table).expect("a table");
    let line = |i: usize, text: &str| {
        format!("{{\"audio_filepath\": \"cv/clips/{i}.ogg\", \"text\": \"{text}\"}}\n")
    };
    let lines: String =
        (0..6).map(|i| line(i, if i < 2 { "hey wakeling" } else { "no" })).collect();
    fs::write(place.path().join("manifest.jsonl"), lines).expect("a manifest");

    for (path, count) in [("words", 4), ("cv", 3), ("manifest.jsonl", 2)] {
        let (code, stdout, stderr) = advise(&place, &format!("hey wakeling={path}"));
        assert_eq!(code, 0, "{stderr}");
        assert!(stdout.contains(&format!("{count} recordings")), "{path}: {stdout}");
        let note = format!("{count} of 6 clips have the text \"hey wakeling\"");
        assert!(stderr.contains(&note), "{path}: {stderr}");

        let (code, _, stderr) =
            finetune(&place, &["--word", &format!("stop={path}"), "--out", "o"]);
        assert_eq!(code, 3, "{stderr}");
        assert!(stderr.contains("none of its 6 clips has the text \"stop\""), "{stderr}");
        assert!(
            stderr.contains("\"no\" (") && !place.path().join("o/model.wkl").exists(),
            "{stderr}"
        );
    }
}

#[test]
fn takes_without_sound_are_left_out_and_refused_when_none_is_left() {
    let place = place();
    for (i, file) in phrases().iter().take(3).enumerate() {
        copy(&place, file, &format!("takes/{i}.ogg"));
    }
    let silence = |name: &str| {
        fs::create_dir_all(place.path().join("silent")).expect("a folder");
        audio::write_wav(place.path().join(name), &[0; 24_000]).expect("a file");
    };
    ["takes/x.wav", "silent/1.wav", "silent/2.wav"].iter().for_each(|name| silence(name));
    let (code, stdout, stderr) = finetune(&place, &["--word", "hey wakeling=takes", "--out", "o"]);
    assert_eq!(code, 0, "{stderr}");
    assert!(stderr.contains("x.wav: digital silence"), "{stderr}");
    assert!(stderr.contains("3 recordings of \"hey wakeling\""), "{stderr}");
    // The last line of stderr suggests the next commands. stdout is only the path.
    let next =
        stderr.trim_end().lines().last().and_then(|l| l.strip_prefix("next: ")).expect(&stderr);
    for command in next.split(", or ") {
        // With --help the program parses the command and does nothing else.
        let arguments = command.split(' ').skip(1).chain(["--help"]);
        let parsed = Command::new(env!("CARGO_BIN_EXE_wakeling")).args(arguments).output();
        assert!(parsed.expect("it starts").status.success(), "{command}");
    }
    assert_eq!(stdout.lines().count(), 1);

    for (code, _, stderr) in [
        finetune(&place, &["--word", "hey wakeling=silent", "--out", "p"]),
        advise(&place, "hey wakeling=silent"),
    ] {
        assert_eq!(code, 3, "{stderr}");
        assert!(stderr.contains("2 silent") && stderr.contains("muted"), "{stderr}");
    }
    assert!(!place.path().join("p/model.wkl").exists());
}

#[test]
fn tables_are_read_as_spreadsheets_write_them_and_contradictions_refused() {
    let place = place();
    for (i, file) in phrases().iter().take(4).enumerate() {
        copy(&place, file, &format!("audio/{i}.ogg"));
    }
    let train = |text: &str| {
        fs::write(place.path().join("labels.csv"), text).expect("a table");
        let _ = fs::remove_dir_all(place.path().join("o"));
        finetune(&place, &["--labels", "labels.csv", "--out", "o"])
    };
    let (code, _, stderr) = train(
        "file; hey ;speaker\r\naudio/0.ogg;TRUE;Ana\r\naudio/1.ogg;1.0;Ana\r\naudio/2.ogg;1,0;Ben\r\naudio/3.ogg;;Ben\r\n",
    );
    assert_eq!(code, 0, "{stderr}");
    assert!(stderr.contains("o/hey.head: 3 recordings of \"hey\""), "{stderr}");
    assert!(!place.path().join("o/speaker.head").exists());

    for (text, part) in [
        ("audio/0.ogg,1\naudio/1.ogg,1\n", "no header"),
        ("file,hey\naudio/0.ogg,1\naudio/1.ogg,1\naudio/0.ogg,0\n", "0.ogg has 1 under \"hey\""),
    ] {
        let (code, _, stderr) = train(text);
        assert_eq!(code, 3, "{stderr}");
        assert!(stderr.contains(part) && stderr.contains("labels.csv"), "{stderr}");
    }
}

#[test]
fn names_are_compared_and_printed_as_text_and_their_files_numbered() {
    let place = place();
    for (i, file) in phrases().iter().take(3).enumerate() {
        copy(&place, file, &format!("rec/{i}.ogg"));
        copy(&place, file, &format!("talk/{i}.ogg"));
    }
    let words = |labels: &[&str], out: &str| {
        let words: Vec<String> = labels.iter().map(|label| format!("{label}=rec")).collect();
        let words = words.iter().flat_map(|word| ["--word", word.as_str()]);
        finetune(&place, &words.chain(["--out", out]).collect::<Vec<_>>())
    };
    let (code, _, stderr) = words(&["ข่า", "ข้า", "a/b", "a b"], "o");
    assert_eq!(code, 0, "{stderr}");
    for name in ["ข่า", "ข้า", "a-b", "a-b-2"] {
        assert!(place.path().join(format!("o/{name}.head")).is_file(), "{name}: {stderr}");
    }
    let escaped = |line: &&str| line.contains("\\u{") && !line.contains("check-phrase");
    assert!(stderr.contains("recordings of \"ข้า\""), "{stderr}");
    assert_eq!(stderr.lines().find(escaped), None);

    let (code, _, stderr) = words(&["cafe\u{301}", "Caf\u{e9}"], "p");
    assert_eq!(code, 2, "{stderr}");
    assert!(stderr.contains("\"Café\" is given twice"), "{stderr}");
    let (code, _, stderr) = words(&["cafe\u{301}"], "p");
    assert_eq!(code, 0, "{stderr}");
    for label in ["caf\u{e9}", "cafe\u{301}"] {
        let word = format!("{label}=rec");
        let evaluate = ["evaluate", "-m", "p/model.wkl", "--word", &word, "--negatives", "talk"];
        let (code, stdout, stderr) = parts(&wakeling(&place, &evaluate));
        assert_eq!(code, 0, "{stderr}");
        assert!(stdout.contains("café"), "{stdout}");
        // All three recordings were used for training.
        assert!(stderr.contains("3 of 3 recordings of \"café\" were trained on"), "{stderr}");
    }
}

#[test]
fn a_file_of_takes_is_cut_and_the_same_sound_counts_once() {
    let place = place();
    let pause = |seconds: usize| vec![0; 16_000 * seconds];
    let files = phrases();
    let mut pcm = pause(1);
    for file in files.iter().take(10) {
        pcm.extend(audio::read(file).expect("a recording"));
        pcm.extend(pause(1));
    }
    audio::write_wav(place.path().join("takes.wav"), &pcm).expect("a file");
    let (code, stdout, stderr) = advise(&place, "hey wakeling=takes.wav");
    assert_eq!(code, 0, "{stderr}");
    assert!(stderr.contains("takes.wav: 10 takes found in"), "{stderr}");
    assert!(stdout.contains("10 recordings"), "{stdout}");

    for (name, file) in [("a", 10), ("b", 11), ("c", 10)] {
        copy(&place, &files[file], &format!("rec/{name}.ogg"));
    }
    let (code, stdout, stderr) = advise(&place, "hey wakeling=rec");
    assert_eq!(code, 0, "{stderr}");
    assert!(stderr.contains("c.ogg: the same sound as rec/a.ogg; it counts once"), "{stderr}");
    assert!(stdout.contains("2 recordings"), "{stdout}");
}

#[test]
fn a_recorders_folder_names_its_speakers() {
    let place = place();
    let mut lines = String::new();
    for (i, file) in phrases().iter().take(6).enumerate() {
        copy(&place, file, &format!("rec/take-000{i}.ogg"));
        let speaker = ["Ana", "Ben", ""][i % 3];
        lines += &format!(
            "{{\"audio_filepath\": \"take-000{i}.ogg\", \"text\": \"hey wakeling\", \"speaker\": \"{speaker}\", \"kind\": \"word\"}}\n"
        );
    }
    fs::write(place.path().join("rec/manifest.jsonl"), lines).expect("a manifest");
    let (code, stdout, stderr) = advise(&place, "hey wakeling=rec");
    assert_eq!(code, 0, "{stderr}");
    assert!(stdout.contains("6 recordings") && stdout.contains("by 2 speakers"), "{stdout}");
    let (code, _, stderr) = advise(&place, "stop=rec");
    assert_eq!(code, 3, "{stderr}");
    assert!(stderr.contains("\"hey wakeling\" (6)"), "{stderr}");
}
