//! End-to-end tests of `wakeling sign` and `wakeling device`: signed models go over TCP to the
//! firmware in QEMU, which runs them, rejects others, and passes its flight recorder's events to
//! `finetune`.

use std::{
    fs,
    net::TcpListener,
    path::Path,
    process::{Command, Output},
    time::Duration,
};

use wakeling_audio as audio;
use wakeling_device::{
    emulator::{Emulator, Machine, Served, UPDATE},
    recorder::load_events,
    update::{keys::Key, package::Package},
};
use wakeling_tests::{
    Random, Tier, device::emulator, model::random_model, shipped::few_models, sound,
};

fn wakeling(place: &Path, args: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_wakeling"));
    command.args(args).current_dir(place).env("WAKELING_MODELS", place.join("models"));
    command.output().expect("the program starts")
}

fn succeeds(place: &Path, args: &[&str]) -> String {
    let output = wakeling(place, args);
    assert!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// Runs a command that must fail with this exit code, and returns its message.
fn fails(place: &Path, code: i32, args: &[&str]) -> String {
    let output = wakeling(place, args);
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(code), "{args:?}: {text}");
    text
}

#[test]
fn a_key_is_made_once_signs_and_is_never_shown() {
    let place = tempfile::tempdir().expect("a folder");
    let place = place.path();
    fs::write(place.join("m.wkl"), random_model(1, Tier::Tiny)).expect("a file");
    let made = wakeling(place, &["sign", "--new-key", "key"]);
    let secret = fs::read_to_string(place.join("key")).expect("a key");
    let secret = secret.lines().last().expect("digits");
    for stream in [&made.stdout, &made.stderr] {
        assert!(!String::from_utf8_lossy(stream).contains(secret), "the secret key is shown");
    }
    let key = Key::load(&place.join("key")).expect("a key");
    let args = ["sign", "m.wkl", "--key", "key", "--model-version", "5", "--out", "a.wku"];
    assert_eq!(succeeds(place, &args), "a.wku\n");
    let package = Package::load(&place.join("a.wku")).expect("an image");
    assert_eq!(package.header.version, 5);
    assert_eq!(package.header.signature.expect("it is signed").key, key.public());
    assert!(fails(place, 2, &["sign", "--new-key", "key"]).contains("there already"));
    fs::write(place.join("no.wkl"), "nothing").expect("a file");
    assert!(fails(place, 3, &["sign", "no.wkl"]).contains("no.wkl"));
    assert!(fails(place, 3, &["device", "update", "m.wkl", "--port", "none"]).contains("m.wkl"));
    let none = fails(place, 4, &["device", "info", "--port", "/dev/none"]);
    assert!(none.contains("/dev/none") && none.contains("remedy"), "{none}");
}

#[test]
fn device_takes_signed_models_over_tcp_and_sends_its_recordings() {
    let Some(emulator) = emulator(Machine::CORTEX_M0, UPDATE) else { return };
    let folder = tempfile::tempdir().expect("a folder");
    let place = folder.path();
    for seed in [1, 2] {
        let model = random_model(seed, Tier::Tiny);
        fs::write(place.join(format!("{seed}.wkl")), model).expect("a file");
        let (name, version) = (format!("{seed}.wkl"), format!("{}", 10 * seed));
        succeeds(place, &["sign", &name, "--model-version", &version]);
    }
    succeeds(place, &["sign", "2.wkl", "--unsigned", "--model-version", "30", "--out", "u.wku"]);
    succeeds(place, &["sign", "--new-key", "key"]);
    let foreign = ["sign", "2.wkl", "--key", "key", "--model-version", "30", "--out", "f.wku"];
    succeeds(place, &foreign);

    let asked = Asked::new(place, &emulator, &sound::speech_like(4, 6));
    let device = |args: &[&str]| asked.succeeds(args);
    let refuses = |args: &[&str]| asked.refuses(args);
    let info = device(&["update", "1.wku"]);
    assert!(info.contains("version 10 in slot 0"), "{info}");
    // The device processes its six seconds of audio after the first model has arrived.
    let mut events = String::new();
    for _ in 0..50 {
        events = device(&["log", "--out", "alarms"]);
        if !events.is_empty() {
            break;
        }
        std::thread::sleep(Duration::from_millis(100));
    }
    assert!(events.contains("alarms/0000"), "{events}");
    let events = load_events(&place.join("alarms")).expect("events");
    assert!(!events.is_empty() && events.iter().all(|event| event.entry.width == 80));

    let info = device(&["update", "2.wku", "--trial"]);
    assert!(info.contains("version 20 in slot 1") && info.contains("on trial"), "{info}");
    let info = device(&["restart"]);
    assert!(info.contains("version 10") && info.contains("version 20 failed"), "{info}");
    device(&["update", "2.wku", "--trial"]);
    let info = device(&["confirm"]);
    assert!(info.contains("version 20 in slot 1") && !info.contains("on trial"), "{info}");
    assert!(device(&["restart"]).contains("version 20 in slot 1"));

    assert!(refuses(&["update", "1.wku"]).contains("from 21"));
    assert!(refuses(&["update", "u.wku"]).contains("accepts only signed models"));
    assert!(refuses(&["update", "f.wku"]).contains("another key"));
    assert!(refuses(&["confirm"]).contains("no model is on trial"));
    assert!(device(&["info"]).contains("version 20 in slot 1"));
}

