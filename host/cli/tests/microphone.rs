//! Tests of the program on a real capture path: a PulseAudio null sink plays known audio, and cpal
//! records its monitor through ALSA. Skipped, with a message, if PulseAudio is missing.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
    time::{Duration, Instant},
};

use wakeling_audio as audio;
use wakeling_data::dataset::Dataset;
use wakeling_tests::{null_sink::NullSink, terminal::plain};

const PROGRAM: &str = env!("CARGO_BIN_EXE_wakeling");
/// Time limit of every operation here.
const PATIENCE: Duration = Duration::from_secs(90);

fn demo(name: &str) -> Vec<i16> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../demo/test").join(name);
    audio::read(path).expect("the demo's samples are in the repository")
}

/// Writes a WAV with many repetitions of a phrase, with pauses long enough for the countdown of a
/// take.
fn repeated(place: &Path, phrase: &[i16]) -> PathBuf {
    let pause = vec![0; 48_000];
    let sound: Vec<i16> = (0..12).flat_map(|_| [&pause[..], phrase].concat()).collect();
    let path = place.join("said.wav");
    audio::write_wav(&path, &sound).expect("a recording");
    path
}

fn record(sink: &NullSink, place: &Path, rest: &[&str]) -> Child {
    sink.command(PROGRAM)
        .args(["record", "hey wakeling", "--keep-good", "--out", "takes"])
        .args(rest)
        .current_dir(place)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the program starts")
}

/// Waits until `done` returns `true`; `what` names the condition in a failure.
fn wait_for(what: &str, mut done: impl FnMut() -> bool) {
    let started = Instant::now();
    while !done() {
        assert!(started.elapsed() < PATIENCE, "{what} takes too long");
        std::thread::sleep(Duration::from_millis(50));
    }
}

