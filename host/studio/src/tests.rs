mod address;
mod files;
mod results;
mod words;

use std::{
    io::{Read, Write},
    net::TcpStream,
};

use super::*;

/// Explains errors as the program does, without advice.
fn explain(error: &Error) -> Explanation {
    Explanation { text: error.to_string(), is_request: !matches!(error, Error::Audio(_)) }
}

/// Starts a studio in its own thread, which runs until the tests end.
fn studio(place: &std::path::Path) -> (SocketAddr, String) {
    let places = Places {
        recordings: place.join("recordings"),
        runs: place.join("runs"),
        settings: Default::default(),
    };
    let mut studio = Studio::open(0, places, explain).unwrap();
    let found = (studio.server.address, studio.server.token.clone());
    std::thread::spawn(move || studio.serve());
    found
}

/// Sends a request unchanged. Returns the status and the response.
fn send(address: SocketAddr, head: &str, body: &[u8]) -> (u16, String) {
    let mut stream = TcpStream::connect(address).unwrap();
    let head = format!("{head}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n", body.len());
    stream.write_all(head.as_bytes()).unwrap();
    // The server does not read a refused request to its end.
    let _ = stream.write_all(body);
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    let answer = String::from_utf8_lossy(&answer).into_owned();
    let status = answer.split(' ').nth(1).and_then(|s| s.parse().ok()).unwrap_or(0);
    (status, answer)
}

fn ask(address: SocketAddr, token: &str, request: &str, body: &[u8]) -> (u16, Value) {
    // With HTTP 1.0 a long response is not split into chunks.
    let head = format!("{request} HTTP/1.0\r\nHost: {address}\r\n{TOKEN_HEADER}: {token}");
    let (status, answer) = send(address, &head, body);
    let body = answer.split_once("\r\n\r\n").map_or("", |(_, body)| body);
    (status, serde_json::from_str(body).unwrap_or(Value::Null))
}

#[test]
fn rejects_foreign_requests() {
    let place = tempfile::tempdir().unwrap();
    let (address, token) = studio(place.path());
    let state = "GET /api/state HTTP/1.1";
    let own = format!("Host: {address}\r\n{TOKEN_HEADER}: {token}");
    let wrong = "0".repeat(32);
    for (head, status) in [
        (format!("{state}\r\n{own}"), 200),
        (format!("{state}\r\n{own}\r\nOrigin: http://{address}"), 200),
        (format!("{state}\r\n{own}\r\nOrigin: http://example.org"), 403),
        (format!("{state}\r\n{own}\r\nOrigin: null"), 403),
        (format!("{state}\r\n{own}\r\nOrigin: https://{address}"), 403),
        (
            format!("{state}\r\nHost: example.org:{}\r\n{TOKEN_HEADER}: {token}", address.port()),
            403,
        ),
        (format!("{state}\r\n{TOKEN_HEADER}: {token}"), 403),
        (format!("{state}\r\nHost: {address}"), 401),
        (format!("{state}\r\nHost: {address}\r\n{TOKEN_HEADER}: {wrong}"), 401),
        (format!("{state}\r\nHost: {address}\r\n{TOKEN_HEADER}: "), 401),
        (format!("OPTIONS /api/state HTTP/1.1\r\nHost: {address}"), 401),
        (format!("GET /../../etc/passwd HTTP/1.1\r\n{own}"), 404),
        (format!("GET / HTTP/1.1\r\nHost: {address}"), 200),
        ("GET / HTTP/1.1\r\nHost: example.org".to_owned(), 403),
    ] {
        let (found, answer) = send(address, &head, b"");
        assert_eq!(found, status, "{head}\n{answer}");
        assert!(!answer.to_lowercase().contains("access-control-allow"), "{answer}");
        assert!(answer.contains("Content-Security-Policy: default-src 'none'"), "{answer}");
    }
    assert!(address.ip().is_loopback());
}

#[test]
fn idle_connections_do_not_block_others() {
    let place = tempfile::tempdir().unwrap();
    let (address, token) = studio(place.path());
    // A browser opens connections before it needs them. All requests come at once, as for a page.
    let idle: Vec<TcpStream> = (0..20).map(|_| TcpStream::connect(address).unwrap()).collect();
    let asks = |_| {
        let token = token.clone();
        std::thread::spawn(move || ask(address, &token, "GET /api/state", b"").0)
    };
    let asked: Vec<_> = (0..20).map(asks).collect();
    assert!(asked.into_iter().all(|thread| thread.join().unwrap() == 200));
    drop(idle);
}