/// A voice enrolls a phrase on the device, which then detects it at other levels.
#[test]
fn keyword_enrolled_over_the_line_is_detected() {
    let Some(emulator) = emulator(Machine::CORTEX_M0, UPDATE) else { return };
    let folder = tempfile::tempdir().expect("a folder");
    let place = folder.path();
    few_models(place, "base-s");
    let word = "hey wakeling";
    let quantize = ["quantize", "--enroll", word, "--base", "base-s", "--out", "mine.wkl"];
    succeeds(place, &quantize);
    succeeds(place, &["sign", "mine.wkl", "--model-version", "7"]);

    // The board runs faster than real time, so the utterances repeat. Five more always follow the
    // request.
    let spoken = |name: &str, percent: i32| {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../demo/test").join(name);
        let pcm = audio::read(&path).expect("a recording");
        let at_level = pcm.into_iter().map(|x| (i32::from(x) * percent / 100) as i16);
        [at_level.collect(), room(1.5)].concat()
    };
    let [first, second] = ["am_michael-0.ogg", "am_michael-1.ogg"];
    let utterances = [(first, 100), (second, 100), (first, 60), (second, 60), (first, 80)];
    let utterances = utterances.map(|(name, percent)| spoken(name, percent)).concat();
    let others = [spoken(second, 80), spoken(first, 40)].concat();
    let pcm = [room(4.0), utterances.repeat(4), room(1.0), others].concat();

    let device = Asked::new(place, &emulator, &pcm);
    let info = device.succeeds(&["update", "mine.wku"]);
    assert!(info.contains("version 7 in slot 0") && !info.contains("enrolled here"), "{info}");
    let info = device.succeeds(&["enroll"]);
    assert!(info.contains("version 7 in slot 1, enrolled here"), "{info}");
    // The recorder's last events must come from the end of the sound.
    let both_detected =
        |events: &str| events.lines().filter(|l| l.contains("-detection")).count() == 2;
    let mut events = String::new();
    for _ in 0..100 {
        // The device keeps running, so an event may be dropped before it is read.
        let log = ["device", "log", "--out", "heard", "--port", &device.port];
        events = String::from_utf8_lossy(&wakeling(place, &log).stdout).into_owned();
        let last = load_events(&place.join("heard")).unwrap_or_default();
        let last = last.iter().map(|event| event.entry.end_samples).max().unwrap_or(0);
        if both_detected(&events) && last > (pcm.len() - 5 * 16_000) as u64 {
            return;
        }
        let _ = fs::remove_dir_all(place.join("heard"));
        std::thread::sleep(Duration::from_millis(200));
    }
    panic!("it did not hear the word: {events}");
}

/// Generates a quiet room of `seconds` seconds.
fn room(seconds: f64) -> Vec<i16> {
    let random = &mut Random::new(9);
    (0..(16_000.0 * seconds) as usize).map(|_| random.below(17) as i16 - 8).collect()
}

/// Emulated device that is queried over TCP.
struct Asked<'p> {
    place: &'p Path,
    port: String,
    _device: Served,
}

impl<'p> Asked<'p> {
    /// Starts a device with erased flash, and waits until it answers.
    fn new(place: &'p Path, emulator: &Emulator, pcm: &[i16]) -> Self {
        // A port that was free a moment ago.
        let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a port");
        let port = listener.local_addr().expect("an address").port();
        drop(listener);
        let erased = vec![0xFF; emulator.flash_bytes()];
        let device = emulator.serve(&erased, pcm, port).expect("it starts");
        let asked = Self { place, port: format!("tcp://127.0.0.1:{port}"), _device: device };
        let info = wait_for(|| wakeling(place, &["device", "info", "--port", &asked.port]));
        assert!(info.contains("microbit") && info.contains("no model"), "{info}");
        asked
    }

    fn succeeds(&self, args: &[&str]) -> String {
        succeeds(self.place, &[&["device"], args, &["--port", &self.port]].concat())
    }

    fn refuses(&self, args: &[&str]) -> String {
        fails(self.place, 4, &[&["device"], args, &["--port", &self.port]].concat())
    }
}

/// Returns the output of a command once it succeeds, because QEMU takes a moment to accept
/// connections.
fn wait_for(run: impl Fn() -> Output) -> String {
    for _ in 0..100 {
        let output = run();
        if output.status.success() {
            return String::from_utf8_lossy(&output.stdout).into_owned();
        }
        std::thread::sleep(Duration::from_millis(100));
    }
    panic!("the device does not answer: {:?}", run());
}
