//! Conversation with one client of the WebSocket: PCM in, JSON out.
//!
//! Binary messages are 16-bit little-endian PCM, of 16 kHz and one channel unless a text message
//! before the first of them changes this. Every answer is a JSON object with a `type`.

use std::{io::Write, sync::Arc};

use serde::Deserialize;
use serde_json::{Value, json};
use tungstenite::{
    Error as SocketError, HandshakeError, Message, WebSocket, accept_hdr_with_config,
    error::ProtocolError,
    handshake::server::{ErrorResponse, Request, Response},
    protocol::{
        CloseFrame, WebSocketConfig,
        frame::{Frame, coding::CloseCode},
    },
};
use wakeling_device::{sensitivity::DetectionLevel, simulate::score};

use crate::{
    audio::AudioFormat,
    catalog::Selection,
    connection::Connection,
    refusal::Refusal,
    service::{Report, Service},
    stream::{ClientStream, Notice, level, seconds},
};

/// Maximum length of a message, in bytes: 8 s of 16 kHz.
const LONGEST_MESSAGE: usize = 256 * 1024;
/// Size of the buffer for reading, in bytes.
const READ_BUFFER: usize = 8 * 1024;
/// Maximum number of bytes that wait to be written. One answer fits in.
const WRITE_BUFFER: usize = 4 * 1024 * 1024;
/// Hosts of pages on this computer.
const LOOPBACK: [&str; 3] = ["localhost", "127.0.0.1", "[::1]"];

/// Text message of a client.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Settings {
    /// Sample rate in Hz.
    rate: Option<u32>,
    channels: Option<u16>,
    /// Keywords to detect; all if absent.
    names: Option<Vec<String>>,
    /// Whether the scores of every step are sent.
    #[serde(default)]
    scores: bool,
    /// Ends the sound: open detections are sent, then `end`.
    #[serde(default)]
    end: bool,
}

/// Reason for which a conversation ends.
enum End {
    /// The client has closed, broke off, or is too slow.
    Lost,
    /// The client asked for the end.
    Asked,
    /// The client sent what cannot be used.
    Refused(CloseCode, Refusal),
}

impl From<SocketError> for End {
    fn from(error: SocketError) -> Self {
        match error {
            SocketError::Capacity(error) => {
                Self::Refused(CloseCode::Size, Refusal::new("too-long", error.to_string()))
            }
            // The client broke off, or the service stops.
            SocketError::Protocol(ProtocolError::ResetWithoutClosingHandshake) => Self::Lost,
            SocketError::Protocol(error) => {
                Self::Refused(CloseCode::Protocol, Refusal::malformed(error.to_string()))
            }
            SocketError::Utf8(error) => {
                Self::Refused(CloseCode::Invalid, Refusal::malformed(error))
            }
            _ => Self::Lost,
        }
    }
}

impl From<Refusal> for End {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(CloseCode::Policy, refusal)
    }
}

/// Returns the HTTP response to a client beyond the limit.
pub(crate) fn refusal(refusal: &Refusal) -> Vec<u8> {
    let text = &refusal.text;
    let head = "HTTP/1.1 503 Service Unavailable\r\nConnection: close\r\nContent-Type: text/plain";
    format!("{head}\r\nContent-Length: {}\r\n\r\n{text}", text.len()).into_bytes()
}

/// Answers a client until it closes, is refused, or is too slow.
pub(crate) fn converse(connection: Connection, client: &str, service: &Arc<Service>) {
    let config = WebSocketConfig::default()
        .read_buffer_size(READ_BUFFER)
        .write_buffer_size(0)
        .max_write_buffer_size(WRITE_BUFFER)
        .max_message_size(Some(LONGEST_MESSAGE))
        .max_frame_size(Some(LONGEST_MESSAGE));
    let refused = |reason: &str| (service.on_report)(&Report::Refused { client, reason });
    #[allow(clippy::result_large_err, reason = "the type is tungstenite's")]
    let check = |request: &Request, response: Response| match origin_problem(request, service) {
        None => Ok(response),
        Some(reason) => {
            refused(&reason);
            let mut response = ErrorResponse::new(Some(reason));
            *response.status_mut() = tungstenite::http::StatusCode::FORBIDDEN;
            Err(response)
        }
    };
    let mut socket = match accept_hdr_with_config(connection, check, Some(config)) {
        Ok(socket) => socket,
        // The reason was reported.
        Err(HandshakeError::Failure(SocketError::Http(_))) => return,
        Err(error) => return refused(&error.to_string()),
    };
    let end = Conversation::new(client, service.clone()).run(&mut socket);
    socket.get_mut().write_within(service.limits.write);
    let (code, reason) = match end {
        End::Lost if service.is_stopping() => return end_with_stop(socket),
        End::Lost => return,
        End::Asked => (CloseCode::Normal, String::new()),
        End::Refused(code, refusal) => {
            refused(&refusal.text);
            let data = json!({ "type": "error", "text": refusal.text, "code": refusal.code });
            // If the client is gone, there is nothing left to do.
            let _ = socket.send(Message::text(data.to_string()));
            (code, refusal.code.to_owned())
        }
    };
    let _ = socket.close(Some(CloseFrame { code, reason: reason.into() }));
    let _ = socket.flush();
    socket.into_inner().finish();
}