#[test]
fn rejects_invalid_requests_and_goes_on() {
    let place = tempfile::tempdir().unwrap();
    let (address, token) = studio(place.path());
    for (request, body, status) in [
        ("POST /api/begin", &b"{"[..], 400),
        ("POST /api/begin", b"{\"phrase\": \"-x\"}", 400),
        ("POST /api/begin", b"{\"phrase\": \"../../x\"}", 200),
        ("POST /api/sound?for=take&rate=16000", b"\0\0", 400),
        ("POST /api/sound?for=live", b"\0\0", 400),
        ("POST /api/sound?for=room&rate=0", b"\0\0", 500),
        ("POST /api/keep", b"", 400),
        ("POST /api/train", b"", 400),
        ("POST /api/live", b"", 400),
        ("POST /api/remove?take=../../x", b"", 400),
        ("GET /api/model", b"", 400),
        ("GET /nothing", b"", 404),
    ] {
        let (found, answer) = ask(address, &token, request, body);
        assert_eq!(found, status, "{request}: {answer}");
    }
    let long = vec![0; LONGEST_BODY as usize + 2];
    assert_eq!(ask(address, &token, "POST /api/sound?for=room", &long).0, 413);
    // No path is built from the request's text.
    let names: Vec<_> = std::fs::read_dir(place.path().join("recordings"))
        .unwrap()
        .map(|e| e.unwrap().file_name())
        .collect();
    assert!(names.iter().all(|n| n == "room" || n == "------x"), "{names:?}");
}

#[test]
fn take_is_recorded_checked_saved_and_removed() {
    let place = tempfile::tempdir().unwrap();
    let (address, token) = studio(place.path());
    let ask = |request: &str, body: &[u8]| {
        let (status, value) = ask(address, &token, request, body);
        assert_eq!(status, 200, "{request}: {value}");
        value
    };
    ask("POST /api/begin", b"{\"phrase\": \"hey you\", \"speaker\": \"Ana\"}");
    ask("POST /api/take", b"");
    // 48 kHz, as from a browser that does not convert: room, a tone of 0.8 s, room.
    let sound: Vec<i16> = (0..48_000 * 5)
        .map(|i| {
            let tone = (i as f32 * 0.05).sin()
                * if (96_000..134_400).contains(&i) { 9_000.0 } else { 30.0 };
            tone as i16
        })
        .collect();
    let mut phases = Vec::new();
    let mut take = Value::Null;
    for block in sound.chunks(4_800) {
        let bytes: Vec<u8> = block.iter().flat_map(|s| s.to_le_bytes()).collect();
        let value = ask("POST /api/sound?for=take&rate=48000", &bytes);
        phases.push(value["phase"].as_str().unwrap_or_else(|| panic!("{value}")).to_owned());
        if value["phase"] == "over" {
            take = value["take"].clone();
            break;
        }
    }
    phases.dedup();
    assert_eq!(phases, ["counting", "waiting", "speaking", "over"]);
    assert_eq!(take["good"], true, "{take}");
    assert!((take["seconds"].as_f64().unwrap() - 0.8).abs() < 0.06, "{}", take["seconds"]);
    assert!(take["spectrogram"].as_str().unwrap().starts_with("data:image/png;base64,"));
    let state = ask("POST /api/keep", b"");
    assert_eq!(
        (&state["takes"][0]["speaker"], &state["takes"][0]["style"]),
        (&json!("Ana"), &json!("plain"))
    );
    assert!(place.path().join("recordings/hey-you/take-0001.wav").is_file());
    let state = ask("POST /api/remove?take=take-0001.wav", b"");
    assert_eq!(state["takes"].as_array().unwrap().len(), 0);
}

/// Sends blocks of 100 ms until a response matches, and returns that response.
fn send_until(
    (address, token): (SocketAddr, &str),
    (purpose, sample): (&str, i16),
    found: impl Fn(&Value) -> bool,
) -> Value {
    let block = sample.to_le_bytes().repeat(1_600);
    for _ in 0..100 {
        let request = format!("POST /api/sound?for={purpose}&rate=16000");
        let (status, value) = ask(address, token, &request, &block);
        assert_eq!(status, 200, "{value}");
        if found(&value) {
            return value;
        }
    }
    panic!("{purpose}: not found in ten seconds");
}

