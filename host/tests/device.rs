//! `wakeling sign` and `wakeling device`, end to end: signed models go over TCP to the firmware in
//! QEMU, which runs them, refuses others, and gives its flight recorder's events to `finetune`.

use std::{
    env, fs,
    net::TcpListener,
    path::Path,
    process::{Command, Output},
};

use wakeling::{
    emulator::{Emulator, EmulatorError, Machine, UPDATE},
    recorder::load_events,
    update::{image::Image, keys::Key},
};
use wakeling_tests::{Tier, model::random_model, sound};

fn wakeling(place: &Path, args: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_wakeling"));
    command.args(args).current_dir(place).output().expect("the program starts")
}

fn succeeds(place: &Path, args: &[&str]) -> String {
    let output = wakeling(place, args);
    assert!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// What it complains of, after failing with this exit code.
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
    for said in [&made.stdout, &made.stderr] {
        assert!(!String::from_utf8_lossy(said).contains(secret), "the secret key is shown");
    }
    let key = Key::load(&place.join("key")).expect("a key");
    let args = ["sign", "m.wkl", "--key", "key", "--model-version", "5", "--out", "a.wku"];
    assert_eq!(succeeds(place, &args), "a.wku\n");
    let image = Image::load(&place.join("a.wku")).expect("an image");
    assert_eq!(image.header.version, 5);
    assert_eq!(image.header.signature.expect("it is signed").key, key.public());
    assert!(fails(place, 2, &["sign", "--new-key", "key"]).contains("there already"));
    fs::write(place.join("no.wkl"), "nothing").expect("a file");
    assert!(fails(place, 3, &["sign", "no.wkl"]).contains("no.wkl"));
    assert!(fails(place, 3, &["device", "update", "m.wkl", "--port", "none"]).contains("m.wkl"));
    let none = fails(place, 4, &["device", "info", "--port", "/dev/none"]);
    assert!(none.contains("/dev/none") && none.contains("remedy"), "{none}");
}

#[test]
fn a_device_takes_signed_models_over_tcp_and_tells_what_it_recorded() {
    let emulator = match Emulator::built(Machine::CORTEX_M0, UPDATE) {
        Ok(emulator) => emulator,
        Err(error @ (EmulatorError::NoQemu { .. } | EmulatorError::NoFirmware { .. })) => {
            assert!(env::var_os("WAKELING_REQUIRE_EMULATOR").is_none(), "{error}");
            return eprintln!("skipped: {error}");
        }
        Err(error) => panic!("{error}"),
    };
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

    // Free a moment ago.
    let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a port");
    let port = listener.local_addr().expect("an address").port();
    drop(listener);
    let erased = vec![0xFF; emulator.flash_bytes()];
    let _device = emulator.serve(&erased, &sound::speech_like(4, 6), port).expect("it starts");
    let port = format!("tcp://127.0.0.1:{port}");
    let device = |args: &[&str]| succeeds(place, &[&["device"], args, &["--port", &port]].concat());
    let refuses =
        |args: &[&str]| fails(place, 4, &[&["device"], args, &["--port", &port]].concat());

    let info = wait_for(|| wakeling(place, &["device", "info", "--port", &port]));
    assert!(info.contains("microbit") && info.contains("no model"), "{info}");
    let info = device(&["update", "1.wku"]);
    assert!(info.contains("version 10 in slot 0"), "{info}");
    // It hears its six seconds after the first model came.
    let events = device(&["log", "--out", "alarms"]);
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
    assert!(refuses(&["update", "u.wku"]).contains("signed models only"));
    assert!(refuses(&["update", "f.wku"]).contains("another key"));
    assert!(refuses(&["confirm"]).contains("no model is on trial"));
    assert!(device(&["info"]).contains("version 20 in slot 1"));
}

/// What a command says once it succeeds: QEMU takes a moment to listen.
fn wait_for(run: impl Fn() -> Output) -> String {
    for _ in 0..100 {
        let output = run();
        if output.status.success() {
            return String::from_utf8_lossy(&output.stdout).into_owned();
        }
        std::thread::sleep(std::time::Duration::from_millis(100));
    }
    panic!("the device does not answer: {:?}", run());
}
