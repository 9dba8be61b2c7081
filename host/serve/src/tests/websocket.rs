//! Clients of the WebSocket.

use std::net::TcpStream;

use serde_json::{Value, json};
use tungstenite::{
    ClientRequestBuilder, Message, WebSocket, connect, protocol::frame::coding::CloseCode,
    stream::MaybeTlsStream,
};

use super::support::{Service, loud, loud_pcm, quick};
use crate::Options;

type Socket = WebSocket<MaybeTlsStream<TcpStream>>;

fn open(service: &Service) -> Socket {
    let (mut socket, _) = connect(format!("ws://{}/", service.websocket)).unwrap();
    let ready = answer(&mut socket).unwrap();
    assert_eq!((&ready["type"], &ready["rate"]), (&json!("ready"), &json!(16_000)));
    let keyword = json!([{ "name": "loud", "word": "loud", "model": "kitchen" }]);
    assert_eq!(ready["keywords"], keyword);
    socket
}

/// Returns the next answer, or the code of the close.
fn answer(socket: &mut Socket) -> Result<Value, Option<CloseCode>> {
    loop {
        match socket.read() {
            Ok(Message::Text(text)) => return Ok(serde_json::from_str(&text).unwrap()),
            Ok(Message::Close(frame)) => return Err(frame.map(|frame| frame.code)),
            Ok(_) => {}
            Err(_) => return Err(None),
        }
    }
}

fn bytes(pcm: &[i16]) -> Vec<u8> {
    pcm.iter().flat_map(|s| s.to_le_bytes()).collect()
}

/// Sends a message. The service may have closed already.
fn send(socket: &mut Socket, message: impl Into<Message>) {
    let _ = socket.send(message.into());
}

#[test]
fn sound_gives_detections_with_time_and_level() {
    let service = Service::start(&[("kitchen", loud())], quick());
    let mut socket = open(&service);
    for block in loud_pcm().chunks(1_600) {
        send(&mut socket, bytes(block));
    }
    send(&mut socket, r#"{"end": true}"#);
    let detection = answer(&mut socket).unwrap();
    assert_eq!((&detection["type"], &detection["name"]), (&json!("detection"), &json!("loud")));
    assert_eq!(detection["time_s"], 1.14);
    assert!(detection["level"].as_f64().unwrap() >= 50.0, "{detection}");
    let end = answer(&mut socket).unwrap();
    assert_eq!((&end["type"], &end["time_s"]), (&json!("detection-end"), &json!(1.14)));
    assert!(end["peak"].as_f64() >= detection["score"].as_f64(), "{end}");
    assert_eq!(answer(&mut socket).unwrap(), json!({ "type": "end", "seconds": 2.0 }));
    assert_eq!(answer(&mut socket), Err(Some(CloseCode::Normal)));
}

#[test]
fn the_first_message_sets_the_rate_and_asks_for_scores() {
    let service = Service::start(&[("kitchen", loud())], quick());
    let mut socket = open(&service);
    send(&mut socket, r#"{"rate": 48000, "channels": 2, "scores": true, "names": ["LOUD"]}"#);
    let pcm: Vec<i16> = loud_pcm().iter().flat_map(|&s| [s; 6]).collect();
    for block in pcm.chunks(9_600) {
        send(&mut socket, bytes(block));
    }
    send(&mut socket, r#"{"end": true}"#);
    let (mut steps, mut detections) = (0, Vec::new());
    while let Ok(answer) = answer(&mut socket) {
        match answer["type"].as_str().unwrap() {
            "scores" => {
                for step in answer["steps"].as_array().unwrap() {
                    assert_eq!(step["levels"].as_array().unwrap().len(), 1);
                    steps += 1;
                }
            }
            "detection" => detections.push(answer["time_s"].as_f64().unwrap()),
            _ => {}
        }
    }
    // A step of 40 ms; the resampler keeps the last 48 ms.
    assert!((45..50).contains(&steps), "{steps}");
    assert!(detections.len() == 1 && (detections[0] - 1.14).abs() < 0.05, "{detections:?}");
}

#[test]
fn other_messages_are_refused_with_a_reason() {
    let service = Service::start(&[("kitchen", loud())], quick());
    for (message, code, close) in [
        (Message::text("no JSON"), "malformed", CloseCode::Policy),
        (Message::text(r#"{"rat": 16000}"#), "malformed", CloseCode::Policy),
        (Message::text(r#"{"names": ["alexa"]}"#), "unknown-wake-word", CloseCode::Policy),
        (Message::binary(vec![0; 3]), "malformed", CloseCode::Policy),
        (Message::binary(vec![0; 300_000]), "too-long", CloseCode::Size),
    ] {
        let mut socket = open(&service);
        send(&mut socket, message);
        let error = answer(&mut socket).unwrap();
        assert_eq!((&error["type"], &error["code"]), (&json!("error"), &json!(code)), "{error}");
        assert_eq!(answer(&mut socket), Err(Some(close)));
    }
    // A rate is checked with the first sound, and is fixed from then on.
    let mut socket = open(&service);
    send(&mut socket, r#"{"rate": 1}"#);
    send(&mut socket, vec![0; 2]);
    assert_eq!(answer(&mut socket).unwrap()["code"], "unsupported-audio");
    let mut socket = open(&service);
    send(&mut socket, vec![0; 2]);
    send(&mut socket, r#"{"rate": 48000}"#);
    assert_eq!(answer(&mut socket).unwrap()["code"], "malformed");
    service.assert_works();
}

#[test]
fn pages_of_other_computers_cannot_connect() {
    let options = Options { origins: vec!["https://own.example".into()], ..quick() };
    let service = Service::start(&[("kitchen", loud())], options);
    let with_origin = |origin: &str| {
        let uri = format!("ws://{}/", service.websocket).parse().unwrap();
        connect(ClientRequestBuilder::new(uri).with_header("Origin", origin)).map(drop)
    };
    for own in ["http://localhost:8000", "http://127.0.0.1", "https://own.example"] {
        assert!(with_origin(own).is_ok(), "{own}");
    }
    for other in [
        "http://example.org",
        "https://own.example.evil.org",
        "http://localhost.evil.org",
        "null",
        "file://",
    ] {
        let refused = with_origin(other).unwrap_err();
        assert!(refused.to_string().contains("403"), "{other}: {refused}");
    }
    // What is no WebSocket at all is refused as well.
    let mut client = super::Client::connect(service.websocket);
    client.send_bytes(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n");
    let mut text = String::new();
    let _ = std::io::Read::read_to_string(&mut client.reader, &mut text);
    assert!(!text.contains("101 Switching"), "{text}");
    service.assert_works();
}

#[test]
fn a_stop_closes_with_a_reason() {
    let mut service = Service::start(&[("kitchen", loud())], quick());
    let mut socket = open(&service);
    service.stop();
    assert_eq!(answer(&mut socket), Err(Some(CloseCode::Away)));
}
