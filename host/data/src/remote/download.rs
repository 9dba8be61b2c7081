//! Resumable download of one file from a server to the disk.
//!
//! The bytes go to `TARGET.part`. `TARGET.part.tag` keeps the server's validator (RFC 9110, 8.8),
//! so a file that changed on the server in the meantime is downloaded from the start and never
//! mixed. A complete file is flushed to the disk and renamed.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Read, Write},
    path::{Path, PathBuf},
    sync::LazyLock,
    time::Duration,
};

use ureq::{
    Agent, Body,
    http::{HeaderMap, Response, StatusCode, header},
};

use super::s3;
use crate::{Error, Result};

/// Maximum number of consecutive attempts that bring no byte.
const TRIES: u32 = 6;
const FIRST_PAUSE: Duration = Duration::from_millis(250);
/// Idle time after which a connection counts as lost.
const PATIENCE: Duration = Duration::from_secs(60);

/// Progress callback: number of bytes so far, and the total if it is known.
pub type Watch<'a> = dyn FnMut(u64, Option<u64>) + 'a;

/// Reason why an attempt failed.
enum Failure {
    /// Permanent error; another attempt will not help.
    Final(Error),
    /// Temporary error; another attempt may succeed.
    Passing(Error),
}

/// Downloads `url` (`http(s)://` or `s3://`) to `target` atomically. A partial download of an
/// earlier call is resumed.
///
/// # Errors
/// [`Error::Core`] naming `url` if the server refuses or does not respond after several attempts, or
/// naming the file if writing fails; [`Error::NoBucket`] or [`Error::S3Server`] if the address is invalid.
pub fn download(url: &str, target: &Path, watch: &mut Watch<'_>) -> Result<()> {
    let part = Part::of(target);
    let mut tries = 0;
    loop {
        let before = part.length();
        match attempt(url, &part, watch) {
            Ok(()) => return part.finish(target),
            Err(Failure::Final(error)) => return Err(error),
            Err(Failure::Passing(error)) => {
                tries = if part.length() > before { 1 } else { tries + 1 };
                if tries >= TRIES {
                    return Err(error);
                }
                std::thread::sleep(FIRST_PAUSE * 2u32.pow(tries - 1));
            }
        }
    }
}

/// Partial download on the disk.
struct Part {
    bytes: PathBuf,
    tag: PathBuf,
}

impl Part {
    fn of(target: &Path) -> Self {
        let beside = |suffix: &str| {
            let mut name = target.as_os_str().to_owned();
            name.push(suffix);
            PathBuf::from(name)
        };
        Self { bytes: beside(".part"), tag: beside(".part.tag") }
    }

    fn length(&self) -> u64 {
        fs::metadata(&self.bytes).map_or(0, |m| m.len())
    }

    /// Returns the validator of the partial download; `None` if it cannot be resumed.
    fn validator(&self) -> Option<String> {
        fs::read_to_string(&self.tag).ok().filter(|tag| !tag.is_empty() && self.length() > 0)
    }

    /// Starts from the beginning.
    fn begin(&self, validator: Option<&str>) -> Result<File> {
        // In this order, the old validator never accompanies new bytes.
        fs::write(&self.tag, "").map_err(Error::io(&self.tag, "write"))?;
        let file = File::create(&self.bytes).map_err(Error::io(&self.bytes, "create"))?;
        let tag = validator.unwrap_or_default();
        fs::write(&self.tag, tag).map_err(Error::io(&self.tag, "write"))?;
        Ok(file)
    }

    fn append(&self) -> Result<File> {
        OpenOptions::new().append(true).open(&self.bytes).map_err(Error::io(&self.bytes, "write"))
    }

    fn finish(&self, target: &Path) -> Result<()> {
        let file = self.append()?;
        file.sync_all().map_err(Error::io(&self.bytes, "write"))?;
        fs::rename(&self.bytes, target).map_err(Error::io(target, "replace"))?;
        let _ = fs::remove_file(&self.tag);
        Ok(())
    }
}

fn attempt(url: &str, part: &Part, watch: &mut Watch<'_>) -> Result<(), Failure> {
    let have = part.validator().map(|tag| (part.length(), tag));
    let address = s3::resolve(url).map_err(Failure::Final)?;
    let mut request = agent().get(address.as_ref());
    if let Some((from, tag)) = &have {
        request = request
            .header(header::RANGE, format!("bytes={from}-"))
            .header(header::IF_RANGE, tag.as_str());
    }
    let response = request.call().map_err(|e| Failure::Passing(unreachable(url, &e)))?;
    let headers = response.headers();
    let from = have.map_or(0, |(from, _)| from);
    match response.status() {
        StatusCode::PARTIAL_CONTENT => {
            let (start, total) = content_range(headers).unwrap_or((u64::MAX, None));
            if start != from {
                part.begin(None).map_err(Failure::Final)?;
                return Err(Failure::Passing(odd(url, "another range than was asked for")));
            }
            copy(url, response, part.append().map_err(Failure::Final)?, (from, total), watch)
        }
        StatusCode::OK => {
            let total = content_length(headers);
            let file = part.begin(validator(headers).as_deref()).map_err(Failure::Final)?;
            copy(url, response, file, (0, total), watch)
        }
        StatusCode::RANGE_NOT_SATISFIABLE => {
            if content_range(headers).is_some_and(|(_, total)| total == Some(from)) {
                return Ok(());
            }
            part.begin(None).map_err(Failure::Final)?;
            Err(Failure::Passing(odd(url, "no such range")))
        }
        status => Err(refused(url, status)),
    }
}

