//! HTTP/1.1, as far as the page needs it, with one request per connection.
//!
//! Each connection has its own thread, so none waits for another. Browsers open several connections
//! at once and keep some of them idle.

use std::{
    io::{self, Read, Write},
    net::{Shutdown, TcpStream},
    time::Duration,
};

/// Maximum length of the head of a request, in bytes.
const LONGEST_HEAD: usize = 16 * 1024;
/// Maximum number of headers of a request.
const MOST_HEADERS: usize = 64;
/// Time limit for a client that sends or reads nothing.
const PATIENCE: Duration = Duration::from_secs(30);
/// Limits for reading the rest of a refused request: time and number of bytes.
const DRAIN: (Duration, u64) = (Duration::from_millis(500), 16_000_000);

/// Method of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    /// Reads data.
    Get,
    /// Changes data.
    Post,
    /// Any other method.
    Other,
}

/// Request whose body is not read yet.
pub struct Request<'c> {
    /// Method of the request.
    pub method: Method,
    /// Path and query.
    pub target: String,
    headers: Vec<(String, String)>,
    /// Bytes that were read beyond the head.
    begun: Vec<u8>,
    connection: &'c TcpStream,
}

/// Reason for refusing a request: a status code and a text.
pub type Refusal = (u16, &'static str);

impl<'c> Request<'c> {
    /// Reads the head of a request. Returns `None` if the client closes without sending anything.
    ///
    /// # Errors
    /// A refusal if the data is not HTTP, too long or too slow.
    pub fn read(mut connection: &'c TcpStream) -> Result<Option<Self>, Refusal> {
        // If the system cannot set a time limit, the connection has none.
        let _ = connection.set_read_timeout(Some(PATIENCE));
        let _ = connection.set_write_timeout(Some(PATIENCE));
        let (mut bytes, mut block) = (Vec::new(), [0; 4_096]);
        loop {
            let count =
                connection.read(&mut block).map_err(|_| (408, "the request is too slow"))?;
            if count == 0 && bytes.is_empty() {
                return Ok(None);
            }
            bytes.extend(&block[..count]);
            if let Some(request) = Self::parse(&bytes, connection)? {
                return Ok(Some(request));
            }
            if count == 0 {
                return Err((400, "the request ends too early"));
            }
            if bytes.len() > LONGEST_HEAD {
                return Err((431, "the head of the request is too long"));
            }
        }
    }

    /// Parses a head. Returns `None` if it is incomplete.
    fn parse(bytes: &[u8], connection: &'c TcpStream) -> Result<Option<Self>, Refusal> {
        let mut headers = [httparse::EMPTY_HEADER; MOST_HEADERS];
        let mut head = httparse::Request::new(&mut headers);
        let parsed = head.parse(bytes).map_err(|_| (400, "this is no HTTP request"))?;
        let httparse::Status::Complete(length) = parsed else { return Ok(None) };
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        Ok(Some(Self {
            method: match head.method {
                Some("GET") => Method::Get,
                Some("POST") => Method::Post,
                _ => Method::Other,
            },
            target: head.path.unwrap_or_default().to_owned(),
            headers: head.headers.iter().map(|h| (h.name.to_owned(), text(h.value))).collect(),
            begun: bytes[length..].to_vec(),
            connection,
        }))
    }

    /// Returns the value of a header. Several headers with the same name are joined into one value,
    /// which no check accepts.
    pub fn header(&self, name: &str) -> Option<String> {
        let named = self.headers.iter().filter(|(n, _)| n.eq_ignore_ascii_case(name));
        let values: Vec<&str> = named.map(|(_, value)| value.as_str()).collect();
        (!values.is_empty()).then(|| values.join(", "))
    }

    /// Reads the body.
    ///
    /// # Errors
    /// A refusal if it is longer than `longest` bytes, has no length, or ends too early.
    pub fn body(&self, longest: u64) -> Result<Vec<u8>, Refusal> {
        if self.header("Transfer-Encoding").is_some() {
            return Err((411, "the request does not give its length"));
        }
        let length = match self.header("Content-Length") {
            None => 0,
            Some(text) => {
                text.parse().map_err(|_| (400, "the length of the request is no number"))?
            }
        };
        if length > longest {
            return Err((413, "the request is too long"));
        }
        let mut body = self.begun.clone();
        let rest = length.saturating_sub(body.len() as u64);
        let read = self.connection.take(rest).read_to_end(&mut body);
        if read.is_err() || (body.len() as u64) < length {
            return Err((400, "the request ends too early"));
        }
        body.truncate(length as usize);
        Ok(body)
    }
}

/// Sends a response and closes the connection for writing.
///
/// # Errors
/// An error of the operating system if the client has closed the connection.
pub fn respond(
    mut connection: &TcpStream,
    (status, headers): (u16, &[(&str, &str)]),
    body: &[u8],
) -> io::Result<()> {
    let reason = match status {
        200 => "OK",
        400..500 => "Refused",
        _ => "Failed",
    };
    let mut head = format!("HTTP/1.1 {status} {reason}\r\nContent-Length: {}\r\n", body.len());
    for (name, value) in headers {
        head += &format!("{name}: {value}\r\n");
    }
    head += "Connection: close\r\n\r\n";
    connection.write_all(head.as_bytes())?;
    connection.write_all(body)?;
    connection.shutdown(Shutdown::Write)?;
    // Closing a connection with unread data resets it, and the response is lost.
    connection.set_read_timeout(Some(DRAIN.0))?;
    io::copy(&mut connection.take(DRAIN.1), &mut io::sink()).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;

    /// Parsed method, target and body of a request, given the bytes that a client sends before it
    /// closes.
    type Read = (Method, String, Result<Vec<u8>, Refusal>);

    fn read(bytes: &[u8]) -> Result<Option<Read>, Refusal> {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (server, _) = listener.accept().unwrap();
        client.write_all(bytes).unwrap();
        client.shutdown(Shutdown::Write).unwrap();
        let request = Request::read(&server)?;
        Ok(request.map(|r| (r.method, r.target.clone(), r.body(10))))
    }

    #[test]
    fn a_request_is_read_to_the_end_of_its_body() {
        let sent = b"POST /a?b=1 HTTP/1.1\r\nHost: x\r\ncontent-length: 3\r\n\r\nabcd";
        assert_eq!(read(sent), Ok(Some((Method::Post, "/a?b=1".into(), Ok(b"abc".to_vec())))));
        let sent = b"GET / HTTP/1.0\r\n\r\n";
        assert_eq!(read(sent), Ok(Some((Method::Get, "/".into(), Ok(Vec::new())))));
        assert_eq!(read(b""), Ok(None));
    }

    #[test]
    fn rejects_malformed_requests() {
        let status = |bytes: &[u8]| read(bytes).unwrap_err().0;
        assert_eq!(status(b"\x16\x03\x01 hello"), 400);
        assert_eq!(status(b"GET / HTTP/1.1\r\nHost: x"), 400);
        assert_eq!(status(b"GET /\r\n\r\n"), 400);
        let long = format!("GET / HTTP/1.1\r\nX: {}", "x".repeat(LONGEST_HEAD));
        assert_eq!(status(long.as_bytes()), 431);
        let many = format!("GET / HTTP/1.1\r\n{}\r\n", "X: y\r\n".repeat(MOST_HEADERS + 1));
        assert_eq!(status(many.as_bytes()), 400);
        let body = |headers: &str| {
            let sent = format!("POST / HTTP/1.1\r\n{headers}\r\n\r\n0123456789ab");
            read(sent.as_bytes()).unwrap().unwrap().2.unwrap_err().0
        };
        assert_eq!(body("Content-Length: 11"), 413);
        assert_eq!(body("Content-Length: -1"), 400);
        assert_eq!(body("Content-Length: 3\r\nContent-Length: 4"), 400);
        assert_eq!(body("Transfer-Encoding: chunked"), 411);
    }
}