/// Closes at the stop of the service. It has ended reading, after which `WebSocket::close` sends
/// nothing.
fn end_with_stop(mut socket: WebSocket<Connection>) {
    let reason = "the service stops".into();
    let mut bytes = Vec::new();
    let frame = Frame::close(Some(CloseFrame { code: CloseCode::Away, reason }));
    if frame.format(&mut bytes).is_ok() && socket.get_mut().write_all(&bytes).is_ok() {
        socket.into_inner().finish();
    }
}

/// Returns why the page of a request may not connect. Programs send no origin. Pages of other
/// computers could otherwise use a service on this one, as its user opens them.
fn origin_problem(request: &Request, service: &Service) -> Option<String> {
    let origins: Vec<_> = request.headers().get_all("Origin").iter().collect();
    let allowed = |origin: &str| {
        service.origins.iter().any(|own| own == origin)
            || origin.split_once("://").is_some_and(|(_, host)| is_loopback(host))
    };
    match origins.as_slice() {
        [] => None,
        [one] if one.to_str().is_ok_and(allowed) => None,
        _ => {
            let names: Vec<String> = origins.iter().map(|o| format!("{o:?}")).collect();
            Some(format!("pages of {} may not connect", names.join(", ")))
        }
    }
}

/// Returns `true` for a host of this computer, with any port.
fn is_loopback(host: &str) -> bool {
    LOOPBACK.iter().any(|own| {
        host.strip_prefix(own).is_some_and(|rest| {
            let is_port = |port: &str| !port.is_empty() && port.bytes().all(|b| b.is_ascii_digit());
            rest.is_empty() || rest.strip_prefix(':').is_some_and(is_port)
        })
    })
}

struct Conversation<'c> {
    client: &'c str,
    service: Arc<Service>,
    format: AudioFormat,
    selection: Selection,
    with_scores: bool,
    stream: Option<ClientStream>,
}

impl<'c> Conversation<'c> {
    fn new(client: &'c str, service: Arc<Service>) -> Self {
        let selection = service.catalog.select(&[]);
        let (format, with_scores) = (AudioFormat::NATIVE, false);
        Self { client, service, format, selection, with_scores, stream: None }
    }

    fn run(&mut self, socket: &mut WebSocket<Connection>) -> End {
        match self.answer_all(socket) {
            Ok(()) => End::Asked,
            Err(end) => end,
        }
    }

    fn answer_all(&mut self, socket: &mut WebSocket<Connection>) -> Result<(), End> {
        self.send(socket, &self.ready())?;
        loop {
            socket.get_mut().read_within(self.service.limits.idle);
            socket.get_mut().write_within(self.service.limits.write);
            let is_end = match socket.read()? {
                Message::Binary(pcm) => {
                    for answer in self.push(&pcm)? {
                        self.send(socket, &answer)?;
                    }
                    false
                }
                Message::Text(text) => self.take(&text)?,
                // A ping is answered by the next read or write, and so is a close.
                Message::Ping(_) | Message::Pong(_) | Message::Close(_) | Message::Frame(_) => {
                    socket.flush()?;
                    false
                }
            };
            if is_end {
                for answer in self.finish() {
                    self.send(socket, &answer)?;
                }
                return Ok(());
            }
        }
    }

    fn send(&self, socket: &mut WebSocket<Connection>, answer: &Value) -> Result<(), End> {
        socket.get_mut().write_within(self.service.limits.write);
        Ok(socket.send(Message::text(answer.to_string()))?)
    }

