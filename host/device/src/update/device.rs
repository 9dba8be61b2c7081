//! Client of a device on a serial line or TCP: sends requests, waits for replies, and retries.

use std::{
    io::{self, Read, Write},
    time::{Duration, Instant},
};

use wakeling_shared::enroll::UTTERANCES;
use wakeling_shared::update::{
    frame::{self, Deframer, MAX_FRAME, MAX_PAYLOAD},
    message::{self, CHUNK_BYTES, Candidate, Info, PROTOCOL, Reply, Request, Running},
    package::HEADER_BYTES,
};

use super::{package::Package, port::Port};
use crate::recorder::Event;

use crate::{Error, Result};

/// Number of times a request is sent before giving up.
const ATTEMPTS: usize = 4;
/// Time limit of a reply. Erasing a page of 128 KB takes up to 4 s (STM32F4, datasheet).
const PATIENCE: Duration = Duration::from_secs(5);
/// Time limit of replies that take longer, such as to `Finish`, for which a small processor
/// verifies a signature.
const FINISH_PATIENCE: Duration = Duration::from_secs(60);
/// Time limit of a restart, self-test included.
const RESTART_PATIENCE: Duration = Duration::from_secs(30);
/// Time limit of a single read, after which the clock is checked.
const TICK: Duration = Duration::from_millis(50);

/// Owned copy of a device's [`Info`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeviceInfo {
    /// Name of the board.
    pub board: String,
    /// Model that is running.
    pub running: Option<Running>,
    /// Lowest version that the device accepts.
    pub next_version: u32,
    /// Candidate model, not yet confirmed.
    pub candidate: Option<Candidate>,
    /// Maximum size of a signed package, in bytes.
    pub slot_bytes: u32,
    /// Public key that packages must be signed with.
    pub key: Option<[u8; 32]>,
    /// Version of the last candidate that failed.
    pub rolled_back: Option<u32>,
}

impl From<Info<'_>> for DeviceInfo {
    fn from(info: Info<'_>) -> Self {
        Self {
            board: info.board.to_owned(),
            running: info.running,
            next_version: info.next_version,
            candidate: info.candidate,
            slot_bytes: info.slot_bytes,
            key: info.key,
            rolled_back: info.rolled_back,
        }
    }
}

/// Device on a line.
pub struct Device {
    name: String,
    port: Box<dyn Port>,
    deframer: Deframer,
    tag: u8,
}

impl Device {
    /// Opens the device at a port. `name` identifies it in errors.
    ///
    /// # Errors
    /// [`Error::Line`] if the port's time limit cannot be set.
    pub fn new(name: &str, mut port: Box<dyn Port>) -> Result<Self> {
        port.set_timeout(TICK).map_err(|e| failed(name, e))?;
        // The start value varies, so that the tag probably differs from that of a previous run.
        let tag = Instant::now().elapsed().subsec_nanos() as u8 ^ std::process::id() as u8;
        Ok(Self { name: name.to_owned(), port, deframer: Deframer::default(), tag })
    }