fn copy(
    url: &str,
    response: Response<Body>,
    mut file: File,
    (mut done, total): (u64, Option<u64>),
    watch: &mut Watch<'_>,
) -> Result<(), Failure> {
    let mut body = response.into_body().into_reader();
    let mut buffer = vec![0; 1 << 16];
    watch(done, total);
    loop {
        let read = match body.read(&mut buffer) {
            Ok(0) => break,
            Ok(read) => read,
            Err(e) if e.kind() == io::ErrorKind::Interrupted => continue,
            Err(e) => return Err(Failure::Passing(lost(url, e.to_string()))),
        };
        let write = file.write_all(&buffer[..read]);
        write.map_err(|e| Failure::Final(Error::io(url, "store what is fetched from it")(e)))?;
        done += read as u64;
        watch(done, total);
    }
    match total {
        Some(total) if total != done => {
            Err(Failure::Passing(lost(url, format!("{done} of {total} bytes arrived"))))
        }
        _ => Ok(()),
    }
}

/// Returns the body of the server's response to a `GET`.
///
/// # Errors
/// [`Error::Core`] naming `url`.
pub(super) fn text(url: &str, address: &str) -> Result<String> {
    let mut response = agent().get(address).call().map_err(|e| unreachable(url, &e))?;
    if response.status() != StatusCode::OK {
        return Err(match refused(url, response.status()) {
            Failure::Final(error) | Failure::Passing(error) => error,
        });
    }
    response.body_mut().read_to_string().map_err(|e| unreachable(url, &e))
}

fn agent() -> &'static Agent {
    static AGENT: LazyLock<Agent> = LazyLock::new(|| {
        Agent::config_builder()
            .http_status_as_error(false)
            .timeout_connect(Some(PATIENCE))
            .timeout_recv_response(Some(PATIENCE))
            .timeout_per_read(Some(PATIENCE))
            .user_agent(concat!("wakeling/", env!("CARGO_PKG_VERSION")))
            .build()
            .new_agent()
    });
    &AGENT
}

fn field(headers: &HeaderMap, name: header::HeaderName) -> Option<&str> {
    headers.get(name).and_then(|value| value.to_str().ok())
}

fn content_length(headers: &HeaderMap) -> Option<u64> {
    field(headers, header::CONTENT_LENGTH)?.parse().ok()
}

/// Returns a strong entity tag, or the date of the last change, with which a later request can
/// detect that the file is unchanged.
fn validator(headers: &HeaderMap) -> Option<String> {
    let strong = field(headers, header::ETAG).filter(|tag| !tag.starts_with("W/"));
    strong.or_else(|| field(headers, header::LAST_MODIFIED)).map(str::to_owned)
}

/// Parses first byte and total of `bytes FIRST-LAST/TOTAL`; the first is 0 in `bytes */TOTAL`.
fn content_range(headers: &HeaderMap) -> Option<(u64, Option<u64>)> {
    let range = field(headers, header::CONTENT_RANGE)?.strip_prefix("bytes ")?;
    let (part, total) = range.split_once('/')?;
    let first = part.split_once('-').map_or(Some(0), |(first, _)| first.parse().ok())?;
    Some((first, total.parse().ok()))
}

fn refused(url: &str, status: StatusCode) -> Failure {
    let error = |kind| Error::io(url, "fetch")(io::Error::new(kind, format!("status {status}")));
    match status.as_u16() {
        404 | 410 => Failure::Final(error(io::ErrorKind::NotFound)),
        401 | 403 => Failure::Final(error(io::ErrorKind::PermissionDenied)),
        408 | 429 | 500.. => Failure::Passing(error(io::ErrorKind::ConnectionAborted)),
        _ => Failure::Final(error(io::ErrorKind::InvalidData)),
    }
}

fn unreachable(url: &str, error: &ureq::Error) -> Error {
    lost(url, error.to_string())
}

fn lost(url: &str, what: String) -> Error {
    Error::io(url, "fetch")(io::Error::new(io::ErrorKind::ConnectionAborted, what))
}

fn odd(url: &str, what: &str) -> Error {
    lost(url, format!("the server answers with {what}"))
}
