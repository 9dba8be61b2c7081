//! Conversation with one client of the Wyoming protocol, as a wake word service.
//!
//! | event | answer |
//! |---|---|
//! | `describe` | `info`: every keyword as a model |
//! | `detect` | none; selects keywords by `names` |
//! | `audio-start` | none; the models start afresh |
//! | `audio-chunk` | `detection` (`name`, `timestamp`) where one begins |
//! | `audio-stop` | `not-detected` if there was no detection since the start |
//! | `ping` | `pong` |
//! | others | none |
//!
//! What cannot be used is answered with `error` (`text`, `code`), and the connection is closed.

mod frame;

use std::sync::Arc;

use serde::Deserialize;
use serde_json::{Map, Value, json};
use wakeling_device::sensitivity::DetectionEvent;

use crate::{
    audio::AudioFormat,
    catalog::Selection,
    connection::Connection,
    refusal::Refusal,
    service::{Report, Service},
    stream::{ClientStream, Notice, level, seconds},
};
use frame::{Event, FrameError, Frames};

/// Encodes the error event for a client.
pub(crate) fn refusal(refusal: &Refusal) -> Vec<u8> {
    frame::encode_refusal(refusal)
}

/// Answers a client until it closes, is refused, or is too slow.
pub(crate) fn converse(connection: Connection, client: &str, service: &Arc<Service>) {
    let mut frames = Frames::new(connection, &service.limits);
    let mut conversation = Conversation::new(client, service.clone());
    let refused = loop {
        let answers = match frames.next() {
            Ok(Some((event, payload))) => conversation.answer(&event, payload),
            Ok(None) | Err(FrameError::Lost) => return,
            Err(FrameError::Refused(refusal)) => break refusal,
        };
        let answers = match answers {
            Ok(answers) => answers,
            Err(refusal) => break refusal,
        };
        for (kind, data) in answers {
            if frames.send(kind, &data).is_err() {
                return;
            }
        }
    };
    (service.on_report)(&Report::Refused { client, reason: &refused.text });
    let data = json!({ "text": refused.text, "code": refused.code });
    if frames.send("error", &data).is_ok() {
        frames.into_connection().finish();
    }
}

/// Type and data of an event for the client.
type Answer = (&'static str, Value);

/// State of a client between two events.
struct Conversation<'c> {
    client: &'c str,
    service: Arc<Service>,
    selection: Selection,
    /// Models since the start of the sound; created at its first chunk.
    stream: Option<ClientStream>,
    /// Whether a keyword was detected since the start of the sound.
    is_detected: bool,
}

/// Time of a chunk.
#[derive(Deserialize)]
struct ChunkTime {
    timestamp: Option<i64>,
}

/// Names of a `detect` event.
#[derive(Deserialize)]
struct Names {
    names: Option<Vec<String>>,
}

/// Reads the fields of an event's data; further ones are ignored.
fn fields<T: for<'d> Deserialize<'d>>(event: &Event) -> Result<T, Refusal> {
    let data = Value::Object(event.data.clone());
    serde_json::from_value(data)
        .map_err(|error| Refusal::malformed(format!("{}: {error}", event.kind)))
}

impl<'c> Conversation<'c> {
    fn new(client: &'c str, service: Arc<Service>) -> Self {
        let selection = service.catalog.select(&[]);
        Self { client, service, selection, stream: None, is_detected: false }
    }

    fn answer(&mut self, event: &Event, payload: &[u8]) -> Result<Vec<Answer>, Refusal> {
        match event.kind.as_str() {
            "describe" => Ok(vec![("info", self.service.catalog.info())]),
            "detect" => self.detect(event),
            "audio-start" => {
                // An unsupported format is refused before the first chunk.
                let format = fields::<AudioFormat>(event)?;
                self.restart();
                self.stream = Some(self.start(format)?);
                Ok(Vec::new())
            }
            "audio-chunk" => self.chunk(event, payload),
            "audio-stop" => {
                let is_detected = self.is_detected;
                self.restart();
                Ok(if is_detected { Vec::new() } else { vec![("not-detected", json!({}))] })
            }
            "ping" => {
                let text = event.data.get("text").cloned().unwrap_or_default();
                let mut data = Map::new();
                data.insert("text".into(), text);
                Ok(vec![("pong", Value::Object(data))])
            }
            _ => Ok(Vec::new()),
        }
    }

    fn restart(&mut self) {
        self.stream = None;
        self.is_detected = false;
    }

    fn start(&self, format: AudioFormat) -> Result<ClientStream, Refusal> {
        let Service { catalog, saved, .. } = &*self.service;
        ClientStream::start(catalog, &self.selection, format, saved.clone())
    }

    fn detect(&mut self, event: &Event) -> Result<Vec<Answer>, Refusal> {
        let names = fields::<Names>(event)?.names.unwrap_or_default();
        let selection = self.service.catalog.select(&names);
        if !selection.unknown.is_empty() {
            let known = self.service.catalog.keywords().map(|k| k.name.as_str());
            let known: Vec<&str> = known.collect();
            let text = format!(
                "no such wake word: {}; there are: {}",
                selection.unknown.join(", "),
                known.join(", ")
            );
            let refusal = Refusal::new("unknown-wake-word", text);
            if selection.is_empty() {
                return Err(refusal);
            }
            (self.service.on_report)(&Report::Refused {
                client: self.client,
                reason: &refusal.text,
            });
        }
        self.selection = selection;
        // The next sound starts the models that are wanted now.
        self.restart();
        Ok(Vec::new())
    }

    fn chunk(&mut self, event: &Event, payload: &[u8]) -> Result<Vec<Answer>, Refusal> {
        let format = fields::<AudioFormat>(event)?;
        let ChunkTime { timestamp } = fields::<ChunkTime>(event)?;
        // Satellites send sound without a start.
        let mut stream = match self.stream.take() {
            Some(stream) => stream,
            None => self.start(format)?,
        };
        stream.set_format(format)?;
        let mut answers = Vec::new();
        stream.push(payload, |notice| {
            if let Notice::Began(found, event) = notice {
                let name = &found.keyword.name;
                answers.push(detection(name, timestamp, event));
                let (client, level) = (self.client, level(event));
                let time_s = seconds(event.end_samples);
                (self.service.on_report)(&Report::Detection { client, name, time_s, level });
            }
        })?;
        self.stream = Some(stream);
        self.is_detected |= !answers.is_empty();
        Ok(answers)
    }
}

/// Returns the event of a detection. Its time is that of the chunk in which it began, if the client
/// gives times; otherwise that of the decision, in milliseconds since the start of the sound.
fn detection(name: &str, timestamp: Option<i64>, event: &DetectionEvent) -> Answer {
    let own = || (1_000.0 * seconds(event.end_samples)).round() as i64;
    let timestamp = timestamp.unwrap_or_else(own);
    ("detection", json!({ "name": name, "timestamp": timestamp, "speaker": null }))
}
