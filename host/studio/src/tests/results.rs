//! Tests of models: where they go, and corrections of what they detect.

use std::path::Path;

use super::*;
use wakeling_tests::{Tier, random_model};

/// Writes a random model as that of the word "hey you", and opens the word.
fn open(place: &Path, tier: Tier) -> (SocketAddr, String) {
    let run = place.join("runs/hey-you");
    std::fs::create_dir_all(&run).unwrap();
    std::fs::write(run.join("model.wkl"), random_model(1, tier)).unwrap();
    let (address, token) = studio(place);
    let (status, state) = ask(address, &token, "POST /api/begin", b"{\"phrase\": \"hey you\"}");
    assert_eq!((status, &state["model"]), (200, &json!(true)), "{state}");
    (address, token)
}

fn target<'s>(state: &'s Value, id: &str) -> &'s Value {
    let targets = state["targets"].as_array().expect("a list");
    targets.iter().find(|target| target["id"] == id).expect("the target")
}

#[test]
fn targets_state_where_a_model_fits() {
    let place = tempfile::tempdir().unwrap();
    let (address, token) = open(place.path(), Tier::S);
    let (_, state) = ask(address, &token, "GET /api/state", b"");
    for id in ["uf2", "esphome", "c", "browser", "model"] {
        let target = target(&state, id);
        let why = target["why"].as_str().unwrap();
        assert_eq!(target["fits"].as_bool().unwrap(), why.is_empty(), "{target}");
    }
    assert_eq!(target(&state, "c")["fits"], true);
    assert_eq!(target(&state, "esphome")["obstacle"], "features");
    // Firmware of boards is not beside a test; the package for browsers is where `./x test` built it.
    assert_eq!(target(&state, "uf2")["obstacle"], "files");
    let is_built = std::env::var_os("WAKELING_NPM").is_some();
    let expected = if is_built { "" } else { "files" };
    assert_eq!(target(&state, "browser")["obstacle"], expected);
    let esphome = target(&state, "esphome");
    assert!(esphome["why"].as_str().unwrap().contains("features"), "{esphome}");
    let boards = target(&state, "uf2")["boards"].as_array().unwrap();
    assert_eq!(boards.len(), targets::drives().count());
    // The settings are those of live detection.
    let (_, live) = ask(address, &token, "POST /api/live", b"");
    assert_eq!(state["settings"], live["settings"]);
    assert!(live["levels"].is_null(), "{live}");
    assert_eq!(state["settings"].as_array().unwrap().len(), 3);
    // Without a model, nothing fits, and each target has a reason.
    let (_, state) = ask(address, &token, "POST /api/begin", b"{\"phrase\": \"another one\"}");
    assert_eq!(target(&state, "model")["fits"], false);
    assert_eq!(target(&state, "browser")["why"], Error::NoModel.to_string());
}

#[test]
fn a_board_that_is_too_slow_is_named() {
    let place = tempfile::tempdir().unwrap();
    let (address, token) = open(place.path(), Tier::M);
    let (_, state) = ask(address, &token, "GET /api/state", b"");
    let boards = target(&state, "uf2")["boards"].as_array().unwrap();
    let pico = boards.iter().find(|board| board["name"] == "pico").expect("a Pico");
    assert_eq!(pico["obstacle"], "slow", "{pico}");
    assert!(pico["percent"].as_f64().unwrap() >= 100.0, "{pico}");
}

#[test]
fn a_model_is_exported_by_the_code_of_the_command() {
    let place = tempfile::tempdir().unwrap();
    let (address, token) = open(place.path(), Tier::S);
    let head =
        |request: &str| format!("{request} HTTP/1.0\r\nHost: {address}\r\n{TOKEN_HEADER}: {token}");
    let (status, header) = send(address, &head("GET /api/export?to=c"), b"");
    assert_eq!(status, 200, "{header}");
    assert!(header.contains("static const unsigned char hey_you["), "{}", &header[..400]);
    for (request, expected) in [
        ("GET /api/export?to=esphome", "features"),
        ("GET /api/export?to=pdf", "pdf"),
        ("GET /api/export", "no form"),
        ("GET /api/uf2?board=../x", "../x"),
    ] {
        let (status, answer) = ask(address, &token, request, b"");
        assert!(status >= 400, "{request}");
        assert!(answer["error"].as_str().unwrap().contains(expected), "{request}: {answer}");
    }
    assert_eq!(ask(address, &token, "POST /api/train?board=toaster", b"").0, 400);
}