    /// Sends a request and passes the reply to `read`.
    ///
    /// # Errors
    /// [`Error::Refused`], [`Error::NoAnswer`], and the other errors of a line.
    pub fn ask<T>(
        &mut self,
        request: &Request<'_>,
        patience: Duration,
        read: impl FnOnce(Reply<'_>) -> Option<T>,
    ) -> Result<T> {
        let (mut payload, mut out) = ([0; MAX_PAYLOAD], [0; MAX_FRAME]);
        let payload = message::encode(request, &mut payload)
            .ok_or_else(|| Error::defect("a request does not fit a frame"))?;
        self.tag = self.tag.wrapping_add(1);
        for _ in 0..ATTEMPTS {
            let frame = frame::write(self.tag, payload, &mut out).unwrap_or_default();
            let sent = self.port.write_all(frame).and_then(|()| self.port.flush());
            sent.map_err(|e| failed(&self.name, e))?;
            let Some(reply) = self.reply(patience)? else { continue };
            return match message::decode(&reply) {
                Some(Reply::Refused(refusal)) => {
                    Err(Error::Refused { device: self.name.clone(), refusal })
                }
                Some(reply) => read(reply).ok_or_else(|| self.strange()),
                None => Err(self.strange()),
            };
        }
        Err(Error::NoAnswer { device: self.name.clone(), attempts: ATTEMPTS })
    }

    /// Returns the payload of the next frame with the tag of the last request, or `None` after
    /// `patience`.
    fn reply(&mut self, patience: Duration) -> Result<Option<Vec<u8>>> {
        let start = Instant::now();
        let mut bytes = [0; 256];
        loop {
            while let Some(frame) = self.deframer.frame() {
                if frame.tag == self.tag {
                    return Ok(Some(frame.payload.to_vec()));
                }
            }
            if start.elapsed() > patience {
                return Ok(None);
            }
            // Reads one byte at a time, so that no frame in the deframer is overwritten.
            match self.port.read(&mut bytes[..1]) {
                Ok(0) => return Err(Error::LineClosed { device: self.name.clone() }),
                Ok(_) => self.deframer.push(bytes[0]),
                Err(error) if is_timeout(&error) => {}
                Err(error) => return Err(failed(&self.name, error)),
            }
        }
    }

    /// Requests the device's information.
    ///
    /// # Errors
    /// As [`Device::ask`], and [`Error::Protocol`] if its protocol has another version.
    pub fn info(&mut self) -> Result<DeviceInfo> {
        let (protocol, info) = self.ask(&Request::Info, PATIENCE, |reply| match reply {
            Reply::Info(info) => Some((info.protocol, info.into())),
            _ => None,
        })?;
        if protocol != PROTOCOL {
            let device = self.name.clone();
            return Err(Error::Protocol { device, found: protocol, expected: PROTOCOL });
        }
        Ok(info)
    }

    fn done(&mut self, request: &Request<'_>, patience: Duration) -> Result<u32> {
        self.ask(request, patience, |reply| match reply {
            Reply::Done { received } => Some(received),
            _ => None,
        })
    }

    /// Sends a signed package, which becomes the candidate of the next start. `sent` is called with
    /// the number of bytes that have arrived.
    ///
    /// # Errors
    /// As [`Device::ask`].
    pub fn send(&mut self, package: &Package, trial: bool, sent: impl Fn(u64)) -> Result<()> {
        let header = package.bytes.get(..HEADER_BYTES).unwrap_or_default();
        self.done(&Request::Begin(header), PATIENCE)?;
        let mut offset = 0;
        for bytes in package.body().chunks(CHUNK_BYTES) {
            offset = self.done(&Request::Data { offset, bytes }, PATIENCE)?;
            sent(u64::from(offset));
        }
        self.done(&Request::Finish { trial }, FINISH_PATIENCE).map(drop)
    }

    /// Restarts the device and waits until it answers.
    ///
    /// # Errors
    /// As [`Device::ask`].
    pub fn restart(&mut self) -> Result<DeviceInfo> {
        self.done(&Request::Restart, PATIENCE)?;
        let start = Instant::now();
        loop {
            match self.info() {
                Err(error) if start.elapsed() > RESTART_PATIENCE => return Err(error),
                Err(_) => {}
                Ok(info) => return Ok(info),
            }
        }
    }

    /// Confirms the model on trial.
    ///
    /// # Errors
    /// As [`Device::ask`].
    pub fn confirm(&mut self) -> Result<()> {
        self.done(&Request::Confirm, PATIENCE).map(drop)
    }

    /// Reads the events of the flight recorder, oldest first.
    ///
    /// # Errors
    /// As [`Device::ask`].
    pub fn events(&mut self) -> Result<Vec<Event>> {
        let mut events = Vec::new();
        for index in 0..=u8::MAX {
            let entry = self.ask(&Request::Event(index), PATIENCE, |reply| match reply {
                Reply::Event(entry) => Some(entry),
                _ => None,
            })?;
            let Some(entry) = entry else { break };
            // Between two requests an old event may have been dropped, and the others moved up.
            if events.last().is_some_and(|last: &Event| last.entry.number >= entry.number) {
                continue;
            }
            let mut features = Vec::new();
            while features.len() < usize::from(entry.features) {
                let (number, offset) = (entry.number, features.len() as u16);
                let request = Request::Features { number, offset };
                let more = self.ask(&request, PATIENCE, |reply| match reply {
                    Reply::Features(bytes) if !bytes.is_empty() => Some(bytes.to_vec()),
                    _ => None,
                })?;
                features.extend(more.into_iter().map(|byte| byte as i8));
            }
            events.push(Event { entry, features });
        }
        Ok(events)
    }

    /// Enrolls five utterances on the device, and waits for them. The callback takes the number of
    /// utterances so far. The enrolled head runs after the next restart.
    ///
    /// # Errors
    /// As [`Device::ask`], and [`Error::FewUtterances`] if they do not arrive within two minutes.
    pub fn enroll(&mut self, progress: impl Fn(u32)) -> Result<()> {
        /// Time limit for five utterances and pauses.
        const LONGEST: Duration = Duration::from_secs(120);
        self.done(&Request::Enroll, PATIENCE)?;
        let start = Instant::now();
        loop {
            let count = self.done(&Request::Enrolled, PATIENCE)?;
            progress(count);
            if count as usize >= UTTERANCES {
                return self.done(&Request::Keep, FINISH_PATIENCE).map(drop);
            }
            if start.elapsed() > LONGEST {
                let device = self.name.clone();
                return Err(Error::FewUtterances { device, found: count, expected: UTTERANCES });
            }
            std::thread::sleep(TICK);
        }
    }

    fn strange(&self) -> Error {
        Error::StrangeAnswer { device: self.name.clone() }
    }
}

fn is_timeout(error: &io::Error) -> bool {
    use io::ErrorKind as Kind;
    matches!(error.kind(), Kind::TimedOut | Kind::WouldBlock | Kind::Interrupted)
}

fn failed(name: &str, source: io::Error) -> Error {
    Error::Line { device: name.to_owned(), source }
}