#[test]
fn a_muted_microphone_is_named_and_its_takes_are_not_kept() {
    let place = tempfile::tempdir().unwrap();
    let (address, token) = studio(place.path());
    let ask = |request: &str, body: &[u8]| ask(address, &token, request, body);
    ask("POST /api/begin", b"{\"phrase\": \"hey you\"}");
    ask("POST /api/take", b"");
    let value = send_until((address, &token), ("take", 0), |v| v["phase"] == "over");
    assert!(value["take"].is_null(), "{value}");
    assert!(value["silent_s"].as_f64().unwrap() > 5.0, "{value}");
    assert_eq!(ask("POST /api/keep", b"").0, 400);
    // A sound ends the silence.
    ask("POST /api/take", b"");
    let sound: Vec<u8> = (0..1_600_i16).flat_map(|i| (i % 100).to_le_bytes()).collect();
    let (_, value) = ask("POST /api/sound?for=take&rate=16000", &sound);
    assert_eq!(value["silent_s"], 0.0, "{value}");
    // Room sound of a muted microphone would make a report look too good.
    let value = send_until((address, &token), ("room", 0), |v| v["silent_s"].as_f64() > Some(2.0));
    assert!(value["seconds"].as_f64() > Some(2.0), "{value}");
    let (_, state) = ask("POST /api/room", b"");
    assert_eq!(state["room_seconds"], 0.0, "{state}");
}

#[test]
fn takes_without_sound_are_marked_and_not_trained_on() {
    let place = tempfile::tempdir().unwrap();
    let (address, token) = studio(place.path());
    let takes = place.path().join("recordings/hey-you");
    std::fs::create_dir_all(&takes).unwrap();
    wakeling_audio::write_wav(takes.join("take-0001.wav"), &[0; 16_000]).unwrap();
    let (_, state) = ask(address, &token, "POST /api/begin", b"{\"phrase\": \"hey you\"}");
    let problem = state["takes"][0]["fault"].as_str().unwrap();
    assert!(problem.contains("digital silence"), "{problem}");
    assert_eq!(state["takes"][0]["fault_kind"], "silent");
    let (status, answer) = ask(address, &token, "POST /api/train", b"");
    let error = answer["error"].as_str().unwrap();
    assert_eq!(status, 400, "{error}");
    assert!(error.contains("take-0001.wav: digital silence"), "{error}");
    assert_eq!(answer["code"], "noUsableTake");
}

#[test]
fn checks_the_phrase_before_the_first_take() {
    let place = tempfile::tempdir().unwrap();
    let (address, token) = studio(place.path());
    let check = |body: &str| {
        let (status, state) = ask(address, &token, "POST /api/begin", body.as_bytes());
        assert_eq!(status, 200, "{state}");
        // A page that is loaded again receives the check too.
        let (_, again) = ask(address, &token, "GET /api/state", b"");
        assert_eq!(state["check"], again["check"]);
        state["check"].clone()
    };
    let short = check("{\"phrase\": \"go\"}");
    assert_eq!((&short["verdict"], &short["language"]), (&json!("poor"), &json!("en")), "{short}");
    assert_ne!(short["language_guess"]["confidence"], "given", "{short}");
    assert!(short["findings"][0]["text"].as_str().unwrap().contains("too short"), "{short}");
    assert_eq!(short["findings"][0]["kind"], "too_short");
    let good = check("{\"phrase\": \"computer terminal\", \"language\": \"English\"}");
    assert_eq!((&good["verdict"], &good["language"]), (&json!("good"), &json!("en")), "{good}");
    assert_eq!(good["language_guess"]["confidence"], "given", "{good}");
    let foreign = check("{\"phrase\": \"привет робот\", \"language\": \"en\"}");
    assert_eq!(foreign["verdict"], "unknown", "{foreign}");
    let body = b"{\"phrase\": \"hey you\", \"language\": \"?\"}";
    let (status, answer) = ask(address, &token, "POST /api/begin", body);
    assert_eq!(status, 400, "{answer}");
}