    /// Returns the first answer: what is detected, and in which format sound is expected.
    fn ready(&self) -> Value {
        let models = self.service.catalog.models.iter();
        let keywords = models.flat_map(|model| {
            model.keywords.iter().map(|keyword| {
                json!({ "name": keyword.name, "word": keyword.label, "model": model.name })
            })
        });
        json!({
            "type": "ready",
            "version": env!("CARGO_PKG_VERSION"),
            "rate": self.format.rate,
            "channels": self.format.channels,
            "keywords": keywords.collect::<Vec<_>>(),
        })
    }

    /// Takes a text message. Returns `true` if it asks for the end.
    fn take(&mut self, text: &str) -> Result<bool, Refusal> {
        let request: Settings = serde_json::from_str(text)
            .map_err(|error| Refusal::malformed(format!("a text message: {error}")))?;
        if request.end {
            return Ok(true);
        }
        if self.stream.is_some() {
            return Err(Refusal::malformed("settings are taken before the first sound only"));
        }
        self.format.rate = request.rate.unwrap_or(self.format.rate);
        self.format.channels = request.channels.unwrap_or(self.format.channels);
        self.with_scores |= request.scores;
        if let Some(names) = request.names {
            self.selection = self.service.catalog.select(&names);
            if !self.selection.unknown.is_empty() {
                let text = format!("no such wake word: {}", self.selection.unknown.join(", "));
                return Err(Refusal::new("unknown-wake-word", text));
            }
        }
        Ok(false)
    }

    /// Processes sound. Returns the answers.
    fn push(&mut self, pcm: &[u8]) -> Result<Vec<Value>, Refusal> {
        let Service { catalog, saved, .. } = &*self.service;
        let stream = match &mut self.stream {
            Some(stream) => stream,
            none => none.insert(ClientStream::start(
                catalog,
                &self.selection,
                self.format,
                saved.clone(),
            )?),
        };
        let (mut answers, mut steps) = (Vec::new(), Vec::new());
        stream.push(pcm, |notice| match notice {
            Notice::Step(model, step, thresholds) if self.with_scores => {
                let logits = step.decisions.iter().map(|decision| decision.smoothed);
                let levels = logits.clone().zip(thresholds);
                let levels = levels.map(|(logit, &t)| DetectionLevel::of(logit, t).value());
                steps.push(json!({
                    "model": model.name,
                    "time_s": seconds(step.end_samples),
                    "scores": logits.map(score).collect::<Vec<_>>(),
                    "levels": levels.collect::<Vec<_>>(),
                }));
            }
            Notice::Began(found, event) => {
                let (name, level) = (&found.keyword.name, level(event));
                let time_s = seconds(event.end_samples);
                let client = self.client;
                (self.service.on_report)(&Report::Detection { client, name, time_s, level });
                answers.push(answer("detection", &notice));
            }
            Notice::Ended(..) => answers.push(answer("detection-end", &notice)),
            Notice::Step(..) => {}
        })?;
        if !steps.is_empty() {
            answers.push(json!({ "type": "scores", "steps": steps }));
        }
        Ok(answers)
    }

    /// Ends the sound. Returns the last answers.
    fn finish(&mut self) -> Vec<Value> {
        let (mut answers, mut samples) = (Vec::new(), 0);
        if let Some(stream) = &mut self.stream {
            stream.finish(|notice| answers.push(answer("detection-end", &notice)));
            samples = stream.samples();
        }
        answers.push(json!({ "type": "end", "seconds": seconds(samples) }));
        answers
    }
}

/// Formats the begin of a detection, with its score, or its end, with its peak.
fn answer(kind: &str, notice: &Notice<'_>) -> Value {
    let (found, event, name, logit) = match notice {
        Notice::Began(found, event) => (found, event, "score", event.logit),
        Notice::Ended(found, event) => (found, event, "peak", event.peak),
        Notice::Step(..) => return Value::Null,
    };
    json!({
        "type": kind,
        "time_s": seconds(event.end_samples),
        "name": found.keyword.name,
        "word": found.keyword.label,
        "model": found.model.name,
        name: score(logit),
        "threshold": score(event.threshold),
        "level": DetectionLevel::of(logit, event.threshold).value(),
    })
}

#[cfg(test)]
mod tests {
    use super::is_loopback;

    #[test]
    fn loopback_hosts_are_recognized_exactly() {
        for own in ["localhost", "localhost:8080", "127.0.0.1:1", "[::1]:65535"] {
            assert!(is_loopback(own), "{own}");
        }
        for other in
            ["localhost.evil.org", "localhost:", "127.0.0.1.evil.org", "evil.org", "localhost:8x"]
        {
            assert!(!is_loopback(other), "{other}");
        }
    }
}