/// Sends sound to live detection.
fn listen(address: SocketAddr, token: &str, pcm: &[i16]) {
    for block in pcm.chunks(16_000) {
        let bytes: Vec<u8> = block.iter().flat_map(|s| s.to_le_bytes()).collect();
        let (status, value) = ask(address, token, "POST /api/sound?for=live&rate=16000", &bytes);
        assert_eq!(status, 200, "{value}");
    }
}

#[test]
fn corrections_are_kept_listed_and_taken_back() {
    let place = tempfile::tempdir().unwrap();
    let (address, token) = open(place.path(), Tier::S);
    let ask = |request: &str| ask(address, &token, request, b"");
    assert_eq!(ask("POST /api/correct?kind=false_wake").0, 400, "nothing listens");
    ask("POST /api/live");
    assert_eq!(ask("POST /api/correct?kind=false_wake").0, 400, "there is no sound");
    // Two seconds of one level, a phrase, and three seconds of another level.
    let mut x = 1_u32;
    let mut noise = |samples: usize, peak: i32| -> Vec<i16> {
        let mut next = || {
            x = x.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            ((x >> 16) as i32 % (2 * peak + 1) - peak) as i16
        };
        (0..samples).map(|_| next()).collect()
    };
    let sound = [noise(32_000, 40), noise(12_000, 9_000), noise(16_000, 40)].concat();
    listen(address, &token, &sound);
    for kind in ["", "x", "false_wake%00"] {
        assert_eq!(ask(&format!("POST /api/correct?kind={kind}")).0, 400);
    }
    let (status, state) = ask("POST /api/correct?kind=false_wake&time_s=2.5");
    assert_eq!(status, 200, "{state}");
    let corrections = &state["corrections"];
    assert_eq!(corrections["false_wakes"][0]["seconds"], 3.0, "{corrections}");
    let kept = wakeling_audio::read(place.path().join("runs/hey-you/false-wakes/wake-0001.wav"));
    assert_eq!(kept.unwrap(), sound[..48_000], "the three seconds up to 0.5 s after the detection");
    assert_eq!(ask("POST /api/correct?kind=missed").0, 400, "the same sound is not kept twice");

    listen(address, &token, &noise(48_000, 40));
    let (status, answer) = ask("POST /api/correct?kind=missed");
    assert_eq!(status, 400);
    assert!(answer["error"].as_str().unwrap().contains("no phrase"), "{answer}");
    listen(address, &token, &sound);
    let (status, state) = ask("POST /api/correct?kind=missed&time_s=1e300");
    assert_eq!(status, 200, "{state}");
    assert_eq!(
        (&state["takes"][0]["origin"], &state["words"][0]["corrections"]),
        (&json!("live"), &json!(2))
    );
    let name = state["corrections"]["missed"][0]["name"].as_str().unwrap().to_owned();
    assert!(state["corrections"]["missed"][0]["seconds"].as_f64().unwrap() < 1.6, "{state}");

    for name in ["../../x", "nothing.wav", ""] {
        assert_eq!(ask(&format!("POST /api/uncorrect?name={name}")).0, 400);
    }
    let (_, state) = ask("POST /api/uncorrect?name=wake-0001.wav");
    assert_eq!(state["corrections"]["false_wakes"], json!([]));
    let (_, state) = ask("POST /api/undo");
    assert_eq!(state["corrections"]["false_wakes"][0]["name"], "wake-0001.wav");
    let (_, state) = ask(&format!("POST /api/uncorrect?name={name}"));
    assert_eq!((&state["takes"], &state["corrections"]["missed"]), (&json!([]), &json!([])));
    // Sound before a correction is not kept, and that of the last fifteen seconds is.
    listen(address, &token, &sound);
    let is_gone = |answer: (u16, Value)| {
        let error = answer.1["error"].as_str().unwrap_or_default();
        answer.0 == 400 && error.contains("no longer kept")
    };
    assert!(is_gone(ask("POST /api/correct?kind=false_wake&time_s=-5")));
    let (_, answer) = super::ask(address, &token, "POST /api/sound?for=live&rate=16000", b"");
    let kept_from_s = answer["kept_from_s"].as_f64().unwrap();
    assert!(kept_from_s > 0.0, "{answer}");
    let before = kept_from_s - 0.1;
    assert!(is_gone(ask(&format!("POST /api/correct?kind=false_wake&time_s={before}"))));
    assert_eq!(
        ask("POST /api/correct?kind=false_wake&time_s=NaN").0,
        200,
        "no number, so the last sound"
    );
}