fn takes(place: &Path) -> usize {
    fs::read_to_string(place.join("takes/manifest.jsonl")).map_or(0, |text| text.lines().count())
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// Returns the correlation of `take` with the most similar stretch of `scored`, and the number of
/// bit-identical samples there.
fn alignment(take: &[i16], scored: &[i16]) -> (f64, usize) {
    let dot = |a: &[i16], b: &[i16]| -> f64 {
        a.iter().zip(b).map(|(&a, &b)| f64::from(a) * f64::from(b)).sum()
    };
    let correlation = |a: &[i16], b: &[i16]| dot(a, b) / (dot(a, a) * dot(b, b)).sqrt().max(1.0);
    // The middle of a take determines the position.
    let middle = take.len() / 2;
    let part = &take[middle..middle + 1_000];
    let last = scored.len() - take.len();
    let like = |offset: usize| correlation(part, &scored[offset + middle..offset + middle + 1_000]);
    let best = (0..=last).max_by(|&a, &b| like(a).total_cmp(&like(b))).expect("an offset");
    let there = &scored[best..best + take.len()];
    (correlation(take, there), take.iter().zip(there).filter(|(a, b)| a == b).count())
}

#[test]
fn takes_equal_their_playback() {
    let phrase = demo("am_onyx-0.ogg");
    let padded = [&[0; 24_000][..], &phrase, &[0; 24_000]].concat();
    for (rate, channels, rest, exact) in [
        (16_000, 1, &["-n", "2", "--speaker", "Onyx"][..], 0.99),
        (48_000, 2, &["-n", "1", "--rate", "48000"][..], 0.0),
        (44_100, 2, &["-n", "1", "--rate", "44100"][..], 0.0),
    ] {
        let place = tempfile::tempdir().expect("a temporary folder");
        let Some(sink) = NullSink::start(place.path(), rate, channels) else { return };
        let mut player = sink.play(&repeated(place.path(), &phrase));
        let output = record(&sink, place.path(), rest).wait_with_output().expect("it ends");
        player.kill().expect("paplay ends");
        player.wait().expect("paplay ends");
        assert!(output.status.success(), "{rate} Hz: {}", stderr(&output));
        let dataset = Dataset::open(place.path().join("takes/manifest.jsonl")).expect("a manifest");
        assert_eq!(dataset.examples.len().to_string(), rest[1]);
        for example in &dataset.examples {
            assert_eq!(example.text.as_deref(), Some("hey wakeling"));
            let take = example.load().expect("a take");
            let (correlation, same) = alignment(&take, &padded);
            let share = same as f64 / take.len() as f64;
            eprintln!(
                "{rate} Hz: {} samples, correlation {correlation:.5}, {share:.4} bit exact",
                take.len()
            );
            assert!(correlation > 0.995 && share >= exact, "{rate} Hz: {correlation} {share}");
        }
    }
}

#[test]
fn a_microphone_that_vanishes_takes_nothing_with_it() {
    let place = tempfile::tempdir().expect("a temporary folder");
    let Some(mut sink) = NullSink::start(place.path(), 16_000, 1) else { return };
    let mut player = sink.play(&repeated(place.path(), &demo("am_onyx-0.ogg")));
    let child = record(&sink, place.path(), &["-n", "9"]);
    wait_for("the first take", || takes(place.path()) == 1);
    sink.vanish();
    let output = child.wait_with_output().expect("it ends");
    player.wait().expect("paplay ends");
    let message = stderr(&output);
    assert_eq!(output.status.code(), Some(4), "{message}");
    assert!(message.contains("disconnected") || message.contains("no sample"), "{message}");
    assert!(message.contains("remedy:") && !message.contains("panicked"), "{message}");
    assert_eq!(takes(place.path()), 1, "what was kept is kept");
    let dataset = Dataset::open(place.path().join("takes/manifest.jsonl")).expect("a manifest");
    dataset.examples[0].load().expect("a whole take");
}

#[test]
fn missing_microphone_has_a_remedy() {
    let place = tempfile::tempdir().expect("a temporary folder");
    let command = |arguments: &[&str]| {
        Command::new(PROGRAM)
            .args(arguments)
            .current_dir(place.path())
            // An environment without a sound service and without a configuration that names one.
            .env("HOME", place.path())
            .env("XDG_RUNTIME_DIR", place.path())
            .env("PULSE_SERVER", "unix:/nonexistent")
            .env("ALSA_CONFIG_PATH", "/nonexistent")
            .stdin(Stdio::null())
            .output()
            .expect("the program starts")
    };
    for arguments in
        [&["record", "hey you there", "--keep-good"][..], &["record", "--negatives", "1"]]
    {
        let output = command(arguments);
        let message = stderr(&output);
        if cfg!(target_os = "linux") {
            assert_eq!(output.status.code(), Some(4), "{message}");
            assert!(message.contains("remedy:") && message.contains("doctor"), "{message}");
        }
        assert!(!message.contains("panicked"), "{message}");
    }
}

/// File system of 100 KB, which only root can mount; `None` otherwise.
struct SmallDisk(PathBuf);

impl SmallDisk {
    fn mount(path: &Path) -> Option<Self> {
        fs::create_dir_all(path).expect("a folder");
        let mount = Command::new("mount")
            .args(["-t", "tmpfs", "-o", "size=100k", "none"])
            .arg(path)
            .stderr(Stdio::null())
            .status();
        if mount.is_ok_and(|s| s.success()) {
            return Some(Self(path.to_path_buf()));
        }
        eprintln!("skipped: only root can make a small disk");
        None
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // Errors are ignored: a destructor has no way to report them.
        let _ = Command::new("umount").arg(&self.0).status();
    }
}

#[test]
fn full_disk_leaves_saved_takes_intact() {
    let place = tempfile::tempdir().expect("a temporary folder");
    let Some(sink) = NullSink::start(place.path(), 16_000, 1) else { return };
    // A take is about 68 KB, so the second does not fit.
    let Some(_disk) = SmallDisk::mount(&place.path().join("takes")) else { return };
    let mut player = sink.play(&repeated(place.path(), &demo("am_onyx-0.ogg")));
    let output = record(&sink, place.path(), &["-n", "9"]).wait_with_output().expect("it ends");
    player.kill().expect("paplay ends");
    player.wait().expect("paplay ends");
    let message = stderr(&output);
    assert_eq!(output.status.code(), Some(4), "{message}");
    assert!(message.contains("make room on the disk"), "{message}");
    assert_eq!(takes(place.path()), 1);
    let names: Vec<String> = fs::read_dir(place.path().join("takes"))
        .expect("the folder")
        .map(|e| e.expect("an entry").file_name().to_string_lossy().into_owned())
        .filter(|name| name != "manifest.jsonl" && name != "take-0001.wav")
        .collect();
    assert!(names.is_empty(), "litter: {names:?}");
}

/// Terminal of 80 columns in tmux, in which the program records from the sink.
struct Terminal<'s> {
    sink: &'s NullSink,
    socket: PathBuf,
}

