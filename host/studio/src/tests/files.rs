//! Tests of files that are dropped onto the page.

use std::time::{Duration, Instant};

use super::*;

/// Noise of the given peak.
fn noise(samples: usize, peak: i32, seed: u32) -> Vec<i16> {
    // A linear congruential generator suffices as a source of rough sound.
    let mut x = seed;
    let mut next = || {
        x = x.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        ((x >> 16) as i32 % (2 * peak + 1) - peak) as i16
    };
    (0..samples).map(|_| next()).collect()
}

fn wav(pcm: &[i16]) -> Vec<u8> {
    let place = tempfile::tempdir().unwrap();
    let path = place.path().join("a.wav");
    wakeling_audio::write_wav(&path, pcm).unwrap();
    std::fs::read(path).unwrap()
}

/// A phrase between silences.
fn spoken() -> Vec<i16> {
    [noise(8_000, 6, 1), noise(12_000, 9_000, 2), noise(8_000, 6, 3)].concat()
}

#[test]
fn takes_of_files_are_kept_and_other_files_are_named() {
    let place = tempfile::tempdir().unwrap();
    let (address, token) = studio(place.path());
    let ask = |request: &str, body: &[u8]| ask(address, &token, request, body);
    let file = wav(&spoken());
    assert_eq!(ask("POST /api/file?name=a.wav", &file).0, 400, "no word is open");
    ask("POST /api/begin", b"{\"phrase\": \"hey you\"}");
    let (status, value) = ask("POST /api/file?name=%C3%A4%20b.ogg", &file);
    assert_eq!((status, &value["problem"]), (200, &json!("")), "the content decides, not the name");
    assert_eq!(value["kept"], json!(["take-0001.wav"]));
    let take = &value["state"]["takes"][0];
    assert_eq!((&take["origin"], &take["verdict"]), (&json!("file"), &json!("good")), "{take}");
    let silent = wav(&[0; 16_000]);
    let long = wav(&vec![9; 181 * 16_000]);
    for (name, body, expected) in [
        ("a.wav", &b"RIFF"[..], "a.wav"),
        ("text.txt", b"hello", "text.txt"),
        ("empty.wav", b"", "empty.wav"),
        ("..%2F..%2F..%2Fx.wav", b"x", "x.wav"),
        ("%00%0a.wav", &file[..30], ""),
        ("", b"x", ""),
        ("silent.wav", &silent, "digital silence"),
        ("long.wav", &long, "longer than 180 s"),
    ] {
        let (status, value) = ask(&format!("POST /api/file?name={name}"), body);
        assert_eq!((status, &value["kept"]), (200, &json!([])), "{name}: {value}");
        let problem = value["problem"].as_str().unwrap();
        assert!(!problem.is_empty() && problem.contains(expected), "{name}: {problem}");
        assert!(!problem.contains(".incoming"), "{name}: {problem}");
    }
    let every: String = "x".repeat(5_000);
    let (status, value) = ask(&format!("POST /api/file?name={every}"), b"x");
    assert_eq!((status, &value["kept"]), (200, &json!([])));
    // Nothing is left, and nothing was written elsewhere.
    assert!(!place.path().join("recordings/.incoming").exists());
    let names: Vec<_> =
        std::fs::read_dir(place.path()).unwrap().map(|e| e.unwrap().file_name()).collect();
    assert_eq!(names, ["recordings"]);
}

#[test]
fn a_file_beyond_the_limit_is_refused_and_a_slow_one_blocks_no_other() {
    let place = tempfile::tempdir().unwrap();
    let (address, token) = studio(place.path());
    ask(address, &token, "POST /api/begin", b"{\"phrase\": \"hey you\"}");
    let open = |length: u64| {
        let mut stream = TcpStream::connect(address).unwrap();
        let head = format!(
            "POST /api/file?name=a.wav HTTP/1.1\r\nHost: {address}\r\n{TOKEN_HEADER}: {token}\r\n\
             Content-Length: {length}\r\n\r\n"
        );
        stream.write_all(head.as_bytes()).unwrap();
        stream
    };
    let mut stream = open(import::LARGEST + 1);
    let mut answer = String::new();
    let _ = stream.read_to_string(&mut answer);
    assert!(
        answer.starts_with("HTTP/1.1 413") && answer.contains("larger than 100 MB"),
        "{answer}"
    );
    let mut slow = open(1_000_000);
    slow.write_all(b"RIFF").unwrap();
    let began = Instant::now();
    assert_eq!(ask(address, &token, "GET /api/state", b"").0, 200);
    assert!(began.elapsed() < Duration::from_secs(10));
}

#[test]
fn takes_of_a_file_go_to_the_word_that_it_was_dropped_for() {
    let place = tempfile::tempdir().unwrap();
    let (address, token) = studio(place.path());
    let ask = |request: &str, body: &[u8]| ask(address, &token, request, body);
    ask("POST /api/begin", b"{\"phrase\": \"hey you\", \"speaker\": \"Ana\"}");
    let file = wav(&spoken());
    // The file is on its way while another word is opened.
    let mut stream = TcpStream::connect(address).unwrap();
    let head = format!(
        "POST /api/file?word=hey-you&name=a.wav HTTP/1.0\r\nHost: {address}\r\n\
         {TOKEN_HEADER}: {token}\r\nContent-Length: {}\r\n\r\n",
        file.len()
    );
    stream.write_all(head.as_bytes()).unwrap();
    stream.write_all(&file[..100]).unwrap();
    std::thread::sleep(Duration::from_millis(200));
    let (status, state) = ask("POST /api/begin", b"{\"phrase\": \"another one\"}");
    assert_eq!((status, &state["id"]), (200, &json!("another-one")));
    stream.write_all(&file[100..]).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let (_, body) = answer.split_once("\r\n\r\n").unwrap();
    let value: Value = serde_json::from_str(body).unwrap();
    assert_eq!((&value["kept"], &value["problem"]), (&json!(["take-0001.wav"]), &json!("")));
    assert_eq!(
        (&value["state"]["id"], &value["state"]["takes"]),
        (&json!("another-one"), &json!([]))
    );
    let (_, state) = ask("POST /api/open?word=hey-you", b"");
    let take = &state["takes"][0];
    assert_eq!((&take["origin"], &take["speaker"]), (&json!("file"), &json!("Ana")), "{state}");
    // A word that is gone has no takes, and gets no folder again.
    ask("POST /api/delete?word=hey-you", b"");
    for word in ["hey-you", "..", "room", "x%2Fy"] {
        let (status, answer) = ask(&format!("POST /api/file?word={word}&name=a.wav"), &file);
        let error = answer["error"].as_str().unwrap_or_default();
        assert!(status == 400 && error.contains("was deleted"), "{word}: {answer}");
    }
    assert!(!place.path().join("recordings/hey-you").exists());
}
