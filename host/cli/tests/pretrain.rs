//! Tests of pretraining with the built program: killed at any moment, on full disks, from datasets
//! that lose files.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
    time::{Duration, Instant},
};

use wakeling_audio as audio;
use wakeling_nn::pretrained::PretrainedModel;
use wakeling_train::quantize::Backbone;

/// Writes `clips` recordings of each keyword, all different.
fn write_words(folder: &Path, clips: usize) {
    for (word, hz) in [("low", 300.0), ("high", 1_200.0)] {
        fs::create_dir_all(folder.join(word)).expect("a folder");
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

/// Folder with recordings of keywords, and runs on them.
struct TestDir {
    folder: tempfile::TempDir,
}

impl TestDir {
    fn new() -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        write_words(&folder.path().join("words"), 45);
        Self { folder }
    }

    fn at(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Returns a run in the folder `out`. With a small buffer, the dataset is used many times.
    fn command(&self, out: &str, steps: &str, more: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_wakeling"));
        if !more.contains(&"--workers") {
            command.args(["pretrain", "--workers", "1"]);
        } else {
            command.arg("pretrain");
        }
        command
            .args(["--tier", "s", "--task", "words", "--name", "tiny"])
            .args(["--steps", steps, "--streams", "1", "--readers", "2"])
            .args([Path::new("--train"), &self.at("words"), Path::new("--out"), &self.at(out)])
            .args(more);
        command
    }

    fn run(&self, out: &str, steps: &str, more: &[&str]) -> Output {
        self.command(out, steps, more).output().expect("the program runs")
    }

    fn weights(&self, out: &str) -> Vec<u8> {
        fs::read(self.at(out).join("tiny.safetensors")).expect("a base")
    }

    fn rows(&self, out: &str) -> Vec<String> {
        let log = fs::read_to_string(self.at(out).join("train.csv")).expect("a log");
        log.lines().map(str::to_owned).collect()
    }
}

fn succeeded(output: &Output) -> String {
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{text}");
    text
}

#[test]
fn pretrains_from_word_folders_and_resumes() {
    let place = TestDir::new();
    succeeded(&place.run("out", "12", &[]));
    let pretrained = PretrainedModel::load(&place.at("out/tiny.safetensors")).expect("a base");
    let backbone = Backbone::new(pretrained).expect("a calibrated base");
    assert_eq!(backbone.pretrained.info.words.outputs(), 3);
    assert_eq!(place.rows("out").len(), 1 + 12);

    // All training steps are done. The same command finds the checkpoint and ends with the same
    // pretrained model.
    let before = place.weights("out");
    let again = succeeded(&place.run("out", "12", &[]));
    assert!(again.contains("resuming"));
    assert!(before == place.weights("out"), "the base changed");

    // Other datasets in the same folder are another run.
    let other = place.run("out", "12", &["--without", "x"]);
    assert_eq!(other.status.code(), Some(3));
    assert!(String::from_utf8_lossy(&other.stderr).contains("other datasets"));
}

/// Kills a run at `kills` moments between its start and its end, then lets it finish.
fn kill_and_resume(steps: &str, kills: u32, workers: &str) {
    let small = &["--window", "40", "--checkpoint-every", "3", "--workers", workers];
    let place = TestDir::new();
    let begun = Instant::now();
    succeeded(&place.run("whole", steps, small));
    let duration = begun.elapsed();
    let mut random = 2_463_534_242u32;
    let mut killed = 0;
    for _ in 0..kills {
        // Marsaglia's xorshift.
        random ^= random << 13;
        random ^= random >> 17;
        random ^= random << 5;
        let mut command = place.command("killed", steps, small);
        let mut run = command.stderr(Stdio::null()).spawn().expect("the program runs");
        std::thread::sleep(duration.mul_f64(f64::from(random) / f64::from(u32::MAX) * 0.8));
        run.kill().expect("a signal");
        killed += u32::from(!run.wait().expect("it ends").success());
    }
    assert!(killed > 0, "every run had ended before it was killed");
    succeeded(&place.run("killed", steps, small));
    assert!(place.weights("whole") == place.weights("killed"), "the weights differ");
    assert_eq!(place.rows("whole"), place.rows("killed"));
}

#[test]
fn a_run_that_is_killed_and_resumed_ends_with_the_same_weights() {
    kill_and_resume("30", 3, "1");
}

#[test]
fn workers_with_separate_parts_resume_with_the_same_weights() {
    kill_and_resume("20", 2, "2");
}

#[test]
#[ignore = "a minute"]
fn a_run_that_is_killed_ten_times_ends_with_the_same_weights() {
    kill_and_resume("120", 10, "1");
}

#[test]
fn a_long_clip_is_used_and_one_beyond_the_limit_has_a_line() {
    let place = TestDir::new();
    let tone = |seconds: i32| -> Vec<i16> {
        (0..16_000 * seconds).map(|t| ((t % 50) * 300 - 7_500) as i16).collect()
    };
    audio::write_wav(place.at("words/low/90_nohash_0.wav"), &tone(15)).expect("a recording");
    audio::write_wav(place.at("words/low/91_nohash_0.wav"), &tone(22)).expect("a recording");
    let text = succeeded(&place.run("out", "4", &["--longest", "20"]));
    assert!(text.contains("1 skipped, see"), "{text}");
    let skipped = fs::read_to_string(place.at("out/skipped.txt")).expect("a list");
    assert!(skipped.contains("low/91_nohash_0.wav: longer than the 20 s that are used"));
    assert_eq!(place.run("no", "4", &["--longest", "0"]).status.code(), Some(2));
}

#[test]
fn voice_activity_is_learned_from_levels_alone() {
    let place = TestDir::new();
    let voice = &["--weight", "voice=1", "words=0", "--validate-every", "150"];
    let text = succeeded(&place.run("out", "150", voice));
    let metrics = place.rows("out").pop().expect("a row");
    let after = |name: &str| -> f64 {
        let found = metrics.split_once(name).expect(name).1;
        found.split([' ', ',']).next().and_then(|v| v.parse().ok()).expect("a number")
    };
    // Rows of 12 s hold about as much speech as silence.
    assert!(after("voice_error_rate.of=") > 100.0, "{metrics}");
    assert!(after("voice_error_rate=") < 0.1, "{metrics}\n{text}");
    assert!(!metrics.contains("word_error_rate"), "{metrics}");
    let image = fs::read_to_string(place.at("out/train.svg")).expect("a picture");
    assert!(image.contains("voice_error_rate") && image.contains("dev_loss"));
    let unweighted = place.run("no", "4", &["--weight", "words=0"]);
    assert_eq!(unweighted.status.code(), Some(2));
}

#[test]
fn broken_and_vanished_clips_are_counted_and_named() {
    let place = TestDir::new();
    fs::write(place.at("words/low/00_nohash_0.wav"), b"RIFF....WAVE").expect("a file");
    audio::write_wav(place.at("words/low/01_nohash_0.wav"), &[0; 300]).expect("a recording");
    succeeded(&place.run("out", "3", &["--window", "30"]));
    // These clips are in the run's list, but missing when it resumes.
    for clip in 20..30 {
        fs::remove_file(place.at(&format!("words/high/{clip}_nohash_0.wav"))).expect("a file");
    }
    let text = succeeded(&place.run("out", "40", &["--window", "30"]));
    assert!(text.contains("resuming") && text.contains("12 skipped, see"), "{text}");
    let skipped = fs::read_to_string(place.at("out/skipped.txt")).expect("a list");
    for part in
        ["low/00_nohash_0.wav: ", "low/01_nohash_0.wav: 0 frames", "high/25_nohash_0.wav: No such"]
    {
        assert!(skipped.contains(part), "{skipped}");
    }
    assert_eq!(skipped.lines().count(), 12);

    // A dataset that vanished completely is an error, not a dataset of silence.
    fs::remove_dir_all(place.at("words/low")).expect("a folder");
    fs::remove_dir_all(place.at("words/high")).expect("a folder");
    let gone = place.run("out", "60", &["--window", "30"]);
    let message = String::from_utf8_lossy(&gone.stderr);
    assert_eq!(gone.status.code(), Some(3), "{message}");
    assert!(message.contains("none of the") && message.contains("No such file"), "{message}");
}

#[cfg(target_os = "linux")]
#[test]
fn a_full_disk_stops_the_run_and_room_lets_it_go_on() {
    let place = TestDir::new();
    succeeded(&place.run("whole", "6", &[]));
    // Files of at most 100 kB: the lists fit, the checkpoint does not.
    let limited = |steps: &str| {
        let mut command = Command::new("bash");
        let program = place.command("full", steps, &[]);
        command.args(["-c", "trap '' XFSZ; ulimit -f 100; exec \"$@\"", "bash"]);
        command.arg(program.get_program()).args(program.get_args());
        command.output().expect("the program runs")
    };
    let full = limited("6");
    let message = String::from_utf8_lossy(&full.stderr);
    assert_eq!(full.status.code(), Some(4), "{message}");
    assert!(
        message.contains("checkpoint.safetensors") && message.contains("make room"),
        "{message}"
    );
    assert!(!place.at("full/tiny.safetensors").exists());
    succeeded(&place.run("full", "6", &[]));
    assert!(place.weights("whole") == place.weights("full"), "the weights differ");
}

/// Peak resident memory of a process, in kB.
#[cfg(target_os = "linux")]
fn resident_kb(process: u32) -> Option<u64> {
    let status = fs::read_to_string(format!("/proc/{process}/status")).ok()?;
    let line = status.lines().find(|line| line.starts_with("VmHWM:"))?;
    line.split_whitespace().nth(1)?.parse().ok()
}

/// Peak memory of a run of a few training steps on a manifest of `lines` lines, in kB.
#[cfg(target_os = "linux")]
fn peak_kb(place: &TestDir, lines: usize) -> u64 {
    use std::io::Write as _;
    let manifest = place.at(&format!("{lines}.jsonl"));
    let mut file = std::io::BufWriter::new(fs::File::create(&manifest).expect("a file"));
    for line in 0..lines {
        let (word, clip) = (["low", "high"][line % 2], line / 2 % 45);
        writeln!(
            file,
            "{{\"audio_filepath\": \"words/{word}/{clip:02}_nohash_0.wav\", \"kind\": \"word\", \
             \"text\": \"{word}\", \"speaker\": \"s{}\", \"source\": \"{lines}\"}}",
            line % 977
        )
        .expect("a line");
    }
    file.into_inner().expect("a file");
    let mut command = Command::new(env!("CARGO_BIN_EXE_wakeling"));
    let out = place.at(&format!("run-{lines}"));
    command
        .args(["pretrain", "--tier", "s", "--task", "words", "--steps", "40", "--streams", "1"])
        .args(["--workers", "1", "--readers", "2", "--window", "2000"])
        .args([Path::new("--train"), &manifest, Path::new("--out"), &out]);
    let mut run = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("it runs");
    let mut peak = 0;
    loop {
        peak = peak.max(resident_kb(run.id()).unwrap_or(0));
        if let Some(status) = run.try_wait().expect("a state") {
            assert!(status.success());
            return peak;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[cfg(target_os = "linux")]
#[test]
fn memory_does_not_grow_with_the_manifest() {
    let place = TestDir::new();
    let (small, large) = (peak_kb(&place, 4_000), peak_kb(&place, 40_000));
    println!("{small} kB for 4,000 lines, {large} kB for 40,000");
    assert!(large < small + 12_000, "{small} kB for 4,000 lines, {large} kB for 40,000");
}

#[cfg(target_os = "linux")]
#[test]
#[ignore = "a million lines: half a minute"]
fn memory_does_not_grow_with_a_million_lines() {
    let place = TestDir::new();
    let (small, large) = (peak_kb(&place, 4_000), peak_kb(&place, 1_000_000));
    println!("{small} kB for 4,000 lines, {large} kB for 1,000,000");
    assert!(large < small + 24_000, "{small} kB for 4,000 lines, {large} kB for 1,000,000");
}

/// Tests with several processes, if there is a launcher for them.
#[cfg(feature = "mpi")]
mod mpi {
    use super::*;

    /// Returns the run as `processes` processes; `None` if `mpirun` is not installed.
    fn among(
        place: &TestDir,
        processes: &str,
        out: &str,
        steps: &str,
        more: &[&str],
    ) -> Option<Command> {
        if Command::new("mpirun").arg("--version").output().is_err() {
            println!("SKIP: no mpirun; install openmpi-bin");
            return None;
        }
        let program = place.command(out, steps, more);
        let mut command = Command::new("mpirun");
        // Settings of Open MPI for more processes than cores, and for root in a container.
        for (name, value) in [
            ("OMPI_ALLOW_RUN_AS_ROOT", "1"),
            ("OMPI_ALLOW_RUN_AS_ROOT_CONFIRM", "1"),
            ("OMPI_MCA_rmaps_base_oversubscribe", "1"),
            ("PRTE_MCA_rmaps_default_mapping_policy", ":oversubscribe"),
            ("OMPI_MCA_mpi_yield_when_idle", "1"),
            ("OMPI_MCA_btl_vader_single_copy_mechanism", "none"),
        ] {
            command.env(name, value);
        }
        command.args(["-n", processes]).arg(program.get_program()).args(program.get_args());
        Some(command)
    }

    fn values(place: &TestDir, out: &str) -> Vec<(String, Vec<f32>)> {
        let pretrained =
            PretrainedModel::load(&place.at(out).join("tiny.safetensors")).expect("a base");
        let names: Vec<String> =
            pretrained.params.vars().map(|(name, _)| name.to_owned()).collect();
        names
            .into_iter()
            .map(|n| (n.clone(), pretrained.params.values(&n).expect("values")))
            .collect()
    }

    /// Options for a dataset larger than the buffer, so that each process uses a part of it.
    const SMALL: &[&str] = &["--window", "40", "--checkpoint-every", "3", "--validate-every", "8"];

    #[test]
    fn two_processes_learn_what_one_with_two_workers_learns() {
        let place = TestDir::new();
        let Some(mut command) = among(&place, "2", "two", "16", SMALL) else { return };
        succeeded(&command.output().expect("mpirun runs"));
        succeeded(&place.run("one", "16", &[SMALL, &["--workers", "2"]].concat()));
        for ((name, two), (_, one)) in values(&place, "two").iter().zip(values(&place, "one")) {
            let scale = one.iter().fold(0.0f32, |most, v| most.max(v.abs()));
            for (a, b) in two.iter().zip(&one) {
                assert!((a - b).abs() <= 1e-4 * scale, "{name}: {a} {b}");
            }
        }
        let (two, one) = (place.rows("two"), place.rows("one"));
        assert_eq!(two.len(), 17, "the first process alone writes the table");
        assert_eq!(two.len(), one.len());
        let errors = |rows: &[String]| {
            rows[8].split_once("word_error_rate=").expect("a figure").1.to_owned()
        };
        assert_eq!(errors(&two), errors(&one));
        // A single process with one worker gives a different result.
        succeeded(&place.run("other", "16", SMALL));
        assert!(place.weights("other") != place.weights("one"));
    }

    #[test]
    fn two_processes_that_are_killed_resume_with_the_same_weights() {
        let place = TestDir::new();
        let Some(mut command) = among(&place, "2", "whole", "16", SMALL) else { return };
        let begun = Instant::now();
        succeeded(&command.output().expect("mpirun runs"));
        let duration = begun.elapsed();
        let again = || among(&place, "2", "killed", "16", SMALL).expect("mpirun is there");
        let mut run = again().stderr(Stdio::null()).spawn().expect("mpirun runs");
        std::thread::sleep(duration.mul_f64(0.6));
        run.kill().expect("a signal");
        run.wait().expect("it ends");
        // The processes need time to notice that their launcher is gone.
        std::thread::sleep(Duration::from_secs(2));
        succeeded(&again().output().expect("mpirun runs"));
        assert!(place.weights("whole") == place.weights("killed"), "the weights differ");
        assert_eq!(place.rows("whole"), place.rows("killed"));
    }

    #[test]
    fn an_error_in_one_process_ends_all() {
        let place = TestDir::new();
        let missing = &["--dev", "no/such/corpus"];
        let Some(mut command) = among(&place, "2", "out", "16", missing) else { return };
        let output = command.output().expect("mpirun runs");
        let message = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success());
        assert!(message.contains("no/such/corpus"), "{message}");
    }
}
