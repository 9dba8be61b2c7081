//! Frames of the Wyoming protocol.
//!
//! A frame is a line of JSON, then `data_length` bytes of JSON, then `payload_length` bytes. Both
//! lengths may be absent. The line has the type of the event, and may have data itself, to which
//! the bytes after it are added. Source: the `wyoming` package 1.10.2, `event.py`.

use std::io::{self, BufRead, BufReader, Read, Write};

use serde::Deserialize;
use serde_json::{Map, Value, json};

use crate::{connection::Connection, refusal::Refusal, service::Limits};

/// Maximum length of the line, in bytes.
const LONGEST_LINE: usize = 64 * 1024;
/// Maximum length of the JSON after the line, in bytes.
const LONGEST_DATA: u64 = 64 * 1024;
/// Maximum length of a payload in bytes: 5 s of 48 kHz stereo.
const LONGEST_PAYLOAD: u64 = 1024 * 1024;
/// Size up to which the buffer of payloads is kept for the next one, in bytes.
const KEPT_PAYLOAD: usize = 64 * 1024;
/// Version of the protocol's package whose frames these are.
const VERSION: &str = "1.10.2";

/// Event without its payload.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Event {
    /// Type, such as `audio-chunk`.
    pub kind: String,
    pub data: Map<String, Value>,
}

/// Reason for which no further frame is read.
#[derive(Debug)]
pub(super) enum FrameError {
    /// The client sent what is no frame.
    Refused(Refusal),
    /// The connection broke, or its time is over.
    Lost,
}

impl From<Refusal> for FrameError {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

impl From<io::Error> for FrameError {
    fn from(_: io::Error) -> Self {
        Self::Lost
    }
}

/// First line of a frame.
#[derive(Deserialize)]
struct Header {
    #[serde(rename = "type")]
    kind: String,
    data: Option<Map<String, Value>>,
    data_length: Option<u64>,
    payload_length: Option<u64>,
}

/// Reader and writer of frames. Memory is bounded by the longest frame.
pub(super) struct Frames<'l> {
    reader: BufReader<Connection>,
    limits: &'l Limits,
    payload: Vec<u8>,
}

impl<'l> Frames<'l> {
    pub(super) fn new(connection: Connection, limits: &'l Limits) -> Self {
        Self { reader: BufReader::new(connection), limits, payload: Vec::new() }
    }

    /// Reads the next event, and its payload. Returns `None` at the end of the connection.
    ///
    /// # Errors
    /// [`FrameError`], also if a frame that began is not complete in time.
    pub(super) fn next(&mut self) -> Result<Option<(Event, &[u8])>, FrameError> {
        self.payload.clear();
        self.payload.shrink_to(KEPT_PAYLOAD);
        self.reader.get_mut().read_within(self.limits.idle);
        if self.reader.fill_buf()?.is_empty() {
            return Ok(None);
        }
        self.reader.get_mut().read_within(self.limits.frame);
        let line = self.line()?;
        let header: Header = serde_json::from_slice(&line)
            .map_err(|e| Refusal::malformed(format!("a line that is no event: {e}")))?;
        let mut data = header.data.unwrap_or_default();
        if let Some(length) = header.data_length.filter(|&length| length > 0) {
            let bytes = self.data(length)?;
            let more: Map<String, Value> = serde_json::from_slice(&bytes)
                .map_err(|e| Refusal::malformed(format!("data that is no JSON object: {e}")))?;
            data.extend(more);
        }
        self.read_payload(header.payload_length.unwrap_or(0))?;
        Ok(Some((Event { kind: header.kind, data }, &self.payload)))
    }

    fn line(&mut self) -> Result<Vec<u8>, FrameError> {
        let mut line = Vec::new();
        let longest = LONGEST_LINE as u64 + 1;
        self.reader.by_ref().take(longest).read_until(b'\n', &mut line)?;
        if line.last() == Some(&b'\n') {
            return Ok(line);
        }
        if line.len() > LONGEST_LINE {
            let text = format!("a line of more than {LONGEST_LINE} bytes");
            return Err(Refusal::new("too-long", text).into());
        }
        Err(FrameError::Lost)
    }

    fn data(&mut self, length: u64) -> Result<Vec<u8>, FrameError> {
        check_length("data", length, LONGEST_DATA)?;
        let mut bytes = Vec::new();
        self.reader.by_ref().take(length).read_to_end(&mut bytes)?;
        if (bytes.len() as u64) < length { Err(FrameError::Lost) } else { Ok(bytes) }
    }

    fn read_payload(&mut self, length: u64) -> Result<(), FrameError> {
        check_length("a payload", length, LONGEST_PAYLOAD)?;
        self.reader.by_ref().take(length).read_to_end(&mut self.payload)?;
        if (self.payload.len() as u64) < length { Err(FrameError::Lost) } else { Ok(()) }
    }

    /// Sends an event.
    ///
    /// # Errors
    /// [`FrameError::Lost`] if the client does not read it in time.
    pub(super) fn send(&mut self, kind: &str, data: &Value) -> Result<(), FrameError> {
        let bytes = encode(kind, data);
        let connection = self.reader.get_mut();
        connection.write_within(self.limits.write);
        Ok(connection.write_all(&bytes)?)
    }

    /// Returns the connection. What was read ahead is dropped.
    pub(super) fn into_connection(self) -> Connection {
        self.reader.into_inner()
    }
}

fn check_length(what: &str, length: u64, longest: u64) -> Result<(), Refusal> {
    if length <= longest {
        return Ok(());
    }
    Err(Refusal::new("too-long", format!("{what} of {length} bytes: at most {longest} are taken")))
}

/// Encodes an event without a payload.
pub(super) fn encode(kind: &str, data: &Value) -> Vec<u8> {
    let data = data.to_string();
    let line = json!({ "type": kind, "version": VERSION, "data_length": data.len() });
    format!("{line}\n{data}").into_bytes()
}

/// Encodes the event for a refusal.
pub(super) fn encode_refusal(refusal: &Refusal) -> Vec<u8> {
    encode("error", &json!({ "text": refusal.text, "code": refusal.code }))
}
