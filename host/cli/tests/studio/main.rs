//! Tests of the studio: whole sessions in a browser by pointer, keyboard and touch, the screens they
//! show, and what happens when something fails. Skipped, with a message, if Chromium is missing.
//!
//! | module | content |
//! |---|---|
//! | `session` | phrase to detection and download, at three widths, dark and light |
//! | `kills` | the program ends while it records, trains or listens, and comes back |
//! | `problems` | messages beside their controls |
//! | `progress` | stages of a training, and its end |
//! | `screens` | the comparison of screens notices what a user would |
//! | `trying` | corrections while the page listens |
//! | `images` | images of the documents |

mod images;
mod kills;
mod problems;
mod progress;
mod screens;
mod session;
mod trying;

use std::{
    fs,
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use serde_json::Value;
use wakeling_audio as audio;
use wakeling_device::{board::Board, flash::shipped::Shipped};
use wakeling_tests::{Random, shipped::few_models};

/// Time limit of a training, which shares the machine with other tests.
const TRAINING: Duration = Duration::from_secs(600);
const SHORT: Duration = Duration::from_secs(60);
/// Seconds of room sound that an earlier run has saved.
const ROOM_S: usize = 12;

/// Running program, ended with the test.
struct Program(Child);

impl Drop for Program {
    fn drop(&mut self) {
        // Errors are ignored: a program that has ended by itself cannot be killed.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Writes audio of several voices that speak the phrase, with pauses long enough for the countdown
/// of a take.
fn microphone(place: &Path) -> PathBuf {
    let demo = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../demo/train");
    let mut voices: Vec<PathBuf> =
        fs::read_dir(demo).expect("the demo").map(|e| e.expect("an entry").path()).collect();
    voices.sort();
    let mut sound = Vec::new();
    for voice in voices.iter().take(8) {
        sound.extend(vec![0; 40_000]);
        sound.extend(audio::read(voice).expect("a voice"));
    }
    // A real microphone has some noise.
    let mut random = Random::new(1);
    sound.iter_mut().for_each(|s| *s = s.saturating_add((20.0 * random.unit()) as i16));
    recording(place, &sound)
}

/// Writes the audio that the browser's fake microphone repeats.
fn recording(place: &Path, sound: &[i16]) -> PathBuf {
    let path = place.join("microphone.wav");
    audio::write_wav(&path, sound).expect("a recording");
    path
}

/// Starts the studio with one pack of the shipped negatives, and returns its address.
fn studio(place: &Path) -> (Program, String) {
    let cache = Path::new(env!("CARGO_TARGET_TMPDIR")).join("studio-cache");
    studio_of(place, 60, &cache)
}

/// Starts the studio like [`studio`], with trainings of `steps` steps and a cache for negatives that
/// are embedded already.
fn studio_of(place: &Path, steps: u32, cache: &Path) -> (Program, String) {
    let mut child = Command::new(env!("CARGO_BIN_EXE_wakeling"))
        .args(["studio", "--steps", &steps.to_string()])
        .current_dir(place)
        .env("WAKELING_CACHE", cache)
        .env("WAKELING_MODELS", few_models(place, "base-m"))
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("the program starts");
    let mut url = String::new();
    BufReader::new(child.stdout.take().expect("a pipe")).read_line(&mut url).expect("an address");
    (Program(child), url.trim().to_owned())
}

/// Tests whether the firmware that ships was built beside the program, as `./x test` does first.
fn firmware_is_built() -> bool {
    let program = Path::new(env!("CARGO_BIN_EXE_wakeling"));
    let folder = program.ancestors().nth(2).expect("a target folder").join("firmware");
    let is_built =
        Board::named("pico2").and_then(|board| Shipped::open(&folder)?.load(board, false)).is_ok();
    assert!(is_built || std::env::var_os("WAKELING_REQUIRE_FIRMWARE").is_none(), "no firmware");
    if !is_built {
        eprintln!("SKIP: the file for a drive; ./x boards builds the firmware");
    }
    is_built
}

/// Waits for a file that the page saves, and returns its path.
fn downloaded(place: &Path, name: &str) -> PathBuf {
    let path = place.join("downloads").join(name);
    let started = Instant::now();
    while !path.is_file() {
        assert!(started.elapsed() < SHORT, "{name} is not downloaded");
        std::thread::sleep(Duration::from_millis(100));
    }
    path
}

/// Generates phrase-like audio: three syllables of harmonics in faint noise.
fn take(random: &mut Random) -> Vec<i16> {
    let noise = |random: &mut Random, samples: usize| -> Vec<f64> {
        (0..samples).map(|_| 20.0 * random.unit()).collect()
    };
    let mut sound = noise(random, 8_000);
    let pitch_hz = 140.0 + 50.0 * random.unit();
    for formant_hz in [700.0, 400.0, 1_100.0] {
        let length = 3_200 + random.below(800);
        sound.extend((0..length).map(|n| {
            let t = n as f64 / 16_000.0;
            let wave = |h: usize| {
                let hz = pitch_hz * h as f64;
                (std::f64::consts::TAU * hz * t).sin() / (1.0 + ((hz - formant_hz) / 200.0).powi(2))
            };
            let envelope = (std::f64::consts::PI * n as f64 / length as f64).sin();
            5_000.0 * envelope * (1..20).map(wave).sum::<f64>() + 20.0 * random.unit()
        }));
        sound.extend(noise(random, 300));
    }
    sound.extend(noise(random, 8_000));
    // The cast with `as` saturates.
    sound.into_iter().map(|s| s as i16).collect()
}

/// Writes takes of "hey you" and a room, as an earlier run would have saved them.
fn recordings(place: &Path, takes: usize) {
    let mut random = Random::new(3);
    let folder = place.join("recordings/hey-you");
    fs::create_dir_all(&folder).expect("a folder");
    for number in 1..=takes {
        let path = folder.join(format!("take-{number:04}.wav"));
        audio::write_wav(path, &take(&mut random)).expect("a take");
    }
    let room: Vec<i16> = (0..16_000 * ROOM_S).map(|_| (300.0 * random.unit()) as i16).collect();
    let folder = place.join("recordings/room");
    fs::create_dir_all(&folder).expect("a folder");
    audio::write_wav(folder.join("room-0001.wav"), &room).expect("a room");
}

/// Sends a request to the studio at an address with its token. Returns the JSON of the answer.
fn ask(url: &str, path: &str, body: Option<&Value>) -> Value {
    let (address, token) = url.split_once("/#").expect("a token");
    let agent: ureq::Agent =
        ureq::Agent::config_builder().http_status_as_error(false).build().into();
    let (address, name) = (format!("{address}{path}"), "X-Wakeling-Token");
    let answer = match body {
        Some(body) => agent.post(address).header(name, token).send(body.to_string()),
        None => agent.get(address).header(name, token).call(),
    };
    let text = answer.expect("an answer").body_mut().read_to_string().expect("text");
    serde_json::from_str(&text).expect("JSON")
}

/// Returns the states of a training until it ends, or until `is_it` accepts one.
fn follow(url: &str, is_it: impl Fn(&Value) -> bool) -> Vec<Value> {
    let started = Instant::now();
    let mut states = Vec::new();
    loop {
        assert!(started.elapsed() < TRAINING, "{:#?}", states.last());
        let training = ask(url, "/api/state", None)["training"].clone();
        let is_running =
            ["finetune", "evaluate"].iter().any(|running| training["state"] == **running);
        let is_last = !is_running || is_it(&training);
        states.push(training);
        if is_last {
            return states;
        }
        std::thread::sleep(Duration::from_millis(100));
    }
}
