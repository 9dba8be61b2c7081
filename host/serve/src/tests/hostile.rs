//! Clients that send what they should not, too little, or too much.

use std::time::{Duration, Instant};

use serde_json::json;
use wakeling_tests::Random;

use super::support::{Client, Service, loud, quick};
use crate::{Limits, Options};

/// Time in which half a frame is given up, on a busy machine.
const SHORT: std::ops::Range<Duration> = Duration::from_millis(400)..Duration::from_secs(20);

/// Returns the code of the error that the bytes are answered with; `None` if the connection is
/// closed without one.
fn code(service: &Service, bytes: &[u8]) -> Option<String> {
    let mut client = service.client();
    client.send_bytes(bytes);
    let (kind, data) = client.event()?;
    assert_eq!(kind, "error", "{data}");
    assert!(client.event().is_none(), "the connection is closed");
    Some(data["code"].as_str().unwrap().to_owned())
}

#[test]
fn malformed_frames_are_answered_and_harm_no_other_client() {
    let service = Service::start(&[("kitchen", loud())], quick());
    let format = r#"{"rate":16000,"width":2,"channels":1}"#;
    let chunk = |data: &str| format!("{{\"type\":\"audio-chunk\",\"data\":{data}}}\n");
    for (bytes, expected) in [
        ("GET / HTTP/1.1\r\nHost: x\r\n\r\n".into(), "malformed"),
        ("\n".into(), "malformed"),
        ("[]\n".into(), "malformed"),
        ("{}\n".into(), "malformed"),
        ("{\"type\":7}\n".into(), "malformed"),
        ("{\"type\":\"describe\",\"data_length\":-1}\n".into(), "malformed"),
        ("{\"type\":\"describe\",\"data_length\":1e3}\n".into(), "malformed"),
        ("{\"type\":\"describe\",\"data_length\":3}\n[1]".into(), "malformed"),
        ("{\"type\":\"describe\",\"data\":[]}\n".into(), "malformed"),
        (format!("{}\n", "[".repeat(60_000)), "malformed"),
        ("{\"type\":\"audio-start\"}\n".into(), "malformed"),
        ("{\"type\":\"detect\",\"data\":{\"names\":\"x\"}}\n".into(), "malformed"),
        (chunk(r#"{"rate":16000,"width":2}"#), "malformed"),
        (chunk(r#"{"rate":16000,"width":-2,"channels":1}"#), "malformed"),
        (chunk(r#"{"rate":16000,"width":2,"channels":99}"#), "unsupported-audio"),
        (chunk(r#"{"rate":47999,"width":2,"channels":1}"#), "unsupported-audio"),
        (
            format!("{{\"type\":\"audio-chunk\",\"payload_length\":3,\"data\":{format}}}\nabc"),
            "malformed",
        ),
        // Lengths beyond the limits are refused before anything is read or reserved.
        ("{\"type\":\"x\",\"payload_length\":18446744073709551615}\n".into(), "too-long"),
        ("{\"type\":\"x\",\"payload_length\":1048577}\n".into(), "too-long"),
        ("{\"type\":\"x\",\"data_length\":9007199254740993}\n".into(), "too-long"),
        ("x".repeat(70_000), "too-long"),
    ] {
        let found = code(&service, bytes.as_bytes());
        let shown: String = bytes.chars().take(60).collect();
        assert_eq!(found.as_deref(), Some(expected), "{shown}");
    }
    service.assert_works();
}

#[test]
fn random_bytes_and_damaged_frames_end_nothing_but_their_connection() {
    let service = Service::start(&[("kitchen", loud())], quick());
    let mut random = Random::new(7);
    let good = b"{\"type\":\"audio-chunk\",\"data_length\":38,\"payload_length\":8}\n\
        {\"rate\": 16000,\"width\":2,\"channels\":1 }ABCDEFGH{\"type\":\"describe\"}\n";
    for _ in 0..200 {
        let mut bytes = good.repeat(2);
        for _ in 0..1 + random.below(8) {
            let at = random.below(bytes.len());
            bytes[at] = random.below(256) as u8;
        }
        bytes.truncate(1 + random.below(bytes.len()));
        let mut client = service.client();
        client.send_bytes(&bytes);
        // Half of them break off; the others wait for what comes.
        if random.below(2) == 0 {
            client.reader.get_ref().shutdown(std::net::Shutdown::Write).unwrap();
            while client.event().is_some() {}
        }
    }
    service.assert_works();
}

#[test]
fn half_a_frame_and_a_silent_client_are_closed_in_time() {
    let limits = Limits { idle: Duration::from_secs(2), ..quick().limits };
    let service = Service::start(&[("kitchen", loud())], Options { limits, ..quick() });
    let closed_after = |bytes: &[u8]| {
        let mut client = service.client();
        client.send_bytes(bytes);
        let start = Instant::now();
        assert!(client.event().is_none());
        start.elapsed()
    };
    for half in ["{\"type\": \"desc", "{\"type\":\"x\",\"payload_length\":9}\nabc"] {
        let time = closed_after(half.as_bytes());
        assert!(SHORT.contains(&time), "{half}: {time:?}");
    }
    let time = closed_after(b"");
    assert!(time >= Duration::from_millis(1_900) && SHORT.contains(&time), "{time:?}");
    // A byte now and then does not make a frame last longer.
    let mut client = service.client();
    let start = Instant::now();
    while client.send_bytes(b" ") && start.elapsed() < Duration::from_secs(30) {
        std::thread::sleep(Duration::from_millis(100));
    }
    assert!(start.elapsed() < Duration::from_secs(20), "{:?}", start.elapsed());
    service.assert_works();
}

#[test]
fn a_client_that_does_not_read_is_closed_and_the_service_goes_on() {
    let service = Service::start(&[("kitchen", loud())], quick());
    let mut client = service.client();
    let start = Instant::now();
    let describe = b"{\"type\":\"describe\"}\n".repeat(1_000);
    // The answers fill the buffers of the system, until the service waits for this client.
    while client.send_bytes(&describe) {
        assert!(start.elapsed() < Duration::from_secs(60), "it is served for ever");
    }
    service.assert_works();
}

#[test]
fn clients_beyond_the_limit_get_the_reason() {
    let limits = Limits { clients: 2, ..quick().limits };
    let service = Service::start(&[("kitchen", loud())], Options { limits, ..quick() });
    let connected = || {
        let mut client = service.client();
        client.send_bytes(b"{\"type\":\"ping\"}\n");
        let answer = client.event();
        (client, answer.map(|(kind, data)| (kind, data["code"].clone())))
    };
    let (first, answer) = connected();
    assert_eq!(answer.unwrap().0, "pong");
    let (second, answer) = connected();
    assert_eq!(answer.unwrap().0, "pong");
    let (_, answer) = connected();
    assert_eq!(answer, Some(("error".into(), json!("busy"))));
    // The WebSocket shares the limit.
    let refused = tungstenite::connect(format!("ws://{}/", service.websocket)).unwrap_err();
    assert!(refused.to_string().contains("503"), "{refused}");
    drop((first, second));
    // The entries of those who left are free after a moment.
    let start = Instant::now();
    loop {
        let (_client, answer): (Client, _) = connected();
        if answer.is_some_and(|(kind, _)| kind == "pong") {
            break;
        }
        assert!(start.elapsed() < Duration::from_secs(30), "no entry is freed");
    }
    assert!(service.refusals.lock().unwrap()[0].contains("2 clients"));
}