impl<'s> Terminal<'s> {
    fn start(sink: &'s NullSink, place: &Path, arguments: &str) -> Option<Self> {
        let terminal = Self { sink, socket: place.join("tmux") };
        if sink.command("tmux").arg("-V").output().is_err() {
            eprintln!("skipped: no tmux; type: sudo apt-get install tmux");
            return None;
        }
        // With the characters that most terminals have.
        let command =
            format!("LC_ALL=C.UTF-8 {PROGRAM} {arguments}; echo \"exit code $?\"; sleep 60");
        let place = place.display().to_string();
        terminal.tmux(&[
            "-f",
            "/dev/null",
            "new-session",
            "-d",
            "-x",
            "80",
            "-y",
            "24",
            "-c",
            &place,
            &command,
        ]);
        Some(terminal)
    }

    fn tmux(&self, arguments: &[&str]) -> String {
        let output = self.sink.command("tmux").arg("-S").arg(&self.socket).args(arguments).output();
        String::from_utf8_lossy(&output.expect("tmux runs").stdout).into_owned()
    }

    /// Returns the screen, with values that differ between runs replaced.
    fn screen(&self) -> String {
        masked(&self.tmux(&["capture-pane", "-p"]))
    }

    fn wait_for(&self, text: &str) -> String {
        let mut screen = String::new();
        wait_for(text, || {
            screen = self.screen();
            screen.contains(text)
        });
        screen
    }

    fn press(&self, key: &str) {
        self.tmux(&["send-keys", key]);
    }
}

/// Returns a screen with levels, lengths and counts replaced.
fn masked(screen: &str) -> String {
    let lines = screen.trim_end().lines().map(|line| match line.split_once(" dB: ") {
        _ if line.starts_with("microphone ") => "microphone LEVEL".to_owned(),
        Some((measured, verdict)) if measured.contains(" s, peak ") => {
            format!("SECONDS, PEAK: {verdict}")
        }
        _ if line.ends_with(" …") => "COUNT …".to_owned(),
        _ => line.trim_end().to_owned(),
    });
    lines.collect::<Vec<_>>().join("\n")
}

impl Drop for Terminal<'_> {
    fn drop(&mut self) {
        self.tmux(&["kill-server"]);
    }
}

#[test]
fn terminal_matches_the_snapshots() {
    let place = tempfile::tempdir().expect("a temporary folder");
    let Some(sink) = NullSink::start(place.path(), 16_000, 1) else { return };
    let arguments = "record 'hey wakeling' --speaker Ana --out takes --device default";
    let Some(terminal) = Terminal::start(&sink, place.path(), arguments) else { return };
    let mut shown = vec![terminal.wait_for("enter starts")];
    let voice = demo("am_onyx-0.ogg");
    let mut player = sink.play(&repeated(place.path(), &voice));
    terminal.press("Enter");
    shown.push(terminal.wait_for("COUNT …"));
    shown.push(terminal.wait_for("NOW · detected"));
    shown.push(terminal.wait_for("keeps"));
    player.kill().expect("paplay ends");
    player.wait().expect("paplay ends");
    let quiet: Vec<i16> = voice.iter().map(|sample| sample / 80).collect();
    let mut player = sink.play(&repeated(place.path(), &quiet));
    terminal.press("k");
    shown.push(terminal.wait_for("PEAK: too quiet"));
    terminal.press("q");
    shown.push(terminal.wait_for("exit code"));
    player.kill().expect("paplay ends");
    player.wait().expect("paplay ends");
    // The image of the documents shows some of these screens.
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"));
    let image = folder.join("../../docs/images/record.txt");
    let image = plain(&fs::read_to_string(image).expect("an accepted screen"));
    let (_, image) = image.split_once('\n').expect("a command and its screens");
    assert_eq!(masked(image), shown[2..5].join("\n\n"), "`./x images` makes docs/images anew");
    let shown = shown.join(&format!("\n{}\n", "-".repeat(80))) + "\n";
    let path = folder.join("tests/snapshots/record.txt");
    if std::env::var_os("WAKELING_BLESS").is_some() {
        fs::write(&path, &shown).expect("a snapshot");
    }
    let expected = fs::read_to_string(&path).unwrap_or_default();
    assert_eq!(shown, expected, "WAKELING_BLESS=1 writes {} anew", path.display());
}
